"""Derivatives beside the gradients: forward mode, and what a second backward pass gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gradoracle.conformance.backends.backend import (
    BILINEAR,
    DOUBLE_BACKWARD,
    FORWARD_MODE,
    JVP,
    Backend,
)
from gradoracle.conformance.backends.mismatch import Mismatch, showing
from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.properties.answers import direction
from gradoracle.conformance.properties.comparison import require_form, require_truth, truth_of
from gradoracle.conformance.properties.property import NotJudged, holds, missing
from gradoracle.oracle.declaration import (
    Call,
    Formula,
    Multilinear,
    algebra,
    argument_names,
    has_slope,
    operands,
    output_of,
)
from gradoracle.oracle.derive import TANGENT, forward_mode, has_forward_mode
from gradoracle.oracle.expected.truth import answer_dtype, answer_shape, format_of
from gradoracle.oracle.float_formats import FORMATS
from gradoracle.oracle.numbers.reverse import Undecided
from gradoracle.oracle.shapes import Array

SMALL = (-2, -1, 1, 2)  # the numbers of a tangent


def _has_a_jvp(operator: Operator, formula: Formula) -> bool:
    return formula is operator.formula and operator.name + JVP in FORWARD_MODE


def _has_a_second_backward(operator: Operator, formula: Formula) -> bool:
    return formula is operator.formula and operator.name in BILINEAR


def _no_jvp(backend: Backend, operator: Operator, formula: Formula) -> str:
    del formula
    return missing(backend, operator, JVP)


def _no_second_backward(backend: Backend, operator: Operator, formula: Formula) -> str:
    del formula
    return missing(backend, operator, DOUBLE_BACKWARD)


@holds(where=_has_a_jvp, kind="all", share=0.5, absent=_no_jvp, another=JVP)
def matches_forward_mode(
    backend: Backend, operator: Operator, formula: Formula, call: Call
) -> float:
    """NAME_jvp gives the derivative along tangents: of sums of products the sum of the answers in
    which one argument is its tangent, exactly on integers; of a function of single numbers the
    slope times the tangent; of others what forward mode makes of the formula, within its bound.
    """  # noqa: D205 - one sentence
    if operator.unsettled(backend.contract.policies, formula, call):
        raise NotJudged("the contract leaves the answer open")
    if not all(np.isfinite(array).all() for array in operands(formula, call).values()):
        raise NotJudged("there is no derivative at what is not finite")
    name, arrays = operator.name + JVP, argument_names(formula)[0]
    if has_forward_mode(formula):
        return _along(backend, operator, call, name)
    if not isinstance(algebra(formula), Multilinear):
        (gradient,) = operator.gradients
        tangents = {arrays[0]: call["grad_output"]}
        with showing({"tangents": tangents, "of": gradient}):
            got = backend.ask_further(operator, name, [*tangents.values(), call[arrays[0]]], call)
            return _named(backend, gradient, call, got[0], name)
    tangents = _tangents(operator, call)
    given = [*tangents.values(), *(call[one] for one in arrays)]
    want = _sum(backend, _moved(formula, call, tangents))
    with showing({"tangents": tangents, "want": want}):
        (got_,) = backend.ask_further(operator, name, given, call)
        shape = answer_shape(formula, call)
        _require_equal(name, got_, shape, answer_dtype(formula, call), want)
    return 0.0


@holds(
    where=_has_a_second_backward, share=0.1, each_class_once=True, absent=_no_second_backward,
    another=DOUBLE_BACKWARD,
)  # fmt: skip
def matches_double_backward(
    backend: Backend, operator: Operator, formula: Formula, call: Call
) -> float:
    """NAME_double_backward gives the gradients of <gradients(dy, arguments), tangents> by dy and
    by both factors: exactly on integers.
    """  # noqa: D205 - one sentence
    name, arrays = operator.name + DOUBLE_BACKWARD, argument_names(formula)[0]
    tangents, dy = _tangents(operator, call), call["grad_output"]
    wanted = [(answer_shape(formula, call), _sum(backend, _moved(formula, call, tangents)))]
    kind = algebra(formula)
    assert isinstance(kind, Multilinear)  # noqa: S101 - `where` chose it
    by = {argument: gradient for gradient, argument in operator.gradients.items()}
    for factor, other in (kind.factors, kind.factors[::-1]):
        moved = {**call, other: tangents[other]}
        wanted.append((call[factor].shape, _sum(backend, [(by[factor], moved)])))
    given = [*tangents.values(), dy, *(call[one] for one in arrays)]
    with showing({"tangents": tangents, "want": [want for _, want in wanted]}):
        found = backend.ask_further(operator, name, given, call, count=len(wanted))
        for at, (got, (shape, want)) in enumerate(zip(found, wanted, strict=True)):
            what = f"{name}[{at}] (d{('grad_output', *kind.factors)[at]})"
            _require_equal(what, got, shape, dy.dtype, want)
    return 0.0


def _along(backend: Backend, operator: Operator, call: Call, name: str) -> float:
    """Require the derivative along tangents of a formula that forward mode is derived of."""
    formula, tangents = forward_mode(operator.formula), _tangents(operator, call)
    given = [*tangents.values(), *(call[one] for one in argument_names(operator.formula)[0])]
    moved = {**call, **{TANGENT + one: array for one, array in tangents.items()}}
    with showing({"tangents": tangents, "of": formula}):
        (got,) = backend.ask_further(operator, name, given, call)
        try:
            return require_truth(backend, formula, moved, got)
        except Undecided as why:
            raise NotJudged(str(why)) from None


def _tangents(operator: Operator, call: Call) -> dict[str, Array | None]:
    """Return small integers for every argument with a gradient, None for what is None."""
    names = argument_names(operator.formula)[0]
    given = {n: call[n] for n in names if n in operator.gradients.values()}
    return {
        n: direction(array, f"tangent of {n}", SMALL) if has_slope(array) else None
        for n, array in given.items()
    }


def _moved(
    formula: Formula, call: Call, tangents: Mapping[str, Array | None]
) -> list[tuple[Formula, Call]]:
    """Return the calls of a formula whose answers add up to its derivative along tangents.

    Each has one factor replaced; what is added to the products goes with the first.
    """
    kind = algebra(formula)
    assert isinstance(kind, Multilinear)  # noqa: S101 - a multilinear formula has been chosen
    added: dict[str, Any] = {} if kind.plus is None else {kind.plus: tangents[kind.plus]}
    nothing = dict.fromkeys(added)
    first, second = kind.factors
    return [
        (formula, {**call, first: tangents[first], **added}),
        (formula, {**call, second: tangents[second], **nothing}),
    ]


def _sum(backend: Backend, calls: list[tuple[Formula, Call]]) -> Array:
    """Return the sum of exact answers.

    Raises:
        NotJudged: numbers are no integers, or the sums of the terms' sizes do not fit the dtype.
    """
    dtype = format_of(calls[0][1])
    accumulator = backend.contract.accumulator(dtype)
    sizes = sum(_value(backend, of, _sizes(of, call)) for of, call in calls)
    exact = all(truth_of(backend, *of).is_exact(dtype, accumulator) for of in calls)
    exact &= all(_are_integers(array) for of in calls for array in operands(*of).values())
    most = 2.0 ** FORMATS[dtype].bits
    if not exact or np.any(np.asarray(sizes) > most):
        raise NotJudged(f"rounding in {dtype} may act")
    return np.asarray(sum(_value(backend, *of) for of in calls))


def _are_integers(array: Array) -> bool:
    """Return whether sums of products with these numbers are integers, whatever else is added."""
    return bool((array == np.rint(array.astype(np.float64))).all())


def _value(backend: Backend, formula: Formula, call: Call) -> Array:
    return truth_of(backend, formula, call).as_float(np.dtype(np.float64))


def _sizes(formula: Formula, call: Call) -> dict[str, Any]:
    """Return the call with the sizes of all numbers: its answer is the sum of the terms' sizes."""
    return {**call, **{name: abs(array) for name, array in operands(formula, call).items()}}


def _require_equal(
    name: str, got: Array, shape: tuple[int, ...], dtype: np.dtype[Any], want: Array
) -> None:
    """Raise Mismatch unless an answer is what the sum of exact ones is."""
    require_form(name, got, shape, dtype)
    wrong = ~(got.astype(np.float64) == want)
    if wrong.any():
        at = tuple(np.argwhere(wrong)[0].tolist())
        raise Mismatch(
            f"{name}[{', '.join(map(str, at))}]: got {got[at]}, want {want[at]} (the data are "
            f"exact); {int(wrong.sum())} of {wrong.size} elements wrong"
        )


def _named(backend: Backend, formula: Formula, call: Call, got: Array, name: str) -> float:
    """Require a formula's answer of another function, whose name a mismatch has."""
    try:
        return require_truth(backend, formula, call, got)
    except Mismatch as mismatch:
        text = mismatch.headline.replace(output_of(formula).function, name, 1)
        raise Mismatch(text) from None
