"""Each displayed equation, computed to the letter, passes: text, bound and checks agree.

    python -m tests.test_displayed 60

tries 60 geometries of every formula and prints the largest share of the bound in each format.
"""

import sys
from collections import defaultdict
from itertools import product

import numpy as np
import pytest

from gradoracle import oracle
from gradoracle.conformance.backends.mismatch import Mismatch
from gradoracle.conformance.backends.registry import wrap
from gradoracle.conformance.drawing.choices import ROW, Choices
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.properties import PROPERTIES, NotJudged
from gradoracle.oracle.declaration import (
    Chained,
    Composed,
    Selection,
    algebra,
    displayed,
    parts_of,
)
from gradoracle.oracle.derive import body_of
from gradoracle.oracle.expected.truth import truth
from gradoracle.oracle.float_formats import HALVES
from tests.by_axes import WRITTEN
from tests.displayed import EQUATIONS, How, backend
from tests.orders import orders

pytestmark = pytest.mark.slow

ELEMENTS = 150  # of a call's arrays together
# A format and what its sums are rounded to.
FORMATS = (
    ("float32", "float32"), ("float64", "float64"), ("float32", "float64"),
    *product(HALVES, ("own", "float32")),
)  # fmt: skip
CHECKS = (
    "matches_oracle", "within_rounding_bound", "points_at_the_maximum", "network_backward",
    "graph_backward",
)  # fmt: skip
# Derived from branches of which each gives an argument as it is.
NEVER_ROUNDED = (
    "hardtanh", "hardtanh_grad", "relu6", "relu6_grad", "fold_grad_input",
    "pixel_shuffle_grad_input", "pixel_unshuffle_grad_input",
    *(f"{name}{n}d_grad_input" for name in ("max_unpool", "zero_pad") for n in (1, 2, 3)),
)  # fmt: skip
NAMED = ("one by one", "backwards", "pairwise", "four lanes", "shuffled")
TOPICS = [
    pytest.param(operator, formula, id=formula.__name__)
    for operator in OPERATORS
    for formula in operator.formulas
    if parts_of(formula) == (formula,)  # else its parts are displayed alike
]


def geometries(operator, count, seed):
    """Yield small geometries of few numbers, each with its place in the row."""
    random, found = np.random.default_rng(seed), 0
    for _ in range(200 * count):
        drawn = operator.geometry(Choices(random.bytes(ROW)), "small")
        shapes = operator.arguments(drawn.sizes).shapes.values()
        if sum(int(np.prod(s)) for s in shapes if s is not None) <= ELEMENTS:
            yield drawn
            found += 1
        if found == count:
            return
    raise AssertionError(f"{operator.name}: only {found} small geometries")


def ways(dtype, accumulator, at):
    """Return the order as printed, and another one."""
    own = dtype if accumulator == "own" else accumulator
    known = dict(orders(at))
    other = NAMED[1 + at % (len(NAMED) - 1)]
    return How(own, known["one by one"]), How(own, known[other], reciprocal=bool(at % 2))


def literals(operator, at):
    """Return the displayed equations as backends of each format, with how they are computed."""
    return {
        (dtype, accumulator): [
            (how, wrap(backend(dtype, how, operator))) for how in ways(dtype, accumulator, at)
        ]
        for dtype, accumulator in FORMATS
    }


def shares(operator, formula, count, seed):
    """Return the largest share of the bound by format and accumulator; a mismatch is raised."""
    found, judged = defaultdict(float), defaultdict(int)
    checks = [PROPERTIES[n] for n in CHECKS if formula in PROPERTIES[n].formulas(operator)]
    assert checks, f"no check of {formula.__name__} compares values"
    for at, drawn in enumerate(geometries(operator, count, seed)):
        literal = literals(operator, at)
        for check in checks:
            styles = operator.styles.of(check.kind)
            # Every style in every format: all of them with each geometry would take minutes.
            for nth, (dtype, accumulator) in enumerate(FORMATS):
                style = styles[(at + nth) % len(styles)]
                call = operator.call(drawn.sizes, style, drawn.seed, dtype)
                for how, candidate in literal[dtype, accumulator]:
                    try:
                        share = check.check(candidate, operator, formula, call)
                    except NotJudged:
                        continue
                    except Mismatch as error:
                        raise AssertionError(f"{dtype}, {how}, {style.name}: {error}") from error
                    found[dtype, accumulator] = max(found[dtype, accumulator], share)
                    judged[dtype, accumulator] += 1
    assert {*judged} == {*FORMATS}, "a format without any call"
    return found


