"""Powers by computed exponents: bounds that right kernels keep, values at 0, and faults."""

from types import SimpleNamespace

import numpy as np
import pytest

import gradoracle
from gradoracle.extend import Styles, styles
from gradoracle.oracle.expected.truth import truth

torch = pytest.importorskip("torch")
WIDE = np.dtype(np.float64)


def powers(x, p):
    """Return y [N, C].

        y = x^p

    (a test's own formula).
    """
    return x**p


def p_norm(x, p):
    """Return y [N], of x [N, C] and exponents p [N].

        y = (sum_c x^p)^(1 / p)

    (Gulcehre and others 2014, "Learned-Norm Pooling", equation 1, of positive x).
    """
    return (x ** p[:, None]).sum(1) ** (1 / p)


def geometric_mean(x, w):
    """Return y [N], of weights w [C].

        y = (prod_c x^w)^(1 / sum_c w)

    (Hardy, Littlewood and Polya 1934, "Inequalities", section 2.1).
    """
    return (x**w).prod(1) ** (1 / w.sum())


def near_one(random, shapes, limits):
    return {n: 0.5 + 2 * random.random(shape) for n, shape in shapes.items()}


NUMBERS = Styles(exact=(), floats=styles(near_one), slopes=styles(near_one))
OPERATORS = {p_norm: "x: n c; p: n", geometric_mean: "x: n c; w: c"}


def positive(call, seed):
    """Return the call with positive arguments; NaN and infinities stay."""
    return {
        n: v if n == "grad_output" else np.where(v == 0, v.dtype.type(1), abs(v))
        for n, v in call.items()
    }


def of(body):
    return gradoracle.operator(OPERATORS[body], numbers=NUMBERS, complete=positive)(body)


def norm_by_x(dy, x, p):
    total = (x ** p[:, None]).sum(1)
    return dy[:, None] * (x ** (p[:, None] - 1) * total[:, None] ** (1 / p[:, None] - 1))


def norm_by_p(dy, x, p):
    xp = x ** p[:, None]
    total = xp.sum(1)
    inner = (xp * np.log(x)).sum(1) / (p * total) - np.log(total) / (p * p)
    return dy * total ** (1 / p) * inner


def mean_by_w(dy, x, w):
    y, total = (x**w).prod(1) ** (1 / w.sum()), w.sum()
    logs = np.log(x) / total - ((w * np.log(x)).sum(1) / total**2)[:, None]
    return (dy[:, None] * y[:, None] * logs).sum(0)


NORM = {"p_norm": lambda x, p: (x ** p[:, None]).sum(1) ** (1 / p), "p_norm_grad_x": norm_by_x,
        "p_norm_grad_p": norm_by_p}  # fmt: skip
MEAN = {
    "geometric_mean": lambda x, w: (x**w).prod(1) ** (1 / w.sum()),
    "geometric_mean_grad_x": lambda dy, x, w: (
        dy[:, None] * ((x**w).prod(1) ** (1 / w.sum()))[:, None] * (w / w.sum()) / x
    ),
    "geometric_mean_grad_w": mean_by_w,
}


def by_autograd(name, second, function):
    def gradients(dy, *arrays):
        given = [torch.tensor(a.copy(), requires_grad=True) for a in arrays]
        function(*given).backward(torch.tensor(dy.copy()))
        return [one.grad.numpy() for one in given]

    return {
        name: lambda *arrays: function(*(torch.tensor(a.copy()) for a in arrays)).numpy(),
        f"{name}_grad_x": lambda dy, *arrays: gradients(dy, *arrays)[0],
        f"{name}_grad_{second}": lambda dy, *arrays: gradients(dy, *arrays)[1],
    }


