"""The verdict on one answer.  No tolerance is written down anywhere: see `oracle.exact`.

Comparisons are written so that a NaN is wrong.
"""

import numpy as np

from conformance.backend import Backend
from conformance.mismatch import Mismatch
from oracle.exact import Truth
from oracle.formula import Call, Formula
from oracle.geometry import Array
from oracle.rounding import FORMATS


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


def require_truth(backend: Backend, formula: Formula, call: Call, got: Array) -> float:
    """Raise Mismatch unless `got` is `formula` of `call`: exactly where that is proved, else
    within the rounding bound.  Return the largest error as a share of the bound.
    """  # noqa: D205 - one sentence, two lines
    dtype = got.dtype
    truth = Truth(formula, call)
    require_form(formula.__name__, got, truth.terms.shape, call_dtype(call))
    accumulator = backend.contract.accumulator(dtype.name)
    if truth.fits(min(FORMATS[accumulator].bits, FORMATS[dtype.name].bits)):
        require_equal(formula.__name__, got, truth.as_float(dtype))
        return 0.0
    share = truth.error_over_bound(got, accumulator)
    wrong = ~(share <= 1)
    if wrong.any():
        at = tuple(np.argwhere(wrong)[0].tolist())
        reason = f"{share[at]:.3g} times what rounding in {accumulator} explains"
        want = truth.as_float(np.dtype(np.float64))
        raise Mismatch(_first_wrong(formula.__name__, got, want, wrong, reason))
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
