"""Numbers known to an error, and what cannot be decided within it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gradoracle.oracle.declaration import is_data
from gradoracle.oracle.shapes import Array, Shape


class Undecided(Exception):
    """Within its errors, a chain may take either branch of a relu or a maximum, or overflow."""


@dataclass(frozen=True)
class Bounded:
    """Numbers known to an error: `value` and `error`, float64 arrays of one shape."""

    value: Array
    error: Array

    @property
    def shape(self) -> Shape:
        """The numbers' shape."""
        return self.value.shape

    def reshape(self, shape: Shape) -> Bounded:
        """Return the same numbers in another shape."""
        return Bounded(self.value.reshape(shape), self.error.reshape(shape))

    def swapaxes(self, one: int, other: int) -> Bounded:
        """Return the same numbers with two axes exchanged."""
        return Bounded(self.value.swapaxes(one, other), self.error.swapaxes(one, other))

    def __mul__(self, factor: float) -> Bounded:
        """Return the numbers times a power of two, which rounds nothing."""
        return Bounded(self.value * factor, self.error * abs(factor))


def bounded(numbers: Any) -> Bounded:
    """Return plain numbers as known exactly."""
    if isinstance(numbers, Bounded):
        return numbers
    value = np.asarray(numbers, np.float64)
    return Bounded(value, np.zeros(value.shape))


def is_number(value: Any) -> bool:
    """Return whether an argument is an array of numbers, and no labels."""
    return isinstance(value, Bounded) or is_data(value)
