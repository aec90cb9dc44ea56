"""Covering arrays: few rows in which every combination of t classes occurs.

Faults of fast paths are conjunctions of a few conditions ("kernel 5, padding 2, dilation above 1").
A covering array of strength t meets every conjunction of t of them (Kuhn, Kacker, Lei 2010,
"Practical Combinatorial Testing", NIST SP 800-142), which independent draws do not.

The rows are made by a one-row-at-a-time greedy (AETG: Cohen, Dalal, Fredman, Patton 1997).  That
takes seconds for the largest arrays, so those of the suite's own operators are kept in
`covering_rows.json`; `python -m gradoracle.conformance.operators.covering_rows` writes it again.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.resources import files
from itertools import combinations, product
from math import prod
from typing import Any, NamedTuple, TypeAlias

import numpy as np

Row: TypeAlias = tuple[int, ...]  # the place of the class of each factor
Subset: TypeAlias = tuple[int, ...]  # of factors, by their places
Table: TypeAlias = np.ndarray[Any, np.dtype[np.bool_]]  # an axis for each factor of a subset
Chosen: TypeAlias = Mapping[str, Any]  # the class of some factors, by name
ROWS_FILE = "covering_rows.json"
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
EXCLUDING = 3  # factors whose classes may exclude each other
CANDIDATES = 3  # rows that are tried for each one that is kept


def everything(chosen: Chosen) -> bool:
    """Allow every combination of classes."""
    del chosen
    return True


class Factors(NamedTuple):
    """Options and sizes with the classes of each, and which classes exclude each other."""

    classes: Mapping[str, Sequence[Any]]
    # Of some classes: whether they go together.  Up to three factors may exclude each other, and
    # what is allowed can be filled to a row.
    allows: Callable[[Chosen], bool] = everything

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the factors."""
        return (*self.classes,)

    @property
    def levels(self) -> tuple[int, ...]:
        """How many classes each factor has."""
        return tuple(len(classes) for classes in self.classes.values())

    def chosen(self, row: Row) -> dict[str, Any]:
        """Return the classes of a row by name."""
        return {name: self.classes[name][at] for name, at in zip(self.names, row, strict=True)}

    def required(self, strength: int) -> Iterator[tuple[Subset, Table]]:
        """Yield every `strength` factors, and which combinations of their classes are allowed."""
        excluded = {s: t for s, t in _tables(self, min(strength, EXCLUDING)) if not t.all()}
        for subset in combinations(range(len(self.levels)), strength):
            allowed = np.ones([self.levels[f] for f in subset], bool)
            for some in combinations(subset, min(strength, EXCLUDING)):
                if some in excluded:
                    places = [subset.index(f) for f in some]
                    others = [at for at in range(strength) if at not in places]
                    allowed &= np.expand_dims(excluded[some], others)
            yield subset, allowed


def _tables(factors: Factors, size: int) -> Iterator[tuple[Subset, Table]]:
    """Yield every so many factors, and which combinations of their classes `allows` takes."""
    names, classes = factors.names, [*factors.classes.values()]
    for subset in combinations(range(len(names)), size):
        allowed = np.ones([len(classes[f]) for f in subset], bool)
        for at in np.ndindex(allowed.shape):
            pairs = zip(subset, at, strict=True)
            allowed[at] = factors.allows({names[f]: classes[f][v] for f, v in pairs})
        yield subset, allowed


def count(factors: Factors, strength: int, rows: Sequence[Row]) -> tuple[int, int]:
    """Return how many combinations of `strength` classes occur in rows, and how many could."""
    table = np.array(rows, int).reshape(len(rows), len(factors.levels))
    covered = possible = 0
    for subset, allowed in factors.required(strength):
        seen = np.zeros(allowed.shape, bool)
        seen[tuple(table[:, f] for f in subset)] = True
        covered += int((seen & allowed).sum())
        possible += int(allowed.sum())
    return covered, possible


@lru_cache(maxsize=64)
def _kept() -> Mapping[str, str]:
    text = files("gradoracle.conformance.drawing").joinpath(ROWS_FILE).read_text("ascii")
    kept: dict[str, str] = json.loads(text)
    return kept


def covering_rows(factors: Factors, strength: int) -> tuple[list[Row], int]:
    """Return rows in which every allowed combination of classes occurs, and how many there are.

    They are read from the file of the suite if it has them, and made otherwise.
    """
    kept = _kept().get(key_of(factors, strength))
    if kept is None:
        rows = make(factors, strength)
        return rows, count(factors, strength, rows)[1]
    possible, *texts = kept.split()
    return [tuple(DIGITS.index(digit) for digit in text) for text in texts], int(possible)


