"""Both ways in which libraries write the hard sigmoid are right, and coarser ones are not."""

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
