"""What the calls that a backend declines have in common: the options of which it answered none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from gradoracle.oracle.axes import Axes
from gradoracle.oracle.declaration import Call, Formula, argument_names, axes_of, is_data
from gradoracle.oracle.expected.truth import format_of
from gradoracle.oracle.float_formats import DType
from gradoracle.oracle.shapes import Shape

LARGE = 8192  # elements of an array, beyond which memory may not suffice
ALL, OTHERS, NO_MEMORY = "all", "other options", "too little memory for a large array"


def classes(formula: Formula, call: Call) -> Iterator[str]:
    """Yield the classes of options that a call is in, those that say most first."""
    (arrays, options), axes = argument_names(formula), axes_of(formula)
    for name in options:
        yield from _class_of(axes, name, call[name], call)
    yield from (f"no {name}" for name in arrays if call[name] is None)
    yield format_of(call)
    given = [call[name] for name in arrays if is_data(call[name])]
    if any(array.size == 0 for array in given):
        yield "an empty array"
    if given:
        yield f"{given[0].ndim} axes"
    kernel = call.get(axes.window)
    if kernel is None and is_data(call.get("weight")):
        kernel = [call["weight"].shape[at] for at in axes.space.get("weight", ())]
    if kernel:
        yield f"a {'x'.join(map(str, kernel))} kernel"


def _class_of(axes: Axes, name: str, value: Any, call: Call) -> Iterator[str]:
    """Yield the classes of one option."""
    if isinstance(value, (bool, str)) or value is None:
        yield f"{name}={value}"
    elif name in axes.neutral and axes.neutral[name] is None:
        yield f"a {name}"
    elif name in axes.neutral:
        neutral = axes.neutral[name]
        sides = value if isinstance(value, tuple) else (value,)
        if any(side > neutral for side in sides):
            yield f"{name} > {neutral}"
        if len({*sides}) > 1:
            yield f"a {name} that differs by axis"
    elif name == "axis":
        array = next(call[n] for n in axes.arrays if is_data(call.get(n)))
        last = value % max(array.ndim, 1) == array.ndim - 1
        yield "the last axis" if last else "another axis than the last"


@dataclass
class Declines:
    """How many calls of each class were declined, and answered, by formula."""

    declined: dict[str, Counter[str]] = field(default_factory=dict)
    # The calls that were answered, an array by its shape and dtype: most backends decline nothing,
    # and then their classes are not needed.
    _answered: list[tuple[Formula, dict[str, Any]]] = field(default_factory=list)

    def decline(self, formula: Formula, call: Call, no_memory: bool = False) -> None:  # noqa: FBT001, FBT002
        """Add a call that was declined, perhaps since there was no memory for it."""
        why = [NO_MEMORY] if no_memory else classes(formula, call)
        self.declined.setdefault(formula.__name__, Counter()).update([ALL, *why])

    def answer(self, formula: Formula, call: Call) -> None:
        """Add a call of the check's own formula that was answered."""
        self._answered.append((formula, {n: _outline(v) for n, v in call.items()}))

    @property
    def answered(self) -> Counter[str]:
        """How many answered calls are in each class."""
        counts: Counter[str] = Counter()
        for formula, outlines in self._answered:
            counts.update(classes(formula, {n: _filled(v) for n, v in outlines.items()}))
        return counts

    def told(self, own: str) -> dict[str, dict[str, list[int]]]:
        """Return the counts of declined and answered calls, of classes that were declined."""
        answered = self.answered if self.declined else Counter[str]()
        return {
            name: {one: [n, answered[one] if name == own else 0] for one, n in counts.items()}
            for name, counts in self.declined.items()
        }


class _Outline(NamedTuple):
    """What a class of calls depends on of an array."""

    shape: Shape
    dtype: DType


def _outline(value: Any) -> Any:
    return _Outline(value.shape, value.dtype) if isinstance(value, np.ndarray) else value


def _filled(value: Any) -> Any:
    """Return an array of an outline; any other argument as it is."""
    if not isinstance(value, _Outline):
        return value
    return np.broadcast_to(np.zeros((), value.dtype), value.shape)


def summed(
    several: Iterable[Mapping[str, Mapping[str, Sequence[int]]]],
) -> dict[str, dict[str, list[int]]]:
    """Return the counts of several checks together."""
    total: dict[str, dict[str, list[int]]] = {}
    for one in several:
        for formula, counts in one.items():
            known = total.setdefault(formula, {})
            for name, (declined, answered) in counts.items():
                before = known.get(name, [0, 0])
                known[name] = [before[0] + declined, before[1] + answered]
    return total


def in_common(counts: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """Return the classes of which no call was answered, the largest first, with the declined calls.

    No more than explain all that was declined; what none does is `OTHERS`.
    """
    left, found = counts.get(ALL, (0, 0))[0], dict[str, int]()
    never = {n: c for n, (c, answered) in counts.items() if not answered and n != ALL}
    for name in sorted(never, key=lambda one: -never[one]):
        if left > 0:
            found[name] = never[name]
            left -= never[name]
    if left > 0:
        found[OTHERS] = left
    return found
