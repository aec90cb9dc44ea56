"""All forms of the documents agree with the formulas, exactly, on every small geometry.

Every small pooling and transposed convolution is in `tests/test_pooling_exhaustive.py`.
"""

import pytest

from gradoracle.oracle.declaration import ask, displayed, evaluate
from gradoracle.oracle.document_forms import conv2d as conv2d_forms
from gradoracle.oracle.document_forms.forms import FORMS
from gradoracle.oracle.formulas.max_pool import max_pool2d_indices
from tests.calls import CALLS, fractions, small_geometries


def cases(forms_of):
    return [
        pytest.param(formula, form, id=f"{formula.__name__}-{form.name.replace(' ', '_')}")
        for formula, forms in forms_of.items()
        for form in forms
    ]


CASES = cases(FORMS)
DOCUMENTS = ("000", "001", "002", "003")


@pytest.mark.slow
@pytest.mark.parametrize(("formula", "form"), cases(conv2d_forms.FORMS))
def test_form_agrees_on_every_small_geometry(formula, form):
    count = 0
    for call in small_geometries():
        want = evaluate(formula, call)
        got = ask(form.function, formula, call)
        assert got.shape == want.shape
        assert (got == want).all(), call
        count += 1
    assert count == 42**2 + 237


@pytest.mark.slow
@pytest.mark.parametrize(("formula", "form"), CASES)
def test_form_agrees_on_random_geometries(formula, form):
    for drawn in CALLS[formula](60, seed=7):
        call = fractions(drawn)  # so that averages are exact
        want, got = evaluate(formula, call), ask(form.function, formula, call)
        assert got.shape == want.shape
        assert (got == want).all(), call


def test_every_operator_with_windows_of_the_documents_has_forms():
    windowed = {
        f for f in CALLS
        if "2d" in f.__name__ and not f.__name__.endswith("bias")
        and displayed(f)[1].startswith(DOCUMENTS)
    }  # fmt: skip
    assert set(FORMS) >= windowed - {max_pool2d_indices}


@pytest.mark.parametrize(("formula", "form"), CASES)
def test_form_cites_a_document(formula, form):
    del formula
    assert form.source.startswith(DOCUMENTS)
