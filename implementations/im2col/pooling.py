"""Max and average pooling: one slice of the padded image per tap, all windows at once."""

from collections.abc import Iterator
from itertools import product
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gradoracle.implementations.im2col.halves import in_float32
from gradoracle.implementations.shapes import (
    Pair,
    Shape,
    check_grad_output,
    check_indices,
    pool2d_windows,
)

Array: TypeAlias = npt.NDArray[Any]
Windows: TypeAlias = tuple[slice, slice]  # the windows of a tap that fall on the image
Pixels: TypeAlias = tuple[slice, slice]  # and the pixels that they see there


@in_float32
def max_pool2d(
    x: Array,
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    ceil_mode: bool,
) -> tuple[Array, Array]:
    """Return (y, indices): every window's maximum, and its h*W + w; ties go to the first.

    Raises:
        ValueError: the shapes or options fit no pooling, or a window holds no pixel.
    """
    rows, columns = pool2d_windows(
        x.shape, kernel_size, stride, padding, dilation, ceil_mode=ceil_mode
    )
    y = np.full((*x.shape[:2], rows, columns), -np.inf, x.dtype)
    indices = np.empty(y.shape, np.int64)
    indices[...] = _first_pixels(x.shape, (rows, columns), stride, padding, dilation)
    plane = np.arange(x.shape[2] * x.shape[3]).reshape(x.shape[2:])
    for windows, pixels in _taps(x.shape, (rows, columns), kernel_size, stride, padding, dilation):
        best, place, seen = y[:, :, *windows], indices[:, :, *windows], x[:, :, *pixels]
        stays = (seen <= best) | (best != best)  # noqa: PLR0124 - a NaN that came first
        wins = stays.astype(np.int64) - 1  # all bits, or none: quicker than a masked copy
        place ^= (place ^ plane[pixels]) & wins
        np.maximum(best, seen, out=best)
    return y, indices


@in_float32
def max_pool2d_grad_input(grad_output: Array, indices: Array, *, input_shape: Shape) -> Array:
    """Return dx of shape `input_shape` [N, C, H, W]: dy added up where `indices` point.

    Raises:
        ValueError: the shapes do not fit each other, or an index lies outside the plane.
    """
    check_indices(grad_output, indices, input_shape)
    plane = input_shape[2] * input_shape[3]
    planes = np.arange(input_shape[0] * input_shape[1]).reshape(*input_shape[:2], 1, 1)
    dx = np.zeros(input_shape, grad_output.dtype)
    np.add.at(dx.reshape(-1), indices + planes * plane, grad_output)
    return dx


@in_float32
def max_pool2d_vjp(
    grad_output: Array,
    x: Array,
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    ceil_mode: bool,
) -> Array:
    """Return dx [N, C, H, W] of dy and x.

    Raises:
        ValueError: the shapes or options fit no pooling, or a window holds no pixel.
    """
    _, indices = max_pool2d(
        x,
        kernel_size=kernel_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        ceil_mode=ceil_mode,
    )
    return max_pool2d_grad_input(grad_output, indices, input_shape=x.shape)


@in_float32
def avg_pool2d(
    x: Array,
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,
    count_include_pad: bool,
) -> Array:
    """Return every window's mean; what hangs over the end never counts.

    Raises:
        ValueError: the shapes or options fit no pooling.
    """
    shape = pool2d_windows(x.shape, kernel_size, stride, padding, (1, 1), ceil_mode=ceil_mode)
    down, across = _sides(x.shape, shape, kernel_size, stride, padding, (1, 1))
    sums = np.zeros((*x.shape[:2], shape[0], x.shape[3]), x.dtype)
    for windows, pixels in down:
        sums[:, :, windows] += x[:, :, pixels]
    y = np.zeros((*x.shape[:2], *shape), x.dtype)
    for windows, pixels in across:
        y[..., windows] += sums[..., pixels]
    y /= _divisors(
        x.shape, shape, kernel_size, stride, padding, count_include_pad=count_include_pad
    )
    return y


@in_float32
def avg_pool2d_grad_input(
    grad_output: Array,
    *,
    input_shape: Shape,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,
    count_include_pad: bool,
) -> Array:
    """Return dx of shape `input_shape`: every dy, divided as in the forward pass, spread and added.

    Raises:
        ValueError: the shapes or options fit no pooling.
    """
    shape = pool2d_windows(input_shape, kernel_size, stride, padding, (1, 1), ceil_mode=ceil_mode)
    check_grad_output(grad_output, (*input_shape[:2], *shape))
    share = grad_output / _divisors(
        input_shape, shape, kernel_size, stride, padding, count_include_pad=count_include_pad
    ).astype(grad_output.dtype)
    down, across = _sides(input_shape, shape, kernel_size, stride, padding, (1, 1))
    sums = np.zeros((*input_shape[:2], shape[0], input_shape[3]), grad_output.dtype)
    for windows, pixels in across:
        sums[..., pixels] += share[..., windows]
    dx = np.zeros(input_shape, grad_output.dtype)
    for windows, pixels in down:
        dx[:, :, pixels] += sums[:, :, windows]
    return dx


def _taps(
    x_shape: Shape, shape: Pair, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair
) -> Iterator[tuple[Windows, Pixels]]:
    """Yield, row by row, the windows of every tap that fall on the image, and their pixels."""
    sides = _sides(x_shape, shape, kernel_size, stride, padding, dilation)
    for down, across in product(*sides):
        yield (down[0], across[0]), (down[1], across[1])


def _sides(
    x_shape: Shape, shape: Pair, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair
) -> list[list[tuple[slice, slice]]]:
    """Return the same of each axis; a tap that sees no pixel is left out."""
    sides = []
    for axis in (0, 1):
        offsets = (tap * dilation[axis] - padding[axis] for tap in range(kernel_size[axis]))
        each = (_side(at, stride[axis], x_shape[2 + axis], shape[axis]) for at in offsets)
        sides.append([side for side in each if side is not None])
    return sides


def _side(offset: int, stride: int, size: int, count: int) -> tuple[slice, slice] | None:
    """Return which windows i have 0 <= i * stride + offset < size, and those pixels."""
    first = max(0, -(offset // stride))
    last = min(count, (size - 1 - offset) // stride + 1)
    if last <= first:
        return None
    start = first * stride + offset
    return slice(first, last), slice(start, start + (last - 1 - first) * stride + 1, stride)


def _first_pixels(
    x_shape: Shape, shape: Pair, stride: Pair, padding: Pair, dilation: Pair
) -> Array:
    """Return h*W + w of the first pixel of each window: [OH, OW]."""
    sides = []
    for axis in (0, 1):
        start = np.arange(shape[axis]) * stride[axis] - padding[axis]
        sides.append(np.where(start < 0, start % dilation[axis], start))
    pixels: Array = sides[0][:, np.newaxis] * x_shape[3] + sides[1]
    return pixels


def _divisors(
    x_shape: Shape,
    shape: Pair,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    *,
    count_include_pad: bool,
) -> Array:
    """Return how many pixels count in each window: [OH, OW]."""
    sides = []
    for axis in (0, 1):
        size, pad = x_shape[2 + axis], padding[axis]
        start = np.arange(shape[axis]) * stride[axis] - pad
        end = np.minimum(start + kernel_size[axis], size + pad)
        if not count_include_pad:
            start, end = np.maximum(start, 0), np.minimum(end, size)
        sides.append(end - start)
    return sides[0][:, np.newaxis] * sides[1]
