"""Powers whose exponents are fractions: rows like those of the table of elementary functions."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

from gradoracle.oracle.numbers.functions import Function

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
