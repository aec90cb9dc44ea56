"""Floats decide quickly what integers and mpmath would decide the same way."""

import numpy as np
import pytest

from gradoracle.oracle.declaration import Multilinear, Selection, algebra
from gradoracle.oracle.expected import exact as exact_module
from gradoracle.oracle.expected import truth as truth_module
from gradoracle.oracle.expected.truth import truth
from gradoracle.oracle.float_formats import FORMATS
from tests.calls import CALLS, with_floats

COMPUTING = [formula for formula in CALLS if not isinstance(algebra(formula), Selection)]
SUMS = [formula for formula in COMPUTING if isinstance(algebra(formula), Multilinear)]
BESIDE = (0.0, 0.3, -0.9, 1 - 1e-7, -1.0, 1.0, 1 + 1e-7, -1.1, 40.0)  # of the bound


@pytest.fixture
def by_integers(monkeypatch):
    """Let no share be far enough from 1 for floats to decide."""

    def switch():
        monkeypatch.setattr(exact_module, "NEAR", np.inf)
        monkeypatch.setattr(truth_module, "NEAR", np.inf)

    return switch


def cases(formula, dtype, accumulator, spread):
    """Yield calls and answers at every distance from the right one, infinities and NaN among it."""
    for number, plain in enumerate(CALLS[formula](12, seed=3)):
        data = with_floats(plain, number, dtype, spread)
        right = truth(formula, data)
        want = right.as_float(np.dtype(np.float64))
        with np.errstate(all="ignore"):
            bound = right.bound(dtype, accumulator)
            beside = np.resize(BESIDE, want.shape)
            got = np.asarray(want + np.where(np.isfinite(bound), bound, 1) * beside).astype(dtype)
        yield data, got
        if got.size > 1:
            broken = got.copy()
            broken.flat[:2] = np.nan, np.inf
            yield data, broken


@pytest.mark.slow
@pytest.mark.parametrize("spread", [0, 7, 60])
@pytest.mark.parametrize(
    ("dtype", "accumulator"),
    [("float16", "float16"), ("float16", "float32"), ("float32", "float32"),
     ("float32", "float64"), ("float64", "float64"), ("float64", "float32")],
)  # fmt: skip
@pytest.mark.parametrize("formula", COMPUTING, ids=lambda f: f.__name__)
def test_floats_decide_as_integers_do(formula, dtype, accumulator, spread, by_integers):
    judged = list(
        cases(formula, dtype, accumulator, min(spread, -FORMATS[dtype].smallest_exponent))
    )
    fast = [truth(formula, c).error_over_bound(got, accumulator) for c, got in judged]
    proofs = [truth(formula, c).is_exact(dtype, accumulator) for c, _ in judged]
    by_integers()
    for (c, got), share, proved in zip(judged, fast, proofs, strict=True):
        want = truth(formula, c).error_over_bound(got, accumulator)
        assert np.array_equal(share <= 1, want <= 1)
        np.testing.assert_allclose(share, want, rtol=1e-5, atol=2.0**-21)
        assert truth(formula, c).is_exact(dtype, accumulator) == proved


@pytest.mark.parametrize("formula", SUMS, ids=lambda f: f.__name__)
def test_the_bound_in_floats_is_never_below_the_one_in_integers(formula, monkeypatch):
    for dtype in ("float16", "float32", "float64"):
        bounds, bits = [], FORMATS[dtype].bits
        made = [with_floats(c, n, dtype, 3) for n, c in enumerate(CALLS[formula](12, seed=4))]
        for _ in range(2):
            bounds.append([truth(formula, c).bound(dtype, "float64") for c in made])
            monkeypatch.setattr(
                exact_module.MultilinearTruth, "_rounded_bound", lambda *arguments: None
            )
        monkeypatch.undo()
        for c, fast, exact in zip(made, *bounds, strict=True):
            right = truth(formula, c)
            # what _rounded_bound adds for float64's own rounding of the sums, and of the result
            room = right.terms * 2.0**-48 * (exact + right._magnitude * 2.0**-bits)
            assert (fast >= exact * (1 - 2.0**-52)).all()  # which is rounded from integers
            assert (fast - exact <= room).all()
