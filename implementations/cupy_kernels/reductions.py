"""Losses that are all returned, summed or averaged."""

from typing import Any

import numpy as np

from gradoracle.implementations.cupy_kernels.machine import Machine, Source, accumulator
from gradoracle.implementations.shapes import Array, Shape

SOURCE = Source("sums.cu", ("partial_sums", "quotient"))
REDUCTIONS = ("none", "mean", "sum")
LENGTH = 4096  # of the terms that one block adds up


def check_reduction(reduction: str, count: int) -> None:
    """Raise ValueError where a reduction is unknown, or is the mean of nothing."""
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be one of {REDUCTIONS}, got {reduction!r}")
    if reduction == "mean" and not count:
        raise ValueError("there is no mean of nothing")


def results(
    machine: Machine, shape: Shape, dtype: Any, reduction: str
) -> tuple[Array | None, Array | None]:
    """Return an array for all losses, or one for the terms of their sum; the other is None."""
    if reduction == "none":
        return machine.empty(shape, dtype), None
    return None, machine.empty(shape, accumulator(dtype))


def total(machine: Machine, terms: Array, dtype: Any) -> Array:
    """Return the sum of all terms, an array of one element in their own dtype."""
    if not terms.size:
        return machine.zeros((1,), terms.dtype)
    while terms.size > 1:
        parts = machine.empty((-(-terms.size // LENGTH),), terms.dtype)
        machine.sums(
            SOURCE, "partial_sums", (terms, parts, terms.size, LENGTH),
            count=parts.size, terms=min(terms.size, LENGTH), dtype=dtype,
        )  # fmt: skip
        terms = parts
    return terms


def quotient(
    machine: Machine, terms: Array, dtype: Any, *, weights: Array | None = None, divisor: int = 1
) -> Array:
    """Return the sum of all terms over that of the weights, or over the divisor."""
    y = machine.empty((), dtype)
    of = None if weights is None else total(machine, weights, dtype)
    arguments = (total(machine, terms, dtype), of, y, float(divisor))
    machine.each(SOURCE, "quotient", arguments, count=1, dtype=dtype)
    return y


def spread(grad_output: Array, reduction: str, shape: Shape) -> np.int32:
    """Return whether dy has an element for each term, of this shape, or one for all.

    Raises:
        ValueError: dy does not have the shape of the loss.
    """
    wanted = shape if reduction == "none" else ()
    if grad_output.shape != wanted:
        raise ValueError(f"grad_output has shape {grad_output.shape}, the loss {wanted}")
    return np.int32(reduction == "none")
