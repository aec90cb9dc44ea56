"""PyTorch's max pooling to a given size, and its gradients."""

import torch

from gradoracle.implementations.shapes import (
    Shape,
    Sides,
    check_image,
    check_resized,
)
from gradoracle.implementations.torch_reference.pooling import max_pool2d_grad_input

__all__ = ["adaptive_max_pool2d", "adaptive_max_pool2d_grad_input", "adaptive_max_pool2d_vjp"]


def adaptive_max_pool2d(
    x: torch.Tensor, *, output_size: Sides
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return PyTorch's maxima and their places.

    Raises:
        ValueError, RuntimeError: the shapes fit no pooling.
    """
    check_image("x", x.shape)
    check_image("y", (*x.shape[:2], *output_size))
    found: tuple[torch.Tensor, torch.Tensor] = torch.nn.functional.adaptive_max_pool2d(
        x, tuple(output_size), return_indices=True
    )
    return found


def adaptive_max_pool2d_grad_input(
    grad_output: torch.Tensor, indices: torch.Tensor, *, input_shape: Shape
) -> torch.Tensor:
    """Return dx of shape `input_shape`: dy added up by PyTorch where `indices` point.

    Raises:
        ValueError, RuntimeError: the shapes do not fit, or an index lies outside the plane.
    """
    gradient: torch.Tensor = max_pool2d_grad_input(grad_output, indices, input_shape=input_shape)
    return gradient


def adaptive_max_pool2d_vjp(grad_output: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Return PyTorch's gradient, of x's shape.

    Raises:
        ValueError, RuntimeError: the shapes fit no pooling.
    """
    check_resized(x.shape, grad_output.shape)
    at = x.detach().requires_grad_()
    y = torch.nn.functional.adaptive_max_pool2d(at, tuple(grad_output.shape[2:]))
    gradient: torch.Tensor = torch.autograd.grad(y, at, grad_output)[0]
    return gradient
