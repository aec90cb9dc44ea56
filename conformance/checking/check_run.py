"""One examination: one property of one formula of one backend, on calls that Hypothesis draws.

pytest and `gradoracle.check` both end up here, so both give the same verdicts.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf, prod
from time import perf_counter
from typing import Any, TypeAlias

import numpy as np

from gradoracle.conformance.backends.backend import Backend, How
from gradoracle.conformance.backends.declines import Declines
from gradoracle.conformance.backends.mismatch import ENDED, Answer, Declined, Ended, Mismatch
from gradoracle.conformance.checking import counterexample
from gradoracle.conformance.checking.control import control, holds_for_the_oracle
from gradoracle.conformance.checking.diagnosis import (
    APART,
    NO_ANSWER,
    as_plain,
    explanations,
    is_wrong_after,
    kind_of,
    plainly_wrong,
    with_other_numbers,
    wrong_answers,
)
from gradoracle.conformance.checking.recognised import recognised
from gradoracle.conformance.checking.recorded import recorded
from gradoracle.conformance.checking.self_test import blindness
from gradoracle.conformance.checking.shrinking import boldest, simplest_numbers, smallest_sizes
from gradoracle.conformance.checking.strategies import draw
from gradoracle.conformance.drawing.choices import Choices, spread
from gradoracle.conformance.drawing.coverage import CHANGED, DTYPE, DTYPES, Cover, Covered
from gradoracle.conformance.drawing.covering import Row
from gradoracle.conformance.drawing.profiles import PROFILES
from gradoracle.conformance.drawing.values import Style, all_negative
from gradoracle.conformance.misconceptions import is_evidence
from gradoracle.conformance.operators.record import Geometry, Operator, Variant
from gradoracle.conformance.operators.textbook import textbook, with_ones
from gradoracle.conformance.operators.variations import without_images
from gradoracle.conformance.properties import PROPERTIES, NothingToJudge, NotJudged, Property
from gradoracle.conformance.properties.property import FEWEST
from gradoracle.conformance.reports.certificate import (
    ABSENT,
    CONVENTION,
    PLAIN,
    UNCLAIMED,
    UNJUDGED,
    Outcome,
)
from gradoracle.conformance.reports.mismatch_text import Finding, MismatchReport, in_a_line, report
from gradoracle.conformance.scale import workloads
from gradoracle.conformance.scale.data import NUMBERS, LayerCall, layer_call
from gradoracle.oracle.chains.network import LINKS
from gradoracle.oracle.declaration import (
    Call,
    Chained,
    Formula,
    algebra,
    argument_names,
    is_data,
    output_of,
)
from gradoracle.oracle.expected.transform_bounds import DIRECT
from gradoracle.oracle.expected.truth import data_dtype
from gradoracle.oracle.float_formats import HALVES
from gradoracle.oracle.shapes import Array, Shape

PATIENCE = 60.0  # seconds to make a counterexample smaller: one that crashes may be slow to repeat
HITS = 6  # calls over a limit, at most, to make one smaller: each costs as long as the limit
SLOW = 0.1  # seconds of a call, after which no other numbers are tried for one over a limit
DRAWS = 4  # of other numbers, for a smaller geometry to fail on
LARGER = 2**16  # elements that a simpler call may have, though the call that failed has fewer
LITTLE = 5_000  # products of a call that Python's loops may take
TOGETHER = 16  # rows of a covering array that are performed at once
MOST_SEEDS = 20  # that a style gets to put NaN or infinities into every array
ATTEMPTS = 4  # to draw calls that a property says something about
REMEMBERED = 8  # calls on which wrong answers are planted, at most
EVIDENCE = 20  # answers kept to tell misconceptions apart, at most
# Calls that follow the first failing one: another fault may show there, and a graver one.
FURTHER, FURTHER_IF_LIGHT = 24, 100
RECORDED = 1000  # elements of a call, at most, that a known deviation records


@dataclass(frozen=True)
class Failure:
    """A call that failed, and how."""

    call: dict[str, Any]
    mismatch: Mismatch
    drawn: tuple[Geometry, Style, str] | None
    plain: Mapping[str, tuple[str, ...]]  # formulas whose plain answers are wrong there, and how

    @property
    def is_empty(self) -> bool:
        """Whether an array of the call has no elements."""
        return _is_empty(self.call)

    def weight(self, property_: Property) -> int:
        """Return how much it says: 0 of a fault of its own, in an ordinary call."""
        repeats = bool(self.plain) and property_.name not in PLAIN
        return 4 * repeats + 2 * self.is_empty + (self.mismatch.kind == "dtype")


def _size(call: Mapping[str, Any]) -> int:
    return sum(array.size for array in call.values() if isinstance(array, np.ndarray))


def _is_empty(call: Mapping[str, Any]) -> bool:
    return any(array.size == 0 for array in call.values() if is_data(array))


Drawn: TypeAlias = tuple[Geometry, Style, str]  # what a call is made of; the dtype is last


@dataclass
class Examination:
    """What was asked so far, and the last call that broke the property."""

    backend: Backend
    operator: Operator
    formula: Formula
    property: Property
    seed: int
    examples: int
    calls: Counter[tuple[str, str]] = field(default_factory=Counter)  # (dtype, stratum)
    declined: int = 0
    declines: Declines = field(default_factory=Declines)  # what the declined calls are
    alone: bool = False  # the function returns another result alone, as it may
    not_judged: int = 0
    worst: float = 0.0
    drawn: tuple[Geometry, Style, str] | None = None  # what the last call was made of
    layer: Geometry | None = None  # the last one that was checked
    broken: tuple[dict[str, Any], Mismatch] | None = None
    # The first call that failed in each way, and how many calls may follow the first of all.
    failures: dict[tuple[Any, ...], Failure] = field(default_factory=dict)
    smallest: dict[tuple[Any, ...], dict[str, Any]] = field(default_factory=dict)
    further: int = 0
    alike: tuple[Any, ...] | None = None  # how a smaller call must fail
    disputed: int = 0  # calls on which the property fails for the oracle, too
    oracles: Backend | None = None  # its functions under the backend's contract
    evidence: list[Answer] = field(default_factory=list)
    # Calls on which wrong answers are planted, by geometry.
    remembered: dict[int, dict[str, Any]] = field(default_factory=dict)
    until: float = inf  # when to stop making the call smaller
    shrinks: bool = False  # a call that broke the property is being made smaller
    shown: list[Answer] = field(default_factory=list)  # to that call
    hits: int = HITS  # left
    cut: bool = False  # it was stopped, and the call may not be the smallest
    at_scale: bool = False  # all layers of real networks are checked, not the few small ones
    layers: list[str] = field(default_factory=list)  # that were checked
    layers_left: int = 0  # that were not
    covered: list[Covered] = field(default_factory=list)  # by covering arrays
    small_property: Property | None = (
        None  # what fails on the small call that shows a layer's fault
    )
    recognised: str = ""  # which other convention explains the mismatch
    small: dict[str, list[str]] = field(default_factory=dict)  # how small calls fail, if one does
    nothing: str = ""  # why there is nothing to check

    def dtypes(self) -> tuple[str, ...]:
        """Return the dtypes that all functions of the check are claimed in."""
        asked = _needed(self.operator, self.formula, self.property)
        if isinstance(algebra(self.formula), Chained):
            asked += LINKS
        return self.backend.contract.dtypes_of([output_of(f).function for f in asked])

    def judged_dtypes(self) -> list[str]:
        """Return those of them that are checked: of layers, half precision is not."""
        return [d for d in self.dtypes() if not (self.property.on_layers and d in HALVES)]

    def judge(self, geometries: Sequence[Geometry]) -> None:
        """Check the calls that drawn geometries stand for.

        Every dtype of `_dtypes` gets the style that the seed picks and, where the property wants
        more of a geometry, the simplest one before it.
        """
        simplest, *_ = styles = self.operator.styles.of(self.property.kind)
        drawn: list[Drawn] = []
        for geometry in geometries:
            one = styles[geometry.seed % len(styles)]
            more = self.property.styles(self.examples) > 1 and one is not simplest
            drawn += self._in_dtypes(geometry, (simplest, one) if more else (one,))
        self._judge_in(drawn)

    def _in_dtypes(self, geometry: Geometry, styles: Sequence[Style]) -> list[Drawn]:
        """Return a geometry in these styles and every dtype of `_dtypes`."""
        return [(geometry, one, d) for d in self._dtypes(geometry.seed) for one in styles]

    def judge_corners(self, seed: int) -> None:
        """Check the operator's corners, each in one style and every dtype of `_dtypes`."""
        simplest = self.operator.styles.of(self.property.kind)[0]
        for at, corner in enumerate(self.property.corners(self.operator)):
            geometry = Geometry("boundary", corner.region, corner.sizes, (seed + at) % 2**32)
            drawn = self._in_dtypes(geometry, [corner.style or simplest])
            if corner.in_turn:
                drawn = [drawn[(at + seed) % len(drawn)]]
            self._judge_in(drawn)

    def judge_textbook(self, seed: int) -> None:
        """Check the operator's smallest calls, on the seed's numbers.

        In every dtype of `_dtypes` where the numbers are what is checked, else in one in turn.
        """
        geometries = [
            replace(geometry, seed=(seed + at) % 2**32)
            for at, geometry in enumerate(textbook(self.operator))
        ]
        if self.property.at_corners:
            self.judge(geometries)
        else:
            self._judge_in_turn(geometries, seed)

    def judge_listed(self, *, whole: bool) -> None:
        """Check the property's own geometries; of layers, in a whole run only."""
        listed = self.property.listed(self.operator, self.formula)
        self._judge_in_turn([one for one in listed if whole or one.stratum != "layers"])

    def check_not_finite(self, seed: int) -> None:
        """Check each array with NaN or infinities in it, where the property is about any numbers.

        Which array a style puts them into is drawn: seeds are tried until each has been met.  An
        array that none of the styles for that reaches is met by any other style that does.
        """
        if self.property.kind != "every":
            return
        styles, dtypes = self.operator.styles, self._dtypes_in_turn()
        geometry = with_ones(self.operator, self.formula)[0]
        unmet = {n for n in argument_names(self.formula)[0] if n in self.operator.axes.arrays}
        for at, style in enumerate((*styles.not_finite, *styles.of("all"))):
            dtype = dtypes[(at + seed) % len(dtypes)][0]
            missing = {*unmet} if at >= len(styles.not_finite) else {*self.operator.axes.arrays}
            for attempt in range(MOST_SEEDS if missing else 0):
                one = replace(geometry, seed=(seed + attempt) % 2**32)
                call = self.operator.call(one.sizes, style, one.seed, dtype)
                given = missing.intersection(argument_names(self.formula)[0])
                found = {n for n in given if is_data(call[n]) and not _is_finite(call[n])}
                if found:
                    self._judge_in([(one, style, dtype)])
                missing -= found
                unmet -= found

    def _judge_in_turn(self, geometries: Sequence[Geometry], seed: int = 0) -> None:
        """Check geometries in the simplest style, each in one of the claimed dtypes in turn.

        Layers are checked on negative numbers: there, zeros that stand beside an image show.
        """
        simplest, *_ = styles = self.operator.styles.of(self.property.kind)
        negative = next((one for one in styles if one.fill is all_negative), simplest)
        dtypes = self._dtypes_in_turn()
        for at, geometry in enumerate(geometries):
            style = negative if geometry.stratum == "layers" else simplest
            of_class = dtypes[(at + seed) % len(dtypes)]
            self._judge_in([(geometry, style, of_class[geometry.seed % len(of_class)])])

    def _judge_in(self, drawn: Sequence[Drawn]) -> list[bool]:
        """Check calls and return which of them count."""
        calls = [(of, self.operator.call(of[0].sizes, of[1], of[0].seed, of[2])) for of in drawn]
        count: list[bool] = []
        if self.property.asks is not None:
            asks = [(self.formula, call) for _, call in calls]
            self.backend.foresee(*asks, how=[self.property.asks])
        try:
            for drawn_of, call in calls:
                self.drawn = geometry, _, dtype = drawn_of
                count.append(self.judge_call(call))
                if count[-1]:
                    self.calls[dtype, geometry.stratum] += 1
        finally:
            self.backend.forget()
        return count

    def check_covers(self, seed: int) -> None:
        """Check the calls of the operator's covering arrays, each in one style and one dtype."""
        for cover, strength in self.property.covers(self.operator, self.formula):
            drawn = [
                (row, self._of_row(cover, at, row, seed))
                for at, row in enumerate(cover.rows(strength))
            ]
            if self.property.size == "small":
                drawn = [one for one in drawn if cover.work(one[1][0].sizes) <= LITTLE]
            counted: list[Row] = []
            for start in range(0, len(drawn), TOGETHER):
                some = drawn[start : start + TOGETHER]
                judged = self._judge_in([one for _, one in some])
                counted += [row for (row, _), counts in zip(some, judged, strict=True) if counts]
            self.covered.append(cover.covered(counted, strength))

    def check_variants(self, seed: int) -> None:
        """Check the layers of real networks with one option changed, each in one dtype."""
        variants = self.property.variants(self.operator, self.formula)
        judged = 0
        for start in range(0, len(variants), TOGETHER):
            some = enumerate(variants[start : start + TOGETHER], start)
            judged += sum(self._judge_in([self._of_variant(at, one, seed) for at, one in some]))
        if variants:
            self.covered.append(Covered(CHANGED, 1, judged, judged, len(variants)))

    def _of_variant(self, at: int, variant: Variant, seed: int) -> Drawn:
        """Return what a layer with one option changed is in this run."""
        own = spread(seed, variant.region)
        geometry = Geometry("layers", variant.region, variant.sizes(own), own.seed())
        return self._in_turn(geometry, own, at + seed)

    def _in_turn(self, geometry: Geometry, own: Choices, turn: int) -> Drawn:
        """Return a geometry in one style, and in the dtype whose turn it is."""
        styles, dtypes = self.operator.styles.of(self.property.kind), self._classes_of_dtypes()
        of_class = dtypes[turn % len(dtypes)]
        dtype = of_class[geometry.seed % len(of_class)]
        return geometry, styles[own.integer(0, len(styles) - 1)], dtype

    def _of_row(self, cover: Cover, at: int, row: Row, seed: int) -> Drawn:
        """Return what a row of a covering array stands for in this run."""
        own = spread(seed, cover.name, cover.strength, at)
        chosen = cover.factors.chosen(row)
        geometry = Geometry("combinations", cover.name, cover.sizes(chosen, own), own.seed())
        turn = DTYPES.index(chosen[DTYPE]) if DTYPE in chosen else at + seed
        return self._in_turn(geometry, own, turn)

    def _classes_of_dtypes(self) -> list[list[str]]:
        """Return the claimed dtypes: each by itself, but half precision together."""
        claimed = self.judged_dtypes()
        halves = [d for d in claimed if d in HALVES]
        return [*([d] for d in claimed if d not in HALVES), *([halves] if halves else [])]

    def _dtypes_in_turn(self) -> list[list[str]]:
        """Return what geometries that are checked in one dtype each take in turn.

        The first two dtypes are enough where a property makes many calls of each.
        """
        classes = self._classes_of_dtypes()
        return classes[:2] if self.property.lists else classes

    def _dtypes(self, seed: int) -> list[str]:
        """Return the claimed dtypes that a geometry is checked in.

        Half precision comes in turn, one format a geometry, and first what had no call yet: it
        takes the same code, and all formats of all geometries would take twice the time.
        """
        claimed = self.dtypes()
        halves = [d for d in claimed if d in HALVES]
        if len(halves) < 2:
            return [*claimed]
        turn = halves[(seed ^ seed >> 16) % len(halves)]
        judged = {dtype for dtype, _ in self.calls}
        return [d for d in claimed if d not in halves or d == turn or d not in judged]

    def judge_layers(self, seed: int) -> None:
        """Check layers of real networks, in whole numbers and in floats and every claimed dtype.

        Which ones is the operator's and `at_scale`'s; a call is made when its turn comes, since
        many together would take much memory.
        """
        chosen, self.layers_left = workloads.chosen(self.operator, at_scale=self.at_scale)
        for at, batch in enumerate(chosen):
            geometry = Geometry("layers", batch.name, batch.sizes, (seed + at) % 2**32)
            judged = [
                self._judge_layer(geometry, dtype, numbers)
                for dtype in self.judged_dtypes()
                for numbers in NUMBERS
            ]
            if all(judged):
                self.layers.append(batch.name)
            else:
                self.layers_left += 1

    def _judge_layer(self, geometry: Geometry, dtype: str, numbers: Any) -> bool:
        call = layer_call(
            self.operator, self.formula, geometry.region, geometry.sizes, numbers=numbers,
            seed=geometry.seed, dtype=dtype, accumulator=self.backend.contract.accumulator(dtype),
        )  # fmt: skip
        self.layer = geometry
        judged = self.judge_call(call)
        if judged:
            self.calls[dtype, geometry.stratum] += 1
        return judged

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
            return self._judged(call)
        except Mismatch as mismatch:
            failure = Failure(call, mismatch, self.drawn, self._plain(call, mismatch))
            limit = FURTHER_IF_LIGHT if failure.weight(self.property) else FURTHER
            self.further = min(self.further, limit) if self.failures else limit
            way = self._way(failure)
            self.failures.setdefault(way, failure)
            if _size(call) < _size(self.smallest.get(way, self.failures[way].call)):
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
            self.alike = self._way(worst)
            raise worst.mismatch

    def _way(self, failure: Failure) -> tuple[Any, ...]:
        """Return how a call fails: two calls that fail alike may show the same fault."""
        repeats = bool(failure.plain) and self.property.name not in PLAIN
        return failure.mismatch.kind, repeats, failure.is_empty

    def _plain(self, call: dict[str, Any], mismatch: Mismatch) -> dict[str, tuple[str, ...]]:
        """Return the formulas whose plain answers are wrong in a failing call, and how."""
        if self.property.on_layers:
            return {}
        found: dict[str, tuple[str, ...]] = {}
        for answer in plainly_wrong(self.backend, self.property, call, mismatch):
            kind = kind_of(self.backend, answer)
            name, kind = answer.formula.__name__, mismatch.kind if kind == NO_ANSWER else kind
            found[name] = tuple(dict.fromkeys((*found.get(name, ()), kind)))
        return found

    def _judged(self, call: dict[str, Any]) -> bool:
        """Check one call and return whether it counts; what fails it raises Mismatch."""
        self.backend.answers.clear()
        try:
            share = self.property.check(self.backend, self.operator, self.formula, call)
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
            if isinstance(mismatch, Ended):
                self.hits -= bool(mismatch.over) and self.shrinks
            elif not self._holds_for_the_oracle(call):  # our fault, not the backend's
                self.disputed += 1
                return False
            raise
        self.declines.answer(self.formula, call)
        self.worst = max(self.worst, share)
        self._remember(call)
        if not self.property.on_layers:  # whose answers are too many numbers to keep
            room = EVIDENCE - len(self.evidence)
            self.evidence += [a for a in self.backend.answers[:room] if is_evidence(a)]
        return True

    def _holds_for_the_oracle(self, call: dict[str, Any]) -> bool:
        if self.oracles is None:
            self.oracles = control(self.backend, self.operator)
        return holds_for_the_oracle(self.oracles, self.operator, self.formula, self.property, call)

    def _remember(self, call: dict[str, Any]) -> None:
        """Keep a call with numbers, of another geometry and dtype than the last one.

        One half is as good as the other: a geometry is checked in one of them.
        """
        geometry, dtype = self.drawn[0] if self.drawn else self.layer, data_dtype(call).name
        most = 1 if self.property.on_layers else REMEMBERED  # whose arrays may be large
        if geometry is None or len(self.remembered) == most:
            return
        turns = self._dtypes_in_turn()
        turn = turns[len(self.remembered) % len(turns)]
        if dtype in turn and all(v.size for v in call.values() if is_data(v)):
            self.remembered.setdefault(geometry.seed, call)

    def fails(self, call: dict[str, Any]) -> bool:
        """Return whether a call fails, in the way that `alike` says; False after the deadline."""
        return self._one_fails([call], how=None)

    def _is_same_end(self, mismatch: Mismatch) -> bool:
        """Return whether a call ends as the one to be made smaller: at the same limit, or none."""
        if self.broken is None or not self.shrinks:
            return True
        one, other = mismatch, self.broken[1]
        if isinstance(one, Ended) and isinstance(other, Ended):
            return (one.function, one.over) == (other.function, other.over)
        return isinstance(one, Ended) == isinstance(other, Ended)

    def passes(self, call: dict[str, Any]) -> bool:
        """Return whether a call counts and passes; one that fails raises Mismatch."""
        return self._judged(call)

    def _keeps(self, call: dict[str, Any]) -> bool:
        """Return whether a call is checked and keeps the property."""
        try:
            return self._judged(call)
        except Mismatch:
            return False

    def _one_fails(self, calls: Sequence[dict[str, Any]], how: How | None) -> bool:
        """Return whether one of some calls breaks the property; `how` has all performed at once."""
        if how is not None:
            self.backend.foresee(*((self.formula, call) for call in calls), how=[how])
        try:
            for call in calls:
                if perf_counter() >= self.until or self.hits <= 0:
                    self.cut = True
                    return False
                if self._fails_alike(call):
                    return True
            return False
        finally:
            self.backend.forget()

    def _fails_alike(self, call: dict[str, Any]) -> bool:
        """Return whether a call fails, and for a fault of the same kind if there is one already."""
        try:
            self._judged(call)
        except Mismatch as mismatch:
            answers = list(self.backend.answers)
            if not self._is_same_end(mismatch):
                return False
            if self.alike is not None:
                failure = Failure(call, mismatch, self.drawn, self._plain(call, mismatch))
                *way, is_empty = self._way(failure)
                *want, may_be_empty = self.alike
                if way != want or (is_empty and not may_be_empty):
                    return False
            self.backend.answers[:] = answers  # without what was asked to compare
            self.broken, self.shown = (call, mismatch), answers
            return True
        return False

    def minimise(self) -> bool:
        """Make the call that broke the property as small as it gets; return whether it fails."""
        assert self.drawn is not None and self.broken is not None, "nothing to minimise"  # noqa: S101, PT018
        geometry, style, dtype = self.drawn
        self.until, self.shrinks = perf_counter() + PATIENCE, True
        sizes, over = geometry.sizes, self._over()
        if over and _is_tiny(self.broken[0]):
            return True  # to be sure costs the limit once more
        if over:
            bold = boldest(sizes)
            sizes = next((s for s in bold if self._fails_somehow(s, style, dtype)), sizes)
        smallest_sizes(sizes, lambda sizes: self._fails_somehow(sizes, style, dtype))
        call, _ = self.broken
        complete = self.operator.complete
        simplest_numbers(call, lambda c: self.fails(complete(dict(c), geometry.seed)))
        call, _ = self.broken
        self.until, again = inf, over and self.hits < HITS
        self.hits, cut = HITS, self.cut
        steady = again or self.fails(call)  # a call over its limit is not called once more
        self.cut, self.backend.answers[:] = cut, self.shown
        return steady

    def _over(self) -> bool:
        """Return whether it is at a limit that the call which broke the property was ended."""
        mismatch = self.broken[1] if self.broken is not None else None
        return isinstance(mismatch, Ended) and bool(mismatch.over)

    def _fails_somehow(self, sizes: Mapping[str, int], style: Style, dtype: str) -> bool:
        """Return whether some numbers of these sizes break the property."""
        try:
            shapes = self.operator.arguments(sizes).shapes.values()
        except ValueError:
            return False
        failed = _size(self.broken[0]) if self.broken is not None else 0
        if sum(prod(shape) for shape in shapes if shape is not None) > max(LARGER, 2 * failed):
            return False  # without its thousands of groups a weight takes gigabytes
        own, *seeds = (*([self.drawn[0].seed] if self.drawn else []), *range(DRAWS))
        first, start = self.operator.call(sizes, style, own, dtype), perf_counter()
        if self.fails(first):
            return True
        if self._over() and perf_counter() - start > SLOW:
            return False
        known = self.operator.styles.of(self.property.kind)
        styles = dict.fromkeys((style, known[0])) if style in known else (style,)  # a corner's own
        others = [
            self.operator.call(sizes, one, seed, dtype)
            for seed in (own, *seeds)
            for one in styles
            if (seed, one) != (own, style)
        ]
        cropped = [self._cropped(first, last=last) for last in (False, True)]
        return self._one_fails([*cropped, *others, self._level(first)], self.property.asks)

    def _cropped(self, call: dict[str, Any], *, last: bool) -> dict[str, Any]:
        """Return a call whose arrays are the first or the last part of those that failed last."""
        failed = {} if self.broken is None else self.broken[0]
        parts: dict[str, Any] = {}
        for name, array in call.items():
            whole = failed.get(name)
            if whole is not None and is_data(array) and whole.dtype == array.dtype:
                parts[name] = _part(whole, array.shape, last=last)
        parts = {name: part for name, part in parts.items() if part is not None}
        return self.operator.complete({**call, **parts}, 0)

    def _level(self, call: dict[str, Any]) -> dict[str, Any]:
        """Return a call whose operands are 0: all equal, which draws of few numbers seldom are."""
        arrays = {n: v for n, v in call.items() if is_data(v) and n != "grad_output"}
        level = {name: np.zeros_like(array) for name, array in arrays.items()}
        return self.operator.complete({**call, **level}, 0)

    def finding(self, *, unsteady: bool) -> Finding:
        """Minimise the call that broke the property, unless it does so at times, and tell all."""
        if self.layer is not None:
            return self._finding_of_layer(self.layer)
        unsteady = unsteady or not self.minimise()
        answers, self.shrinks = list(self.backend.answers), False
        assert self.broken is not None, "a finding needs a call that broke the property"  # noqa: S101
        call, mismatch = self.broken
        blamed, plain = wrong_answers(self.backend, answers), False
        if self.property.name in APART:
            self.backend.answers[:] = answers
            wrong = plainly_wrong(self.backend, self.property, call, mismatch)
            if plain := bool(wrong):
                blamed, call = wrong, dict(wrong[0].call)
                mismatch = as_plain(self.backend, wrong[0], mismatch)
        if self.property.name == "is_stateless" and (plain or len(answers) == 1):
            last, plain = blamed[0] if plain else answers[-1], False
            answers = [*self._asked_before(last), last]
        history = not (unsteady or plain) and self.backend.asked.renew() and self._keeps(call)
        looks_like: list[str] = []
        if blamed and blamed[0].value is not None:  # no wrong formula raises or crashes
            known = (*answers, *self.evidence)
            looks_like = explanations(self.backend, blamed[0].formula, known, self.seed)
        return Finding(
            self.backend, self.operator, self.formula, self.property, self.seed, self.examples,
            call, mismatch,
            answers, blamed, looks_like, unsteady, self.at_scale, history, self.cut, plain,
            self.also_seen(),
        )  # fmt: skip

    def _asked_before(self, wrong: Answer) -> list[Answer]:
        """Return calls after which an answer is wrong, where what was asked before is not known.

        That is other numbers, or first an empty batch if they alone leave the answer right.
        """
        other = with_other_numbers(wrong)
        if self.backend.asked.renew() and is_wrong_after(self.backend, [other], wrong):
            return [other]
        empty = without_images(self.operator, wrong.formula, wrong.call)
        return [other] if empty is None else [Answer(wrong.formula, empty, None), other]

    def reported(self, *, unsteady: bool) -> MismatchReport:
        """Return the report of the finding, with the call as data that can be replayed."""
        finding = self.finding(unsteady=unsteady)
        self.recognised = self._recognised(finding)
        written = report(replace(finding, recognised=self.recognised))
        written.replay = counterexample.written(
            self.operator,
            self.small_property or self.property,
            finding.call,
            steady=self.backend.isolated and not (finding.unsteady or finding.history),
        )
        return written

    def _recognised(self, finding: Finding) -> str:
        """Return the line that says which other convention explains wrong plain answers, or ""."""
        if self.property.name not in PLAIN or finding.mismatch.kind in ENDED or finding.unsteady:
            return ""
        formula = finding.blamed[0].formula if finding.blamed else self.formula
        dtype = data_dtype(finding.call).name
        return recognised(self.backend, self.operator, formula, finding.mismatch, dtype, self.seed)

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

    def _finding_of_layer(self, layer: Geometry) -> Finding:
        """Tell of a layer by a small call that breaks an ordinary property, if there is one.

        Else by the layer itself, or by a smaller one that takes as much to show it.
        """
        assert self.broken is not None, "a finding needs a call that broke the property"  # noqa: S101
        first = self.broken
        small = self._small_examination(first[0])
        self.shrinks, steady = True, self._over() or self.fails(first[0])
        self.until = small.until = perf_counter() + PATIENCE
        if steady:
            smallest_sizes(layer.sizes, lambda sizes: self._fails_as_layer(sizes, layer, small))
        self.until = small.until = inf
        if small.broken is not None:
            self.small_property = small.property
            found = small.finding(unsteady=False)
            self.small = {self.formula.__name__: [found.mismatch.kind]}
            return replace(found, property=self.property, at_scale=self.at_scale)
        call, mismatch = self.broken if self.broken is not None and steady else first
        return Finding(
            self.backend, self.operator, self.formula, self.property, self.seed, self.examples,
            call, mismatch, [], [], [], not steady, self.at_scale, cut=self.cut,
        )  # fmt: skip

    def _small_examination(self, call: dict[str, Any]) -> Examination:
        exact = isinstance(call, LayerCall) and call.largest_sum
        ordinary = PROPERTIES["matches_oracle" if exact else "within_rounding_bound"]
        return Examination(
            self.backend, self.operator, self.formula, ordinary, self.seed, self.examples,
            alike=self.alike,
        )  # fmt: skip

    def _fails_as_layer(
        self, sizes: Mapping[str, int], layer: Geometry, small: Examination
    ) -> bool:
        """Return whether a call of these sizes fails: by the oracle itself where that is quick."""
        assert self.broken is not None, "it is what failed last"  # noqa: S101
        last = self.broken[0]
        assert isinstance(last, LayerCall), "a layer failed"  # noqa: S101
        try:
            arguments = self.operator.arguments(sizes)
        except ValueError:
            return False
        if workloads.is_small(self.operator, sizes, arguments):
            style = self.operator.styles.of(small.property.kind)[0]
            fails = small._fails_somehow(sizes, style, last.dtype)
            if fails:
                small.drawn = replace(layer, sizes=sizes), style, last.dtype
            return fails
        if small.broken is not None:
            return False
        return self.fails(
            layer_call(
                self.operator, self.formula, f"{layer.region}, made smaller", sizes,
                numbers="whole numbers" if last.largest_sum else "floats", seed=layer.seed,
                dtype=last.dtype, accumulator=self.backend.contract.accumulator(last.dtype),
            )
        )  # fmt: skip


