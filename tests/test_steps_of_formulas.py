"""Formulas that round, compare or select at a computed place: faults at their steps are caught."""

from types import SimpleNamespace

import numpy as np
import pytest

import gradoracle
from gradoracle.conformance.drawing.steps import at_steps
from gradoracle.conformance.operators.declared import AT_STEPS
from gradoracle.conformance.operators.textbook import with_ones
from gradoracle.extend import straight_through
from gradoracle.oracle.expected.truth import truth

SEEDS = range(5)


def lsq(x, s, *, q):
    """Return x [N, C] rounded to multiples of s [C] between -(q + 1) s and q s.

        y = clip(round(x / s), -q - 1, q) s,  where round has slope 1

    (Esser and others 2020, "Learned Step Size Quantization", equations 1 and 2).
    """
    v = x / s
    return straight_through(np.round(np.clip(v, -q - 1, q)), np.clip(v, -q - 1, q)) * s


def thirds(x):
    """Return y [N, C].

        y = round(x / 3)

    (a test's own formula).
    """
    return np.round(x / 3)


def cells(x, *, scale):
    """Return y [N, C].

        y = trunc(x scale)

    (a test's own formula).
    """
    return np.trunc(x * scale)


def over(x, t):
    """Return y [N, C], of thresholds t [C].

        y = max(x - t, 0)

    (a test's own formula).
    """
    return np.maximum(x - t, 0)


def hard_shrink(x, *, lam):
    """Return y [N, C].

        y = x where |3 x| > lam, else 0

    (after Donoho and Johnstone 1994, "Ideal Spatial Adaptation by Wavelet Shrinkage").
    """
    return np.where(abs(3 * x) > lam, x, 0)


def soft_shrink(z, *, lam):
    """Return y.

        y = sign(z) max(|3 z| - lam, 0)

    (the same).
    """
    if 3 * z > lam:
        return 3 * z - lam
    return 3 * z + lam if 3 * z < -lam else 0 * z


def stepped(x, t, *, delta):
    """Return y [N, C]: the absolute distance from t [N, C], and 0 up to delta.

        y = |x - t| where |x - t| > delta, else 0

    (a test's own formula).
    """
    return np.where(abs(x - t) > delta, abs(x - t), 0)


def bounded(x, *, q):
    """Return y [N, C].

        y = clip(round(x / 2), -q - 1, q)

    (a test's own formula).
    """
    return np.clip(np.round(x / 2), -q - 1, q)


def away(v):
    return np.copysign(np.floor(abs(v) + v.dtype.type(0.5)), v)


def lsq_back(dy, x, s, q, *, least=0, most=0, equal=True):
    v = x / s
    low, high = -q - 1 + least, q - most
    inside = (v >= low) & (v <= high) if equal else (v > low) & (v < high)
    rounded = np.rint(np.clip(v, low, high))
    return dy * inside, (dy * (rounded - np.where(inside, v, 0))).sum(0)


def of_lsq(rounding=np.rint, **how):
    def forward(x, s, *, q):
        return rounding(np.clip(x / s, -q - 1 + how.get("least", 0), q - how.get("most", 0))) * s

    return {
        "lsq": forward,
        "lsq_grad_x": lambda dy, x, s, *, q: lsq_back(dy, x, s, q, **how)[0],
        "lsq_grad_s": lambda dy, x, s, *, q: lsq_back(dy, x, s, q, **how)[1],
    }


def of_thirds(function):
    return {"thirds": function, "thirds_grad": lambda dy, x: dy * 0}


def of_cells(function):
    return {"cells": function, "cells_grad": lambda dy, x, *, scale: dy * 0}


def of_over(forward=lambda x, t: np.maximum(x - t, 0), mask=np.greater_equal):
    return {
        "over": forward,
        "over_grad_x": lambda dy, x, t: dy * mask(x, t),
        "over_grad_t": lambda dy, x, t: -(dy * mask(x, t)).sum(0),
    }


def of_hard(mask=np.greater):
    return {
        "hard_shrink": lambda x, *, lam: x * mask(abs(3 * x), x.dtype.type(lam)),
        "hard_shrink_grad": lambda dy, x, *, lam: dy * mask(abs(3 * x), x.dtype.type(lam)),
    }


def of_soft(mask=np.greater):
    def forward(z, *, lam):
        return np.sign(z) * np.maximum(abs(3 * z) - z.dtype.type(lam), 0)

    return {
        "soft_shrink": forward,
        "soft_shrink_grad": lambda dy, z, *, lam: 3 * dy * mask(abs(3 * z), z.dtype.type(lam)),
    }


