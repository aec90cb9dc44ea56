"""PyTorch's convolutions, transposed ones and their gradients, of one to three dimensions."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeAlias, TypeVar, Unpack, cast

import torch

from gradoracle.implementations.shapes import (
    ConvOptions,
    ConvTransposeOptions,
    Shape,
    Sides,
    named,
)

Function: TypeAlias = Callable[..., torch.Tensor]
F = TypeVar("F", bound=Function)


def in_order(function: F) -> F:
    """Return the function on tensors whose elements lie in order.

    Where channels lie together, PyTorch 2.13 reads address 0 if a stride is wider than the image.
    """

    @wraps(function)
    def called(*arrays: torch.Tensor | None, **options: Any) -> torch.Tensor:
        return function(*(a if a is None else a.contiguous() for a in arrays), **options)

    return cast("F", called)


def convolution(rank: int) -> tuple[Function, Function, Function, Function]:
    """Return a convolution of `rank` spatial axes and its gradients by x, weight and bias."""
    name, torchs = f"conv{rank}d", getattr(torch.nn.functional, f"conv{rank}d")

    @named(name)
    def forward(
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None = None,
        **options: Unpack[ConvOptions],
    ) -> torch.Tensor:
        """Return PyTorch's convolution [N, M, *windows].

        Raises:
            ValueError, RuntimeError: the shapes or options fit no convolution.
        """
        _check(rank, x.shape, weight.shape, options["dilation"])
        return cast("torch.Tensor", torchs(x, weight, bias, **options))

    @named(f"{name}_grad_input")
    def grad_input(
        grad_output: torch.Tensor,
        weight: torch.Tensor,
        *,
        input_shape: Shape,
        **options: Unpack[ConvOptions],
    ) -> torch.Tensor:
        """Return PyTorch's dx, of shape `input_shape` [N, C, *pixels].

        Raises:
            ValueError, RuntimeError: the shapes or options fit no convolution.
        """
        x = grad_output.new_zeros(input_shape)
        return backward(0, grad_output, x, weight, **options)

    @named(f"{name}_grad_weight")
    def grad_weight(
        grad_output: torch.Tensor,
        x: torch.Tensor,
        *,
        weight_shape: Shape,
        **options: Unpack[ConvOptions],
    ) -> torch.Tensor:
        """Return PyTorch's dw, of shape `weight_shape` [M, C/groups, *taps], of all images.

        Raises:
            ValueError, RuntimeError: the shapes or options fit no convolution.
        """
        weight = grad_output.new_zeros(weight_shape)
        return backward(1, grad_output, x, weight, **options)

    def backward(
        which: int,
        grad_output: torch.Tensor,
        x: torch.Tensor,
        weight: torch.Tensor,
        **options: Unpack[ConvOptions],
    ) -> torch.Tensor:
        """Return one of PyTorch's gradients: 0 dx, 1 dw.

        `convolution_backward` trusts its arguments, so the forward pass on shapes alone (the meta
        device computes nothing) is asked first whether there is such a convolution.
        """
        _check(rank, x.shape, weight.shape, options["dilation"])
        y = torchs(x.to("meta"), weight.to("meta"), None, **options)
        _check_grad_output(grad_output, y)
        whole: ConvTransposeOptions = {**options, "output_padding": (0,) * rank}
        return _gradient(which, grad_output, x, weight, whole, transposed=False)

    bias = grad_bias(f"{name}_grad_bias", rank)
    return in_order(forward), in_order(grad_input), in_order(grad_weight), bias


def transposed_convolution(rank: int) -> tuple[Function, Function, Function, Function]:
    """Return a transposed convolution and its gradients by x, weight and bias."""
    name = f"conv_transpose{rank}d"
    torchs = getattr(torch.nn.functional, name)

    @named(name)
    def forward(
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None = None,
        **options: Unpack[ConvTransposeOptions],
    ) -> torch.Tensor:
        """Return PyTorch's transposed convolution [N, M, *pixels].

        Raises:
            ValueError, RuntimeError: the shapes or options fit no transposed convolution.
        """
        _check(rank, x.shape, weight.shape, options["dilation"])
        _check_output_padding(options)
        y: torch.Tensor = torchs(x, weight, bias, **options)
        if min(y.shape[1:]) < 1:
            raise ValueError(f"the output would have no pixel: {[*y.shape]}")
        return y

    @named(f"{name}_grad_input")
    def grad_input(
        grad_output: torch.Tensor,
        weight: torch.Tensor,
        *,
        input_shape: Shape,
        **options: Unpack[ConvTransposeOptions],
    ) -> torch.Tensor:
        """Return PyTorch's dx, of shape `input_shape` [N, C, *pixels].

        Raises:
            ValueError, RuntimeError: the shapes or options fit no transposed convolution.
        """
        x = grad_output.new_zeros(input_shape)
        return backward(0, grad_output, x, weight, **options)

    @named(f"{name}_grad_weight")
    def grad_weight(
        grad_output: torch.Tensor,
        x: torch.Tensor,
        *,
        weight_shape: Shape,
        **options: Unpack[ConvTransposeOptions],
    ) -> torch.Tensor:
        """Return PyTorch's dw, of shape `weight_shape` [C, M/groups, *taps], of all images.

        Raises:
            ValueError, RuntimeError: the shapes or options fit no transposed convolution.
        """
        weight = grad_output.new_zeros(weight_shape)
        return backward(1, grad_output, x, weight, **options)

    def backward(
        which: int,
        grad_output: torch.Tensor,
        x: torch.Tensor,
        weight: torch.Tensor,
        **options: Unpack[ConvTransposeOptions],
    ) -> torch.Tensor:
        """Return one of PyTorch's gradients of the transposed convolution: 0 dx, 1 dw."""
        _check(rank, x.shape, weight.shape, options["dilation"])
        _check_output_padding(options)
        y = torchs(x.to("meta"), weight.to("meta"), None, **options)
        _check_grad_output(grad_output, y)
        return _gradient(which, grad_output, x, weight, options, transposed=True)

    bias = grad_bias(f"{name}_grad_bias", rank)
    return in_order(forward), in_order(grad_input), in_order(grad_weight), bias


