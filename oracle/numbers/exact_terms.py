"""Which results are sums of products of the data, on which rounding never acts: array by array.

A formula that is run on `Terms` says of each element whether anything but sums, differences,
products, selections and quotients by powers of two was applied, how large the magnitudes of its
terms are together, and of which number all of them are multiples.  Where a format holds all
multiples of that number up to that size, every sum is exact, whatever its order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradoracle.oracle.float_formats import Format
from gradoracle.oracle.numbers.functions import Constant, Function
from gradoracle.oracle.numbers.running_error import Arithmetic
from gradoracle.oracle.numbers.running_error_arrays import Floats, Lanes
from gradoracle.oracle.shapes import Array, Shape

NO_ROUNDING = Arithmetic(0.0, 0.0)
DIGITS = 53  # of float64
# By which the terms of another form may be larger, such as those of min(x, 0) + max(x, 0) for x.
OTHER_FORMS = 4


class NotExact(Exception):
    """A comparison looks at a number that rounding may change."""


class Terms(Lanes):
    """`value`, a sum of multiples of `step` whose magnitudes together are `size`.

    `error` is 0, or infinite where an operation rounds.  `divided` says where a quotient by a power
    of two is among the operations.  Of a product of two such, as in a variance, right algorithms
    round: one that updates a mean divides by every count.
    """

    __slots__ = ("divided", "size", "step")

    def __init__(
        self, value: Floats, size: Floats, step: Floats, error: Floats, divided: Array
    ) -> None:
        """Keep the numbers."""
        super().__init__(value, error, NO_ROUNDING)
        self.size, self.step, self.divided = size, step, divided

    def fits(self, limits: Format) -> bool:
        """Return whether a format holds every sum of these terms, in any order."""
        if not self.value.size:
            return True
        if self.error.any() or self.step.min() < 2.0**-limits.subnormal_scale:
            return False
        with np.errstate(over="ignore"):
            size = self.size * OTHER_FORMS
            most = self.step * 2.0 ** min(limits.bits, DIGITS)
        return bool((size <= most).all() and size.max() <= 2.0**limits.largest_exponent)

    def constants(self, value: Any, error: Any = 0.0) -> Terms:
        """Return numbers of this kind."""
        del error
        return exact_terms(np.asarray(value, np.float64))

    def changed(self, change: Callable[[Array], Array]) -> Terms:
        """Return the numbers moved, repeated or left out."""
        return Terms(*map(change, self.parts))

    @property
    def parts(self) -> tuple[Array, ...]:
        """Value, size, step, error, and where something was divided."""
        return self.value, self.size, self.step, self.error, self.divided

    def joined(self, others: Sequence[Lanes]) -> Terms:
        """Return arrays of one shape side by side along a new last axis."""
        parts = zip(*(self._like(one).parts for one in others), strict=True)
        return Terms(*(np.stack(part, -1) for part in parts))

    def concatenated(self, others: Sequence[Lanes], axis: int) -> Terms:
        """Return arrays side by side along an axis that they have."""
        parts = zip(*(self._like(one).parts for one in others), strict=True)
        return Terms(*(np.concatenate(part, axis) for part in parts))

    def where(self, holds: Array, other: Lanes) -> Terms:
        """Return these numbers where `holds` says so, the others elsewhere."""
        pairs = zip(self.parts, self._like(other).parts, strict=True)
        return Terms(*(np.where(holds, a, b) for a, b in pairs))

    def placed(self, parts: Sequence[Lanes], places: Sequence[Array]) -> Terms:
        """Return the line with the numbers of each part at its places."""
        pieces = [self._like(one).parts for one in parts]
        each = (np.array(part) for part in self.parts)
        found = []
        for number, line in enumerate(each):
            for piece, at in zip(pieces, places, strict=True):
                line[at] = piece[number]
            found.append(line)
        return Terms(*found)

    def less_certain(self, more: Array) -> Terms:
        """Return numbers that may be off by so much more: if at all, they are not exact."""
        return self.rounded_where(np.asarray(more) > 0)

    def exactly(self) -> Terms:
        """Return the numbers as they are: those that rounding changes stay so."""
        return self

    def scattered(self, index: Any, shape: Shape) -> Terms:
        """Return zeros of a shape, to whose elements at an index these are added."""
        value, size, error, divided = (
            np.zeros(shape, part.dtype)
            for part in (self.value, self.size, self.error, self.divided)
        )
        step = np.full(shape, np.inf)
        np.add.at(value, index, self.value)
        np.add.at(size, index, self.size)
        np.add.at(error, index, self.error)
        np.logical_or.at(divided, index, self.divided)
        np.minimum.at(step, index, self.step)
        return Terms(value, size, step, error, divided)

    def chosen(self, first: Array, axes: tuple[int, ...]) -> Terms:
        """Return of the numbers along axes those that were chosen, one each."""
        at: dict[str, Any] = {"axis": axes, "keepdims": True}
        return Terms(
            np.where(first, self.value, 0).sum(**at), np.where(first, self.size, 0).sum(**at),
            np.where(first, self.step, np.inf).min(**at), self.error.max(**at),
            np.asarray((first & self.divided).any(**at)),
        )  # fmt: skip

    def rounded_where(self, where: Any) -> Terms:
        """Return the numbers, of which some are not exact."""
        value, size, step, error, divided = self.parts
        return Terms(value, size, step, np.where(where, np.inf, error), divided)

    def _with(self, other: Terms, value: Floats, size: Floats, step: Floats) -> Terms:
        """Return the result of an operation on two."""
        return Terms(value, size, step, self.error + other.error, self.divided | other.divided)

    def __add__(self, other: Any) -> Terms:
        b = self._like(other)
        return self._with(
            b, self.value + b.value, self.size + b.size, np.minimum(self.step, b.step)
        )

    __radd__ = __add__

    def __neg__(self) -> Terms:
        return Terms(-self.value, *self.parts[1:])

    def __mul__(self, other: Any) -> Terms:
        b = self._like(other)
        found = self._with(b, self.value * b.value, self.size * b.size, self.step * b.step)
        return found.rounded_where(self.divided & b.divided)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Terms:
        b = self._like(other)
        by = abs(b.value)
        is_power = np.frexp(by)[0] == 0.5
        by = np.where(is_power, by, 1)
        found = self._with(b, self.value / np.where(b.value < 0, -by, by), self.size / by,
                           self.step / by)  # fmt: skip
        found.divided = found.divided | (by != 1)
        return found.rounded_where(~is_power)

    def __abs__(self) -> Terms:
        return Terms(abs(self.value), *self.parts[1:])

    def __gt__(self, other: Any) -> bool:
        return super().__gt__(self._known(other))

    def __lt__(self, other: Any) -> bool:
        return super().__lt__(self._known(other))

    def __ge__(self, other: Any) -> bool:
        return super().__ge__(self._known(other))

    def __le__(self, other: Any) -> bool:
        return super().__le__(self._known(other))

    def __eq__(self, other: object) -> bool:
        return super().__eq__(self._known(other))

    def __ne__(self, other: object) -> bool:
        return super().__ne__(self._known(other))

    __hash__ = object.__hash__

    def _known(self, other: Any) -> Terms:
        b = self._like(other)
        if self.error.any() or b.error.any():
            raise NotExact
        return b

    def apply(self, function: Function) -> Terms:
        """Return an elementary function, which rounds."""
        return self.constants(function.of_array(self.value)).rounded_where(where=True)

    def constant(self, number: Constant) -> Terms:
        """Return a constant that its format rounds."""
        return self.constants(number.value).rounded_where(where=True)

    def total(self) -> Terms:
        """Return the sum of every line."""
        value, size, error = (a.sum(-1, keepdims=True) for a in (self.value, self.size, self.error))
        step = self.step.min(-1, keepdims=True, initial=np.inf)
        divided = np.asarray(self.divided.any(-1, keepdims=True))
        return Terms(value, size, step, error, divided)

    def _product_at_once(self, other: Lanes) -> None:
        """Return None: a step is the smallest of several, which no matrix product gives."""

    def running(self) -> Terms:
        """Return the sums of the numbers up to each of a line."""
        value, size, error = (np.cumsum(a, -1) for a in (self.value, self.size, self.error))
        step = np.minimum.accumulate(self.step, -1)
        return Terms(value, size, step, error, np.logical_or.accumulate(self.divided, -1))

    def or_else(self, other: Lanes) -> Terms:
        """Return a number that is computed in two ways: exact where both are."""
        b = self._like(other)
        size, step = np.maximum(self.size, b.size), np.minimum(self.step, b.step)
        return self._with(b, self.value, size, step)

    def _like(self, other: Any) -> Terms:
        return other if isinstance(other, Terms) else exact_terms(np.asarray(other, np.float64))


def exact_terms(value: Floats) -> Terms:
    """Return numbers of one term each, the multiple of its last digit; 0 is a multiple of all."""
    value = np.asarray(value, np.float64)
    mantissa, exponent = np.frexp(np.where(np.isfinite(value), value, 0))
    digits = np.ldexp(mantissa, DIGITS).astype(np.int64)
    last = np.ldexp((digits & -digits).astype(np.float64), exponent - DIGITS)
    step = np.where(value == 0, np.inf, last)
    error = np.where(np.isfinite(value), 0.0, np.inf)
    return Terms(value, abs(value), step, error, np.zeros(value.shape, bool))
