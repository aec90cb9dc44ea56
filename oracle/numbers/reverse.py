"""Reverse mode: every gradient of a formula, from its forward pass alone.

A formula is run on numbers that remember the operation they came of (Linnainmaa 1970; Griewank and
Walther 2008, chapter 3).  From the result back to the arguments, each operation hands on what it
received times its derivative, in the numbers that the formula was run in: floats, mpmath's numbers,
or numbers with their rounding error, whose gradients come out with a bound.  Where operands meet in
several results, what they receive is a sum in any order.

Selections go back to what was selected: `where` to the side that its condition chose, `max` and
`maximum` to the first of equal numbers, or to all of them as `ties` says.  Where rounding may
decide otherwise, both are allowed.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from gradoracle.oracle.numbers import altered, array_powers, many
from gradoracle.oracle.numbers.altered import counted, reduced
from gradoracle.oracle.numbers.decisions import Decision, decides, is_deciding
from gradoracle.oracle.numbers.exactly_known import Made, is_exact
from gradoracle.oracle.numbers.functions import (
    FUNCTIONS,
    NUMPY,
    Constant,
    Function,
    exp,
    exp2,
    sqrt,
)
from gradoracle.oracle.numbers.many import Axes, Held, each_part, folded, quotient, shape_of, total
from gradoracle.oracle.numbers.powers import ULPS, logarithm, of_base
from gradoracle.oracle.numbers.powers import power as fraction
from gradoracle.oracle.numbers.running_error_arrays import Lanes, spread, unanimous
from gradoracle.oracle.numbers.whole_numbers import (
    ceil,
    floor,
    floor_divide,
    remainder,
    rounded,
    to_the_step,
    trunc,
)
from gradoracle.oracle.shapes import Array, Shape

Back: TypeAlias = Callable[[Held], Held]  # from what a result receives to what an operand does

FIRST, SPLIT, ANY = "first", "split", "any-subgradient"
HALF = 0.5
SEVERAL = 3  # elements that were taken of an array, from which they are added up at once
ROOT = replace(sqrt, ulps=ULPS)  # as pow computes it
_RULE = ContextVar("_RULE", default=FIRST)


@contextmanager
def ties(rule: str) -> Iterator[None]:
    """Within it, say to which of equal numbers `max` and `maximum` go back.

    To the "first"; to all in equal parts, "split"; or to any, so that every share is a right one:
    "any-subgradient".
    """
    token = _RULE.set(rule)
    try:
        yield
    finally:
        _RULE.reset(token)


# What comparisons with a NaN return; None: what IEEE 754 says, False except for !=.
_NAN_COMPARES: ContextVar[bool | None] = ContextVar("_NAN_COMPARES", default=None)


@contextmanager
def nan_compares_as(holds: bool) -> Iterator[None]:  # noqa: FBT001 - the value returned
    """Within it, comparisons with a NaN return this: implementations negate or swap them."""
    token = _NAN_COMPARES.set(holds)
    try:
        yield
    finally:
        _NAN_COMPARES.reset(token)


def spreads_nan() -> bool:
    """Return whether a NaN is to reach whatever implementations let it reach.

    Where comparisons with a NaN hold, a selection is a product with 0 and 1, of which 0 times NaN
    is NaN.  Where they do not, what was not selected stays 0, whatever it is multiplied with.
    """
    return _NAN_COMPARES.get() is True


class Taken:
    """What goes back to an array from elements that an index takes of it.

    Loops take one element after the other: what all of them receive is added up at once.
    """

    def __init__(self, index: Any, shape: Shape) -> None:
        """Keep the index, and the shape of the array."""
        self.index, self.shape = index, shape

    def __call__(self, g: Held) -> Held:
        """Return zeros, and what the elements receive in their places."""
        return many.scattered(g, self.index, self.shape)

    def places(self) -> Array:
        """Return where the elements stand in the array, made flat."""
        return np.asarray(np.arange(math.prod(self.shape)).reshape(self.shape)[self.index]).ravel()


class Undecided(Exception):
    """A comparison of single numbers may be decided either way by rounding."""


class Traced:
    """One number, and the operands that it came of.  Comparisons look at the number."""

    __slots__ = ("held", "is_either", "made", "operands")

    def __init__(self, held: Held, operands: Iterable[tuple[Traced, Back]] = ()) -> None:
        """Keep the number and its operands, each with what it receives of what this one does."""
        self.held, self.operands = held, (*operands,)
        self.is_either = False  # whether the operands are two ways to compute this number
        self.made: Made | None = None  # what it came of, where that may be exact

    def _kind(self, held: Held, *operands: tuple[Any, Back]) -> Any:
        """Return a result of this kind; operands that are constants receive nothing."""
        return type(self)(held, [(o, back) for o, back in operands if isinstance(o, Traced)])

    def made_by(self, function: Callable[..., Any], *operands: Any) -> Any:
        """Return this result of a function, and remember that it is."""
        self.made = function, operands
        return self

    def _other(self, other: Any) -> Held:
        return other.held if isinstance(other, Traced) else many.like(self.held, other)

    def __add__(self, other: Any) -> Any:
        other = _one(other)
        found = self._kind(self.held + self._other(other), (self, _same), (other, _same))
        return found.made_by(operator.add, self, other)

    __radd__ = __add__

    def __neg__(self) -> Any:
        return self._kind(-self.held, (self, _negative)).made_by(operator.neg, self)

    def __sub__(self, other: Any) -> Any:
        other = _one(other)
        found = self._kind(self.held - self._other(other), (self, _same), (other, _negative))
        return found.made_by(operator.sub, self, other)

    def __rsub__(self, other: Any) -> Any:
        found = self._kind(self._other(other) - self.held, (self, _negative))
        return found.made_by(operator.sub, other, self)

    def __mul__(self, other: Any) -> Any:
        other = _one(other)
        a, b = self.held, self._other(other)
        found = self._kind(a * b, (self, lambda g: _times(g, b)), (other, lambda g: _times(g, a)))
        return found.made_by(operator.mul, self, other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Any:
        other = _one(other)
        b = self._other(other)
        held = quotient(self.held, b)
        found = self._kind(
            held,
            (self, lambda g: _over(g, b)),
            (other, lambda g: _over(-_times(g, held), b)),
        )
        return found.made_by(operator.truediv, self, other)

    def __rtruediv__(self, other: Any) -> Any:
        held = quotient(self._other(other), self.held)
        found = self._kind(held, (self, lambda g: _over(-_times(g, held), self.held)))
        return found.made_by(operator.truediv, other, self)

    def __pow__(self, power: Any) -> Any:
        power = power.item() if isinstance(power, np.generic) else _one(power)
        if isinstance(power, (Traced, np.ndarray)):
            return self._raised(power)
        if not isinstance(power, (int, float)) or not math.isfinite(power):
            raise TypeError(f"a power must be a number, got {type(power).__name__}; take exp, log")
        if power == 0:
            return self._kind(many.like(self.held, np.ones(shape_of(self.held))[()]))
        if power < 0:
            return 1 / self**-power
        if power != int(power):
            return self.apply(ROOT if power == HALF else fraction(power))
        result = self
        for _ in range(int(power) - 1):
            result = result * self
        return result

    def _raised(self, power: Any) -> Any:
        """Return the powers by exponents that are computed, or those of an array."""
        x, y = self.held, self._other(power)
        with np.errstate(all="ignore"):
            held = array_powers.power(x, y)
        by_base, by_exponent = array_powers.slopes(x, y, held)
        if _NAN_COMPARES.get() is not False:
            held = array_powers.unless_nan(held, x, y, spreads=True)

        def back(slope: Callable[[], Held]) -> Back:
            return lambda g: _times(
                g, array_powers.unless_nan(slope(), x, y, spreads=_NAN_COMPARES.get())
            )

        return self._kind(held, (self, back(by_base)), (power, back(by_exponent)))

    def __rpow__(self, base: Any) -> Any:
        base = _one(base)
        if isinstance(base, np.ndarray):
            return self._kind(many.like(self.held, base.astype(np.float64))) ** self
        if not (isinstance(base, (int, float)) and 0 < base < math.inf):
            raise TypeError(f"a number to a computed power must be positive, got {base!r}")
        if base == 2:
            return self.apply(exp2)
        found = self.apply(of_base(float(base)))
        if self.one_way:
            return found
        rate = self.constant(logarithm(float(base)))
        arithmetic = many.arithmetic_of(self.held)
        if arithmetic is not None and many.is_rounded(base):
            rate = rate.less_certain(np.asarray(arithmetic.unit))
        return found.or_else((self * rate).apply(exp))

    def __floor__(self) -> Any:
        return self.apply(floor)

    def __ceil__(self) -> Any:
        return self.apply(ceil)

    def __trunc__(self) -> Any:
        return self.apply(trunc)

    def __round__(self, digits: int = 0) -> Any:
        return rounded(self, digits)

    def __floordiv__(self, other: Any) -> Any:
        return floor_divide(self, _one(other))

    def __rfloordiv__(self, other: Any) -> Any:
        return floor_divide(_one(other), self)

    def __mod__(self, other: Any) -> Any:
        return remainder(self, _one(other))

    def __rmod__(self, other: Any) -> Any:
        return remainder(_one(other), self)

    def __abs__(self) -> Any:
        value, error = many.values_and_errors(self.held)
        sign = np.sign(value.astype(np.float64))
        sign = np.where(np.isnan(sign), 1.0, sign)
        unsure = _unless_exact((error > 0) & (abs(value) <= error), self)
        decides(lambda: Decision(self, -value, whole=False))

        def back(g: Held) -> Held:
            if sign.shape and not shape_of(g):  # one number for each
                return _perhaps(many.like(self.held, sign) * g, g, unsure)
            return _perhaps(_masked(g, sign), g, unsure)

        return self._kind(abs(self.held), (self, back)).made_by(abs, self)

    def __gt__(self, other: Any) -> Any:
        return self._decided(operator.gt, other)

    def __lt__(self, other: Any) -> Any:
        return self._decided(operator.lt, other)

    def __ge__(self, other: Any) -> Any:
        return self._decided(operator.ge, other)

    def __le__(self, other: Any) -> Any:
        return self._decided(operator.le, other)

    def __eq__(self, other: object) -> Any:
        return self._decided(operator.eq, other)

    def __ne__(self, other: object) -> Any:
        return self._decided(operator.ne, other)

    __hash__ = object.__hash__

    def _decided(self, compare: Callable[[Any, Any], Any], other: Any) -> bool:
        """Return what a comparison of single numbers says, the same of all that are walked."""
        of_nan, limit = _NAN_COMPARES.get(), self._other(other)
        compare = altered.chosen(compare)
        if of_nan is None:
            return bool(compare(self.held, limit))
        (value, _), (limit, _) = map(many.values_and_errors, (self.held, limit))
        apart = np.asarray(value - limit).astype(np.float64)
        return unanimous(np.where(np.isnan(apart), of_nan, compare(value, limit)))

    def apply(self, function: Function) -> Any:
        """Return an elementary function; one with steps takes what is exact as that."""
        if not function.ulps:
            return self._stepped(function)
        value = function(self.held)
        return self._kind(
            value, (self, lambda g: _times(g, many.derivative(function, self.held, value)))
        )

    def _stepped(self, function: Function) -> Any:
        """Return the number rounded to a whole one."""
        function = altered.chosen(function)
        value, error = many.values_and_errors(self.held)
        held = self.held
        if np.any(error):
            held = many.exact(held, is_exact(self))
        decides(lambda: Decision(self, to_the_step(function, value), whole=True))
        if is_deciding():
            return self._kind(function(held), (self, _same))
        return self._kind(function(held), (self, lambda g: _times(g, 0)))

    def constant(self, number: Constant) -> Any:
        """Return a constant of the kind of the numbers that this one is made of."""
        return type(self)(number(self.held))

    def detached(self) -> Any:
        """Return the number as a constant: no gradient goes back through it."""
        return type(self)(self.held)

    def with_slopes_of(self, other: Traced) -> Any:
        """Return the number; gradients go back to the other as they are."""
        return self._kind(self.held, (other, _same))

    def with_itself_as_slope(self, of: Traced) -> Any:
        """Return the number, a power of e, whose derivative by an operand is the number itself."""
        return self._kind(self.held, (of, lambda g: _times(g, self.held)))

    def or_else(self, other: Traced) -> Any:
        """Return the less certain of two ways to compute the same; gradients go either way."""
        held = self.held
        if hasattr(held, "or_else"):
            held = held.or_else(other.held)
        found = self._kind(held, (self, _same), (other, _same))
        found.is_either = True
        return found

    def or_valued(self, other: Traced) -> Any:
        """Return the less certain of two ways; gradients go this one."""
        held = self.held
        if hasattr(held, "or_else"):
            held = held.or_else(other.held)
        return self._kind(held, (self, _same))

    def or_regrouped(self, other: Traced, exactly: Traced) -> Any:
        """Return the number, charged too for what the other way rounds of exact operands."""
        found = self.or_else(other)
        found.held = many.less_certain(self.held, many.values_and_errors(exactly.held)[1])
        return found

    def exactly(self) -> Any:
        """Return the number as a constant that is not off by anything."""
        return type(self)(many.exact(self.held))

    def less_certain(self, more: Array) -> Any:
        """Return the number, which may be off by so much more."""
        return self._kind(many.less_certain(self.held, more), (self, _same))

    @property
    def one_way(self) -> bool:
        """Whether other ways to compute this number do not matter: no error of theirs is kept."""
        arithmetic = many.arithmetic_of(self.held)
        return arithmetic is None or arithmetic.one_way

    def plus_all(self, others: Sequence[Any]) -> Any:
        """Return the sum with others, whatever the order it is taken in."""
        held = many.summed([self.held, *map(self._other, others)])
        return self._kind(held, *((one, _same) for one in (self, *others)))

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """Return NumPy's function of these numbers, where it is one that formulas may take."""
        if method != "__call__":
            return _method_of(ufunc, method)(*map(_one, inputs), **options)
        ours, into = UFUNCS.get(ufunc), options.pop("out", None)
        if options or ours is None:
            raise _unknown(ufunc, UFUNCS)
        found = ours(*map(_one, inputs))
        return found if into is None else _put(found, *into)

    def __array_function__(self, function: Any, types: Any, inputs: Any, options: Any) -> Any:
        """Return NumPy's function of these numbers, where it is one that formulas may take."""
        del types
        ours = ARRAY_FUNCTIONS.get(function)
        if ours is None:
            raise _unknown(function, ARRAY_FUNCTIONS)
        return ours(*map(_one, inputs), **options)


