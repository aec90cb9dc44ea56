"""The convolution and its gradients."""

from gradoracle.implementations.cupy_kernels import algorithms, structs
from gradoracle.implementations.cupy_kernels.placement import place
from gradoracle.implementations.shapes import (
    Array,
    Pair,
    Shape,
    check_bias,
    check_channels,
    check_grad_output,
    conv_shape,
)


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
    options = structs.options(stride, padding, dilation, groups)
    machine, (x, weight, bias) = place(x=x, weight=weight, bias=bias)
    shape = conv_shape(2, x.shape, weight.shape, *options)
    check_bias(bias, len(weight), "filters")
    p = structs.conv(x.shape, weight.shape, shape, *options)
    y = machine.empty(shape, x.dtype)
    algorithms.forward(machine, x, weight, bias, p, y)
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
    input_shape = structs.sizes("input_shape", input_shape)
    options = structs.options(stride, padding, dilation, groups)
    machine, (grad_output, weight) = place(grad_output=grad_output, weight=weight)
    shape = conv_shape(2, input_shape, weight.shape, *options)
    check_grad_output(grad_output, shape)
    p = structs.conv(input_shape, weight.shape, shape, *options)
    dx = machine.empty(input_shape, grad_output.dtype)
    algorithms.grad_input(machine, grad_output, weight, None, p, dx)
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
    weight_shape = structs.sizes("weight_shape", weight_shape)
    options = structs.options(stride, padding, dilation, groups)
    machine, (grad_output, x) = place(grad_output=grad_output, x=x)
    shape = conv_shape(2, x.shape, weight_shape, *options)
    check_grad_output(grad_output, shape)
    p = structs.conv(x.shape, weight_shape, shape, *options)
    dw = machine.empty(weight_shape, grad_output.dtype)
    algorithms.grad_weight(machine, grad_output, x, p, dw)
    return dw


def conv2d_grad_bias(grad_output: Array) -> Array:
    """Return db [M] from dy [N, M, OH, OW], summed over images and pixels.

    Raises:
        ValueError: grad_output does not have four axes.
    """
    machine, (grad_output,) = place(grad_output=grad_output)
    check_channels(2, grad_output)
    return algorithms.channel_sums(machine, grad_output)
