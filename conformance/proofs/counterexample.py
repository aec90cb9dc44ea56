"""The smallest numbers on which a kernel and its formula differ, at one shape."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gradoracle.conformance.backends.backend import Backend
from gradoracle.conformance.backends.mismatch import Declined, Mismatch
from gradoracle.conformance.proofs.proof import Difference, Values, answers, signed, state
from gradoracle.oracle.declaration import Call, Formula, output_of
from gradoracle.oracle.shapes import Array

MOST = 400  # launches
SMALL = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29)


@dataclass(frozen=True)
class Counterexample:
    """Numbers that are not 0, and what the kernel makes of them in one element."""

    given: tuple[str, ...]  # "x[0, 0, 1, 1] = 1"
    element: str
    got: str
    want: str

    def __str__(self) -> str:
        """Return it in two lines."""
        if self.given:
            return (
                f"with {', '.join(self.given)} and 0 elsewhere:\n"
                f"{self.element} is {self.got}, and should be {self.want}"
            )
        return (
            f"with 0 everywhere:\n{self.element} is {self.got}, and should be {self.want}; "
            "a result is not 0 before the kernel sets it"
        )


class Smaller:
    """A search for numbers that are 0 or small and on which the two differ."""

    def __init__(
        self, backend: Backend, formula: Formula, call: Call, difference: Difference
    ) -> None:
        """Begin at a difference that was found."""
        self.backend, self.formula, self.call = backend, formula, call
        self.prime, self.values, self.left = difference.prime, state(difference.values), MOST

    def found(self) -> Counterexample:
        """Return the smallest that was found."""
        for name in self.values:
            self._zero(name)
        self._try(self._with_small())
        self._try({n: np.where(a == 0, a, np.uint32(1)) for n, a in self.values.items()})
        got, want = self._answers(self.values)
        at = tuple(np.argwhere(got != want)[0].tolist())
        given = tuple(
            f"{n}{[*place]} = {signed(int(a[place]), self.prime)}"
            for n, a in self.values.items()
            for place in map(tuple, np.argwhere(a != 0).tolist())
        )
        function, place = output_of(self.formula)
        result = function if place is None else self.formula.__name__
        ends = (signed(int(one[at]), self.prime) for one in (got, want))
        return Counterexample(given, f"{result}{[*at]}", *ends)

    def _zero(self, name: str) -> None:
        """Set numbers of an array to 0, many at a time and then few."""
        size = self.values[name].size
        while size and self.left > 0:
            for start in range(0, self.values[name].size, size):
                array = self.values[name].copy()
                if array.reshape(-1)[start : start + size].any():
                    array.reshape(-1)[start : start + size] = 0
                    self._try({**self.values, name: array})
            size //= 2

    def _with_small(self) -> dict[str, Array]:
        """Return the numbers with small primes in the place of those that are not 0."""
        numbers = self._small()
        found = state(self.values)
        for array in found.values():
            for place in map(tuple, np.argwhere(array != 0).tolist()):
                array[place] = next(numbers)
        return found

    def _small(self) -> Iterator[int]:
        while True:
            yield from SMALL

    def _try(self, values: Values) -> None:
        """Take numbers over if the two differ on them."""
        self.left -= 1
        if self.left < 0:
            return
        got, want = self._answers(values)
        if not np.array_equal(got, want):
            self.values = state(values)

    def _answers(self, values: Values) -> tuple[Array, Array]:
        try:
            return answers(self.backend, self.formula, self.call, values, self.prime)
        except (Declined, Mismatch, ZeroDivisionError):  # then these are no smaller ones
            return np.zeros(1), np.zeros(1)
