"""The conv_transpose2d operator: its formulas, its geometries and its PyTorch witness.

A transposed convolution is drawn as the convolution that it goes back through: what is the input
there is the output here, and the pixels that no window reaches there are output_padding here.
"""

from collections.abc import Callable, Mapping
from typing import Any

import oracle
from conformance.choices import Choices
from conformance.layers import UP_CONVOLUTIONS
from conformance.operator import Arguments, Geometry, Operator, Size, Workload
from conformance.operators import conv2d
from oracle.geometry import Pair, conv_transpose2d_shapes, extent

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

# As the convolutions', gone back through: sums of pixels and of both kinds of channels.
CORNERS = tuple(
    corner._replace(sizes=_transposed(Geometry("", "", corner.sizes, 1)).sizes)
    for corner in conv2d.CORNERS
)


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
    geometry=geometry,
    arguments=arguments,
    witness=_witness,
    share=0.5,
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
