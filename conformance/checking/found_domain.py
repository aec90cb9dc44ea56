"""The domain that a function seems to be made for, found by asking: what fails outside of it.

The narrowest domain comes first: every option at its neutral value, one image, a square window.
If calls inside hold, each condition is dropped in turn and calls that break it are asked: where
all hold it is not needed, where none does it is, and where some values hold the domain lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from gradoracle.conformance.operators.domain import (
    ABSENT,
    DEFAULTS,
    LAST,
    LENGTH,
    REQUIRED,
    SIZE,
    Condition,
    Domain,
    Facts,
    Rule,
    facts_of_call,
    holds,
)
from gradoracle.conformance.operators.inside import Inside
from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.operators.variations import drawn
from gradoracle.oracle.declaration import Call
from gradoracle.oracle.derive import ANY_MORE

Holds: TypeAlias = Callable[[Call], bool | None]  # None: nothing can be said of the call
INSIDE, OUTSIDE = 12, 10  # calls that are asked of a domain, and of what breaks one condition
MANY = 60  # calls that are asked where some hold
DRAWN = 160  # geometries that are looked at for them
SURE = 6  # of those calls, at least
SIDES = (2, 3, 5)  # of windows
MATRIX = 2  # axes
# Values that functions are often written for, beside the default of each option.
OTHERS = (
    ("stride", 2), ("reduction", "sum"), ("approximate", "tanh"), ("training", False),
    ("log_target", True),
)  # fmt: skip
# Sizes that functions may ask to be divisible, together.
IN_FOURS = (
    ("c",), ("m",), ("k",), ("c", "m"), ("k", "m"), ("t", "h", "w"), ("h", "w"), (LENGTH,), (SIZE,),
)  # fmt: skip
EMPTY = 3  # calls with an empty array, at least
DIVISORS = (2, 4, 8, 16)  # by which sizes may have to be divisible


@dataclass(frozen=True)
class FoundDomain:
    """A domain in which all calls hold, and outside of which none does."""

    domain: Domain
    inside: int  # calls
    outside: int

    @property
    def text(self) -> str:
        """The conditions, as a contract takes them."""
        return ", ".join(condition.text for condition in self.domain)


def found_domain(operator: Operator, known: Domain, check: Holds) -> FoundDomain | None:
    """Return the domain that a function is made for, None where nothing can be said.

    `known` is what it is restricted to already; `check` says whether a call holds.
    """
    search = _Search(operator, known, check)
    if some := _of_some_elements(search):
        return some
    narrow = next((d for d in _narrowest(operator) if search.all_hold(d)), None)
    if narrow is None:
        return None
    needed: list[Condition] = []
    outside = 0
    for at, condition in enumerate(narrow):
        others = (*needed, *narrow[at + 1 :])
        seen = search.breaking(others, condition)
        if len(seen) < SURE or all(right for _, right in seen):
            continue  # as well without it, or none of its calls can be made
        if not any(right for _, right in seen):
            needed.append(condition)
            outside += len(seen)
            continue
        seen = search.breaking(others, condition, MANY)
        allowed = _values(condition, seen)
        if allowed is None:
            return None
        needed.append(allowed)
        outside += sum(not right for _, right in seen)
    domain = tuple(needed)
    if not domain or not search.all_hold(domain):
        return None
    return FoundDomain(domain, search.last, outside)


def _of_some_elements(search: _Search) -> FoundDomain | None:
    """Return the domain without empty arrays, where those fail and no other calls do."""
    if not search.all_hold(()):
        return None
    inside, facts = search.last, _facts(search.operator)
    name = next((one for one in ("n", SIZE) if one in facts), None)
    empty = [right for _, right in search.asked((), OUTSIDE, empty=True)]
    if name is None or len(empty) < EMPTY or any(empty):
        return None
    return FoundDomain((Condition(name, Rule(least=1)),), inside, len(empty))


def _values(condition: Condition, seen: Sequence[tuple[Facts, bool]]) -> Condition | None:
    """Return the condition that lists the values of which all calls hold, if that explains all."""
    right, wrong = (
        {one for facts, holds_ in seen if holds_ is which for one in _each(facts[condition.name])}
        for which in (True, False)
    )
    if condition.name in DEFAULTS:  # a factor that is not read may matter in some calls only
        right -= wrong
    values = {*condition.rule.values} | right
    if condition.rule.other or condition.rule.word or not condition.rule.values:
        return None
    broken = [facts for facts, holds_ in seen if not holds_]
    explained = all(set(_each(facts[condition.name])) - values for facts in broken)
    if not explained or len(broken) < SURE // 2 or not wrong - values:
        return None
    least, most = min(values), max(values)
    whole = all(isinstance(v, int) and not isinstance(v, bool) for v in values)
    if whole and len(values) > 2 and not any(least <= v <= most for v in wrong - values):
        return Condition(condition.name, Rule(least=least, most=most))
    return Condition(condition.name, Rule(values=(*sorted(values),)))


def _each(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _narrowest(operator: Operator) -> Iterator[Domain]:
    """Yield the narrowest domains that functions are made for, the plainest first."""
    axes = operator.axes
    letters = {a for of in axes.arrays.values() for a in of}
    known = _facts(operator)
    options = _plain_options(operator)
    one = [Condition("n", Rule(values=(1,)))] if "n" in letters else []
    square = [Condition("p", Rule(other="q"))] if {"p", "q"} <= letters else []
    for given in (REQUIRED, ABSENT)[: 1 + bool(axes.optional)]:
        bias = [Condition(name, Rule(word=given)) for name in axes.optional]
        for others in _special(letters, known):
            yield (*options, *bias, *one, *square, *others)
    for name, value in OTHERS:
        if name in known:
            rest = [condition for condition in options if condition.name != name]
            yield (*rest, Condition(name, Rule(values=(value,))), *one)
            required = [Condition(array, Rule(word=REQUIRED)) for array in axes.optional]
            if required:
                yield (*rest, Condition(name, Rule(values=(value,))), *required, *one)


def _plain_options(operator: Operator) -> list[Condition]:
    """Return the conditions that options have their default values, and arrays two axes."""
    axes, known = operator.axes, _facts(operator)
    found = [
        Condition(name, Rule(values=(value,)))
        for name, value in axes.neutral.items()
        if not (name == "stride" and axes.window)
    ]
    if axes.window:
        found.append(Condition("stride", Rule(other=axes.window)))
    if "axis" in known:
        found.append(Condition("axis", Rule(word=LAST)))
    if any(ANY_MORE in letters for letters in axes.arrays.values()):
        found.append(Condition("axes", Rule(values=(MATRIX,))))
    defaults = {n: v for n, v in DEFAULTS.items() if n in known and n not in axes.neutral}
    found += [Condition(name, Rule(values=(value,))) for name, value in defaults.items()]
    return found


def _special(letters: Collection[str], known: Facts) -> Iterator[list[Condition]]:
    """Yield none, and then conditions on the sizes of windows, channels and images."""
    yield []
    taps = [name for name in ("l", "p", "q", "kernel_size") if name in {*letters, *known}]
    for side in SIDES if taps else ():
        yield [Condition(name, Rule(values=(side,))) for name in taps]
    for names in IN_FOURS:
        if all(name in letters or name in known for name in names):
            for size in DIVISORS:
                yield [Condition(name, Rule(modulus=size)) for name in names]


def _facts(operator: Operator) -> Facts:
    sizes = drawn(operator, 0).sizes
    return Inside(operator, ()).facts(sizes) or {}


@dataclass
class _Search:
    """Calls that are asked of domains."""

    operator: Operator
    known: Domain
    check: Holds
    last: int = 0  # calls asked of the last domain that held

    def all_hold(self, domain: Domain) -> bool:
        """Return whether all of some calls inside a domain hold."""
        self.last = 0
        for _, right in self.asked(domain, INSIDE, lambda facts: holds(domain, facts)):
            if not right:
                return False
            self.last += 1
        return self.last >= SURE

    def breaking(
        self, others: Domain, condition: Condition, count: int = OUTSIDE
    ) -> list[tuple[Facts, bool]]:
        """Return what came of calls that break a condition and no other one."""

        def wanted(facts: Facts) -> bool:
            return holds(others, facts) and not condition.holds(facts)

        return [*self.asked(others, count, wanted)]

    def asked(
        self, domain: Domain, count: int, wanted: Callable[[Facts], bool] = lambda _: True, *,
        empty: bool = False,
    ) -> Iterator[tuple[Facts, bool]]:  # fmt: skip
        """Yield the facts of some calls, with an empty array or without, and whether each holds."""
        inside = Inside(self.operator, (*self.known, *domain))
        style, left = self.operator.styles.of("any")[0], count
        for number in range(DRAWN):
            sizes = inside(drawn(self.operator, number).sizes)
            if sizes is None or not left:
                continue
            call = self.operator.call(sizes, style, number, "float32")
            facts = facts_of_call(self.operator.axes, call)
            is_empty = not all(v.size for v in call.values() if hasattr(v, "size"))
            if not wanted(facts) or is_empty != empty:
                continue
            right = self.check(call)
            if right is not None:
                left -= 1
                yield facts, right
