"""Results made of pixels at given places of a plane, and what goes back to those, as loops.

`places` has a pixel of x's plane for every pixel of y's, both counted row by row, and -1 where
there is none: y is 0 there.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import index

import numpy as np

from gradoracle.oracle.compiled_loops import run
from gradoracle.oracle.shapes import SPACE, Array, Shape
from gradoracle.oracle.windows import Indices, flat

NOWHERE = -1


def taken(x: Array, places: Indices, plane: Shape) -> Array:
    """Return y [N, C, *plane] of x [N, C, H, W]."""
    y = np.zeros((*x.shape[:2], *plane), x.dtype)
    run(_take, flat(y), flat(x), places, products=y.size)
    return y


def sent_back(grad_output: Array, places: Indices, plane: Shape) -> Array:
    """Return dx [N, C, *plane] of dy: what goes back to one pixel is added."""
    dx = np.zeros((*grad_output.shape[:2], *plane), grad_output.dtype)
    run(_send_back, flat(dx), flat(grad_output), places, products=grad_output.size)
    return dx


def check_plane(name: str, array: Array, rank: int = 2) -> Shape:
    """Return the shape of images [N, C, H, W], or of as many spatial axes.

    Raises:
        ValueError: it has other axes, or one but the first is empty.
    """
    return checked_shape(name, array.shape, rank)


def checked_shape(name: str, shape: Sequence[int], rank: int = 2) -> Shape:
    """Return a shape [N, C, H, W], or one of as many spatial axes.

    Raises:
        ValueError: it has other axes, or one but the first is empty.
    """
    sides = tuple(map(index, shape))
    axes = f"[N, C, {', '.join(SPACE[rank])}]"
    if len(sides) != rank + 2:
        raise ValueError(f"{name} must have {rank + 2} axes {axes}, got shape {[*sides]}")
    if sides[0] < 0 or min(sides[1:]) < 1:
        raise ValueError(
            f"{name} {axes} must be at least 1 along all axes but the first, got {[*sides]}"
        )
    return sides


def _take(y: Array, x: Array, places: Sequence[int]) -> None:
    images, channels, pixels = y.shape
    for n in range(images):
        for c in range(channels):
            for i in range(pixels):
                if places[i] >= 0:
                    y[n, c, i] = x[n, c, places[i]]


def _send_back(dx: Array, dy: Array, places: Sequence[int]) -> None:
    images, channels, pixels = dy.shape
    for n in range(images):
        for c in range(channels):
            for i in range(pixels):
                if places[i] >= 0:
                    dx[n, c, places[i]] += dy[n, c, i]
