"""The transposed convolution: hand-computed numbers, and what it refuses."""

import re

import numpy as np
import pytest

from gradoracle import oracle
from gradoracle.oracle.declaration import evaluate
from tests.calls import conv_transpose_call, conv_transpose_calls

PLAIN = {
    "stride": (1, 1), "padding": (0, 0), "output_padding": (0, 0), "dilation": (1, 1), "groups": 1,
}  # fmt: skip


def rows(*values):
    return np.array([[values]], dtype=np.float64)


def test_forward_by_hand_lays_the_kernel_at_every_pixel():
    y = oracle.conv_transpose2d(
        rows([1, 2], [3, 4]), rows([1, 10], [100, 1000]), np.array([0.5]), **PLAIN
    )
    assert y.tolist() == [
        [[
            [1.5, 10 + 2 + 0.5, 20.5],
            [100 + 3 + 0.5, 1000 + 200 + 30 + 4 + 0.5, 2000 + 40 + 0.5],
            [300.5, 3000 + 400 + 0.5, 4000.5],
        ]]
    ]  # fmt: skip


def test_stride_puts_kernels_apart_and_padding_takes_the_border_off():
    y = oracle.conv_transpose2d(
        rows([1, 2, 3]), rows([1, 10, 100]), **{**PLAIN, "stride": (1, 2), "padding": (0, 1)}
    )  # laid out: 1 10 100+2 20 200+3 30 300
    assert y.tolist() == [[[[10, 102, 20, 203, 30]]]]


def test_output_padding_adds_at_the_end_what_the_kernel_lays_there_else_the_bias():
    options = {**PLAIN, "stride": (2, 2), "padding": (0, 1), "output_padding": (1, 1)}
    y = oracle.conv_transpose2d(rows([1, 2]), rows([1, 10, 100]), np.array([7.0]), **options)
    # laid out: 1 10 102 20 200; without the first pixel; the last one comes back, a row comes new
    assert y.tolist() == [[[[17, 109, 27, 207], [7, 7, 7, 7]]]]
    plain = oracle.conv_transpose2d(
        rows([1, 2]), rows([1, 10, 100]), np.array([7.0]), **{**options, "output_padding": (0, 0)}
    )
    assert plain.tolist() == [[[[17, 109, 27]]]]


def test_output_padding_may_reach_the_stride_where_the_dilation_allows_it():
    y = oracle.conv_transpose2d(
        rows([1, 2]), rows([1, 10]), **{**PLAIN, "dilation": (1, 3), "output_padding": (0, 2)}
    )
    assert y.tolist() == [[[[1, 2, 0, 10, 20, 0, 0]]]]


def test_dilation_by_hand():
    y = oracle.conv_transpose2d(rows([1], [2]), rows([1], [10]), **{**PLAIN, "dilation": (2, 1)})
    assert y.ravel().tolist() == [1, 2, 10, 20]


def test_grad_input_by_hand_is_the_convolution_of_dy():
    dx = oracle.conv_transpose2d_grad_input(
        rows([1, 2, 4, 8, 16]), rows([1, 10, 100]), input_shape=(1, 1, 1, 3),
        **{**PLAIN, "stride": (1, 2), "padding": (0, 1)},
    )  # fmt: skip
    assert dx.tolist() == [[[[10 + 200, 2 + 40 + 800, 8 + 160]]]]


def test_grad_weight_by_hand_is_summed_over_images():
    x = np.array([[[[1.0, 2]]], [[[10, 20]]]])
    dy = np.array([[[[1.0, 2, 3]]], [[[1, 1, 1]]]])
    dw = oracle.conv_transpose2d_grad_weight(dy, x, weight_shape=(1, 1, 1, 2), **PLAIN)
    assert dw.tolist() == [[[[1 + 4 + 30, 2 + 6 + 30]]]]


def test_grad_bias_by_hand_counts_the_output_padding():
    dy = np.arange(12.0).reshape(2, 3, 1, 2)
    assert oracle.conv_transpose2d_grad_bias(dy).tolist() == [14, 22, 30]


def test_groups_write_their_own_channels():
    x = np.array([[[[1.0]], [[10.0]], [[100.0]], [[1000.0]]]])
    weight = np.arange(1.0, 9).reshape(4, 2, 1, 1)  # two groups of two channels, two maps each
    y = oracle.conv_transpose2d(x, weight, **{**PLAIN, "groups": 2})
    assert y.ravel().tolist() == [1 + 30, 2 + 40, 500 + 7000, 600 + 8000]
    dx = oracle.conv_transpose2d_grad_input(
        np.array([[[[1.0]], [[10.0]], [[100.0]], [[1000.0]]]]), weight, input_shape=(1, 4, 1, 1),
        **{**PLAIN, "groups": 2},
    )  # fmt: skip
    assert dx.ravel().tolist() == [1 + 20, 3 + 40, 500 + 6000, 700 + 8000]


