"""The verdict on one answer.  No tolerance is written down anywhere: see `oracle.expected.exact`.

Comparisons are written so that a NaN is wrong.
"""

import math
from typing import Any, NamedTuple, Protocol

import numpy as np

from gradoracle.conformance.backends.contract import Contract
from gradoracle.conformance.backends.mismatch import Mismatch
from gradoracle.oracle.declaration import Call, Formula, is_place, output_of
from gradoracle.oracle.expected.non_finite import NonFiniteTruth
from gradoracle.oracle.expected.truth import Truth, answer_dtype, answer_shape, format_of, truth
from gradoracle.oracle.float_formats import flushed, is_real, name_of
from gradoracle.oracle.formulas.conventions import right_of_nan, under
from gradoracle.oracle.shapes import Array


def require_form(
    what: str, got: Array, shape: tuple[int, ...], dtype: np.dtype[np.generic]
) -> None:
    """Raise Mismatch unless `got` has this shape and dtype."""
    if got.shape != shape:
        raise Mismatch(f"{what}: got shape {[*got.shape]}, want {[*shape]}")
    if got.dtype != dtype:
        raise Mismatch(f"{what}: got dtype {got.dtype}, want {dtype}")


class Claimant(Protocol):
    """What an answer comes from, as far as the verdict depends on it: a backend, or its claims."""

    @property
    def contract(self) -> Contract:
        """The accumulators, algorithms and policies that are claimed."""


class Verdict(NamedTuple):
    """What an answer of the right form is worth."""

    wrong: Array  # per element
    exact: bool  # equality was demanded, because rounding provably never acts
    share: Array  # the error over the rounding bound; 0 where equality was demanded
    right: Truth


def truth_of(backend: Claimant, formula: Formula, call: Call) -> Truth:
    """Return the truth by which the backend is checked, as its contract has it."""
    of, by = under(backend.contract.policies, formula, call)
    return truth(
        of,
        by,
        strict=backend.contract.rule("non_finite") == "window",
        algorithm=backend.contract.algorithm(output_of(formula).function),
    )


def verdict(backend: Claimant, formula: Formula, call: Call, got: Array) -> Verdict:
    """Check an answer that has the right shape and dtype, element by element.

    Unless the contract says that subnormal numbers are kept, what is right where all of them are
    taken for 0, in the call or in the answer, is right: each element may have it one way or the
    other.  (Sums in which some are and others are not would need a bound; nothing draws such.)
    """
    judged = _verdict(backend, formula, call, got)
    if backend.contract.rule("nan") == "dropped" and judged.wrong.any():
        right = right_of_nan(formula, call, got)
        judged = judged._replace(
            wrong=judged.wrong & ~right, share=np.where(right, 0.0, judged.share)
        )
    if backend.contract.rule("subnormals") == "kept" or not judged.wrong.any():
        return judged
    wrong, share = judged.wrong, judged.share
    if is_real(got.dtype) and (wrong & (got == 0)).any():
        want = abs(judged.right.as_float(np.dtype(np.float64)))
        wrong = wrong & ~((got == 0) & (want < flushed(name_of(got.dtype))))
    without = _without_subnormals(call)
    if without is not None:
        other = _verdict(backend, formula, without, got)
        wrong, share = wrong & other.wrong, np.where(judged.wrong, other.share, share)
    share = np.where(judged.wrong & ~wrong, np.minimum(share, 1), share)
    return judged._replace(wrong=wrong, share=share)


def _without_subnormals(call: Call) -> Call | None:
    """Return a call with 0 for what may be taken for it, None where nothing is so small."""
    changed: dict[str, Any] = {}
    for name, array in call.items():
        if isinstance(array, np.ndarray) and is_real(array.dtype):
            tiny = (array != 0) & (abs(array) < flushed(name_of(array.dtype)))
            if tiny.any():
                changed[name] = np.where(tiny, array.dtype.type(0), array)
    return {**call, **changed} if changed else None


def _verdict(backend: Claimant, formula: Formula, call: Call, got: Array) -> Verdict:
    right, name = truth_of(backend, formula, call), format_of(call)
    accumulator = backend.contract.accumulator(name)
    numbers = not is_place(formula)
    if numbers and right.is_exact(name, accumulator):
        want = right.as_float(got.dtype)
        wrong = ~((got == want) | (np.isnan(got) & np.isnan(want)))
        return Verdict(wrong, True, np.zeros(got.shape), right)  # noqa: FBT003
    share = right.error_over_bound(got, accumulator)
    return Verdict(~(share <= 1), not numbers, share, right)


def require_truth(backend: Claimant, formula: Formula, call: Call, got: Array) -> float:
    """Raise Mismatch unless `got` is what `formula` gives on `call`, and return its largest error.

    Equality is demanded where it is proved that rounding never acts; elsewhere the error is a
    share of the rounding bound, and at most 1.  NaN: nothing bounds any element.
    """
    shape = answer_shape(formula, call)
    require_form(formula.__name__, got, shape, answer_dtype(formula, call))
    judged = verdict(backend, formula, call, got)
    name = format_of(call)
    accumulator = backend.contract.accumulator(name)
    if judged.wrong.any():
        raise Mismatch(headline(formula, got, judged, accumulator))
    share = judged.share
    if got.size and not judged.exact and not share.any():
        bound = judged.right.bound(name, accumulator)
        return math.nan if np.isinf(bound).all() else 0.0
    return float(share.max(initial=0.0))


def is_fill_value(number: np.generic) -> bool:
    """Return whether a number is a NaN with every bit set.

    No operation makes one: it is what `implementations.hostcuda` fills a new array with, and what
    comes of it in sums.
    """
    return bool(np.isnan(number)) and {*number.tobytes()} == {0xFF}


FAR_BEYOND = 1e12  # times a bound: that is about 0, as of a result that is no sum


def explained(share: float, accumulator: str) -> str:
    """Return in words how far an error is beyond its bound, of which it is a share."""
    if share < FAR_BEYOND:
        return f"{share:.3g} times what rounding in {accumulator} explains"
    return "no rounding explains that"


def wanted(right: Truth, at: tuple[int, ...], dtype: np.dtype[np.generic]) -> str:
    """Return the right value of an element as text, or both where NaN or an infinity is, too."""
    want = right.as_float(dtype)[at]
    if isinstance(right, NonFiniteTruth) and np.isfinite(want) and right.may[at]:
        literal = right.literal[at]
        return f"{want} or nan" if np.isfinite(literal) else f"{literal} or {want}"
    return f"{want}"


def headline(formula: Formula, got: Array, judged: Verdict, accumulator: str) -> str:
    """Return in a sentence which element is the first wrong one, got and want, and how far off."""
    at = tuple(np.argwhere(judged.wrong)[0].tolist())
    reason = "the data are exact"
    if not judged.exact:
        reason = explained(float(judged.share[at]), accumulator)
    if is_fill_value(got[at]):
        reason = "uninitialised memory: never written, or only added to"
    want = wanted(judged.right, at, got.dtype if judged.exact else np.dtype(np.float64))
    return (
        f"{formula.__name__}[{', '.join(map(str, at))}]: got {got[at]}, want {want} ({reason}); "
        f"{int(judged.wrong.sum())} of {judged.wrong.size} elements wrong"
    )
