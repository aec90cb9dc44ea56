"""One cause is one finding: checks that fail on the same wrong answers are listed under the first.

A function whose plain answers are wrong fails most properties.  The first of `PLAIN` that fails is
the mismatch, or another that asks for plain answers; the others fail for the same reason, or ask
something that needs right answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from gradoracle.conformance.checking.diagnosis import APART
from gradoracle.conformance.reports.certificate import (
    ALSO_FAILS,
    CONVENTION,
    NOT_CHECKED,
    PLAIN,
    Outcome,
)


def folded(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return the outcomes, those that repeat another's mismatch marked so and listed there.

    It depends on the outcomes only, not on their order or on the process that each comes from.
    """
    causes = {one.formula: one for one in _causes(outcomes)}
    also: dict[str, list[str]] = {}
    marked: list[Outcome] = []
    for one in outcomes:
        cause = None if one in causes.values() else _cause(one, causes)
        if cause is None:
            marked.append(one)
            continue
        also.setdefault(cause.formula, []).append(_words(one, cause))
        marked.append(_marked(one, cause))
    return [
        replace(one, also=[*also[one.formula]])
        if causes.get(one.formula) is one and one.formula in also
        else one
        for one in marked
    ]


def _causes(outcomes: Sequence[Outcome]) -> Iterator[Outcome]:
    """Yield, formula by formula, the mismatch of its plain answers, if there is one."""
    found: dict[str, Outcome] = {}
    for one in outcomes:
        if one.status == "mismatch" and one.formula in one.plain and one.property_name not in APART:
            known = found.setdefault(one.formula, one)
            if _rank(one) < _rank(known):
                found[one.formula] = one
    yield from found.values()


def _rank(one: Outcome) -> tuple[int, str]:
    """Return the place of a mismatch among those of wrong plain answers; the first is the cause."""
    name = one.property_name
    return (PLAIN.index(name) if name in PLAIN else len(PLAIN), name)


def _cause(one: Outcome, causes: dict[str, Outcome]) -> Outcome | None:
    """Return the mismatch that a mismatch repeats: wrong in the same way, of the same function.

    Where a function follows another convention, it is wrong in many ways.
    """
    if one.status != "mismatch":
        return None
    for formula, kinds in one.plain.items():
        cause = causes.get(formula)
        known = set() if cause is None else {*cause.plain[formula]}
        if CONVENTION in known or (known and {*kinds} <= known):
            return cause
    return None


def _words(one: Outcome, cause: Outcome) -> str:
    of = "" if one.formula == cause.formula else f" of {one.formula}"
    return f"{one.property_name}{of}{' (not checked)' if one.property_name in APART else ''}"


def _marked(one: Outcome, cause: Outcome) -> Outcome:
    """Return an outcome that says which mismatch it repeats.

    Its own smallest call is left out: whether it was looked for depends on what was checked before.
    """
    see = f"the plain answer of {cause.formula} is wrong (see {cause.property_name})"
    if one.property_name in APART:
        return replace(one, status=NOT_CHECKED, reason=see, mismatch=None)
    return replace(one, status=ALSO_FAILS, reason=see, mismatch=None, domain_hint="")
