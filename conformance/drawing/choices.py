"""How a geometry is drawn: one row of bytes, read as a series of small choices.

Drawing the twenty integers of a geometry one by one costs ten times as much, and Hypothesis then
spends six of seven examples on copies of the last one in which one integer is put over another
(its mutator for duplicated values): the strata and regions of 300 examples would be those of
about fifty.  What a row is made of is one draw, uniform, and has no parts to copy.  A zero byte is
the first, simplest choice.

Forcing something narrows a range and never filters, so no draw is rejected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import shake_128
from typing import TypeAlias, TypeVar

from gradoracle.oracle.shapes import Pair

Range: TypeAlias = tuple[int, int]
Ranges: TypeAlias = Mapping[str, Range]
T = TypeVar("T")

# Sizes at which vector units, tiles and thread blocks end, and their neighbours.
LIMITS = tuple(sorted({n + d for n in (4, 8, 16, 32, 64, 128, 256) for d in (-1, 0, 1)}))
BATCH_LIMITS = (7, 8, 9, 15, 16, 17, 31, 32, 33)
THREADS = 1024  # of one block
BLOCKS = 65_535  # of a grid's second and third axis
# What every certificate goes past: tiles, warps and blocks, a grid's axis and 16 bits, short sums.
PAST = (33, 65, 129, 257, 384, 513, 640, 767, 896, 1021, THREADS + 1, 1536, 2049, 4097)
SHORTER = 300  # several blocks and a rest of one, fewer than in most of those
MANY = (257, 257)  # more than 65 536 together
TWO = (65, 129, 257)  # two sides that are large at once
LONG = 2**13 + 1
LONGER = 2**15 + 3  # terms of a sum, past what 16 bits count
# Past what 16 bits count, and a grid's second and third axis, by some: one may be 0 either way.
FAR = 2**16 + 5

BYTES = 2  # a choice: enough that the remainder favours no entry of a list noticeably
ROW = 48 * BYTES  # bytes of a geometry; conv2d makes at most 30 choices


class Choices:
    """A drawn row of bytes, read one choice after another."""

    def __init__(self, row: bytes) -> None:
        """Start at the row's first byte."""
        self._row, self._next = row, 0

    def integer(self, smallest: int, largest: int) -> int:
        """Choose an integer of the range; a row that is used up chooses the smallest."""
        start, self._next = self._next, self._next + BYTES
        drawn = int.from_bytes(self._row[start : self._next], "big")
        return smallest + drawn % (largest - smallest + 1)

    def one_of(self, values: Sequence[T]) -> T:
        """Choose an entry of a list."""
        return values[self.integer(0, len(values) - 1)]

    def pair(self, sides: Range, *, different: bool = False) -> Pair:
        """Choose a (height, width) pair; two different sides if asked and if there are two."""
        smallest, largest = sides
        if not different or smallest == largest:
            return self.integer(smallest, largest), self.integer(smallest, largest)
        down = self.integer(smallest, largest)
        across = self.integer(smallest, largest - 1)
        return down, across + (across >= down)

    def bytes(self) -> bytes:
        """Choose a row of bytes."""
        return shake_128(self.seed().to_bytes(4, "big")).digest(ROW)

    def seed(self) -> int:
        """Choose a seed of 32 bits."""
        return self.integer(0, 2**16 - 1) << 16 | self.integer(0, 2**16 - 1)


def spread(*parts: object) -> Choices:
    """Return choices that depend on these parts only, and on nothing in common with others'."""
    text = " ".join(map(str, parts)).encode()
    return Choices(shake_128(text).digest(ROW))
