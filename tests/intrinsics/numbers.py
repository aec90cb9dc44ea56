"""Exact numbers, rounded to a format in one of four ways."""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

import numpy as np


class Format(NamedTuple):
    """A binary floating-point format: bits of significand, exponents of normal numbers."""

    bits: int
    least: int
    most: int


FLOAT, DOUBLE = Format(24, -126, 127), Format(53, -1022, 1023)
HALF, BFLOAT16 = Format(11, -14, 15), Format(8, -126, 127)
WAYS: dict[str, Callable[[Fraction], int]] = {
    "rn": round, "rd": math.floor, "ru": math.ceil, "rz": math.trunc,
}  # fmt: skip


def rounded(value, form, way="rn"):
    """Return a number in a format; `value` is a Fraction, or a float that stays as it is."""
    if not isinstance(value, Fraction):
        return value
    if not value:
        return 0.0
    size = abs(value)
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    exponent -= size < Fraction(2) ** exponent
    unit = Fraction(2) ** (max(exponent, form.least) - form.bits + 1)
    result = WAYS[way](value / unit) * unit
    if abs(result) < Fraction(2) ** (form.most + 1):
        return float(result)
    largest = float((2 - Fraction(2) ** (1 - form.bits)) * Fraction(2) ** form.most)
    to_infinity = {"rn": True, "rz": False, "rd": value < 0, "ru": value > 0}[way]
    return (1 if value > 0 else -1) * (math.inf if to_infinity else largest)


def exactly(operation, *values):
    """Return a result of +, -, *, / or fma: a Fraction, or NaN or infinity as IEEE 754 has it."""
    if operation == "fma" and math.isinf(values[2]) and all(map(math.isfinite, values[:2])):
        return values[2]
    special = any(not math.isfinite(value) for value in values)
    if special or (operation == "/" and not values[1]):
        with np.errstate(all="ignore"):
            return float(ARITHMETIC[operation](*map(np.float64, values)))
    return ARITHMETIC[operation](*map(Fraction, values))


ARITHMETIC = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b,
    "/": lambda a, b: a / b, "fma": lambda a, b, c: a * b + c,
}  # fmt: skip


def from_bits(bits, form):
    """Return the number that 16 bits are in `HALF` or `BFLOAT16`."""
    if form is HALF:
        return float(np.uint16(bits).view(np.float16))
    return float(np.uint32(int(bits) << 16).view(np.float32))


def to_bits(value, form):
    """Return the 16 bits of a number of that format."""
    if form is HALF:
        return int(np.float16(value).view(np.uint16))
    return int(np.float32(value).view(np.uint32)) >> 16


def units(got, want, form):
    """Return how many units in the last place two numbers are apart; NaN is NaN."""
    if math.isnan(want) or math.isnan(got):
        return 0 if math.isnan(want) and math.isnan(got) else math.inf
    if math.isinf(want) or math.isinf(got):
        return 0 if want == got else math.inf
    exponent = max(math.frexp(want)[1] - 1, form.least) if want else form.least
    return abs(Fraction(got) - Fraction(want)) / Fraction(2) ** (exponent - form.bits + 1)