def _one(operand: Any) -> Any:
    """Return an operand; an array of objects, into which numbers were put, as one of numbers."""
    if isinstance(operand, np.ndarray) and operand.dtype == object:
        return stacked(operand)
    return operand


def _put(found: Any, into: Array) -> Array:
    """Put the numbers of an array into one that a formula fills in, as y[1:] += x does."""
    for at in np.ndindex(into.shape):
        into[at] = found[at] if isinstance(found, TracedArray) and found.ndim else found
    return into


def _method_of(ufunc: Any, method: str) -> Callable[..., Any]:
    """Return what stands for a method of NumPy's function, such as `numpy.add.reduce`.

    Raises:
        TypeError: nothing does.
    """
    ours = UFUNC_METHODS.get(method)
    if ours is None or ufunc not in UFUNCS:
        raise TypeError(
            f"numpy.{ufunc.__name__}.{method} of a formula's numbers is not known; take one of "
            f"{', '.join(UFUNC_METHODS)}, or loops"
        )
    return partial(ours, ufunc)


def _unknown(function: Any, among: Mapping[Any, Any]) -> TypeError:
    names = ", ".join(sorted({one.__name__ for one in among}))
    return TypeError(
        f"numpy.{function.__name__} of a formula's numbers is not known; take one of {names}, or "
        "loops"
    )


