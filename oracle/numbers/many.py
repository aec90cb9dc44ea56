"""Arrays of numbers of any kind, with one set of operations for all.

NumPy arrays of floats or of objects (mpmath's numbers, fractions, estimates), and `Lanes`, which
carry their rounding error: a formula of whole arrays runs on each of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from gradoracle.oracle.numbers import elementary
from gradoracle.oracle.numbers.functions import Function
from gradoracle.oracle.numbers.running_error import Arithmetic, Estimate
from gradoracle.oracle.numbers.running_error_arrays import Lanes, added_at, spread
from gradoracle.oracle.shapes import Array, Shape

Held: TypeAlias = Any  # a NumPy array of floats or objects, Lanes, or one number
Axes: TypeAlias = int | Sequence[int] | None

FEW_BITS = 8  # of the significand of the coarsest format: what fits is exact in all of them


class Nested:
    """Arrays that remember their operands, where what goes back is traced itself.

    `numbers.reverse.TracedArray` is one: its gradients are differentiated once more.
    """

    __slots__ = ()
    held: Held

    @property
    def shape(self) -> Shape:
        """The lengths of the axes."""
        raise NotImplementedError

    def sum(self, axis: Axes = None, *, keepdims: bool = False) -> Any:
        """Return the sum along axes."""
        raise NotImplementedError

    def plus_all(self, others: Sequence[Any]) -> Any:
        """Return the sum with others."""
        raise NotImplementedError

    @staticmethod
    def chosen(holds: Array, one: Any, other: Any) -> Any:
        """Return the elements of one array where `holds` says so, those of another elsewhere."""
        raise NotImplementedError

    def multiplied_by(self, other: Held) -> Any:
        """Return the matrix product of an array that is no operand, and this one."""
        raise NotImplementedError

    def rearranged(self, change: Callable[[Array], Array]) -> Any:
        """Return the elements moved, repeated or left out."""
        raise NotImplementedError

    def added_at(self, index: Any, shape: Shape) -> Any:
        """Return zeros of a shape, to whose elements at an index these are added."""
        raise NotImplementedError


def shape_of(held: Held) -> Shape:
    """Return the shape; of one number, no axes."""
    return held.shape if isinstance(held, (Lanes, np.ndarray, Nested)) else ()


def each_part(held: Held, change: Callable[[Array], Array]) -> Held:
    """Return an array with its elements moved, repeated or left out."""
    if isinstance(held, Lanes):
        return held.changed(change)
    if isinstance(held, Nested):
        return held.rearranged(change)
    if not isinstance(held, (np.ndarray, np.generic)):
        held = np.asarray(held, object)  # NumPy takes the array off an object without axes
    return change(held)


def like(held: Held, other: Any) -> Held:
    """Return a constant, a number or an array of them, of the kind of what it stands beside.

    Beside numbers with errors, one that a format may have to round is charged for that.
    """
    if isinstance(held, Nested):
        return like(held.held, other)
    arithmetic = arithmetic_of(held)
    if arithmetic is None or not isinstance(other, (int, float, np.ndarray, np.generic)):
        return other
    if isinstance(held, Lanes) and isinstance(other, (int, float)) and math.isfinite(other):
        return held.constants(other, abs(other) * arithmetic.unit if is_rounded(other) else 0.0)
    value = np.asarray(other, held.value.dtype if isinstance(held, Lanes) else np.float64)
    short = np.ldexp(np.frexp(value)[0], FEW_BITS)
    error = np.where(short == np.rint(short), 0.0, abs(value) * arithmetic.unit)
    if isinstance(held, Lanes):
        return held.constants(value, error)
    numbers = np.frompyfunc(lambda v, e: Estimate(float(v), float(e), arithmetic), 2, 1)
    found = numbers(value, error)
    return np.asarray(found, object) if isinstance(held, np.ndarray) else found


def is_rounded(number: float) -> bool:
    """Return whether a number has more bits than the coarsest format."""
    short = math.ldexp(math.frexp(number)[0], FEW_BITS)
    return short != round(short)


def arithmetic_of(held: Held) -> Arithmetic | None:
    """Return the arithmetic of numbers that carry their errors, of others None."""
    if not isinstance(held, np.ndarray):
        return getattr(held, "arithmetic", None)
    if held.dtype != object:
        return None
    each = (getattr(one, "arithmetic", None) for one in held.flat)
    return next((one for one in each if one is not None), None)


def zeros(held: Held) -> Held:
    """Return zeros in the place of numbers, whatever they are."""
    if isinstance(held, Nested):
        return zeros(held.held)
    if not shape_of(held):
        return 0
    if isinstance(held, Lanes):
        return held.constants(np.zeros(held.shape))
    found = each_part(held, np.zeros_like)
    if isinstance(found, np.ndarray) and found.dtype == object:
        found.fill(0)
    return found


def axes_of(axes: Axes, ndim: int) -> tuple[int, ...]:
    """Return axes counted from the first, in order; None: all of them."""
    if axes is None:
        return tuple(range(ndim))
    several = (axes,) if isinstance(axes, int) else axes
    return tuple(sorted(axis % ndim for axis in several))


def total(held: Held, axes: tuple[int, ...]) -> Held:
    """Return the sums along axes, which are kept with one element, whatever their order."""
    shape = shape_of(held)
    if all(shape[axis] == 1 for axis in axes):
        return held
    if isinstance(held, Nested):
        return held.sum(axes, keepdims=True)
    kept = tuple(1 if axis in axes else side for axis, side in enumerate(shape))
    if isinstance(held, np.ndarray) and held.dtype != object:
        return held.sum(axes, keepdims=True)
    rest = [axis for axis in range(len(shape)) if axis not in axes]
    lines = [shape[axis] for axis in rest]
    terms = int(np.prod([shape[axis] for axis in axes]))
    rows = each_part(held, lambda a: a.transpose(*rest, *axes).reshape(*lines, terms))
    if isinstance(rows, Lanes):
        sums = rows.total() if terms else rows.constants(np.zeros((*lines, 1)))
        return each_part(sums, lambda a: a.reshape(kept))
    found = np.empty(lines, object)
    for at in np.ndindex(*lines):
        found[at] = elementary.total([*rows[at]]) if terms else 0
    return found.reshape(kept)


def folded(held: Held, shape: Shape) -> Held:
    """Return what numbers that were repeated to a shape receive together."""
    wide = shape_of(held)
    if wide == shape or len(wide) < len(shape):  # one number stands for each
        return held
    front = len(wide) - len(shape)
    axes = [*range(front)]
    axes += [front + at for at, n in enumerate(shape) if n == 1 and wide[front + at] != 1]
    return each_part(total(held, tuple(axes)), lambda a: a.reshape(shape))


def summed(parts: Sequence[Held]) -> Held:
    """Return the sum of some arrays of one shape, whatever the order."""
    if len(parts) == 1:
        return parts[0]
    nested = next((one for one in parts if isinstance(one, Nested)), None)
    if nested is not None:
        return nested.plus_all([one for one in parts if one is not nested])
    shapes = {*map(shape_of, parts)}
    shape = np.broadcast_shapes(*shapes) if len(shapes) > 1 else shapes.pop()
    if not shape:
        return elementary.total([*parts])
    first = next((one for one in parts if isinstance(one, Lanes)), None)
    if first is None:
        return sum(parts[1:], parts[0])
    alike = [p if isinstance(p, Lanes) else like(first, p) for p in parts]
    repeated = [p if p.shape == shape else _repeated(p, shape) for p in alike]
    return each_part(first.joined(repeated).total(), lambda a: a[..., 0])


def _repeated(held: Lanes, shape: Shape) -> Lanes:
    return held.changed(lambda a: spread(a, shape))


def scattered(held: Held, index: Any, shape: Shape) -> Held:
    """Return zeros of a shape, to whose elements at an index these are added."""
    if isinstance(held, Lanes):
        return held.scattered(index, shape)
    if isinstance(held, Nested):
        return held.added_at(index, shape)
    return added_at(held if hasattr(held, "dtype") else np.asarray(held, object), index, shape)


def in_a_line(parts: Sequence[Held]) -> Held:
    """Return the numbers of several arrays, or single numbers, one after the other."""
    if any(isinstance(one, Lanes) for one in parts):
        first = next(one for one in parts if isinstance(one, Lanes))
        lanes = (one if isinstance(one, Lanes) else like(first, np.asarray(one)) for one in parts)
        return concatenated([one.changed(np.ravel) for one in lanes], 0)
    flat = [np.ravel(one if isinstance(one, np.ndarray) else _alone(one)) for one in parts]
    return np.concatenate(flat)


def _alone(number: Any) -> Array:
    """Return a number as an array without axes."""
    found = np.empty((), np.float64 if isinstance(number, (int, float, np.number)) else object)
    found[()] = number
    return found


def placed(parts: Sequence[Held], places: Sequence[Array], line: Held) -> Held:
    """Return a line with the elements of each part at its places, which differ."""
    if isinstance(line, Lanes):
        return line.placed(parts, places)
    found = np.array(line)
    for part, at in zip(parts, places, strict=True):
        found[at] = part
    return found


def concatenated(parts: Sequence[Held], axis: int) -> Held:
    """Return arrays side by side along an axis."""
    first = next((one for one in parts if isinstance(one, Lanes)), None)
    if first is None:
        return np.concatenate([np.asarray(one) for one in parts], axis)
    lanes = [one if isinstance(one, Lanes) else like(first, np.asarray(one)) for one in parts]
    return first.concatenated(lanes, axis)


def running(held: Held) -> Held:
    """Return the sums of the numbers up to each along the last axis, whatever their order."""
    return held.running() if isinstance(held, Lanes) else np.cumsum(held, -1)


def chosen(holds: Array, one: Held, other: Held) -> Held:
    """Return the numbers of one array where `holds` says so, those of another elsewhere."""
    nested = next((h for h in (one, other) if isinstance(h, Nested)), None)
    if nested is not None:
        return nested.chosen(holds, one, other)
    first = next((h for h in (one, other) if isinstance(h, Lanes)), None)
    if first is None and not (np.ndim(holds) or shape_of(one) or shape_of(other)):
        return one if np.all(holds) else other  # of single numbers
    if first is None:
        return np.where(holds, one, other)
    a, b = (h if isinstance(h, Lanes) else like(first, h) for h in (one, other))
    return a.where(holds, b)


def values_and_errors(held: Held) -> tuple[Array, Array]:
    """Return the numbers, and how far they may be off, as arrays."""
    if isinstance(held, Nested):
        held = held.held
    if isinstance(held, Lanes):
        return held.value, held.error
    array = np.asarray(held)
    if array.dtype != object:
        return array, np.zeros(array.shape)
    value = np.frompyfunc(lambda v: getattr(v, "value", v), 1, 1)(array)
    error = np.frompyfunc(lambda v: getattr(v, "error", 0.0), 1, 1)(array)
    return np.asarray(value, object), np.asarray(error, np.float64)


def less_certain(held: Held, more: Array) -> Held:
    """Return numbers that may be off by so much more."""
    if isinstance(held, Lanes):
        return held.less_certain(more)
    array = np.asarray(held)
    if array.dtype != object or not np.any(more):
        return held

    def one(number: Any, by: float) -> Any:
        if not hasattr(number, "error"):
            return number
        return type(number)(number.value, number.error + by, number.arithmetic)

    return np.frompyfunc(one, 2, 1)(array, more)


def scaled_last(held: Held) -> Held:
    """Return gradients that may have been multiplied by what is received after all else.

    The sweep multiplies what is received by one slope after the other.  Where all of a gradient is
    multiplied by one number of it, as of a loss, right backends compute the slope first, dy (p - 1)
    for dy p - dy: what that rounds is what the sweep rounds, and the last product.  What is exact
    stays exact.
    """
    arithmetic = arithmetic_of(held)
    if arithmetic is None or arithmetic.one_way or isinstance(held, Nested):
        return held
    value, error = values_and_errors(held)
    size = abs(value).astype(np.float64)
    return less_certain(held, np.where((error > 0) & np.isfinite(size), arithmetic.unit * size, 0))


def exact(held: Held, where: Any = True) -> Held:  # noqa: FBT002 - an array, or everywhere
    """Return numbers that are off by nothing, or only elsewhere."""
    if isinstance(held, Lanes):
        return held.exactly().where(np.asarray(where), held)
    error = values_and_errors(held)[1]
    return less_certain(held, np.where(where & np.isfinite(error), -error, 0.0))


def quotient(one: Held, other: Held) -> Held:
    """Return quotients; by 0, as IEEE 754 has them."""
    try:
        return one / other
    except ZeroDivisionError:
        found = np.frompyfunc(_quotient, 2, 1)(one, other)
        return found if isinstance(found, np.ndarray) else np.asarray(found, object)[()]


def derivative(function: Function, held: Held, value: Held) -> Held:
    """Return the slopes of a function whose values are known; infinite where it divides by 0."""
    try:
        return function.derivative(held, value)
    except ZeroDivisionError:
        found = np.frompyfunc(partial(_derivative, function), 2, 1)(held, value)
        return found if isinstance(found, np.ndarray) else np.asarray(found, object)[()]


def _derivative(function: Function, number: Any, value: Any) -> Any:
    try:
        return function.derivative(number, value)
    except ZeroDivisionError:
        context = getattr(value, "context", None)
        return math.inf if context is None else context.inf


def _quotient(one: Any, other: Any) -> Any:
    try:
        return one / other
    except ZeroDivisionError:
        context = getattr(one, "context", None) or getattr(other, "context", None)
        value = math.copysign(math.inf, one) if one else math.nan
        return value if context is None else context.mpf(value)


def product(one: Held, other: Held) -> Held:
    """Return the matrix products of the last two axes, sums in any order."""
    if isinstance(one, Nested):
        return one @ other
    if isinstance(other, Nested):
        return other.multiplied_by(one)
    first = next((h for h in (one, other) if isinstance(h, Lanes)), None)
    if first is None:
        return one @ other
    a, b = (h if isinstance(h, Lanes) else like(first, h) for h in (one, other))
    return a.product(b)
