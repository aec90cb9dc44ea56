"""Geometries of convolutions of two axes: free ones, those of layers, and those at limits."""

from math import prod

from gradoracle.conformance.drawing.choices import (
    BATCH_LIMITS,
    BLOCKS,
    LIMITS,
    THREADS,
    Choices,
    Range,
    Ranges,
)
from gradoracle.conformance.operators import layer_options
from gradoracle.conformance.operators.convolution_layers import LAYERS
from gradoracle.conformance.operators.record import Geometry, Size
from gradoracle.oracle.shapes import Pair, Sides, extent

# What a free geometry draws from.  `rows` counts output pixels of a side and `rest` the pixels
# that no window reaches, so the image is sized last and fits whatever was drawn.
FREE: Ranges = {
    "images": (1, 3), "groups": (1, 4), "group_channels": (1, 3), "multiplier": (1, 3),
    "kernel": (1, 3), "stride": (1, 3), "padding": (0, 2), "dilation": (1, 3),
    "rows": (1, 4), "rest": (0, 3), "different": (0, 1),
}  # fmt: skip

# What is forced, each in its share of the free stratum; the first forces nothing.
REGIONS: dict[str, Ranges] = {
    "anything": {},
    "1x1 kernel with padding": {"kernel": (1, 1), "padding": (1, 2)},
    "padding beyond the kernel": {"kernel": (1, 2), "dilation": (1, 1), "padding": (2, 3)},
    "remainder": {"stride": (2, 4), "rest": (1, 3)},
    "stride beyond the kernel": {"kernel": (1, 2), "stride": (3, 4), "dilation": (1, 1)},
    "odd groups": {"groups": (2, 3), "group_channels": (3, 7), "multiplier": (1, 2), "kernel": (1,
    2)},
    "groups, stride and dilation": {
        "groups": (2, 3), "stride": (2, 3), "dilation": (2, 3), "kernel": (2, 3),
    },
    "height unlike width": {
        "kernel": (1, 3), "stride": (1, 3), "padding": (0, 2), "dilation": (1, 3),
        "different": (1, 1),
    },
    "one pixel": {"rows": (1, 1), "rest": (0, 0), "kernel": (1, 2), "padding": (0, 1)},
    "empty batch": {"images": (0, 0)},
    "several images": {"images": (3, 5), "rows": (1, 3)},
    "depthwise": {"groups": (2, 5), "group_channels": (1, 1), "stride": (1, 3)},
    "far apart": {"dilation": (4, 8), "kernel": (2, 3), "rows": (1, 2), "groups": (1, 2)},
    "far out": {"padding": (4, 7), "kernel": (1, 4), "rows": (1, 9), "groups": (1, 2)},
    "far strides": {"stride": (4, 8), "rest": (0, 7), "kernel": (1, 5), "rows": (1, 3)},
    "long kernel": {"kernel": (3, 6), "rows": (1, 3), "group_channels": (1, 2), "groups": (1, 2)},
}  # fmt: skip


CHANNELS = (1, 2, 3, 4, 6, 8, 16, 17)
ROWS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 14, 16, 17)

# Which side of a geometry is taken to a limit of the machine, and where those limits are.
BOUNDARIES: dict[str, tuple[int, ...]] = {
    "images": BATCH_LIMITS,
    "group_channels": LIMITS,
    "multiplier": LIMITS,
    "groups": tuple(n for n in LIMITS if n <= 65),
    "rows": LIMITS,
    "columns": LIMITS,
    "tile": (15, 16, 17, 31, 32, 33),
    "kernel": (5, 6, 7, 8, 9, 10, 11),
    "pixels": (*(n for n in LIMITS if n >= 15), THREADS - 1, THREADS, THREADS + 1),
    "taps": tuple(n for n in LIMITS if n >= 15),
    "threads": (THREADS - 1, THREADS, THREADS + 1),
    "blocks": (BLOCKS - 1, BLOCKS, BLOCKS + 1, BLOCKS + 2),
}
# What may grow together with a side at its limit: faults of tiled kernels need two or three.
MATES = ("nothing", "images", "groups", "group_channels", "multiplier", "rows", "columns")
MATE_LIMITS = (3, 4, 5, 7, 8, 9, 15, 16, 17)
REGION_NAMES = tuple(REGIONS)
STRATA = ("free", "free", "idiomatic", "boundary", "boundary")

