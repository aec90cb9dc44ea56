"""Max and average pooling: one slice of the padded image per tap, all windows at once."""

from collections.abc import Callable, Iterator
from itertools import product
from math import prod
from typing import Any, NamedTuple, TypeAlias, Unpack

import numpy as np
import numpy.typing as npt

from gradoracle.implementations.im2col.halves import in_float32
from gradoracle.implementations.shapes import (
    AvgPoolOptions,
    MaxPoolOptions,
    Shape,
    Sides,
    check_grad_output,
    check_indices,
    named,
    pool_windows,
)

Array: TypeAlias = npt.NDArray[Any]
Function: TypeAlias = Callable[..., Any]
Slices: TypeAlias = tuple[Any, ...]


class Windows(NamedTuple):
    """Which pixels the taps of windows see: window * stride + tap * dilation - padding."""

    pixels: Sides
    counts: Sides
    kernel: Sides
    stride: Sides
    padding: Sides
    dilation: Sides


def max_pooling(rank: int) -> tuple[Function, Function, Function]:
    """Return a max pooling of `rank` spatial axes, its gradient by indices, and the one by x."""
    name = f"max_pool{rank}d"

    @in_float32
    @named(name)
    def forward(x: Array, **options: Unpack[MaxPoolOptions]) -> tuple[Array, Array]:
        """Return (y, indices): every window's maximum, and its place; ties go to the first.

        Raises:
            ValueError: the shapes or options fit no pooling, or a window holds no pixel.
        """
        windows = _windows(rank, x.shape, **options)
        y = np.full((*x.shape[:2], *windows.counts), -np.inf, x.dtype)
        indices = np.empty(y.shape, np.int64)
        indices[...] = _first_pixels(windows)
        plane = np.arange(prod(windows.pixels)).reshape(windows.pixels)
        for those, pixels in taps(windows):
            best, place, seen = y[those], indices[those], x[pixels]
            stays = (seen <= best) | (best != best)  # noqa: PLR0124 - a NaN that came first
            wins = stays.astype(np.int64) - 1  # all bits, or none: quicker than a masked copy
            place ^= (place ^ plane[pixels]) & wins
            np.maximum(best, seen, out=best)
        return y, indices

    @in_float32
    @named(f"{name}_grad_input")
    def grad_input(grad_output: Array, indices: Array, *, input_shape: Shape) -> Array:
        """Return dx of shape `input_shape` [N, C, *pixels]: dy added up where `indices` point.

        Raises:
            ValueError: the shapes do not fit each other, or an index lies outside the plane.
        """
        check_indices(rank, grad_output, indices, input_shape)
        planes = np.arange(prod(input_shape[:2])).reshape(*input_shape[:2], *(1,) * rank)
        dx = np.zeros(input_shape, grad_output.dtype)
        np.add.at(dx.reshape(-1), indices + planes * prod(input_shape[2:]), grad_output)
        return dx

    @in_float32
    @named(f"{name}_vjp")
    def vjp(grad_output: Array, x: Array, **options: Unpack[MaxPoolOptions]) -> Array:
        """Return dx [N, C, *pixels] of dy and x.

        Raises:
            ValueError: the shapes or options fit no pooling, or a window holds no pixel.
        """
        _, indices = forward(x, **options)
        return np.asarray(grad_input(grad_output, indices, input_shape=x.shape))

    return forward, grad_input, vjp


def average_pooling(rank: int) -> tuple[Function, Function]:
    """Return an average pooling of `rank` spatial axes, and its gradient."""
    name = f"avg_pool{rank}d"

    @in_float32
    @named(name)
    def forward(x: Array, **options: Unpack[AvgPoolOptions]) -> Array:
        """Return every window's mean; what hangs over the end never counts.

        Raises:
            ValueError: the shapes or options fit no pooling.
        """
        windows, divisors = _averaged(rank, x.shape, **options)
        y = x
        for axis, taps in enumerate(_axes(windows)):
            sums = np.zeros(_with_side(y.shape, axis, windows.counts[axis]), x.dtype)
            for those, pixels in taps:
                sums[_along(axis, those)] += y[_along(axis, pixels)]
            y = sums
        y /= divisors
        return y

    @in_float32
    @named(f"{name}_grad_input")
    def grad_input(
        grad_output: Array, *, input_shape: Shape, **options: Unpack[AvgPoolOptions]
    ) -> Array:
        """Return dx of shape `input_shape`: every dy, divided as forward, spread and added.

        Raises:
            ValueError: the shapes or options fit no pooling.
        """
        windows, divisors = _averaged(rank, input_shape, **options)
        check_grad_output(grad_output, (*input_shape[:2], *windows.counts))
        dx: Array = grad_output / divisors.astype(grad_output.dtype)
        for axis, taps in [*enumerate(_axes(windows))][::-1]:
            sums = np.zeros(_with_side(dx.shape, axis, windows.pixels[axis]), dx.dtype)
            for those, pixels in taps:
                sums[_along(axis, pixels)] += dx[_along(axis, those)]
            dx = sums
        return dx

    return forward, grad_input