class Condition:
    """What a comparison says element by element, and where rounding may decide otherwise."""

    def __init__(self, holds: Array, unsure: Array) -> None:
        """Keep both."""
        self.holds, self.unsure = np.asarray(holds, bool), unsure

    def __bool__(self) -> bool:
        if self.unsure.any():
            raise Undecided("an `if` on a computed number: take where(condition, one, other)")
        return bool(self.holds)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """Return NumPy's `logical_and`, `logical_or` or `logical_not`."""
        ours = UFUNCS.get(ufunc)
        if method != "__call__" or options or ours is None:
            raise _unknown(ufunc, UFUNCS)
        return ours(*inputs)

    def __invert__(self) -> Condition:
        return Condition(~self.holds, self.unsure)

    def __and__(self, other: Condition | Array) -> Condition:
        b = _condition(other)
        sure = (~self.holds & ~self.unsure) | (~b.holds & ~b.unsure)
        return Condition(self.holds & b.holds, (self.unsure | b.unsure) & ~sure)

    __rand__ = __and__

    def __or__(self, other: Condition | Array) -> Condition:
        return ~(~self & ~_condition(other))

    __ror__ = __or__


class TracedArray(Traced, many.Nested):
    """An array of numbers, with the operations of NumPy's arrays that a formula is made of.

    `numpy.exp`, `numpy.where`, `numpy.sum` and others take it, too.
    """

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        """Return a method of NumPy's arrays, where it is one that formulas may take."""
        if name == "dtype":
            return np.dtype(object)  # of arrays that hold a formula's numbers
        ours = METHODS.get(name)
        if ours is None:
            raise AttributeError(
                f"an array of a formula's numbers has no {name!r}; of NumPy's it has dtype, shape, "
                f"ndim, size, T, sum, mean, max, min, reshape, transpose, swapaxes, "
                f"{', '.join(sorted(METHODS))}"
            )
        return partial(ours, self)

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TypeError(
            "an array of a formula's numbers does not change: take numpy.where, or fill in "
            "numpy.zeros_like(x)"
        )

    @property
    def shape(self) -> Shape:
        """The lengths of the axes."""
        return shape_of(self.held)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Any:
        return (self[at] for at in range(len(self)))

    def __getitem__(self, index: Any) -> TracedArray:
        def take(held: Held) -> Held:
            return each_part(held, lambda a: a[index])

        found = TracedArray(take(self.held), [(self, Taken(index, self.shape))])
        return found.made_by(take, self)  # type: ignore[no-any-return]

    def rearranged(self, change: Callable[[Array], Array]) -> TracedArray:
        """Return the elements moved, repeated or left out."""
        shape, size = self.shape, self.size
        places = np.asarray(change(np.arange(size).reshape(shape)))

        def back(g: Held) -> Held:
            flat = each_part(g, lambda a: a.reshape(-1))
            added = many.scattered(flat, places.reshape(-1), (size,))
            return each_part(added, lambda a: a.reshape(shape))

        found = self._kind(each_part(self.held, change), (self, back))
        return found.made_by(lambda held: each_part(held, change), self)  # type: ignore[no-any-return]

    def added_at(self, index: Any, shape: Shape) -> TracedArray:
        """Return zeros of a shape, to whose elements at an index these are added."""
        found = many.scattered(self.held, index, shape)
        return self._kind(found, (self, lambda g: each_part(g, lambda a: a[index])))  # type: ignore[no-any-return]

    @staticmethod
    def chosen(holds: Array, one: Any, other: Any) -> Any:
        """Return the elements of one array where `holds` says so, those of another elsewhere."""
        return where(holds, one, other)

    def multiplied_by(self, other: Held) -> TracedArray:
        """Return the matrix product of an array that is no operand, and this one."""
        return TracedArray(other) @ self

    def ones_like(self, holds: Array) -> TracedArray:
        """Return ones where `holds` says so and zeros elsewhere, as constants of this kind."""
        return self._kind(many.like(self.held, np.asarray(holds, np.float64)))  # type: ignore[no-any-return]

    def reshape(self, *shape: Any) -> TracedArray:
        """Return the elements in another shape."""
        wanted = shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape
        before = self.shape

        def change(held: Held) -> Held:
            return each_part(held, lambda a: a.reshape(wanted))

        found = self._kind(
            change(self.held), (self, lambda g: each_part(g, lambda a: a.reshape(before)))
        )
        return found.made_by(change, self)  # type: ignore[no-any-return]

    def transpose(self, *axes: int) -> TracedArray:
        """Return the array with its axes in another order; without one, the opposite."""
        order = axes or tuple(reversed(range(self.ndim)))

        def change(held: Held) -> Held:
            return each_part(held, lambda a: a.transpose(order))

        found = self._kind(
            change(self.held),
            (self, lambda g: each_part(g, lambda a: a.transpose(np.argsort(order)))),
        )
        return found.made_by(change, self)  # type: ignore[no-any-return]

    def swapaxes(self, one: int, other: int) -> TracedArray:
        """Return the array with two axes exchanged."""
        order = [*range(self.ndim)]
        order[one], order[other] = order[other], order[one]
        return self.transpose(*order)

    @property
    def T(self) -> TracedArray:  # noqa: N802 - NumPy's name
        """The array with its axes in the opposite order."""
        return self.transpose()

    def sum(self, axis: Axes = None, *, keepdims: bool = False) -> TracedArray:
        """Return the sum along axes, whatever the order it is taken in."""
        axes, shape = many.axes_of(axis, self.ndim), self.shape
        kept = total(self.held, axes)
        summed = reduced(self._kind(kept, (self, lambda g: _spread(g, shape))))
        return summed if keepdims else summed._without(axes)  # type: ignore[no-any-return] # noqa: SLF001

    def mean(self, axis: Axes = None, *, keepdims: bool = False) -> TracedArray:
        """Return the sum along axes over the number of elements."""
        count = counted(math.prod(self.shape[a] for a in many.axes_of(axis, self.ndim)))
        return self.sum(axis, keepdims=keepdims) / count  # type: ignore[no-any-return]

    def max(self, axis: Axes = None, *, keepdims: bool = False) -> TracedArray:
        """Return the largest elements along axes; gradients of equal ones go as `ties` says."""
        axes = many.axes_of(axis, self.ndim)
        found: TracedArray = reduced(self._max(axes))
        return found if keepdims else found._without(axes)

    def min(self, axis: Axes = None, *, keepdims: bool = False) -> TracedArray:
        """Return the smallest elements along axes; gradients of equal ones go as `ties` says."""
        return -((-self).max(axis, keepdims=keepdims))  # type: ignore[no-any-return]

    def _max(self, axes: tuple[int, ...]) -> TracedArray:
        value, error = many.values_and_errors(self.held)
        first = _first_largest(value, axes)
        unsure = _rivals(value, error, axes)
        if unsure.any():
            unsure = _rivals(value, np.where(is_exact(self), 0.0, error), axes)
        top = value.max(axes, keepdims=True)
        decides(lambda: Decision(self, np.where(first, np.nan, top - value), whole=False))
        if isinstance(self.held, Lanes):
            held: Held = self.held.chosen(first, axes)
        else:
            held = each_part(_masked(self.held, first), lambda a: a.sum(axes, keepdims=True))
        equal, rule = np.asarray(value == top), _RULE.get()
        count = equal.sum(axes, keepdims=True) * equal
        if rule == ANY:
            unsure = unsure | (count > 1)
        taking = equal | first if rule == SPLIT else first

        def back(g: Held) -> Held:
            spread = _spread(g, self.shape)
            share = _shared(spread, count) if rule == SPLIT else spread
            found = _perhaps(_masked(share, taking), spread, unsure)
            unknown = np.isnan(value.astype(np.float64)).any(axes, keepdims=True)
            if spreads_nan() and unknown.any():  # no element is equal to a NaN: 0 is divided by 0
                return many.chosen(unknown & np.ones(value.shape, bool), found * math.nan, found)
            return found

        return self._kind(held, (self, back))  # type: ignore[no-any-return]

    def _without(self, axes: tuple[int, ...]) -> TracedArray:
        """Return the array without these axes, of one element each."""
        return self.reshape(tuple(n for at, n in enumerate(self.shape) if at not in axes))

    def __matmul__(self, other: Any) -> TracedArray:
        other = _one(other)
        if not isinstance(other, TracedArray):
            other = self._kind(self._other(other))
        if self.ndim == 1:
            return self._dropped(self.reshape((1, -1)) @ other, -1 if other.ndim == 1 else -2)
        if other.ndim == 1:
            return self._dropped(self @ other.reshape((-1, 1)), -1)
        a, b = self.held, self._other(other)
        return self._kind(  # type: ignore[no-any-return]
            many.product(a, b),
            (self, lambda g: many.product(g, _turned(b))),
            (other, lambda g: many.product(_turned(a), g)),
        )

    @staticmethod
    def _dropped(found: TracedArray, axis: int) -> TracedArray:
        """Return an array without an axis of one element."""
        shape = [*found.shape]
        del shape[axis if len(shape) + axis >= 0 else -1]
        return found.reshape((*shape,))

    def __gt__(self, other: Any) -> Condition:
        return self._compared(np.greater, other)

    def __lt__(self, other: Any) -> Condition:
        return self._compared(np.less, other)

    def __ge__(self, other: Any) -> Condition:
        return self._compared(np.greater_equal, other)

    def __le__(self, other: Any) -> Condition:
        return self._compared(np.less_equal, other)

    def __eq__(self, other: object) -> Condition:  # type: ignore[override]
        return self._compared(np.equal, other)

    def __ne__(self, other: object) -> Condition:  # type: ignore[override]
        return self._compared(np.not_equal, other)

    __hash__ = object.__hash__

    def _compared(self, compare: Any, other: Any) -> Condition:
        value, error = many.values_and_errors(self.held)
        limit, its_error = many.values_and_errors(self._other(other))
        may_be_off, compare = error + its_error, altered.chosen(compare)
        apart = np.asarray(abs(value - limit)).astype(np.float64)
        holds, of_nan = compare(value, limit), _NAN_COMPARES.get()
        if of_nan is not None:
            holds = np.where(np.isnan(apart), of_nan, holds)
        decides(lambda: Decision(self - other, limit - value, whole=False))
        unsure = (apart <= may_be_off) & (may_be_off > 0)
        return Condition(holds, _unless_exact(unsure, self, other))


