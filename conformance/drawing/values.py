"""The numbers of a call: one drawn seed and one style make all its arrays.

Drawing a seed keeps the engine's work at a handful of integers per call, and shrinking at the
geometry; `conformance.checking.shrinking` simplifies the values afterwards. An array is never all
zeros, since zeros hide what they are multiplied with.

Exact styles are sized to the call: n products of factors below L_1 and L_2 stay exact in any order
if n * L_1 * L_2 <= 2**bits.  Where a half-precision significand is too short for that, the sums of
a wider accumulator still are exact, and the result is rounded once.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from gradoracle.oracle.float_formats import FORMATS, Format
from gradoracle.oracle.shapes import Array, Shape

Shapes: TypeAlias = Mapping[str, Shape]
Arrays: TypeAlias = dict[str, Array]
Random: TypeAlias = np.random.Generator
Fill: TypeAlias = Callable[[Random, Shapes, Format], Arrays]


class Style(NamedTuple):
    """A way to fill the arrays of a call with numbers of a format."""

    name: str
    fill: Fill
    same: bool = False  # in every format
    evenly: bool = False  # every number is one of `SMALL`, each as likely, whatever the others are
    # Whether some are moved so that what the formula compares or rounds is tied: see `steps`.
    steps: Literal["no", "within", "anywhere"] = "no"

    def numbers(self, seed: int, shapes: Shapes, limits: Format) -> Arrays:
        """Return arrays of these shapes; others are given them too, so nobody may write to them."""
        return _numbers(self, seed, tuple(shapes.items()), None if self.same else limits)


@lru_cache(maxsize=8)
def _numbers(
    style: Style, seed: int, shapes: tuple[tuple[str, Shape], ...], limits: Format | None
) -> Arrays:
    """Return the same again for the next dtype of a geometry, where the style allows it."""
    random = np.random.default_rng(seed)
    arrays = style.fill(random, dict(shapes), FORMATS["float64"] if limits is None else limits)
    for array in arrays.values():
        array.flags.writeable = False
    return arrays


# -- integers, on which rounding never acts -------------------------------------------------------

SMALL = range(-4, 5)


def _small(random: Random, shape: Shape) -> Array:
    """Integers of at most 4 in absolute value, one in nine of them zero, not all zero."""
    array = random.integers(SMALL.start, SMALL.stop, shape).astype(np.float64)
    if array.size and not array.any():
        array.flat[random.integers(array.size)] = random.choice((-3, -2, -1, 1, 2, 3))
    return array


def small_integers(random: Random, shapes: Shapes, limits: Format) -> Arrays:
    """Every array holds integers in [-4, 4]."""
    del limits
    return {name: _small(random, shape) for name, shape in shapes.items()}


def round_numbers(random: Random, shapes: Shapes, limits: Format) -> Arrays:
    """Small multiples of 1, 1/2, 1/4 or 1/8, of one of them in every array: steps may be there."""
    arrays = small_integers(random, shapes, limits)
    return {name: array / random.choice((1, 2, 4, 8)) for name, array in arrays.items()}


def ones(random: Random, shapes: Shapes, limits: Format) -> Arrays:
    """One array holds small integers, all others ones: sums over windows can be read off."""
    varied = _pick(random, shapes)
    arrays = small_integers(random, shapes, limits)
    return {n: a if n == varied else np.ones_like(a) for n, a in arrays.items()}


def one_hot(random: Random, shapes: Shapes, limits: Format) -> Arrays:
    """One array holds a single nonzero element: the others must appear where it says."""
    hot = _pick(random, shapes)
    arrays = small_integers(random, shapes, limits)
    if arrays[hot].size:
        at, value = random.integers(arrays[hot].size), random.choice((-2, -1, 1, 2))
        arrays[hot] = np.zeros_like(arrays[hot])
        arrays[hot].flat[at] = value
    return arrays


def all_negative(random: Random, shapes: Shapes, limits: Format) -> Arrays:
    """Every element is negative: a zero that comes from the padding is seen."""
    return {n: -abs(a) - 1 for n, a in small_integers(random, shapes, limits).items()}


def next_to_powers(random: Random, shapes: Shapes, limits: Format) -> Arrays:
    """One array holds 2**k - 1, 2**k and 2**k + 1, the others -1, 0, 1: short significands fail.

    k is the largest that the format holds exactly for so many terms, or 11 or 12, just past the
    11 bits that half precision and TF32 hold.
    """
    large = _pick(random, shapes)
    longest = _power(limits.bits - 1 - _terms(shapes).bit_length(), shapes, limits)
    power = int(random.choice([k for k in (11, 12, longest) if k <= longest] or [longest]))
    arrays = {n: np.sign(a) for n, a in small_integers(random, shapes, limits).items()}
    near = 2.0**power + random.integers(-1, 2, shapes[large])
    arrays[large] = near * random.choice((-1, 1), shapes[large])
    return arrays


def cancelling(random: Random, shapes: Shapes, limits: Format) -> Arrays:
    """Neighbours of one array are 2**k + a and -2**k + b: large partial sums, small results."""
    large = _pick(random, shapes)
    longest = _power(limits.bits - 3 - _terms(shapes).bit_length(), shapes, limits)
    arrays = {n: np.sign(a) for n, a in small_integers(random, shapes, limits).items()}
    signs = np.where(np.arange(arrays[large].size) % 2, -1.0, 1.0).reshape(shapes[large])
    arrays[large] = signs * 2.0 ** min(longest, 20) + arrays[large]
    return arrays


# -- fractions on which rounding never acts either ------------------------------------------------

FEW = 14  # elements that are not zero
FINEST = 36  # bits of a fraction: long sums of them are whole numbers below 2**53 of its unit


def few_fractions(random: Random, shapes: Shapes, limits: Format) -> Arrays:
    """One array holds a few long fractions, all others -1, 0, 1: sums of any length stay exact."""
    large = _pick(random, {n: s for n, s in shapes.items() if n != "bias"})
    return _fractions(random, shapes, limits, large)


def increasing(random: Random, shapes: Shapes, limits: Format) -> Arrays:
    """Each array counts on from element to element: the largest number of all is the last one.

    Where the format does not hold so many integers, some next to each other are equal.
    """
    del random, limits
    return {n: np.arange(np.prod(shape), dtype=float).reshape(shape) for n, shape in shapes.items()}


def only_the_last(random: Random, shapes: Shapes, limits: Format) -> Arrays:
    """Every array is 0 but for its last image: a long sum that ends early is 0."""
    arrays = small_integers(random, shapes, limits)
    return {
        name: np.concatenate([np.zeros_like(array[:-1]), _never_zero(array[-1:])])
        for name, array in arrays.items()
    }


def fractions_in(name: str) -> Style:
    """Return the style whose array of this name holds a few long fractions."""
    return Style(f"few fractions in {name}", partial(_fractions, large=name))


def halves_that_cancel(name: str) -> Style:
    """Return the style whose array of this name holds positive numbers, then nearly as negative."""
    return Style(f"halves of {name} that cancel", partial(_cancelling_halves, large=name))


def _cancelling_halves(random: Random, shapes: Shapes, limits: Format, large: str) -> Arrays:
    """Fill `large` along its longest axis with 1 to 15, then with their negatives in another order.

    The sums between take more bits than half precision has; the whole one is the last number.
    """
    del limits
    arrays = {n: np.ones(shape) for n, shape in shapes.items()}
    lines = np.moveaxis(arrays[large], int(np.argmax(shapes[large])), -1)
    half = lines.shape[-1] // 2
    lines[...] = random.integers(1, 16, lines.shape)
    lines[..., half : 2 * half] = -random.permuted(lines[..., :half], axis=-1)
    return arrays


def _fractions(random: Random, shapes: Shapes, limits: Format, large: str) -> Arrays:
    """Fill `large` with zeros and a few odd multiples of 2**-b between 1/2 and 1.

    With one term of 1 beside them they stay below 2**bits units for the largest b; the smallest
    is past the 11 bits of half precision and TF32, where the format is.
    """
    size = int(np.prod(shapes[large]))
    count = min(size, FEW)
    longest = min(FINEST, limits.bits - (count + 1).bit_length())
    b = random.choice([*(b for b in (13, 16) if b <= longest), longest])
    arrays = {n: np.sign(a) for n, a in small_integers(random, shapes, limits).items()}
    arrays[large] = np.zeros(shapes[large])
    odd = 2 * random.integers(2 ** (b - 2), 2 ** (b - 1), count) + 1
    at = random.permutation(size)[:count]
    arrays[large].flat[at] = odd * 2.0**-b * random.choice((-1, 1), count)
    return arrays


# -- floats, which are checked by the rounding bound -----------------------------------------------


def normal(random: Random, shapes: Shapes, limits: Format) -> Arrays:
    """Every element is standard normal."""
    del limits
    return {name: random.standard_normal(shape) for name, shape in shapes.items()}


def wide_range(random: Random, shapes: Shapes, limits: Format) -> Arrays:
    """Normal elements times 2**-12 to 2**12, or what keeps sums in range."""
    most = min(12, max(0, _farthest(shapes, limits)))
    return {
        name: array * 2.0 ** random.integers(-12, most + 1, array.shape)
        for name, array in normal(random, shapes, limits).items()
    }


def far_from_one(random: Random, shapes: Shapes, limits: Format) -> Arrays:
    """Normal elements, each array times a power of two that only overflow and underflow forbid."""
    least = -min(300 if limits.bits > 24 else 30, -limits.smallest_exponent // 2)
    most = min(-least, _farthest(shapes, limits))
    return {
        name: array * 2.0 ** random.integers(min(least, most), most + 1)
        for name, array in normal(random, shapes, limits).items()
    }


def positive(random: Random, shapes: Shapes, limits: Format) -> Arrays:
    """Elements in [1, 2): every rounding error of a long sum points at a magnitude."""
    del limits
    return {name: 1 + random.random(shape) for name, shape in shapes.items()}


def large_mean(random: Random, shapes: Shapes, limits: Format) -> Arrays:
    """Normal elements about a mean that is thousands of times as large."""
    mean = 2.0 ** random.integers(limits.bits // 2, limits.bits)
    mean = min(mean, 2.0 ** _farthest(shapes, limits)) * random.choice((-1, 1))
    return {name: mean + array for name, array in normal(random, shapes, limits).items()}


def far_below(random: Random, shapes: Shapes, limits: Format) -> Arrays:
    """Elements of one array far below every number that a running maximum could start at.

    Each is a few sixteenths from a power of two; the array is one, the others are as they are.
    """
    large = "x" if "x" in shapes else _pick(random, shapes)
    arrays = small_integers(random, shapes, limits)
    arrays[large] = -below_all(random, limits) * (1 + random.integers(0, 16, shapes[large]) / 16)
    return arrays


def below_all(random: Random, limits: Format) -> float:
    """Return a power of two past 1e4, past 1e9, past 1e30 or as large as the format has."""
    largest = limits.largest_exponent
    return float(2.0 ** random.choice([n for n in (14, 31, 101, largest) if n <= largest]))


def few_numbers(random: Random, shapes: Shapes, limits: Format) -> Arrays:
    """Every array repeats a few normal numbers: many elements, of which few must be evaluated."""
    few = normal(random, dict.fromkeys(shapes, (FEW,)), limits)
    return {name: random.choice(few[name], shape) for name, shape in shapes.items()}


def nearly_cancelling(random: Random, shapes: Shapes, limits: Format) -> Arrays:
    """Neighbours of one array differ in sign and in the last few bits only."""
    large = _pick(random, shapes)
    arrays = positive(random, shapes, limits)
    flat = arrays[large].ravel()
    flat[1::2] = -flat[0 : 2 * (flat.size // 2) : 2] * (1 + 2.0 ** (4 - limits.bits))
    arrays[large] = flat.reshape(shapes[large])
    return arrays


# -- numbers that are not ordinary ----------------------------------------------------------------


def not_finite(name: str = "") -> tuple[Style, ...]:
    """Return the styles whose array of this name, or each, has one NaN or one infinity."""
    lost = {"one NaN": (np.nan,), "one infinity": (np.inf, -np.inf)}
    return tuple(
        Style(what, partial(_one_not_finite, name=name, values=v)) for what, v in lost.items()
    )


def _one_not_finite(
    random: Random, shapes: Shapes, limits: Format, name: str, values: tuple[float, ...]
) -> Arrays:
    """No element is zero, and in the array of this name, or in each, one is one of `values`."""
    arrays = {n: _never_zero(a) for n, a in small_integers(random, shapes, limits).items()}
    return _with_one(random, arrays, values, name)


def one_nan_among_floats(random: Random, shapes: Shapes, limits: Format) -> Arrays:
    """Normal numbers, and one element of every array is NaN."""
    return _with_one(random, normal(random, shapes, limits), (np.nan,))


def _never_zero(array: Array) -> Array:
    return np.where(array == 0, 1.0, array)


def _with_one(random: Random, arrays: Arrays, values: tuple[float, ...], name: str = "") -> Arrays:
    """Put one of the values anywhere into the array of this name, or into each."""
    for one, array in arrays.items():
        if array.size and name in ("", one):
            array.flat[random.integers(array.size)] = random.choice(values)
    return arrays


def styles(*fills: Fill) -> tuple[Style, ...]:
    """Return styles named after the functions that fill the arrays."""
    return tuple(
        Style(f.__name__.replace("_", " "), f, f in SAME, f is small_integers) for f in fills
    )


SAME = (small_integers, ones, one_hot, all_negative, normal, positive)
INTEGERS = styles(small_integers, ones, one_hot, all_negative, next_to_powers, cancelling)
EXACT = (*INTEGERS, *styles(few_fractions))
FLOATS = styles(normal, wide_range, far_from_one, positive, nearly_cancelling)
NOT_FINITE = not_finite()


def _pick(random: Random, shapes: Shapes) -> str:
    return sorted(shapes)[random.integers(len(shapes))]


def _power(longest: int, shapes: Shapes, limits: Format) -> int:
    """Return an exponent for which sums are exact, or if none is, one that overflows nowhere."""
    if longest > 0:
        return longest
    return max(1, min(limits.bits - 3, limits.largest_exponent - 1 - _terms(shapes).bit_length()))


def _farthest(shapes: Shapes, limits: Format) -> int:
    """Return the largest exponent e that keeps sums of products of normal numbers in range.

    Elements below 2**3 times 2**e, two of them multiplied, and so many terms.
    """
    return (limits.largest_exponent - 6 - _terms(shapes).bit_length()) // 2


def _terms(shapes: Shapes) -> int:
    """Return a bound of how many products an element of any formula of the operator sums."""
    return max(1, *(int(np.prod(shape)) for shape in shapes.values())) + 1
