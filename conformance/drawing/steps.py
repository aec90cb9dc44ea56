"""Calls with ties: some elements are moved so that what a formula rounds or compares is tied.

For a random x, x / 3 is hardly ever a half and |x - t| hardly ever equal to a threshold, where
kernels that round halves otherwise or take > for >= differ.  The formula is run on a drawn call and
says what it compares and rounds, and how far that is from a tie (`oracle.numbers.decisions`).  Its
slopes say by how much an element of an argument has to be moved.  Moved elements are kept where the
format holds them, and where rounding does not decide there (`oracle.numbers.exactly_known`): else
any answer would be right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import product
from math import prod
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from gradoracle.oracle.declaration import Composed, Formula, algebra, is_data
from gradoracle.oracle.derive import GRAD_OUTPUT, body_of, decisions
from gradoracle.oracle.float_formats import FORMATS, name_of
from gradoracle.oracle.numbers import many
from gradoracle.oracle.numbers.decisions import Decision
from gradoracle.oracle.numbers.exactly_known import is_exact
from gradoracle.oracle.numbers.reverse import TracedArray, Undecided, gradient, stacked
from gradoracle.oracle.numbers.running_error import Arithmetic
from gradoracle.oracle.shapes import Array

Given: TypeAlias = dict[str, Any]
Random: TypeAlias = np.random.Generator

MOST = 2**12  # numbers of a call, above which it stays as it is
TRIES = 2  # decisions that are tried, until one can be moved
DECISIONS, ELEMENTS = 2, 8  # that are moved of a call; of a function of single numbers, elements
SHARE, BEYOND = 0.75, 0.2  # of a decision's numbers that are moved; of moves, to 1 beside the tie
FARTHEST = 2.0**10  # a moved number is no larger than this, or than so many times all others
NEWTON = 3  # steps of Newton's method, of which the first is enough where all is linear
NOISE, NEAR = (24, 2.0**-40), (8, 2.0**-12)  # digits to which a number is rounded that is so near


class _Group(NamedTuple):
    """One comparison or rounding of an array, or all of single numbers, as in loops."""

    decisions: Sequence[Decision]

    @property
    def number(self) -> Any:
        """The numbers, traced."""
        first, *more = (one.number for one in self.decisions)
        return stacked([first, *more]) if more else first

    @property
    def is_whole(self) -> bool:
        """Whether they are rounded to whole numbers."""
        return self.decisions[0].whole

    @property
    def apart(self) -> Array:
        """How far each is from a tie."""
        each = [np.asarray(one.apart, np.float64) for one in self.decisions]
        return np.stack(each) if len(each) > 1 else each[0]

    @property
    def sure(self) -> Array:
        """Where rounding does not decide."""
        each = [is_exact(one.number) & np.ones(np.shape(one.apart), bool) for one in self.decisions]
        return np.stack(each) if len(each) > 1 else each[0]


_Run: TypeAlias = tuple[Given, list[_Group]]


def at_steps(formula: Formula, call: Given, seed: int, *, within: bool = False) -> Given:
    """Return a call with elements moved so that what a derived formula compares or rounds is tied.

    Where they must stay `within` the range that an argument's numbers have, they do.  The same seed
    moves the same elements.
    """
    if body_of(formula) is None or _size(call) > MOST:
        return call
    random = np.random.default_rng([seed, 1])
    kept = call if within else None
    try:
        for turn in range(DECISIONS):
            call = _moved(formula, call, random, kept, turn)
    except (Undecided, IndexError, ZeroDivisionError):
        return call  # nothing can be said of it in numbers with errors
    except ValueError:
        kind = algebra(formula)
        branches = isinstance(kind, Composed) and kind.pointwise  # an `if`, of all numbers at once
        return _each_moved(formula, call, random, kept) if branches else call
    return call


def _size(call: Mapping[str, Any]) -> int:
    return sum(prod(value.shape) for value in call.values() if is_data(value))


def _each_moved(formula: Formula, call: Given, random: Random, within: Given | None) -> Given:
    """Return a call of a function of single numbers with some of them moved."""
    (name,) = (n for n, v in call.items() if is_data(v) and n != GRAD_OUTPUT)
    numbers = call[name].copy()
    for at in random.permutation(numbers.size)[:ELEMENTS]:
        one = {**call, name: np.asarray(numbers.flat[at])}
        with suppress(Undecided, ValueError, IndexError, ZeroDivisionError):
            numbers.flat[at] = _moved(formula, one, random, within)[name]
    return {**call, name: numbers}


def _moved(
    formula: Formula, call: Given, random: Random, within: Given | None, turn: int = 0
) -> Given:
    """Return a call in which one comparison or rounding, picked at random, is tied if possible.

    In the first turn one that rounds to whole numbers, where there are some, since halves are hit
    least, and by the argument of most elements.
    """
    given, groups = run = _decided(formula, call)
    names = [n for n, v in given.items() if isinstance(v, TracedArray) and v.size]
    if not groups:
        return call
    order = random.permutation(len(groups)).tolist()
    names = random.permutation(names).tolist()
    if not turn:
        order.sort(key=lambda at: not groups[at].is_whole)
        names.sort(key=lambda name: -given[name].size)
    for at, name in product(order[:TRIES], names):
        alone = not groups[at].apart.shape
        for single in (True,) if alone else (False, True):
            seed = int(random.integers(2**32))
            found = _Move(formula, name, at, within, single, seed).made(call, run)
            if found is not None:
                return found
    return call


def _decided(formula: Formula, call: Given, arithmetic: Arithmetic | None = None) -> _Run:
    """Return the traced arguments of a call, and the comparisons and roundings of the formula."""
    given, seen = decisions(formula, call, arithmetic)
    alone = [one for one in seen if not np.shape(one.apart)]
    groups = [_Group([one]) for one in seen if np.shape(one.apart)]
    return given, [*groups, *([_Group(alone)] if alone else [])]


class _Move(NamedTuple):
    """A move of elements of one argument that makes one comparison or rounding a tie."""

    formula: Formula
    name: str
    at: int
    within: Given | None
    single: bool  # one element only, as where several meet in a decision
    seed: int

    def made(self, call: Given, run: _Run) -> Given | None:
        """Return the call with elements moved, None where that leads to no tie."""
        tried = call
        for attempt in range(NEWTON):
            if attempt:
                run = _decided(self.formula, tried)
            random = np.random.default_rng(self.seed)
            given, groups = run
            number, apart, aims = self._aimed(groups[self.at], random)
            moved = self._nearer(given[self.name], number, apart, random)
            if moved is None:
                return None
            legal = self._legal(call, _short(moved, *(NEAR if attempt else NOISE)))
            if aims:
                return legal
            on_steps, hit = self._on_steps(legal)
            if on_steps.any():
                return {**call, self.name: np.where(on_steps, legal[self.name], call[self.name])}
            if hit:  # where rounding decides
                return None
            tried = {**tried, self.name: moved}
        return None

    def _aimed(self, group: _Group, random: Random) -> tuple[Any, Array, bool]:
        """Return the numbers, by how much those that are picked should move, and if beside ties.

        NaN where they should not.
        """
        apart = group.apart
        aim = random.choice((-1.0, 0.0, 1.0), p=(BEYOND / 2, 1 - BEYOND, BEYOND / 2))
        aim = 0.0 if group.is_whole else float(aim)
        chosen = np.isfinite(apart) & (random.random(apart.shape) < SHARE)
        if self.single:
            chosen = _one_of(np.isfinite(apart), random)
        return group.number, np.where(chosen, apart + aim, np.nan), bool(aim)

    def _nearer(self, argument: Any, number: Any, apart: Array, random: Random) -> Array | None:
        """Return the argument after a step of Newton's method; None where none matters."""
        chosen = ~np.isnan(apart)
        with np.errstate(all="ignore"):
            slope = np.asarray(gradient(number, chosen.astype(float), argument), np.float64)
            if not slope.any():
                return None
            wanted = np.where(chosen, apart, 0.0)
            if self.single:
                by = np.where(_one_of(slope != 0, random), wanted.sum() / slope, 0.0)
            else:  # each element matters to one of them, in which it has this slope
                move = np.asarray(gradient(number, wanted, argument), np.float64)
                by = np.where(slope != 0, move / slope / slope, 0.0)
        return np.asarray(argument.held, np.float64) + by

    def _legal(self, call: Given, moved: Array) -> Given:
        """Return the call with those moved elements that its dtype holds and that are in range."""
        before = call[self.name]
        wide = before.astype(np.float64)
        with np.errstate(all="ignore"):
            held = moved.astype(before.dtype)
            most = FARTHEST * max(1.0, abs(wide).max())
            fine = (held.astype(np.float64) == moved) & (abs(moved) <= most)
        if self.within is not None:
            own = self.within[self.name].astype(np.float64)
            fine &= (moved >= own.min()) & (moved <= own.max())
        return {**call, self.name: np.asarray(np.where(fine, held, before), before.dtype)}

    def _on_steps(self, call: Given) -> tuple[Array, bool]:
        """Return which elements of the argument lead to ties that no rounding can change.

        And whether there are such numbers at all.
        """
        limits = FORMATS[name_of(call[self.name].dtype)]
        arithmetic = Arithmetic(2.0**-limits.bits, 2.0**limits.smallest_exponent)
        given, groups = _decided(self.formula, call, arithmetic)
        group = groups[self.at]
        on, number = group.apart == 0, group.number
        sure = np.asarray(on & group.sure, np.float64)
        with np.errstate(all="ignore"):
            slopes = gradient(number, many.like(number.held, sure), given[self.name])
        return np.asarray(many.values_and_errors(slopes)[0] != 0), bool(on.any())


def _one_of(allowed: Array, random: Random) -> Array:
    """Return an array that is True in one place, picked at random, where another is."""
    found = np.zeros(allowed.shape, bool)
    places = np.flatnonzero(allowed)
    if places.size:
        found.flat[random.choice(places)] = True
    return found


def _short(number: Array, digits: int, near: float) -> Array:
    """Return numbers rounded to some binary digits where they are as near to that."""
    mantissa, exponent = np.frexp(number)
    short = np.ldexp(np.rint(np.ldexp(mantissa, digits)), exponent - digits)
    return np.where(abs(number - short) <= near * abs(number), short, number)
