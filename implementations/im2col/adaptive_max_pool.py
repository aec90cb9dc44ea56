"""Max pooling to a given size: the pixels of all windows side by side, and the first maximum."""

from math import prod
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gradoracle.implementations.im2col.halves import in_float32
from gradoracle.implementations.im2col.pooling import max_pool2d_grad_input
from gradoracle.implementations.shapes import Shape, Sides, check_image, check_resized, named

Array: TypeAlias = npt.NDArray[Any]


@in_float32
def adaptive_max_pool2d(x: Array, *, output_size: Sides) -> tuple[Array, Array]:
    """Return (y, indices): every window's maximum, and its place; ties go to the first.

    Raises:
        ValueError: the shapes fit no pooling.
    """
    check_image("x", x.shape)
    check_image("y", (*x.shape[:2], *output_size))
    pixels, missing = _windows(x.shape[2:], output_size)
    seen = x.reshape(*x.shape[:2], prod(x.shape[2:]))[:, :, pixels]
    seen[..., missing] = -np.inf
    # a NaN is the maximum of a window, and the first one is
    best = np.argmax(seen, axis=-1)
    y = np.take_along_axis(seen, best[..., np.newaxis], -1)[..., 0]
    indices = np.take_along_axis(np.broadcast_to(pixels, seen.shape), best[..., np.newaxis], -1)
    shape = (*x.shape[:2], *output_size)
    return y.reshape(shape), indices.reshape(shape)


@named("adaptive_max_pool2d_grad_input")
def adaptive_max_pool2d_grad_input(
    grad_output: Array, indices: Array, *, input_shape: Shape
) -> Array:  # fmt: skip
    """Return dx of shape `input_shape` [N, C, H, W]: dy added up where `indices` point.

    Raises:
        ValueError: the shapes do not fit each other, or an index lies outside the plane.
    """
    return np.asarray(max_pool2d_grad_input(grad_output, indices, input_shape=input_shape))


@in_float32
def adaptive_max_pool2d_vjp(grad_output: Array, x: Array) -> Array:
    """Return dx [N, C, H, W] of dy and x.

    Raises:
        ValueError: the shapes fit no pooling.
    """
    check_resized(x.shape, grad_output.shape)
    _, indices = adaptive_max_pool2d(x, output_size=grad_output.shape[2:])
    return np.asarray(max_pool2d_grad_input(grad_output, indices, input_shape=x.shape))


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
