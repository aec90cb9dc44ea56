"""What a formula gives on a call, and how far a right answer may be from it.

One kind per algebra of `oracle.declaration`: exact integers where the formula is multilinear, the
data themselves where it selects, and high precision with a running error bound where it is
composed of elementary functions.  NaN and infinities among what is summed have a kind of their own,
in `oracle.expected.non_finite`.  Everything that checks an answer asks one of these.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property, lru_cache
from math import prod
from typing import Any, Protocol, TypeAlias

import numpy as np

from gradoracle.oracle.compiled_loops import arguments_only
from gradoracle.oracle.declaration import (
    Call,
    Composed,
    Formula,
    Multilinear,
    Selection,
    algebra,
    all_names,
    evaluate,
    has_part,
    is_data,
    is_place,
    operands,
    parts_of,
    same_part,
    whole_of,
)
from gradoracle.oracle.expected.exact import NARROW, NEAR, MultilinearTruth
from gradoracle.oracle.expected.non_finite import NonFiniteTruth, is_judged_here, with_finite
from gradoracle.oracle.expected.transform_bounds import DIRECT, TransformedTruth, transform
from gradoracle.oracle.expected.walks import LARGEST, numbers_of, walked_once
from gradoracle.oracle.float_formats import (
    FORMATS,
    Format,
    dtype_of,
    flushed,
    name_of,
    widened,
)
from gradoracle.oracle.numbers import running_error_arrays
from gradoracle.oracle.numbers.exact_terms import NotExact, Terms, exact_terms
from gradoracle.oracle.numbers.high_precision import halves, precise
from gradoracle.oracle.numbers.reverse import Undecided
from gradoracle.oracle.numbers.running_error import Arithmetic, Estimate
from gradoracle.oracle.shapes import Array, Shape

KEPT, SMALL = 128, 4096  # truths that are kept, of at most so many numbers and elements
ROOM = 1 + 2.0**-40  # for rounding in the sums of bounds, which are float64
SURE = 2.0**12  # units in the last place of float64: 12 digits are right
EXTENDED = 64  # bits of the significand that x86's extended precision has
Other: TypeAlias = tuple[str, Shape, bytes]  # an array's dtype, shape and elements
LANES = 12  # numbers from which walking for all of them at once takes less than one by one


class Truth(Protocol):
    """The right answer to one call of one formula."""

    @property
    def shape(self) -> Shape:
        """The answer's shape."""

    def is_exact(self, dtype: str, accumulator: str) -> bool:
        """Whether the answer must be equal: rounding provably never acts, or there is none."""

    def as_float(self, dtype: np.dtype[np.generic]) -> Array:
        """Return the elements, rounded to `dtype`."""

    def bound(self, dtype: str, accumulator: str) -> Array:
        """Return the largest error of a right answer per element, as float64; maybe infinity."""

    def error_over_bound(self, got: Array, accumulator: str) -> Array:
        """Return |got - truth| as a share of the bound; above 1, or not a number: wrong.

        Where the bound is infinite (an overflow may be right, or the terms are too many), it is 0.
        """


def truth(formula: Formula, call: Call, *, strict: bool = False, algorithm: str = DIRECT) -> Truth:
    """Return the truth of `formula` on `call`; nothing is evaluated before it is asked for.

    `strict` is about NaN and infinities: see `oracle.expected.non_finite`. `algorithm` is how a
    convolution is computed: see `oracle.expected.transform_bounds`.
    """
    if any(isinstance(value, np.generic) for value in call.values()):
        # what an operation leaves of an array without axes
        call = {n: np.asarray(v) if isinstance(v, np.generic) else v for n, v in call.items()}
    if is_judged_here(formula, call):
        finite = _truth(formula, with_finite(call, 0), algorithm)
        return NonFiniteTruth(formula, call, finite, strict=strict)
    return _truth(formula, call, algorithm)


_kept: dict[tuple[Any, ...], Any] = {}  # the truth that was asked for last comes last


def _multilinear(formula: Formula, call: Call) -> MultilinearTruth:
    """Return the truth of a multilinear formula: of the same few numbers, again the same one.

    It is exact whatever the dtype, and a geometry is checked in several, often on small integers.
    """
    given = {name: call[name] for name in all_names(formula)}
    for name, value in given.items():
        if isinstance(value, np.ndarray):  # copied, so that nobody else can change it
            given[name] = value.astype(np.float64 if is_data(value) else value.dtype)
    found: MultilinearTruth = _again(MultilinearTruth, formula, given)
    return found


