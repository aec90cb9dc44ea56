"""What is said of the probability that a wrong sum of products passes, tried on drawn numbers."""

import math

import numpy as np
import pytest

import gradoracle
from gradoracle.conformance.drawing.values import SMALL, Style, small_integers, styles
from gradoracle.conformance.reports.certificate import Outcome
from gradoracle.conformance.reports.chance import chance, likeliest
from gradoracle.implementations import im2col
from gradoracle.oracle.float_formats import FORMATS

COUNT, LENGTH = 20_000, 4
ODDLY = 5  # standard deviations that a share is never off by


def passing(coefficients):
    """Return the share of drawn calls on which a polynomial with one number of each factor is 0."""
    names = "wxyz"[: coefficients.ndim]
    shapes = dict.fromkeys(names, (COUNT, LENGTH))
    arrays = small_integers(np.random.default_rng(5), shapes, FORMATS["float32"])
    terms = ",".join(f"n{name}" for name in names)
    values = np.einsum(f"{terms},{names}->n", *arrays.values(), coefficients)
    return float((values == 0).mean())


def noise(share):
    return ODDLY * math.sqrt(share * (1 - share) / COUNT)


@pytest.mark.parametrize("factors", [1, 2, 3])
def test_a_single_wrong_product_passes_as_often_as_is_said(factors):
    coefficients = np.zeros((LENGTH,) * factors)
    coefficients[(0,) * factors] = 3
    assert abs(passing(coefficients) - chance(factors)) <= noise(chance(factors))


@pytest.mark.parametrize("factors", [1, 2, 3])
@pytest.mark.parametrize("seed", range(20))
def test_nothing_wrong_passes_more_often(factors, seed):
    random = np.random.default_rng(seed)
    coefficients = random.integers(-2, 3, (LENGTH,) * factors) * (
        random.random((LENGTH,) * factors) < random.choice((0.1, 0.4, 1))
    )
    coefficients[(0,) * factors] = random.choice((-1, 1))  # else it may be right
    assert passing(coefficients) <= chance(factors) + noise(chance(factors))


def test_shapes_with_their_own_integers_are_counted():
    found = gradoracle.check(im2col, operators=["linear", "relu"], examples=20, seed=1)
    exact = {o.formula: o for o in found.outcomes if o.property_name == "matches_oracle"}
    assert exact["relu"].even_shapes == 0
    for name in ("linear", "linear_grad_input", "linear_grad_weight", "linear_grad_bias"):
        assert 5 <= exact[name].even_shapes <= exact[name].shapes
    others = [o for o in found.outcomes if o.property_name != "matches_oracle"]
    assert {o.even_shapes for o in others} == {0}
    formula, shapes, single, power = likeliest(found.outcomes)
    assert (shapes, single) == (exact[formula].even_shapes, chance(2))
    words = " ".join(found.text().split())
    assert f"with probability at most 0.21; at all {shapes} shapes of {formula}" in words
    assert f"with at most 1e{math.floor(power)}" in words


def test_the_formula_with_the_fewest_shapes_is_told():
    counts = {"conv2d": 30, "conv2d_grad_bias": 9, "conv2d_grad_weight": 9, "linear": 0}
    outcomes = [
        Outcome("b", name, "matches_oracle", "passed", even_shapes=count)
        for name, count in counts.items()
    ]
    assert likeliest(outcomes)[:2] == ("conv2d_grad_weight", 9)
    assert likeliest([one for one in outcomes if one.formula == "linear"]) is None


def test_only_the_style_of_even_integers_is_counted():
    assert [one.evenly for one in styles(small_integers)] == [True]
    assert Style("other", small_integers).evenly is False
    drawn = small_integers(np.random.default_rng(1), {"x": (9000,)}, FORMATS["float32"])["x"]
    numbers, counts = np.unique(drawn, return_counts=True)
    assert [*numbers] == [*SMALL]
    assert abs(counts - 1000).max() < ODDLY * 30
