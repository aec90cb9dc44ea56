"""Elementary functions over every number system that the formulas are run in.

Floats use `math`, mpmath's numbers the context that they belong to, and a number that has a method
of the function's name (`oracle.numbers.dual.Dual`, `oracle.numbers.running_error.Estimate`,
`oracle.numbers.running_error_arrays.Lanes`) that method. A logarithm of 0 is -infinity, and an
exponential that leaves the range of floats is infinity, as IEEE 754 has it. A row is a list of
numbers, or the `Lanes` of many rows.
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
    """Return a number that right backends compute in two ways; an estimate takes the worse."""
    return first.or_else(other()) if hasattr(first, "or_else") else first


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
