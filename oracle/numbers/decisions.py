"""The comparisons and roundings that a formula makes, and how far each is from a tie.

A comparison is tied where both sides are equal; rounding to a whole number at a half, and `floor`,
`ceil` and `trunc` at a whole number.  Kernels differ at ties, and random numbers hardly ever are
ties.  Within `deciding` a run of a formula lists its comparisons and roundings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from gradoracle.oracle.shapes import Array


class Decision(NamedTuple):
    """A number that a formula compares or rounds."""

    number: Any  # as it is traced
    apart: Array  # what is to be added to it for a tie
    whole: bool  # whether it is rounded to a whole number


_SEEN: ContextVar[list[Decision] | None] = ContextVar("_SEEN", default=None)


@contextmanager
def deciding() -> Iterator[list[Decision]]:
    """Within it, list decisions; what is rounded to whole numbers has slope 1."""
    found: list[Decision] = []
    token = _SEEN.set(found)
    try:
        yield found
    finally:
        _SEEN.reset(token)


def is_deciding() -> bool:
    """Return whether decisions are being listed."""
    return _SEEN.get() is not None


def decides(made: Callable[[], Decision]) -> None:
    """Add a decision to the list, where there is one."""
    seen = _SEEN.get()
    if seen is not None:
        seen.append(made())
