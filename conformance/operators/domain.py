"""Domains: which calls a function is made for, as conditions on sizes and options.

    {"stride": 1, "p": "== q", "c": "% 4 == 0", "bias": "required"}
    "stride = 1, p == q, c % 4 == 0, bias required"

Keys are options, letters of axes and optional arguments of an operator's record.  A value is a
number, a list of numbers or names, or one of the texts of `KINDS`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf, prod
from typing import Any, TypeAlias

import numpy as np

from gradoracle.oracle.axes import Axes
from gradoracle.oracle.declaration import Formula, argument_names, axes_of, is_data

# What is known of a call by name: the lengths of axes, options, and whether arrays are given.
Facts: TypeAlias = Mapping[str, Any]

KINDS = (
    "1", "[1, 2]", '"(3, 1)"', '"1..8"', '"% 4 == 0"', '"== q"', '"required"', '"absent"', '"last"'
)  # fmt: skip
ANY_AXES = "*"  # among the letters of arrays of any number of axes
SIZE, LENGTH = "size", "length"  # of these: the elements of one, and how many lie along its axis
BROADCAST = "broadcast"  # whether two arrays of any number of axes have different shapes
BOTH = ("input", "other")  # their names
DTYPE = "dtype"  # of a call's numbers, among the facts
REQUIRED, ABSENT, LAST = "required", "absent", "last"
MODULO = re.compile(r"% *(\d+) *== *(\d+)")
EQUAL = re.compile(r"== *([a-z_]\w*)")
RANGE = re.compile(r"(-?\d+) *\.\. *(-?\d+)?")
FAR = 63  # beyond an end of a range, at most, for what is outside of it
BETWEEN = re.compile(r",(?![^(]*\))")  # the commas that are in no pair
COMPARED = re.compile(r"(==|>=|<=|>|<) *(-?\d+)")  # as in Python, and in no domain
LIKE = "write one like  stride = 1, padding = 0 or 1, c % 4 == 0, p == q, h = 1..64, bias required"
KERNEL_SIZE = ("kernel_size", "kernel", "filter_size", "filter")  # no option of a convolution
CONDITION = re.compile(r"(\w+)(?: *(=(?!=)|==|%) *(.+)| +(required|absent|last))")


@dataclass(frozen=True)
class Rule:
    """What is asked of one option, axis or array; of a pair, of each of its numbers."""

    values: tuple[Any, ...] = ()  # one of these
    least: float = -inf
    most: float = inf
    modulus: int = 1
    rest: int = 0
    other: str = ""  # as large as this option or axis
    word: str = ""  # REQUIRED, ABSENT or LAST

    def allows(self, value: Any, facts: Facts, at: int | None = None) -> bool:
        """Return whether a value is one; `at` is its place in an option of several."""
        if self.word == LAST:
            return bool(value in (-1, facts["axes"] - 1))
        if self.word:
            return bool(value) == (self.word == REQUIRED)
        if self.other:
            return bool(value == _entry(facts[self.other], at))
        if self.values:
            return any(_is(value, one, facts.get(DTYPE)) for one in self.values)
        return bool(self.least <= value <= self.most and value % self.modulus == self.rest)

    def nearest(self, value: int, facts: Facts, at: int | None = None) -> Iterator[int]:
        """Yield some of the numbers that are allowed, the one to be taken for `value` first."""
        if self.word:
            yield int(self.word == REQUIRED)
        elif self.other:
            yield int(_entry(facts[self.other], at))
        elif self.values:
            numbers = [int(v) for v in self.values if isinstance(v, int)]
            yield from sorted(numbers, key=lambda n: abs(n - value))
        else:
            for start in dict.fromkeys((self._spread(value), self._clipped(value))):
                first = start + (self.rest - start) % self.modulus
                near = (first + step * self.modulus for step in (0, -1, 1, 2))
                yield from (n for n in near if self.least <= n <= self.most)

    def _clipped(self, value: int) -> int:
        return int(min(max(value, self.least), self.most))

    def _spread(self, value: int) -> int:
        """Return a number of the range: different ones for different values that are outside."""
        if self.least <= value <= self.most:
            return value
        span = int(min(self.most - self.least, FAR)) + 1
        return (
            int(self.least) + value % span if value < self.least else int(self.most) - value % span
        )

    def text(self, name: str) -> str:
        """Return the condition as `conditions_in` reads it."""
        if self.word:
            return f"{name} {self.word}"
        if self.other:
            return f"{name} == {self.other}"
        if self.values:
            return f"{name} = {' or '.join(map(_shown, self.values))}"
        if self.modulus > 1:
            return f"{name} % {self.modulus} == {self.rest}"
        return f"{name} = {_bound(self.least)}..{_bound(self.most)}"


@dataclass(frozen=True)
class Condition:
    """A rule of one option, axis or optional array; `implied` by a signature that lacks it."""

    name: str
    rule: Rule
    implied: bool = False

    def holds(self, facts: Facts) -> bool:
        """Return whether a call of these facts fulfils it; one that lacks the name does."""
        if self.name not in facts or (self.rule.other and self.rule.other not in facts):
            return True
        value = facts[self.name]
        if not isinstance(value, tuple) or value in self.rule.values:
            return self.rule.allows(value, facts)
        return all(self.rule.allows(v, facts, at) for at, v in enumerate(value))

    @property
    def text(self) -> str:
        """The condition in words."""
        return self.rule.text(self.name)


Domain: TypeAlias = tuple[Condition, ...]

# What a function takes whose signature lacks an option without a neutral value: PyTorch's default;
# a batch normalisation in training, and one group.
DEFAULTS: Mapping[str, Any] = {
    "negative_slope": 0.01, "reduction": "mean", "eps": 1e-5, "training": True, "num_groups": 1,
    "alpha": 1.0, "approximate": "none", "beta": 1.0, "threshold": 20.0, "min_val": -1.0,
    "max_val": 1.0, "delta": 1.0, "ignore_index": -100, "log_target": False,
    "label_smoothing": 0.0,
}  # fmt: skip


def facts_of(axes: Axes, shapes: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of a call of these shapes (None: not given) and options."""
    found: dict[str, Any] = {
        "axes": max((len(shape) for shape in shapes.values() if shape is not None), default=0)
    }
    found |= _of_any_axes(axes, shapes, options)
    for name, letters in axes.arrays.items():
        shape = shapes.get(name)
        for letter, size in zip(letters, shape or (), strict=False):
            found.setdefault(letter, size)
    found |= {name: shapes.get(name) is not None for name in axes.optional if name in shapes}
    return {**found, **{n: v for n, v in options.items() if n not in axes.shapes}}


