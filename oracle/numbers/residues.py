"""Numbers modulo a prime: a formula that is sums, products and quotients, evaluated on random ones.

Two polynomials of degree d that differ give the same element of a field of p numbers on at most
d / p of all arguments (Schwartz 1980, Fast probabilistic algorithms for verification of polynomial
identities; Zippel 1979), unless p divides every coefficient of their difference.
"""

from __future__ import annotations

from fractions import Fraction
from math import isfinite
from typing import Any, NoReturn

import numpy as np

from gradoracle.oracle.shapes import Array


class Undecidable(TypeError):
    """A formula compares numbers, or takes a function of them, which residues do not have."""


class Residue:
    """An element of the field of `prime` numbers; integers and fractions meet it as their own."""

    __slots__ = ("prime", "remainder")

    def __init__(self, value: int, prime: int) -> None:
        """Keep the remainder of a value."""
        self.remainder, self.prime = value % prime, prime

    def __add__(self, other: Any) -> Residue:
        """Return the sum."""
        return Residue(self.remainder + self._of(other), self.prime)

    def __sub__(self, other: Any) -> Residue:
        """Return the difference."""
        return Residue(self.remainder - self._of(other), self.prime)

    def __rsub__(self, other: Any) -> Residue:
        """Return the difference."""
        return Residue(self._of(other) - self.remainder, self.prime)

    def __mul__(self, other: Any) -> Residue:
        """Return the product."""
        return Residue(self.remainder * self._of(other), self.prime)

    def __truediv__(self, other: Any) -> Residue:
        """Return the quotient.

        Raises:
            ZeroDivisionError: the other is 0 here.
        """
        return Residue(self.remainder * self._inverse(self._of(other)), self.prime)

    def __rtruediv__(self, other: Any) -> Residue:
        """Return the quotient; raises as `__truediv__` does."""
        return Residue(self._of(other) * self._inverse(self.remainder), self.prime)

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self) -> Residue:
        """Return what added to it is 0."""
        return Residue(-self.remainder, self.prime)

    def __pos__(self) -> Residue:
        """Return it."""
        return self

    def __pow__(self, power: int) -> Residue:
        """Return a power by a whole number."""
        if not isinstance(power, int) or power < 0:
            raise Undecidable(f"residues have whole powers, not {power!r}")
        return Residue(pow(self.remainder, power, self.prime), self.prime)

    def _inverse(self, value: int) -> int:
        if not value % self.prime:
            raise ZeroDivisionError("a residue divided by 0")
        return pow(value, -1, self.prime)

    def _of(self, other: Any) -> int:
        if isinstance(other, Residue):
            return other.remainder
        number = other.item() if isinstance(other, np.generic) else other
        if isinstance(number, float) and not isfinite(number):
            raise Undecidable(f"no residue is {number}")
        exact = Fraction(number)
        return exact.numerator * self._inverse(exact.denominator)

    def _compared(self, *_: object) -> NoReturn:
        raise Undecidable("it compares numbers, which residues cannot be")

    __lt__ = __le__ = __gt__ = __ge__ = __eq__ = __ne__ = __bool__ = __abs__ = _compared
    __float__ = __int__ = __index__ = __hash__ = _compared


def residues(values: Array, prime: int) -> Array:
    """Return integers as an array of residues."""
    found = np.empty(values.shape, object)
    found.reshape(-1)[:] = [Residue(int(value), prime) for value in values.reshape(-1).tolist()]
    return found


def values_of(array: Array, prime: int) -> Array:
    """Return the remainders of what a formula gave on residues: int64; a constant is its own."""
    zero = Residue(0, prime)
    flat = [(zero + one).remainder for one in np.asarray(array, object).reshape(-1)]
    return np.array(flat, np.int64).reshape(np.shape(array))
