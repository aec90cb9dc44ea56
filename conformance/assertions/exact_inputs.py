"""Arrays on which no sum rounds, in any order: the answer to them must be equal."""

from collections.abc import Iterator, Mapping
from math import log2
from operator import index
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from gradoracle.conformance.assertions.arrays import as_numpy, format_named
from gradoracle.conformance.assertions.calls import (
    call_from,
    data_names,
    defaults,
    options_from,
    require_by_name,
    require_names,
    topic_of,
)
from gradoracle.conformance.operators.domain import ANY_AXES, letters_of
from gradoracle.conformance.operators.record import rounded
from gradoracle.conformance.reports.explain import Topic
from gradoracle.oracle.axes import OF_A_GROUP
from gradoracle.oracle.declaration import (
    Call,
    Formula,
    Multilinear,
    algebra,
    argument_names,
    axes_of,
    is_data,
)
from gradoracle.oracle.expected.exact import MultilinearTruth
from gradoracle.oracle.expected.truth import ComposedTruth, answer_shape, truth
from gradoracle.oracle.float_formats import FORMATS, dtype_of
from gradoracle.oracle.shapes import Shape

GRADIENT = "grad_output"  # has the shape of the forward pass, if it is not given
SHORT = (4, 2, 1)  # the largest elements of all factors but one, the first that fits
SPARSER = 4  # times fewer elements of the largest factor are not zero: there are too many terms


class Range(NamedTuple):
    """What the elements of a call's arrays are drawn from: integers, none of them zero."""

    long: int  # the largest of one factor, and of arrays that are not multiplied
    short: int  # the largest of the other factors
    share: float  # of the elements of the largest factor that are not zero


def exact_inputs(
    function: str, /, *args: Any, dtype: Any = "float16", seed: int = 0,
    sizes: Mapping[str, int] = MappingProxyType({}), **arguments: Any,
) -> dict[str, Any]:  # fmt: skip
    """Return arguments of a function on which every sum is exact in `dtype`, in any order.

        inputs = exact_inputs("conv2d", dtype="float16", x=(2, 3, 8, 8), weight=(4, 3, 3, 3))
        np.testing.assert_array_equal(conv2d(inputs["x"], inputs["weight"]),
                                      expected("conv2d", **inputs).value)

    The arguments are those of `assert_within_bound`, with a shape where an array goes; a bias is
    made if its shape is given.  `grad_output` may be left out where the other arguments say what
    shape it has.  Indices are given as they are: `indices=` an array.

    In place of shapes, `sizes` may say how long axes are, by the letters that `gradoracle
    explain conv2d --all` lists: the call above is that of
    `sizes={"n": 2, "c": 3, "h": 8, "w": 8, "m": 4, "p": 3, "q": 3}`.  Arrays that may be None are
    made if their shape is given.

    The elements are integers, as long as the format has room for: those of one factor, which the
    seed chooses, reach up to the sums' last bit, so that inputs in TF32 or half precision and sums
    in half precision show.  Of very long sums some elements are 0.

    The result has the arrays as NumPy's, bfloat16 as that of ml_dtypes, and all options;
    numbers among these (negative_slope) are rounded to `dtype`.

    Raises:
        ValueError: there are no such data (elementary functions round; a mean of 9 divides by 9),
            or the shapes fit no call.
        TypeError: an argument is missing or unknown, or an axis is.
    """
    topic, name = topic_of(function), format_named("dtype", dtype)
    require_by_name(topic.formula, args)
    if not topic.operator.styles.exact:
        raise ValueError(
            f"{function}: no data are exact, because its elementary functions round; use "
            "assert_within_bound"
        )
    blank = _blank(topic, name, {**_of_sizes(topic, sizes, arguments), **arguments})
    random = np.random.default_rng(seed)
    factors = _factors(topic.formula)
    long = str(random.choice(factors)) if factors else ""
    for range_ in _ranges(topic.formula, blank, name):
        call = _filled(topic, blank, range_, long, random)
        if _is_exact(topic.formula, call, name):
            return {n: value for n, value in call.items() if value is not None}
    shapes = {n: np.shape(v) if is_data(v) else v for n, v in blank.items() if v is not None}
    raise ValueError(
        f"{function}: no exact data were found in {name} for "
        f"{', '.join(f'{n}={v}' for n, v in shapes.items())}: a divisor that is no power of two "
        "rounds, and so does a factor whose significand is long"
    )


def _of_sizes(
    topic: Topic, sizes: Mapping[str, int], arguments: Mapping[str, Any]
) -> dict[str, Shape]:
    """Return the shapes that arguments have by the lengths of their axes.

    Raises:
        TypeError: a letter is of no axis, or one is missing.
        ValueError: groups do not divide the channels.
    """
    if not sizes:
        return {}
    axes, name = axes_of(topic.formula), topic.formula.__name__
    letters = letters_of(axes)
    if unknown := [one for one in sizes if one not in letters]:
        known = ", ".join(dict.fromkeys(letters))
        raise TypeError(f"{name} has no axis {', '.join(map(repr, unknown))}; it has {known}")
    names, options = argument_names(topic.formula)
    wanted = {n: axes.shapes.get(n, n) for n in (*names, *options)}
    found: dict[str, Shape] = {}
    for argument, array in wanted.items():
        of = axes.arrays.get(array, ())
        if not of or argument in arguments or array in axes.optional:
            continue
        if ANY_AXES in of:
            raise TypeError(
                f"{name}: {array} may have any number of axes: give its shape, {argument}=(2, 3)"
            )
        missing = [one for one in of if one.removesuffix(OF_A_GROUP) not in sizes]
        if not missing:
            found[argument] = tuple(_length(one, sizes, arguments) for one in of)
        elif argument != GRADIENT:
            raise TypeError(f"{name}: {array} [{', '.join(of)}] needs {' and '.join(missing)} too")
    return found


