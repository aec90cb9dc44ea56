"""PyTorch's interpolation; gradients are those of autograd."""

from typing import Any

import torch

from gradoracle.implementations.shapes import Shape, Sides, check_image, check_resized

__all__ = [
    "interpolate_bilinear2d",
    "interpolate_bilinear2d_grad_input",
    "interpolate_nearest2d",
    "interpolate_nearest2d_grad_input",
]


def interpolate_nearest2d(x: torch.Tensor, *, output_size: Sides, mode: str) -> torch.Tensor:
    """Return PyTorch's nearest pixels.

    Raises:
        ValueError, RuntimeError: the shapes fit no interpolation, or there is no such mode.
    """
    return _resized(x, output_size, mode=_nearest(mode))


def interpolate_nearest2d_grad_input(
    grad_output: torch.Tensor, *, input_shape: Shape, mode: str
) -> torch.Tensor:
    """Return PyTorch's gradient, of shape `input_shape`.

    Raises:
        ValueError, RuntimeError: the shapes fit no interpolation, or there is no such mode.
    """
    return _back(grad_output, input_shape, mode=_nearest(mode))


def interpolate_bilinear2d(
    x: torch.Tensor, *, output_size: Sides, align_corners: bool
) -> torch.Tensor:
    """Return what PyTorch puts between pixels.

    Raises:
        ValueError, RuntimeError: the shapes fit no interpolation.
    """
    return _resized(x, output_size, mode="bilinear", align_corners=align_corners)


def interpolate_bilinear2d_grad_input(
    grad_output: torch.Tensor, *, input_shape: Shape, align_corners: bool
) -> torch.Tensor:
    """Return PyTorch's gradient, of shape `input_shape`.

    Raises:
        ValueError, RuntimeError: the shapes fit no interpolation.
    """
    return _back(grad_output, input_shape, mode="bilinear", align_corners=align_corners)


def _nearest(mode: str) -> str:
    if mode not in ("nearest", "nearest-exact"):
        raise ValueError(f"mode must be 'nearest' or 'nearest-exact', got {mode!r}")
    return mode


def _resized(x: torch.Tensor, output_size: Sides, **how: Any) -> torch.Tensor:
    """Return a new tensor: PyTorch returns x itself where nothing changes."""
    check_image("x", x.shape)
    check_image("y", (*x.shape[:2], *output_size))
    found: torch.Tensor = torch.nn.functional.interpolate(x, tuple(output_size), **how)
    return found.clone() if found is x else found


def _back(grad_output: torch.Tensor, input_shape: Shape, **how: Any) -> torch.Tensor:
    check_resized(input_shape, grad_output.shape)
    x = grad_output.new_zeros(input_shape).requires_grad_()
    y = torch.nn.functional.interpolate(x, tuple(grad_output.shape[2:]), **how)
    gradient: torch.Tensor = torch.autograd.grad(y, x, grad_output)[0]
    return gradient
