"""Functions of arrays that right backends compute in several ways from exponentials.

The logarithm of a sum of them and its slopes, the logistic function and softplus.
"""

from __future__ import annotations

from typing import Any

from gradoracle.oracle.numbers.elementary import (
    also,
    detached,
    either,
    exp,
    log,
    log1p,
    power_of_e,
    sigmoid,
    softplus,
)
from gradoracle.oracle.numbers.reverse import TracedArray, maximum, where


def logistic(x: Any) -> Any:
    """Return 1 / (1 + e^-x), which right backends also compute from a power of e below 1."""

    def by_powers() -> Any:
        e = power_of_e(where(x >= 0, -x, x))
        return where(x >= 0, 1 / (1 + e), e / (1 + e))

    return either(sigmoid(x), by_powers)


def log_of_one_plus(x: Any) -> Any:
    """Return log(1 + e^x), also as max(x, 0) + log(1 + e^-|x|); slopes are those of softplus."""
    return also(softplus(x), lambda: maximum(x, 0) + log1p(power_of_e(where(x >= 0, -x, x))))


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
