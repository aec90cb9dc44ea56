"""A check that is broken certifies nothing: wrong answers are planted in every run."""

from dataclasses import replace

import numpy as np
import pytest

import gradoracle
from gradoracle import oracle
from gradoracle.conformance.backends.isolation.workers import available
from gradoracle.conformance.backends.registry import IN_PROCESS, ISOLATED, wrap
from gradoracle.conformance.checking.check_run import examine
from gradoracle.conformance.checking.self_test import MANY, blindness
from gradoracle.conformance.drawing.values import EXACT
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.operators.linear import LINEAR
from gradoracle.conformance.properties import PROPERTIES, comparison
from gradoracle.conformance.reports.certificate import UNCLAIMED
from gradoracle.conformance.runs.certify import checks
from gradoracle.implementations import im2col
from gradoracle.oracle.expected.truth import truth

pytestmark = pytest.mark.slow


def accepts_everything(*arguments, **options):
    return 0.0


def nothing_is_wrong(backend, formula, call, got):
    right = np.zeros(got.shape, bool)
    return comparison.Verdict(right, True, np.zeros(got.shape), truth(formula, call))  # noqa: FBT003


BROKEN = {
    "gradoracle.conformance.properties.expected.require_truth": (
        accepts_everything, {"matches_oracle", "within_rounding_bound"},
    ),
    "gradoracle.conformance.properties.comparison.verdict": (
        nothing_is_wrong, {"matches_oracle", "within_rounding_bound"},
    ),
    "gradoracle.conformance.properties.identities.require_close": (
        accepts_everything, {"linear", "batch_independent"},
    ),
    "gradoracle.conformance.properties.references.require_close": (
        accepts_everything, {"matches_torch"},
    ),
    "gradoracle.conformance.properties.interface.is_same": (
        lambda one, other: True, {"ignores_memory_layout"},
    ),
    "gradoracle.conformance.backends.backend.is_same": (
        lambda one, other: True, {"leaves_inputs_unchanged"},
    ),
    "gradoracle.conformance.backends.backend.Backend.refuses": (
        lambda self, formula, call, layout="": (True, ""), {"rejects_bad_arguments"},
    ),
    "gradoracle.conformance.properties.scale.require_layer": (
        accepts_everything, {"holds_at_scale"},
    ),
    "gradoracle.conformance.properties.special_values.require_truth": (
        accepts_everything, {"propagates_non_finite", "keeps_subnormals"},
    ),
    "gradoracle.conformance.properties.slopes.inner": (lambda *a: 0, {"gradient_is_the_slope"}),
}  # fmt: skip


@pytest.mark.parametrize("part", BROKEN)
def test_a_broken_part_of_the_suite_is_told(part, monkeypatch):
    broken, properties = BROKEN[part]
    monkeypatch.setattr(part, broken)
    for name in properties:
        one = next(c for c in checks() if (c[1], c[2].name) == (oracle.linear_grad_weight, name))
        outcome = examine(wrap(im2col), *one, examples=300, seed=1)
        assert outcome.status == "blind"
        assert "the suite itself is broken" in outcome.reason


def test_a_judge_that_is_slightly_too_kind_is_told(monkeypatch):
    strict = comparison.verdict

    def kind(backend, formula, call, got):
        found = strict(backend, formula, call, got)
        near = np.isclose(got, found.right.as_float(got.dtype), rtol=1e-6, atol=0)
        return found._replace(wrong=found.wrong & ~near)

    monkeypatch.setattr(comparison, "verdict", kind)
    certificate = gradoracle.check(im2col, operators=["linear"], examples=100, seed=1)
    assert "matches_oracle" in {
        o.property_name for o in certificate.outcomes if o.status == "blind"
    }
    assert not certificate.passed
    assert "the suite itself is broken" in certificate.why_not


@pytest.mark.parametrize("confinement", [IN_PROCESS, ISOLATED])
@pytest.mark.parametrize("operator", ["conv2d", "max_pool2d", "softmax", "relu", "linear"])
def test_every_check_of_a_right_backend_rejects_what_is_planted(operator, confinement):
    if confinement is ISOLATED and not available():
        pytest.skip("this system cannot isolate")
    certificate = gradoracle.check(
        "im2col", operators=[operator], examples=10, seed=2, confinement=confinement
    )
    assert certificate.passed
    assert all(o.planted for o in certificate.outcomes if o.status != UNCLAIMED)


def test_where_few_calls_were_judged_a_lie_that_fits_says_nothing():
    accepting = replace(PROPERTIES["linear"], check=accepts_everything)
    call = LINEAR.call({"images": 1, "inputs": 1, "outputs": 1, "bias": 0}, EXACT[0], 1, "float32")
    for count, said in ((MANY - 1, False), (MANY, True)):
        _, reason = blindness(wrap(im2col), LINEAR, oracle.linear, accepting, [call] * count)
        assert bool(reason) == said


def test_what_is_printed_counts_them():
    certificate = gradoracle.check(im2col, operators=["relu"], examples=20, seed=1)
    assert f"planted wrong answers: {sum(o.planted for o in certificate.outcomes)} rejected" in (
        certificate.text()
    )


def test_nothing_is_planted_where_nothing_bounds_an_answer():
    """Of one column and an eps of 1e-12 the variance may be rounded to less than nothing."""
    call = {
        "x": np.full((1, 3, 1), 4, np.float32), "weight": np.ones(1, np.float32),
        "bias": np.ones(1, np.float32), "eps": 1e-12,
        "grad_output": np.ones((1, 3, 1), np.float32),
    }  # fmt: skip
    operator = next(one for one in OPERATORS if one.name == "layer_norm")
    given = wrap(im2col)
    check = PROPERTIES["within_rounding_bound"]
    wider = {**call, "x": np.arange(12, dtype=np.float32).reshape(1, 3, 4)}
    wider |= {n: np.ones(4, np.float32) for n in ("weight", "bias")}
    wider["grad_output"] = np.ones((1, 3, 4), np.float32)
    calls = [call, call, call, wider]
    assert blindness(given, operator, oracle.layer_norm_vjp, check, calls) == (3, "")
    assert blindness(given, operator, oracle.layer_norm_grad_x, check, calls) == (1, "")
    rejected, reason = blindness(given, operator, oracle.layer_norm_grad_x, check, [call] * 3)
    assert rejected == 0
    assert reason == "nothing bounds any answer of layer_norm_grad_x: wrong ones would pass"
