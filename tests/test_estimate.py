"""Running error bounds: they contain what right implementations do, far out too, and no more."""

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from gradoracle import oracle
from gradoracle.implementations import im2col
from gradoracle.oracle.declaration import evaluate
from gradoracle.oracle.expected.truth import SMALL, truth
from gradoracle.oracle.float_formats import FORMATS
from gradoracle.oracle.numbers.functions import FUNCTIONS, log
from gradoracle.oracle.numbers.high_precision import context
from gradoracle.oracle.numbers.running_error import DIVIDE, Arithmetic, Estimate
from tests.orders import orders

DTYPES = ("float32", "float64")
FAR = {"float32": 104.0, "float64": 746.0}  # e^-FAR is below the smallest subnormal number


def estimates(values, dtype):
    limits = FORMATS[dtype]
    arithmetic = Arithmetic(2.0**-limits.bits, 2.0**limits.smallest_exponent)
    return [Estimate(float(v), 0.0, arithmetic) for v in values]


def arguments(dtype, count=800, seed=0):
    """Return arguments of every size and both signs: about 0, moderate, at the edges, far out."""
    random = np.random.default_rng(seed)
    far = FAR[dtype]
    parts = [
        random.standard_normal(count),
        random.standard_normal(count) * 10,
        random.uniform(-far - 3, far + 3, count),
        2.0 ** random.uniform(-40, 10, count) * random.choice((-1, 1), count),
        2.0 ** random.uniform(-148, -20, count) * random.choice((-1, 1), count),
        np.array([0.0, far, -far, far / 2, -far / 2, 1e4, -1e4, 1e30, -1e30, 16.64, -16.64]),
    ]
    return np.concatenate(parts).astype(dtype)


def shares(formula, call, got):
    """Return the errors over the bounds, of answers of the right dtype."""
    dtype = next(
        v.dtype for v in call.values() if isinstance(v, np.ndarray) and v.dtype.kind == "f"
    )
    assert got.dtype == dtype
    return truth(formula, call).error_over_bound(got, dtype.name)


# -- straightforward right implementations --------------------------------------------------------


def in_two_branches(z):
    e = np.exp(-abs(z))
    return np.where(z >= 0, 1 / (1 + e), e / (1 + e))


def as_displayed(z):
    a, b = np.exp(z), np.exp(-z)
    return (a - b) / (a + b)


SIGMOIDS = {
    "as displayed": lambda z: 1 / (1 + np.exp(-z)),
    "in two branches": in_two_branches,
    "im2col": im2col.sigmoid,
    "by a reciprocal": np.vectorize(lambda z: np.reciprocal(1 + np.exp(-z)), otypes=[object]),
}
SIGMOID_GRADS = {
    "y (1 - y) first": lambda dy, z: dy * (in_two_branches(z) * (1 - in_two_branches(z))),
    "dy y first": lambda dy, z: dy * in_two_branches(z) * (1 - in_two_branches(z)),
    "dy (1 - y) first": lambda dy, z: dy * (1 - in_two_branches(z)) * in_two_branches(z),
    "y - y^2, as displayed for y": lambda dy, z: dy * (1 - SIGMOIDS["as displayed"](z))
    * SIGMOIDS["as displayed"](z),
    "im2col": im2col.sigmoid_grad,
}  # fmt: skip
TANHS = {
    "NumPy": np.tanh,
    "im2col": im2col.tanh,
    "as displayed": lambda z: as_displayed(np.clip(z, -20, 20)),
    "2 sigmoid(2z) - 1": lambda z: 2 * in_two_branches(2 * z) - 1,
    "1 - 2 / (e^2z + 1)": lambda z: 1 - 2 / (np.exp(2 * z) + 1),
}
TANH_GRADS = {
    "1 - y^2": lambda dy, z: dy * (1 - np.tanh(z) * np.tanh(z)),
    "dy - dy y^2": lambda dy, z: dy - dy * (np.tanh(z) * np.tanh(z)),
    "1 - y^2, y as displayed": lambda dy, z: dy * (1 - TANHS["as displayed"](z) ** 2),
    "im2col": im2col.tanh_grad,
}
ONE_ARGUMENT = [
    (oracle.sigmoid, name, f) for name, f in SIGMOIDS.items()
] + [(oracle.tanh, name, f) for name, f in TANHS.items()]  # fmt: skip
TWO_ARGUMENTS = [
    (oracle.sigmoid_grad, name, f) for name, f in SIGMOID_GRADS.items()
] + [(oracle.tanh_grad, name, f) for name, f in TANH_GRADS.items()]  # fmt: skip


