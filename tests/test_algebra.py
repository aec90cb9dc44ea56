"""What formulas declare of themselves is true, and the truths that rest on it are right.

Linear in every factor, `plus` added, the number of terms, what divides; the exact value; and the
rounding bound, which must hold every order of summation and little more.
"""

import math
from fractions import Fraction

import numpy as np
import pytest

from gradoracle import oracle
from gradoracle.conformance.operators import OPERATORS, variations
from gradoracle.conformance.operators.adaptive_pool import ADAPTIVE_AVG_POOLS
from gradoracle.conformance.operators.interpolate import (
    LINEAR_INTERPOLATIONS,
    NEAREST_INTERPOLATIONS,
)
from gradoracle.conformance.operators.max_unpool import MAX_UNPOOLS
from gradoracle.conformance.operators.moved_pixels import MOVED_PIXELS
from gradoracle.conformance.operators.padding import PADS
from gradoracle.oracle.declaration import (
    Composed,
    Multilinear,
    Selection,
    algebra,
    argument_names,
    axes_of,
    evaluate,
)
from gradoracle.oracle.expected.truth import ComposedTruth, SelectionTruth, truth
from gradoracle.oracle.formulas.adaptive_max_pool import ADAPTIVE_MAX_POOLINGS
from gradoracle.oracle.formulas.avg_pool import AVERAGE_POOLINGS
from gradoracle.oracle.formulas.max_pool import MAX_POOLINGS
from tests.calls import CALLS, fractions, with_floats
from tests.orders import Written, orders, rounded, written

MEANS = [
    *(f for of in AVERAGE_POOLINGS.values() for f in of),
    *(f for o in ADAPTIVE_AVG_POOLS for f in o.formulas),
]  # fmt: skip
# Which divide by what the sides' shares have in common.
MIXED = tuple(f for o in LINEAR_INTERPOLATIONS for f in o.formulas)
MULTILINEAR = [f for f in CALLS if isinstance(algebra(f), Multilinear)]
DIVIDING = [f for f in MULTILINEAR if algebra(f).over]
PRODUCTS = {
    f for o in OPERATORS if o.name in ("matmul", "bmm", "broadcast_matmul") for f in o.formulas
}
NAMED = {"ids": lambda f: f.__name__}


def is_array(value):
    return isinstance(value, np.ndarray)


def calls(formula, count, seed, *, elements=400):
    """Yield calls in fractions, not the largest."""
    for drawn in CALLS[formula](count, seed=seed):
        c = fractions(drawn)
        if all(v.size <= elements for v in c.values() if is_array(v)):
            yield c


def other(value, seed):
    """Return another number or array of numbers like `value`."""
    random = np.random.default_rng(seed)
    if not is_array(value):
        return Fraction(int(random.integers(-4, 5)), 8)
    return fractions({"": random.integers(-4, 5, value.shape).astype(object)})[""]


def products(formula, c):
    """Return what the factors alone give."""
    plus = algebra(formula).plus
    return evaluate(formula, {**c, plus: c[plus] * 0} if plus else c)


# -- linearity ------------------------------------------------------------------------------------


def test_every_formula_declares_its_algebra():
    kinds = {f.__name__: type(algebra(f)) for f in CALLS}
    poolings = (*MAX_POOLINGS.values(), *ADAPTIVE_MAX_POOLINGS.values())
    maxima = {f.__name__ for of in poolings for f in (of.values, of.indices)}
    moved = {o.name for o in (*MOVED_PIXELS, *PADS, *NEAREST_INTERPOLATIONS, *MAX_UNPOOLS)}
    moved -= {"fold"}  # which adds overlapping windows
    selections = maxima | moved | {"relu", "relu_grad"}
    composed = {"leaky_relu", "sigmoid", "tanh", "softmax", "cross_entropy"}
    composed |= {f"{name}_grad" for name in composed}
    for name, kind in kinds.items():
        want = Selection if name in selections else Composed if name in composed else Multilinear
        assert kind is want, name
    assert {*DIVIDING} == {*MEANS, *MIXED, oracle.batch_mean}


