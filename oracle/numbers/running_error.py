"""Running error analysis: a value together with how far rounding may have taken it.

Fed to a formula in place of numbers, an `Estimate` walks the literal loops and comes out with a
bound of the error of any backend that computes the same expression from operations of known
accuracy (Wilkinson 1986; Higham 2002, section 3.3).  The accuracies are those that OpenCL C 3.0
demands of a full profile (section 7.4: +, -, * correctly rounded, x / y 2.5 ulp; elementary
functions: `oracle.numbers.functions`), and results below the smallest normal number may be
flushed to zero.

A sum is charged for any order of its terms (`oracle.numbers.elementary.total`). Values and errors
are Python floats: the bound itself is rounded by far less than what it leaves room for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from gradoracle.oracle.numbers.functions import FLOATS, Constant, Function

DIVIDE = 6  # in units of u; it may be a product with a reciprocal, which is rounded once more
SIGNS_AND_ZERO = (1.0, -1.0, 0.0)


class Arithmetic:
    """A format's unit roundoff, its smallest normal number, and where its numbers overflow.

    With `one_way` a bound is of what is computed here, which is in the first of several ways.
    """

    __slots__ = ("most", "one_way", "tiny", "unit")

    def __init__(
        self, unit: float, tiny: float, most: float = math.inf, *, one_way: bool = False
    ) -> None:
        """Keep the numbers."""
        self.unit, self.tiny, self.most, self.one_way = unit, tiny, most, one_way


class Estimate:
    """`value`, known to `error`, in an arithmetic.

    From `most` on numbers overflow: the error of what may is infinite, and so is that of whatever
    comes of it.
    """

    __slots__ = ("arithmetic", "error", "value")  # and no dataclass: millions are made

    def __init__(self, value: float, error: float, arithmetic: Arithmetic) -> None:
        """Keep the numbers."""
        self.value, self.error, self.arithmetic = value, error, arithmetic

    def rounded(
        self, value: float, error: float, units: float = 1.0, other: Estimate | None = None
    ) -> Estimate:
        """Return the result of an operation, on this and maybe another, accurate to `units`."""
        size, arithmetic = abs(value), self.arithmetic
        if size == math.inf:
            known = [self] if other is None else [self, other]
            return Estimate(value, _error_of_infinity(known), arithmetic)
        error += units * arithmetic.unit * (size + error)
        return Estimate(value, error if size + error < arithmetic.most else math.inf, arithmetic)

    def __add__(self, other: Any) -> Estimate:
        b = other if type(other) is Estimate else self._like(other)
        if not (b.value or b.error):
            return self
        if not (self.value or self.error):
            return b
        return self.rounded(self.value + b.value, self.error + b.error, other=b)

    __radd__ = __add__

    def __neg__(self) -> Estimate:
        return Estimate(-self.value, self.error, self.arithmetic)

    def __sub__(self, other: Any) -> Estimate:
        b = other if type(other) is Estimate else self._like(other)
        if not (b.value or b.error):
            return self
        if not (self.value or self.error):
            return -b
        return self.rounded(self.value - b.value, self.error + b.error, other=b)

    def __rsub__(self, other: Any) -> Estimate:
        return self._like(other) - self

    def __mul__(self, other: Any) -> Estimate:
        b = other if type(other) is Estimate else self._like(other)
        if not self.error and self.value in SIGNS_AND_ZERO:
            return b._times_sign(self)
        if not b.error and b.value in SIGNS_AND_ZERO:
            return self._times_sign(b)
        error = abs(self.value) * b.error + abs(b.value) * self.error + self.error * b.error
        return self.rounded(self.value * b.value, error + self.arithmetic.tiny, other=b)

    __rmul__ = __mul__

    def _times_sign(self, sign: Estimate) -> Estimate:
        """Return the product with exactly 1, -1 or 0, which rounds nothing."""
        if not sign.value:
            return sign if self.error < math.inf else Estimate(0.0, math.inf, self.arithmetic)
        return self if sign.value > 0 else -self

    def __truediv__(self, other: Any) -> Estimate:
        b = other if type(other) is Estimate else self._like(other)
        quotient = self.value / b.value
        room = abs(b.value) - b.error
        error = (self.error + abs(quotient) * b.error) / room if room > 0 else math.inf
        return self.rounded(quotient, error + self.arithmetic.tiny, DIVIDE, b)

    def __rtruediv__(self, other: Any) -> Estimate:
        return self._like(other) / self

    def __abs__(self) -> Estimate:
        return Estimate(abs(self.value), self.error, self.arithmetic)

    def __gt__(self, other: Any) -> bool:
        return self.value > (other.value if type(other) is Estimate else other)

    def __lt__(self, other: Any) -> bool:
        return self.value < (other.value if type(other) is Estimate else other)

    def __ge__(self, other: Any) -> bool:
        return self.value >= (other.value if type(other) is Estimate else other)

    def __le__(self, other: Any) -> bool:
        return self.value <= (other.value if type(other) is Estimate else other)

    def __eq__(self, other: object) -> bool:
        return self.value == (other.value if type(other) is Estimate else other)

    __hash__ = object.__hash__

    def apply(self, function: Function) -> Estimate:
        """Return an elementary function of this number."""
        value = function(self.value)
        error = function.moved(FLOATS, self.value, value, self.error)
        lost = self.arithmetic.tiny if function.ulps else 0.0  # whole numbers lose nothing
        return self.rounded(value, error + lost, function.units)

    def constant(self, number: Constant) -> Estimate:
        """Return a constant that its format rounds."""
        value = number.value
        return Estimate(value, abs(value) * self.arithmetic.unit, self.arithmetic)

    def plus_all(self, others: list[Any]) -> Estimate:
        """Return the sum with `others`, whatever the order it is taken in."""
        terms = [self, *map(self._like, others)]
        if len(terms) == 1:
            return self
        finite = [t for t in terms if abs(t.value) < math.inf]
        error = _sum(t.error for t in terms)
        size = _sum(abs(t.value) for t in finite) + error
        gamma = (len(terms) - 1) * self.arithmetic.unit
        error += gamma / (1 - gamma) * size if gamma < 1 else math.inf
        if not size < self.arithmetic.most * (1 - gamma):
            error = math.inf
        if len(finite) == len(terms):
            return Estimate(_sum(t.value for t in terms), error, self.arithmetic)
        value = sum(t.value for t in terms if abs(t.value) == math.inf)
        return Estimate(value, 0.0 if error < math.inf else error, self.arithmetic)

    def or_else(self, other: Estimate) -> Estimate:
        """Return the less certain of two ways to compute the same number."""
        return self if self.error >= other.error else other

    def _like(self, other: Any) -> Estimate:
        """Return a constant of a formula as an exact estimate."""
        if isinstance(other, Estimate):
            return other
        return Estimate(float(other), 0.0, self.arithmetic)


def _error_of_infinity(operands: list[Estimate]) -> float:
    """Return 0 for what comes of an infinity, and infinity for what may have overflowed."""
    given = any(abs(one.value) == math.inf for one in operands)
    return 0.0 if given and all(one.error < math.inf for one in operands) else math.inf


def _sum(values: Iterable[float]) -> float:
    """Return the sum, or infinity where it is too large for a float."""
    try:
        return math.fsum(values)
    except OverflowError:
        return math.inf
