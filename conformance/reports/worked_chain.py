"""A small network or graph, forward and backward, with every answer on the way in numbers."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from gradoracle import oracle
from gradoracle.conformance.drawing.values import styles
from gradoracle.conformance.operators.network import integers
from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.reports.worked_example import SEED, Example, example_of, example_sizes
from gradoracle.oracle.chains import graph
from gradoracle.oracle.chains.links import LINKS, LOSSES, Node
from gradoracle.oracle.chains.network import PARAMETERS, backward, forward
from gradoracle.oracle.declaration import (
    Call,
    Chained,
    Formula,
    algebra,
    argument_names,
    axes_of,
    evaluate,
)
from gradoracle.oracle.shapes import Array

# A convolution twice with one weight beside a residual: where gradients are added.
EXAMPLE = {
    "kind": 0, "images": 1, "channels": 1, "height": 2, "width": 2, "classes": 2, "activation": 0,
    "bias": 0, "loss": 1, "mean": 0, "factor": 0, "second": 0, "tied": 0, "block_1": 5,
    "block_2": 0, "block_3": 0,
}  # fmt: skip
LAST = "weight_2"  # of the example's linear layer


def chain_example(operator: Operator) -> tuple[Call, list[Example]] | None:
    """Return a call of a chain, and every formula of it with its answer, one after another.

    The data are small integers, and sixteenths in the last layer's weight: larger logits would give
    probabilities of 0 and 1.  None: the operator is no chain.
    """
    if not isinstance(algebra(operator.formula), Chained):
        return None
    if operator.formula is graph.graph_backward:
        call = operator.call(EXAMPLE, styles(integers)[0], SEED, "float64")
        call = {**call, LAST: call[LAST] / 16}
        return call, _links_of_graph(call)
    style = operator.styles.floats[-1]
    call = operator.call(example_sizes(operator, operator.formula), style, SEED, "float64")
    call = {**call, "weight_3": call["weight_3"] / 16}
    return call, _links(call)


def steps_of(call: Call) -> list[str]:
    """Return what the call of a chain does, in the order in which it is done."""
    if "steps" in call:
        return [step.operator for step in call["steps"]]
    return [f"v{at} = {_short(node).written(call)}" for at, node in enumerate(call["nodes"], 1)]


def _short(node: Node) -> Node:
    """Return a node without neutral options; one number stands for equal ones of all axes."""
    known = {**LOSSES, **LINKS}
    neutral = axes_of(known[node.operator].formula).neutral if node.operator in known else {}
    options = {n: _alone(v) for n, v in node.options.items()}
    usual = {n: _alone(v) for n, v in neutral.items()}
    left = {n: v for n, v in options.items() if n not in usual or v != usual[n]}
    return node._replace(options=left)


def _alone(value: Any) -> Any:
    return value[0] if isinstance(value, tuple) and len({*value}) == 1 else value


def _links_of_graph(call: Call) -> list[Example]:
    """Return the examples of a forward pass and of the way back."""
    found: list[Example] = []
    ask = partial(_asked, found)
    graph.backward(ask, call["nodes"], call, graph.forward(ask, call["nodes"], call))
    return found


def _asked(found: list[Example], formula: Formula, given: Call) -> Array:
    answer = evaluate(formula, given)
    largest = np.unravel_index(int(np.argmax(abs(answer))), answer.shape)
    found.append(example_of(formula, _own(formula, given), tuple(map(int, largest))))
    return answer


def _links(call: Call) -> list[Example]:
    """Return the examples of a forward pass, of the way back, and of the step of each parameter."""
    found: list[Example] = []
    ask = partial(_asked, found)
    passed = forward(ask, call["steps"], call)
    gradients = backward(ask, call["steps"], call, passed)
    for name in PARAMETERS:
        if call[name] is not None:
            rate = {"learning_rate": call["learning_rate"]}
            ask(oracle.sgd_step, {"parameter": call[name], "gradient": gradients[name], **rate})
    return found


def _own(formula: Formula, given: Call) -> dict[str, Any]:
    """Return the formula's own arguments, of a link that is given those of all."""
    names = [name for part in argument_names(formula) for name in part]
    return {n: np.asarray(v) if isinstance(v := given[n], np.ndarray) else v for n in names}
