"""Of every operator and size, what is forced is drawn as often as its share says.

A table states the share of all draws that every stratum, region, layer, limit, option and style of
numbers has.  `least` makes of it the fewest of DRAWS that a right generator falls short of with
a probability below UNLUCKY, by the binomial distribution; it is never 0, so that what is drawn no
more fails.  Names are written out here: what the generator loses is missed, and what it gains
must be stated.
"""

from fractions import Fraction
from functools import cache
from itertools import product
from math import comb, exp, lgamma, log, log1p, prod
from types import SimpleNamespace

import pytest

from gradoracle.conformance.checking.strategies import draw
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.operators.activations import SLOPES
from gradoracle.conformance.operators.arrays import PICKED
from gradoracle.conformance.operators.of_formula import SPAN
from gradoracle.conformance.properties import PROPERTIES
from gradoracle.oracle.shapes import extent
from tests.by_axes import DRAWN_BY_AXES

DRAWS = 2000
UNLUCKY = 1e-6
SIZES = ("small", "medium", "large")
SIDES = ("height", "width")
AXES = ("images", "channels", "height", "width")
# Calls of one and of three axes are made of these (`tests/test_ranks.py`).
# What is drawn of others follows from their axes (`tests/test_drawn_by_axes.py`).
BY_NAME = {
    o.name: o for o in OPERATORS if not (o.name.endswith(("1d", "3d")) or o.name in DRAWN_BY_AXES)
}
CONVOLUTIONS = ("conv2d", "conv_transpose2d")
POOLINGS = ("max_pool2d", "avg_pool2d")
ARRAYS = ("relu", "leaky_relu", "sigmoid", "tanh", "softmax", "batch_mean", "sgd_step")
FREE, IDIOMATIC, BOUNDARY = 2 / 5, 1 / 5, 2 / 5


@cache
def least(share):
    """Return the largest count that DRAWS of this share fall short of less often than UNLUCKY."""
    below, count = 0.0, 0
    while (below := below + probability(count, share)) < UNLUCKY:
        count += 1
    return count


def probability(count, share):
    """Return how likely it is that so many of DRAWS have this share."""
    ways = lgamma(DRAWS + 1) - lgamma(count + 1) - lgamma(DRAWS - count + 1)
    return exp(ways + count * log(share) + (DRAWS - count) * log1p(-share))


# -- convolutions ---------------------------------------------------------------------------------


def sides(s, name):
    return [s[f"{name}_{side}"] for side in SIDES]


def both(s, *names):
    return [side for name in names for side in sides(s, name)]


def exceeds(larger, smaller):
    return all(a > b for a, b in zip(larger, smaller, strict=True))


def unlike(s, *names):
    return all(sides(s, name)[0] != sides(s, name)[1] for name in names)


def left_over(s):
    """Return by how many pixels the image is larger than its windows, or output_padding."""
    if "output_padding_height" in s:
        return sides(s, "output_padding")
    return [
        (s[side] + 2 * s[f"padding_{side}"] - extent(s[f"kernel_{side}"], s[f"dilation_{side}"]))
        % s[f"stride_{side}"]
        for side in SIDES
    ]


