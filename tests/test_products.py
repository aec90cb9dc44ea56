"""Products, powers of a base and steps in formulas: bounds that right kernels keep, and faults."""

from types import SimpleNamespace

import numpy as np
import pytest

import gradoracle
from gradoracle.extend import straight_through
from gradoracle.oracle.expected.truth import truth

torch = pytest.importorskip("torch")
F32 = np.dtype(np.float32)


def operator_of(formula, axes="x: n c", **options):
    def made(x):
        """Return y.

            y = f(x)

        (a test's own formula).
        """
        return formula(x)

    made.__module__ = __name__
    return gradoracle.operator(axes, **options)(made)


def gradient_of(formula, x, dy):
    _, gradient = operator_of(formula).formulas
    wide = {"x": x.astype(np.float64), "grad_output": dy.astype(np.float64)}
    found = truth(gradient, wide)
    return found.as_float(np.dtype(float)), found.bound("float32", "float32")


BY_TORCH = {
    "prod": (lambda x: np.prod(x, 1), lambda x: x.prod(1)),
    "cumprod": (lambda x: np.cumprod(x, 1), lambda x: x.cumprod(1)),
    "einsum": (
        lambda x: np.einsum("nc,mc,kc->nmk", x, x, x),
        lambda x: torch.einsum("nc,mc,kc->nmk", x, x, x),
    ),
    "base": (lambda x: 0.9**x + 3**x, lambda x: 0.9**x + 3**x),
    "remainder": (lambda x: x * (x % 0.75), lambda x: x * (x % 0.75)),
    "floor": (lambda x: x * np.floor(x), lambda x: x * x.floor()),
}


@pytest.mark.parametrize("name", BY_TORCH)
def test_pytorchs_gradients_are_within_the_bound(name):
    formula, by_torch = BY_TORCH[name]
    for seed in range(30):
        random = np.random.default_rng(seed)
        x = (random.normal(size=(3, 7)) * 1.5).astype(np.float32)
        if seed % 3 == 0:
            x[1, 2] = 0
        given = torch.tensor(x, requires_grad=True)
        y = by_torch(given)
        dy = random.normal(size=tuple(y.shape)).astype(np.float32)
        y.backward(torch.tensor(dy))
        want, bound = gradient_of(formula, x, dy)
        error = abs(given.grad.numpy().astype(np.float64) - want)
        assert (error <= bound).all(), (seed, error, bound)
        # At 0 rounding may decide which step a remainder is on.
        assert (bound <= 1e-3 * (1 + abs(want))).all() or (name == "remainder" and (x == 0).any())


def test_a_product_that_some_order_takes_out_of_range_may_be_anything():
    forward, _ = operator_of(lambda x: np.prod(x, 1)).formulas
    x = np.array([[1e30, 1e30, 1e-30, 1e-30], [1e-30, 1e-30, 1e30, 1.0], [2.0, 0.0, 3.0, 1.0]])
    bound = truth(forward, {"x": x}).bound("float32", "float32")
    assert np.isinf(bound[0])
    assert 1e-30 < bound[1] < 1e-6  # 1e-60 is 0 in float32: 1e-30 may be lost
    assert bound[2] == 0


def test_slopes_beside_a_0_may_be_anything_where_the_others_overflow():
    _, gradient = operator_of(lambda x: np.prod(x, 1)).formulas
    x = np.array([[1e30, 1e30, 0.0, 1e-30], [1e15, 1e15, 0.0, 1.0], [1e-30, 1e-30, 0.0, 1.0]])
    at = {"x": x, "grad_output": np.array([1.0, 1e10, 1.0])}
    bound = truth(gradient, at).bound("float32", "float32")
    assert np.isinf(bound[:2]).all()  # (1e30 * 1e30) * 0 is NaN, (1e10 * 1e15) * 1e15 infinity
    assert bound[2, 2] < 1e-6  # and not where numbers only get lost


def test_a_product_of_none_is_one():
    forward, _ = operator_of(lambda x: np.prod(x[:, :0], 1)).formulas
    assert truth(forward, {"x": np.ones((3, 2))}).as_float(F32).tolist() == [1, 1, 1]


def test_steps_are_exact_but_where_rounding_decides():
    forward, gradient = operator_of(lambda x: np.floor(x) + 0 * x).formulas
    x = np.array([[2.0, 1.999, -0.5]])
    found = truth(forward, {"x": x})
    assert found.as_float(F32).tolist() == [[2, 1, -1]]
    assert not found.bound("float32", "float32").any()
    forward, _ = operator_of(lambda x: np.floor(x * 0.3 * 10)).formulas
    assert truth(forward, {"x": np.array([[2.0, 2.1]])}).bound("float32", "float32").tolist() == [
        [1, 0]
    ]
    zero = truth(gradient, {"x": x, "grad_output": np.ones((1, 3))})
    assert not zero.as_float(F32).any()


def test_a_base_must_be_positive():
    with pytest.raises(TypeError, match=r"must be positive, got -2"):
        truth(operator_of(lambda x: (-2) ** x).formulas[0], {"x": np.ones((1, 2))})


