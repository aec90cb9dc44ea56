"""PyTorch's max pooling to a given size, and its gradients."""

from collections.abc import Callable
from typing import Any, TypeAlias

import torch

from gradoracle.implementations.shapes import (
    Shape,
    Sides,
    check_image,
    check_resized,
    named,
)
from gradoracle.implementations.torch_reference.pooling import max_pooling

Function: TypeAlias = Callable[..., Any]

__all__ = ["adaptive_max_pool2d", "adaptive_max_pool2d_grad_input", "adaptive_max_pool2d_vjp"]


def adaptive_maximum(rank: int) -> tuple[Function, Function, Function]:
    """Return a max pooling to a given size, its gradient by indices, and the one by x."""
    name = f"adaptive_max_pool{rank}d"
    torchs = getattr(torch.nn.functional, name)
    _, sent_back, _ = max_pooling(rank)

    @named(name)
    def forward(x: torch.Tensor, *, output_size: Sides) -> tuple[torch.Tensor, torch.Tensor]:
        """Return PyTorch's maxima and their places.

        Raises:
            ValueError, RuntimeError: the shapes fit no pooling.
        """
        check_image("x", x.shape, rank)
        check_image("y", (*x.shape[:2], *output_size), rank)
        found: tuple[torch.Tensor, torch.Tensor] = torchs(
            x, tuple(output_size), return_indices=True
        )
        return found

    @named(f"{name}_grad_input")
    def grad_input(
        grad_output: torch.Tensor, indices: torch.Tensor, *, input_shape: Shape
    ) -> torch.Tensor:
        """Return dx of shape `input_shape`: dy added up by PyTorch where `indices` point.

        Raises:
            ValueError, RuntimeError: the shapes do not fit, or an index lies outside the plane.
        """
        gradient: torch.Tensor = sent_back(grad_output, indices, input_shape=input_shape)
        return gradient

    @named(f"{name}_vjp")
    def vjp(grad_output: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Return PyTorch's gradient, of x's shape.

        Raises:
            ValueError, RuntimeError: the shapes fit no pooling.
        """
        check_resized(x.shape, grad_output.shape, rank)
        at = x.detach().requires_grad_()
        y = torchs(at, tuple(grad_output.shape[2:]))
        gradient: torch.Tensor = torch.autograd.grad(y, at, grad_output)[0]
        return gradient

    return forward, grad_input, vjp


adaptive_max_pool1d, adaptive_max_pool1d_grad_input, adaptive_max_pool1d_vjp = adaptive_maximum(1)
adaptive_max_pool2d, adaptive_max_pool2d_grad_input, adaptive_max_pool2d_vjp = adaptive_maximum(2)
adaptive_max_pool3d, adaptive_max_pool3d_grad_input, adaptive_max_pool3d_vjp = adaptive_maximum(3)