def name_of(value):
    return value if isinstance(value, str) else getattr(value, "__name__", "")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("formula", "name", "function"), ONE_ARGUMENT, ids=name_of)
def test_activations_are_within_the_bound_everywhere(formula, name, function, dtype):
    z = arguments(dtype)
    with np.errstate(all="ignore"):
        got = np.asarray(function(z)).astype(dtype)
    share = shares(formula, {"z": z}, got)
    assert (share <= 1).all(), z[~(share <= 1)]
    assert share.max() > 0.05


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("formula", "name", "function"), TWO_ARGUMENTS, ids=name_of)
def test_gradients_of_activations_are_within_the_bound_everywhere(formula, name, function, dtype):
    z = arguments(dtype, seed=1)
    dy = np.random.default_rng(2).standard_normal(z.shape).astype(dtype)
    with np.errstate(all="ignore"):
        got = np.asarray(function(dy, z)).astype(dtype)
    share = shares(formula, {"grad_output": dy, "z": z}, got)
    assert (share <= 1).all(), z[~(share <= 1)]
    assert share.max() > 0.05


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("slope", [0.01, 0.25, 0.0, 1.0, -0.5])
def test_leaky_relu_rounds_its_negative_side_and_nothing_else(slope, dtype):
    slope = float(np.dtype(dtype).type(slope))
    z = arguments(dtype, seed=3)
    options = {"negative_slope": slope}
    for formula, arrays in (
        (oracle.leaky_relu, {"z": z}),
        (oracle.leaky_relu_grad, {"grad_output": z, "z": np.roll(z, 1)}),
    ):
        right = truth(formula, {**arrays, **options})
        got = getattr(im2col, formula.__name__)(*arrays.values(), **options)
        assert (right.error_over_bound(got, dtype) <= 1).all()
        bound, passes = right.bound(dtype, dtype), arrays["z"] > 0
        assert not bound[passes].any()
        if slope in (0.0, 1.0):
            assert not bound.any()
        off = np.nextafter(np.nextafter(got, got.dtype.type(1)), got.dtype.type(1))
        off_side = off != got if slope in (0.0, 1.0) else passes & (off != got)
        assert not (right.error_over_bound(off, dtype)[off_side] <= 1).any()


def rows(dtype, seed, far=1.0):
    random = np.random.default_rng(seed)
    for _ in range(40):
        shape = (int(random.integers(1, 6)), int(random.integers(1, 40)))
        z = random.standard_normal(shape) * random.choice((1, 4, 30)) + far * random.choice((-1, 1))
        if shape[1] > 2 and random.integers(3) == 0:
            z[:, 1] = -np.inf
        yield z.astype(dtype), random


def shifted_softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def softmax_in_order(order):
    def softmax(z):
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return e / np.array([[order(list(row))] for row in e], e.dtype)

    return softmax


SOFTMAXES = {
    "shifted": shifted_softmax,
    "times a reciprocal": lambda z: (
        np.exp(z - z.max(1, keepdims=True))
        * (1 / np.exp(z - z.max(1, keepdims=True)).sum(1, keepdims=True))
    ),
    **{name: softmax_in_order(order) for name, order in orders(5)},
}


