"""The certificate: what ran, on what, with which result, as text and as JSON."""

from __future__ import annotations

import hashlib
import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from math import floor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradoracle.conformance.backends.contract import POLICIES
from gradoracle.conformance.backends.declines import in_common, summed
from gradoracle.conformance.drawing.coverage import Covered
from gradoracle.conformance.drawing.profiles import PROFILES
from gradoracle.conformance.reports.schema import Malformed, parsed, problem, require
from gradoracle.oracle.expected.transform_bounds import DIRECT
from gradoracle.oracle.float_formats import FORMATS

if TYPE_CHECKING:
    from gradoracle.conformance.reports.mismatch_text import MismatchReport

UNCLAIMED = "not claimed"
# The properties of plain answers, the first to be reported first.
PLAIN = ("matches_oracle", "within_rounding_bound", "returns_what_the_protocol_says")
SCHEMA = 7  # of the JSON; raised when a field comes, goes or changes its meaning
SCHEMA_FILE = Path(__file__).with_name("certificate.schema.json")  # says what every field means

ABSENT = "absent"  # how a function is wrong that is claimed and is not there
# What repeats the mismatch of the plain answers: it fails on them, or needs right ones.
ALSO_FAILS, NOT_CHECKED = "also fails", "not checked"
REPEATS = (ALSO_FAILS, NOT_CHECKED)
SHORT = {ALSO_FAILS: "also", NOT_CHECKED: "n/c"}  # in the table
WITNESSES = {
    "exact oracle": ("matches_oracle", "within_rounding_bound"),
    "finite differences": ("finite_differences",),
    "PyTorch": ("matches_torch",),
}
FOUND = ("mismatch", "deviation", ALSO_FAILS)  # the check met a wrong answer
FEW = 4  # layers that are named where a certificate is printed; its JSON names all
NOTHING = "-"  # in the table, where a claim is not made
UNJUDGED = ("no call", "blind")
STATUSES = ("passed", "mismatch", "deviation", *UNJUDGED, *REPEATS, UNCLAIMED, "not run")
SHOUTED = {"mismatch": "WRONG", "deviation": "DEVIATES"}


@dataclass
class Outcome:
    """The result of one property of one formula."""

    backend: str
    formula: str
    property_name: str
    status: str = "not run"  # passed, mismatch, deviation, no call, blind, not claimed, not run
    reason: str = ""  # why it is not passed; of a mismatch and a deviation what is wrong
    deviation: str = ""  # why the contract lists what is wrong as a known deviation
    drawn: str = ""  # the call that a known deviation showed on; nobody made it small
    # The smallest call met on which a known deviation showed, for the entry to record.
    recorded: dict[str, Any] | None = None
    calls: dict[str, dict[str, int]] = field(default_factory=dict)  # dtype -> stratum -> judged
    declined: int = 0
    # Calls that were declined and answered, by formula and class of options, of what was declined.
    declined_of: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    not_judged: int = 0
    planted: int = 0  # wrong answers that were planted in the backend's place, and rejected
    worst_error_over_bound: float = 0.0
    seconds: float = 0.0
    changed: dict[str, str] = field(default_factory=dict)  # of its process, beside answering
    layers: list[str] = field(default_factory=list)  # of real networks, that were judged
    layers_left: int = 0  # that were not
    # Combinations of option classes that were met, as `drawing.coverage.Covered` has them.
    covered: list[dict[str, Any]] = field(default_factory=list)
    ended: str = ""  # the function a call of which reached a limit or ended the process
    disputed: int = 0  # calls on which the property fails for the oracle, too: not counted
    # Formulas whose plain answers are wrong where it failed, and how.
    plain: dict[str, list[str]] = field(default_factory=dict)
    also: list[str] = field(default_factory=list)  # checks that fail on the same wrong answers
    also_seen: list[str] = field(default_factory=list)  # what else was wrong, of other kinds
    mismatch: MismatchReport | dict[str, Any] | None = None

    @property
    def judged(self) -> int:
        """How many calls were judged."""
        return sum(count for strata in self.calls.values() for count in strata.values())

    @property
    def text(self) -> str:
        """What is to be read of it: a mismatch's report, else the reason."""
        text = str(_mismatch(self).get("text", self.reason))
        if not self.also:
            return text
        lines = textwrap.wrap(", ".join(self.also), 84, subsequent_indent="  ")
        row = "\n".join(f"  {'' if n else 'also fails':<14}{line}" for n, line in enumerate(lines))
        before, script, after = text.partition("\n  script  ")
        return f"{before}\n{row}{script}{after}"

    @property
    def verdict(self) -> str:
        """What came of it, in a few words; the same of every run from the same seed.

        Which check is the first to meet a function that does not end depends on the other
        processes of the run.
        """
        if self.ended:
            return f"{self.ended} is not called any more"
        if self.status == "mismatch":
            return f"WRONG ({self.reason})"
        if self.status == "deviation":
            return f"DEVIATES as listed, {self.deviation} ({self.reason})"
        if self.status != "passed":
            return self.status
        declined = f", {self.declined} declined" if self.declined else ""
        return f"passed {self.judged} calls{declined}"


