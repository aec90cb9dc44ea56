"""A graph in PyTorch's own functions, whose gradients are autograd's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gradoracle.oracle.chains.links import Node
from gradoracle.oracle.declaration import Call

# From torch, the node's inputs, its weight and bias, the graph's call, and its options.
Made = Callable[..., Any]


def _layered(torch: Any, given: list[Any], weight: Any, bias: Any, *, of: str, **more: Any) -> Any:
    return getattr(torch.nn.functional, of)(given[0], weight, bias, **more)


def _batch_norm(torch: Any, given: list[Any], weight: Any, bias: Any, **more: Any) -> Any:
    return torch.nn.functional.batch_norm(given[0], None, None, weight, bias, **more)


def _group_norm(
    torch: Any, given: list[Any], weight: Any, bias: Any, *, num_groups: int, eps: float
) -> Any:  # fmt: skip
    """Return the norm; torch.nn.functional refuses one of a single number, and this does not."""
    x = given[0]
    images, channels = x.shape[:2]
    found = torch.native_group_norm(
        x, weight, bias, images, channels, x[0, 0].numel(), num_groups, eps
    )
    return found[0]


def _layer_norm(torch: Any, given: list[Any], weight: Any, bias: Any, *, eps: float) -> Any:
    return torch.nn.functional.layer_norm(given[0], weight.shape, weight, bias, eps)


OF_OPERATORS: Mapping[str, Made] = {
    "add": lambda torch, given, *_, alpha: torch.add(*given, alpha=alpha),
    "cat": lambda torch, given, *_, axis: torch.cat(given, axis),
    "embedding": lambda torch, given, weight, _, padding_idx: torch.nn.functional.embedding(
        given[0], weight, padding_idx
    ),
    "conv2d": lambda *a, **o: _layered(*a, **o, of="conv2d"),
    "linear": lambda *a, **o: _layered(*a, **o, of="linear"),
    "batch_norm": _batch_norm,
    "group_norm": _group_norm,
    "layer_norm": _layer_norm,
}


def witness(torch: Any) -> Callable[[Call], Any]:
    """Return the sum of the losses of a graph, each times its factor, in PyTorch's functions."""

    def loss(call: Call) -> Any:
        values, total = dict(call), 0.0
        for at, node in enumerate(call["nodes"], 1):
            values[str(at)] = _result(torch, node, call, [values[name] for name in node.inputs])
            total = total + node.options.get("factor", 0.0) * values[str(at)].sum()
        return total

    return loss


def _result(torch: Any, node: Node, call: Call, given: list[Any]) -> Any:
    options = {name: value for name, value in node.options.items() if name != "factor"}
    beside = {"cross_entropy": "target", "mse_loss": "wanted"}.get(node.operator)
    if node.operator in OF_OPERATORS:
        weight, bias = (call.get(f"{name}_{node.number}") for name in ("weight", "bias"))
        return OF_OPERATORS[node.operator](torch, given, weight, bias, **options)
    if node.operator == "reshape":
        return given[0].reshape(node.shape)
    if node.operator == "swapaxes":
        return given[0].swapaxes(1, 2)
    if node.operator == "weighted_sum":
        return (given[0] * call["grad_output"]).sum()
    function = getattr(torch.nn.functional, node.operator)
    return function(*given, *([call[beside]] if beside else []), **options)
