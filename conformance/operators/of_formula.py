"""The record of an operator whose gradients are derived from its forward formula.

What is drawn follows from the letters of its axes: each is as long as any other, short or past a
limit of machines.  Options are listed with the values that they take.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from types import MappingProxyType
from typing import Any, TypeAlias

from gradoracle.conformance.drawing.choices import Choices
from gradoracle.conformance.drawing.values import (
    Arrays,
    Random,
    Shapes,
    far_from_one,
    large_mean,
    nearly_cancelling,
    normal,
    one_nan_among_floats,
    small_integers,
    styles,
    wide_range,
)
from gradoracle.conformance.operators import arrays
from gradoracle.conformance.operators.record import (
    MEASURED,
    Arguments,
    Corner,
    Geometry,
    Operator,
    Size,
    Styles,
    as_it_is,
    past_limits,
)
from gradoracle.oracle.axes import IMAGES, Axes
from gradoracle.oracle.declaration import Call, axes_of
from gradoracle.oracle.derive import ANY_MORE, GRAD_OUTPUT, Derived
from gradoracle.oracle.float_formats import Format
from gradoracle.oracle.shapes import Shape

Sizes: TypeAlias = Mapping[str, int]
# The values of an option; some depend on how long axes are.
Values: TypeAlias = Sequence[Any] | Callable[[Sizes], Sequence[Any]]
Complete: TypeAlias = Callable[[dict[str, Any], int], dict[str, Any]]

MOST: dict[Size, int] = {"small": 60, "medium": 300, "large": 900}  # product of all sides
SPAN = 60  # what indices of options are drawn from: the least common multiple of most lists
NOTHING: Sizes = MappingProxyType({})
PAIR = 70  # sides that are long at once


def equal_rows(random: Random, shapes: Shapes, limits: Format) -> Arrays:
    """All elements of an array are equal: every variance is 0."""
    found = small_integers(random, shapes, limits)
    for name, array in found.items():
        array[...] = random.integers(-3, 4) if name != GRAD_OUTPUT else array
    return found


NUMBERS = Styles(
    exact=(),
    floats=styles(
        normal, wide_range, far_from_one, nearly_cancelling, large_mean, equal_rows, small_integers
    ),
    slopes=styles(normal),
    not_finite=styles(one_nan_among_floats),
)


def of_formula(
    derived: Derived, witness: str | Callable[[Any], Callable[..., Any]], *,
    options: Mapping[str, Values] = {}, result: Callable[[Call, Shape], Shape] | None = None,
    complete: Complete = as_it_is, numbers: Styles = NUMBERS, least: Sizes = NOTHING,
    most: Mapping[Size, int] = MOST, share: float = 0.3,
    layers: Sequence[tuple[str, tuple[int, ...]]] = (),
) -> Operator:  # fmt: skip
    """Return the record of derived formulas.

    `witness` is PyTorch's function: its name in torch.nn.functional, taken with the same arguments
    by name, or what returns it from the module `torch`.  `options` lists the values of each option,
    or is a function of the sizes that does.  `result` gives the shape of the result from options
    and the shape that the axes say.  `complete` adds to a call what follows from its arrays, such
    as labels, and makes numbers legal.  `least` says how long an axis must be at least.
    """
    axes, own = axes_of(derived.forward), partial(_arguments, derived, options, result, least)
    letters = _letters(axes)
    indices = dict.fromkeys(options, (0, SPAN - 1)) | dict.fromkeys(axes.optional, (0, 1))
    named = layers or (("eight of all", (8,) * (len(letters) - 1)),)
    tiny = {n: least.get(n, 2) for n in letters} | dict.fromkeys(indices, 0)
    return Operator(
        formula=derived.forward,
        gradients=derived.gradients,
        geometry=partial(
            _geometry, least, names=letters, options=indices, layers=named, most=most,
            empty=IMAGES in letters,
        ),
        arguments=own,
        witness=partial(_witness, witness),
        styles=numbers,
        complete=complete,
        curvature=MEASURED,
        share=share,
        corners=_corners(tiny, letters, [*options], [*axes.optional]),
    )  # fmt: skip


def _geometry(least: Sizes, draw: Choices, size: Size, **how: Any) -> Geometry:
    """Return sides, each as long as it must be at least."""
    found = arrays.matrix(draw, size, **how)
    longer = {name: max(side, least.get(name, 0)) for name, side in found.sizes.items()}
    return replace(found, sizes=longer)


def _letters(axes: Axes) -> list[str]:
    """Return the letters of the arguments, images first."""
    found = dict.fromkeys(
        letter
        for name, of in axes.arrays.items()
        if name != GRAD_OUTPUT
        for letter in of
        if letter != ANY_MORE
    )
    return sorted(found, key=lambda letter: letter != IMAGES)


def _arguments(
    derived: Derived, options: Mapping[str, Values], result: Any, least: Sizes, sizes: Sizes
) -> Arguments:
    """Return the shapes and options of a call.

    Raises:
        ValueError: there is no such call.
    """
    axes = axes_of(derived.forward)
    short = next((n for n in _letters(axes) if sizes[n] < least.get(n, n != IMAGES)), None)
    if short is not None:
        raise ValueError(f"{short} must be {least.get(short, 1)} at least, got {sizes[short]}")
    chosen: dict[str, Any] = {}
    for name, values in options.items():
        listed = values(sizes) if callable(values) else values
        chosen[name] = listed[sizes[name] % len(listed)]
    shapes: dict[str, Shape | None] = {}
    for name, letters in axes.arrays.items():
        absent = name in axes.optional and not sizes[name]
        shapes[name] = None if absent else tuple(sizes[one] for one in letters)
    if result is not None:
        shapes[GRAD_OUTPUT] = result(chosen, shapes[GRAD_OUTPUT])
    return Arguments(shapes, chosen)


def _witness(witness: str | Callable[[Any], Callable[..., Any]], torch: Any) -> Callable[..., Any]:
    if not isinstance(witness, str):
        return witness(torch)
    function: Callable[..., Any] = getattr(torch.nn.functional, witness)
    return function


def _corners(
    tiny: Sizes, letters: Sequence[str], options: Sequence[str], optional: Sequence[str]
) -> tuple[Corner, ...]:
    """Return long axes, two at once, each option's first values, and without optional arrays."""
    whole = {**tiny, **dict.fromkeys(optional, 1)}
    return (
        *past_limits(whole, letters),
        *(
            Corner(f"{one} and {other} {PAIR}", {**whole, one: PAIR, other: PAIR + 1})
            for one, other in combinations(letters, 2)
        ),
        *(
            Corner(f"{name} {at}", {**whole, name: at, letters[-1]: 5})
            for name in options
            for at in range(4)
        ),
        *(
            Corner(f"without {name}", {**whole, name: 0, letters[0]: 3, letters[-1]: 5})
            for name in optional
        ),
    )
