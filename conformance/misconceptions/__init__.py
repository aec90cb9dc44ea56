"""Named wrong formulas: what a wrong answer looks like once something has been misunderstood."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from gradoracle.conformance.backends.mismatch import Answer
from gradoracle.conformance.misconceptions import (
    attention,
    batch,
    conv2d,
    conv_transpose2d,
    elementwise,
    pooling,
    resizing,
)
from gradoracle.conformance.misconceptions.generic import generic
from gradoracle.conformance.misconceptions.misconception import Loss, Misconception, Wrong
from gradoracle.oracle.declaration import (
    Composed,
    Formula,
    Multilinear,
    Selection,
    algebra,
    is_place,
    operands,
)
from gradoracle.oracle.expected.truth import data_dtype, truth
from gradoracle.oracle.float_formats import FORMATS, HALVES
from gradoracle.oracle.formulas.conventions import under
from gradoracle.oracle.shapes import Array

MISCONCEPTIONS: tuple[Misconception, ...] = (
    *conv2d.MISCONCEPTIONS,
    *conv_transpose2d.MISCONCEPTIONS,
    *pooling.MISCONCEPTIONS,
    *elementwise.MISCONCEPTIONS,
    *attention.MISCONCEPTIONS,
    *resizing.MISCONCEPTIONS,
    *batch.MISCONCEPTIONS,
)
SAME = 1e-12  # relative: two ways to compute one number in float64
MOST_GENERIC = 3  # sentences about what any formula may be misread as
NONE: Mapping[str, Any] = MappingProxyType({})
__all__ = ["MISCONCEPTIONS", "Misconception", "Suspects", "is_evidence"]


class Suspects:
    """The misconceptions that explain every answer to a formula that was seen so far.

    Where the backend is right, a misconception may give nothing, or a result of another shape
    (somebody may catch that), but no other numbers.
    """

    def __init__(self, formula: Formula, policies: Mapping[str, Any] = NONE) -> None:
        """Suspect all that are about the formula; policies are the contract's."""
        self.formula, self._policies = formula, policies
        self._generic: list[tuple[Misconception, Wrong]] | None = None  # once a call is known
        self.left = [
            (m, wrong)
            for m in MISCONCEPTIONS
            if formula.__name__ in m.functions
            for wrong in m.variants
        ]
        self.explained = 0  # wrong answers so far

    def see(self, answer: Answer) -> None:
        """Drop those that do not go together with an answer; to another formula it says nothing."""
        if answer.formula is not self.formula or answer.value is None:
            return
        if self._generic is None:
            self._generic = [(m, m.wrong) for m in generic(self.formula, answer.call)]
        if self.suspected:
            evidence = _Evidence(answer, self._policies)
            self.explained += not evidence.is_right
            self.left, self._generic = (
                [(m, wrong) for m, wrong in some if evidence.fits(m, wrong)]
                for some in (self.left, self._generic)
            )

    @property
    def suspected(self) -> bool:
        """Whether a misconception may still explain all answers."""
        return bool(self.left or self._generic or self._generic is None)

    @property
    def sentences(self) -> list[str]:
        """The sentences of those that are left, once something was wrong.

        Those that any formula may have are listed only if none that is specific to this one fits.
        """
        if not self.explained:
            return []
        found = dict.fromkeys(m.sentence for m, _ in self.left or self._generic or ())
        return [*found][: None if self.left else MOST_GENERIC]


