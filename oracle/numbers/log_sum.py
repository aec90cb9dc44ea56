"""The logarithm of a sum of exponentials, whose slopes right backends compute in two ways."""

from __future__ import annotations

from gradoracle.oracle.numbers.elementary import detached, either, exp, log
from gradoracle.oracle.numbers.reverse import TracedArray


def log_sum_exp(numbers: TracedArray, axis: int) -> TracedArray:
    """Return log(sum e^x) along an axis, which is kept: m + log(sum e^(x - m)), m the largest.

    Its slopes, the softmax of x, may be computed as quotients or as e^(x - log(sum e^x)).
    """
    largest = detached(numbers.max(axis, keepdims=True))
    return largest + log_of_powers(numbers - largest, axis)  # type: ignore[no-any-return]


def log_of_powers(shifted: TracedArray, axis: int) -> TracedArray:
    """Return log(sum e^s) along an axis, which is kept, of numbers s whose largest is 0.

    Its slopes, the softmax of s, are computed as e^s / sum e^s, or as e^(s - log sum e^s) from a
    stored log-softmax: a rounding error of that becomes a relative error of the power.
    """
    powers = exp(shifted)
    total = powers.sum(axis, keepdims=True)
    result = log(total)
    shares = either(powers / total, lambda: exp(shifted - result)).held
    return TracedArray(result.held, [(shifted, lambda g: g * shares)])
