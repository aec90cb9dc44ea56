"""The conv2d operator: its formulas, its geometries and its PyTorch witness."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import hypothesis.strategies as st

import oracle
from conformance.operator import Arguments, Geometry, Operator, Size
from conformance.strategies import (
    BATCH_LIMITS,
    BLOCKS,
    LIMITS,
    THREADS,
    Choices,
    Range,
    Ranges,
    chosen,
)
from oracle.geometry import Pair, conv2d_shapes, extent

# What a free geometry draws from.  `rows` counts output pixels of a side and `rest` the pixels
# that no window reaches, so the image is sized last and fits whatever was drawn.
FREE: Ranges = {
    "images": (1, 3), "groups": (1, 3), "depth": (1, 3), "multiplier": (1, 3),
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
    "odd groups": {"groups": (2, 3), "depth": (3, 7), "multiplier": (1, 2), "kernel": (1, 2)},
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
    "depthwise": {"groups": (2, 5), "depth": (1, 1), "stride": (1, 3)},
    "long kernel": {"kernel": (3, 6), "rows": (1, 3), "depth": (1, 2), "groups": (1, 2)},
}  # fmt: skip


class Layer(NamedTuple):
    """The options of a convolution that networks are made of."""

    name: str
    kernel: int
    stride: int
    padding: int
    dilation: int = 1
    depthwise: bool = False
    grouped: bool = False


LAYERS = (
    Layer("ResNet 1x1", 1, 1, 0),
    Layer("ResNet 1x1 stride 2", 1, 2, 0),
    Layer("VGG 3x3", 3, 1, 1),
    Layer("U-Net 2x2 stride 2", 2, 2, 0),
    Layer("ResNet 3x3 stride 2", 3, 2, 1),
    Layer("LeNet 5x5", 5, 1, 0),
    Layer("LeNet 5x5 padded", 5, 1, 2),
    Layer("ResNet 7x7 stride 2", 7, 2, 3),
    Layer("AlexNet 11x11 stride 4", 11, 4, 2),
    Layer("DeepLab 3x3 dilated", 3, 1, 2, dilation=2),
    Layer("ResNeXt 3x3 grouped", 3, 1, 1, grouped=True),
    Layer("MobileNet 3x3 depthwise", 3, 1, 1, depthwise=True),
    Layer("MobileNet 3x3 depthwise stride 2", 3, 2, 1, depthwise=True),
)

# Which side of a geometry is taken to a limit of the machine, and where those limits are.
BOUNDARIES: dict[str, tuple[int, ...]] = {
    "images": BATCH_LIMITS,
    "depth": LIMITS,
    "multiplier": LIMITS,
    "groups": tuple(n for n in LIMITS if n <= 65),
    "columns": LIMITS,
    "kernel": (5, 6, 7, 8, 9, 10, 11),
    "pixels": tuple(n for n in LIMITS if n >= 15),
    "taps": tuple(n for n in LIMITS if n >= 15),
    "threads": (THREADS - 1, THREADS, THREADS + 1),
    "blocks": (BLOCKS - 1, BLOCKS, BLOCKS + 1, BLOCKS + 2),
}
REGION_NAMES = tuple(REGIONS)
STRATA = ("free", "free", "idiomatic", "boundary")

# "small" is for what loops over products in Python, "medium" for what asks many times.
BOUNDARIES_OF: dict[Size, dict[str, tuple[int, ...]]] = {
    "small": {
        name: tuple(n for n in BOUNDARIES[name] if n <= 17)
        for name in ("images", "depth", "multiplier", "groups", "columns", "kernel")
    },
    "medium": {name: limits for name, limits in BOUNDARIES.items() if name != "blocks"},
    "large": BOUNDARIES,
}


def geometries(size: Size) -> st.SearchStrategy[Geometry]:
    """Return any legal geometry, shrinking towards one image, one channel and a 1x1 kernel.

    `size` says how far the boundary stratum goes.
    """
    return _GEOMETRIES[size]


def _any(draw: Choices, size: Size) -> Geometry:
    stratum = draw.one_of(STRATA)
    if stratum == "boundary":
        return _boundary(draw, BOUNDARIES_OF[size])
    if stratum == "idiomatic":
        return _idiomatic(draw, widest=2 if size == "small" else 6)
    return _free(draw)


_GEOMETRIES: dict[Size, st.SearchStrategy[Geometry]] = {
    size: chosen(partial(_any, size=size)) for size in BOUNDARIES_OF
}


def _free(draw: Choices) -> Geometry:
    region = draw.one_of(REGION_NAMES)
    ranges = {**FREE, **REGIONS[region]}

    def number(name: str) -> int:
        return draw.integer(*ranges[name])

    unlike = bool(number("different"))
    groups, depth, multiplier = number("groups"), number("depth"), number("multiplier")
    return _geometry(
        "free", region, draw, images=number("images"), groups=groups, depth=depth,
        multiplier=multiplier,
        kernel=draw.pair(ranges["kernel"], different=unlike),
        stride=draw.pair(ranges["stride"], different=unlike),
        padding=draw.pair(ranges["padding"], different=unlike),
        dilation=draw.pair(ranges["dilation"], different=unlike),
        rows=draw.pair(ranges["rows"]), rest=ranges["rest"],
    )  # fmt: skip


def _idiomatic(draw: Choices, *, widest: int) -> Geometry:
    layer = draw.one_of(LAYERS)
    channels = draw.integer(1, widest)
    groups = channels if layer.depthwise else 2 if layer.grouped else 1
    multiplier = draw.integer(1, 2 if layer.depthwise else widest)
    return _geometry(
        "idiomatic", layer.name, draw, images=draw.integer(1, 2), groups=groups,
        depth=1 if layer.depthwise else channels, multiplier=multiplier,
        kernel=(layer.kernel,) * 2, stride=(layer.stride,) * 2,
        padding=(layer.padding,) * 2, dilation=(layer.dilation,) * 2,
        rows=draw.pair((1, widest + 1)), rest=(0, 1),
    )  # fmt: skip


def _boundary(draw: Choices, boundaries: dict[str, tuple[int, ...]]) -> Geometry:
    aim = draw.one_of(tuple(boundaries))
    limit = draw.one_of(boundaries[aim])
    images = limit if aim == "images" else draw.integer(1, 2)
    groups = limit if aim == "groups" else 1
    depth = limit if aim == "depth" else draw.integer(1, 2)
    multiplier = limit if aim == "multiplier" else draw.integer(1, 2)
    kernel = draw.pair((1, 3))
    rows = draw.pair((1, 3))
    stride = draw.pair((1, 2))
    if aim == "kernel":
        kernel = (limit, kernel[1]) if draw.integer(0, 1) else (kernel[0], limit)
    elif aim == "columns":
        rows = (rows[0], limit)
    elif aim == "pixels":
        rows = _as_product(limit, draw.integer(1, 4))
    elif aim == "taps":
        kernel, depth = _taps(limit, draw.integer(1, 3))
    elif aim in ("threads", "blocks"):
        images, groups, depth, multiplier, kernel = 1, 1, 1, 1, (1, draw.integer(1, 2))
        rows = _as_product(limit, draw.one_of((1, 255, 256, 257)))
    return _geometry(
        "boundary", f"{aim} {limit}", draw, images=images, groups=groups, depth=depth,
        multiplier=multiplier, kernel=kernel, stride=stride,
        padding=draw.pair((0, 1)), dilation=draw.pair((1, 2)), rows=rows, rest=(0, 1),
    )  # fmt: skip


def _as_product(pixels: int, rows: int) -> Pair:
    """Return a map of at least `pixels` pixels that has about `rows` rows."""
    return rows, -(-pixels // rows)


def _taps(limit: int, side: int) -> tuple[Pair, int]:
    """Return a kernel of `side` columns and a depth with C*KH*KW next to `limit`."""
    return (1, side), -(-limit // side)


def _geometry(
    stratum: str, region: str, draw: Choices, *, images: int, groups: int, depth: int,
    multiplier: int, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, rows: Pair,
    rest: Range,
) -> Geometry:  # fmt: skip
    """Size the image so that the output has `rows` pixels (more, under much padding)."""
    height, width = (
        max(1, extent(k, d) + s * (count - 1) + _rest(draw, rest, s) - 2 * p)
        for k, s, p, d, count in zip(kernel, stride, padding, dilation, rows, strict=True)
    )
    sizes = {
        "images": images, "groups": groups, "depth": depth, "multiplier": multiplier,
        "height": height, "width": width, "bias": draw.integer(0, 1),
        "kernel_height": kernel[0], "kernel_width": kernel[1],
        "stride_height": stride[0], "stride_width": stride[1],
        "padding_height": padding[0], "padding_width": padding[1],
        "dilation_height": dilation[0], "dilation_width": dilation[1],
    }  # fmt: skip
    return Geometry(stratum, region, sizes, draw.seed())


def arguments(sizes: Mapping[str, int]) -> Arguments:
    """Return the shapes and options of a convolution of these sizes.

    `depth` is C/groups, `multiplier` M/groups, `bias` 0 or 1.

    Raises:
        ValueError: there is no such convolution.
    """

    def sides(name: str) -> Pair:
        return sizes[f"{name}_height"], sizes[f"{name}_width"]

    groups = sizes["groups"]
    options = {n: sides(n) for n in ("stride", "padding", "dilation")} | {"groups": groups}
    shapes = conv2d_shapes(
        (sizes["images"], groups * sizes["depth"], sizes["height"], sizes["width"]),
        (groups * sizes["multiplier"], sizes["depth"], *sides("kernel")),
        **options,  # type: ignore[arg-type]
    )
    return Arguments(
        {
            "x": shapes.x,
            "weight": shapes.weight,
            "bias": shapes.weight[:1] if sizes["bias"] else None,
            "grad_output": shapes.y,
        },
        {"input_shape": shapes.x, "weight_shape": shapes.weight, **options},
    )


def _rest(draw: Choices, rest: Range, stride: int) -> int:
    """Draw how many pixels the windows leave over, less than a stride."""
    return draw.integer(min(rest[0], stride - 1), min(rest[1], stride - 1))


def _witness(torch: Any) -> Callable[..., Any]:
    function: Callable[..., Any] = torch.nn.functional.conv2d
    return function


CONV2D = Operator(
    formula=oracle.conv2d,
    gradients={
        "x": oracle.conv2d_grad_input,
        "weight": oracle.conv2d_grad_weight,
        "bias": oracle.conv2d_grad_bias,
    },
    geometries=geometries,
    arguments=arguments,
    witness=_witness,
)
