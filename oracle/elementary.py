"""Elementary functions over every number system that the formulas are run in.

Floats use `math`, mpmath's numbers the context that they belong to, and a number that has a method
of the function's name (`oracle.dual.Dual`, `oracle.estimate.Estimate`) that method.  A logarithm
of 0 is -infinity, and an exponential that leaves the range of floats is infinity, as IEEE 754 has
it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any


def exp(v: Any) -> Any:
    """Return e**v."""
    if hasattr(v, "context"):
        return v.context.exp(v)
    if hasattr(v, "exp"):
        return v.exp()
    try:
        return math.exp(v)
    except OverflowError:
        return math.inf


def log(v: Any) -> Any:
    """Return the natural logarithm of v."""
    if hasattr(v, "context"):
        return v.context.log(v)
    if hasattr(v, "log"):
        return v.log()
    return math.log(v) if v else -math.inf


def tanh(v: Any) -> Any:
    """Return the hyperbolic tangent of v."""
    if hasattr(v, "context"):
        return v.context.tanh(v)
    if hasattr(v, "tanh"):
        return v.tanh()
    return math.tanh(v)


def either(first: Any, other: Callable[[], Any]) -> Any:
    """Return a number that right backends compute in two ways; an `Estimate` takes the worse."""
    return first.or_else(other()) if hasattr(first, "or_else") else first


def larger(one: Any, other: Any) -> Any:
    """Return the larger of two numbers, the first of two that are equal."""
    return one.larger(other) if hasattr(one, "larger") else max(one, other)


def total(terms: Sequence[Any]) -> Any:
    """Return the sum of one number or more; an `Estimate` is charged for any order of the terms."""
    first, *rest = terms
    if hasattr(first, "plus_all"):
        return first.plus_all(rest)
    for term in rest:
        first = first + term
    return first
