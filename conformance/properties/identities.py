"""What answers owe each other and their arguments: linearity, the batch, adjointness, sums."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np

from gradoracle.conformance.backends.backend import Backend
from gradoracle.conformance.backends.mismatch import Mismatch
from gradoracle.conformance.operators.max_pool import maxima
from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.properties.answers import (
    Answered,
    answer,
    bound_of,
    direction,
    exact,
    moved_by,
    require_close,
    two_images,
)
from gradoracle.conformance.properties.comparison import require_form
from gradoracle.conformance.properties.property import NotJudged, holds
from gradoracle.oracle import conv2d_grad_bias
from gradoracle.oracle.declaration import (
    Call,
    Formula,
    Multilinear,
    algebra,
    argument_names,
    is_data,
    is_place,
    operands,
)
from gradoracle.oracle.expected.exact import inner
from gradoracle.oracle.expected.truth import ROOM, answer_dtype, data_dtype, truth
from gradoracle.oracle.float_formats import FORMATS
from gradoracle.oracle.shapes import Array

EDGE = 6  # images at either end of a large batch that are asked for alone


def _is_linear(operator: Operator, formula: Formula) -> bool:
    del operator
    return isinstance(algebra(formula), Multilinear)


@holds(where=_is_linear, share=0.2, in_turn="in whole runs")
def linear(backend: Backend, operator: Operator, formula: Formula, call: Call) -> float:
    """Adding v to one argument adds the answer for v alone: f(a + v) = f(a) + f(v)."""
    names = algebra(formula)
    assert isinstance(names, Multilinear)  # noqa: S101 - `where` chose it
    moves: dict[str, tuple[Call, Call]] = {}  # with v added to an argument, and v alone
    for name in operands(formula, call):
        array = call[name]
        if not is_data(array):
            continue
        v = direction(array, formula.__name__ + name)
        alone: dict[str, Any] = {**call, name: v}
        if name == names.plus:
            alone[names.factors[0]] = np.zeros_like(call[names.factors[0]])
        elif call.get(names.plus or "") is not None:
            alone[names.plus or ""] = np.zeros_like(call[names.plus or ""])
        moves[name] = ({**call, name: moved_by(array, v)}, alone)
    backend.foresee((formula, call), *((formula, c) for both in moves.values() for c in both))
    here = answer(backend, operator, formula, call)
    for name, (moved, by_itself) in moves.items():
        both = answer(backend, operator, formula, moved)
        part = answer(backend, operator, formula, by_itself)
        require_close(f"{formula.__name__} of {name} + v", both, here + part)
    return 0.0


def _has_images(operator: Operator, formula: Formula) -> bool:
    del operator
    return algebra(formula).images != "mixed"


@holds(where=_has_images, kind="any", share=0.2, in_turn="in whole runs")
def batch_independent(backend: Backend, operator: Operator, formula: Formula, call: Call) -> float:
    """The answer for a batch is the answers for its images, side by side or summed; of a large
    batch, for its first and last ones and for parts of what is between.
    """  # noqa: D205 - one sentence
    call = two_images(operator, call)
    apart = [operator.axes.images(call, part) for part in _parts(len(call["grad_output"]))]
    backend.foresee((formula, call), *((formula, one) for one in apart))
    whole = answer(backend, operator, formula, call)
    parts = [answer(backend, operator, formula, one) for one in apart]
    if algebra(formula).images == "kept":
        want = Answered(
            np.concatenate([part.value for part in parts]),
            np.concatenate([part.bound for part in parts]),
        )
    else:
        want = sum(parts[1:], parts[0])
    require_close(f"{formula.__name__} of the batch, beside its images", whole, want)
    return 0.0


def _parts(count: int) -> list[slice]:
    """Return single images, and of a large batch parts between the first and the last ones."""
    alone = list(range(count)) if count <= 3 * EDGE else [*range(EDGE), *range(count - EDGE, count)]
    between = np.linspace(EDGE, count - EDGE, 5).astype(int).tolist() if count > 3 * EDGE else []
    single = [slice(n, n + 1) for n in alone]
    inner = [slice(a, b) for a, b in pairwise(between)]
    return sorted([*single, *inner], key=lambda part: part.start)


def _is_transposed(operator: Operator, formula: Formula) -> bool:
    return operator.adjoint is not None and formula is operator.formula


def _adjoint(operator: Operator) -> tuple[Formula, ...]:
    return () if operator.adjoint is None else (operator.adjoint,)


@holds(where=_is_transposed, share=0.4, needs=_adjoint, in_turn="in whole runs")
def is_adjoint(backend: Backend, operator: Operator, formula: Formula, call: Call) -> float:
    """A transposed convolution is the transpose of the backend's own convolution: <y(x), z> equals
    <x, convolution(z)> for every z, no bias, the same weight and options.
    """  # noqa: D205 - one sentence
    (adjoint,) = _adjoint(operator)
    z, x, name = call["grad_output"], call["x"], adjoint.__name__
    there = answer(backend, operator, formula, {**call, "bias": None})
    asked = {**call, "x": z, "bias": None}
    back = backend.ask(adjoint, asked)
    if back.ndim != x.ndim or not (np.array(back.shape) >= x.shape).all():
        raise Mismatch(f"{name}: got shape {[*back.shape]}, want at least {[*x.shape]}")
    # output_padding beyond the stride leaves the convolution more windows than x has pixels
    pixels: tuple[Any, ...] = (..., *(slice(x.shape[at]) for at in operator.axes.space["x"]))
    back = back[pixels]
    require_form(name, back, x.shape, data_dtype(call))
    bound = bound_of(backend, adjoint, asked)[pixels]
    room = _sizes(z, there) + _sizes(x, Answered(back, bound))
    got, want = inner(there.value, z), inner(x, back)
    if not abs(float(got - want)) <= room * ROOM:
        raise Mismatch(
            f"{formula.__name__}: <y, z> is {float(got):g}, but <x, {name}(z)> is {float(want):g}"
        )
    return 0.0


def _sizes(array: Array, answered: Answered) -> float:
    return float((abs(array) * answered.bound).sum())


def _is_max_pooling_back(operator: Operator, formula: Formula) -> bool:
    return formula in operator.gradients and any(map(is_place, operator.also))


@holds(where=_is_max_pooling_back, share=0.4, asks="")
def passes_every_gradient_on_once(
    backend: Backend, operator: Operator, formula: Formula, call: Call
) -> float:
    """Whichever maximum wins, every window passes its dy on once and only to its maxima: each plane
    of dx adds up to that plane of dy, and dx is 0 where no dy can have gone.
    """  # noqa: D205 - one sentence
    dx, dy = backend.ask(formula, call), call["grad_output"]
    require_form(formula.__name__, dx, call["input_shape"], answer_dtype(formula, call))
    if not dy.size:
        return 0.0
    rule = backend.contract.rule
    if rule("nan") == "dropped" and "indices" not in _arrays_of(formula) and _has_nan(call["x"]):
        raise NotJudged("the contract drops NaN: a window of nothing else may drop its gradient")
    astray = ~((dx == 0) | _reached(operator, formula, call))
    if astray.any():
        at = tuple(np.argwhere(astray)[0].tolist())
        raise Mismatch(
            f"{formula.__name__}[{', '.join(map(str, at))}]: got {dx[at]}, want 0, for no window "
            f"with a dy has its maximum there; {int(astray.sum())} of {dx.size} elements wrong"
        )
    shared = rule("ties") == "split" or operator.unsettled(backend.contract.policies, formula, call)
    require_close(
        f"{formula.__name__}, the sum of dx over a plane",
        exact(_plane_sums(dx)),
        Answered(_plane_sums(dy), _sum_bounds(backend, call, shared=shared)),
    )
    return 0.0


def _reached(operator: Operator, formula: Formula, call: Call) -> Array:
    """Return where a gradient that is not 0 may arrive."""
    dy, reached = call["grad_output"], np.zeros(call["input_shape"], bool)
    if "indices" in _arrays_of(formula):
        sides = [call["input_shape"][at] for at in operator.axes.space["x"]]
        planes, *_ = sent = np.nonzero(dy)
        pixels = np.unravel_index(call["indices"][sent], sides)
        reached[(planes, sent[1], *pixels)] = True
    else:
        for window, pixel, wins in maxima(call):
            at: Any = (..., *pixel)
            sent_by: Any = (..., *window)
            reached[at] |= wins & (dy[sent_by] != 0)
    return reached


def _arrays_of(formula: Formula) -> tuple[str, ...]:
    return argument_names(formula)[0]


def _has_nan(array: Array) -> bool:
    return bool(np.isnan(array).any())


def _plane_sums(array: Array) -> Array:
    """Return the sum of each plane, rounded once; NaN where an element is not finite."""
    planes = array.reshape(math.prod(array.shape[:2]), -1).astype(np.float64).tolist()
    sums = [math.fsum(p) if all(map(math.isfinite, p)) else math.nan for p in planes]
    return np.array(sums).reshape(array.shape[:2])


def _sum_bounds(backend: Backend, call: Call, *, shared: bool) -> Array:
    """Return what the sums of dx over planes may be off by: 0 where rounding provably never acts.

    Maxima may share a dy where the contract leaves open who wins, in parts that are rounded.
    """
    dy, name = abs(call["grad_output"]), data_dtype(call).name
    formats = name, backend.contract.accumulator(name)
    planes = dy.reshape(1, math.prod(dy.shape[:2]), 1, -1)
    if not shared and truth(conv2d_grad_bias, {"grad_output": planes}).is_exact(name, name):
        return np.zeros(dy.shape[:2])
    # Of n terms: additions, two roundings of a part (1/k, dy/k), and the sums compared here.
    result, inner = (2.0 ** -FORMATS[one].bits for one in formats)
    spent = (planes.shape[3] + 4) * inner
    if spent >= 1:
        raise NotJudged(f"nothing bounds what rounding in {formats[1]} leaves")
    gamma = spent / (1 - spent)
    stored = result * (1 + gamma) if result > inner else 0.0  # of every element of dx
    return np.asarray(_plane_sums(dy) * (gamma + stored))
