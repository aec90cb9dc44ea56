"""Max pooling to a given size: the pixels of all windows side by side, and the first maximum."""

from collections.abc import Callable
from math import prod
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gradoracle.implementations.im2col.halves import in_float32
from gradoracle.implementations.im2col.pooling import max_pooling
from gradoracle.implementations.shapes import Shape, Sides, check_image, check_resized, named

Array: TypeAlias = npt.NDArray[Any]
Function: TypeAlias = Callable[..., Any]


def adaptive_maximum(rank: int) -> tuple[Function, Function, Function]:
    """Return a max pooling to a given size, its gradient by indices, and the one by x."""
    name = f"adaptive_max_pool{rank}d"
    _, sent_back, _ = max_pooling(rank)

    @in_float32
    @named(name)
    def forward(x: Array, *, output_size: Sides) -> tuple[Array, Array]:
        """Return (y, indices): every window's maximum, and its place; ties go to the first.

        Raises:
            ValueError: the shapes fit no pooling.
        """
        check_image("x", x.shape, rank)
        shape = (*x.shape[:2], *output_size)
        check_image("y", shape, rank)
        pixels, missing = _windows(x.shape[2:], output_size)
        seen = x.reshape(*x.shape[:2], prod(x.shape[2:]))[:, :, pixels]
        seen[..., missing] = -np.inf
        # a NaN is the maximum of a window, and the first one is
        best = np.argmax(seen, axis=-1)[..., np.newaxis]
        y = np.take_along_axis(seen, best, -1)
        indices = np.take_along_axis(np.broadcast_to(pixels, seen.shape), best, -1)
        return y.reshape(shape), indices.reshape(shape)

    @named(f"{name}_grad_input")
    def grad_input(grad_output: Array, indices: Array, *, input_shape: Shape) -> Array:
        """Return dx of shape `input_shape` [N, C, *pixels]: dy added up where `indices` point.

        Raises:
            ValueError: the shapes do not fit each other, or an index lies outside the plane.
        """
        return np.asarray(sent_back(grad_output, indices, input_shape=input_shape))

    @in_float32
    @named(f"{name}_vjp")
    def vjp(grad_output: Array, x: Array) -> Array:
        """Return dx [N, C, *pixels] of dy and x.

        Raises:
            ValueError: the shapes fit no pooling.
        """
        check_resized(x.shape, grad_output.shape, rank)
        _, indices = forward(x, output_size=grad_output.shape[2:])
        return np.asarray(sent_back(grad_output, indices, input_shape=x.shape))

    return forward, grad_input, vjp


def _windows(plane: Shape, outputs: Sides) -> tuple[Array, Array]:
    """Return the pixels of every window, each as long as the longest, and which are too many.

    Those are the window's first pixel again, and come last along each axis of it.
    """
    pixels, missing = np.zeros((1, 1), np.int64), np.zeros((1, 1), bool)
    for size, count in zip(plane, outputs, strict=True):
        at = np.arange(count)
        first, last = at * size // count, ((at + 1) * size + count - 1) // count
        steps = np.arange((last - first).max())
        along = first[:, np.newaxis] + steps
        beyond = along >= last[:, np.newaxis]
        along = np.where(beyond, first[:, np.newaxis], along)
        shape = (len(pixels) * count, pixels.shape[1] * len(steps))
        pixels = (pixels[:, None, :, None] * size + along[:, None, :]).reshape(shape)
        missing = (missing[:, None, :, None] | beyond[:, None, :]).reshape(shape)
    return pixels, missing


adaptive_max_pool1d, adaptive_max_pool1d_grad_input, adaptive_max_pool1d_vjp = adaptive_maximum(1)
adaptive_max_pool2d, adaptive_max_pool2d_grad_input, adaptive_max_pool2d_vjp = adaptive_maximum(2)
adaptive_max_pool3d, adaptive_max_pool3d_grad_input, adaptive_max_pool3d_vjp = adaptive_maximum(3)
