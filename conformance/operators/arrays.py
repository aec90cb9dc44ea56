"""Geometries of what has no windows: arrays of one to four axes, and matrices."""

from collections.abc import Mapping, Sequence

from gradoracle.conformance.drawing.choices import (
    BATCH_LIMITS,
    FAR,
    LIMITS,
    PAST,
    THREADS,
    Choices,
    Range,
)
from gradoracle.conformance.drawing.values import Style
from gradoracle.conformance.operators.record import (
    Corner,
    Geometry,
    Operator,
    Size,
    past_limits,
    two_large,
)
from gradoracle.oracle.declaration import Formula, argument_names
from gradoracle.oracle.shapes import Shape

# How sizes begin that pick a value of an option, or say whether an optional array is given.
PICKED, GIVEN = "pick_", "given_"
AXES = ("images", "channels", "height", "width")
# Shapes that layers of real networks hand to each other.
LAYERS = (
    ("LeNet F6", (1, 84)), ("LeNet S4", (1, 16, 5, 5)), ("ten classes", (3, 10)),
    ("VGG conv5", (1, 4, 14, 14)), ("ResNet layer4", (2, 3, 7, 7)), ("ImageNet classes", (1, 1000)),
    ("sequence", (2, 7, 12)), ("one vector", (64,)),
)  # fmt: skip
STRATA = ("free", "free", "idiomatic", "boundary", "boundary")
LARGE = PAST[-1]  # elements of what vectorised paths are for
MOST: dict[Size, int] = {"small": 40, "medium": 150, "large": 300}  # elements of an array


def answerable(operator: Operator, formula: Formula, sizes: Mapping[str, int]) -> dict[str, int]:
    """Return sizes with the array that a gradient is by given, where it may be None."""
    argument = operator.argument_of(formula)
    given = f"{GIVEN}{argument}"
    if given in sizes and argument in argument_names(formula)[0]:
        return {**sizes, given: 1}
    return {**sizes}


def array(
    draw: Choices, size: Size, *, options: Mapping[str, tuple[int, int]], empty: bool = True,
    least: int = 1,
) -> Geometry:  # fmt: skip
    """Return a shape of `least` to four axes; `options` are sizes to draw beside."""
    stratum = draw.one_of(STRATA)
    region = "anything"
    if stratum == "free":
        sides = [draw.integer(1, 5) for _ in range(draw.integer(1, 4))]
        if empty and len(sides) > 1 and draw.integer(0, 11) == 0:
            sides[0], region = 0, "empty batch"
    elif stratum == "idiomatic":
        region, shape = draw.one_of(LAYERS)
        sides = [*shape]
    else:
        limits = [n for n in LIMITS if n <= 2 * MOST[size]]
        if size != "small" and draw.integer(0, 5) == 0:
            limits = [THREADS - 1, THREADS, THREADS + 1]
        limit = draw.one_of(_often_last(draw, limits))
        sides = [draw.integer(1, 2) for _ in range(draw.integer(1, 4))]
        if limit > MOST[size]:  # one more side is enough: every element costs high precision
            sides[1:] = [1] * len(sides[1:])
        sides[draw.integer(0, len(sides) - 1)] = limit
        region = f"side {limit}"
    sizes = {"axes": max(least, len(sides)), **dict.fromkeys(AXES, 1)}
    sizes |= dict(zip(AXES, sides, strict=False))
    sizes |= {name: draw.integer(*most) for name, most in options.items()}
    return Geometry(stratum, region, sizes, draw.seed())


def corners(
    options: Mapping[str, int], style: Style | None = None, *, special: Sequence[Style] = (),
    each: Mapping[str, Range] = {},
) -> tuple[Corner, ...]:  # fmt: skip
    """Return corners of arrays with these options: long sides, two or three long ones at once.

    Long ones of `special` numbers are beside them, and with `each` value of the options.
    """
    tiny = {"axes": 2, **dict.fromkeys(AXES, 1), **options}
    three = {**tiny, "axes": 3}
    return (
        *past_limits({**tiny, "channels": 2}, ("images",), style),
        *past_limits(tiny, ("channels",), style),
        *two_large(tiny, ("images", "channels"), style),
        *two_large({**three, "images": 2}, ("channels", "height"), style),
        Corner("three long sides", {**three, **dict.fromkeys(AXES[:3], 41)}, style, in_turn=True),
        Corner("many planes", _of_four(options, (33, 34, 2, 3)), style, in_turn=True),
        Corner("large planes", _of_four(options, (2, 17, 10, 21)), style, in_turn=True),
        Corner("an odd number of elements", {**three, **_sides((3, 11, 13))}, style),
        *(
            Corner(f"{one.name} of a long side", {**tiny, "channels": LARGE}, one)
            for one in special
        ),
        *(
            Corner(
                f"{name} {value} of a long side", {**tiny, "channels": LARGE, name: value}, style
            )
            for name, (first, last) in each.items()
            for value in range(first, last + 1)
        ),
    )


