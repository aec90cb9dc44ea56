"""Convolution as matrix multiplication in NumPy: unfold windows into columns, then one GEMM.

For each image and group, the columns are a matrix [C/groups*KH*KW, OH*OW] whose column (i, j) is
the window of output pixel (i, j).  With the filters as rows of a matrix,

    y = weight @ columns        dw = dy @ columns.T        d(columns) = weight.T @ dy

and dx folds d(columns) back (col2im): every column is added to the window that it came from.
"""

import math
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import as_strided

Array: TypeAlias = npt.NDArray[Any]
Pair: TypeAlias = tuple[int, int]
Shape: TypeAlias = tuple[int, ...]


def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> Array:
    """Return y [N, M, OH, OW] from x [N, C, H, W], weight [M, C/groups, KH, KW] and bias [M].

    Raises:
        ValueError: the shapes or options fit no convolution.
    """
    shape = _output_shape(x.shape, weight.shape, stride, padding, dilation, groups)
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"bias has shape {bias.shape}, but there are {len(weight)} filters")
    y = np.empty(shape, x.dtype)
    filters = _filter_matrices(weight, groups)
    for n, columns in enumerate(_columns(x, weight.shape, shape, stride, padding, dilation)):
        np.matmul(filters, columns, out=y[n].reshape(groups, len(weight) // groups, -1))
    if bias is not None:
        y += bias[:, np.newaxis, np.newaxis]
    return y


def conv2d_grad_input(
    grad_output: Array,
    weight: Array,
    *,
    input_shape: Shape,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> Array:
    """Return dx of shape `input_shape` [N, C, H, W] from dy [N, M, OH, OW].

    Raises:
        ValueError: the shapes or options fit no convolution.
    """
    shape = _output_shape(input_shape, weight.shape, stride, padding, dilation, groups)
    _check_grad_output(grad_output, shape)
    filters = _filter_matrices(weight, groups).transpose(0, 2, 1)
    dx = np.empty(input_shape, grad_output.dtype)
    for n, image in enumerate(grad_output):
        dy = image.reshape(groups, len(weight) // groups, -1)
        taps = np.matmul(filters, dy).reshape(input_shape[1], *weight.shape[2:], *shape[2:])
        dx[n] = fold(taps, input_shape[2:], stride, padding, dilation)
    return dx


def conv2d_grad_weight(
    grad_output: Array,
    x: Array,
    *,
    weight_shape: Shape,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> Array:
    """Return dw of shape `weight_shape` [M, C/groups, KH, KW], summed over the images.

    Raises:
        ValueError: the shapes or options fit no convolution.
    """
    shape = _output_shape(x.shape, weight_shape, stride, padding, dilation, groups)
    _check_grad_output(grad_output, shape)
    filters = weight_shape[0] // groups
    depth = weight_shape[1] * weight_shape[2] * weight_shape[3]
    dw = np.zeros((groups, filters, depth), grad_output.dtype)
    for n, columns in enumerate(_columns(x, weight_shape, shape, stride, padding, dilation)):
        dw += np.matmul(grad_output[n].reshape(groups, filters, -1), columns.transpose(0, 2, 1))
    return dw.reshape(weight_shape)


def conv2d_grad_bias(grad_output: Array) -> Array:
    """Return db [M] from dy [N, M, OH, OW], summed over images and pixels.

    Raises:
        ValueError: grad_output does not have four axes.
    """
    if grad_output.ndim != 4:
        raise ValueError(f"grad_output must have axes [N, M, OH, OW], got {grad_output.shape}")
    db: Array = grad_output.sum(axis=(0, 2, 3))
    return db


def _columns(
    x: Array, weight_shape: Shape, y_shape: Shape, stride: Pair, padding: Pair, dilation: Pair
) -> Iterator[Array]:
    """Yield each image's columns [groups, C/groups*KH*KW, OH*OW]."""
    depth = math.prod(weight_shape[1:])
    pixels = y_shape[2] * y_shape[3]
    for image in x:
        windows = patches(image, weight_shape[2:], y_shape[2:], stride, padding, dilation)
        yield windows.reshape(len(image) // weight_shape[1], depth, pixels)


def patches(
    image: Array, kernel: Shape, size: Shape, stride: Pair, padding: Pair, dilation: Pair
) -> Array:
    """Return the pixels [C, KH, KW, OH, OW] that each tap sees from each of OH x OW windows.

    Rows and columns that windows reach beyond the padded image read as zeros.
    """
    sides = [
        (p, max(p, (count - 1) * s + (taps - 1) * d + 1 - p - side))
        for side, taps, count, s, p, d in zip(
            image.shape[1:], kernel, size, stride, padding, dilation, strict=True
        )
    ]
    padded = np.pad(image, ((0, 0), *sides))
    of_channel, of_row, of_column = padded.strides
    return as_strided(
        padded,
        (len(image), *kernel, *size),
        (
            of_channel,
            of_row * dilation[0],
            of_column * dilation[1],
            of_row * stride[0],
            of_column * stride[1],
        ),
        writeable=False,
    )


def fold(taps: Array, size: Shape, stride: Pair, padding: Pair, dilation: Pair) -> Array:
    """Return the image [C, H, W] of `size` that taps [C, KH, KW, OH, OW] add up to."""
    channels, down, across, rows, columns = taps.shape
    whole = [
        max(side + 2 * p, (count - 1) * s + (k - 1) * d + 1)
        for side, k, count, s, p, d in zip(
            size, (down, across), (rows, columns), stride, padding, dilation, strict=True
        )
    ]
    padded = np.zeros((channels, *whole), taps.dtype)
    for p, q in np.ndindex(down, across):
        reached = (
            _every(p * dilation[0], stride[0], rows),
            _every(q * dilation[1], stride[1], columns),
        )
        padded[:, *reached] += taps[:, p, q]
    return padded[:, padding[0] : padding[0] + size[0], padding[1] : padding[1] + size[1]]


def _filter_matrices(weight: Array, groups: int) -> Array:
    """Return the filters of every group as rows: [groups, M/groups, C/groups*KH*KW]."""
    return weight.reshape(groups, len(weight) // groups, -1)


def _every(start: int, step: int, count: int) -> slice:
    return slice(start, start + (count - 1) * step + 1, step)


def _check_grad_output(grad_output: Array, shape: Shape) -> None:
    if grad_output.shape != shape:
        raise ValueError(f"grad_output has shape {grad_output.shape}, but the output has {shape}")


def _output_shape(
    x_shape: Shape, weight_shape: Shape, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Shape:
    """Return y's shape [N, M, OH, OW], or raise ValueError where there is none."""
    if len(x_shape) != 4 or len(weight_shape) != 4:
        raise ValueError(f"x {x_shape} and weight {weight_shape} must have four axes each")
    if min(stride) < 1 or min(dilation) < 1 or min(padding) < 0:
        raise ValueError(
            f"stride {stride} and dilation {dilation} must be at least 1, padding {padding} at "
            "least 0"
        )
    (images, channels, *size), (filters, depth, *kernel) = x_shape, weight_shape
    if groups < 1 or filters % groups or channels != depth * groups:
        raise ValueError(
            f"{channels} channels and {filters} filters of depth {depth} do not fit {groups} groups"
        )
    if images < 0 or min(channels, filters, *size, *kernel) < 1:
        raise ValueError(f"x {x_shape} and weight {weight_shape} must have sizes of at least 1")
    sides = []
    for side, taps, s, p, d in zip(size, kernel, stride, padding, dilation, strict=True):
        room = side + 2 * p - (taps - 1) * d - 1
        if room < 0:
            raise ValueError(f"{taps} taps {d} apart do not fit into {side} pixels padded by {p}")
        sides.append(room // s + 1)
    return (images, filters, *sides)
