"""Convolutions of one to three dimensions: formulas, geometries and PyTorch's counterpart.

Calls are drawn for two spatial axes; `ranks` makes those of one and three of them.
"""

from collections.abc import Callable, Mapping
from functools import partial
from math import prod
from typing import Any, NamedTuple

from gradoracle.conformance.drawing.choices import (
    BATCH_LIMITS,
    BLOCKS,
    LIMITS,
    LONG,
    LONGER,
    MANY,
    THREADS,
    Choices,
    Range,
    Ranges,
)
from gradoracle.conformance.drawing.values import fractions_in, halves_that_cancel
from gradoracle.conformance.operators import convolution_cover, layer_options
from gradoracle.conformance.operators.network_layers import NETWORKS, layers
from gradoracle.conformance.operators.ranks import (
    corners_of_rank,
    geometry_of_rank,
    of_rank,
    options_of,
    pixels_of,
)
from gradoracle.conformance.operators.record import (
    Arguments,
    Corner,
    Geometry,
    Operator,
    Size,
    Variant,
    Workload,
    of_size_one,
    past_limits,
    two_large,
)
from gradoracle.oracle.formulas.convolution import CONVOLUTIONS
from gradoracle.oracle.shapes import Pair, Sides, conv_shapes, extent

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


class Layer(NamedTuple):
    """The options of a convolution that networks are made of."""

    name: str
    kernel: Sides
    stride: int | Sides  # a number: along every axis
    padding: Sides
    dilation: int = 1
    groups: str = "one"  # "one", "two", "three", "32" or "depthwise"


