"""PyTorch's power-average pooling; its gradient is that of autograd."""

from collections.abc import Callable
from math import isfinite
from typing import Any, TypeAlias

import torch

from gradoracle.implementations.shapes import Sides, check_image, named

Function: TypeAlias = Callable[..., Any]


def lp_pooling(rank: int) -> tuple[Function, Function]:
    """Return a power-average pooling of `rank` spatial axes, and its gradient."""
    name = f"lp_pool{rank}d"
    torchs = getattr(torch.nn.functional, name)

    @named(name)
    def forward(
        x: torch.Tensor, *, norm_type: float, kernel_size: Sides, stride: Sides
    ) -> torch.Tensor:
        """Return PyTorch's norms.

        Raises:
            ValueError, RuntimeError: the shapes or options fit no pooling.
        """
        check_image("x", x.shape, rank)
        if not (isfinite(norm_type) and norm_type >= 1):
            raise ValueError(f"norm_type must be a number of at least 1, got {norm_type}")
        if rank == 1:  # PyTorch's multiplies with it
            (taps,) = kernel_size
            y: torch.Tensor = torchs(x, norm_type, taps, stride)
        else:
            y = torchs(x, norm_type, kernel_size, stride)
        return y

    @named(f"{name}_grad")
    def grad(
        grad_output: torch.Tensor, x: torch.Tensor, *, norm_type: float, kernel_size: Sides,
        stride: Sides,
    ) -> torch.Tensor:  # fmt: skip
        """Return PyTorch's gradient, of x's shape.

        Raises:
            ValueError, RuntimeError: the shapes or options fit no pooling.
        """
        at = x.detach().requires_grad_()
        y = forward(at, norm_type=norm_type, kernel_size=kernel_size, stride=stride)
        if y.shape != grad_output.shape:
            raise ValueError(f"grad_output {[*grad_output.shape]} does not fit y {[*y.shape]}")
        gradient: torch.Tensor = torch.autograd.grad(y, at, grad_output)[0]
        return gradient

    return forward, grad


lp_pool1d, lp_pool1d_grad = lp_pooling(1)
lp_pool2d, lp_pool2d_grad = lp_pooling(2)
lp_pool3d, lp_pool3d_grad = lp_pooling(3)
