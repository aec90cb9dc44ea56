"""Reading and adding at places that an array of indices names, with PyTorch's names and options.

Indices are whole numbers of at least 0.  `axis` counts from the first axis, or, if it is negative,
from the last one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gradoracle.oracle.derive import derived
from gradoracle.oracle.numbers.elementary import detached
from gradoracle.oracle.numbers.joining import added_at
from gradoracle.oracle.numbers.reverse import where
from gradoracle.oracle.shapes import Array, check_integer


def place_of(axis: int, ndim: int) -> int:
    """Return which axis an option names, counted from the first.

    Raises:
        ValueError: there is no such axis.
    """
    place = check_integer("axis", axis, smallest=-ndim)
    if place >= ndim:
        raise ValueError(f"axis must be {-ndim} to {ndim - 1}, got {axis}")
    return place % ndim


def _check_indices(name: str, index: Array, count: int) -> None:
    """Raise ValueError unless an array holds whole numbers from 0 to one below `count`."""
    if not isinstance(index, np.ndarray) or index.dtype.kind not in "iu":
        raise ValueError(f"{name} must hold whole numbers, as int64 does")
    if index.size and (index.min() < 0 or index.max() >= count):
        raise ValueError(f"{name} must hold 0 to {count - 1}, got {index.min()} to {index.max()}")


@derived(
    "input: n t; weight: v d; grad_output: n t d", ("weight",), images="kept",
    neutral={"padding_idx": None}, differentiates=False,  # by the row padding_idx
)  # fmt: skip
def embedding(input: Array, weight: Any, *, padding_idx: int | None) -> Any:
    """Return the rows [N, T, D] of weight [V, D] that the indices [N, T] name.

        y[n,t,d] = weight[input[n,t],d]
        of the row padding_idx, where there is one, the gradient is 0

    (PyTorch's `embedding`).  A negative padding_idx counts from the last row.

    Raises:
        ValueError: an index or padding_idx names no row.
    """
    rows = weight.shape[0]
    _check_indices("input", input, rows)
    found = weight[input]
    if padding_idx is None:
        return found
    padding = check_integer("padding_idx", padding_idx, smallest=-rows)
    if padding >= rows:
        raise ValueError(f"padding_idx must be {-rows} to {rows - 1}, got {padding_idx}")
    is_padding = (input == padding % rows)[:, :, np.newaxis]
    return where(is_padding, detached(found), found)


def _grid(index: Array, place: int) -> tuple[Array, ...]:
    """Return the index of each element's own place, but for one axis, where `index` says it."""
    grid = np.meshgrid(*map(np.arange, index.shape), indexing="ij")
    return tuple(index if axis == place else own for axis, own in enumerate(grid))


def _check_fit(input: Any, index: Array, place: int) -> None:
    """Raise ValueError unless an index has as many axes as input, of no greater lengths."""
    if len(index.shape) != input.ndim:
        raise ValueError(
            f"index must have {input.ndim} axes as input has, got shape {[*index.shape]}"
        )
    for axis, (some, every) in enumerate(zip(index.shape, input.shape, strict=True)):
        if axis != place and some > every:
            raise ValueError(
                f"index must be at most {every} long on axis {axis}, got shape {[*index.shape]}"
            )
    _check_indices("index", index, input.shape[place])


@derived("input: *; index: *; grad_output: *", ("input",))
def gather(input: Any, index: Array, *, axis: int) -> Any:
    """Return elements of input, of index's shape.

        y[i,j,k] = input[index[i,j,k],j,k],  for axis = 0; along other axes alike

    (PyTorch's `gather`).  Beside `axis`, index may be shorter than input.

    Raises:
        ValueError: the shapes do not fit, there is no such axis, or an index names no element.
    """
    place = place_of(axis, input.ndim)
    _check_fit(input, index, place)
    return input[_grid(index, place)]


@derived("input: *; index: *; src: *; grad_output: *", ("input", "src"))
def scatter_add(input: Any, index: Array, src: Any, *, axis: int) -> Any:
    """Return input with src's elements added, of input's shape; index has src's shape.

        y[l,j,k] = input[l,j,k] + sum of src[i,j,k] over i with index[i,j,k] = l,
        for axis = 0; along other axes alike

    (PyTorch's `scatter_add`).  Beside `axis`, src may be shorter than input.

    Raises:
        ValueError: as `gather`, or src has another shape than index.
    """
    place = place_of(axis, input.ndim)
    _check_fit(input, index, place)
    if tuple(src.shape) != tuple(index.shape):
        raise ValueError(f"src has shape {[*src.shape]}, but index has {[*index.shape]}")
    return added_at(input, _grid(index, place), src)


@derived("input: *; index: k; grad_output: *", ("input",))
def index_select(input: Any, index: Array, *, axis: int) -> Any:
    """Return the entries of input along an axis that index [K] names, in its order.

        y[k,j] = input[index[k],j],  for axis = 0; along other axes alike

    (PyTorch's `index_select`).

    Raises:
        ValueError: there is no such axis, or an index names no entry.
    """
    place = place_of(axis, input.ndim)
    _check_indices("index", index, input.shape[place])
    return input[(slice(None),) * place + (index,)]


DERIVED = (embedding, gather, index_select, scatter_add)