@pytest.mark.parametrize("formula", MULTILINEAR, **NAMED)
def test_linear_in_every_factor(formula):
    kind, judged = algebra(formula), 0
    assert {*kind.factors, *([kind.plus] if kind.plus else [])} <= {
        name for names in argument_names(formula) for name in names
    }
    for i, c in enumerate(calls(formula, 60, 41)):
        here = products(formula, c)
        for name in kind.factors:
            there = {**c, name: other(c[name], i)}
            both = {**c, name: c[name] + there[name]}
            assert (products(formula, both) == here + products(formula, there)).all()
            assert (products(formula, {**c, name: c[name] * 3}) == 3 * here).all()
            assert not products(formula, {**c, name: c[name] * 0}).any()
        judged += here.any()
    assert judged >= 10


@pytest.mark.parametrize("formula", [f for f in MULTILINEAR if algebra(f).plus], **NAMED)
def test_plus_is_added_to_the_products_and_minus_takes_them_off(formula):
    kind = algebra(formula)
    for c in calls(formula, 20, 42):
        nothing = {**c, kind.factors[0]: c[kind.factors[0]] * 0}
        alone = evaluate(formula, nothing)
        assert (evaluate(formula, c) == alone + products(formula, c)).all()
        ones = {**c, **{n: c[n] * 0 + 1 for n in kind.factors}}
        assert (products(formula, ones) <= 0 if kind.minus else products(formula, ones) >= 0).all()
        shape = alone.shape
        plus = c[kind.plus]
        broadcast = plus.reshape((-1, *[1] * (len(shape) - 2))) if plus.shape != shape else plus
        assert (alone == np.broadcast_to(broadcast, shape)).all()


def test_only_the_step_of_descent_subtracts():
    assert [f for f in MULTILINEAR if algebra(f).minus] == [oracle.sgd_step]


def small(formula, c):
    kind = algebra(formula)
    return math.prod(np.size(c[n]) for n in kind.factors) <= 300


def counted(formula, c):
    """Return how many products reach every element: one for each choice of one of every factor."""
    kind = algebra(formula)
    count = 0
    for at in np.ndindex(*(np.size(c[name]) for name in kind.factors)):
        hot = {**c, **({kind.plus: None} if kind.plus == "bias" else {})}
        for name, place in zip(kind.factors, at, strict=True):
            if is_array(c[name]):
                hot[name] = np.zeros(c[name].shape)
                hot[name].flat[place] = 1
            else:
                hot[name] = 1.0
        if kind.plus and kind.plus != "bias":
            hot[kind.plus] = np.zeros(c[kind.plus].shape)
        count = count + (evaluate(formula, hot) != 0)
    return count


@pytest.mark.slow
@pytest.mark.parametrize("formula", MULTILINEAR, **NAMED)
def test_terms_are_the_products_that_reach_an_element(formula):
    kind, judged = algebra(formula), 0
    for drawn in CALLS[formula](300, seed=43, dtype=np.float64):
        if not small(formula, drawn):
            continue
        terms = truth(formula, drawn).terms
        want = counted(formula, drawn) + (drawn.get(kind.plus or "") is not None)
        if kind.over:  # at most so many
            assert (want <= terms).all()
        else:
            assert (want == terms).all()
        judged += terms.size > 0
    assert judged >= 5


@pytest.mark.slow
@pytest.mark.parametrize("formula", DIVIDING, **NAMED)
def test_every_divisor_divides_what_is_declared(formula):
    divides = set()
    for c in calls(formula, 80, 44):
        division = algebra(formula).over(c)
        name = algebra(formula).factors[0]
        for at in list(np.ndindex(c[name].shape))[:40]:
            hot = np.zeros(c[name].shape, object) + Fraction(0)
            hot[at] = Fraction(1)
            shares = evaluate(formula, {**c, name: hot})
            divides |= {Fraction(v).denominator for v in shares.flat}
            assert all((v * division.multiple).denominator == 1 for v in shares.flat)
    sixths = axes_of(formula).rank > 1 and formula not in MIXED
    assert {1, 2, 3, 4, *([6] if sixths else [])} <= divides