RIGHT = {
    "p_norm": (p_norm, NORM),
    "p_norm, by exponentials": (
        p_norm,
        {**NORM, "p_norm": lambda x, p: np.exp(np.log(np.exp(p[:, None] * np.log(x)).sum(1)) / p)},
    ),
    "p_norm, PyTorch": (
        p_norm, by_autograd("p_norm", "p", lambda x, p: (x ** p[:, None]).sum(1) ** (1 / p)),
    ),
    "geometric_mean": (geometric_mean, MEAN),
    "geometric_mean, PyTorch": (
        geometric_mean,
        by_autograd("geometric_mean", "w", lambda x, w: (x**w).prod(1) ** (1 / w.sum())),
    ),
}  # fmt: skip
WRONG = {
    "no root": (p_norm, NORM, "p_norm", lambda x, p: (x ** p[:, None]).sum(1)),
    "the exponent is p": (
        p_norm, NORM, "p_norm_grad_x",
        lambda dy, x, p: norm_by_x(dy, x, p) * x,
    ),
    "no gradient through the root": (
        p_norm, NORM, "p_norm_grad_p",
        lambda dy, x, p: dy * (
            (x ** p[:, None]).sum(1) ** (1 / p - 1) * (x ** p[:, None] * np.log(x)).sum(1) / p
        ),
    ),
    "log to the base 2": (
        p_norm, NORM, "p_norm_grad_p",
        lambda dy, x, p: norm_by_p(dy, x, p) / np.log(x.dtype.type(2)),
    ),
    "the weights' sum is a constant": (
        geometric_mean, MEAN, "geometric_mean_grad_w",
        lambda dy, x, w: (
            dy[:, None] * ((x**w).prod(1) ** (1 / w.sum()))[:, None] * np.log(x) / w.sum()
        ).sum(0),
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("what", RIGHT)
def test_right_kernels_are_certified(what, dtype):
    body, functions = RIGHT[what]
    backend = SimpleNamespace(**functions, contract={"dtypes": [dtype]})
    result = gradoracle.check(backend, operators=[of(body)], seed=1, profile="quick")
    assert not result.mismatches, result.mismatches[0].text
    assert {one.formula for one in result.outcomes if one.judged} >= {*functions}


@pytest.mark.slow
@pytest.mark.parametrize("what", WRONG)
def test_faults_are_caught(what):
    body, functions, name, wrong = WRONG[what]
    backend = SimpleNamespace(**{**functions, name: wrong}, contract={"dtypes": ["float32"]})
    found = gradoracle.check(backend, operators=[of(body)], seed=1, profile="quick").mismatches
    assert {one.function for one in found} == {name}


# -- the bound -------------------------------------------------------------------------------------


def shares(formula, call, gots, dtype):
    found = truth(formula, call)
    want, bound = found.as_float(WIDE), found.bound(dtype, dtype)
    for got in gots:
        error = found.error_over_bound(np.asarray(got), dtype)
        same = (got == want) | (np.isnan(got) & np.isnan(want)) | np.isinf(bound)
        yield np.where(same, 0, error)


def drawn(seed, dtype):
    random = np.random.default_rng(seed)
    x = np.exp(random.normal(size=(4, 6)) * random.choice([0.1, 1, 4])).astype(dtype)
    p = (random.normal(size=6) * random.choice([0.5, 2, 6])).astype(dtype)
    if seed % 4 == 0:
        p = np.rint(p)
        x[0] *= -1
    if seed % 5 == 0:
        x[1, :3], p[:3] = 0, (0, 1, 0.5)
    return x, p, random.normal(size=(4, 6)).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pytorch_and_numpy_are_within_the_bound(dtype):
    mine = gradoracle.operator("x: n c; p: c")(powers)
    forward, by_x, by_p, _ = mine.formulas
    for seed in range(40):
        x, p, dy = drawn(seed, dtype)
        given = [torch.tensor(a, requires_grad=True) for a in (x, p)]
        y = given[0] ** given[1]
        y.backward(torch.tensor(dy))
        call = {"x": x, "p": p, "grad_output": dy}
        with np.errstate(all="ignore"):
            ours = x**p, dy * (p * x ** (p - 1)), (dy * (x**p * np.log(x))).sum(0)
        theirs = y.detach().numpy(), given[0].grad.numpy(), given[1].grad.numpy()
        for formula, *gots in zip((forward, by_x, by_p), ours, theirs, strict=True):
            for share in shares(formula, call, gots, dtype):
                assert (share <= 1).all(), (formula.__name__, seed, share)


def test_of_zero_and_of_negative_numbers_powers_are_numpys():
    mine = gradoracle.operator("x: n c; p: c")(powers)
    x, p = np.array([[0.0, 0, 0, 1, 2, -2, -2]]), np.array([2.0, 0, -1, 7, 1, 3, 0.5])
    found = truth(mine.formula, {"x": x, "p": p})
    with np.errstate(all="ignore"):
        assert np.array_equal(found.as_float(WIDE), x**p, equal_nan=True)
    assert not found.bound("float32", "float32")[0, :4].any()


def test_a_base_may_be_an_array_and_a_slope_at_0_is_open():
    def made(p):
        """Return y [N].

            y = 0, 2 and 3 to the p

        (a test's own formula).
        """
        return np.power(np.array([0.0, 2, 3]), p)

    forward, gradient = gradoracle.operator("p: n", sizes={"n": 3})(made).formulas
    call = {"p": np.array([2.0, 2, 0.5])}
    assert truth(forward, call).as_float(WIDE) == pytest.approx([0, 4, np.sqrt(3)])
    slopes = truth(gradient, {**call, "grad_output": np.ones(3)})
    want = [0, 4 * np.log(2), np.sqrt(3) * np.log(3)]
    assert slopes.as_float(WIDE) == pytest.approx(want)
    assert np.isinf(slopes.bound("float32", "float32")).tolist() == [True, False, False]
