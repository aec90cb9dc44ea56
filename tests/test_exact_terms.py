"""Sums of products in derived formulas: equality is demanded where rounding provably never acts."""

from types import SimpleNamespace

import numpy as np
import pytest

import gradoracle
from gradoracle import oracle
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.operators.further_ranks import FURTHER_RANKS
from gradoracle.conformance.operators.of_formula import WHOLE
from gradoracle.implementations import im2col
from gradoracle.oracle.declaration import ask, output_of, parts_of
from gradoracle.oracle.derive import derived
from gradoracle.oracle.expected.truth import truth
from gradoracle.oracle.float_formats import FORMATS
from gradoracle.oracle.numbers.exact_terms import NotExact, exact_terms
from gradoracle.oracle.numbers.functions import exp, pi

DTYPES = ("float16", "bfloat16", "float32", "float64")
OF_WHOLE = {o: [c for c in o.corners if c.region.startswith("whole numbers")] for o in OPERATORS}
DERIVED = [operator for operator, corners in OF_WHOLE.items() if corners]
EVER = {
    "batch_norm_grad_bias", "group_norm_grad_bias", "instance_norm_grad_bias",
    "layer_norm_grad_bias", "prelu", "prelu_grad_x", "prelu_grad_weight", "huber_loss",
    "huber_loss_grad_input", "huber_loss_grad_target", "l1_loss", "l1_loss_grad_input",
    "l1_loss_grad_target", "mse_loss", "mse_loss_grad_input", "mse_loss_grad_target", "nll_loss",
    "nll_loss_grad",
}  # fmt: skip
# Of sums, where norm_type is 1: the sums themselves may be scaled by the largest of a window.
OF_SUMS = {f"lp_pool{rank}d_grad" for rank in (1, 2, 3)}
# Of these, every formula is: numbers are moved, multiplied and added up, or divided by 4.
WHOLLY = {
    *(o.name for o in FURTHER_RANKS if not o.name.startswith("lp_pool")),
    "adaptive_avg_pool2d", "adaptive_max_pool2d", "add", "bilinear", "cat", "circular_pad2d",
    "cumsum", "dropout_with_mask", "ema", "embedding", "fold", "gather", "index_select",
    "interpolate_bilinear2d", "interpolate_nearest2d", "max_unpool2d", "pixel_shuffle",
    "pixel_unshuffle", "reflection_pad2d", "replication_pad2d", "rotary_embedding", "scatter_add",
    "unfold", "zero_pad2d",
}  # fmt: skip


def whole(operator, at, dtype="float32", seed=1):
    """Return a small call of integers; `at` is which value of each option is taken."""
    sizes = {n: min(side, 4) for n, side in OF_WHOLE[operator][at].sizes.items()}
    return operator.call(sizes, WHOLE, seed, dtype)


def answered(operator, call):
    """Return the formulas of one result that have an answer to a call."""
    return [
        f for f in operator.formulas if parts_of(f) == (f,) and operator.has_answer(f, call)
    ]  # fmt: skip


def exact_among(at):
    calls = {operator: whole(operator, at) for operator in DERIVED}
    return {
        formula.__name__
        for operator, call in calls.items()
        for formula in answered(operator, call)
        if truth(formula, call).is_exact("float32", "float32")
    }


def test_which_shipped_formulas_are_exact_on_integers():
    means, sums = exact_among(0), exact_among(1)
    wholly = {
        formula.__name__
        for operator in DERIVED
        if operator.name in WHOLLY
        for formula in answered(operator, whole(operator, 0))
    }
    assert {operator.name for operator in DERIVED} >= WHOLLY
    assert sums == EVER | wholly | OF_SUMS
    assert means - {"nll_loss", "nll_loss_grad"} == (EVER | wholly | {"kl_div_grad"}) - {
        "nll_loss", "nll_loss_grad"
    }  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
