"""Rounding to whole numbers, and the remainder of a division.

Their slope is 0 between steps.  Where rounding may decide the step, both sides are right.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gradoracle.oracle.numbers.functions import Function

HALF = 0.5


def _row(name: str, of_array: Callable[[Any], Any], precise: Callable[[Any, Any], Any]) -> Function:
    """Return a function with steps of 1, of which nothing is rounded."""

    def of_float(v: float) -> float:
        return float(of_array(v))

    def moved(_f: Any, x: Any, y: Any, e: Any) -> Any:
        with np.errstate(all="ignore"):
            least = of_array(np.nextafter(x - e, -np.inf))
            most = of_array(np.nextafter(x + e, np.inf))
            return np.where(np.equal(e, 0), 0.0, np.maximum(most - y, y - least))[()]

    return Function(
        name, of_float, of_array, lambda _x, _y: 0, moved, ulps=0, precise=_known(precise)
    )


def _known(precise: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Return a function in high precision, of which infinities and NaN are themselves."""
    return lambda context, v: precise(context, v) if context.isfinite(v) else v


floor = _row("floor", np.floor, lambda context, v: context.floor(v))
ceil = _row("ceil", np.ceil, lambda context, v: context.ceil(v))
rint = _row("rint", np.rint, lambda context, v: context.nint(v))
trunc = _row("trunc", np.trunc, lambda context, v: context.floor(v) if v > 0 else context.ceil(v))

# What `rint` is mistaken for.
half_away = _row(
    "half away from 0", lambda v: np.copysign(np.floor(abs(v) + HALF), v),
    lambda context, v: context.sign(v) * context.floor(abs(v) + HALF),
)  # fmt: skip
half_up = _row("half up", lambda v: np.floor(v + HALF), lambda context, v: context.floor(v + HALF))


def to_the_step(function: Function, value: Any) -> Any:
    """Return what is to be added to numbers for a tie of a rounding function."""
    wide = np.asarray(value).astype(np.float64)
    return (np.floor(wide) + HALF if function is rint else np.rint(wide)) - wide


def rounded(number: Any, decimals: int = 0) -> Any:
    """Return a number rounded to decimals, a half to the even digit, as `numpy.round` does."""
    if not decimals:
        return rint(number)
    scale = 10.0 ** abs(decimals)
    return rint(number * scale) / scale if decimals > 0 else rint(number / scale) * scale


def floor_divide(number: Any, divisor: Any) -> Any:
    """Return the largest whole number that is not above the quotient."""
    return floor(_quotient(number, divisor))


def remainder(number: Any, divisor: Any) -> Any:
    """Return a - b floor(a / b), of the sign of the divisor b."""
    return number - divisor * floor(_quotient(number, divisor))


def fmod(number: Any, divisor: Any) -> Any:
    """Return a - b trunc(a / b), of the sign of the number a, as C's `fmod` does."""
    return number - divisor * trunc(_quotient(number, divisor))


def _quotient(number: Any, divisor: Any) -> Any:
    is_one = isinstance(divisor, (int, float)) and divisor == 1
    return number if is_one else number / divisor
