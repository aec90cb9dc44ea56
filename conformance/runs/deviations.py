"""Known deviations: whether there are such checks, and which of them are deviations no longer.

Whether a seed meets a fault is luck.  So an entry is stale only where the call that it records was
made again and is right; an entry without one that was not met is noted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from gradoracle.conformance.backends.backend import FUNCTIONS, FURTHER, Backend
from gradoracle.conformance.backends.contract import (
    EVERY,
    LONGEST,
    Contract,
    Deviation,
    read_contract,
)
from gradoracle.conformance.backends.mismatch import Mismatch
from gradoracle.conformance.checking import counterexample
from gradoracle.conformance.checking.checks import checks_of, properties_of
from gradoracle.conformance.checking.examination import Examination
from gradoracle.conformance.checking.failures import size_of
from gradoracle.conformance.checking.outcomes import RECORDED
from gradoracle.conformance.checking.recorded import recorded, restored
from gradoracle.conformance.reports.certificate import (
    REPEATS,
    UNCLAIMED,
    Certificate,
    Outcome,
    mismatch_of,
)


def entries_of(told: Certificate, reason: str = "") -> list[dict[str, Any]]:
    """Return entries for what a certificate finds wrong, each with the smallest call that shows it.

    A formula that several checks fail of has one entry, for all of them.  A call is left out where
    it is large or a layer's, or does not fail every time.
    """
    failing: dict[str, list[Outcome]] = {}
    for one in told.outcomes:
        if one.status in ("mismatch", *REPEATS):
            failing.setdefault(one.formula, []).append(one)
    return [_entry(told, outcomes, reason) for outcomes in failing.values()]


def joined(
    entries: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """Return entries and new ones, which replace those on the same checks."""
    covered = {(one["formula"], one.get("property", EVERY)) for one in new}
    every = {formula for formula, name in covered if name == EVERY}
    kept = [
        one for one in entries
        if one.get("formula") not in every
        and (one.get("formula"), one.get("property", EVERY)) not in covered
    ]  # fmt: skip
    known = {one.get("formula") for one in kept if one.get("property", EVERY) == EVERY}
    return [*kept, *(one for one in new if one["formula"] not in known)]


def _entry(told: Certificate, outcomes: Sequence[Outcome], reason: str) -> dict[str, Any]:
    first = next((one for one in outcomes if one.status == "mismatch"), outcomes[0])
    entry: dict[str, Any] = {"formula": first.formula}
    if len(outcomes) == 1:
        entry["property"] = first.property_name
    entry["reason"] = " ".join((reason or first.reason).split())[:LONGEST]
    call = _smallest(told, first)
    return entry if call is None else {**entry, "call": call}


def _smallest(told: Certificate, outcome: Outcome) -> dict[str, Any] | None:
    """Return the call of a mismatch as an entry records it, None where it is none that stays."""
    content = mismatch_of(outcome).get("replay")
    if content is None or content["layer"] is not None or not content["steady"]:
        return None
    try:
        check = counterexample.read(content, outcome.formula, told.contract["accumulators"])
        plain = recorded(check.call) if size_of(check.call) <= RECORDED else None
        if plain is not None:
            restored(check.operator, plain)
    except Exception:  # noqa: BLE001 - a forged call may be anything
        return None
    return plain


class Unmet(NamedTuple):
    """An entry whose checks all ran and all passed."""

    entry: Deviation
    names: list[str]  # of its properties
    calls: int

    @property
    def words(self) -> str:
        """Return what is listed and why."""
        where = "" if self.entry.property == EVERY else f" {self.entry.property}"
        return f"{self.entry.formula}{where} is listed as a known deviation ({self.entry.reason})"


class Review(NamedTuple):
    """What becomes of the entries that were not met, a sentence each."""

    stale: list[str]  # the recorded call is right: the run fails
    unmet: list[str]  # nothing is known, or other calls fail than the recorded one


def require_checks(entries: Sequence[Deviation]) -> None:
    """Raise ValueError, naming what there is, unless every entry is about checks of the suite."""
    known = properties_of() if entries else {}
    for entry in entries:
        if entry.formula not in known:
            raise ValueError(
                f"formula {entry.formula!r} of a deviation is unknown; pick from {[*known]}"
            )
        names = [EVERY, *known[entry.formula]]
        if entry.property not in names:
            raise ValueError(
                f"property {entry.property!r} is not checked of {entry.formula}, whose deviation "
                f"it is to be; pick from {names}"
            )
        if entry.call:
            operator = next(o for o, *_ in checks_of([entry.formula]).values())
            try:
                restored(operator, json.loads(entry.call))
            except ValueError as error:
                raise ValueError(f"the deviation of {entry.formula}: {error}") from None


def reviewed(backend: Backend, outcomes: Sequence[Outcome]) -> Review:
    """Return which entries are stale, and which were not met.

    Where only some of the claimed dtypes were checked nothing is said: it may show in the others.
    """
    listed = backend.contract.deviations
    claimed = (
        read_contract(backend.asked.description.contract, (*FUNCTIONS, *FURTHER))
        if listed
        else Contract()
    )
    if listed and not {*claimed.dtypes} <= {*backend.contract.dtypes}:
        return Review([], [])
    review = Review([], [])
    for one in unmet(listed, outcomes):
        if one.entry.call and _is_right(backend, one):
            review.stale.append(stale(one))
        else:
            review.unmet.append(noted(one))
    review.unmet.extend(hidden(one) for one in met(listed, outcomes) if _is_right(backend, one))
    return review


def hidden(one: Unmet) -> str:
    """Return the sentence on an entry whose recorded call is right while other calls fail."""
    return (
        f"{one.words}, but its recorded call is right now, and other calls fail "
        f"({', '.join(one.names)}): see whether that is the same deviation"
    )


def met(entries: Sequence[Deviation], outcomes: Sequence[Outcome]) -> Iterator[Unmet]:
    """Yield the entries with a call that outcomes are deviations by, and of which properties."""
    found = {(o.formula, o.property_name): o for o in outcomes if o.status == "deviation"}
    for entry in (one for one in entries if one.call):
        own = [o for (formula, name), o in found.items()
               if formula == entry.formula and entry.property in (EVERY, name)]  # fmt: skip
        if own:
            yield Unmet(entry, [o.property_name for o in own], sum(o.judged for o in own))


def noted(one: Unmet) -> str:
    """Return the sentence on an entry of which nothing is known."""
    why = "the entry records no call to check again"
    if one.entry.call:
        why = "its recorded call still fails or cannot be checked"
    return f"{one.words}; {one.calls} calls did not meet it, and {why}"


def stale(one: Unmet) -> str:
    """Return the sentence on an entry whose recorded call is right."""
    what = "all of its properties hold" if one.entry.property == EVERY else "it holds"
    return f"{one.words}, but {what} on {one.calls} calls and on the recorded one: remove it"


def unmet(entries: Sequence[Deviation], outcomes: Sequence[Outcome]) -> Iterator[Unmet]:
    """Yield every entry that nothing came of in these outcomes, though all of its checks ran."""
    known = properties_of() if entries else {}
    found = {(o.formula, o.property_name): o for o in outcomes}
    for entry in entries:
        names = known[entry.formula] if entry.property == EVERY else [entry.property]
        covered = [
            found.get((entry.formula, name)) for name in names if _is_owed(found, entry, name)
        ]
        right = [one for one in covered if one is not None and one.status == "passed"]
        if covered and len(right) == len(covered):
            yield Unmet(
                entry, [one.property_name for one in right], sum(one.judged for one in right)
            )


def _is_owed(found: Mapping[tuple[str, str], Outcome], entry: Deviation, name: str) -> bool:
    """Return whether a check is part of what is claimed, or was not run."""
    outcome = found.get((entry.formula, name))
    return outcome is None or outcome.status != UNCLAIMED


def _is_right(backend: Backend, one: Unmet) -> bool:
    """Return whether an entry's recorded call passes all of its checks that apply to it."""
    applied = 0
    for operator, formula, property_ in checks_of([one.entry.formula]).values():
        if formula.__name__ != one.entry.formula or property_.name not in one.names:
            continue
        call = restored(operator, json.loads(one.entry.call))
        exam = Examination(backend, operator, formula, property_, seed=0, examples=1)
        try:
            applied += exam.passes(call)
        except Mismatch:
            return False
    return applied > 0