def _windows(rank: int, shape: Shape, **options: Unpack[MaxPoolOptions]) -> Windows:
    """Return the windows of a pooling of x [N, C, *pixels]; ValueError where there are none."""
    counts = pool_windows(rank, shape, **options)
    kernel, stride = options["kernel_size"], options["stride"]
    return Windows(shape[2:], counts, kernel, stride, options["padding"], options["dilation"])


def windows_of(rank: int, shape: Shape, kernel_size: Sides, stride: Sides) -> Windows:
    """Return windows without padding; ValueError where there are none."""
    return _windows(
        rank, shape, kernel_size=kernel_size, stride=stride, padding=(0,) * rank,
        dilation=(1,) * rank, ceil_mode=False,
    )  # fmt: skip


def _averaged(
    rank: int, shape: Shape, *, count_include_pad: bool, **options: Any
) -> tuple[Windows, Array]:
    """Return the windows of an average pooling, and how many pixels count in each."""
    windows = _windows(rank, shape, dilation=(1,) * rank, **options)
    return windows, _divisors(windows, count_include_pad=count_include_pad)


def _along(axis: int, part: slice) -> Slices:
    """Return a part of an array along one of its spatial axes."""
    return (*[slice(None)] * (2 + axis), part)


def _with_side(shape: Shape, axis: int, side: int) -> Shape:
    """Return a shape with another size of one of its spatial axes."""
    return (*shape[: 2 + axis], side, *shape[3 + axis :])


def taps(windows: Windows) -> Iterator[tuple[Slices, Slices]]:
    """Yield, row by row, the windows of every tap that fall on the image, and their pixels."""
    for sides in product(*_axes(windows)):
        yield (..., *(those for those, _ in sides)), (..., *(pixels for _, pixels in sides))


def _axes(windows: Windows) -> Iterator[list[tuple[slice, slice]]]:
    """Yield the same of each axis; a tap that sees no pixel is left out."""
    for size, count, kernel, stride, padding, dilation in zip(*windows, strict=True):
        offsets = (tap * dilation - padding for tap in range(kernel))
        each = (_side(at, stride, size, count) for at in offsets)
        yield [side for side in each if side is not None]


def _side(offset: int, stride: int, size: int, count: int) -> tuple[slice, slice] | None:
    """Return which windows i have 0 <= i * stride + offset < size, and those pixels."""
    first = max(0, -(offset // stride))
    last = min(count, (size - 1 - offset) // stride + 1)
    if last <= first:
        return None
    start = first * stride + offset
    return slice(first, last), slice(start, start + (last - 1 - first) * stride + 1, stride)


def _first_pixels(windows: Windows) -> Array:
    """Return the place of the first pixel of each window, counted row by row."""
    place: Array = np.zeros((), np.int64)
    for size, count, _, stride, padding, dilation in zip(*windows, strict=True):
        start = np.arange(count) * stride - padding
        first = np.where(start < 0, start % dilation, start)
        place = np.asarray(place[..., np.newaxis] * size + first)
    return place


def _divisors(windows: Windows, *, count_include_pad: bool) -> Array:
    """Return how many pixels count in each window."""
    counted: Array = np.ones((), np.int64)
    for size, count, kernel, stride, padding, _ in zip(*windows, strict=True):
        start = np.arange(count) * stride - padding
        end = np.minimum(start + kernel, size + padding)
        if not count_include_pad:
            start, end = np.maximum(start, 0), np.minimum(end, size)
        counted = np.asarray(counted[..., np.newaxis] * (end - start))
    return counted


max_pool1d, max_pool1d_grad_input, max_pool1d_vjp = max_pooling(1)
max_pool2d, max_pool2d_grad_input, max_pool2d_vjp = max_pooling(2)
max_pool3d, max_pool3d_grad_input, max_pool3d_vjp = max_pooling(3)
avg_pool1d, avg_pool1d_grad_input = average_pooling(1)
avg_pool2d, avg_pool2d_grad_input = average_pooling(2)
avg_pool3d, avg_pool3d_grad_input = average_pooling(3)
