"""A check that fails for a known cause makes the cause's smallest call again, and no other smaller.

`causes.folded` lists it under the cause whatever its own smallest call is: to find that takes most
of the time of rejecting a wrong function, once a property.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gradoracle.conformance.checking.examination import Examination
from gradoracle.conformance.checking.minimising import Minimiser
from gradoracle.conformance.reports.certificate import CONVENTION, PLAIN, Outcome
from gradoracle.oracle.declaration import argument_names


@dataclass(frozen=True)
class Cause:
    """The mismatch of a formula's plain answers, and the smallest call that shows it."""

    property_name: str
    kinds: frozenset[str]
    call: Mapping[str, Any]
    looks_like: tuple[str, ...]
    is_steady: bool  # a fresh process answers it wrongly, too

    def explains(self, kinds: list[str]) -> bool:
        """Return whether a check that fails in these ways repeats it, as `causes.folded` says."""
        return CONVENTION in self.kinds or {*kinds} <= self.kinds


def cause_of(exam: Examination) -> Cause | None:
    """Return the known cause that a check repeats; None: it may be one itself."""
    own = exam.property.name
    for formula, kinds in exam.plain().items():
        cause = exam.backend.causes.get(formula)
        if not isinstance(cause, Cause) or not cause.explains(kinds):
            continue
        if own not in PLAIN or PLAIN.index(cause.property_name) < PLAIN.index(own):
            return cause
    return None


def replayed(minimiser: Minimiser) -> Cause | None:
    """Return the known cause whose smallest call the check fails on, too; it is then its own."""
    exam = minimiser.exam
    cause = None if exam.over() else cause_of(exam)
    if cause is None or not _has_arguments(exam, cause.call):
        return None
    return cause if minimiser.fails(dict(cause.call)) else None


def _has_arguments(exam: Examination, call: Mapping[str, Any]) -> bool:
    """Return whether a call can be checked: a graph is no call of one of its functions."""
    return {name for part in argument_names(exam.formula) for name in part} <= {*call}


def keep(exam: Examination, outcome: Outcome) -> None:
    """Remember what a check of plain answers has found, for the checks that follow."""
    name, own = exam.formula.__name__, outcome.property_name
    if own not in PLAIN or name not in outcome.plain or exam.broken is None or exam.over():
        return
    known, report = exam.backend.causes.get(name), outcome.mismatch
    if known is None or PLAIN.index(own) <= PLAIN.index(known.property_name):
        is_steady = bool((getattr(report, "replay", None) or {}).get("steady"))
        exam.backend.causes[name] = Cause(
            own,
            frozenset(outcome.plain[name]),
            exam.broken[0],
            (*getattr(report, "looks_like", ()),),
            is_steady,
        )