def allowed(operator, formula):
    """Return the largest error that a few calls are allowed."""
    calls = (
        operator.call(one.sizes, operator.styles.floats[0], one.seed, "float32")
        for one in geometries(operator, 3, 1)
    )
    answered = (call for call in calls if operator.has_answer(formula, call))
    bounds = (truth(formula, call).bound("float32", "float32") for call in answered)
    return max(float(np.max(bound, initial=0)) for bound in bounds)


@pytest.mark.parametrize(("operator", "formula"), TOPICS)
def test_displayed_equation_to_the_letter_is_within_the_bound(operator, formula):
    # Sequences and volumes have the loops of images, and bounds of what is derived have a test.
    # Of those that are drawn by their axes, a few geometries may be such that nothing rounds.
    seldom = operator.axes.rank in (1, 3) and operator.name not in WRITTEN
    seldom |= body_of(operator.formula) is not None
    count = 4 if isinstance(algebra(formula), Chained) else max(7, len(operator.styles.of("all")))
    count = 3 if seldom else count
    found = shares(operator, formula, count, seed=1)
    if isinstance(algebra(formula), Selection) or formula.__name__ in NEVER_ROUNDED:
        assert max(found.values()) == 0
    elif not max(found.values()):  # it moves numbers
        assert not allowed(operator, formula)
    else:
        assert max(found.values()) > 0.1  # the equation rounds, and the bound is no wide one


def test_every_equation_that_is_no_sum_is_written_out():
    """Sums of products and what moves numbers are the oracle's loops, and chains are links."""
    for operator in OPERATORS:
        for formula in (f for f in operator.formulas if parts_of(f) == (f,)):
            loops = not isinstance(algebra(formula), (Composed, Selection))
            loops |= body_of(operator.formula) is not None  # derived: what runs is written once
            kind = algebra(formula)
            loops |= isinstance(kind, Selection) and not kind.pointwise
            assert (formula in EQUATIONS) != loops, formula.__name__


@pytest.mark.parametrize("formula", EQUATIONS, ids=lambda f: f.__name__)
def test_equations_are_those_of_the_docstrings(formula):
    assert displayed(formula)[0] == EQUATIONS[formula][0]


def test_the_quotient_that_tanh_displays_is_right_where_it_cancels():
    z = np.float32([0.041325979, -0.041325979, 2.0**-24, 1e-30, 0.0])
    how = How("float32", dict(orders(0))["one by one"])
    got = EQUATIONS[oracle.tanh][1](how, z)
    right = truth(oracle.tanh, {"z": z})
    assert (right.error_over_bound(got, "float32") <= 1).all()
    assert abs(got[0] - np.tanh(np.float64(z[0]))) > 1.8 * 10 * 2.0**-24 * got[0]
    assert got[3] == 0


def test_tanh_is_held_to_its_own_last_places_where_nothing_cancels():
    z = np.float32([0.0, 1.0, -3.0, 8.0, -40.0, 100.0])
    want = np.tanh(z.astype(np.float64))
    right = truth(oracle.tanh, {"z": z})
    bound = right.bound("float32", "float32")
    assert bound[0] <= 1.001 * 2.0**-126
    assert (bound[1:] <= 25 * 2.0**-24 * abs(want[1:])).all()
    assert (right.error_over_bound(np.float32(want * (1 + 1e-5)), "float32")[1:] > 1).all()


if __name__ == "__main__":
    for one in OPERATORS:
        for f in one.formulas:
            largest = shares(one, f, int(sys.argv[1]), seed=int((sys.argv[2:] or ["7"])[0]))
            row = " ".join(f"{d}/{a} {largest[d, a]:.3f}" for d, a in FORMATS)
            sys.stdout.write(f"{f.__name__:30} {row}\n")
