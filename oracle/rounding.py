"""The floating-point formats the suite judges, as IEEE 754 defines them."""

from typing import NamedTuple


class Format(NamedTuple):
    """A binary format: significant bits and the exponents of its smallest and largest numbers."""

    bits: int  # of the significand; the unit roundoff is 2**-bits
    largest_exponent: int  # every number is below 2**(largest_exponent + 1)
    smallest_exponent: int  # of the smallest normal number
    subnormal_scale: int  # the smallest subnormal number is 2**-subnormal_scale


FORMATS = {
    "float32": Format(24, 127, -126, 149),
    "float64": Format(53, 1023, -1022, 1074),
}
