"""What formulas do beside + - * /, over every kind of number that they are run in.

The elementary functions are rows of `oracle.numbers.functions`. A row of numbers here is a list of
them, or the `Lanes` of many rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gradoracle.oracle.numbers.functions import (
    Constant,
    cos,
    decimal,
    erf,
    exp,
    expm1,
    log,
    log1p,
    pi,
    rsqrt,
    sigmoid,
    sin,
    softplus,
    sqrt,
    sqrt_2,
    sqrt_pi,
    tanh,
)

__all__ = [
    "also",
    "cos",
    "count",
    "decimal",
    "detached",
    "each",
    "either",
    "erf",
    "exp",
    "expm1",
    "largest",
    "log",
    "log1p",
    "others",
    "pi",
    "pick",
    "power_of_e",
    "regrouped",
    "replaced",
    "rsqrt",
    "sigmoid",
    "sin",
    "softplus",
    "sqrt",
    "sqrt_2",
    "sqrt_pi",
    "straight_through",
    "tanh",
    "total",
]


def detached(number: Any) -> Any:
    """Return a number as a constant, through which no gradient goes back."""
    return number.detached() if hasattr(number, "detached") else number


def straight_through(value: Any, argument: Any) -> Any:
    """Return a value whose slope by an argument is 1, as if it were the argument itself.

    The straight-through estimator of what has steps (Bengio, Leonard and Courville 2013).
    """
    return value.with_slopes_of(argument) if hasattr(value, "with_slopes_of") else value


def either(first: Any, other: Callable[[], Any]) -> Any:
    """Return a number that right backends compute in two ways; an estimate takes the worse."""
    return first.or_else(other()) if _has_more_ways(first, "or_else") else first


def also(first: Any, other: Callable[[], Any]) -> Any:
    """Return a number that right backends compute by `other`, too; gradients go the first way."""
    if not _has_more_ways(first, "or_else"):
        return first
    return first.or_valued(other()) if hasattr(first, "or_valued") else first.or_else(other())


def _has_more_ways(number: Any, method: str) -> bool:
    return hasattr(number, method) and not getattr(number, "one_way", False)


def regrouped(first: Any, other: Callable[..., Any], *operands: Any) -> Any:
    """Return a number that right backends also compute by `other`, the same of its operands.

    What the operands are off by is the same in both, and counts in `first` alone; of the other way
    an estimate is charged for what it rounds itself, to first order.  Gradients go either way.
    """
    if not _has_more_ways(first, "or_regrouped"):
        return first
    exact = (o.exactly() if hasattr(o, "exactly") else o for o in operands)
    return first.or_regrouped(other(*operands), other(*exact))


# What x is multiplied with where log2(e) is rounded: the product is rounded, too.
_LOG2_E_ROUNDED = Constant("log2(e) / log2(e)", 1.0, lambda context: context.mpf(1))


def power_of_e(number: Any) -> Any:
    """Return e^x, which right backends also compute as 2^(x log2(e)): that is off by |x| units.

    Triton's exp and CUDA's fast one are such.  Slopes are the power again, however it was computed.
    """
    found = also(exp(number), lambda: exp(number * _LOG2_E_ROUNDED(number)))
    is_traced = hasattr(found, "with_itself_as_slope")
    return found.with_itself_as_slope(number) if is_traced else found


def each(function: Callable[..., Any], *rows: Any) -> Any:
    """Return `function` of the numbers in the same place of rows; of `Lanes`, all at once."""
    if not isinstance(rows[0], Sequence):
        return function(*rows)
    return [function(*numbers) for numbers in zip(*rows, strict=True)]


def count(row: Any) -> int:
    """Return how many numbers a row has."""
    return len(row) if isinstance(row, Sequence) else row.value.shape[-1]


def pick(row: Any, at: Any) -> Any:
    """Return the number of a row at a place."""
    return row[at] if isinstance(row, Sequence) else row.pick(at)


def others(row: Any, at: Any) -> Any:
    """Return a row without the number at a place."""
    return [*row[:at], *row[at + 1 :]] if isinstance(row, Sequence) else row.others(at)


def replaced(row: Any, at: Any, number: Any) -> Any:
    """Return a row with another number at a place."""
    if isinstance(row, Sequence):
        return [*row[:at], number, *row[at + 1 :]]
    return row.replaced(at, number)


def largest(row: Any) -> Any:
    """Return the largest number of a row."""
    if not isinstance(row, Sequence):
        return row.largest()
    top = row[0]
    for v in row:
        top = max(top, v)
    return top


def total(terms: Any) -> Any:
    """Return the sum of one number or more; an estimate is charged for any order."""
    if not isinstance(terms, Sequence):
        return terms.total()
    first, *rest = terms
    if hasattr(first, "plus_all"):
        return first.plus_all(rest)
    for term in rest:
        first = first + term
    return first
