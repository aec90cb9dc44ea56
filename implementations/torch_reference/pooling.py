"""PyTorch's pooling and gradients."""

from typing import TypeAlias

import torch

Pair: TypeAlias = tuple[int, int]
Shape: TypeAlias = tuple[int, ...]


def max_pool2d(
    x: torch.Tensor,
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    ceil_mode: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return `torch.nn.functional.max_pool2d`'s values and indices.

    Raises:
        ValueError, RuntimeError: the shapes or options fit no pooling.
    """
    _check(x.shape)
    y, indices = torch.nn.functional.max_pool2d(
        x, kernel_size, stride, padding, dilation, ceil_mode, return_indices=True
    )
    for size, count, k, s, p, d in zip(
        x.shape[2:], y.shape[2:], kernel_size, stride, padding, dilation, strict=True
    ):
        starts = torch.arange(count) * s - p
        first = starts + torch.clamp(-starts + d - 1, min=0) // d * d
        if (first >= torch.clamp(starts + (k - 1) * d + 1, max=size)).any():
            raise ValueError("a window holds no pixel: PyTorch's index of it is out of the plane")
    return y, indices


def max_pool2d_grad_input(
    grad_output: torch.Tensor, indices: torch.Tensor, *, input_shape: Shape
) -> torch.Tensor:
    """Return dx of shape `input_shape`: dy added up where `indices` point.

    Raises:
        ValueError, RuntimeError: the shapes do not fit each other.
    """
    if len(input_shape) != 4 or min(input_shape[1:]) < 1 or grad_output.shape != indices.shape:
        raise ValueError(
            f"grad_output {[*grad_output.shape]}, indices {[*indices.shape]} and input_shape "
            f"{input_shape} do not fit"
        )
    images, channels, height, width = input_shape
    if grad_output.dim() != 4 or grad_output.shape[:2] != (images, channels):
        raise ValueError(f"grad_output {[*grad_output.shape]} does not fit {input_shape}")
    planes = grad_output.new_zeros((images, channels, height * width))
    return planes.scatter_add(2, indices.flatten(2), grad_output.flatten(2)).reshape(input_shape)


def max_pool2d_vjp(
    grad_output: torch.Tensor,
    x: torch.Tensor,
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    ceil_mode: bool,
) -> torch.Tensor:
    """Return PyTorch's own gradient of its max pooling.

    Raises:
        ValueError, RuntimeError: the shapes or options fit no pooling.
    """
    options = {
        "kernel_size": kernel_size,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "ceil_mode": ceil_mode,
    }
    y, indices = max_pool2d(x, **options)  # type: ignore[arg-type]
    if y.shape != grad_output.shape:
        raise ValueError(f"grad_output {[*grad_output.shape]} does not fit {[*y.shape]}")
    gradient: torch.Tensor = torch.ops.aten.max_pool2d_with_indices_backward(
        grad_output, x, kernel_size, stride, padding, dilation, ceil_mode, indices
    )
    return gradient


def avg_pool2d(
    x: torch.Tensor,
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,
    count_include_pad: bool,
) -> torch.Tensor:
    """Return `torch.nn.functional.avg_pool2d`.

    Raises:
        ValueError, RuntimeError: the shapes or options fit no pooling.
    """
    _check(x.shape)
    return torch.nn.functional.avg_pool2d(
        x, kernel_size, stride, padding, ceil_mode, count_include_pad
    )


def avg_pool2d_grad_input(
    grad_output: torch.Tensor,
    *,
    input_shape: Shape,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,
    count_include_pad: bool,
) -> torch.Tensor:
    """Return PyTorch's gradient of `avg_pool2d`, of shape `input_shape`.

    Raises:
        ValueError, RuntimeError: the shapes or options fit no pooling.
    """
    x = grad_output.new_zeros(input_shape)
    options = {
        "kernel_size": kernel_size,
        "stride": stride,
        "padding": padding,
        "ceil_mode": ceil_mode,
        "count_include_pad": count_include_pad,
    }
    y = avg_pool2d(x.to("meta"), **options)  # type: ignore[arg-type]  # the backward trusts its arguments
    if y.shape != grad_output.shape:
        raise ValueError(f"grad_output {[*grad_output.shape]} does not fit {[*y.shape]}")
    gradient: torch.Tensor = torch.ops.aten.avg_pool2d_backward(
        grad_output,
        x,
        kernel_size,
        stride,
        padding,
        ceil_mode,
        count_include_pad,
        None,
    )
    return gradient


def _check(shape: Shape) -> None:
    """Raise ValueError for what PyTorch takes and the protocol does not."""
    if len(shape) != 4 or min(shape[1:]) < 1:
        raise ValueError(f"an image batch must have four axes of at least 1, got {[*shape]}")
