"""What is found in a check that fails: the smallest call, and what explains it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import inf
from time import perf_counter
from typing import Any

from gradoracle.conformance.backends.mismatch import ENDED, Answer, Mismatch
from gradoracle.conformance.checking import counterexample, minimising
from gradoracle.conformance.checking.diagnosis import (
    APART,
    as_plain,
    explanations,
    is_wrong_after,
    plainly_wrong,
    with_other_numbers,
    wrong_answers,
)
from gradoracle.conformance.checking.examination import Examination
from gradoracle.conformance.checking.minimising import Minimiser
from gradoracle.conformance.checking.recognised import recognised
from gradoracle.conformance.checking.repeats import cause_of, replayed
from gradoracle.conformance.checking.shrinking import smallest_sizes
from gradoracle.conformance.operators.record import Geometry
from gradoracle.conformance.operators.variations import without_images
from gradoracle.conformance.properties import PROPERTIES
from gradoracle.conformance.reports.certificate import PLAIN
from gradoracle.conformance.reports.mismatch_text import Finding, MismatchReport, report
from gradoracle.conformance.scale import workloads
from gradoracle.conformance.scale.data import LayerCall, layer_call
from gradoracle.oracle.declaration import parts_of
from gradoracle.oracle.expected.truth import data_dtype


def finding(minimiser: Minimiser, *, unsteady: bool) -> Finding:
    """Minimise the call that broke the property, unless it does so at times, and tell all."""
    exam = minimiser.exam
    if exam.layer is not None:
        return _finding_of_layer(minimiser, exam.layer)
    repeated = None if unsteady else replayed(minimiser)
    unsteady = unsteady or not (repeated or minimiser.minimise())
    answers, minimiser.shrinks = list(exam.backend.answers), False
    assert exam.broken is not None, "a finding needs a call that broke the property"  # noqa: S101
    call, mismatch = exam.broken
    blamed, plain = wrong_answers(exam.backend, answers), False
    if exam.property.name in APART:
        exam.backend.answers[:] = answers
        wrong = plainly_wrong(exam.backend, exam.property, call, mismatch)
        if plain := bool(wrong):
            blamed, call = wrong, dict(wrong[0].call)
            mismatch = as_plain(exam.backend, wrong[0], mismatch)
    is_known = repeated is not None and repeated.is_steady
    if exam.property.name == "is_stateless" and (plain or len(answers) == 1) and not is_known:
        last, plain = blamed[0] if plain else answers[-1], False
        answers = [*_asked_before(exam, last), last]
    history = not (unsteady or plain or is_known)
    history = history and exam.backend.asked.renew() and _keeps(exam, call)
    looks_like: list[str] = []
    if repeated is not None:
        looks_like = [*repeated.looks_like]
    elif blamed and blamed[0].value is not None:  # no wrong formula raises or crashes
        known = (*answers, *exam.evidence)
        looks_like = explanations(exam.backend, blamed[0].formula, known, exam.seed)
    return Finding(
        exam.backend, exam.operator, exam.formula, exam.property, exam.seed, exam.examples,
        call, mismatch,
        answers, blamed, looks_like, unsteady, exam.at_scale, history, minimiser.cut, plain,
        exam.also_seen(),
    )  # fmt: skip


def _asked_before(exam: Examination, wrong: Answer) -> list[Answer]:
    """Return calls after which an answer is wrong, where what was asked before is not known.

    That is other numbers, or first an empty batch if they alone leave the answer right.
    """
    other = with_other_numbers(wrong)
    if exam.backend.asked.renew() and is_wrong_after(exam.backend, [other], wrong):
        return [other]
    empty = without_images(exam.operator, wrong.formula, wrong.call)
    return [other] if empty is None else [Answer(wrong.formula, empty, None), other]


def _finding_of_layer(minimiser: Minimiser, layer: Geometry) -> Finding:
    """Tell of a layer by a small call that breaks an ordinary property, if there is one.

    Else by the layer itself, or by a smaller one that takes as much to show it.
    """
    exam = minimiser.exam
    assert exam.broken is not None, "a finding needs a call that broke the property"  # noqa: S101
    first = exam.broken
    small = Minimiser(_small_examination(exam, first[0]))
    minimiser.shrinks, steady = True, exam.over() or minimiser.fails(first[0])
    minimiser.until = small.until = perf_counter() + minimising.PATIENCE
    if steady:
        smallest_sizes(layer.sizes, lambda sizes: _fails_as_layer(minimiser, sizes, layer, small))
    minimiser.until = small.until = inf
    if small.exam.broken is not None:
        exam.small_property = small.exam.property
        found = finding(small, unsteady=False)
        exam.small = {exam.formula.__name__: [found.mismatch.kind]}
        return replace(found, property=exam.property, at_scale=exam.at_scale)
    call, mismatch = exam.broken if exam.broken is not None and steady else first
    return Finding(
        exam.backend, exam.operator, exam.formula, exam.property, exam.seed, exam.examples,
        call, mismatch, [], [], [], not steady, exam.at_scale, cut=minimiser.cut,
    )  # fmt: skip


def _small_examination(exam: Examination, call: dict[str, Any]) -> Examination:
    exact = isinstance(call, LayerCall) and call.largest_sum
    ordinary = PROPERTIES["matches_oracle" if exact else "within_rounding_bound"]
    return Examination(
        exam.backend, exam.operator, exam.formula, ordinary, exam.seed, exam.examples,
        alike=exam.alike,
    )  # fmt: skip


def _fails_as_layer(
    minimiser: Minimiser, sizes: Mapping[str, int], layer: Geometry, small: Minimiser
) -> bool:
    """Return whether a call of these sizes fails: by the oracle itself where that is quick."""
    exam = minimiser.exam
    assert exam.broken is not None, "it is what failed last"  # noqa: S101
    last = exam.broken[0]
    assert isinstance(last, LayerCall), "a layer failed"  # noqa: S101
    try:
        arguments = exam.operator.arguments(sizes)
    except ValueError:
        return False
    if workloads.is_small(exam.operator, sizes, arguments):
        style = exam.operator.styles.of(small.exam.property.kind)[0]
        fails = small.fails_somehow(sizes, style, last.dtype)
        if fails:
            small.exam.drawn = replace(layer, sizes=sizes), style, last.dtype
        return fails
    if small.exam.broken is not None:
        return False
    return minimiser.fails(
        layer_call(
            exam.operator, exam.formula, f"{layer.region}, made smaller", sizes,
            numbers="whole numbers" if last.largest_sum else "floats", seed=layer.seed,
            dtype=last.dtype, accumulator=exam.backend.contract.accumulator(last.dtype),
        )
    )  # fmt: skip


def _keeps(exam: Examination, call: dict[str, Any]) -> bool:
    """Return whether a call is checked and keeps the property."""
    try:
        return exam.passes(call)
    except Mismatch:
        return False


def reported(exam: Examination, *, unsteady: bool) -> MismatchReport:
    """Return the report of the finding, with the call as data that can be replayed."""
    repeats = cause_of(exam) is not None
    found = finding(Minimiser(exam), unsteady=unsteady)
    exam.recognised = "" if repeats else _recognised(exam, found)
    written = report(replace(found, recognised=exam.recognised))
    written.replay = counterexample.written(
        exam.operator,
        exam.small_property or exam.property,
        found.call,
        steady=exam.backend.isolated and not (found.unsteady or found.history),
    )
    return written


def _recognised(exam: Examination, found: Finding) -> str:
    """Return the line that says which other convention explains wrong plain answers, or ""."""
    if exam.property.name not in PLAIN or found.mismatch.kind in ENDED or found.unsteady:
        return ""
    formula = found.blamed[0].formula if found.blamed else parts_of(exam.formula)[0]
    dtype = data_dtype(found.call).name
    return recognised(exam.backend, exam.operator, formula, found.mismatch, dtype, exam.seed)
