"""Single calls of convolutions that every certification makes: limits, long sums, many of all."""

from collections.abc import Mapping

from gradoracle.conformance.drawing.choices import LONG, LONGER, MANY
from gradoracle.conformance.drawing.values import fractions_in, halves_that_cancel
from gradoracle.conformance.operators.record import Corner, of_size_one, past_limits, two_large
from gradoracle.oracle.shapes import extent

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
