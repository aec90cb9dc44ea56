"""Sums that are written down before they are taken: a formula fed these may be summed in any order.

A formula's loops run on `Written` numbers leave an expression; `rounded` evaluates it in a format,
with an order of the terms, a way to divide, and an accumulator of one's choice.  So the literal
loops stand for every backend that sums the same terms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np


class Written:
    """A leaf, a sum, a product of two leaves, a quotient by an integer, or something negated."""

    def __init__(self, kind: str, *parts: Any) -> None:
        self.kind, self.parts = kind, parts

    def __add__(self, other: Any) -> Written:
        if not isinstance(other, Written):
            assert other == 0
            return self
        left = self.parts if self.kind == "sum" else (self,)
        return Written("sum", *left, *(other.parts if other.kind == "sum" else (other,)))

    __radd__ = __add__

    def __neg__(self) -> Written:
        return Written("negated", self)

    def __sub__(self, other: Written) -> Written:
        return self + -other

    def __mul__(self, other: Any) -> Written:
        return Written("product", self, other if isinstance(other, Written) else leaf(other))

    __rmul__ = __mul__

    def __truediv__(self, divisor: int) -> Written:
        return Written("quotient", self, int(divisor))


def leaf(value: Any) -> Written:
    return Written("leaf", value)


def written(array: np.ndarray) -> np.ndarray:
    leaves = np.empty(array.size, object)
    leaves[:] = [leaf(v) for v in array.ravel()]
    return leaves.reshape(array.shape)


Sum = Callable[[Sequence[Any]], Any]  # of rounded terms, rounding every addition


def one_by_one(terms: Sequence[Any]) -> Any:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def pairwise(terms: Sequence[Any]) -> Any:
    if len(terms) < 3:
        return one_by_one(terms)
    half = len(terms) // 2
    return pairwise(terms[:half]) + pairwise(terms[half:])


def orders(seed: int) -> Iterator[tuple[str, Sum]]:
    """Yield ways to sum."""
    random = np.random.default_rng(seed)

    def shuffled(terms: Sequence[Any]) -> Any:
        return one_by_one([terms[i] for i in random.permutation(len(terms))])

    def in_lanes(terms: Sequence[Any]) -> Any:
        return one_by_one([one_by_one(terms[lane::4]) for lane in range(min(4, len(terms)))])

    yield "one by one", one_by_one
    yield "backwards", lambda terms: one_by_one(terms[::-1])
    yield "pairwise", pairwise
    yield "four lanes", in_lanes
    yield "largest first", lambda terms: one_by_one(sorted(terms, key=abs)[::-1])
    yield "smallest first", lambda terms: one_by_one(sorted(terms, key=abs))
    yield "shuffled", shuffled


def rounded(expression: Any, dtype: Any, order: Sum, *, reciprocal: bool = False) -> Any:
    """Return the expression's value where every operation is rounded to `dtype`."""

    def value(node: Any) -> Any:
        if not isinstance(node, Written):
            return dtype(node)
        first = node.parts[0]
        if node.kind == "leaf":
            return dtype(first)
        if node.kind == "negated":
            return -value(first)
        if node.kind == "product":
            return value(first) * value(node.parts[1])
        if node.kind == "quotient":
            divisor = dtype(node.parts[1])
            return value(first) * (dtype(1) / divisor) if reciprocal else value(first) / divisor
        return order([value(part) for part in node.parts])

    return value(expression)
