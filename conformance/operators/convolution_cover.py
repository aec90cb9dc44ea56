"""Which combinations of options every certification of a convolution meets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations
from math import prod
from operator import eq
from typing import Any

from gradoracle.conformance.drawing.choices import Choices
from gradoracle.conformance.drawing.coverage import Cover, excluding, with_dtype
from gradoracle.conformance.drawing.covering import Chosen, Factors
from gradoracle.oracle.shapes import extent

SIDES = ("height", "width")
MOST = 60_000  # products of a call, above which a class is its cheapest member
TRIES = 6  # before that
LITTLE = 3  # below what fills a vector
TILE = 17  # past which a side fills a tile

# A class is the values that may stand for it, the cheapest first.
NUMBERS: Mapping[str, Sequence[tuple[int, ...]]] = {
    "kernel": ((1,), (2,), (3,), (4,), (5,), (7,), (6, 8, 9, 10, 11)),
    "stride": ((1,), (2,), (3,), (4,), (5, 6, 7, 8)),
    "dilation": ((1,), (2,), (3, 4, 6)),
    "depth": ((1,), (2,), (3, 4, 5)),
    "filters": ((1,), (2,), (3, 4, 5)),
    "images": ((1,), (2,), (3, 4, 5)),
}
PADDING = ("0", "1", "2", "3", "same", "full", "beyond")
GROUPS = ("1", "2", "3 to 8", "32", "depthwise", "depthwise with multiplier")
FLAGS: Mapping[str, Sequence[Any]] = {
    "bias": (False, True),
    "rest": (False, True),
    "rows": ("one", "more"),
}
SYMMETRIC = with_dtype({
    **{name: NUMBERS[name] for name in ("kernel", "stride", "dilation")}, "padding": PADDING,
    "groups": GROUPS, **{name: NUMBERS[name] for name in ("depth", "filters", "images")}, **FLAGS,
})  # fmt: skip
FEWER: Mapping[str, Sequence[Any]] = {
    "kernel": ((1,), (2,), (3,), (5, 4), (7, 6, 8)), "stride": ((1,), (2,), (3,), (4, 5)),
    "padding": ("0", "1", "2", "same", "full"), "dilation": ((1,), (2,), (3, 4)),
    "rest": (False, True), "rows": ("one", "more"),
}  # fmt: skip
EACH_AXIS = with_dtype({
    **{f"{name}_{side}": classes for name, classes in FEWER.items() for side in SIDES},
    "groups": ("1", "2", "3 to 8", "depthwise"),
    **{name: NUMBERS[name] for name in ("depth", "filters", "images")}, "bias": (False, True),
})  # fmt: skip
# Sides that fill vectors and tiles, beside the options that fast paths forget.
FILLED = with_dtype({
    "kernel": ((1,), (3,), (5,), (4,)), "stride": ((1,), (2,), (3, 4)), "padding": ("0", "1"),
    "dilation": ((1,), (2, 3)), "groups": ("1", "2", "many"), "bias": (False, True),
    "depth": ((1, 2), (8, 16), (33, 34)), "filters": ((1, 2), (8, 16), (33, 34)),
    "columns": ((2, 3), (16, 17), (33, 34)), "images": ((1, 2), (17, 18)), "rest": (False, True),
})  # fmt: skip
MANY_GROUPS = (65, 66)
NEUTRAL = {
    "kernel": (3,), "stride": (1,), "padding": "0", "dilation": (1,), "groups": "1", "depth": (2,),
    "filters": (2,), "images": (1,), "bias": True, "rest": False, "rows": "more",
}  # fmt: skip


def _are_below(least: int, members: Sequence[int]) -> bool:
    return max(members) < least


def _beside_one_output(name: str) -> list[dict[str, Any]]:
    """Return what leaves room for no output but more than one, along the sides of this name."""
    small = {"1": 3, "2": 5, "3": 7}
    return [
        {"padding" + name: lambda p: p in ("full", "beyond"), "rows" + name: lambda r: r == "one"},
        *(
            {
                "padding" + name: partial(eq, at),
                "kernel" + name: partial(_are_below, least),
                "rows" + name: lambda r: r == "one",
            }
            for at, least in small.items()
        ),
        {"stride" + name: lambda s: s == (1,), "rest" + name: lambda r: r},
    ]


_depthwise = [
    {"groups": lambda g: g.startswith("depthwise"), "depth": lambda d: d != (1,)},
    {"groups": lambda g: g == "depthwise", "filters": lambda f: f != (1,)},
    {"groups": lambda g: g == "depthwise with multiplier", "filters": lambda f: f == (1,)},
]


def sizes(chosen: Chosen, draw: Choices) -> dict[str, int]:
    """Return the sizes of a convolution of these classes, `draw` picking what stands for them."""
    tries = (_sizes(chosen, Choices(draw.bytes())) for _ in range(TRIES))
    return next((one for one in tries if products(one) <= MOST), _sizes(chosen, None))


def _member(members: tuple[int, ...], draw: Choices | None) -> int:
    return members[0] if draw is None else draw.one_of(members)


def _sizes(chosen: Chosen, draw: Choices | None) -> dict[str, int]:
    groups = chosen["groups"]
    if groups.startswith("depthwise"):
        count = 3 if draw is None else draw.integer(2, 5)
    else:
        count = int(groups) if groups.isdigit() else _member((3, 4, 5, 6, 7, 8), draw)
    found = {
        "images": _member(chosen["images"], draw), "groups": count,
        "depth": _member(chosen["depth"], draw), "multiplier": _member(chosen["filters"], draw),
        "bias": int(chosen["bias"]),
    }  # fmt: skip
    tall = _side(chosen, SIDES[0], draw)
    if "kernel" in chosen:  # the options of both sides are the same
        further = 0 if draw is None or chosen["rows"] == "one" else draw.integer(0, 1)
        wide = {**tall, "": tall[""] + further * tall["stride"]}
    else:
        wide = _side(chosen, SIDES[1], draw)
    return found | named(tall, wide)


def filled(chosen: Chosen, draw: Choices) -> dict[str, int]:
    """Return the sizes of a convolution of one row of outputs, or two, as wide as its class."""
    kernel, stride, dilation = (draw.one_of(chosen[n]) for n in ("kernel", "stride", "dilation"))
    groups, span, padding = chosen["groups"], extent(kernel, dilation), int(chosen["padding"])
    columns, images = draw.one_of(chosen["columns"]), draw.one_of(chosen["images"])
    rest = draw.integer(1, stride - 1) if chosen["rest"] else 0
    options = {"kernel": kernel, "stride": stride, "dilation": dilation, "padding": padding}
    least = -((span - 2 * padding - 1) // stride) + 1  # the image has a pixel
    rows = 1 if max(columns, images) >= TILE else 2
    sides = (
        span + stride * (max(n, least) - 1) - 2 * padding + r
        for n, r in ((rows, 0), (columns, rest))
    )
    return {
        "images": images, "bias": int(chosen["bias"]),
        "groups": draw.one_of(MANY_GROUPS) if groups == "many" else int(groups),
        "depth": draw.one_of(chosen["depth"]), "multiplier": draw.one_of(chosen["filters"]),
        **named(*({**options, "": side} for side in sides)),
    }  # fmt: skip


def named(tall: Mapping[str, int], wide: Mapping[str, int]) -> dict[str, int]:
    """Return the options of both sides by their names in sizes, and the pixels."""
    return {
        f"{name}_{side}" if name else side: size
        for side, options in zip(SIDES, (tall, wide), strict=True)
        for name, size in options.items()
    }


def _side(chosen: Chosen, side: str, draw: Choices | None) -> dict[str, int]:
    """Return the options of one side, and its pixels under the name ""."""

    def of(name: str) -> Any:
        return chosen[f"{name}_{side}"] if f"{name}_{side}" in chosen else chosen[name]

    padding, one = of("padding"), of("rows") == "one"
    members = of("kernel")
    if one and padding.isdigit():
        members = tuple(k for k in members if k > 2 * int(padding))
    kernel, stride = _member(members, draw), _member(of("stride"), draw)
    dilation = _member(of("dilation"), draw)
    span = extent(kernel, dilation)
    more = 0 if draw is None else draw.integer(0, 2)
    pad = {"same": (span - 1) // 2, "full": span - 1, "beyond": span + more}
    p = pad[padding] if padding in pad else int(padding)
    rest = 0 if not of("rest") else 1 if draw is None else draw.integer(1, stride - 1)
    rows = 1 if one else 2 if draw is None else draw.integer(2, 4)
    rows = max(rows, -((span + rest - 2 * p - 1) // stride) + 1)  # the image has a pixel
    return {
        "kernel": kernel, "stride": stride, "dilation": dilation, "padding": p,
        "": span + stride * (rows - 1) + rest - 2 * p,
    }  # fmt: skip


def products(sizes: Mapping[str, int]) -> int:
    """Return how many products a stride of 1 would add up: what loops over zeros, too."""
    outputs = (
        sizes[side] + 2 * sizes[f"padding_{side}"]
        - extent(sizes[f"kernel_{side}"], sizes[f"dilation_{side}"]) + 1
        for side in SIDES
    )  # fmt: skip
    taps = prod(sizes[f"kernel_{side}"] for side in SIDES)
    channels = sizes["groups"] * sizes["depth"] * sizes["multiplier"]
    return sizes["images"] * channels * taps * prod(outputs)


_symmetric = Factors(SYMMETRIC, excluding(*_depthwise, *_beside_one_output("")))
_each_axis = Factors(
    EACH_AXIS,
    excluding(*_depthwise[:2], *(c for side in SIDES for c in _beside_one_output(f"_{side}"))),
)


def _without_dtype(factors: Factors) -> Factors:
    return factors._replace(classes={n: c for n, c in factors.classes.items() if n != "dtype"})


def _is_large(name: str) -> dict[str, Any]:
    return {name: lambda members: min(members) > TILE}


_many_groups = {"groups": "many".__eq__}
_filled = Factors(
    FILLED,
    excluding(
        {"stride": lambda s: s == (1,), "rest": lambda r: r},
        *({**_many_groups, name: lambda m: max(m) > LITTLE} for name in ("depth", "filters")),
        {**_many_groups, "columns": lambda m: max(m) > LITTLE, "images": lambda m: max(m) > LITTLE},
        *(
            {**_is_large(one), **_is_large(other), "images": lambda m: max(m) > LITTLE}
            for one, other in combinations(("depth", "filters", "columns"), 2)
        ),
        {**_is_large("depth"), **_is_large("filters"), "columns": lambda m: max(m) > LITTLE},
    ),
)

COVERS = (
    Cover("height = width", _symmetric, sizes, 4, work=products),
    Cover("height and width apart", _each_axis, sizes, 3, work=products),
    Cover("height = width", _without_dtype(_symmetric), sizes, 0, NEUTRAL),
    Cover(
        "height and width apart",
        _without_dtype(_each_axis),
        sizes,
        0,
        {
            name: NEUTRAL[name.rpartition("_")[0] or name] if name != "images" else (1,)
            for name in EACH_AXIS
            if name != "dtype"
        },
    ),
    Cover("tiles and vectors that are full", _filled, filled, 3, work=products),
)
