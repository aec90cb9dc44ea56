"""Convolution and its gradients as products of matrices, by `correlation`."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gradoracle.implementations.im2col.correlation import (
    correlate,
    correlate_grad_input,
    correlate_grad_weight,
)
from gradoracle.implementations.im2col.halves import in_float32
from gradoracle.implementations.im2col.windows import Windows
from gradoracle.implementations.shapes import (
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
    seen = windows(weight.shape[2:], shape[2:], stride, padding, dilation)
    y = correlate(x, weight, seen, groups)
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
    seen = windows(weight.shape[2:], shape[2:], stride, padding, dilation)
    return correlate_grad_input(grad_output, weight, seen, groups, input_shape[2:])


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
    seen = windows(weight_shape[2:], shape[2:], stride, padding, dilation)
    return correlate_grad_weight(grad_output, x, seen, groups)


@in_float32
def conv2d_grad_bias(grad_output: Array) -> Array:
    """Return db [M] from dy [N, M, OH, OW], summed over images and pixels.

    Raises:
        ValueError: grad_output does not have four axes.
    """
    check_channels(grad_output)
    db: Array = grad_output.sum(axis=(0, 2, 3))
    return db


def windows(kernel: Shape, size: Shape, stride: Pair, padding: Pair, dilation: Pair) -> Windows:
    """Return the windows of a convolution whose output has a size [OH, OW]."""
    before = (-padding[0], -padding[1])
    return Windows((kernel[0], kernel[1]), (size[0], size[1]), before, stride, dilation)