class _Evidence:
    """An answer, what is right, and how far two right answers may differ."""

    def __init__(self, answer: Answer, policies: Mapping[str, Any]) -> None:
        self._answer, right = answer, truth(*under(policies, answer.formula, answer.call))
        self._right = right.as_float(np.dtype(np.float64))
        self._room: Array | float = 0.0
        got = answer.value
        if got is not None and got.dtype.name in FORMATS and not is_place(answer.formula):
            name = got.dtype.name
            self._room = 0.0 if right.is_exact(name, name) else right.bound(name, name)
        self.is_right = self._same(got, self._right)
        if isinstance(algebra(answer.formula), Multilinear):
            # A wrong formula sums other terms, which round in other places.
            bound = np.asarray(self._room)
            most = np.max(bound, where=np.isfinite(bound), initial=0.0)
            self._room = np.full_like(bound, most)

    def fits(self, misconception: Misconception, wrong: Wrong) -> bool:
        """Whether what a misconception gives goes together with what the backend gave."""
        formula, call, got = self._answer.formula, self._answer.call, self._answer.value
        given = misconception.answer(formula, call, wrong)
        loss = None
        if got is not None and got.dtype.name in FORMATS:
            name = "float32" if got.dtype.name in HALVES else got.dtype.name
            loss = misconception.loss(call, 2.0 ** -FORMATS[name].bits)
        if loss is not None and not _is_multiple(got, loss):
            return False
        room = 0.0 if loss is None else loss.room
        if misconception.scales:
            room = self._scaled(given)
        if self.is_right:
            if given is None or got is None or given.shape != self._right.shape:
                return True
            return self._same(given.astype(got.dtype), self._right, room)
        if misconception.scales and self._is_right_itself(given):
            return False  # it explains nothing
        return self._same(got, given, room)

    def _is_right_itself(self, given: Array | None) -> bool:
        """Whether what a misconception gives is the right answer on this call."""
        if given is None or given.shape != self._right.shape:
            return False
        largest = abs(self._right[np.isfinite(self._right)]).max(initial=0.0)
        near = np.allclose(given, self._right, rtol=SAME, atol=SAME * largest, equal_nan=True)
        return bool(near)

    def _scaled(self, given: Array | None) -> float:
        """Return how far an answer may be off that is as much larger as what is given."""
        got = self._answer.value
        if given is None or got is None or got.dtype.name not in FORMATS or not given.size:
            return 0.0
        name = got.dtype.name
        sizes = [abs(a[np.isfinite(a)]).max(initial=0.0) for a in (given, self._right)]
        bound = np.asarray(truth(self._answer.formula, self._answer.call).bound(name, name))
        most = bound[np.isfinite(bound)].max(initial=0.0)
        return float(most * max(1.0, sizes[0] / sizes[1] if sizes[1] else 1.0))

    def _same(self, got: Array | None, want: Array | None, more: Array | float = 0.0) -> bool:
        """Whether two arrays are equal, up to how a quotient may be rounded, and `more`."""
        if got is None or want is None or got.shape != want.shape or not _is_known(got):
            return False
        if got.dtype.kind == "i" or want.dtype.kind == "i":
            return bool((got == want).all())
        with np.errstate(all="ignore"):
            want = want.astype(got.dtype)
            room = 4 * 2.0 ** -FORMATS[got.dtype.name].bits * abs(want) + more
            if np.shape(self._room) == got.shape:
                room = room + self._room
            near = np.isfinite(want) & (abs(got - want) <= room)
            near |= (got == want) | (np.isnan(got) & np.isnan(want))
        return bool(near.all())


def _is_multiple(got: Array | None, loss: Loss) -> bool:
    """Whether all elements are multiples of what cancelling leaves, up to a factor's rounding.

    Half precision rounds the whole product once more, maybe to a subnormal number.
    """
    if got is None:
        return False
    limits = FORMATS[got.dtype.name]
    rounding, least = max(2.0**-21, 8 * 2.0**-limits.bits), 2.0**-limits.subnormal_scale
    with np.errstate(all="ignore"):
        count = np.asarray(got, np.float64) / loss.grid
        missed = abs(count - np.rint(count)) * loss.grid
        off = missed > rounding * abs(np.asarray(got, np.float64)) + least
    return not (off & np.isfinite(count)).any()


def _is_known(got: Array) -> bool:
    return got.dtype.kind == "i" or got.dtype.name in FORMATS


def is_evidence(answer: Answer) -> bool:
    """Whether an answer is worth keeping: small, and on numbers where being equal says something.

    Those are integers where the formula sums, and in half precision sums that it holds; what is
    only selected or composed, any.
    """
    if answer.value is None or answer.value.size > 2000:
        return False
    arrays = operands(answer.formula, answer.call).values()
    free = isinstance(algebra(answer.formula), (Selection, Composed))
    if not all(
        a.size <= 2000 and (free or (np.isfinite(a) & (a == np.rint(a))).all()) for a in arrays
    ):
        return False
    dtype = data_dtype(answer.call).name
    return free or dtype not in HALVES or truth(answer.formula, answer.call).is_exact(dtype, dtype)
