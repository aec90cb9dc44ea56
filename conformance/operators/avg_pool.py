"""Average pooling of one to three dimensions: formulas, geometries and PyTorch's counterpart."""

from collections.abc import Callable, Mapping
from typing import Any

from gradoracle.conformance.operators import pooling
from gradoracle.conformance.operators.ranks import corners_of_rank
from gradoracle.conformance.operators.record import Arguments, Corner, Operator
from gradoracle.oracle.formulas.avg_pool import AVERAGE_POOLINGS
from gradoracle.oracle.shapes import Sides, pool_shape

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
    y = pool_shape(len(shape) - 2, shape, **options)
    return Arguments(
        {"x": shape, "grad_output": y},
        {"input_shape": shape, **options, "count_include_pad": bool(sizes["include"])},
    )


def _within_the_image(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return PyTorch's avg_pool3d, which takes no window larger than the image, as it raises."""

    def avg_pool3d(x: Any, *, kernel_size: Sides, **options: Any) -> Any:
        if any(size < taps for size, taps in zip(x.shape[2:], kernel_size, strict=True)):
            raise NotImplementedError("PyTorch's avg_pool3d takes no window larger than the image")
        return function(x, kernel_size=kernel_size, **options)

    return avg_pool3d


def average_pooling(rank: int) -> Operator:
    """Return the record of an average pooling of `rank` spatial axes."""
    formulas = AVERAGE_POOLINGS[rank]

    def witness(torch: Any) -> Callable[..., Any]:
        function: Callable[..., Any] = getattr(torch.nn.functional, f"avg_pool{rank}d")
        return _within_the_image(function) if rank == 3 else function

    fields = pooling.of_kind(rank, dilated=False)
    corners = (*fields.pop("corners"), *corners_of_rank([MANY_PIXELS], rank))
    return Operator(
        formula=formulas.forward,
        gradients={formulas.grad_input: "x"},
        arguments=arguments,
        witness=witness,
        corners=corners,
        **fields,
    )


AVG_POOL1D, AVG_POOL2D, AVG_POOL3D = map(average_pooling, (1, 2, 3))