@dataclass
class JudgedShard:
    """One certification of a campaign."""

    number: int
    seed: int
    calls: int
    verdicts: str  # SHA-256 of them; empty where it could not be judged
    lost: str = ""  # why it could not be judged
    counted: bool = True  # else it is beyond the calls asked for, and told for what it found


@dataclass
class Showed:
    """In how many shards of a campaign a check ended in one way, which is not that it passed."""

    formula: str
    property_name: str
    status: str  # mismatch, deviation, no call, blind
    shards: int
    different: int  # minimal counterexamples
    shard: int  # the number of the one that is told of


@dataclass
class Campaign:
    """What a certificate is of that many certifications, each from a seed of its own, came to."""

    asked: int  # calls
    shards: list[JudgedShard]
    showed: list[Showed]

    @property
    def counted(self) -> list[JudgedShard]:
        """The shards that the calls are of: the first so many."""
        return [one for one in self.shards if one.counted]

    @property
    def lost(self) -> list[JudgedShard]:
        """The shards that could not be judged."""
        return [one for one in self.shards if one.lost]

    @property
    def calls(self) -> int:
        """How many calls the shards that count have judged."""
        return sum(one.calls for one in self.counted)

    @property
    def text(self) -> str:
        """What it is, in a few words."""
        count = len(self.counted)
        return f"campaign of {count} shard{'s' * (count != 1)} for {self.asked} calls"

    @property
    def unjudged(self) -> str:
        """Return which shards could not be judged, and why the first could not, or ""."""
        lost = self.lost
        if not lost:
            return ""
        numbers = _listed([str(one.number) for one in lost])
        which = f"shard {numbers}" if len(lost) == 1 else f"shards {numbers}"
        return f"{which} of the campaign could not be judged: {lost[0].lost}"

    @property
    def short(self) -> str:
        """Return by how much it misses the calls asked for, or ""."""
        return "" if self.calls >= self.asked else f"only {self.calls} of {self.asked} calls"

    @classmethod
    def read(cls, content: dict[str, Any]) -> Campaign:
        """Return what a certificate's JSON has."""
        shards = [JudgedShard(**one) for one in content["shards"]]
        return cls(content["asked"], shards, [Showed(**one) for one in content["showed"]])


@dataclass
class FoundMismatch:
    """A mismatch with the outcome it belongs to, as `Certificate.mismatches` lists them."""

    formula: str
    property_name: str
    headline: str
    text: str
    script: str = ""


