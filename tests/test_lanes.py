"""Many numbers at once give the running error bounds that they have one by one."""

import operator
from itertools import product

import numpy as np
import pytest

from gradoracle import oracle
from gradoracle.oracle.declaration import algebra
from gradoracle.oracle.expected import truth as truth_module
from gradoracle.oracle.expected.truth import ComposedTruth
from gradoracle.oracle.float_formats import FORMATS, dtype_of
from gradoracle.oracle.numbers import running_error_arrays
from gradoracle.oracle.numbers.elementary import largest, total
from gradoracle.oracle.numbers.functions import CONSTANTS, FUNCTIONS
from gradoracle.oracle.numbers.running_error import Arithmetic, Estimate
from gradoracle.oracle.numbers.running_error_arrays import Apart, Lanes

POINTWISE = (
    oracle.sigmoid, oracle.sigmoid_grad, oracle.tanh, oracle.tanh_grad, oracle.leaky_relu,
    oracle.leaky_relu_grad,
)  # fmt: skip
ROWS = (oracle.softmax, oracle.softmax_grad)
LOSSES = (oracle.cross_entropy, oracle.cross_entropy_grad)
NUMBERS = (0.0, -0.0, 1.0, -1.0, 2.0, 0.3, -7.5, 1e-30, 700.0, -750.0, 60000.0, -np.inf)
ERRORS = (0.0, 1e-9, 0.25, np.inf)
# Where a function is defined, and finite; others are asked of sizes.
DOMAINS = {
    "exp": lambda a: -abs(a), "expm1": lambda a: -abs(a), "tanh": lambda a: a, "erf": lambda a: a,
    "log": lambda a: abs(a) + 0.5, "rsqrt": lambda a: abs(a) + 0.5,
}  # fmt: skip
OPERATIONS = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "or else": lambda a, b: a.or_else(b),
    "negated": lambda a, _: -a, "size": lambda a, _: abs(a), "+ 1": lambda a, _: 1 + a,
    "1 -": lambda a, _: 1 - a, "* 0": lambda a, _: 0 * a,
    "/": lambda a, b: a / (abs(b) + 0.5), "2 /": lambda a, _: 2 / (abs(a) + 0.5),
    **{name: lambda a, _, f=f: f(DOMAINS.get(f.name, abs)(a)) for name, f in FUNCTIONS.items()},
    **{name: lambda a, _, c=c: a + c(a) for name, c in CONSTANTS.items()},
}  # fmt: skip


def same(one, other, room):
    with np.errstate(all="ignore"):
        near = (abs(one - other) <= room) | (one == other)
    return near | (np.isnan(one) & np.isnan(other))


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("accumulator", ["float16", "float32", "float64"])
def test_every_operation_is_that_of_one_number(name, accumulator):
    arithmetic = truth_module._arithmetic(FORMATS[accumulator])
    pairs = [*product(product(NUMBERS, ERRORS), repeat=2)]
    first, second = (
        Lanes(np.array([p[at][0] for p in pairs]), np.array([p[at][1] for p in pairs]), arithmetic)
        for at in (0, 1)
    )
    with np.errstate(all="ignore"):
        got = OPERATIONS[name](first, second)
    alone = [OPERATIONS[name](*(Estimate(*one, arithmetic) for one in pair)) for pair in pairs]
    value, error = (np.array([getattr(e, part) for e in alone]) for part in ("value", "error"))
    wrong = ~(same(got.value, value, 1e-14 * abs(value)) & same(got.error, error, 1e-12 * error))
    assert not wrong.any(), [pairs[at] for at in np.flatnonzero(wrong)[:3]]