# What must be true of a geometry of the region, and of how many it is: images and channels are
# cut where a call is too much work, and padding may be all there is of an image.
CONVOLUTION_REGIONS = {
    "anything": (1, lambda s: True),
    "1x1 kernel with padding": (
        1, lambda s: sides(s, "kernel") == [1, 1] and min(sides(s, "padding")) > 0,
    ),
    "padding beyond the kernel": (
        1, lambda s: exceeds(sides(s, "padding"), [k - 1 for k in sides(s, "kernel")]),
    ),
    "remainder": (0.8, lambda s: min(left_over(s)) > 0),
    "stride beyond the kernel": (
        1, lambda s: exceeds(sides(s, "stride"), sides(s, "kernel")),
    ),
    "odd groups": (0.9, lambda s: s["groups"] > 1 and s["group_channels"] >= 3),
    "groups, stride and dilation": (
        1,
        lambda s: min(s["groups"], *both(s, "stride", "dilation", "kernel")) > 1,
    ),
    "height unlike width": (1, lambda s: unlike(s, "kernel", "stride", "padding", "dilation")),
    "one pixel": (0.5, lambda s: max(windows(s)) == 1),
    "empty batch": (1, lambda s: s["images"] == 0),
    "several images": (0.8, lambda s: s["images"] >= 3),
    "depthwise": (1, lambda s: s["groups"] > 1 == s["group_channels"]),
    "far apart": (1, lambda s: min(sides(s, "dilation")) >= 4 and min(sides(s, "kernel")) > 1),
    "far out": (1, lambda s: min(sides(s, "padding")) >= 4),
    "far strides": (1, lambda s: min(sides(s, "stride")) >= 4),
    "long kernel": (1, lambda s: min(sides(s, "kernel")) >= 3),
}  # fmt: skip
CONVOLUTION_LAYERS = (
    "ResNet 1x1", "ResNet 1x1 stride 2", "VGG 3x3", "U-Net 2x2 stride 2", "ResNet 3x3 stride 2",
    "DCGAN 4x4 stride 2", "ConvNeXt 4x4 stride 4", "LeNet 5x5", "LeNet 5x5 padded",
    "Inception 5x5 stride 2", "Inception 1x7", "Inception 7x1", "ResNet 7x7 stride 2",
    "AlexNet 11x11 stride 4", "AlexNet 5x5 in two groups", "ViT 16x16 stride 16",
    "DeepLab 3x3 dilated 2", "DeepLab 3x3 dilated 6", "DeepLab 3x3 dilated 12",
    "ResNeXt 3x3 grouped", "ResNeXt 3x3 grouped stride 2", "MobileNet 3x3 depthwise",
    "MobileNet 3x3 depthwise stride 2", "EfficientNet 5x5 depthwise stride 2",
    "ConvNeXt 7x7 depthwise",
)  # fmt: skip


def windows(s):
    """Return how many windows a convolution has along both sides; x's, where it is transposed."""
    if "output_padding_height" in s:
        return [s[side] for side in SIDES]
    return [
        (
            s[side] + 2 * s[f"padding_{side}"]
            - extent(s[f"kernel_{side}"], s[f"dilation_{side}"])
        ) // s[f"stride_{side}"] + 1
        for side in SIDES
    ]  # fmt: skip


# Aim: the size that it is about, and of how many draws that is at the limit; the others are cut
# by the work that a call may be, in small calls and beside other large sides.
CONVOLUTION_AIMS = {
    "images": (lambda s: s["images"], {"small": 0.6}),
    "group_channels": (lambda s: s["group_channels"], {"small": 0.7, "medium": 0.9}),
    "multiplier": (lambda s: s["multiplier"], {"small": 0.7, "medium": 0.9, "large": 0.9}),
    "groups": (lambda s: s["groups"], {}),
    "rows": (lambda s: windows(s)[0], {"small": 0.5, "medium": 0.8, "large": 0.9}),
    "columns": (lambda s: windows(s)[1], {"small": 0.4, "medium": 0.65, "large": 0.8}),
    "kernel": (lambda s: max(sides(s, "kernel")), {}),
    "pixels": (lambda s: prod(windows(s)), {"medium": 0.75, "large": 0.8}),
    "taps": (lambda s: s["group_channels"] * prod(sides(s, "kernel")), {}),
    "tile": (lambda s: s["group_channels"], {}),
    "threads": (lambda s: prod(windows(s)), {}),
    "blocks": (lambda s: prod(windows(s)), {}),
}
IN_SMALL = ("images", "group_channels", "multiplier", "groups", "rows", "columns", "kernel")
BANDS = {"to 17": range(3, 18), "31 to 65": range(31, 66), "127 to 257": range(127, 258)}
IN_BANDS = {"to 17": 9 / 21, "31 to 65": 6 / 21, "127 to 257": 6 / 21}  # of the limits


def limit_of(geometry):
    return int(geometry.region.rpartition(" ")[2])


def aimed(aim):
    return lambda g: g.stratum == "boundary" and g.region.rpartition(" ")[0] == aim


def in_band(aim, band):
    return lambda g: aimed(aim)(g) and limit_of(g) in BANDS[band]


