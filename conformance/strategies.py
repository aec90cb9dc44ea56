"""Hypothesis strategies shared by the operators: integers by range, and what limits a machine.

A geometry is drawn as a row of small integers, each from a range.  Forcing something narrows a
range and never filters, so no draw is rejected and every shrink that Hypothesis tries is legal.
"""

from collections.abc import Mapping
from functools import cache
from typing import TypeAlias

import hypothesis.strategies as st

from oracle.geometry import Pair

Range: TypeAlias = tuple[int, int]
Ranges: TypeAlias = Mapping[str, Range]

# Sizes at which vector units, tiles and thread blocks end, and their neighbours.
LIMITS = tuple(sorted({n + d for n in (4, 8, 16, 32, 64, 128, 256) for d in (-1, 0, 1)}))
BATCH_LIMITS = (7, 8, 9, 15, 16, 17, 31, 32, 33)
THREADS = 1024  # of one block
BLOCKS = 65_535  # of a grid's second and third axis


@cache
def integers(smallest: int, largest: int) -> st.SearchStrategy[int]:
    """Return `st.integers`, one object per range: building it costs as much as drawing."""
    return st.integers(smallest, largest)


@cache
def one_of(values: tuple[int, ...]) -> st.SearchStrategy[int]:
    """Return `st.sampled_from`, one object per tuple, shrinking to the first value."""
    return st.sampled_from(values)


def pair(draw: st.DrawFn, sides: Range, *, different: bool = False) -> Pair:
    """Draw a (height, width) pair, with two different sides if asked and if there are two."""
    smallest, largest = sides
    if not different or smallest == largest:
        return draw(integers(smallest, largest)), draw(integers(smallest, largest))
    down = draw(integers(smallest, largest))
    across = draw(integers(smallest, largest - 1))
    return down, across + (across >= down)