@dataclass
class Certificate:
    """What one run says about one backend."""

    backend: str
    origin: str
    contract: dict[str, Any]
    seed: int
    examples: int
    environment: dict[str, Any]
    outcomes: list[Outcome]
    expected: list[list[str]]  # [formula, property] of every check of a whole run
    confinement: dict[str, Any] = field(default_factory=dict)  # how it was kept, and what it did
    files: dict[str, str] = field(default_factory=dict)  # SHA-256 of the backend's code
    suite: str = ""  # SHA-256 of the suite's code
    at_scale: bool = False  # all layers of real networks were to be judged
    stale: list[str] = field(
        default_factory=list
    )  # listed deviations that are none, a sentence each
    unmet: list[str] = field(
        default_factory=list
    )  # listed deviations that no check met, a sentence each
    campaign: Campaign | None = None  # of several runs, whose seeds come from this one's

    @property
    def mismatches(self) -> list[FoundMismatch]:
        """Every broken property, with its report."""
        return [
            FoundMismatch(
                o.formula, o.property_name, o.reason, o.text, _mismatch(o).get("script", "")
            )
            for o in self.outcomes
            if o.status == "mismatch"
        ]

    @property
    def deviations(self) -> list[Outcome]:
        """Every check that is broken where the contract lists a known deviation."""
        return [outcome for outcome in self.outcomes if outcome.status == "deviation"]

    @property
    def passed(self) -> bool:
        """Whether the backend is certified, without known deviations: see `why_not`."""
        return not self.why_not

    @property
    def as_claimed(self) -> bool:
        """Whether the backend is certified, or certified but for the deviations that it lists."""
        return not self._unexpected

    @property
    def why_not(self) -> str:
        """Return why the backend is not certified, or "" if it is."""
        return self._unexpected or self._known

    @property
    def verdict(self) -> str:
        """Return the verdict in words; known deviations never go without saying."""
        if self.passed:
            return "CERTIFIED"
        if self.as_claimed:
            return f"CERTIFIED BUT FOR {self._known.upper()}"
        return f"NOT CERTIFIED: {self.why_not}"

    @property
    def _known(self) -> str:
        count = len(self.deviations)
        return f"{count} known deviation{'s' * (count > 1)}" if count else ""

    @property
    def _unexpected(self) -> str:
        """Return why the backend is not even what its contract says, or ""."""
        broken, held = len(self.mismatches), len(self.stale)
        if broken or held:
            listed = "s that hold" if held > 1 else " that holds"
            faults = {
                f"{broken} mismatch{'es' * (broken > 1)}": broken,
                f"{held} listed deviation{listed}": held,
            }
            return " and ".join(words for words, count in faults.items() if count)
        lost = self.campaign.unjudged if self.campaign is not None else ""
        if lost or not self.whole:
            run = len(self._checks())
            return lost or f"only {run} of {len(self.expected)} checks were run"
        # What cannot be run here is so whether or not it is claimed.
        claimed = [o for o in self.outcomes if o.status not in (UNCLAIMED, "not run")]
        if not claimed:
            return "the backend claims no function of the protocol"
        unsure = next(filter(None, map(_unsure, claimed)), "")
        if unsure:
            return unsure
        if self.deviations and not any(o.status == "passed" for o in claimed):
            return "nothing holds: all that was judged is listed as known deviations"
        short = self.campaign.short if self.campaign is not None else ""
        return f"{short} were judged" if short else ""

    @property
    def whole(self) -> bool:
        """Whether every check has its outcome."""
        return self._checks() >= {(formula, name) for formula, name in self.expected}

    def _checks(self) -> set[tuple[str, str]]:
        return {(o.formula, o.property_name) for o in self.outcomes}

    @property
    def witnesses(self) -> dict[str, bool]:
        """Which independent sources of the right answer were asked, or found a mismatch."""
        asked = {o.property_name for o in self.outcomes if o.judged or o.status in FOUND}
        return {name: not asked.isdisjoint(properties) for name, properties in WITNESSES.items()}

    @property
    def level(self) -> str:
        """Return what was judged of the protocol, whatever came of it."""
        judged = {o.formula for o in self.outcomes if o.judged}
        found = {dtype for o in self.outcomes for dtype in o.calls}
        dtypes = [dtype for dtype in FORMATS if dtype in found]
        whole = {formula for formula, _ in self.expected}
        ways = self.contract.get("algorithms", {})
        in_norm = [f for f in judged if ways.get(f, DIRECT) != DIRECT]
        weaker = f", {len(in_norm)} of them bounded in norm only" if in_norm else ""
        profile = next((p for p, count in PROFILES.items() if count == self.examples), "short")
        short = f"{profile}: {self.examples} geometries a check; "
        some = list(dict.fromkeys(o for c in _declines(self).values() for o in c))
        but = f"; declined: {', '.join(some[:FEW])}{', ...' if len(some) > FEW else ''}"
        return (
            f"{short if self.examples < PROFILES['certify'] else ''}"
            f"{len(judged)} of {len(whole)} formulas{weaker}, {_listed(dtypes) or 'no dtype'}"
            f"{but if some else ''}"
        )

    def to_json(self) -> str:
        """Return the certificate as a JSON text; its last field is the SHA-256 of all others."""
        content = {
            "schema": SCHEMA,
            "certified": self.passed,
            "verdict": self.verdict,
            "why_not": self.why_not,
            "level": self.level,
            "witnesses": self.witnesses,
            **asdict(self),
        }
        return json.dumps({**content, "sha256": digest(content)}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Certificate:
        """Return the certificate that `to_json` wrote.

        Raises:
            Malformed: it is none, or it was changed since; the message names the place.
        """
        return cls.of_content(content_of(text))

    @classmethod
    def of_content(cls, content: Mapping[str, Any]) -> Certificate:
        """Return the certificate of what `content_of` read."""
        names = {f.name for f in fields(cls)} - {"outcomes", "campaign"}
        several = content["campaign"]
        return cls(
            **{name: content[name] for name in names},
            outcomes=[Outcome(**one) for one in content["outcomes"]],
            campaign=None if several is None else Campaign.read(several),
        )

    def text(self) -> str:
        """Return the certificate as it is printed."""
        return "\n".join(_lines(self))


@cache
def scheme() -> dict[str, Any]:
    """Return the JSON Schema of certificates."""
    read: dict[str, Any] = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    return read


def content_of(text: str | bytes) -> dict[str, Any]:
    """Return a certificate's JSON as plain data, every field of the kind that the schema wants.

    Whether the fields agree with each other is not looked at: `gradoracle verify` does.

    Raises:
        Malformed: it is none, or it was changed since; the message names the place.
    """
    content = parsed(text)
    if not isinstance(content, dict) or "schema" not in content:
        raise Malformed("not a certificate of gradoracle: want an object with the field schema")
    if content["schema"] != SCHEMA:
        version = content["schema"] if isinstance(content["schema"], int) else "another kind"
        raise Malformed(f"a certificate of schema {version}; this gradoracle reads {SCHEMA}")
    wrong = problem(content, scheme(), conditions=False)
    rest = {name: value for name, value in content.items() if name != "sha256"}
    if wrong:
        raise Malformed(f"not a certificate of gradoracle: {wrong}")
    if content["sha256"] != digest(rest):
        raise Malformed("it was changed after it was written: its SHA-256 does not fit")
    return content


def outcome_of(content: Any) -> Outcome:
    """Return an outcome of plain data, such as `asdict` gives.

    Raises:
        Malformed: it is none, or its fields contradict each other.
    """
    require(content, scheme()["$defs"]["outcome"], scheme())
    return Outcome(**content)


def digest(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a certificate's content, whatever its layout."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _listed(words: Sequence[str]) -> str:
    """Return the words with commas, and the last after "and"."""
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def _mismatch(outcome: Outcome) -> dict[str, Any]:
    found = outcome.mismatch
    if found is None:
        return {}
    return found if isinstance(found, dict) else asdict(found)


def _unsure(outcome: Outcome) -> str:
    """Return why the outcome of a claimed check certifies nothing, or ""."""
    check = f"{outcome.formula} {outcome.property_name}"
    if outcome.status not in STATUSES:
        return f"{check}: there is no status {outcome.status!r}"
    if outcome.status in (*UNJUDGED, *REPEATS):
        return f"{check}: {outcome.reason}"
    if outcome.status == "passed" and not outcome.judged:
        return f"{check}: passed, and no call was checked"
    return ""


def _lines(certificate: Certificate) -> Iterable[str]:
    c = certificate
    yield f"certificate of {c.backend} ({c.origin})"
    yield f"  {c.verdict} ({c.level})"
    yield from _deviations(c)
    yield from _table(c.outcomes)
    yield from _summary(c)


def _deviations(c: Certificate) -> Iterable[str]:
    """Yield what is known to be wrong, under its reason, and what is listed for nothing."""
    reasons: dict[tuple[str, str], list[Outcome]] = {}
    for one in c.deviations:
        reasons.setdefault((one.formula, one.deviation), []).append(one)
    for (formula, reason), found in reasons.items():
        yield f"  KNOWN DEVIATION of {formula}: {reason}"
        for one in found:
            yield f"    breaks {one.property_name}: {one.reason}"
            yield f"      on {one.drawn}"
    for sentence in c.stale:
        yield f"  STALE: {sentence}"
    for sentence in c.unmet:
        yield from _wrapped(f"not met: {sentence}")


def _table(outcomes: Sequence[Outcome]) -> Iterable[str]:
    """Yield the calls judged, a row per formula and a numbered column per property."""
    properties = list(dict.fromkeys(o.property_name for o in outcomes))
    cells = {(o.formula, o.property_name): _cell(o) for o in outcomes}
    formulas = list(dict.fromkeys(o.formula for o in outcomes))
    name = max((len(f) for f in formulas), default=0)
    columns = [
        max(len(str(number)), *(len(cells.get((f, p), "")) for f in formulas))
        for number, p in enumerate(properties, 1)
    ]
    yield ""
    yield "  calls judged".ljust(name + 4) + "  ".join(
        f"{number:>{width}}" for number, width in enumerate(columns, 1)
    )
    for formula in formulas:
        row = [cells.get((formula, p), "") for p in properties]
        if set(row) - {""} == {NOTHING}:
            yield f"  {formula:<{name}}  {UNCLAIMED}"
            continue
        filled = (f"{cell:>{width}}" for cell, width in zip(row, columns, strict=True))
        yield f"  {formula:<{name}}  {'  '.join(filled)}".rstrip()
    yield ""
    legend = ", ".join(f"{number}\xa0{p}" for number, p in enumerate(properties, 1))
    for line in textwrap.wrap(legend, 98):
        yield "  " + line.replace("\xa0", " ")
    found = {o.status for o in outcomes}
    if ALSO_FAILS in found:
        yield f"  {SHORT[ALSO_FAILS]}: fails on the same wrong answers"
    if NOT_CHECKED in found:
        yield f"  {SHORT[NOT_CHECKED]}: not checked, for it needs right plain answers"
    yield ""


def _cell(outcome: Outcome) -> str:
    if outcome.status in SHOUTED:
        return SHOUTED[outcome.status]
    if outcome.status == UNCLAIMED:
        return NOTHING
    if outcome.status in REPEATS:
        return SHORT[outcome.status]
    if outcome.status != "passed":
        return outcome.status
    declined = f"-{outcome.declined}" if outcome.declined else ""
    return f"{outcome.judged}{declined}"


def _partly(c: Certificate) -> Iterable[str]:
    """Yield which functions are not claimed in a dtype that others are."""
    for dtype, names in c.contract.get("not_claimed", {}).items():
        if dtype in c.contract["dtypes"] and names:
            yield from _wrapped(f"not claimed in {dtype}: {', '.join(names)}")


def _summary(c: Certificate) -> Iterable[str]:
    strata: dict[str, int] = {}
    dtypes: dict[str, int] = {}
    for outcome in c.outcomes:
        for dtype, counts in outcome.calls.items():
            for stratum, count in counts.items():
                strata[stratum] = strata.get(stratum, 0) + count
                dtypes[dtype] = dtypes.get(dtype, 0) + count
    total = sum(strata.values())
    seconds = sum(o.seconds for o in c.outcomes)
    yield f"  {total} calls in {seconds:.1f} s: {_counts(dtypes)}; strata {_counts(strata)}"
    worst = max(c.outcomes, key=lambda o: o.worst_error_over_bound, default=None)
    if worst is not None and worst.worst_error_over_bound:
        share = floor(1000 * worst.worst_error_over_bound) / 1000
        yield f"  largest rounding error {share} of the bound ({worst.formula})"
    yield f"  planted wrong answers: {sum(o.planted for o in c.outcomes)} rejected"
    declined = sum(o.declined for o in c.outcomes)
    if declined:
        yield from _wrapped(
            f"declined: {declined} calls raised NotImplementedError, or needed more memory than "
            "there is (-n above); none was passed"
        )
    yield from _declined_of(c)
    judged = {o.formula for o in c.outcomes if o.status != "not claimed"}
    skipped = sum(o.not_judged for o in c.outcomes)
    if skipped:
        yield f"  not applicable: {skipped} calls that a property says nothing about, not counted"
    yield from _disputed(c)
    unclaimed = sorted({o.formula for o in c.outcomes} - judged)
    if unclaimed:
        yield f"  not claimed: {', '.join(unclaimed)}"
    yield from _partly(c)
    yield from _claims(c)
    asked = [f"{name}{_found_by(c, name)}" for name, was in c.witnesses.items() if was]
    absent = [name for name, was in c.witnesses.items() if not was]
    yield f"  witnesses: {', '.join(asked) or 'none'}" + (
        f"; not run: {', '.join(absent)}" if absent else ""
    )
    yield from _reasons(c)
    yield from _coverage(c)
    yield from _scale(c)
    if c.contract.get("runs_on"):
        yield from _wrapped(f"runs, as it says, on {c.contract['runs_on']}")
    yield from _kept(c)
    yield f"  {_counts(c.environment, ' ')}"
    yield from _campaign(c.campaign)
    each = " and shard" if c.campaign is not None else ""
    yield f"  seed {c.seed}, {c.examples} examples a check{each}"


def _declined_of(c: Certificate) -> Iterable[str]:
    for formula, counts in _declines(c).items():
        told = ", ".join(f"{count} with {what}" for what, count in counts.items())
        yield from _wrapped(f"  {formula} declined {told}")


def _disputed(c: Certificate) -> Iterable[str]:
    disputed = sum(o.disputed for o in c.outcomes)
    if disputed:
        yield from _wrapped(
            f"disputed: {disputed} calls on which the oracle fails the property, too, not counted: "
            "a fault of gradoracle, please report it"
        )


def _declines(c: Certificate) -> dict[str, dict[str, int]]:
    """Return what was declined of each formula, the most first."""
    found = summed(one.declined_of for one in c.outcomes)
    return {formula: in_common(counts) for formula, counts in found.items()}


def _found_by(c: Certificate, name: str) -> str:
    """Return in how many checks a witness met a wrong answer."""
    count = sum(o.status in FOUND and o.property_name in WITNESSES[name] for o in c.outcomes)
    return f" (wrong answers in {count} check{'s' * (count > 1)})" if count else ""


def _campaign(campaign: Campaign | None) -> Iterable[str]:
    """Yield of how many shards it is, and in how many of them what is not right showed."""
    if campaign is None:
        return
    yield f"  {campaign.text}"
    count = len(campaign.counted)
    seen: dict[tuple[str, str], list[Showed]] = {}
    for one in campaign.showed:
        seen.setdefault((one.formula, one.status), []).append(one)
    for (formula, status), found in seen.items():
        told = ", ".join(
            f"{one.property_name} in {one.shards}"
            + (f" with {one.different} counterexamples" if one.different > 1 else "")
            for one in found
        )
        yield from _wrapped(f"{status} of {formula}, of {count} shards: {told}")
    for shard in campaign.lost:
        yield from _wrapped(f"shard {shard.number} could not be judged: {shard.lost}")
    beyond = [str(one.number) for one in campaign.shards if not (one.counted or one.lost)]
    if beyond:
        yield from _wrapped(
            f"beyond the calls asked for, told for what was found there: shard {_listed(beyond)}"
        )


def _claims(c: Certificate) -> Iterable[str]:
    """Yield what the contract says of rules, sums and algorithms."""
    rules = {name: c.contract.get("policies", {}).get(name, of[0]) for name, of in POLICIES.items()}
    yield from _wrapped(f"policies: {_counts(rules)}")
    held = c.contract.get("accumulators", {})
    wider = [f"{held[d]} of {d}" for d in c.contract["dtypes"] if held.get(d, d) != d]
    if wider:
        yield from _wrapped(f"accumulators: {', '.join(wider)}")
    ways = c.contract.get("algorithms", {})
    if ways:
        told = [f"{way} of {name}" for name, way in ways.items()]
        yield from _wrapped(
            f"algorithms: {', '.join(told)}; bounded by norms, not element by element"
        )


def _coverage(c: Certificate) -> Iterable[str]:
    """Yield which combinations of option classes the calls met, formula by formula."""
    met: dict[tuple[str, ...], list[str]] = {}
    others = {"whole": 0, "checks": 0}
    for one in c.outcomes:
        found = [Covered(**each) for each in one.covered]
        if len(found) > 1:
            met.setdefault(tuple(each.text for each in found), []).append(one.formula)
        elif found:
            others["checks"] += 1
            others["whole"] += found[0].met == found[0].possible
    for texts, formulas in met.items():
        yield from _wrapped(f"options of {', '.join(formulas)}: {'; '.join(texts)}")
    if others["checks"]:
        checks = f"{others['whole']} of {others['checks']} other checks"
        yield from _wrapped(f"all pairs of option classes: in {checks}")


def _scale(c: Certificate) -> Iterable[str]:
    """Yield which layers of real networks were judged, and that the others were not."""
    told: dict[tuple[str, ...], list[Outcome]] = {}
    for one in c.outcomes:
        if one.layers:
            told.setdefault((*one.layers,), []).append(one)
    for layers, outcomes in told.items():
        shown = f"{len(layers)} layers" if len(layers) > FEW else "; ".join(layers)
        names = ", ".join(one.formula for one in outcomes)
        yield from _wrapped(f"judged at scale, {names}: {shown}")
    left = {one.formula: one.layers_left for one in c.outcomes if one.layers_left}
    if left:
        all_ = "" if c.at_scale else "; --at-scale judges them"
        counts = ", ".join(f"{count} of {name}" for name, count in left.items())
        yield from _wrapped(f"not judged at scale: layers {counts}{all_}")


def _kept(c: Certificate) -> Iterable[str]:
    """Yield where the backend ran, and what it did beside answering."""
    kept = c.confinement
    if not kept:
        return
    yield f"  judged in {kept['process']}"
    for what, function in {n: f for o in c.outcomes for n, f in o.changed.items()}.items():
        yield f"  it changed {what} of its process ({function})"
    for act, subjects in kept.get("acts", {}).items():
        yield from _wrapped(f"it {act} ({', '.join(subjects)})")
    if kept.get("refused"):
        yield f"  it asked for {', '.join(kept['refused'])}, which is forbidden, and got nothing"
    if kept.get("modules"):
        loaded = ", ".join(f"{name} {v}".strip() for name, v in kept["modules"].items())
        yield from _wrapped(f"it loaded {loaded}")


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(
        text, 98, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False
    )


def _reasons(c: Certificate) -> Iterable[str]:
    """Yield what was not run and why: of which formulas, unless of none at all."""
    reasons: dict[tuple[str, str], list[str]] = {}
    stopped: dict[str, list[str]] = {}
    for one in c.outcomes:
        if one.ended and one.status in ("not run", "no call"):
            stopped.setdefault(one.reason, []).append(f"{one.formula} {one.property_name}")
        elif one.status == "not run":
            reasons.setdefault((one.property_name, one.reason), []).append(one.formula)
    for (name, reason), formulas in reasons.items():
        run = any(o.property_name == name and o.status != "not run" for o in c.outcomes)
        of = f" of {', '.join(formulas)}" if run else ""
        yield from _wrapped(f"not run: {name}{of} ({reason})")
    for reason, names in stopped.items():
        yield from _wrapped(f"{reason}: {', '.join(names)}")


def _counts(counts: dict[str, Any], between: str = " ") -> str:
    return ", ".join(f"{name}{between}{value}" for name, value in counts.items())