def at_the_limit(aim, size_of):
    return lambda g: aimed(aim)(g) and size_of(g.sizes) >= limit_of(g)


def strata(*names):
    shares = {"free": FREE, "idiomatic": IDIOMATIC, "boundary": BOUNDARY}
    return {f"stratum {n}": (shares[n], lambda g, n=n: g.stratum == n) for n in names}


def regions(truths):
    share = FREE / len(truths)
    return {
        f"region {name}": (
            share * truth[0],
            lambda g, name=name, true=truth[1]: (
                (g.stratum, g.region) == ("free", name) and true(g.sizes)
            ),
        )
        for name, truth in truths.items()
    }


def layers(names):
    share = IDIOMATIC / len(names)
    return {
        f"layer {name}": (share, lambda g, name=name: (g.stratum, g.region) == ("idiomatic", name))
        for name in names
    }


def options(**counts):
    """State that every value of an option is drawn, each as often as the others."""
    return {
        f"{name} {value}": (1 / count, lambda g, n=name, v=value: g.sizes[n] == v)
        for name, count in counts.items()
        for value in range(count)
    }


def listed(name, values):
    """State that every value of an option that lists them is drawn, nearly equally often."""
    kinds, picks = len(values), [*range(SPAN)]
    return {
        f"{name} {value}": (
            len(picks[at::kinds]) / SPAN,
            lambda g, at=at: g.sizes[PICKED + name] % kinds == at,
        )
        for at, value in enumerate(values)
    }


def aims_of(table, share, size):
    """What is aimed at, and the limit that is then really reached."""
    stated = {f"aim {aim}": (share, aimed(aim)) for aim in table}
    for aim, (size_of, attained) in table.items():
        reached = share * attained.get(size, 1)
        stated[f"aim {aim}, at the limit"] = reached, at_the_limit(aim, size_of)
    return stated


def convolutions(size):
    aims = {a: of for a, of in CONVOLUTION_AIMS.items() if size != "small" or a in IN_SMALL}
    aims = {a: of for a, of in aims.items() if size == "large" or a != "blocks"}
    share = BOUNDARY / len(aims)
    stated = strata("free", "idiomatic", "boundary") | regions(CONVOLUTION_REGIONS)
    stated |= layers(CONVOLUTION_LAYERS) | options(bias=2)
    stated |= aims_of(aims, share, size)
    if size != "small":
        for aim, band in product(("group_channels", "multiplier", "rows", "columns"), BANDS):
            stated[f"aim {aim} {band}"] = share * IN_BANDS[band], in_band(aim, band)
    return stated


def transposed(size):
    return convolutions(size) | {
        "output_padding of the stride or more": (
            0.05,
            lambda g: not exceeds(sides(g.sizes, "stride"), sides(g.sizes, "output_padding")),
        ),
    }  # fmt: skip


# -- pooling --------------------------------------------------------------------------------------


def spans(s):
    pairs = zip(sides(s, "kernel"), sides(s, "dilation"), strict=True)
    return [extent(k, d) for k, d in pairs]


def overhang(s):
    """Return by how many pixels the last window hangs over the padded image on either side."""
    name = "max_pool2d"  # an average's dilation is 1
    y = BY_NAME[name].arguments(s).shapes["grad_output"][2:]
    ends = [(n - 1) * a + e for n, a, e in zip(y, sides(s, "stride"), spans(s), strict=True)]
    return [end - s[side] - 2 * s[f"padding_{side}"] for side, end in zip(SIDES, ends, strict=True)]


def pixels(s):
    return prod(BY_NAME["max_pool2d"].arguments(s).shapes["grad_output"][2:])


