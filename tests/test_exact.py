"""The exact evaluation and the rounding bound."""

from fractions import Fraction

import numpy as np
import pytest

from gradoracle import oracle
from gradoracle.oracle.declaration import evaluate
from gradoracle.oracle.expected import truth as truth_module
from gradoracle.oracle.expected.exact import inner, scaled
from gradoracle.oracle.expected.non_finite import NonFiniteTruth
from gradoracle.oracle.expected.truth import truth
from tests.calls import call, fractions, random_calls, with_floats

FORMULAS = [
    oracle.conv2d,
    oracle.conv2d_grad_input,
    oracle.conv2d_grad_weight,
    oracle.conv2d_grad_bias,
]


@pytest.mark.parametrize(
    "values",
    [[0.0], [1.0, -3.0], [0.1, 0.2, 1e-30], [2.0**-1074], [2.0**1000, 1.0], [1e300, 1e-300], []],
)
def test_scaled_integers_are_the_floats_exactly(values):
    array = np.array(values)
    integers, scale = scaled(array)
    back = [Fraction(int(v)) / Fraction(2) ** scale for v in integers]
    assert back == [Fraction(v) for v in values]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_has_no_integers(value):
    with pytest.raises(ValueError, match="only finite numbers"):
        scaled(np.array([1.0, value]))


@pytest.mark.parametrize("spread", [0, 3, 40])
@pytest.mark.parametrize("formula", FORMULAS, ids=lambda f: f.__name__)
def test_truth_equals_fractions(formula, spread):
    for i, c in enumerate(random_calls(6, seed=11)):
        data = with_floats(c, i, np.float32, spread)
        right = truth(formula, data)
        want = evaluate(formula, fractions(data))
        got = [Fraction(int(v)) / Fraction(2) ** right.scale for v in right.value.ravel()]
        assert got == want.ravel().tolist()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("formula", FORMULAS, ids=lambda f: f.__name__)
def test_limbs_give_what_pythons_integers_give(formula, dtype):
    for i, c in enumerate(random_calls(4, seed=12)):
        data = with_floats(c, i, dtype, 10)
        right = truth(formula, data)
        assert (right._in_limbs(right._operands) == right.value).all()


DIVIDED_BY_ONE = {
    oracle.avg_pool2d: {"x": (1, 2, 3, 3)},
    oracle.avg_pool2d_grad_input: {"grad_output": (1, 2, 3, 3), "input_shape": (1, 2, 3, 3)},
    oracle.batch_mean: {"gradient_per_image": (1, 9)},
}


@pytest.mark.parametrize("formula", DIVIDED_BY_ONE, ids=lambda f: f.__name__)
def test_what_is_divided_by_one_stays_exact(formula):
    """Python's division of integers by 1 is a float, which has no room for their digits."""
    options = {
        "kernel_size": (1, 1), "stride": (1, 1), "padding": (0, 0), "ceil_mode": False,
        "count_include_pad": True,
    }  # fmt: skip
    random = np.random.default_rng(1)
    given = {
        n: v if n == "input_shape" else random.standard_normal(v) * 2.0 ** random.integers(0, 9, v)
        for n, v in DIVIDED_BY_ONE[formula].items()
    }
    (data,) = (v for v in given.values() if isinstance(v, np.ndarray))
    data.flat[0] = 2.0**-1074
    found = truth(formula, {**options, **given})
    one = Fraction(2) ** found.scale * found.odd
    assert {type(value) for value in found.value.ravel().tolist()} == {int}
    want = [Fraction(v) for v in data.ravel().tolist()]
    assert [Fraction(v) / one for v in found.value.ravel().tolist()] == want
    assert found.error_over_bound(
        np.full(data.shape, 1.5e308).reshape(found.shape), "float64"
    ).all()


def test_terms_count_what_reaches_each_element():
    c = call((1, 1, 1, 3), (1, 1, 1, 3), padding=(0, 1), dtype=np.float32)
    assert truth(oracle.conv2d, {**c, "bias": None}).terms.tolist() == [[[[2, 3, 2]]]]
    assert truth(oracle.conv2d, c).terms.tolist() == [[[[3, 4, 3]]]]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("formula", FORMULAS, ids=lambda f: f.__name__)
def test_sums_in_any_order_stay_within_the_bound(formula, dtype):
    for i, c in enumerate(random_calls(40, seed=13)):
        data = with_floats(c, i, dtype, 6)
        got = evaluate(formula, data)
        assert got.dtype == dtype
        assert (truth(formula, data).error_over_bound(got, dtype) <= 1).all()


