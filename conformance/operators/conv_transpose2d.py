"""The conv_transpose2d operator: its formulas, its geometries and its PyTorch witness.

A transposed convolution is drawn as the convolution that it goes back through: what is the input
there is the output here, and the pixels that no window reaches there are output_padding here.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from gradoracle import oracle
from gradoracle.conformance.drawing.choices import Choices
from gradoracle.conformance.drawing.coverage import Cover
from gradoracle.conformance.drawing.covering import Chosen
from gradoracle.conformance.operators import conv2d, convolution_cover, layer_options
from gradoracle.conformance.operators.network_layers import UP_CONVOLUTIONS
from gradoracle.conformance.operators.record import (
    Arguments,
    Corner,
    Geometry,
    Operator,
    Size,
    Variant,
    Workload,
)
from gradoracle.oracle.shapes import Pair, conv_transpose2d_shapes, extent

SIDES = ("height", "width")


def geometry(draw: Choices, size: Size) -> Geometry:
    """Return a geometry whose oracle costs what `size` allows."""
    return _transposed(conv2d.geometry(draw, size))


def _transposed(drawn: Geometry) -> Geometry:
    """Return the transposed convolution that goes back through a drawn convolution.

    Where a kernel is dilated by more than the stride, output_padding may exceed the stride, and in
    one of four such draws it does.
    """
    sizes = dict(drawn.sizes)
    for axis in SIDES:
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

    `depth` is C/groups, `multiplier` M/groups, `bias` 0 or 1.

    Raises:
        ValueError: there is no such transposed convolution.
    """

    def sides(name: str) -> Pair:
        return sizes[f"{name}_height"], sizes[f"{name}_width"]

    groups = sizes["groups"]
    options = {n: sides(n) for n in ("stride", "padding", "output_padding", "dilation")}
    shapes = conv_transpose2d_shapes(
        (sizes["images"], groups * sizes["depth"], sizes["height"], sizes["width"]),
        (groups * sizes["depth"], sizes["multiplier"], *sides("kernel")),
        groups=groups,
        **options,
    )
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
    return {f"{name}_{side}": value for name, value in options.items() for side in SIDES}


def _cover_sizes(chosen: Chosen, draw: Choices, *, of: Cover) -> Mapping[str, int]:
    """Return the sizes of what goes back through a convolution of these classes."""
    return _gone_back_through(of.sizes(chosen, draw))


COVERS = tuple(
    cover._replace(sizes=partial(_cover_sizes, of=cover)) for cover in convolution_cover.COVERS
)

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


def variants() -> tuple[Variant, ...]:
    """Return the up-convolutions of networks, each with one option changed."""
    layers = [
        (name, replace(layer_options.window(kernel, stride, padding), rest=extra), groups)
        for name, kernel, stride, padding, extra, depthwise in UP_LAYERS
        for groups in ([None] if depthwise else [1])
    ]
    return layer_options.convolutions(layers, _gone_back_through)


def _gone_back_through(sizes: Mapping[str, int]) -> Mapping[str, int]:
    return _transposed(Geometry("", "", sizes, 1)).sizes


# As the convolutions', gone back through: sums of pixels and of both kinds of channels.  Beside
# them images of one pixel, and output_padding of the stride or more, which dilation allows.
ONE_PIXEL = {**conv2d.PLAIN, **NO_OUTPUT_PADDING, "multiplier": 2, "depth": 2, "images": 17}
CORNERS = (
    *(
        corner._replace(sizes=_transposed(Geometry("", "", corner.sizes, 1)).sizes)
        for corner in conv2d.CORNERS
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
    for corner in conv2d.ONES
)


def _witness(torch: Any) -> Callable[..., Any]:
    def conv_transpose2d(x: Any, weight: Any, bias: Any, **options: Any) -> Any:
        return torch.nn.functional.conv_transpose2d(x, weight, bias, **options)

    return conv_transpose2d


CONV_TRANSPOSE2D = Operator(
    formula=oracle.conv_transpose2d,
    gradients={
        oracle.conv_transpose2d_grad_input: "x",
        oracle.conv_transpose2d_grad_weight: "weight",
        oracle.conv_transpose2d_grad_bias: "bias",
    },
    adjoint=oracle.conv2d,
    geometry=geometry,
    arguments=arguments,
    witness=_witness,
    share=0.5,
    covers=COVERS,
    variants=variants,
    corners=CORNERS,
    ones=ONES,
    layers=(
        *(
            Workload(f"{layer.network} {layer.name}", {**layer.sizes(1), **NO_OUTPUT_PADDING})
            for layer in UP_CONVOLUTIONS
        ),
        Workload("12.6 MiB of columns", {**conv2d.BLOCKED, **NO_OUTPUT_PADDING}, always=True),
    ),
)
