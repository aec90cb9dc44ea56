"""Dual numbers: the exact derivative of any formula, from its forward loops alone.

A dual number a + b*eps with eps**2 = 0 carries a value and its derivative through arithmetic and
elementary functions (Clifford 1873).  Fed to a formula in place of numbers, it turns the literal
forward loops into a gradient oracle that shares nothing with the written gradient formulas.
Comparisons look at the value, so a maximum has the derivative of the element that wins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gradoracle.oracle.declaration import Call, Formula, evaluate
from gradoracle.oracle.numbers.functions import Constant, Function
from gradoracle.oracle.shapes import Array


@dataclass(frozen=True, slots=True)
class Dual:
    """value + slope * eps, over any numbers that add and multiply."""

    value: Any
    slope: Any = 0

    def __add__(self, other: Any) -> Dual:
        if isinstance(other, Dual):
            return Dual(self.value + other.value, self.slope + other.slope)
        return Dual(self.value + other, self.slope)

    __radd__ = __add__

    def __neg__(self) -> Dual:
        return Dual(-self.value, -self.slope)

    def __sub__(self, other: Any) -> Dual:
        return self.__add__(-other)

    def __rsub__(self, other: Any) -> Dual:
        return self.__neg__().__add__(other)

    def __mul__(self, other: Any) -> Dual:
        if isinstance(other, Dual):
            slope = self.value * other.slope + self.slope * other.value
            return Dual(self.value * other.value, slope)
        return Dual(self.value * other, self.slope * other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Dual:
        b = other if isinstance(other, Dual) else Dual(other)
        quotient = self.value / b.value
        return Dual(quotient, (self.slope - quotient * b.slope) / b.value)

    def __rtruediv__(self, other: Any) -> Dual:
        return Dual(other) / self

    def __abs__(self) -> Dual:
        return -self if self.value < 0 else self

    def __gt__(self, other: Any) -> bool:
        return bool(self.value > (other.value if isinstance(other, Dual) else other))

    def __lt__(self, other: Any) -> bool:
        return bool(self.value < (other.value if isinstance(other, Dual) else other))

    def __le__(self, other: Any) -> bool:
        return bool(self.value <= (other.value if isinstance(other, Dual) else other))

    def __ge__(self, other: Any) -> bool:
        return bool(self.value >= (other.value if isinstance(other, Dual) else other))

    def __eq__(self, other: object) -> bool:
        return bool(self.value == (other.value if isinstance(other, Dual) else other))

    __hash__ = object.__hash__

    def apply(self, function: Function) -> Dual:
        """Return an elementary function of this number."""
        value = function(self.value)
        return Dual(value, function.derivative(self.value, value) * self.slope)

    def constant(self, number: Constant) -> Any:
        """Return a constant of the kind of the numbers that this one is made of."""
        return number(self.value)


def directional_derivative(formula: Formula, call: Call, argument: str, direction: Array) -> Array:
    """Return d/dt of `formula` at argument + t*direction, t = 0, in the numbers of `call`."""
    point = np.asarray(call[argument], object)
    lifted = np.frompyfunc(Dual, 2, 1)(point, np.asarray(direction, object))
    moved = np.asarray(evaluate(formula, {**call, argument: np.asarray(lifted, object)}), object)
    slopes = [v.slope if isinstance(v, Dual) else 0 for v in moved.ravel()]
    return _objects(slopes).reshape(moved.shape)


def gradient(formula: Formula, call: Call, argument: str) -> Array:
    """Return dE/d(argument) for E = <grad_output, formula(call)>, one element at a time."""
    point = np.asarray(call[argument], object)
    grad_output = np.asarray(call["grad_output"], object)
    result = np.zeros(point.shape, object)
    for at in np.ndindex(point.shape):
        direction = np.zeros(point.shape, object)
        direction[at] = 1
        slope = directional_derivative(formula, call, argument, direction)
        result[at] = sum(np.ravel(grad_output * slope).tolist())
    return result


def _objects(values: list[Any]) -> Array:
    array = np.empty(len(values), object)
    array[:] = values
    return array
