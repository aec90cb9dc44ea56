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
from gradoracle.conformance.operators.ranks import sides_of
from gradoracle.oracle.shapes import SIDES, extent

# Products of a call of so many axes, above which a class is its cheapest member.
MOST = {1: 60_000, 2: 60_000, 3: 10_000}
TRIES = 6  # before that
LITTLE = 3  # below what fills a vector
TILE = 17  # past which a side fills a tile

# A class is the values that may stand for it, the cheapest first.
NUMBERS: Mapping[str, Sequence[tuple[int, ...]]] = {
    "kernel": ((1,), (2,), (3,), (4,), (5,), (7,), (6, 8, 9, 10, 11)),
    "stride": ((1,), (2,), (3,), (4,), (5, 6, 7, 8)),
    "dilation": ((1,), (2,), (3, 4, 6)),
    "group_channels": ((1,), (2,), (3, 4, 5)),
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
    "groups": GROUPS, **{name: NUMBERS[name] for name in ("group_channels", "filters", "images")},
    **FLAGS,
})  # fmt: skip
FEWER: Mapping[str, Sequence[Any]] = {
    "kernel": ((1,), (2,), (3,), (5, 4), (7, 6, 8)), "stride": ((1,), (2,), (3,), (4, 5)),
    "padding": ("0", "1", "2", "same", "full"), "dilation": ((1,), (2,), (3, 4)),
    "rest": (False, True), "rows": ("one", "more"),
}  # fmt: skip
BESIDE: Mapping[str, Sequence[Any]] = {
    "groups": ("1", "2", "3 to 8", "depthwise"),
    **{name: NUMBERS[name] for name in ("group_channels", "filters", "images")},
    "bias": (False, True),
}
# Sides that fill vectors and tiles, beside the options that fast paths forget.
FILLED = with_dtype({
    "kernel": ((1,), (3,), (5,), (4,)), "stride": ((1,), (2,), (3, 4)), "padding": ("0", "1"),
    "dilation": ((1,), (2, 3)), "groups": ("1", "2", "many"), "bias": (False, True),
    "group_channels": ((1, 2), (8, 16), (33, 34)), "filters": ((1, 2), (8, 16), (33, 34)),
    "columns": ((2, 3), (16, 17), (33, 34)), "images": ((1, 2), (17, 18)), "rest": (False, True),
})  # fmt: skip
MANY_GROUPS = (65, 66)
NEUTRAL = {
    "kernel": (3,), "stride": (1,), "padding": "0", "dilation": (1,), "groups": "1",
    "group_channels": (2,),
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
    {"groups": lambda g: g.startswith("depthwise"), "group_channels": lambda d: d != (1,)},
    {"groups": lambda g: g == "depthwise", "filters": lambda f: f != (1,)},
    {"groups": lambda g: g == "depthwise with multiplier", "filters": lambda f: f == (1,)},
]


def sizes(chosen: Chosen, draw: Choices, *, rank: int) -> dict[str, int]:
    """Return the sizes of a convolution of these classes, `draw` picking what stands for them."""
    tries = (_sizes(chosen, Choices(draw.bytes()), SIDES[rank]) for _ in range(TRIES))
    fitting = (one for one in tries if products(one) <= MOST[rank])
    return next(fitting, _sizes(chosen, None, SIDES[rank]))


def _member(members: tuple[int, ...], draw: Choices | None) -> int:
    return members[0] if draw is None else draw.one_of(members)


def _sizes(chosen: Chosen, draw: Choices | None, sides: Sequence[str]) -> dict[str, int]:
    groups = chosen["groups"]
    if groups.startswith("depthwise"):
        count = 3 if draw is None else draw.integer(2, 5)
    else:
        count = int(groups) if groups.isdigit() else _member((3, 4, 5, 6, 7, 8), draw)
    found = {
        "images": _member(chosen["images"], draw), "groups": count,
        "group_channels": _member(chosen["group_channels"], draw),
        "multiplier": _member(chosen["filters"], draw),
        "bias": int(chosen["bias"]),
    }  # fmt: skip
    each = [_side(chosen, sides[0], draw)]
    for side in sides[1:]:
        if "kernel" in chosen:  # the options of all sides are the same
            further = 0 if draw is None or chosen["rows"] == "one" else draw.integer(0, 1)
            each.append({**each[0], "": each[0][""] + further * each[0]["stride"]})
        else:
            each.append(_side(chosen, side, draw))
    return found | named(each, sides)


