"""What two certificates say differently, as a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gradoracle.conformance.pages import render
from gradoracle.conformance.pages.certificate_page import Cell, cell, state
from gradoracle.conformance.pages.findings import findings
from gradoracle.conformance.reports.certificate import (
    Certificate,
    Outcome,
    is_in_neither,
    pairs,
)


class Change(NamedTuple):
    """A check that ended in one way and then in another; None: it was not run."""

    formula: str
    property_name: str
    old: Cell | None
    new: Cell | None
    kind: str  # "mended", "broken", "changed"


def diff_page(
    old: Certificate, new: Certificate, lines: Sequence[str], file: str = "", left: str = ""
) -> str:
    """Return a page of two certificates; `lines` are what `runs.command.differences` says.

    `left` says how many checks are left out, since neither has checked them.

    Raises:
        ImportError: Jinja2 is not installed.
    """
    known = {(one.formula, one.property_name): one.reason for one in _wrong(old)}
    fresh = [
        one for one in findings(new)
        if known.get((one.outcome.formula, one.outcome.property_name)) != one.outcome.reason
    ]  # fmt: skip
    found = changes(old, new)
    kinds = {kind: [one for one in found if one.kind == kind] for kind in KINDS}
    checks = {f"{one.formula} {one.property_name}: " for one in found}
    others = [line for line in lines if not line.startswith(tuple(checks))]
    return render.page(
        "diff.html", old=old, new=new, kinds=kinds, others=others, findings=fresh,
        states=(state(old), state(new)), file=file or "certificate.json", left=left,
    )  # fmt: skip


KINDS = ("broken", "mended", "changed")


def changes(old: Certificate, new: Certificate) -> list[Change]:
    """Return the checks whose verdicts differ, but for those that neither has checked."""
    found = []
    for key, (was, now) in pairs(old, new).items():
        differ = (was and was.verdict) != (now and now.verdict)
        if differ and not is_in_neither(was, now):
            old_cell, new_cell = (None if one is None else cell(one) for one in (was, now))
            found.append(Change(*key, old_cell, new_cell, _kind(was, now)))
    return found


def _kind(was: Outcome | None, now: Outcome | None) -> str:
    before, after = (one is not None and one.status == "mismatch" for one in (was, now))
    if after and not before:
        return "broken"
    return "mended" if before and now is not None and now.status == "passed" else "changed"


def _wrong(certificate: Certificate) -> list[Outcome]:
    return [one for one in certificate.outcomes if one.status == "mismatch"]
