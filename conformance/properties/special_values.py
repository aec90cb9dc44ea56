"""Numbers that are not ordinary: NaN and infinities, and what is too small to be normal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gradoracle.conformance.backends.backend import Backend
from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.properties.comparison import require_truth
from gradoracle.conformance.properties.property import NothingToJudge, NotJudged, holds
from gradoracle.oracle.declaration import (
    Call,
    Formula,
    Multilinear,
    Selection,
    algebra,
    argument_names,
    axes_of,
    is_data,
    operands,
)
from gradoracle.oracle.expected.non_finite import with_finite
from gradoracle.oracle.expected.truth import data_dtype, truth
from gradoracle.oracle.float_formats import FORMATS
from gradoracle.oracle.shapes import Array


def _spreads(operator: Operator, formula: Formula) -> bool:
    """Return whether NaN goes through sums; what is only picked is checked with NaN by others."""
    is_gradient = operator.argument_of(formula) is not None
    return is_gradient or not isinstance(algebra(formula), Selection)


@holds(
    where=_spreads, kind="not finite", share=0.1, claim=("non_finite", "plane", "window"),
    in_turn="in whole runs",
)  # fmt: skip
def propagates_non_finite(
    backend: Backend, operator: Operator, formula: Formula, call: Call
) -> float:
    """NaN and infinities show wherever the formula sums them, 0 times them too, and in no other
    image, channel or row; where the contract claims {"non_finite": "window"}, nor in other pixels,
    and infinities keep their sign.
    """  # noqa: D205 - one sentence
    poisoned = [*_poisoned(formula, call)]
    if not poisoned:
        raise NotJudged("the formula reads finite numbers only")
    calls = [one for one in poisoned if not _is_open(backend, operator, formula, one)]
    if not calls:
        raise NothingToJudge("no answer to NaN is settled on the calls that were drawn")
    backend.foresee(*((formula, one) for one in calls))
    return max(require_truth(backend, formula, one, backend.ask(formula, one)) for one in calls)


def _poisoned(formula: Formula, call: Call) -> Iterator[Call]:
    """Yield the call with what is not finite left in one of its arrays only, each in turn.

    Where it is multiplied, every second number of the others is 0 then, or is not.
    """
    arrays = {name: call[name] for name in operands(formula, call) if is_data(call[name])}
    kind = algebra(formula)
    factors = [n for n in kind.factors if n in arrays] if isinstance(kind, Multilinear) else []
    for name, array in arrays.items():
        if np.isfinite(array).all():
            continue
        finite: dict[str, Any] = with_finite(arrays, 1)
        finite |= {n: np.ones_like(finite[n]) for n in factors if _is_one_zero(finite[n])}
        yield {**call, **finite, name: array}
        # Where windows hang over an edge, a padding of 0 times another infinity may be NaN.
        padded = any(name in axes_of(formula).neutral for name in argument_names(formula)[1])
        if factors and np.isinf(array).any() and not padded:
            yield {**call, **finite, name: _of_both_signs(array)}
        others = {n: _with_zeros(finite[n]) for n in factors if n != name and finite[n].size > 1}
        if name in factors and others:
            yield {**call, **finite, **others, name: array}


def _is_one_zero(array: Array) -> bool:
    """Return whether an array is one number, 0: BLAS's axpy returns early for such a factor.

    `numpy.dot` multiplies by a factor of one number with axpy, and NaN times 0 is lost there.
    """
    return array.size == 1 and not array.any()


def _of_both_signs(array: Array) -> Array:
    """Return an array of infinities, of which neighbours have different signs: sums are NaN."""
    signs = np.where(np.arange(array.size).reshape(array.shape) % 2 == 0, 1.0, -1.0)
    return (np.inf * signs).astype(array.dtype)


def _with_zeros(array: Array) -> Array:
    """Return an array with 0 in place of the first, the third, and so on."""
    zeros = np.arange(array.size).reshape(array.shape) % 2 == 0
    return np.where(zeros, array.dtype.type(0), array)


def _is_open(backend: Backend, operator: Operator, formula: Formula, call: Call) -> bool:
    return operator.unsettled(backend.contract.policies, formula, call)


def _sums_products(operator: Operator, formula: Formula) -> bool:
    """Return whether the formula adds products, or numbers, and does not divide."""
    del operator
    kind = algebra(formula)
    return isinstance(kind, Multilinear) and kind.over is None and kind.plus in (None, "bias")


@holds(where=_sums_products, share=0.08, claim=("subnormals", "kept"), needs_exact=True)
def keeps_subnormals(backend: Backend, operator: Operator, formula: Formula, call: Call) -> float:
    """Numbers too small to be normal are not taken for 0: neither as arguments nor as answers."""
    kind, dtype = algebra(formula), data_dtype(call)
    assert isinstance(kind, Multilinear)  # noqa: S101 - `where` chose it
    accumulator = backend.contract.accumulator(dtype.name)
    tiny = [operator.complete(_with_subnormals(formula, call, name), 0) for name in kind.factors]
    exact = [one for one in tiny if truth(formula, one).is_exact(dtype.name, accumulator)]
    if not exact:
        raise NotJudged("the sums are too long to be exact")
    backend.foresee(*((formula, one) for one in exact))
    for one in exact:
        require_truth(backend, formula, one, backend.ask(formula, one))
    return 0.0


def _with_subnormals(formula: Formula, call: Call, tiny: str) -> dict[str, Any]:
    """Return the call with the least subnormal number, its negative and 0 in one factor.

    The other factor is as large as it can be, so that the products are normal numbers.
    """
    kind, limits = algebra(formula), FORMATS[data_dtype(call).name]
    assert isinstance(kind, Multilinear)  # noqa: S101 - `where` chose it
    changed: dict[str, Any] = {}
    for name, array in operands(formula, call).items():
        signs = np.sign(np.rint(np.asarray(array, np.float64)))
        power = -limits.subnormal_scale if name == tiny else limits.largest_exponent - 5
        scaled = np.ldexp(signs, power) * (name in kind.factors)
        changed[name] = scaled.astype(array.dtype)
    return {**call, **changed}