# -- the exact value ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("spread", [0, 3, 40])
@pytest.mark.parametrize("formula", MULTILINEAR, **NAMED)
def test_truth_equals_fractions(formula, spread, dtype):
    for i, drawn in enumerate(CALLS[formula](8, seed=45)):
        data = with_floats(drawn, i, dtype, spread)
        right, want = truth(formula, data), evaluate(formula, fractions(data))
        unit = Fraction(2) ** right.scale * right.odd
        got = [Fraction(int(v)) / unit for v in right.value.ravel()]
        assert got == want.ravel().tolist()
        assert right.shape == want.shape
        sizes = fractions(data)
        for name in right._operands:
            sizes[name] = abs(sizes[name])
        if algebra(formula).minus:
            sizes["parameter"] = -sizes["parameter"]
        magnitude = [Fraction(int(v)) / unit for v in right.magnitude.ravel()]
        sized = algebra(formula).sizes or formula
        assert magnitude == abs(evaluate(sized, sizes)).ravel().tolist()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("formula", MULTILINEAR, **NAMED)
def test_limbs_give_what_pythons_integers_give(formula, dtype):
    for i, drawn in enumerate(CALLS[formula](5, seed=46)):
        data = with_floats(drawn, i, dtype, 10)
        right = truth(formula, data)
        assert (right._in_limbs(right._operands) == right.value).all()


@pytest.mark.parametrize("formula", MULTILINEAR, **NAMED)
def test_as_float_is_the_exact_value_rounded(formula):
    for i, drawn in enumerate(CALLS[formula](5, seed=47)):
        data = with_floats(drawn, i, np.float64, 3)
        want = evaluate(formula, fractions(data))
        got = truth(formula, data).as_float(np.dtype(np.float64))
        assert got.ravel().tolist() == [float(v) for v in want.ravel()]


def test_what_is_divided_by_a_power_of_two_may_be_exact_and_by_three_never():
    for count, exact in ((1, True), (2, True), (3, False), (4, True), (6, False), (8, True)):
        images = np.arange(count * 2.0, dtype=np.float32).reshape(count, 2)
        right = truth(oracle.batch_mean, {"gradient_per_image": images})
        assert right.is_exact("float32", "float32") is exact
        assert (right.error_over_bound(oracle.batch_mean(images), "float32") <= 1).all()


@pytest.mark.parametrize(
    ("formula", "call"),
    [
        (oracle.batch_mean, {"gradient_per_image": np.float32([0.1, 0.2, 0.3])}),
        (oracle.sgd_step, {"parameter": np.full((), 0.3, np.float32), "learning_rate": 0.5,
                           "gradient": np.full((), 0.7, np.float32)}),
    ],
    ids=["batch_mean", "sgd_step"],
)  # fmt: skip
def test_results_without_axes_have_a_truth(formula, call):
    right, got = truth(formula, call), evaluate(formula, call)
    assert right.shape == got.shape == ()
    assert (right.error_over_bound(got, "float32") <= 1).all()
    assert right.as_float(np.dtype(np.float32)).shape == ()


# -- the rounding bound ---------------------------------------------------------------------------


def sums(formula, data):
    """Return the formula's expressions on written numbers."""
    kind = algebra(formula)
    names = [n for n in (*kind.factors, kind.plus) if n and data[n] is not None]
    numbers = {n: np.asarray(data[n]) for n in names if hasattr(data[n], "dtype")}
    return np.asarray(evaluate(formula, {**data, **{n: written(a) for n, a in numbers.items()}}))


DATA = {"normal": (0, 1.0), "wide": (8, 1.0), "subnormal": (3, 2.0**-70)}


@pytest.mark.slow
@pytest.mark.parametrize("numbers", DATA)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("formula", MULTILINEAR, **NAMED)
def test_every_order_of_summation_stays_within_the_bound(formula, dtype, numbers):
    spread, scale = DATA[numbers]
    if dtype is np.float64:
        scale = scale**7.5
    largest, rounds = 0.0, False  # whether anything does: what moves numbers does not
    # Of one axis, the shares of two pixels are often such that nothing rounds; of three, the bound
    # has three rounded coordinates, which rarely are all off: the sums here round none of them.
    count = 60 if formula in MIXED and axes_of(formula).rank != 2 else 12
    for i, drawn in enumerate(CALLS[formula](count, seed=48)):
        data = with_floats(drawn, i, dtype, spread)
        for name in {"x", "weight", "grad_output", "gradient", "parameter"} & {*data}:
            data[name] = data[name] * dtype(scale)
        if data.get("bias") is not None:
            data["bias"] = data["bias"] * dtype(scale) * dtype(scale)
        right, expressions = truth(formula, data), sums(formula, data)
        for _, order in orders(i):
            for reciprocal in (False, True) if algebra(formula).over else (False,):
                flat = [
                    rounded(e, dtype, order, reciprocal=reciprocal) for e in expressions.ravel()
                ]
                got = np.array(flat, dtype).reshape(right.shape)
                share = right.error_over_bound(got, np.dtype(dtype).name)
                assert (share <= 1).all()
                largest = max(largest, float(share.max(initial=0)))
        rounds |= any(e.kind != "leaf" for e in expressions.ravel() if isinstance(e, Written))
    least = 0.02 if formula in MIXED else 0.05
    assert largest > least or not rounds  # and the bound is no wide one


