"""Convolutions of one to three dimensions: formulas, calls and PyTorch's counterpart.

Calls are drawn for two spatial axes; `ranks` makes those of one and three of them.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from gradoracle.conformance.drawing.choices import Choices
from gradoracle.conformance.operators import convolution_cover
from gradoracle.conformance.operators.convolution_corners import CORNERS, ONES, PLAIN
from gradoracle.conformance.operators.convolution_geometry import geometry
from gradoracle.conformance.operators.convolution_layers import variants, workloads
from gradoracle.conformance.operators.ranks import (
    corners_of_rank,
    geometry_of_rank,
    of_rank,
    options_of,
    pixels_of,
)
from gradoracle.conformance.operators.record import Arguments, Geometry, Operator, Size, past_limits
from gradoracle.oracle.formulas.convolution import CONVOLUTIONS
from gradoracle.oracle.shapes import conv_shapes

# Of the profile's examples: what draws of two axes have shown need not be drawn as often again.
SHARES = {1: 0.3, 2: 1.0, 3: 0.3}


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


CONV1D, CONV2D, CONV3D = map(convolution, (1, 2, 3))
