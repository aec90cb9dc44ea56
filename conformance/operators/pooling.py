"""Geometries of pooling, shared by max_pool2d and avg_pool2d."""

from collections.abc import Mapping
from functools import cache, partial
from typing import Any

from gradoracle.conformance.drawing.choices import (
    BATCH_LIMITS,
    LIMITS,
    MANY,
    THREADS,
    Choices,
    Range,
    Ranges,
)
from gradoracle.conformance.drawing.values import increasing, styles
from gradoracle.conformance.operators import layer_options, pooling_cover
from gradoracle.conformance.operators.ranks import (
    corners_of_rank,
    geometry_of_rank,
    options_of,
    pixels_of,
)
from gradoracle.conformance.operators.record import (
    Corner,
    Geometry,
    Size,
    Variant,
    of_size_one,
    past_limits,
    two_large,
)
from gradoracle.oracle.shapes import SIDES, Pair, Shape, extent

# `rows` counts windows of a side; `rest` the pixels that no whole window reaches, which ceil_mode
# covers with one that hangs over the end.
FREE: Ranges = {
    "images": (1, 3), "channels": (1, 3), "kernel": (1, 4), "stride": (1, 3), "padding": (0, 2),
    "dilation": (1, 2), "rows": (1, 5), "rest": (0, 2), "ceil": (0, 1), "different": (0, 1),
}  # fmt: skip

REGIONS: dict[str, Ranges] = {
    "anything": {},
    "overlapping windows": {"kernel": (3, 5), "stride": (1, 2), "rows": (2, 5)},
    "gaps between windows": {"kernel": (1, 2), "stride": (3, 5), "dilation": (1, 1)},
    "overhang": {"ceil": (1, 1), "stride": (2, 4), "rest": (1, 3), "kernel": (2, 4)},
    "overhang into padding": {
        "ceil": (1, 1), "stride": (2, 4), "rest": (1, 3), "kernel": (3, 5), "padding": (1, 2),
    },
    "padding": {"padding": (1, 3), "kernel": (2, 6), "dilation": (1, 2)},
    "dilation": {"dilation": (2, 4), "kernel": (2, 4), "rows": (1, 4)},
    "dilation and padding": {"dilation": (2, 3), "kernel": (2, 3), "padding": (1, 2)},
    "height unlike width": {"different": (1, 1), "kernel": (1, 4), "stride": (1, 4)},
    "one pixel": {"rows": (1, 1), "rest": (0, 0), "kernel": (1, 1), "stride": (1, 2)},
    "whole image": {"rows": (1, 1), "rest": (0, 0), "kernel": (2, 7), "padding": (0, 0)},
    "whole image with padding": {
        "rows": (1, 1), "rest": (0, 0), "kernel": (2, 7), "padding": (1, 3), "dilation": (1, 1),
    },
    "empty batch": {"images": (0, 0)},
    "several images": {"images": (3, 5), "channels": (2, 4), "rows": (1, 3)},
}  # fmt: skip

# name, kernel, stride, padding, ceil_mode: what networks pool with.
LAYERS: tuple[tuple[str, int, int, int, int], ...] = (
    ("LeNet 2x2", 2, 2, 0, 0),
    ("AlexNet 3x3 stride 2", 3, 2, 0, 0),
    ("ResNet 3x3 stride 2 padded", 3, 2, 1, 0),
    ("GoogLeNet 3x3 stride 2 ceil", 3, 2, 0, 1),
    ("SqueezeNet 3x3 stride 2 ceil", 3, 2, 0, 1),
    ("Inception 3x3 stride 1 padded", 3, 1, 1, 0),
    ("VGG 2x2 ceil", 2, 2, 0, 1),
    ("DenseNet 2x2", 2, 2, 0, 0),
    ("SPP 5x5 stride 1 padded", 5, 1, 2, 0),
    ("YOLO 13x13 stride 1 padded", 13, 1, 6, 0),
    ("global 7x7", 7, 7, 0, 0),
    ("U-Net 2x2", 2, 2, 0, 0),
)
# Those of which every certification meets every change, and nothing else is drawn.
LATER_LAYERS: tuple[tuple[str, int, int, int, int], ...] = (
    ("MobileNet global 7x7 stride 1", 7, 1, 0, 0),
    ("Inception global 8x8", 8, 8, 0, 0),
    ("PoolFormer 3x3 stride 1 padded", 3, 1, 1, 0),
    ("ResNet-D 2x2 ceil", 2, 2, 0, 1),
    ("stem 3x3 stride 2 padded ceil", 3, 2, 1, 1),
    ("blurred 2x2 stride 1", 2, 1, 0, 0),
    ("SPP 9x9 stride 1 padded", 9, 1, 4, 0),
    ("NASNet 5x5 stride 2 padded", 5, 2, 2, 0),
)


