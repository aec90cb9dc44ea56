"""PyTorch's convolutions, transposed ones and their gradients, of one to three dimensions."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeAlias, TypeVar, cast

import torch

from gradoracle.implementations.shapes import ConvOptions, ConvTransposeOptions, Shape, Sides, named

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


def convolution(
    rank: int, *, transposed: bool = False
) -> tuple[Function, Function, Function, Function]:
    """Return a convolution, or a transposed one, and its gradients by x, weight and bias."""
    name = f"conv_transpose{rank}d" if transposed else f"conv{rank}d"
    torchs = getattr(torch.nn.functional, name)
    kind = ConvTransposeOptions if transposed else ConvOptions

    @in_order
    @named(name, kind)
    def forward(
        x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, **options: Any
    ) -> torch.Tensor:
        """Return PyTorch's convolution, or transposed one, [N, M, *windows].

        Raises:
            ValueError, RuntimeError: the shapes or options fit none.
        """
        _check(rank, x.shape, weight.shape, options)
        y: torch.Tensor = torchs(x, weight, bias, **options)
        if min(y.shape[1:]) < 1:
            raise ValueError(f"the output would have no pixel: {[*y.shape]}")
        return y

    @in_order
    @named(f"{name}_grad_input", kind)
    def grad_input(
        grad_output: torch.Tensor, weight: torch.Tensor, *, input_shape: Shape, **options: Any
    ) -> torch.Tensor:
        """Return PyTorch's dx, of shape `input_shape` [N, C, *pixels].

        Raises:
            ValueError, RuntimeError: the shapes or options fit no convolution, or transposed one.
        """
        x = grad_output.new_zeros(input_shape)
        return backward(0, grad_output, x, weight, options)

    @in_order
    @named(f"{name}_grad_weight", kind)
    def grad_weight(
        grad_output: torch.Tensor, x: torch.Tensor, *, weight_shape: Shape, **options: Any
    ) -> torch.Tensor:
        """Return PyTorch's dw, of the shape `weight_shape` of a filter bank, of all images.

        Raises:
            ValueError, RuntimeError: the shapes or options fit no convolution, or transposed one.
        """
        weight = grad_output.new_zeros(weight_shape)
        return backward(1, grad_output, x, weight, options)

    def backward(
        which: int,
        grad_output: torch.Tensor,
        x: torch.Tensor,
        weight: torch.Tensor,
        options: dict[str, Any],
    ) -> torch.Tensor:
        """Return one of PyTorch's gradients: 0 dx, 1 dw.

        `convolution_backward` trusts its arguments, so the forward pass on shapes alone (the meta
        device computes nothing) is asked first whether there is such a convolution.
        """
        _check(rank, x.shape, weight.shape, options)
        y = torchs(x.to("meta"), weight.to("meta"), None, **options)
        if y.shape != grad_output.shape:
            raise ValueError(
                f"grad_output has shape {[*grad_output.shape]}, but the output has {[*y.shape]}"
            )
        whole = {"output_padding": (0,) * rank, **options, "transposed": transposed}
        mask = (which == 0, which == 1, False)
        gradients = torch.ops.aten.convolution_backward(
            grad_output, x, weight, bias_sizes=None, **whole, output_mask=mask
        )
        result: torch.Tensor = gradients[which]
        return result

    return forward, grad_input, grad_weight, grad_bias(f"{name}_grad_bias", rank)


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


def _check(rank: int, x_shape: Shape, weight_shape: Shape, options: dict[str, Any]) -> None:
    """Raise ValueError for what PyTorch takes and the protocol does not."""
    _check_axes(rank, x_shape)
    _check_axes(rank, weight_shape)
    if min(*x_shape[1:], *weight_shape) < 1:
        raise ValueError(f"sizes of x {[*x_shape]} and weight {[*weight_shape]} must be at least 1")
    if min(options["dilation"]) < 1:
        raise ValueError(f"dilation must be at least 1, got {options['dilation']}")
    if "output_padding" in options:
        _check_output_padding(options["stride"], options["output_padding"], options["dilation"])


def _check_output_padding(stride: Sides, output_padding: Sides, dilation: Sides) -> None:
    for side, (extra, s, d) in enumerate(zip(output_padding, stride, dilation, strict=True)):
        if not 0 <= extra < max(s, d):
            raise ValueError(
                f"output_padding {output_padding} must be below stride {stride} or dilation "
                f"{dilation} on axis {side}"
            )


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
) = convolution(1, transposed=True)
(
    conv_transpose2d,
    conv_transpose2d_grad_input,
    conv_transpose2d_grad_weight,
    conv_transpose2d_grad_bias,
) = convolution(2, transposed=True)
(
    conv_transpose3d,
    conv_transpose3d_grad_input,
    conv_transpose3d_grad_weight,
    conv_transpose3d_grad_bias,
) = convolution(3, transposed=True)
