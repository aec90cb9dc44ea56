"""Ways in which libraries write activations are right, and coarser ones are not."""

from types import SimpleNamespace

import numpy as np
import pytest

import gradoracle


def certified(function, dtype):
    def hardsigmoid(z):
        return np.clip(function(z), 0, 1).astype(z.dtype)

    backend = SimpleNamespace(hardsigmoid=hardsigmoid, contract={"dtypes": [dtype]})
    return gradoracle.check(backend, operators=["hardsigmoid"], examples=100, seed=1)


def by_sum(z):
    return (z + z.dtype.type(3)) / z.dtype.type(6)


def by_share(z):
    return z / z.dtype.type(6) + z.dtype.type(0.5)


def by_powers_of_two(x):
    """Return e^x as Triton computes it."""
    return np.exp2(x * x.dtype.type(1.4426950408889634))


@pytest.mark.parametrize("seed", range(1, 5))
def test_powers_of_e_may_be_powers_of_two(seed):
    def sigmoid(z):
        with np.errstate(over="ignore"):
            return 1 / (1 + by_powers_of_two(-z))

    backend = SimpleNamespace(
        sigmoid=sigmoid, silu=lambda z: z * sigmoid(z), contract={"dtypes": ["float32"]},
        elu=lambda z, *, alpha: np.where(z > 0, z, z.dtype.type(alpha) * (by_powers_of_two(z) - 1)),
    )  # fmt: skip
    found = gradoracle.check(backend, examples=100, seed=seed, operators=["sigmoid", "silu", "elu"])
    assert not found.mismatches, found.mismatches[0].text


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("function", [by_sum, by_share])
def test_either_way_is_certified(function, dtype):
    certificate = certified(function, dtype)
    assert not certificate.mismatches, certificate.mismatches[0].text


@pytest.mark.parametrize(
    ("function", "dtype"),
    [
        (lambda z: z * np.float32(0.2) + np.float32(0.5), "float32"),  # Theano's slope
        (lambda z: z * np.float64(np.float32(1 / 6)) + 0.5, "float64"),
    ],
)
def test_another_slope_is_a_mismatch(function, dtype):
    assert certified(function, dtype).mismatches