def _composed(formula: Formula, call: Call) -> ComposedTruth:
    """Return the truth of a composed formula: of the same few numbers, again the same one."""
    given = {name: call[name] for name in all_names(_walked_as(formula, call))}
    given = {n: np.array(v) if isinstance(v, np.ndarray) else v for n, v in given.items()}
    found: ComposedTruth = _again(ComposedTruth, formula, given)
    return found


def _walked_as(formula: Formula, call: Call) -> Formula:
    """Return the formula of several results that one is walked with, or the formula itself.

    One of several gradients is walked with all of them, where the call has all that they take.
    """
    part = same_part(formula)
    whole = whole_of(part)
    has_all = all(name in call for name in all_names(whole))
    return whole if has_all and has_part(part, call) else formula


def _again(kind: Callable[[Formula, Call], Any], formula: Formula, given: Call) -> Any:
    """Return a truth, the same one as before if it is kept; nobody else may change `given`."""
    key, size = [formula, *_options(given)], 0
    for value in given.values():
        if isinstance(value, np.ndarray):
            size += value.size
            if size > SMALL:
                return kind(formula, given)
            key += value.dtype, value.shape, value.tobytes()
    return _kept_as((*key,), kind, formula, given)


def _kept_as(
    key: tuple[Any, ...], kind: Callable[[Formula, Call], Any], formula: Formula, given: Call
) -> Any:
    """Return the truth of a key, made and kept where it is not there yet."""
    found = _kept.pop(key, None)
    if found is None:
        found = kind(formula, given)
        shape = found.shape if isinstance(found, _Lazy) else answer_shape(formula, given)
        if prod(shape) > SMALL:
            return found
    _kept[key] = found
    if len(_kept) > KEPT:
        del _kept[next(iter(_kept))]
    return found


def _options(given: Call) -> list[tuple[str, Any]]:
    return [(name, v) for name, v in given.items() if not isinstance(v, np.ndarray)]


def _truth(formula: Formula, call: Call, algorithm: str) -> Truth:
    kind = algebra(formula)
    if isinstance(kind, Multilinear):
        transformed = transform(formula, call, algorithm)
        if transformed is not None:
            return TransformedTruth(formula, call, transformed)
        return _multilinear(formula, call)
    if isinstance(kind, Selection):
        return SelectionTruth(formula, call)
    return _composed(formula, call)


def answer_shape(formula: Formula, call: Call) -> Shape:
    """Return the shape of the formula's answer, running no loop."""
    arrays: list[tuple[str, Shape]] = []
    others: list[tuple[str, Other]] = []  # indices and masks, on which a shape may depend
    options: list[tuple[str, Any]] = []
    for name in all_names(formula):
        value = call[name]
        if not isinstance(value, np.ndarray):
            options.append((name, value))
        elif is_data(value):
            arrays.append((name, value.shape))
        elif value.size <= SMALL:
            others.append((name, (value.dtype.str, value.shape, value.tobytes())))
        else:
            with arguments_only():
                return evaluate(formula, call).shape
    whole = whole_of(formula)
    of = _blank_answers(whole, (*arrays,), (*others,), (*options,))
    found = of[parts_of(whole).index(formula) if len(of) > 1 else 0]
    # A gradient by what is None or of booleans says so itself.
    return found if found is not None else evaluate(formula, call).shape


@lru_cache(maxsize=4096)
def _blank_answers(
    formula: Formula, arrays: tuple[tuple[str, Shape], ...],
    others: tuple[tuple[str, Other], ...], options: tuple[tuple[str, Any], ...],
) -> tuple[Shape | None, ...]:  # fmt: skip
    """Return the shape of each result, of any numbers: only indices among them could matter."""
    blank = {
        name: np.zeros(shape) if prod(shape) <= SMALL else np.broadcast_to(0.0, shape)
        for name, shape in arrays
    }
    given = {name: np.ndarray(of, dtype, held) for name, (dtype, of, held) in others}
    with arguments_only():
        found = evaluate(formula, {**blank, **given, **dict(options)})
    results = found if isinstance(found, tuple) else (found,)
    return tuple(None if one is None else one.shape for one in results)


def answer_dtype(formula: Formula, call: Call) -> np.dtype[np.generic]:
    """Return the dtype that an answer must have: the numbers' own, or int64 for indices."""
    if is_place(formula):
        return np.dtype(np.int64)
    return data_dtype(call)


def data_dtype(call: Call) -> np.dtype[np.generic]:
    """Return the dtype of the call's numbers."""
    for value in call.values():
        if is_data(value):
            dtype: np.dtype[np.generic] = value.dtype
            return dtype
    raise ValueError("a call without numbers has no dtype")


