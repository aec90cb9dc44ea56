"""The transposed convolution: a convolution from y to x, whose gradients change roles.

Its y is that convolution's gradient for the input, plus the bias; its dx is that convolution of dy;
and its dw is that convolution's, with x as the gradient of the output and dy as the input.
"""

from gradoracle.implementations.cupy_kernels import algorithms, structs
from gradoracle.implementations.cupy_kernels.convolution import conv2d_grad_bias
from gradoracle.implementations.cupy_kernels.placement import place
from gradoracle.implementations.shapes import (
    Array,
    Pair,
    Shape,
    check_bias,
    check_grad_output,
    conv_transpose_shape,
)


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
    options = structs.options(stride, padding, dilation, groups)
    machine, (x, weight, bias) = place(x=x, weight=weight, bias=bias)
    shape = _shape(x.shape, weight.shape, output_padding, *options)
    check_bias(bias, shape[1], "output channels")
    p = structs.conv(shape, weight.shape, x.shape, *options)
    y = machine.empty(shape, x.dtype)
    algorithms.grad_input(machine, x, weight, bias, p, y)
    return y


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
    input_shape = structs.sizes("input_shape", input_shape)
    options = structs.options(stride, padding, dilation, groups)
    machine, (grad_output, weight) = place(grad_output=grad_output, weight=weight)
    check_grad_output(grad_output, _shape(input_shape, weight.shape, output_padding, *options))
    p = structs.conv(grad_output.shape, weight.shape, input_shape, *options)
    dx = machine.empty(input_shape, grad_output.dtype)
    algorithms.forward(machine, grad_output, weight, None, p, dx)
    return dx


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
    weight_shape = structs.sizes("weight_shape", weight_shape)
    options = structs.options(stride, padding, dilation, groups)
    machine, (grad_output, x) = place(grad_output=grad_output, x=x)
    check_grad_output(grad_output, _shape(x.shape, weight_shape, output_padding, *options))
    p = structs.conv(grad_output.shape, weight_shape, x.shape, *options)
    dw = machine.empty(weight_shape, grad_output.dtype)
    algorithms.grad_weight(machine, x, grad_output, p, dw)
    return dw


def conv_transpose2d_grad_bias(grad_output: Array) -> Array:
    """Return db [M] from dy [N, M, OH, OW], summed over images and pixels.

    Raises:
        ValueError: grad_output does not have four axes.
    """
    return conv2d_grad_bias(grad_output)


def _shape(
    x: Shape,
    weight: Shape,
    output_padding: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> Shape:
    """Return y's shape."""
    more = structs.pair("output_padding", output_padding)
    return conv_transpose_shape(2, x, weight, stride, padding, more, dilation, groups)
