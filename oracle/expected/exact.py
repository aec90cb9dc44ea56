"""The exact value of a formula on floating-point data, and what rounding may do to it.

A finite float is an integer times a power of two, so a sum of products of floats is one too.
`MultilinearTruth` scales the data of a call to integers, runs the formula's own loops on them, and
keeps the result as integers and one scale.  The same loops fed ones count the terms of every
element, fed absolute values add their magnitudes: that is all the rounding bound needs.

Where the loops divide (averages), the data are first multiplied by a number that every divisor
divides, so the integers stay whole; what is odd in it stays a denominator of the result.
"""

from fractions import Fraction
from functools import cached_property, lru_cache
from itertools import product
from math import ceil, prod
from typing import Any, TypeAlias

import numpy as np

from gradoracle.oracle.compiled_loops import arguments_only, pays_to_compile
from gradoracle.oracle.declaration import (
    Call,
    Formula,
    Multilinear,
    algebra,
    argument_names,
    evaluate,
    operands,
)
from gradoracle.oracle.float_formats import FORMATS, Format, dtype_of, name_of
from gradoracle.oracle.shapes import Array, Shape

Integers: TypeAlias = Array  # whole numbers: float64 while they stay below 2**53, else objects

EXACT = 2**53  # float64 holds every integer up to here
NARROW = (
    30  # bits of a significand: float64 computes what is checked as such to 2**-23 of its bound
)
NEAR = 2.0**-20  # to 1: there integers decide, not float64
LARGE, LARGE_COMPILED = 200_000, 4_000  # terms from which limbs beat Python's integers