def _unless_exact(unsure: Array, number: Traced, other: Any = 0) -> Array:
    """Return where rounding decides, which it does not where the difference of two is exact."""
    if not np.any(unsure):
        return unsure
    return np.asarray(unsure & ~is_exact(number - other))


def where(condition: Any, one: Any, other: Any) -> Any:
    """Return the elements of one array where a condition holds, those of another elsewhere."""
    one, other = _one(one), _one(other)
    condition = altered.chosen(condition)
    if isinstance(condition, bool):  # of single numbers
        return one if condition else other
    known = _condition(condition)
    return _where(known, one, other, ~known.holds, 0 * known.holds)


def _where(known: Condition, one: Any, other: Any, there: Array, count: Array) -> Any:
    """Return the same; the other gets its gradients back `there`, divided by how many there are."""
    traced = next((v for v in (one, other) if isinstance(v, Traced)), None)
    if traced is None:
        return np.where(known.holds, one, other)
    a, b = traced._other(one), traced._other(other)  # noqa: SLF001 - our own
    held = many.chosen(known.holds, a, b)
    if known.unsure.any():
        (va, ea), (vb, eb) = map(many.values_and_errors, (a, b))
        apart = abs(va - vb).astype(np.float64) + ea + eb
        held = many.less_certain(held, np.where(known.unsure, apart, 0.0))

    def side(holds: Array) -> Back:
        def back(g: Held) -> Held:
            if np.ndim(holds) and not shape_of(g):  # one number for each
                g = many.like(traced.held, np.ones(np.shape(holds))) * g
            return _perhaps(_masked(_shared(g, count), holds), g, known.unsure)

        return back

    found = traced._kind(held, (one, side(known.holds)), (other, side(there)))  # noqa: SLF001
    if known.unsure.any():
        return found
    return found.made_by(lambda a, b: many.chosen(known.holds, a, b), one, other)


