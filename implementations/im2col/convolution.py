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

from implementations.im2col.halves import in_float32
from implementations.shapes import (
    Pair,
    Shape,
    check_bias,
    check_channels,
    check_grad_output,
    conv2d_shape,
)

Array: TypeAlias = npt.NDArray[Any]


@in_float32
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
    shape = conv2d_shape(x.shape, weight.shape, stride, padding, dilation, groups)
    check_bias(bias, len(weight), "filters")
    y = np.empty(shape, x.dtype)
    filters = _filter_matrices(weight, groups)
    for n, columns in enumerate(_columns(x, weight.shape, shape, stride, padding, dilation)):
        np.matmul(filters, columns, out=y[n].reshape(groups, len(weight) // groups, -1))
    if bias is not None:
        y += bias[:, np.newaxis, np.newaxis]
    return y


@in_float32
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
    shape = conv2d_shape(input_shape, weight.shape, stride, padding, dilation, groups)
    check_grad_output(grad_output, shape)
    filters = _filter_matrices(weight, groups).transpose(0, 2, 1)
    dx = np.empty(input_shape, grad_output.dtype)
    for n, image in enumerate(grad_output):
        dy = image.reshape(groups, len(weight) // groups, -1)
        taps = np.matmul(filters, dy).reshape(input_shape[1], *weight.shape[2:], *shape[2:])
        dx[n] = fold(taps, input_shape[2:], stride, padding, dilation)
    return dx


@in_float32
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
    shape = conv2d_shape(x.shape, weight_shape, stride, padding, dilation, groups)
    check_grad_output(grad_output, shape)
    filters = weight_shape[0] // groups
    depth = weight_shape[1] * weight_shape[2] * weight_shape[3]
    dw = np.zeros((groups, filters, depth), grad_output.dtype)
    for n, columns in enumerate(_columns(x, weight_shape, shape, stride, padding, dilation)):
        dw += np.matmul(grad_output[n].reshape(groups, filters, -1), columns.transpose(0, 2, 1))
    return dw.reshape(weight_shape)


@in_float32
def conv2d_grad_bias(grad_output: Array) -> Array:
    """Return db [M] from dy [N, M, OH, OW], summed over images and pixels.

    Raises:
        ValueError: grad_output does not have four axes.
    """
    check_channels(grad_output)
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
    """Return the pixels [C, KH, KW, OH, OW] that each tap sees from each of OH x OW windows."""
    padded = np.pad(image, ((0, 0), *((p, p) for p in padding)))
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
    """Return the image [C, H, W] of `size` that taps [C, KH, KW, OH, OW] add up to.

    No window reaches beyond the padded image, by the rule of sizes.
    """
    channels, down, across, rows, columns = taps.shape
    whole = [side + 2 * p for side, p in zip(size, padding, strict=True)]
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
