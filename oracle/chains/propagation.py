"""How far rounding may reach through a chain of formulas: values with bounds, array by array.

Every answer of a chain is off by what came in and by what its own formula's rounding adds.  For a
multilinear formula f, fed errors e of its operands a,

    |f(a + e) - f(a)| <= f(|a| + e) - f(|a|),      rounding <= gamma_n f(|a| + e)

(Higham 2002, sections 3.1 and 3.5), both from the formula's own loops. Elementary formulas run on
`oracle.numbers.running_error` numbers that start with an error. Where a relu or a maximum cannot be
told apart within the errors, or something may overflow, the chain has no single right answer:
`Undecided`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from gradoracle.oracle.chains.bounded import Bounded, Undecided, bounded, is_number
from gradoracle.oracle.chains.maxima import decide_maxima, maxima
from gradoracle.oracle.declaration import (
    Call,
    Composed,
    Formula,
    Multilinear,
    algebra,
    argument_names,
    evaluate,
    output_of,
)
from gradoracle.oracle.expected.exact import MultilinearTruth
from gradoracle.oracle.expected.transform_bounds import DIRECT, reach, transform
from gradoracle.oracle.expected.truth import ComposedTruth
from gradoracle.oracle.float_formats import FORMATS, flushed, is_real
from gradoracle.oracle.formulas.max_pool import max_pool2d_indices, max_pool2d_values
from gradoracle.oracle.numbers.running_error import Arithmetic, Estimate
from gradoracle.oracle.numbers.running_error_arrays import Lanes
from gradoracle.oracle.shapes import Array

__all__ = ["Bounded", "Propagation", "Undecided"]
OWN = 2.0**-53  # the roundoff of the float64 in which values and bounds are computed


class Propagation:
    """Asks formulas in float64 and returns what a backend of `dtype` may be off by.

    `accumulator` is the format that it holds its sums in; every answer is rounded from there to
    `dtype`.  Errors are counted for the backend and for float64 itself, so they bound the
    difference.  With `strict_ties` two equal candidates for a maximum are undecided even if they
    are exact.  `algorithms` names the functions that are computed by transforms.
    """

    def __init__(
        self,
        dtype: str,
        accumulator: str | None = None,
        *,
        strict_ties: bool = False,
        algorithms: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Take the formats' unit roundoffs and significands."""
        self._algorithms = algorithms
        self._dtype, self._result = dtype, FORMATS[dtype]
        self._inner_name = accumulator or dtype
        self._inner = FORMATS[self._inner_name]
        self._unit = 2.0**-self._inner.bits + OWN
        self._tiny = 2.0**self._inner.smallest_exponent
        self._most = float(min(self._inner.overflow, sys.float_info.max))
        self._arithmetic = Arithmetic(self._unit, self._tiny, self._most)
        self._strict_ties = strict_ties

    def ask(self, formula: Formula, call: Call) -> Any:
        """Return the formula's answer as Bounded numbers, or indices as they are."""
        if formula is max_pool2d_indices:
            values = {**call, "x": bounded(call["x"]).value}
            decide_maxima(call, strict=self._strict_ties)
            return evaluate(formula, values)
        if formula is max_pool2d_values:
            return maxima(call, strict=self._strict_ties)
        kind = algebra(formula)
        if isinstance(kind, Multilinear):
            return self._multilinear(formula, kind, call)
        if "z" in argument_names(formula)[0]:
            self._decide_signs(formula, bounded(call["z"]))
        if isinstance(kind, Composed):
            return self._composed(formula, call)
        return self._rectified(formula, call)

    def _multilinear(self, formula: Formula, kind: Multilinear, call: Call) -> Bounded:
        names = [*kind.factors, *([kind.plus] if kind.plus else [])]
        given = {n: bounded(call[n]) for n in names if call[n] is not None}
        # what is read besides (x, for the places of its maxima) was decided on the way forward
        plain = {n: v.value if isinstance(v, Bounded) else v for n, v in call.items()}
        truth = MultilinearTruth(formula, plain)
        value = self._run(formula, plain, {n: b.value for n, b in given.items()})
        sizes = self._sizes(formula, kind, plain, {n: abs(b.value) for n, b in given.items()})
        whole = all((np.rint(b.value) == b.value).all() for b in given.values())
        by = transform(formula, plain, self._algorithms.get(output_of(formula).function, DIRECT))
        exact = whole and not any(b.error.any() for b in given.values()) and not kind.over
        exact = exact and by is None
        if exact and sizes.max(initial=0) <= 2.0 ** min(self._inner.bits, self._result.bits):
            return Bounded(value, np.zeros(value.shape))
        largest = {n: abs(b.value) + b.error for n, b in given.items()}
        wide = self._sizes(formula, kind, plain, largest)
        n = np.asarray(truth.terms, np.float64) + 2
        room = 1 - n.max(initial=0) * self._unit
        if not (room > 0 and wide.max(initial=0) * truth.undivided < self._most * room):
            raise Undecided("whether a sum overflows")
        gamma = n * self._unit / room
        rounding = (gamma + 4 * n * OWN) * wide + n * self._tiny
        if by is not None:
            more, sums = reach(formula, plain, by, largest, self._unit)
            if not (np.isfinite(more).all() and 4 * sums.max(initial=0) < self._most):
                raise Undecided("whether a transform overflows")
            rounding = rounding + more + by.grows * by.roundings * n * self._tiny
        error = (wide - sizes) + rounding
        return self._stored(value, error)

    def _stored(self, value: Array, error: Array) -> Bounded:
        """Return what was computed in the accumulator, rounded to the dtype."""
        if self._inner.bits > self._result.bits:
            if not ((abs(value) + error) < float(self._result.overflow)).all():
                raise Undecided("whether a result overflows")
            unit = 2.0**-self._result.bits + OWN
            error = error * (1 + unit) + unit * abs(value) + flushed(self._dtype)
        return Bounded(value, error)

    def _sizes(
        self, formula: Formula, kind: Multilinear, call: Call, arrays: dict[str, Array]
    ) -> Array:
        """Return the sums of the terms' absolute values."""
        if kind.minus and kind.plus in arrays:
            arrays = {**arrays, kind.plus: -arrays[kind.plus]}
        sizes: Array = abs(self._run(kind.sizes or formula, call, arrays))
        return sizes

    def _run(self, formula: Formula, call: Call, arrays: dict[str, Array]) -> Array:
        plain = {n: a.item() if a.ndim == 0 else a for n, a in arrays.items()}
        return evaluate(formula, {**call, **plain})

    def _composed(self, formula: Formula, call: Call) -> Bounded:
        kind = algebra(formula)
        assert isinstance(kind, Composed)  # noqa: S101 - for the type checker
        if kind.lanes is not None:
            return self._in_lanes(formula, kind.lanes, call)
        lifted = {}
        for name in argument_names(formula)[0]:
            if isinstance(call[name], Bounded) or is_real(call[name].dtype):
                lifted[name] = self._estimates(bounded(call[name]))
        result = np.asarray(evaluate(formula, {**call, **lifted}), object)
        flat = [
            e if isinstance(e, Estimate) else Estimate(e, 0.0, self._arithmetic)
            for e in result.ravel()
        ]
        value = np.array([e.value for e in flat], np.float64)
        error = np.array([e.error for e in flat], np.float64)
        if not np.isfinite(error).all():
            raise Undecided("how far rounding reaches")
        return self._stored(value.reshape(result.shape), error.reshape(result.shape))

    def _in_lanes(self, formula: Formula, lanes: Callable[[Call], Any], call: Call) -> Bounded:
        """Return the answer of a formula of whole arrays, all of its numbers at once."""
        given = {n: bounded(v) for n in argument_names(formula)[0] if is_number(v := call[n])}
        plain = {n: v.value if isinstance(v, Bounded) else v for n, v in call.items()}
        if not any(one.error.any() for one in given.values()):
            exact = {n: one.value for n, one in given.items()}
            right = ComposedTruth(formula, {**plain, **exact})
            if right.is_exact(self._dtype, self._inner_name):
                return bounded(right.as_float(np.dtype(np.float64)))
        lifted = {n: Lanes(b.value, b.error, self._arithmetic) for n, b in given.items()}
        with np.errstate(all="ignore"):
            found = lanes({**plain, **lifted})
        if not (np.isfinite(found.value).all() and np.isfinite(found.error).all()):
            raise Undecided("how far rounding reaches")
        return self._stored(found.value, found.error)

    def _estimates(self, numbers: Bounded) -> Array:
        pairs = zip(numbers.value.ravel().tolist(), numbers.error.ravel().tolist(), strict=True)
        lifted = np.empty(numbers.value.size, object)
        lifted[:] = [Estimate(v, e, self._arithmetic) for v, e in pairs]
        return lifted.reshape(numbers.shape)

    def _rectified(self, formula: Formula, call: Call) -> Bounded:
        """Return relu or its gradient: nothing rounds, and the signs are decided."""
        names = argument_names(formula)[0]
        given = {name: bounded(call[name]) for name in names}
        passes = given["z"].value > 0
        through = given[names[0]]
        return Bounded(np.where(passes, through.value, 0), np.where(passes, through.error, 0))

    @staticmethod
    def _decide_signs(formula: Formula, z: Bounded) -> None:
        if "relu" in formula.__name__ and ((abs(z.value) <= z.error) & (z.error > 0)).any():
            raise Undecided("the sign of an argument of a relu")