def _length(letter: str, sizes: Mapping[str, int], arguments: Mapping[str, Any]) -> int:
    """Return how long an axis is, of a group's channels too."""
    size = sizes[letter.removesuffix(OF_A_GROUP)]
    if not letter.endswith(OF_A_GROUP):
        return size
    groups = index(arguments.get("groups", 1))
    if groups < 1 or size % groups:
        raise ValueError(f"{letter[0]} must be a multiple of groups, {groups}, got {size}")
    return size // groups


def _blank(topic: Topic, dtype: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the call with ones in its arrays.

    Raises:
        TypeError: an argument is missing or unknown.
        ValueError: a shape is none, or the shapes fit no call.
    """
    formula, data = topic.formula, data_names(topic.operator)
    require_names(formula, arguments, {*defaults(formula), GRADIENT})
    names, options = argument_names(formula)
    given = {n: v for n, v in arguments.items() if v is not None}
    if GRADIENT in names and GRADIENT not in given:
        given[GRADIENT] = _shape_of_gradient(topic, given)
    arrays = {
        n: np.ones(_shape(n, given[n]), dtype_of(dtype)) if n in data else as_numpy(n, given[n])
        for n in names
        if n in given
    }
    numbers = rounded(options_from(formula, given), dtype_of(dtype))
    return call_from(topic, {**arrays, **{n: numbers[n] for n in options}})


def _shape(name: str, value: Any) -> Shape:
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        raise ValueError(
            f"{name} must be a shape, got an array: give its shape, {name}={tuple(value.shape)}"
        )
    try:
        shape = tuple(map(index, value))
    except TypeError:
        shape = (-1,)
    if min(shape, default=0) < 0:
        raise ValueError(f"{name} must be a shape, such as (2, 3, 8, 8), got {value!r:.60}")
    return shape


def _shape_of_gradient(topic: Topic, given: Mapping[str, Any]) -> Shape:
    """Return the shape of the forward pass on arrays of the given shapes.

    Raises:
        TypeError: those do not say it.
    """
    operator, forward = topic.operator, topic.operator.formula
    names, options = argument_names(forward)
    known = {operator.axes.shapes.get(n, n): value for n, value in given.items()}
    needed = {*names, *options} - {*defaults(forward)}
    if needed - {*known}:
        require_names(topic.formula, given, defaults(topic.formula))
    names = tuple(n for n in names if n in needed)
    chosen = {n: value for n, value in given.items() if n in options}
    arrays = {n: np.broadcast_to(1.0, _shape(n, known[n])) for n in names}
    return answer_shape(forward, call_from(Topic(operator, forward), {**arrays, **chosen}))


def _factors(formula: Formula) -> list[str]:
    """Return the arrays whose elements are multiplied; none where nothing is summed."""
    kind, names = algebra(formula), argument_names(formula)[0]
    return [n for n in kind.factors if n in names] if isinstance(kind, Multilinear) else []


def _ranges(formula: Formula, blank: Call, dtype: str) -> Iterator[Range]:
    """Yield ranges, from the widest on which sums may be exact, as far as their mean says."""
    bits, terms, factors = FORMATS[dtype].bits, 1, _factors(formula)
    if factors:
        terms = max(1, int(MultilinearTruth(formula, blank).terms.max(initial=1)))
    share = 1.0
    while share * terms >= 1:
        for short in SHORT if len(factors) > 1 else SHORT[-1:]:
            mean = share * terms * (short + 1) / 4  # of a sum of magnitudes, over long + 1
            most = min(bits - 1, int(log2(max(1.0, 2**bits / mean))))
            for power in range(most, int(log2(short)) - 1, -1):
                yield Range(2**power, short, share)
        share /= SPARSER


def _filled(
    topic: Topic, blank: Call, range_: Range, long: str, random: np.random.Generator
) -> dict[str, Any]:
    """Return the call with numbers in its arrays."""
    data, factors = data_names(topic.operator), _factors(topic.formula)
    most = max(factors, key=lambda name: blank[name].size, default="")
    call = dict(blank)
    for name, array in blank.items():
        if name not in data or array is None:
            continue
        largest = range_.short if name in factors and name != long else range_.long
        numbers = random.integers(1, largest + 1, array.shape) * random.choice((-1, 1), array.shape)
        if name == most and range_.share < 1 and array.size:
            kept = random.random(array.shape) < range_.share
            kept.flat[random.integers(array.size)] = True
            numbers = numbers * kept
        call[name] = numbers.astype(array.dtype)
    return call


def _is_exact(formula: Formula, call: Call, dtype: str) -> bool:
    """Return whether nothing rounds where sums are held in `dtype` itself.

    Of a composed formula whose record has exact data, only the answer itself can round.
    """
    right = truth(formula, call)
    if not isinstance(right, ComposedTruth):
        return right.is_exact(dtype, dtype)
    high, low = right.value
    with np.errstate(over="ignore"):
        narrow = high.astype(dtype_of(dtype)).astype(np.float64)
    return not low.any() and bool((narrow == high).all())
