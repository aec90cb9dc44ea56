"""What came of a check: its outcome, from the calls that were made."""

from __future__ import annotations

from typing import Any

from gradoracle.conformance.backends.mismatch import Ended, Mismatch
from gradoracle.conformance.checking.examination import Examination
from gradoracle.conformance.checking.failures import size_of
from gradoracle.conformance.checking.finding import reported
from gradoracle.conformance.checking.recorded import recorded
from gradoracle.conformance.checking.self_test import blindness
from gradoracle.conformance.reports.certificate import Outcome
from gradoracle.conformance.reports.mismatch_text import in_a_line
from gradoracle.conformance.scale import workloads

RECORDED = 1000  # elements of a call, at most, that a known deviation records


def fill(outcome: Outcome, exam: Examination, *, unsteady: bool) -> None:
    """Say in the outcome what the calls of a check came to."""
    outcome.declined, outcome.not_judged = exam.declined, exam.not_judged
    for (dtype, stratum), count in sorted(exam.calls.items()):
        outcome.calls.setdefault(dtype, {})[stratum] = count
    outcome.worst_error_over_bound = exam.worst
    outcome.covered = [one._asdict() for one in exam.covered]
    outcome.layers, outcome.layers_left = exam.layers, exam.layers_left
    outcome.disputed, outcome.declined_of = exam.disputed, exam.declines.told(outcome.formula)
    known = exam.backend.contract.deviation(outcome.formula, outcome.property_name)
    if exam.broken is None:
        _without_mismatch(outcome, exam)
        return
    call, mismatch = exam.broken
    if known is None:
        _mismatch(outcome, exam, mismatch, unsteady=unsteady)
    else:
        outcome.status, outcome.deviation = "deviation", known.reason
        _deviation(outcome, exam, call, mismatch)


def _deviation(
    outcome: Outcome, exam: Examination, call: dict[str, Any], mismatch: Mismatch
) -> None:
    """Say of a mismatch that the contract lists how it shows, but make nothing smaller."""
    outcome.reason = mismatch.headline
    outcome.drawn = in_a_line(exam.formula, mismatch.call or call)
    outcome.also_seen = exam.also_seen()
    shows = exam.smallest.get(exam.alike or (), call)
    if size_of(shows) <= RECORDED and not exam.property.on_layers:
        outcome.recorded = recorded(shows)
    if isinstance(mismatch, Ended) and mismatch.over:
        outcome.ended = mismatch.function


def _mismatch(outcome: Outcome, exam: Examination, end: Mismatch, *, unsteady: bool) -> None:
    """Report a mismatch, its call as small as it gets."""
    outcome.status = "mismatch"
    outcome.mismatch = reported(exam, unsteady=unsteady)
    outcome.plain, outcome.also_seen = exam.plain(), exam.also_seen()
    outcome.reason = outcome.mismatch.headline
    if isinstance(end, Ended) and (end.over or end.function not in exam.backend.answered):
        outcome.ended = end.function


def _without_mismatch(outcome: Outcome, exam: Examination) -> None:
    """Say whether the check passed, or why it says nothing."""
    none = not (exam.calls or exam.declined)
    silent = [d for d in exam.judged_dtypes() if d not in outcome.calls]
    if none and (exam.property.on_layers or exam.nothing):
        reason = workloads.TOO_LARGE if exam.property.on_layers else exam.nothing
        outcome.status, outcome.reason = "not run", reason
    elif silent:
        outcome.status = "no call"
        outcome.reason = (
            f"no call was checked in {', '.join(silent)}: {exam.declined} declined, "
            f"{exam.not_judged} not applicable"
        )
    else:
        calls = [*exam.remembered.values()]
        outcome.planted, outcome.reason = blindness(
            exam.backend, exam.operator, exam.formula, exam.property, calls
        )
        outcome.status = "blind" if outcome.reason else "passed"
