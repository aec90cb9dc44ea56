"""Power-average pooling: powers added up tap by tap, and their root."""

from collections.abc import Callable
from math import isfinite
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gradoracle.implementations.im2col.halves import in_float32
from gradoracle.implementations.im2col.pooling import taps, windows_of
from gradoracle.implementations.shapes import Sides, check_grad_output, named

Array: TypeAlias = npt.NDArray[Any]
Function: TypeAlias = Callable[..., Any]


def lp_pooling(rank: int) -> tuple[Function, Function]:
    """Return a power-average pooling of `rank` spatial axes, and its gradient."""
    name = f"lp_pool{rank}d"

    @in_float32
    @named(name)
    def forward(x: Array, *, norm_type: float, kernel_size: Sides, stride: Sides) -> Array:
        """Return every window's norm.

        Raises:
            ValueError: the shapes or options fit no pooling, or norm_type is below 1.
        """
        if not (isfinite(norm_type) and norm_type >= 1):
            raise ValueError(f"norm_type must be a number of at least 1, got {norm_type}")
        windows = windows_of(rank, x.shape, kernel_size, stride)
        sums, powers = np.zeros((*x.shape[:2], *windows.counts), x.dtype), x**norm_type
        for those, pixels in taps(windows):
            sums[those] += powers[pixels]
        return np.asarray(sums ** (1 / norm_type))

    @in_float32
    @named(f"{name}_grad")
    def grad(
        grad_output: Array, x: Array, *, norm_type: float, kernel_size: Sides, stride: Sides
    ) -> Array:
        """Return dx of x's shape: every pixel's share of its norms, none of a root of 0.

        Raises:
            ValueError: the shapes or options fit no pooling, or norm_type is below 1.
        """
        y = forward(x, norm_type=norm_type, kernel_size=kernel_size, stride=stride)
        check_grad_output(grad_output, y.shape)
        kept = (y != 0) | (norm_type == 1)  # a sum has a slope everywhere
        norms, dy = np.where(y == 0, y.dtype.type(1), y), np.where(kept, grad_output, 0)
        dx = np.zeros(x.shape, x.dtype)
        for those, pixels in taps(windows_of(rank, x.shape, kernel_size, stride)):
            dx[pixels] += dy[those] * (x[pixels] / norms[those]) ** (norm_type - 1)
        return dx

    return forward, grad


lp_pool1d, lp_pool1d_grad = lp_pooling(1)
lp_pool2d, lp_pool2d_grad = lp_pooling(2)
lp_pool3d, lp_pool3d_grad = lp_pooling(3)
