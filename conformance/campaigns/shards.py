"""The shards of a campaign: how one is checked, and what all of them come to.

A shard is one ordinary certification from a seed of its own.  A campaign is the shortest row of
shards, in the order of their numbers, whose checked calls are as many as asked for: so which shards
count depends on the campaign's seed only, and not on who checks them, how fast, and what happens
to him.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import zip_longest
from math import prod
from typing import Any, TypeAlias

from gradoracle.conformance import DOMAIN, POLICIES
from gradoracle.conformance.backends.backend import Backend
from gradoracle.conformance.backends.caller import one_line
from gradoracle.conformance.backends.contract import Deviation
from gradoracle.conformance.backends.declines import summed
from gradoracle.conformance.backends.errors import CouldNotRunError, UsageError
from gradoracle.conformance.backends.isolation.limits import Limits
from gradoracle.conformance.backends.registry import Confinement, UnknownBackend, UnusableBackend
from gradoracle.conformance.reports.certificate import (
    REPEATS,
    UNCLAIMED,
    UNJUDGED,
    Campaign,
    Certificate,
    JudgedShard,
    Outcome,
    Showed,
    outcome_of,
)
from gradoracle.conformance.reports.certificate_json import scheme
from gradoracle.conformance.reports.schema import Malformed, require
from gradoracle.conformance.runs.certify import (
    certificate,
    checked,
    kept_in_both,
    limit,
    operators_named,
)
from gradoracle.conformance.runs.command import other_verdicts
from gradoracle.conformance.runs.deviations import noted, stale, unmet
from gradoracle.conformance.runs.fingerprint import suite
from gradoracle.conformance.runs.journal import differences, settled
from gradoracle.conformance.runs.loading import load

LOST = 3  # shards that cannot be checked, after which a campaign ends
BROKEN = ("mismatch", "deviation")
TOLD = (*BROKEN, *UNJUDGED)  # of a shard, where others may have passed
# How a check ended in all shards: as in the one of them that comes first here.
ENDS = (
    "mismatch", *REPEATS, "blind", "deviation", "passed", "no call", "not run", UNCLAIMED,
)  # fmt: skip
BLANK = asdict(Outcome("", "", ""))
ENTRY = {  # of a journal: a shard, its outcomes without what is as in BLANK
    "type": "object",
    "additionalProperties": False,
    "required": ["number", "seed", "outcomes", "confinement", "stale"],
    "properties": {
        "number": {"$ref": "#/$defs/count"},
        "seed": {"$ref": "#/$defs/count"},
        "outcomes": {"type": "array", "items": {"type": "object"}},
        "confinement": {"$ref": "#/$defs/confinement"},
        "stale": {"type": "boolean"},
    },
}

Case: TypeAlias = tuple[str, str]  # the names of a formula and a property

_ALONE = threading.Lock()  # a worker of several threads checks one shard at a time


class CampaignError(CouldNotRunError):
    """A campaign cannot begin or go on; the message says why."""


def seed_of(seed: int, number: int) -> int:
    """Return the seed of a campaign's shard: 48 bits, which every reader of JSON takes exactly.

    They are the first six bytes of the SHA-256 of `gradoracle campaign SEED shard NUMBER`.
    """
    text = f"gradoracle campaign {seed} shard {number}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")


@dataclass
class Shard:
    """What came of one shard."""

    number: int
    seed: int
    outcomes: list[Outcome]
    confinement: dict[str, Any]  # how the backend was kept, and what it did
    stale: bool = False  # a listed deviation showed nowhere

    @property
    def calls(self) -> int:
        """How many calls were checked."""
        return sum(outcome.judged for outcome in self.outcomes)

    @classmethod
    def of(cls, number: int, found: Certificate) -> Shard:
        """Return the shard that ended with this certificate."""
        return cls(number, found.seed, found.outcomes, found.confinement, bool(found.stale))

    def to_entry(self) -> dict[str, Any]:
        """Return it as plain data, without what is as in most outcomes."""
        lean = [
            {name: value for name, value in asdict(outcome).items() if value != BLANK[name]}
            for outcome in self.outcomes
        ]
        return {
            "number": self.number, "seed": self.seed, "outcomes": lean,
            "confinement": self.confinement, "stale": self.stale,
        }  # fmt: skip

    @classmethod
    def from_entry(cls, entry: Mapping[str, Any]) -> Shard:
        """Return what `to_entry` gave.

        Raises:
            Malformed: it is something else; the message names the place.
        """
        require(entry, ENTRY, scheme())
        outcomes = []
        for number, one in enumerate(entry["outcomes"]):
            try:
                outcomes.append(outcome_of({**BLANK, **one}))
            except Malformed as error:
                raise Malformed(f"outcomes[{number}].{error}") from error
        return cls(**{**entry, "outcomes": outcomes})


def verdicts(outcomes: Iterable[Outcome]) -> str:
    """Return the SHA-256 of what came of some checks, their times and their order aside."""
    lines = sorted(f"{o.formula} {o.property_name}: {o.verdict}\n" for o in outcomes)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


# -- at a worker ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Work:
    """What a worker certifies, as plain data."""

    name: str
    operators: list[str] | None
    dtypes: list[str] | None
    examples: int
    at_scale: bool
    limits: dict[str, Any]
    forbidden: list[str]
    domain: str  # that every backend is restricted to, as --domain has it
    policies: str = ""  # that every backend has, as --policy has them

    def opened(self) -> Backend:
        """Return the backend, imported in a process of its own, restricted to the domain.

        Raises:
            UnknownBackend, UnusableBackend, UsageError: it cannot be checked as asked for.
        """
        os.environ[DOMAIN] = self.domain  # the worker may be on another machine
        os.environ[POLICIES] = self.policies
        backend = load(self.name, self.confinement)
        try:
            limit(backend, self.dtypes)
        except UsageError:
            backend.asked.close()
            raise
        return backend

    @property
    def confinement(self) -> Confinement:
        """How the backend is kept."""
        return Confinement(limits=Limits(**self.limits), forbidden=tuple(self.forbidden))

    def settled(self, backend: Backend) -> dict[str, Any]:
        """Return what all shards must have in common."""
        return settled(
            backend, examples=self.examples, operators=operators_named(self.operators),
            confinement=self.confinement, at_scale=self.at_scale,
        )  # fmt: skip


class Refused(Exception):
    """A worker has another suite, another backend or other packages than the campaign."""


def surveyed(work: str) -> str:
    """Return, as JSON, what all shards must have in common and a certificate without outcomes.

    Or why there is nothing to check: it is asked of a worker, for that may be another machine.
    """
    order = Work(**json.loads(work))
    with _ALONE:
        try:
            backend = order.opened()
        except UnusableBackend as error:
            return json.dumps({"unusable": str(error)})
        except (UnknownBackend, UsageError) as error:
            return json.dumps({"unknown": str(error)})
        try:
            chosen = operators_named(order.operators)
            empty = certificate(backend, [], 0, order.examples, chosen, at_scale=order.at_scale)
            return json.dumps({"settled": order.settled(backend), "certificate": empty.to_json()})
        finally:
            backend.asked.close()


def judged(work: str, common: str, number: int, seed: int) -> str:
    """Return, as JSON, what came of a shard, why it is refused, or why it cannot be checked.

    `common` is what the shard must have in common with all others; whoever has something else is
    refused.
    """
    with _ALONE:
        try:
            told = _judged(Work(**json.loads(work)), json.loads(common), number, seed)
        except Refused as error:
            told = {"refused": str(error)}
        except Exception as error:  # noqa: BLE001 - whatever it is, the shard is told of
            told = {"lost": one_line(error)}
    return json.dumps(told)


def _judged(work: Work, common: Mapping[str, Any], number: int, seed: int) -> dict[str, Any]:
    if suite() != common["suite"]:
        raise Refused(f"its suite is {suite()[:12]}, not {common['suite'][:12]}")
    backend = work.opened()
    try:
        for name, wanted, here in differences(common, work.settled(backend)):
            raise Refused(f"its {name} is {here}, not {wanted}")
        found = checked(
            backend, operators=work.operators, examples=work.examples, seed=seed,
            at_scale=work.at_scale,
        )  # fmt: skip
    finally:
        backend.asked.close()
    return Shard.of(number, found).to_entry()


# -- all of them ----------------------------------------------------------------------------------


def both(was: Outcome, now: Outcome) -> Outcome:
    """Return what came of a check in earlier shards and in another one.

    Counts are summed, errors are the largest, and the worse end is the end of both; of two
    counterexamples the smaller is kept, and the earlier of two as small.
    """
    at, then = ENDS.index(was.status), ENDS.index(now.status)
    later = then < at or (at == then and was.status == "mismatch" and _size(now) < _size(was))
    calls = {dtype: dict(strata) for dtype, strata in was.calls.items()}
    for dtype, strata in now.calls.items():
        counts = calls.setdefault(dtype, {})
        for stratum, count in strata.items():
            counts[stratum] = counts.get(stratum, 0) + count
    return replace(
        now if later else was,
        calls=calls,
        declined=was.declined + now.declined,
        declined_of=summed((was.declined_of, now.declined_of)),
        accepted=summed(({"": was.accepted}, {"": now.accepted}))[""],
        repeated=[*map(sum, zip_longest(was.repeated, now.repeated, fillvalue=0))],
        supported=summed(({"": was.supported}, {"": now.supported}))[""],
        even_shapes=was.even_shapes + now.even_shapes,
        disputed=was.disputed + now.disputed,
        not_judged=was.not_judged + now.not_judged,
        planted=was.planted + now.planted,
        worst_error_over_bound=max(was.worst_error_over_bound, now.worst_error_over_bound),
        errors=_added(was.errors, now.errors),
        seconds=was.seconds + now.seconds,
        changed={**now.changed, **was.changed},
        layers=list(dict.fromkeys((*was.layers, *now.layers))),
        layers_left=min(was.layers_left, now.layers_left),
    )


def _added(was: dict[str, list[int]], now: dict[str, list[int]]) -> dict[str, list[int]]:
    """Return the sums of counts by dtype and tenth."""
    found = {dtype: [*counts] for dtype, counts in was.items()}
    for dtype, counts in now.items():
        before = found.get(dtype, [0] * len(counts))
        found[dtype] = [a + b for a, b in zip(before, counts, strict=True)]
    return found


def _size(outcome: Outcome) -> tuple[int, ...]:
    """Return how large a counterexample is: its elements, then its numbers, then its options."""
    report = outcome.mismatch
    if not isinstance(report, dict):
        return (1,)
    arguments, nonzeros = report["arguments"], report["nonzeros"]
    arrays = [arguments.get(name) for name in nonzeros]
    # An array that a seed makes is a word here.
    elements = sum(
        prod(array["shape"]) if isinstance(array, dict) else nonzeros[name]
        for name, array in zip(nonzeros, arrays, strict=True)
    )
    options = [value for name, value in arguments.items() if name not in nonzeros]
    return 0, elements, sum(nonzeros.values()), sum(map(_weight, options)), len(report["text"])


def _weight(option: Any) -> int:
    if isinstance(option, list):
        return sum(map(_weight, option))
    return abs(int(option)) if isinstance(option, (int, float)) else 0


def _counterexample(outcome: Outcome) -> str:
    """Return what tells a counterexample from another: a hash of its call, or of its headline."""
    report = outcome.mismatch
    shown: Any = outcome.reason
    if isinstance(report, dict):
        shown = [report["formula"], report["arguments"]]
    return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()[:16]


@dataclass
class _Seen:
    """The shards in which a check ended in one way."""

    shards: int = 0
    counterexamples: set[str] = field(default_factory=set)
    shard: int = 0  # whose counterexample is kept


class Tally:
    """What the shards of a campaign have come to so far; they may end in any order."""

    def __init__(self, empty: Certificate, asked: int) -> None:
        """Begin with a certificate without outcomes, and the calls asked for."""
        self._empty, self.asked, self.seed = empty, asked, empty.seed
        self._outcomes: dict[Case, Outcome] = {}
        self._seen: dict[tuple[str, str, str], _Seen] = {}
        self._shards: list[JudgedShard] = []  # that count
        self._calls = 0  # of these
        self._waiting: dict[int, Shard | str] = {}  # for an earlier one, or beyond what is asked
        self._kept = empty.confinement
        self._stale = True  # every shard had a listed deviation that showed nowhere
        self.calls = self.judged = self.losses = 0
        self.broken: dict[Case, str] = {}  # and the headline that was found first

    @property
    def expected(self) -> list[list[str]]:
        """The formula and the property of every check of a shard."""
        return self._empty.expected

    def take(self, shard: Shard) -> list[str]:
        """Take a shard in and return what was not known to be broken, a sentence each."""
        new = {
            (o.formula, o.property_name): o.reason for o in shard.outcomes if o.status == "mismatch"
        }
        fresh = [case for case in new if case not in self.broken]
        self.broken = {**new, **self.broken}
        self.calls += shard.calls
        self.judged += 1
        self._waiting[shard.number] = shard
        self._count()
        return [f"{case[0]} breaks {case[1]}: {new[case]}" for case in fresh]

    def lose(self, number: int, reason: str) -> None:
        """Remember why a shard cannot be checked; it counts, with no calls."""
        self.losses += 1
        self._waiting[number] = reason
        self._count()

    def knows(self, number: int) -> bool:
        """Return whether a shard was checked, or cannot be."""
        return number < len(self._shards) or number in self._waiting

    @property
    def enough(self) -> bool:
        """Whether no more shards count.

        There are enough calls, or never will be: shards check none, or cannot be checked.
        """
        last = self._shards[-1] if self._shards else None
        barren = last is not None and not last.calls and not last.lost
        return self._calls >= self.asked or barren or self.losses >= LOST

    def expects(self, begun: int) -> int:
        """Return how many calls there will be when the shards that were begun are checked."""
        return self.calls + begun * self.calls // max(self.judged, 1)

    def _count(self) -> None:
        """Add the shards whose turn it is."""
        while not self.enough and (number := len(self._shards)) in self._waiting:
            shard = self._waiting.pop(number)
            if isinstance(shard, str):
                seed = seed_of(self.seed, number)
                self._shards.append(JudgedShard(number, seed, 0, "", shard))
            else:
                self._add(shard)

    def _add(self, shard: Shard) -> None:
        self._shards.append(_told(shard, counted=True))
        self._calls += shard.calls
        self._kept = kept_in_both(self._kept, shard.confinement)
        self._stale &= shard.stale
        for outcome in shard.outcomes:
            _merge(self._outcomes, self._seen, outcome, shard.number)

    def certificate(self) -> Certificate:
        """Return the certificate of the shards that count.

        What only one beyond them broke is in it all the same, without its calls.
        """
        outcomes, seen, shards = dict(self._outcomes), self._seen, list(self._shards)
        for number in sorted(self._waiting):
            shard = self._waiting[number]
            if isinstance(shard, str):
                seed = seed_of(self.seed, number)
                shards.append(JudgedShard(number, seed, 0, "", shard, counted=False))
            elif _adds(outcomes, shard):
                shards.append(_told(shard, counted=False))
        place = {(formula, name): at for at, (formula, name) in enumerate(self._empty.expected)}
        merged = [outcomes[case] for case in sorted(outcomes, key=place.__getitem__)]
        listed = [Deviation(**one) for one in self._empty.contract["deviations"]]
        missed = [*unmet(listed, merged)]
        right = [one for one in missed if one.entry.call and self._stale]
        showed = [
            Showed(*case, one.shards, max(1, len(one.counterexamples)), one.shard)
            for case, one in sorted(seen.items(), key=lambda item: place[item[0][:2]])
        ]
        return replace(
            self._empty,
            outcomes=merged,
            confinement=self._kept,
            stale=[stale(one) for one in right],
            unmet=[noted(one) for one in missed if one not in right],
            campaign=Campaign(self.asked, shards, showed),
        )


def merged(empty: Certificate, shards: Iterable[Shard], asked: int) -> Certificate:
    """Return the certificate of some shards, which may come in any order.

    `empty` is a certificate without outcomes that has the campaign's seed.
    """
    tally = Tally(empty, asked)
    for shard in shards:
        tally.take(shard)
    return tally.certificate()


def _told(shard: Shard, *, counted: bool) -> JudgedShard:
    return JudgedShard(
        shard.number, shard.seed, shard.calls, verdicts(shard.outcomes), counted=counted
    )


def _merge(
    outcomes: dict[Case, Outcome], seen: dict[tuple[str, str, str], _Seen], outcome: Outcome,
    number: int,
) -> None:  # fmt: skip
    case = outcome.formula, outcome.property_name
    known = outcomes.get(case)
    outcomes[case] = outcome if known is None else both(known, outcome)
    if outcome.status not in TOLD:
        return
    one = seen.setdefault((*case, outcome.status), _Seen(shard=number))
    one.shards += 1
    if outcome.status in BROKEN:
        one.counterexamples.add(_counterexample(outcome))
    if outcomes[case].mismatch is outcome.mismatch is not None:
        one.shard = number


def _adds(outcomes: dict[Case, Outcome], shard: Shard) -> bool:
    """Add what only a shard beyond those that count broke; return whether there is something."""
    added = False
    for now in shard.outcomes:
        case = now.formula, now.property_name
        known = outcomes.get(case, Outcome(now.backend, *case))
        if now.status in BROKEN and known.status not in BROKEN:
            outcomes[case] = replace(
                known, status=now.status, reason=now.reason, mismatch=now.mismatch,
                deviation=now.deviation, drawn=now.drawn, recorded=now.recorded,
            )  # fmt: skip
            added = True
    return added


# -- again ----------------------------------------------------------------------------------------


def contradictions(told: Certificate, shard: JudgedShard, again: Certificate) -> list[str]:
    """Return what a shard that was replayed says and the campaign's certificate does not."""
    lines = []
    now = verdicts(again.outcomes)
    calls = sum(outcome.judged for outcome in again.outcomes)
    if now != shard.verdicts:
        lines.append(
            f"shard {shard.number} (seed {shard.seed}) checked {shard.calls} calls and came to "
            f"verdicts {shard.verdicts[:12]}; now it checks {calls} and comes to {now[:12]}"
        )
    merged = {(o.formula, o.property_name): o for o in told.outcomes}
    for outcome in again.outcomes:
        known = merged.get((outcome.formula, outcome.property_name))
        lines += _contradicted(known, outcome, counted=shard.counted)
    return lines


