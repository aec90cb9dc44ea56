"""Arrays side by side, apart, added to each other, added up, and with elements left out."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradoracle.oracle.derive import derived
from gradoracle.oracle.formulas.indexing import place_of
from gradoracle.oracle.numbers.elementary import either
from gradoracle.oracle.numbers.reverse import where
from gradoracle.oracle.shapes import Array, check_integer


@derived(
    "first: *; second: *; third?: *; grad_output: *", ("first", "second", "third")
)  # fmt: skip
def cat(first: Any, second: Any, third: Any = None, *, axis: int) -> Any:
    """Return two or three arrays side by side along an axis.

        y[i,j] = first[i,j] for i < I1, second[i-I1,j] for i < I1+I2, then third[i-I1-I2,j],
        for axis = 0, with I1 and I2 the lengths of first and second; along other axes alike

    (PyTorch's `cat`).

    Raises:
        ValueError: there is no such axis, or the shapes differ along another one.
    """
    place = place_of(axis, first.ndim)
    arrays = [one for one in (first, second, third) if one is not None]
    shapes = [[*one.shape] for one in arrays]
    others = [shape[:place] + shape[place + 1 :] for shape in shapes]
    if any(len(s) != first.ndim for s in shapes) or any(one != others[0] for one in others):
        raise ValueError(f"shapes must be equal beside axis {axis}, got {shapes}")
    return np.concatenate(arrays, place)


@derived("input: *", (), outputs=("first: *", "second: *"))
def split(input: Any, *, sections: tuple[int, int], axis: int) -> Any:
    """Return (first, second): the entries of input along an axis in two parts.

        first[i,j] = input[i,j] for i < sections[0],  second[i,j] = input[i+sections[0],j],
        for axis = 0; along other axes alike

    (PyTorch's `split`, of two sections).  The gradient is `cat` of those of the parts.

    Raises:
        ValueError: there is no such axis, or the sections are not its length together, or one of
            them is empty.
    """
    place = place_of(axis, input.ndim)
    lengths = [check_integer("sections", one, smallest=1) for one in sections]
    if len(lengths) != 2 or sum(lengths) != input.shape[place]:
        raise ValueError(
            f"sections must be two numbers whose sum is {input.shape[place]}, got {sections}"
        )
    before = (slice(None),) * place
    return input[(*before, slice(0, lengths[0]))], input[(*before, slice(lengths[0], None))]


@derived("input: *; grad_output: *", ("input",))
def cumsum(input: Any, *, axis: int) -> Any:
    """Return the sums of input up to each element along an axis, of input's shape.

        y[i,j] = sum_{k <= i} input[k,j],  for axis = 0; along other axes alike

    (PyTorch's `cumsum`).

    Raises:
        ValueError: there is no such axis.
    """
    return np.cumsum(input, place_of(axis, input.ndim))


@derived("input: *; other: *; grad_output: *", ("input", "other"), neutral={"alpha": 1.0})
def add(input: Any, other: Any, *, alpha: float) -> Any:
    """Return the sum of two arrays whose shapes are broadcast together, as NumPy does.

        y = input + alpha other

    (PyTorch's `add`; with alpha = 1 and equal shapes, the connection that He and others 2015, "Deep
    Residual Learning for Image Recognition", equation 1, add).

    Raises:
        ValueError: the shapes cannot be broadcast together.
    """
    np.broadcast_shapes(input.shape, other.shape)
    return input + other * alpha


@derived(
    "z: n *; mask: n *; grad_output: n *", {"z": ("mask", "p")}, images="kept"
)  # fmt: skip
def dropout_with_mask(z: Any, mask: Array, *, p: float) -> Any:
    """Return y, of z's shape and dtype; the mask, of bool, is True where an element is kept.

        y = z / (1 - p) where mask, else 0;  0 everywhere for p = 1

    (Srivastava and others 2014, "Dropout", scaled in training as PyTorch does, with the random mask
    as an argument).

    Raises:
        ValueError: p is not between 0 and 1, or the mask has another shape or is not of bool.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"p must be between 0 and 1, got {p}")
    if getattr(mask, "dtype", None) != np.bool_ or tuple(mask.shape) != tuple(z.shape):
        raise ValueError(f"mask must be of bool and shape {[*z.shape]}, got shape {[*mask.shape]}")
    if p == 1:
        return where(np.zeros(z.shape, bool), z, 0)
    kept = either(z / (1 - p), lambda: z * (1 / (1 - p)))
    return where(mask, kept, 0)


DERIVED = (add, cat, cumsum, dropout_with_mask, split)
