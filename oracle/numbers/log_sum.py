"""The logarithm of a sum of exponentials, whose slopes right backends compute in two ways."""

from __future__ import annotations

from gradoracle.oracle.numbers.elementary import detached, either, exp, log
from gradoracle.oracle.numbers.reverse import TracedArray


def log_sum_exp(numbers: TracedArray, axis: int) -> TracedArray:
    """Return log(sum e^x) along an axis, which is kept: m + log(sum e^(x - m)), m the largest.

    Its slopes, the softmax of x, may be computed as quotients or as e^(x - log(sum e^x)), also from
    the rounded result.
    """
    largest = detached(numbers.max(axis, keepdims=True))
    shifted = numbers - largest
    result = largest + log_of_powers(shifted, axis)
    shares = either(_shares(shifted, axis), lambda: exp(numbers - result)).held
    return TracedArray(result.held, [(numbers, lambda g: g * shares)])


def log_of_powers(shifted: TracedArray, axis: int) -> TracedArray:
    """Return log(sum e^s) along an axis, which is kept, of numbers s whose largest is 0.

    Its slopes, the softmax of s, are computed as e^s / sum e^s, or as e^(s - log sum e^s) from a
    stored log-softmax: a rounding error of that becomes a relative error of the power.
    """
    result, shares = log(exp(shifted).sum(axis, keepdims=True)), _shares(shifted, axis).held
    return TracedArray(result.held, [(shifted, lambda g: g * shares)])


def _shares(shifted: TracedArray, axis: int) -> TracedArray:
    """Return the softmax of numbers, as quotients or as e^(s - log sum e^s)."""
    powers = exp(shifted)
    total = powers.sum(axis, keepdims=True)
    return either(powers / total, lambda: exp(shifted - log(total)))  # type: ignore[no-any-return]