def _contradicted(known: Outcome | None, now: Outcome, *, counted: bool) -> list[str]:
    check = f"{now.formula} {now.property_name}"
    if known is None:
        return [f"{check}: not in the certificate; now {now.verdict}"]
    worse = ENDS.index(now.status) < ENDS.index(known.status)
    if worse and (counted or now.status in BROKEN):
        return [f"{check}: {known.verdict}; now {now.verdict}"]
    less = [
        f"{count} of {dtype}, {stratum}"
        for dtype, strata in now.calls.items()
        for stratum, count in strata.items()
        if counted and count > known.calls.get(dtype, {}).get(stratum, 0)
    ]
    return [f"{check}: fewer calls than now: {'; '.join(less)}"] if less else []


def other_sums(told: Certificate, shards: Sequence[Shard]) -> list[str]:
    """Return what a campaign's certificate says and its shards, all replayed, do not sum up to."""
    assert told.campaign is not None, "a certificate of one run has no shards"  # noqa: S101
    tally = Tally(replace(told, outcomes=[], campaign=None), told.campaign.asked)
    for one in told.campaign.lost:
        tally.lose(one.number, one.lost)
    for shard in shards:
        tally.take(Shard.from_entry(shard.to_entry()))
    return other_verdicts(told, tally.certificate())
