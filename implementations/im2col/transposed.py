"""Transposed convolution: col2im forward, im2col on the way back.

With the weight [C, M/groups, KH, KW] of each group as a matrix, one column per output it reaches,

    columns = weight.T @ x        dx = weight @ columns(dy)        dw = x @ columns(dy).T

and y folds the columns (every column is added to the window that it belongs to).
"""

import numpy as np

from implementations.im2col.convolution import Array, fold, patches
from implementations.im2col.halves import in_float32
from implementations.shapes import (
    Pair,
    Shape,
    check_bias,
    check_channels,
    check_grad_output,
    conv_transpose2d_shape,
)


@in_float32
def conv_transpose2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: Pair,
    padding: Pair,
    output_padding: Pair,
    dilation: Pair,
    groups: int,
) -> Array:
    """Return y [N, M, OH, OW] from x [N, C, H, W], weight [C, M/groups, KH, KW] and bias [M].

    Raises:
        ValueError: the shapes or options fit no transposed convolution.
    """
    shape = conv_transpose2d_shape(
        x.shape, weight.shape, stride, padding, output_padding, dilation, groups
    )
    check_bias(bias, shape[1], "output channels")
    kernels = weight.reshape(groups, len(weight) // groups, -1).transpose(0, 2, 1)
    y = np.empty(shape, x.dtype)
    for n, image in enumerate(x):
        columns = np.matmul(kernels, image.reshape(groups, len(weight) // groups, -1))
        taps = columns.reshape(shape[1], *weight.shape[2:], *x.shape[2:])
        y[n] = fold(taps, shape[2:], stride, padding, dilation)
    if bias is not None:
        y += bias[:, np.newaxis, np.newaxis]
    return y


@in_float32
def conv_transpose2d_grad_input(
    grad_output: Array,
    weight: Array,
    *,
    input_shape: Shape,
    stride: Pair,
    padding: Pair,
    output_padding: Pair,
    dilation: Pair,
    groups: int,
) -> Array:
    """Return dx of shape `input_shape` [N, C, H, W] from dy [N, M, OH, OW].

    Raises:
        ValueError: the shapes or options fit no transposed convolution.
    """
    options = (stride, padding, output_padding, dilation, groups)
    check_grad_output(grad_output, conv_transpose2d_shape(input_shape, weight.shape, *options))
    kernels = weight.reshape(groups, len(weight) // groups, -1)
    dx = np.empty(input_shape, grad_output.dtype)
    for n, dy in enumerate(grad_output):
        columns = patches(dy, weight.shape[2:], input_shape[2:], stride, padding, dilation)
        product = np.matmul(kernels, columns.reshape(groups, kernels.shape[2], -1))
        dx[n] = product.reshape(input_shape[1:])
    return dx


@in_float32
def conv_transpose2d_grad_weight(
    grad_output: Array,
    x: Array,
    *,
    weight_shape: Shape,
    stride: Pair,
    padding: Pair,
    output_padding: Pair,
    dilation: Pair,
    groups: int,
) -> Array:
    """Return dw of shape `weight_shape` [C, M/groups, KH, KW], summed over the images.

    Raises:
        ValueError: the shapes or options fit no transposed convolution.
    """
    options = (stride, padding, output_padding, dilation, groups)
    check_grad_output(grad_output, conv_transpose2d_shape(x.shape, weight_shape, *options))
    members = weight_shape[0] // groups
    depth = weight_shape[1] * weight_shape[2] * weight_shape[3]
    dw = np.zeros((groups, members, depth), grad_output.dtype)
    for image, dy in zip(x, grad_output, strict=True):
        columns = patches(dy, weight_shape[2:], x.shape[2:], stride, padding, dilation)
        rows = columns.reshape(groups, depth, -1).transpose(0, 2, 1)
        dw += np.matmul(image.reshape(groups, members, -1), rows)
    return dw.reshape(weight_shape)


@in_float32
def conv_transpose2d_grad_bias(grad_output: Array) -> Array:
    """Return db [M] from dy [N, M, OH, OW], summed over images and pixels.

    Raises:
        ValueError: grad_output does not have four axes.
    """
    check_channels(grad_output)
    db: Array = grad_output.sum(axis=(0, 2, 3))
    return db
