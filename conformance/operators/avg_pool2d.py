"""The avg_pool2d operator: its formulas, its geometries and its PyTorch witness."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from gradoracle import oracle
from gradoracle.conformance.operators import pooling, pooling_cover
from gradoracle.conformance.operators.record import Arguments, Corner, Operator
from gradoracle.oracle.shapes import pool_shape

# More pixels than 15 bits count, as the global pooling of an image has.
MANY_PIXELS = Corner(
    "a window of more than 2**15 pixels",
    {**pooling.TINY, "channels": 1, "height": 181, "width": 182, "kernel_height": 181,
     "kernel_width": 182},
    in_turn=True,
)  # fmt: skip


def arguments(sizes: Mapping[str, int]) -> Arguments:
    """Return the shapes and options of an average pooling of these sizes.

    `ceil` is ceil_mode, `include` count_include_pad.

    Raises:
        ValueError: there is no such pooling.
    """
    shape, options = pooling.shape_and_options(sizes)
    y = pool_shape(shape, **options)
    return Arguments(
        {"x": shape, "grad_output": y},
        {"input_shape": shape, **options, "count_include_pad": bool(sizes["include"])},
    )


def _witness(torch: Any) -> Callable[..., Any]:
    function: Callable[..., Any] = torch.nn.functional.avg_pool2d
    return function


AVG_POOL2D = Operator(
    formula=oracle.avg_pool2d,
    gradients={oracle.avg_pool2d_grad_input: "x"},
    geometry=partial(pooling.geometry, dilated=False),
    arguments=arguments,
    witness=_witness,
    share=0.4,
    covers=pooling_cover.covers(dilated=False),
    variants=partial(pooling.variants, dilated=False),
    corners=(*pooling.CORNERS, MANY_PIXELS),
    ones=pooling.ONES,
)