LAYERS = (
    Layer("ResNet 1x1", (1, 1), 1, (0, 0)),
    Layer("ResNet 1x1 stride 2", (1, 1), 2, (0, 0)),
    Layer("VGG 3x3", (3, 3), 1, (1, 1)),
    Layer("U-Net 2x2 stride 2", (2, 2), 2, (0, 0)),
    Layer("ResNet 3x3 stride 2", (3, 3), 2, (1, 1)),
    Layer("DCGAN 4x4 stride 2", (4, 4), 2, (1, 1)),
    Layer("ConvNeXt 4x4 stride 4", (4, 4), 4, (0, 0)),
    Layer("LeNet 5x5", (5, 5), 1, (0, 0)),
    Layer("LeNet 5x5 padded", (5, 5), 1, (2, 2)),
    Layer("Inception 5x5 stride 2", (5, 5), 2, (2, 2)),
    Layer("Inception 1x7", (1, 7), 1, (0, 3)),
    Layer("Inception 7x1", (7, 1), 1, (3, 0)),
    Layer("ResNet 7x7 stride 2", (7, 7), 2, (3, 3)),
    Layer("AlexNet 11x11 stride 4", (11, 11), 4, (2, 2)),
    Layer("AlexNet 5x5 in two groups", (5, 5), 1, (2, 2), groups="two"),
    Layer("ViT 16x16 stride 16", (16, 16), 16, (0, 0)),
    Layer("DeepLab 3x3 dilated 2", (3, 3), 1, (2, 2), dilation=2),
    Layer("DeepLab 3x3 dilated 6", (3, 3), 1, (6, 6), dilation=6),
    Layer("DeepLab 3x3 dilated 12", (3, 3), 1, (12, 12), dilation=12),
    Layer("ResNeXt 3x3 grouped", (3, 3), 1, (1, 1), groups="two"),
    Layer("ResNeXt 3x3 grouped stride 2", (3, 3), 2, (1, 1), groups="two"),
    Layer("MobileNet 3x3 depthwise", (3, 3), 1, (1, 1), groups="depthwise"),
    Layer("MobileNet 3x3 depthwise stride 2", (3, 3), 2, (1, 1), groups="depthwise"),
    Layer("EfficientNet 5x5 depthwise stride 2", (5, 5), 2, (2, 2), groups="depthwise"),
    Layer("ConvNeXt 7x7 depthwise", (7, 7), 1, (3, 3), groups="depthwise"),
)
# Layers of which every certification meets every change, and nothing else is drawn.
LATER_LAYERS = (
    Layer("ViT 14x14 stride 14", (14, 14), 14, (0, 0)),
    Layer("ViT 32x32 stride 32", (32, 32), 32, (0, 0)),
    Layer("SegFormer 7x7 stride 4", (7, 7), 4, (3, 3)),
    Layer("SegFormer 8x8 stride 8", (8, 8), 8, (0, 0)),
    Layer("CvT 7x7 stride 4", (7, 7), 4, (2, 2)),
    Layer("YOLO 6x6 stride 2", (6, 6), 2, (2, 2)),
    Layer("SRCNN 9x9", (9, 9), 1, (4, 4)),
    Layer("GCN 1x15", (1, 15), 1, (0, 7)),
    Layer("wav2vec 1x10 stride 5", (1, 10), 5, (0, 0)),
    Layer("detection head 3x3 without padding", (3, 3), 1, (0, 0)),
    Layer("stem 3x3 stride 2 without padding", (3, 3), 2, (0, 0)),
    Layer("DeepLab 3x3 dilated 18", (3, 3), 1, (18, 18), dilation=18),
    Layer("ResNeXt 32x4d 3x3", (3, 3), 1, (1, 1), groups="32"),
    Layer("ResNeXt 32x4d 3x3 stride 2", (3, 3), 2, (1, 1), groups="32"),
    Layer("ShuffleNet 1x1 in three groups", (1, 1), 1, (0, 0), groups="three"),
    Layer("EfficientNet 5x5 depthwise", (5, 5), 1, (2, 2), groups="depthwise"),
)
# Layers over sequences and over videos.
SEQUENCE_LAYERS = (
    Layer("wav2vec 10 stride 5", (10,), 5, (0,)),
    Layer("wav2vec 3 stride 2", (3,), 2, (0,)),
    Layer("wav2vec 2 stride 2", (2,), 2, (0,)),
    Layer("wav2vec positions 128 in groups", (16,), 1, (8,), groups="two"),
    Layer("TextCNN 3", (3,), 1, (0,)),
    Layer("TextCNN 4", (4,), 1, (0,)),
    Layer("TextCNN 5", (5,), 1, (0,)),
    Layer("Whisper 3 padded", (3,), 1, (1,)),
    Layer("Whisper 3 stride 2 padded", (3,), 2, (1,)),
    Layer("WaveNet 2 dilated 4", (2,), 1, (0,), dilation=4),
    Layer("TCN 3 dilated 2 padded", (3,), 1, (4,), dilation=2),
    Layer("Conformer 31 depthwise", (31,), 1, (15,), groups="depthwise"),
    Layer("Mamba 4 depthwise", (4,), 1, (3,), groups="depthwise"),
    Layer("pointwise", (1,), 1, (0,)),
    Layer("M5 80 stride 4", (80,), 4, (38,)),
    Layer("patches of 16", (16,), 16, (0,)),
)
VIDEO_LAYERS = (
    Layer("C3D 3x3x3", (3, 3, 3), 1, (1, 1, 1)),
    Layer("I3D 7x7x7 stride 2", (7, 7, 7), 2, (3, 3, 3)),
    Layer("R(2+1)D 1x3x3", (1, 3, 3), 1, (0, 1, 1)),
    Layer("R(2+1)D 3x1x1", (3, 1, 1), 1, (1, 0, 0)),
    Layer("R(2+1)D 3x1x1 stride 2", (3, 1, 1), (2, 1, 1), (1, 0, 0)),
    Layer("SlowFast 5x7x7 stride (1, 2, 2)", (5, 7, 7), (1, 2, 2), (2, 3, 3)),
    Layer("X3D 3x3x3 depthwise", (3, 3, 3), 1, (1, 1, 1), groups="depthwise"),
    Layer("V-Net 2x2x2 stride 2", (2, 2, 2), 2, (0, 0, 0)),
    Layer("U-Net 3D 3x3x3 stride 2", (3, 3, 3), 2, (1, 1, 1)),
    Layer("VideoMAE 2x8x8", (2, 8, 8), (2, 8, 8), (0, 0, 0)),
    Layer("1x1x1", (1, 1, 1), 1, (0, 0, 0)),
    Layer("3x3x3 dilated 2", (3, 3, 3), 1, (2, 2, 2), dilation=2),
)
LAYERS_OF = {1: SEQUENCE_LAYERS, 2: (*LAYERS, *LATER_LAYERS), 3: VIDEO_LAYERS}
# Of the profile's examples: what draws of two axes have shown need not be drawn as often again.
SHARES = {1: 0.3, 2: 1.0, 3: 0.3}
GROUPS = {"one": 1, "two": 2, "three": 3, "32": 32}
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


