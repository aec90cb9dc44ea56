"""PyTorch's convolution, transposed convolution and their gradients."""

from typing import TypeAlias

import torch

Pair: TypeAlias = tuple[int, int]
Shape: TypeAlias = tuple[int, ...]


def conv2d(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    *,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> torch.Tensor:
    """Return `torch.nn.functional.conv2d` [N, M, OH, OW].

    Raises:
        ValueError, RuntimeError: the shapes or options fit no convolution.
    """
    _check(x.shape, weight.shape, dilation)
    return torch.nn.functional.conv2d(x, weight, bias, stride, padding, dilation, groups)


def conv2d_grad_input(
    grad_output: torch.Tensor,
    weight: torch.Tensor,
    *,
    input_shape: Shape,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> torch.Tensor:
    """Return PyTorch's dx, of shape `input_shape` [N, C, H, W].

    Raises:
        ValueError, RuntimeError: the shapes or options fit no convolution.
    """
    x = grad_output.new_zeros(input_shape)
    return _backward(grad_output, x, weight, stride, padding, dilation, groups, 0)


def conv2d_grad_weight(
    grad_output: torch.Tensor,
    x: torch.Tensor,
    *,
    weight_shape: Shape,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> torch.Tensor:
    """Return PyTorch's dw, of shape `weight_shape` [M, C/groups, KH, KW], summed over the images.

    Raises:
        ValueError, RuntimeError: the shapes or options fit no convolution.
    """
    weight = grad_output.new_zeros(weight_shape)
    return _backward(grad_output, x, weight, stride, padding, dilation, groups, 1)


def conv2d_grad_bias(grad_output: torch.Tensor) -> torch.Tensor:
    """Return PyTorch's db [M] from dy [N, M, OH, OW].

    Raises:
        ValueError: grad_output does not have four axes.
    """
    _check_four_axes(grad_output.shape)
    return grad_output.sum(dim=(0, 2, 3))


def _backward(
    grad_output: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
    which: int,
) -> torch.Tensor:
    """Return one of PyTorch's gradients: 0 dx, 1 dw.

    `convolution_backward` trusts its arguments, so the forward pass on shapes alone (the meta
    device computes nothing) is asked first whether there is such a convolution.
    """
    _check(x.shape, weight.shape, dilation)
    y = torch.nn.functional.conv2d(
        x.to("meta"), weight.to("meta"), None, stride, padding, dilation, groups
    )
    _check_grad_output(grad_output, y)
    gradients = torch.ops.aten.convolution_backward(
        grad_output,
        x,
        weight,
        None,
        stride,
        padding,
        dilation,
        transposed=False,
        output_padding=(0, 0),
        groups=groups,
        output_mask=(which == 0, which == 1, False),
    )
    result: torch.Tensor = gradients[which]
    return result


def conv_transpose2d(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    *,
    stride: Pair,
    padding: Pair,
    output_padding: Pair,
    dilation: Pair,
    groups: int,
) -> torch.Tensor:
    """Return `torch.nn.functional.conv_transpose2d` [N, M, OH, OW].

    Raises:
        ValueError, RuntimeError: the shapes or options fit no transposed convolution.
    """
    _check_transposed(x.shape, weight.shape, stride, output_padding, dilation)
    y = torch.nn.functional.conv_transpose2d(
        x, weight, bias, stride, padding, output_padding, groups, dilation
    )
    if min(y.shape[1:]) < 1:
        raise ValueError(f"the output would have no pixel: {[*y.shape]}")
    return y


def conv_transpose2d_grad_input(
    grad_output: torch.Tensor,
    weight: torch.Tensor,
    *,
    input_shape: Shape,
    stride: Pair,
    padding: Pair,
    output_padding: Pair,
    dilation: Pair,
    groups: int,
) -> torch.Tensor:
    """Return PyTorch's dx, of shape `input_shape` [N, C, H, W].

    Raises:
        ValueError, RuntimeError: the shapes or options fit no transposed convolution.
    """
    x = grad_output.new_zeros(input_shape)
    options = (stride, padding, output_padding, dilation, groups)
    return _transposed_backward(grad_output, x, weight, *options, which=0)


def conv_transpose2d_grad_weight(
    grad_output: torch.Tensor,
    x: torch.Tensor,
    *,
    weight_shape: Shape,
    stride: Pair,
    padding: Pair,
    output_padding: Pair,
    dilation: Pair,
    groups: int,
) -> torch.Tensor:
    """Return PyTorch's dw, of shape `weight_shape` [C, M/groups, KH, KW], summed over the images.

    Raises:
        ValueError, RuntimeError: the shapes or options fit no transposed convolution.
    """
    weight = grad_output.new_zeros(weight_shape)
    options = (stride, padding, output_padding, dilation, groups)
    return _transposed_backward(grad_output, x, weight, *options, which=1)


def conv_transpose2d_grad_bias(grad_output: torch.Tensor) -> torch.Tensor:
    """Return PyTorch's db [M] from dy [N, M, OH, OW].

    Raises:
        ValueError: grad_output does not have four axes.
    """
    _check_four_axes(grad_output.shape)
    return grad_output.sum(dim=(0, 2, 3))


def _transposed_backward(
    grad_output: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor,
    stride: Pair,
    padding: Pair,
    output_padding: Pair,
    dilation: Pair,
    groups: int,
    *,
    which: int,
) -> torch.Tensor:
    """Return one of PyTorch's gradients of the transposed convolution: 0 dx, 1 dw."""
    _check_transposed(x.shape, weight.shape, stride, output_padding, dilation)
    y = torch.nn.functional.conv_transpose2d(
        x.to("meta"), weight.to("meta"), None, stride, padding, output_padding, groups, dilation
    )
    _check_grad_output(grad_output, y)
    gradients = torch.ops.aten.convolution_backward(
        grad_output,
        x,
        weight,
        None,
        stride,
        padding,
        dilation,
        transposed=True,
        output_padding=output_padding,
        groups=groups,
        output_mask=(which == 0, which == 1, False),
    )
    result: torch.Tensor = gradients[which]
    return result


def _check_grad_output(grad_output: torch.Tensor, y: torch.Tensor) -> None:
    if y.shape != grad_output.shape:
        raise ValueError(
            f"grad_output has shape {[*grad_output.shape]}, but the output has {[*y.shape]}"
        )


def _check_transposed(
    x_shape: Shape, weight_shape: Shape, stride: Pair, output_padding: Pair, dilation: Pair
) -> None:
    """Raise ValueError for what PyTorch takes and the protocol does not."""
    _check(x_shape, weight_shape, dilation)
    for side, (extra, s, d) in enumerate(zip(output_padding, stride, dilation, strict=True)):
        if not 0 <= extra < max(s, d):
            raise ValueError(
                f"output_padding {output_padding} must be below stride {stride} or dilation "
                f"{dilation} on axis {side}"
            )


def _check(x_shape: Shape, weight_shape: Shape, dilation: Pair) -> None:
    """Raise ValueError for what PyTorch takes and the protocol does not."""
    _check_four_axes(x_shape)
    _check_four_axes(weight_shape)
    if min(*x_shape[1:], *weight_shape) < 1:
        raise ValueError(f"sizes of x {[*x_shape]} and weight {[*weight_shape]} must be at least 1")
    if min(dilation) < 1:
        raise ValueError(f"dilation must be at least 1, got {dilation}")


def _check_four_axes(shape: Shape) -> None:
    if len(shape) != 4:
        raise ValueError(f"a batch or a filter bank must have four axes, got shape {[*shape]}")