def format_of(call: Call) -> str:
    """Return the name of the format of the call's numbers."""
    return name_of(data_dtype(call))


class _Lazy:
    def __init__(self, formula: Formula, call: Call) -> None:
        self.formula, self.call = formula, call

    @cached_property
    def shape(self) -> Shape:
        """The answer's shape."""
        return answer_shape(self.formula, self.call)


class SelectionTruth(_Lazy):
    """The answer of a formula that picks among its data: every element is exact, NaN among them."""

    @cached_property
    def value(self) -> Array:
        """The elements: those of the call."""
        wide = {n: widened(a) if is_data(a) else a for n, a in self.call.items()}
        kind = algebra(self.formula)
        if not (isinstance(kind, Selection) and kind.pointwise):
            return evaluate(self.formula, wide)
        numbers, places = _distinct(operands(self.formula, wide))
        found: Array = evaluate(self.formula, {**wide, **numbers})[places].reshape(self.shape)
        return found

    def is_exact(self, dtype: str, accumulator: str) -> bool:
        """Return True: nothing is computed, so nothing is rounded."""
        del dtype, accumulator
        return True

    def as_float(self, dtype: np.dtype[np.generic]) -> Array:
        """Return the elements; indices stay integers."""
        return self.value if is_place(self.formula) else self.value.astype(dtype)

    def bound(self, dtype: str, accumulator: str) -> Array:
        """Return zeros."""
        del dtype, accumulator
        return np.zeros(self.shape)

    def error_over_bound(self, got: Array, accumulator: str) -> Array:
        """Return 0 where the element is equal (NaN to NaN), else infinity."""
        del accumulator
        both_nan = (self.value != self.value) & (got != got)  # noqa: PLR0124 - that is NaN
        return np.where((got == self.value) | both_nan, 0.0, np.inf)