def arguments(sizes: Mapping[str, int]) -> Arguments:
    """Return the shapes and options of a convolution of these sizes.

    `group_channels` is C/groups, `multiplier` M/groups, `bias` 0 or 1.

    Raises:
        ValueError: there is no such convolution.
    """
    groups, pixels = sizes["groups"], pixels_of(sizes)
    options = {n: options_of(sizes, n) for n in ("stride", "padding", "dilation")}
    shapes = conv_shapes(
        len(pixels), (sizes["images"], groups * sizes["group_channels"], *pixels),
        (groups * sizes["multiplier"], sizes["group_channels"], *options_of(sizes, "kernel")),
        groups=groups, **options,
    )  # fmt: skip
    return Arguments(
        {
            "x": shapes.x,
            "weight": shapes.weight,
            "bias": shapes.weight[:1] if sizes["bias"] else None,
            "grad_output": shapes.y,
        },
        {"input_shape": shapes.x, "weight_shape": shapes.weight, **options, "groups": groups},
    )


def _rest(draw: Choices, rest: Range, stride: int) -> int:
    """Draw how many pixels the windows leave over, less than a stride."""
    return draw.integer(min(rest[0], stride - 1), min(rest[1], stride - 1))


TINY = {
    "images": 1, "groups": 1, "group_channels": 2, "multiplier": 2, "height": 1, "width": 2,
    "bias": 1,
    "kernel_height": 1, "kernel_width": 2, "stride_height": 1, "stride_width": 1,
    "padding_height": 0, "padding_width": 0, "dilation_height": 1, "dilation_width": 1,
}  # fmt: skip
PLAIN = {**TINY, "group_channels": 1, "multiplier": 1, "width": 1, "kernel_width": 1}


def _both(name: str, height: int, width: int) -> dict[str, int]:
    return {f"{name}_height": height, f"{name}_width": width}


# One pixel and a 1x1 kernel: what is large alone, or beside one other.
NAMES = ("images", "groups", "group_channels", "multiplier", "height", "width")
WHOLE = {"images": 3, "height": 2, "width": 3, **_both("kernel", 3, 3), **_both("padding", 1, 1)}
PIXELS = dict(zip(("height", "width"), MANY, strict=True))
# Deep and wide layers of networks, with options: a few pixels, or one row.
DEEP = {"images": 2, "height": 3, "width": 4, **_both("kernel", 3, 3), **_both("padding", 1, 1)}
DEEP_LAYERS = {
    "513 channels, stride 2,": {"group_channels": 513, **_both("stride", 2, 2)},
    "513 filters, stride 2,": {"multiplier": 513, **_both("stride", 2, 2)},
    "514 channels, no bias,": {"group_channels": 514, "bias": 0},
    "514 filters, dilation 2,": {
        "multiplier": 514, "bias": 0, **_both("dilation", 2, 2), **_both("padding", 2, 2),
    },
    "1025 channels, 1x1, stride 2,": {
        "group_channels": 1025, **_both("kernel", 1, 1), **_both("stride", 2, 2),
        **_both("padding", 0, 0),
    },
    "257 groups, dilation 2,": {"groups": 257, **_both("dilation", 2, 2), **_both("padding", 2, 2)},
    "258 groups, stride 2,": {"groups": 258, **_both("stride", 2, 2), "bias": 0},
    "86 channels and 87 filters": {"images": 1, "group_channels": 86, "multiplier": 87},
    "129 images of 3 groups, stride 2,": {"images": 129, "groups": 3, **_both("stride", 2, 2)},
    "1025 columns": {"images": 1, "height": 2, "width": 1025},
    "1026 columns, stride 2,": {"images": 1, "width": 1026, **_both("stride", 2, 2), "bias": 0},
    # Blocks of channels of a 3x3 kernel, as transforms and unrolled kernels take them.
    **{
        f"24 channels and filters, {change}": {"group_channels": 24, "multiplier": 24, **of}
        for change, of in (
            ("dilation 2,", {**_both("dilation", 2, 2), **_both("padding", 2, 2)}),
            ("dilation 2 across,", {**_both("dilation", 1, 2), "width": 6}),
            ("stride 2,", _both("stride", 2, 2)), ("stride 2 across,", _both("stride", 1, 2)),
            ("no padding,", _both("padding", 0, 0)), ("padding 2,", _both("padding", 2, 2)),
            ("two groups,", {"groups": 2}), ("no bias,", {"bias": 0}),
        )
    },
}  # fmt: skip