@pytest.mark.parametrize("far", [0.0, 100.0, 1e4])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SOFTMAXES)
def test_softmax_and_its_gradient_are_within_the_bound(name, dtype, far):
    worst = 0.0
    for z, random in rows(dtype, 6, far):
        p = SOFTMAXES[name](z)
        share = shares(oracle.softmax, {"z": z, "axis": 1}, p)
        dp = random.standard_normal(z.shape).astype(dtype)
        dz = p * (dp - (dp * p).sum(axis=1, keepdims=True))
        back = shares(oracle.softmax_grad, {"grad_output": dp, "z": z, "axis": 1}, dz)
        assert (share <= 1).all()
        assert (back <= 1).all()
        worst = max(worst, float(share.max()), float(back.max()))
    assert worst > 0.02


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("far", [0.0, 100.0, 1e4])
@pytest.mark.parametrize("dtype", DTYPES)
def test_cross_entropy_and_its_gradient_are_within_the_bound(dtype, far, reduction):
    worst = 0.0
    for z, random in rows(dtype, 7, far):
        target = random.integers(0, z.shape[1], len(z))
        target[np.isneginf(z[np.arange(len(z)), target])] = 0
        call = {"logits": z, "target": target, "reduction": reduction}
        top = z.max(axis=1, keepdims=True)
        chosen = z[np.arange(len(z)), target] - top[:, 0]
        right = truth(oracle.cross_entropy, call)
        for _, order in orders(8):
            totals = np.array([order(list(row)) for row in np.exp(z - top)], dtype)
            loss = np.asarray(order(list(np.log(totals) - chosen)), dtype)
            loss = loss / z.dtype.type(len(z)) if reduction == "mean" else loss
            share = right.error_over_bound(np.asarray(loss), dtype)
            assert share <= 1
            worst = max(worst, float(share))
        dz = im2col.cross_entropy_grad(z, target, reduction=reduction)
        share = shares(oracle.cross_entropy_grad, call, dz)
        assert (share <= 1).all()
    assert worst > 0.02


def test_pytorch_is_within_the_bound_in_float32(torch):
    z = arguments("float32", seed=9)
    dy = np.random.default_rng(9).standard_normal(z.shape).astype(np.float32)
    for name in ("sigmoid", "tanh"):
        leaf = torch.tensor(z, requires_grad=True)
        y = getattr(torch, name)(leaf)
        (dz,) = torch.autograd.grad(y, leaf, torch.tensor(dy))
        assert (shares(getattr(oracle, name), {"z": z}, y.detach().numpy()) <= 1).all()
        gradient = getattr(oracle, f"{name}_grad")
        assert (shares(gradient, {"grad_output": dy, "z": z}, dz.numpy()) <= 1).all()


# -- what is not within the bound -----------------------------------------------------------------


def off_by(values, ulps):
    return values + np.asarray(ulps, values.dtype) * np.spacing(values)


def moderate(dtype, most=69.0):  # e^-69 is so far above what is flushed that no bound has room
    z = arguments(dtype, seed=10)
    return z[abs(z) < most]


@pytest.mark.parametrize("ulps", [40, -40])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("formula", [oracle.sigmoid, oracle.tanh], ids=name_of)
def test_forty_units_off_are_wrong(formula, dtype, ulps):
    z = moderate(dtype)
    # A bound of subnormals is wide, and next to 0 the quotient that tanh displays cancels.
    z = z[abs(z) > (0.25 if formula is oracle.tanh else 2.0**-100)]
    good = SIGMOIDS["as displayed"](z) if formula is oracle.sigmoid else np.tanh(z)
    # e^z as 2^(z log2(e)) is off by some |z| units.
    more = 4 * abs(z) if formula is oracle.sigmoid else 0
    share = shares(formula, {"z": z}, off_by(good, np.sign(ulps) * (abs(ulps) + more)))
    assert (share > 1).all()
    assert (shares(formula, {"z": z}, good) <= 1).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_forty_units_off_are_wrong_in_softmax_and_cross_entropy(dtype):
    z = np.random.default_rng(11).standard_normal((500, 3)).astype(dtype)
    p = shifted_softmax(z)
    assert (shares(oracle.softmax, {"z": z, "axis": 1}, off_by(p, 40)) > 1).all()
    target = np.random.default_rng(12).integers(0, 3, 500)
    for row, t in zip(z[:100], target, strict=False):
        call = {"logits": row[None], "target": np.array([t]), "reduction": "sum"}
        loss = im2col.cross_entropy(**call)
        assert shares(oracle.cross_entropy, call, loss) <= 1
        assert shares(oracle.cross_entropy, call, loss + 40 * np.spacing(np.abs(row).max() + 2)) > 1


def bound_in_units(formula, call, dtype):
    right = truth(formula, call)
    return right.bound(dtype, dtype) / np.spacing(abs(right.as_float(np.dtype(dtype))))


