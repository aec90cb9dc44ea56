"""The cross-entropy of logits and probabilities [N, C], and its gradients."""

from typing import Any

from gradoracle.implementations.cupy_kernels.class_losses import check_smoothing
from gradoracle.implementations.cupy_kernels.machine import Machine, Source
from gradoracle.implementations.cupy_kernels.placement import place
from gradoracle.implementations.cupy_kernels.reductions import (
    check_reduction,
    quotient,
    results,
    spread,
)
from gradoracle.implementations.shapes import Array, check_letters

SOURCE = Source(
    "soft_losses.cu", ("soft_target_loss", "soft_target_grad_input", "soft_target_grad_target")
)


def soft_target_cross_entropy(
    input: Array, target: Array, weight: Array | None = None, *, label_smoothing: float,
    reduction: str,
) -> Array:  # fmt: skip
    """Return the cross-entropy of logits [N, C] and probabilities [N, C].

    Raises:
        ValueError: the shapes do not fit, label_smoothing is not between 0 and 1, `reduction` is
            unknown, or the mean is over nothing.
    """
    smoothing = check_smoothing(label_smoothing)
    machine, (input, target, weight) = _placed(input, target, weight, reduction)  # noqa: A001
    rows = input.shape[0]
    y, terms = results(machine, (rows,), input.dtype, reduction)
    machine.each(
        SOURCE, "soft_target_loss", (input, target, weight, y, terms, smoothing, *input.shape),
        count=rows, dtype=input.dtype,
    )  # fmt: skip
    if terms is None:
        return y
    return quotient(machine, terms, input.dtype, divisor=rows if reduction == "mean" else 1)


def soft_target_cross_entropy_grad_input(
    grad_output: Array, input: Array, target: Array, weight: Array | None = None, *,
    label_smoothing: float, reduction: str,
) -> Array:  # fmt: skip
    """Return dy (p V - v), v the labels with their weights, V the sums of their rows.

    Raises:
        ValueError: as `soft_target_cross_entropy`, or dy does not have the shape of the loss.
    """
    of = (grad_output, input, target, weight)
    return _grad("soft_target_grad_input", *of, label_smoothing, reduction)


def soft_target_cross_entropy_grad_target(
    grad_output: Array, input: Array, target: Array, weight: Array | None = None, *,
    label_smoothing: float, reduction: str,
) -> Array:  # fmt: skip
    """Return -dy w (1 - label_smoothing) log softmax(input).

    Raises:
        ValueError: as `soft_target_cross_entropy_grad_input`.
    """
    of = (grad_output, input, target, weight)
    return _grad("soft_target_grad_target", *of, label_smoothing, reduction)


def soft_target_cross_entropy_vjp(
    grad_output: Array, input: Array, target: Array, weight: Array | None = None, *,
    label_smoothing: float, reduction: str,
) -> tuple[Array, Array]:  # fmt: skip
    """Return the gradients by the input and by the target.

    Raises:
        ValueError: as `soft_target_cross_entropy_grad_input`.
    """
    of = (grad_output, input, target, weight)
    return (
        _grad("soft_target_grad_input", *of, label_smoothing, reduction),
        _grad("soft_target_grad_target", *of, label_smoothing, reduction),
    )


def _grad(
    kernel: str, grad_output: Any, input: Any, target: Any, weight: Any, label_smoothing: float,
    reduction: str,
) -> Array:  # fmt: skip
    smoothing = check_smoothing(label_smoothing)
    machine, (input, target, weight, dy) = _placed(  # noqa: A001
        input, target, weight, reduction, grad_output=grad_output
    )
    rows = input.shape[0]
    each = spread(dy, reduction, (rows,))
    divisor = float(rows if reduction == "mean" else 1)
    found = machine.empty(input.shape, input.dtype)
    machine.each(
        SOURCE, kernel,
        (dy, input, target, weight, found, smoothing, divisor, each, *input.shape),
        count=rows, dtype=input.dtype,
    )  # fmt: skip
    return found


def _placed(
    input: Any, target: Any, weight: Any, reduction: str, **grad_output: Any
) -> tuple[Machine, list[Any]]:
    """Return the machine and the arrays there.

    Raises:
        ValueError: the shapes do not fit, `reduction` is unknown, or the mean is over nothing.
    """
    machine, placed = place(
        input=input, target=target, weight=weight, optional=("weight",), integers={},
        **grad_output,
    )  # fmt: skip
    logits, of, weights = placed[:3]
    check_letters({"input": (logits, "nc"), "target": (of, "nc"), "weight": (weights, "c")})
    check_reduction(reduction, len(logits))
    return machine, placed
