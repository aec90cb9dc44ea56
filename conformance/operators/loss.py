"""Softmax and cross-entropy: their formulas, their sizes, their numbers and their witnesses."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from gradoracle import oracle
from gradoracle.conformance.drawing.choices import PAST, THREADS, TWO
from gradoracle.conformance.drawing.values import (
    Arrays,
    Random,
    Shapes,
    Style,
    below_all,
    few_numbers,
    normal,
    one_nan_among_floats,
    small_integers,
    styles,
)
from gradoracle.conformance.operators import arrays, shape_cover
from gradoracle.conformance.operators.record import (
    Arguments,
    Corner,
    Operator,
    Policies,
    Size,
    Styles,
    past_limits,
    two_large,
)
from gradoracle.oracle.declaration import Call, Formula
from gradoracle.oracle.float_formats import Format
from gradoracle.oracle.shapes import Array

LAYERS = (("ten classes", (10,)), ("two classes", (2,)), ("ImageNet classes", (1000,)))
NAMES = ("images", "classes")
LOGITS: dict[Size, int] = {"small": 60, "medium": 1100, "large": 1100}


def _logits(arrays: Mapping[str, Any]) -> str:
    return next(name for name in ("logits", "input", "z") if name in arrays)


def moderate(random: Random, sizes: Shapes, limits: Format) -> Arrays:
    """Normal logits, times 1 to 8."""
    arrays = normal(random, sizes, limits)
    arrays[_logits(arrays)] *= random.integers(1, 9)
    return arrays


def large_logits(random: Random, sizes: Shapes, limits: Format) -> Arrays:
    """Logits whose exponentials overflow, moderate differences between them."""
    arrays = normal(random, sizes, limits)
    most = 2.0 ** (limits.largest_exponent - 1)
    far = random.choice([f for f in (89.0, 104.0, 710.0, 746.0, 1e4, 1e6) if f <= most])
    far *= random.choice((-1, 1))
    arrays[_logits(arrays)] += far
    return arrays


def rows_of_different_scale(random: Random, sizes: Shapes, limits: Format) -> Arrays:
    """Every entry of every axis has a scale of its own, from 1/4 to 8."""
    arrays = normal(random, sizes, limits)
    name = _logits(arrays)
    for axis, side in enumerate(sizes[name]):
        scale = 2.0 ** random.integers(-2, 4, side)
        arrays[name] *= scale.reshape((side, *[1] * (len(sizes[name]) - axis - 1)))
    return arrays


def rows_far_apart(random: Random, sizes: Shapes, limits: Format) -> Arrays:
    """Every entry of the first axis is shifted by as much as exponentials can bear, or by more."""
    arrays = normal(random, sizes, limits)
    name = _logits(arrays)
    first, *rest = sizes[name]
    shifts = random.choice((-1e4, -900.0, -120.0, 0.0, 120.0, 900.0, 1e4), first)
    arrays[name] += shifts.reshape(first, *[1] * len(rest))
    return arrays


def far_apart(random: Random, sizes: Shapes, limits: Format) -> Arrays:
    """Every logit is shifted by as much as exponentials can bear, or by more: few classes are left
    with a probability, and the logarithms of the others are of no exponential's.
    """  # noqa: D205 - one sentence
    arrays = normal(random, sizes, limits)
    name = _logits(arrays)
    arrays[name] += random.choice((-1e4, -900.0, -120.0, 0.0, 120.0, 900.0, 1e4), sizes[name])
    return arrays


def minus_infinity(random: Random, sizes: Shapes, limits: Format) -> Arrays:
    """Some logits are minus infinity, impossible classes: one of five, or all before, all after
    or all but one of every row.
    """  # noqa: D205 - one sentence
    arrays = normal(random, sizes, limits)
    name = _logits(arrays)
    which = random.integers(0, 4)
    if which == 0:
        impossible = random.integers(0, 5, sizes[name]) == 0
    else:
        axis = random.integers(0, len(sizes[name]))
        side = sizes[name][axis]
        places = np.arange(side).reshape(side, *[1] * (len(sizes[name]) - axis - 1))
        at = random.integers(0, max(1, side))
        impossible = (places < at, places > at, places != at)[which - 1]
    arrays[name] = np.where(impossible, -np.inf, arrays[name])
    return arrays


def far_below(random: Random, sizes: Shapes, limits: Format) -> Arrays:
    """All logits are far below every number that a running maximum could start at."""
    arrays = small_integers(random, sizes, limits)
    name = _logits(arrays)
    arrays[name] = -below_all(random, limits) * (1 + random.integers(0, 3, sizes[name]) / 16)
    return arrays


def one_far_below(random: Random, sizes: Shapes, limits: Format) -> Arrays:
    """One logit of every row is as far below, all others are minus infinity."""
    arrays = far_below(random, sizes, limits)
    name = _logits(arrays)
    axis = random.integers(0, len(sizes[name]))
    side = sizes[name][axis]
    places = np.arange(side).reshape(side, *[1] * (len(sizes[name]) - axis - 1))
    only = places == random.integers(0, max(1, side))
    arrays[name] = np.where(only, arrays[name], -np.inf)
    return arrays


def near_minus(random: Random, sizes: Shapes, limits: Format, *, power: int) -> Arrays:
    """All logits are next to minus a power of two, or to minus the format's largest."""
    arrays = small_integers(random, sizes, limits)
    name = _logits(arrays)
    least = -(2.0 ** min(power, limits.largest_exponent))
    arrays[name] = least * (1 + random.integers(0, 3, sizes[name]) / 16)
    return arrays


