"""A graph of operators, forward and backward by the chain rule: branches, shared weights, losses.

A graph is a row of nodes, each of which takes results of earlier ones.  Where a value or a
parameter is used several times, its gradients are added.  As in `oracle.chains.network`, the graph
is written once and asks somebody for every single answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from inspect import Parameter, Signature
from typing import Any

import numpy as np

from gradoracle import oracle
from gradoracle.oracle.axes import Axes
from gradoracle.oracle.chains.links import (
    LINKS,
    LOSSES,
    MOVES,
    WEIGHTED_SUM,
    Node,
    is_loss,
    moved,
    moved_back,
)
from gradoracle.oracle.chains.network import Ask
from gradoracle.oracle.declaration import Call, chained, declare_axes, evaluate
from gradoracle.oracle.shapes import Array

SLOTS = 12  # parameters with a weight and maybe a bias that a graph may have
PARAMETERS = tuple(f"{name}_{n}" for n in range(1, SLOTS + 1) for name in ("weight", "bias"))


@dataclass
class Run:
    """What a forward pass leaves behind."""

    values: dict[str, Any]  # the graph's arrays by name, and the results of nodes by number
    losses: dict[str, Any] = field(default_factory=dict)  # of the nodes that are losses


def forward(ask: Ask, nodes: Sequence[Node], call: Call) -> Run:
    """Run the nodes in order; the result of the first is "1".

    `call` has x or tokens, target and wanted (for losses), grad_output (the factors of a weighted
    sum), and weight_1, bias_1, ...
    """
    run = Run({name: value for name, value in call.items() if name != "nodes"})
    for at, node in enumerate(nodes, 1):
        if node.operator in LOSSES:
            run.losses[str(at)] = ask(LOSSES[node.operator].formula, arguments(node, run))
        elif node.operator in LINKS:
            run.values[str(at)] = ask(LINKS[node.operator].formula, arguments(node, run))
        elif node.operator in MOVES:
            run.values[str(at)] = moved(node, run.values[node.inputs[0]])
    return run


def backward(ask: Ask, nodes: Sequence[Node], call: Call, run: Run) -> dict[str, Any]:
    """Return dE/d(x, weight_1, ...) of the sum E of all losses, each times its factor."""
    received: dict[str, Any] = {}

    def give(name: str, gradient: Any) -> None:
        if name in received:
            both = {"input": received[name], "other": gradient, "alpha": 1.0}
            gradient = ask(oracle.add, both)  # type: ignore[attr-defined]
        received[name] = gradient

    for at in range(len(nodes), 0, -1):
        node = nodes[at - 1]
        if is_loss(node):
            give(node.inputs[0], _of_loss(ask, node, run))
        elif str(at) in received:
            for name, gradient in _of_node(ask, node, run, received.pop(str(at))):
                give(name, gradient)
    return {name: received[name] for name in call if name in received}


def arguments(node: Node, run: Run) -> dict[str, Any]:
    """Return every argument of a node's formulas, but dy."""
    link = LINKS.get(node.operator) or LOSSES[node.operator]
    given = dict(zip(link.inputs, (run.values[name] for name in node.inputs), strict=False))
    given |= {argument: run.values[name] for argument, name in link.beside.items()}
    if node.number:
        given |= {name: run.values[f"{name}_{node.number}"] for name in ("weight", "bias")}
        given["weight_shape"] = tuple(given["weight"].shape)
    if node.operator == "batch_norm":
        given |= _running(node, run)
    if "x" in given:
        given["input_shape"] = tuple(given["x"].shape)
    return {"third": None, "attn_mask": None, **given, **node.options}


def _running(node: Node, run: Run) -> dict[str, Any]:
    """Return the running statistics of a batch normalisation; in training they are not read."""
    zeros = np.zeros_like(run.values[f"weight_{node.number}"])
    names = ("running_mean", "running_var")
    made = dict(zip(names, (zeros, zeros + zeros.dtype.type(1)), strict=True))
    return {name: run.values.get(f"{name}_{node.number}", made[name]) for name in names}


def _of_loss(ask: Ask, node: Node, run: Run) -> Any:
    """Return what the argument of a loss receives: its gradient times the loss's factor."""
    factor = node.options["factor"]
    if node.operator == WEIGHTED_SUM:
        gradient = run.values["grad_output"]
    else:
        like = run.values["grad_output"]
        given = {**arguments(node, run), "grad_output": np.ones((), like.dtype)}
        (formula,) = LOSSES[node.operator].gradients.values()
        gradient = ask(formula, given)
    if isinstance(gradient, np.ndarray):
        factor = gradient.dtype.type(factor)
    return gradient * factor  # a power of two: it rounds nothing


def _of_node(ask: Ask, node: Node, run: Run, dy: Any) -> list[tuple[str, Any]]:
    """Return what each argument of a node receives, with the argument's name in the graph."""
    if node.operator not in LINKS:
        shape = tuple(run.values[node.inputs[0]].shape)
        return [(node.inputs[0], moved_back(node, dy, shape))]
    link = LINKS[node.operator]
    given = {**arguments(node, run), "grad_output": dy}
    names = dict(zip(link.inputs, node.inputs, strict=False))
    names |= {name: f"{name}_{node.number}" for name in ("weight", "bias") if node.number}
    return [
        (names[argument], ask(formula, given))
        for argument, formula in link.gradients.items()
        if argument in names and given[argument] is not None
    ]


@chained
def graph_backward(*arrays: Array | None, nodes: Sequence[Node]) -> Array:
    """Return the gradients by x and every parameter of a graph, flat, one after another.

        dE/dv = sum over the nodes y that take v of (dy/dv)^T dE/dy,  E = sum of factor * loss

    (Griewank and Walther 2008, "Evaluating Derivatives", section 3.2, reverse mode).
    """
    given = dict(zip(ARRAYS, arrays, strict=True))
    gradients = backward(evaluate, nodes, given, forward(evaluate, nodes, given))
    return np.concatenate([gradient.ravel() for gradient in gradients.values()])


ARRAYS = ("x", "tokens", "target", "wanted", "grad_output", *PARAMETERS)
_POSITIONAL = [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in ARRAYS]
_NODES = Parameter("nodes", Parameter.KEYWORD_ONLY)
graph_backward.__signature__ = Signature([*_POSITIONAL, _NODES])  # type: ignore[attr-defined]
declare_axes(Axes("x: n c (h w); tokens: n t; target: n"), graph_backward)


def factors(nodes: Sequence[Node]) -> Mapping[str, float]:
    """Return the factor of each loss by the number of its node."""
    return {
        str(at): node.options["factor"] for at, node in enumerate(nodes, 1)
        if is_loss(node)
    }  # fmt: skip
