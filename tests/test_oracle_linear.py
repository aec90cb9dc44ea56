"""The fully connected layer, the batch mean and the step of descent: hand-computed numbers."""

import re
from fractions import Fraction

import numpy as np
import pytest

from gradoracle import oracle
from gradoracle.oracle.declaration import evaluate
from tests.calls import linear_calls


def numbers(*values, dtype=np.float64):
    return np.array(values, dtype)


X, WEIGHT = numbers([1, 2, 3], [4, 5, 6]), numbers([1, 0, -1], [10, 100, 1000])
DY = numbers([1, 2], [3, 4])


def test_linear_by_hand():
    assert oracle.linear(X, WEIGHT).tolist() == [[-2, 3210], [-2, 6540]]
    assert oracle.linear(X, WEIGHT, numbers(5, 7)).tolist() == [[3, 3217], [3, 6547]]


def test_gradients_of_linear_by_hand():
    assert oracle.linear_grad_input(DY, WEIGHT).tolist() == [[21, 200, 1999], [43, 400, 3997]]
    assert oracle.linear_grad_weight(DY, X).tolist() == [[13, 17, 21], [18, 24, 30]]
    assert oracle.linear_grad_bias(DY).tolist() == [4, 6]


def test_an_empty_batch_gives_an_empty_result_and_zero_gradients():
    x, dy = np.zeros((0, 3), np.float32), np.zeros((0, 2), np.float32)
    weight = np.ones((2, 3), np.float32)
    assert oracle.linear(x, weight).shape == (0, 2)
    assert oracle.linear_grad_input(dy, weight).shape == (0, 3)
    assert oracle.linear_grad_weight(dy, x).tolist() == [[0] * 3] * 2
    assert oracle.linear_grad_bias(dy).tolist() == [0, 0]


def test_linear_is_a_convolution_of_one_pixel():
    plain = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
    for c in linear_calls(30, seed=1):
        wide = {
            n: v if n == "bias" else v[:, :, None, None] for n, v in c.items()
        } | plain  # fmt: skip
        wide |= {"input_shape": wide["x"].shape, "weight_shape": wide["weight"].shape}
        for name in ("", "_grad_input", "_grad_weight", "_grad_bias"):
            got = evaluate(getattr(oracle, f"linear{name}"), c)
            want = evaluate(getattr(oracle, f"conv2d{name}"), wide)
            assert (got == want.reshape(got.shape)).all()


@pytest.mark.parametrize(
    ("formula", "arrays", "message"),
    [
        (oracle.linear, [X[0], WEIGHT], "x must have 2 axes [N, C], got shape [3]"),
        (oracle.linear, [X[:, :0], WEIGHT], "x [N, C] must have at least one column, got [2, 0]"),
        (oracle.linear, [X, WEIGHT[0]], "weight must have 2 axes [M, C], got shape [3]"),
        (oracle.linear, [X, WEIGHT[:, :2]], "weight has shape [2, 2], but x's features demand "
         "[2, 3]"),
        (oracle.linear, [X, WEIGHT, numbers(1, 2, 3)], "bias has shape [3], but the number of "
         "output features demands [2]"),
        (oracle.linear_grad_input, [DY, WEIGHT[:1]], "weight has shape [1, 3], but dy's features "
         "demand [2, 3]"),
        (oracle.linear_grad_input, [DY[0], WEIGHT], "grad_output must have 2 axes [N, M]"),
        (oracle.linear_grad_weight, [DY, X[:1]], "x has shape [1, 3], but dy's rows demand [2, 3]"),
        (oracle.linear_grad_weight, [DY[None], X], "grad_output must have 2 axes [N, M], got "
         "shape [1, 2, 2]"),
        (oracle.linear_grad_bias, [DY[0]], "grad_output must have 2 axes [N, M], got shape [2]"),
    ],
)  # fmt: skip
def test_shapes_that_do_not_fit_are_named(formula, arrays, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        formula(*arrays)


# -- the batch mean and the step ------------------------------------------------------------------


def test_batch_mean_divides_once_by_the_number_of_images():
    assert oracle.batch_mean(numbers([1, 4], [3, 0])).tolist() == [2, 2]
    assert oracle.batch_mean(numbers(1, 2, 6)).item() == 3
    assert oracle.batch_mean(numbers(1, 2, 6)).shape == ()
    assert oracle.batch_mean(np.full((4, 2, 3, 1), 5.0, np.float32)).dtype == np.float32
    thirds = np.array([Fraction(1), Fraction(0), Fraction(0)], object)
    assert oracle.batch_mean(thirds).item() == Fraction(1, 3)


def test_batch_mean_refuses_what_has_no_batch():
    with pytest.raises(ValueError, match="the mean over an empty batch is undefined"):
        oracle.batch_mean(np.zeros((0, 3)))
    with pytest.raises(ValueError, match="must have a batch axis, got a number"):
        oracle.batch_mean(np.zeros(()))


def test_a_step_goes_against_the_gradient():
    moved = oracle.sgd_step(numbers([1, 2]), numbers([4, -8]), learning_rate=0.25)
    assert moved.tolist() == [[0, 4]]
    assert oracle.sgd_step(numbers(1), numbers(7), learning_rate=0.0).tolist() == [1]
    number = oracle.sgd_step(np.float32(3.0).reshape(()), np.ones((), np.float32), learning_rate=2)
    assert (number.shape, number.dtype, number.item()) == ((), np.float32, 1)
    assert oracle.sgd_step(np.zeros((0, 2)), np.zeros((0, 2)), learning_rate=1.0).shape == (0, 2)


def test_a_step_leaves_its_parameter_as_it_was():
    parameter = numbers(1, 2)
    moved = oracle.sgd_step(parameter, numbers(1, 1), learning_rate=1.0)
    assert parameter.tolist() == [1, 2]
    assert not np.shares_memory(parameter, moved)


def test_a_step_does_not_broadcast():
    with pytest.raises(ValueError, match=r"gradient has shape \[2\], but the parameter has \[2, 2"):
        oracle.sgd_step(np.zeros((2, 2)), np.zeros(2), learning_rate=0.1)
