"""The record of a derived formula of arrays of one to four axes, maybe along one of them.

`of_formula` draws arrays whose axes have letters.  Here all arrays follow from one shape: a
function says what shapes they have, from that shape, the options and further sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from gradoracle.conformance.drawing.choices import FAR, PAST, SHORTER, Choices, Range
from gradoracle.conformance.operators import arrays
from gradoracle.conformance.operators.of_formula import (
    FIRST,
    NUMBERS,
    PAIR,
    SPAN,
    WHOLE,
    Complete,
)
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
)
from gradoracle.oracle.declaration import axes_of
from gradoracle.oracle.derive import Derived
from gradoracle.oracle.shapes import Shape

AXIS, FROM_END = "axis", "from_end"
THREE = {"axes": 3, "images": 2, "channels": 3, "height": 2, "width": 1}
THIN = {"axes": 3, "images": 1, "channels": 2, "height": 1, "width": 1}  # beside a very long side
PLACES = ("images", "channels", "height")  # of the axes of a corner
NO_SIZES: Mapping[str, Range] = {}

Sizes: TypeAlias = Mapping[str, int]
# The shapes of all arrays, from the one that was drawn, the sizes beside it and the options.
Shapes: TypeAlias = Callable[[Shape, Sizes, dict[str, Any]], Mapping[str, Shape | None]]


@dataclass(frozen=True)
class _Calls:
    """Which calls there are, by a shape, picked options and further sizes."""

    shapes: Shapes
    options: Mapping[str, OptionValues]
    optional: tuple[str, ...]
    counts: Mapping[str, Range]
    flags: Mapping[str, Range]
    along: bool
    picks: Mapping[str, Range] = field(init=False)

    def __post_init__(self) -> None:
        """Collect what is drawn beside the shape."""
        picks: dict[str, Range] = {arrays.PICKED + name: (0, SPAN - 1) for name in self.options}
        picks |= {arrays.GIVEN + name: (0, 1) for name in self.optional}
        along = {AXIS: (0, 3), FROM_END: (0, 1)} if self.along else {}
        object.__setattr__(self, "picks", {**along, **picks, **self.counts, **self.flags})

    def geometry(self, draw: Choices, size: Size) -> Geometry:
        """Return a geometry; now and then, a further length is at a limit, beside few others."""
        found = arrays.array(draw, size, options=self.picks)
        if not self.counts or found.stratum != "boundary" or draw.integer(0, 2) < 2:
            return found
        name, limit = draw.one_of([*self.counts]), arrays.limit(draw, size)
        most = dict(zip(arrays.AXES, (2, 2, 1, 1), strict=True))
        sides = {one: min(found.sizes[one], side) for one, side in most.items()}
        sizes = {**found.sizes, **sides, name: limit}
        return replace(found, region=f"{name} {limit}", sizes=sizes)

    def arguments(self, sizes: Sizes) -> Arguments:
        """Return the shapes and options of a call.

        Raises:
            ValueError: there is no such call.
        """
        for name, (least, _) in self.counts.items():
            if sizes[name] < least:
                raise ValueError(f"{name} must be {least} at least, got {sizes[name]}")
        shape = arrays.shape_of(sizes)
        chosen: dict[str, Any] = {}
        if self.along:
            place = _with_elements(shape, sizes[AXIS])
            chosen[AXIS] = place - len(shape) if sizes[FROM_END] else place
        for name, values in self.options.items():
            listed = values(sizes) if callable(values) else values
            chosen[name] = listed[sizes[arrays.PICKED + name] % len(listed)]
        found = self.shapes(shape, sizes, chosen)
        absent = {n: None for n in self.optional if not sizes[arrays.GIVEN + n]}
        return Arguments({**found, **absent}, chosen)

    def corners(self) -> tuple[Corner, ...]:
        """Return long axes, along and across, two at once, and the first values of options.

        Every second side is along the axis that is worked along, and so are the longest.
        Each is checked in one dtype, the next one in the next.
        """
        least = {name: low for name, (low, _) in self.picks.items()}
        plain = {**THREE, **least, **{n: 1 for n in least if n.startswith(arrays.GIVEN)}}
        long = [
            Corner(
                f"{name} {side}",
                {**plain, **(THIN if side == FAR else {}), name: side,
                 **self._axis(at if turn % 2 or side >= PAST[-2] else (at + 1) % 3, turn)},
            )
            for at, name in enumerate((*PLACES, *self.counts))
            for turn, side in enumerate((*PAST, FAR, SHORTER))
        ]  # fmt: skip
        flat = {**plain, "axes": 2, "images": PAIR, "channels": PAIR + 1}
        pairs = [Corner(f"two long sides {at}", {**flat, **self._axis(at, at)}) for at in range(2)]
        whole = [
            Corner(f"whole numbers {at}", {**plain, "channels": PAST[-1] - 1, **self._axis(at, 0)},
                   WHOLE)
            for at in range(3)
        ]  # fmt: skip
        picked = [
            Corner(f"{name} {at}", {**plain, name: low + at, "channels": 6})
            for name, (low, high) in self.picks.items()
            if name not in self.counts
            for at in range(min(FIRST, high - low + 1))
        ]
        found = (*long, *pairs, *whole, *picked)
        return tuple(corner._replace(in_turn=True) for corner in found)

    def _axis(self, place: int, turn: int) -> dict[str, int]:
        return {AXIS: place, FROM_END: turn % 2} if self.along else {}


def _with_elements(shape: Shape, axis: int) -> int:
    """Return an axis that has elements: this one of as many as there are, or the next.

    Raises:
        ValueError: there is none.
    """
    place = axis % len(shape)
    if shape[place] < 1:
        place = (place + 1) % len(shape)
    if shape[place] < 1:
        raise ValueError(f"there must be an axis with elements, got shape {[*shape]}")
    return place


def of_arrays(
    derived: Derived, witness: Callable[[Any], Callable[..., Any]], shapes: Shapes, *,
    options: Mapping[str, OptionValues] = NO_VALUES, counts: Mapping[str, Range] = NO_SIZES,
    flags: Mapping[str, Range] = NO_SIZES, along: bool = False,
    complete: Complete = as_it_is, numbers: Styles = NUMBERS,
    share: float = 0.3, **more: Any,
) -> Operator:  # fmt: skip
    """Return the record of derived formulas of arrays of any shape of one to four axes.

    `shapes` gives the shapes of all arrays; it may add options that follow from them.  `options`
    lists the values of each option, `counts` the range of each further length that `shapes` reads,
    `flags` that of what is no length; with `along`, there is an option `axis`.
    `witness`, `complete` and `share` are as `of_formula` takes them; `more` is of the record.
    """
    optional = axes_of(derived.forward).optional
    calls = _Calls(shapes, options, optional, counts, flags, along)
    return Operator(
        formula=derived.forward,
        gradients=derived.gradients,
        vjp=derived.vjp,
        geometry=calls.geometry,
        arguments=calls.arguments,
        witness=witness,
        styles=numbers,
        complete=complete,
        curvature=MEASURED,
        values=options,
        share=share,
        corners=calls.corners(),
        **more,
    )
