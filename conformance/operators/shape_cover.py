"""Which combinations of sizes every certification meets, of what has no windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from gradoracle.conformance.drawing.choices import Choices
from gradoracle.conformance.drawing.coverage import Cover, excluding, with_dtype
from gradoracle.conformance.drawing.covering import Chosen, Factors

AXES = ("images", "channels", "height", "width")
# A class is the sizes that may stand for it: what vectors of 4 to 64 lanes leave over, and do not.
SIDES: Sequence[tuple[int, ...]] = (
    (1,), (2,), (3, 4, 5, 6), (7, 8, 9), (15, 16, 17), (31, 32, 33), (63, 64, 65),
)  # fmt: skip
FEW_SIDES = ((1,), (2,), (3, 4, 5))
FIRST, MIDDLE, LAST = "first", "middle", "last"

Options = Mapping[str, Sequence[int]]  # further sizes, each value a class


def elementwise(options: Options, *, least: int = 1) -> tuple[Cover, ...]:
    """Return the covering array of arrays of `least` to four axes, one of them a long one."""
    classes: dict[str, Sequence[Any]] = {
        "axes": range(least, 5), "long": (FIRST, MIDDLE, LAST), "side": SIDES, "others": FEW_SIDES,
        **options,
    }  # fmt: skip
    factors = Factors(with_dtype(classes), _places("long"))
    return (Cover("axes and sides", factors, partial(_array, options=[*options]), 3),)


def along_an_axis() -> tuple[Cover, ...]:
    """Return the covering array of arrays with an axis that the operator works along."""
    classes: dict[str, Sequence[Any]] = {
        "axes": range(1, 5), "axis": (FIRST, MIDDLE, LAST), "side": SIDES, "others": FEW_SIDES,
        "from_end": (0, 1),
    }  # fmt: skip
    factors = Factors(with_dtype(classes), _places("axis"))
    return (Cover("axes and sides", factors, _along, 4),)


def matrix(names: Sequence[str], options: Options, strength: int) -> tuple[Cover, ...]:
    """Return the covering array of a few sides."""
    classes: dict[str, Sequence[Any]] = {**dict.fromkeys(names, SIDES), **options}
    of = partial(_matrix, names=[*names], options=[*options])
    return (Cover("sides", Factors(with_dtype(classes)), of, strength),)


def _places(name: str) -> Any:
    """Exclude a middle axis where there is none, and the last one where it is the first."""
    return excluding(
        {"axes": lambda n: n < 3, name: lambda place: place == MIDDLE},
        {"axes": lambda n: n < 2, name: lambda place: place == LAST},
    )


def _place(chosen: Chosen, name: str, draw: Choices) -> int:
    axes: int = chosen["axes"]
    return {FIRST: 0, MIDDLE: draw.integer(1, max(1, axes - 2)), LAST: axes - 1}[chosen[name]]


def _sides(chosen: Chosen, at: int, draw: Choices) -> dict[str, int]:
    axes = chosen["axes"]
    sides = {name: draw.one_of(chosen["others"]) for name in AXES[:axes]}
    sides[AXES[at]] = draw.one_of(chosen["side"])
    return {"axes": axes, **dict.fromkeys(AXES, 1), **sides}


def _array(chosen: Chosen, draw: Choices, options: Sequence[str]) -> dict[str, int]:
    found = _sides(chosen, _place(chosen, "long", draw), draw)
    return found | {name: chosen[name] for name in options}


def _along(chosen: Chosen, draw: Choices) -> dict[str, int]:
    axis = _place(chosen, "axis", draw)
    return _sides(chosen, axis, draw) | {"axis": axis, "from_end": chosen["from_end"]}


def _matrix(
    chosen: Chosen, draw: Choices, names: Sequence[str], options: Sequence[str]
) -> dict[str, int]:
    sides = {name: draw.one_of(chosen[name]) for name in names}
    return sides | {name: chosen[name] for name in options}
