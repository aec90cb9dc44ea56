"""Every planted fault is caught, whatever the seed; nothing right is ever flagged.

    pytest tests/test_planted.py --planted-seeds 5

tries every fault from all five seeds; by default it is one of them, another one from fault to
fault.
"""

import re
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

import gradoracle
from gradoracle.conformance.backends.backend import FUNCTIONS
from gradoracle.conformance.checking.checks import checks
from gradoracle.conformance.checking.claim import Claim
from gradoracle.conformance.drawing.profiles import PROFILES
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.runs.certify import run_check
from gradoracle.conformance.runs.loading import wrap
from gradoracle.implementations import im2col
from tests.planted import CONTROLS, FAULTS, GAPS, RANKED
from tests.planted.fault import Control, family
from tests.planted.killers import ALL, KILLERS, backends, case_of, is_killed
from tests.planted.ranks import RIGHT

pytestmark = pytest.mark.slow


def test_there_are_faults_of_every_class():
    assert len(FAULTS) >= 130
    assert {f.kind for f in FAULTS.values()} >= {
        "orientation", "height for width", "stride", "dilation", "padding", "remainder", "groups",
        "batch", "normalisation", "tail", "index", "precision", "purity", "state", "empty",
        "unwritten memory", "overlap", "fast path", "bias", "dtype", "type", "narrow", "nan", "tie",
        "divisor", "ceil_mode", "output_padding", "overflow", "infinity", "axis", "option", "shape",
        "aliasing", "refuses legal calls", "accepts illegal calls", "layout", "nondeterminism",
        "subnormal", "raises",
    }  # fmt: skip
    counts = Counter(fault.kind for fault in FAULTS.values())
    assert min(counts.values()) >= 3, counts.most_common()[-5:]


def test_what_the_suite_does_not_catch_is_listed_apart_with_why():
    assert not {*GAPS} & {*FAULTS}
    for name, (fault, reason) in GAPS.items():
        assert name.startswith(fault.function)
        assert reason
        assert callable(getattr(fault.alone(), fault.function))


# In which a right call of each gap's function shows that it is a fault.
SHOWN = {
    "batch_mean_counts_images_in_float16": (lambda: (np.ones((65520, 1), np.float16),), {}),
    "relu_stops_at_16_777_216_elements": (lambda: (np.ones(2**24 + 1, np.float32),), {}),
    "sgd_step_takes_no_step_back": (lambda: (np.ones(3), np.ones(3)), {"learning_rate": -0.5}),
}  # fmt: skip


@pytest.mark.parametrize("name", GAPS)
def test_what_is_listed_apart_is_wrong_all_the_same(name):
    fault, _ = GAPS[name]
    wrong, right = fault.make(), getattr(im2col, fault.function)
    arrays, options = SHOWN[name]
    assert not np.array_equal(
        wrong(*arrays(), **options), right(*arrays(), **options), equal_nan=True
    )


def test_every_function_has_faults_and_every_operator_controls():
    faults = Counter(fault.function for fault in [*FAULTS.values(), *RANKED.values()])
    assert all(faults[name] >= 2 for name in FUNCTIONS if hasattr(im2col, name)), faults
    controls = Counter(control.function.split("_grad")[0] for control in CONTROLS.values())
    operators = {name.split("_grad")[0].removesuffix("_vjp") for name in FUNCTIONS}
    assert all(controls[name] >= 2 for name in operators - {*RIGHT}), controls
    assert {f.function for f in RANKED.values()} == {n for n in FUNCTIONS if re.search("[13]d", n)}


@pytest.mark.usefixtures("verdicts_only")
def test_fault_is_caught_at_the_default_number_of_examples(planted):
    name, seed = planted
    assert is_killed(name, seed)


@pytest.mark.usefixtures("verdicts_only")
def test_a_wrong_killer_costs_time_only(monkeypatch):
    name = "relu_leaks"
    of_a_part = ["alone", "relu", "matches_oracle", "combinations", "no array"]
    for known in (["alone", "relu_grad", "linear"], ["alone", "relu", "linear"], of_a_part, None):
        monkeypatch.setattr("tests.planted.killers.KILLERS", {name: known} if known else {})
        assert is_killed(name, 1)
    monkeypatch.setitem(ALL, name, ALL[name]._replace(make=lambda: im2col.relu))
    monkeypatch.setattr("tests.planted.killers.KILLERS", {name: ["alone", "relu", "linear"]})
    assert not is_killed(name, 1)


@pytest.mark.parametrize("name", sorted(FAULTS)[7::40])
def test_report_is_written_whatever_the_fault(name):
    where, formula, property_, *_ = KILLERS[name]
    judged = wrap(dict(backends(name))[where])
    found = run_check(judged, *case_of(formula, property_), examples=PROFILES["certify"], seed=6)
    if found.status != "mismatch":  # another check finds it from this seed
        alone = FAULTS[name].alone()
        (found,) = gradoracle.check(alone, seed=6, stop_at_first_mismatch=True).mismatches
    assert found.headline
    assert found.text.startswith("SimpleNamespace")


# They call the operator's other functions between two calls of one, which no check's names say.
IN_COMPANY = ("is_stateless", "returns_what_the_protocol_says")


def split(judged, function):
    """Return the checks of a function's operator that call it, and those that do not."""
    calling, others = [], []
    for case in checks([o for o in OPERATORS if o.name == family(function)[0]]):
        named = function in Claim(judged, *case).functions() or case[2].name in IN_COMPANY
        (calling if named else others).append(case)
    return calling, others


@pytest.mark.parametrize("function", ["relu_grad", "linear_grad_input", "max_pool2d_grad_input"])
def test_checks_that_do_not_name_a_function_do_not_call_it(function):
    asked = []

    def spy(*arrays, **options):
        asked.append(options)
        return getattr(im2col, function)(*arrays, **options)

    judged = wrap(Control(function, spy, None).backend())
    calling, others = split(judged, function)
    statuses = [run_check(judged, *case, examples=3, seed=1).status for case in others]
    assert statuses.count("passed") >= 4
    assert not asked
    assert run_check(judged, *calling[0], examples=3, seed=1).status == "passed"
    assert asked


def require_right(control, seed, examples):
    """Require it of the checks that call the function: the others judge what is not replaced."""
    judged = wrap(control.backend())
    calling, _ = split(judged, control.function)
    outcomes = [run_check(judged, *case, examples=examples, seed=seed) for case in calling]
    assert "passed" in {o.status for o in outcomes}
    wrong = [o.reason for o in outcomes if o.status in ("mismatch", "no call")]
    assert not wrong, wrong[0]


@pytest.mark.parametrize("name", RIGHT)
def test_other_right_ways_over_sequences_and_volumes_are_never_flagged(name):
    backend = SimpleNamespace(**{name: RIGHT[name]})
    certificate = gradoracle.check(backend, operators=[name], seed=1, examples=20)
    assert not certificate.mismatches, certificate.text


@pytest.mark.usefixtures("verdicts_only")
@pytest.mark.parametrize("name", CONTROLS)
def test_other_right_ways_to_compute_are_never_flagged(name, request):
    thorough = request.config.getoption("--planted-seeds") > 1
    require_right(CONTROLS[name], seed=1, examples=100 if thorough else 3)
