"""One check: one property of one formula of one backend, on calls that Hypothesis draws.

pytest and `gradoracle.check` both end up here, so both give the same verdicts.
"""

from __future__ import annotations

from time import perf_counter

from gradoracle.conformance.backends.backend import Backend
from gradoracle.conformance.backends.contract import EXPENSIVE
from gradoracle.conformance.backends.mismatch import Mismatch
from gradoracle.conformance.checking.call_list import judge_drawn, judge_layers, own_seed
from gradoracle.conformance.checking.claim import Claim
from gradoracle.conformance.checking.examination import Examination
from gradoracle.conformance.checking.minimising import Minimiser
from gradoracle.conformance.checking.observed import repeated
from gradoracle.conformance.checking.outcomes import domain_hint, fill
from gradoracle.conformance.operators.few_shapes import of_few_shapes
from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.properties import Property
from gradoracle.conformance.reports.certificate import ABSENT, UNCLAIMED, UNJUDGED, Outcome
from gradoracle.oracle.declaration import Formula


def examine(
    backend: Backend,
    operator: Operator,
    formula: Formula,
    property_: Property,
    *,
    examples: int,
    seed: int,
    at_scale: bool = False,
) -> Outcome:
    """Check `property_` of `formula` on fresh calls and return what came of it.

    The calls depend on `seed`, the formula and the property only: not on the backend, nor on
    what else is run, nor on the order.  From the default number of examples on, the operator's
    corners are among them.
    """
    start = perf_counter()
    backend.bad_calls.clear()
    backend.supported.clear()
    outcome = Outcome(backend.name, formula.__name__, property_.name)
    with_domains = Claim(backend, operator, formula, property_).with_domains()
    operator = backend.inside(operator, with_domains)
    if backend.contract.shapes == EXPENSIVE:
        operator = of_few_shapes(operator, seed)
    exam = Examination(backend, operator, formula, property_, seed, examples, at_scale=at_scale)
    outcome.status, outcome.reason = exam.unasked()
    if outcome.status == "mismatch":  # what is claimed is not there
        absent = next(f for f in exam.needed() if not backend.has(f))
        outcome.plain = {absent.__name__: [ABSENT]}
    if outcome.reason and exam.is_observed() and not _is_stopped(outcome, exam):
        outcome.repeated = repeated(exam)
    if outcome.reason or _is_stopped(outcome, exam):
        return outcome
    unsteady = _fails_at_times(exam)
    if exam.over() and _is_stopped(outcome, exam):  # by another process meanwhile
        return outcome
    fill(outcome, exam, unsteady=unsteady)
    outcome.domain_hint = domain_hint(outcome, exam)
    outcome.seconds = perf_counter() - start
    return outcome


def _fails_at_times(exam: Examination) -> bool:
    """Make the calls of a check, and return whether one failed that does not fail again."""
    try:
        if exam.property.on_layers:
            judge_layers(exam, own_seed(exam))
        else:
            judge_drawn(exam)
        exam.settle()
    except Mismatch:
        assert exam.broken is not None, "what breaks a property is kept"  # noqa: S101
        once = exam.layer is not None or exam.over()  # the limit would be paid again
        return not once and not Minimiser(exam).fails(exam.broken[0])
    return False


def unasked(
    backend: Backend, operator: Operator, formula: Formula, property_: Property
) -> tuple[str, str]:
    """Return the status of a check that nothing is asked for, and why; no reason: it is."""
    return Claim(backend, operator, formula, property_).unasked()


def can_be(
    backend: Backend, operator: Operator, formula: Formula, property_: Property, outcome: Outcome
) -> bool:
    """Return whether a check of this backend can have ended so, as far as no call is needed.

    What an earlier run says of a check is believed only then.
    """
    claim = Claim(backend, operator, formula, property_)
    status, reason = claim.unasked()
    if reason:
        return (outcome.status, outcome.reason) == (status, reason)
    if outcome.status == "passed":
        return {*outcome.calls} == {*claim.judged_dtypes()}
    listed = backend.contract.deviation(outcome.formula, outcome.property_name)
    if outcome.status in ("mismatch", "deviation"):
        reasons = outcome.status == "deviation" and outcome.deviation
        return reasons == (listed.reason if listed is not None else False)
    return outcome.status in UNJUDGED


def unclaimed(
    backend: Backend, operator: Operator, formula: Formula, property_: Property, *,
    observes: bool = True,
) -> Outcome | None:  # fmt: skip
    """Return the outcome of a check that the backend does not claim, None where it is to be run.

    What is observed all the same is to be run, unless the run `observes` nothing.
    """
    claim = Claim(backend, operator, formula, property_)
    status, reason = claim.unasked()
    if status != UNCLAIMED or (observes and claim.is_observed()):
        return None
    return Outcome(backend.name, formula.__name__, property_.name, status, reason)


def _is_stopped(outcome: Outcome, exam: Examination) -> bool:
    """Return whether a function of the check is not called any more, and say so in the outcome.

    The check that met it is a mismatch; where that is listed as a known deviation, one that is not
    listed says nothing of itself, and the backend is not certified.
    """
    stop = exam.backend.stops.first(exam.backend.name, exam.functions())
    if stop is None:
        return False
    listed = exam.backend.contract.deviation(outcome.formula, outcome.property_name)
    outcome.status = "no call" if stop.listed and listed is None else "not run"
    outcome.reason, outcome.ended = stop.sentence(outcome.formula), stop.function
    return True
