"""The search for calls on which right backends come nearest to their bounds."""

import re

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


def test_a_right_backend_stays_within_its_bounds(capsys):
    assert climb.main([*GRADIENT, "--steps", "3"]) == 0
    said = capsys.readouterr().out
    assert said.count("im2col float64 cross_entropy_loss") == 2
    assert "0 above 1" in said


def test_all_results_and_all_switches_are_searched(capsys, monkeypatch):
    met = []

    def climbed(backend, formula, start, random, steps, own=climb.climbed):
        met.append((formula.__name__, {one.call.get("approximate") for one in start}))
        return own(backend, formula, start, random, steps)

    monkeypatch.setattr(climb, "climbed", climbed)
    few = ["--backends", "im2col", "--dtypes", "float32", "--steps", "2"]
    assert climb.main([*few, "--operators", "adam_step", "gelu"]) == 0
    assert [name for name, _ in met] == ["gelu", "gelu_grad", "adam_step"]
    assert met[0][1] == {"none", "tanh"}
    assert re.search(r"adam_step: 0\.[1-9]", capsys.readouterr().out)


def test_an_unknown_operator_is_not_searched(capsys):
    assert climb.main(["--operators", "adam"]) == 2
    assert "no operator 'adam'" in capsys.readouterr().err


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
