"""One cause is one finding, and no fault hides another one."""

import io
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

import gradoracle
from gradoracle.conformance.backends.backend import FUNCTIONS
from gradoracle.conformance.backends.declines import in_common
from gradoracle.conformance.backends.mismatch import Mismatch
from gradoracle.conformance.backends.registry import wrap
from gradoracle.conformance.checking.causes import folded
from gradoracle.conformance.checking.check_run import examine
from gradoracle.conformance.checking.checks import checks
from gradoracle.conformance.reports.certificate import Certificate, Outcome
from gradoracle.conformance.runs.progress import Progress
from gradoracle.implementations import im2col
from gradoracle.oracle.declaration import optional
from tests.test_true_reports import ORACLE, run

RELU = {"relu": im2col.relu, "relu_grad": im2col.relu_grad}


def certified(operators=("relu",), examples=25, **functions):
    backend = SimpleNamespace(**functions)
    return gradoracle.check(backend, operators=operators, examples=examples, seed=1)


def examined(name, property_name, examples=300, **functions):
    case = next(c for c in checks() if c[1].__name__ == name and c[2].name == property_name)
    return examine(wrap(SimpleNamespace(**functions)), *case, examples=examples, seed=1)


def plus_one(z):
    return im2col.relu(z) + z.dtype.type(1)


def wrong_above_3(grad_output, z):
    return np.where(z > 3, 0, im2col.relu_grad(grad_output, z)).astype(z.dtype)


def test_one_cause_is_one_mismatch():
    certificate = certified(relu=plus_one)
    (found,) = certificate.mismatches
    assert (found.formula, found.property_name) == ("relu", "matches_oracle")
    also = next(o.also for o in certificate.outcomes if o.status == "mismatch")
    assert also == ["within_rounding_bound", "matches_torch", "is_stateless (not checked)"]
    assert (
        "  also fails    within_rounding_bound, matches_torch, is_stateless (not checked)\n"
        "  script        needs NumPy"
    ) in found.text
    status = {o.property_name: (o.status, o.reason) for o in certificate.outcomes
              if o.formula == "relu"}  # fmt: skip
    assert status["matches_torch"][0] == "also fails"
    assert status["is_stateless"] == (
        "not checked", "the plain answer of relu is wrong (see matches_oracle)",
    )  # fmt: skip
    assert certificate.verdict == "NOT CERTIFIED: 1 mismatch"
    assert Certificate.from_json(certificate.to_json()).text() == certificate.text()


def test_witnesses_are_those_that_met_a_wrong_answer_too():
    certificate = certified(**{**RELU, "relu": plus_one})
    assert certificate.witnesses == {
        "exact oracle": True, "finite differences": True, "PyTorch": True,
    }  # fmt: skip
    assert json.loads(certificate.to_json())["witnesses"]["exact oracle"] is True
    assert (
        "witnesses: exact oracle (wrong answers in 2 checks), finite differences, PyTorch (wrong "
        "answers in 1 check)\n"
    ) in certificate.text()


@pytest.mark.slow
def test_a_wrong_forward_pass_is_the_cause_of_wrong_slopes():
    def conv2d(x, weight, bias=None, **options):
        return im2col.conv2d(x, weight, bias, **options) * 2

    names = [name for name in FUNCTIONS if name.startswith("conv2d")]
    functions = {name: getattr(im2col, name) for name in names}
    certificate = certified(("conv2d",), 25, **{**functions, "conv2d": conv2d})
    assert [(m.formula, m.property_name) for m in certificate.mismatches] == [
        ("conv2d", "matches_oracle")
    ]
    also = next(o.also for o in certificate.outcomes if o.status == "mismatch")
    assert "finite_differences of conv2d_grad_weight" in also


def test_outcomes_are_folded_in_any_order():
    outcomes = certified(relu=plus_one).outcomes
    plain = {"relu": ["wrong numbers"]}
    raw = [
        Outcome("x", "relu", name, "mismatch", "relu[0]: got 1, want 0", plain=plain)
        for name in ("is_stateless", "within_rounding_bound", "matches_torch", "matches_oracle")
    ]
    want = {o.property_name: o.status for o in outcomes if o.formula == "relu"}
    for some in (raw, raw[::-1]):
        assert all(o.status == want[o.property_name] for o in folded(some))
    assert folded(folded(raw)) == folded(raw)