@cache
def variants(rank: int, *, dilated: bool) -> tuple[Variant, ...]:
    """Return the poolings of networks, each with one option changed."""
    layers = [
        (name, layer_options.window(kernel, stride, padding, rank=rank), bool(ceil))
        for name, kernel, stride, padding, ceil in (*LAYERS, *LATER_LAYERS)
        if kernel**rank <= MOST_TAPS
    ]
    return layer_options.poolings(layers, dilated=dilated, include=not dilated)


MOST_TAPS = 256  # of a window of which every change is met
ROWS = (1, 2, 3, 4, 5, 6, 7, 8, 13, 14)

BOUNDARIES: dict[str, tuple[int, ...]] = {
    "images": BATCH_LIMITS,
    "channels": LIMITS,
    "rows": tuple(n for n in LIMITS if n <= 129),
    "columns": LIMITS,
    "kernel": (5, 7, 8, 9, 15, 16, 17),
    "threads": (THREADS - 1, THREADS, THREADS + 1),
}
STRATA = ("free", "free", "idiomatic", "boundary", "boundary")
WORK: dict[Size, int] = {"small": 4_000, "medium": 12_000, "large": 40_000}  # taps of a call


def geometry(draw: Choices, size: Size, *, dilated: bool) -> Geometry:
    """Return a geometry that looks at no more pixels than `size` allows."""
    stratum = draw.one_of(STRATA)
    if stratum == "boundary":
        return _boundary(draw, size, dilated=dilated)
    return _free(draw, size, dilated=dilated) if stratum == "free" else _idiomatic(draw, size)


def _free(draw: Choices, size: Size, *, dilated: bool) -> Geometry:
    region = draw.one_of(tuple(REGIONS))
    ranges = {**FREE, **REGIONS[region]}
    different = bool(draw.integer(*ranges["different"]))

    def pair(name: str) -> Pair:
        return draw.pair(ranges[name], different=different)

    return _geometry(
        "free", region, draw, size, images=draw.integer(*ranges["images"]),
        channels=draw.integer(*ranges["channels"]), kernel=pair("kernel"), stride=pair("stride"),
        padding=pair("padding"), dilation=pair("dilation") if dilated else (1, 1),
        rows=pair("rows"), rest=ranges["rest"], ceil=draw.integer(*ranges["ceil"]),
    )  # fmt: skip


def _idiomatic(draw: Choices, size: Size) -> Geometry:
    name, kernel, step, pad, ceil = draw.one_of(LAYERS)
    return _geometry(
        "idiomatic", name, draw, size, images=draw.integer(1, 3), channels=draw.one_of(ROWS),
        kernel=(kernel, kernel), stride=(step, step), padding=(pad, pad), dilation=(1, 1),
        rows=(draw.one_of(ROWS), draw.one_of(ROWS)), rest=(0, 1), ceil=ceil,
    )  # fmt: skip


