"""Convolutions of one to three dimensions and their gradients, by `correlation`."""

from collections.abc import Callable
from typing import Any, TypeAlias, Unpack

import numpy.typing as npt

from gradoracle.implementations.im2col.correlation import (
    correlate,
    correlate_grad_input,
    correlate_grad_weight,
)
from gradoracle.implementations.im2col.halves import in_float32
from gradoracle.implementations.im2col.windows import Windows
from gradoracle.implementations.shapes import (
    ConvOptions,
    ConvTransposeOptions,
    Shape,
    check_bias,
    check_channels,
    check_grad_output,
    conv_shape,
    named,
)

Array: TypeAlias = npt.NDArray[Any]
Function: TypeAlias = Callable[..., Array]


def convolution(rank: int) -> tuple[Function, Function, Function, Function]:
    """Return a convolution of `rank` spatial axes and its gradients by x, weight and bias."""
    name = f"conv{rank}d"

    @in_float32
    @named(name)
    def forward(
        x: Array, weight: Array, bias: Array | None = None, **options: Unpack[ConvOptions]
    ) -> Array:
        """Return y [N, M, *windows] from x [N, C, *pixels], weight [M, C/groups, *taps], bias [M].

        Raises:
            ValueError: the shapes or options fit no convolution.
        """
        shape = conv_shape(rank, x.shape, weight.shape, **options)
        check_bias(bias, len(weight), "filters")
        seen = windows(weight.shape[2:], shape[2:], options)
        y = correlate(x, weight, seen, options["groups"])
        if bias is not None:
            y += bias.reshape(-1, *(1,) * rank)
        return y

    @in_float32
    @named(f"{name}_grad_input")
    def grad_input(
        grad_output: Array, weight: Array, *, input_shape: Shape, **options: Unpack[ConvOptions]
    ) -> Array:
        """Return dx of shape `input_shape` [N, C, *pixels] from dy [N, M, *windows].

        Raises:
            ValueError: the shapes or options fit no convolution.
        """
        shape = conv_shape(rank, input_shape, weight.shape, **options)
        check_grad_output(grad_output, shape)
        seen = windows(weight.shape[2:], shape[2:], options)
        return correlate_grad_input(grad_output, weight, seen, options["groups"], input_shape[2:])

    @in_float32
    @named(f"{name}_grad_weight")
    def grad_weight(
        grad_output: Array, x: Array, *, weight_shape: Shape, **options: Unpack[ConvOptions]
    ) -> Array:
        """Return dw of shape `weight_shape` [M, C/groups, *taps], summed over the images.

        Raises:
            ValueError: the shapes or options fit no convolution.
        """
        shape = conv_shape(rank, x.shape, weight_shape, **options)
        check_grad_output(grad_output, shape)
        seen = windows(weight_shape[2:], shape[2:], options)
        return correlate_grad_weight(grad_output, x, seen, options["groups"])

    return forward, grad_input, grad_weight, grad_bias(f"{name}_grad_bias", rank)


def grad_bias(name: str, rank: int) -> Function:
    """Return the gradient by the bias, of a convolution or a transposed one."""

    @in_float32
    @named(name)
    def gradient(grad_output: Array) -> Array:
        """Return db [M] from dy [N, M, *windows], summed over images and pixels.

        Raises:
            ValueError: grad_output does not have as many axes.
        """
        check_channels(rank, grad_output)
        db: Array = grad_output.sum(axis=(0, *range(2, rank + 2)))
        return db

    return gradient


def windows(kernel: Shape, counts: Shape, options: ConvOptions | ConvTransposeOptions) -> Windows:
    """Return the windows of a convolution whose output has so many along every axis."""
    start = tuple(-pad for pad in options["padding"])
    return Windows(kernel, counts, start, options["stride"], options["dilation"])


conv1d, conv1d_grad_input, conv1d_grad_weight, conv1d_grad_bias = convolution(1)
conv2d, conv2d_grad_input, conv2d_grad_weight, conv2d_grad_bias = convolution(2)
conv3d, conv3d_grad_input, conv3d_grad_weight, conv3d_grad_bias = convolution(3)