def maximum(one: Any, other: Any) -> Any:
    """Return the larger elements; gradients of equal ones go as `ties` says."""
    return _extreme(one, other, ">=", "<=")


def minimum(one: Any, other: Any) -> Any:
    """Return the smaller elements; gradients of equal ones go as `ties` says."""
    return _extreme(one, other, "<=", ">=")


def _extreme(one: Any, other: Any, sign: str, opposite: str) -> Any:
    known, rule = _condition(_traced_first(one, other, sign)), _RULE.get()
    if rule == FIRST:
        found = where(known, one, other)
    else:
        equal = known.holds & _condition(_traced_first(one, other, opposite)).holds
        if rule == ANY:
            found = where(Condition(known.holds, known.unsure | equal), one, other)
        else:
            found = _where(known, one, other, ~known.holds | equal, 2 * equal)
    lost = _is_nan(one) & ~known.holds
    if lost.any():  # NumPy's maximum keeps a NaN of either
        found.held = many.chosen(lost, found.held * math.nan, found.held)
    return found


def _is_nan(one: Any) -> Array:
    value = many.values_and_errors(one.held)[0] if isinstance(one, Traced) else np.asarray(one)
    return np.isnan(np.asarray(value).astype(np.float64))


def stacked(parts: Any) -> Any:
    """Return nested sequences of numbers, as loops make them, as one array."""
    array = np.asarray(parts, object) if not isinstance(parts, np.ndarray) else parts
    flat = [v if isinstance(v, Traced) else None for v in array.ravel()]
    traced = next((v for v in flat if v is not None), None)
    if traced is None:
        return np.asarray(array)
    numbers = [traced._other(v) if not isinstance(v, Traced) else v.held for v in array.ravel()]  # noqa: SLF001
    operands = [
        (v, lambda g, at=at: each_part(g, lambda a: a.reshape(-1)[at]))
        for at, v in enumerate(flat) if v is not None
    ]  # fmt: skip
    return TracedArray(_stacked(numbers, array.shape), operands)


