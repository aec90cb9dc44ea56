"""Large calls of every operator, made from its record: new operators are timed without more.

The smallest sizes at which every axis has several entries are doubled in turn, until the largest
array has as many elements as is said below.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import cache, partial
from math import prod
from typing import Any

import numpy as np

from gradoracle.conformance.backends.backend import Backend
from gradoracle.conformance.benchmarks.case import SEED, Case
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.operators.record import Arguments, Operator
from gradoracle.conformance.operators.textbook import with_ones
from gradoracle.conformance.properties.comparison import require_truth
from gradoracle.conformance.scale.workloads import elements
from gradoracle.oracle.declaration import Call, Chained, Composed, Formula, algebra, output_of
from gradoracle.oracle.shapes import SIDES, Array

LARGE = "large calls"  # in place of a network
ELEMENTS = 2**14  # of the largest array: the expected values of eight times as many take seconds
IMAGES = ("images", "n")  # what records call the number of images, or of rows
SEEDS = 6  # how many are tried
ROOM = 4  # pixels of a side, at least, that windows are on
PREFERRED = {"kernel_": 2, "stride_": 2, "from_end": 1}  # windows of 2, and the last axis


def large_calls(known: Collection[str], images: int, dtype: str) -> Iterator[Case]:
    """Yield a large call of every function that is not among the known ones.

    Formulas of whole networks are left out: backends have no such function.
    """
    seen = {*known}
    for operator in OPERATORS:
        for formula in operator.formulas:
            function = output_of(formula).function
            if function in seen or isinstance(algebra(formula), Chained):
                continue
            seen.add(function)
            make, verify = partial(_call, operator, formula), partial(_verified, operator)
            yield Case(LARGE, _title(operator), formula, images, dtype, make, verify)


def _call(operator: Operator, formula: Formula, images: int, dtype: str) -> dict[str, Any]:
    """Return the call with so many times as many images, of floats where nothing is exact.

    Seeds are tried in turn: with some, a mask is of booleans and has no gradient.
    """
    style = (operator.styles.of("floats") or operator.styles.of("any"))[0]
    larger = _times(sizes(operator), images)
    calls = (operator.call(larger, style, SEED + at, dtype) for at in range(SEEDS))
    return next(call for call in calls if operator.has_answer(formula, call))


def _times(one: Mapping[str, int], images: int) -> dict[str, int]:
    counted = next((name for name in IMAGES if name in one), next(iter(one)))
    return {**one, counted: one[counted] * images}


def _title(operator: Operator) -> str:
    """Return the shapes of the arrays that a user gives, and the options, in words."""
    shapes, options = operator.arguments(sizes(operator))
    given = [s for n, s in shapes.items() if s is not None and n != "grad_output"]
    arrays = ", ".join("x".join(map(str, shape)) for shape in dict.fromkeys(given))
    windows = (v for n, v in options.items() if n == "kernel_size")
    return " ".join((arrays, *("x".join(map(str, v)) for v in windows)))


@cache
def sizes(operator: Operator) -> dict[str, int]:
    """Return the sizes of the large call of an operator."""
    found = _preferred(operator, dict(with_ones(operator, operator.formula)[0].sizes))
    names = [name for name in found if _grows(operator, found, name)]
    # The terms of sums are Python objects then: axes of other arrays would multiply them.
    traced = isinstance(algebra(operator.formula), Composed)
    while names:
        for name in [*names]:
            larger = _arguments(operator, {**found, name: 2 * found[name]})
            if larger is None or elements(larger) > ELEMENTS:
                names.remove(name)
                continue
            found[name] *= 2
            if traced and elements(larger) == ELEMENTS:
                return found
    return found


def _preferred(operator: Operator, found: dict[str, int]) -> dict[str, int]:
    """Return the sizes with windows of 2 on images that have room, and with the last axis."""
    chosen = dict(found)
    for begun, size in PREFERRED.items():
        chosen |= {name: size for name in found if name.startswith(begun)}
    if chosen == found:
        return found
    chosen |= {name: max(found[name], ROOM) for name in SIDES[3] if name in found}
    return chosen if _arguments(operator, chosen) is not None else found


def _grows(operator: Operator, found: Mapping[str, int], name: str) -> bool:
    """Return whether four times the size makes arrays larger and changes no option but shapes."""
    before = operator.arguments(found)
    after = _arguments(operator, {**found, name: 4 * found[name]})
    if after is None or _options(after) != _options(before):
        return False
    return _all_elements(after) > _all_elements(before)


def _arguments(operator: Operator, sizes: Mapping[str, int]) -> Arguments | None:
    try:
        return operator.arguments(sizes)
    except (ValueError, IndexError):
        return None


def _options(arguments: Arguments) -> dict[str, object]:
    shapes = [*arguments.shapes.values()]
    return {name: value for name, value in arguments.options.items() if value not in shapes}


def _all_elements(arguments: Arguments) -> int:
    return sum(prod(shape) for shape in arguments.shapes.values() if shape is not None)


def _verified(
    operator: Operator, backend: Backend, formula: Formula, call: Call, got: Array
) -> object:
    """Check one image of what is made image by image, and everything of all else."""
    axes = operator.axes
    if getattr(algebra(formula), "images", "") != "kept" or not axes.batched:
        return require_truth(backend, formula, call, got)
    image = int(np.random.default_rng().integers(len(got)))
    at = slice(image, image + 1)
    return require_truth(backend, formula, axes.images(call, at), got[at])
