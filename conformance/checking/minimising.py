"""Making the call that broke a property as small as it gets, within a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, prod
from time import perf_counter
from typing import Any

import numpy as np

from gradoracle.conformance.backends.backend import How
from gradoracle.conformance.backends.mismatch import Ended, Mismatch
from gradoracle.conformance.checking.examination import Examination
from gradoracle.conformance.checking.failures import Failure, size_of
from gradoracle.conformance.checking.shrinking import boldest, simplest_numbers, smallest_sizes
from gradoracle.conformance.drawing.values import Style
from gradoracle.oracle.declaration import Call, is_data
from gradoracle.oracle.shapes import Array, Shape

PATIENCE = 60.0  # seconds to make a counterexample smaller: one that crashes may be slow to repeat
HITS = 6  # calls over a limit, at most, to make one smaller: each costs as long as the limit
SLOW = 0.1  # seconds of a call, after which no other numbers are tried for one over a limit
DRAWS = 4  # of other numbers, for a smaller geometry to fail on
LARGER = 2**16  # elements that a simpler call may have, though the call that failed has fewer


@dataclass
class Minimiser:
    """Smaller calls that fail like the one that broke the property of an examination."""

    exam: Examination
    until: float = inf  # when to stop
    shrinks: bool = False  # it has begun
    hits: int = HITS  # left
    cut: bool = False  # it was stopped, and the call may not be the smallest

    def fails(self, call: dict[str, Any]) -> bool:
        """Return whether a call fails, in the way that `alike` says; False after the deadline."""
        return self._one_fails([call], how=None)

    def _is_same_end(self, mismatch: Mismatch) -> bool:
        """Return whether a call ends as the one to be made smaller: at the same limit, or none."""
        if self.exam.broken is None or not self.shrinks:
            return True
        one, other = mismatch, self.exam.broken[1]
        if isinstance(one, Ended) and isinstance(other, Ended):
            return (one.function, one.over) == (other.function, other.over)
        return isinstance(one, Ended) == isinstance(other, Ended)

    def _one_fails(self, calls: Sequence[dict[str, Any]], how: How | None) -> bool:
        """Return whether one of some calls breaks the property; `how` has all performed at once."""
        calls = [_of_arrays(call) for call in calls]
        if how is not None:
            self.exam.backend.foresee(*((self.exam.formula, call) for call in calls), how=[how])
        try:
            for call in calls:
                if perf_counter() >= self.until or self.hits <= 0:
                    self.cut = True
                    return False
                if self._fails_alike(call):
                    return True
            return False
        finally:
            self.exam.backend.forget()

    def _fails_alike(self, call: dict[str, Any]) -> bool:
        """Return whether a call fails, and for a fault of the same kind if there is one already."""
        try:
            self.exam.passes(call)
        except Mismatch as mismatch:
            self.hits -= isinstance(mismatch, Ended) and bool(mismatch.over) and self.shrinks
            answers = list(self.exam.backend.answers)
            if not self._is_same_end(mismatch):
                return False
            if self.exam.alike is not None:
                failure = Failure(
                    call, mismatch, self.exam.drawn, self.exam.wrong_in(call, mismatch)
                )
                *way, is_empty = self.exam.way(failure)
                *want, may_be_empty = self.exam.alike
                if way != want or (is_empty and not may_be_empty):
                    return False
            self.exam.backend.answers[:] = answers  # without what was asked to compare
            self.exam.broken, self.exam.shown = (call, mismatch), answers
            return True
        return False

    def minimise(self) -> bool:
        """Make the call that broke the property as small as it gets; return whether it fails."""
        assert self.exam.drawn is not None and self.exam.broken is not None, "nothing to minimise"  # noqa: S101, PT018
        geometry, style, dtype = self.exam.drawn
        self.until, self.shrinks = perf_counter() + PATIENCE, True
        sizes, over = geometry.sizes, self.exam.over()
        if over and _is_tiny(self.exam.broken[0]):
            return True  # to be sure costs the limit once more
        if over:
            bold = boldest(sizes)
            sizes = next((s for s in bold if self.fails_somehow(s, style, dtype)), sizes)
        smallest_sizes(sizes, lambda sizes: self.fails_somehow(sizes, style, dtype))
        call, _ = self.exam.broken
        complete = self.exam.operator.complete
        simplest_numbers(call, lambda c: self.fails(complete(dict(c), geometry.seed)))
        call, _ = self.exam.broken
        self.until, again = inf, over and self.hits < HITS
        self.hits, cut = HITS, self.cut
        steady = again or self.fails(call)  # a call over its limit is not called once more
        self.cut, self.exam.backend.answers[:] = cut, self.exam.shown
        return steady

    def fails_somehow(self, sizes: Mapping[str, int], style: Style, dtype: str) -> bool:
        """Return whether some numbers of these sizes break the property."""
        try:
            shapes = self.exam.operator.arguments(sizes).shapes.values()
        except ValueError:
            return False
        failed = size_of(self.exam.broken[0]) if self.exam.broken is not None else 0
        if sum(prod(shape) for shape in shapes if shape is not None) > max(LARGER, 2 * failed):
            return False  # without its thousands of groups a weight takes gigabytes
        own, *seeds = (*([self.exam.drawn[0].seed] if self.exam.drawn else []), *range(DRAWS))
        first, start = self.exam.operator.call(sizes, style, own, dtype), perf_counter()
        if self.fails(first):
            return True
        if self.exam.over() and perf_counter() - start > SLOW:
            return False
        known = self.exam.operator.styles.of(self.exam.property.kind)
        styles = dict.fromkeys((style, known[0])) if style in known else (style,)  # a corner's own
        others = [
            self.exam.operator.call(sizes, one, seed, dtype)
            for seed in (own, *seeds)
            for one in styles
            if (seed, one) != (own, style)
        ]
        cropped = [self._cropped(first, last=last) for last in (False, True)]
        return self._one_fails([*cropped, *others, self._level(first)], self.exam.property.asks)

    def _cropped(self, call: dict[str, Any], *, last: bool) -> dict[str, Any]:
        """Return a call whose arrays are the first or the last part of those that failed last."""
        failed = {} if self.exam.broken is None else self.exam.broken[0]
        parts: dict[str, Any] = {}
        for name, array in call.items():
            whole = failed.get(name)
            if whole is not None and is_data(array) and whole.dtype == array.dtype:
                parts[name] = _part(whole, array.shape, last=last)
        parts = {name: part for name, part in parts.items() if part is not None}
        return self.exam.operator.complete({**call, **parts}, 0)

    def _level(self, call: dict[str, Any]) -> dict[str, Any]:
        """Return a call whose operands are 0: all equal, which draws of few numbers seldom are."""
        arrays = {n: v for n, v in call.items() if is_data(v) and n != "grad_output"}
        level = {name: np.zeros_like(array) for name, array in arrays.items()}
        return self.exam.operator.complete({**call, **level}, 0)


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


def _is_tiny(call: Call) -> bool:
    """Return whether no array of a call has more than one element: nothing is smaller."""
    return all(value.size <= 1 for value in call.values() if isinstance(value, np.ndarray))


def _of_arrays(call: dict[str, Any]) -> dict[str, Any]:
    """Return a call with arrays for what an operation leaves of those without axes: numbers."""
    if not any(isinstance(value, np.generic) for value in call.values()):
        return call
    return {n: np.asarray(v) if isinstance(v, np.generic) else v for n, v in call.items()}
