"""Which computed numbers are exact in every implementation, so that comparing them is safe.

A running error is charged for every operation, also where it happens to round nothing: of 2 + 1/4
as of 2 + 0.3.  Where a formula compares a number or rounds it to a whole one, it is looked at
again, together with the operations that it came of.  It is exact where sums, differences, products
and quotients by powers of two of exact numbers have so few digits that a format holds all of them
in any order (`exact_terms`).  A quotient by another number is exact where the format holds it and
the product with the rounded reciprocal gives it, too.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from gradoracle.oracle.numbers import many
from gradoracle.oracle.numbers.exact_terms import DIGITS, OTHER_FORMS, Terms, exact_terms
from gradoracle.oracle.shapes import Array

# The function that makes a number of others, and those.
Made: TypeAlias = tuple[Callable[..., Any], tuple[Any, ...]]

DEEPEST = 40  # operations one after the other that are looked at
WIDER = (24, DIGITS)  # digits of the formats in which reciprocals may be rounded instead
SHORT = 2.0**26  # products of two numbers of fewer digits are exact in float64


def is_exact(number: Any) -> Array:
    """Return where a traced number is exact in the format of its arithmetic, in any order."""
    arithmetic = many.arithmetic_of(number.held)
    if arithmetic is None or not arithmetic.unit:
        return np.asarray(many.values_and_errors(number.held)[1] == 0)
    bits = min(DIGITS, round(-math.log2(arithmetic.unit)))
    with np.errstate(all="ignore"):
        terms = _terms(number, bits, {}, DEEPEST)
        size = terms.size * OTHER_FORMS
        holds = (size <= terms.step * 2.0**bits) & (size < arithmetic.most)
        return np.asarray(holds & (terms.step >= arithmetic.tiny) & (terms.error == 0))


def _terms(number: Any, bits: int, known: dict[int, Terms], left: int) -> Terms:
    """Return the terms that a number is a sum of, inexact where rounding may change it."""
    if id(number) in known:
        return known[id(number)]
    made: Made | None = getattr(number, "made", None)
    if made is None or not left:
        return _alone(getattr(number, "held", number))
    function, operands = made
    parts = [_terms(one, bits, known, left - 1) for one in operands]
    if function is operator.truediv:
        one, other = parts
        found = _quotient(one, other, bits)
    else:
        found = function(*parts)
    known[id(number)] = found
    return found


def _alone(held: Any) -> Terms:
    """Return numbers as terms of their own."""
    value, error = many.values_and_errors(held)
    wide = np.asarray(value).astype(np.float64)
    return exact_terms(wide).rounded_where((error > 0) | np.asarray(wide != value))


def _quotient(one: Terms, other: Terms, bits: int) -> Terms:
    """Return quotients, exact ones where each usual way to divide gives the same.

    A quotient of one number, that is: what a sum is divided by may divide its terms before.
    """
    found, quotient = one / other, one.value / other.value
    alone = (one.size == abs(one.value)) & (other.size == abs(other.value))
    short = (abs(quotient) < SHORT * exact_terms(quotient).step) & (other.size < SHORT * other.step)
    exact = (one.error == 0) & (other.error == 0) & alone & short
    exact = exact & (quotient * other.value == one.value) & np.isfinite(quotient)
    for digits in {bits, *WIDER}:
        exact = exact & (
            _rounded(one.value * _rounded(1 / other.value, digits), digits) == quotient
        )
    wanted = exact_terms(np.where(exact, quotient, 0))
    return wanted.where(exact & (found.error > 0), found)


def _rounded(number: Array, digits: int) -> Array:
    """Return numbers rounded to so many binary digits."""
    mantissa, exponent = np.frexp(number)
    return np.asarray(np.ldexp(np.rint(np.ldexp(mantissa, digits)), exponent - digits))