def one_infinite_logit(random: Random, sizes: Shapes, limits: Format) -> Arrays:
    """Normal logits, and one is infinite."""
    arrays = normal(random, sizes, limits)
    logits = arrays[_logits(arrays)]
    if logits.size:
        logits.flat[random.integers(logits.size)] = np.inf
    return arrays


def impossible_tile(random: Random, sizes: Shapes, limits: Format, *, at: int, size: int) -> Arrays:
    """Along the last axis so many logits from a place on are minus infinity: a whole tile."""
    arrays = normal(random, sizes, limits)
    arrays[_logits(arrays)][..., at : at + size] = -np.inf
    return arrays


def only_the_last_class(random: Random, sizes: Shapes, limits: Format) -> Arrays:
    """Along the last axis all logits but the last are minus infinity."""
    arrays = normal(random, sizes, limits)
    arrays[_logits(arrays)][..., :-1] = -np.inf
    return arrays


def equal_logits(random: Random, sizes: Shapes, limits: Format) -> Arrays:
    """All logits are equal: every class is as likely."""
    arrays = small_integers(random, sizes, limits)
    name = _logits(arrays)
    arrays[name] = np.full(sizes[name], float(random.integers(-3, 4)))
    return arrays


def grid(random: Random, sizes: Shapes, limits: Format) -> Arrays:
    """Multiples of 1/16 up to 4 in absolute value: steps of a power of two stay exact."""
    arrays = small_integers(random, sizes, limits)
    name = _logits(arrays)
    arrays[name] = random.integers(-64, 65, sizes[name]) / 16
    return arrays


def near_plus(random: Random, sizes: Shapes, limits: Format) -> Arrays:
    """All logits are next to 2**14: every exponential overflows."""
    arrays = small_integers(random, sizes, limits)
    name = _logits(arrays)
    arrays[name] = 2.0 ** min(14, limits.largest_exponent) * (
        1 + random.integers(0, 3, sizes[name]) / 16
    )
    return arrays


def one_nan_among_few(random: Random, sizes: Shapes, limits: Format) -> Arrays:
    """A few normal numbers in many places, and one element of every array is NaN."""
    arrays = few_numbers(random, sizes, limits)
    for array in arrays.values():
        array.flat[random.integers(array.size)] = np.nan
    return arrays