def test_methods_that_are_not_known_are_refused():
    with pytest.raises(TypeError, match=r"numpy.add.reduceat .* one of reduce, accumulate, outer"):
        truth(operator_of(lambda x: np.add.reduceat(x, [0])).formulas[0], {"x": np.ones((1, 2))})


def quantised(x):
    """Return x [N, C] rounded to quarters between -7/4 and 7/4; the slope is 1.

        y = clip(round(4 x), -7, 7) / 4

    (a straight-through estimator: Bengio, Leonard and Courville 2013, arXiv 1308.3432).
    """
    return straight_through(np.clip(np.round(x * 4), -7, 7) / 4, x)


def right(x):
    return np.clip(np.rint(x * 4), -7, 7) / 4


def half_away(x):
    return np.clip(np.copysign(np.floor(abs(x * 4) + 0.5), x), -7, 7) / 4


def passed_on(grad_output, x):
    return grad_output.copy()


def of_the_step(grad_output, x):
    return grad_output * 0


@pytest.mark.parametrize(
    ("forward", "gradient", "wrong"),
    [
        (right, passed_on, set()),
        (half_away, passed_on, {"quantised"}),
        (right, of_the_step, {"quantised_grad"}),
    ],
)
def test_a_straight_through_estimator(forward, gradient, wrong):
    gradoracle.operator("x: n c")(quantised)
    backend = SimpleNamespace(quantised=forward, quantised_grad=gradient)
    found = gradoracle.check(backend, operators=["quantised"], profile="quick", seed=1)
    assert {one.function for one in found.mismatches} == wrong
    checked = {one.formula for one in found.outcomes if one.judged}
    assert checked == {"quantised", "quantised_grad"}


# -- right kernels in other ways than the formula --------------------------------------------------


def by_autograd(function):
    def forward(x):
        return function(torch.from_numpy(x.copy())).numpy()

    def back(dy, x):
        given = torch.tensor(x.copy(), requires_grad=True)
        function(given).backward(torch.from_numpy(dy.copy()))
        return given.grad.numpy()

    return {"made": forward, "made_grad": back}


OTHER_WAYS = {
    "quotients": (lambda x: x.prod(1), {}, {
        "made": lambda x: x.prod(1),
        "made_grad": lambda dy, x: (
            (dy * x.prod(1))[:, None] / x if (x != 0).all()
            else by_autograd(lambda v: v.prod(1))["made_grad"](dy, x)
        ),
    }),
    "torch.prod": (lambda x: x.prod(1), {}, by_autograd(lambda x: x.prod(1))),
    "torch.logsumexp": (
        lambda x: np.logaddexp.reduce(x, 1), {}, by_autograd(lambda x: x.logsumexp(1)),
    ),
    "torch.amax": (lambda x: x.max(1), {"ties": "split"}, by_autograd(lambda x: x.amax(1))),
    "masked after the product": (lambda x: np.where(x > 0, x * x, 0), {}, {
        "made": lambda x: np.where(x > 0, x * x, 0),
        "made_grad": lambda dy, x: np.where(x > 0, 2 * dy * x, 0),
    }),
    "multiplied by the mask": (lambda x: np.where(x > 0, x * x, 0), {}, {
        "made": lambda x: np.where(x > 0, x * x, 0),
        "made_grad": lambda dy, x: 2 * dy * x * (x > 0),
    }),
}  # fmt: skip


@pytest.mark.parametrize("way", OTHER_WAYS)
def test_other_ways_are_right(way):
    formula, options, functions = OTHER_WAYS[way]
    mine = operator_of(formula, **options)
    backend = SimpleNamespace(**functions, contract={"dtypes": ["float32"]})
    for seed in (1, 2):
        with np.errstate(all="ignore"):
            found = gradoracle.check(backend, operators=[mine], profile="quick", seed=seed)
        assert not found.mismatches, found.mismatches[0].text
        assert {one.formula for one in found.outcomes if one.judged} == {"made", "made_grad"}


def test_a_running_maximum_may_sum_what_goes_back_in_any_order():
    dy = np.random.default_rng(1).normal(size=(1, 400)).astype(np.float32)
    x = np.zeros((1, 400), np.float32)
    want, bound = gradient_of(lambda x: np.maximum.accumulate(x, 1), x, dy)
    total = np.float32(0)
    for one in dy[0]:
        total += one
    assert abs(float(total) - want[0, 0]) <= bound[0, 0]
    assert bound[0, 0] >= 200 * 2.0**-24 * abs(dy).sum()
    assert not want[0, 1:].any()


def test_running_products_of_long_rows_take_no_longer_than_their_sums():
    """What goes back is computed once for all numbers of a row, not for each."""
    _, gradient = operator_of(lambda x: np.cumprod(x, 1)).formulas
    x = np.random.default_rng(1).uniform(0.9, 1.1, (1, 300))
    found = truth(gradient, {"x": x, "grad_output": np.ones((1, 300))})
    exact = np.array([
        sum(np.prod(np.delete(x[0, : k + 1], j)) for k in range(j, 300)) for j in (0, 150, 299)
    ])  # fmt: skip
    assert found.as_float(np.dtype(float))[0, [0, 150, 299]] == pytest.approx(exact, rel=1e-12)
    assert (found.bound("float32", "float32") < 0.02).all()