@pytest.mark.parametrize("plain", [{}, {"relu": ["shape"]}, {"relu_grad": ["wrong numbers"]}])
def test_what_fails_in_another_way_is_no_repetition(plain):
    raw = [
        Outcome("x", "relu", "matches_oracle", "mismatch", plain={"relu": ["wrong numbers"]}),
        Outcome("x", "relu", "batch_independent", "mismatch", plain=plain),
    ]
    assert [o.status for o in folded(raw)] == ["mismatch", "mismatch"]


def test_a_second_fault_is_its_own_mismatch():
    def linear(x, weight, bias=None):
        y = im2col.linear(x, weight.ravel("K").reshape(weight.shape), bias)
        return y + 1 if len(x) == 3 else y

    found = {m.property_name: m.headline for m in certified(("linear",), linear=linear).mismatches}
    assert set(found) == {"matches_oracle", "ignores_memory_layout"}
    assert "weight lies" in found["ignores_memory_layout"]


@pytest.mark.parametrize("light", ["dtype", "empty"])
def test_a_light_fault_hides_no_grave_one(light):
    def linear(x, weight, bias=None):
        if light == "dtype" and x.dtype == np.float64:
            return im2col.linear(x, weight, bias).astype(np.float32)
        if light == "empty" and not len(x):
            raise IndexError("no rows")
        y = im2col.linear(x, weight, bias)
        return y + y.dtype.type(1) if len(x) > 4 else y

    outcome = examined("linear", "matches_oracle", linear=linear)
    assert "want" in outcome.reason
    assert "dtype" not in outcome.reason
    assert outcome.mismatch.arguments["x"]["shape"][0] == 5
    said = {"dtype": "got dtype float32, want float64", "empty": "raised IndexError: no rows"}
    assert [said[light] in one for one in outcome.also_seen] == [True]
    assert "also seen" in outcome.mismatch.text


def test_only_the_light_fault_is_reported_where_there_is_no_other():
    def relu(z):
        return im2col.relu(z).astype(np.float32)

    outcome = examined("relu", "matches_oracle", relu=relu)
    assert outcome.reason == "relu: got dtype float32, want float64"
    assert outcome.also_seen == []


@pytest.mark.parametrize(
    ("at_large", "kind"),
    [(lambda y: y[:-1], "shape"), (lambda y: y.astype(np.float16), "dtype"), (None, "raised")],
)
def test_a_counterexample_stays_of_its_kind(at_large, kind):
    """Wrong numbers everywhere else are no smaller example of a wrong shape."""

    def linear(x, weight, bias=None):
        y = im2col.linear(x, weight, bias)
        if len(x) < 5:
            return y
        if at_large is None:
            raise OSError("no device")
        return at_large(y)

    first = examined("linear", "matches_oracle", linear=linear)
    assert Mismatch(first.reason).kind.startswith(kind)

    def small_ones_wrong_too(x, weight, bias=None):
        y = linear(x, weight, bias)
        return y + 1 if len(x) == 2 else y

    both = examined("linear", "matches_oracle", linear=small_ones_wrong_too)
    kinds = [Mismatch(text).kind for text in (both.reason, *both.also_seen)]
    assert {one.split(" ")[0] for one in kinds} == {"wrong", kind.split(" ")[0]}
    size = both.mismatch.arguments["x"]["shape"][0]
    assert size == (2 if kinds[0] == "wrong numbers" else 5)


@pytest.mark.parametrize("name", ["gradient_is_the_slope", "finite_differences"])
def test_nothing_is_made_smaller_onto_a_kink(name):
    outcome = examined("relu_grad", name, **{**RELU, "relu_grad": wrong_above_3})
    assert max(outcome.mismatch.arguments["z"]["data"]) > 3
    assert run(outcome.mismatch.script, {**RELU, "relu_grad": wrong_above_3}) is not None
    assert run(outcome.mismatch.script, ORACLE) is None


def test_a_property_that_fails_for_the_oracle_blames_nobody():
    def check(backend, operator, formula, call):
        del operator
        backend.ask(formula, call)
        raise Mismatch("relu[0]: got 1, want 0")

    operator, formula, property_ = next(c for c in checks() if c[2].name == "matches_torch")
    wrong = replace(property_, check=check)
    backend = wrap(SimpleNamespace(**{n: getattr(im2col, n) for n in im2col.__all__}))
    outcome = examine(backend, operator, formula, wrong, examples=10, seed=1)
    assert outcome.status == "no call"
    assert outcome.disputed > 0