def _part(array: Array, shape: Shape, *, last: bool) -> Array | None:
    """Return the first or the last part of an array that has a shape, None where it is larger."""
    if array.ndim == len(shape):
        sides = [*zip(array.shape, shape, strict=True)]
        if any(part > side for side, part in sides):
            return None
        ends = ((side - part, side) if last else (0, part) for side, part in sides)
        return np.array(array[tuple(slice(*end) for end in ends)])
    count = prod(shape)
    if count > array.size:
        return None
    return np.array(array.ravel()[array.size - count if last else 0 :][:count]).reshape(shape)


def examine(
    backend: Backend,
    operator: Operator,
    formula: Formula,
    property_: Property,
    *,
    examples: int,
    seed: int,
    at_scale: bool = False,
) -> Outcome:
    """Check `property_` of `formula` on fresh calls and return what came of it.

    The calls depend on `seed`, the formula and the property only: not on the backend, nor on
    what else is run, nor on the order.  From the default number of examples on, the operator's
    corners are among them.
    """
    start = perf_counter()
    backend.bad_calls.clear()
    outcome = Outcome(backend.name, formula.__name__, property_.name)
    exam = Examination(backend, operator, formula, property_, seed, examples, at_scale=at_scale)
    outcome.status, outcome.reason = _unasked(exam)
    if outcome.reason:
        if outcome.status == "mismatch":  # what is claimed is not there
            absent = next(f for f in _needed(operator, formula, property_) if not backend.has(f))
            outcome.plain = {absent.__name__: [ABSENT]}
        return outcome
    if _is_stopped(outcome, exam):
        return outcome
    unsteady = False
    try:
        if property_.on_layers:
            exam.judge_layers(_own_seed(exam))
        else:
            _judge_drawn(exam)
        exam.settle()
    except Mismatch:
        assert exam.broken is not None, "what breaks a property is kept"  # noqa: S101
        once = exam.layer is not None or exam._over()  # noqa: SLF001 - the limit would be paid again
        unsteady = not once and not exam.fails(exam.broken[0])
        if exam._over() and _is_stopped(outcome, exam):  # noqa: SLF001 - by another process meanwhile
            return outcome
    _fill(outcome, exam, unsteady=unsteady)
    outcome.seconds = perf_counter() - start
    return outcome


