"""All forms of the documents agree with the formulas, exactly, on every small geometry."""

import numpy as np
import pytest

from oracle.conv2d_forms import FORMS, batch_mean_003
from oracle.formula import ask, evaluate
from tests.calls import random_calls, small_geometries

CASES = [
    pytest.param(formula, form, id=f"{formula.__name__}-{form.name.replace(' ', '_')}")
    for formula, forms in FORMS.items()
    for form in forms
]


@pytest.mark.parametrize(("formula", "form"), CASES)
def test_form_agrees_on_every_small_geometry(formula, form):
    count = 0
    for call in small_geometries():
        want = evaluate(formula, call)
        got = ask(form.function, formula, call)
        assert got.shape == want.shape
        assert (got == want).all(), call
        count += 1
    assert count == 42**2 + 237


@pytest.mark.parametrize(("formula", "form"), CASES)
def test_form_agrees_on_random_geometries(formula, form):
    for call in random_calls(60, seed=7):
        assert (ask(form.function, formula, call) == evaluate(formula, call)).all(), call


@pytest.mark.parametrize(("formula", "form"), CASES)
def test_form_cites_a_document(formula, form):
    del formula
    assert form.source[:3] in ("000", "001", "002", "003")


def test_batch_mean_divides_once_and_refuses_an_empty_batch():
    assert batch_mean_003(np.array([[1.0, 4.0], [3.0, 0.0]])).tolist() == [2.0, 2.0]
    with pytest.raises(ValueError, match="empty batch"):
        batch_mean_003(np.zeros((0, 3)))
