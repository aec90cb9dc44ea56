"""Powers of which the base and the exponent are both computed, such as x^p with a learned p.

    d x^y / dx = y x^(y - 1),  d x^y / dy = x^y log(x)

Where x is 0, values are NumPy's: 0 for y > 0, 1 for y = 0, infinity for y < 0.  Those of a negative
x are numbers where y is a whole one.  At x = 0 the slope by y may be computed as 0 (its limit for
y > 0) or as NaN (0 log 0), and by x, where y is 0, too: any is right.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradoracle.oracle.numbers import many
from gradoracle.oracle.numbers.functions import LARGEST_EXPONENT, log
from gradoracle.oracle.numbers.many import Held
from gradoracle.oracle.numbers.powers import ULPS
from gradoracle.oracle.numbers.running_error import Arithmetic, Estimate
from gradoracle.oracle.numbers.running_error_arrays import Lanes
from gradoracle.oracle.shapes import Array

LOG_UNITS = 8  # of the product y log(x), in units of u: the logarithm's 3 ulp, and its own rounding


def unless_nan(held: Held, base: Held, exponent: Held, *, spreads: bool | None) -> Held:
    """Return powers or slopes of them, of which a NaN makes a NaN where it `spreads`.

    IEEE 754 has 1^NaN = NaN^0 = 1, exp(y log(x)) is NaN.  Where a NaN is not to spread, slopes
    there are 0: any is right, since both are what kernels return.
    """
    if spreads is None:
        return held
    x, y = (np.asarray(many.values_and_errors(one)[0], np.float64) for one in (base, exponent))
    gone = np.isnan(x) & (y == 0) | np.isnan(y) & (x == 1)
    if not gone.any():
        return held
    return many.chosen(gone, many.like(held, np.full(gone.shape, np.nan if spreads else 0.0)), held)


def power(base: Held, exponent: Held) -> Held:
    """Return powers, with what rounding leaves of them: by `pow`, or as exp(y log(x))."""
    arithmetic = many.arithmetic_of(base) or many.arithmetic_of(exponent)
    if arithmetic is None:
        return _powers(base, exponent)
    x, y = (_lanes(held, arithmetic) for held in (base, exponent))
    value = np.asarray(np.power(x.value, y.value))
    error = x.rounded(value, _moved(x, y, value) + arithmetic.tiny, 2 * ULPS).error
    if not arithmetic.unit:  # terms, which powers are none
        error = np.full(value.shape, np.inf)
    error = np.where(_rounds(x, y), error, 0.0)
    kind = next((held for held in (base, exponent) if isinstance(held, Lanes)), None)
    if kind is not None:
        return many.less_certain(kind.constants(value), error)
    return _estimates(value, error, arithmetic)


def slopes(
    base: Held, exponent: Held, value: Held
) -> tuple[Callable[[], Held], Callable[[], Held]]:
    """Return what computes the slopes of powers by their bases and by their exponents."""

    def by_base() -> Held:
        x, _ = many.values_and_errors(base)
        y, _ = many.values_and_errors(exponent)
        slope = exponent * power(base, exponent - 1)
        if hasattr(slope, "or_else"):  # as y x^y / x, too
            quotient = exponent * many.quotient(value, base)
            slope = many.chosen(np.asarray(x != 0), slope.or_else(quotient), slope)
        return _anything(slope, np.asarray((x == 0) & (y == 0)))

    def by_exponent() -> Held:
        x, _ = many.values_and_errors(base)
        return _anything(value * log(base), np.asarray(x == 0))

    return by_base, by_exponent


def _anything(held: Held, where: Array) -> Held:
    """Return numbers of which some may be anything: 0 among others."""
    if not where.any():
        return held
    zeros = many.zeros(held)
    found = many.chosen(where, zeros, held)
    return many.less_certain(found, np.where(where, np.inf, 0.0))


def _moved(x: Lanes, y: Lanes, value: Array) -> Array:
    """Return how far powers are off where the logarithm of |x| and y are."""
    size = abs(x.value)
    with np.errstate(all="ignore"):
        logarithm = abs(np.log(size))
        apart = np.where(x.error < size, -np.log1p(-x.error / size), np.inf)
        spent = np.where(x.error > 0, (abs(y.value) + y.error) * apart, 0.0)
        spent = spent + np.where(y.error > 0, y.error * logarithm, 0.0)
        spent = spent + LOG_UNITS * x.arithmetic.unit * abs(y.value) * logarithm
        moved = abs(value) * np.expm1(np.minimum(spent, LARGEST_EXPONENT))
    return np.where(spent < LARGEST_EXPONENT, moved, np.inf)


def _rounds(x: Lanes, y: Lanes) -> Array:
    """Return where powers round: those of exactly 0 and 1, and by exactly 0, do not."""
    by_zero = (x.error == 0) & (y.error == 0) & (y.value == 0)
    zero = (x.error == 0) & (x.value == 0) & (abs(y.value) > y.error)
    one = (x.error == 0) & (x.value == 1)
    return np.asarray(~(by_zero | zero | one))


def _lanes(held: Held, arithmetic: Arithmetic) -> Lanes:
    if isinstance(held, Lanes):
        return held
    value, error = many.values_and_errors(held)
    return Lanes(np.asarray(value, np.float64), np.asarray(error, np.float64), arithmetic)


def _estimates(value: Array, error: Array, arithmetic: Arithmetic) -> Held:
    number = np.frompyfunc(lambda v, e: Estimate(float(v), float(e), arithmetic), 2, 1)
    return number(value, error)


def _powers(base: Held, exponent: Held) -> Held:
    """Return powers of floats, or in high precision."""
    arrays = [np.asarray(held) for held in (base, exponent)]
    if any(array.dtype == object for array in arrays):
        return np.frompyfunc(_power, 2, 1)(*arrays)
    return np.power(*(array.astype(np.float64) for array in arrays))


def _power(base: Any, exponent: Any) -> Any:
    """Return one power in high precision; where there is none, NaN."""
    context = getattr(base, "context", None) or getattr(exponent, "context", None)
    if context is None:
        return base**exponent
    if base == 1 or not exponent:
        return context.mpf(1)
    if not base and exponent < 0:
        return context.inf
    found = context.power(base, exponent)
    return context.nan if isinstance(found, context.mpc) else found