@pytest.mark.parametrize("formula", MULTILINEAR, **NAMED)
def test_wider_accumulators_stay_within_their_narrower_bound(formula):
    narrower = 0
    for i, drawn in enumerate(CALLS[formula](12, seed=49)):
        data = with_floats(drawn, i, np.float32, 4)
        right, expressions = truth(formula, data), sums(formula, data)
        for _, order in orders(i):
            flat = [np.float32(rounded(e, np.float64, order)) for e in expressions.ravel()]
            got = np.array(flat, np.float32).reshape(right.shape)
            assert (right.error_over_bound(got, "float64") <= 1).all()
        if right.shape and not right.is_exact("float32", "float32"):
            wide, narrow = (right.bound("float32", a) for a in ("float64", "float32"))
            narrower += int((wide < narrow).sum())
    assert narrower >= 20


def one_term(formula):
    """Return a call whose result is one product, and in how many ulps a right answer may be off."""
    third, fifth, rank = np.float32(1 / 3), np.float32(1 / 5), axes_of(formula).rank
    one, each = (1,) * (rank + 2), (1,) * rank
    four = {n: np.full(one, v) for n, v in (("x", third), ("weight", fifth))}
    none = (0,) * rank
    plain = {"stride": each, "padding": none, "output_padding": none, "dilation": each}
    two = {"x": np.full((1, 1), third), "weight": np.full((1, 1), fifth)}
    kernel = (*each[1:], 3)
    pool = {"kernel_size": kernel, "ceil_mode": False, "count_include_pad": True}
    shapes = {"input_shape": one, "weight_shape": one}
    four |= {"grad_output": np.full(one, fifth), "bias": None, "groups": 1} | shapes
    if formula is oracle.sgd_step:
        zero = np.zeros(1, np.float32)
        return {"parameter": zero, "gradient": zero + third, "learning_rate": 0.7}
    if formula is oracle.batch_mean:
        return {"gradient_per_image": np.full((3, 1), third)}
    if formula in MEANS:
        x = np.full((1, 1, *kernel), third)
        given = {"x": x, "grad_output": four["x"], "input_shape": x.shape, "output_size": each}
        return {**plain, **pool, **given}
    if "max_pool" in formula.__name__:
        places = {"indices": np.zeros(one, int), "output_size": each}
        return {**plain, **pool, **four, "kernel_size": each, **places}
    if formula in PRODUCTS:
        return _product_of_one(formula)
    operators = (
        *MOVED_PIXELS, *PADS, *LINEAR_INTERPOLATIONS, *NEAREST_INTERPOLATIONS, *MAX_UNPOOLS
    )  # fmt: skip
    moved = next((o for o in operators if formula in o.formulas), None)
    if moved is not None:
        made = moved.arguments(variations.drawn(moved, 0).sizes)  # one pixel
        arrays = {n: np.full(shape, third) for n, shape in made.shapes.items()}
        return moved.complete(arrays | made.options, 0)
    if "linear" in formula.__name__:
        return {**two, "grad_output": np.full((1, 1), fifth), "bias": None}
    return {**four, **plain}


def _product_of_one(formula):
    """Return a call with matrices of one element."""
    third, fifth = np.float32(1 / 3), np.float32(1 / 5)
    one = (1,) * max(len(axes_of(formula).arrays["input"]), 2)
    arrays = dict.fromkeys(("other", "mat2", "grad_output"), np.full(one, fifth))
    shapes = {"input_shape": one, "other_shape": one}
    # Of a gradient by the input, the other array is not the fifth that dy is.
    by_input = {} if "input" in argument_names(formula)[0] else {"grad_output": np.full(one, third)}
    return {**arrays, **shapes, "input": np.full(one, third), **by_input}


