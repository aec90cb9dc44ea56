"""Transposed convolution and its gradients: those of `correlation` with x and y exchanged.

It takes x to y as the gradient of a convolution takes dy to dx, and its own dx is the convolution.
"""

import numpy as np

from gradoracle.implementations.im2col.convolution import Array, windows
from gradoracle.implementations.im2col.correlation import (
    correlate,
    correlate_grad_input,
    correlate_grad_weight,
)
from gradoracle.implementations.im2col.halves import in_float32
from gradoracle.implementations.shapes import (
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
    seen = windows(weight.shape[2:], x.shape[2:], stride, padding, dilation)
    y = correlate_grad_input(x, weight, seen, groups, shape[2:])
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
    seen = windows(weight.shape[2:], input_shape[2:], stride, padding, dilation)
    return correlate(grad_output, weight, seen, groups)


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
    seen = windows(weight_shape[2:], x.shape[2:], stride, padding, dilation)
    return correlate_grad_weight(x, grad_output, seen, groups)


@in_float32
def conv_transpose2d_grad_bias(grad_output: Array) -> Array:
    """Return db [M] from dy [N, M, OH, OW], summed over images and pixels.

    Raises:
        ValueError: grad_output does not have four axes.
    """
    check_channels(grad_output)
    db: Array = grad_output.sum(axis=(0, 2, 3))
    return db
