"""A check that fails for a known cause makes the cause's call again, and says the same."""

import gc
from dataclasses import replace
from types import SimpleNamespace

import pytest

import gradoracle
from gradoracle.conformance.backends.registry import wrap
from gradoracle.conformance.checking.call_list import judge_drawn
from gradoracle.conformance.checking.causes import folded
from gradoracle.conformance.checking.check_run import examine
from gradoracle.conformance.checking.checks import checks
from gradoracle.conformance.checking.examination import Examination
from gradoracle.conformance.checking.minimising import Minimiser
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.operators.textbook import with_ones
from gradoracle.conformance.properties import PROPERTIES, NotJudged
from gradoracle.conformance.runs.garbage import YOUNG, seldom_collected
from gradoracle.implementations import im2col
from gradoracle.oracle import conv2d_grad_weight, relu

CONV2D = next(one for one in OPERATORS if one.name == "conv2d")


def plus_one_past_a_row(z):
    return (im2col.relu(z) + (z.size > 5)).astype(z.dtype)


def outcomes_of(backends, names, examples=40):
    """Yield the outcomes of relu's checks, each of the next backend."""
    for name in names:
        case = next(c for c in checks() if c[1] is relu and c[2].name == name)
        yield examine(next(backends), *case, examples=examples, seed=1)


NAMES = ("matches_oracle", "within_rounding_bound", "is_stateless")


def test_repeats_are_not_made_smaller(monkeypatch):
    minimised = []
    whole = Minimiser.minimise

    def counted(self):
        minimised.append(self.exam.property.name)
        return whole(self)

    monkeypatch.setattr(Minimiser, "minimise", counted)
    backend = wrap(SimpleNamespace(relu=plus_one_past_a_row))
    found = [*outcomes_of(iter([backend] * 3), NAMES)]
    assert [one.status for one in found] == ["mismatch"] * 3
    assert minimised == ["matches_oracle"]
    assert {one.mismatch.arguments["z"]["shape"][0] for one in found} == {6}


def test_certificate_does_not_depend_on_what_was_checked_before():
    one = wrap(SimpleNamespace(relu=plus_one_past_a_row))
    each = (wrap(SimpleNamespace(relu=plus_one_past_a_row)) for _ in NAMES)
    together, apart = (
        [replace(o, seconds=0.0) for o in folded([*outcomes_of(backends, NAMES)])]
        for backends in (iter([one] * 3), each)
    )
    assert [o.status for o in together] == ["mismatch", "also fails", "not checked"]
    for a, b in zip(together, apart, strict=True):
        assert (a.status, a.reason, a.plain, a.also_seen) == (
            b.status,
            b.reason,
            b.plain,
            b.also_seen,
        )
    assert together[0].mismatch.headline == apart[0].mismatch.headline
    assert together[0].mismatch.arguments == apart[0].mismatch.arguments


def test_another_cause_is_made_small_by_itself():
    def wrong_and_changing(z):
        answer = plus_one_past_a_row(z)
        z[...] = 0
        return answer

    names = ("matches_oracle", "leaves_inputs_unchanged")
    backend = wrap(SimpleNamespace(relu=wrong_and_changing))
    first, second = outcomes_of(iter([backend] * 2), names)
    assert first.mismatch.arguments["z"]["shape"] == [6]
    assert "changed its argument z" in second.reason
    assert second.mismatch.arguments["z"]["shape"] == [1]
    assert [one.status for one in folded([first, second])] == ["mismatch"] * 2


def examination(name, examples):
    backend = wrap(im2col)
    return Examination(backend, CONV2D, conv2d_grad_weight, PROPERTIES[name], 1, examples)


@pytest.mark.parametrize("name", ["linear", "batch_independent", "finite_differences"])
def test_relations_take_dtypes_in_turn_once_each_was_met(name):
    exam = examination(name, 300)
    claimed = [*exam.dtypes()]
    assert {*exam.dtypes_for(1)} == {*claimed}
    exam.calls.update({(dtype, "free"): 1 for dtype in claimed})
    drawn = [exam.dtypes_for(seed * 2654435761 % 2**32) for seed in range(400)]
    assert {len(one) for one in drawn} == {1}
    counts = [sum([dtype] == one for one in drawn) for dtype in claimed]
    assert min(counts) >= 400 / len(claimed) / 2, dict(zip(claimed, counts, strict=True))


def test_numbers_and_short_runs_are_checked_in_every_dtype():
    for name, examples in (("matches_oracle", 300), ("linear", 25)):
        exam = examination(name, examples)
        exam.calls.update({(dtype, "free"): 1 for dtype in exam.dtypes()})
        for seed in range(20):
            assert {"float32", "float64"} <= {*exam.dtypes_for(seed)}


def test_collector_is_left_as_it_was():
    before = gc.get_threshold(), gc.get_freeze_count(), gc.isenabled()
    with seldom_collected():
        assert gc.get_threshold()[0] == max(YOUNG, before[0][0])
        assert gc.get_freeze_count() > 0
    assert (gc.get_threshold(), gc.get_freeze_count(), gc.isenabled()) == before


@pytest.mark.slow
def test_collector_of_a_program_that_froze_objects_stays_frozen():
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        with seldom_collected():
            pass
        assert gc.get_freeze_count() >= frozen > 0
    finally:
        gc.unfreeze()


def test_collector_that_is_off_stays_off():
    before = gc.get_threshold()
    gc.set_threshold(0)
    try:
        with seldom_collected():
            assert gc.get_threshold()[0] == 0
    finally:
        gc.set_threshold(*before)


@pytest.mark.parametrize("name", ["graph_backward", "network_backward"])
def test_a_call_of_one_function_is_not_made_of_a_whole_graph(name):
    def one_more(*arrays, **options):
        answer = im2col.relu(*arrays, **options)
        answer.flat[-1:] += 1
        return answer

    functions = {n: getattr(im2col, n) for n in im2col.__all__}
    backend = SimpleNamespace(**functions | {"relu": one_more})
    found = gradoracle.check(backend, operators=["relu", name], examples=25, seed=1)
    assert any(one.formula == "relu" for one in found.mismatches)
    whole = [one for one in found.outcomes if one.property_name == name]
    assert {one.status for one in whole} <= {"mismatch", "also fails", "not run", "not claimed"}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_says_something_of_one_small_call_says_it_in_every_dtype(seed):
    """Else a right backend is not certified where such calls were drawn in few dtypes."""
    operator, formula = CONV2D, conv2d_grad_weight
    shapes = {operator.arguments(with_ones(operator, formula)[0].sizes).shapes["x"]}
    met = set()

    def check(backend, operator, formula, call):
        if call["x"].shape not in shapes or not call["x"].any():
            raise NotJudged("this call is of another shape")
        met.add(call["x"].dtype.name)
        return 0.0

    property_ = replace(PROPERTIES["equivariant"], check=check)
    exam = Examination(wrap(im2col), operator, formula, property_, seed, 300)
    judge_drawn(exam)
    assert met == {*exam.judged_dtypes()}
    assert {dtype for dtype, _ in exam.calls} == met
