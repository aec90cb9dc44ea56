"""Gradients are the slopes of the backend's own forward pass: a witness that needs no oracle.

Where y is affine in the moved argument (convolution, pooling on data away from ties, relu away from
0) a step of 1 is exact.  Elsewhere a central difference with step h is off by at most
h**2 / 6 * max|f'''|, Taylor's remainder, and by what rounding leaves of the two answers over 2h.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from conformance.backend import Backend
from conformance.judge import data_dtype
from conformance.mismatch import Mismatch
from conformance.operator import Operator
from conformance.properties.answers import ROOM, Answered, answer, direction, with_bias
from conformance.properties.property import NotJudged, holds
from oracle.exact import inner
from oracle.formula import Call, Formula
from oracle.geometry import Array
from oracle.rounding import FORMATS

ELEMENTS = 16  # how many elements of an argument are moved one by one, at most
SMOOTH = 5  # and where every move costs two forward passes and their bounds


class Rise(NamedTuple):
    """By how much <dy, y> moves per unit of the step, and how far that may be from the slope."""

    value: Any  # a Fraction, or NaN
    room: float


@holds(of="gradients", kind="slopes", share=0.6, needs_forward=True)
def gradient_is_the_slope(
    backend: Backend, operator: Operator, formula: Formula, call: Call
) -> float:
    """Moving one argument by v changes <dy, y> of the backend's own forward pass by <gradient, v>:
    exactly where y is affine in it and the data are integers, else within Taylor's remainder.
    """  # noqa: D205 - one sentence
    argument, call = _argument(operator, formula), with_bias(call)
    smooth = operator.curvature(call) > 0
    v = direction(call[argument], formula.__name__, (0, 1) if smooth else (-1, 0, 1))
    slope = answer(backend, operator, formula, call)
    rise = _rise(backend, operator, call, argument, v)
    got = inner(slope.value, v)
    room = rise.room + float((abs(v) * slope.bound).sum())
    if not abs(got - rise.value) <= room * ROOM:
        raise Mismatch(
            f"{formula.__name__}: <gradient, v> is {_short(got)}, but <dy, y> moves by "
            f"{_short(rise.value)} when {argument} moves by v ({_reason(room)})"
        )
    return 0.0


@holds(of="gradients", kind="slopes", share=0.3, needs_forward=True)
def finite_differences(backend: Backend, operator: Operator, formula: Formula, call: Call) -> float:
    """Each element of the gradient is the change of <dy, y> of the backend's own forward pass per
    unit of that element: exactly where y is affine in it and the data are integers, else within
    Taylor's remainder.
    """  # noqa: D205 - one sentence
    argument, call = _argument(operator, formula), with_bias(call)
    slope = answer(backend, operator, formula, call)
    here = None if operator.curvature(call) else answer(backend, operator, operator.formula, call)
    most = ELEMENTS if here else SMOOTH
    for at in _some_elements(call[argument].shape, most):
        v = np.zeros_like(call[argument])
        v[at] = 1
        rise = _rise(backend, operator, call, argument, v, here)
        room = rise.room + float(slope.bound[at])
        if not abs(inner(slope.value[at].reshape(1), np.ones(1)) - rise.value) <= room * ROOM:
            raise Mismatch(
                f"{formula.__name__}[{', '.join(map(str, at))}]: got {slope.value[at]}, but "
                f"<dy, y> moves by {_short(rise.value)} when this element of {argument} moves by 1 "
                f"({_reason(room)})"
            )
    return 0.0


def _rise(
    backend: Backend, operator: Operator, call: Call, argument: str, v: Array,
    here: Answered | None = None,
) -> Rise:  # fmt: skip
    """Return how <dy, y> moves along v, by one step of 1 or by two of h."""
    curvature, dy = operator.curvature(call), call["grad_output"]

    def forward(step: float) -> Answered:
        moved = {**call, argument: call[argument] + v.dtype.type(step) * v}
        return answer(backend, operator, operator.formula, moved)

    if not curvature:
        here = here or answer(backend, operator, operator.formula, call)
        there, steps = forward(1.0), 1.0
    else:
        h = 2.0 ** -(FORMATS[data_dtype(call).name].bits // 4)
        there, here, steps = forward(h), forward(-h), 2 * h
    size = abs(dy).astype(np.float64)
    room = float((size * (there.bound + here.bound)).sum()) / steps
    if curvature:
        room += steps**2 / 24 * curvature * float(size.sum())
    rise = inner(dy, there.value, here.value)
    return Rise(rise / type(rise)(steps), room)


def _argument(operator: Operator, formula: Formula) -> str:
    argument = operator.argument_of(formula)
    if argument is None:
        raise NotJudged("not a gradient")
    return argument


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
