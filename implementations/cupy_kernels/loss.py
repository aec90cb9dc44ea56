"""Softmax, its logarithm, and cross-entropy."""

from math import prod
from operator import index
from typing import Any, TypeAlias

from gradoracle.implementations.cupy_kernels.machine import Source, accumulator
from gradoracle.implementations.cupy_kernels.placement import place
from gradoracle.implementations.shapes import Array, Shape, check_cross_entropy, check_same_shape

SOFTMAX = Source("softmax.cu", ("softmax", "softmax_grad", "log_softmax", "log_softmax_grad"))
CROSS_ENTROPY = Source("cross_entropy.cu", ("row_losses", "total_loss", "cross_entropy_grad"))

Lines: TypeAlias = tuple[int, int, int]  # how many, how long, how far apart their elements are


def softmax(z: Array, *, axis: int) -> Array:
    """Return e^z along `axis`, divided by its sum.

    Raises:
        ValueError: there is no such axis, or nothing on it.
    """
    return _of_lines("softmax", z, axis)


def softmax_grad(grad_output: Array, z: Array, *, axis: int) -> Array:
    """Return dz = p (dp - sum dp p) along `axis`.

    Raises:
        ValueError: the shapes differ, there is no such axis, or nothing on it.
    """
    return _grad_of_lines("softmax_grad", grad_output, z, axis)


def log_softmax(z: Array, *, axis: int) -> Array:
    """Return z - log sum e^z along `axis`.

    Raises:
        ValueError: there is no such axis, or nothing on it.
    """
    return _of_lines("log_softmax", z, axis)


def log_softmax_grad(grad_output: Array, z: Array, *, axis: int) -> Array:
    """Return dy - softmax(z) sum dy along `axis`.

    Raises:
        ValueError: the shapes differ, there is no such axis, or nothing on it.
    """
    return _grad_of_lines("log_softmax_grad", grad_output, z, axis)


def cross_entropy(logits: Array, target: Array, *, reduction: str) -> Array:
    """Return the loss of logits [N, C] and classes [N], summed or averaged over the rows.

    Raises:
        ValueError: the shapes do not fit, a target is no class, `reduction` is unknown, or the
            mean is over nothing.
    """
    machine, (logits, target) = place(logits=logits, target=target)
    with machine.active():  # it looks at the elements
        check_cross_entropy(logits, target, reduction)
    rows, classes = logits.shape
    if not rows:
        return machine.zeros((), logits.dtype)
    losses = machine.empty((rows,), accumulator(logits.dtype))
    machine.each(
        CROSS_ENTROPY, "row_losses", (logits, target, losses, rows, classes),
        count=rows, dtype=logits.dtype,
    )  # fmt: skip
    loss = machine.empty((), logits.dtype)
    machine.sums(
        CROSS_ENTROPY, "total_loss", (losses, loss, _divisor(rows, reduction), rows),
        count=1, terms=rows, dtype=logits.dtype,
    )  # fmt: skip
    return loss


def cross_entropy_grad(logits: Array, target: Array, *, reduction: str) -> Array:
    """Return dz [N, C] = softmax(z) - onehot(target), divided by N for the mean.

    Raises:
        ValueError: as `cross_entropy`.
    """
    machine, (logits, target) = place(logits=logits, target=target)
    with machine.active():  # it looks at the elements
        check_cross_entropy(logits, target, reduction)
    rows, classes = logits.shape
    dz = machine.empty(logits.shape, logits.dtype)
    machine.each(
        CROSS_ENTROPY, "cross_entropy_grad",
        (logits, target, dz, _divisor(rows, reduction), rows, classes),
        count=rows, dtype=logits.dtype,
    )  # fmt: skip
    return dz


def _of_lines(kernel: str, z: Any, axis: int) -> Array:
    """Return what a kernel makes of every line along an axis."""
    machine, (z,) = place(z=z)
    lines = _lines(z.shape, axis)
    y = machine.empty(z.shape, z.dtype)
    machine.each(SOFTMAX, kernel, (z, y, *lines), count=lines[0], dtype=z.dtype)
    return y


def _grad_of_lines(kernel: str, grad_output: Any, z: Any, axis: int) -> Array:
    """Return what a kernel makes of dy and z along every line."""
    machine, (grad_output, z) = place(grad_output=grad_output, z=z)
    check_same_shape(grad_output, z)
    lines = _lines(z.shape, axis)
    dz = machine.empty(z.shape, z.dtype)
    arguments = (grad_output, z, dz, *lines)
    machine.each(SOFTMAX, kernel, arguments, count=lines[0], dtype=z.dtype)
    return dz


def _divisor(rows: int, reduction: str) -> float:
    return float(rows) if reduction == "mean" else 1.0


def _lines(shape: Shape, axis: Any) -> Lines:
    """Return the lines along an axis of an array [outer, length, inner].

    Raises:
        ValueError: there is no such axis, or nothing on it.
    """
    try:
        at = range(len(shape))[index(axis)]
    except (IndexError, TypeError) as error:
        raise ValueError(f"there is no axis {axis!r} in shape {shape}") from error
    if not shape[at]:
        raise ValueError(f"there is nothing on axis {axis} of shape {shape}")
    inner = prod(shape[at + 1 :])
    return prod(shape[:at]) * inner, shape[at], inner
