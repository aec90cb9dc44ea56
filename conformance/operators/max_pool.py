"""Max pooling of one to three dimensions: formulas, geometries, numbers, PyTorch's counterpart."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

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
from gradoracle.conformance.operators import pooling
from gradoracle.conformance.operators.ranks import options_of
from gradoracle.conformance.operators.record import Arguments, Operator, Policies, Styles
from gradoracle.oracle.declaration import Call, Formula
from gradoracle.oracle.float_formats import Format, widened
from gradoracle.oracle.formulas.adaptive_max_pool import (
    ADAPTIVE_MAX_POOLINGS,
    adaptive_windows,
)
from gradoracle.oracle.formulas.conventions import without_nan
from gradoracle.oracle.formulas.max_pool import MAX_POOLINGS
from gradoracle.oracle.shapes import Array, Sides, pool_shape
from gradoracle.oracle.windows import flat, meetings

# Formulas whose answer depends on which of several maxima wins.
OF_MAXIMA = (*MAX_POOLINGS.values(), *ADAPTIVE_MAX_POOLINGS.values())
VJPS = frozenset(of.vjp for of in OF_MAXIMA)
CHOOSING = VJPS | {of.indices for of in OF_MAXIMA}
OPTIONS = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")


def arguments(sizes: Mapping[str, int]) -> Arguments:
    """Return the shapes and options of a max pooling of these sizes; `ceil` is ceil_mode.

    Raises:
        ValueError: there is no such pooling.
    """
    shape, options = pooling.shape_and_options(sizes)
    options["dilation"] = options_of(sizes, "dilation")
    y = pool_shape(len(shape) - 2, shape, **options)
    return Arguments({"x": shape, "grad_output": y}, {"input_shape": shape, **options})


def complete(call: dict[str, Any], seed: int) -> dict[str, Any]:
    """Add the indices of the maxima, which the gradient is given."""
    del seed
    x = widened(call["x"])
    indices = MAX_POOLINGS[x.ndim - 2].indices
    return {**call, "indices": indices(x, **{n: call[n] for n in OPTIONS})}


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
    """Return whether a window's maximum is not unique where the contract leaves open who wins.

    Nor is it anything where NaN is dropped and nothing but minus infinity is left beside one.
    """
    nan, ties = policies.get("nan", "first"), policies.get("ties", "first")
    shares = ties == "split" and formula in VJPS
    any_maximum = ties != "first" and not shares
    if formula not in CHOOSING or (ties == nan == "first"):
        return False
    winners, top = _winners(call)
    nans = np.isnan(top)
    if (nan == "any" or shares) and (nans & (winners > 1)).any():
        return True
    if nan == "dropped" and nans.any():
        winners, top = _winners({**call, "x": without_nan(call["x"])})
        if (nans & np.isneginf(top)).any():
            return True
        nans = np.zeros_like(nans)
    return any_maximum and bool((~nans & (winners > 1)).any())


def maxima(call: Call) -> Iterator[tuple[Sides, Sides, Array]]:
    """Yield every window, each pixel that it sees, and where in the batch that is its maximum."""
    x, top, windows, pixels = _seen(call)
    for i, h in zip(windows.tolist(), pixels.tolist(), strict=True):
        window, pixel = (
            tuple(map(int, np.unravel_index(at, array.shape[2:])))
            for at, array in ((i, top), (h, x))
        )
        yield window, pixel, _is_maximum(flat(x)[:, :, h], flat(top)[:, :, i])


def _winners(call: Call) -> tuple[Array, Array]:
    """Return how many pixels of every window equal its maximum, and that."""
    x, top, windows, pixels = _seen(call)
    wins = _is_maximum(flat(x)[:, :, pixels], flat(top)[:, :, windows])
    first = np.searchsorted(windows, np.arange(flat(top).shape[2]))  # each window has a pixel
    counts = np.add.reduceat(wins.astype(int), first, axis=2)
    return counts.reshape(top.shape), top


def _is_maximum(pixels: Array, tops: Array) -> Array:
    return np.asarray((pixels == tops) | (np.isnan(pixels) & np.isnan(tops)))


def _seen(call: Call) -> tuple[Array, Array, Array, Array]:
    """Return x, the maxima of its windows, and each window beside each pixel that it sees."""
    x = widened(call["x"])
    if "kernel_size" in call:
        top = MAX_POOLINGS[x.ndim - 2].values(x, **{n: call[n] for n in OPTIONS})
        options = (call["stride"], call["padding"], call["dilation"])
        sides = (x.shape[2:], call["kernel_size"], top.shape[2:])
        start, _, pixels = meetings(*sides, *options).by_window
    else:
        top = ADAPTIVE_MAX_POOLINGS[x.ndim - 2].values(x, output_size=call["output_size"])
        start, pixels = adaptive_windows(x.shape[2:], top.shape[2:])
    windows = np.repeat(np.arange(len(start.array) - 1), np.diff(start.array))
    return x, top, windows, pixels.array


def max_pooling(rank: int) -> Operator:
    """Return the record of a max pooling of `rank` spatial axes."""
    formulas = MAX_POOLINGS[rank]

    def witness(torch: Any) -> Callable[..., Any]:
        return partial(getattr(torch.nn.functional, f"max_pool{rank}d"), return_indices=True)

    return Operator(
        formula=formulas.values,
        also=(formulas.indices,),
        gradients={formulas.grad_input: "x", formulas.vjp: "x"},
        arguments=arguments,
        witness=witness,
        styles=STYLES,
        complete=complete,
        unsettled=unsettled,
        **pooling.of_kind(rank, dilated=True),
    )


MAX_POOL1D, MAX_POOL2D, MAX_POOL3D = map(max_pooling, (1, 2, 3))