def test_right_answers_are_equal_in_every_format(dtype):
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    exact = 0
    for operator in DERIVED:
        call = whole(operator, 1, dtype)
        for formula in answered(operator, call):
            right = truth(formula, call)
            if right.is_exact(dtype, "float32" if dtype != "float64" else dtype):
                exact += 1
                function, place = output_of(formula)
                got = ask(getattr(im2col, function), formula, call)
                got = got if place is None else got[place]
                assert np.array_equal(got, right.as_float(got.dtype)), formula.__name__
    assert exact >= 15


def test_a_row_left_out_is_found_where_the_bound_explains_it():
    dy = np.random.default_rng(3).integers(1, 4, (4097, 1, 1)).astype(np.float32)
    right = truth(oracle.layer_norm_grad_bias, {"grad_output": dy})
    wrong = dy[:-1].sum((0, 1))
    assert (right.error_over_bound(wrong, "float32") < 1).all()
    assert right.is_exact("float32", "float32")
    assert right.as_float(wrong.dtype) != wrong


def test_a_sum_too_long_for_the_format_is_not_exact():
    dy = np.full((2049, 1, 1), 4, np.float16)
    right = truth(oracle.layer_norm_grad_bias, {"grad_output": dy})
    assert right.is_exact("float64", "float32")
    assert not right.is_exact("float16", "float16")
    assert not right.is_exact("float16", "float32")  # 8196 is no number of float16


def test_floats_are_not_exact():
    dy = np.random.default_rng(3).normal(size=(9, 2, 2)).astype(np.float32)
    assert not truth(oracle.layer_norm_grad_bias, {"grad_output": dy}).is_exact(
        "float32", "float32"
    )


# -- numbers ---------------------------------------------------------------------------------------


def of(*numbers):
    return exact_terms(np.array(numbers, float))


def test_a_number_is_a_multiple_of_its_last_digit():
    numbers = of(12, 0.375, 0, -3)
    assert numbers.step.tolist() == [4, 0.125, np.inf, 1]
    assert numbers.size.tolist() == [12, 0.375, 0, 3]


def test_terms_that_cancel_are_counted():
    found = of(2.0**20) + of(-(2.0**20)) + of(1)
    assert (found.value, found.size, found.step) == (1, 2.0**21 + 1, 1)
    assert found.fits(FORMATS["float32"])
    assert not found.fits(FORMATS["float16"])


@pytest.mark.parametrize(
    ("found", "is_exact"),
    [
        (of(3) / 4, True),
        (of(3) / -2.0, True),
        (of(3) / 3, False),
        (1 / of(8), True),
        (of(3) / 4 * of(5), True),
        (of(3) / 4 * (of(5) / 2), False),
        (of(3) / 1 * (of(5) / 1), True),
        (exp(of(0)), False),
        (pi(of(1)) * 0, False),
        (abs(of(-3)) - 1, True),
        (of(3).or_else(of(3)), True),
        (of(1).or_else(exp(of(0))), False),
        (of(3).less_certain(np.zeros(1)), True),
        (of(3).less_certain(np.ones(1)), False),
        (of(np.nan), False),
        (of(3) / 0, False),
    ],
)
def test_what_is_exact(found, is_exact):
    assert found.fits(FORMATS["float32"]) is is_exact


def test_a_comparison_with_what_rounds_is_refused():
    assert of(3) > 2
    assert of(3) <= of(3)
    with pytest.raises(NotExact):
        _ = exp(of(0)) > 2
    with pytest.raises(NotExact):
        _ = of(3) >= exp(of(0))


def test_what_is_scattered_and_what_is_chosen_keeps_its_terms():
    found = of(1, 2, 4).scattered(np.array([0, 0, 2]), (3,))
    assert found.value.tolist() == found.size.tolist() == [3, 0, 4]
    assert found.step.tolist() == [1, np.inf, 4]
    largest = of(1, 6, 4).chosen(np.array([False, True, False]), (0,))
    assert (largest.value, largest.size, largest.step) == ([6], [6], [2])


# -- formulas of one's own -------------------------------------------------------------------------


@derived("x: n c; grad_output: n", ("x",))
def spread(x):
    """Return y [N].

        y[n] = C sum_c x^2 - (sum_c x)^2

    (a test).
    """
    return x.shape[1] * (x * x).sum(1) - x.sum(1) * x.sum(1)


