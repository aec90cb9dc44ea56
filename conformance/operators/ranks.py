"""Calls of one and of three spatial axes, made of drawn ones of two.

Of one axis: the height is left out.  Of three: a depth is put before the height, whose options are
neutral, those of the height, or drawn from the call's own seed; and in some calls what is long or
strided along the height is so along the depth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cache

from gradoracle.conformance.drawing.choices import Choices, spread
from gradoracle.conformance.operators.record import Corner, Geometry
from gradoracle.oracle.shapes import SIDES, extent

HEIGHT, DEPTH = "height", "depth"
NEUTRAL: Mapping[str, int] = {
    "kernel": 1, "stride": 1, "padding": 0, "dilation": 1, "output_padding": 0
}  # fmt: skip
MUCH = 1_500  # pixels times taps of a call, past which a third axis has one pixel
IsLegal = Callable[..., bool]  # of one axis: size, kernel, stride, padding, dilation and ceil_mode


def sides_of(sizes: Mapping[str, int]) -> tuple[str, ...]:
    """Return the names of the spatial axes of a call of these sizes."""
    return tuple([side for side in SIDES[3] if side in sizes])


def options_of(sizes: Mapping[str, int], name: str) -> tuple[int, ...]:
    """Return an option's number for every spatial axis."""
    return tuple([sizes[one] for one in _names_of(name, sides_of(sizes))])


@cache
def _names_of(name: str, sides: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{name}_{side}" for side in sides)


def pixels_of(sizes: Mapping[str, int]) -> tuple[int, ...]:
    """Return how many pixels an image has along every spatial axis."""
    return tuple(sizes[side] for side in sides_of(sizes))


def of_rank(
    sizes: Mapping[str, int],
    rank: int,
    seed: int = 0,
    *,
    is_legal: IsLegal | None = None,
    dilated: bool = True,
) -> dict[str, int]:
    """Return the sizes of a call of `rank` spatial axes; with a seed of 0 the third is neutral.

    `is_legal` says what more than a pixel an axis must have, `dilated` whether windows may be.
    """
    if rank == 1:
        return {name: size for name, size in sizes.items() if not name.endswith(HEIGHT)}
    if rank == 2:
        return dict(sizes)
    if not seed:
        return {**sizes, **_laid({}, 1, sizes)}
    draw = spread("third axis", seed)
    deeper = {**sizes, **_third(sizes, draw, is_legal, dilated=dilated)}
    return _exchanged(deeper) if seed % 3 == 1 else deeper


def _laid(options: Mapping[str, int], size: int, sizes: Mapping[str, int]) -> dict[str, int]:
    """Return a third axis with these options, the others neutral."""
    names = [name for name in NEUTRAL if f"{name}_{HEIGHT}" in sizes]
    return {DEPTH: size, **{f"{n}_{DEPTH}": options.get(n, NEUTRAL[n]) for n in names}}


def _third(
    sizes: Mapping[str, int], draw: Choices, is_legal: IsLegal | None, *, dilated: bool
) -> dict[str, int]:
    """Draw a third axis: neutral, as the height, or with options of its own."""
    how, size = draw.integer(0, 3), draw.integer(1, 2)
    seen = max(sizes["images"], 1) * sizes["height"] * sizes["width"]
    seen *= sizes["kernel_height"] * sizes["kernel_width"]
    if how == 0 or seen > MUCH:
        return _laid({}, size, sizes)
    if how == 1:
        return {n.replace(HEIGHT, DEPTH): value for n, value in sizes.items() if n.endswith(HEIGHT)}
    options = {
        "kernel": draw.integer(1, 3), "stride": draw.integer(1, 3), "padding": draw.integer(0, 2),
        "dilation": draw.integer(1, 2) if dilated else 1,
    }  # fmt: skip
    k, s, p, d = options.values()
    size = extent(k, d) + s * draw.integer(0, 2) + draw.integer(0, s - 1) - 2 * p
    ceil = bool(sizes.get("ceil", 0))
    if size < 1 or (is_legal is not None and not is_legal(size, k, s, p, d, ceil=ceil)):
        options["padding"], size = 0, extent(k, d) + s
    return _laid(options, size, sizes)


def _exchanged(sizes: Mapping[str, int]) -> dict[str, int]:
    """Return sizes whose depth and height have changed places."""
    exchange = {HEIGHT: DEPTH, DEPTH: HEIGHT}
    renamed = {}
    for name in sizes:
        start, _, side = name.rpartition("_")
        other = exchange.get(side, side)
        renamed[name] = f"{start}_{other}" if start else exchange.get(name, name)
    return {name: sizes[other] for name, other in renamed.items()}


def geometry_of_rank(
    drawn: Geometry, rank: int, *, is_legal: IsLegal | None = None, dilated: bool = True
) -> Geometry:
    """Return a drawn geometry of two axes as one of `rank`."""
    if rank == 2:
        return drawn
    sizes = of_rank(drawn.sizes, rank, drawn.seed, is_legal=is_legal, dilated=dilated)
    return replace(drawn, sizes=sizes)


def corners_of_rank(corners: Iterable[Corner], rank: int) -> tuple[Corner, ...]:
    """Return the corners of `rank` axes, each once, in one of the claimed dtypes."""
    if rank == 2:
        return (*corners,)
    found: dict[tuple[object, ...], Corner] = {}
    for corner in corners:
        sizes = of_rank(corner.sizes, rank)
        key = (*sizes.items(), corner.style)
        found.setdefault(key, corner._replace(sizes=sizes, in_turn=True))
    return (*found.values(),)
