"""An operator restricted to a domain: what is drawn is moved inside, nothing is thrown away.

Sizes that are outside get the nearest ones inside: options and axes are set to what the domain
allows, then the image is made large enough again, with as many outputs as it had.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import chain
from math import prod
from typing import Any, NamedTuple, TypeAlias, overload

import numpy as np

from gradoracle.conformance.drawing.choices import Choices, spread
from gradoracle.conformance.drawing.coverage import Cover
from gradoracle.conformance.operators.arrays import PICKED
from gradoracle.conformance.operators.domain import (
    BROADCAST,
    LENGTH,
    SIZE,
    Condition,
    Domain,
    facts_of,
    facts_of_call,
    holds,
)
from gradoracle.conformance.operators.record import (
    Arguments,
    Corner,
    Geometry,
    Operator,
    Size,
    Variant,
    Workload,
)
from gradoracle.conformance.operators.variations import drawn
from gradoracle.oracle.compiled_loops import arguments_only
from gradoracle.oracle.declaration import Call, evaluate, whole_of
from gradoracle.oracle.derive import GRAD_OUTPUT
from gradoracle.oracle.expected.truth import answer_shape
from gradoracle.oracle.shapes import SIDES

Sizes: TypeAlias = Mapping[str, int]
Fact: TypeAlias = tuple[str, int | None]  # a name, and the place in an option of several
PROBED = 48  # drawn geometries from which is learned what each size decides
LISTED = 60  # values of an option at most
SAMPLED = 150  # rows of a covering array from which is learned which classes are inside
LARGE = 2**17  # elements of a call, above which sizes are not moved to a larger one
KEPT = 4096  # calls of which it is kept what is known
IGNORE_INDEX = "ignore_index"
GROWN = 14  # powers of two by which an image may have to grow


class Decided(NamedTuple):
    """What a size decides, and of that what it is equal to."""

    facts: frozenset[Fact]
    equal: frozenset[Fact]


_DECIDED: dict[Operator, dict[str, Decided]] = {}


@dataclass(frozen=True, eq=False)
class Inside:
    """The sizes of an operator's calls that are inside a domain."""

    operator: Operator
    domain: Domain
    _known: dict[tuple[str, bool], list[tuple[Fact, str]]] = field(default_factory=dict)
    _facts: dict[tuple[tuple[str, int], ...], Mapping[str, Any] | None] = field(
        default_factory=dict
    )

    def __call__(self, sizes: Sizes) -> dict[str, int] | None:
        """Return these sizes, or the nearest ones inside; None: there are none, or no such call."""
        facts = self.facts(sizes)
        if facts is None:
            return None
        if holds(self.domain, facts):
            return dict(sizes)
        moved = self._with_options(sizes, facts)
        legal = self._legal(moved) if moved is not None else None
        if legal is not None:
            legal = self._with_axes(self._with_outputs(legal, sizes))
        if legal is None:
            return None
        found = self.facts(legal)
        inside = found is not None and holds(self.domain, found)
        return legal if inside and self._elements(legal) <= self._most(sizes) else None

    def _most(self, before: Sizes) -> int:
        """Return how many elements a call may have that was moved: sides may become as long as the
        longest one, and a plane of them takes gigabytes.
        """  # noqa: D205 - one sentence
        return max(LARGE, 4 * self._elements(before))

    def _elements(self, sizes: Sizes) -> int:
        shapes = self.operator.arguments(sizes).shapes.values()
        return sum(prod(shape) for shape in shapes if shape is not None)

    @cached_property
    def any(self) -> dict[str, int]:
        """The first drawn sizes that are inside.

        Raises:
            ValueError: none of many are.
        """
        found = (self(drawn(self.operator, number).sizes) for number in range(2 * PROBED))
        first = next((one for one in found if one is not None), None)
        if first is None:
            words = ", ".join(condition.text for condition in self.domain)
            raise ValueError(f"domain of {self.operator.name}: no call has {words}")
        return first

    def require_call(self) -> None:
        """Raise ValueError where there is no call inside."""
        if self.domain:
            self.any  # noqa: B018 - that is what looks

    def facts(self, sizes: Sizes) -> Mapping[str, Any] | None:
        """Return what is known of a call of these sizes, None where there is none."""
        key = (*sizes.items(),)
        if key not in self._facts:
            if len(self._facts) == KEPT:
                self._facts.clear()
            self._facts[key] = self._found_facts(sizes)
        return self._facts[key]

    def _found_facts(self, sizes: Sizes) -> Mapping[str, Any] | None:
        try:
            arguments = self.operator.arguments(sizes)
        except (ValueError, IndexError):
            return None
        fixed = self.fixed(arguments)
        if fixed.options != arguments.options and not self._is_legal(fixed):
            return None
        return facts_of(self.operator.axes, *fixed)

    def _is_legal(self, arguments: Arguments) -> bool:
        """Return whether the formula takes arguments with other options than were drawn.

        Of empty arrays a mean is illegal where a sum is none: of others no size matters to them.
        """
        shapes = arguments.shapes
        if not any(shape is not None and 0 in shape for shape in shapes.values()):
            return True
        blank = {n: None if shape is None else np.zeros(shape) for n, shape in shapes.items()}
        call = self.operator.complete({**blank, **arguments.options}, 0)
        try:
            with arguments_only():
                evaluate(self.operator.formula, call)
        except ValueError:
            return False
        return True

    def fixed(self, arguments: Arguments) -> Arguments:
        """Return arguments with the factors and names that the domain allows.

        No size follows from these but that of dy, and what is drawn need not have them.
        """
        options, has_name = dict(arguments.options), False
        for condition in self.domain:
            allowed = condition.rule.values
            value = options.get(condition.name)
            if isinstance(value, float | str) and allowed and value not in allowed:
                turn = len(repr(value))  # another value for some other drawn ones
                options[condition.name] = allowed[turn % len(allowed)]
                has_name = has_name or isinstance(value, str)
        found = arguments._replace(options=options)
        return self._with_its_dy(found) if has_name else found

    def _with_its_dy(self, arguments: Arguments) -> Arguments:
        """Return arguments with a dy of the shape that the result has: a mean is one number."""
        shapes, formula = arguments.shapes, self.operator.formula
        if shapes.get(GRAD_OUTPUT) is None or whole_of(formula) is not formula:
            return arguments
        ones = {n: None if shape is None else np.ones(shape) for n, shape in shapes.items()}
        try:
            call = self.operator.complete({**ones, **arguments.options}, 0)
            asked = answer_shape(formula, call)
        except ValueError:  # there is no such call, as is found elsewhere
            return arguments
        return arguments._replace(shapes={**shapes, GRAD_OUTPUT: asked})

    @property
    def decides(self) -> dict[str, Decided]:
        """What each size of the operator decides, learned from drawn geometries."""
        if self.operator not in _DECIDED:
            _DECIDED[self.operator] = self._learned()
        return _DECIDED[self.operator]

    def _learned(self) -> dict[str, Decided]:
        changed: dict[str, set[Fact]] = {}
        unequal: dict[str, set[Fact]] = {}
        for number in range(PROBED):
            sizes = drawn(self.operator, number).sizes
            before = self._entries(sizes)
            for name, step in ((n, s) for n, of in sizes.items() for s in (1, -1) if of + s >= 0):
                after = self._entries({**sizes, name: sizes[name] + step})
                if before is None or after is None:
                    continue
                facts = {f for f in {*before} | {*after} if before.get(f) != after.get(f)}
                changed.setdefault(name, set()).update(facts)
                differ = {f for f, value in after.items() if not _is(value, sizes[name] + step)}
                unequal.setdefault(name, set()).update(differ)
        return {
            name: Decided(frozenset(facts), frozenset(facts - unequal[name]))
            for name, facts in changed.items()
        }

    def _entries(self, sizes: Sizes) -> dict[Fact, int] | None:
        """Return the whole numbers among the facts, those of pairs one by one."""
        facts = self.facts(sizes)
        if facts is None:
            return None
        found: dict[Fact, int] = {}
        for name, value in facts.items():
            for at, one in enumerate(value) if isinstance(value, tuple) else ((None, value),):
                if isinstance(one, int):  # a flag, too
                    found[name, at] = one
        return found

    def _deciding(self, name: str, *, equal: bool) -> list[tuple[Fact, str]]:
        """Return the facts of a name, each with a size that decides it: that of fewest others."""
        if (name, equal) not in self._known:
            self._known[name, equal] = self._found(name, equal=equal)
        return self._known[name, equal]

    def _found(self, name: str, *, equal: bool) -> list[tuple[Fact, str]]:
        pairs = [
            (fact, size)
            for size, decided in self.decides.items()
            for fact in (decided.equal if equal else decided.facts)
            if fact[0] == name
        ]
        return sorted(pairs, key=lambda pair: len(self.decides[pair[1]].facts))

    def _with_options(self, sizes: Sizes, facts: Mapping[str, Any]) -> dict[str, int] | None:
        """Return the sizes with what they are equal to set to what is allowed, legal or not."""
        moved = dict(sizes)
        for condition in self.domain:
            if condition.holds(facts):
                continue
            others = dict(self._deciding(condition.rule.other, equal=True))
            pairs = [v for v in condition.rule.values if isinstance(v, tuple)]
            whole = pairs[sum(sizes.values()) % len(pairs)] if pairs else None
            for (_, at), size in dict(self._deciding(condition.name, equal=True)).items():
                if whole is not None and at is not None:
                    moved[size] = whole[at]
                    continue
                rule, now = condition.rule, moved[size]
                known = dict(facts)
                if rule.other:
                    place = (rule.other, at if (rule.other, at) in others else None)
                    if place not in others:
                        continue
                    known[rule.other] = moved[others[place]]
                if not rule.allows(now, known, at):
                    moved[size] = next(rule.nearest(now, known, at), now)
        return moved

    def _with_axes(self, sizes: dict[str, int] | None) -> dict[str, int] | None:
        """Return legal sizes with the conditions fulfilled that several sizes decide together."""
        for condition in self.domain if sizes is not None else ():
            facts = self.facts(sizes) if sizes is not None else None
            if sizes is None or facts is None or condition.holds(facts):
                continue
            ways = chain(_listed(condition, sizes), self._ways(condition, sizes, facts))
            sizes = next((one for one in ways if self._holds_one(condition, one)), None)
        return sizes

    def _ways(
        self, condition: Condition, sizes: Sizes, facts: Mapping[str, Any]
    ) -> Iterator[dict[str, int]]:
        """Yield sizes with other values of those that decide a condition."""
        entries, rule = self._entries(sizes) or {}, condition.rule
        for (name, at), size in self._deciding(condition.name, equal=False):
            now = entries.get((name, at), 0)
            after = self._entries({**sizes, size: sizes[size] + 1}) or {}
            slope = after.get((name, at), now) - now
            for want in rule.nearest(now, facts, at):
                if slope and (want - now) % slope == 0:
                    yield {**sizes, size: sizes[size] + (want - now) // slope}
            if rule.other and (of_other := dict(self._deciding(rule.other, equal=True))):
                place = (rule.other, at if (rule.other, at) in of_other else None)
                if place in of_other:
                    yield {**sizes, of_other[place]: now}
            if not slope or rule.modulus > 1:
                yield from ({**sizes, size: sizes[size] + n} for n in range(1, rule.modulus))
        if "groups" in sizes:
            yield from (
                one for one in self._ungrouped(condition, sizes) if one["groups"] < sizes["groups"]
            )
        yield from self._together(condition, sizes)

    def _together(self, condition: Condition, sizes: Sizes) -> Iterator[dict[str, int]]:
        """Yield sizes with others of those that say which axis, or which are broadcast."""
        if condition.name == BROADCAST:
            several = self._deciding(condition.name, equal=False)
            yield {**sizes, **dict.fromkeys((size for _, size in several), 0)}
        if condition.name == "axis" and "from_end" in sizes:
            for axis in range(sizes.get("axes", 1)):
                yield from ({**sizes, "axis": axis, "from_end": end} for end in (0, 1))

    def _ungrouped(self, condition: Condition, sizes: Sizes) -> Iterator[dict[str, int]]:
        """Yield sizes in one group, of as many channels in a group as are allowed."""
        for name in ("group_channels", "multiplier"):
            if name in sizes:
                facts = self.facts({**sizes, "groups": 1}) or {}
                for want in condition.rule.nearest(sizes[name], facts):
                    yield {**sizes, "groups": 1, name: want}

    def _holds_one(self, condition: Condition, sizes: Sizes) -> bool:
        facts = self.facts(sizes) if min(sizes.values()) >= 0 else None
        if facts is None or not condition.holds(facts):
            return False
        earlier = self.domain[: self.domain.index(condition)]
        return holds(earlier, facts)

    def _legal(self, sizes: dict[str, int]) -> dict[str, int] | None:
        """Return sizes of a call: with a larger image, or options that the domain leaves open."""
        for some in self._milder(sizes):
            for grown in (0, *(2**n for n in range(GROWN))):
                larger = {**some, **{n: some[n] + grown for n in self._images(some)}}
                if self.facts(larger) is not None:
                    return larger
        return None

    def _images(self, sizes: Sizes) -> list[str]:
        """Return the names of the sizes of an image's sides."""
        return [side for side in SIDES[3] if side in sizes and "images" in sizes]

    def _milder(self, sizes: dict[str, int]) -> Iterator[dict[str, int]]:
        """Yield the sizes, and then with options moved towards what is neutral."""
        yield sizes
        known = {condition.name for condition in self.domain}
        for option, least in (("output_padding", 0), ("padding", 0), ("dilation", 1), ("ceil", 0)):
            names = [n for n in sizes if n.startswith(option)]
            if not names or known & {option, f"{option}_mode"}:
                continue
            for most in reversed(range(least, max(sizes[n] for n in names))):
                sizes = {**sizes, **{n: min(sizes[n], most) for n in names}}
                yield sizes

    def _with_outputs(self, sizes: dict[str, int], before: Sizes) -> dict[str, int]:
        """Return sizes with an image as small as outputs as many as before allow.

        Of what takes its windows from an image: where they are closer to each other than they
        were, or smaller, there would be many more of them.
        """
        axes = self.operator.axes
        if not (axes.strided or axes.window):
            return sizes
        if axes.strided and axes.strided != "x":
            return sizes
        facts, now = self._outputs(before), self._outputs(sizes)
        if facts is None or now is None:
            return sizes
        found = dict(sizes)
        sides = [side for side in SIDES[3] if side in sizes]
        for at, side in enumerate(sides):
            if now[at] > facts[at]:
                found[side] = self._least(found, side, at, facts[at])
        return found

    def _least(self, sizes: dict[str, int], side: str, at: int, want: int) -> int:
        """Return the least side of an image with so many outputs along it."""
        low, high = 0, sizes[side]  # low: too few outputs, or no call
        while high - low > 1:
            middle = (low + high) // 2
            outputs = self._outputs({**sizes, side: middle})
            enough = outputs is not None and outputs[at] >= want
            low, high = (low, middle) if enough else (middle, high)
        return high

    def _outputs(self, sizes: Sizes) -> tuple[int, ...] | None:
        """Return the spatial sides of the result."""
        with suppress(ValueError):
            shape = self.operator.arguments(sizes).shapes.get("grad_output")
            space = self.operator.axes.space.get("grad_output", ())
            return tuple(shape[axis] for axis in space) if shape is not None else None
        return None

    # -- what an operator's record lists ----------------------------------------------------------

    def keeps(self, sizes: Sizes) -> bool:
        """Return whether the nearest sizes inside have the options and windows of these."""
        moved = self(sizes)
        if moved is None:
            return False
        one, other = self._entries(sizes) or {}, self._entries(moved) or {}
        windows = {
            letter
            for name, of in self.operator.axes.arrays.items()
            for at, letter in enumerate(of)
            if name == "weight" and at in self.operator.axes.space[name]
        }
        kept = {n for n in self._options() if n != "groups"} | windows
        groups = [f.get(("groups", None), 1) == 1 for f in (one, other)]
        same = all(one[f] == other.get(f) for f in one if f[0] in kept)
        return same and groups[0] == groups[1]

    def _options(self) -> set[str]:
        return {name for name, _ in self._entries(drawn(self.operator, 0).sizes) or {}} - {
            letter for of in self.operator.axes.arrays.values() for letter in of
        } - {*self.operator.axes.optional, "axes", SIZE, LENGTH, BROADCAST}  # fmt: skip

    def corners(self, corners: Sequence[Corner]) -> tuple[Corner, ...]:
        """Return corners moved inside, each once."""
        found: dict[tuple[object, ...], Corner] = {}
        for corner in corners:
            sizes = self(corner.sizes)
            if sizes is not None:
                key = (*sizes.items(), corner.style)
                found.setdefault(key, corner._replace(sizes=sizes))
        return (*found.values(),)

    def variants(self) -> tuple[Variant, ...]:
        """Return the layers, with one option changed or none, whose options are inside."""
        return tuple(
            one._replace(sizes=_Moved(self, one.sizes))
            for one in self.operator.variants()
            if self.keeps(one.sizes(spread(one.region)))
        )

    def workloads(self) -> tuple[Workload, ...]:
        """Return the layers of real size whose options are inside."""
        kept = []
        for one in self.operator.layers:
            sizes = self(one.sizes)
            if sizes is not None and self.keeps(one.sizes):
                kept.append(one._replace(sizes=sizes))
        return (*kept,)

    @cached_property
    def covers(self) -> tuple[Cover, ...]:
        """The covering arrays over the classes that are inside."""
        return tuple(filter(None, map(self._cover, self.operator.covers)))

    def _cover(self, cover: Cover) -> Cover | None:
        """Return a covering array of the classes that are inside, or None where it has no rows."""
        rows, factors = cover.rows(), cover.factors
        always: dict[tuple[str, Any], set[str]] = {}
        for row in rows[:: max(1, len(rows) // SAMPLED)]:
            chosen = factors.chosen(row)
            moved = self._moved(cover.sizes(chosen, spread("inside", cover.name, row)))
            for one in chosen.items():
                always[one] = always.get(one, moved) & moved
        classes = {
            name: [one for one in every if not always.get((name, one), {name})]
            for name, every in factors.classes.items()
        }
        if not all(classes.values()):
            return None
        return cover._replace(kept=classes)

    def _moved(self, sizes: Sizes) -> set[str]:
        """Return the names of the sizes that are moved; an image is as large as it must be."""
        inside = self(sizes)
        if inside is None:
            return {*sizes}
        return {n for n in sizes if inside[n] != sizes[n]} - {*self._images(sizes)}


def _listed(condition: Condition, sizes: Sizes) -> Iterator[dict[str, int]]:
    """Yield sizes with each of the values that are listed of an option."""
    picked = PICKED + condition.name
    if picked in sizes:
        yield from ({**sizes, picked: at} for at in range(LISTED))


@dataclass(frozen=True)
class _Moved:
    """The sizes of a layer, moved inside."""

    inside: Inside
    sizes: Callable[..., Mapping[str, int]]

    def __call__(self, *of: Any) -> Mapping[str, int]:
        drawn_sizes = self.sizes(*of)
        return self.inside(drawn_sizes) or self.inside.any


class _Covers(Sequence[Cover]):
    """The covering arrays inside a domain: found where they are looked at, which takes long."""

    def __init__(self, inside: Inside) -> None:
        self._inside = inside

    def __len__(self) -> int:
        return len(self._inside.covers)

    @overload
    def __getitem__(self, at: int) -> Cover: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Cover]: ...
    def __getitem__(self, at: int | slice) -> Cover | Sequence[Cover]:
        return self._inside.covers[at]


def _is(value: int, size: int) -> bool:
    """Return whether a size is what a fact says; of a flag, whether it is set."""
    return value is bool(size) if isinstance(value, bool) else value == size


def _counting(
    complete: Callable[[dict[str, Any], int], dict[str, Any]], call: dict[str, Any], seed: int
) -> dict[str, Any]:
    """Return a complete call in which every target counts: its function has no `ignore_index`."""
    found = complete(call, seed)
    target = found["target"]
    ignored = target == found[IGNORE_INDEX]
    return {**found, "target": np.where(ignored, 0, target)} if ignored.any() else found


def require_call(operator: Operator) -> None:
    """Raise ValueError where an operator that is restricted to a domain has no call."""
    if isinstance(operator.inside, Inside):
        operator.inside.require_call()


def restricted(operator: Operator, domain: Domain) -> Operator:
    """Return an operator whose calls are inside a domain."""
    if not domain:
        return operator
    inside = Inside(operator, domain)

    def geometry(draw: Choices, size: Size) -> Geometry:
        found = operator.geometry(draw, size)
        return replace(found, sizes=inside(found.sizes) or inside.any)

    def arguments(sizes: Sizes) -> Arguments:
        found = inside.fixed(operator.arguments(sizes))
        facts = facts_of(operator.axes, *found)
        outside = next((one for one in domain if not one.holds(facts)), None)
        if outside is not None:
            raise ValueError(f"outside the domain: {outside.text}")
        return found

    def allows(call: Call) -> bool:
        return holds(domain, facts_of_call(operator.axes, call))

    implied = {condition.name for condition in domain if condition.implied}
    counting = partial(_counting, operator.complete)
    return replace(
        operator,
        complete=counting if IGNORE_INDEX in implied else operator.complete,
        geometry=geometry,
        arguments=arguments,
        allows=allows,
        inside=inside,
        corners=inside.corners(operator.corners),
        ones=inside.corners(operator.ones),
        covers=_Covers(inside) if operator.covers else (),
        variants=inside.variants,
        layers=inside.workloads(),
    )
