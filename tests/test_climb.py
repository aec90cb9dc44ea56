"""The search for calls on which right backends come nearest to their bounds."""

import numpy as np
import pytest

from gradoracle.oracle.numbers import many
from tests.power import climb

GRADIENT = ["--operators", "cross_entropy_loss", "--backends", "im2col", "--dtypes", "float64"]


def test_a_bound_that_is_too_small_by_a_rounding_is_found(monkeypatch, capsys):
    monkeypatch.setattr(many, "scaled_last", lambda held: held)
    assert climb.main(GRADIENT) == 1
    said = capsys.readouterr().out
    assert "cross_entropy_loss_grad: 1." in said
    assert "input=np.array([[" in said
    assert "1 above 1" in said


def test_the_search_starts_from_the_calls_that_are_nearest(capsys):
    assert climb.main([*GRADIENT, "--steps", "3"]) == 0
    said = capsys.readouterr().out
    assert said.count("im2col float64 cross_entropy_loss") == 2
    assert "0 above 1" in said


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_changed_call_is_of_the_same_shapes_and_signs(dtype):
    random = np.random.default_rng(1)
    array = random.standard_normal((3, 4)).astype(dtype)
    call = {"input": array, "target": np.arange(3), "weight": None, "reduction": "sum"}
    several = [climb.changed(call, random) for _ in range(50)]
    assert all(one["target"] is call["target"] for one in several)
    assert all((np.sign(one["input"]) == np.sign(array)).mean() > 0.9 for one in several)
    assert all(one["input"].dtype == dtype for one in several)
    assert sum((one["input"] != array).any() for one in several) > 10
