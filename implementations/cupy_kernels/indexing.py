"""Gather, scatter_add and index_select, and their gradients."""

from gradoracle.implementations.cupy_kernels.machine import Machine
from gradoracle.implementations.cupy_kernels.placement import place
from gradoracle.implementations.cupy_kernels.places import (
    added,
    along,
    axis_of,
    check_inside,
    check_same,
    chosen,
    gathered,
    scattered,
)
from gradoracle.implementations.shapes import Array, Shape, check_letters

INTEGERS = {"index": "int64"}


def gather(input: Array, index: Array, *, axis: int) -> Array:
    """Return input's elements where index says so along an axis, of index's shape.

    Raises:
        ValueError: the shapes do not fit, there is no such axis, or an index names no element.
    """
    machine, (input, index) = place(input=input, index=index, integers=INTEGERS)  # noqa: A001
    return gathered(machine, input, index, along(machine, input, index, axis))


def gather_grad(grad_output: Array, input: Array, index: Array, *, axis: int) -> Array:
    """Return zeros to which dy is added where index says so.

    Raises:
        ValueError: as `gather`, or dy has another shape than index.
    """
    machine, (dy, input, index) = place(  # noqa: A001 - the protocol's name
        grad_output=grad_output, input=input, index=index, integers=INTEGERS
    )
    of = along(machine, input, index, axis)
    check_same("grad_output", dy, index)
    return scattered(machine, dy, index, None, input.shape, of)


def scatter_add(input: Array, index: Array, src: Array, *, axis: int) -> Array:
    """Return input to which src is added where index says so along an axis.

    Raises:
        ValueError: as `gather`, or src has another shape than index.
    """
    machine, (input, index, src) = place(  # noqa: A001
        input=input, index=index, src=src, integers=INTEGERS
    )
    of = along(machine, input, index, axis)
    check_same("src", src, index)
    return scattered(machine, src, index, input, input.shape, of)


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
    along(machine, input, index, axis)
    check_same("src", src, index)
    check_same("grad_output", dy, input)
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
    of = along(machine, input, index, axis)
    check_same("src", src, index)
    check_same("grad_output", dy, input)
    return gathered(machine, dy, index, of)


def scatter_add_vjp(
    grad_output: Array, input: Array, index: Array, src: Array, *, axis: int
) -> tuple[Array, Array]:
    """Return the gradients by the input and by src.

    Raises:
        ValueError: as `scatter_add_grad_input`.
    """
    of = (grad_output, input, index, src)
    return scatter_add_grad_input(*of, axis=axis), scatter_add_grad_src(*of, axis=axis)


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
    at = axis_of(axis, input.ndim)
    check_letters({"index": (index, "n")})
    check_inside(machine, index, input.shape[at])
    return at, (*input.shape[:at], index.size, *input.shape[at + 1 :])
