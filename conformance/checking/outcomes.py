"""What came of a check: its outcome, from the calls that were made."""

from __future__ import annotations

from typing import Any

from gradoracle.conformance.backends.declarations import of_domain
from gradoracle.conformance.backends.mismatch import Ended, Mismatch
from gradoracle.conformance.checking.examination import Examination
from gradoracle.conformance.checking.failures import size_of
from gradoracle.conformance.checking.finding import reported
from gradoracle.conformance.checking.found_domain import found_domain
from gradoracle.conformance.checking.recorded import recorded
from gradoracle.conformance.checking.repeats import cause_of, keep
from gradoracle.conformance.checking.self_test import blindness
from gradoracle.conformance.reports.certificate import (
    CONVENTION,
    EXACTLY,
    PLAIN,
    UNCLAIMED,
    Outcome,
)
from gradoracle.conformance.reports.mismatch_text import in_a_line
from gradoracle.conformance.scale import workloads
from gradoracle.oracle.declaration import Multilinear, algebra, output_of, parts_of

SEVERAL = 2  # failing calls, below which no domain is looked for
RECORDED = 1000  # elements of a call, at most, that a known deviation records


def fill(outcome: Outcome, exam: Examination, *, unsteady: bool) -> None:
    """Say in the outcome what the calls of a check came to."""
    # Calls of a result that a function leaves out, as it may, are not declined: there is none.
    missing = exam.alone and not exam.calls
    outcome.declined, outcome.not_judged = 0 if missing else exam.declined, exam.not_judged
    outcome.accepted = {k: [*counts] for k, counts in exam.backend.bad_calls.items() if counts[0]}
    for (dtype, stratum), count in sorted(exam.calls.items()):
        outcome.calls.setdefault(dtype, {})[stratum] = count
    outcome.supported = {name: [*counts] for name, counts in exam.backend.supported.items()}
    outcome.worst_error_over_bound, outcome.errors = exam.worst, exam.errors
    outcome.shapes = len(exam.shapes)
    if outcome.property_name == EXACTLY and isinstance(algebra(exam.formula), Multilinear):
        outcome.even_shapes = len(exam.even_shapes)
    outcome.covered = [one._asdict() for one in exam.covered]
    outcome.layers, outcome.layers_left = exam.layers, exam.layers_left
    outcome.disputed = exam.disputed
    outcome.declined_of = {} if missing else exam.declines.told(outcome.formula)
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
    if exam.recognised:
        wrong = outcome.mismatch.formula
        is_part = wrong in {one.__name__ for one in parts_of(exam.formula)}
        outcome.plain.setdefault(outcome.formula if is_part else wrong, []).append(CONVENTION)
    keep(exam, outcome)
    if isinstance(end, Ended) and (end.over or end.function not in exam.backend.answered):
        outcome.ended = end.function


def _without_mismatch(outcome: Outcome, exam: Examination) -> None:
    """Say whether the check passed, or why it says nothing."""
    asked = exam.calls or (exam.declined and not exam.alone)
    idle = None if asked else _idle(exam)
    silent = [d for d in exam.judged_dtypes() if d not in outcome.calls]
    if idle is not None:
        outcome.status, outcome.reason = idle
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


def _idle(exam: Examination) -> tuple[str, str] | None:
    """Return the status of a check that no call belongs to, and why; None where some should."""
    if exam.alone:
        name = output_of(exam.formula).function
        return UNCLAIMED, f"{name} returns its values alone, and no gradient needs more"
    if exam.property.on_layers:
        return "not run", workloads.TOO_LARGE
    words = exam.backend.domain_words(exam.formula)
    if exam.filters and exam.outside:
        return "not run", f"supports() accepts none of the {exam.outside} calls that were drawn"
    reason = exam.nothing or (f"it does not apply where {words}" if words else "")
    return ("not run", reason) if reason else None


def domain_hint(outcome: Outcome, exam: Examination) -> str:
    """Return which domain the function seems to be made for, as a declaration, or "".

    It is looked for where several plain answers fail, or calls are declined: a function that is
    made for a part fails on many.
    """
    ended = exam.broken is not None and isinstance(exam.broken[1], Ended)
    fails = outcome.status == "mismatch" and exam.failing >= SEVERAL
    if exam.property.name not in PLAIN[:2] or ended or not (fails or exam.declined):
        return ""
    if not exam.backend.finds_domains or cause_of(exam) is not None:
        return ""
    found = found_domain(exam.operator, exam.backend.domain(exam.formula), exam.tried)
    if found is None:
        return ""
    function = output_of(exam.formula).function
    return (
        f"fails or is declined in all of {found.outside} calls outside of {found.text}, and holds "
        f"in all of {found.inside} inside; {of_domain(exam.backend, function, found.text)} "
        "declares that"
    )
