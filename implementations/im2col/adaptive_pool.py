"""Average pooling to a given size and its gradient: sums along one axis, then along the other."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gradoracle.implementations.im2col.halves import in_float32
from gradoracle.implementations.shapes import Shape, Sides, check_image, check_resized, named

Array: TypeAlias = npt.NDArray[Any]
Function: TypeAlias = Callable[..., Any]


def adaptive_averaging(rank: int) -> tuple[Function, Function]:
    """Return an average pooling to a given size along `rank` spatial axes, and its gradient."""
    name = f"adaptive_avg_pool{rank}d"

    @in_float32
    @named(name)
    def forward(x: Array, *, output_size: Sides) -> Array:
        """Return the means [N, C, *output_size].

        Raises:
            ValueError: the shapes fit no pooling.
        """
        check_image("x", x.shape, rank)
        check_image("y", (*x.shape[:2], *output_size), rank)
        sides = [*map(_windows, x.shape[2:], output_size)]
        sums = x
        for axis, (first, _) in enumerate(sides):
            sums = _summed(sums, first, axis + 2)
        return np.asarray(sums / _sizes(sides).astype(x.dtype))

    @in_float32
    @named(f"{name}_grad_input")
    def grad_input(grad_output: Array, *, input_shape: Shape) -> Array:
        """Return dx of shape `input_shape`: every dy, divided as forward, added to its window.

        Raises:
            ValueError: the shapes fit no pooling.
        """
        check_resized(input_shape, grad_output.shape, rank)
        sides = [*map(_windows, input_shape[2:], grad_output.shape[2:])]
        dx: Array = grad_output / _sizes(sides).astype(grad_output.dtype)
        for axis, (first, _) in [*enumerate(sides)][::-1]:
            dx = _added(dx, first, axis + 2, input_shape[axis + 2])
        return dx

    return forward, grad_input


def _sizes(sides: Sequence[tuple[Array, Array]]) -> Array:
    """Return how many pixels each window has."""
    found: Array = np.ones((), np.int64)
    for _, lengths in sides:
        found = np.asarray(found[..., np.newaxis] * lengths)
    return found


def _windows(size: int, count: int) -> tuple[Array, Array]:
    """Return the first pixel of every window of a side, and how many it has."""
    at = np.arange(count)
    first = at * size // count
    return first, ((at + 1) * size + count - 1) // count - first


def _steps(first: Array, size: int, count: int) -> Any:
    """Yield how far from the first pixel, and which windows of `count` reach so far."""
    lengths = ((np.arange(count) + 1) * size + count - 1) // count - first
    for step in range(int(lengths.max(initial=0))):
        yield step, np.nonzero(lengths > step)[0]


def _summed(x: Array, first: Array, axis: int) -> Array:
    """Return the sums of windows along an axis."""
    rows, count = np.moveaxis(x, axis, 0), len(first)
    sums = np.zeros((count, *rows.shape[1:]), x.dtype)
    for step, windows in _steps(first, len(rows), count):
        sums[windows] += rows[first[windows] + step]
    return np.moveaxis(sums, 0, axis)


def _added(shares: Array, first: Array, axis: int, size: int) -> Array:
    """Return what windows along an axis add to the pixels of a side."""
    rows, count = np.moveaxis(shares, axis, 0), len(first)
    sums = np.zeros((size, *rows.shape[1:]), shares.dtype)
    for step, windows in _steps(first, size, count):
        np.add.at(sums, first[windows] + step, rows[windows])
    return np.ascontiguousarray(np.moveaxis(sums, 0, axis))


adaptive_avg_pool1d, adaptive_avg_pool1d_grad_input = adaptive_averaging(1)
adaptive_avg_pool2d, adaptive_avg_pool2d_grad_input = adaptive_averaging(2)
adaptive_avg_pool3d, adaptive_avg_pool3d_grad_input = adaptive_averaging(3)
