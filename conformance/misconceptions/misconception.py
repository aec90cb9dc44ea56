"""What a misconception is, and how one explains a backend's answers.

A misconception is a formula of the protocol on a call that was bent (an axis reversed, an option
swapped or ignored) or a result that was.  It explains a backend if it gives the backend's answers,
all of them, on calls where it differs from the right formula.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from oracle.formula import Call, Formula, evaluate, is_data
from oracle.geometry import Array

Bend: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]
Wrong: TypeAlias = Callable[[Formula, dict[str, Any]], Array]


@dataclass(frozen=True)
class Misconception:
    """A wrong formula with the sentence that names it, and the functions that it can explain."""

    sentence: str
    functions: tuple[str, ...]
    wrong: Wrong

    def answer(self, formula: Formula, call: Call) -> Array | None:
        """Return what the misconception gives for a call, or None where it gives nothing."""
        wide = {n: a.astype(np.float64) if is_data(a) else a for n, a in call.items()}
        try:
            with np.errstate(all="ignore"):
                given = self.wrong(formula, wide)
        except (ValueError, IndexError, ZeroDivisionError, KeyError):
            return None
        return given if np.isfinite(given).all() else None


def bent(bend: Bend) -> Wrong:
    """Return the right formula on a bent call."""
    return lambda formula, call: evaluate(formula, bend(call))


def unchecked(bend: Bend) -> Wrong:
    """Return a gradient's loops on a bent call, whatever shape its output would have.

    Somebody who reads an option wrongly walks over dY as it is.
    """

    def wrong(formula: Formula, call: dict[str, Any]) -> Array:
        bad = bend(call)
        shape = evaluate(formula, call).shape
        return LOOPS[formula](np.zeros(shape), bad)

    return wrong


LOOPS: dict[Formula, Callable[[Array, dict[str, Any]], Array]] = {}


def loops_of(formula: Formula, loops: Callable[..., None], *names: str) -> None:
    """Tell how a gradient's loops are called: the result, then these arguments."""

    def run(result: Array, call: dict[str, Any]) -> Array:
        loops(result, *(call[name] for name in names))
        return result

    LOOPS[formula] = run


def reversed_axes(name: str, *axes: int) -> Bend:
    """Return the bend that reverses axes of one array."""
    return lambda call: {**call, name: np.flip(call[name], axes)}


def option(name: str, change: Callable[[Any], Any]) -> Bend:
    """Return the bend that changes one option."""
    return lambda call: {**call, name: change(call[name])}


def swapped(pair: tuple[int, int]) -> tuple[int, int]:
    """Return (width's, height's)."""
    return pair[1], pair[0]


def first_twice(pair: tuple[int, int]) -> tuple[int, int]:
    """Return the height's value for both sides."""
    return pair[0], pair[0]


def second_twice(pair: tuple[int, int]) -> tuple[int, int]:
    """Return the width's value for both sides."""
    return pair[1], pair[1]


def divided(by: Callable[[Call], float]) -> Wrong:
    """Return the right formula, divided by a number that depends on the call."""
    return lambda formula, call: evaluate(formula, call) / by(call)


def without(name: str) -> Bend:
    """Return the bend that leaves an argument out."""
    return lambda call: {**call, name: None}


SIGN = "the sign is wrong"
ZEROS = "the answer is all zeros"


def negated(formula: Formula, call: dict[str, Any]) -> Array:
    """Return minus the right answer."""
    return -evaluate(formula, call)


def zeros(formula: Formula, call: dict[str, Any]) -> Array:
    """Return zeros of the right answer's shape."""
    return np.zeros(evaluate(formula, call).shape)
