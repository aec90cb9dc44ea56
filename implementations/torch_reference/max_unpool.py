"""PyTorch's max unpooling; its gradient is that of autograd."""

from collections.abc import Callable
from typing import Any, TypeAlias

import torch

from gradoracle.implementations.shapes import Sides, check_image, named

Function: TypeAlias = Callable[..., Any]

__all__ = ["max_unpool2d", "max_unpool2d_grad_input"]


def max_unpooling(rank: int) -> tuple[Function, Function]:
    """Return a max unpooling of `rank` spatial axes, and its gradient."""
    name = f"max_unpool{rank}d"

    @named(name)
    def forward(x: torch.Tensor, indices: torch.Tensor, *, output_size: Sides) -> torch.Tensor:
        """Return PyTorch's unpooled pixels.

        Raises:
            ValueError, RuntimeError: the shapes do not fit, or an index lies outside the plane.
        """
        check_image("x", x.shape, rank)
        check_image("y", (*x.shape[:2], *output_size), rank)
        found: torch.Tensor = _unpool(rank, x, indices, tuple(output_size))
        return found

    @named(f"{name}_grad_input")
    def grad_input(grad_output: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        """Return PyTorch's gradient, of the indices' shape.

        Raises:
            ValueError, RuntimeError: the shapes do not fit, or an index lies outside the plane.
        """
        check_image("grad_output", grad_output.shape, rank)
        check_image("indices", indices.shape, rank)
        x = grad_output.new_zeros(indices.shape).requires_grad_()
        y = _unpool(rank, x, indices, tuple(grad_output.shape[2:]))
        gradient: torch.Tensor = torch.autograd.grad(y, x, grad_output)[0]
        return gradient

    return forward, grad_input


def _unpool(rank: int, x: torch.Tensor, indices: torch.Tensor, outputs: Sides) -> Any:
    """Return PyTorch's unpooling; of one axis as the second of two, as PyTorch has it."""
    # PyTorch's gradient refuses indices in another order than row by row
    places = indices.contiguous()
    if rank == 3:  # its stride and padding only have to be legal
        return torch.ops.aten.max_unpool3d(x, places, outputs, (1,) * 3, (0,) * 3)
    if rank == 2:
        return torch.ops.aten.max_unpool2d(x, places, outputs)
    lifted = torch.ops.aten.max_unpool2d(x.unsqueeze(2), places.unsqueeze(2), (1, *outputs))
    return lifted.squeeze(2)


max_unpool1d, max_unpool1d_grad_input = max_unpooling(1)
max_unpool2d, max_unpool2d_grad_input = max_unpooling(2)
max_unpool3d, max_unpool3d_grad_input = max_unpooling(3)