# The first layers of networks take images of three channels, or of one; the last may give them.
FIRST = {"images": 1, "group_channels": 3, "multiplier": 16}
FIRST_LAYERS = {
    "16 filters": {}, "33 filters, stride 2,": {"multiplier": 33, **_both("stride", 2, 2)},
    "64 filters, no bias,": {"multiplier": 64, "bias": 0},
    "8 filters, no padding,": {"multiplier": 8, **_both("padding", 0, 0)},
    "24 filters, 7x7, stride 2,": {
        "multiplier": 24, "height": 7, "width": 8, **_both("kernel", 7, 7), **_both("stride", 2, 2),
        **_both("padding", 3, 3),
    },
    "32 filters of one channel": {"group_channels": 1, "multiplier": 32, "images": 2},
    "3 filters of 24 channels": {"group_channels": 24, "multiplier": 3},
}  # fmt: skip


def _of_rows(rows: int, columns: int, more: Mapping[str, int], **both: int) -> dict[str, int]:
    """Return sizes with so many rows and columns of outputs; `both` are options of both sides."""
    options = {**_OPTIONS, **both}
    span = extent(options["kernel"], options["dilation"]) - 2 * options["padding"]
    sides = (max(1, span + options["stride"] * (n - 1)) for n in (rows, columns))
    of_both = {f"{n}_{s}": v for n, v in options.items() for s in ("height", "width")}
    return {**PLAIN, **dict(zip(("height", "width"), sides, strict=True)), **of_both, **more}


