"""Max and average pooling: hand-computed numbers, and what they refuse."""

import re
from fractions import Fraction

import numpy as np
import pytest

from gradoracle import oracle
from gradoracle.oracle.declaration import evaluate
from gradoracle.oracle.formulas.max_pool import max_pool2d_indices, max_pool2d_values
from tests.calls import pool_call

NAN, INF = float("nan"), float("inf")
PLAIN = {"stride": (1, 1), "padding": (0, 0), "ceil_mode": False}


def rows(*values, dtype=np.float64):
    return np.array([[values]], dtype=dtype)


def max_pool(x, kernel_size, **options):
    return oracle.max_pool2d(x, kernel_size=kernel_size, **{**PLAIN, "dilation": (1, 1), **options})


def avg_pool(x, kernel_size, **options):
    return oracle.avg_pool2d(
        x, kernel_size=kernel_size, **{**PLAIN, "count_include_pad": True, **options}
    )


# -- max pooling ----------------------------------------------------------------------------------


def test_maxima_and_their_places_by_hand():
    x = rows([1, 5, 2, 0], [4, 3, 9, 7])
    y, indices = max_pool(x, (2, 2))
    assert y.tolist() == [[[[5, 9, 9]]]]
    assert indices.tolist() == [[[[1, 6, 6]]]]
    assert indices.dtype == np.int64
    dx = oracle.max_pool2d_grad_input(rows([10, 20, 40]), indices, input_shape=x.shape)
    assert dx.tolist() == [[[[0, 10, 0, 0], [0, 0, 60, 0]]]]


def test_every_plane_has_indices_of_its_own():
    x = np.array([[[[1.0, 2]], [[4, 3]]], [[[6, 5]], [[7, 8]]]])
    y, indices = max_pool(x, (1, 2))
    assert y.ravel().tolist() == [2, 4, 6, 8]
    assert indices.ravel().tolist() == [1, 0, 0, 1]


def test_stride_padding_and_dilation_by_hand():
    y, indices = max_pool(
        rows([1, 2, 3, 4, 5]), (1, 2), stride=(1, 2), padding=(0, 1), dilation=(1, 2)
    )  # taps at -1 and 1, 1 and 3, 3 and 5
    assert y.tolist() == [[[[2, 4, 4]]]]
    assert indices.tolist() == [[[[1, 3, 3]]]]


def test_ceil_mode_hangs_a_window_over_the_end():
    x = rows([1, 2, 3, 4, 5, 6])
    floor, _ = max_pool(x, (1, 3), stride=(1, 2))
    ceil, indices = max_pool(x, (1, 3), stride=(1, 2), ceil_mode=True)
    assert floor.tolist() == [[[[3, 5]]]]
    assert ceil.tolist() == [[[[3, 5, 6]]]]
    assert indices.tolist() == [[[[2, 4, 5]]]]


def test_ceil_mode_drops_a_window_that_would_start_behind_the_image():
    y, _ = max_pool(rows([1, 2]), (1, 1), stride=(1, 3), ceil_mode=True)  # would start at 3
    assert y.tolist() == [[[[1]]]]
    padded, _ = max_pool(
        rows([1, 2, 3]), (1, 2), stride=(1, 2), padding=(0, 1), ceil_mode=True
    )  # would start at 3, in the padding behind the image
    assert padded.tolist() == [[[[1, 3]]]]


@pytest.mark.parametrize("top", [3.0, 0.0, -INF, INF])
def test_the_first_of_equal_maxima_wins(top):
    x = rows([top, top, -INF], [top, top, top])
    y, indices = max_pool(x, (2, 2))
    assert y.tolist() == [[[[top, top]]]]
    assert indices.tolist() == [[[[0, 1]]]]
    dx = oracle.max_pool2d_vjp(rows([1, 2]), x, kernel_size=(2, 2), dilation=(1, 1), **PLAIN)
    assert dx.tolist() == [[[[1, 2, 0], [0, 0, 0]]]]


def test_zeros_of_both_signs_are_a_tie():
    _, indices = max_pool(rows([-0.0, 0.0]), (1, 2))
    assert indices.item() == 0
    _, indices = max_pool(rows([0.0, -0.0]), (1, 2))
    assert indices.item() == 0


def test_the_first_nan_wins_over_everything():
    y, indices = max_pool(rows([INF, NAN, 5, NAN, -INF]), (1, 3))
    assert np.isnan(y).all()
    assert indices.tolist() == [[[[1, 1, 3]]]]
    dx = oracle.max_pool2d_grad_input(rows([1, 2, 4]), indices, input_shape=(1, 1, 1, 5))
    assert dx.tolist() == [[[[0, 3, 0, 4, 0]]]]