@pytest.mark.slow
def test_a_threshold_far_above_half_of_what_was_drawn_is_found():
    def relu(z):
        y = im2col.relu(z).copy()
        y.reshape(-1)[2049:] = 0
        return y

    for seed in (1, 2):
        case = next(
            c for c in checks() if c[1].__name__ == "relu" and c[2].name == "matches_oracle"
        )
        outcome = examine(wrap(SimpleNamespace(relu=relu)), *case, examples=300, seed=seed)
        assert outcome.mismatch.arguments["z"]["shape"][-1] == 2050


def test_only_wrong_elements_are_listed():
    def sigmoid(z):
        y = im2col.sigmoid(z).copy()
        if y.size > 2:
            y.flat[1] = np.nan
        return y

    outcome = examined("sigmoid", "within_rounding_bound", sigmoid=sigmoid)
    assert "no rounding explains that" in outcome.reason
    listed = [line for line in outcome.mismatch.text.splitlines() if "]: got nan" in line]
    assert len(listed) == 2  # the headline and one element
    assert "; 1 of " in outcome.reason


def test_where_nan_is_right_it_is_what_is_wanted():
    def conv2d(x, weight, bias=None, **options):
        return np.nan_to_num(im2col.conv2d(x, weight, bias, **options), nan=7)

    outcome = examined("conv2d", "propagates_non_finite", conv2d=conv2d)
    assert "got 7.0, want nan" in outcome.reason
    assert "want 0.0 (" not in outcome.reason


@pytest.mark.slow
def test_the_certificate_says_what_was_declined():
    def guarded(name):
        def function(*arrays, **options):
            if options["groups"] > 1:
                raise NotImplementedError
            return getattr(im2col, name)(*arrays, **options)

        return function

    names = ("conv2d", "conv2d_grad_input")
    text = certified(("conv2d",), 40, **{name: guarded(name) for name in names}).text()
    assert "; declined: groups > 1)" in text
    assert "    conv2d declined " in text
    assert " with groups > 1\n" in text
    assert "other options" not in text


def test_declines_have_in_common_what_was_never_answered():
    counts = {"all": [10, 0], "groups > 1": [7, 0], "float64": [5, 9], "an empty array": [1, 0]}
    assert in_common(counts) == {"groups > 1": 7, "an empty array": 1, "other options": 2}
    assert in_common({"all": [3, 0], "float32": [3, 1]}) == {"other options": 3}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("examples", "said"),
    [(25, "(quick: 25 geometries a check; 2 of 2"), (30, "(short: 30 geometries a check; 2 of 2"),
     (300, "(2 of 2 formulas")],
)  # fmt: skip
def test_a_short_look_reads_like_one(examples, said):
    assert f"CERTIFIED {said}" in certified(examples=examples, **RELU).text()


def test_progress_counts_one_cause_once():
    progress = Progress(Console(file=io.StringIO(), width=100), "x", 2)
    plain = {"relu": ["wrong numbers"]}
    for name in ("matches_oracle", "matches_torch"):
        progress.update(Outcome("x", "relu", name, "mismatch", "relu[0]: wrong", plain=plain))
    assert progress.state == "2 of 2 checks, 0 calls, 1 mismatch"


def test_what_may_be_none_is_what_the_signature_says():
    def biased(x, bias, *, scale):
        return x + bias * scale

    def unbiased(x, weight, shift=None, *, scale):
        return x, weight, shift, scale

    assert optional(biased) == ()
    assert optional(unbiased) == ("shift",)


@pytest.mark.slow
@pytest.mark.parametrize("examples", [25, 300])
def test_infinity_is_no_cause_of_its_own_where_large_numbers_are_wrong_too(examples):
    certificate = certified(examples=examples, relu=im2col.relu, relu_grad=wrong_above_3)
    (found,) = certificate.mismatches
    assert found.formula == "relu_grad"
    assert "z float32[1] = [4.0]" in found.text


def test_without_a_plain_check_the_first_that_asks_for_plain_answers_is_the_cause():
    """PyTorch's beside it and state fail on one wrong answer that no drawn call of `PLAIN` met."""
    torch, state, other = (
        Outcome("b", "relu", name, "mismatch", plain={"relu": [kind]})
        for name, kind in (("matches_torch", "k"), ("is_stateless", "k"), ("linear", "another"))
    )
    marked = folded([state, torch])
    assert [(one.property_name, one.status) for one in marked] == [
        ("is_stateless", "not checked"), ("matches_torch", "mismatch"),
    ]  # fmt: skip
    assert folded([torch, state]) == marked[::-1]
    assert [one.status for one in folded([state])] == ["mismatch"]
    assert {one.status for one in folded([other, state])} == {"mismatch"}