def test_bound_is_the_published_one_on_a_dot_product():
    c = call((1, 3, 1, 1), (1, 3, 1, 1), dtype=np.float32)
    c = {**c, "x": np.float32([[[[0.1]], [[0.2]], [[0.3]]]]), "weight": np.float32(
        [[[[1]], [[1]], [[1]]]]), "bias": None}  # fmt: skip
    u = Fraction(1, 2**24)
    gamma = 3 * u / (1 - 3 * u)
    sums = sum(Fraction(float(v)) for v in c["x"].ravel())
    allowed = float(gamma * sums)
    assert truth(oracle.conv2d, c).bound("float32", "float32").item() == pytest.approx(
        allowed, rel=1e-15
    )


def test_one_unit_beyond_the_bound_is_wrong():
    c = call((1, 1, 1, 1), (1, 1, 1, 1), dtype=np.float32)
    c = {**c, "x": np.float32([[[[1 / 3]]]]), "weight": np.float32([[[[1 / 5]]]]), "bias": None}
    right = truth(oracle.conv2d, c)
    got = evaluate(oracle.conv2d, c)
    assert (right.error_over_bound(got, "float32") <= 1).all()
    for direction in (np.float32(np.inf), np.float32(-np.inf)):
        off = np.nextafter(np.nextafter(got, direction), direction)
        assert (right.error_over_bound(off, "float32") > 1).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_never_within_the_bound(value):
    c = call((1, 1, 1, 2), (1, 1, 1, 1), dtype=np.float32)
    got = evaluate(oracle.conv2d, c)
    got.flat[1] = value
    share = truth(oracle.conv2d, c).error_over_bound(got, "float32")
    assert share.ravel()[0] == 0
    assert not share.ravel()[1] <= 1
    assert (
        not truth(oracle.conv2d, c).error_over_bound(np.full_like(got, value), "float32").min() <= 1
    )


def test_products_that_underflow_are_allowed_their_rounding():
    c = call((1, 1, 1, 1), (1, 1, 1, 1), dtype=np.float32)
    tiny = np.float32(1e-25)
    c = {**c, "x": np.full((1, 1, 1, 1), tiny), "weight": np.full((1, 1, 1, 1), tiny), "bias": None}
    got = evaluate(oracle.conv2d, c)
    assert got.item() == 0
    assert (truth(oracle.conv2d, c).error_over_bound(got, "float32") <= 1).all()
    far = np.full_like(got, 1e-40)
    assert (truth(oracle.conv2d, c).error_over_bound(far, "float32") > 1).all()


def test_a_wider_accumulator_narrows_the_bound():
    c = with_floats(call((1, 40, 1, 1), (1, 40, 1, 1)), 1, np.float32)
    right = truth(oracle.conv2d, c)
    narrow, wide = right.bound("float32", "float32"), right.bound("float32", "float64")
    assert (wide < narrow).all()
    exact = right.as_float(np.dtype(np.float32))
    assert (right.error_over_bound(exact, "float64") <= 1).all()


def test_exactness_is_proved_at_the_edge():
    c = call((1, 2, 1, 1), (1, 2, 1, 1), dtype=np.float32)
    c = {**c, "bias": None, "weight": np.ones((1, 2, 1, 1), np.float32)}
    fits = {**c, "x": np.float32([[[[2**23]], [[2**23]]]])}
    over = {**c, "x": np.float32([[[[2**23]], [[2**23 + 1]]]])}
    assert truth(oracle.conv2d, fits).is_exact("float32", "float32")
    assert not truth(oracle.conv2d, over).is_exact("float32", "float32")
    wide = {n: a.astype("f8") if isinstance(a, np.ndarray) else a for n, a in over.items()}
    assert truth(oracle.conv2d, wide).is_exact("float64", "float64")
    assert not truth(oracle.conv2d, wide).is_exact("float64", "float32")


@pytest.mark.parametrize("power", [-75, 100])
def test_nothing_is_exact_that_leaves_the_range_of_exponents(power):
    """Products of 2**-150 are rounded to 0, sums of 2**200 to infinity, however few their bits."""
    c = call((1, 2, 1, 1), (1, 2, 1, 1), dtype=np.float32)
    values = np.float32([[[[2.0**power]], [[2.0**power]]]])
    c = {**c, "bias": None, "x": values, "weight": values}
    assert not truth(oracle.conv2d, c).is_exact("float32", "float32")
    wide = {n: a.astype("f8") if isinstance(a, np.ndarray) else a for n, a in c.items()}
    assert truth(oracle.conv2d, wide).is_exact("float64", "float64")