def unasked(
    backend: Backend, operator: Operator, formula: Formula, property_: Property
) -> tuple[str, str]:
    """Return the status of a check that nothing is asked for, and why; no reason: it is."""
    return _unasked(Examination(backend, operator, formula, property_, 0, 1))


def can_be(
    backend: Backend, operator: Operator, formula: Formula, property_: Property, outcome: Outcome
) -> bool:
    """Return whether a check of this backend can have ended so, as far as no call is needed.

    What an earlier run says of a check is believed only then.
    """
    exam = Examination(backend, operator, formula, property_, 0, 1)
    status, reason = _unasked(exam)
    if reason:
        return (outcome.status, outcome.reason) == (status, reason)
    if outcome.status == "passed":
        return {*outcome.calls} == {*exam.judged_dtypes()}
    listed = backend.contract.deviation(outcome.formula, outcome.property_name)
    if outcome.status in ("mismatch", "deviation"):
        reasons = outcome.status == "deviation" and outcome.deviation
        return reasons == (listed.reason if listed is not None else False)
    return outcome.status in UNJUDGED


def unclaimed(
    backend: Backend, operator: Operator, formula: Formula, property_: Property
) -> Outcome | None:
    """Return the outcome of a check that the backend does not claim, None where it is to be run."""
    status, reason = unasked(backend, operator, formula, property_)
    if status != UNCLAIMED:
        return None
    return Outcome(backend.name, formula.__name__, property_.name, status, reason)


