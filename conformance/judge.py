"""The verdict on one answer.  No tolerance is written down anywhere: see `oracle.exact`.

Comparisons are written so that a NaN is wrong.
"""

from typing import NamedTuple

import numpy as np

from conformance.backend import Backend
from conformance.mismatch import Mismatch
from oracle.exact import Truth
from oracle.formula import Call, Formula
from oracle.geometry import Array


def require_form(
    what: str, got: Array, shape: tuple[int, ...], dtype: np.dtype[np.generic]
) -> None:
    """Raise Mismatch unless `got` has this shape and dtype."""
    if got.shape != shape:
        raise Mismatch(f"{what}: got shape {[*got.shape]}, want {[*shape]}")
    if got.dtype != dtype:
        raise Mismatch(f"{what}: got dtype {got.dtype}, want {dtype}")


def require_equal(what: str, got: Array, want: Array) -> None:
    """Raise Mismatch, naming the first wrong element, unless all elements are equal."""
    wrong = ~(got == want)
    if wrong.any():
        raise Mismatch(_first_wrong(what, got, want, wrong, "the data are exact"))


class Verdict(NamedTuple):
    """What an answer of the right form is worth."""

    wrong: Array  # per element
    exact: bool  # equality was demanded, because rounding provably never acts
    share: Array  # the error over the rounding bound; 0 where equality was demanded
    truth: Truth


def verdict(backend: Backend, formula: Formula, call: Call, got: Array) -> Verdict:
    """Judge an answer that has the right shape and dtype, element by element."""
    truth, dtype = Truth(formula, call), got.dtype
    accumulator = backend.contract.accumulator(dtype.name)
    if truth.is_exact(dtype.name, accumulator):
        return Verdict(~(got == truth.as_float(dtype)), True, np.zeros(got.shape), truth)  # noqa: FBT003
    share = truth.error_over_bound(got, accumulator)
    return Verdict(~(share <= 1), False, share, truth)  # noqa: FBT003


def require_truth(backend: Backend, formula: Formula, call: Call, got: Array) -> float:
    """Raise Mismatch unless `got` is what `formula` gives on `call`, and return its largest error.

    Equality is demanded where it is proved that rounding never acts; elsewhere the error is a
    share of the rounding bound, and at most 1.
    """
    require_form(formula.__name__, got, Truth(formula, call).terms.shape, call_dtype(call))
    wrong, exact, share, truth = verdict(backend, formula, call, got)
    if wrong.any():
        at = tuple(np.argwhere(wrong)[0].tolist())
        accumulator = backend.contract.accumulator(got.dtype.name)
        reason = f"{share[at]:.3g} times what rounding in {accumulator} explains"
        want = truth.as_float(got.dtype if exact else np.dtype(np.float64))
        raise Mismatch(
            _first_wrong(
                formula.__name__, got, want, wrong, "the data are exact" if exact else reason
            )
        )
    return float(share.max(initial=0.0))


def call_dtype(call: Call) -> np.dtype[np.generic]:
    """Return the dtype of the call's arrays."""
    dtypes = {a.dtype for a in call.values() if isinstance(a, np.ndarray)}
    dtype: np.dtype[np.generic]
    (dtype,) = dtypes
    return dtype


def _first_wrong(what: str, got: Array, want: Array, wrong: Array, reason: str) -> str:
    at = tuple(np.argwhere(wrong)[0].tolist())
    return (
        f"{what}[{', '.join(map(str, at))}]: got {got[at]}, want {want[at]} ({reason}); "
        f"{int(wrong.sum())} of {wrong.size} elements wrong"
    )
