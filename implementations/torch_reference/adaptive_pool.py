"""PyTorch's average pooling to a given size, and its gradient by autograd."""

from collections.abc import Callable
from typing import Any, TypeAlias

import torch

from gradoracle.implementations.shapes import Shape, Sides, check_image, check_resized, named

Function: TypeAlias = Callable[..., Any]

__all__ = ["adaptive_avg_pool2d", "adaptive_avg_pool2d_grad_input"]


def adaptive_averaging(rank: int) -> tuple[Function, Function]:
    """Return an average pooling to a given size along `rank` spatial axes, and its gradient."""
    name = f"adaptive_avg_pool{rank}d"
    torchs = getattr(torch.nn.functional, name)

    @named(name)
    def forward(x: torch.Tensor, *, output_size: Sides) -> torch.Tensor:
        """Return PyTorch's means.

        Raises:
            ValueError, RuntimeError: the shapes fit no pooling.
        """
        check_image("x", x.shape, rank)
        check_image("y", (*x.shape[:2], *output_size), rank)
        y: torch.Tensor = torchs(x, tuple(output_size))
        return y.clone()

    @named(f"{name}_grad_input")
    def grad_input(grad_output: torch.Tensor, *, input_shape: Shape) -> torch.Tensor:
        """Return PyTorch's gradient, of shape `input_shape`.

        Raises:
            ValueError, RuntimeError: the shapes fit no pooling.
        """
        check_resized(input_shape, grad_output.shape, rank)
        x = grad_output.new_zeros(input_shape).requires_grad_()
        y = torchs(x, tuple(grad_output.shape[2:]))
        gradient: torch.Tensor = torch.autograd.grad(y, x, grad_output)[0]
        return gradient

    return forward, grad_input


adaptive_avg_pool1d, adaptive_avg_pool1d_grad_input = adaptive_averaging(1)
adaptive_avg_pool2d, adaptive_avg_pool2d_grad_input = adaptive_averaging(2)
adaptive_avg_pool3d, adaptive_avg_pool3d_grad_input = adaptive_averaging(3)