def calls(formula, random, dtype, shape):
    scale = random.choice((1e-3, 1.0, 10.0, 300.0))
    z = random.standard_normal(shape) * scale
    z[random.random(shape) < 0.2] = random.choice((0.0, 1.0, -1.0, -7.5, 600.0))
    given = {"z": z, "grad_output": random.choice((0.0, 1.0, -1.0, 0.3, 2.0), shape)}
    call = {name: array.astype(dtype_of(dtype)) for name, array in given.items()}
    if formula in LOSSES:
        logits = call["z"].reshape(shape[0], -1)
        target = random.integers(0, logits.shape[1], shape[0])
        for reduction in ("mean", "sum"):
            yield {"logits": logits, "target": target, "reduction": reduction}
    elif formula in ROWS:
        for axis in range(-len(shape), len(shape)):
            yield {**call, "axis": axis}
    else:
        yield {**call, "negative_slope": 0.25}


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("formula", POINTWISE + ROWS + LOSSES, ids=lambda f: f.__name__)
def test_a_formula_is_bounded_in_lanes_as_it_is_number_by_number(formula, dtype, monkeypatch):
    monkeypatch.setattr(truth_module, "LANES", 1)
    random = np.random.default_rng(len(formula.__name__))
    for shape in ((40,), (6, 5), (1, 13), (3, 4, 5), (2, 1, 3, 2)):
        for call in calls(formula, random, dtype, shape):
            right = ComposedTruth(formula, call)
            for accumulator in FORMATS:
                arithmetic = truth_module._arithmetic(FORMATS[accumulator])
                got = [np.ravel(a) for a in right._in_lanes(arithmetic)]
                value, error = map(np.ravel, right._one_by_one(arithmetic))
                # Of narrow accumulators the value checks too: by far more than float64 loses.
                exact = 1e-14 * (1 + abs(value))
                room = 2.0**-22 * error if accumulator != "float64" else exact
                assert same(got[0], value, room).all()
                assert same(got[1], error, 1e-9 * error).all()


@pytest.mark.parametrize("accumulator", ["bfloat16", "float16", "float32", "float64"])
@pytest.mark.parametrize("length", [1, 2, 3, 700])
def test_lines_are_added_and_compared_as_lists_are(length, accumulator):
    arithmetic = truth_module._arithmetic(FORMATS[accumulator])
    random = np.random.default_rng(length)
    values = random.choice([n for n in NUMBERS if np.isfinite(n)], (50, length))
    errors = random.choice(ERRORS, (50, length), p=(0.4, 0.3, 0.299, 0.001))
    both = Lanes(values, errors, arithmetic)
    lists = [
        [Estimate(v, e, arithmetic) for v, e in zip(*pair, strict=True)]
        for pair in zip(values.tolist(), errors.tolist(), strict=True)
    ]
    for function in (largest, total):
        got, alone = function(both), [function(one) for one in lists]
        value, error = (np.array([getattr(e, part) for e in alone]) for part in ("value", "error"))
        assert got.value.shape == (50, 1)
        assert same(got.value[:, 0], value, 1e-12 * abs(values).sum(1)).all()
        assert same(got.error[:, 0], error, 1e-12 * error).all()


def test_enough_numbers_are_taken_together_and_few_are_not(monkeypatch):
    walked = []
    for name in ("lines", "pointwise"):
        walk = getattr(running_error_arrays, name)
        monkeypatch.setattr(
            running_error_arrays, name, lambda *a, walk=walk: walked.append(a[0]) or walk(*a)
        )
    for shape in ((3, 2), (50, 2)):
        ComposedTruth(oracle.softmax, {"z": np.ones(shape), "axis": 1}).bound("float32", "float32")
        logits = {"logits": np.ones(shape), "target": np.zeros(shape[0], int), "reduction": "sum"}
        ComposedTruth(oracle.cross_entropy, logits).bound("float32", "float32")
    for length in (3, 50):
        z = np.linspace(-1, 1, length)
        ComposedTruth(oracle.sigmoid, {"z": z}).bound("float32", "float32")
    both = [algebra(f).lanes for f in (oracle.softmax, oracle.cross_entropy)]
    assert walked == [*both, oracle.sigmoid]


EXTENDED = pytest.mark.skipif(
    np.finfo(np.longdouble).nmant < 63, reason="NumPy has no extended precision here"
)


@EXTENDED
@pytest.mark.parametrize("formula", POINTWISE + ROWS + LOSSES, ids=lambda f: f.__name__)
def test_extended_precision_is_as_near_to_the_truth_as_it_says(formula):
    random, seen = np.random.default_rng(7), 0
    for shape in ((40,), (6, 5), (1, 300)):
        for call in calls(formula, random, "float64", shape):
            right = ComposedTruth(formula, call)
            if right._closely is None:
                continue
            value, room = right._closely
            high, low = right.value
            finite = np.isfinite(high)
            assert (abs((value - high) - low) <= room)[finite].all()
            assert finite.all()
            seen += 1
    assert seen >= 2


