"""Activations: hand-computed numbers, the tails, and what they refuse."""

import math

import numpy as np
import pytest

from gradoracle import oracle
from gradoracle.oracle.numbers.high_precision import context, precise

NAN, INF = float("nan"), float("inf")
SMOOTH = (oracle.sigmoid, oracle.tanh)


def numbers(*values, dtype=np.float64):
    return np.array(values, dtype)


def test_relu_by_hand():
    z = numbers(-2, -0.0, 0, 3, INF, -INF)
    assert oracle.relu(z).tolist() == [0, 0, 0, 3, INF, 0]
    dz = oracle.relu_grad(numbers(1, 2, 4, 8, 16, 32), z)
    assert dz.tolist() == [0, 0, 0, 8, 16, 0]  # relu'(0) = 0


def test_relu_of_a_nan_is_a_nan():
    assert np.isnan(oracle.relu(numbers(NAN))).all()
    assert oracle.relu_grad(numbers(5), numbers(NAN)).tolist() == [0]


def test_leaky_relu_by_hand():
    z = numbers(-2, 0, 3, -INF)
    assert oracle.leaky_relu(z, negative_slope=0.25).tolist() == [-0.5, 0, 3, -INF]
    dz = oracle.leaky_relu_grad(numbers(4, 8, 16, 32), z, negative_slope=0.25)
    assert dz.tolist() == [1, 2, 16, 8]  # leaky'(0) = negative_slope
    assert np.isnan(oracle.leaky_relu(numbers(NAN), negative_slope=0.25)).all()


def test_leaky_relu_with_other_slopes():
    z = numbers(-2, 0, 3)
    assert oracle.leaky_relu(z, negative_slope=-0.5).tolist() == [1, 0, 3]
    assert oracle.leaky_relu(z, negative_slope=2.0).tolist() == [-4, 0, 3]
    assert oracle.leaky_relu(z, negative_slope=0.0).tolist() == oracle.relu(z).tolist()
    dz = oracle.leaky_relu_grad(numbers(1, 1, 1), z, negative_slope=2.0)
    assert dz.tolist() == [2, 2, 1]


def test_sigmoid_by_hand():
    y = oracle.sigmoid(numbers(0, math.log(3), -math.log(3)))
    assert y[0] == 0.5
    assert y[1:] == pytest.approx([0.75, 0.25], rel=1e-15)
    dz = oracle.sigmoid_grad(numbers(8, 16), numbers(0, math.log(3)))
    assert dz[0] == 2
    assert dz[1] == pytest.approx(16 * 0.75 * 0.25, rel=1e-15)


def test_tanh_by_hand():
    assert oracle.tanh(numbers(0, math.log(3))).tolist() == pytest.approx([0, 0.8], rel=1e-15)
    dz = oracle.tanh_grad(numbers(5, 5), numbers(0, math.log(3)))
    assert dz.tolist() == pytest.approx([5, 5 * (1 - 0.64)], rel=1e-15)


def test_tails_neither_overflow_nor_lose_everything():
    z = numbers(1e4, -1e4, 710, -710, -745, INF, -INF)
    with np.errstate(all="raise"):
        y = oracle.sigmoid(z)
    assert y[[0, 2, 5]].tolist() == [1, 1, 1]
    assert y[[1, 6]].tolist() == [0, 0]
    assert y[3] == pytest.approx(math.exp(-710), rel=1e-12)
    assert y[4] == pytest.approx(5e-324)
    assert oracle.tanh(z).tolist() == [1, -1, 1, -1, -1, 1, -1]
    assert oracle.sigmoid_grad(np.ones(7), z)[[0, 1, 5, 6]].tolist() == [0, 0, 0, 0]
    assert oracle.tanh_grad(np.ones(7), z).tolist() == [0] * 7


def test_tails_of_the_gradients_are_those_of_the_right_side():
    """sigma'(-z) = sigma'(z) = e^-|z| to first order, tanh'(z) = 4 e^-2|z|."""
    z = precise(numbers(-60, -40, 40))
    dz = oracle.sigmoid_grad(precise(np.ones(3)), z)
    for got, far in zip(dz, (60, 40, 40), strict=True):
        assert abs(got / context().exp(-far) - 1) < 1e-16
    dz = oracle.tanh_grad(precise(np.ones(1)), precise(numbers(-20)))
    assert abs(dz[0] / (4 * context().exp(-40)) - 1) < 1e-14


def test_sigmoid_and_tanh_are_odd_about_their_centre():
    z = precise(np.random.default_rng(1).standard_normal(50) * 8)
    for v, w in zip(oracle.sigmoid(z), oracle.sigmoid(-z), strict=True):
        assert abs(v + w - 1) < 1e-33
    for v, w in zip(oracle.tanh(z), oracle.tanh(-z), strict=True):
        assert v == -w
    double = oracle.sigmoid(2 * z)
    for v, w in zip(oracle.tanh(z), double, strict=True):
        assert abs(v - (2 * w - 1)) < 1e-32


def test_a_nan_stays_one():
    for formula in SMOOTH:
        assert np.isnan(formula(numbers(NAN))).all()


@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (1, 2, 3, 4, 2)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_shape_keeps_shape_and_dtype(shape, dtype):
    z = np.full(shape, 0.5, dtype)
    for formula in (oracle.relu, *SMOOTH):
        y = formula(z)
        assert (y.shape, y.dtype) == (shape, dtype)
    for gradient in (oracle.relu_grad, oracle.sigmoid_grad, oracle.tanh_grad):
        dz = gradient(z, z)
        assert (dz.shape, dz.dtype) == (shape, dtype)
    assert oracle.leaky_relu(z, negative_slope=0.1).shape == shape
    assert oracle.leaky_relu_grad(z, z, negative_slope=0.1).dtype == dtype


@pytest.mark.parametrize(
    "gradient",
    [
        oracle.relu_grad,
        oracle.sigmoid_grad,
        oracle.tanh_grad,
        lambda dy, z: oracle.leaky_relu_grad(dy, z, negative_slope=0.1),
    ],
)
def test_gradients_do_not_broadcast(gradient):
    with pytest.raises(ValueError, match=r"z has shape \[1, 3\], but grad_output has \[2, 3\]"):
        gradient(np.ones((2, 3)), np.ones((1, 3)))
    with pytest.raises(ValueError, match=r"z has shape \[\], but grad_output has \[1\]"):
        gradient(np.ones(1), np.ones(()))
