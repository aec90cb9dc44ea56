"""The record of an operator whose gradients are derived from its forward formula.

What is drawn follows from the letters of its axes: each is as long as any other, short or past a
limit of machines.  Options are listed with the values that they take.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import combinations
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from gradoracle.conformance.drawing.choices import FAR, PAST, Choices
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
    NO_VALUES,
    Arguments,
    Corner,
    Geometry,
    Operator,
    OptionValues,
    Size,
    Styles,
    as_it_is,
    named_function,
    past_limits,
)
from gradoracle.oracle.axes import IMAGES, Axes
from gradoracle.oracle.declaration import axes_of
from gradoracle.oracle.derive import ANY_MORE, GRAD_OUTPUT, Derived
from gradoracle.oracle.expected.truth import answer_shape
from gradoracle.oracle.float_formats import Format
from gradoracle.oracle.shapes import Shape

Sizes: TypeAlias = Mapping[str, int]
# The shape of a result, from the options and the shapes of the arguments.
Result: TypeAlias = Callable[[Mapping[str, Any], Mapping[str, Shape | None]], Shape]
Complete: TypeAlias = Callable[[dict[str, Any], int], dict[str, Any]]
Curvature: TypeAlias = Callable[[Mapping[str, Any]], float]
# The lengths of axes, where some follow from others or from the options.
Lengths: TypeAlias = Callable[[dict[str, int], Mapping[str, Any]], dict[str, int]]

MOST: dict[Size, int] = {"small": 60, "medium": 300, "large": 900}  # product of all sides
SPAN = 60  # what indices of options are drawn from: the least common multiple of most lists
NOTHING: Sizes = MappingProxyType({})
PAIR = 130  # sides that are long at once: past a tile of 128
(WHOLE,) = styles(small_integers)
FIRST = 4  # values of each option that every certification meets


def equal_rows(random: Random, shapes: Shapes, limits: Format) -> Arrays:
    """All elements of an array are equal: every variance is 0."""
    found = small_integers(random, shapes, limits)
    for name, array in found.items():
        array[...] = random.integers(-3, 4) if name != GRAD_OUTPUT else array
    return found


def sixteenths(random: Random, shapes: Shapes, limits: Format) -> Arrays:
    """Multiples of 1/16 up to 4 in absolute value: steps of a power of two stay exact."""
    del limits
    return {name: random.integers(-64, 65, shape) / 16 for name, shape in shapes.items()}


NUMBERS = Styles(
    exact=(),
    floats=styles(
        normal, wide_range, far_from_one, nearly_cancelling, large_mean, equal_rows, small_integers
    ),
    slopes=styles(sixteenths),
    not_finite=styles(one_nan_among_floats),
)


class Further(NamedTuple):
    """What is drawn of a call beside the lengths of its arguments' axes and listed options.

    `sides` are the letters whose lengths are drawn, images first, if not those of the arguments.
    `more` are further sizes, each with the least, the largest, and what corners take.  `lengths`
    gives sizes that fit each other, from drawn ones, with the length of every letter; `options`
    those that follow from them.
    """

    sides: Sequence[str] = ()
    more: Mapping[str, tuple[int, int, int]] = MappingProxyType({})
    lengths: Callable[[Sizes], Sizes] = dict
    options: Callable[[Sizes], Mapping[str, Any]] = lambda _: {}


@dataclass(frozen=True, eq=False)
class Calls:
    """Which calls of derived formulas there are, by the lengths of axes and picked options."""

    derived: Derived
    options: Mapping[str, OptionValues]
    result: Result | None
    least: Sizes
    even: Sequence[str]
    complete: Complete
    further: Further
    lengths: Lengths

    @cached_property
    def axes(self) -> Axes:
        """The axes of the arrays."""
        return axes_of(self.derived.forward)

    @cached_property
    def letters(self) -> list[str]:
        """The letters whose lengths are drawn, images first."""
        if self.further.sides:
            return [*self.further.sides]
        of = [letters for name, letters in self.axes.arrays.items() if name != GRAD_OUTPUT]
        found = dict.fromkeys(one for letters in of for one in letters if one != ANY_MORE)
        return sorted(found, key=lambda letter: letter != IMAGES)

    @cached_property
    def picks(self) -> dict[str, tuple[int, int]]:
        """The sizes beside lengths, each with the least and the largest."""
        return {
            **{arrays.PICKED + name: (0, SPAN - 1) for name in self.options},
            **{arrays.GIVEN + name: (0, 1) for name in self.axes.optional},
            **{name: (least, most) for name, (least, most, _) in self.further.more.items()},
        }

    def legal(self, sizes: Sizes) -> dict[str, int]:
        """Return sizes with axes as long as they must be."""
        return {n: max(side, self.least.get(n, 0)) for n, side in sizes.items()}

    def geometry(self, draw: Choices, size: Size, **how: Any) -> Geometry:
        """Return a geometry."""
        found = arrays.matrix(draw, size, names=self.letters, options=self.picks, **how)
        return replace(found, sizes=self.legal(found.sizes))

    def arguments(self, sizes: Sizes) -> Arguments:
        """Return the shapes and options of a call.

        Raises:
            ValueError: there is no such call.
        """
        short = next((n for n in self.letters if sizes[n] < (n != IMAGES)), None)
        if short is not None:
            raise ValueError(f"{short} must be 1 at least, got {sizes[short]}")
        for name, (least, _, _) in self.further.more.items():
            if sizes[name] < least:
                raise ValueError(f"{name} must be {least} at least, got {sizes[name]}")
        sizes = {n: side * (1 + (n in self.even)) for n, side in self.legal(sizes).items()}
        sizes = self.further.lengths(sizes)
        chosen = self.chosen(sizes)
        sizes = self.lengths({**sizes}, chosen)
        return Arguments(self.shapes(sizes, chosen), chosen)

    def chosen(self, sizes: Sizes) -> dict[str, Any]:
        """Return the options that sizes pick."""
        found: dict[str, Any] = {}
        for name, values in self.options.items():
            listed = values(sizes) if callable(values) else values
            found[name] = listed[sizes[arrays.PICKED + name] % len(listed)]
        return found | dict(self.further.options(sizes))

    def shapes(self, sizes: Sizes, chosen: Mapping[str, Any]) -> dict[str, Shape | None]:
        """Return the shapes of all arrays, None of those that are not given."""
        shapes: dict[str, Shape | None] = {}
        for name, letters in self.axes.arrays.items():
            absent = name in self.axes.optional and not sizes[arrays.GIVEN + name]
            known = all(one in sizes for one in letters)
            shapes[name] = tuple(sizes[n] for n in letters) if known and not absent else None
        if self.result is not None:
            shapes[GRAD_OUTPUT] = self.result(chosen, shapes)
        elif GRAD_OUTPUT not in shapes:
            shapes[GRAD_OUTPUT] = self._asked(shapes, chosen)
        return shapes

    def _asked(self, shapes: Mapping[str, Shape | None], options: Mapping[str, Any]) -> Shape:
        """Return the shape of what the formula makes of ones."""
        ones = {n: None if s is None else np.ones(s) for n, s in shapes.items()}
        call = self.complete({**ones, **options}, 0)
        return answer_shape(self.derived.forward, call)

    def corners(self) -> tuple[Corner, ...]:
        """Return long axes, two at once, first values of options, and no optional arrays.

        Two of the longest hold whole numbers, on which what is a sum of products is exact: a power
        of two, by which means divide, with first options, and one more, with second ones.

        Each is checked in one dtype, the next one in the next.
        """
        given = dict.fromkeys((arrays.GIVEN + name for name in self.axes.optional), 1)
        usual = {name: of[2] for name, of in self.further.more.items()}
        first = {**dict.fromkeys(self.picks, 0), **given, **usual}
        whole = {**dict.fromkeys(self.letters, 2), **first}
        flat = whole | dict.fromkeys(self.letters, 1)
        several = {self.letters[0]: 3, self.letters[-1]: 6}
        found = (
            *map(self._beside, past_limits(whole, self.letters)),
            *(
                Corner(f"{one} and {other} {PAIR}", {**flat, one: PAIR, other: PAIR + 1})
                for one, other in combinations(self.letters, 2)
            ),
            *(
                Corner(f"{name} {at}", {**whole, **several, arrays.PICKED + name: at})
                for name in self.options
                for at in range(FIRST)
            ),
            *(
                Corner(f"without {name}", {**whole, **several, arrays.GIVEN + name: 0})
                for name in self.axes.optional
            ),
            *(
                Corner(
                    f"whole numbers, {one} {side}",
                    {**whole, **{arrays.PICKED + name: at for name in self.options}, one: side},
                    WHOLE,
                )
                for one in self.letters
                for at, side in enumerate((PAST[-1] - 1, PAST[-1]))
            ),
        )
        return tuple(corner._replace(in_turn=True) for corner in found)

    def _beside(self, corner: Corner) -> Corner:
        """Return a corner with axes of 1 beside a very long axis, but for one of 2."""
        if FAR not in (corner.sizes[letter] for letter in self.letters):
            return corner
        others = [one for one in self.letters if corner.sizes[one] != FAR]
        return corner._replace(sizes={**corner.sizes, **dict.fromkeys(others[:-1], 1)})


def independent(sizes: dict[str, int], options: Mapping[str, Any]) -> dict[str, int]:
    """Return lengths as they are drawn."""
    del options
    return sizes


def of_formula(
    derived: Derived, witness: str | Callable[[Any], Callable[..., Any]], *,
    options: Mapping[str, OptionValues] = NO_VALUES,
    result: Result | None = None,
    complete: Complete = as_it_is, numbers: Styles = NUMBERS, least: Sizes = NOTHING,
    even: Sequence[str] = (), most: Mapping[Size, int] = MOST, share: float = 0.3,
    layers: Sequence[tuple[str, tuple[int, ...]]] = (),
    further: Further = Further(), curvature: Curvature = MEASURED,  # noqa: B008 - never changed
    lengths: Lengths = independent,
) -> Operator:  # fmt: skip
    """Return the record of derived formulas.

    `witness` is PyTorch's function: its name in torch.nn.functional, taken with the same arguments
    by name, or what returns it from the module `torch`.  `options` lists the values of each option,
    or is a function of the sizes that does.  `result` gives the shape of the result, where the axes
    do not say it, from the options and the shapes of the arguments.  `complete` adds to a call what
    follows from its arrays, such as labels, and makes numbers legal.  `least` says how long an axis
    must be at least, and `even` which ones are twice as long as what is drawn.  `further` is what
    is drawn beside, `lengths` makes lengths fit each other and the options, and `curvature` is as
    `Operator` has it.
    """
    calls = Calls(derived, options, result, least, even, complete, further, lengths)
    return record_of(
        calls, witness, numbers=numbers, most=most, share=share, layers=layers,
        curvature=curvature,
    )  # fmt: skip


def record_of(
    calls: Calls, witness: str | Callable[[Any], Callable[..., Any]], *,
    numbers: Styles = NUMBERS, most: Mapping[Size, int] = MOST, share: float = 0.3,
    layers: Sequence[tuple[str, tuple[int, ...]]] = (),
    curvature: Curvature = MEASURED,
) -> Operator:  # fmt: skip
    """Return the record of derived formulas whose calls are known; see `of_formula`."""
    derived = calls.derived
    named = layers or (("eight of all", (8,) * (len(calls.letters) - 1)),)
    return Operator(
        formula=derived.forward,
        gradients=derived.gradients,
        vjp=derived.vjp,
        geometry=partial(calls.geometry, layers=named, most=most, empty=IMAGES in calls.letters),
        arguments=calls.arguments,
        witness=partial(named_function, witness) if isinstance(witness, str) else witness,
        styles=numbers,
        complete=calls.complete,
        curvature=curvature,
        values=calls.options,
        share=share,
        corners=calls.corners(),
    )
