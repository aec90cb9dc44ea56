"""What a formula makes of NaN and infinities: where they must show, where they may, and where not.

In IEEE arithmetic a sum is NaN or infinite wherever one of its terms is, and 0 times either is NaN:
what sums products may not skip a factor of 0.  But an implementation may multiply by zeros
that no formula displays (padding, the gaps that a stride or a dilation leaves, a tile that is
transformed as a whole).  So within a plane of a convolution or a pooling more elements may be lost
than those that the formula sums; beyond it, none.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from gradoracle.oracle.declaration import (
    Call,
    Composed,
    Formula,
    Multilinear,
    Selection,
    algebra,
    argument_names,
    axes_of,
    evaluate,
    is_data,
    operands,
)
from gradoracle.oracle.expected.planes import of_one_pixel
from gradoracle.oracle.numbers.reverse import nan_compares_as
from gradoracle.oracle.shapes import Array, Shape

if TYPE_CHECKING:
    from gradoracle.oracle.expected.truth import Truth


INSTEAD = (0.0, 1.0, 1e30, -1e30)  # numbers in the place of a NaN
HUGE = 1e290  # what no loss of finite logits reaches, and that of the largest one does


def is_judged_here(formula: Formula, call: Call) -> bool:
    """Return whether the formula sums a NaN, multiplies an infinity, or divides by a sum of one."""
    kind, given = algebra(formula), operands(formula, call)
    if isinstance(kind, Multilinear):
        return not all(np.isfinite(a).all() for a in given.values())
    if isinstance(kind, Selection):
        return not np.isfinite(given.get("grad_output", 0)).all()
    if _divides_by_a_sum(formula) and any(np.isposinf(a).any() for a in given.values()):
        return bool(np.isnan(_ieee(formula, call)).any())
    return isinstance(kind, Composed) and any(np.isnan(a).any() for a in given.values())


def _divides_by_a_sum(formula: Formula) -> bool:
    """Return whether the formula makes rows of rows, as softmax and the losses do."""
    kind = algebra(formula)
    return isinstance(kind, Composed) and not kind.pointwise


def with_finite(call: Call, number: float) -> dict[str, Any]:
    """Return the call with `number` in place of every NaN and infinity."""
    return {
        name: np.where(np.isfinite(v), v, v.dtype.type(number)) if is_data(v) else v
        for name, v in call.items()
    }


class NonFiniteTruth:
    """The right answer to a call with NaN or infinities in it.

    Elements that must be one of them are what IEEE arithmetic gives; unless `strict`, an infinity
    may have become NaN on the way, as transforms and compensated sums subtract one from another.
    Elements that nothing reaches are those of the call with 0 instead: `finite`.
    """

    def __init__(self, formula: Formula, call: Call, finite: Truth, *, strict: bool) -> None:
        """Evaluate nothing before it is asked for."""
        self.formula, self.call, self.finite, self.strict = formula, call, finite, strict

    @property
    def shape(self) -> Shape:
        """The answer's shape."""
        return self.finite.shape

    @cached_property
    def literal(self) -> Array:
        """What the formula's loops give in float64, by the rules of IEEE arithmetic."""
        return _ieee(self.formula, self.call)

    @cached_property
    def must(self) -> Array:
        """Which elements must be NaN or infinite: those that sum what is, also 0 times it.

        Where the formula does not sum products, what does not depend on it may leave it out: a
        class of probability 0, the only class, whose probability is 1.  Beside an infinite logit
        that is all other classes.
        """
        call = self.call
        if isinstance(algebra(self.formula), Multilinear):
            call = {n: np.where(np.isfinite(v), 1, v) if is_data(v) else v for n, v in call.items()}
        with_0, with_1 = (_ieee(self.formula, with_finite(call, v)) for v in (0, 1))
        return np.asarray(~np.isfinite(self.literal) & (with_0 != with_1) & ~self.open)

    @cached_property
    def open(self) -> Array:
        """Which elements may be anything: those of a softmax beside an infinite logit.

        Its own probability is NaN by the formula, infinity less infinity; the others' are then
        0 / NaN, or 0 where the quotient is taken otherwise.
        """
        given = operands(self.formula, self.call)
        logits = next((a for n, a in given.items() if n != "grad_output"), np.zeros(()))
        if not _divides_by_a_sum(self.formula) or logits.shape != self.shape:
            return np.zeros(self.shape, bool)
        if not np.isinf(logits).any():
            return np.zeros(self.shape, bool)
        beside = np.isfinite(logits) & ~np.isfinite(self.literal)
        beside &= ~np.isnan(_ieee(self.formula, self._without_infinities))
        with_0, with_1 = (_ieee(self.formula, with_finite(self.call, v)) for v in (0, 1))
        return np.asarray(beside | (np.isfinite(self.literal) & (with_0 != with_1)))

    @cached_property
    def _chosen(self) -> Array:
        """Which elements a comparison with NaN has decided: they may be anything.

        By the formula they are finite, and yet they change with the number in the NaN's place: the
        larger of 1 and NaN, or the slope of |x| there, depends on how the comparison is written.
        """
        kind = algebra(self.formula)
        if not (isinstance(kind, Composed) and (kind.of_arrays or kind.pointwise)):
            return np.zeros(self.shape, bool)
        first, *others = (_ieee(self.formula, with_finite(self.call, v)) for v in INSTEAD)
        differ = np.logical_or.reduce([one != first for one in others])
        return np.asarray((np.isfinite(self.literal) & differ) | self._selected)

    @cached_property
    def _selected(self) -> Array:
        """Which elements of a gradient depend on whether a comparison with NaN holds."""
        if "grad_output" not in argument_names(self.formula)[0]:
            return np.zeros(self.shape, bool)
        found = []
        for holds in (True, False):
            with nan_compares_as(holds):
                found.append(_ieee(self.formula, self.call))
        one, other = found
        return np.asarray((one != other) & ~(np.isnan(one) & np.isnan(other)))

    @cached_property
    def _beyond_all(self) -> Array:
        """Which elements may be infinity for NaN: losses beside an infinite logit.

        By the formula that is infinity less infinity; as the logit grows, the loss does, and that
        is what a logarithm of a sum that takes infinities apart gives, as SciPy's and JAX's do.
        """
        if not _divides_by_a_sum(self.formula):
            return np.zeros(self.shape, bool)
        limit = _ieee(self.formula, _with_large(self.call))
        return np.asarray(np.isnan(self.literal) & (limit > HUGE))

    @cached_property
    def _without_infinities(self) -> Call:
        """The call with 0 in place of infinities only."""
        return {
            n: np.where(np.isinf(v), v.dtype.type(0), v) if is_data(v) else v
            for n, v in self.call.items()
        }

    @cached_property
    def may(self) -> Array:
        """Which elements may be NaN or infinite.

        `strict`: of what the formula does not sum, only what meets zeros in every implementation
        that pads its arrays or fills their gaps.
        """
        lost, kind = ~np.isfinite(self.literal), algebra(self.formula)
        if isinstance(kind, Selection):  # by a mask of zeros and ones, maybe
            return np.asarray(lost | ~np.isfinite(self.call["grad_output"]))
        if isinstance(kind, Composed) and (kind.spread or self._is_of_nothing):
            return np.ones(self.shape, bool)
        if isinstance(kind, Composed) and (kind.of_arrays or kind.pointwise):
            dy = self.call["grad_output"] if "grad_output" in argument_names(self.formula)[0] else 0
            if np.shape(dy) == self.shape[: np.ndim(dy)]:  # of each element, or of its row
                more = (1,) * (len(self.shape) - np.ndim(dy))
                return np.asarray(lost | ~np.isfinite(np.reshape(dy, (*np.shape(dy), *more))))
            return lost
        if self.strict and not _meets_zeros(self.formula, self.call):
            return lost
        return np.asarray(lost | _planes(self.formula, self.call, self.shape))

    @property
    def _is_of_nothing(self) -> bool:
        """Whether the call has no elements, say no images: a factor of no sum may be a NaN."""
        return any(is_data(v) and not v.size for v in self.call.values())

    def is_exact(self, dtype: str, accumulator: str) -> bool:
        """Return False: several answers may be right."""
        del dtype, accumulator
        return False

    def as_float(self, dtype: np.dtype[np.generic]) -> Array:
        """Return the elements, of which those that must not be finite are not."""
        return np.where(self.must, self.literal.astype(dtype), self.finite.as_float(dtype))

    def bound(self, dtype: str, accumulator: str) -> Array:
        """Return the largest error of finite elements; 0 of others."""
        return np.where(self.must, 0, self.finite.bound(dtype, accumulator))

    def error_over_bound(self, got: Array, accumulator: str) -> Array:
        """Return infinity where an element is wrongly finite or wrongly not."""
        same = (got == self.literal) | (np.isnan(got) & np.isnan(self.literal))
        lost = same if self.strict else same | np.isnan(got)
        lost |= self._beyond_all & np.isposinf(got)
        share = np.where(
            self.may & ~np.isfinite(got), 0, self.finite.error_over_bound(got, accumulator)
        )
        share = np.where(self.must, np.where(lost, 0, np.inf), np.where(self.open, 0, share))
        return share if (share <= 1).all() else np.where(self._chosen, 0, share)


