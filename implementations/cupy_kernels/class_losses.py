"""Losses of classes, of log-probabilities or of logits [N, C], and their gradients."""

from typing import Any

import numpy as np

from gradoracle.implementations.cupy_kernels.machine import Machine, Source, accumulator
from gradoracle.implementations.cupy_kernels.placement import place
from gradoracle.implementations.cupy_kernels.reductions import (
    check_reduction,
    quotient,
    results,
    spread,
    total,
)
from gradoracle.implementations.shapes import Array, check_letters

SOURCE = Source(
    "class_losses.cu",
    ("nll_loss", "nll_loss_grad", "cross_entropy_loss", "cross_entropy_loss_grad"),
)


def nll_loss(
    input: Array, target: Array, weight: Array | None = None, *, ignore_index: int, reduction: str
) -> Array:
    """Return -w[t] input[n, t] [N], their sum, or that over the sum of the weights.

    Raises:
        ValueError: the shapes do not fit, a target is no class and not ignored, `reduction` is
            unknown, or the mean is over nothing.
    """
    return _loss("nll_loss", input, target, weight, (), ignore_index, reduction)


def nll_loss_grad(
    grad_output: Array, input: Array, target: Array, weight: Array | None = None, *,
    ignore_index: int, reduction: str,
) -> Array:  # fmt: skip
    """Return -dy w[t] at the target of each row, else 0.

    Raises:
        ValueError: as `nll_loss`, or dy does not have the shape of the loss.
    """
    machine, (input, target, weight, dy) = _placed(  # noqa: A001 - the protocol's name
        input, target, weight, ignore_index, reduction, grad_output=grad_output
    )
    each = spread(dy, reduction, target.shape)
    of = _weights(machine, input, target, weight, ignore_index, reduction)
    dx = machine.empty(input.shape, input.dtype)
    machine.each(
        SOURCE, "nll_loss_grad",
        (dy, target, weight, of, dx, each, np.int64(ignore_index), *input.shape),
        count=dx.size, dtype=dx.dtype,
    )  # fmt: skip
    return dx


def cross_entropy_loss(
    input: Array, target: Array, weight: Array | None = None, *, ignore_index: int,
    label_smoothing: float, reduction: str,
) -> Array:  # fmt: skip
    """Return the cross-entropy of logits [N, C] and classes [N], which has PyTorch's options.

    Raises:
        ValueError: as `nll_loss`, or label_smoothing is not between 0 and 1.
    """
    options = (check_smoothing(label_smoothing),)
    return _loss("cross_entropy_loss", input, target, weight, options, ignore_index, reduction)


def cross_entropy_loss_grad(
    grad_output: Array, input: Array, target: Array, weight: Array | None = None, *,
    ignore_index: int, label_smoothing: float, reduction: str,
) -> Array:  # fmt: skip
    """Return dy (p W - v), where v[c] are the weights of the labels [N, C], and W their sums.

    Raises:
        ValueError: as `cross_entropy_loss`, or dy does not have the shape of the loss.
    """
    smoothing = check_smoothing(label_smoothing)
    machine, (input, target, weight, dy) = _placed(  # noqa: A001
        input, target, weight, ignore_index, reduction, grad_output=grad_output
    )
    each = spread(dy, reduction, target.shape)
    of = _weights(machine, input, target, weight, ignore_index, reduction)
    dz = machine.empty(input.shape, input.dtype)
    ignored = np.int64(ignore_index)
    machine.each(
        SOURCE, "cross_entropy_loss_grad",
        (dy, input, target, weight, of, dz, smoothing, each, ignored, *input.shape),
        count=len(target), dtype=dz.dtype,
    )  # fmt: skip
    return dz


def check_smoothing(smoothing: float) -> float:
    """Return the label smoothing.

    Raises:
        ValueError: it is not between 0 and 1.
    """
    if not 0 <= smoothing <= 1:
        raise ValueError(f"label_smoothing must be between 0 and 1, got {smoothing}")
    return float(smoothing)


def _placed(
    input: Any, target: Any, weight: Any, ignore_index: int, reduction: str, **grad_output: Any
) -> tuple[Machine, list[Any]]:
    """Return the machine and the arrays there.

    Raises:
        ValueError: the shapes do not fit, a target is no class and not ignored, `reduction` is
            unknown, or the mean is over nothing.
    """
    machine, placed = place(
        input=input, target=target, weight=weight, optional=("weight",), **grad_output
    )
    logits, classes, of = placed[:3]
    check_letters({"input": (logits, "nc"), "target": (classes, "n"), "weight": (of, "c")})
    with machine.active():  # it looks at the elements
        taken = classes[classes != ignore_index]
        check_reduction(reduction, len(taken))
        if len(taken) and not 0 <= taken.min() <= taken.max() < logits.shape[1]:
            raise ValueError(
                f"target must hold classes 0 to {logits.shape[1] - 1}, or {ignore_index}"
            )
    return machine, placed


def _loss(
    kernel: str, input: Any, target: Any, weight: Any, options: tuple[float, ...],
    ignore_index: int, reduction: str,
) -> Array:  # fmt: skip
    machine, (input, target, weight) = _placed(input, target, weight, ignore_index, reduction)  # noqa: A001
    y, terms = results(machine, target.shape, input.dtype, reduction)
    weights = None if terms is None else machine.empty(terms.shape, terms.dtype)
    machine.each(
        SOURCE, kernel,
        (input, target, weight, y, terms, weights, *options, np.int64(ignore_index), *input.shape),
        count=len(target), dtype=input.dtype,
    )  # fmt: skip
    if terms is None:
        return y
    return quotient(machine, terms, input.dtype, weights=weights if reduction == "mean" else None)


def _weights(
    machine: Machine, input: Array, target: Array, weight: Array | None, ignore_index: int,
    reduction: str,
) -> Array | None:  # fmt: skip
    """Return the sum of the weights of all rows that count, where the mean is over it."""
    if reduction != "mean":
        return None
    terms, weights = (machine.empty(target.shape, accumulator(input.dtype)) for _ in range(2))
    machine.each(
        SOURCE, "nll_loss",
        (input, target, weight, None, terms, weights, np.int64(ignore_index), *input.shape),
        count=len(target), dtype=input.dtype,
    )  # fmt: skip
    return total(machine, weights, input.dtype)
