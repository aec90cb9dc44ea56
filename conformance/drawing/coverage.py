"""What every certification meets for certain: combinations of option classes.

An operator's record lists its `Cover`s.  A class stands for a few values of an option or a size,
and the seed of a run picks which of them; the rows of classes are the same in every run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from gradoracle.conformance.drawing.choices import Choices
from gradoracle.conformance.drawing.covering import (
    Chosen,
    Factors,
    Row,
    count,
    covering_rows,
    neutral_pairs,
)

DTYPE = "dtype"
DTYPES = ("float32", "float64", "half precision")  # the classes of the factor
PAIRS = 2  # the strength in the properties that compare answers with each other
EACH = 1  # and in those that make many calls of each
CHANGED = "layers with one option changed"


class Cover(NamedTuple):
    """A covering array over some factors, or every pair of classes with all else neutral."""

    name: str
    factors: Factors
    sizes: Callable[[Chosen, Choices], Mapping[str, int]]
    strength: int = 0  # combinations of so many classes; 0: of two, all others neutral
    neutral: Mapping[str, Any] = {}
    work: Callable[[Mapping[str, int]], int] = len  # products of a call of these sizes, or few
    kept: Mapping[str, Sequence[Any]] | None = None  # the classes inside a domain; None: all

    def rows(self, strength: int | None = None) -> list[Row]:
        """Return its rows, or those of its factors at another strength.

        Inside a domain a class that is outside is replaced by one that is inside, in turn.
        """
        rows = _rows_of(self, self.strength if strength is None else strength)[0]
        return rows if self.kept is None else self._inside(rows, self.kept)

    def _inside(self, rows: Sequence[Row], kept: Mapping[str, Sequence[Any]]) -> list[Row]:
        """Return the rows with classes that are kept, each once."""
        factors, found = self.factors, dict[Row, None]()
        places = [[*map([*factors.classes[n]].index, kept[n])] for n in factors.names]
        for at, row in enumerate(rows):
            moved = tuple(
                one if one in of else of[at % len(of)] for one, of in zip(row, places, strict=True)
            )
            if factors.allows(factors.chosen(moved)):
                found[moved] = None
        return [*found]

    def covered(self, rows: Sequence[Row], strength: int | None = None) -> Covered:
        """Return which combinations some of its rows meet."""
        strength = self.strength if strength is None else strength
        if self.kept is not None:
            return self._covered_inside(rows, strength or PAIRS, self.kept)
        if not strength:
            pairs = len(self.rows())
            return Covered(self.name, PAIRS, len(rows), len(rows), pairs, beside_neutral=True)
        whole, possible = _rows_of(self, strength)
        met = possible if len(rows) == len(whole) else count(self.factors, strength, rows)[0]
        return Covered(self.name, strength, len(rows), met, possible)

    def _covered_inside(
        self, rows: Sequence[Row], strength: int, kept: Mapping[str, Sequence[Any]]
    ) -> Covered:
        """Return which combinations of the classes that are kept some rows meet."""
        inside = Factors(kept, self.factors.allows)
        places = [[*map([*self.factors.classes[n]].index, kept[n])] for n in inside.names]
        renamed = [
            tuple(of.index(one) for one, of in zip(row, places, strict=True)) for row in rows
        ]
        met, possible = count(inside, strength, renamed)
        return Covered(self.name, strength, len(rows), met, possible)


class Covered(NamedTuple):
    """How many combinations of option classes a check has met."""

    name: str
    strength: int
    calls: int
    met: int
    possible: int
    beside_neutral: bool = False  # pairs, all other classes neutral

    @property
    def text(self) -> str:
        """What was met, in words."""
        share = "all" if self.met == self.possible else f"{self.met} of"
        if self.name == CHANGED:
            return f"{share} {self.possible} {self.name}"
        which = {EACH: "", PAIRS: "pairs of "}.get(
            self.strength, f"combinations of {self.strength} "
        )
        beside = ", all other options neutral" if self.beside_neutral else ""
        return f"{share} {self.possible} {which}option classes ({self.name}{beside})"


_KEPT: dict[tuple[str, int, int], tuple[list[Row], int]] = {}


def _rows_of(cover: Cover, strength: int) -> tuple[list[Row], int]:
    """Return rows and how many combinations they meet."""
    key = cover.name, strength, id(cover.factors)
    if key not in _KEPT:
        if strength:
            _KEPT[key] = covering_rows(cover.factors, strength)
        else:
            pairs = neutral_pairs(cover.factors, cover.neutral)
            _KEPT[key] = pairs, len(pairs)
    return _KEPT[key]


def with_dtype(classes: Mapping[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
    """Return the classes with the dtype as one more factor."""
    return {**classes, DTYPE: DTYPES}


def excluding(*forbidden: Mapping[str, Callable[[Any], bool]]) -> Callable[[Chosen], bool]:
    """Return what allows all classes but those that fit each condition of a `forbidden`."""

    def allows(chosen: Chosen) -> bool:
        return not any(
            all(name in chosen and fits(chosen[name]) for name, fits in conditions.items())
            for conditions in forbidden
        )

    return allows
