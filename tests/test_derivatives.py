"""Forward mode and second backward passes: faults are caught, right ways are not flagged."""

from collections import Counter

import pytest

from gradoracle.conformance.checking.check_run import examine
from gradoracle.conformance.checking.checks import checks
from gradoracle.conformance.drawing.profiles import PROFILES
from gradoracle.conformance.runs.loading import load, wrap
from tests.planted.derivatives import PROPERTY, RIGHT, WRONG
from tests.planted.killers import verdicts_only

SEEDS = range(1, 6)
CASES = {(formula.__name__, one.name): (o, formula, one) for o, formula, one in checks()}


def outcome_of(planted, seed):
    case = CASES[planted.formula, PROPERTY[planted.ending]]
    return examine(wrap(planted.backend()), *case, examples=PROFILES["certify"], seed=seed)


def test_both_have_eight_faults_and_three_right_ways():
    for table, least in ((WRONG, 8), (RIGHT, 3)):
        counts = Counter(one.ending for one in table.values())
        assert {*counts} == {*PROPERTY}
        assert min(counts.values()) >= least


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", WRONG)
def test_fault_is_caught(name, seed, monkeypatch):
    verdicts_only(monkeypatch.setattr)
    outcome = outcome_of(WRONG[name], seed)
    assert (outcome.status, outcome.disputed) == ("mismatch", 0), outcome.reason


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", RIGHT)
def test_right_way_is_not_flagged(name, seed):
    outcome = outcome_of(RIGHT[name], seed)
    assert outcome.status == "passed", outcome.text
    assert not outcome.disputed
    assert outcome.planted


@pytest.mark.parametrize("function", ["conv2d", "linear", "gelu"])
def test_pytorchs_derivatives_are_right(function):
    pytest.importorskip("torch")
    for name in PROPERTY.values():
        if (function, name) in CASES:
            outcome = examine(load("torch"), *CASES[function, name], examples=10, seed=1)
            assert outcome.status == "passed", outcome.text


def test_a_function_that_is_not_there_is_not_claimed():
    backend = load("im2col")
    for name in PROPERTY.values():
        outcome = examine(backend, *CASES["conv2d", name], examples=2, seed=1)
        assert outcome.status == "not claimed"
        assert outcome.reason.startswith("the backend has no NAME_")
