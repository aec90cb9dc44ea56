"""Windows of padded images as the columns of a matrix, a block of them at a time."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from operator import mul
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from gradoracle.implementations.im2col import plan
from gradoracle.implementations.shapes import Pair, Shape, Sides

Array: TypeAlias = npt.NDArray[Any]
Margins: TypeAlias = tuple[Pair, ...]  # zeros before and after an image, along every axis


class Windows(NamedTuple):
    """Which pixel each tap of each window sees: start + window * step + tap * gap, on every axis.

    Pixels beyond the image are zeros.
    """

    taps: Sides  # such as KH, KW
    counts: Sides  # such as OH, OW
    start: Sides
    step: Sides
    gap: Sides

    @property
    def size(self) -> int:
        """Taps of a window."""
        return prod(self.taps)

    def are_pixels(self, size: Shape) -> bool:
        """Return whether the windows of an image of `size` are its pixels, one by one."""
        alone = self.size == 1 and not any(self.start) and max(self.step) == 1
        return alone and self.counts == tuple(size)

    def margins(self, size: Shape) -> Margins:
        """Return how many zeros they see around an image of `size`."""
        return tuple(self._margins(size, axis) for axis in range(len(size)))

    def _margins(self, size: Shape, axis: int) -> Pair:
        reach = (self.taps[axis] - 1) * self.gap[axis]
        first = self.start[axis] + min(0, reach)
        last = self.start[axis] + (self.counts[axis] - 1) * self.step[axis] + max(0, reach)
        return max(0, -first), max(0, last + 1 - size[axis])

    def of(self, padded: Array, margins: Margins) -> Array:
        """Return what they see of images with margins: a view [C, *taps, N, *windows]."""
        image, channel, *pixels = padded.strides
        first = [start + before for start, (before, _) in zip(self.start, margins, strict=True)]
        return np.ndarray(
            (padded.shape[1], *self.taps, len(padded), *self.counts),
            padded.dtype,
            padded,
            sum(map(mul, first, pixels)),
            (channel, *map(mul, pixels, self.gap), image, *map(mul, pixels, self.step)),
        )


class Block(NamedTuple):
    """All windows of some images, or some rows of the windows of one."""

    images: slice
    rows: slice
    is_first: bool  # of these images
    is_last: bool

    def of(self, array: Array) -> Array:
        """Return the part of an array [N, C, *windows] that belongs to these windows."""
        return array[self.images, :, self.rows]


def blocks(images: int, channels: int, windows: Windows, itemsize: int) -> Iterator[Block]:
    """Yield the blocks of so many images, as `plan` has them."""
    down = windows.counts[0]
    rows, together = plan.block(channels, windows.taps, windows.counts, itemsize)
    for image in range(0, images, together):
        for top in range(0, down, rows):
            yield Block(
                slice(image, min(image + together, images)),
                slice(top, min(top + rows, down)),
                is_first=top == 0,
                is_last=top + rows >= down,
            )


def columns(images: Array, windows: Windows) -> Iterator[tuple[Block, Array]]:
    """Yield the blocks of images and their columns [C * taps, windows of the block].

    The next columns take the place of the last ones.
    """
    rows = images.shape[1] * windows.size
    margins = windows.margins(images.shape[2:])
    as_they_are = windows.are_pixels(images.shape[2:])
    buffer, further = np.empty(0, images.dtype), [slice(None)] * (images.ndim - 3)
    for block in blocks(len(images), images.shape[1], windows, images.itemsize):
        some = images[block.images]
        if as_they_are and len(some) == 1:
            yield block, some[0, :, block.rows].reshape(rows, -1)
            continue
        if block.is_first:
            seen = windows.of(padded(some, margins), margins)
        rows_of: Any = (..., block.rows, *further)
        part = seen[rows_of]
        if buffer.size < part.size:
            buffer = np.empty(part.size, images.dtype)
        of_block = buffer[: part.size]
        np.copyto(of_block.reshape(part.shape), part)
        yield block, of_block.reshape(rows, -1)


def padded(images: Array, margins: Margins) -> Array:
    """Return images with zeros around them; without margins themselves, contiguous."""
    if not any(map(any, margins)):
        return np.ascontiguousarray(images)
    whole = room(images.shape, margins, images.dtype)
    inside(whole, margins)[...] = images
    return whole


def room(shape: Shape, margins: Margins, dtype: npt.DTypeLike) -> Array:
    """Return zeros for images of a shape [N, C, *pixels] and their margins."""
    sides = (
        side + before + after for side, (before, after) in zip(shape[2:], margins, strict=True)
    )
    return np.zeros((*shape[:2], *sides), dtype)


def inside(whole: Array, margins: Margins) -> Array:
    """Return the images without their margins, as a view."""
    sides = zip(margins, whole.shape[2:], strict=True)
    inner: Any = (..., *(slice(before, size - after) for (before, after), size in sides))
    part: Array = whole[inner]
    return part