def of_stepped(mask=np.greater, apart=lambda x, t: abs(x - t)):
    def back(dy, x, t, delta):
        return dy * np.sign(x - t) * mask(apart(x, t), x.dtype.type(delta))

    return {
        "stepped": lambda x, t, *, delta: apart(x, t) * mask(apart(x, t), x.dtype.type(delta)),
        "stepped_grad_x": lambda dy, x, t, *, delta: back(dy, x, t, delta),
        "stepped_grad_t": lambda dy, x, t, *, delta: -back(dy, x, t, delta),
    }


def of_bounded(function):
    return {"bounded": function, "bounded_grad": lambda dy, x, *, q: dy * 0}


OPERATORS = {
    "lsq": (lsq, "x: n c; s: c", {"options": {"q": (3, 7, 127)}}),
    "thirds": (thirds, "x: n c", {}),
    "cells": (cells, "x: n c", {"options": {"scale": (0.75, 3.0, 10.0)}}),
    "over": (over, "x: n c; t: c", {}),
    "hard_shrink": (hard_shrink, "x: n c", {"options": {"lam": (0.75, 1.5, 3.0)}}),
    "soft_shrink": (soft_shrink, "", {"options": {"lam": (0.75, 1.5, 3.0)}}),
    "stepped": (stepped, "x: n c; t: n c", {"options": {"delta": (1.0, 0.25)}}),
    "bounded": (bounded, "x: n c", {"options": {"q": (7, 127)}}),
}  # fmt: skip
RIGHT = {
    "lsq": of_lsq(),
    "lsq, by the reciprocal": {
        **of_lsq(), "lsq": lambda x, s, *, q: np.clip(np.rint(x * (1 / s)), -q - 1, q) * s,
    },
    "lsq, rounded first": {
        **of_lsq(), "lsq": lambda x, s, *, q: np.minimum(np.maximum(np.rint(x / s), -q - 1), q) * s,
    },
    "thirds": of_thirds(lambda x: np.rint(x / 3)),
    "thirds, by the reciprocal": of_thirds(lambda x: np.rint(x * x.dtype.type(1 / 3))),
    "thirds, in float64": of_thirds(lambda x: np.rint(x.astype(float) / 3).astype(x.dtype)),
    "cells": of_cells(lambda x, *, scale: np.trunc(x * x.dtype.type(scale))),
    "cells, by cases": of_cells(
        lambda x, *, scale: np.where(x < 0, np.ceil(x * scale), np.floor(x * scale)).astype(x.dtype)
    ),
    "over": of_over(),
    "over, masked": of_over(lambda x, t: (x - t) * (x > t)),
    "hard_shrink": of_hard(),
    "hard_shrink, divided": {
        **of_hard(lambda a, lam: ~(a <= lam)),
        "hard_shrink": lambda x, *, lam: np.where((3 * x > lam) | (-3 * x > lam), x, 0),
    },
    "soft_shrink": of_soft(),
    "stepped": of_stepped(),
    "stepped, compared otherwise": of_stepped(apart=lambda x, t: np.maximum(x - t, t - x)),
    "bounded": of_bounded(lambda x, *, q: np.clip(np.rint(x * x.dtype.type(0.5)), -q - 1, q)),
}  # fmt: skip
WRONG = {
    "lsq, halves away from zero": (of_lsq(away), {"lsq"}),
    "lsq, halves up": (of_lsq(lambda v: np.floor(v + v.dtype.type(0.5))), {"lsq"}),
    "lsq, one step too early": (of_lsq(most=1), {"lsq"}),
    "lsq, one step too early below": (of_lsq(least=1), {"lsq"}),
    "lsq, no slope at the limits": (of_lsq(equal=False), {"lsq_grad_x"}),
    "thirds, halves away from zero": (of_thirds(lambda x: away(x / 3)), {"thirds"}),
    "thirds, halves down": (of_thirds(lambda x: np.ceil(x / 3 - x.dtype.type(0.5))), {"thirds"}),
    "thirds, floor": (of_thirds(lambda x: np.floor(x / 3)), {"thirds"}),
    "cells, floor": (of_cells(lambda x, *, scale: np.floor(x * x.dtype.type(scale))), {"cells"}),
    "cells, a step too early": (
        of_cells(lambda x, *, scale: np.copysign(np.ceil(abs(x * x.dtype.type(scale))) - 1, x)),
        {"cells"},
    ),
    "over, > for >=": (of_over(mask=np.greater), {"over_grad_x", "over_grad_t"}),
    "hard_shrink, >= for >": (of_hard(np.greater_equal), {"hard_shrink", "hard_shrink_grad"}),
    "soft_shrink, >= for >": (of_soft(np.greater_equal), {"soft_shrink_grad"}),
    "stepped, >= for >": (
        of_stepped(np.greater_equal), {"stepped", "stepped_grad_x", "stepped_grad_t"},
    ),
    "bounded, one step too early": (
        of_bounded(lambda x, *, q: np.clip(np.rint(x / 2), -q, q)), {"bounded"},
    ),
    "bounded, one step too late": (
        of_bounded(lambda x, *, q: np.clip(np.rint(x / 2), -q - 1, q + 1)), {"bounded"},
    ),
}  # fmt: skip


