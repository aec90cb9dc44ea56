"""What indices name along an axis, and the sums of what they send to the same place.

What is here knows no protocol: arrays on their machine that fit each other.
"""

from math import prod
from operator import index as whole
from typing import Any

import numpy as np

from gradoracle.implementations.cupy_kernels.machine import Machine, Source
from gradoracle.implementations.cupy_kernels.structs import Struct
from gradoracle.implementations.shapes import Array, Shape

SOURCE = Source(
    "indexing.cu", ("entries", "gather", "keys_of_entries", "keys_of_places", "sums_at")
)
AXES = 4  # that kernels count along
ALONG = np.dtype([(f"{of}{at}", np.int32) for of in "IS" for at in range(AXES)] + [("axis", "i4")])
NOWHERE = -1  # as a padding: no place


def check_inside(machine: Machine, index: Array, count: int) -> None:
    """Raise ValueError unless all indices are below `count`, and not below 0."""
    with machine.active():  # it looks at the elements
        if index.size and not 0 <= index.min() <= index.max() < count:
            raise ValueError(f"indices must be 0 to {count - 1}")


def chosen(machine: Machine, x: Array, index: Array, at: int, shape: Shape) -> Array:
    """Return the entries of x along an axis that an index names, of this shape."""
    y = machine.empty(shape, x.dtype)
    inner = prod(x.shape[at + 1 :])
    machine.each(
        SOURCE, "entries", (x, index, y, y.size, index.size, x.shape[at], inner),
        count=y.size, dtype=y.dtype,
    )  # fmt: skip
    return y


def added(
    machine: Machine, values: Array, index: Array, shape: Shape, at: int, padding: int = NOWHERE
) -> Array:
    """Return zeros of a shape to whose entries along an axis those of values are added."""
    keys = machine.empty((index.size,), np.int64)
    arguments = (index, keys, index.size)
    machine.each(SOURCE, "keys_of_entries", arguments, count=keys.size, dtype=values.dtype)
    inner = prod(shape[at + 1 :])
    return _sums(machine, values, keys, None, shape, (shape[at], inner, padding))


def _sums(
    machine: Machine, values: Array, keys: Array, base: Array | None, shape: Shape,
    of: tuple[int, int, int],
) -> Array:  # fmt: skip
    """Return the sums of values at their places; `of` are places, inner elements and padding."""
    if not keys.size:
        return machine.zeros(shape, values.dtype) if base is None else base.copy()
    y = machine.empty(shape, values.dtype)
    places, inner, padding = of
    machine.each(
        SOURCE, "sums_at",
        (values, machine.sorted(keys), base, y, y.size, places, inner, keys.size, padding),
        count=y.size, dtype=y.dtype,
    )  # fmt: skip
    return y


def axis_of(axis: Any, ndim: int) -> int:
    """Return an axis counted from the first.

    Raises:
        ValueError: there is no such axis.
    """
    try:
        return range(ndim)[whole(axis)]
    except (IndexError, TypeError) as error:
        raise ValueError(f"axis {axis!r} is none of {ndim}") from error


def along(machine: Machine, x: Array, index: Array, axis: int) -> Struct:
    """Return how an index points into an array.

    Raises:
        ValueError: index does not fit input, or there is no such axis.
        NotImplementedError: there are more axes than kernels count along.
    """
    at = axis_of(axis, x.ndim)
    if index.ndim != x.ndim:
        raise ValueError(f"index has {index.ndim} axes, input {x.ndim}")
    if any(k != at and a > b for k, (a, b) in enumerate(zip(index.shape, x.shape, strict=True))):
        raise ValueError(f"index {index.shape} is longer than input {x.shape}")
    check_inside(machine, index, x.shape[at])
    more = AXES - x.ndim
    if more < 0:
        raise NotImplementedError(f"kernels index {AXES} axes, got shape {x.shape}")
    ones = (1,) * more
    return np.array((*ones, *index.shape, *ones, *x.shape, at + more), ALONG)


def check_same(name: str, array: Array, other: Array) -> None:
    """Raise ValueError where two arrays have different shapes."""
    if array.shape != other.shape:
        raise ValueError(f"{name} has shape {array.shape}, not {other.shape}")


def gathered(machine: Machine, x: Array, index: Array, of: Struct) -> Array:
    """Return x's elements where index says so, of index's shape."""
    y = machine.empty(index.shape, x.dtype)
    machine.each(SOURCE, "gather", (x, index, y, y.size, of), count=y.size, dtype=y.dtype)
    return y


def scattered(
    machine: Machine, values: Array, index: Array, base: Array | None, shape: Shape, of: Struct
) -> Array:
    """Return an array of a shape, or zeros, to which values are added where index says so."""
    keys = machine.empty((index.size,), np.int64)
    arguments = (index, keys, index.size, of)
    machine.each(SOURCE, "keys_of_places", arguments, count=keys.size, dtype=values.dtype)
    return _sums(machine, values, keys, base, shape, (max(prod(shape), 1), 1, NOWHERE))
