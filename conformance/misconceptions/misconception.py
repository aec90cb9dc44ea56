"""What a misconception is, and how one explains a backend's answers.

A misconception is a formula of the protocol on a call that was bent (an axis reversed, an option
swapped or ignored) or a result that was.  It explains a backend if it gives the backend's answers,
all of them, on calls where it differs from the right formula.

Most are computed in float64.  A formula that is wrong only because it overflows or cancels is
computed in the format of the data (`own`), and `loses` says what cancelling leaves: an answer that
is close to the right one, and a whole multiple of the last place of what was subtracted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from gradoracle.oracle.declaration import Call, Formula, evaluate, is_data
from gradoracle.oracle.float_formats import widened
from gradoracle.oracle.shapes import Array


class Loss(NamedTuple):
    """What cancelling leaves of an answer, per element."""

    grid: Array  # the answer is a multiple of it; 0: of anything
    room: Array  # it is no further from the right answer


Bend: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]
Wrong: TypeAlias = Callable[[Formula, dict[str, Any]], Array]
Losing: TypeAlias = Callable[[dict[str, Any], float], Loss]  # from a call and the unit roundoff


@dataclass(frozen=True)
class Misconception:
    """A wrong formula with the sentence that names it, and the functions that it can explain."""

    sentence: str
    functions: tuple[str, ...]
    wrong: Wrong
    also: tuple[Wrong, ...] = ()  # the same, as other code has it
    own: bool = False  # computed in the format of the data, not in float64
    finite: bool = True  # NaN and infinities are no answer to finite numbers
    loses: Losing | None = None
    # Its rounding errors are those of the right answer, times how much larger it is.
    scales: bool = False

    @property
    def variants(self) -> tuple[Wrong, ...]:
        """All ways to compute it; a backend has one of them."""
        return (self.wrong, *self.also)

    def answer(self, formula: Formula, call: Call, wrong: Wrong | None = None) -> Array | None:
        """Return what the misconception gives for a call, or None where it gives nothing."""
        numbers = _numbers(call, own=self.own)
        try:
            with np.errstate(all="ignore"):
                given = np.asarray((wrong or self.wrong)(formula, numbers))
        except (ValueError, IndexError, ZeroDivisionError, KeyError, TypeError):
            return None
        if self.finite and not np.isfinite(given).all() and _is_finite(numbers):
            return None
        return given

    def loss(self, call: Call, unit: float) -> Loss | None:
        """Return what cancelling leaves on a call, if the misconception is about that."""
        if self.loses is None:
            return None
        with np.errstate(all="ignore"):
            return self.loses(_numbers(call, own=self.own), unit)


_converted: dict[bool, tuple[Call, dict[str, Any]]] = {}  # the last call, by `own`
_evaluated: list[tuple[Formula, dict[str, Any], Array]] = []  # the last one


def _numbers(call: Call, *, own: bool) -> dict[str, Any]:
    """Return the call in float64, or with its halves in float32; of the last call, the same."""
    if own not in _converted or _converted[own][0] is not call:
        numbers = {
            n: (widened(a) if own else a.astype(np.float64)) if is_data(a) else a
            for n, a in call.items()
        }
        _converted[own] = call, numbers
    return _converted[own][1]


def _is_finite(call: dict[str, Any]) -> bool:
    return all(np.isfinite(a).all() for a in call.values() if is_data(a))


def right(formula: Formula, call: dict[str, Any]) -> Array:
    """Return the right answer; many misconceptions of one call need it, and it is made once."""
    if not (_evaluated and _evaluated[0][0] is formula and _evaluated[0][1] is call):
        _evaluated[:] = [(formula, call, evaluate(formula, call))]
    return _evaluated[0][2].copy()


def bent(bend: Bend) -> Wrong:
    """Return the right formula on a bent call."""
    return lambda formula, call: evaluate(formula, bend(call))


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
    return lambda formula, call: right(formula, call) / by(call)


def ones(pair: tuple[int, int]) -> tuple[int, int]:
    """Return (1, 1): a stride or a dilation that is ignored."""
    del pair
    return 1, 1


def nothing(pair: tuple[int, int]) -> tuple[int, int]:
    """Return (0, 0): a padding that is ignored."""
    del pair
    return 0, 0


SIDES = (
    ("the height's {} is used for the width and the width's for the height", swapped),
    ("the height's {} is used for the width as well", first_twice),
    ("the width's {} is used for the height as well", second_twice),
)


def without(name: str) -> Bend:
    """Return the bend that leaves an argument out."""
    return lambda call: {**call, name: None}


def bias_twice(call: dict[str, Any]) -> dict[str, Any]:
    """Return a call whose bias, if it has one, is doubled."""
    return call if call["bias"] is None else {**call, "bias": 2 * call["bias"]}


def minus_bias(call: dict[str, Any]) -> dict[str, Any]:
    """Return a call whose bias, if it has one, is negated."""
    return call if call["bias"] is None else {**call, "bias": -call["bias"]}


SIGN = "the sign is wrong"
ZEROS = "the answer is all zeros"


def negated(formula: Formula, call: dict[str, Any]) -> Array:
    """Return minus the right answer."""
    return -right(formula, call)


def zeros(formula: Formula, call: dict[str, Any]) -> Array:
    """Return zeros of the right answer's shape."""
    return np.zeros(right(formula, call).shape)
