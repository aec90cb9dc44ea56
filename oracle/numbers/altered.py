"""Sums, means, maxima, roundings, comparisons and masks of a formula that are taken otherwise.

A formula's operations are known by the expression that asks for them.  `reductions` lists the sums,
means and maxima of a run; within `detaching` no gradient goes back through one of them, and within
`counting` a mean divides by another number.  `choices` lists what a run rounds to whole numbers,
compares and selects by; within `choosing` one of these is another.  What comes out is what somebody
who has misread the formula computes.
"""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, TypeAlias

HERE = str(Path(__file__).parent)
LONGEST = 60  # characters of an expression that are shown


class Reduction(NamedTuple):
    """The expression of a formula's source that asks for a sum, a mean, a maximum or a choice."""

    file: str
    place: tuple[int | None, ...]  # of its first and last line and column

    @property
    def text(self) -> str:
        """The expression as it is written, or its whole line."""
        line, last, start, end = self.place
        lines = linecache.getlines(self.file)[(line or 1) - 1 : last or line]
        if not lines:
            return "a sum"
        if start is None or end is None:
            return _short(lines[0])
        whole = [one.encode() for one in lines]
        whole[-1] = whole[-1][:end]
        whole[0] = whole[0][start:]
        return _short(b" ".join(whole).decode(errors="replace"))


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


class _Change(NamedTuple):
    """What becomes of the result of a reduction, and of the number that a mean divides by."""

    result: Callable[[Reduction, Any], Any]
    number: Callable[[Reduction, int], int]


_CHANGE: ContextVar[_Change | None] = ContextVar("_CHANGE", default=None)


def reduced(result: Any) -> Any:
    """Return the result of a reduction, as the formula has it or changed."""
    change = _CHANGE.get()
    return result if change is None else change.result(_asked_here(), result)


def counted(count: int) -> int:
    """Return the number that a mean divides by, as the formula has it or changed."""
    change = _CHANGE.get()
    return count if change is None else change.number(_asked_here(), count)


def _asked_here() -> Reduction:
    """Return the expression outside this package that is being evaluated."""
    frame: FrameType | None = sys._getframe(2)  # noqa: SLF001 - there is no other way
    while frame is not None and frame.f_code.co_filename.startswith(HERE):
        frame = frame.f_back
    if frame is None:
        return Reduction("", (None, None, None, None))
    places = [*frame.f_code.co_positions()]
    return Reduction(frame.f_code.co_filename, places[frame.f_lasti // 2])


@contextmanager
def _within(change: _Change) -> Iterator[None]:
    token = _CHANGE.set(change)
    try:
        yield
    finally:
        _CHANGE.reset(token)


def reductions(run: Callable[[], Any]) -> tuple[list[Reduction], list[Reduction]]:
    """Return the reductions of a run, and those of them that are means; each once, in order."""
    met, means = dict[Reduction, None](), dict[Reduction, None]()

    def result(one: Reduction, found: Any) -> Any:
        met[one] = None
        return found

    def count(one: Reduction, number: int) -> int:
        means[one] = None
        return number

    with _within(_Change(result, count)):
        run()
    return [*met], [*means]


@contextmanager
def detaching(*which: Reduction) -> Iterator[None]:
    """Within it, no gradient goes back through these reductions."""
    with _within(_Change(
        lambda one, found: found.detached() if one in which else found, lambda _, number: number
    )):  # fmt: skip
        yield


@contextmanager
def counting(which: Reduction, change: Callable[[int], int]) -> Iterator[None]:
    """Within it, a mean divides by another number."""
    with _within(_Change(
        lambda _, found: found, lambda one, number: change(number) if one == which else number
    )):  # fmt: skip
        yield


# -- roundings, comparisons and masks --------------------------------------------------------------

# From an expression and what it rounds, compares or selects with, to what is taken instead.
Choose: TypeAlias = Callable[[Reduction, Any], Any]
_CHOOSE: ContextVar[Choose | None] = ContextVar("_CHOOSE", default=None)


def chosen(by: Any) -> Any:
    """Return what rounds or compares, or a mask, as the formula has it or another."""
    choose = _CHOOSE.get()
    return by if choose is None else choose(_asked_here(), by)


@contextmanager
def _choosing_by(choose: Choose) -> Iterator[None]:
    token = _CHOOSE.set(choose)
    try:
        yield
    finally:
        _CHOOSE.reset(token)


def choices(run: Callable[[], Any]) -> list[tuple[Reduction, Any]]:
    """Return the roundings, comparisons and masks of a run, each once, in order."""
    found: list[tuple[Reduction, Any]] = []

    def met(one: Reduction, by: Any) -> Any:
        if not any(one == other and _same(by, it) for other, it in found):
            found.append((one, by))
        return by

    with _choosing_by(met):
        run()
    return found


@contextmanager
def choosing(which: Reduction, by: Any, instead: Any) -> Iterator[None]:
    """Within it, an expression rounds, compares or selects with something else."""
    with _choosing_by(lambda one, it: instead if one == which and _same(by, it) else it):
        yield


def _same(one: Any, other: Any) -> bool:
    """Return whether two are the same function, or both masks."""
    return one is other or not (callable(one) or callable(other))