# Products of a call, at most; the output shrinks until they are, then the batch and the channels.
# Small ones count the zeros too that the documents' forms put between taps and output pixels.
WORK: dict[Size, int] = {"small": 5_000, "medium": 50_000, "large": 300_000}

# "small" is for what loops over products in Python, "medium" for what asks many times.
BOUNDARIES_OF: dict[Size, dict[str, tuple[int, ...]]] = {
    "small": {
        name: tuple(n for n in BOUNDARIES[name] if n <= 17)
        for name in (
            "images",
            "group_channels",
            "multiplier",
            "groups",
            "rows",
            "columns",
            "kernel",
        )
    },
    "medium": {name: limits for name, limits in BOUNDARIES.items() if name != "blocks"},
    "large": BOUNDARIES,
}


def geometry(draw: Choices, size: Size) -> Geometry:
    """Return any legal geometry; the simplest is one image, one channel and a 1x1 kernel.

    `size` says how far the boundary stratum goes.
    """
    stratum = draw.one_of(STRATA)
    if stratum == "boundary":
        return _boundary(draw, size)
    return _idiomatic(draw, size) if stratum == "idiomatic" else _free(draw, size)


def _free(draw: Choices, size: Size) -> Geometry:
    region = draw.one_of(REGION_NAMES)
    ranges = {**FREE, **REGIONS[region]}

    def number(name: str) -> int:
        return draw.integer(*ranges[name])

    unlike = bool(number("different"))
    groups, group_channels, multiplier = (
        number("groups"),
        number("group_channels"),
        number("multiplier"),
    )
    return _geometry(
        "free", region, draw, size, images=number("images"), groups=groups,
        group_channels=group_channels,
        multiplier=multiplier,
        kernel=draw.pair(ranges["kernel"], different=unlike),
        stride=draw.pair(ranges["stride"], different=unlike),
        padding=draw.pair(ranges["padding"], different=unlike),
        dilation=draw.pair(ranges["dilation"], different=unlike),
        rows=draw.pair(ranges["rows"]), rest=ranges["rest"],
    )  # fmt: skip


def _idiomatic(draw: Choices, size: Size) -> Geometry:
    layer = draw.one_of(LAYERS)
    window = layer_options.window(layer.kernel, layer.stride, layer.padding, layer.dilation)
    group_channels, filters = draw.one_of(CHANNELS), draw.one_of(CHANNELS)
    groups = {"one": 1, "two": 2, "depthwise": group_channels}[layer.groups]
    if layer.groups == "depthwise":
        group_channels, filters = 1, draw.integer(1, 2)
    return _geometry(
        "idiomatic", layer.name, draw, size, images=draw.integer(1, 2), groups=groups,
        group_channels=group_channels, multiplier=filters, kernel=window.kernel,
        stride=window.stride, padding=window.padding, dilation=window.dilation,
        rows=(draw.one_of(ROWS), draw.one_of(ROWS)), rest=(0, 1),
    )  # fmt: skip


