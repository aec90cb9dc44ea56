"""Running error analysis of many numbers at once: `oracle.numbers.running_error` in arrays.

A formula that makes elements of elements walks once for all of them.  Where a comparison says one
thing in some lanes and another in others, the lanes part, and it walks again for each side.  What
makes lines of lines is given all of them, the numbers of a line along the last axis.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gradoracle.oracle.declaration import Call, Formula, evaluate
from gradoracle.oracle.numbers.functions import ARRAYS, Constant, Function
from gradoracle.oracle.numbers.running_error import DIVIDE, Arithmetic
from gradoracle.oracle.shapes import Array, Shape

Floats: TypeAlias = npt.NDArray[np.float64]


def spread(array: Array, shape: Shape) -> Array:
    """Return an array repeated to a shape; NumPy takes longer to see that it has it already."""
    return array if array.shape == shape else np.broadcast_to(array, shape)


class Apart(Exception):
    """A comparison holds in some lanes, where `holds` says so, and not in others."""

    def __init__(self, holds: Array) -> None:
        """Remember where."""
        super().__init__("lanes part")
        self.holds = holds


class Lanes:
    """`value`, known to `error`, lane by lane, by the rules of `running_error.Estimate`.

    Constants of a formula have no lanes: arrays of no axes.
    """

    __slots__ = ("arithmetic", "error", "value")

    def __init__(self, value: Floats, error: Floats, arithmetic: Arithmetic) -> None:
        """Keep the numbers."""
        self.value, self.error, self.arithmetic = value, error, arithmetic

    def rounded(
        self, value: Any, error: Any, units: float = 1.0, other: Lanes | None = None
    ) -> Lanes:
        """Return the result of an operation, on these and maybe others, accurate to `units`."""
        size, arithmetic = abs(value), self.arithmetic
        spent = error + units * arithmetic.unit * (size + error)
        fits = size + spent < arithmetic.most
        if fits.all():  # and so is none infinite
            return Lanes(value, spent, arithmetic)
        spent = np.where(fits, spent, np.inf)
        infinite = np.isinf(size)
        if infinite.any():  # exactly that, where it comes of an infinity; else it may overflow
            given, known = np.isinf(self.value), self.error < np.inf
            if other is not None:
                given, known = given | np.isinf(other.value), known & (other.error < np.inf)
            spent = np.where(infinite & given & known, 0.0, spent)
        return Lanes(value, spent, arithmetic)

    def where(self, holds: Array, other: Lanes) -> Lanes:
        """Return these numbers where `holds` says so, the others elsewhere."""
        value = np.where(holds, self.value, other.value)
        return Lanes(value, np.where(holds, self.error, other.error), self.arithmetic)

    def constants(self, value: Any, error: Any = None) -> Lanes:
        """Return numbers of this kind."""
        value = np.asarray(value, self.value.dtype)
        spent = np.zeros(value.shape) if error is None else spread(np.asarray(error), value.shape)
        return Lanes(value, spent, self.arithmetic)

    def changed(self, change: Callable[[Array], Array]) -> Lanes:
        """Return the numbers moved, repeated or left out."""
        return Lanes(change(self.value), change(self.error), self.arithmetic)

    def joined(self, others: Sequence[Lanes]) -> Lanes:
        """Return arrays of one shape side by side along a new last axis."""
        value, error = (
            np.stack(p, -1) for p in zip(*((o.value, o.error) for o in others), strict=True)
        )
        return Lanes(value, error, self.arithmetic)

    def placed(self, parts: Sequence[Lanes], places: Sequence[Array]) -> Lanes:
        """Return the line with the numbers of each part at its places."""
        return Lanes(
            _placed(self.value, [one.value for one in parts], places),
            _placed(self.error, [one.error for one in parts], places),
            self.arithmetic,
        )

    def concatenated(self, others: Sequence[Lanes], axis: int) -> Lanes:
        """Return arrays side by side along an axis that they have."""
        value = np.concatenate([one.value for one in others], axis)
        error = np.concatenate([one.error for one in others], axis)
        return Lanes(value, error, self.arithmetic)

    def less_certain(self, more: Array) -> Lanes:
        """Return numbers that may be off by so much more."""
        return Lanes(self.value, self.error + more, self.arithmetic)

    def exactly(self) -> Lanes:
        """Return numbers that are off by nothing."""
        return Lanes(self.value, np.zeros_like(self.error), self.arithmetic)

    def scattered(self, index: Any, shape: Shape) -> Lanes:
        """Return zeros of a shape, to whose elements at an index these are added."""
        parts = (self.value, self.error, abs(self.value) + self.error, np.ones_like(self.error))
        value, error, size, count = (added_at(part, index, shape) for part in parts)
        gamma = np.maximum(count - 1, 0) * self.arithmetic.unit
        with np.errstate(all="ignore"):
            more = np.where(gamma < 1, gamma / (1 - gamma) * size, np.inf)
        # One number alone is no sum: 0 times an infinite error would be NaN.
        error = error + np.where(gamma > 0, more, 0.0)
        return Lanes(value, error, self.arithmetic)

    def chosen(self, first: Array, axes: tuple[int, ...]) -> Lanes:
        """Return of the numbers along axes those that were chosen, one each."""
        value = np.where(first, self.value, 0).sum(axes, keepdims=True)
        return Lanes(value, self.error.max(axes, keepdims=True), self.arithmetic)

    @property
    def one_way(self) -> bool:
        """Whether other ways to compute these numbers do not matter."""
        return self.arithmetic.one_way

    @property
    def _is_zero(self) -> Array:
        return np.asarray((self.value == 0) & (self.error == 0))

    def __add__(self, other: Any) -> Lanes:
        b = self._like(other)
        plain = self.rounded(self.value + b.value, self.error + b.error, other=b)
        if self.value.all() and b.value.all():
            return plain
        nothing, nothing_more = self._is_zero, b._is_zero
        if not (nothing.any() or nothing_more.any()):
            return plain
        return self.where(nothing_more, b.where(nothing, plain))

    __radd__ = __add__

    def __neg__(self) -> Lanes:
        return Lanes(-self.value, self.error, self.arithmetic)

    def __sub__(self, other: Any) -> Lanes:
        return self + -self._like(other)

    def __rsub__(self, other: Any) -> Lanes:
        return self._like(other) + -self

    def __mul__(self, other: Any) -> Lanes:
        b = self._like(other)
        error = abs(self.value) * b.error + abs(b.value) * self.error + self.error * b.error
        product = self.rounded(self.value * b.value, error + self.arithmetic.tiny, other=b)
        for sign, one in ((b, self), (self, b)):
            certain = sign.error == 0
            if not certain.any():
                continue
            is_sign = certain & ((abs(sign.value) == 1) | (sign.value == 0))
            if is_sign.any():
                product = one._times_sign(sign).where(is_sign, product)
        return product

    __rmul__ = __mul__

    def _times_sign(self, sign: Lanes) -> Lanes:
        """Return the product with exactly 1, -1 or 0, which rounds nothing."""
        zero = Lanes(sign.value, np.where(self.error < np.inf, 0.0, np.inf), self.arithmetic)
        return zero.where(
            sign.value == 0, Lanes(sign.value * self.value, self.error, zero.arithmetic)
        )

    def __truediv__(self, other: Any) -> Lanes:
        b = self._like(other)
        quotient = self.value / b.value
        room = abs(b.value) - b.error
        error, apart = (self.error + abs(quotient) * b.error) / room, room > 0
        if not apart.all():
            error = np.where(apart, error, np.inf)
        return self.rounded(quotient, error + self.arithmetic.tiny, DIVIDE, b)

    def __rtruediv__(self, other: Any) -> Lanes:
        return self._like(other) / self

    def __abs__(self) -> Lanes:
        return Lanes(abs(self.value), self.error, self.arithmetic)

    def __gt__(self, other: Any) -> bool:
        return unanimous(self.value > self._like(other).value)

    def __lt__(self, other: Any) -> bool:
        return unanimous(self.value < self._like(other).value)

    def __ge__(self, other: Any) -> bool:
        return unanimous(self.value >= self._like(other).value)

    def __le__(self, other: Any) -> bool:
        return unanimous(self.value <= self._like(other).value)

    def __eq__(self, other: object) -> bool:
        return unanimous(np.asarray(self.value == self._like(other).value))

    def __ne__(self, other: object) -> bool:
        return unanimous(np.asarray(self.value != self._like(other).value))

    __hash__ = object.__hash__

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes."""
        return self.value.shape

    def largest(self) -> Lanes:
        """Return the largest number of every line, the first of those that are equal."""
        at = np.argmax(self.value, -1)[..., np.newaxis]
        value, error = (np.take_along_axis(a, at, -1) for a in (self.value, self.error))
        return Lanes(value, error, self.arithmetic)

    def apply(self, function: Function) -> Lanes:
        """Return an elementary function of these numbers."""
        value = function.of_array(self.value)
        error = function.moved(ARRAYS, self.value, value, self.error)
        lost = self.arithmetic.tiny if function.ulps else 0.0  # whole numbers lose nothing
        return self.rounded(value, error + lost, function.units)

    def constant(self, number: Constant) -> Lanes:
        """Return a constant that its format rounds."""
        value = number.value
        error = np.asarray(abs(value) * self.arithmetic.unit)
        return Lanes(np.asarray(value), error, self.arithmetic)

    def pick(self, at: Array) -> Lanes:
        """Return the number of every line at its place."""
        places = at[:, np.newaxis]
        value, error = (np.take_along_axis(a, places, -1) for a in (self.value, self.error))
        return Lanes(value, error, self.arithmetic)

    def others(self, at: Array) -> Lanes:
        """Return the lines without the numbers at their places."""
        left = np.arange(self.value.shape[-1]) != at[:, np.newaxis]
        shape = (len(at), self.value.shape[-1] - 1)
        value, error = (a[left].reshape(shape) for a in (self.value, self.error))
        return Lanes(value, error, self.arithmetic)

    def replaced(self, at: Array, number: Lanes) -> Lanes:
        """Return the lines with other numbers at their places."""
        return number.where(np.arange(self.value.shape[-1]) == at[:, np.newaxis], self)

    def along(self, axis: int, row: Callable[..., Lanes], *more: Lanes) -> Lanes:
        """Return what `row` makes of the lines along an axis, in these numbers and others."""
        found = row(*(one._moved(axis, -1) for one in (self, *more)))  # noqa: SLF001 - our own
        return found._moved(-1, axis)  # noqa: SLF001

    def _moved(self, axis: int, to: int) -> Lanes:
        value, error = (np.moveaxis(a, axis, to) for a in (self.value, self.error))
        return Lanes(value, error, self.arithmetic)

    def as_line(self) -> Lanes:
        """Return all numbers as one line."""
        return self.shaped((1, -1))

    def shaped(self, shape: tuple[int, ...]) -> Lanes:
        """Return the same numbers in another shape."""
        return Lanes(self.value.reshape(shape), self.error.reshape(shape), self.arithmetic)

    def total(self) -> Lanes:
        """Return the sum of every line, whatever the order it is taken in."""
        terms = self.value.shape[-1]
        if terms == 1:
            return self
        finite = np.isfinite(self.value)
        all_finite = finite.all()
        sizes = abs(self.value)
        value, error, size = (
            a.sum(-1, keepdims=True)
            for a in (self.value, self.error, sizes if all_finite else np.where(finite, sizes, 0))
        )
        size, gamma = size + error, (terms - 1) * self.arithmetic.unit
        spent = error + (gamma / (1 - gamma) * size if gamma < 1 else np.inf)
        spent = np.where(size < self.arithmetic.most * (1 - gamma), spent, np.inf)
        if all_finite:
            return Lanes(value, spent, self.arithmetic)
        exactly = ~finite.all(-1, keepdims=True) & (spent < np.inf)
        return Lanes(value, np.where(exactly, 0.0, spent), self.arithmetic)

    def product(self, other: Lanes) -> Lanes:
        """Return the matrix products of the last two axes, sums in any order."""
        at_once = self._product_at_once(other)
        if at_once is not None:
            return at_once
        rows = self.changed(lambda v: v[..., :, np.newaxis, :])
        columns = other.changed(lambda v: np.swapaxes(v, -1, -2)[..., np.newaxis, :, :])
        return (rows * columns).total().changed(lambda v: v[..., 0])

    def _product_at_once(self, other: Lanes) -> Lanes | None:
        """Return the matrix products of finite numbers that overflow nowhere; None of others.

        The errors are those that `total` of the products has, added up in matrix products, too.
        What 1, -1 and 0 are multiplied with rounds nothing: that is left out of what does.
        """
        arithmetic, terms = self.arithmetic, self.value.shape[-1]
        gamma = (terms - 1) * arithmetic.unit
        numbers = (self.value, self.error, other.value, other.error)
        finite = all(np.isfinite(part).all() for part in numbers)
        if not (terms > 1 and gamma < 1 and finite):
            return None
        sizes, others = abs(self.value), abs(other.value)
        moved = np.matmul(sizes, other.error) + np.matmul(self.error, others + other.error)
        size = np.matmul(sizes, others)
        a, b = (held.error == 0 for held in (self, other))
        a &= (sizes == 1) | (sizes == 0)
        b &= (others == 1) | (others == 0)
        if a.any() or b.any():
            some, more = (np.where(sign, 0.0, v) for sign, v in ((a, sizes), (b, others)))
            rounded = np.matmul(some, more) + np.matmul(some, other.error)
            rounded += np.matmul(self.error, more + other.error)
            count = np.matmul((~a).astype(sizes.dtype), (~b).astype(sizes.dtype))
        else:
            rounded, count = size + moved, terms
        tiny = arithmetic.tiny * count
        error = moved + tiny + arithmetic.unit * (rounded + tiny)
        size = size + error
        if not (size < arithmetic.most * (1 - gamma)).all():
            return None
        value = np.matmul(self.value, other.value)
        return Lanes(value, error + gamma / (1 - gamma) * size, arithmetic)

    def running(self) -> Lanes:
        """Return the sums of the numbers up to each of a line, whatever their order."""
        terms = np.arange(self.value.shape[-1])
        finite = np.isfinite(self.value)
        sizes = np.where(finite, abs(self.value), 0)
        value, error, size = (np.cumsum(a, -1) for a in (self.value, self.error, sizes))
        size, gamma = size + error, terms * self.arithmetic.unit
        with np.errstate(all="ignore"):
            more = np.where(gamma < 1, gamma / (1 - gamma) * size, np.inf)
        # One number alone is no sum: 0 times an infinite error would be NaN.
        spent = error + np.where(terms > 0, more, 0.0)
        spent = np.where((size < self.arithmetic.most * (1 - gamma)) | (terms == 0), spent, np.inf)
        exactly = np.logical_or.accumulate(~finite, -1) & (spent < np.inf)
        return Lanes(value, np.where(exactly, 0.0, spent), self.arithmetic)

    def or_else(self, other: Lanes) -> Lanes:
        """Return the less certain of two ways to compute the same numbers."""
        return self.where(self.error >= other.error, other)

    def _like(self, other: Any) -> Lanes:
        if isinstance(other, Lanes):
            return other
        return Lanes(np.asarray(float(other)), np.zeros(()), self.arithmetic)