def grad_bias(name: str, rank: int) -> Function:
    """Return the gradient by the bias, of a convolution or a transposed one."""

    @named(name)
    def gradient(grad_output: torch.Tensor) -> torch.Tensor:
        """Return PyTorch's db [M] from dy [N, M, *windows].

        Raises:
            ValueError: grad_output does not have as many axes.
        """
        _check_axes(rank, grad_output.shape)
        return grad_output.sum(dim=(0, *range(2, rank + 2)))

    return gradient


def _gradient(
    which: int,
    grad_output: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor,
    options: ConvTransposeOptions,
    *,
    transposed: bool,
) -> torch.Tensor:
    """Return one of PyTorch's gradients: 0 dx, 1 dw."""
    names = {**options, "transposed": transposed, "output_mask": (which == 0, which == 1, False)}
    gradients = torch.ops.aten.convolution_backward(
        grad_output, x, weight, bias_sizes=None, **names
    )
    result: torch.Tensor = gradients[which]
    return result


def _check_grad_output(grad_output: torch.Tensor, y: torch.Tensor) -> None:
    if y.shape != grad_output.shape:
        raise ValueError(
            f"grad_output has shape {[*grad_output.shape]}, but the output has {[*y.shape]}"
        )


def _check_output_padding(options: ConvTransposeOptions) -> None:
    """Raise ValueError for what PyTorch takes and the protocol does not."""
    stride, dilation = options["stride"], options["dilation"]
    output_padding = options["output_padding"]
    for side, (extra, s, d) in enumerate(zip(output_padding, stride, dilation, strict=True)):
        if not 0 <= extra < max(s, d):
            raise ValueError(
                f"output_padding {output_padding} must be below stride {stride} or dilation "
                f"{dilation} on axis {side}"
            )


def _check(rank: int, x_shape: Shape, weight_shape: Shape, dilation: Sides) -> None:
    """Raise ValueError for what PyTorch takes and the protocol does not."""
    _check_axes(rank, x_shape)
    _check_axes(rank, weight_shape)
    if min(*x_shape[1:], *weight_shape) < 1:
        raise ValueError(f"sizes of x {[*x_shape]} and weight {[*weight_shape]} must be at least 1")
    if min(dilation) < 1:
        raise ValueError(f"dilation must be at least 1, got {dilation}")


def _check_axes(rank: int, shape: Shape) -> None:
    if len(shape) != rank + 2:
        raise ValueError(
            f"a batch or a filter bank must have {rank + 2} axes, got shape {[*shape]}"
        )


conv1d, conv1d_grad_input, conv1d_grad_weight, conv1d_grad_bias = convolution(1)
conv2d, conv2d_grad_input, conv2d_grad_weight, conv2d_grad_bias = convolution(2)
conv3d, conv3d_grad_input, conv3d_grad_weight, conv3d_grad_bias = convolution(3)
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
