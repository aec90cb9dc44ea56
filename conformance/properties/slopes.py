"""Gradients are the slopes of the backend's own forward pass: a witness that needs no oracle.

Where y is affine in the moved argument (convolution, pooling on data away from ties, relu away from
0) a step of 1 is exact.  Elsewhere a central difference with step h is off by at most
h**2 / 6 * max|f'''|, Taylor's remainder, and by what rounding leaves of the two answers over 2h.
Where the record has no bound of f''', the remainder is that of right answers in high precision.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from gradoracle.conformance.backends.backend import Backend
from gradoracle.conformance.backends.mismatch import Mismatch
from gradoracle.conformance.operators.record import MEASURED, Operator
from gradoracle.conformance.properties.answers import (
    Answered,
    answer,
    direction,
    moved_by,
    with_optional,
)
from gradoracle.conformance.properties.comparison import truth_of
from gradoracle.conformance.properties.property import NotJudged, holds
from gradoracle.oracle.declaration import Call, Formula, has_slope, is_data
from gradoracle.oracle.expected.exact import inner
from gradoracle.oracle.expected.truth import ROOM, ComposedTruth, format_of, truth
from gradoracle.oracle.float_formats import FORMATS
from gradoracle.oracle.shapes import Array

ELEMENTS = 16  # how many elements of an argument are moved one by one, at most
SMOOTH = 5  # and where every move costs two forward passes and their bounds


class Moves(NamedTuple):
    """Calls with an argument moved, and how far they are apart along it."""

    calls: list[Call]
    steps: float


class Here(NamedTuple):
    """What the forward pass gives before anything is moved, and <dy, y>."""

    answered: Answered
    inner: Any  # a Fraction, or NaN


class Rise(NamedTuple):
    """By how much <dy, y> moves per unit of the step, and how far that may be from the slope."""

    value: Any  # a Fraction, or NaN
    room: float


@holds(
    of="gradients", kind="slopes", share=0.12, needs_forward=True, at_smallest=False,
    in_turn="in whole runs",
)  # fmt: skip
def gradient_is_the_slope(
    backend: Backend, operator: Operator, formula: Formula, call: Call
) -> float:
    """Moving one argument by v changes <dy, y> of the backend's own forward pass by <gradient, v>:
    exactly where y is affine in it and the data are integers, else within Taylor's remainder.
    """  # noqa: D205 - one sentence
    argument = _argument(operator, formula)
    call = _with(operator, call, argument)
    smooth = operator.curvature(call) > 0
    v = direction(call[argument], formula.__name__, (0, 1) if smooth else (-1, 0, 1))
    move = _moves(operator, call, argument, v)
    _foresee(backend, operator, formula, call, [move])
    slope = answer(backend, operator, formula, call)
    here = None if smooth else _here(backend, operator, call)
    rise = _rise(backend, operator, call, move, here)
    got = inner(slope.value, v)
    room = rise.room + float((abs(v) * slope.bound).sum())
    room += _measured(operator, formula, call, move, v)
    if not abs(got - rise.value) <= room * ROOM:
        raise Mismatch(
            f"{formula.__name__}: <gradient, v> is {_short(got)}, but <dy, y> moves by "
            f"{_short(rise.value)} when {argument} moves by v ({_reason(room)})"
        )
    return 0.0


@holds(
    of="gradients", kind="slopes", share=0.08, needs_forward=True, at_smallest=False,
    in_turn="in whole runs",
)  # fmt: skip
def finite_differences(backend: Backend, operator: Operator, formula: Formula, call: Call) -> float:
    """Each element of the gradient is the change of <dy, y> of the backend's own forward pass per
    unit of that element: exactly where y is affine in it and the data are integers, else within
    Taylor's remainder.
    """  # noqa: D205 - one sentence
    argument = _argument(operator, formula)
    call = _with(operator, call, argument)
    smooth = operator.curvature(call) > 0
    moves: dict[tuple[int, ...], Moves] = {}
    for at in _some_elements(call[argument].shape, SMOOTH if smooth else ELEMENTS):
        v = np.zeros_like(call[argument])
        v[at] = 1
        moves[at] = _moves(operator, call, argument, v)
    _foresee(backend, operator, formula, call, moves.values())
    slope = answer(backend, operator, formula, call)
    here = None if smooth else _here(backend, operator, call)
    is_exact = not smooth and _all_exact(backend, operator, call, argument)
    for at, move in moves.items():
        rise = _rise(backend, operator, call, move, here, is_exact=is_exact)
        v = np.zeros_like(call[argument])
        v[at] = 1
        room = rise.room + float(slope.bound[at]) + _measured(operator, formula, call, move, v)
        if not abs(inner(slope.value[at].reshape(1), np.ones(1)) - rise.value) <= room * ROOM:
            raise Mismatch(
                f"{formula.__name__}[{', '.join(map(str, at))}]: got {slope.value[at]}, but "
                f"<dy, y> moves by {_short(rise.value)} when this element of {argument} moves by 1 "
                f"({_reason(room)})"
            )
    return 0.0


def _moves(operator: Operator, call: Call, argument: str, v: Array) -> Moves:
    """Return the calls with an argument moved along v: by 1, or by h there and back."""

    def moved(step: float) -> Call:
        return {**call, argument: moved_by(call[argument], v.dtype.type(step) * v)}

    if not operator.curvature(call):
        return Moves([moved(1.0)], 1.0)
    h = 2.0 ** -(FORMATS[format_of(call)].bits // 4)
    return Moves([moved(h), moved(-h)], 2 * h)


def _foresee(
    backend: Backend, operator: Operator, formula: Formula, call: Call, moves: Iterable[Moves]
) -> None:
    """Have the gradient performed, then the forward pass here if it is needed, and moved."""
    here = [] if operator.curvature(call) else [call]
    forward = [*here, *(moved for move in moves for moved in move.calls)]
    backend.foresee((formula, call), *((operator.formula, one) for one in forward))


def _all_exact(backend: Backend, operator: Operator, call: Call, argument: str) -> bool:
    """Return whether rounding never acts on the call with any elements of an argument moved by 1.

    It does not if it does not where all are one larger in absolute value: no sum is larger, and
    no unit is finer.
    """
    wide = {name: array.astype(np.float64) for name, array in call.items() if is_data(array)}
    larger = {**call, **wide, argument: abs(wide[argument]) + 1}
    name = format_of(call)  # all partial sums are to fit it: some may be what y becomes
    return truth_of(backend, operator.formula, larger).is_exact(name, name)


def _here(backend: Backend, operator: Operator, call: Call) -> Here:
    here = answer(backend, operator, operator.formula, call)
    return Here(here, inner(call["grad_output"], here.value))


def _rise(
    backend: Backend, operator: Operator, call: Call, move: Moves, here: Here | None, *,
    is_exact: bool = False,
) -> Rise:  # fmt: skip
    """Return how <dy, y> moves, from `here` or, without it, from the second move to the first."""
    curvature, dy = operator.curvature(call), call["grad_output"]
    there, *back = [
        answer(backend, operator, operator.formula, one, is_exact=is_exact) for one in move.calls
    ]
    before = here or Here(back[0], inner(dy, back[0].value))
    size = abs(dy).astype(np.float64)
    room = float((size * (there.bound + before.answered.bound)).sum()) / move.steps
    if curvature and operator.curvature is not MEASURED:
        room += move.steps**2 / 24 * curvature * float(size.sum())
    rise = inner(dy, there.value) - before.inner
    return Rise(rise / type(rise)(move.steps), room)


def _measured(operator: Operator, formula: Formula, call: Call, move: Moves, v: Array) -> float:
    """Return what a step leaves of the right answers, where the record has no bound of it."""
    if operator.curvature is not MEASURED:
        return 0.0
    dy = call["grad_output"]
    (there, above), (back, below) = (_right(operator.formula, c, dy) for c in move.calls)
    slope, off = _right(formula, call, v)
    room = off + (above + below) / move.steps
    return float(abs((there - back) / type(there)(move.steps) - slope)) + room


def _right(formula: Formula, call: Call, other: Array) -> tuple[Any, float]:
    """Return <answer, other> of the right answer, and how far that may be off.

    It is taken from extended precision, where there is any.
    """
    right = truth(formula, call)
    if not isinstance(right, ComposedTruth):
        return inner(right.as_float(np.dtype(np.float64)), other), 0.0
    high, low, room = right.closely
    return inner(high, other) + inner(low, other), float((room * abs(other)).sum())


def _argument(operator: Operator, formula: Formula) -> str:
    argument = operator.argument_of(formula)
    if argument is None:
        raise NotJudged("not a gradient")
    return argument


def _with(operator: Operator, call: Call, argument: str) -> dict[str, Any]:
    """Return the call with the argument that is to be moved.

    Raises:
        NotJudged: it is None, and nothing says which shape it would have, or of True and False.
    """
    given = with_optional(operator, call, only=argument)
    if not has_slope(given[argument]):
        raise NotJudged(f"there is no slope by {argument}, which is None or of True and False")
    return given if call[argument] is not None else operator.complete(given, 0)


def _some_elements(shape: tuple[int, ...], most: int) -> list[tuple[int, ...]]:
    """Return all indices of a small array; of a large one, some, the first and last among them."""
    count = math.prod(shape)
    chosen = np.unique(np.linspace(0, count - 1, min(count, most)).astype(int))
    return [tuple(int(i) for i in np.unravel_index(at, shape)) for at in chosen] if count else []


def _reason(room: float) -> str:
    return f"rounding and the step explain {room:.3g}" if room else "the data are exact"


def _short(value: Any) -> str:
    """Return an exact number as text, without a fraction's or an integer's thousand digits."""
    return "beyond 1e300" if abs(value) >= 1e300 else f"{float(value):.17g}"