def added_at(array: Array, index: Any, shape: Shape) -> Array:
    """Return zeros of a shape, to whose elements at an index an array is added."""
    result = np.zeros(shape, array.dtype)
    if array.dtype == object:
        result.fill(0)
    np.add.at(result, index, array)
    return result


def _placed(line: Array, parts: Sequence[Array], places: Sequence[Array]) -> Array:
    found = np.array(line)
    for part, at in zip(parts, places, strict=True):
        found[at] = part
    return found


def unanimous(holds: Array) -> bool:
    """Return what a comparison says of all lanes.

    Raises:
        Apart: it holds in some only.
    """
    if holds.all():
        return True
    if holds.any():
        raise Apart(holds)
    return False


def pointwise(
    formula: Formula, call: Call, given: Mapping[str, Array], arithmetic: Arithmetic,
    dtype: Any = np.float64,
) -> tuple[Floats, Floats]:  # fmt: skip
    """Return the elements of a formula and their running error bounds, [lanes].

    The arrays of `given` hold what stands together in the call's, [lanes] of any dtype; the formula
    is given one number of each.
    """
    wide = {name: np.asarray(array, dtype) for name, array in given.items()}
    lanes = len(next(iter(wide.values())))
    value, error = np.empty(lanes, dtype), np.empty(lanes, dtype)
    left: list[Array] = [np.arange(lanes)]
    with np.errstate(all="ignore"):
        while left:
            some = left.pop()
            numbers = {n: _alone(_exact(array[some], arithmetic)) for n, array in wide.items()}
            try:
                number = evaluate(formula, {**call, **numbers}).item()
            except Apart as apart:
                left += [some[apart.holds], some[~apart.holds]]
                continue
            exact = not isinstance(number, Lanes)
            value[some] = number if exact else number.value
            error[some] = 0.0 if exact else number.error
    return value, error


def lines(
    formula: Callable[[Call], Any], call: Call, given: Mapping[str, Array],
    arithmetic: Arithmetic, dtype: Any = np.float64,
) -> list[tuple[Floats, Floats]]:  # fmt: skip
    """Return the elements of each result and their running error bounds, of its shape.

    Of what there is no gradient by, there are none.
    """
    wide = {n: _exact(np.asarray(array, dtype), arithmetic) for n, array in given.items()}
    with np.errstate(all="ignore"):
        found = formula({**call, **wide})
    results = found if isinstance(found, tuple) else (found,)
    none = np.empty(0, dtype)
    return [(none, none) if one is None else (one.value, one.error) for one in results]


def _exact(values: Floats, arithmetic: Arithmetic) -> Lanes:
    return Lanes(values, np.zeros(values.shape), arithmetic)


def _alone(number: Lanes) -> Array:
    """Return an array of one object, which NumPy is not to look into."""
    array = np.empty(1, object)
    array[0] = number
    return array
