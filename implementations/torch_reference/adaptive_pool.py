"""PyTorch's average pooling to a given size, and its gradient by autograd."""

import torch

from gradoracle.implementations.shapes import Shape, Sides, check_image

__all__ = ["adaptive_avg_pool2d", "adaptive_avg_pool2d_grad_input"]


def adaptive_avg_pool2d(x: torch.Tensor, *, output_size: Sides) -> torch.Tensor:
    """Return PyTorch's means.

    Raises:
        ValueError, RuntimeError: the shapes fit no pooling.
    """
    check_image("x", x.shape)
    check_image("y", (*x.shape[:2], *output_size))
    rows, columns = output_size
    return torch.nn.functional.adaptive_avg_pool2d(x, (rows, columns)).clone()


def adaptive_avg_pool2d_grad_input(
    grad_output: torch.Tensor, *, input_shape: Shape
) -> torch.Tensor:
    """Return PyTorch's gradient, of shape `input_shape`.

    Raises:
        ValueError, RuntimeError: the shapes fit no pooling.
    """
    check_image("input_shape", input_shape)
    check_image("grad_output", grad_output.shape)
    x = grad_output.new_zeros(input_shape).requires_grad_()
    rows, columns = grad_output.shape[2:]
    y = torch.nn.functional.adaptive_avg_pool2d(x, (rows, columns))
    if y.shape != grad_output.shape:
        raise ValueError(f"grad_output {[*grad_output.shape]} does not fit y {[*y.shape]}")
    gradient: torch.Tensor = torch.autograd.grad(y, x, grad_output)[0]
    return gradient