def test_padding_never_wins_over_minus_infinity():
    y, indices = max_pool(rows([-INF, -INF]), (1, 3), padding=(0, 1))
    assert y.tolist() == [[[[-INF, -INF]]]]
    assert indices.tolist() == [[[[0, 0]]]]
    y, indices = max_pool(rows([-INF], [-7]), (2, 1), padding=(1, 0))
    assert y.ravel().tolist() == [-INF, -7, -7]
    assert indices.ravel().tolist() == [0, 1, 1]


def test_windows_that_share_a_maximum_add_up():
    x = rows([1, 9, 1])
    _, indices = max_pool(x, (1, 2))
    dx = oracle.max_pool2d_grad_input(rows([1, 10]), indices, input_shape=x.shape)
    assert dx.tolist() == [[[[0, 11, 0]]]]


def test_values_and_indices_are_the_two_results():
    call = pool_call((2, 3, 5, 4), {
        "kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 0), "dilation": (1, 2),
        "ceil_mode": True,
    }, dtype=np.float32)  # fmt: skip
    y, indices = evaluate(oracle.max_pool2d, call)
    assert (y == evaluate(max_pool2d_values, call)).all()
    assert (indices == evaluate(max_pool2d_indices, call)).all()
    planes = call["x"].reshape(2, 3, -1)
    assert (np.take_along_axis(planes, indices.reshape(2, 3, -1), 2).reshape(y.shape) == y).all()


# -- average pooling ------------------------------------------------------------------------------


def test_means_by_hand():
    y = avg_pool(rows([1, 2, 3], [4, 5, 6]), (2, 2))
    assert y.tolist() == [[[[3, 4]]]]


def test_padding_counts_or_does_not():
    x = rows([6, 12])
    counted = avg_pool(x, (1, 3), padding=(0, 1))
    assert counted.tolist() == [[[[6, 6]]]]
    not_counted = avg_pool(x, (1, 3), padding=(0, 1), count_include_pad=False)
    assert not_counted.tolist() == [[[[9, 9]]]]


def test_what_hangs_over_the_end_never_counts_but_the_padding_before_it_does():
    x = rows([6, 12, 18, 30])
    options = {"stride": (1, 2), "padding": (0, 1), "ceil_mode": True}
    # windows [-1..1], [1..3] and [3..5]: pixel 4 is padding, pixel 5 is nothing
    assert avg_pool(x, (1, 3), **options).tolist() == [[[[6, 20, 15]]]]
    assert avg_pool(x, (1, 3), count_include_pad=False, **options).tolist() == [[[[9, 20, 30]]]]
    dy = rows([6, 12, 24])
    gradient = {"input_shape": x.shape, "kernel_size": (1, 3), **options}
    dx = oracle.avg_pool2d_grad_input(dy, **gradient, count_include_pad=True)
    assert dx.tolist() == [[[[2, 2 + 4, 4, 4 + 12]]]]
    dx = oracle.avg_pool2d_grad_input(dy, **gradient, count_include_pad=False)
    assert dx.tolist() == [[[[3, 3 + 4, 4, 4 + 24]]]]


def test_divisors_of_both_sides_multiply():
    x = np.full((1, 1, 2, 2), 36.0)
    y = avg_pool(x, (3, 3), stride=(2, 2), padding=(1, 1), ceil_mode=True)
    # down and across: two pixels of three, then one of two (the fourth hangs over)
    assert y.tolist() == [[[[16, 2 * 36 / 6], [2 * 36 / 6, 9]]]]


def test_a_mean_of_infinities_is_what_the_sum_is():
    assert avg_pool(rows([INF, 1]), (1, 2)).item() == INF
    with np.errstate(invalid="ignore"):
        assert np.isnan(avg_pool(rows([INF, -INF]), (1, 2)).item())


def test_fractions_stay_fractions():
    x = np.array([[[[Fraction(1), Fraction(1, 3)]]]], object)
    assert avg_pool(x, (1, 2)).item() == Fraction(2, 3)


# -- both -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_empty_batch_gives_empty_results(dtype):
    x = np.zeros((0, 2, 3, 3), dtype)
    y, indices = max_pool(x, (2, 2))
    assert (y.shape, y.dtype, indices.shape, indices.dtype) == (
        (0, 2, 2, 2), dtype, (0, 2, 2, 2), np.int64,
    )  # fmt: skip
    dx = oracle.max_pool2d_grad_input(y, indices, input_shape=x.shape)
    assert (dx.shape, dx.dtype) == (x.shape, dtype)
    assert avg_pool(x, (2, 2)).shape == (0, 2, 2, 2)


