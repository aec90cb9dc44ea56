"""The max_pool2d operator: its formulas, its geometries, its numbers and its PyTorch witness."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from gradoracle import oracle
from gradoracle.conformance.drawing.values import (
    FLOATS,
    Arrays,
    Random,
    Shapes,
    all_negative,
    far_below,
    few_fractions,
    next_to_powers,
    not_finite,
    one_hot,
    small_integers,
    styles,
)
from gradoracle.conformance.operators import pooling, pooling_cover
from gradoracle.conformance.operators.record import Arguments, Operator, Policies, Styles
from gradoracle.oracle.declaration import Call, Formula
from gradoracle.oracle.float_formats import Format, widened
from gradoracle.oracle.formulas.max_pool2d import max_pool2d_indices, max_pool2d_values
from gradoracle.oracle.shapes import Array, Pair, Shape, pool_shape

OPTIONS = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")


def arguments(sizes: Mapping[str, int]) -> Arguments:
    """Return the shapes and options of a max pooling of these sizes; `ceil` is ceil_mode.

    Raises:
        ValueError: there is no such pooling.
    """
    shape, options = pooling.shape_and_options(sizes)
    options["dilation"] = (sizes["dilation_height"], sizes["dilation_width"])
    y = pool_shape(shape, **options)
    return Arguments({"x": shape, "grad_output": y}, {"input_shape": shape, **options})


def complete(call: dict[str, Any], seed: int) -> dict[str, Any]:
    """Add the indices of the maxima, which the gradient is given."""
    del seed
    x = widened(call["x"])
    return {**call, "indices": max_pool2d_indices(x, **{n: call[n] for n in OPTIONS})}


# -- the numbers ----------------------------------------------------------------------------------


def ties(random: Random, shapes: Shapes, limits: Format) -> Arrays:
    """Every pixel is one of two values, or all are equal: the first maximum must win."""
    arrays = small_integers(random, shapes, limits)
    arrays["x"] = random.integers(0, random.integers(1, 3), shapes["x"]) - 1.0
    return arrays


def distinct(random: Random, shapes: Shapes, limits: Format) -> Arrays:
    """All pixels differ by 4 at least: no step of 1 changes which is the maximum.

    Of halves, whose integers end early, only so many pixels do.
    """
    arrays = small_integers(random, shapes, limits)
    count = arrays["x"].size
    arrays["x"] = 4.0 * (random.permutation(count) - count // 2).reshape(shapes["x"])
    return arrays


def infinities_and_nans(random: Random, shapes: Shapes, limits: Format) -> Arrays:
    """Pixels are minus infinity in one of three places, and infinity or NaN in a few."""
    arrays = small_integers(random, shapes, limits)
    x = arrays["x"]
    fate = random.integers(0, 24, x.shape)
    x[fate < 8] = -np.inf
    x[fate == 8] = np.inf
    x[(fate == 9) | (fate == 10)] = np.nan
    return arrays


STYLES = Styles(
    exact=styles(
        small_integers,
        distinct,
        ties,
        infinities_and_nans,
        all_negative,
        far_below,
        one_hot,
        next_to_powers,
        few_fractions,
    ),
    floats=FLOATS,
    slopes=styles(distinct),
    not_finite=not_finite("grad_output"),
)


def unsettled(policies: Policies, formula: Formula, call: Call) -> bool:
    """Return whether a window's maximum is not unique where the contract leaves open who wins."""
    lenient = {name for name, rule in policies.items() if rule != "first"}
    if formula not in (max_pool2d_indices, oracle.max_pool2d_vjp) or not lenient:
        return False
    winners, nans = _winners(call)
    several = winners > 1
    return bool((several & (nans if "nan" in lenient else False)).any()) or bool(
        (several & (~nans if "ties" in lenient else False)).any()
    )


def maxima(call: Call) -> Iterator[tuple[Pair, Pair, Array]]:
    """Yield every window, each pixel that it sees, and where in the batch that is its maximum."""
    x, options = widened(call["x"]), {n: call[n] for n in OPTIONS}
    top = max_pool2d_values(x, **options)
    for i, j in np.ndindex(top.shape[2:]):
        for p, q in np.ndindex(call["kernel_size"]):
            h = i * call["stride"][0] + p * call["dilation"][0] - call["padding"][0]
            w = j * call["stride"][1] + q * call["dilation"][1] - call["padding"][1]
            if 0 <= h < x.shape[2] and 0 <= w < x.shape[3]:
                v, m = x[:, :, h, w], top[:, :, i, j]
                yield (i, j), (h, w), (v == m) | (np.isnan(v) & np.isnan(m))


def _winners(call: Call) -> tuple[Array, Array]:
    """Return how many pixels of every window equal its maximum, and whether that is a NaN."""
    x = widened(call["x"])
    top = max_pool2d_values(x, **{n: call[n] for n in OPTIONS})
    counts = np.zeros(top.shape, int)
    for tap in np.ndindex(call["kernel_size"]):
        windows, pixels = zip(*(_seen(call, top.shape, tap, side) for side in (0, 1)), strict=True)
        v, m = x[(..., *pixels)], top[(..., *windows)]
        counts[(..., *windows)] += (v == m) | (np.isnan(v) & np.isnan(m))
    return counts, np.isnan(top)


def _seen(call: Call, shape: Shape, tap: Pair, side: int) -> tuple[slice, slice]:
    """Return the windows whose tap is on the image, along one side, and the pixels it is on."""
    stride = call["stride"][side]
    first = tap[side] * call["dilation"][side] - call["padding"][side]  # the first window's pixel
    start = max(0, -(first // stride))
    stop = max(start, min(shape[2 + side], -((first - call["x"].shape[2 + side]) // stride)))
    pixel = first + start * stride
    return slice(start, stop), slice(pixel, pixel + (stop - start) * stride, stride)


def _witness(torch: Any) -> Callable[..., Any]:
    return partial(torch.nn.functional.max_pool2d, return_indices=True)


MAX_POOL2D = Operator(
    formula=max_pool2d_values,
    also=(max_pool2d_indices,),
    gradients={oracle.max_pool2d_grad_input: "x", oracle.max_pool2d_vjp: "x"},
    geometry=partial(pooling.geometry, dilated=True),
    arguments=arguments,
    witness=_witness,
    styles=STYLES,
    complete=complete,
    unsettled=unsettled,
    share=0.4,
    covers=pooling_cover.covers(dilated=True),
    variants=partial(pooling.variants, dilated=True),
    corners=pooling.CORNERS,
    ones=pooling.ONES,
)