def _stacked(numbers: Sequence[Held], shape: Shape) -> Held:
    first = next((n for n in numbers if isinstance(n, Lanes)), None)
    if first is not None:
        return first.joined(numbers).changed(lambda part: part.reshape(shape))
    plain = [n.item() if isinstance(n, np.ndarray) else n for n in numbers]
    floats = all(isinstance(n, (int, float, np.floating)) for n in plain)
    array = np.empty(len(plain), np.float64 if floats else object)
    array[:] = plain
    return array.reshape(shape)


def gradient(result: Traced, received: Held, argument: Traced) -> Held:
    """Return what an argument receives where the result receives dE/dresult.

    One that the result does not depend on receives zeros.  Where the formula says `either`, all
    numbers go back the first way and all go back the other, and the less certain gradient is taken.
    """
    if result is argument:
        return received
    order = _towards(result, argument, 0)
    found = _swept(order, result, received, argument, 0)
    if any(node.is_either for node in order) and hasattr(found, "or_else"):
        other = _swept(_towards(result, argument, 1), result, received, argument, 1)
        found = found.or_else(other)
    return found


def tangent(result: TracedArray, moved: Sequence[tuple[TracedArray, Held]]) -> Held:
    """Return the derivative of a result along tangents of its arguments: forward mode.

    What an argument receives, J^T g, is linear in g; going back once more, from it to g, with the
    tangent v gives J v, of the operations that forward mode takes (Griewank and Walther 2008,
    section 3.2).

    Raises:
        Undecided: rounding decides which of several operands a selection goes back to.
    """
    received = result.ones_like(np.zeros(result.shape, bool))  # its numbers do not matter
    parts = []
    for argument, along in moved:
        back = gradient(result, received, argument)
        if isinstance(back, Traced):
            parts.append(gradient(back, along, received))
    return many.summed(parts) if parts else many.zeros(result.held)


