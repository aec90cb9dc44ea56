"""Embeddings, gather, scatter_add and index_select, and their gradients, vectorised."""

from math import prod
from operator import index as whole
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gradoracle.implementations.im2col.halves import in_float32
from gradoracle.implementations.shapes import check_letters

Array: TypeAlias = npt.NDArray[Any]


def place_of(axis: int, ndim: int) -> int:
    """Return an axis counted from the first.

    Raises:
        ValueError: there is no such axis.
    """
    if not -ndim <= axis < ndim:
        raise ValueError(f"axis {axis} is none of {ndim}")
    return whole(axis) % ndim


def _check_indices(index: Array, count: int) -> None:
    """Raise ValueError unless all indices are whole numbers below `count`, and not below 0."""
    if index.dtype.kind not in "iu":
        raise ValueError(f"indices must be whole numbers, got {index.dtype}")
    if index.size and not 0 <= index.min() <= index.max() < count:
        raise ValueError(f"indices must be 0 to {count - 1}")


def _summed_at(values: Array, at: Array, count: int) -> Array:
    """Return `count` sums: of the rows of values [K, ...] that `at` [K] names alike.

    Rows are sorted by their place, so that each sum is one of rows side by side.
    """
    sums = np.zeros((count, *values.shape[1:]), values.dtype)
    if values.size:
        order = np.argsort(at, kind="stable")
        first = np.flatnonzero(np.diff(at[order], prepend=-1))
        sums[at[order][first]] = np.add.reduceat(values[order], first, 0)
    return sums


def _padding(padding_idx: int | None, rows: int) -> int | None:
    """Return the row of the padding, counted from the first.

    Raises:
        ValueError: there is no such row.
    """
    if padding_idx is None:
        return None
    if not -rows <= padding_idx < rows:
        raise ValueError(f"padding_idx {padding_idx} is no row of {rows}")
    return padding_idx % rows


def _check_tokens(input: Array, weight: Array, grad_output: Array | None = None) -> None:
    arrays = {"input": (input, "nt"), "weight": (weight, "vd"), "grad_output": (grad_output, "ntd")}
    check_letters(arrays)
    _check_indices(input, len(weight))


def embedding(input: Array, weight: Array, *, padding_idx: int | None) -> Array:
    """Return the rows [N, T, D] of weight [V, D] that input [N, T] names.

    Raises:
        ValueError: the shapes do not fit, or an index or padding_idx names no row.
    """
    _check_tokens(input, weight)
    _padding(padding_idx, len(weight))
    return weight.take(input, 0)


@in_float32
def embedding_grad(
    grad_output: Array, input: Array, weight: Array, *, padding_idx: int | None
) -> Array:
    """Return for each row of weight the sum of dy where input names it; 0 for the padding.

    Raises:
        ValueError: as `embedding`, or dy does not have the shape of the result.
    """
    _check_tokens(input, weight, grad_output)
    padding = _padding(padding_idx, len(weight))
    dw = _summed_at(grad_output.reshape(-1, weight.shape[1]), input.ravel(), len(weight))
    if padding is not None:
        dw[padding] = 0
    return dw


def _check_fit(input: Array, index: Array, axis: int) -> int:
    """Return the axis, counted from the first.

    Raises:
        ValueError: index does not fit input, or there is no such axis.
    """
    place = place_of(axis, input.ndim)
    if index.ndim != input.ndim:
        raise ValueError(f"index has {index.ndim} axes, input {input.ndim}")
    longer = [at for at in range(index.ndim) if index.shape[at] > input.shape[at]]
    if any(at != place for at in longer):
        raise ValueError(f"index {index.shape} is longer than input {input.shape}")
    _check_indices(index, input.shape[place])
    return place


def _like(array: Array, other: Array, name: str) -> None:
    if array.shape != other.shape:
        raise ValueError(f"{name} has shape {array.shape}, not {other.shape}")


def _part(input: Array, index: Array, place: int) -> Array:
    """Return the part of input that an index which is shorter beside its axis can name."""
    return input[tuple(slice(None if at == place else side) for at, side in enumerate(index.shape))]


def gather(input: Array, index: Array, *, axis: int) -> Array:
    """Return input's elements where index says so along an axis, of index's shape.

    Raises:
        ValueError: the shapes do not fit, there is no such axis, or an index names no element.
    """
    place = _check_fit(input, index, axis)
    return np.take_along_axis(_part(input, index, place), index, place)


def _added(shape: tuple[int, ...], index: Array, values: Array, place: int) -> Array:
    """Return zeros of a shape to which values are added where index says so along an axis."""
    strides = [prod(shape[at + 1 :]) for at in range(len(shape))]
    flat = index * strides[place]
    for at, step in enumerate(strides):
        if at != place:
            sides = [-1 if other == at else 1 for other in range(len(shape))]
            flat = flat + step * np.arange(index.shape[at]).reshape(sides)
    return _summed_at(values.ravel(), flat.ravel(), prod(shape)).reshape(shape)


@in_float32
def gather_grad(grad_output: Array, input: Array, index: Array, *, axis: int) -> Array:
    """Return zeros to which dy is added where index says so.

    Raises:
        ValueError: as `gather`, or dy has another shape than index.
    """
    place = _check_fit(input, index, axis)
    _like(grad_output, index, "grad_output")
    return _added(input.shape, index, grad_output, place)


@in_float32
def scatter_add(input: Array, index: Array, src: Array, *, axis: int) -> Array:
    """Return input to which src is added where index says so along an axis.

    Raises:
        ValueError: as `gather`, or src has another shape than index.
    """
    place = _check_fit(input, index, axis)
    _like(src, index, "src")
    y: Array = input + _added(input.shape, index, src, place)
    return y


def scatter_add_grad_input(
    grad_output: Array, input: Array, index: Array, src: Array, *, axis: int
) -> Array:
    """Return a copy of dy.

    Raises:
        ValueError: as `scatter_add`, or dy has another shape than input.
    """
    _check_fit(input, index, axis)
    _like(src, index, "src")
    _like(grad_output, input, "grad_output")
    return grad_output.copy()


def scatter_add_grad_src(
    grad_output: Array, input: Array, index: Array, src: Array, *, axis: int
) -> Array:
    """Return dy where index says so.

    Raises:
        ValueError: as `scatter_add_grad_input`.
    """
    _like(src, index, "src")
    _like(grad_output, input, "grad_output")
    return gather(grad_output, index, axis=axis)


def index_select(input: Array, index: Array, *, axis: int) -> Array:
    """Return the entries of input along an axis that index [K] names.

    Raises:
        ValueError: index has other axes than one or names no entry, or there is no such axis.
    """
    place = _check_entries(input, index, axis)
    return input.take(index, place)


def _check_entries(input: Array, index: Array, axis: int) -> int:
    place = place_of(axis, input.ndim)
    check_letters({"index": (index, "n")})
    _check_indices(index, input.shape[place])
    return place


@in_float32
def index_select_grad(grad_output: Array, input: Array, index: Array, *, axis: int) -> Array:
    """Return zeros to whose entries along an axis those of dy are added.

    Raises:
        ValueError: as `index_select`, or dy does not have the shape of the result.
    """
    place = _check_entries(input, index, axis)
    wanted = (*input.shape[:place], len(index), *input.shape[place + 1 :])
    if grad_output.shape != wanted:
        raise ValueError(f"grad_output has shape {grad_output.shape}, not {wanted}")
    rows = _summed_at(np.moveaxis(grad_output, place, 0), index, input.shape[place])
    return np.ascontiguousarray(np.moveaxis(rows, 0, place))
