"""Known deviations: whether there are such checks, and which of them are deviations no longer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from conformance.backend import FUNCTIONS, Backend
from conformance.certificate import UNCLAIMED, Outcome
from conformance.checks import properties_of
from conformance.protocol import EVERY, Contract, Deviation, read_contract


def require_checks(entries: Sequence[Deviation]) -> None:
    """Raise ValueError, naming what there is, unless every entry is about checks of the suite."""
    known = properties_of()
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


def stale(backend: Backend, outcomes: Sequence[Outcome]) -> list[str]:
    """Return a sentence for every entry that nothing came of, though all of its checks ran.

    Where only some of the claimed dtypes were judged nothing is said: it may show in the others.
    """
    listed = backend.contract.deviations
    claimed = read_contract(backend.asked.description.contract, FUNCTIONS) if listed else Contract()
    if listed and not {*claimed.dtypes} <= {*backend.contract.dtypes}:
        return []
    return [*held(listed, outcomes)]


def held(entries: Sequence[Deviation], outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Yield a sentence for every entry that nothing came of in these outcomes."""
    known = properties_of()
    found = {(o.formula, o.property_name): o for o in outcomes}
    for entry in entries:
        names = known[entry.formula] if entry.property == EVERY else [entry.property]
        covered = [
            found.get((entry.formula, name)) for name in names if _is_owed(found, entry, name)
        ]
        right = [one.judged for one in covered if one is not None and one.status == "passed"]
        if covered and len(right) == len(covered):
            what = "all of its properties hold" if entry.property == EVERY else "holds"
            where = "" if entry.property == EVERY else f" {entry.property}"
            yield (
                f"{entry.formula}{where} is listed as a known deviation ({entry.reason}), but "
                f"{what} on {sum(right)} calls: remove it"
            )


def _is_owed(found: Mapping[tuple[str, str], Outcome], entry: Deviation, name: str) -> bool:
    """Return whether a check is part of what is claimed, or was not run."""
    outcome = found.get((entry.formula, name))
    return outcome is None or outcome.status != UNCLAIMED
