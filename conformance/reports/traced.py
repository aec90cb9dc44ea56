"""Which products an element of an answer is the sum of, found by running the oracle's own loops."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from gradoracle.oracle.declaration import (
    Call,
    Formula,
    Multilinear,
    Selection,
    algebra,
    evaluate,
    is_place,
    operands,
)
from gradoracle.oracle.shapes import Array

MOST = 400  # elements of all arrays of a call whose terms are looked for
Place: TypeAlias = tuple[int, ...]


class Factor(NamedTuple):
    """An element of an array of the call."""

    name: str
    place: Place


class Term(NamedTuple):
    """A product of elements, times a number."""

    coefficient: Fraction
    factors: tuple[Factor, ...]


class Traced:
    """A number that knows the products it is the sum of; it is compared by its value."""

    __slots__ = ("terms", "value")

    def __init__(self, value: Any, terms: tuple[Term, ...]) -> None:
        """Remember both."""
        self.value, self.terms = value, terms

    def __add__(self, other: Any) -> Traced:
        if isinstance(other, Traced):
            return Traced(self.value + other.value, self.terms + other.terms)
        more = () if other == 0 else (Term(Fraction(other), ()),)
        return Traced(self.value + other, self.terms + more)

    __radd__ = __add__

    def __neg__(self) -> Traced:
        return self.__mul__(-1)

    def __sub__(self, other: Any) -> Traced:
        return self.__add__(other * -1)

    def __rsub__(self, other: Any) -> Traced:
        return (-self).__add__(other)

    def __mul__(self, other: Any) -> Traced:
        if not isinstance(other, Traced):
            scaled = (Term(t.coefficient * Fraction(other), t.factors) for t in self.terms)
            return Traced(self.value * other, tuple(scaled))
        products = (
            Term(a.coefficient * b.coefficient, a.factors + b.factors)
            for a in self.terms
            for b in other.terms
        )
        return Traced(self.value * other.value, tuple(products))

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Traced:
        return self.__mul__(1 / Fraction(other))

    def __eq__(self, other: object) -> bool:
        return bool(self.value == _value(other))

    def __lt__(self, other: Any) -> bool:
        return bool(self.value < _value(other))

    def __le__(self, other: Any) -> bool:
        return bool(self.value <= _value(other))

    def __gt__(self, other: Any) -> bool:
        return bool(self.value > _value(other))

    def __ge__(self, other: Any) -> bool:
        return bool(self.value >= _value(other))

    def __hash__(self) -> int:
        return hash(self.value)


def traced(formula: Formula, call: Call) -> Array | None:
    """Return an answer's elements as `Traced`, or as numbers where no element of the call is.

    None: the formula has elementary functions or gives places, or the call is too large.
    """
    kind = algebra(formula)
    if not isinstance(kind, (Multilinear, Selection)) or is_place(formula):
        return None
    given = operands(formula, call)
    if sum(array.size for array in given.values()) > MOST:
        return None
    return evaluate(formula, {**call, **{name: _lifted(name, a) for name, a in given.items()}})


def terms_of(element: Any) -> tuple[Term, ...]:
    """Return the terms of an element of a traced answer."""
    return element.terms if isinstance(element, Traced) else ()


def _lifted(name: str, array: Array) -> Array:
    found = np.empty(array.shape, object)
    for place in np.ndindex(array.shape):
        number = array[place].item()
        value = Fraction(number) if np.isfinite(number) else number
        found[place] = Traced(value, (Term(Fraction(1), (Factor(name, place),)),))
    return found


def _value(number: Any) -> Any:
    return number.value if isinstance(number, Traced) else number
