"""The activations: their formulas, their shapes, their numbers and their PyTorch witnesses."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from gradoracle import oracle
from gradoracle.conformance.drawing.values import (
    Arrays,
    Fill,
    Random,
    Shapes,
    Style,
    all_negative,
    cancelling,
    far_from_one,
    few_numbers,
    next_to_powers,
    normal,
    one_hot,
    one_nan_among_floats,
    small_integers,
    styles,
    wide_range,
)
from gradoracle.conformance.operators import arrays, shape_cover
from gradoracle.conformance.operators.record import (
    Arguments,
    Operator,
    Policies,
    Styles,
    named_function,
)
from gradoracle.oracle.declaration import Call, Formula
from gradoracle.oracle.float_formats import Format

SLOPES = (
    0.25,
    0.0,
    0.01,
    11 / 48,
    1.0,
    -0.5,
    2.0,
    1e-8,
    1e-3,
    30.0,
    1e3,
)  # as float64 has them: see `Operator.call`
# Where exponentials overflow, underflow or saturate in float32 and in float64, and next to it.
TAILS = (
    0.0, 2.0**-149, 2.0**-126, 2.0**-60, 2.0**-24, 2.0**-12, 2.0**-5, 0.5, 1.0, 2.0, 5.0, 9.0,
    10.0, 16.0, 17.0, 20.0, 36.0, 40.0, 44.0, 60.0, 80.0, 87.0, 88.0, 89.0, 103.0, 104.0, 200.0,
    354.0, 708.0, 709.0, 710.0, 745.0, 746.0, 1e4, 1e30,
)  # fmt: skip

FEW = 100  # different elements of a large array


def tails(random: Random, sizes: Shapes, limits: Format) -> Arrays:
    """Arguments far out and next to 0, of both signs, where naive formulas lose everything."""
    arrays = normal(random, sizes, limits)
    z = random.choice(np.minimum(TAILS, 2.0 ** (limits.largest_exponent - 2)), sizes["z"]) * (
        1 + random.integers(0, 3, sizes["z"]) / 64
    )
    arrays["z"] = z * random.choice((-1, 1), sizes["z"])
    return arrays


def gaps(random: Random, sizes: Shapes, limits: Format) -> Arrays:
    """Integers of at least 2 in absolute value: no step of 1 crosses 0."""
    arrays = small_integers(random, sizes, limits)
    arrays["z"] = (2.0 + abs(arrays["z"])) * random.choice((-1, 1), sizes["z"])
    return arrays


def infinities_and_nans(random: Random, sizes: Shapes, limits: Format) -> Arrays:
    """Integers, and in one of three places of the argument infinity of either sign or NaN."""
    arrays = small_integers(random, sizes, limits)
    far = random.integers(0, 8, sizes["z"])
    for place, value in enumerate((np.inf, -np.inf, np.nan)):
        arrays["z"][far == place] = value
    return arrays


def nearly_subnormal(random: Random, sizes: Shapes, limits: Format) -> Arrays:
    """Numbers next to the smallest normal one, which are not 0."""
    return {
        name: (1 + random.random(shape))
        * 2.0 ** (limits.smallest_exponent + random.integers(0, 13, shape))
        * random.choice((-1, 1), shape)
        for name, shape in sizes.items()
    }


def infinities(random: Random, sizes: Shapes, limits: Format) -> Arrays:
    """Normal numbers, and infinity of either sign in one of two places of the argument."""
    arrays = normal(random, sizes, limits)
    far = random.choice((-np.inf, np.inf, 0.0, 0.0), sizes["z"])
    if far.size and not np.isinf(far).any():
        far.flat[random.integers(far.size)] = random.choice((-np.inf, np.inf))
    arrays["z"] += far
    return arrays


def grid(random: Random, sizes: Shapes, limits: Format) -> Arrays:
    """Multiples of 1/16 up to 8 in absolute value: steps of a power of two stay exact."""
    arrays = small_integers(random, sizes, limits)
    arrays["z"] = random.integers(-128, 129, sizes["z"]) / 16
    return arrays


def _of_few(random: Random, sizes: Shapes, limits: Format, fill: Fill) -> Arrays:
    """Fill the arrays with few elements that stand together, each in many places.

    Only those have to be evaluated, with all their digits, and where they stand is as random.
    """
    (shape,) = set(sizes.values())
    if np.prod(shape) <= FEW:
        return fill(random, sizes, limits)
    few = fill(random, dict.fromkeys(sizes, (FEW,)), limits)
    at = random.integers(FEW, size=shape)
    return {name: array[at] for name, array in few.items()}


def few(*fills: Fill) -> tuple[Style, ...]:
    """Return the styles of the functions, of few different elements."""
    return tuple(Style(one.name, partial(_of_few, fill=one.fill)) for one in styles(*fills))


PIECEWISE = Styles(
    exact=styles(small_integers, one_hot, all_negative, next_to_powers, cancelling),
    floats=few(normal, wide_range, far_from_one, tails, nearly_subnormal),
    slopes=styles(gaps),
    not_finite=few(one_nan_among_floats, infinities),
)
SMOOTH = Styles(
    exact=(),
    floats=few(normal, tails, grid, wide_range, nearly_subnormal, small_integers),
    slopes=few(grid),
    not_finite=few(one_nan_among_floats, infinities),
)


SPECIAL = few(tails, one_nan_among_floats, infinities)


def arguments(sizes: Mapping[str, int], values: Mapping[str, Sequence[Any]] = {}) -> Arguments:
    """Return the shapes and options of an activation; each size of an option picks a value.

    Raises:
        ValueError: there is no such shape.
    """
    shape = arrays.shape_of(sizes)
    options = {name: of[sizes[arrays.PICKED + name]] for name, of in values.items()}
    return Arguments({"z": shape, "grad_output": shape}, options)


def _has_no_answer(
    kinked: Formula | None, policies: Policies, formula: Formula, call: Call
) -> bool:
    """Return whether the slope of what has a kink is asked for at a NaN.

    It is not defined: the slope may be selected, or a product with 0.
    """
    del policies
    return formula is kinked and bool(np.isnan(call["z"]).any())


def _leaky_has_no_answer(policies: Policies, formula: Formula, call: Call) -> bool:
    """Return whether no slope at all of minus infinity is asked for, or a slope at a NaN."""
    if formula is oracle.leaky_relu:
        return call["negative_slope"] == 0 and bool(np.isneginf(call["z"]).any())
    return _has_no_answer(oracle.leaky_relu_grad, policies, formula, call)


def elementwise(
    formula: Formula, gradient: Formula, witness: str | Callable[[Any], Callable[..., Any]],
    numbers: Styles = SMOOTH, *, curvature: float | Callable[[Call], float] = 0.0,
    values: Mapping[str, Sequence[Any]] = {}, corner_style: Style | None = None,
    kinked: bool = False,
) -> Operator:  # fmt: skip
    """Return the record of a function of single numbers, of `formula(z)` and `gradient(dy, z)`.

    `witness` is PyTorch's function: its name in torch.nn.functional, or what returns it from the
    module `torch`.  `curvature` is the largest magnitude of the function's third derivative, or
    MEASURED.  `values` lists what each option may be.  The slope of one that is `kinked` is not
    checked at a NaN.
    """
    options = {arrays.PICKED + name: (0, len(of) - 1) for name, of in values.items()}
    return Operator(
        formula=formula,
        gradients={gradient: "z"},
        geometry=partial(arrays.array, options=options),
        arguments=partial(arguments, values=values),
        witness=partial(named_function, witness) if isinstance(witness, str) else witness,
        styles=numbers,
        unsettled=partial(_has_no_answer, gradient if kinked else None),
        curvature=curvature if callable(curvature) else partial(_constant, curvature),
        values=values,
        share=0.3,
        covers=shape_cover.elementwise({n: range(a, b + 1) for n, (a, b) in options.items()}),
        corners=arrays.corners(
            dict.fromkeys(options, 0), corner_style, special=SPECIAL, each=options
        ),
    )


def _constant(number: float, call: Call) -> float:
    del call
    return number


RECTIFIED = replace(PIECEWISE, exact=(*PIECEWISE.exact, *styles(infinities_and_nans)))


RELU = elementwise(oracle.relu, oracle.relu_grad, "relu", RECTIFIED, kinked=True)
LEAKY_RELU = replace(
    elementwise(
        oracle.leaky_relu, oracle.leaky_relu_grad, "leaky_relu", PIECEWISE,
        values={"negative_slope": SLOPES},
    ),
    unsettled=_leaky_has_no_answer,
)  # fmt: skip
# |sigmoid'''| is largest at 0, where it is 1/8; |tanh'''| there is 2.
(REPEATED,) = styles(few_numbers)
SIGMOID = elementwise(
    oracle.sigmoid, oracle.sigmoid_grad, "sigmoid", SMOOTH, curvature=1 / 8, corner_style=REPEATED
)
TANH = elementwise(
    oracle.tanh, oracle.tanh_grad, "tanh", SMOOTH, curvature=2.0, corner_style=REPEATED
)

__all__ = ["LEAKY_RELU", "RELU", "SIGMOID", "TANH"]
