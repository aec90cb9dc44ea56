"""Numbers that are kept in a narrower format than they are computed in, on the way to a result."""

from __future__ import annotations

import sys

import numpy as np

from gradoracle.oracle.float_formats import Format
from gradoracle.oracle.numbers import many
from gradoracle.oracle.numbers.many import Held
from gradoracle.oracle.numbers.reverse import TracedArray


def narrowed(held: Held, limits: Format | None) -> Held:
    """Return numbers that may be rounded to a format, without one as they are.

    Those with errors are charged for it: half a unit in the last place, or all of a number that
    overflows.  Other kinds of numbers, and what is differentiated once more, stay as they are.
    """
    arithmetic = None if isinstance(held, many.Nested) else many.arithmetic_of(held)
    if limits is None or arithmetic is None or arithmetic.one_way:
        return held
    value, error = many.values_and_errors(held)
    with np.errstate(all="ignore"):
        size = abs(value).astype(np.float64) + error
        more = 2.0**-limits.bits * size + 2.0**-limits.subnormal_scale
        most = float(min(limits.overflow, sys.float_info.max))
        more = np.where(size < most, more, np.inf)
    return many.less_certain(held, np.where(np.isfinite(size), more, 0.0))


def narrow(numbers: TracedArray, limits: Format | None) -> TracedArray:
    """Return traced numbers that may be rounded to a format; gradients go back unchanged."""
    if limits is None:
        return numbers
    return TracedArray(narrowed(numbers.held, limits), [(numbers, lambda g: g)])
