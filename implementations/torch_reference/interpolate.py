"""PyTorch's interpolation; gradients are those of autograd."""

from collections.abc import Callable
from typing import Any, TypeAlias

import torch

from gradoracle.implementations.shapes import Shape, Sides, check_image, check_resized, named

Function: TypeAlias = Callable[..., Any]
LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}

__all__ = [
    "interpolate_bilinear2d",
    "interpolate_bilinear2d_grad_input",
    "interpolate_nearest2d",
    "interpolate_nearest2d_grad_input",
]


def nearest_interpolation(rank: int) -> tuple[Function, Function]:
    """Return interpolation by the nearest pixel along `rank` spatial axes, and its gradient."""
    name = f"interpolate_nearest{rank}d"

    @named(name)
    def forward(x: torch.Tensor, *, output_size: Sides, mode: str) -> torch.Tensor:
        """Return PyTorch's nearest pixels.

        Raises:
            ValueError, RuntimeError: the shapes fit no interpolation, or there is no such mode.
        """
        return _resized(rank, x, output_size, mode=_nearest(mode))

    @named(f"{name}_grad_input")
    def grad_input(grad_output: torch.Tensor, *, input_shape: Shape, mode: str) -> torch.Tensor:
        """Return PyTorch's gradient, of shape `input_shape`.

        Raises:
            ValueError, RuntimeError: the shapes fit no interpolation, or there is no such mode.
        """
        return _back(rank, grad_output, input_shape, mode=_nearest(mode))

    return forward, grad_input


def linear_interpolation(rank: int) -> tuple[Function, Function]:
    """Return interpolation between pixels along `rank` spatial axes, and its gradient."""
    mode = LINEAR[rank]
    name = f"interpolate_{mode}{rank}d"

    @named(name)
    def forward(x: torch.Tensor, *, output_size: Sides, align_corners: bool) -> torch.Tensor:
        """Return what PyTorch puts between pixels.

        Raises:
            ValueError, RuntimeError: the shapes fit no interpolation.
        """
        return _resized(rank, x, output_size, mode=mode, align_corners=align_corners)

    @named(f"{name}_grad_input")
    def grad_input(
        grad_output: torch.Tensor, *, input_shape: Shape, align_corners: bool
    ) -> torch.Tensor:
        """Return PyTorch's gradient, of shape `input_shape`.

        Raises:
            ValueError, RuntimeError: the shapes fit no interpolation.
        """
        return _back(rank, grad_output, input_shape, mode=mode, align_corners=align_corners)

    return forward, grad_input


def _nearest(mode: str) -> str:
    if mode not in ("nearest", "nearest-exact"):
        raise ValueError(f"mode must be 'nearest' or 'nearest-exact', got {mode!r}")
    return mode


def _resized(rank: int, x: torch.Tensor, output_size: Sides, **how: Any) -> torch.Tensor:
    """Return a new tensor: PyTorch returns x itself where nothing changes."""
    check_image("x", x.shape, rank)
    check_image("y", (*x.shape[:2], *output_size), rank)
    found: torch.Tensor = torch.nn.functional.interpolate(x, tuple(output_size), **how)
    return found.clone() if found is x else found


def _back(rank: int, grad_output: torch.Tensor, input_shape: Shape, **how: Any) -> torch.Tensor:
    check_resized(input_shape, grad_output.shape, rank)
    x = grad_output.new_zeros(input_shape).requires_grad_()
    y = torch.nn.functional.interpolate(x, tuple(grad_output.shape[2:]), **how)
    gradient: torch.Tensor = torch.autograd.grad(y, x, grad_output)[0]
    return gradient


interpolate_nearest1d, interpolate_nearest1d_grad_input = nearest_interpolation(1)
interpolate_nearest2d, interpolate_nearest2d_grad_input = nearest_interpolation(2)
interpolate_nearest3d, interpolate_nearest3d_grad_input = nearest_interpolation(3)
interpolate_linear1d, interpolate_linear1d_grad_input = linear_interpolation(1)
interpolate_bilinear2d, interpolate_bilinear2d_grad_input = linear_interpolation(2)
interpolate_trilinear3d, interpolate_trilinear3d_grad_input = linear_interpolation(3)
