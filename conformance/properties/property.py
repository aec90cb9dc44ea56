"""What a property is, and the table of all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Literal, TypeAlias

from gradoracle.conformance.backends.backend import Backend, How
from gradoracle.conformance.drawing.coverage import EACH, PAIRS, Cover
from gradoracle.conformance.drawing.profiles import PROFILES
from gradoracle.conformance.operators.record import Corner, Geometry, Kind, Operator, Size, Variant
from gradoracle.oracle.declaration import (
    Call,
    Chained,
    Formula,
    algebra,
    argument_names,
    parts_of,
)

Check: TypeAlias = Callable[[Backend, Operator, Formula, Call], float]
Where: TypeAlias = Callable[[Operator, Formula], bool]
Turns: TypeAlias = Literal["never", "in whole runs", "always"]
Listed: TypeAlias = Callable[[Operator, Formula], Sequence[Geometry]]


BESIDE_ALL = 0.6  # of the geometries are drawn beside all covering arrays
DTYPES_OF_A_DRAW = 3  # in which a drawn geometry is checked; a row is in one
FEWEST = 2  # geometries of a check: the first that is drawn is the simplest


class NotJudged(Exception):
    """The property does not apply to a call; it is not counted."""


class NothingToJudge(NotJudged):
    """Nor, as it seems, to any other call of the formula; the message says why."""


@dataclass(frozen=True)
class Property:
    """A check, what it is applied to, and the calls it is applied on."""

    check: Check
    of: Literal["formulas", "gradients"]
    where: Where
    kind: Kind  # of numbers
    size: Size
    styles_per_geometry: int
    share: float  # of the profile's examples
    needs_torch: bool
    needs_forward: bool  # the backend's own forward pass is asked
    needs: Callable[[Operator], tuple[Formula, ...]]  # and these
    asks: How | None  # what it begins with, where that is the formula on the very call
    at_corners: bool  # what the operator lists is checked beside what is drawn
    at_ones: bool  # likewise where it lists axes of size 1
    at_smallest: bool  # and on its smallest calls
    claim: tuple[str, ...]  # a policy and the rules under which it is asked for; none: always
    on_layers: bool  # of real networks, instead of on calls that are drawn
    needs_exact: bool  # sums that whole numbers leave exact, as no transform's are
    listed: Listed  # geometries of its own beside those that are drawn; layers in a full run only
    each_class_once: bool  # of the options, instead of every pair: it makes many calls of each
    in_turn: Turns  # the runs in which each drawn geometry is checked in one dtype
    is_observed: bool  # on a few calls where it is not claimed, which is a note and no verdict
    # Why there is nothing to check of what a backend has, or ""; and what the name of the function
    # ends with that is called instead of the formula's, after the operator's name.
    absent: Callable[[Backend, Operator, Formula], str]
    another: str

    @property
    def name(self) -> str:
        """The check's name."""
        return self.check.__name__

    @property
    def lists(self) -> bool:
        """Whether it has geometries of its own."""
        return self.listed is not _none

    @property
    def sentence(self) -> str:
        """What the property demands."""
        return " ".join((self.check.__doc__ or "").split())

    def formulas(self, operator: Operator) -> tuple[Formula, ...]:
        """Return the formulas of `operator` that the property is about."""
        if not operator.styles.of(self.kind):
            return ()
        all_ = operator.backward if self.of == "gradients" else operator.formulas
        single = self.where is not _everywhere
        return tuple(
            f
            for f in all_
            if any(self.where(operator, one) for one in parts_of(f)) and (single or is_function(f))
        )

    def corners(self, operator: Operator) -> tuple[Corner, ...]:
        """Return the corners of `operator` that are checked: on exact data, if it has any."""
        if self.at_ones:
            return operator.ones
        return operator.corners if self._has_corners(operator) else ()

    def covers(self, operator: Operator, formula: Formula) -> list[tuple[Cover, int | None]]:
        """Return the covering arrays of a formula, each with its strength (None: its own).

        The property that corners are for meets all of them; any other, the first at strength 2,
        or 1 where it makes many calls of each, and of one and three spatial axes.  A formula of one
        array has no options to combine.
        """
        if self.on_layers or not operator.covers:
            return []
        if self.each_class_once:
            return [(operator.covers[0], EACH)]
        one_array = sum(map(len, argument_names(formula))) == 1
        if one_array or not self._has_corners(operator):
            flat = operator.axes.rank in (0, 2)
            return [(operator.covers[0], PAIRS if flat else EACH)]
        return [(cover, None) for cover in operator.covers]

    def variants(self, operator: Operator, formula: Formula) -> Sequence[Variant]:
        """Return the layers with one option changed on which a formula is checked."""
        one_array = sum(map(len, argument_names(formula))) == 1
        return () if one_array or not self._has_corners(operator) else operator.variants()

    def _has_corners(self, operator: Operator) -> bool:
        """Return whether this is what checks the operator's numbers: exactly, if it can be."""
        return self.at_corners and (self.kind == "exact" or not operator.styles.exact)

    def examples(self, operator: Operator, profile: int) -> int:
        """Return how many geometries of `operator` a check draws.

        A whole run has its covering array beside them, whose rows are drawn less.
        """
        whole = profile * self.share * operator.share
        if profile < PROFILES["certify"] or self.on_layers or not operator.covers:
            return max(FEWEST, round(whole))
        covers = operator.covers[:1]
        rows = sum(len(cover.rows(PAIRS)) // DTYPES_OF_A_DRAW for cover in covers)
        drawn = whole * BESIDE_ALL if self.at_corners else whole
        return max(FEWEST, round(drawn) - rows, round(whole / 2))

    def takes_dtypes_in_turn(self, profile: int) -> bool:
        """Return whether a drawn geometry is checked in one dtype, as a row of a covering array is.

        In a whole run the numbers of every dtype are checked by what `at_corners` is for.  What
        compares a backend's answers with each other, or with another's, is about indices, which no
        dtype changes; nor does it change what is refused or written to.  What makes dozens of calls
        of each that it checks does so in every run.
        """
        in_whole_runs = self.in_turn == "in whole runs" and profile >= PROFILES["certify"]
        return in_whole_runs or self.in_turn == "always"

    def styles(self, profile: int) -> int:
        """Return in how many styles of numbers a drawn geometry is checked.

        A whole run has the rows of the covering arrays beside them.
        """
        return 1 if profile >= PROFILES["certify"] else self.styles_per_geometry


PROPERTIES: dict[str, Property] = {}


def _everywhere(operator: Operator, formula: Formula) -> bool:
    del operator, formula
    return True


def _none(operator: Operator, formula: Formula) -> Sequence[Geometry]:
    del operator, formula
    return ()


def missing(backend: Backend, operator: Operator, end: str) -> str:
    """Return that a backend lacks an operator's function of that end; "": it has it.

    The sentence is the same for all operators, so that a report says it once.
    """
    return "" if backend.has_function(operator.name + end) else f"the backend has no NAME{end}"


def is_function(formula: Formula) -> bool:
    """Return whether a backend has a function for the formula; a whole network is none."""
    return not isinstance(algebra(formula), Chained)


def holds(
    *, of: Literal["formulas", "gradients"] = "formulas", where: Where = _everywhere,
    kind: Kind = "exact", size: Size = "medium", styles_per_geometry: int = 1, share: float = 1.0,
    needs_torch: bool = False, needs_forward: bool = False,
    needs: Callable[[Operator], tuple[Formula, ...]] = lambda _: (),
    asks: How | None = None, at_corners: bool = False,
    at_ones: bool = False, at_smallest: bool = True,
    claim: tuple[str, ...] = (),
    on_layers: bool = False, needs_exact: bool = False, listed: Listed = _none,
    each_class_once: bool = False, in_turn: Turns = "never",
    once: bool = False, is_fresh: bool = False, is_observed: bool = False,
    absent: Callable[[Backend, Operator, Formula], str] = lambda *_: "", another: str = "",
) -> Callable[[Check], Check]:  # fmt: skip
    """Add a check to PROPERTIES.

    Where a function returns several results, each of them is checked, of the same calls
    unless the check `is_fresh`: it is about calls that follow each other.  What says nothing of
    results is checked `once`.
    """

    def add(check: Check) -> Check:
        PROPERTIES[check.__name__] = Property(
            _of_parts(check, where, needs_forward=needs_forward, once=once, is_fresh=is_fresh),
            of,
            where,
            kind,
            size,
            styles_per_geometry,
            share,
            needs_torch,
            needs_forward,
            needs,
            asks,
            at_corners,
            at_ones,
            at_smallest,
            claim,
            on_layers,
            needs_exact,
            listed,
            each_class_once,
            in_turn,
            is_observed,
            absent,
            another,
        )
        return check

    return add


def _of_parts(
    check: Check, where: Where, *, needs_forward: bool, once: bool, is_fresh: bool
) -> Check:
    """Return a check that checks each part of what a function returns all at once.

    By an argument that is None there is no gradient, unless the check gives it one to move.
    """

    @wraps(check)
    def of_all(backend: Backend, operator: Operator, formula: Formula, call: Call) -> float:
        parts, skipped = parts_of(formula), NotJudged("there is no gradient by what is None")
        if parts == (formula,):
            if not (needs_forward or operator.has_answer(formula, call)):
                raise skipped
            return check(backend, operator, formula, call)
        given = [
            one
            for one in parts
            if where(operator, one) and (needs_forward or operator.has_answer(one, call))
        ]
        worst: list[float] = []
        with backend.sharing(is_allowed=not is_fresh):
            for one in given[:1] if once else given:
                try:
                    worst.append(check(backend, operator, one, call))
                except NotJudged as why:
                    skipped = why
        if not worst:
            raise skipped
        return max(worst)

    return of_all