@pytest.mark.parametrize("formula", MULTILINEAR, **NAMED)
def test_a_few_units_beyond_a_simple_answer_are_wrong(formula):
    c = one_term(formula)
    right, got = truth(formula, c), evaluate(formula, c)
    assert got.dtype == np.float32
    assert (right.error_over_bound(got, "float32") <= 1).all()
    # a product or a copy rounds once, a step twice, a mean of three four times and a half
    units = {oracle.sgd_step: 4, oracle.batch_mean: 9, **dict.fromkeys(MEANS, 9)}.get(formula, 2)
    for direction in (np.float32(np.inf), np.float32(-np.inf)):
        off = got
        for _ in range(units):
            off = np.nextafter(off, direction)
        assert (right.error_over_bound(off, "float32") > 1).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("formula", MULTILINEAR, **NAMED)
def test_what_is_not_finite_is_never_within_the_bound(formula, value):
    c = with_floats(next(CALLS[formula](1, seed=50)), 0, np.float32)
    right, got = truth(formula, c), evaluate(formula, c)
    if not got.size:
        c = one_term(formula)
        right, got = truth(formula, c), evaluate(formula, c)
    got.flat[0] = value
    share = right.error_over_bound(got, "float32")
    assert not share.flat[0] <= 1
    assert (share.ravel()[1:] <= 1).all()


# -- selections -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "formula", [oracle.relu, oracle.relu_grad, MAX_POOLINGS[2].values], **NAMED
)
def test_selections_pick_among_the_data_and_nothing(formula):
    for i, drawn in enumerate(CALLS[formula](30, seed=51)):
        c = with_floats(drawn, i, np.float32)
        first = c[argument_names(formula)[0][0]]
        got = evaluate(formula, c)
        assert set(got.ravel().tolist()) <= {0.0, *first.ravel().tolist()}
        right = truth(formula, c)
        assert isinstance(right, SelectionTruth)
        assert right.is_exact("float32", "float32")
        assert not right.error_over_bound(got, "float32").any()
        if got.size:
            off = np.nextafter(got, np.float32(9))
            assert np.isinf(right.error_over_bound(off, "float32")).all()


def test_places_are_judged_as_integers():
    c = next(CALLS[MAX_POOLINGS[2].indices](1, seed=52, dtype=np.float32))
    right = truth(MAX_POOLINGS[2].indices, c)
    got = evaluate(MAX_POOLINGS[2].indices, c)
    assert right.as_float(np.dtype(np.int64)).dtype == np.int64
    assert not right.error_over_bound(got, "float32").any()
    assert np.isinf(right.error_over_bound(got + 1, "float32")).all()


def test_a_nan_is_right_only_where_the_truth_is_one():
    z = np.float32([np.nan, 1, -1])
    right = truth(oracle.relu, {"z": z})
    assert right.error_over_bound(np.float32([np.nan, 1, 0]), "float32").tolist() == [0, 0, 0]
    share = right.error_over_bound(np.float32([0, np.nan, np.nan]), "float32")
    assert np.isinf(share).all()


@pytest.mark.parametrize("formula", [f for f in CALLS if isinstance(algebra(f), Composed)], **NAMED)
def test_composed_formulas_are_judged_in_high_precision(formula):
    c = with_floats(next(CALLS[formula](1, seed=53)), 0, np.float64)
    right = truth(formula, c)
    assert isinstance(right, ComposedTruth)
    assert not right.is_exact("float64", "float64")
    assert right.shape == evaluate(formula, c).shape


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_elements_in_the_same_place_are_all_that_pointwise_selections_read(dtype):
    random = np.random.default_rng(1)
    special = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1.5, -1.5])
    z, dy = (random.choice(special, (5, 7)).astype(dtype) for _ in range(2))
    kinds = {f: algebra(f) for operator in OPERATORS for f in operator.formulas}
    pointwise = [f for f, kind in kinds.items() if isinstance(kind, Selection) and kind.pointwise]
    assert {f.__name__ for f in pointwise} == {"relu", "relu_grad"}
    for formula in pointwise:
        call = {"z": z, "grad_output": dy}
        got = SelectionTruth(formula, call).as_float(np.dtype(dtype))
        want = evaluate(formula, call)
        np.testing.assert_array_equal(got, want)
        np.testing.assert_array_equal(np.signbit(got), np.signbit(want))