OPTIONS = {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 0), "ceil_mode": True}
BAD = [
    ({"kernel_size": (0, 2)}, "kernel_size must be a pair (height, width) of integers of at least "
     "1, got (0, 2)"),
    ({"kernel_size": 2}, "kernel_size must be a pair"),
    ({"stride": (2, 0)}, "stride must be a pair (height, width) of integers of at least 1, got "
     "(2, 0)"),
    ({"padding": (-1, 0)}, "padding must be a pair (height, width) of integers of at least 0, got "
     "(-1, 0)"),
    ({"padding": (2, 0)}, "padding's height must be at most half the kernel's 3 taps, got 2"),
    ({"padding": (1, 2)}, "padding's width must be at most half the kernel's 2 taps, got 2"),
    ({"kernel_size": (3, 6), "ceil_mode": False}, "the window's width spans 6 pixels, but the "
     "padded image has 5; no window fits"),
    ({"x": (2, 3, 4)}, "x must have 4 axes [N, C, H, W], got shape [2, 3, 4]"),
    ({"x": (2, 0, 4, 5)}, "x [N, C, H, W] must have C of at least 1, got 0"),
    ({"x": (2, 3, 0, 5)}, "x [N, C, H, W] must have H of at least 1, got 0"),
]  # fmt: skip
BAD_DILATIONS = [
    ({"dilation": (0, 1)}, "dilation must be a pair (height, width) of integers of at least 1"),
    ({"dilation": (1, 5), "ceil_mode": False}, "the window's width spans 6 pixels"),
    ({"kernel_size": (2, 2), "dilation": (5, 1), "x": (2, 3, 4, 5)}, "window 0 of the height holds "
     "no pixel of the image"),
]  # fmt: skip


def spoilt(change):
    bad = pool_call((2, 3, 4, 5), {**OPTIONS, "dilation": (1, 1)}, dtype=np.float64)
    bad |= {"count_include_pad": True} | change
    if "x" in change:
        bad |= {"x": np.zeros(change["x"]), "input_shape": change["x"]}
    return bad


@pytest.mark.parametrize(("change", "message"), BAD + BAD_DILATIONS)
@pytest.mark.parametrize(
    "formula", [oracle.max_pool2d, max_pool2d_values, max_pool2d_indices, oracle.max_pool2d_vjp]
)
def test_max_pooling_names_the_illegal_value(formula, change, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        evaluate(formula, spoilt(change))


@pytest.mark.parametrize(("change", "message"), BAD)
@pytest.mark.parametrize("formula", [oracle.avg_pool2d, oracle.avg_pool2d_grad_input])
def test_average_pooling_names_the_illegal_value(formula, change, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        evaluate(formula, spoilt(change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grad_output": np.zeros((2, 3, 2, 5))}, "indices has shape [2, 3, 3, 4], but "
         "grad_output has [2, 3, 2, 5]"),
        ({"grad_output": np.zeros((2, 4, 2, 4))}, "grad_output has shape [2, 4, 2, 4], but "
         "input_shape's images and channels demand [2, 3, 2, 4]"),
        ({"input_shape": (3, 4, 5)}, "must have 4 axes [N, C, H, W]"),
        ({"input_shape": (2, 3, 0, 5)}, "all but the first at least 1"),
        ({"indices": np.full((2, 3, 3, 4), 20)}, "indices must lie in the plane, 0 to 19, got 20 "
         "to 20"),
        ({"indices": np.full((2, 3, 3, 4), -1)}, "got -1 to -1"),
    ],
)  # fmt: skip
def test_gradient_of_max_pooling_names_the_illegal_value(change, message):
    legal = spoilt({})
    assert evaluate(oracle.max_pool2d_grad_input, legal).shape == (2, 3, 4, 5)
    with pytest.raises(ValueError, match=re.escape(message)):
        evaluate(oracle.max_pool2d_grad_input, {**legal, **change})


def test_gradients_refuse_a_dy_of_another_shape():
    short = spoilt({"grad_output": np.zeros((2, 3, 2, 3))})
    for formula in (oracle.max_pool2d_vjp, oracle.avg_pool2d_grad_input):
        with pytest.raises(ValueError, match="grad_output has shape .* the pooling's output has"):
            evaluate(formula, short)
