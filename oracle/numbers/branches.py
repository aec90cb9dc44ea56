"""Functions of one number, with branches, of every element of a traced array.

All elements are walked at once.  Where a comparison holds for some and not for others, they part,
and each side is walked again; where rounding may decide it either way, both sides are right.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from gradoracle.oracle.numbers import many
from gradoracle.oracle.numbers.reverse import Condition, TracedArray, where
from gradoracle.oracle.shapes import Array

Function: TypeAlias = Callable[[Any], Any]
Decided: TypeAlias = tuple[bool, ...]  # what the first comparisons said


class _Parted(Exception):
    """A comparison does not say the same of all elements."""

    def __init__(self, decided: Decided, condition: Condition) -> None:
        """Keep it, and what the comparisons before it said."""
        super().__init__("elements part")
        self.decided, self.condition = decided, condition


class _Walk:
    """One walk of a function: comparisons that are decided, and those that all elements share."""

    def __init__(self, decided: Decided) -> None:
        """Begin with what the first comparisons say."""
        self.given, self.said = decided, []  # type: tuple[bool, ...], list[bool]

    def decide(self, condition: Condition) -> bool:
        """Return what a comparison says of all elements.

        Raises:
            _Parted: it says different things, or rounding decides it.
        """
        if len(self.said) < len(self.given):
            said = self.given[len(self.said)]
        elif condition.unsure.any() or condition.holds.min() != condition.holds.max():
            raise _Parted((*self.said,), condition)
        else:
            said = bool(condition.holds.flat[0])
        self.said.append(said)
        return said


class _Decides(Condition):
    """A comparison that a walk answers."""

    def __init__(self, of: Condition, walk: _Walk) -> None:
        """Keep the comparison and the walk."""
        super().__init__(of.holds, of.unsure)
        self._walk = walk

    def __bool__(self) -> bool:
        return self._walk.decide(self)


class _Number(TracedArray):
    """A line of numbers that a function takes for one number."""

    __slots__ = ("walk",)
    walk: _Walk

    def _kind(self, held: Any, *operands: Any) -> Any:
        return self._of_walk(super()._kind(held, *operands))

    def _of_walk(self, found: Any) -> Any:
        found.walk = self.walk
        return found

    def detached(self) -> Any:
        return self._of_walk(super().detached())

    def constant(self, number: Any) -> Any:
        return self._of_walk(super().constant(number))

    def exactly(self) -> Any:
        return self._of_walk(super().exactly())

    def _compared(self, compare: Any, other: Any) -> Condition:
        return _Decides(super()._compared(compare, other), self.walk)


def each_element(function: Function, array: TracedArray) -> TracedArray:
    """Return a function of single numbers of every element of an array."""
    line = array.reshape((array.size,))
    if not array.size:
        return array
    return _of_line(function, line, ()).reshape(array.shape)


def _of_line(function: Function, line: TracedArray, decided: Decided) -> TracedArray:
    walk = _Walk(decided)
    number = _Number(line.held, [(line, _handed_on)])
    number.walk = walk
    try:
        found = function(number)
    except _Parted as parted:
        return _of_parts(function, line, parted)
    if not isinstance(found, TracedArray):
        return TracedArray(many.like(line.held, np.full(line.shape, float(found))))
    plain = TracedArray(found.held, [(found, _handed_on)])
    return plain if plain.shape == line.shape else plain + TracedArray(many.zeros(line.held))


def _of_parts(function: Function, line: TracedArray, parted: _Parted) -> TracedArray:
    """Return the function of elements that part at a comparison."""
    holds, unsure = parted.condition.holds, parted.condition.unsure
    holds, unsure = (np.broadcast_to(a, line.shape) for a in (holds, unsure))
    places, found = [], []
    for at, ways in (
        (holds & ~unsure, (True,)), (~holds & ~unsure, (False,)), (unsure, (True, False))
    ):  # fmt: skip
        if not at.any():
            continue
        sides = [_of_line(function, line[at], (*parted.decided, way)) for way in ways]
        places.append(np.flatnonzero(at))
        found.append(sides[0] if len(sides) == 1 else _either_side(holds[at], *sides))
    return _in_places(found, places, line)


def _either_side(holds: Array, one: TracedArray, other: TracedArray) -> TracedArray:
    """Return numbers of which rounding decides the side."""
    return where(Condition(holds, np.ones(holds.shape, bool)), one, other)  # type: ignore[no-any-return]


def _in_places(parts: list[TracedArray], places: list[Array], line: TracedArray) -> TracedArray:
    """Return a line whose elements at some places are those of each part."""
    held = many.placed([part.held for part in parts], places, many.zeros(line.held))

    def back(at: Array) -> Callable[[Any], Any]:
        return lambda g: many.each_part(g, lambda a: a[at])

    return TracedArray(held, [(p, back(at)) for p, at in zip(parts, places, strict=True)])


def _handed_on(g: Any) -> Any:
    return g
