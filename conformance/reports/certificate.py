"""The certificate: what ran, on what, with which result, as text and as JSON."""

from __future__ import annotations

import json
import math
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from gradoracle.conformance.backends.contract import EXPENSIVE
from gradoracle.conformance.backends.declines import in_common, summed
from gradoracle.conformance.drawing.profiles import PROFILES
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.reports.certificate_json import SCHEMA, content_of, digest, scheme
from gradoracle.conformance.reports.schema import require
from gradoracle.oracle.declaration import output_of
from gradoracle.oracle.expected.transform_bounds import DIRECT
from gradoracle.oracle.float_formats import FORMATS

if TYPE_CHECKING:
    from gradoracle.conformance.reports.mismatch_text import MismatchReport

UNCLAIMED = "not claimed"
# The properties of plain answers, the first to be reported first.
EXACTLY = "matches_oracle"
PLAIN = (EXACTLY, "within_rounding_bound", "returns_what_the_protocol_says")

ABSENT = "absent"  # how a function is wrong that is claimed and is not there
CONVENTION = "another convention"  # how answers are wrong that one is recognised in
# What repeats the mismatch of the plain answers: it fails on them, or needs right ones.
ALSO_FAILS, NOT_CHECKED = "also fails", "not checked"
NAMED = 3  # names that a line lists
MEANT = "; did you mean: "  # in the reason why a function was not checked
REPEATS = (ALSO_FAILS, NOT_CHECKED)
WITNESSES = {
    "exact oracle": ("matches_oracle", "within_rounding_bound"),
    "finite differences": ("finite_differences",),
    "PyTorch": ("matches_torch",),
}
FOUND = ("mismatch", "deviation", ALSO_FAILS)  # the check met a wrong answer
ENOUGH = 30  # calls inside a domain, below which nothing is certified
FEW = 4  # layers that are named where a certificate is printed; its JSON names all
UNJUDGED = ("no call", "blind")
UNCHECKED = ("not run", UNCLAIMED, NOT_CHECKED)  # no call was made, and nothing is wrong
STATUSES = ("passed", "mismatch", "deviation", *UNJUDGED, *REPEATS, UNCLAIMED, "not run")


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
    calls: dict[str, dict[str, int]] = field(default_factory=dict)  # dtype -> stratum -> checked
    declined: int = 0
    # Calls that were declined and answered, by formula and class of options, of what was declined.
    declined_of: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    # Bad calls that were accepted and made, by what is wrong: only where refusing is not claimed.
    accepted: dict[str, list[int]] = field(default_factory=dict)
    # Calls that gave other bits when they were repeated, and all that were repeated: only where the
    # same bits are not claimed.
    repeated: list[int] = field(default_factory=list)
    # Calls that the backend's `supports` takes, and all it was asked of, by function.
    supported: dict[str, list[int]] = field(default_factory=dict)
    not_judged: int = 0
    planted: int = 0  # wrong answers that were planted in the backend's place, and rejected
    worst_error_over_bound: float = 0.0
    # Calls by dtype and by their largest error over its bound, in tenths; those without error not.
    errors: dict[str, list[int]] = field(default_factory=dict)
    seconds: float = 0.0
    changed: dict[str, str] = field(default_factory=dict)  # of its process, beside answering
    layers: list[str] = field(default_factory=list)  # of real networks, that were checked
    layers_left: int = 0  # that were not
    # Combinations of option classes that were met, as `drawing.coverage.Covered` has them.
    covered: list[dict[str, Any]] = field(default_factory=list)
    shapes: int = 0  # geometries that the calls had
    # Those with exact answers on integers drawn evenly: of `matches_oracle`, of sums of products.
    even_shapes: int = 0
    ended: str = ""  # the function a call of which reached a limit or ended the process
    disputed: int = 0  # calls on which the property fails for the oracle, too: not counted
    # Formulas whose plain answers are wrong where it failed, and how.
    plain: dict[str, list[str]] = field(default_factory=dict)
    also: list[str] = field(default_factory=list)  # checks that fail on the same wrong answers
    also_seen: list[str] = field(default_factory=list)  # what else was wrong, of other kinds
    mismatch: MismatchReport | dict[str, Any] | None = None
    domain_hint: str = ""  # which calls it seems to be made for
    remembered: bool = False  # a call of an earlier run showed the mismatch, and no drawn one

    @property
    def judged(self) -> int:
        """How many calls were checked."""
        return sum(count for strata in self.calls.values() for count in strata.values())

    @property
    def is_made(self) -> bool:
        """Whether it is of a check that the backend has; some that are not claimed are observed."""
        return self.status != UNCLAIMED or bool(self.calls or self.repeated or self.accepted)

    @property
    def text(self) -> str:
        """What is to be read of it: a mismatch's report, else the reason."""
        text = str(mismatch_of(self).get("text", self.reason))
        if not self.also:
            return text
        lines = textwrap.wrap(", ".join(self.also), 84, subsequent_indent="  ")
        row = "\n".join(f"  {'' if n else 'also fails':<14}{line}" for n, line in enumerate(lines))
        before, script, after = text.partition("\n  script  ")
        return f"{before}\n{row}{script}{after}"

    @property
    def headline(self) -> str:
        """What is wrong, in two lines; the first says which property fails."""
        return f"{self.backend} breaks {self.property_name}\n  {self.reason}"

    @property
    def note(self) -> str:
        """Which bad arguments were accepted, where the contract does not claim to refuse them."""
        told = [f"{what} ({took} of {made})" for what, (took, made) in self.accepted.items()]
        return f"{self.formula} accepts {', '.join(told)}" if told else ""

    @property
    def unrepeatable(self) -> str:
        """In how many calls repeats differ, where the contract does not claim the same bits."""
        if not (self.repeated and self.repeated[0]):
            return ""
        return f"{self.formula}: repeats differ in {self.repeated[0]} of {self.repeated[1]} calls"

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
    verdicts: str  # SHA-256 of them; empty where it could not be checked
    lost: str = ""  # why it could not be checked
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
        """The shards that could not be checked."""
        return [one for one in self.shards if one.lost]

    @property
    def calls(self) -> int:
        """How many calls the shards that count have checked."""
        return sum(one.calls for one in self.counted)

    @property
    def text(self) -> str:
        """What it is, in a few words."""
        count = len(self.counted)
        return f"campaign of {count} shard{'s' * (count != 1)} for {self.asked} calls"

    @property
    def unjudged(self) -> str:
        """Return which shards could not be checked, and why the first could not, or ""."""
        lost = self.lost
        if not lost:
            return ""
        numbers = listed([str(one.number) for one in lost])
        which = f"shard {numbers}" if len(lost) == 1 else f"shards {numbers}"
        return f"{which} of the campaign could not be checked: {lost[0].lost}"

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
    """A mismatch with the outcome it belongs to, as `Certificate.mismatches` lists them.

    `function` is the protocol's.  Of the first wrong element of the smallest call: `index` in its
    answer, what was `got` and is the `want`ed number, and how far off it is `allowed` to be (0: the
    data are exact).  Where nothing of that can be said, since the answer has another shape or there
    is none, `index` is None and the numbers are NaN.
    """

    formula: str
    property_name: str
    headline: str
    text: str
    script: str = ""
    function: str = ""
    index: tuple[int, ...] | None = None
    got: float = math.nan
    want: float = math.nan
    allowed: float = math.nan
    arguments: dict[str, Any] = field(default_factory=dict)  # of the call, arrays as data
    looks_like: list[str] = field(default_factory=list)  # known wrong formulas that give the same
    domain_hint: str = ""  # which calls the function seems to be made for
    repro: str = ""  # the command that repeats the check

    @classmethod
    def of(cls, outcome: Outcome) -> FoundMismatch:
        """Return the mismatch of an outcome."""
        told = mismatch_of(outcome)
        element = told.get("element") or {}
        numbers = {n: float(element[n]) for n in ("got", "want", "allowed") if n in element}
        return cls(
            outcome.formula, outcome.property_name, outcome.reason, outcome.text,
            told.get("script", ""), element.get("function") or _function_of(outcome.formula),
            tuple(element["index"]) if element else None, **numbers,
            arguments=told.get("arguments", {}), looks_like=told.get("looks_like", []),
            domain_hint=outcome.domain_hint, repro=told.get("repro", ""),
        )  # fmt: skip


