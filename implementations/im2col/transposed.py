"""Transposed convolutions and their gradients: those of `correlation` with x and y exchanged.

They take x to y as the gradient of a convolution takes dy to dx, and their own dx is the
convolution.
"""

from typing import Unpack

from gradoracle.implementations.im2col.convolution import Array, Function, grad_bias, windows
from gradoracle.implementations.im2col.correlation import (
    correlate,
    correlate_grad_input,
    correlate_grad_weight,
)
from gradoracle.implementations.im2col.halves import in_float32
from gradoracle.implementations.shapes import (
    ConvTransposeOptions,
    Shape,
    check_bias,
    check_grad_output,
    conv_transpose_shape,
    named,
)


def transposed_convolution(rank: int) -> tuple[Function, Function, Function, Function]:
    """Return a transposed convolution and its gradients by x, weight and bias."""
    name = f"conv_transpose{rank}d"

    @in_float32
    @named(name)
    def forward(
        x: Array, weight: Array, bias: Array | None = None, **options: Unpack[ConvTransposeOptions]
    ) -> Array:
        """Return y [N, M, *windows] from x [N, C, *pixels], weight [C, M/groups, *taps], bias [M].

        Raises:
            ValueError: the shapes or options fit no transposed convolution.
        """
        shape = conv_transpose_shape(rank, x.shape, weight.shape, **options)
        check_bias(bias, shape[1], "output channels")
        seen = windows(weight.shape[2:], x.shape[2:], options)
        y = correlate_grad_input(x, weight, seen, options["groups"], shape[2:])
        if bias is not None:
            y += bias.reshape(-1, *(1,) * rank)
        return y

    @in_float32
    @named(f"{name}_grad_input")
    def grad_input(
        grad_output: Array,
        weight: Array,
        *,
        input_shape: Shape,
        **options: Unpack[ConvTransposeOptions],
    ) -> Array:
        """Return dx of shape `input_shape` [N, C, *pixels] from dy [N, M, *windows].

        Raises:
            ValueError: the shapes or options fit no transposed convolution.
        """
        shape = conv_transpose_shape(rank, input_shape, weight.shape, **options)
        check_grad_output(grad_output, shape)
        seen = windows(weight.shape[2:], input_shape[2:], options)
        return correlate(grad_output, weight, seen, options["groups"])

    @in_float32
    @named(f"{name}_grad_weight")
    def grad_weight(
        grad_output: Array,
        x: Array,
        *,
        weight_shape: Shape,
        **options: Unpack[ConvTransposeOptions],
    ) -> Array:
        """Return dw of shape `weight_shape` [C, M/groups, *taps], summed over the images.

        Raises:
            ValueError: the shapes or options fit no transposed convolution.
        """
        shape = conv_transpose_shape(rank, x.shape, weight_shape, **options)
        check_grad_output(grad_output, shape)
        seen = windows(weight_shape[2:], x.shape[2:], options)
        return correlate_grad_weight(x, grad_output, seen, options["groups"])

    return forward, grad_input, grad_weight, grad_bias(f"{name}_grad_bias", rank)


(
    conv_transpose1d,
    conv_transpose1d_grad_input,
    conv_transpose1d_grad_weight,
    conv_transpose1d_grad_bias,
) = transposed_convolution(1)
(
    conv_transpose2d,
    conv_transpose2d_grad_input,
    conv_transpose2d_grad_weight,
    conv_transpose2d_grad_bias,
) = transposed_convolution(2)
(
    conv_transpose3d,
    conv_transpose3d_grad_input,
    conv_transpose3d_grad_weight,
    conv_transpose3d_grad_bias,
) = transposed_convolution(3)
