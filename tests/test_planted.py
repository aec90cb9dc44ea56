"""Every planted fault is caught, whatever the seed; nothing right is ever flagged."""

import pytest

import conformance
from tests.planted.conv2d import CONTROLS, FAULTS, backend

SEEDS = (1, 2, 3, 4, 5)


def test_there_are_faults_of_every_class():
    assert len(FAULTS) >= 40
    assert {f.kind for f in FAULTS.values()} >= {
        "orientation", "height for width", "stride", "dilation", "padding", "remainder", "groups",
        "batch", "normalisation", "tail", "index", "precision", "purity", "state", "empty",
        "unwritten memory", "overlap", "fast path", "bias", "dtype", "type",
    }  # fmt: skip


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_caught_at_the_default_number_of_examples(name, seed):
    certificate = conformance.check(FAULTS[name].backend(), seed=seed, stop_at_first_mismatch=True)
    assert not certificate.passed
    assert certificate.mismatches, certificate.why_not


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", CONTROLS)
def test_other_right_ways_to_compute_are_never_flagged(name, seed):
    certificate = conformance.check(backend(**CONTROLS[name]), seed=seed, examples=120)
    assert certificate.passed, certificate.mismatches[0].text
