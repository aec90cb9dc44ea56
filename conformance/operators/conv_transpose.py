"""Transposed convolutions of one to three dimensions: formulas, geometries, PyTorch's counterpart.

A transposed convolution is drawn as the convolution that it goes back through: what is the input
there is the output here, and the pixels that no window reaches there are output_padding here.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from typing import Any

from gradoracle.conformance.drawing.choices import Choices
from gradoracle.conformance.drawing.coverage import Cover
from gradoracle.conformance.drawing.covering import Chosen
from gradoracle.conformance.operators import convolution_cover, layer_options
from gradoracle.conformance.operators.convolution import convolution
from gradoracle.conformance.operators.convolution_corners import BLOCKED, PLAIN
from gradoracle.conformance.operators.convolution_corners import CORNERS as CONVOLUTION_CORNERS
from gradoracle.conformance.operators.convolution_corners import ONES as CONVOLUTION_ONES
from gradoracle.conformance.operators.network_layers import UP_CONVOLUTIONS
from gradoracle.conformance.operators.ranks import corners_of_rank, options_of, pixels_of, sides_of
from gradoracle.conformance.operators.record import (
    Arguments,
    Corner,
    Geometry,
    Operator,
    Size,
    Variant,
    Workload,
)
from gradoracle.oracle.formulas.conv_transpose import TRANSPOSED
from gradoracle.oracle.formulas.convolution import CONVOLUTIONS
from gradoracle.oracle.shapes import SIDES, conv_transpose_shapes, extent


def _transposed(drawn: Geometry) -> Geometry:
    """Return the transposed convolution that goes back through a drawn convolution.

    Where a kernel is dilated by more than the stride, output_padding may exceed the stride, and in
    one of four such draws it does.
    """
    sizes = dict(drawn.sizes)
    for axis in sides_of(sizes):
        stride, dilation = sizes[f"stride_{axis}"], sizes[f"dilation_{axis}"]
        room = (
            sizes[axis] + 2 * sizes[f"padding_{axis}"] - extent(sizes[f"kernel_{axis}"], dilation)
        )
        sizes[axis] = room // stride + 1
        extra = room % stride
        if dilation > stride and drawn.seed % 4 == 0:
            extra = stride + drawn.seed // 4 % (dilation - stride)
        sizes[f"output_padding_{axis}"] = extra
    return Geometry(drawn.stratum, drawn.region, sizes, drawn.seed)


def arguments(sizes: Mapping[str, int]) -> Arguments:
    """Return the shapes and options of a transposed convolution of these sizes.

    `group_channels` is C/groups, `multiplier` M/groups, `bias` 0 or 1.

    Raises:
        ValueError: there is no such transposed convolution.
    """
    groups, pixels = sizes["groups"], pixels_of(sizes)
    channels = groups * sizes["group_channels"]
    names = ("stride", "padding", "output_padding", "dilation")
    options = {n: options_of(sizes, n) for n in names}
    shapes = conv_transpose_shapes(
        len(pixels), (sizes["images"], channels, *pixels),
        (channels, sizes["multiplier"], *options_of(sizes, "kernel")), groups=groups, **options,
    )  # fmt: skip
    return Arguments(
        {
            "x": shapes.x,
            "weight": shapes.weight,
            "bias": shapes.y[1:2] if sizes["bias"] else None,
            "grad_output": shapes.y,
        },
        {"input_shape": shapes.x, "weight_shape": shapes.weight, **options, "groups": groups},
    )


NO_OUTPUT_PADDING = {"output_padding_height": 0, "output_padding_width": 0}
PADDED = {"stride": 2, "padding": 1}


def _both(**options: int) -> dict[str, int]:
    return {f"{name}_{side}": value for name, value in options.items() for side in SIDES[2]}


def _cover_sizes(chosen: Chosen, draw: Choices, *, of: Cover) -> Mapping[str, int]:
    """Return the sizes of what goes back through a convolution of these classes."""
    return _gone_back_through(of.sizes(chosen, draw))


def covers(rank: int) -> tuple[Cover, ...]:
    """Return the covering arrays of the convolutions that are gone back through."""
    of = convolution_cover.covers(rank)
    return tuple(cover._replace(sizes=partial(_cover_sizes, of=cover)) for cover in of)


# The up-convolutions of networks: kernel, stride, padding, output_padding, depthwise.
UP_LAYERS = (
    ("DCGAN 4x4 on one pixel", 4, 1, 0, 0, False),
    ("DCGAN 4x4 stride 2", 4, 2, 1, 0, False),
    ("U-Net 2x2 stride 2", 2, 2, 0, 0, False),
    ("FCN 4x4 stride 2", 4, 2, 0, 0, False),
    ("FCN-8s 16x16 stride 8", 16, 8, 4, 0, False),
    ("StyleGAN 3x3 stride 2", 3, 2, 0, 0, False),
    ("decoder 3x3 stride 2 with output_padding", 3, 2, 1, 1, False),
    ("decoder 5x5 stride 2 with output_padding", 5, 2, 2, 1, False),
    ("decoder 3x3 padded", 3, 1, 1, 0, False),
    ("FSRCNN 9x9 stride 3 with output_padding", 9, 3, 4, 2, False),
    ("bilinear 4x4 stride 2", 4, 2, 1, 0, True),
    ("bilinear 5x5 stride 3", 5, 3, 1, 0, True),
    ("bilinear 8x8 stride 4", 8, 4, 2, 0, True),
    ("1x1", 1, 1, 0, 0, False),
)
MOST_TAPS = 256  # of a kernel of which every change is met


@cache
def variants(rank: int) -> tuple[Variant, ...]:
    """Return the up-convolutions of networks, each with one option changed."""
    layers = [
        (
            name,
            replace(layer_options.window(kernel, stride, padding, rank=rank), rest=extra),
            groups,
        )
        for name, kernel, stride, padding, extra, depthwise in UP_LAYERS
        if kernel**rank <= MOST_TAPS
        for groups in ([None] if depthwise else [1])
    ]
    return layer_options.convolutions(layers, _gone_back_through)


def _gone_back_through(sizes: Mapping[str, int]) -> Mapping[str, int]:
    return _transposed(Geometry("", "", sizes, 1)).sizes


# As the convolutions', gone back through: sums of pixels and of both kinds of channels.  Beside
# them images of one pixel, and output_padding of the stride or more, which dilation allows.
ONE_PIXEL = {**PLAIN, **NO_OUTPUT_PADDING, "multiplier": 2, "group_channels": 2, "images": 17}
CORNERS = (
    *(
        corner._replace(sizes=_transposed(Geometry("", "", corner.sizes, 1)).sizes)
        for corner in CONVOLUTION_CORNERS
    ),
    *(
        Corner(f"17 images of one pixel, {what},", {**ONE_PIXEL, **_both(kernel=4, **more)})
        for what, more in (
            ("4x4", {}), ("4x4 padded", {"padding": 1}), ("4x4 stride 2 padded", PADDED),
        )
    ),
    *(
        Corner(f"output_padding of the stride, {what},", {
            **ONE_PIXEL, "images": 1, "height": 2, "width": 3, **more,
            **_both(kernel=2, stride=2, dilation=4, output_padding=3),
        })
        for what, more in (("one group", {}), ("two groups", {"groups": 2}))
    ),
)  # fmt: skip


ONES = tuple(
    corner._replace(sizes=_transposed(Geometry("", "", corner.sizes, 1)).sizes)
    for corner in CONVOLUTION_ONES
)


def transposed_convolution(rank: int) -> Operator:
    """Return the record of a transposed convolution of `rank` spatial axes."""
    formulas, of = TRANSPOSED[rank], convolution(rank)

    def geometry(draw: Choices, size: Size) -> Geometry:
        return _transposed(of.geometry(draw, size))

    def witness(torch: Any) -> Callable[..., Any]:
        function: Callable[..., Any] = getattr(torch.nn.functional, f"conv_transpose{rank}d")
        return function

    return Operator(
        formula=formulas.forward,
        gradients={
            formulas.grad_input: "x",
            formulas.grad_weight: "weight",
            formulas.grad_bias: "bias",
        },
        adjoint=CONVOLUTIONS[rank].forward,
        geometry=geometry,
        arguments=arguments,
        witness=witness,
        share=of.share / 2,
        covers=covers(rank),
        variants=partial(variants, rank),
        corners=corners_of_rank(CORNERS, rank),
        ones=corners_of_rank(ONES, rank),
        layers=LAYERS[rank],
    )


def _workload(name: str, kernel: int, stride: int, padding: int, *sizes: int) -> Workload:
    """Return a layer of real size: channels, filters and pixels."""
    channels, filters, *pixels = sizes
    window = layer_options.window(kernel, stride, padding, rank=len(pixels))
    sides = dict(zip(window.names, pixels, strict=True))
    none = {f"output_padding_{side}": 0 for side in sides}
    whole = {"images": 1, "groups": 1, "group_channels": channels, "multiplier": filters, "bias": 1}
    return Workload(name, {**whole, **sides, **window.sizes, **none})


LAYERS = {
    1: (
        _workload("HiFi-GAN, first", 16, 8, 4, 512, 256, 32),
        _workload("HiFi-GAN, last", 4, 2, 1, 64, 32, 2048),
        _workload("a short sequence", 4, 2, 1, 4, 3, 40),
    ),
    2: (
        *(
            Workload(f"{layer.network} {layer.name}", {**layer.sizes(1), **NO_OUTPUT_PADDING})
            for layer in UP_CONVOLUTIONS
        ),
        Workload("12.6 MiB of columns", {**BLOCKED, **NO_OUTPUT_PADDING}, always=True),
    ),
    3: (
        _workload("V-Net", 2, 2, 0, 256, 128, 8, 8, 8),
        _workload("U-Net 3D", 2, 2, 0, 128, 128, 15, 15, 14),
        _workload("a small volume", 3, 2, 1, 4, 3, 4, 5, 6),
    ),
}
CONV_TRANSPOSE1D, CONV_TRANSPOSE2D, CONV_TRANSPOSE3D = map(transposed_convolution, (1, 2, 3))
