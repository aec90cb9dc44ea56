"""Max and average pooling, and their gradients as gathers."""

from math import isqrt
from typing import Any, TypeAlias

import numpy as np

from gradoracle.implementations.cupy_kernels import structs
from gradoracle.implementations.cupy_kernels.machine import Machine, Source
from gradoracle.implementations.cupy_kernels.placement import place
from gradoracle.implementations.shapes import (
    Array,
    Pair,
    Shape,
    check_grad_output,
    check_indices,
    pool_windows,
)

SOURCE = Source(
    "pooling.cu",
    (
        "max_pool2d", "max_pool2d_vjp", "index_ranges", "max_pool2d_grad_input", "avg_pool2d",
        "avg_pool2d_grad_input",
    ),
)  # fmt: skip

Geometry: TypeAlias = tuple[Pair, Pair, Pair, Pair]  # kernel_size, stride, padding, dilation


def max_pool2d(
    x: Array, *, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool
) -> tuple[Array, Array]:
    """Return (y, indices) [N, C, OH, OW]: every window's maximum, and its h*W + w.

    The first maximum wins a tie, and the first NaN wins over everything.

    Raises:
        ValueError: the shapes or options fit no pooling, or a window holds no pixel.
    """
    geometry = _geometry(kernel_size, stride, padding, dilation)
    machine, (x,) = place(x=x)
    down, across = pool_windows(2, x.shape, *geometry, ceil_mode=ceil_mode)
    windows = down, across
    return _maxima(machine, x, windows, structs.pool(x.shape, windows, *geometry))


def max_pool2d_grad_input(grad_output: Array, indices: Array, *, input_shape: Shape) -> Array:
    """Return dx of shape `input_shape` [N, C, H, W]: dy added up where `indices` point.

    Raises:
        ValueError: the shapes do not fit each other, or an index lies outside the plane.
    """
    input_shape = structs.sizes("input_shape", input_shape)
    machine, (grad_output, indices) = place(grad_output=grad_output, indices=indices)
    with machine.active():  # it looks at the elements
        check_indices(2, grad_output, indices, input_shape)
    dtype = grad_output.dtype
    if not grad_output.size:
        return machine.zeros(input_shape, dtype)
    images, channels, *sides = grad_output.shape
    planes, windows = images * channels, sides[0] * sides[1]
    length = isqrt(windows - 1) + 1  # about as many parts as a part has windows
    parts = -(-windows // length)
    ranges = machine.empty((planes, parts, 2), np.int64)
    machine.each(
        SOURCE, "index_ranges", (indices, ranges, planes, windows, length, parts),
        count=planes * parts, dtype=dtype,
    )  # fmt: skip
    dx = machine.empty(input_shape, dtype)
    pixels = input_shape[2] * input_shape[3]
    machine.each(
        SOURCE, "max_pool2d_grad_input",
        (grad_output, indices, ranges, dx, planes, pixels, windows, length, parts),
        count=dx.size, dtype=dtype,
    )  # fmt: skip
    return dx


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
    """Return dx [N, C, H, W] of dy [N, C, OH, OW] and x.

    Raises:
        ValueError: the shapes or options fit no pooling, or a window holds no pixel.
    """
    geometry = _geometry(kernel_size, stride, padding, dilation)
    machine, (grad_output, x) = place(grad_output=grad_output, x=x)
    down, across = pool_windows(2, x.shape, *geometry, ceil_mode=ceil_mode)
    windows = down, across
    check_grad_output(grad_output, (*x.shape[:2], *windows))
    p = structs.pool(x.shape, windows, *geometry)
    _, indices = _maxima(machine, x, windows, p)
    dx = machine.empty(x.shape, x.dtype)
    arguments = (grad_output, indices, dx, p)
    machine.each(SOURCE, "max_pool2d_vjp", arguments, count=dx.size, dtype=dx.dtype)
    return dx


def avg_pool2d(
    x: Array,
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,
    count_include_pad: bool,
) -> Array:
    """Return every window's mean [N, C, OH, OW]; what hangs over the end never counts.

    Raises:
        ValueError: the shapes or options fit no pooling.
    """
    geometry = _geometry(kernel_size, stride, padding, (1, 1))
    machine, (x,) = place(x=x)
    down, across = pool_windows(2, x.shape, *geometry, ceil_mode=ceil_mode)
    windows = down, across
    p = structs.pool(x.shape, windows, *geometry)
    y = machine.empty((*x.shape[:2], *windows), x.dtype)
    arguments = (x, y, p, np.int32(bool(count_include_pad)))
    machine.each(SOURCE, "avg_pool2d", arguments, count=y.size, dtype=y.dtype)
    return y


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
    input_shape = structs.sizes("input_shape", input_shape)
    geometry = _geometry(kernel_size, stride, padding, (1, 1))
    machine, (grad_output,) = place(grad_output=grad_output)
    down, across = pool_windows(2, input_shape, *geometry, ceil_mode=ceil_mode)
    windows = down, across
    check_grad_output(grad_output, (*input_shape[:2], *windows))
    p = structs.pool(input_shape, windows, *geometry)
    dx = machine.empty(input_shape, grad_output.dtype)
    arguments = (grad_output, dx, p, np.int32(bool(count_include_pad)))
    machine.each(SOURCE, "avg_pool2d_grad_input", arguments, count=dx.size, dtype=dx.dtype)
    return dx


def _maxima(machine: Machine, x: Array, windows: Pair, p: structs.Struct) -> tuple[Array, Array]:
    y = machine.empty((*x.shape[:2], *windows), x.dtype)
    indices = machine.empty(y.shape, np.int64)
    machine.each(SOURCE, "max_pool2d", (x, y, indices, p), count=y.size, dtype=y.dtype)
    return y, indices


def _geometry(kernel_size: Any, stride: Any, padding: Any, dilation: Any) -> Geometry:
    return (
        structs.pair("kernel_size", kernel_size),
        structs.pair("stride", stride),
        structs.pair("padding", padding),
        structs.pair("dilation", dilation),
    )
