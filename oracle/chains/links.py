"""What graphs are made of: operators with their gradients, losses, and moves of elements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from gradoracle import oracle
from gradoracle.oracle.declaration import Formula
from gradoracle.oracle.shapes import Shape

WEIGHTED_SUM = "weighted_sum"  # of a result, by the factors in grad_output: no function computes it
MOVES = ("reshape", "swapaxes")  # of a result into another shape; of its axes 1 and 2


class Node(NamedTuple):
    """One use of an operator in a graph."""

    operator: str  # one of LINKS, LOSSES or MOVES
    inputs: tuple[str, ...]  # names of the graph's arrays, or the numbers of earlier nodes
    number: int  # of its weight and bias (0: none); nodes with the same number share them
    options: Mapping[str, Any]
    shape: Shape  # of its result

    def __repr__(self) -> str:
        """Return the node as a call, such as `conv2d(x, weight_1, bias_1, stride=(1, 1))`."""
        return self._written((f"weight_{self.number}", f"bias_{self.number}"))

    def written(self, call: Mapping[str, Any]) -> str:
        """Return the node as a call without a bias that is None in the call of the graph."""
        names = (f"weight_{self.number}", f"bias_{self.number}")
        return self._written([name for name in names if call.get(name) is not None])

    def _written(self, parameters: Sequence[str]) -> str:
        given = [name if name.isidentifier() else f"v{name}" for name in self.inputs]
        given += parameters if self.number else []
        given += [f"{name}={value!r}" for name, value in self.options.items()]
        return f"{self.operator}({', '.join(given)})"


class Link(NamedTuple):
    """An operator of a graph: its forward formula, what it takes, and its gradients."""

    formula: Formula
    inputs: tuple[str, ...]  # the arguments that are results, in order
    gradients: Mapping[str, Formula]  # by argument
    beside: Mapping[str, str] = MappingProxyType({})  # arguments that are the graph's own arrays

    @property
    def formulas(self) -> tuple[Formula, ...]:
        """The forward formula and those of the gradients."""
        return (self.formula, *self.gradients.values())


def _link(operator: str, inputs: str, target: str = "", **gradients: str) -> Link:
    found = {name: getattr(oracle, f"{operator}_{of}") for name, of in gradients.items()}
    beside = {"target": target} if target else {}
    return Link(getattr(oracle, operator), (*inputs.split(),), found, beside)


_PARAMETERS = {"weight": "grad_weight", "bias": "grad_bias"}
_ATTENTION = {name: f"grad_{name}" for name in ("query", "key", "value")}
ACTIVATIONS = ("relu", "tanh", "sigmoid", "silu", "gelu")
NORMS = ("batch_norm", "group_norm", "layer_norm")
ATTENTION = "scaled_dot_product_attention"

LINKS: Mapping[str, Link] = {
    **{name: _link(name, "z", z="grad") for name in ACTIVATIONS},
    **{name: _link(name, "x", x="grad_input", **_PARAMETERS) for name in ("conv2d", "linear")},
    **{name: _link(name, "x", x="grad_x", **_PARAMETERS) for name in NORMS},
    "avg_pool2d": _link("avg_pool2d", "x", x="grad_input"),
    "add": _link("add", "input other", input="grad_input", other="grad_other"),
    "cat": _link("cat", "first second", first="grad_first", second="grad_second"),
    "embedding": _link("embedding", "input", weight="grad"),
    ATTENTION: _link(ATTENTION, "query key value", **_ATTENTION),
}
LOSSES: Mapping[str, Link] = {
    "cross_entropy": _link("cross_entropy", "logits", "target", logits="grad"),
    "mse_loss": _link("mse_loss", "input", "wanted", input="grad_input"),
}
OPERATIONS = (*LINKS, *LOSSES, *MOVES, WEIGHTED_SUM)  # what a node may be
FORMULAS = tuple(
    dict.fromkeys(f for link in (*LINKS.values(), *LOSSES.values()) for f in link.formulas)
)


def is_loss(node: Node) -> bool:
    """Return whether a node is one of the losses, whose sum is differentiated."""
    return node.operator in LOSSES or node.operator == WEIGHTED_SUM


def moved(node: Node, value: Any) -> Any:
    """Return the elements of a value where a node puts them."""
    return value.swapaxes(1, 2) if node.operator == "swapaxes" else value.reshape(node.shape)


def moved_back(node: Node, value: Any, shape: Shape) -> Any:
    """Return the elements of a gradient where a node took them from, an array of this shape."""
    return value.swapaxes(1, 2) if node.operator == "swapaxes" else value.reshape(shape)
