"""Average pooling to a given size and its gradient: sums along one axis, then along the other."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gradoracle.implementations.im2col.halves import in_float32
from gradoracle.implementations.shapes import Shape, Sides, check_image

Array: TypeAlias = npt.NDArray[Any]


@in_float32
def adaptive_avg_pool2d(x: Array, *, output_size: Sides) -> Array:
    """Return the means [N, C, *output_size].

    Raises:
        ValueError: the shapes fit no pooling.
    """
    check_image("x", x.shape)
    _check_outputs(output_size)
    (rows, tall), (columns, wide) = map(_windows, x.shape[2:], output_size)
    sums = _summed(_summed(x, rows, 2), columns, 3)
    return np.asarray(sums / (tall[:, np.newaxis] * wide).astype(x.dtype))


@in_float32
def adaptive_avg_pool2d_grad_input(grad_output: Array, *, input_shape: Shape) -> Array:
    """Return dx of shape `input_shape`: every dy, divided as forward, added to its window.

    Raises:
        ValueError: the shapes fit no pooling.
    """
    check_image("input_shape", input_shape)
    check_image("grad_output", grad_output.shape)
    if grad_output.shape[:2] != tuple(input_shape[:2]):
        raise ValueError(f"grad_output {grad_output.shape} does not fit {input_shape}")
    (rows, tall), (columns, wide) = map(_windows, input_shape[2:], grad_output.shape[2:])
    shares = grad_output / (tall[:, np.newaxis] * wide).astype(grad_output.dtype)
    return _added(_added(shares, columns, 3, input_shape[3]), rows, 2, input_shape[2])


def _check_outputs(output_size: Sides) -> None:
    if len(output_size) != 2 or min(output_size) < 1:
        raise ValueError(f"output_size must be two numbers of at least 1, got {output_size}")


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
