"""What a certificate says and a run of the same checks does not: every difference, a line each.

Two kinds are told apart.  What follows from the backend, the suite and the seed must be the same
everywhere.  Versions and the processor are of the machine: where they differ, this machine cannot
confirm them, which is no forgery.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from gradoracle.conformance.backends.caller import printable
from gradoracle.conformance.backends.isolation.isolated import GONE
from gradoracle.conformance.campaigns.shards import seed_of
from gradoracle.conformance.reports.certificate import Certificate, Outcome
from gradoracle.conformance.reports.certificate_json import scheme
from gradoracle.conformance.reports.schema import problem
from gradoracle.conformance.runs.command import other_verdicts

DERIVED = ("certified", "verdict", "why_not", "level", "witnesses")  # from the outcomes
COMPARED = (  # one by one: the outcomes are, check by check
    "backend", "origin", "contract", "seed", "examples", "at_scale", "expected", "files", "suite",
    "shard",
)  # fmt: skip
ROUNDED = (
    "worst_error_over_bound",
    "errors",
    "mismatch",
)  # of an outcome: another processor's are others
OF_THE_RUN = ("seconds", "changed")  # of an outcome: how long, and after which other checks
SHOWN = 100  # characters of a value


@dataclass
class Differences:
    """What a certificate says otherwise than a run now."""

    wrong: list[str] = field(default_factory=list)
    of_the_machine: list[str] = field(default_factory=list)
    unsteady: list[str] = field(default_factory=list)  # what is another in every run here, too

    def take(self, other: Differences) -> None:
        """Add another's."""
        self.wrong += other.wrong
        self.of_the_machine += other.of_the_machine
        self.unsteady += other.unsteady


def contradictions(content: Mapping[str, Any], told: Certificate) -> list[str]:
    """Return what a certificate says that does not follow from its own outcomes."""
    now = json.loads(told.to_json())
    lines = [
        f"{at}: the certificate says {was}, its own outcomes give {is_}"
        for name in DERIVED
        for at, was, is_ in _unlike(name, content[name], now[name])
    ]
    wrong = problem(content, scheme())
    if wrong and not lines:
        lines.append(f"its fields contradict each other: {wrong}")
    seen: set[tuple[str, str]] = set()
    expected = {(formula, name) for formula, name in told.expected}
    for one in told.outcomes:
        check = one.formula, one.property_name
        if check in seen:
            lines.append(f"{' '.join(check)}: there are two outcomes of it")
        if check not in expected:
            lines.append(f"{' '.join(check)}: is no check that the certificate expects")
        if one.backend != told.backend:
            lines.append(f"{' '.join(check)}: is an outcome of {one.backend}, not {told.backend}")
        seen.add(check)
    return [*map(printable, lines + _of_campaign(told))]


def _of_campaign(told: Certificate) -> list[str]:
    """Return what the shards of a campaign do not add up to."""
    if told.campaign is None:
        return []
    lines = []
    for at, one in enumerate(told.campaign.shards):
        wanted = seed_of(told.seed, one.number)
        if one.seed != wanted:
            lines.append(
                f"shard {one.number}: its seed is {one.seed}, the campaign's gives {wanted}"
            )
        if one.counted and one.number != at:
            lines.append(f"shard {at}: is missing; the shards that count are the first ones")
    calls = sum(outcome.judged for outcome in told.outcomes)
    if calls != told.campaign.calls:
        lines.append(f"its outcomes count {calls} calls, its shards {told.campaign.calls}")
    return lines


def compared(content: Mapping[str, Any], told: Certificate, again: Certificate) -> Differences:
    """Return what a certificate of one run says otherwise than the same run does now.

    What checks of one verdict say besides is not in it: see `settled_by_repeating`.
    """
    found = disclosed(told, again)
    now = json.loads(again.to_json())
    for name in DERIVED:
        found.wrong += _lines(name, content[name], now[name])
    found.wrong += map(printable, other_verdicts(told, again))
    return found


def alike(told: Certificate, again: Certificate) -> Iterator[tuple[Outcome, Outcome]]:
    """Yield the outcomes of checks that have the same verdict in both and differ in more."""
    before = {(o.formula, o.property_name): o for o in told.outcomes}
    for now in again.outcomes:
        was = before.get((now.formula, now.property_name))
        if was is not None and was.verdict == now.verdict and of_check(was, now):
            yield was, now


def of_check(was: Outcome, now: Outcome) -> list[str]:
    """Return what two outcomes of a check with one verdict say differently besides."""
    at = f"{now.formula} {now.property_name}"
    one, other = (json.loads(json.dumps(asdict(outcome))) for outcome in (was, now))
    return [
        line for name in one if name not in OF_THE_RUN
        for line in _lines(f"{at}, {name}", one[name], other[name])
    ]  # fmt: skip