def _boundary(draw: Choices, size: Size, *, dilated: bool) -> Geometry:
    aim = draw.one_of(tuple(BOUNDARIES))
    limit = draw.one_of(BOUNDARIES[aim])
    if size == "small":
        limit = min(limit, 33)
    sizes = {
        "images": draw.integer(1, 2), "channels": draw.integer(1, 2),
        "rows": draw.integer(1, 3), "columns": draw.integer(1, 3),
    }  # fmt: skip
    kernel_sides = draw.pair((1, 3))
    if aim in sizes:
        sizes[aim] = limit
    elif aim == "kernel":
        kernel_sides = (limit, kernel_sides[1]) if draw.integer(0, 1) else (kernel_sides[0], limit)
    else:
        sizes["channels"] = 1
        sizes["rows"], sizes["columns"] = draw.one_of(((1, limit), (4, -(-limit // 4))))
    rows = (sizes.pop("rows"), sizes.pop("columns"))
    return _geometry(
        "boundary", f"{aim} {limit}", draw, size, **sizes, kernel=kernel_sides,
        stride=draw.pair((1, 2)), padding=draw.pair((0, 1)),
        dilation=draw.pair((1, 2)) if dilated else (1, 1), rows=rows, rest=(0, 1),
        ceil=draw.integer(0, 1),
    )  # fmt: skip


def _geometry(
    stratum: str, region: str, draw: Choices, size: Size, *, images: int, channels: int,
    kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, rows: Pair, rest: Range, ceil: int,
) -> Geometry:  # fmt: skip
    """Size the image so that `rows` windows fit; padding that would leave one empty is dropped."""
    sizes = {"images": images, "channels": channels, "ceil": ceil, "include": draw.integer(0, 1)}
    work = max(1, images) * kernel[0] * kernel[1]
    rows = (min(rows[0], max(1, WORK[size] // work)), rows[1])
    rows = (rows[0], min(rows[1], max(1, WORK[size] // (work * rows[0]))))
    sizes["channels"] = min(channels, max(1, WORK[size] // (work * rows[0] * rows[1])))
    for at, axis in enumerate(SIDES[2]):
        k, s, d = kernel[at], stride[at], dilation[at]
        p = min(padding[at], k // 2)
        left = draw.integer(min(rest[0], s - 1), min(rest[1], s - 1))
        whole = extent(k, d) + s * (rows[at] - 1) + left
        if not pooling_cover.is_legal(whole - 2 * p, k, s, p, d, ceil=bool(ceil)):
            p = 0
        sizes |= {
            axis: whole - 2 * p, f"kernel_{axis}": k, f"stride_{axis}": s, f"padding_{axis}": p,
            f"dilation_{axis}": d,
        }  # fmt: skip
    return Geometry(stratum, region, sizes, draw.seed())


TINY = {
    "images": 1, "channels": 2, "height": 2, "width": 3, "ceil": 0, "include": 0,
    "kernel_height": 1, "kernel_width": 2, "stride_height": 1, "stride_width": 1,
    "padding_height": 0, "padding_width": 0, "dilation_height": 1, "dilation_width": 1,
}  # fmt: skip
(INCREASING,) = styles(increasing)


def _of_both(**options: int) -> dict[str, int]:
    return {f"{name}_{side}": value for name, value in options.items() for side in SIDES[2]}


def _windows(columns: int, sizes: Mapping[str, int]) -> dict[str, int]:
    """Return the sides of an image of one row of so many windows."""
    kernel, stride = sizes["kernel_width"], sizes["stride_width"]
    return {"height": kernel, "width": kernel + stride * (columns - 1)}


CORNERS = (
    *past_limits(TINY, ("images", "channels")),
    *past_limits({**TINY, "channels": 1}, ("height", "width")),
    *two_large({**TINY, "height": 1, "width": 2, "kernel_width": 2}, ("images", "channels")),
    *two_large({**TINY, "channels": 1}, ("images", "height", "width")),
    *two_large({**TINY, "images": 1}, ("channels", "height", "width")),
    Corner("many windows", {**TINY, "channels": 1, "height": MANY[0], "width": MANY[1] + 1}),
    Corner(
        "windows of many pixels",
        {**TINY, "height": 34, "width": 35, "kernel_height": 33, "kernel_width": 34},
        INCREASING,
    ),
    # Windows that share pixels, past a tile of rows and of channels; a layer of real size.
    *(
        Corner(
            f"35 rows of 16 channels, {what},",
            {**TINY, "images": 2, "channels": 16, "width": 9, **sizes},
            in_turn=True,
        )
        for what, sizes in (
            ("3x3 stride 2 padded", {"height": 69, **_of_both(kernel=3, stride=2, padding=1)}),
            ("3x3", {"height": 37, **_of_both(kernel=3)}),
        )
    ),
    # Every rest that vectors of 8 windows leave, of packed channels.
    *(
        Corner(
            f"{columns} columns of 8 channels, {what},",
            {**TINY, "images": 2, "channels": 8, **sizes, **_windows(columns, sizes)},
            in_turn=True,
        )
        for what, sizes in (
            ("2x2 stride 2", _of_both(kernel=2, stride=2)),
            ("3x3 stride 2", _of_both(kernel=3, stride=2)),
        )
        for columns in range(9, 17)
    ),
    Corner(
        "17 planes of 64x64, 2x2 stride 2",
        {**TINY, "channels": 17, "height": 64, "width": 64, **_of_both(kernel=2, stride=2)},
        in_turn=True,
    ),
    Corner(
        "many windows of many planes",
        {**TINY, "images": 5, "channels": 17, "height": 9, "width": 10},
    ),
)
ONES = of_size_one(
    {**TINY, "images": 2, "height": 4, "width": 5}, "images", "channels", "images+channels"
)


def shape_and_options(sizes: Mapping[str, int]) -> tuple[Shape, dict[str, Any]]:
    """Return x's shape and the options that both poolings have."""
    options: dict[str, Any] = {n: options_of(sizes, n) for n in ("stride", "padding")}
    named = {"kernel_size": options_of(sizes, "kernel"), **options}
    shape = (sizes["images"], sizes["channels"], *pixels_of(sizes))
    return shape, {**named, "ceil_mode": bool(sizes["ceil"])}


def of_kind(rank: int, *, dilated: bool) -> dict[str, Any]:
    """Return the fields of a record that say what is drawn, of max or of average pooling."""

    def drawn(draw: Choices, size: Size) -> Geometry:
        flat = geometry(draw, size, dilated=dilated)
        return geometry_of_rank(flat, rank, is_legal=pooling_cover.is_legal, dilated=dilated)

    return {
        "geometry": drawn,
        "share": SHARES[rank],
        "covers": pooling_cover.covers(rank, dilated=dilated),
        "variants": partial(variants, rank, dilated=dilated),
        "corners": corners_of_rank(CORNERS, rank),
        "ones": corners_of_rank(ONES, rank),
    }


SHARES = {1: 0.2, 2: 0.4, 3: 0.2}
