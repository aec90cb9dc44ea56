"""Where windows meet an image: every window i, tap p and pixel h with h = i*S + p*D - P.

Of several axes the windows, the taps and the pixels are each counted row by row, the last axis
fastest: so one loop serves any number of axes, and i, p and h are one number each.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from math import prod
from typing import TypeAlias

import numpy as np

from gradoracle.oracle.shapes import Array, Shape, Sides

KEPT = 32  # geometries that are kept: the formulas of an operator ask for one after another
NONE = -(2**40)  # below 0 whatever is added along the other axes


class Indices:
    """A row of indices for loops: a list for Python's, which it reads faster, else an array."""

    def __init__(self, array: Array) -> None:
        """Keep an int64 array."""
        self.array = array

    @cached_property
    def list(self) -> list[int]:
        """The same as a list."""
        found: list[int] = self.array.tolist()
        return found


# Where those of each number begin in the other two: of number n, start[n] to start[n + 1].
Sorted: TypeAlias = tuple[Indices, Indices, Indices]


class Meetings:
    """All (window, tap, pixel) that meet, sorted by one of them; made when first asked for."""

    def __init__(
        self,
        size: Shape,
        kernel: Shape,
        windows: Shape,
        stride: Sides,
        padding: Sides,
        dilation: Sides,
    ) -> None:
        """Keep the geometry."""
        self._geometry = size, kernel, windows, stride, padding, dilation

    @cached_property
    def _all(self) -> tuple[Array, Array, Array]:
        """Windows, taps and pixels, window by window and tap by tap."""
        joined: Array = np.zeros((1, 1), np.int64)
        for h, p, i, s, pad, d in zip(*self._geometry, strict=True):
            pixels = np.arange(i)[:, np.newaxis] * s + np.arange(p) * d - pad
            inside = np.where((pixels >= 0) & (pixels < h), pixels, NONE)
            rows, columns = len(joined) * i, joined.shape[1] * p
            places = (joined * h)[:, None, :, None] + inside[None, :, None, :]
            joined = places.reshape(rows, columns)
        windows, taps = np.nonzero(joined >= 0)
        return windows, taps, joined[windows, taps]

    @cached_property
    def by_window(self) -> Sorted:
        """Return where each window's begin, their taps and their pixels."""
        windows, taps, pixels = self._all
        return _start(windows, self._geometry[2]), Indices(taps), Indices(pixels)

    @cached_property
    def by_tap(self) -> Sorted:
        """Return where each tap's begin, their windows and their pixels."""
        windows, taps, pixels = self._all
        order = np.argsort(taps, kind="stable")
        return _start(taps, self._geometry[1]), Indices(windows[order]), Indices(pixels[order])

    @cached_property
    def by_pixel(self) -> Sorted:
        """Return where each pixel's begin, their taps and their windows."""
        windows, taps, pixels = self._all
        order = np.lexsort((taps, pixels))
        return _start(pixels, self._geometry[0]), Indices(taps[order]), Indices(windows[order])


def _start(numbers: Array, sizes: Shape) -> Indices:
    counts = np.bincount(numbers, minlength=prod(sizes))
    return Indices(np.concatenate([[0], np.cumsum(counts)]))


@lru_cache(KEPT)
def meetings(
    size: Shape, kernel: Shape, windows: Shape, stride: Sides, padding: Sides, dilation: Sides
) -> Meetings:
    """Return all (window, tap, pixel) with h = i*S + p*D - P along every axis."""
    return Meetings(size, kernel, windows, stride, padding, dilation)


def flat(array: Array) -> Array:
    """Return an array [., ., ...] with its spatial axes as one."""
    first, second, *space = array.shape
    return array.reshape(first, second, prod(space))
