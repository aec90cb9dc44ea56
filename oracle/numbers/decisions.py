"""What a formula decides by the numbers that it computes, and how far each is from its step.

A comparison is on its step where both sides are equal; rounding to a whole number where the result
would change next: at halves, or at whole numbers.  Kernels differ there, and random numbers are
hardly ever there.  Within `deciding` a run of a formula lists what it decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from gradoracle.oracle.shapes import Array


class Decision(NamedTuple):
    """A number that a formula decides by."""

    number: Any  # as it is traced
    apart: Array  # what is to be added to it so that it lies on its step
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