_OPTIONS = {"kernel": 3, "stride": 1, "padding": 0, "dilation": 1}
STEM = {"stride": 2, "padding": 1}
# Every rest that vectors of 8 columns leave, of x or of y, beside what layers of 3x3 have.
RESTS = tuple(
    Corner(f"{n} columns, {what},", _of_rows(1, n, {"multiplier": 2}, **options), in_turn=True)
    for what, options, counts in (
        ("3x3", {}, range(25, 33)), ("3x3 padded", {"padding": 1}, range(17, 25)),
        ("3x3 stride 2 padded", STEM, range(17, 25)),
    )
    for n in counts
)  # fmt: skip
ROW = {**_both("kernel", 1, 3), **_both("padding", 0, 4), **_both("dilation", 1, 4), "height": 1}
ROW_PLAIN = {**_both("padding", 0, 0), **_both("dilation", 1, 1), **_both("stride", 1, 5)}
# Three sides that are past a tile at once; what is long downwards, or one pixel high.
BESIDE = (
    Corner("images, filters and pixels", {
        **PLAIN, "images": 33, "multiplier": 34, "height": 5, "width": 14,
    }, in_turn=True),
    Corner("filters of more than 1024 pixels", {
        **PLAIN, "images": 2, "multiplier": 18, "height": 33, "width": 34,
    }, in_turn=True),
    *(
        Corner(f"35 rows, {what},", _of_rows(35, 2, {}, **options), in_turn=True)
        for what, options in (
            ("3x3 stride 2 padded", STEM), ("dilation 2", {"dilation": 2}),
            ("stride 2, dilation 2", {"stride": 2, "dilation": 2}),
        )
    ),
    *(
        Corner(
            f"9 groups, {of}, {what},",
            _of_rows(2, 3, {"groups": 9, **channels}, **options), in_turn=True,
        )
        for of, channels in (("one filter each", {"group_channels": 17}),
                             ("one channel each", {"multiplier": 17}))
        for what, options in (("stride 2", STEM), ("dilation 2", {"dilation": 2}))
    ),
    *(
        Corner(f"a sequence, 18 channels and filters, {what},", {
            **PLAIN, **ROW, "group_channels": 18, "multiplier": 18, "width": 9, **more,
        }, in_turn=True)
        for what, more in (
            ("dilation 4", {}), ("dilation 4, stride 2", _both("stride", 1, 2)),
            ("stride 5", {**ROW_PLAIN, "width": 13}), ("two groups", {"groups": 2}),
        )
    ),
)  # fmt: skip
CORNERS = (
    *past_limits(TINY, ("images", "groups", "group_channels", "multiplier")),
    *past_limits(PLAIN, ("height", "width")),
    *two_large(PLAIN, NAMES),
    *RESTS,
    *BESIDE,
    Corner("images, channels and filters", {**PLAIN, **WHOLE, "group_channels": 65,
    "multiplier": 65}),
    *(Corner(f"{name} of a layer", {**PLAIN, **DEEP, **of}) for name, of in DEEP_LAYERS.items()),
    *(
        Corner(f"{what} of a first layer", {**PLAIN, **DEEP, **FIRST, **of})
        for what, of in FIRST_LAYERS.items()
    ),
    Corner("images, groups and filters", {**PLAIN, **WHOLE, "groups": 65, "multiplier": 33}),
    Corner("pixels, channels and filters", {
        **PLAIN, "group_channels": 33, "multiplier": 34, "height": 35, "width": 36,
    }),
    *(
        Corner(f"a sum of {LONGER} {n}", {**PLAIN, n: LONGER}, fractions_in(large), in_turn=True)
        for n, large in (("group_channels", "x"), ("multiplier", "grad_output"), ("width", "x"))
    ),
    Corner("many outputs", {**PLAIN, **PIXELS}),
    Corner("a long sum of pixels", {**PLAIN, "width": LONG}, fractions_in("grad_output")),
    Corner("a long sum of channels", {**PLAIN, "group_channels": LONG}, fractions_in("x")),
    Corner("a long sum of filters", {**PLAIN, "multiplier": LONG}, fractions_in("grad_output")),
    Corner("channels that cancel", {**PLAIN, "images": 4, "group_channels": LONG},
    halves_that_cancel("x")),
    Corner(
        "filters that cancel", {**PLAIN, "images": 4, "multiplier": LONG},
        halves_that_cancel("grad_output"),
    ),
    # What is past a limit beside what else is large, and tiles of which all are full.
    *(
        Corner(
            f"full tiles, fractions in {name}",
            {**PLAIN, "group_channels": 64, "multiplier": 64, "height": 8, "width": 8},
            fractions_in(name),
        )
        for name in ("x", "weight", "grad_output")
    ),
    Corner("many groups of many filters", {**PLAIN, "groups": 19, "group_channels": 2,
    "multiplier": 18}),
    Corner("many images, in groups, with a stride", {
        **PLAIN, **_both("kernel", 2, 3), **_both("stride", 2, 2), "images": 67, "groups": 2,
        "group_channels": 2, "multiplier": 18, "height": 4, "width": 5,
    }),
    Corner("many taps", {**PLAIN, **_both("kernel", 17, 18), "height": 17, "width": 19}),
    Corner("taps far apart", {
        **PLAIN, **_both("kernel", 3, 3), **_both("dilation", 18, 19), "height": 37, "width": 40,
    }),
    Corner("windows far apart", {
        **PLAIN, **_both("kernel", 2, 1), **_both("stride", 17, 18), "height": 36, "width": 37,
    }),
)  # fmt: skip

# Columns of 2.1 MiB in float32 and 4.2 in float64: what unrolls images for a cache takes them in
# blocks.  Three filters, so that dx is less work as columns of dy than as columns of x.
BLOCKED = {
    **PLAIN, "multiplier": 3, "height": 105, "width": 210, "kernel_height": 5, "kernel_width": 5,
    "padding_height": 2, "padding_width": 2,
}  # fmt: skip