def _unasked(exam: Examination) -> tuple[str, str]:
    """Return the status of what is not asked for, and why; no reason: it is."""
    backend, property_ = exam.backend, exam.property
    for one in _needed(exam.operator, exam.formula, property_):
        if not backend.has(one):
            return _absent(backend, one)
    if property_.claim:
        policy, *rules = property_.claim
        if backend.contract.rule(policy) not in rules:
            return UNCLAIMED, f"the contract's policies do not claim {policy!r}: {rules[0]!r}"
    algorithm = backend.contract.algorithm(output_of(exam.formula).function)
    if property_.needs_exact and algorithm != DIRECT:
        return UNCLAIMED, f"the contract's algorithm is {algorithm}, whose sums are never exact"
    if not exam.dtypes():
        return UNCLAIMED, "the contract claims it in no dtype"
    if not exam.judged_dtypes():
        return "not run", "layers are checked in float32 and float64"
    return "not run", ""


def _is_stopped(outcome: Outcome, exam: Examination) -> bool:
    """Return whether a function of the check is not called any more, and say so in the outcome.

    The check that met it is a mismatch; where that is listed as a known deviation, one that is not
    listed says nothing of itself, and the backend is not certified.
    """
    asked = _needed(exam.operator, exam.formula, exam.property)
    if isinstance(algebra(exam.formula), Chained):
        asked += LINKS
    names = [output_of(one).function for one in asked]
    stop = exam.backend.stops.first(exam.backend.name, names)
    if stop is None:
        return False
    listed = exam.backend.contract.deviation(outcome.formula, outcome.property_name)
    outcome.status = "no call" if stop.listed and listed is None else "not run"
    outcome.reason, outcome.ended = stop.sentence(outcome.formula), stop.function
    return True


