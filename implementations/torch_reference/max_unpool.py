"""PyTorch's max unpooling; its gradient is that of autograd."""

from typing import Any

import torch

from gradoracle.implementations.shapes import Sides, check_image

__all__ = ["max_unpool2d", "max_unpool2d_grad_input"]


def max_unpool2d(x: torch.Tensor, indices: torch.Tensor, *, output_size: Sides) -> torch.Tensor:
    """Return PyTorch's unpooled pixels.

    Raises:
        ValueError, RuntimeError: the shapes do not fit, or an index lies outside the plane.
    """
    check_image("x", x.shape)
    check_image("y", (*x.shape[:2], *output_size))
    found: torch.Tensor = _unpool(x, indices, tuple(output_size))
    return found


def max_unpool2d_grad_input(grad_output: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
    """Return PyTorch's gradient, of the indices' shape.

    Raises:
        ValueError, RuntimeError: the shapes do not fit, or an index lies outside the plane.
    """
    check_image("grad_output", grad_output.shape)
    check_image("indices", indices.shape)
    x = grad_output.new_zeros(indices.shape).requires_grad_()
    y = _unpool(x, indices, tuple(grad_output.shape[2:]))
    gradient: torch.Tensor = torch.autograd.grad(y, x, grad_output)[0]
    return gradient


def _unpool(x: torch.Tensor, indices: torch.Tensor, output_size: Any) -> Any:
    # PyTorch's gradient refuses indices in another order than row by row
    return torch.ops.aten.max_unpool2d(x, indices.contiguous(), output_size)
