"""The calls of one check that were made, and how they failed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from gradoracle.conformance.backends.backend import Backend
from gradoracle.conformance.backends.declines import Declines
from gradoracle.conformance.backends.mismatch import (
    ENDED,
    Answer,
    Declined,
    Ended,
    Mismatch,
    Outside,
)
from gradoracle.conformance.checking.claim import Claim
from gradoracle.conformance.checking.control import control, holds_for_the_oracle
from gradoracle.conformance.checking.diagnosis import NO_ANSWER, kind_of, plainly_wrong
from gradoracle.conformance.checking.failures import Drawn, Failure, size_of
from gradoracle.conformance.drawing.coverage import Covered
from gradoracle.conformance.misconceptions import is_evidence
from gradoracle.conformance.operators.record import Geometry
from gradoracle.conformance.properties import NothingToJudge, NotJudged, Property
from gradoracle.conformance.reports.certificate import PLAIN
from gradoracle.conformance.reports.mismatch_text import in_a_line
from gradoracle.oracle.declaration import Call, is_data, whole_of
from gradoracle.oracle.expected.truth import format_of
from gradoracle.oracle.float_formats import HALVES, dtype_of

REMEMBERED = 8  # calls on which wrong answers are planted, at most
EVIDENCE = 20  # answers kept to tell misconceptions apart, at most
# Calls that follow the first failing one: another fault may show there, and a graver one.
FURTHER, FURTHER_IF_LIGHT = 24, 100
TENTHS = 10  # of a bound, by which calls are counted


@dataclass
class Examination(Claim):
    """What was asked so far, and the last call that broke the property."""

    seed: int
    examples: int
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)  # (dtype, stratum)
    declined: int = 0
    declines: Declines = field(default_factory=Declines)  # what the declined calls are
    alone: bool = False  # the function returns another result alone, as it may
    not_judged: int = 0
    outside: int = 0  # of the domain: a property asks for what is there not asked
    worst: float = 0.0
    errors: dict[str, list[int]] = field(default_factory=dict)  # calls by dtype and tenth of it
    drawn: Drawn | None = None  # what the last call was made of
    layer: Geometry | None = None  # the last one that was checked
    broken: tuple[dict[str, Any], Mismatch] | None = None
    # The first call that failed in each way, and how many calls may follow the first of all.
    failures: dict[tuple[Any, ...], Failure] = field(default_factory=dict)
    smallest: dict[tuple[Any, ...], dict[str, Any]] = field(default_factory=dict)
    further: int = 0
    failing: int = 0  # calls that failed, before and after the first
    alike: tuple[Any, ...] | None = None  # how a smaller call must fail
    disputed: int = 0  # calls on which the property fails for the oracle, too
    oracles: Backend | None = None  # its functions under the backend's contract
    evidence: list[Answer] = field(default_factory=list)
    # Calls on which wrong answers are planted, by geometry.
    remembered: dict[int, dict[str, Any]] = field(default_factory=dict)
    shown: list[Answer] = field(default_factory=list)  # to the call that broke it
    at_scale: bool = False  # all layers of real networks are checked, not the few small ones
    layers: list[str] = field(default_factory=list)  # that were checked
    layers_left: int = 0  # that were not
    covered: list[Covered] = field(default_factory=list)  # by covering arrays
    shapes: set[tuple[tuple[str, int], ...]] = field(default_factory=set)  # sizes of the calls
    # Those of calls whose answers are exact, on integers drawn evenly.
    even_shapes: set[tuple[tuple[str, int], ...]] = field(default_factory=set)
    # What fails on the small call that shows a layer's fault, and how it does.
    small_property: Property | None = None
    recognised: str = ""  # which other convention explains the mismatch
    small: dict[str, list[str]] = field(default_factory=dict)
    nothing: str = ""  # why there is nothing to check

    def dtypes_for(self, seed: int) -> list[str]:
        """Return the claimed dtypes that a geometry is checked in.

        Half precision comes in turn, one format a geometry, and first what had no call yet: it
        takes the same code, and all formats of all geometries would take twice the time.  So do
        all dtypes, where `Property.takes_dtypes_in_turn`.
        """
        claimed = self.dtypes()
        halves = [d for d in claimed if d in HALVES]
        turn = seed ^ seed >> 16
        skipped = {*halves} - {*halves[turn % max(1, len(halves)) :][:1]}
        if self.property.takes_dtypes_in_turn(self.examples):
            classes = self.classes_of_dtypes()
            skipped |= {*claimed} - {*classes[turn // 2 % len(classes)]}
        judged = {dtype for dtype, _ in self.calls}
        return [d for d in claimed if d not in skipped or d not in judged]

    @property
    def filters(self) -> bool:
        """Whether the backend decides call by call which ones it is made for."""
        return self.backend.asked.description.supports

    def judge_call(self, call: dict[str, Any]) -> bool:
        """Check one call and return whether it counts.

        A broken property raises Mismatch, the gravest of what was met, once some more calls have
        been checked: what is wrong with an empty batch or one dtype must not hide what is wrong
        with every other call.
        """
        if self.failures:
            self.further -= 1
            if self.further < 0:
                self.settle()
        try:
            return self.passes(call)
        except Mismatch as mismatch:
            self.failing += 1
            failure = Failure(call, mismatch, self.drawn, self.wrong_in(call, mismatch))
            limit = FURTHER_IF_LIGHT if failure.weight(self.property) else FURTHER
            self.further = min(self.further, limit) if self.failures else limit
            way = self.way(failure)
            self.failures.setdefault(way, failure)
            if size_of(call) < size_of(self.smallest.get(way, self.failures[way].call)):
                self.smallest[way] = call
            if self.property.on_layers or mismatch.kind in ENDED:
                self.settle()
            return False

    def settle(self) -> None:
        """Raise the gravest Mismatch that was met, the first of several."""
        if self.failures:
            worst = min(self.failures.values(), key=lambda one: one.weight(self.property))
            self.broken, self.drawn = (worst.call, worst.mismatch), worst.drawn
            self.shown = list(self.backend.answers)
            self.alike = self.way(worst)
            raise worst.mismatch

    def way(self, failure: Failure) -> tuple[Any, ...]:
        """Return how a call fails: two calls that fail alike may show the same fault."""
        repeats = bool(failure.plain) and self.property.name not in PLAIN
        return failure.mismatch.kind, repeats, failure.is_empty

    def wrong_in(self, call: dict[str, Any], mismatch: Mismatch) -> dict[str, tuple[str, ...]]:
        """Return the formulas whose plain answers are wrong in a failing call, and how."""
        if self.property.on_layers:
            return {}
        found: dict[str, tuple[str, ...]] = {}
        for answer in plainly_wrong(self.backend, self.property, call, mismatch):
            kind = kind_of(self.backend, answer)
            name = whole_of(answer.formula).__name__
            kind = mismatch.kind if kind == NO_ANSWER else kind
            found[name] = tuple(dict.fromkeys((*found.get(name, ()), kind)))
        return found

    def passes(self, call: dict[str, Any]) -> bool:
        """Return whether a call counts and passes; one that fails raises Mismatch."""
        self.backend.answers.clear()
        try:
            share = self.property.check(self.backend, self.operator, self.formula, call)
        except Outside:
            self.outside += 1
            return False
        except Declined as why:
            self.alone |= why.alone
            if why.alone:
                return False
            self.declined += 1
            self.declines.decline(*(self.backend.declined or (self.formula, call)))
            return False
        except NotJudged as reason:
            self.not_judged += 1
            if isinstance(reason, NothingToJudge):
                self.nothing = str(reason)
            return False
        except Mismatch as mismatch:
            if not (isinstance(mismatch, Ended) or self._holds_for_the_oracle(call)):
                # Our fault, not the backend's.
                self.disputed += 1
                return False
            raise
        self.declines.answer(self.formula, call)
        self.worst = max(self.worst, share)
        if share > 0:
            counts = self.errors.setdefault(format_of(call), [0] * TENTHS)
            counts[min(int(TENTHS * share), TENTHS - 1)] += 1
        self._remember(call)
        if not self.property.on_layers:  # whose answers are too many numbers to keep
            room = EVIDENCE - len(self.evidence)
            self.evidence += [a for a in self.backend.answers[:room] if is_evidence(a)]
        return True

    def tried(self, call: Call) -> bool | None:
        """Return whether a call keeps the property, counting nothing; None: it does not apply.

        One that is declined does not keep it.
        """
        dtype = dtype_of(self.judged_dtypes()[0])
        given = {n: v.astype(dtype) if is_data(v) else v for n, v in call.items()}
        try:
            self.property.check(self.backend, self.operator, self.formula, given)
        except (Outside, NotJudged):
            return None
        except (Declined, Mismatch):
            return False
        finally:
            self.backend.answers.clear()
        return True

    def _holds_for_the_oracle(self, call: dict[str, Any]) -> bool:
        if self.oracles is None:
            self.oracles = control(self.backend, self.operator)
        return holds_for_the_oracle(self.oracles, self.operator, self.formula, self.property, call)

    def _remember(self, call: dict[str, Any]) -> None:
        """Keep a call with numbers, of another geometry and dtype than the last one.

        One half is as good as the other: a geometry is checked in one of them.
        """
        geometry, dtype = self.drawn[0] if self.drawn else self.layer, format_of(call)
        most = 1 if self.property.on_layers else REMEMBERED  # whose arrays may be large
        if geometry is None or len(self.remembered) == most:
            return
        turns = self.dtypes_in_turn()
        turn = turns[len(self.remembered) % len(turns)]
        wanted = dtype in turn or self.property.takes_dtypes_in_turn(self.examples)
        if wanted and all(v.size for v in call.values() if is_data(v)):
            self.remembered.setdefault(geometry.seed, call)

    def over(self) -> bool:
        """Return whether it is at a limit that the call which broke the property was ended."""
        mismatch = self.broken[1] if self.broken is not None else None
        return isinstance(mismatch, Ended) and bool(mismatch.over)

    def also_seen(self) -> list[str]:
        """Return what else was wrong on the calls of the check, each with the call it showed on.

        That the same is wrong with empty arrays, too, adds nothing.
        """
        known = None if self.alike is None else self.alike[:2]
        also: dict[tuple[Any, ...], str] = {}
        for (*way, _), one in self.failures.items():
            if (*way,) != known:
                on = in_a_line(self.formula, one.mismatch.call or one.call)
                also.setdefault((*way,), f"{one.mismatch.headline} (on {on})")
        return [*also.values()]

    def plain(self) -> dict[str, list[str]]:
        """Return the formulas whose plain answers the check failed on, and how they are wrong."""
        found: dict[str, list[str]] = {**self.small}
        for way, one in self.failures.items():
            if way == self.alike or self.property.name in PLAIN:
                for name, kinds in one.plain.items():
                    found[name] = list(dict.fromkeys((*found.get(name, ()), *kinds)))
        return found