def test_inner_products_are_exact():
    a, b = np.array([2.0**60, 1.0, -(2.0**60)]), np.array([1.0, 0.5, 1.0])
    assert inner(a, b) == Fraction(1, 2)
    assert np.isnan(inner(a, np.array([1.0, np.nan, 1.0])))


# -- what is kept ---------------------------------------------------------------------------------


def small_call(dtype="float64", weight=2.0, stride=(1, 1)):
    return {
        "x": np.array([[[[1.0, 2.0, 3.0]]]], dtype),
        "weight": np.array([[[[weight, -1.0]]]], dtype),
        "bias": None,
        "stride": stride, "padding": (0, 0), "dilation": (1, 1), "groups": 1,
    }  # fmt: skip


def test_the_truth_of_the_same_numbers_is_evaluated_once_whatever_their_dtype():
    right = truth(oracle.conv2d, small_call())
    assert truth(oracle.conv2d, small_call("float16")) is right
    assert right.value.tolist() == [[[[0.0, 1.0]]]]
    others = [
        small_call(weight=3.0),
        small_call(stride=(1, 2)),
        {**small_call(), "bias": -np.ones(1)},
    ]
    for other, want in zip(others, ([[1.0, 3.0]], [[0.0]], [[-1.0, 0.0]]), strict=True):
        assert truth(oracle.conv2d, other).value[0, 0].tolist() == want


def test_a_truth_is_that_of_the_numbers_when_it_was_asked_for():
    call = small_call()
    right = truth(oracle.conv2d, call)
    call["x"][...] = 9.0
    assert right.value.tolist() == [[[[0.0, 1.0]]]]
    assert truth(oracle.conv2d, call).value.tolist() == [[[[9.0, 9.0]]]]
    indices = np.array([[[[2]]]])
    pooled = {"grad_output": np.ones((1, 1, 1, 1)), "indices": indices, "input_shape": (1, 1, 1, 4)}
    right = truth(oracle.max_pool2d_grad_input, pooled)
    indices[...] = 0
    assert right.value.tolist() == [[[[0.0, 0.0, 1.0, 0.0]]]]


def test_few_truths_of_small_calls_are_kept():
    for weight in range(2 * truth_module.KEPT):
        truth(oracle.conv2d, small_call(weight=weight))
    assert len(truth_module._kept) == truth_module.KEPT
    before = {*truth_module._kept}
    large = {**small_call(), "x": np.ones((1, 1, 70, 70))}
    assert truth(oracle.conv2d, large) is not truth(oracle.conv2d, large)
    much = {"grad_output": np.ones((1, 80)), "x": np.ones((1, 80))}  # of few numbers
    assert truth(oracle.linear_grad_weight, much) is not truth(oracle.linear_grad_weight, much)
    assert {*truth_module._kept} == before
    latest = small_call(weight=2 * truth_module.KEPT - 1)
    for weight in range(truth_module.KEPT):  # what is asked for again stays
        right = truth(oracle.conv2d, latest)
        truth(oracle.conv2d, small_call(weight=-weight - 1))
    assert truth(oracle.conv2d, latest) is right


def test_not_finite_numbers_are_told_from_finite_ones_of_any_call():
    call = small_call()
    assert truth(oracle.conv2d, call).shape == (1, 1, 1, 2)
    call["x"][0, 0, 0, 0] = np.nan
    lost = truth(oracle.conv2d, call)
    assert isinstance(lost, NonFiniteTruth)
    assert lost is not truth(oracle.conv2d, call)


def test_a_sum_that_a_wider_accumulator_holds_is_exact_in_a_narrow_result():
    """1 + 2**11 - 2**11: float16 has no 2049, which float32 sums hold, but has the result."""
    call = {"x": [[1.0, 2048.0, -2048.0]], "weight": [[1.0] * 3], "bias": None}
    call = {n: v and np.array(v, np.float16) for n, v in call.items()}
    judged = truth(oracle.linear, call)
    assert judged.is_exact("float16", "float32")
    assert not judged.is_exact("float16", "float16")
    odd = {**call, "x": np.array([[1.0, 1024.0, 1024.0]], np.float16)}
    assert not truth(oracle.linear, odd).is_exact("float16", "float32")  # 2049 is to be rounded