def _of_any_axes(
    axes: Axes, shapes: Mapping[str, Any], options: Mapping[str, Any]
) -> dict[str, int]:
    """Return the elements of an array of any number of axes, and how many lie along `axis`."""
    name = next((n for n, of in axes.arrays.items() if ANY_AXES in of and shapes.get(n)), None)
    if name is None:
        return {}
    shape, place = shapes[name], options.get("axis")
    found = {SIZE: prod(shape)}
    if _are_broadcast(axes, options):
        found[BROADCAST] = int(len({shapes.get(one) for one in BOTH} - {None}) > 1)
    if isinstance(place, int) and -len(shape) <= place < len(shape):
        found[LENGTH] = shape[place]
    return found


def _are_broadcast(axes: Axes, options: Collection[str]) -> bool:
    """Return whether an operator is arithmetic of two arrays, of which one is spread to the other.

    Products of matrices, which have no alpha, spread all but the last two axes.
    """
    return "alpha" in options and all(ANY_AXES in axes.arrays.get(one, ()) for one in BOTH)


def facts_of_call(axes: Axes, call: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of a call."""
    arrays = {n: call[n] for n in axes.arrays if n in call}
    shapes = {n: np.shape(a) if isinstance(a, np.ndarray) else None for n, a in arrays.items()}
    of_options = {name: call[n] for n, name in axes.shapes.items() if n in call}
    shapes = {**{n: s for n, s in of_options.items() if n not in arrays}, **shapes}
    options = {n: v for n, v in call.items() if not isinstance(v, np.ndarray) and n not in arrays}
    dtypes = (a.dtype for a in arrays.values() if is_data(a) and a.dtype != object)
    return {**facts_of(axes, shapes, options), DTYPE: next(dtypes, None)}


def holds(domain: Domain, facts: Facts) -> bool:
    """Return whether a call of these facts is inside."""
    return all(condition.holds(facts) for condition in domain)


def letters_of(axes: Axes) -> list[str]:
    """Return the letters of the axes of an operator's arrays."""
    return [a for of in axes.arrays.values() for a in of if a.isalpha()]


def names_of(formulas: Sequence[Formula]) -> tuple[str, ...]:
    """Return what conditions of an operator with these formulas can be about."""
    axes = axes_of(formulas[0])
    letters = letters_of(axes)
    options = [n for f in formulas for n in argument_names(f)[1] if n not in axes.shapes]
    count = ["axes", SIZE] if any(ANY_AXES in of for of in axes.arrays.values()) else []
    along = [LENGTH] if count and "axis" in options else []
    count += [BROADCAST] * _are_broadcast(axes, options)
    return tuple(dict.fromkeys((*options, *axes.optional, *letters, *count, *along)))


def domains_in(text: str) -> dict[str, str]:
    """Return what a text such as "conv2d: stride = 1, p == q; relu: n = 1" says, by name.

    Raises:
        ValueError: a part of it names nothing.
    """
    found: dict[str, str] = {}
    for part in filter(str.strip, text.split(";")):
        name, colon, conditions = part.partition(":")
        if found and not colon and CONDITION.fullmatch(part.strip()):
            name, conditions = [*found.items()][-1]
            raise ValueError(_by_commas(part, f"{name}: {conditions}, {part.strip()}"))
        if not (colon and name.strip().isidentifier() and conditions.strip()):
            raise ValueError(
                f"{part.strip()!r} is no domain; write one like  conv2d: stride = 1, p == q"
            )
        found[name.strip()] = conditions.strip()
    return found


def _by_commas(part: str, right: str) -> str:
    return f"{part.strip()!r} is no domain: separate conditions by commas, as in  {right}"


def conditions_in(text: str, of: str) -> list[tuple[str, Any]]:
    """Return the conditions of a text, each with the name that it is about.

    Raises:
        ValueError: one of them cannot be understood.
    """
    found: list[tuple[str, Any]] = []
    if ";" in text:
        right = ", ".join(filter(None, map(str.strip, text.split(";"))))
        raise ValueError(f"domain of {of}: {_by_commas(text, right)}")
    for part in filter(None, map(str.strip, BETWEEN.split(text))):
        said = CONDITION.fullmatch(part)
        if said is None:
            compared = re.fullmatch(r"(\w+) *(.*)", part, re.DOTALL)
            instead = _instead(*compared.groups()) if compared else ""
            raise ValueError(f"domain of {of}: {part!r} is no condition; {instead or LIKE}")
        name, sign, value, word = said.groups()
        several = [one.strip() for one in re.split(r" or |\|", value or "")]
        if word is not None:
            found.append((name, word))
        elif sign != "=":
            found.append((name, f"{sign} {value}"))
        else:
            found.append((name, several if len(several) > 1 else value.strip()))
    return found


def _instead(name: str, compared: str) -> str:
    """Return how a comparison with a number is written in a domain; "" of anything else."""
    found = COMPARED.fullmatch(compared)
    if found is None:
        return ""
    sign, number = found[1], int(found[2])
    if sign == "==":
        return f"write {name} = {number}"
    if sign in (">=", ">"):
        return f"write {name} = {number + (sign == '>')}.."
    most = number - (sign == "<")
    return f"write {name} = {min(1, most)}..{most}"


def read(entry: Mapping[str, Any] | str, known: Sequence[str], of: str) -> Domain:
    """Return the conditions that a contract gives for an operator or function `of`.

    Raises:
        ValueError: a name is none of `known`, or a value says nothing.
    """
    found = []
    given = conditions_in(entry, of) if isinstance(entry, str) else entry.items()
    for name, value in given:
        if name not in known:
            raise ValueError(
                f"domain of {of}: {name!r} is no option, axis or optional argument of it; "
                f"{_of_filter(name, value, known)}pick from {', '.join(known)}"
            )
        rule = _rule(value, name, of)
        if rule.other and rule.other not in known:
            text = f"; for that text write {name} = {rule.other}" if len(rule.other) > 1 else ""
            raise ValueError(
                f"domain of {of}: {name} == {rule.other}: there is no {rule.other!r}; pick from "
                f"{', '.join(known)}{text}"
            )
        same = next((v for v in rule.values if isinstance(v, str) and v in known), "")
        if same:
            raise ValueError(
                f"domain of {of}: {name} = {same} is no condition; write {name} == {same}"
            )
        found.append(Condition(name, rule))
    return tuple(found)


def _of_filter(name: str, value: Any, known: Sequence[str]) -> str:
    """Return which letters are the sides of a convolution's filter, for what asks for those."""
    sides = [letter for letter in ("l", "p", "q") if letter in known]
    if name not in KERNEL_SIZE or not sides or "groups" not in known:
        return ""
    number = value if re.fullmatch(r"\d+", str(value)) else 3
    written = ", ".join(f"{letter} = {number}" for letter in sides)
    are = "sides of the filter are" if len(sides) > 1 else "side of the filter is"
    return f"the {are} {' and '.join(sides)}, write {written}; "


def _rule(value: Any, name: str, of: str) -> Rule:
    if isinstance(value, str):
        return _of_text(value.strip(), name, of)
    if isinstance(value, bool | int | float):
        return Rule(values=(value,))
    if isinstance(value, list | tuple) and value:
        return Rule(values=tuple(_member(one, name, of) for one in value))
    raise _wrong(value, name, of)


def _of_text(text: str, name: str, of: str) -> Rule:
    if text in (REQUIRED, ABSENT, LAST):
        return Rule(word=text)
    if found := MODULO.fullmatch(text):
        modulus, rest = map(int, found.groups())
        if not 0 <= rest < modulus:
            raise _wrong(text, name, of)
        return Rule(modulus=modulus, rest=rest)
    if found := EQUAL.fullmatch(text):
        return Rule(other=found[1])
    if found := RANGE.fullmatch(text):
        least, most = int(found[1]), inf if found[2] is None else int(found[2])
        if least > most:
            raise _wrong(text, name, of)
        return Rule(least=least, most=most)
    if instead := _instead(name, text):
        raise ValueError(f"domain of {of}: {name} {text} is no condition; {instead}")
    if re.search(r"[%=<>.]{2}|^%", text) or not text:
        raise _wrong(text, name, of)
    return Rule(values=(_member(text, name, of),))


# As Python, and as C writes it.
WORDS = {"True": True, "true": True, "False": False, "false": False, "None": None}


def _member(value: Any, name: str, of: str) -> Any:
    """Return one of several values: a number, a name, or a pair of numbers."""
    if isinstance(value, list | tuple):
        return tuple(_member(one, name, of) for one in value)
    if not isinstance(value, str):
        if not isinstance(value, bool | int | float | None):
            raise _wrong(value, name, of)
        return value
    if value.strip() in WORDS:
        return WORDS[value.strip()]
    with_numbers = re.fullmatch(r"[-+\d.,()e ]+", value.strip())
    try:
        return ast.literal_eval(value.strip()) if with_numbers else value
    except (ValueError, SyntaxError):
        raise _wrong(value, name, of) from None


def _wrong(value: Any, name: str, of: str) -> ValueError:
    return ValueError(
        f"domain of {of}: {name} cannot be {value!r:.60}; write one like {', '.join(KINDS)}"
    )


def _is(value: Any, allowed: Any, dtype: Any) -> bool:
    """Return whether a value is the one allowed, in a call's dtype: factors are rounded to it."""
    if isinstance(value, float) or isinstance(allowed, float):
        return bool(value == (allowed if dtype is None else float(dtype.type(allowed))))
    return bool(value == allowed) and isinstance(value, str) == isinstance(allowed, str)


def _entry(value: Any, at: int | None) -> Any:
    return value[at] if isinstance(value, tuple) and at is not None else value


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, tuple) else str(value)


def _bound(number: float) -> str:
    return "" if abs(number) == inf else str(int(number))


def implied(formula: Formula, name: str) -> Condition:
    """Return the condition that a signature without this option or optional argument makes.

    The option has its neutral value, or the default that PyTorch gives it.

    Raises:
        KeyError: it has neither: a signature must have it.
    """
    axes = axes_of(formula)
    if name in axes.optional:
        return Condition(name, Rule(word=ABSENT), implied=True)
    if name == "stride" and axes.window:
        return Condition(name, Rule(other=axes.window), implied=True)
    if name == "axis":
        return Condition(name, Rule(word=LAST), implied=True)
    value = {**axes.neutral, **DEFAULTS}[name]
    return Condition(name, Rule(values=(value,)), implied=True)


def has_neutral(formula: Formula, name: str) -> bool:
    """Return whether a signature may lack an option: it then has one value."""
    return name in {**axes_of(formula).neutral, **DEFAULTS} or name == "axis"


def joined(domains: Iterable[Domain]) -> Domain:
    """Return the conditions of several domains, each once."""
    return tuple(dict.fromkeys(condition for domain in domains for condition in domain))