class ComposedTruth(_Lazy):
    """The answer in mpmath's numbers, bounded by running error analysis on the same loops."""

    @cached_property
    def value(self) -> tuple[Array, Array]:
        """The elements as two float64 arrays that add up to them."""
        pairs = self._results(precise, halves)
        high, low = np.array(pairs, np.float64).reshape(len(pairs), 2).T
        return self._spread(high), self._spread(low)

    def is_exact(self, dtype: str, accumulator: str) -> bool:
        """Return whether all elements are sums of products that the accumulator holds exactly.

        The result is exact, too, where its format is narrower, if that holds all of them.
        """
        inner = FORMATS[accumulator]
        if not self._may_be_exact(inner):
            return False
        if _exact_calls[self.formula] < 0 and not self._is_of_few_digits(accumulator):
            return False
        terms = self._terms
        exact = terms is not None and terms.fits(inner)
        found = _exact_calls[self.formula] + (1 if exact else -1)
        _exact_calls[self.formula] = max(-COUNTED, min(COUNTED, found))
        if terms is None or not exact:
            return False
        if dtype == accumulator:
            return True
        with np.errstate(over="ignore"):
            narrow = terms.value.astype(dtype_of(dtype)).astype(np.float64)
        return bool((narrow == terms.value).all())

    def _may_be_exact(self, inner: Format) -> bool:
        """Return whether the formula is run on arrays, whose own numbers have few digits."""
        kind = algebra(self.formula)
        if not (isinstance(kind, Composed) and kind.of_arrays):
            return False
        given = operands(self.formula, self.call).values()
        return all(exact_terms(a.astype(np.float64)).fits(inner) for a in given)

    def _is_of_few_digits(self, accumulator: str) -> bool:
        """Return whether the accumulator holds every element, as walked in more digits.

        Where all is exact, those are the elements, and of others hardly one is held.  It saves the
        walk over terms where its answer is no; the walk that is made instead is needed then.
        """
        if FORMATS[accumulator].bits <= NARROW:
            value, held = self._estimated(accumulator)[0], dtype_of(accumulator)
        elif self._closely is not None:
            value, held = self._closely[0], np.dtype(np.float64)
        else:
            return True
        with np.errstate(all="ignore"):
            same = value.astype(held).astype(value.dtype) == value
        return bool((same | np.isnan(value)).all())

    @cached_property
    def _terms(self) -> Terms | None:
        """The elements as sums of products; None where a branch depends on what rounds."""
        given = operands(self.formula, self.call)
        terms = {n: exact_terms(a.astype(np.float64)) for n, a in given.items()}
        try:
            with np.errstate(all="ignore"):
                found = evaluate(self.formula, {**self.call, **terms})
        except (NotExact, Undecided):
            return None
        return found if isinstance(found, Terms) else None

    def as_float(self, dtype: np.dtype[np.generic]) -> Array:
        """Return the elements rounded to float64 and from there to `dtype`.

        Many of them are taken from extended precision, where 12 digits are sure: in mpmath's
        numbers they would take seconds, and the sums of a long row are not known to the last.
        """
        known: Terms | None = self.__dict__.get("_terms")
        if known is not None and known.fits(FORMATS["float64"]):
            return known.value.astype(dtype)
        if prod(self.shape) > SMALL and self._closely is not None:
            value, room = self._closely
            with np.errstate(all="ignore"):
                if (room <= SURE * np.spacing(abs(value).astype(np.float64))).all():
                    return value.astype(np.float64).astype(dtype)
        return self.value[0].astype(dtype)

    def bound(self, dtype: str, accumulator: str) -> Array:
        """Return the running error bound, where the accumulator's operations round.

        A wider accumulator leaves one rounding to the result's dtype, which may overflow.
        """
        inner, result = FORMATS[accumulator], FORMATS[dtype]
        value, bound = self._estimated(accumulator)
        if inner.bits > result.bits:
            size, unit = abs(value), 2.0**-result.bits
            ends = size + bound < float(result.overflow)
            infinite = np.isinf(size) & (bound == 0)
            bound = bound * (1 + unit) + unit * size + flushed(dtype)
            bound = np.where(ends, bound, np.where(infinite, 0, np.inf))
        return bound

    def error_over_bound(self, got: Array, accumulator: str) -> Array:
        """Return |got - truth| over the bound; infinities are right where the truth is one.

        The formula walked in float64 errs by little of the bound of a narrow accumulator, because
        what an operation may add to that grows with its unit roundoff: unless a share is near 1,
        mpmath's numbers cannot decide otherwise.
        """
        bound = self.bound(name_of(got.dtype), accumulator)
        if FORMATS[accumulator].bits <= NARROW:
            value, _ = self._estimated(accumulator)
            share = _shares(got, value, np.zeros(value.shape), bound)
            far = (abs(share - 1) > NEAR) | np.isnan(got)
            if np.isfinite(value).all() and far.all():
                return share
        closely = self._closely_over(bound, got)
        return _shares(got, *self.value, bound) if closely is None else closely

    def _closely_over(self, bound: Array, got: Array) -> Array | None:
        """Return the shares as extended precision has them, where they are certainly far from 1.

        What it loses itself is bounded by the same running errors.
        """
        if self._closely is None:
            return None
        value, room = self._closely
        with np.errstate(all="ignore"):
            error = abs(got - value)
            # Sums of bounds are rounded themselves.
            sure = (error - room > bound) | ((error <= bound) & (error + room <= bound * ROOM))
            sure |= np.isnan(got)  # which is wrong where all is finite
            right = (error == 0) | np.isinf(bound)
            share = np.where(right, 0, error / bound).astype(np.float64)
        return share if np.isfinite(value).all() and sure.all() else None

    @cached_property
    def _closely(self) -> tuple[Array, Array] | None:
        """The elements in extended precision and how far they may be off, where there is any."""
        if not _is_extended():
            return None
        arithmetic = Arithmetic(2.0**-EXTENDED, sys.float_info.min, one_way=True)
        walked = self._in_lanes(arithmetic, np.longdouble)
        return walked and (self._spread(walked[0]), self._spread(walked[1]))

    @property
    def closely(self) -> tuple[Array, Array, Array]:
        """The elements as two float64 arrays that add up to them, and how far those may be off.

        In extended precision, which takes little time, or in mpmath's numbers.
        """
        if self._closely is None or not np.isfinite(self._closely[0]).all():
            return *self.value, np.zeros(self.shape)
        value, room = self._closely
        high = value.astype(np.float64)
        return high, (value - high).astype(np.float64), room.astype(np.float64)

    def _estimated(self, accumulator: str) -> tuple[Array, Array]:
        """Return the elements in float64 and their running error bound."""
        if accumulator not in self._walked:
            arithmetic = _arithmetic(FORMATS[accumulator])
            value, error = self._in_lanes(arithmetic) or self._one_by_one(arithmetic)
            unknown = np.isnan(error)  # of what underflowed to 0 and was divided by
            walked = self._spread(value), self._spread(np.where(unknown, np.inf, error))
            self._walked[accumulator] = walked
        return self._walked[accumulator]

    def _one_by_one(self, arithmetic: Arithmetic) -> tuple[Array, Array]:
        """Return the evaluated numbers in float64 and their running error bounds."""

        def lift(array: Array) -> Array:
            return _estimates(array, arithmetic)

        pairs = self._results(lift, _value_and_error)
        value, error = np.array(pairs, np.float64).reshape(len(pairs), 2).T
        return value, error

    def _in_lanes(
        self, arithmetic: Arithmetic, dtype: Any = np.float64
    ) -> tuple[Array, Array] | None:
        """Return the same of enough numbers at once, where the formula allows it."""
        kind, (given, places) = algebra(self.formula), self._given
        assert isinstance(kind, Composed)  # noqa: S101 - for the type checker
        if next(iter(given.values())).size < LANES and not kind.of_arrays:
            return None
        if places is not None:
            return running_error_arrays.pointwise(self.formula, self.call, given, arithmetic, dtype)
        if kind.lanes is None:
            return None
        whole = _walked_as(self.formula, self.call)
        if whole is not self.formula and numbers_of(self.call) <= LARGEST:
            # What only other gradients take may not fit: then the formula is walked alone.
            with suppress(ValueError):
                found = walked_once(whole, self.call, operands(whole, self.call), arithmetic, dtype)
                return found[parts_of(whole).index(same_part(self.formula))]
        return running_error_arrays.lines(kind.lanes, self.call, given, arithmetic, dtype)[0]

    @cached_property
    def _walked(self) -> dict[str, tuple[Array, Array]]:
        return {}

    @cached_property
    def _given(self) -> tuple[dict[str, Array], Array | None]:
        """What is evaluated: if it can be, the numbers that stand together anywhere, once each."""
        given, kind = operands(self.formula, self.call), algebra(self.formula)
        if isinstance(kind, Composed) and kind.pointwise:
            return _distinct(given)
        return given, None

    def _results(self, lift: Any, read: Callable[[Any], Any]) -> list[Any]:
        """Return what is read from each number that comes of the evaluated ones, lifted."""
        numbers = {name: lift(array) for name, array in self._given[0].items()}
        found = np.asarray(evaluate(self.formula, {**self.call, **numbers}), object)
        return [read(one) for one in np.ravel(found)]

    def _spread(self, results: Array) -> Array:
        """Return what came of the evaluated numbers, wherever they stand."""
        places = self._given[1]
        return (results if places is None else results[places]).reshape(self.shape)


