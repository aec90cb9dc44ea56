"""Every misconception, put into a backend, is caught and called by its name."""

from types import SimpleNamespace

import numpy as np
import pytest

from gradoracle.conformance.backends.registry import wrap
from gradoracle.conformance.checking.check_run import examine
from gradoracle.conformance.misconceptions import MISCONCEPTIONS
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.properties import PROPERTIES
from gradoracle.implementations import im2col
from gradoracle.oracle.declaration import argument_names, output_of

pytestmark = pytest.mark.slow

GOOD = {name: getattr(im2col, name) for name in im2col.__all__}
FORMULAS = {f.__name__: (o, f) for o in OPERATORS for f in o.formulas}
CASES = [
    pytest.param(m, name, id=f"{name}: {m.sentence[:60]}")
    for m in MISCONCEPTIONS
    for name in m.functions
]


def misled(misconception, operator, formula):
    """Return a backend of an operator whose one function means something else."""
    positional, _ = argument_names(formula)
    function, place = output_of(formula)
    right = GOOD[function]

    def wrong(*arrays, **options):
        call = {**dict(zip(positional, arrays, strict=False)), **options}
        result = right(*arrays, **options)
        given = misconception.answer(formula, completed(call, formula))
        good = result if place is None else result[place]
        if given is None:
            return result
        given = np.asarray(given, np.asarray(good).dtype)
        if place is None:
            return given
        return tuple(given if at == place else part for at, part in enumerate(result))

    own = {output_of(f).function for f in operator.formulas}
    return SimpleNamespace(**{n: GOOD[n] for n in GOOD if n in own} | {function: wrong})


def completed(call, formula):
    """Return the arguments with what other formulas of the operator are given, for the bends."""
    extra = {}
    if "grad_output" not in call:
        extra["grad_output"] = np.zeros(())
    if "input_shape" not in call and "x" in call:
        extra["input_shape"] = call["x"].shape
    if formula.__name__ in ("max_pool2d_values", "max_pool2d_indices", "avg_pool2d"):
        extra["grad_output"] = np.zeros(formula(call["x"], **{
            n: call[n] for n in argument_names(formula)[1]}).shape)  # fmt: skip
    return {**extra, **call}


@pytest.fixture
def not_minimised(monkeypatch):
    """Let no counterexample be made small, nor graver faults be looked for.

    Both take longer than to name what explains the first.
    """
    monkeypatch.setattr("gradoracle.conformance.checking.examination.FURTHER", 2)
    monkeypatch.setattr(
        "gradoracle.conformance.checking.minimising.smallest_sizes", lambda *_: None
    )
    monkeypatch.setattr(
        "gradoracle.conformance.checking.minimising.simplest_numbers", lambda *_: None
    )
    monkeypatch.setattr("gradoracle.conformance.checking.check_run.domain_hint", lambda *_: "")


@pytest.mark.usefixtures("not_minimised")
@pytest.mark.parametrize(("misconception", "name"), CASES)
def test_misconception_is_caught_and_named(misconception, name):
    operator, formula = FORMULAS[name]
    prop = PROPERTIES["matches_oracle" if operator.styles.exact else "within_rounding_bound"]
    outcome = examine(
        wrap(misled(misconception, operator, formula)),
        operator,
        formula,
        prop,
        examples=600,
        seed=1,
    )
    assert outcome.status == "mismatch"
    assert misconception.sentence in outcome.mismatch.looks_like, outcome.mismatch.text
