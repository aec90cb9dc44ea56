"""From a call that fails to the smallest one that still does: first the geometry, then the numbers.

Hypothesis draws the calls, but its shrinker works on the choices of a strategy, where a drawn
layer is one choice and the numbers are one seed: it stops at a 3x3 layer where a 1x2 kernel would
do.  Here every size of the geometry is lowered by itself, by any power of two, and any two
together, each tried on a few draws of numbers; then the numbers become zeros and ones.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import combinations, product
from typing import Any

import numpy as np

from gradoracle.conformance.operators.arrays import AXES, GIVEN, PICKED
from gradoracle.oracle.declaration import Call, is_data
from gradoracle.oracle.shapes import SIDES, Array

SMALLER = 200  # geometries in a row; each tries what is boldest first, so ten are many
MOST_POWER = 1023  # of two, that a float64 holds
LOW, STEPS = 2, 24  # elements up to LOW were tried; tries between two powers of two
ATTEMPTS = 400  # calls that the numbers may cost; small counterexamples need about twenty

IMAGE = SIDES[3]
COUNTED = ("images",)
# How sizes begin that are 0 where they are as small as they get; others are 1.
OPTIONS = (
    "padding", "output_padding", "bias", "mean", "rate", "slope", "axis", "from_end", "ceil",
    "include", PICKED, GIVEN,
)  # fmt: skip

Sizes = Mapping[str, int]


def smallest_sizes(sizes: Sizes, fails: Callable[[Sizes], bool]) -> dict[str, int]:
    """Return sizes none of which, and no two of which, can be lowered so that it still fails.

    An image may grow by up to two pixels where that spares an option: an unpadded counterexample
    is easier to read than a padded one.
    """
    current = _nonempty(sizes)
    if current != sizes and not fails(current):
        current = dict(sizes)
    for name in sizes:
        current = _bisected(current, name, fails)
    for _ in range(SMALLER):
        lower = next((c for c in _lowered(current) if fails(c)), None)
        if lower is None:
            break
        current = lower
    lying = _lying(current)
    return lying if lying != current and fails(lying) else current


def boldest(sizes: Sizes) -> Iterator[dict[str, int]]:
    """Yield sizes of which all, all but one or all but two are as small as they get.

    For a call that costs a time limit whenever it fails: few that fail, and many that do not.
    """
    least = {name: min(size, int(not name.startswith(OPTIONS))) for name, size in sizes.items()}
    larger = [name for name, size in sizes.items() if size > least[name]]
    for count in range(3):
        for kept in combinations(larger, count):
            yield {**least, **{name: sizes[name] for name in kept}}


def _bisected(sizes: dict[str, int], name: str, fails: Callable[[Sizes], bool]) -> dict[str, int]:
    """Return sizes with one of them lowered by powers of two, the largest first.

    Where all from a threshold on fail that is the threshold, after twice as many tries as it has
    bits, at most.
    """
    least = int(name in COUNTED)
    if sizes[name] > least and fails({**sizes, name: least}):
        return {**sizes, name: least}
    for power in reversed(range(sizes[name].bit_length())):
        lower = {**sizes, name: sizes[name] - 2**power}
        if lower[name] > least and fails(lower):
            sizes = lower
    return sizes


def _lying(sizes: Sizes) -> dict[str, int]:
    """Return the sizes turned so that what extends in one direction extends in width."""
    turned = {
        name: sizes.get(name.replace("height", "width"), size)
        if "height" in name
        else sizes.get(name.replace("width", "height"), size)
        for name, size in sizes.items()
    }
    tall = sum(size for name, size in sizes.items() if "height" in name)
    return turned if tall > sum(turned[name] for name in sizes if "height" in name) else {**sizes}


def _nonempty(sizes: Sizes) -> dict[str, int]:
    """Return sizes with an image in the batch: an empty one is no simpler than that."""
    return {name: size or int(name in COUNTED) for name, size in sizes.items()}


def _lowered(sizes: Sizes) -> Iterator[dict[str, int]]:
    """Yield smaller sizes, the boldest first.

    Each has fewer axes, or no groups any more, or lowers 3 * (all sizes but the image's) + (the
    image's sizes), so shrinking ends.
    """

    def by_one(name: str) -> int:
        return sizes[name] - (sizes[name] > int(name in COUNTED))

    for name, size in sizes.items():
        powers = (size - 2**power for power in range(size.bit_length()))
        for less in sorted({0, 1, size // 2, size - 3, *powers}):
            if int(name in COUNTED) <= less < size:
                yield {**sizes, name: less}
    yield from _without_an_axis(sizes)
    yield from _square(sizes)
    for one, other in combinations(sizes, 2):
        if by_one(one) < sizes[one] and by_one(other) < sizes[other]:
            yield {**sizes, one: by_one(one), other: by_one(other)}
    yield from _in_one_group(sizes)
    for name, side, more in product(sizes, IMAGE, (1, 2)):
        if side in sizes and name not in IMAGE and by_one(name) < sizes[name]:
            yield {**sizes, name: by_one(name), side: sizes[side] + more}


def _square(sizes: Sizes) -> Iterator[dict[str, int]]:
    """Yield the sizes with two sides of an image, a kernel or an option lowered together."""
    for one, (side, another) in product(sizes, combinations(IMAGE, 2)):
        other = one.replace(side, another)
        if other == one or other not in sizes:
            continue
        for power in reversed(range(1, min(sizes[one], sizes[other]).bit_length())):
            yield {**sizes, one: sizes[one] - 2**power, other: sizes[other] - 2**power}


def _in_one_group(sizes: Sizes) -> Iterator[dict[str, int]]:
    """Yield the sizes of a convolution in groups with as many channels and filters in one."""
    groups = sizes.get("groups", 1)
    if groups > 1:
        more = {
            name: groups * sizes[name] for name in ("group_channels", "multiplier") if name in sizes
        }
        yield {**sizes, "groups": 1, **more}


def _without_an_axis(sizes: Sizes) -> Iterator[dict[str, int]]:
    """Yield the sizes of an array of any number of axes without one: [1, 4] becomes [4].

    Or with as many elements in the last one: [3, 4] becomes [12].
    """
    axes = AXES[: sizes.get("axes", 0)]
    for gone in axes[:-1]:  # without the last one: that is a lower number of axes
        sides = [sizes[name] for name in axes if name != gone]
        yield {**sizes, "axes": len(sides), **dict(zip(axes, [*sides, 1], strict=True))}
    if len(axes) > 1:
        *sides, height, width = (sizes[name] for name in axes)
        sides = [*sides, max(1, height) * max(1, width)]
        yield {**sizes, "axes": len(sides), **dict(zip(axes, [*sides, 1], strict=True))}


def simplest_numbers(call: Call, fails: Callable[[Call], bool]) -> dict[str, Any]:
    """Return a call of the same shapes that fails as well, with few and simple numbers.

    The nonzero elements of each array are halved as long as the call keeps failing (delta
    debugging, Zeller 1999), then what is left is turned into ones.
    """
    budget = [ATTEMPTS]

    def still_fails(candidate: Call) -> bool:
        budget[0] -= 1
        return budget[0] >= 0 and fails(candidate)

    current = dict(call)
    names = [name for name, value in call.items() if is_data(value)]
    for _ in range(2):
        before = {name: current[name] for name in names}
        for name in names:
            current[name] = _simplest(
                current[name],
                lambda a, name=name: still_fails({**current, name: a}),  # type: ignore[misc]
            )
        if all(before[name] is current[name] for name in names):
            break
    return current


def _simplest(array: Array, fails: Callable[[Array], bool]) -> Array:
    nonzero = np.flatnonzero(array)
    size = max(1, nonzero.size)
    while nonzero.size:
        for chunk in np.array_split(nonzero, -(-nonzero.size // size)):
            candidate = array.copy()
            candidate.flat[chunk] = 0
            if fails(candidate):
                array, nonzero = candidate, np.setdiff1d(nonzero, chunk)
        if size == 1:
            break
        size = -(-size // 2)
    return _ones(array, fails)


def _ones(array: Array, fails: Callable[[Array], bool]) -> Array:
    """Turn the nonzero elements into ones, all at once or one by one, or else bring them near 0."""
    everywhere = np.asarray(array != 0, array.dtype)  # of no axes NumPy would make it a number
    if (everywhere == array).all() or fails(everywhere):
        return array if (everywhere == array).all() else everywhere
    for at in np.flatnonzero(array):
        for value in (1, -1, 2):
            candidate = array.copy()
            candidate.flat[at] = value
            if array.flat[at] == value or fails(candidate):
                array = candidate
                break
        else:
            array = _nearer(array, int(at), fails)
    return array


def _nearer(array: Array, at: int, fails: Callable[[Array], bool]) -> Array:
    """Return an array with one element at the least power of two that fails, and integers below.

    Where all elements from a threshold on fail that is the threshold.
    """
    value = float(array.flat[at])
    if not math.isfinite(value) or abs(value) <= LOW:
        return array

    def put(size: float) -> Array:
        candidate = array.copy()
        with np.errstate(all="ignore"):  # half precision ends early
            candidate.flat[at] = math.copysign(size, value)
        return candidate

    passes, failing = LOW.bit_length() - 1, math.frexp(abs(value))[1]  # powers of two
    if failing > MOST_POWER or not np.isfinite(put(2.0**failing).flat[at]):
        return array
    if not fails(put(2.0**failing)):
        return array
    while failing - passes > 1:
        middle = (failing + passes) // 2
        passes, failing = (passes, middle) if fails(put(2.0**middle)) else (middle, failing)
    least, size = 2**passes, 2**failing
    for _ in range(STEPS):
        middle = (least + size) // 2
        if middle == least:
            break
        least, size = (least, middle) if fails(put(middle)) else (middle, size)
    return put(size)