# Of each formula, how many of its last calls were exact, less how many were not: at most `COUNTED`.
_exact_calls: Counter[Formula] = Counter()
COUNTED = 4


def _shares(got: Array, high: Array, low: Array, bound: Array) -> Array:
    """Return |got - (high + low)| over the bound; 0 where all is the same infinity."""
    with np.errstate(all="ignore"):
        error = np.asarray(abs((got.astype(np.float64) - high) - low))
        error[(got == high) & np.isinf(high)] = 0
        share = np.asarray(error / bound)
    share[(error == 0) | np.isinf(bound)] = 0
    return share


def _value_and_error(number: Any) -> tuple[float, float]:
    exact = not isinstance(number, Estimate)
    return (float(number), 0.0) if exact else (number.value, number.error)


def _distinct(arrays: Mapping[str, Array]) -> tuple[dict[str, Array], Array]:
    """Return what stands in the same place of the arrays, once each, and which of it is where."""
    places: Array = np.zeros(1, np.int64)
    for array in arrays.values():
        bits = np.asarray(array, np.float64).ravel().view(np.int64)
        numbers, which = np.unique(bits, return_inverse=True)
        _, places = np.unique(places * len(numbers) + which, return_inverse=True)
    _, at = np.unique(places, return_index=True)
    return {name: array.ravel()[at] for name, array in arrays.items()}, places


def _is_extended() -> bool:
    """Return whether NumPy computes in extended precision here and now.

    Some emulators round it to float64, and whoever shares the process can have it so.
    """
    one = np.ones((), np.longdouble)
    last = np.ldexp(one, 1 - EXTENDED)
    return bool(np.finfo(np.longdouble).nmant >= EXTENDED - 1 and one + last != one)


def _arithmetic(limits: Format) -> Arithmetic:
    unit, tiny = 2.0**-limits.bits, 2.0**limits.smallest_exponent
    return Arithmetic(unit, tiny, float(min(limits.overflow, sys.float_info.max)))


def _estimates(array: Array, arithmetic: Arithmetic) -> Array:
    values = np.asarray(array, np.float64).ravel().tolist()
    flat = [Estimate(v, 0.0, arithmetic) for v in values]
    lifted = np.empty(len(flat), object)
    lifted[:] = flat
    return lifted.reshape(np.shape(array))