def _with_large(call: Call) -> Call:
    """Return the call in float64 with the largest number in place of every positive infinity."""
    large = np.finfo(np.float64).max
    return {
        n: np.where(np.isposinf(v), large, np.asarray(v, np.float64)) if is_data(v) else v
        for n, v in call.items()
    }


def _ieee(formula: Formula, call: Call) -> Array:
    wide = {n: np.asarray(v, np.float64) if is_data(v) else v for n, v in call.items()}
    with np.errstate(all="ignore"):
        return np.asarray(evaluate(formula, wide), np.float64)


def _meets_zeros(formula: Formula, call: Call) -> bool:
    """Return whether what is not finite may be multiplied with zeros that stand for nothing.

    Pixels are multiplied with taps, which have gaps between them where there is a dilation; taps
    and output gradients with pixels that are padding or between strides.
    """
    taps = not np.isfinite(call.get("weight", 0)).all()
    return taps or formula.__name__.endswith("_weight") or max(call.get("dilation", (1, 1))) > 1


def _planes(formula: Formula, call: Call, shape: Shape) -> Array:
    """Return the elements of all planes that what is not finite is ever summed into.

    That shows where every plane is one pixel: NaN, or 1.
    """
    if not axes_of(formula).rank:
        return np.zeros(shape, bool)
    small = of_one_pixel(formula, call, _lost)
    return np.broadcast_to(~np.isfinite(_ieee(formula, small)), shape)


def _lost(array: Array, space: tuple[int, ...]) -> Array:
    lost = is_data(array) & ~np.isfinite(array).all(axis=space, keepdims=True)
    return np.where(lost, np.nan, float(is_data(array))).astype(array.dtype)
