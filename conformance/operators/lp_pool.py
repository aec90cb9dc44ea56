"""Power-average pooling: the records, with PyTorch's functions beside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from itertools import product
from math import prod
from typing import Any

import numpy as np

from gradoracle.conformance.drawing.values import (
    Arrays,
    Random,
    Shapes,
    large_mean,
    nearly_cancelling,
    normal,
    small_integers,
    styles,
    wide_range,
)
from gradoracle.conformance.operators.of_formula import (
    NUMBERS,
    Further,
    Sizes,
    equal_rows,
    of_formula,
)
from gradoracle.conformance.operators.record import Corner, Operator, Policies
from gradoracle.conformance.operators.spatial import MOST, SHARES, images, pixels, windows
from gradoracle.oracle.declaration import Call, Formula
from gradoracle.oracle.float_formats import Format
from gradoracle.oracle.formulas.lp_pool import LP_POOLINGS, pixels_of
from gradoracle.oracle.ranks import RANKS
from gradoracle.oracle.shapes import SIDES, Array

NORM_TYPES = (2.0, 1.0, 1.5, 3.0, 4.0)  # corners have the first four
# Of each option the least, the largest of one and two axes and of three, and what corners take.
DRAWN = {"kernel": (1, 4, 3, (2, 1, 2)), "stride": (1, 3, 2, (2, 1, 1))}
LAYERS = (("2 apart", (2, 6, 6)), ("one window", (3, 4, 4)), ("TextCNN", (2, 5, 12)))
LIMITS = {"kernel": (5, 7, 9, 17), "stride": (5, 8)}


def _from_one(random: Random, shapes: Shapes, limits: Format) -> Arrays:
    """Multiples of 1/16 from 1 to 4 in absolute value: no power nor root near its kink."""
    del limits
    return {
        name: random.integers(16, 65, shape) / 16 * random.choice((-1, 1), shape)
        for name, shape in shapes.items()
    }


def _far_from_one(random: Random, shapes: Shapes, limits: Format) -> Arrays:
    """Normal elements times a power of two, such that sums of fourth powers stay in range."""
    most = max(0, limits.largest_exponent - 16) // 4
    power = 2.0 ** random.integers(-most // 2, most + 1)
    return {name: array * power for name, array in normal(random, shapes, limits).items()}


STYLES = replace(
    NUMBERS,
    floats=styles(
        normal, wide_range, _far_from_one, nearly_cancelling, large_mean, equal_rows,
        small_integers,
    ),
    slopes=styles(_from_one),
)  # fmt: skip


def _option(rank: int, sizes: Sizes, name: str) -> tuple[int, ...]:
    return tuple(sizes[f"{name}_{side}"] for side in SIDES[rank])


def _options(rank: int, sizes: Sizes) -> Mapping[str, Any]:
    return {
        "kernel_size": _option(rank, sizes, "kernel"), "stride": _option(rank, sizes, "stride")
    }  # fmt: skip


def _lengths(rank: int, sizes: Sizes) -> Sizes:
    """Return sizes of images with one window at least, and how many there are."""
    found, options = dict(sizes), _options(rank, sizes)
    for h, i, k, s in zip(pixels(rank), windows(rank), *options.values(), strict=True):
        found[h] = max(found[h], k)
        found[i] = (found[h] - k) // s + 1
    return found


def _without_signs(call: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return a call whose numbers have powers and roots that frameworks agree on."""
    del seed
    return call if _takes_signs(call) else {**call, "x": abs(call["x"])}


def _takes_signs(call: Call) -> bool:
    return bool(call["norm_type"] % 2 == 0)


def _is_open(policies: Policies, formula: Formula, call: Call) -> bool:
    """Return whether frameworks disagree, or none of them is asked.

    On numbers below 0; on the slope of a sum of zeros or NaN; on what goes back to a NaN that no
    window sees, which PyTorch multiplies with 0.
    """
    del policies
    x, p = call["x"], call["norm_type"]
    if not _takes_signs(call) and (x < 0).any():
        return True
    if not formula.__name__.endswith("_grad"):
        return False
    lost, places = np.isnan(x).reshape(*x.shape[:2], prod(x.shape[2:])), _seen(call)
    unseen = np.ones(lost.shape[2], bool)
    unseen[places] = False
    of_sums = p == 1 and (lost.any() or _has_empty_windows(x, places))
    return of_sums or bool(lost[:, :, unseen].any())


def _seen(call: Call) -> Array:
    """Return the pixels of all windows."""
    kernel, stride, size = call["kernel_size"], call["stride"], call["x"].shape[2:]
    counts = (
        (h - k) // s + 1 for h, k, s in zip(size, kernel, stride, strict=True)
    )  # fmt: skip
    return pixels_of(tuple(size), tuple(counts), kernel, stride)


def _has_empty_windows(x: Array, places: Array) -> bool:
    """Return whether all pixels of a window are 0."""
    return not x.reshape(*x.shape[:2], prod(x.shape[2:]))[:, :, places].any(-1).all()


def _of_one_axis(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return PyTorch's lp_pool1d, which multiplies with its kernel_size: an integer."""

    def lp_pool1d(x: Any, *, norm_type: float, kernel_size: Any, stride: Any) -> Any:
        return function(x, norm_type, kernel_size[0], stride)

    return lp_pool1d


def lp_pooling(rank: int) -> Operator:
    """Return the record of a power-average pooling of `rank` spatial axes."""
    name = f"lp_pool{rank}d"

    def witness(torch: Any) -> Callable[..., Any]:
        function: Callable[..., Any] = getattr(torch.nn.functional, name)
        return _of_one_axis(function) if rank == 1 else function

    more = {
        f"{name}_{side}": (least, most3 if rank == 3 else most, usual[at])
        for name, (least, most, most3, usual) in DRAWN.items()
        for at, side in enumerate(SIDES[rank])
    }
    further = Further(images(rank), more, partial(_lengths, rank), partial(_options, rank))
    record = of_formula(
        LP_POOLINGS[rank], witness, options={"norm_type": NORM_TYPES}, complete=_without_signs,
        numbers=STYLES, share=SHARES[rank], most=MOST[min(rank, 2)], further=further,
        layers=tuple((name, (c, *(2, h, w)[-rank:])) for name, (c, h, w) in LAYERS),
    )  # fmt: skip
    return replace(
        record, corners=(*record.corners, *_corners(rank, more)), unsettled=_is_open
    )  # fmt: skip


def _corners(rank: int, more: Mapping[str, tuple[int, int, Any]]) -> list[Corner]:
    """Return kernels and strides past limits, along one axis."""
    tiny = {
        "n": 1, "c": 2, **dict.fromkeys(pixels(rank), 3), "pick_norm_type": 0,
        **dict.fromkeys(more, 1),
    }  # fmt: skip
    return [
        Corner(
            f"{name} {size} along the {side}",
            {**tiny, letter: 21, f"kernel_{side}": 2, f"{name}_{side}": size}, in_turn=True,
        )
        for name, sizes in LIMITS.items()
        for size, (letter, side) in product(sizes, zip(pixels(rank), SIDES[rank], strict=True))
    ]  # fmt: skip


LP_POOL1D, LP_POOL2D, LP_POOL3D = map(lp_pooling, RANKS)
