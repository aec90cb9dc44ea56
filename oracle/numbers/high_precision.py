"""mpmath's numbers at the precision in which elementary formulas are evaluated.

113 bits are those of IEEE 754's binary128: sixty more than float64 has, so what a sum of a
thousand terms loses of them is nowhere near what is checked.
"""

from functools import cache
from math import isfinite
from typing import Any

import numpy as np

from gradoracle.oracle.shapes import Array

BITS = 113


@cache
def context() -> Any:
    """Return mpmath's functions at that precision; sums and products never import it."""
    import mpmath  # noqa: PLC0415 - it takes longer than to check a convolution

    own = mpmath.mp.clone()
    own.prec = BITS
    return own


def precise(array: Array) -> Array:
    """Return the elements of a float array as mpmath's numbers, exactly."""
    lifted: Array = np.frompyfunc(context().mpf, 1, 1)(np.asarray(array, np.float64).astype(object))
    return np.asarray(lifted, object).reshape(np.shape(array))


def halves(number: Any) -> tuple[float, float]:
    """Return two floats whose sum is mpmath's number, to twice float64's precision."""
    high = float(number)
    return high, float(number - high) if isfinite(high) else 0.0