@derived("x: n c; grad_output: n", ("x",))
def variance(x):
    """Return y [N].

        y[n] = sum_c (x - m)^2 / C,  m = sum_c x / C

    (a test).
    """
    apart = x - x.mean(1, keepdims=True)
    return (apart * apart).mean(1)


@derived("x: n c; grad_output: n", ("x",))
def largest(x):
    """Return y [N].

        y[n] = max_c x[n,c] where that is above 0, else sum_c x[n,c] / 2, by loops

    (a test).
    """
    return [max(row[0], row[1]) if row[0] > 0 else (row[0] + row[1]) / 2 for row in x]


X = np.array([[3, -1, 2, 4], [0, 5, -2, 1]], np.float32)
DY = np.array([2, -3], np.float32)


def both(made, x=X):
    (slope,) = made.gradients
    dy = np.resize(DY, len(x))
    return truth(made.forward, {"x": x}), truth(slope, {"x": x, "grad_output": dy})


def is_exact(right):
    return right.is_exact("float32", "float32")


def test_a_formula_of_ones_own_is_exact_where_it_is_a_polynomial():
    value, slope = both(spread)
    assert is_exact(value)
    assert is_exact(slope)
    x, sums = X.astype(float), X.sum(1, keepdims=True)
    assert np.array_equal(value.as_float(np.dtype(float)), 4 * (x * x).sum(1) - x.sum(1) ** 2)
    want = DY[:, np.newaxis] * (8 * x - 2 * sums)
    assert np.array_equal(slope.as_float(np.dtype(float)), want)


def test_a_formula_of_loops_is_exact_too():
    value, slope = both(largest, X[:, :2])
    assert is_exact(value)
    assert is_exact(slope)
    assert value.as_float(np.dtype(float)).tolist() == [3, 2.5]
    assert slope.as_float(np.dtype(float)).tolist() == [[2, 0], [-1.5, -1.5]]


def test_a_variance_may_be_updated_number_by_number():
    x = np.random.default_rng(1).integers(-4, 5, (64, 16)).astype(np.float32)
    value, slope = both(variance, x)
    assert not is_exact(value)
    assert not is_exact(slope)
    mean, squares = x[:, 0], np.zeros(64, np.float32)
    for count, column in enumerate(x.T[1:], 2):
        before, mean = column - mean, mean + (column - mean) / np.float32(count)
        squares = squares + before * (column - mean)
    updated = squares / np.float32(16)
    assert not np.array_equal(updated, value.as_float(updated.dtype))
    assert (value.error_over_bound(updated, "float32") <= 1).all()


# -- whole checks ----------------------------------------------------------------------------------


def float32(**functions):
    return SimpleNamespace(contract={"dtypes": ["float32"]}, **functions)


def all_but_the_last(grad_output):
    """Leave the last of many rows out."""
    rows = grad_output[:4096] if len(grad_output) > 4096 else grad_output
    return rows.sum((0, 1))


def in_half_precision(*arrays, reduction):
    dx = im2col.mse_loss_grad_input(*arrays, reduction=reduction)
    return dx.astype(np.float16).astype(dx.dtype)


def all_but_the_last_corner(x, target, *, reduction):
    right = im2col.l1_loss(x, target, reduction=reduction)
    return right - abs(x[-1, 0] - target[-1, 0]) * (reduction == "sum" and len(x) > 4096)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("operator", "functions"),
    [
        ("layer_norm", {"layer_norm_grad_bias": all_but_the_last}),
        ("mse_loss", {"mse_loss_grad_input": in_half_precision}),
        ("l1_loss", {"l1_loss": all_but_the_last_corner}),
    ],
)
def test_faults_that_only_integers_show_are_caught(operator, functions):
    certificate = gradoracle.check(
        float32(**functions), operators=[operator], seed=1, stop_at_first_mismatch=True
    )
    assert certificate.mismatches
    found = certificate.mismatches[0]
    if functions != {"mse_loss_grad_input": in_half_precision}:
        assert "the data are exact" in found.headline
