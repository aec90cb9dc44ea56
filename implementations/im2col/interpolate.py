"""Interpolation: pixels looked up by index, or two neighbours weighted along one axis at a time."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gradoracle.implementations.im2col.halves import in_float32
from gradoracle.implementations.shapes import Shape, Sides, check_image, check_resized, named

Array: TypeAlias = npt.NDArray[Any]
Function: TypeAlias = Callable[..., Any]
LINEAR = {1: "linear1d", 2: "bilinear2d", 3: "trilinear3d"}


def nearest_interpolation(rank: int) -> tuple[Function, Function]:
    """Return interpolation by the nearest pixel along `rank` spatial axes, and its gradient."""
    name = f"interpolate_nearest{rank}d"

    @in_float32
    @named(name)
    def forward(x: Array, *, output_size: Sides, mode: str) -> Array:
        """Return the nearest pixels [N, C, *output_size].

        Raises:
            ValueError: the shapes fit no interpolation, or there is no such mode.
        """
        check_image("x", x.shape, rank)
        check_image("y", (*x.shape[:2], *output_size), rank)
        found = x
        for axis, count in enumerate(output_size, 2):
            found = np.take(found, _nearest(x.shape[axis], count, mode), axis)
        return found

    @in_float32
    @named(f"{name}_grad_input")
    def grad_input(grad_output: Array, *, input_shape: Shape, mode: str) -> Array:
        """Return dx of shape `input_shape`: sums of what shows the same pixel.

        Raises:
            ValueError: the shapes fit no interpolation, or there is no such mode.
        """
        check_resized(input_shape, grad_output.shape, rank)
        found = grad_output
        for axis, size in enumerate(input_shape[2:], 2):
            found = _summed(found, axis, size, _nearest(size, grad_output.shape[axis], mode))
        return found

    return forward, grad_input


def linear_interpolation(rank: int) -> tuple[Function, Function]:
    """Return interpolation between pixels along `rank` spatial axes, and its gradient."""
    name = f"interpolate_{LINEAR[rank]}"

    @in_float32
    @named(name)
    def forward(x: Array, *, output_size: Sides, align_corners: bool) -> Array:
        """Return what lies between pixels [N, C, *output_size].

        Raises:
            ValueError: the shapes fit no interpolation.
        """
        check_image("x", x.shape, rank)
        check_image("y", (*x.shape[:2], *output_size), rank)
        found = x
        for axis, count in enumerate(output_size, 2):
            first, second, share = _neighbours(x, axis, count, align_corners)
            found = np.take(found, first, axis) * (1 - share) + np.take(found, second, axis) * share
        return found

    @in_float32
    @named(f"{name}_grad_input")
    def grad_input(grad_output: Array, *, input_shape: Shape, align_corners: bool) -> Array:
        """Return dx of shape `input_shape`: every dy, shared between the pixels that it is made of.

        Raises:
            ValueError: the shapes fit no interpolation.
        """
        check_resized(input_shape, grad_output.shape, rank)
        found = grad_output
        for axis, size in enumerate(input_shape[2:], 2):
            like = np.empty(input_shape, grad_output.dtype)
            first, second, share = _neighbours(like, axis, grad_output.shape[axis], align_corners)
            parts = _summed(found * (1 - share), axis, size, first)
            found = parts + _summed(found * share, axis, size, second)
        return found

    return forward, grad_input


def _nearest(size: int, count: int, mode: str) -> Array:
    """Return the pixel of a side that each of `count` pixels shows."""
    if mode not in ("nearest", "nearest-exact"):
        raise ValueError(f"mode must be 'nearest' or 'nearest-exact', got {mode!r}")
    at = np.arange(count)
    return (2 * at + 1) * size // (2 * count) if mode == "nearest-exact" else at * size // count


def _neighbours(
    x: Array, axis: int, count: int, align_corners: bool  # noqa: FBT001 - as the option
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Return two pixels for each of `count` along an axis of x, and the second one's share."""
    size, one = x.shape[axis], x.dtype.type(1)
    at = np.arange(count).astype(x.dtype)
    if align_corners:
        place = at * (one * (size - 1) / max(count - 1, 1))
    else:
        place = np.maximum((at + one / 2) * (one * size / count) - one / 2, 0)
    first = np.minimum(place.astype(np.int64), size - 1)
    share = np.minimum(place - first.astype(x.dtype), one)
    shape = [1] * x.ndim
    shape[axis] = count
    return first, np.minimum(first + 1, size - 1), share.reshape(shape)


def _summed(array: Array, axis: int, size: int, at: Array) -> Array:
    """Return what arrives at each of `size` places of an axis; `at` does not decrease."""
    rows = np.moveaxis(array, axis, 0)
    sums = np.zeros((size, *rows.shape[1:]), array.dtype)
    first = np.flatnonzero(np.diff(at, prepend=-1))
    if array.size:
        sums[at[first]] = np.add.reduceat(rows, first)
    return np.ascontiguousarray(np.moveaxis(sums, 0, axis))


interpolate_nearest1d, interpolate_nearest1d_grad_input = nearest_interpolation(1)
interpolate_nearest2d, interpolate_nearest2d_grad_input = nearest_interpolation(2)
interpolate_nearest3d, interpolate_nearest3d_grad_input = nearest_interpolation(3)
interpolate_linear1d, interpolate_linear1d_grad_input = linear_interpolation(1)
interpolate_bilinear2d, interpolate_bilinear2d_grad_input = linear_interpolation(2)
interpolate_trilinear3d, interpolate_trilinear3d_grad_input = linear_interpolation(3)
