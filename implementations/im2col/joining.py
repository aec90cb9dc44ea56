"""Sums, cat, split, cumsum and dropout with a given mask, and their gradients, vectorised."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gradoracle.implementations.im2col.halves import in_float32
from gradoracle.implementations.im2col.indexing import place_of

Array: TypeAlias = npt.NDArray[Any]


def _whole(arrays: list[Array], axis: int) -> int:
    """Return the axis along which arrays fit beside each other, counted from the first.

    Raises:
        ValueError: there is no such axis, or the shapes differ along another one.
    """
    place = place_of(axis, arrays[0].ndim)
    others = {one.shape[:place] + one.shape[place + 1 :] for one in arrays}
    if len(others) > 1 or len({one.ndim for one in arrays}) > 1:
        raise ValueError(f"shapes {[one.shape for one in arrays]} differ beside axis {axis}")
    return place


def cat(first: Array, second: Array, third: Array | None = None, *, axis: int) -> Array:
    """Return two or three arrays side by side along an axis.

    Raises:
        ValueError: there is no such axis, or the shapes differ along another one.
    """
    arrays = [one for one in (first, second, third) if one is not None]
    return np.concatenate(arrays, _whole(arrays, axis))


def cat_vjp(
    grad_output: Array, first: Array, second: Array, third: Array | None = None, *, axis: int
) -> tuple[Array, Array, Array | None]:
    """Return dy's parts, as long as the arrays; None for a third that is None.

    Raises:
        ValueError: as `cat`, or dy does not have the shape of the result.
    """
    arrays = [one for one in (first, second, third) if one is not None]
    place = _whole(arrays, axis)
    ends = np.cumsum([one.shape[place] for one in arrays]).tolist()
    wanted = (*first.shape[:place], ends[-1], *first.shape[place + 1 :])
    if grad_output.shape != wanted:
        raise ValueError(f"grad_output has shape {grad_output.shape}, not {wanted}")
    parts = [one.copy() for one in np.split(grad_output, ends[:-1], place)]
    return parts[0], parts[1], parts[2] if third is not None else None


def cat_grad_first(
    grad_output: Array, first: Array, second: Array, third: Array | None = None, *, axis: int
) -> Array:
    """Return the part of dy that is first's.

    Raises:
        ValueError: as `cat_vjp`.
    """
    return cat_vjp(grad_output, first, second, third, axis=axis)[0]


def cat_grad_second(
    grad_output: Array, first: Array, second: Array, third: Array | None = None, *, axis: int
) -> Array:
    """Return the part of dy that is second's.

    Raises:
        ValueError: as `cat_vjp`.
    """
    return cat_vjp(grad_output, first, second, third, axis=axis)[1]


def cat_grad_third(
    grad_output: Array, first: Array, second: Array, third: Array | None = None, *, axis: int
) -> Array:
    """Return the part of dy that is third's.

    Raises:
        ValueError: as `cat_vjp`, or third is None.
    """
    found = cat_vjp(grad_output, first, second, third, axis=axis)[2]
    if found is None:
        raise ValueError("third is None")
    return found


def split(input: Array, *, sections: tuple[int, int], axis: int) -> tuple[Array, Array]:
    """Return the first sections[0] entries of input along an axis, and the sections[1] after them.

    Raises:
        ValueError: there is no such axis, or the sections are not its length together, or one of
            them is empty.
    """
    place = place_of(axis, input.ndim)
    if len(sections) != 2 or min(sections) < 1 or sum(sections) != input.shape[place]:
        raise ValueError(f"sections {sections} are no parts of {input.shape[place]} entries")
    first, second = np.split(input, [sections[0]], place)
    return first.copy(), second.copy()


@in_float32
def cumsum(input: Array, *, axis: int) -> Array:
    """Return the sums of input up to each element along an axis.

    Raises:
        ValueError: there is no such axis.
    """
    return input.cumsum(place_of(axis, input.ndim))


@in_float32
def cumsum_grad(grad_output: Array, input: Array, *, axis: int) -> Array:
    """Return the sums of dy from each element on along an axis.

    Raises:
        ValueError: as `cumsum`, or the shapes differ.
    """
    place = place_of(axis, input.ndim)
    if grad_output.shape != input.shape:
        raise ValueError(f"grad_output has shape {grad_output.shape}, not {input.shape}")
    return np.flip(np.flip(grad_output, place).cumsum(place), place)


@in_float32
def add(input: Array, other: Array, *, alpha: float) -> Array:
    """Return input + alpha other, whose shapes are broadcast together.

    Raises:
        ValueError: they cannot be.
    """
    y: Array = input + input.dtype.type(alpha) * other
    return y


def _summed_to(grad_output: Array, like: Array, beside: Array) -> Array:
    """Return dy summed along the axes along which an array was repeated.

    Raises:
        ValueError: dy does not have the shape that both are broadcast to.
    """
    wanted = np.broadcast_shapes(like.shape, beside.shape)
    if grad_output.shape != wanted:
        raise ValueError(f"grad_output has shape {grad_output.shape}, not {wanted}")
    front = grad_output.ndim - like.ndim
    sides = zip(like.shape, grad_output.shape[front:], strict=True)
    axes = (*range(front), *(front + at for at, (n, m) in enumerate(sides) if n == 1 != m))
    return np.asarray(grad_output.sum(axes)).reshape(like.shape) if axes else grad_output.copy()


@in_float32
def add_grad_input(grad_output: Array, input: Array, other: Array, *, alpha: float) -> Array:
    """Return dy, summed where input was repeated.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    del alpha
    return _summed_to(grad_output, input, other)


@in_float32
def add_grad_other(grad_output: Array, input: Array, other: Array, *, alpha: float) -> Array:
    """Return alpha dy, summed where other was repeated.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    d_other: Array = other.dtype.type(alpha) * _summed_to(grad_output, other, input)
    return d_other


def _check_mask(z: Array, mask: Array, p: float) -> None:
    """Raise ValueError unless the mask is one of z, and p a share."""
    if not 0 <= p <= 1:
        raise ValueError(f"p must be between 0 and 1, got {p}")
    if mask.dtype != np.bool_ or mask.shape != z.shape:
        raise ValueError(f"mask must be bool {z.shape}, got {mask.dtype} {mask.shape}")


@in_float32
def dropout_with_mask(z: Array, mask: Array, *, p: float) -> Array:
    """Return z / (1 - p) where the mask is True, else 0; 0 everywhere for p = 1.

    Raises:
        ValueError: p is not between 0 and 1, or the mask has another shape or is not of bool.
    """
    _check_mask(z, mask, p)
    if p == 1:
        return np.zeros_like(z, order="C")
    y: Array = np.where(mask, z / z.dtype.type(1 - p), z.dtype.type(0))
    return y


def dropout_with_mask_grad(grad_output: Array, mask: Array, *, p: float) -> Array:
    """Return dy / (1 - p) where the mask is True, else 0; 0 everywhere for p = 1.

    Raises:
        ValueError: as `dropout_with_mask`.
    """
    return dropout_with_mask(grad_output, mask, p=p)