@pytest.mark.parametrize("dtype", DTYPES)
def test_bounds_are_a_few_units_where_nothing_cancels(dtype):
    z = moderate(dtype)
    z = z[abs(z) > 2.0**-20]
    one = np.ones_like(z)
    units = bound_in_units(oracle.sigmoid, {"z": z}, dtype)
    assert units[z > -1].max() < 17
    assert (units - 4 * abs(z)).max() < 17
    assert bound_in_units(oracle.tanh, {"z": z[abs(z) > 0.5]}, dtype).max() < 20
    near = truth(oracle.tanh, {"z": z[abs(z) < 0.5]}).bound(dtype, dtype)
    assert near.max() < 5 * np.finfo(dtype).eps  # of 1, not of y: the displayed quotient cancels
    left = -abs(z)
    back = {"grad_output": one, "z": left}
    assert (bound_in_units(oracle.sigmoid_grad, back, dtype) - 4 * abs(z)).max() < 36
    softmax = {"z": np.random.default_rng(13).standard_normal((200, 5)).astype(dtype), "axis": 1}
    assert bound_in_units(oracle.softmax, softmax, dtype).max() < 30


WRONG = {
    "sigmoid by tanh loses the left tail": (oracle.sigmoid, lambda z: 0.5 * np.tanh(z / 2) + 0.5),
    "sigmoid by a clipped argument": (oracle.sigmoid, lambda z: 1 / (1 + np.exp(-z.clip(-9, 9)))),
    "tanh by a root loses what is near 0": (
        oracle.tanh, lambda z: np.copysign(np.sqrt(1 - 1 / np.cosh(z) ** 2), z),
    ),
    "tanh by a rational function": (oracle.tanh, lambda z: z * (27 + z * z) / (27 + 9 * z * z)),
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", WRONG)
def test_formulas_that_lose_a_tail_are_wrong(name, dtype):
    formula, function = WRONG[name]
    z = moderate(dtype)
    with np.errstate(all="ignore"):
        share = shares(formula, {"z": z}, np.asarray(function(z), dtype))
    assert not (share <= 1).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_formulas_that_overflow_are_wrong(dtype):
    z = np.array([[1e4, 1e4 + 1, 0.0]], dtype)
    with np.errstate(all="ignore"):
        p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        loss = -np.log(shifted_softmax(z)[0, 2])
    assert (shares(oracle.softmax, {"z": z, "axis": 1}, p) <= 1).tolist() == [[False, False, True]]
    call = {"logits": z, "target": np.array([2]), "reduction": "sum"}
    assert not shares(oracle.cross_entropy, call, np.asarray(loss)) <= 1
    assert shares(oracle.cross_entropy, call, np.asarray(10001.32, dtype)) > 1
    assert shares(oracle.cross_entropy, call, im2col.cross_entropy(**call)) <= 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_wrong(value):
    z = np.array([0.5, -3.0], np.float32)
    got = im2col.sigmoid(z)
    got[1] = value
    share = shares(oracle.sigmoid, {"z": z}, got)
    assert share[0] <= 1
    assert not share[1] <= 1


def test_an_infinite_truth_is_right_only_as_itself():
    call = {"z": np.array([-np.inf, -np.inf, -np.inf]), "negative_slope": 0.5}
    share = shares(oracle.leaky_relu, call, np.array([-np.inf, np.inf, -1.0]))
    assert share[0] == 0
    assert not (share[1:] <= 1).any()


@pytest.mark.parametrize("rows", [64, 20, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_mean_whose_sum_overflows_may_be_infinite(rows, dtype):
    z = np.full((rows, 2), -np.finfo(dtype).max / 2, dtype)
    z[:, 1] = -np.finfo(dtype).max
    call = {"logits": z, "target": np.ones(rows, np.int64), "reduction": "mean"}
    right = truth(oracle.cross_entropy, call)
    for got in (np.finfo(dtype).max / 2, np.inf):
        assert right.error_over_bound(np.asarray(got, dtype), dtype).item() == 0
    few = truth(oracle.cross_entropy, call | {"logits": z / rows})
    assert few.error_over_bound(np.asarray(np.inf, dtype), dtype).item() > 1


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("rows", [20, 3])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_loss_of_a_target_at_minus_infinity_is_infinite(rows, reduction, dtype):
    z = np.zeros((rows, 3), dtype)
    z[1, 2] = -np.inf
    call = {"logits": z, "target": np.full(rows, 2), "reduction": reduction}
    for accumulator in (dtype, "float64"):
        right = truth(oracle.cross_entropy, call)
        got = [right.error_over_bound(np.asarray(y, dtype), accumulator) for y in (np.inf, 3.0)]
        assert (got[0].item(), got[1].item() > 1) == (0, True)


def test_results_below_the_normal_numbers_may_be_flushed():
    z = np.float32([-100.0])
    right = truth(oracle.sigmoid, {"z": z})
    assert 0 < right.as_float(np.dtype(np.float32)).item() < 2.0**-126
    assert right.error_over_bound(np.float32([0]), "float32").item() <= 1
    assert (
        truth(oracle.sigmoid, {"z": np.float32([-80])})
        .error_over_bound(np.float32([0]), "float32")
        .item()
        > 1
    )


@pytest.mark.parametrize(
    "formula", [oracle.sigmoid, oracle.tanh, oracle.sigmoid_grad, oracle.tanh_grad], ids=name_of
)
def test_a_wider_accumulator_narrows_the_bound(formula):
    z = moderate("float32", 8.0)
    z = z[abs(z) > 2.0**-20]  # below, what tanh's quotient loses in float64 is units of y, too
    call = {"z": z, "grad_output": np.full_like(z, 1.5)}
    right = truth(formula, call)
    wide, narrow = right.bound("float32", "float64"), right.bound("float32", "float32")
    assert (wide <= narrow).all()
    assert (wide < narrow).mean() > 0.9
    in_float64 = evaluate(formula, {n: a.astype(float) for n, a in call.items()})
    assert (right.error_over_bound(in_float64.astype(np.float32), "float64") <= 1).all()
    exact = right.as_float(np.dtype(np.float32))
    assert (right.error_over_bound(off_by(exact, 3), "float64") > 1).mean() > 0.9


# -- the operations -------------------------------------------------------------------------------


def fraction(value):
    return Fraction(float(value))


OPERATIONS = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "a b + a": lambda a, b: a * b + a,
    "(a - b) (a + b)": lambda a, b: (a - b) * (a + b),
    "a / (1 + b b)": lambda a, b: a / (1 + b * b),
    "1 - a / b": lambda a, b: 1 - a / b,
    "-a + 3": lambda a, b: -a + 3,
    "abs": lambda a, b: abs(a - b) * b,
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_is_charged_for_its_rounding(name, dtype):
    random = np.random.default_rng(14)
    operation, rounds = OPERATIONS[name], 0
    for a, b in random.standard_normal((2000, 2)) * 2.0 ** random.integers(-8, 9, (2000, 2)):
        x, y = np.dtype(dtype).type(a), np.dtype(dtype).type(b)
        want = operation(fraction(x), fraction(y))
        bounded = operation(*estimates((x, y), dtype))
        error = abs(fraction(operation(x, y)) - want)
        # the estimate's own value is rounded in float64
        assert error <= fraction(bounded.error) + abs(want) * Fraction(1, 2**45)
        if dtype == "float32":
            assert abs(fraction(bounded.value) - want) <= fraction(bounded.error)
            assert error <= fraction(bounded.error)
        rounds += bool(error)
    assert rounds > 500


ELEMENTARY = {
    name: (getattr(np, name), getattr(context(), name), FUNCTIONS[name].units)
    for name in ("exp", "log", "tanh")
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ELEMENTARY)
def test_elementary_functions_are_charged_what_opencl_allows_and_what_comes_in(name, dtype):
    ours, theirs, units = ELEMENTARY[name]
    random = np.random.default_rng(15)
    x = (random.standard_normal(1500) * random.choice((0.01, 1, 5), 1500)).astype(dtype)
    x = abs(x) + x.dtype.type(0.001) if name == "log" else x
    with np.errstate(all="ignore"):
        got = ours(x)
    unit = 2.0 ** -FORMATS[dtype].bits
    for v, e, y in zip(x, estimates(x, dtype), got, strict=True):
        bounded = FUNCTIONS[name](e)
        want = theirs(context().mpf(float(v)))
        assert abs(context().mpf(float(y)) - want) <= bounded.error
        assert bounded.error <= 1.001 * units * unit * abs(want) + e.arithmetic.tiny
        for error in (0.01, 1e-4):  # of the argument
            uncertain = FUNCTIONS[name](Estimate(e.value, error * abs(e.value), e.arithmetic))
            for side in (-1, 0, 1):
                moved = theirs(context().mpf(float(v)) * (1 + side * context().mpf(error)))
                assert abs(moved - bounded.value) <= uncertain.error


def test_zeros_and_ones_and_negation_round_nothing():
    (a,) = estimates([0.1], "float32")
    for same in (a + 0, 0 + a, a - 0, a * 1, 1 * a, -(a * -1), a.plus_all([])):
        assert (same.value, same.error) == (a.value, 0)
    assert ((a * -1).value, (a * -1).error) == (-a.value, 0)
    assert ((a * 0).value, (a * 0).error) == (0, 0)
    assert (0 - a).value == -a.value
    assert (a + 1).error > 0


def test_an_uncertain_zero_is_not_a_zero():
    unsure = Estimate(0.0, 0.25, Arithmetic(2.0**-24, 2.0**-126))
    (a,) = estimates([3.0], "float32")
    assert (a + unsure).error >= 0.25
    assert (a * unsure).error >= 0.75
    assert (a / unsure.plus_all([a - 2])).error >= 3 / 0.75 - 3
    assert math.isinf((a / (unsure + 0.25)).error)
    assert math.isinf(log(unsure + 0.25).error)


def test_sums_are_charged_for_any_order():
    random = np.random.default_rng(16)
    for seed in range(200):
        terms = (random.standard_normal(17) * 2.0 ** random.integers(-6, 7, 17)).astype("f4")
        first, *rest = estimates(terms, "float32")
        bounded = first.plus_all(rest)
        want = sum(map(fraction, terms))
        assert abs(fraction(bounded.value) - want) <= fraction(bounded.error)
        for _, order in orders(seed):
            assert abs(fraction(order(list(terms))) - want) <= fraction(bounded.error)
        in_turn = first
        for term in rest:
            in_turn = in_turn + term
        assert bounded.error <= 17 * 2.0**-24 * float(abs(terms).sum())
        assert in_turn.value == pytest.approx(bounded.value)


def test_quotients_and_constants_are_charged_the_documented_units():
    a, b = estimates([1.0, 3.0], "float64")
    unit = 2.0**-53
    assert (a / b).error == pytest.approx(DIVIDE * unit / 3)
    assert (1 / b).error == (a / b).error
    assert (2 - b).error == pytest.approx(unit)


def test_comparisons_look_at_the_value():
    a, b = estimates([1.0, 2.0], "float32")
    assert a < b
    assert b > a
    assert b > 1
    assert a >= 1
    assert not a > 1
    assert max(a, b) is b


def test_a_chain_of_operations_bounds_every_rounding_of_it():
    """1000 random expressions of depth 4, each evaluated in float32 and exactly."""
    random = np.random.default_rng(17)
    operations = ["+", "-", "*"]
    rounds = 0
    for _ in range(1000):
        leaves = (random.standard_normal(8) * 2.0 ** random.integers(-3, 4, 8)).astype("f4")
        levels = [leaves.tolist(), [np.float32(v) for v in leaves], [fraction(v) for v in leaves]]
        levels[0] = estimates(leaves, "float32")
        chosen = random.choice(operations, 7).tolist()
        results = []
        for numbers in levels:
            queue, names = list(numbers), list(chosen)
            while len(queue) > 1:
                a, b = queue.pop(0), queue.pop(0)
                queue.append(OPERATIONS[names.pop()](a, b))
            results.append(queue[0])
        bounded, rounded, want = results
        error = abs(fraction(rounded) - want)
        assert error <= fraction(bounded.error)
        rounds += bool(error)
    assert rounds > 900


def test_every_pair_of_dtypes_has_a_bound():
    z = np.array([0.3], np.float32)
    bounds = {
        pair: truth(oracle.sigmoid, {"z": z}).bound(*pair).item()
        for pair in product(DTYPES, DTYPES)
    }
    assert bounds["float64", "float64"] < bounds["float32", "float64"]
    assert bounds["float32", "float64"] < bounds["float32", "float32"]


def test_of_many_elements_the_last_digit_is_all_that_extended_precision_changes():
    random = np.random.default_rng(1)
    z = random.normal(0, 5, (900, 5))
    right = truth(oracle.softmax, {"z": z, "axis": 1})
    assert z.size > SMALL
    got, want = right.as_float(np.dtype(np.float64)), right.value[0]
    assert (abs(got - want) <= np.spacing(want)).all()
    assert ("value" in vars(right), "_closely" in vars(right)) == (True, True)
    again = truth(oracle.softmax, {"z": z, "axis": 1})
    again.as_float(np.dtype(np.float64))
    assert "value" not in vars(again)  # in mpmath's numbers it takes seconds
