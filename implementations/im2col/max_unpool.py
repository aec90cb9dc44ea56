"""Max unpooling: pixels put at their places in planes of zeros, and taken from there."""

from collections.abc import Callable
from math import prod
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gradoracle.implementations.im2col.halves import in_float32
from gradoracle.implementations.shapes import Sides, check_image, check_indices, named

Array: TypeAlias = npt.NDArray[Any]
Function: TypeAlias = Callable[..., Any]


def max_unpooling(rank: int) -> tuple[Function, Function]:
    """Return a max unpooling of `rank` spatial axes, and its gradient."""
    name = f"max_unpool{rank}d"

    @in_float32
    @named(name)
    def forward(x: Array, indices: Array, *, output_size: Sides) -> Array:
        """Return [N, C, *output_size], 0 where no index points.

        Raises:
            ValueError: the shapes do not fit each other, or an index lies outside the plane.
        """
        check_image("x", x.shape, rank)
        shape = (*x.shape[:2], *output_size)
        check_image("y", shape, rank)
        check_indices(rank, x, indices, shape)
        y = np.zeros((*x.shape[:2], prod(output_size)), x.dtype)
        np.put_along_axis(y, _lines(indices), _lines(x), 2)
        return y.reshape(shape)

    @in_float32
    @named(f"{name}_grad_input")
    def grad_input(grad_output: Array, indices: Array) -> Array:
        """Return dx, what stands where the indices point.

        Raises:
            ValueError: the shapes do not fit each other, or an index lies outside the plane.
        """
        check_image("grad_output", grad_output.shape, rank)
        check_image("indices", indices.shape, rank)
        check_indices(rank, indices, indices, grad_output.shape)
        found = np.take_along_axis(_lines(grad_output), _lines(indices), 2)
        return found.reshape(indices.shape)

    return forward, grad_input


def _lines(array: Array) -> Array:
    """Return an array with its planes as lines."""
    return array.reshape(*array.shape[:2], prod(array.shape[2:]))


max_unpool1d, max_unpool1d_grad_input = max_unpooling(1)
max_unpool2d, max_unpool2d_grad_input = max_unpooling(2)
max_unpool3d, max_unpool3d_grad_input = max_unpooling(3)
