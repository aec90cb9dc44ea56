"""Part of a run's checks, as on one of several machines, and the certificates of all parts merged.

A part has whole formulas, so that what belongs together is checked together: a known deviation is
of one formula.  Which ones depends on what is checked and on the backend's functions only.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

from gradoracle.conformance.backends.backend import Backend
from gradoracle.conformance.backends.errors import UsageError
from gradoracle.conformance.checking.causes import folded
from gradoracle.conformance.checking.checks import checks
from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.reports.certificate import Certificate
from gradoracle.conformance.runs.certify import kept_in_both
from gradoracle.conformance.runs.journal import differences

SHARD = re.compile(r"([1-9]\d{0,3})/([1-9]\d{0,3})")
# What all parts must have in common; of the confinement the limits.
COMMON = (
    "backend", "origin", "seed", "examples", "at_scale", "suite", "files", "contract", "expected",
    "environment", "confinement",
)  # fmt: skip
LIMITS = ("process", "limits", "forbidden")


class NotMergeable(UsageError):
    """Certificates are no parts of one run; the message says why."""


def numbers_of(shard: str) -> tuple[int, int]:
    """Return which of how many parts a text such as 2/4 means.

    Raises:
        UsageError: it is something else.
    """
    found = SHARD.fullmatch(shard)
    number, count = (int(found[1]), int(found[2])) if found else (1, 0)
    if number > count:
        raise UsageError(f"a shard is like 2/4, the second of four, got {shard!r}")
    return number, count


def part_of_name(shard: str) -> str:
    """Return what the name of a shard's journal has after the backend's; "" of a whole run."""
    return f".{shard.replace('/', 'of')}" if shard else ""


def formulas_in(backend: Backend, operators: Sequence[Operator], shard: str) -> set[str]:
    """Return the names of the formulas of a part; those that the backend has are dealt first."""
    number, count = numbers_of(shard)
    formulas = dict.fromkeys(formula for _, formula, _ in checks(operators))
    dealt = sorted(formulas, key=lambda formula: not backend.has(formula))
    return {formula.__name__ for formula in dealt[number - 1 :: count]}


def merged(parts: Mapping[str, Certificate], *, any_machine: bool = False) -> Certificate:
    """Return the certificate of a run whose parts these are, by the names of their files.

    With `any_machine` their environments may differ: all values are named.

    Raises:
        NotMergeable: one is no part, is there twice or is missing, or two are of other runs.
    """
    _require_parts({name: one.shard for name, one in parts.items()})
    first, *others = parts.items()
    for other in others:
        _require_same(first, other, any_machine=any_machine)
    told = [one for _, one in (first, *others)]
    outcomes = {(o.formula, o.property_name): o for one in told for o in one.outcomes}
    _require_checks(told)
    return replace(
        first[1],
        shard="",
        outcomes=folded([outcomes[formula, name] for formula, name in first[1].expected]),
        environment=reduce(_both, (one.environment for one in told)),
        confinement=reduce(kept_in_both, (one.confinement for one in told)),
        stale=[sentence for one in told for sentence in one.stale],
        unmet=[sentence for one in told for sentence in one.unmet],
    )


def _require_parts(shards: Mapping[str, str]) -> None:
    seen: dict[str, str] = {}
    for name, shard in shards.items():
        if not shard:
            raise NotMergeable(f"{name} is no shard: certify --shard 2/4 writes one")
        if shard in seen:
            raise NotMergeable(f"shard {shard} is there twice: {seen[shard]} and {name}")
        seen[shard] = name
    counts = {numbers_of(shard)[1] for shard in seen}
    if len(counts) > 1:
        raise NotMergeable(f"the shards are of several runs: {', '.join(seen)}")
    (count,) = counts
    missing = [f"{n}/{count}" for n in range(1, count + 1) if f"{n}/{count}" not in seen]
    if missing:
        raise NotMergeable(f"shard {', '.join(missing)} is missing")


def _require_same(
    first: tuple[str, Certificate], other: tuple[str, Certificate], *, any_machine: bool
) -> None:
    names = [name for name in COMMON if not (any_machine and name == "environment")]
    was, now = (_common(one) for _, one in (first, other))
    for name, there, here in differences(was, now, names):
        hint = "; --any-machine merges them all the same" if name == "environment" else ""
        raise NotMergeable(
            f"{first[0]} and {other[0]} are of other runs: {name} {there} and {here}{hint}"
        )


def _common(one: Certificate) -> dict[str, Any]:
    content = {name: getattr(one, name) for name in COMMON}
    return {**content, "confinement": {n: one.confinement.get(n) for n in LIMITS}}


def _require_checks(parts: Sequence[Certificate]) -> None:
    """Raise NotMergeable where a check is in two parts, in none, or is no check of the run."""
    counts = Counter((o.formula, o.property_name) for one in parts for o in one.outcomes)
    owed = Counter((formula, name) for formula, name in parts[0].expected)
    for check in {**owed, **counts}:
        if counts[check] != owed[check]:
            raise NotMergeable(
                f"{' '.join(check)} is in {counts[check]} shards, and belongs in {owed[check]}"
            )


def _both(was: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Return two environments as one: where they differ, both values."""
    found = dict(was)
    for name, value in now.items():
        known = str(found.setdefault(name, value)).split(" and ")
        if str(value) not in known:
            found[name] = " and ".join([*known, str(value)])
    return found