def _is_finite(array: Array) -> bool:
    return bool(np.isfinite(array.astype(np.float64)).all())


def _is_tiny(call: Call) -> bool:
    """Return whether no array of a call has more than one element: nothing is smaller."""
    return all(value.size <= 1 for value in call.values() if isinstance(value, np.ndarray))


def _judge_drawn(exam: Examination) -> None:
    """Check what Hypothesis draws, and then the operator's corners."""
    count = exam.property.examples(exam.operator, exam.examples)
    count = max(FEWEST, count - len(textbook(exam.operator)))  # which are checked beside them
    for attempt in range(ATTEMPTS):
        draw(exam.operator, exam.property.size, count, _own_seed(exam) + attempt, exam.judge)
        if exam.calls or exam.declined or not exam.not_judged:
            break  # else the few that were drawn happened to be not applicable
    if exam.alone:
        return
    exam.judge_textbook(_own_seed(exam))
    exam.check_not_finite(_own_seed(exam))
    whole = exam.examples >= PROFILES["certify"]  # fewer are a quick look
    exam.judge_listed(whole=whole)
    if whole:
        exam.check_covers(_own_seed(exam))
        exam.check_variants(_own_seed(exam))
        exam.judge_corners(_own_seed(exam))


def _fill(outcome: Outcome, exam: Examination, *, unsteady: bool) -> None:
    outcome.declined, outcome.not_judged = exam.declined, exam.not_judged
    outcome.accepted = {k: [*counts] for k, counts in exam.backend.bad_calls.items() if counts[0]}
    for (dtype, stratum), count in sorted(exam.calls.items()):
        outcome.calls.setdefault(dtype, {})[stratum] = count
    outcome.worst_error_over_bound = exam.worst
    outcome.covered = [one._asdict() for one in exam.covered]
    outcome.layers, outcome.layers_left = exam.layers, exam.layers_left
    end = exam.broken[1] if exam.broken is not None else None
    outcome.disputed, outcome.declined_of = exam.disputed, exam.declines.told(outcome.formula)
    known = exam.backend.contract.deviation(outcome.formula, outcome.property_name)
    if exam.broken is not None and known is not None:
        call, mismatch = exam.broken
        outcome.status, outcome.deviation = "deviation", known.reason
        outcome.reason = mismatch.headline
        outcome.drawn = in_a_line(exam.formula, mismatch.call or call)
        outcome.also_seen = exam.also_seen()
        shows = exam.smallest.get(exam.alike or (), call)
        if _size(shows) <= RECORDED and not exam.property.on_layers:
            outcome.recorded = recorded(shows)
        if isinstance(end, Ended) and end.over:
            outcome.ended = end.function
    elif exam.broken is not None:
        outcome.status = "mismatch"
        outcome.mismatch = exam.reported(unsteady=unsteady)
        outcome.plain, outcome.also_seen = exam.plain(), exam.also_seen()
        outcome.reason = outcome.mismatch.headline
        if exam.recognised:
            outcome.plain.setdefault(outcome.mismatch.formula, []).append(CONVENTION)
        if isinstance(end, Ended) and (end.over or end.function not in exam.backend.answered):
            outcome.ended = end.function
    elif not (exam.calls or exam.declined) and (idle := _idle(exam)) is not None:
        outcome.status, outcome.reason = idle
    elif silent := [d for d in exam.judged_dtypes() if d not in outcome.calls]:
        outcome.status = "no call"
        outcome.reason = (
            f"no call was checked in {', '.join(silent)}: {exam.declined} declined, "
            f"{exam.not_judged} not applicable"
        )
    else:
        backend, operator = exam.backend, exam.operator
        outcome.planted, outcome.reason = blindness(
            backend, operator, exam.formula, exam.property, [*exam.remembered.values()]
        )
        outcome.status = "blind" if outcome.reason else "passed"


def _idle(exam: Examination) -> tuple[str, str] | None:
    """Return the status of a check that no call belongs to, and why; None where some should."""
    if exam.alone:
        name = output_of(exam.formula).function
        return UNCLAIMED, f"{name} returns its values alone, and no gradient needs more"
    if exam.property.on_layers:
        return "not run", workloads.TOO_LARGE
    return ("not run", exam.nothing) if exam.nothing else None


def _needed(operator: Operator, formula: Formula, property_: Property) -> tuple[Formula, ...]:
    """Return the formulas that a check asks the backend for."""
    forward = (operator.formula,) if property_.needs_forward else ()
    return (formula, *forward, *property_.needs(operator))


def _absent(backend: Backend, formula: Formula) -> tuple[str, str]:
    name = output_of(formula).function
    if name in backend.missing:
        return "mismatch", f"{name} is claimed by the contract, but there is no such function"
    return "not claimed", f"the backend has no {name}, or does not claim it"


def _own_seed(exam: Examination) -> int:
    """Return the examination's own seed, so that no two draw the same calls."""
    text = f"{exam.seed} {exam.formula.__name__} {exam.property.name}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