ONES = of_size_one(
    {
        **TINY, "images": 2, "height": 4, "width": 5, "kernel_height": 2, "kernel_width": 3
    },
    "images", "group_channels", "multiplier", "kernel_height", "kernel_width", "images+multiplier",
    "images+group_channels",
)  # fmt: skip


def variants(rank: int) -> tuple[Variant, ...]:
    """Return the layers of networks, each with one option changed."""
    windows = [
        (x.name, layer_options.window(x.kernel, x.stride, x.padding, x.dilation, rank=rank),
         GROUPS.get(x.groups))
        for x in LAYERS_OF[rank]
    ]  # fmt: skip
    return layer_options.convolutions(windows, dict)


def convolution(rank: int) -> Operator:
    """Return the record of a convolution of `rank` spatial axes."""
    formulas = CONVOLUTIONS[rank]
    third = past_limits(of_rank(PLAIN, 3), ("depth",)) if rank == 3 else ()

    def drawn(draw: Choices, size: Size) -> Geometry:
        return geometry_of_rank(geometry(draw, size), rank)

    def witness(torch: Any) -> Callable[..., Any]:
        function: Callable[..., Any] = getattr(torch.nn.functional, f"conv{rank}d")
        return function

    return Operator(
        formula=formulas.forward,
        gradients={
            formulas.grad_input: "x",
            formulas.grad_weight: "weight",
            formulas.grad_bias: "bias",
        },
        geometry=drawn,
        arguments=arguments,
        witness=witness,
        share=SHARES[rank],
        covers=convolution_cover.covers(rank),
        variants=partial(variants, rank),
        corners=(*corners_of_rank(CORNERS, rank), *third),
        ones=corners_of_rank(ONES, rank),
        layers=workloads(rank),
    )


def _workload(name: str, layer: Layer, pixels: Sides, channels: int, filters: int) -> Workload:
    """Return a layer of real size, without groups."""
    window = layer_options.window(
        layer.kernel, layer.stride, layer.padding, layer.dilation, rank=len(pixels)
    )
    sides = dict(zip(window.names, pixels, strict=True))
    channel_sizes = {"group_channels": channels, "multiplier": filters, "bias": 1}
    return Workload(name, {"images": 1, "groups": 1, **channel_sizes, **sides, **window.sizes})


_SEQUENCE = {layer.name: layer for layer in SEQUENCE_LAYERS}
_VIDEO = {layer.name: layer for layer in VIDEO_LAYERS}
SEQUENCES = (
    _workload("wav2vec, 1 second", _SEQUENCE["wav2vec 10 stride 5"], (16_000,), 1, 8),
    _workload("wav2vec 512", _SEQUENCE["wav2vec 3 stride 2"], (3199,), 512, 512),
    _workload("Whisper 80", _SEQUENCE["Whisper 3 padded"], (3000,), 80, 384),
    _workload("TextCNN 100", _SEQUENCE["TextCNN 5"], (56,), 300, 100),
)
VIDEOS = (
    _workload("C3D, first", _VIDEO["C3D 3x3x3"], (16, 112, 112), 3, 64),
    _workload("I3D, first", _VIDEO["I3D 7x7x7 stride 2"], (16, 56, 56), 3, 64),
    _workload("R(2+1)D", _VIDEO["R(2+1)D 3x1x1"], (8, 28, 28), 64, 64),
    _workload("a small volume", _VIDEO["3x3x3 dilated 2"], (6, 9, 10), 3, 4),
)


def workloads(rank: int) -> tuple[Workload, ...]:
    """Return the layers that are checked by random projection."""
    if rank == 2:
        real = (
            Workload(f"{layer.network} {layer.name}", layer.sizes(1))
            for network in NETWORKS
            for layer in layers(network)
        )
        return (*real, Workload("4.2 MiB of columns", BLOCKED, always=True))
    return SEQUENCES if rank == 1 else VIDEOS


CONV1D, CONV2D, CONV3D = map(convolution, (1, 2, 3))
