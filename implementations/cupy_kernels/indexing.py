"""What indices name along an axis, and the sums of what they send to the same place."""

from math import prod
from operator import index as whole
from typing import Any

import numpy as np

from gradoracle.implementations.cupy_kernels.machine import Machine, Source
from gradoracle.implementations.cupy_kernels.placement import place
from gradoracle.implementations.cupy_kernels.structs import Struct
from gradoracle.implementations.shapes import Array, Shape, check_letters

SOURCE = Source(
    "indexing.cu", ("entries", "gather", "keys_of_entries", "keys_of_places", "sums_at")
)
AXES = 4  # that kernels count along
ALONG = np.dtype([(f"{of}{at}", np.int32) for of in "IS" for at in range(AXES)] + [("axis", "i4")])
INTEGERS = {"index": "int64"}
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


def _axis(axis: Any, ndim: int) -> int:
    """Return an axis counted from the first.

    Raises:
        ValueError: there is no such axis.
    """
    try:
        return range(ndim)[whole(axis)]
    except (IndexError, TypeError) as error:
        raise ValueError(f"axis {axis!r} is none of {ndim}") from error


def _along(machine: Machine, input: Array, index: Array, axis: int) -> Struct:
    """Return how an index points into an array.

    Raises:
        ValueError: index does not fit input, or there is no such axis.
        NotImplementedError: there are more axes than kernels count along.
    """
    at = _axis(axis, input.ndim)
    if index.ndim != input.ndim:
        raise ValueError(f"index has {index.ndim} axes, input {input.ndim}")
    if any(
        k != at and a > b for k, (a, b) in enumerate(zip(index.shape, input.shape, strict=True))
    ):
        raise ValueError(f"index {index.shape} is longer than input {input.shape}")
    check_inside(machine, index, input.shape[at])
    more = AXES - input.ndim
    if more < 0:
        raise NotImplementedError(f"kernels index {AXES} axes, got shape {input.shape}")
    ones = (1,) * more
    return np.array((*ones, *index.shape, *ones, *input.shape, at + more), ALONG)


def _same(name: str, array: Array, other: Array) -> None:
    if array.shape != other.shape:
        raise ValueError(f"{name} has shape {array.shape}, not {other.shape}")


def gather(input: Array, index: Array, *, axis: int) -> Array:
    """Return input's elements where index says so along an axis, of index's shape.

    Raises:
        ValueError: the shapes do not fit, there is no such axis, or an index names no element.
    """
    machine, (input, index) = place(input=input, index=index, integers=INTEGERS)  # noqa: A001
    return _gathered(machine, input, index, _along(machine, input, index, axis))


def _gathered(machine: Machine, x: Array, index: Array, along: Struct) -> Array:
    y = machine.empty(index.shape, x.dtype)
    machine.each(SOURCE, "gather", (x, index, y, y.size, along), count=y.size, dtype=y.dtype)
    return y


def _scattered(
    machine: Machine, values: Array, index: Array, base: Array | None, shape: Shape, along: Struct
) -> Array:
    keys = machine.empty((index.size,), np.int64)
    arguments = (index, keys, index.size, along)
    machine.each(SOURCE, "keys_of_places", arguments, count=keys.size, dtype=values.dtype)
    return _sums(machine, values, keys, base, shape, (max(prod(shape), 1), 1, NOWHERE))


def gather_grad(grad_output: Array, input: Array, index: Array, *, axis: int) -> Array:
    """Return zeros to which dy is added where index says so.

    Raises:
        ValueError: as `gather`, or dy has another shape than index.
    """
    machine, (dy, input, index) = place(  # noqa: A001 - the protocol's name
        grad_output=grad_output, input=input, index=index, integers=INTEGERS
    )
    along = _along(machine, input, index, axis)
    _same("grad_output", dy, index)
    return _scattered(machine, dy, index, None, input.shape, along)


def scatter_add(input: Array, index: Array, src: Array, *, axis: int) -> Array:
    """Return input to which src is added where index says so along an axis.

    Raises:
        ValueError: as `gather`, or src has another shape than index.
    """
    machine, (input, index, src) = place(  # noqa: A001
        input=input, index=index, src=src, integers=INTEGERS
    )
    along = _along(machine, input, index, axis)
    _same("src", src, index)
    return _scattered(machine, src, index, input, input.shape, along)


def scatter_add_grad_input(
    grad_output: Array, input: Array, index: Array, src: Array, *, axis: int
) -> Array:
    """Return a copy of dy.

    Raises:
        ValueError: as `scatter_add`, or dy has another shape than input.
    """
    machine, (dy, input, index, src) = place(  # noqa: A001
        grad_output=grad_output, input=input, index=index, src=src, integers=INTEGERS
    )
    _along(machine, input, index, axis)
    _same("src", src, index)
    _same("grad_output", dy, input)
    with machine.active():
        return dy.copy()


def scatter_add_grad_src(
    grad_output: Array, input: Array, index: Array, src: Array, *, axis: int
) -> Array:
    """Return dy where index says so.

    Raises:
        ValueError: as `scatter_add_grad_input`.
    """
    machine, (dy, input, index, src) = place(  # noqa: A001
        grad_output=grad_output, input=input, index=index, src=src, integers=INTEGERS
    )
    along = _along(machine, input, index, axis)
    _same("src", src, index)
    _same("grad_output", dy, input)
    return _gathered(machine, dy, index, along)


def index_select(input: Array, index: Array, *, axis: int) -> Array:
    """Return the entries of input along an axis that index [K] names.

    Raises:
        ValueError: index has other axes than one or names no entry, or there is no such axis.
    """
    machine, (input, index) = place(input=input, index=index, integers=INTEGERS)  # noqa: A001
    at, shape = _entries(machine, input, index, axis)
    return chosen(machine, input, index, at, shape)


def index_select_grad(grad_output: Array, input: Array, index: Array, *, axis: int) -> Array:
    """Return zeros to whose entries along an axis those of dy are added.

    Raises:
        ValueError: as `index_select`, or dy does not have the shape of the result.
    """
    machine, (dy, input, index) = place(  # noqa: A001
        grad_output=grad_output, input=input, index=index, integers=INTEGERS
    )
    at, shape = _entries(machine, input, index, axis)
    if dy.shape != shape:
        raise ValueError(f"grad_output has shape {dy.shape}, not {shape}")
    return added(machine, dy, index, input.shape, at)


def _entries(machine: Machine, input: Array, index: Array, axis: int) -> tuple[int, Shape]:
    """Return the axis counted from the first, and the shape of the entries."""
    at = _axis(axis, input.ndim)
    check_letters({"index": (index, "n")})
    check_inside(machine, index, input.shape[at])
    return at, (*input.shape[:at], index.size, *input.shape[at + 1 :])