def filled(chosen: Chosen, draw: Choices, *, rank: int) -> dict[str, int]:
    """Return the sizes of a convolution of one row of outputs, or two, as wide as its class."""
    kernel, stride, dilation = (draw.one_of(chosen[n]) for n in ("kernel", "stride", "dilation"))
    groups, span, padding = chosen["groups"], extent(kernel, dilation), int(chosen["padding"])
    columns, images = draw.one_of(chosen["columns"]), draw.one_of(chosen["images"])
    rest = draw.integer(1, stride - 1) if chosen["rest"] else 0
    options = {"kernel": kernel, "stride": stride, "dilation": dilation, "padding": padding}
    least = -((span - 2 * padding - 1) // stride) + 1  # the image has a pixel
    rows = 1 if max(columns, images) >= TILE else 2
    height, width = (
        span + stride * (max(n, least) - 1) - 2 * padding + r
        for n, r in ((rows, 0), (columns, rest))
    )
    each = [{**options, "": height}, {**options, "": width}]
    thin = {"kernel": 1, "stride": 1, "dilation": 1, "padding": 0, "": 2}
    return {
        "images": images, "bias": int(chosen["bias"]),
        "groups": draw.one_of(MANY_GROUPS) if groups == "many" else int(groups),
        "group_channels": draw.one_of(chosen["group_channels"]),
        "multiplier": draw.one_of(chosen["filters"]),
        **named([thin, *each][-rank:], SIDES[rank]),
    }  # fmt: skip


def named(each: Sequence[Mapping[str, int]], sides: Sequence[str]) -> dict[str, int]:
    """Return the options of all sides by their names in sizes, and the pixels."""
    return {
        f"{name}_{side}" if name else side: size
        for side, options in zip(sides, each, strict=True)
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
        for side in sides_of(sizes)
    )  # fmt: skip
    taps = prod(sizes[f"kernel_{side}"] for side in sides_of(sizes))
    channels = sizes["groups"] * sizes["group_channels"] * sizes["multiplier"]
    return sizes["images"] * channels * taps * prod(outputs)


_symmetric = Factors(SYMMETRIC, excluding(*_depthwise, *_beside_one_output("")))


def _each_axis(rank: int) -> tuple[Factors, dict[str, Any]]:
    """Return the classes of every axis apart, and the neutral ones."""
    sides = SIDES[rank]
    apart = {f"{name}_{side}": c for name, c in FEWER.items() for side in sides}
    conditions = (c for side in sides for c in _beside_one_output(f"_{side}"))
    factors = Factors(with_dtype({**apart, **BESIDE}), excluding(*_depthwise[:2], *conditions))
    neutral = {f"{name}_{side}": NEUTRAL[name] for name in FEWER for side in sides}
    return factors, {**neutral, **{name: NEUTRAL[name] for name in BESIDE}, "images": (1,)}


def _without_dtype(factors: Factors) -> Factors:
    return factors._replace(classes={n: c for n, c in factors.classes.items() if n != "dtype"})


def _is_large(name: str) -> dict[str, Any]:
    return {name: lambda members: min(members) > TILE}


_many_groups = {"groups": "many".__eq__}
_filled = Factors(
    FILLED,
    excluding(
        {"stride": lambda s: s == (1,), "rest": lambda r: r},
        *(
            {**_many_groups, name: lambda m: max(m) > LITTLE}
            for name in ("group_channels", "filters")
        ),
        {**_many_groups, "columns": lambda m: max(m) > LITTLE, "images": lambda m: max(m) > LITTLE},
        *(
            {**_is_large(one), **_is_large(other), "images": lambda m: max(m) > LITTLE}
            for one, other in combinations(("group_channels", "filters", "columns"), 2)
        ),
        {
            **_is_large("group_channels"),
            **_is_large("filters"),
            "columns": lambda m: max(m) > LITTLE,
        },
    ),
)

# Combinations of so many classes, of axes that are alike, of each apart, and of full tiles.
APART = {1: "", 2: "height and width apart", 3: "each side apart"}
NAMES = {1: "one spatial axis", 2: "height = width", 3: "all sides alike"}
STRENGTHS = {1: (3, 0, 2), 2: (4, 3, 3), 3: (2, 2, 2)}


def covers(rank: int) -> tuple[Cover, ...]:
    """Return the covering arrays of a convolution of `rank` spatial axes."""
    some, many = partial(sizes, rank=rank), partial(filled, rank=rank)
    alike, apart, full = STRENGTHS[rank]
    each, neutral = _each_axis(rank)
    name, names = NAMES[rank], APART[rank]
    found = [
        Cover(name, _symmetric, some, alike, work=products),
        Cover(names, each, some, apart, work=products),
        Cover(name, _without_dtype(_symmetric), some, 0, NEUTRAL),
        Cover(names, _without_dtype(each), some, 0, neutral),
        Cover("tiles and vectors that are full", _filled, many, full, work=products),
    ]
    return tuple(
        cover
        for cover in found
        if rank == 2 or cover.name != names or (rank == 3 and cover.strength)
    )