POOLING_REGIONS = {
    "anything": (1, lambda s: True),
    "overlapping windows": (
        1, lambda s: exceeds(spans(s), sides(s, "stride")),
    ),
    "gaps between windows": (
        1, lambda s: exceeds(sides(s, "stride"), spans(s)),
    ),
    "overhang": (0.7, lambda s: max(overhang(s)) > 0),
    "overhang into padding": (
        0.7, lambda s: max(overhang(s)) > 0 and max(sides(s, "padding")) > 0,
    ),
    "padding": (0.9, lambda s: max(sides(s, "padding")) > 0),
    "dilation": (1, lambda s: min(sides(s, "kernel")) > 1),
    "dilation and padding": (0.9, lambda s: max(sides(s, "padding")) > 0),
    "height unlike width": (1, lambda s: unlike(s, "kernel", "stride")),
    "one pixel": (1, lambda s: pixels(s) == 1 == max(sides(s, "kernel"))),
    "whole image": (1, lambda s: pixels(s) == 1 and spans(s) == [s[side] for side in SIDES]),
    "whole image with padding": (
        0.6, lambda s: pixels(s) == 1 and max(sides(s, "padding")) > 0,
    ),
    "empty batch": (1, lambda s: s["images"] == 0),
    "several images": (1, lambda s: s["images"] >= 3),
}  # fmt: skip
DILATED = {
    "dilation": (1, lambda s: min(*sides(s, "dilation"), *sides(s, "kernel")) > 1),
    "dilation and padding": (
        0.9, lambda s: min(sides(s, "dilation")) > 1 and max(sides(s, "padding")) > 0,
    ),
}  # fmt: skip
POOLING_LAYERS = (
    "LeNet 2x2", "AlexNet 3x3 stride 2", "ResNet 3x3 stride 2 padded",
    "GoogLeNet 3x3 stride 2 ceil", "SqueezeNet 3x3 stride 2 ceil", "Inception 3x3 stride 1 padded",
    "VGG 2x2 ceil", "DenseNet 2x2", "SPP 5x5 stride 1 padded", "YOLO 13x13 stride 1 padded",
    "global 7x7", "U-Net 2x2",
)  # fmt: skip


def pooled(s):
    return BY_NAME["max_pool2d"].arguments(s).shapes["grad_output"]


POOLING_AIMS = {
    "images": (lambda s: s["images"], {}),
    "channels": (lambda s: s["channels"], {"medium": 0.9}),
    "rows": (lambda s: pooled(s)[2], {}),
    "columns": (lambda s: pooled(s)[3], {"medium": 0.9}),
    "kernel": (lambda s: max(sides(s, "kernel")), {}),
    "threads": (lambda s: prod(pooled(s)[2:]), {"medium": 0.7}),
}


def poolings(size, *, dilated):
    stated = strata("free", "idiomatic", "boundary") | layers(POOLING_LAYERS)
    stated |= regions(POOLING_REGIONS | (DILATED if dilated else {})) | options(include=2)
    stated |= {f"ceil {v}": (0.4, lambda g, v=v: g.sizes["ceil"] == v) for v in (0, 1)}
    share = BOUNDARY / len(POOLING_AIMS)
    stated |= aims_of(POOLING_AIMS, share, size)
    if size != "small":
        for aim, band in product(("channels", "columns"), BANDS):
            stated[f"aim {aim} {band}"] = share * IN_BANDS[band], in_band(aim, band)
    return stated


# -- arrays and matrices --------------------------------------------------------------------------

ARRAY_LAYERS = (
    "LeNet F6", "LeNet S4", "ten classes", "VGG conv5", "ResNet layer4", "ImageNet classes",
    "sequence", "one vector",
)  # fmt: skip
# One of three limits is among the last four, where nothing larger stands in.
OFTEN_LAST = {
    "to 17": 2 / 3 * 9 / 21,
    "31 to 65": 2 / 3 * 6 / 21,
    "127 to 257": 2 / 3 * 6 / 21 + 1 / 3,
}
UP_TO_65 = {"to 17": 2 / 3 * 9 / 15, "31 to 65": 2 / 3 * 6 / 15 + 1 / 3}
THREADS = range(1023, 1026)