def test_empty_batch_gives_an_empty_result_and_zero_gradients():
    empty = conv_transpose_call(
        (0, 2, 3, 3), (2, 4, 2, 2), {**PLAIN, "output_padding": (0, 0)}, dtype=np.float32
    )
    assert evaluate(oracle.conv_transpose2d, empty).shape == (0, 4, 4, 4)
    assert evaluate(oracle.conv_transpose2d_grad_input, empty).shape == (0, 2, 3, 3)
    for formula in (oracle.conv_transpose2d_grad_weight, oracle.conv_transpose2d_grad_bias):
        gradient = evaluate(formula, empty)
        assert gradient.size
        assert not gradient.any()


def test_it_goes_back_through_the_convolution_and_the_convolution_through_it():
    """003's claim, in exact numbers: y of one is dx of the other."""
    for c in conv_transpose_calls(60, seed=5):
        conv = {
            **c, "grad_output": c["x"], "x": c["grad_output"], "bias": None,
            "input_shape": c["grad_output"].shape,
        }  # fmt: skip
        y = evaluate(oracle.conv_transpose2d, {**c, "bias": None})
        if evaluate(oracle.conv2d, conv).shape != c["x"].shape:
            continue  # output_padding made room for more windows
        assert (y == evaluate(oracle.conv2d_grad_input, conv)).all()
        back = evaluate(oracle.conv_transpose2d_grad_input, c)
        assert (back == evaluate(oracle.conv2d, conv)).all()


LEGAL = ((2, 4, 3, 4), (4, 3, 3, 2), {
    "stride": (2, 1), "padding": (1, 0), "output_padding": (1, 1), "dilation": (1, 2), "groups": 2,
})  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": (2, 6, 3, 4)}, "x has 6 channels in groups=2; weight's first axis must have as "
         "many (4), and the groups must divide them"),
        ({"groups": 3}, "x has 4 channels in groups=3"),
        ({"groups": 0}, "groups must be at least 1, got 0"),
        ({"output_padding": (2, 1)}, "output_padding's height must be below the stride (2) or the "
         "dilation (1), got 2"),
        ({"output_padding": (1, 2)}, "output_padding's width must be below the stride (1) or the "
         "dilation (2), got 2"),
        ({"output_padding": (0, -1)}, "output_padding must be a pair (height, width) of integers "
         "of at least 0, got (0, -1)"),
        ({"padding": (4, 0)}, "the output's height would have 0 pixels: padding 4 on each end "
         "takes more than the 7 that the kernel reaches"),
        ({"padding": (0, -1)}, "padding must be a pair"),
        ({"stride": (0, 1)}, "stride must be a pair"),
        ({"stride": 1}, "stride must be a pair"),
        ({"dilation": (1, 0)}, "dilation must be a pair"),
        ({"x": (2, 4, 0, 4)}, "x [N, C, H, W] must have H of at least 1, got 0"),
        ({"x": (2, 4, 3)}, "x must have 4 axes [N, C, H, W], got shape [2, 4, 3]"),
        ({"weight": (4, 0, 3, 2)}, "must have M/groups of at least 1, got 0"),
        ({"weight": (4, 3, 3)}, "weight must have 4 axes [C, M/groups, KH, KW]"),
    ],
)  # fmt: skip
def test_illegal_arguments_name_the_value_and_what_is_legal(change, message):
    x, weight, options = LEGAL
    bad = conv_transpose_call(x, weight, options, dtype=np.float64)
    shapes = {"x": "input_shape", "weight": "weight_shape"}
    for name, value in change.items():
        bad[name] = np.zeros(value) if name in shapes else value
        if name in shapes:
            bad[shapes[name]] = value
    for formula in (
        oracle.conv_transpose2d,
        oracle.conv_transpose2d_grad_input,
        oracle.conv_transpose2d_grad_weight,
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            evaluate(formula, bad)


def test_arrays_that_do_not_fit_each_other_are_refused():
    x, weight, options = LEGAL
    legal = conv_transpose_call(x, weight, options, dtype=np.float64)
    short = {**legal, "grad_output": legal["grad_output"][:, :, :, :-1]}
    for formula in (oracle.conv_transpose2d_grad_input, oracle.conv_transpose2d_grad_weight):
        with pytest.raises(ValueError, match="grad_output has shape .* transposed convolution's"):
            evaluate(formula, short)
    with pytest.raises(ValueError, match=r"bias has shape \[5\]"):
        evaluate(oracle.conv_transpose2d, {**legal, "bias": np.zeros(5)})
    with pytest.raises(ValueError, match="grad_output must have 4 axes"):
        oracle.conv_transpose2d_grad_bias(np.zeros((2, 2)))