def _swept(order: _Order, result: Traced, received: Held, argument: Traced, way: int) -> Held:
    shares: dict[int, list[Held]] = {id(result): [received]}
    for node in reversed(order):
        parts = shares.pop(id(node), None)
        if parts is None:
            continue
        g = many.summed(_with_elements(parts))
        if node is argument:
            return g
        for operand, back in _operands(node, way):
            if id(operand) not in order.known:
                continue
            its_parts = shares.setdefault(id(operand), [])
            if isinstance(back, Taken) and not isinstance(g, many.Nested):
                its_parts.append((back, g))
            else:
                its_parts.append(folded(back(g), shape_of(operand.held)))
    return many.zeros(argument.held)


def _with_elements(parts: list[Any]) -> list[Held]:
    """Return what a node receives as arrays of its shape, all elements that were taken as one."""
    taken = [one for one in parts if isinstance(one, tuple)]
    if len(taken) < SEVERAL:
        return [one[0](one[1]) if isinstance(one, tuple) else one for one in parts]
    shape = taken[0][0].shape
    places = np.concatenate([back.places() for back, _ in taken])
    held = many.in_a_line([g for _, g in taken])
    added = many.scattered(held, places, (math.prod(shape),))
    whole = each_part(added, lambda a: a.reshape(shape))
    return [*(one for one in parts if not isinstance(one, tuple)), whole]


def _operands(node: Traced, way: int) -> Sequence[tuple[Traced, Back]]:
    return node.operands[way : way + 1] if node.is_either else node.operands


class _Order(list[Traced]):
    """Nodes from which others come, each after its operands, of those that lead somewhere."""

    known: set[int]


def _towards(result: Traced, argument: Traced, way: int) -> _Order:
    """Return what comes of the argument on the way to the result, each after its operands."""
    order, leads = _Order([argument]), {id(argument): True}
    stack: list[tuple[Traced, bool]] = [(result, False)]
    while stack:
        node, seen = stack.pop()
        operands = [operand for operand, _ in _operands(node, way)]
        if seen:
            leads[id(node)] = any(leads[id(operand)] for operand in operands)
            if leads[id(node)]:
                order.append(node)
        elif id(node) not in leads:
            leads[id(node)] = False
            stack.append((node, True))
            stack += [(operand, False) for operand in operands if id(operand) not in leads]
    order.known = {id(node) for node in order}
    return order


def _same(g: Held) -> Held:
    return g


def _times(g: Held, factor: Held) -> Held:
    """Return a gradient times a factor; where a NaN is not to spread, of 0 nothing is left."""
    return _unspread(g, factor, g * factor) if _NAN_COMPARES.get() is False else g * factor


def _over(g: Held, divisor: Held) -> Held:
    """Return a gradient over a divisor, likewise."""
    found = quotient(g, divisor)
    return _unspread(g, divisor, found) if _NAN_COMPARES.get() is False else found


def _unspread(g: Held, other: Held, found: Held) -> Held:
    if isinstance(g, many.Nested) or isinstance(other, many.Nested):
        return found
    (of, _), (by, _) = map(many.values_and_errors, (g, other))
    gone = (np.asarray(of) == 0) & np.isnan(np.asarray(by).astype(np.float64))
    if not gone.any():
        return found
    return many.chosen(gone, many.like(found, np.zeros(shape_of(found))[()]), found)


def _negative(g: Held) -> Held:
    return -g


def _turned(held: Held) -> Held:
    return each_part(held, lambda a: np.swapaxes(a, -1, -2))


