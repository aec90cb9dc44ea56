"""Powers with fractional exponents, and of a fixed base: rows like the elementary functions."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from gradoracle.oracle.numbers.functions import FAR_EXPONENT, LARGEST_EXPONENT, Constant, Function

ULPS = 16  # of pow and of rootn, as OpenCL C 3.0 has it (section 7.4)


@cache
def power(over: float, under: float = 1.0) -> Function:
    """Return v^(over / under), of numbers v that are not negative: of others NaN.

    The quotient is one of exact numbers: a cube root is `power(1, 3)`.
    """
    exponent = over / under

    def derivative(x: Any, y: Any) -> Any:
        if over > under:
            return power(over - under, under)(x) * over / under
        return y * over / under / x

    def moved(f: Any, x: Any, y: Any, e: Any) -> Any:
        del y
        if exponent >= 1:  # the slope is largest where x is
            return e * exponent * np.power(x + e, exponent - 1)
        slope = f.over(e * exponent, np.power(f.most(x - e, 0.0), 1 - exponent))
        return f.least(slope, np.power(e, exponent))

    return Function(
        f"power {over:g} / {under:g}", lambda v: _power(v, exponent),
        lambda v: _powers(v, over, under), derivative, moved, ulps=ULPS,
        precise=lambda context, v: context.power(v, context.mpf(over) / under),
    )  # fmt: skip


@cache
def of_base(base: float) -> Function:
    """Return base^v, of a base that is positive."""
    rate = logarithm(base)

    def moved(f: Any, _x: Any, y: Any, e: Any) -> Any:
        return y * f.expm1(f.least(e * abs(rate.value), LARGEST_EXPONENT))

    def precise(context: Any, v: Any) -> Any:
        far = abs(v) * abs(rate.value)
        if far <= FAR_EXPONENT or context.isnan(v):
            return context.power(context.mpf(base), v)
        return context.inf if v * rate.value > 0 else context.mpf(0)

    return Function(
        f"{base:g} to the power", lambda v: _power(base, v),
        lambda v: np.power(v.dtype.type(base), v), lambda _x, y: y * rate(y), moved, ulps=ULPS,
        precise=precise,
    )  # fmt: skip


@cache
def logarithm(base: float) -> Constant:
    """Return log(base) as a constant."""
    return Constant(f"log({base:g})", math.log(base), lambda context: context.log(base))


def _power(v: float, exponent: float) -> float:
    """Return v**exponent, infinity where it leaves the range of floats, as IEEE 754 has it."""
    try:
        return math.pow(v, exponent)
    except OverflowError:
        return math.inf


def _powers(v: Any, over: float, under: float) -> Any:
    """Return the powers of an array of floats, to the precision of its format."""
    kind = v.dtype.type
    return np.power(v, kind(over) / kind(under))