(FEW_LOGITS,) = styles(few_numbers)
LONG_ROW = 2050  # classes, more than two blocks have threads
IN_LONG_ROWS = styles(near_plus, one_nan_among_few)
(LAST_CLASS,) = styles(only_the_last_class)
# Below what running maxima are started at: -1e4, -1e9, -1e30, minus the largest number.
BELOW = tuple(
    Style(f"logits near -2**{power}", partial(near_minus, power=power))
    for power in (14, 31, 101, 1023)
)
# Tiles of classes that are impossible throughout: the first, one in the middle, the last one.
TILES = tuple(
    (classes, Style(f"classes {at} to {at + size - 1} impossible", partial(
        impossible_tile, at=at, size=size,
    )))
    for size, classes, at in (
        (128, 385, 0), (128, 385, 128), (128, 256, 128), (256, 385, 0),
        (1024, 1030, 0), (1024, 2050, 1024), (1024, 2048, 1024),
    )
)  # fmt: skip
STYLES = Styles(
    exact=(),
    floats=styles(
        moderate,
        large_logits,
        rows_of_different_scale,
        rows_far_apart,
        far_apart,
        minus_infinity,
        equal_logits,
        far_below,
        one_far_below,
        grid,
    ),
    slopes=styles(grid),
    not_finite=styles(one_nan_among_floats, one_infinite_logit),
)


def _softmax_arguments(sizes: Mapping[str, int]) -> Arguments:
    """Return shape and axis; `axis` counts modulo the number of axes, from the end if asked."""
    shape = arrays.shape_of(sizes)
    axis = sizes["axis"] % len(shape)
    if shape[axis] < 1:
        axis = (axis + 1) % len(shape)
    if shape[axis] < 1:
        raise ValueError(f"softmax needs an axis with elements, got {[*shape]}")
    return Arguments(
        {"z": shape, "grad_output": shape},
        {"axis": axis - len(shape) if sizes["from_end"] else axis},
    )