def scaled(array: Array) -> tuple[Integers, int]:
    """Return integers and a scale s with array = integers / 2**s, exactly.

    Whole numbers up to 2**53 keep the scale 0; else s is the smallest that will do.

    Raises:
        ValueError: the array holds a NaN or an infinity, which no integer stands for.
    """
    values = np.asarray(array, np.float64)
    largest = abs(values).max(initial=0)  # NaN if there is one
    if not largest < np.inf:
        raise ValueError("only finite numbers can be scaled to integers")
    if largest <= EXACT and (np.rint(values) == values).all():
        return values, 0
    mantissa, exponent = np.frexp(values)
    digits = np.ldexp(mantissa, 53).astype(np.int64)
    lowest = np.frexp((digits & -digits).astype(np.float64))[1] - 1  # trailing zero bits
    used = digits != 0
    scale = int((53 - exponent - lowest)[used].max())
    if int((exponent[used] + scale).max()) <= 53:
        return np.asarray(np.ldexp(values, scale)), scale
    shift = np.where(used, exponent - 53 + scale, 0)
    raised = digits.astype(object) * 2 ** np.maximum(shift, 0).astype(object)
    return np.asarray(raised // 2 ** np.maximum(-shift, 0).astype(object), object), scale


def integers(array: Integers) -> Array:
    """Return the whole numbers of `array` as Python integers in an object array."""
    if array.dtype == object:
        return array
    return np.asarray(array).astype(np.int64).astype(object)


def inner(array: Array, other: Array) -> Fraction | float:
    """Return <array, other> exactly, or NaN where an element is not finite."""
    if not (np.isfinite(array).all() and np.isfinite(other).all()):
        return float("nan")
    (a, s), (b, t) = scaled(array), scaled(other)
    small = object not in (a.dtype, b.dtype)
    if small and abs(a).max(initial=0) * abs(b).max(initial=0) * a.size <= EXACT:
        total = int(np.dot(a.ravel(), b.ravel()))
    else:
        total = int(np.dot(integers(a).ravel(), integers(b).ravel()))
    return Fraction(total) / Fraction(2) ** (s + t)


class MultilinearTruth:
    """What `formula` gives on `call`, exactly: the elements are `value` / (2**`scale` * `odd`)."""

    def __init__(self, formula: Formula, call: Call) -> None:
        """Scale the data of `call`; nothing is evaluated before it is asked for."""
        self.formula, self.call = formula, call
        kind = algebra(formula)
        if not isinstance(kind, Multilinear):
            raise TypeError(f"{formula.__name__} is not multilinear")
        self._algebra = kind
        self._division = kind.over(call) if kind.over else None
        self._over = self._division.multiple if self._division else 1
        self._operands, scale = _one_scale(formula, call)
        twos = (self._over & -self._over).bit_length() - 1
        self.odd, self.scale = self._over >> twos, scale + twos
        self._fitting: dict[str, bool] = {}
        self._narrow: dict[str, bool] = {}

    @cached_property
    def terms(self) -> Array:
        """How many terms each element sums: the formula fed ones; at most that, if it divides."""
        if self._division:
            with arguments_only():
                return np.full(evaluate(self.formula, self.call).shape, self._division.terms)
        shapes = tuple((name, a.shape) for name, a in self._operands.items())
        positional, names = argument_names(self.formula)
        rest = {n: self.call[n] for n in (*positional, *names) if n not in self._operands}
        if any(isinstance(v, np.ndarray) for v in rest.values()):  # indices, or what has them
            return self._count({n: np.ones(shape) for n, shape in shapes})
        return _count_terms(self.formula, shapes, tuple(rest.items()))

    def _count(self, ones: dict[str, Array]) -> Array:
        signed = self._given(self._signed(ones))
        return np.asarray(abs(evaluate(self.formula, {**self.call, **signed})))

    def _given(self, arrays: dict[str, Array]) -> dict[str, Any]:
        """Return operands as the formula takes them: an option that is a factor is a number."""
        options = argument_names(self.formula)[1]
        return {name: _plain(a) if name in options else a for name, a in arrays.items()}

    @property
    def shape(self) -> Shape:
        """The answer's shape."""
        return self.terms.shape

    @property
    def undivided(self) -> int:
        """How many times as large the sums may be before they are divided."""
        return self._division.terms if self._division else 1

    @cached_property
    def value(self) -> Integers:
        """The exact elements, times 2**scale * odd."""
        return self._evaluate(self._operands)

    @cached_property
    def magnitude(self) -> Integers:
        """The sum of the absolute values of each element's terms, times 2**scale * odd."""
        sizes = {name: abs(a) for name, a in self._operands.items()}
        sums = self._evaluate(self._signed(sizes), self._sized)
        magnitude: Integers = abs(sums)
        return magnitude

    def is_exact(self, dtype: str, accumulator: str) -> bool:
        """Whether rounding provably never acts, whatever the order of the sums.

        Every product and partial sum is a multiple of 2**-scale and at most the sum of the
        magnitudes: it is representable if that fits the significand and the exponents of the
        accumulator.  The result is if its own value fits, whatever the sums between; with `dtype`
        for both, no number of any answer to these magnitudes needs more than it holds.
        """
        if self.odd != 1 or not self._fits(accumulator):
            return False
        return dtype == accumulator or self._is_representable(dtype)

    def room(self, accumulator: str) -> tuple[float, float, float]:
        """Return the largest sum of magnitudes, what all sums are multiples of, and their limit.

        Up to the limit the accumulator holds every multiple, so sums are exact in any order.
        """
        step = 2.0**-self.scale
        largest = float(max(integers(self.magnitude).ravel(), default=0)) * step
        return largest, step, 2.0 ** FORMATS[accumulator].bits * step

    def _is_representable(self, name: str) -> bool:
        """Whether all elements, which the accumulator holds, are numbers of a narrower format."""
        if name not in self._narrow:
            with np.errstate(over="ignore"):
                value = self.as_float(np.dtype(np.float64))
                narrow = value.astype(dtype_of(name)).astype(np.float64)
            self._narrow[name] = bool((narrow == value).all())
        return self._narrow[name]

    def _fits(self, name: str) -> bool:
        if name not in self._fitting:
            self._fitting[name] = self._fits_in(FORMATS[name])
        return self._fitting[name]

    def _fits_in(self, limits: Format) -> bool:
        if self.scale > limits.subnormal_scale:
            return False
        most = 2 ** min(limits.bits, max(0, limits.largest_exponent + self.scale))
        if self._is_below(most):
            return True
        with np.errstate(over="ignore"):
            largest = float(np.ldexp(self._magnitude, self.scale).max(initial=0)) / most
        if abs(largest - 1) > NEAR:
            return bool(largest < 1)
        return bool((self.magnitude <= most).all())

    def as_float(self, dtype: np.dtype[np.generic]) -> Array:
        """Return the elements rounded to float64 and from there to `dtype`."""
        if self.value.dtype != object and self.odd == 1:
            return np.ldexp(self.value, -self.scale).astype(dtype)
        flat = [_quotient(int(v), self.scale, self.odd) for v in self.value.ravel()]
        return np.array(flat, np.float64).reshape(self.value.shape).astype(dtype)

    def error_over_bound(self, got: Array, accumulator: str) -> Array:
        """Return |got - truth| as a share of the largest error that rounding explains.

            gamma_n * sum|terms| + (result's rounding, where the accumulator is wider) + underflow
            gamma_n = n*u / (1 - n*u)                                 [Higham 2002, section 3.1]

        holds for sums of n terms in any order, where it is `bounded`; elsewhere the share is 0.
        Above 1, or not a number: wrong.  Floats decide where a share is far from 1; near it,
        everything is compared in integers, and only the share that is returned is rounded.
        """
        name = name_of(got.dtype)
        bounded = self.bounded(name, accumulator)
        ratio = np.where(bounded, np.inf, 0.0)
        finite = np.isfinite(got) & bounded
        if not finite.any():
            return ratio
        bound = self._rounded_bound(name, accumulator)
        if bound is not None:
            with np.errstate(all="ignore"):
                error = self.error(np.where(finite, got, 0), accumulator)
                shares = np.where(error == 0, 0.0, error / bound)
            if (abs(shares[finite] - 1) > NEAR).all():
                ratio[finite] = shares[finite]
                return ratio
        digits, shift = scaled(np.where(finite, got, 0))
        common = max(shift, self.scale, *self._underflow_scales(name, accumulator))
        want = integers(self.value) * 2 ** (common - self.scale)
        error = abs(integers(digits) * (2 ** (common - shift) * self.odd) - want)
        allowed, unit = self._allowed(common, abs(want), name, accumulator)
        ratio[finite] = _shares(np.asarray(error * unit), np.asarray(allowed))[finite]
        return ratio

    def error(self, got: Array, accumulator: str) -> Array:
        """Return |got - truth|, rounded; of a narrow accumulator by little of its bound."""
        if FORMATS[accumulator].bits <= NARROW:
            return np.asarray(abs(got.astype(np.float64) - self._value))
        digits, shift = scaled(got)
        common = max(shift, self.scale)
        want = integers(self.value) * 2 ** (common - self.scale)
        error = abs(integers(digits) * (2 ** (common - shift) * self.odd) - want)
        try:
            return np.ldexp(np.asarray(error, np.float64) / self.odd, -common)
        except OverflowError:
            flat = [_quotient(int(one), common, self.odd) for one in np.ravel(error)]
            return np.array(flat, np.float64).reshape(self.shape)

    @cached_property
    def _value(self) -> Array:
        """The elements as float64 computes them."""
        with np.errstate(all="ignore"):
            return evaluate(self.formula, {**self.call, **self._given(self._wide)})

    @cached_property
    def _wide(self) -> dict[str, Array]:
        given = operands(self.formula, self.call)
        return {name: array.astype(np.float64) for name, array in given.items()}

    @cached_property
    def _magnitude(self) -> Array:
        """The sum of the absolute values of each element's terms, as float64 computes it.

        No term has another sign, so that of n terms it is off by n * 2**-53 of itself, unless a
        product is too small or too large for float64.
        """
        signed = self._signed({name: abs(array) for name, array in self._wide.items()})
        with np.errstate(all="ignore"):
            return np.asarray(abs(evaluate(self._sized, {**self.call, **self._given(signed)})))

    @property
    def _sized(self) -> Formula:
        """The formula that gives the sizes of the terms."""
        return self._algebra.sizes or self.formula

    def _rounded_bound(self, dtype: str, accumulator: str) -> Array | None:
        """Return what rounding explains, rounded up a little; None where floats cannot tell."""
        inner, result = FORMATS[accumulator], FORMATS[dtype]
        products, sums = self._underflow_scales(dtype, accumulator)
        if (products or sums) and result.bits > NARROW:
            return None
        terms = np.asarray(self.terms, np.float64) + (self.odd != 1)
        sizes = self._magnitude * (1 + terms * 2.0**-50)  # what float64 itself rounds, and more
        bound = terms * sizes / float(self._room(inner))
        if inner.bits > result.bits:
            value = abs(self._value) + terms * sizes * 2.0**-50
            bound = bound + (value + bound) * 2.0**-result.bits
        bound = bound + (terms * 2.0**-products if products else 0) + (2.0**-sums if sums else 0)
        return bound if np.isfinite(bound).all() else None

    def bound(self, dtype: str, accumulator: str) -> Array:
        """Return the largest error that rounding explains, as float64, per element."""
        if self.is_exact(dtype, accumulator):
            return np.zeros(self.shape)
        bounded = self.bounded(dtype, accumulator)
        if not bounded.any():
            return np.full(self.shape, np.inf)
        rounded = self._rounded_bound(dtype, accumulator)
        if rounded is not None:
            return np.where(bounded, rounded, np.inf)
        common = max(self.scale, *self._underflow_scales(dtype, accumulator))
        want = integers(self.value) * 2 ** (common - self.scale)
        allowed, unit = self._allowed(common, abs(want), dtype, accumulator)
        try:
            rounded = np.ldexp(np.asarray(allowed, np.float64) / unit / self.odd, -common)
        except OverflowError:
            shares = [_quotient(int(v), common, self.odd) / unit for v in np.ravel(allowed)]
            rounded = np.array(shares, np.float64).reshape(self.shape)
        return np.where(bounded, rounded, np.inf)

    def bounded(self, dtype: str, accumulator: str) -> Array:
        """Return where rounding is bounded at all: nowhere where n*u reaches 1, see gamma_n.

        Nor where a sum may overflow on the way, in some order of its terms and before it is
        divided, or the result may when it is rounded: infinities and NaN are right there too.
        """
        inner, result = FORMATS[accumulator], FORMATS[dtype]
        room = self._room(inner)
        if room <= 0:
            return np.zeros(self.shape, bool)
        one = Fraction(2) ** self.scale * self.odd
        least = min(inner.overflow, result.overflow)
        if 2 * room >= 2**inner.bits and self._largest_sum * self.undivided * 4 < least * one:
            return np.ones(self.shape, bool)
        sums, terms = integers(self.magnitude), self._roundings()
        ends = sums * (self.undivided * 2**inner.bits) < ceil(inner.overflow * room * one)
        largest = abs(integers(self.value)) * room + terms * sums
        return np.asarray(ends & (largest < ceil(result.overflow * room * one)), bool)

    def _room(self, limits: Format) -> int:
        """Return 1 - n*u, times 2**bits, for the largest n."""
        return (1 << limits.bits) - int(self._roundings().max(initial=0))

    def _roundings(self) -> Array:
        """Return how often a term is rounded: n - 1 additions and a product, or a division.

        A division may be a product with a rounded reciprocal: two roundings, beside the sums.
        """
        more = 0 if self.odd == 1 else 1
        return np.asarray(integers(self.terms) + more, object)

    def _allowed(self, common: int, want: Array, dtype: str, accumulator: str) -> tuple[Array, int]:
        """Return the bound in units of 2**-common / (odd * unit), rounding nothing."""
        bits, result = FORMATS[accumulator].bits, FORMATS[dtype]
        terms, room = self._roundings(), self._room(FORMATS[accumulator])
        sums = integers(self.magnitude) * 2 ** (common - self.scale)
        unit = room * 2**result.bits
        allowed = terms * sums * 2**result.bits
        if bits > result.bits:
            allowed = allowed + want * room + terms * sums
        products, sums_ = self._underflow_scales(dtype, accumulator)
        if products:
            allowed = allowed + terms * unit * self.odd * 2 ** (common - products)
        if sums_:
            allowed = allowed + unit * self.odd * 2 ** (common - sums_)
        return allowed, unit

    def _underflow_scales(self, dtype: str, accumulator: str) -> tuple[int, int]:
        """Return the scales of the subnormals that products and the result may be rounded to.

        0 where that cannot happen: the smallest product is normal in the accumulator, and sums
        are as fine as the data, so that even divided no result of a wider accumulator is subnormal.
        """
        limits, result = FORMATS[accumulator], FORMATS[dtype]
        products = (
            limits.subnormal_scale if self._smallest_product < 2.0**limits.smallest_exponent else 0
        )
        # Every element is a multiple of 1 / (2**scale * odd), which is compared with that number.
        room = -result.smallest_exponent - self.scale
        narrower = limits.bits > result.bits and (room < 0 or self.odd > 1 << room)
        return products, result.subnormal_scale if narrower else 0

    @cached_property
    def _smallest_product(self) -> float:
        smallest = 1.0 / self._over
        for name in self._algebra.factors:
            values = abs(np.asarray(self.call[name], np.float64))
            smallest *= float(np.min(values, where=values > 0, initial=np.inf))
        return smallest

    def _is_below(self, most: int) -> bool:
        """Return whether no element's magnitudes sum to more, as far as the largest factors say.

        First it is asked of as many terms as there are products of one number of each factor: no
        element sums more of them, and no loop is needed to count them.
        """
        products = prod(self._operands[name].size for name in self._algebra.factors)
        return self._sum_of(products) <= most or self._largest_sum <= most

    @cached_property
    def _largest_sum(self) -> int:
        """A bound of every element's sum of magnitudes, from the largest factors alone."""
        return self._sum_of(int(self.terms.max(initial=0)))

    def _sum_of(self, terms: int) -> int:
        """Return a bound of the magnitudes of so many terms, from the largest factors alone."""
        product, addend = self._largest
        return (self._largest_of(terms) * product + addend) * self._over

    def _largest_of(self, terms: int) -> int:
        """Return how many times the largest factor so many terms' sizes may add up to."""
        known = self._division.sizes if self._division else None
        return terms if known is None else known

    @cached_property
    def _largest(self) -> tuple[int, int]:
        """The product of the largest magnitudes of all factors, and that of what is added."""
        largest = [int(abs(a).max(initial=0)) for a in self._operands.values()]
        addend = largest.pop() if self._algebra.plus in self._operands else 0
        return prod(largest), addend

    def _signed(self, arrays: dict[str, Array]) -> dict[str, Array]:
        """Return positive operands so that the terms they make have one sign."""
        plus = self._algebra.plus
        if self._algebra.minus and plus in arrays:
            return {**arrays, plus: -arrays[plus]}
        return arrays

    def _evaluate(
        self, arrays: dict[str, Integers], formula: Formula | None = None
    ) -> Integers:  # fmt: skip
        """Run the formula on integers, exactly: in float64 where that is proved, else larger.

        Another one of the same arguments in its place, if it is given.
        """
        whole = all(a.dtype != object for a in arrays.values())
        if whole and self._is_below(EXACT):
            return self._run(arrays, formula)
        large = int(self.terms.sum()) > (LARGE_COMPILED if pays_to_compile() else LARGE)
        if large and self._bits_of_limbs > 0:
            return self._in_limbs(arrays, formula)
        return self._run({name: integers(a) for name, a in arrays.items()}, formula)

    def _run(self, arrays: dict[str, Array], formula: Formula | None = None) -> Array:
        """Evaluate the formula on whole numbers, their first factor and `plus` times `over`.

        Where it divides, Python's integers go as fractions: divided by 1 they would become floats.
        """
        given = dict(arrays)
        if self._division is not None:
            for name in (self._algebra.factors[0], self._algebra.plus):
                if name in given:
                    given[name] = np.asarray(given[name] * self._over)
                    if given[name].dtype == object:
                        given[name] = np.asarray(np.frompyfunc(Fraction, 1, 1)(given[name]))
        answer = evaluate(formula or self.formula, {**self.call, **self._given(given)})
        if self._division is not None and answer.dtype == object:
            answer = np.asarray(np.frompyfunc(int, 1, 1)(answer), object).reshape(answer.shape)
        return answer

    @property
    def _bits_of_limbs(self) -> int:
        """How many bits a digit of a factor may have; none are left where `over` is large."""
        largest = self._largest_of(int(self.terms.max(initial=1)))
        room = 52 - largest.bit_length() - self._over.bit_length()
        return room // len(self._algebra.factors)

    def _in_limbs(self, arrays: dict[str, Integers], formula: Formula | None = None) -> Integers:
        """Split every factor into digits short enough for float64 and add the partial results.

        The formula is linear in each factor, so its value is the sum over one digit of each,
        times their weights.
        """
        factors, bits = self._algebra.factors, self._bits_of_limbs
        split = {name: _limbs(integers(a), bits) for name, a in arrays.items()}
        blank = {name: np.zeros(a.shape) for name, a in arrays.items()}
        total: Array = np.zeros(self.shape, object)
        for places in product(*(range(len(split[name])) for name in factors)):
            digits = {n: split[n][place] for n, place in zip(factors, places, strict=True)}
            part = self._run({**blank, **digits}, formula)
            total = total + integers(part) * 2 ** (bits * sum(places))
        if self._algebra.plus in split:
            for place, digit in enumerate(split[self._algebra.plus]):
                alone = self._run({**blank, self._algebra.plus: digit}, formula)
                total = total + integers(alone) * 2 ** (bits * place)
        return total


@lru_cache(maxsize=64)
def _count_terms(
    formula: Formula, shapes: tuple[tuple[str, Shape], ...], options: tuple[tuple[str, Any], ...]
) -> Array:
    """Return the number of terms of every element; one geometry is checked with many numbers."""
    call = dict(options)
    truth = MultilinearTruth(formula, {**call, **{n: np.ones(shape) for n, shape in shapes}})
    terms = truth._count({name: np.ones(shape) for name, shape in shapes})  # noqa: SLF001
    terms.flags.writeable = False
    return terms


def _one_scale(formula: Formula, call: Call) -> tuple[dict[str, Integers], int]:
    """Scale a call's arrays to integers so that `plus` is in the unit of the products."""
    names = algebra(formula)
    assert isinstance(names, Multilinear)  # noqa: S101 - for the type checker
    arrays, scales = {}, {}
    for name, array in operands(formula, call).items():
        arrays[name], scales[name] = scaled(array)
    scale = sum(scales[name] for name in names.factors)
    if names.plus in arrays:
        finer = scales[names.plus] - scale
        first = names.factors[0]
        if finer > 0:
            arrays[first], scale = _times_power(arrays[first], finer), scale + finer
        else:
            arrays[names.plus] = _times_power(arrays[names.plus], -finer)
    return arrays, scale


def _times_power(array: Integers, power: int) -> Integers:
    if array.dtype != object and abs(array).max(initial=0) * 2.0 ** min(power, 60) <= EXACT:
        shifted: Array = np.ldexp(array, power)
        return shifted
    larger: Array = integers(array) * 2**power
    return larger


def _limbs(array: Array, bits: int) -> list[Array]:
    """Return the base-2**bits digits of each integer, signs kept, lowest first, as float64."""
    sign, rest = np.sign(array), np.asarray(abs(array))
    digits: list[Array] = []
    while rest.any() or not digits:
        digits.append(np.asarray(sign * (rest % 2**bits), np.float64))
        rest = np.asarray(rest // 2**bits)
    return digits


def _plain(array: Array) -> Any:
    """Return an option that is a factor as a Python number, as the loops expect it."""
    return array.item() if array.ndim == 0 else array


def _shares(errors: Array, allowed: Array) -> Array:
    """Return errors / allowed, never rounded down to 1 from above; 0 / 0 is 0."""
    exactly = np.frompyfunc(_share, 2, 1)
    try:
        above, below = errors.astype(np.float64), allowed.astype(np.float64)
    except OverflowError:
        return np.asarray(exactly(errors, allowed), np.float64)
    with np.errstate(all="ignore"):
        shares = np.where(errors == 0, 0.0, above / below)
    near = abs(shares - 1) < NEAR
    if near.any():
        shares[near] = exactly(errors[near], allowed[near])
    return np.asarray(shares, np.float64)


def _share(error: int, allowed: int) -> float:
    if allowed:
        return _quotient_of(error, allowed)
    return 0.0 if error == 0 else float("inf")


def _quotient_of(numerator: int, denominator: int) -> float:
    """Return numerator / denominator, never rounded down to 1 from above."""
    try:
        share = numerator / denominator
    except OverflowError:
        return float("inf")
    return float(np.nextafter(1.0, 2.0)) if share <= 1 and numerator > denominator else share


def _quotient(value: int, scale: int, odd: int = 1) -> float:
    try:
        return float(value / (2**scale * odd) if scale >= 0 else value * 2**-scale / odd)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
