"""The table of elementary functions and constants, read by every kind of number.

A row says what a function is of floats, of arrays of them and in high precision, its derivative,
how far its value moves where its argument does, and how accurate an implementation may be.  Dual
numbers, running errors and arrays of them have no function of their own: they read the table.

The accuracies are those that OpenCL C 3.0 demands of a full profile in single precision (section
7.4, "Relative Error as ULPs").  One ulp is at most 2u relative to the value, u the unit roundoff.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from gradoracle.oracle.numbers import high_precision

FAR_EXPONENT = 1e6  # e to more is beyond every format, and e to less is 0 in all
LARGEST_EXPONENT = 700.0  # e to more is no float


@dataclass(frozen=True)
class Function:
    """An elementary function of one number."""

    name: str  # in mpmath's context
    of_float: Callable[[float], float]
    of_array: Callable[[Any], Any]
    derivative: Callable[[Any, Any], Any]  # of the argument x and the value y, in any numbers
    # How far the value y is off where x is off by e, in the functions of FLOATS or of ARRAYS.
    moved: Callable[[Any, Any, Any, Any], Any]
    ulps: float  # that an implementation may be off by
    precise: Callable[[Any, Any], Any] | None = None  # by mpmath's context, where it has no `name`

    @property
    def units(self) -> float:
        """The same in units of u."""
        return 2 * self.ulps

    def __call__(self, v: Any) -> Any:
        """Return the function of a number of any kind, or of every number of an array."""
        if isinstance(v, np.ndarray):
            return np.frompyfunc(self, 1, 1)(v) if v.dtype == object else self.of_array(v)
        if hasattr(v, "context"):
            own = self.precise
            found = own(v.context, v) if own else getattr(v.context, self.name)(v)
            return v.context.nan if isinstance(found, v.context.mpc) else found
        if hasattr(v, "apply"):
            return v.apply(self)
        try:
            return self.of_float(v)
        except ValueError:  # as IEEE 754 has it
            return math.nan


def _precise_exp(context: Any, function: Callable[[Any], Any], v: Any, less: int = 0) -> Any:
    """Return e^v less a number; far beyond all formats without the digits of v / log 2.

    Those take mpmath seconds, and all memory where v is an exponential itself.
    """
    if not abs(v) > FAR_EXPONENT:  # a NaN, too
        return function(v)
    return context.inf if v > 0 else context.mpf(-less)


def _over(e: float, room: float) -> float:
    return e / room if room > 0 else math.inf


def _arrays_over(e: Any, room: Any) -> Any:
    return np.where(room > 0, e / room, np.inf)


# What a row needs beside + - * /, of floats and of arrays; `over` is infinite without room.
FLOATS = SimpleNamespace(least=min, most=max, over=_over, expm1=math.expm1, sqrt=math.sqrt)
ARRAYS = SimpleNamespace(
    least=np.minimum, most=np.maximum, over=_arrays_over, expm1=np.expm1, sqrt=np.sqrt
)


def _exp(v: float) -> float:
    """Return e**v, infinity where it leaves the range of floats, as IEEE 754 has it."""
    try:
        return math.exp(v)
    except OverflowError:
        return math.inf


def _expm1(v: float) -> float:
    try:
        return math.expm1(v)
    except OverflowError:
        return math.inf


def _log(v: float) -> float:
    """Return the natural logarithm, of 0 minus infinity."""
    return math.log(v) if v else -math.inf


def _log1p(v: float) -> float:
    return math.log1p(v) if v != -1 else -math.inf


def _rsqrt(v: float) -> float:
    return 1 / math.sqrt(v) if v else math.inf


def _sigmoid(v: float) -> float:
    """Return 1 / (1 + e**-v), written with e**v where v is negative."""
    e = _exp(-abs(v))
    return 1 / (1 + e) if v >= 0 else e / (1 + e)


def _array_sigmoid(v: Any) -> Any:
    e = np.exp(-abs(v))
    return np.where(v >= 0, 1 / (1 + e), e / (1 + e))


def _softplus(v: float) -> float:
    """Return log(1 + e**v)."""
    return math.log1p(_exp(-abs(v))) + (v if v > 0 else 0.0)


def _array_softplus(v: Any) -> Any:
    return np.log1p(np.exp(-abs(v))) + np.where(v > 0, v, 0)


def _exp2(v: float) -> float:
    try:
        return float(2.0**v)
    except OverflowError:
        return math.inf


def _bounded(function: Callable[[float], float]) -> Callable[[float], float]:
    """Return a hyperbolic function, infinite where it leaves the range of floats."""

    def found(v: float) -> float:
        try:
            return function(v)
        except OverflowError:
            return math.copysign(math.inf, v) if function is math.sinh else math.inf

    return found


def _atanh(v: float) -> float:
    """Return the inverse of tanh, of 1 infinity."""
    return math.atanh(v) if abs(v) != 1 else math.copysign(math.inf, v)


def _at_most(slope: Callable[[Any], Any], x: Any, e: Any) -> Any:
    """Return e times a slope that grows with |x|, where that is largest; of no error 0."""
    with np.errstate(all="ignore"):
        return np.where(np.equal(e, 0), 0.0, e * slope(abs(x) + e))[()]


def _of_tan(f: Any, y: Any, e: Any) -> Any:
    """Return tan(e) (1 + y^2) / (1 - |y| tan(e)), how far tan moves; by the addition theorem."""
    moved = np.tan(np.minimum(e, 1.5))  # below a quarter of a turn
    with np.errstate(all="ignore"):
        found = f.over(moved * (1 + y * y), 1 - abs(y) * moved)
    return np.where(np.less(e, 1.5), found, np.inf)[()]


def _array_erf(v: Any) -> Any:
    """Return erf of an array, element by element: NumPy has none."""
    wide = np.asarray(v)
    if wide.dtype != np.longdouble:
        return np.asarray(np.frompyfunc(math.erf, 1, 1)(wide.astype(np.float64)), wide.dtype)
    return np.asarray(np.frompyfunc(_long_erf, 1, 1)(wide), np.longdouble)


def _long_erf(v: Any) -> Any:
    """Return erf of a long double, to its own precision."""
    context, high = high_precision.context(), float(v)
    low = float(v - high) if math.isfinite(high) else 0.0
    first, second = high_precision.halves(context.erf(context.mpf(high) + low))
    return np.longdouble(first) + np.longdouble(second)


def _growth(f: Any, e: Any) -> Any:
    """Return exp(e) - 1: the share by which exp(x) may grow where x is off by e."""
    return f.expm1(f.least(e, LARGEST_EXPONENT))


def _of_rsqrt(f: Any, root: Any, least: Any, e: Any) -> Any:
    """Return 1/least - 1/root, of the roots of numbers that are e apart, without cancellation."""
    return f.over(e, root * least * (root + least))


exp: Function = Function(
    "exp", _exp, np.exp, lambda _x, y: y, lambda f, _x, y, e: y * _growth(f, e), ulps=3,
    precise=lambda context, v: _precise_exp(context, context.exp, v),
)  # fmt: skip
expm1 = Function(
    "expm1", _expm1, np.expm1, lambda _x, y: y + 1,
    lambda f, _x, y, e: (y + 1) * _growth(f, e), ulps=3,
    precise=lambda context, v: _precise_exp(context, context.expm1, v, 1),
)  # fmt: skip
log = Function(
    "log", _log, np.log, lambda x, _y: 1 / x, lambda f, x, _y, e: f.over(e, x - e), ulps=3,
)  # fmt: skip
log1p = Function(
    "log1p", _log1p, np.log1p, lambda x, _y: 1 / (1 + x),
    lambda f, x, _y, e: f.over(e, 1 + x - e), ulps=2,
)  # fmt: skip
sqrt = Function(
    "sqrt", math.sqrt, np.sqrt, lambda _x, y: 1 / (2 * y),
    lambda f, x, y, e: f.least(f.over(e, y + f.sqrt(f.most(x - e, 0.0))), f.sqrt(e)), ulps=3,
)  # fmt: skip
rsqrt = Function(
    "rsqrt", _rsqrt, lambda v: 1 / np.sqrt(v), lambda x, y: -y / (2 * x),
    lambda f, x, _y, e: _of_rsqrt(f, f.sqrt(f.most(x, 0.0)), f.sqrt(f.most(x - e, 0.0)), e), ulps=2,
    precise=lambda context, v: 1 / context.sqrt(v),
)  # fmt: skip
tanh = Function(
    "tanh", math.tanh, np.tanh, lambda _x, y: 1 - y * y, lambda _f, _x, _y, e: e, ulps=5,
)  # fmt: skip
# 1 / (1 + e^-x): the exponential, a sum and a quotient, each as accurate as it must be.
sigmoid = Function(
    "sigmoid", _sigmoid, _array_sigmoid, lambda _x, y: y * (1 - y),
    lambda f, _x, _y, e: f.least(e / 4, 1.0), ulps=6.5,
    precise=lambda context, v: 1 / (1 + context.exp(-v)),
)  # fmt: skip
# log(1 + e^x): the exponential, log1p and a sum.
softplus = Function(
    "softplus", _softplus, _array_softplus, lambda x, _y: sigmoid(x),
    lambda _f, _x, _y, e: e, ulps=6,
    precise=lambda context, v: context.log1p(context.exp(-abs(v))) + (max(0, v)),
)  # fmt: skip
sin: Function = Function(
    "sin", math.sin, np.sin, lambda x, _y: cos(x), lambda f, _x, _y, e: f.least(e, 2.0), ulps=4,
)  # fmt: skip
cos: Function = Function(
    "cos", math.cos, np.cos, lambda x, _y: -sin(x), lambda f, _x, _y, e: f.least(e, 2.0), ulps=4,
)  # fmt: skip
erf = Function(
    "erf", math.erf, _array_erf, lambda x, _y: 2 * exp(-x * x) / sqrt_pi(x),
    lambda f, _x, _y, e: f.least(2 / math.sqrt(math.pi) * e, 2.0), ulps=16,
)  # fmt: skip

exp2 = Function(
    "exp2", _exp2, np.exp2, lambda _x, y: y * log_2(y),
    lambda f, _x, y, e: y * _growth(f, e * math.log(2)), ulps=3,
    precise=lambda context, v: _precise_exp(context, lambda v: context.power(2, v), v),
)  # fmt: skip
# Also the natural logarithm times a rounded constant: 3 ulps, and half a one for each of both.
log2 = Function(
    "log2", lambda v: math.log2(v) if v else -math.inf, np.log2, lambda x, _y: 1 / (x * log_2(x)),
    lambda f, x, _y, e: f.over(e, (x - e) * math.log(2)), ulps=4,
    precise=lambda context, v: context.log(v, 2),
)  # fmt: skip
log10 = Function(
    "log10", lambda v: math.log10(v) if v else -math.inf, np.log10,
    lambda x, _y: 1 / (x * log_10(x)), lambda f, x, _y, e: f.over(e, (x - e) * math.log(10)),
    ulps=4,
)  # fmt: skip
sinh: Function = Function(
    "sinh", _bounded(math.sinh), np.sinh, lambda x, _y: cosh(x),
    lambda _f, x, _y, e: _at_most(np.cosh, x, e), ulps=4,
)  # fmt: skip
cosh: Function = Function(
    "cosh", _bounded(math.cosh), np.cosh, lambda x, _y: sinh(x),
    lambda _f, x, _y, e: _at_most(np.sinh, x, e), ulps=4,
)  # fmt: skip
tan = Function(
    "tan", math.tan, np.tan, lambda _x, y: 1 + y * y, lambda f, _x, y, e: _of_tan(f, y, e), ulps=5,
)  # fmt: skip
atan = Function(
    "atan", math.atan, np.arctan, lambda x, _y: 1 / (1 + x * x),
    lambda f, _x, _y, e: f.least(e, math.pi), ulps=5,
)  # fmt: skip
asinh = Function(
    "asinh", math.asinh, np.arcsinh, lambda x, _y: 1 / sqrt(1 + x * x), lambda _f, _x, _y, e: e,
    ulps=4,
)  # fmt: skip
atanh = Function(
    "atanh", _atanh, np.arctanh, lambda x, _y: 1 / (1 - x * x),
    lambda f, x, _y, e: f.over(e, 1 - (abs(x) + e) * (abs(x) + e)), ulps=5,
)  # fmt: skip

FUNCTIONS = {f.name: f for f in (
    exp, expm1, log, log1p, sqrt, rsqrt, tanh, sigmoid, softplus, sin, cos, erf, exp2, log2, log10,
    sinh, cosh, tan, atan, asinh, atanh,
)}  # fmt: skip
NUMPY = {"atan": "arctan", "asinh": "arcsinh", "atanh": "arctanh"}  # where its names are others


@dataclass(frozen=True)
class Constant:
    """A number that no format holds: of the kind of the numbers it stands beside."""

    name: str
    value: float  # rounded to nearest
    of: Callable[[Any], Any]  # of mpmath's context

    def __call__(self, beside: Any) -> Any:
        """Return the constant, rounded once where numbers carry their rounding error."""
        if isinstance(beside, np.ndarray) and beside.dtype == object and beside.size:
            return self(beside.flat[0])
        if hasattr(beside, "context"):
            return self.of(beside.context)
        if hasattr(beside, "constant"):
            return beside.constant(self)
        return self.value


pi = Constant("pi", math.pi, lambda context: +context.pi)
sqrt_pi: Constant = Constant("sqrt_pi", 1.772453850905516, lambda context: context.sqrt(context.pi))
sqrt_2 = Constant("sqrt_2", math.sqrt(2), lambda context: context.sqrt(2))


def decimal(text: str) -> Constant:
    """Return the constant that a decimal fraction writes, such as "0.044715"."""
    return Constant(text, float(text), lambda context: context.mpf(text))


log_2: Constant = Constant("log(2)", math.log(2), lambda context: context.log(2))
log_10: Constant = Constant("log(10)", math.log(10), lambda context: context.log(10))
CONSTANTS = {c.name: c for c in (pi, sqrt_pi, sqrt_2, log_2, log_10)}