def disclosed(told: Certificate, again: Certificate, *, part: bool = False) -> Differences:
    """Return what two certificates say differently of anything but verdicts.

    With `part` the second is of one shard of the campaign that the first is of: it has another
    seed, and of what the backend did beside answering perhaps less.
    """
    found = Differences()
    was, now = (json.loads(json.dumps(asdict(one))) for one in (told, again))
    for name in COMPARED:
        if not (part and name == "seed"):
            found.wrong += _lines(name, was[name], now[name])
    found.of_the_machine += _lines("environment", was["environment"], now["environment"])
    found.take(_confinement(was["confinement"], now["confinement"], part=part))
    found.wrong += _changed(told, again, part=part)
    return found


def _confinement(was: Mapping[str, Any], now: Mapping[str, Any], *, part: bool) -> Differences:
    found = Differences()
    for name in ("process", "limits", "forbidden"):
        found.wrong += _lines(f"confinement.{name}", was.get(name), now.get(name))
    modules, loaded = was.get("modules", {}), now.get("modules", {})
    found.wrong += _members("confinement.modules", modules, loaded, part=part)
    for name in sorted(modules.keys() & loaded.keys()):
        if GONE in (modules[name], loaded[name]):
            continue
        where = f"confinement.modules.{name}"
        found.of_the_machine += _lines(where, modules[name], loaded[name])
    refused = was.get("refused", ()), now.get("refused", ())
    found.wrong += _members("confinement.refused", *refused, part=part)
    acts, done = was.get("acts", {}), now.get("acts", {})
    found.wrong += _members("confinement.acts", acts, done, part=part)
    for act in acts.keys() & done.keys():
        found.wrong += _members(f"confinement.acts, {act}", acts[act], done[act], part=part)
    return found


def _changed(told: Certificate, again: Certificate, *, part: bool) -> list[str]:
    """Return what one of them says that the backend changed, and the other does not.

    Which function it was is known to a few calls only, and after which checks depends on how they
    were spread over processes: that is not compared.
    """
    was, now = ({name for o in one.outcomes for name in o.changed} for one in (told, again))
    functions = {*told.contract["has"]}
    lines = [
        f"changed.{name}: {function} is no function of the backend"
        for outcome in told.outcomes for name, function in outcome.changed.items()
        if function not in functions
    ]  # fmt: skip
    return [*map(printable, dict.fromkeys(lines)), *_members("changed", was, now, part=part)]


def _members(at: str, was: Any, now: Any, *, part: bool) -> list[str]:
    lines = [f"{at}: {name} is not in the certificate" for name in sorted({*now} - {*was})]
    if not part:
        lines += [
            f"{at}: {name} is in the certificate, not now" for name in sorted({*was} - {*now})
        ]
    return [*map(printable, lines)]


def _lines(at: str, was: Any, now: Any) -> list[str]:
    return [
        printable(f"{where}: the certificate says {one}, now {other}")
        for where, one, other in _unlike(at, was, now)
    ]


def _unlike(at: str, was: Any, now: Any) -> Iterator[tuple[str, str, str]]:
    """Yield the places in which two values differ, and both, as words."""
    if isinstance(was, dict) and isinstance(now, dict):
        for name in dict.fromkeys((*was, *now)):
            where = f"{at}.{name}"
            if name not in was or name not in now:
                yield where, _shown(was, name), _shown(now, name)
            else:
                yield from _unlike(where, was[name], now[name])
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for number, (one, other) in enumerate(zip(was, now, strict=True)):
            yield from _unlike(f"{at}[{number}]", one, other)
    elif was != now:
        yield at, _short(was), _short(now)


def _shown(content: Mapping[str, Any], name: str) -> str:
    return _short(content[name]) if name in content else "nothing"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def settled_by_repeating(
    found: Sequence[tuple[Outcome, Outcome]], third: Mapping[tuple[str, str], Outcome], *,
    same_machine: bool,
) -> Differences:  # fmt: skip
    """Return the differences of checks with one verdict: what two runs here agree on is wrong.

    What they do not agree on, a backend whose bits depend on more than the call cannot repeat.
    Errors and counterexamples of another machine may be others.
    """
    differences = Differences()
    for was, now in found:
        lines = of_check(was, now)
        more = third.get((now.formula, now.property_name))
        varies = {line.partition(": ")[0] for line in of_check(now, more)} if more else set()
        for line in lines:
            where = line.partition(": ")[0]
            rounded = where.partition(", ")[2].partition(".")[0] in ROUNDED
            if where in varies:
                differences.unsteady.append(line)
            elif rounded and not same_machine:
                differences.of_the_machine.append(line)
            else:
                differences.wrong.append(line)
    return differences