def arrays(size, *, empty=True, **counts):
    stated = strata("free", "idiomatic", "boundary") | layers(ARRAY_LAYERS) | options(**counts)
    stated["at the limit"] = BOUNDARY, lambda g: limit_of_side(g) in [g.sizes[a] for a in AXES]
    if empty:  # of arrays of two axes or more
        stated["region empty batch"] = (
            FREE * 3 / 4 / 12,
            lambda g: g.region == "empty batch" and g.sizes["images"] == 0,
        )
    stated["region anything"] = FREE * 11 / 12, lambda g: g.region == "anything"
    least_axes = 1 if empty else 2
    for axes in range(least_axes, 5):
        stated[f"{axes} axes"] = (FREE + BOUNDARY) / 4, lambda g, n=axes: g.sizes["axes"] == n
    bands, share = (UP_TO_65, BOUNDARY) if size == "small" else (OFTEN_LAST, BOUNDARY * 5 / 6)
    for band, within in bands.items():
        stated[f"side {band}"] = share * within, in_band("side", band)
    if size != "small":
        stated["side of a block's threads"] = (
            BOUNDARY / 6, lambda g: aimed("side")(g) and limit_of(g) in THREADS,
        )  # fmt: skip
    return stated


def limit_of_side(geometry):
    return limit_of(geometry) if geometry.stratum == "boundary" else -1


LINEAR_LAYERS = (
    "LeNet C5", "LeNet F6", "ten classes", "AlexNet classifier", "one output", "one input",
)  # fmt: skip
LOSS_LAYERS = ("ten classes", "two classes", "ImageNet classes")
# Small calls have sides of at most 33, and cross-entropy's fewer limits.
MATRIX_AIMS = {
    "linear": {"images": 0.9, "inputs": 0.25, "outputs": 0.25},
    "cross_entropy": {"images": 0.8, "classes": 0.8},
    "matmul": {"images": 0.9, "inner": 0.25, "columns": 0.25},
    "bmm": {"images": 0.9, "rows": 0.25, "inner": 0.25, "columns": 0.25},
    "broadcast_matmul": {"batch": 0.9, "rows": 0.25, "inner": 0.25, "columns": 0.25},
}


def matrices(size, *, name, layer_names, **counts):
    stated = strata("free", "idiomatic", "boundary") | layers(layer_names) | options(**counts)
    aims = MATRIX_AIMS[name]
    batch = next(iter(aims))
    stated["region empty batch"] = (
        FREE / 16, lambda g: g.region == "empty batch" and g.sizes[batch] == 0,
    )  # fmt: skip
    stated["region anything"] = FREE * 15 / 16, lambda g: g.region == "anything"
    for aim, attained in aims.items():
        share = BOUNDARY / len(aims)
        stated[f"aim {aim}"] = share, aimed(aim)
        within = attained if size == "small" else 1
        stated[f"aim {aim}, at the limit"] = (
            share * within, at_the_limit(aim, lambda s, aim=aim: s[aim]),
        )  # fmt: skip
        if aim != batch and size != "small":
            for band, inside in OFTEN_LAST.items():
                stated[f"aim {aim} {band}"] = share * inside, in_band(aim, band)
    return stated


HEADS = ("scores", "values", "one row")


def broadcast(size):
    """State that operands have one to four axes, and batches of which any sides are 1."""
    stated = matrices(size, name="broadcast_matmul", layer_names=HEADS)
    values = {"outer": range(1, 4)}
    values |= {f"{name}_axes": range(1, 5) for name in ("input", "other")}
    values |= {f"{name}_ones": range(4) for name in ("input", "other")}
    return stated | {
        f"{name} {value}": (1 / len(of), lambda g, n=name, v=value: g.sizes[n] == v)
        for name, of in values.items()
        for value in of
    }


def losses(size):
    stated = matrices(size, name="cross_entropy", layer_names=LOSS_LAYERS, mean=2)
    operator = BY_NAME["cross_entropy"]
    for reduction in ("mean", "sum"):
        stated[f"reduction {reduction}"] = (
            0.45, lambda g, r=reduction: operator.arguments(g.sizes).options["reduction"] == r,
        )  # fmt: skip
    return stated


def softmaxes(size):
    stated = arrays(size, from_end=2, axis=4)
    operator = BY_NAME["softmax"]

    def goes_along(ndim, axis):
        def inside(geometry):
            made = operator.arguments(geometry.sizes)
            return (len(made.shapes["z"]), made.options["axis"]) == (ndim, axis)

        return inside

    for ndim in range(1, 5):
        for axis in range(-ndim, ndim):
            # Of the (2 * ndim) axes; an empty batch is not gone along.
            share = (FREE + BOUNDARY) / 4 / (2 * ndim) * (0.8 if ndim == 3 else 0.9)
            stated[f"axis {axis} of {ndim}"] = share, goes_along(ndim, axis)
    return stated