EXAMPLES = 100  # geometries, of which few have numbers at steps


def found(what, functions, seed, dtype="float32"):
    body, axes, options = OPERATORS[what.split(",")[0]]
    mine = gradoracle.operator(axes, **options)(body)
    backend = SimpleNamespace(**functions, contract={"dtypes": [dtype]})
    with np.errstate(all="ignore"):
        return gradoracle.check(backend, operators=[mine], seed=seed, examples=EXAMPLES)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("what", WRONG)
def test_faults_at_steps_are_caught_from_any_seed(what, seed):
    functions, wrong = WRONG[what]
    caught = {one.function for one in found(what, functions, seed).mismatches}
    assert wrong & caught
    assert caught <= {*functions}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("what", RIGHT)
def test_right_kernels_are_certified(what, dtype):
    for seed in (1, 2):
        result = found(what, RIGHT[what], seed, dtype)
        assert not result.mismatches, result.mismatches[0].text
        assert {one.formula for one in result.outcomes if one.judged} >= {*RIGHT[what]}


# -- what is drawn ---------------------------------------------------------------------------------


def drawn(what, seed, style=AT_STEPS):
    body, axes, options = OPERATORS[what]
    mine = gradoracle.operator(axes, **options)(body)
    return mine, mine.call(with_ones(mine, mine.formula)[0].sizes, style, seed, "float32")


def test_the_same_seed_moves_the_same_elements():
    for what in OPERATORS:
        (_, one), (_, again) = drawn(what, 3), drawn(what, 3)
        for name, value in one.items():
            assert np.array_equal(value, again[name])


def test_moved_numbers_stay_in_the_range_of_an_operators_own():
    def within(random, shapes, limits):
        return {n: random.integers(8, 17, shape) / 8 for n, shape in shapes.items()}

    numbers = gradoracle.extend.Styles(
        floats=gradoracle.extend.styles(within), slopes=gradoracle.extend.styles(within)
    )
    mine = gradoracle.operator("x: n c", numbers=numbers)(thirds)
    *_, style = mine.styles.floats
    assert style.name == "within, at steps"
    for seed in range(20):
        call = mine.call(with_ones(mine, mine.formula)[0].sizes, style, seed, "float32")
        assert (call["x"] >= 1).all()
        assert (call["x"] <= 2).all()


def test_a_labels_place_and_a_long_call_stay_as_they_are():
    mine, call = drawn("thirds", 1)
    long = {"x": np.ones((65, 65), np.float32)}
    assert at_steps(mine.formula, long, 1) is long
    labels = {"x": call["x"], "label": np.arange(2)}
    assert (at_steps(mine.formula, labels, 1)["label"] == labels["label"]).all()


def test_a_counterexample_is_small():
    functions, _ = WRONG["lsq, halves away from zero"]
    (one,) = found("lsq", functions, 1).mismatches
    assert "minimal call  x float32[1, 1]" in one.text


# -- where rounding decides ------------------------------------------------------------------------


def bound_of(formula, **arrays):
    mine = gradoracle.operator("; ".join(f"{n}: n" for n in arrays))(formula)
    wide = {n: np.array(a, np.float64) for n, a in arrays.items()}
    return truth(mine.formula, wide).bound("float32", "float32").tolist()


def test_exact_quotients_are_decided_where_a_reciprocal_gives_them_too():
    def made(x, s):
        """Return y [N].

            y = round(x / s)

        (a test's own formula).
        """
        return np.round(x / s)

    assert bound_of(made, x=[4.5, 1.5, 0.75, 22.5], s=[3, 1, 0.5, 45]) == [0, 0, 0, 0]
    # 10.5 (1 / 7) is 1.5000001 in float32; 0.3 has more digits than are looked at.
    assert np.float32(10.5) * (1 / np.float32(7)) != np.float32(1.5)
    assert bound_of(made, x=[10.5, 0.45], s=[7, 0.3]) == [1, 1]


def test_sums_of_few_digits_are_decided_and_others_are_not():
    def made(x, t):
        """Return y [N].

            y = 1 where 3 x > t + 1/2, else 0

        (a test's own formula).
        """
        return np.where(3 * x > t + 0.5, 1.0, x * 0)

    assert bound_of(made, x=[0.5, 0.25], t=[1, 0.25]) == [0, 0]
    tenth = float(np.float32(0.1))
    assert bound_of(made, x=[tenth], t=[3 * tenth - 0.5]) == [1]
