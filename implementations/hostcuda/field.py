"""Kernels on the numbers of a prime field: what they compute of all numbers, seen on random ones.

Within `modulo(prime)` every float and double of a text is an element of the field of that many
numbers; an array of float32 holds the elements as its bits (`array.view(numpy.uint32)`).  Sums,
differences, products and quotients are exact there.  A kernel that compares numbers, or takes a
function of them, does not compile.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction

from gradoracle.implementations.hostcuda.settings import ORDERS, settings, using
from gradoracle.implementations.hostcuda.text import without_comments

PRIMES = (2**32 - 5, 2**32 - 17)  # the two largest below 2**32: an element is as large as a float
_NUMBER = re.compile(
    r"(?<![\w.])(?P<digits>\d+\.\d*|\.\d+|\d+(?=[eE][+-]?\d|[fF]\b))(?P<power>[eE][+-]?\d+)?[fFlL]?"
    r"(?![\w.])"
)


@contextmanager
def modulo(prime: int) -> Iterator[None]:
    """Run kernels within the block on the elements of a field, in check mode and all its orders.

    Raises:
        ValueError: the prime is none of `PRIMES`.
    """
    if prime not in PRIMES:
        raise ValueError(f"prime must be one of {PRIMES}, got {prime}")
    with using(replace(settings(), mode="check", orders=ORDERS, prime=prime)):
        yield


def residue(number: Fraction | float, prime: int) -> int:
    """Return the element of a field that a number is: 1/3 is what times 3 is 1.

    Raises:
        ValueError: it has none, as the prime divides its denominator.
    """
    exact = Fraction(number)
    return exact.numerator * pow(exact.denominator, -1, prime) % prime


def with_elements(code: str, prime: int) -> str:
    """Return a text with the element in place of every number that is written with a point."""
    for found in reversed([*_NUMBER.finditer(without_comments(code))]):
        number = residue(Fraction(found["digits"].rstrip(".") + (found["power"] or "")), prime)
        element = f"::hostcuda::Element::from({number}u)"
        code = code[: found.start()] + element + code[found.end() :]
    return code