def key_of(factors: Factors, strength: int) -> str:
    """Return the name of an array in the file: a hash of everything that decides its rows."""
    forbidden = [
        ([*subset], np.flatnonzero(~allowed).tolist())
        for subset, allowed in _tables(factors, 2)
        if not allowed.all()
    ]
    text = json.dumps(
        [strength, {n: [*map(str, c)] for n, c in factors.classes.items()}, forbidden]
    )
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def neutral_pairs(factors: Factors, neutral: Chosen) -> list[Row]:
    """Return rows with every pair of classes, all other factors neutral, where that is allowed."""
    base = {n: [*classes].index(neutral[n]) for n, classes in factors.classes.items()}
    rows: dict[Row, None] = {}
    for one, other in combinations(factors.names, 2):
        sides = (range(len(factors.classes[n])) for n in (one, other))
        for a, b in product(*sides):
            row = tuple({**base, one: a, other: b}.values())
            if factors.allows(factors.chosen(row)):
                rows[row] = None
    return [*rows]


# -- making them ----------------------------------------------------------------------------------


class _Open:
    """The combinations that no row has yet."""

    def __init__(self, factors: Factors, strength: int) -> None:
        self.factors, self.strength = factors, strength
        self.tables = {subset: table.copy() for subset, table in factors.required(strength)}
        self.count = sum(int(table.sum()) for table in self.tables.values())
        self.left = {subset: int(table.sum()) for subset, table in self.tables.items()}
        names = range(len(factors.levels))
        self.of = {f: [s for s in self.tables if f in s] for f in names}

    def gains(self, row: list[int], factor: int) -> np.ndarray[Any, Any]:
        """Return how many open combinations each class of a factor adds to a row's; -1: not set."""
        total = np.zeros(self.factors.levels[factor], int)
        for subset in self.of[factor]:
            if self.left[subset] and all(row[f] >= 0 or f == factor for f in subset):
                total += self.tables[subset][
                    tuple(slice(None) if f == factor else row[f] for f in subset)
                ]
        return total

    def gain(self, row: list[int]) -> int:
        """Return how many open combinations a whole row has."""
        return sum(bool(t[tuple(row[f] for f in s)]) for s, t in self.tables.items())

    def close(self, row: list[int]) -> None:
        """Take a row's combinations out."""
        for subset, table in self.tables.items():
            at = tuple(row[f] for f in subset)
            if table[at]:
                table[at] = False
                self.left[subset] -= 1
                self.count -= 1


def make(factors: Factors, strength: int) -> list[Row]:
    """Return rows in which every allowed combination of `strength` classes occurs.

    Raises:
        ValueError: `allows` takes some classes together, but no row that has them.
    """
    if prod(factors.levels) <= 1 or strength > len(factors.levels):
        strength = len(factors.levels)
    chance, left, rows = random.Random(strength), _Open(factors, strength), list[Row]()  # noqa: S311
    while left.count:
        best = max((_filled(left, chance) for _ in range(CANDIDATES)), key=left.gain)
        left.close(best)
        rows.append((*best,))
    return rows


def _filled(left: _Open, chance: random.Random) -> list[int]:
    """Return a row that begins with an open combination and takes the best class of each factor."""
    factors = left.factors
    subset = max(
        (s for s in left.tables if left.left[s]), key=lambda s: (left.left[s], chance.random())
    )
    start = chance.choice(np.argwhere(left.tables[subset]).tolist())
    for _ in range(100):
        row = [-1] * len(factors.levels)
        for factor, at in zip(subset, start, strict=True):
            row[factor] = at
        others = [f for f in range(len(row)) if row[f] < 0]
        chance.shuffle(others)
        if all(_fill(left, row, factor, chance) for factor in others):
            return row
    raise ValueError(f"no row has {_named(factors, subset, start)}")


def _fill(left: _Open, row: list[int], factor: int, chance: random.Random) -> bool:
    """Set the class of a factor that adds most; return whether one is allowed."""
    factors, gains = left.factors, left.gains(row, factor)
    name = factors.names[factor]
    known = {
        factors.names[f]: factors.classes[factors.names[f]][v] for f, v in enumerate(row) if v >= 0
    }
    for at in sorted(range(len(gains)), key=lambda v: (-gains[v], chance.random())):
        if factors.allows({**known, name: factors.classes[name][at]}):
            row[factor] = at
            return True
    return False


def _named(factors: Factors, subset: Sequence[int], at: Sequence[int]) -> str:
    names = (factors.names[f] for f in subset)
    return ", ".join(f"{n} {factors.classes[n][v]}" for n, v in zip(names, at, strict=True))