def _some_class_is_possible(call: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return the call with no row that is minus infinity throughout: it has no softmax."""
    del seed
    z, axis = call["z"], call["axis"]
    hopeless = np.isneginf(z).all(axis=axis, keepdims=True) & np.ones(z.shape, bool)
    return {**call, "z": np.where(hopeless, z.dtype.type(0), z)} if hopeless.any() else call


def _softmax_witness(torch: Any) -> Callable[..., Any]:
    def softmax(z: Any, *, axis: int) -> Any:
        return torch.softmax(z, dim=axis)

    return softmax


ROW = {**dict.fromkeys(arrays.AXES, 1), "axes": 2, "axis": 1, "from_end": 0}


# Along a direction of zeros and ones the probability of those classes together is a logistic
# function, and every single one a share of it: its third derivative is at most 1/8.
SOFTMAX = Operator(
    formula=oracle.softmax,
    gradients={oracle.softmax_grad: "z"},
    geometry=partial(arrays.array, options={"axis": (0, 3), "from_end": (0, 1)}),
    arguments=_softmax_arguments,
    witness=_softmax_witness,
    styles=STYLES,
    complete=_some_class_is_possible,
    curvature=lambda _: 1 / 8,
    share=0.3,
    covers=shape_cover.along_an_axis(),
    corners=(
        *arrays.along({"from_end": 0}, FEW_LOGITS),
        Corner(
            "impossible classes first",
            {
                **dict.fromkeys(arrays.AXES, 1),
                "axes": 2,
                "images": 3,
                "channels": 65,
                "axis": 1,
                "from_end": 0,
            },
            LAST_CLASS,
        ),
        *(Corner(style.name, {**ROW, "channels": classes}, style) for classes, style in TILES),
        *(Corner(style.name, {**ROW, "channels": LONG_ROW}, style) for style in IN_LONG_ROWS),
        *(Corner(style.name, {**ROW, "images": 2, "channels": 3}, style) for style in BELOW),
    ),
)


def _loss_arguments(sizes: Mapping[str, int]) -> Arguments:
    """Return shape and reduction; `mean` is 0 or 1, and an empty batch is summed."""
    shape = (sizes["images"], sizes["classes"])
    if shape[1] < 1:
        raise ValueError(f"there must be a class, got logits of shape {[*shape]}")
    mean = sizes["mean"] and shape[0]
    return Arguments({"logits": shape}, {"reduction": "mean" if mean else "sum"})


def _with_targets(call: dict[str, Any], seed: int) -> dict[str, Any]:
    """Add targets, of most rows no impossible class, and dE/dE = 1.

    Where one class alone is possible, the target may be another one: the loss is infinite.
    """
    logits = call["logits"]
    target = call.get("target")
    if target is None or len(target) != len(logits):
        target = _targets(np.random.default_rng(seed), *logits.shape)
    rows = np.arange(len(logits))
    impossible = np.isneginf(logits[rows, target])
    impossible &= (~np.isneginf(logits)).sum(axis=1) != 1
    if impossible.any():
        logits = logits.copy()
        logits[rows[impossible], target[impossible]] = 0
    one = np.ones((), logits.dtype)
    return {**call, "logits": logits, "target": target, "grad_output": one}


def _targets(random: Random, rows: int, classes: int) -> Array:
    """Return a class for each row: every one of them is some row's, if there are enough rows.

    Raises:
        ValueError: there is no class.
    """
    if rows < classes or not classes:
        return random.integers(0, classes, rows)
    return random.permutation(rows) % classes


def _is_open(policies: Policies, formula: Formula, call: Call) -> bool:
    """Return whether the loss multiplies a 0 of one-hot labels by minus infinity, or leaves it."""
    one_hot = policies.get("labels") == "one-hot"
    return one_hot and formula is oracle.cross_entropy and bool(np.isinf(call["logits"]).any())


def _loss_witness(torch: Any) -> Callable[..., Any]:
    function: Callable[..., Any] = torch.nn.functional.cross_entropy
    return function


# Along a direction of zeros and ones the loss of a row is log(1 + e^t) up to a shift and a linear
# part: its third derivative is at most 1 / (6 sqrt 3) < 1/8 for every row.
CROSS_ENTROPY = Operator(
    formula=oracle.cross_entropy,
    gradients={oracle.cross_entropy_grad: "logits"},
    geometry=partial(
        arrays.matrix, names=NAMES, options={"mean": (0, 1)}, layers=LAYERS, most=LOGITS
    ),
    arguments=_loss_arguments,
    witness=_loss_witness,
    styles=STYLES,
    complete=_with_targets,
    unsettled=_is_open,
    curvature=lambda call: (len(call["logits"]) if call["reduction"] == "sum" else 1) / 8,
    share=0.3,
    covers=shape_cover.matrix(NAMES, {"mean": (0, 1)}, 3),
    corners=(
        *past_limits({"images": 1, "classes": 2, "mean": 1}, NAMES, FEW_LOGITS),
        *past_limits({"images": 3, "classes": 2, "mean": 0}, ("classes",), FEW_LOGITS),
        *two_large({"images": 1, "classes": 2, "mean": 0}, NAMES, FEW_LOGITS),
        Corner("impossible classes first", {"images": 3, "classes": 65, "mean": 1}, LAST_CLASS),
        *(
            Corner(style.name, {"images": 1, "classes": classes, "mean": 1}, style)
            for classes, style in TILES
        ),
        *(Corner(style.name, {"images": 2, "classes": 3, "mean": 1}, style) for style in BELOW),
        *(
            Corner(style.name, {"images": 1, "classes": LONG_ROW, "mean": 1}, style)
            for style in IN_LONG_ROWS
        ),
        *past_limits({"images": 1, "classes": 2, "mean": 0}, ("classes",), FEW_LOGITS)[10::3],
        # Rows that are half of a vector more than whole ones, and more of them than a block has.
        *(
            Corner(
                f"{rows} rows of {classes} classes",
                {"images": rows, "classes": classes, "mean": mean},
                FEW_LOGITS,
            )
            for rows, classes, mean in ((3, 70, 1), (4, 130, 0), (515, 18, 1))
        ),
        *(
            Corner(f"the sum of {rows} rows", {"images": rows, "classes": 2, "mean": 0}, FEW_LOGITS)
            for rows in (THREADS + 1, PAST[-1])
        ),
        *(
            Corner(
                f"the mean of {rows} rows", {"images": rows, "classes": rows, "mean": 1}, FEW_LOGITS
            )
            for rows in TWO[:2]
        ),
        Corner("more than a tile", {"images": 33, "classes": 34, "mean": 1}),
        Corner("full tiles", {"images": 64, "classes": 32, "mean": 0}),
    ),
)