def _sides(sides: Sequence[int]) -> dict[str, int]:
    return dict(zip(AXES, sides, strict=False))


def _of_four(options: Mapping[str, int], sides: Sequence[int]) -> dict[str, int]:
    return {"axes": 4, **_sides(sides), **options}


def along(options: Mapping[str, int], style: Style | None = None) -> tuple[Corner, ...]:
    """Return corners of what works along an axis: each of three in turn is the long one."""
    three = {"axes": 3, **dict.fromkeys(AXES, 1), "images": 2, "channels": 3, "height": 2}
    places = (("images", 0), ("channels", 1), ("height", 2))
    return (
        *corners({**options, "axis": 1}, style),
        *(
            Corner(f"{name} {past}, along it",
                   {**three, **options, name: past, "axis": axis, "from_end": (at + axis) % 2},
                   style)
            for name, axis in places
            for at, past in enumerate(PAST)
        ),
        *(
            Corner(f"{name} {past}, across it",
                   {**three, **options, name: past, "axis": (axis + 1) % 3}, style, past == FAR)
            for name, axis in places
            for past in (THREADS + 1, FAR)
        ),
        *(
            Corner(f"{one} x {other} along the first", {
                **three, **options, "axes": 2, "axis": 0, "from_end": one % 2,
                "images": one, "channels": other,
            }, style)
            for one, other in ((65, 66), (66, 129))
        ),
        *(
            Corner(f"34 along the middle, {inside} after it", {
                **three, **options, "axis": 1, "from_end": 1, "channels": 34, "height": inside,
            }, style)
            for inside in (35, 66)
        ),
        Corner("a block of pixels beside the channels",
               {**three, **options, "axes": 4, "axis": 1, "height": 34, "width": 35}, style),
    )  # fmt: skip


def shape_of(sizes: Mapping[str, int]) -> Shape:
    """Return the shape of an array of these sizes.

    Raises:
        ValueError: there is no such shape.
    """
    if not 1 <= sizes["axes"] <= len(AXES):
        raise ValueError(f"axes must be 1 to {len(AXES)}, got {sizes['axes']}")
    shape = tuple(sizes[name] for name in AXES[: sizes["axes"]])
    if min(shape[1:], default=1) < 1:
        raise ValueError(f"only the batch may be empty, got {[*shape]}")
    return shape


def matrix(
    draw: Choices, size: Size, *, names: Sequence[str], options: Mapping[str, tuple[int, int]],
    layers: Sequence[tuple[str, tuple[int, ...]]], most: Mapping[Size, int], empty: bool = True,
) -> Geometry:  # fmt: skip
    """Return a few sides, `names[0]` the batch, whose product is at most `most` of this size."""
    stratum = draw.one_of(STRATA)
    region = "anything"
    if stratum == "free":
        sides = [draw.integer(1, 6) for _ in names]
        if empty and draw.integer(0, 15) == 0:
            sides[0], region = 0, "empty batch"
    elif stratum == "idiomatic":
        region, shape = draw.one_of(layers)
        sides = [draw.integer(1, 3), *shape]
    else:
        aim = draw.integer(0, len(names) - 1)
        limits = BATCH_LIMITS if aim == 0 else LIMITS
        limit = draw.one_of(_often_last(draw, [n for n in limits if n <= most[size]]))
        sides = [draw.integer(1, 3) for _ in names]
        sides[aim] = limit
        for mate in range(len(names)):
            if mate != aim and draw.integer(0, 1):
                sides[mate] = draw.one_of((4, 5, 7, 8, 9, 16, 17))
        region = f"{names[aim]} {limit}"
    if size == "small":
        sides = [min(side, 33) for side in sides]
    while _product(sides) > most[size]:
        largest = sides.index(max(sides))
        others = [s for at, s in enumerate(sides) if at != largest]
        at = largest if max(others, default=1) < 2 else sides.index(max(others))
        sides[at] = -(-sides[at] // 2)
    sizes = dict(zip(names, sides, strict=True))
    sizes |= {name: draw.integer(*span) for name, span in options.items()}
    return Geometry(stratum, region, sizes, draw.seed())


def limit(draw: Choices, size: Size) -> int:
    """Return a length at a limit of machines, of at most what an array of this size has."""
    return draw.one_of(_often_last(draw, [n for n in LIMITS if n <= MOST[size]]))


def _often_last(draw: Choices, limits: list[int]) -> list[int]:
    """Return the limits, or in one of three draws the last ones: nothing larger stands in there."""
    return limits[-4:] if draw.integer(0, 2) == 0 else limits


def _product(sides: Sequence[int]) -> int:
    count = 1
    for side in sides:
        count *= max(1, side)
    return count
