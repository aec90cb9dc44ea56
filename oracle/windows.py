"""Where windows meet an image: the pixel that a tap of a window reads, and the way back.

Along one axis, tap p of window i reads pixel h = i*S + p*D - P.  Of several axes the windows, the
taps and the pixels are each counted row by row, the last axis fastest: so one loop serves any
number of axes, and i, p and h are one number each.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import TypeAlias

import numpy as np

from gradoracle.oracle.shapes import Array, Shape, Sides

KEPT = 32  # geometries whose tables are kept: the formulas of an operator ask one after another


Places: TypeAlias = Sequence[Sequence[int]]  # a table, as the loops read it


class Table:
    """Which place belongs to two others, [rows, columns]; -1: none."""

    def __init__(self, array: Array) -> None:
        """Keep int64 [rows, columns]."""
        self.array = np.ascontiguousarray(array)

    @cached_property
    def rows(self) -> list[list[int]]:
        """The same as lists, which Python reads faster, element by element."""
        found: list[list[int]] = self.array.tolist()
        return found

    @classmethod
    def of_axes(cls, places: Sequence[Array], sizes: Shape) -> Table:
        """Return the table of all axes from one of each; a place beyond its axis' size is none."""
        joined, inside = np.zeros((1, 1), np.int64), np.ones((1, 1), bool)
        for here, size in zip(places, sizes, strict=True):
            rows, columns = len(joined) * len(here), joined.shape[1] * here.shape[1]
            is_in = (here >= 0) & (here < size)
            place = joined[:, None, :, None] * size + here[None, :, None, :]
            joined = place.reshape(rows, columns)
            inside = (inside[:, None, :, None] & is_in[None, :, None, :]).reshape(rows, columns)
        return cls(np.where(inside, joined, -1))


@lru_cache(KEPT)
def pixels_read(
    size: Shape, kernel: Shape, windows: Shape, stride: Sides, padding: Sides, dilation: Sides
) -> Table:
    """Return the pixel h that tap p of window i reads, [windows, taps]: h = i*S + p*D - P."""
    each = [
        np.arange(i)[:, np.newaxis] * s + np.arange(p) * d - pad
        for i, p, s, pad, d in zip(windows, kernel, stride, padding, dilation, strict=True)
    ]
    return Table.of_axes(each, size)


@lru_cache(KEPT)
def windows_reading(
    size: Shape, kernel: Shape, windows: Shape, stride: Sides, padding: Sides, dilation: Sides
) -> Table:
    """Return the window i whose tap p reads pixel h, [pixels, taps]: i = (h + P - p*D) / S."""
    each = []
    for h, p, s, pad, d in zip(size, kernel, stride, padding, dilation, strict=True):
        i, between = np.divmod(np.arange(h)[:, np.newaxis] + pad - np.arange(p) * d, s)
        each.append(np.where(between == 0, i, -1))
    return Table.of_axes(each, windows)


def flat(array: Array) -> Array:
    """Return an array [., ., ...] with its spatial axes as one."""
    first, second, *space = array.shape
    return array.reshape(first, second, int(np.prod(space)))