@EXTENDED
@pytest.mark.parametrize("formula", POINTWISE + ROWS + LOSSES, ids=lambda f: f.__name__)
def test_shares_are_those_of_the_truth_and_near_1_the_truth_decides(formula, monkeypatch):
    random = np.random.default_rng(8)
    closely = 0
    for call in calls(formula, random, "float64", (6, 5)):
        right = ComposedTruth(formula, call)
        bound = right.bound("float64", "float64")
        for away in (0.0, 0.3, 0.999, 1.001, 4.0):
            got = np.asarray(right.value[0] + away * bound)
            share = ComposedTruth(formula, call).error_over_bound(got, "float64")
            with monkeypatch.context() as without:
                without.setattr(truth_module, "EXTENDED", 10**9)
                want = ComposedTruth(formula, call).error_over_bound(got, "float64")
            assert ((share <= 1) == (want <= 1)).all()
            assert same(share, want, 2.0**-6 * np.maximum(want, 1)).all()
            closely += right._closely_over(bound, got) is not None
        high, low = right.value
        got = np.asarray(high + bound)
        edge = np.asarray(abs((got - high) - low))  # by as much as it is off: nobody can say
        assert right._closely_over(edge, got) is None or not (edge * right._closely[1]).any()
    assert closely


def test_a_comparison_on_which_lanes_differ_parts_them():
    arithmetic = Arithmetic(2.0**-24, 2.0**-126)
    some = Lanes(np.array([1.0, -1.0, 2.0]), np.zeros(3), arithmetic)
    assert some > -2
    assert not some > 5
    assert some < 3
    assert not some >= 3
    for parting in (lambda: some > 0, lambda: some < 0, lambda: some >= 2):
        with pytest.raises(Apart):
            parting()
    with pytest.raises(Apart) as apart:
        bool(some > 0)
    assert apart.value.holds.tolist() == [True, False, True]


MATRICES = {
    "normal": lambda random, shape: (random.standard_normal(shape), 1e-6 * random.random(shape)),
    "signs": lambda random, shape: (random.integers(-1, 2, shape) * 1.0, np.zeros(shape)),
    "some signs": lambda random, shape: (
        random.choice([-1, 0, 1, 0.3, 2], shape), random.choice([0, 1e-3], shape)
    ),
    "tiny": lambda random, shape: (1e-25 * random.standard_normal(shape), np.zeros(shape)),
}  # fmt: skip


@pytest.mark.parametrize("accumulator", ["float16", "float32", "float64"])
@pytest.mark.parametrize("kinds", [*product(MATRICES, repeat=2)], ids=" by ".join)
def test_matrix_products_have_the_bounds_of_sums_of_products(kinds, accumulator, monkeypatch):
    arithmetic = truth_module._arithmetic(FORMATS[accumulator])
    random = np.random.default_rng(1)
    for shape, other in (((3, 4), (4, 2)), ((2, 1, 3, 5), (1, 2, 5, 4)), ((2, 1), (1, 3))):
        held = zip(kinds, (shape, other), strict=True)
        one, by = (Lanes(*MATRICES[kind](random, of), arithmetic) for kind, of in held)
        at_once = one._product_at_once(by)
        assert (at_once is None) == (shape[-1] == 1)
        found = one.product(by)
        monkeypatch.setattr(Lanes, "_product_at_once", lambda *_: None)
        want = one.product(by)
        monkeypatch.undo()
        np.testing.assert_allclose(found.value, want.value, 1e-12, 1e-60)
        np.testing.assert_allclose(
            found.error, want.error, 1e-3 if accumulator == "float16" else 1e-6
        )
        assert ((found.error == 0) == (want.error == 0)).all()


@pytest.mark.parametrize("value", [np.inf, np.nan, 1e38])
def test_matrix_products_of_what_overflows_are_made_term_by_term(value):
    arithmetic = truth_module._arithmetic(FORMATS["float32"])
    large = Lanes(np.full((2, 3), value), np.zeros((2, 3)), arithmetic)
    with np.errstate(all="ignore"):
        assert large._product_at_once(large.changed(np.transpose)) is None
        found = large.product(large.changed(np.transpose))
    assert not (np.isfinite(found.value) & np.isfinite(found.error)).any()
