"""What a running maximum adds to the error of exponentials: how often each may be scaled again.

Kernels that see a row in parts take e^(s - m) with the largest number m that they have seen, and
scale by e^(m - m') when a larger one m' comes (Milakov and Gimelshein 2018, "Online normalizer
calculation for softmax"; Dao and others 2022, "FlashAttention").  The arguments add up to s - m',
so that only the accuracy of each exponential and the rounding of each product come on top.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gradoracle.oracle.numbers import many
from gradoracle.oracle.numbers.functions import exp
from gradoracle.oracle.numbers.reverse import Traced
from gradoracle.oracle.shapes import Array


def rescaled(powers: Any, numbers: Any, seen: Array) -> Any:
    """Return e^(s - m) of each row of the last axis, as right backends find it with a running m.

    They see the numbers s in either order or in parts that they join two by two, and those only
    where `seen` says so.  An estimate is charged for each larger number that may be met.
    """
    if not isinstance(powers, Traced) or powers.one_way:
        return powers
    arithmetic = many.arithmetic_of(powers.held)
    unit = 0.0 if arithmetic is None else arithmetic.unit
    often = _larger_ones(*many.values_and_errors(numbers.held), seen)
    size = abs(many.values_and_errors(powers.held)[0])
    return powers.less_certain(often * (exp.units + 1) * unit * size)


def _larger_ones(value: Array, error: Array, seen: Array) -> Array:
    """Return how often, per row, a larger number than all before it may be met."""
    with np.errstate(all="ignore"):
        highest = np.where(seen, value + error, -np.inf).astype(np.float64)
        lowest = np.where(seen, value - error, -np.inf).astype(np.float64)
    orders = ((highest, lowest), (highest[..., ::-1], lowest[..., ::-1]))
    joined = max(0, int(value.shape[-1]) - 1).bit_length()  # parts joined two by two
    found = [np.full((*value.shape[:-1], 1), joined)]
    for high, low in orders:
        before = np.maximum.accumulate(low[..., :-1], -1)
        new = (high[..., 1:] > before) & (before > -np.inf)
        found.append(new.sum(-1, keepdims=True))
    return np.asarray(np.maximum.reduce(found))