def _boundary(draw: Choices, size: Size) -> Geometry:
    boundaries = BOUNDARIES_OF[size]
    aim = draw.one_of(tuple(boundaries))
    limit = draw.one_of(boundaries[aim])
    sizes = {
        "images": draw.one_of((1, 1, 1, 2, 2, 2, 0)), "groups": 1,
        "group_channels": draw.integer(1, 2),
        "multiplier": draw.integer(1, 2), "rows": draw.integer(1, 3), "columns": draw.integer(1, 3),
    }  # fmt: skip
    kernel = draw.pair((1, 3))
    for mate in (draw.one_of(MATES), draw.one_of(MATES)):
        if mate in sizes:
            sizes[mate] = draw.one_of(MATE_LIMITS)
    if aim in sizes:
        sizes[aim] = limit
    elif aim == "kernel":
        kernel = (limit, kernel[1]) if draw.integer(0, 1) else (kernel[0], limit)
    elif aim == "pixels":
        sizes["rows"], sizes["columns"] = _as_product(limit, draw.integer(1, 4))
    elif aim == "taps":
        kernel, sizes["group_channels"] = _taps(limit, draw.integer(1, 3))
    elif aim == "tile":
        sizes |= {
            "images": 1,
            "groups": 1,
            "group_channels": limit,
            "multiplier": draw.one_of(boundaries[aim]),
        }
        sizes["rows"], sizes["columns"] = _as_product(draw.one_of(boundaries[aim]), 4)
    else:  # threads, blocks
        sizes |= {"images": 1, "groups": 1, "group_channels": 1, "multiplier": 1}
        kernel = (1, draw.integer(1, 2))
        sizes["rows"], sizes["columns"] = _as_product(limit, draw.one_of((1, 255, 256, 257)))
    rows = (sizes.pop("rows"), sizes.pop("columns"))
    return _geometry(
        "boundary", f"{aim} {limit}", draw, size, **sizes, kernel=kernel,
        stride=draw.pair((1, 2)), padding=draw.pair((0, 1)), dilation=draw.pair((1, 2)),
        rows=rows, rest=(0, 1),
    )  # fmt: skip


def _as_product(pixels: int, rows: int) -> Pair:
    """Return a map of at least `pixels` pixels that has about `rows` rows."""
    return rows, -(-pixels // rows)


def _taps(limit: int, side: int) -> tuple[Pair, int]:
    """Return a kernel of `side` columns and a group_channels with C*KH*KW next to `limit`."""
    return (1, side), -(-limit // side)


def _geometry(
    stratum: str, region: str, draw: Choices, size: Size, *, images: int, groups: int,
    group_channels: int,
    multiplier: int, kernel: Sides, stride: Sides, padding: Sides, dilation: Sides, rows: Sides,
    rest: Range,
) -> Geometry:  # fmt: skip
    """Size the image so that the output has `rows` pixels (more, under much padding).

    Fewer, if the call would otherwise be more work than its size allows.
    """
    spread = (*stride, *map(extent, kernel, dilation)) if size == "small" else kernel
    while (a_pixel := max(images, 1) * groups * group_channels * multiplier * prod(spread)) > WORK[
        size
    ]:
        if max(images, group_channels, multiplier) == 1:
            break
        images, group_channels, multiplier = (
            -(-images // 2),
            -(-group_channels // 2),
            -(-multiplier // 2),
        )
    pixels = max(1, WORK[size] // a_pixel)
    rows = (min(rows[0], pixels), min(rows[1], max(1, pixels // min(rows[0], pixels))))
    height, width = (
        max(1, extent(k, d) + s * (count - 1) + _rest(draw, rest, s) - 2 * p)
        for k, s, p, d, count in zip(kernel, stride, padding, dilation, rows, strict=True)
    )
    sizes = {
        "images": images, "groups": groups, "group_channels": group_channels,
        "multiplier": multiplier,
        "height": height, "width": width, "bias": draw.integer(0, 1),
        "kernel_height": kernel[0], "kernel_width": kernel[1],
        "stride_height": stride[0], "stride_width": stride[1],
        "padding_height": padding[0], "padding_width": padding[1],
        "dilation_height": dilation[0], "dilation_width": dilation[1],
    }  # fmt: skip
    return Geometry(stratum, region, sizes, draw.seed())


def _rest(draw: Choices, rest: Range, stride: int) -> int:
    """Draw how many pixels the windows leave over, less than a stride."""
    return draw.integer(min(rest[0], stride - 1), min(rest[1], stride - 1))