def _spread(held: Held, shape: Shape) -> Held:
    return each_part(held, lambda a: spread(a, shape))


def _masked(held: Held, factors: Array) -> Held:
    """Return numbers times exactly 1, 0 or -1 each; of 0 nothing is left, not even a NaN.

    Where a NaN is to spread, it is.
    """
    if spreads_nan() and not isinstance(held, (many.Nested, Lanes)):
        return held * np.asarray(factors, np.float64)[()]
    if isinstance(held, np.ndarray) or shape_of(held):
        zero = many.zeros(held)
        kept = many.chosen(factors < 0, -held, held) if np.any(np.asarray(factors) < 0) else held
        return many.chosen(np.asarray(factors) != 0, kept, zero)
    sign = int(np.asarray(factors))
    return held * sign if sign else many.like(held, 0.0)


def _shared(held: Held, count: Array) -> Held:
    """Return numbers divided by how many share them, where that are several."""
    several = np.asarray(count > 1)
    if not several.any():
        return held
    parts = quotient(held, many.like(held, np.maximum(count, 1)))
    return many.chosen(several, parts, held)


def _perhaps(held: Held, whole: Held, unsure: Array) -> Held:
    """Return numbers that may also be those of `whole`, or minus them, in unsure places."""
    if not np.any(unsure):
        return held
    if isinstance(held, many.Nested):
        raise Undecided("rounding decides where a gradient goes that is differentiated")
    value, error = many.values_and_errors(whole)
    more = np.where(unsure, 2 * (abs(value).astype(np.float64) + error), 0.0)
    return many.less_certain(held, more)


def _rivals(value: Array, error: Array, axes: tuple[int, ...]) -> Array:
    """Return which elements may be the largest along axes, where rounding decides that."""
    rivals = value + error >= (value - error).max(axes, keepdims=True)
    several = rivals.sum(axes, keepdims=True) > 1
    return np.asarray(rivals & several & (error.max(axes, keepdims=True) > 0))


def _first_largest(value: Array, axes: tuple[int, ...]) -> Array:
    """Return where along axes the first of the largest elements stands."""
    rest = [axis for axis in range(value.ndim) if axis not in axes]
    moved = value.transpose(*rest, *axes)
    rows = moved.reshape(*moved.shape[: len(rest)], math.prod(moved.shape[len(rest) :]))
    first = np.zeros(rows.shape, bool)
    np.put_along_axis(first, rows.argmax(-1)[..., np.newaxis], 1, -1)
    return first.reshape(moved.shape).transpose(np.argsort([*rest, *axes]))


def _condition(condition: Any) -> Condition:
    if isinstance(condition, Condition):
        return condition
    return Condition(np.asarray(condition), np.zeros(np.shape(condition), bool))


def _traced_first(one: Any, other: Any, sign: str) -> Any:
    if isinstance(one, Traced):
        return one >= other if sign == ">=" else one <= other
    return other <= one if sign == ">=" else other >= one


def clip(array: Any, least: Any, most: Any) -> Any:
    """Return the numbers between two limits; those outside are the limits."""
    with ties(FIRST):  # at a limit the slope is 1
        return minimum(maximum(array, least), most)


def _of(function: Function) -> Callable[[Any], Any]:
    return lambda array: array.apply(function)


UFUNCS: dict[Any, Callable[..., Any]] = {
    np.add: lambda a, b: b + a if isinstance(b, Traced) else a + b,
    np.subtract: lambda a, b: a - b if isinstance(a, Traced) else -(b - a),
    np.multiply: lambda a, b: b * a if isinstance(b, Traced) else a * b,
    np.true_divide: lambda a, b: a / b if isinstance(a, Traced) else b.__rtruediv__(a),
    np.matmul: lambda a, b: a @ b if isinstance(a, Traced) else TracedArray(b._other(a)) @ b,  # noqa: SLF001
    np.negative: lambda a: -a,
    np.absolute: abs,
    np.square: lambda a: a * a,
    np.maximum: maximum,
    np.minimum: minimum,
    np.greater: lambda a, b: a > b if isinstance(a, Traced) else b < a,
    np.greater_equal: lambda a, b: a >= b if isinstance(a, Traced) else b <= a,
    np.less: lambda a, b: a < b if isinstance(a, Traced) else b > a,
    np.less_equal: lambda a, b: a <= b if isinstance(a, Traced) else b >= a,
    **{
        getattr(np, NUMPY.get(n, n)): _of(f)
        for n, f in FUNCTIONS.items()
        if hasattr(np, NUMPY.get(n, n))
    },
}
ARRAY_FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.sum: TracedArray.sum,
    np.mean: TracedArray.mean,
    np.max: TracedArray.max,
    np.min: TracedArray.min,
    np.where: where,
    np.clip: clip,
    np.reshape: TracedArray.reshape,
    np.swapaxes: TracedArray.swapaxes,
    np.transpose: lambda a, axes=None: a.transpose(*(axes or ())),
}
METHODS: dict[str, Callable[..., Any]] = {}  # of arrays, beside those above
UFUNC_METHODS: dict[str, Callable[..., Any]] = {}  # of NumPy's functions, which are given first
