"""What a contract can claim beside right values: bits, threads, `out`, `output_mask`."""

from collections import Counter
from types import SimpleNamespace

import pytest

from gradoracle.conformance.checking.check_run import examine
from gradoracle.conformance.checking.checks import checks
from gradoracle.conformance.drawing.profiles import PROFILES
from gradoracle.conformance.runs.loading import wrap
from gradoracle.implementations import im2col as good
from tests.planted.claims import PROPERTY, RIGHT, WRONG
from tests.planted.killers import verdicts_only
from tests.planted.state import sums_from_another_image_each_time

SEEDS = range(1, 6)
CASES = {(formula.__name__, one.name): (o, formula, one) for o, formula, one in checks()}


def outcome_of(planted, seed, examples=PROFILES["certify"]):
    case = CASES[planted.formula, PROPERTY[planted.policy]]
    return examine(wrap(planted.backend()), *case, examples=examples, seed=seed)


def test_every_claim_has_eight_faults_and_two_right_ways():
    assert min(Counter(one.policy for one in WRONG.values()).values()) >= 8
    assert min(Counter(one.policy for one in RIGHT.values()).values()) >= 3
    assert {one.policy for one in WRONG.values()} == {*PROPERTY}


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
    assert outcome.judged


def test_repeats_are_observed_where_they_are_not_claimed():
    of_one_order = SimpleNamespace(linear_grad_weight=good.linear_grad_weight)
    changing = SimpleNamespace(linear_grad_weight=sums_from_another_image_each_time())
    for backend, differs in ((of_one_order, False), (changing, True)):
        case = CASES["linear_grad_weight", "is_deterministic"]
        outcome = examine(wrap(backend), *case, examples=2, seed=1)
        assert outcome.status == "not claimed"
        differing, made = outcome.repeated
        assert made == 8
        assert bool(differing) == differs
        assert outcome.unrepeatable == (
            f"linear_grad_weight: repeats differ in {differing} of 8 calls" if differs else ""
        )