NETWORKS = (
    "LeNet", "LeNet with maxima", "AlexNet", "VGG", "Inception", "all convolutions", "logistic",
)  # fmt: skip


def networks(size):
    del size
    stated = {
        f"layer {name}": (1 / 21, lambda g, name=name: (g.stratum, g.region) == ("idiomatic", name))
        for name in NETWORKS
    }
    stated["region anything"] = 2 / 3, lambda g: (g.stratum, g.region) == ("free", "anything")
    stated |= {f"{n} blocks": (0.4, lambda g, n=n: g.sizes["blocks"] == n) for n in (1, 2)}
    return stated | options(mean=2, rate=5, bias_3=2)


def graphs(size):
    del size
    stated = {
        f"kind {kind}": (0.5, lambda g, kind=kind: g.sizes["kind"] == kind) for kind in (0, 1)
    }
    stated |= {  # of nine blocks, and none after the first
        f"first block {n}": (1 / 9, lambda g, n=n: g.sizes["block_1"] == n) for n in range(1, 10)
    }
    stated |= {
        f"block {at} is {n}": (0.1, lambda g, at=at, n=n: g.sizes[f"block_{at}"] == n)
        for at in (2, 3)
        for n in range(10)
    }
    stated["region anything"] = 0.99, lambda g: (g.stratum, g.region) == ("free", "anything")
    return stated | options(activation=5, loss=4, mean=2, factor=3, second=3, tied=2, bias=2)


STATED = {
    "conv2d": convolutions,
    "conv_transpose2d": transposed,
    "max_pool2d": lambda size: poolings(size, dilated=True),
    "avg_pool2d": lambda size: poolings(size, dilated=False),
    **dict.fromkeys(("relu", "sigmoid", "tanh"), arrays),
    "leaky_relu": lambda size: arrays(size) | listed("negative_slope", SLOPES),
    "batch_mean": lambda size: arrays(size, empty=False),
    "sgd_step": lambda size: arrays(size, rate=11),
    "softmax": softmaxes,
    "linear": lambda size: matrices(size, name="linear", layer_names=LINEAR_LAYERS, bias=2),
    "cross_entropy": losses,
    "network_backward": networks,
    "graph_backward": graphs,
}

STATED |= {
    "matmul": lambda size: matrices(
        size, name="matmul", layer_names=("a head of attention", "an odd width", "one column")
    ),
    "bmm": lambda size: matrices(size, name="bmm", layer_names=HEADS),
    "broadcast_matmul": broadcast,
}

# -- styles of numbers ----------------------------------------------------------------------------

INTEGERS = ("small integers", "ones", "one hot", "all negative", "next to powers", "cancelling")
FLOATS = ("normal", "wide range", "far from one", "positive", "nearly cancelling")
PIECEWISE = ("small integers", "one hot", "all negative", "next to powers", "cancelling")
SUMS = {"exact": (*INTEGERS, "few fractions"), "floats": FLOATS, "slopes": INTEGERS}
KINKED = {
    "exact": PIECEWISE,
    "floats": ("normal", "wide range", "far from one", "tails", "nearly subnormal"),
    "slopes": ("gaps",),
}  # fmt: skip
SMOOTH = {
    "exact": (),
    "floats": ("normal", "tails", "grid", "wide range", "nearly subnormal", "small integers"),
    "slopes": ("grid",),
}  # fmt: skip
LOGITS = {
    "exact": (),
    "floats": (
        "moderate", "large logits", "rows of different scale", "rows far apart", "far apart",
        "minus infinity", "equal logits", "far below", "one far below", "grid",
    ),
    "slopes": ("grid",),
}  # fmt: skip
MAXIMA = {
    "exact": (
        "small integers", "distinct", "ties", "infinities and nans", "all negative", "far below",
        "one hot", "next to powers", "few fractions",
    ),
    "floats": FLOATS,
    "slopes": ("distinct",),
}  # fmt: skip
STYLES = {
    **dict.fromkeys((*CONVOLUTIONS, "avg_pool2d", "linear", "batch_mean", "sgd_step"), SUMS),
    **dict.fromkeys(("sigmoid", "tanh"), SMOOTH),
    **dict.fromkeys(("softmax", "cross_entropy"), LOGITS),
    "max_pool2d": MAXIMA,
    "batch_mean": {**SUMS, "floats": (*FLOATS, "large mean")},
    "leaky_relu": KINKED,
    "relu": {**KINKED, "exact": (*PIECEWISE, "infinities and nans")},
    "network_backward": {"exact": (), "floats": ("scaled normal", "integers"), "slopes": ()},
    "graph_backward": {"exact": (), "floats": ("scaled normal",), "slopes": ()},
}