def _function_of(name: str) -> str:
    """Return the function that gives the answer of the formula of a name."""
    formulas = (f for operator in OPERATORS for f in operator.formulas)
    return next((output_of(f).function for f in formulas if f.__name__ == name), name)


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
    at_scale: bool = False  # all layers of real networks were to be checked
    stale: list[str] = field(
        default_factory=list
    )  # listed deviations that are none, a sentence each
    unmet: list[str] = field(
        default_factory=list
    )  # listed deviations that no check met, a sentence each
    campaign: Campaign | None = None  # of several runs, whose seeds come from this one's
    shard: str = ""  # which part of the checks was run, "2/4"; "": all, or several merged
    # The file and the line of each function, relative to the repository or the current folder.
    places: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def mismatches(self) -> list[FoundMismatch]:
        """Every broken property, with its report."""
        return [FoundMismatch.of(one) for one in self.outcomes if one.status == "mismatch"]

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
            return f"CERTIFIED{self.domain}"
        if self.as_claimed:
            return f"CERTIFIED BUT FOR {self._known.upper()}{self.domain}"
        return f"NOT CERTIFIED: {self.why_not}"

    @property
    def is_short(self) -> bool:
        """Whether a check had fewer geometries than one of a whole run, as in a quick run."""
        return self.examples < PROFILES["certify"]

    @property
    def profile(self) -> str:
        """The name of the profile, or how many geometries a check had."""
        named = (name for name, count in PROFILES.items() if count == self.examples)
        return next(named, f"{self.examples} geometries a check")

    @property
    def in_full(self) -> str:
        """The verdict where nothing else is read: with the profile and, always, the domain."""
        named = "" if self.examples == PROFILES["certify"] else f" ({self.profile})"
        checked = "" if self.as_claimed or not self.domain else ", checked"
        return f"{self.verdict.removesuffix(self.domain)}{named}{checked}{self.domain}"

    @property
    def domain(self) -> str:
        """Return what the functions were checked for where that is not every call, or ""."""
        names: dict[str, list[str]] = {}
        for name, words in self.contract.get("inside", {}).items():
            names.setdefault(words, []).append(name)
        for name, (took, asked) in self.supported.items():
            words = f"calls that supports() accepts ({took} of {asked})"
            names.setdefault(words, []).append(name)
        told = [f"{', '.join(of)}: {words}" for words, of in names.items()]
        few = f" on {self.shapes} shapes a check at most" if self.shapes else ""
        return (f" for {'; '.join(told)}" if told else "") + few

    @property
    def shapes(self) -> int:
        """Return how many geometries a check had at most, where the contract has few drawn."""
        expensive = self.contract.get("shapes") == EXPENSIVE
        return max((one.shapes for one in self.outcomes), default=0) if expensive else 0

    @property
    def supported(self) -> dict[str, tuple[int, int]]:
        """Return how many calls `supports` takes, and of how many, of functions it restricts."""
        total: dict[str, Counter[str]] = {}
        for one in self.outcomes:
            for name, (took, asked) in one.supported.items():
                total.setdefault(name, Counter()).update(took=took, asked=asked)
        shares = {name: (count["took"], count["asked"]) for name, count in total.items()}
        return {name: share for name, share in shares.items() if share[0] < share[1]}

    @property
    def _known(self) -> str:
        count = len(self.deviations)
        return f"{count} known deviation{'s' * (count > 1)}" if count else ""

    @property
    def _unexpected(self) -> str:
        """Return why the backend is not even what its contract says, or ""."""
        return self._wrong or self._undecided

    @property
    def _wrong(self) -> str:
        """Return how many checks fail, or "" if none does."""
        broken, held = len(self.mismatches), len(self.stale)
        listed = "s that hold" if held > 1 else " that holds"
        faults = {
            f"{broken} mismatch{'es' * (broken > 1)}": broken,
            f"{held} listed deviation{listed}": held,
        }
        told = " and ".join(words for words, count in faults.items() if count)
        return f"{told} in shard {self.shard}" if told and self.shard else told

    @property
    def _undecided(self) -> str:
        """Return why the checks certify nothing, though none fails, or ""."""
        lost = self.campaign.unjudged if self.campaign is not None else ""
        if lost or not (self.whole or self.shard):
            left, possible = len(self.left), len(self.possible)
            return lost or f"only {possible - left} of {possible} checks were run"
        # What cannot be run here is so whether or not it is claimed.
        claimed = [o for o in self.outcomes if o.status not in (UNCLAIMED, "not run")]
        if not claimed and not self.shard:
            return self._nothing()
        unsure = next(filter(None, map(_unsure, claimed)), "") or self._too_few()
        if unsure:
            return unsure
        if self.shard:
            return self._part
        if self.deviations and not any(o.status == "passed" for o in claimed):
            return "nothing holds: all that was checked is listed as known deviations"
        short = self.campaign.short if self.campaign is not None else ""
        return f"{short} were checked" if short else ""

    def _nothing(self) -> str:
        """Return why not one check was made."""
        if self.supported:
            return "supports() accepts no call of any function"
        reasons = {one.reason for one in self.outcomes}
        if len(reasons) == 1:
            return f"nothing was checked: {reasons.pop()}"
        return "the backend claims no function of the protocol that was asked for"

    @property
    def _part(self) -> str:
        run = sum(one.is_made for one in self.outcomes)
        were = "check was" if run == 1 else "checks were"
        return f"shard {self.shard}: {run} {were} run; gradoracle merge joins the shards"

    @property
    def holds_so_far(self) -> bool:
        """Whether it is of a shard, and nothing but the other shards is left to certify it."""
        return bool(self.shard) and self._unexpected == self._part

    def _too_few(self) -> str:
        """Return which formula was hardly checked, since its domain has few calls, or ""."""
        plain = (o for o in self.outcomes if o.property_name in PLAIN and o.status != UNCLAIMED)
        calls = dict.fromkeys((one.formula for one in plain), 0)
        for one in self.outcomes:
            if one.formula in calls:
                calls[one.formula] += one.judged
        few = next((name for name, count in calls.items() if count < ENOUGH), None)
        if few is None or not self.domain:
            return ""
        return (
            f"{few} was checked on {calls[few]} calls only: widen its domain, or leave out "
            "the function"
        )

    @property
    def whole(self) -> bool:
        """Whether every check has its outcome."""
        return self._checks() >= {(formula, name) for formula, name in self.expected}

    @property
    def possible(self) -> set[tuple[str, str]]:
        """Which checks this backend's functions have, as far as the certificate tells."""
        never = {(o.formula, o.property_name) for o in self.outcomes if not o.is_made}
        functions = {f.__name__: output_of(f).function for o in OPERATORS for f in o.formulas}
        has, done = {*self.contract.get("has", ())}, self._checks()
        return {
            (formula, name)
            for formula, name in self.expected
            if (formula, name) not in never
            and ((formula, name) in done or not has or functions.get(formula, formula) in has)
        }

    @property
    def left(self) -> set[tuple[str, str]]:
        """Which of them were not run."""
        return self.possible - self._checks()

    def _checks(self) -> set[tuple[str, str]]:
        return {(o.formula, o.property_name) for o in self.outcomes}

    @property
    def witnesses(self) -> dict[str, bool]:
        """Which independent sources of the right answer were asked, or found a mismatch."""
        asked = {o.property_name for o in self.outcomes if o.judged or o.status in FOUND}
        return {name: not asked.isdisjoint(properties) for name, properties in WITNESSES.items()}

    @property
    def level(self) -> str:
        """Return what was checked of the protocol, whatever came of it."""
        judged = {o.formula for o in self.outcomes if o.judged}
        found = {dtype for o in self.outcomes for dtype in o.calls}
        dtypes = [dtype for dtype in FORMATS if dtype in found]
        whole = {formula for formula, _ in self.expected}
        ways = self.contract.get("algorithms", {})
        in_norm = [f for f in judged if ways.get(f, DIRECT) != DIRECT]
        weaker = f", {len(in_norm)} of them bounded in norm only" if in_norm else ""
        profile = next((p for p, count in PROFILES.items() if count == self.examples), "short")
        short = f"{profile}: {self.examples} geometries a check; "
        some = list(dict.fromkeys(o for c in declines_of(self).values() for o in c))
        but = f"; declined: {', '.join(some[:FEW])}{', ...' if len(some) > FEW else ''}"
        return (
            f"{short if self.examples < PROFILES['certify'] else ''}"
            f"{len(judged)} of {len(whole)} formulas{weaker}, {listed(dtypes) or 'no dtype'}"
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

    def __str__(self) -> str:
        """Return the verdict in one screen of 80 columns."""
        from gradoracle.conformance.reports import screen  # noqa: PLC0415 - it reads this

        return "\n".join(screen.lines(self))

    def text(self) -> str:
        """Return everything that the certificate counts, calls by check in a wide table."""
        from gradoracle.conformance.reports import certificate_text  # noqa: PLC0415 - it reads this

        return "\n".join(certificate_text.lines(self))


def listed(words: Sequence[str]) -> str:
    """Return the words with commas, and the last after "and"."""
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def few(names: Sequence[str], most: int = NAMED) -> str:
    """Return the first of some names, each once, and how many more there are."""
    once = [*dict.fromkeys(names)]
    more = len(once) - most
    return listed(once) if more < 2 else f"{', '.join(once[:most])} and {more} more"


def mismatch_of(outcome: Outcome) -> dict[str, Any]:
    """Return the report of an outcome's mismatch as plain data; nothing where it has none."""
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


def outcome_of(content: Any) -> Outcome:
    """Return an outcome of plain data, such as `asdict` gives.

    Raises:
        Malformed: it is none, or its fields contradict each other.
    """
    require(content, scheme()["$defs"]["outcome"], scheme())
    return Outcome(**content)


def pairs(
    old: Certificate, new: Certificate
) -> dict[tuple[str, str], tuple[Outcome | None, Outcome | None]]:
    """Return the outcomes of every check in two certificates, by formula and property."""
    before, after = ({(o.formula, o.property_name): o for o in one.outcomes} for one in (old, new))
    return {check: (before.get(check), after.get(check)) for check in {**before, **after}}


def is_in_neither(was: Outcome | None, now: Outcome | None) -> bool:
    """Return whether a check was made in neither of two certificates, whatever kept it."""
    return all(one is None or one.status in UNCHECKED for one in (was, now))


def declines_of(c: Certificate) -> dict[str, dict[str, int]]:
    """Return what was declined of each formula, the most first."""
    found = summed(one.declined_of for one in c.outcomes)
    return {formula: in_common(counts) for formula, counts in found.items()}
