"""One examination: one property of one formula of one backend, on calls that Hypothesis draws.

pytest and `conformance.check` both end up here, so both give the same verdicts.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf, prod
from time import perf_counter
from typing import Any

import numpy as np

from conformance.backend import Backend, How
from conformance.certificate import ABSENT, PLAIN, UNCLAIMED, Outcome
from conformance.control import control, holds_for_the_oracle
from conformance.data import Style
from conformance.declines import Declines
from conformance.evidence import (
    APART,
    NO_ANSWER,
    as_plain,
    explanations,
    kind_of,
    plainly_wrong,
    with_other_numbers,
    wrong_answers,
)
from conformance.lies import blindness
from conformance.minimise import simplest_numbers, smallest_sizes
from conformance.misconceptions import is_evidence
from conformance.mismatch import ENDED, Answer, Declined, Mismatch
from conformance.operator import Geometry, Operator
from conformance.profiles import PROFILES
from conformance.properties import PROPERTIES, NothingToJudge, NotJudged, Property
from conformance.recorded import recorded
from conformance.report import Finding, in_a_line, report
from conformance.scale import workloads
from conformance.scale.data import NUMBERS, LayerCall, layer_call
from conformance.strategies import draw
from oracle.formula import Chained, Formula, algebra, is_data, output_of
from oracle.geometry import Array, Shape
from oracle.network import LINKS
from oracle.rounding import HALVES
from oracle.transforms import DIRECT
from oracle.truth import data_dtype

PATIENCE = 60.0  # seconds to make a counterexample smaller: one that crashes may be slow to repeat
DRAWS = 4  # of other numbers, for a smaller geometry to fail on
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
    not_judged: int = 0
    worst: float = 0.0
    drawn: tuple[Geometry, Style, str] | None = None  # what the last call was made of
    layer: Geometry | None = None  # the last one that was judged
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
    at_scale: bool = False  # all layers of real networks are judged, not the few small ones
    layers: list[str] = field(default_factory=list)  # that were judged
    layers_left: int = 0  # that were not
    small: dict[str, list[str]] = field(default_factory=dict)  # how small calls fail, if one does
    nothing: str = ""  # why there is nothing to judge

    def dtypes(self) -> tuple[str, ...]:
        """Return the dtypes that all functions of the check are claimed in."""
        asked = _needed(self.operator, self.formula, self.property)
        if isinstance(algebra(self.formula), Chained):
            asked += LINKS
        return self.backend.contract.dtypes_of([output_of(f).function for f in asked])

    def judged_dtypes(self) -> list[str]:
        """Return those of them that are judged: of layers, half precision is not."""
        return [d for d in self.dtypes() if not (self.property.on_layers and d in HALVES)]

    def judge(self, geometries: Sequence[Geometry]) -> None:
        """Judge the calls that drawn geometries stand for.

        Every dtype of `_dtypes` gets the style that the seed picks and, where the property wants
        more of a geometry, the simplest one before it.
        """
        simplest, *_ = styles = self.operator.styles.of(self.property.kind)
        drawn: list[tuple[Geometry, Sequence[Style]]] = []
        for geometry in geometries:
            one = styles[geometry.seed % len(styles)]
            more = self.property.styles_per_geometry > 1 and one is not simplest
            drawn.append((geometry, (simplest, one) if more else (one,)))
        self._judge_in(drawn)

    def judge_corners(self, seed: int) -> None:
        """Judge the operator's corners, each in one style and every dtype of `_dtypes`."""
        simplest = self.operator.styles.of(self.property.kind)[0]
        for at, (region, sizes, style) in enumerate(self.property.corners(self.operator)):
            geometry = Geometry("boundary", region, sizes, (seed + at) % 2**32)
            self._judge_in([(geometry, [style or simplest])])

    def _judge_in(self, drawn: Sequence[tuple[Geometry, Sequence[Style]]]) -> None:
        calls = [
            ((geometry, one, dtype), self.operator.call(geometry.sizes, one, geometry.seed, dtype))
            for geometry, styles in drawn
            for dtype in self._dtypes(geometry.seed)
            for one in styles
        ]
        if self.property.asks is not None:
            asks = [(self.formula, call) for _, call in calls]
            self.backend.foresee(*asks, how=[self.property.asks])
        try:
            for drawn_of, call in calls:
                self.drawn = geometry, _, dtype = drawn_of
                if self.judge_call(call):
                    self.calls[dtype, geometry.stratum] += 1
        finally:
            self.backend.forget()

    def _dtypes(self, seed: int) -> list[str]:
        """Return the claimed dtypes that a geometry is judged in.

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
        """Judge layers of real networks, in whole numbers and in floats and every claimed dtype.

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
        """Judge one call and return whether it counts.

        A broken property raises Mismatch, the gravest of what was met, once some more calls have
        been judged: what is wrong with an empty batch or one dtype must not hide what is wrong
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
        """Judge one call and return whether it counts; what fails it raises Mismatch."""
        self.backend.answers.clear()
        try:
            share = self.property.check(self.backend, self.operator, self.formula, call)
        except Declined:
            self.declined += 1
            self.declines.decline(*(self.backend.declined or (self.formula, call)))
            return False
        except NotJudged as reason:
            self.not_judged += 1
            if isinstance(reason, NothingToJudge):
                self.nothing = str(reason)
            return False
        except Mismatch:
            if not self._holds_for_the_oracle(call):  # our fault, not the backend's
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

        One half is as good as the other: a geometry is judged in one of them.
        """
        geometry, dtype = self.drawn[0] if self.drawn else self.layer, data_dtype(call).name
        most = 1 if self.property.on_layers else REMEMBERED  # whose arrays may be large
        if geometry is None or len(self.remembered) == most:
            return
        turns = [*dict.fromkeys("half" if d in HALVES else d for d in self.judged_dtypes())]
        turn = turns[len(self.remembered) % len(turns)]
        if turn == ("half" if dtype in HALVES else dtype) and all(
            v.size for v in call.values() if is_data(v)
        ):
            self.remembered.setdefault(geometry.seed, call)

    def fails(self, call: dict[str, Any]) -> bool:
        """Return whether a call fails, in the way that `alike` says; False after the deadline."""
        return self._one_fails([call], how=None)

    def passes(self, call: dict[str, Any]) -> bool:
        """Return whether a call counts and passes; one that fails raises Mismatch."""
        return self._judged(call)

    def _keeps(self, call: dict[str, Any]) -> bool:
        """Return whether a call is judged and keeps the property."""
        try:
            return self._judged(call)
        except Mismatch:
            return False

    def _one_fails(self, calls: Sequence[dict[str, Any]], how: How | None) -> bool:
        """Return whether one of some calls breaks the property; `how` has all performed at once."""
        if how is not None:
            self.backend.foresee(*((self.formula, call) for call in calls), how=[how])
        try:
            return any(perf_counter() < self.until and self._fails_alike(call) for call in calls)
        finally:
            self.backend.forget()

    def _fails_alike(self, call: dict[str, Any]) -> bool:
        """Return whether a call fails, and for a fault of the same kind if there is one already."""
        try:
            self._judged(call)
        except Mismatch as mismatch:
            answers = list(self.backend.answers)
            if self.alike is not None:
                failure = Failure(call, mismatch, self.drawn, self._plain(call, mismatch))
                *way, is_empty = self._way(failure)
                *want, may_be_empty = self.alike
                if way != want or (is_empty and not may_be_empty):
                    return False
            self.backend.answers[:] = answers  # without what was asked to compare
            self.broken = call, mismatch
            return True
        return False

    def minimise(self) -> bool:
        """Make the call that broke the property as small as it gets; return whether it fails."""
        assert self.drawn is not None and self.broken is not None, "nothing to minimise"  # noqa: S101, PT018
        geometry, style, dtype = self.drawn
        self.until = perf_counter() + PATIENCE
        smallest_sizes(geometry.sizes, lambda sizes: self._fails_somehow(sizes, style, dtype))
        call, _ = self.broken
        complete = self.operator.complete
        simplest_numbers(call, lambda c: self.fails(complete(dict(c), geometry.seed)))
        call, _ = self.broken
        self.until = inf
        return self.fails(call)

    def _fails_somehow(self, sizes: Mapping[str, int], style: Style, dtype: str) -> bool:
        """Return whether some numbers of these sizes break the property."""
        try:
            self.operator.arguments(sizes)
        except ValueError:
            return False
        own, *seeds = (*([self.drawn[0].seed] if self.drawn else []), *range(DRAWS))
        first = self.operator.call(sizes, style, own, dtype)
        if self.fails(first):
            return True
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
        answers = list(self.backend.answers)
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
            # What was asked before is not known here: the script asks for other numbers first.
            last, plain = blamed[0] if plain else answers[-1], False
            answers = [with_other_numbers(last), last]
        history = not (unsteady or plain) and self.backend.asked.renew() and self._keeps(call)
        looks_like: list[str] = []
        if blamed and blamed[0].value is not None:  # no wrong formula raises or crashes
            known = (*answers, *self.evidence)
            looks_like = explanations(self.backend, blamed[0].formula, known, self.seed)
        return Finding(
            self.backend, self.operator, self.formula, self.property, self.seed, self.examples,
            call, mismatch,
            answers, blamed, looks_like, unsteady, self.at_scale, history, plain, self.also_seen(),
        )  # fmt: skip

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
        steady = self.fails(first[0])
        self.until = small.until = perf_counter() + PATIENCE
        if steady:
            smallest_sizes(layer.sizes, lambda sizes: self._fails_as_layer(sizes, layer, small))
        self.until = small.until = inf
        if small.broken is not None:
            found = small.finding(unsteady=False)
            self.small = {self.formula.__name__: [found.mismatch.kind]}
            return replace(found, property=self.property, at_scale=self.at_scale)
        call, mismatch = self.broken if self.broken is not None and steady else first
        return Finding(
            self.backend, self.operator, self.formula, self.property, self.seed, self.examples,
            call, mismatch, [], [], [], not steady, self.at_scale,
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
    """Judge `property_` of `formula` on fresh calls and return what came of it.

    The calls depend on `seed`, the formula and the property only: not on the backend, nor on
    what else is run, nor on the order.  From the default number of examples on, the operator's
    corners are among them.
    """
    start = perf_counter()
    outcome = Outcome(backend.name, formula.__name__, property_.name)
    exam = Examination(backend, operator, formula, property_, seed, examples, at_scale=at_scale)
    outcome.status, outcome.reason = _unasked(exam)
    if outcome.reason:
        if outcome.status == "mismatch":  # what is claimed is not there
            absent = next(f for f in _needed(operator, formula, property_) if not backend.has(f))
            outcome.plain = {absent.__name__: [ABSENT]}
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
        unsteady = exam.layer is None and not exam.fails(exam.broken[0])
    _fill(outcome, exam, unsteady=unsteady)
    outcome.seconds = perf_counter() - start
    return outcome


def unclaimed(
    backend: Backend, operator: Operator, formula: Formula, property_: Property
) -> Outcome | None:
    """Return the outcome of a check that the backend does not claim, None where it is to be run."""
    exam = Examination(backend, operator, formula, property_, seed=0, examples=1)
    status, reason = _unasked(exam)
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
        return "not run", "layers are judged in float32 and float64"
    return "not run", ""


def _judge_drawn(exam: Examination) -> None:
    """Judge what Hypothesis draws, and then the operator's corners."""
    count = exam.property.examples(exam.operator, exam.examples)
    for attempt in range(ATTEMPTS):
        draw(exam.operator, exam.property.size, count, _own_seed(exam) + attempt, exam.judge)
        if exam.calls or exam.declined or not exam.not_judged:
            break  # else the few that were drawn happened to be not applicable
    if exam.examples >= PROFILES["certify"]:  # fewer are a quick look
        exam.judge_corners(_own_seed(exam))


def _fill(outcome: Outcome, exam: Examination, *, unsteady: bool) -> None:
    outcome.declined, outcome.not_judged = exam.declined, exam.not_judged
    for (dtype, stratum), count in sorted(exam.calls.items()):
        outcome.calls.setdefault(dtype, {})[stratum] = count
    outcome.worst_error_over_bound = exam.worst
    outcome.layers, outcome.layers_left = exam.layers, exam.layers_left
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
    elif exam.broken is not None:
        outcome.status = "mismatch"
        outcome.mismatch = report(exam.finding(unsteady=unsteady))
        outcome.plain, outcome.also_seen = exam.plain(), exam.also_seen()
        outcome.reason = outcome.mismatch.headline
    elif exam.property.on_layers and not (exam.calls or exam.declined):
        outcome.status, outcome.reason = "not run", workloads.TOO_LARGE
    elif exam.nothing and not (exam.calls or exam.declined):
        outcome.status, outcome.reason = "not run", exam.nothing
    elif silent := [d for d in exam.judged_dtypes() if d not in outcome.calls]:
        outcome.status = "no call"
        outcome.reason = (
            f"no call was judged in {', '.join(silent)}: {exam.declined} declined, "
            f"{exam.not_judged} not applicable"
        )
    else:
        backend, operator = exam.backend, exam.operator
        outcome.planted, outcome.reason = blindness(
            backend, operator, exam.formula, exam.property, [*exam.remembered.values()]
        )
        outcome.status = "blind" if outcome.reason else "passed"


def _needed(operator: Operator, formula: Formula, property_: Property) -> tuple[Formula, ...]:
    """Return the formulas that a check asks the backend for."""
    forward = (operator.formula,) if property_.needs_forward else ()
    return (formula, *forward, *property_.needs)


def _absent(backend: Backend, formula: Formula) -> tuple[str, str]:
    name = output_of(formula).function
    if name in backend.missing:
        return "mismatch", f"{name} is claimed by the contract, but there is no such function"
    return "not claimed", f"the backend has no {name}, or does not claim it"


def _own_seed(exam: Examination) -> int:
    """Return the examination's own seed, so that no two draw the same calls."""
    text = f"{exam.seed} {exam.formula.__name__} {exam.property.name}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