STYLES |= dict.fromkeys(("matmul", "bmm", "broadcast_matmul"), SUMS)


def kinds(name):
    """Return the names of the styles of every kind, as properties ask for them."""
    of = STYLES[name]
    either = of["exact"] or of["floats"]
    every = of | {"any": either, "all": of["exact"] + of["floats"]}
    return {kind: names for kind, names in every.items() if names}


def styles(name):
    operator = BY_NAME[name]

    def picked(kind, style):
        given_styles = operator.styles.of(kind)
        return lambda g: given_styles[g.seed % len(given_styles)].name == style

    return {
        f"{kind} style {style}": (1 / len(names), picked(kind, style))
        for kind, names in kinds(name).items()
        for style in names
        if len(names) > 1
    }


# -- the tests ------------------------------------------------------------------------------------


def drawn(name, size):
    found = []
    draw(BY_NAME[name], size, DRAWS, 1, found.extend)
    assert len(found) == DRAWS
    return found


def missed(stated, geometries):
    """Return what is drawn less often than stated: its name, how often, and the limit."""
    counts = {
        name: sum(bool(inside(g)) for g in geometries) for name, (_, inside) in stated.items()
    }
    return {
        name: (counts[name], least(share))
        for name, (share, _) in stated.items()
        if counts[name] < least(share)
    }


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", BY_NAME)
def test_everything_forced_is_drawn_as_often_as_stated(name, size):
    geometries = drawn(name, size)
    assert not missed(STATED[name](size) | styles(name), geometries)
    assert not unstated(STATED[name](size), geometries)


def unstated(stated, geometries):
    """Return the regions, layers and aims that nobody has stated."""
    known = {name.partition(" ")[2] for name in stated} | {"side"}
    labels = {
        g.region.rpartition(" ")[0] if g.stratum == "boundary" else g.region for g in geometries
    }
    return labels - known


def test_every_operator_size_and_style_is_stated():
    assert {*STATED} == {*STYLES} == {*BY_NAME}
    assert {p.size for p in PROPERTIES.values()} <= {*SIZES}
    for name, operator in BY_NAME.items():
        for kind, names in kinds(name).items():
            assert [style.name for style in operator.styles.of(kind)] == [*names], (name, kind)


@pytest.mark.parametrize("name", BY_NAME)
def test_no_limit_lets_a_region_be_lost(name):
    for size in SIZES:
        for what, (share, _) in (STATED[name](size) | styles(name)).items():
            assert least(share) >= 1, (size, what)


def test_limits_are_those_of_the_binomial_distribution():
    for share in (Fraction(1, 2), Fraction(1, 40), Fraction(1, 125)):
        limit = least(float(share))
        below = [comb(DRAWS, k) * share**k * (1 - share) ** (DRAWS - k) for k in range(limit + 1)]
        assert sum(below[:-1]) < UNLUCKY <= sum(below)


@pytest.mark.parametrize("lost", ["far out", "VGG 3x3", "taps"])
def test_what_is_lost_is_missed(lost):
    geometries = [g for g in drawn("conv2d", "large") if lost not in g.region]
    found = missed(STATED["conv2d"]("large"), geometries)
    assert any(lost in name for name in found)
    assert all(lost in name or name.startswith("stratum") for name in found), found


def test_what_is_not_stated_is_told():
    stranger = SimpleNamespace(stratum="free", region="a new region")
    assert unstated(STATED["conv2d"]("large"), [stranger]) == {"a new region"}
