"""Ways in which libraries write activations are right, and coarser ones are not."""

from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

import gradoracle
from gradoracle import oracle
from gradoracle.oracle.declaration import parts_of
from gradoracle.oracle.expected.truth import truth


def certified(function, dtype):
    def hardsigmoid(z):
        return np.clip(function(z), 0, 1).astype(z.dtype)

    backend = SimpleNamespace(hardsigmoid=hardsigmoid, contract={"dtypes": [dtype]})
    return gradoracle.check(backend, operators=["hardsigmoid"], examples=100, seed=1)


def by_sum(z):
    return (z + z.dtype.type(3)) / z.dtype.type(6)


def by_share(z):
    return z / z.dtype.type(6) + z.dtype.type(0.5)


def by_powers_of_two(x):
    """Return e^x as Triton computes it."""
    return np.exp2(x * x.dtype.type(1.4426950408889634))


@pytest.mark.parametrize("seed", range(1, 5))
def test_powers_of_e_may_be_powers_of_two(seed):
    def sigmoid(z):
        with np.errstate(over="ignore"):
            return 1 / (1 + by_powers_of_two(-z))

    backend = SimpleNamespace(
        sigmoid=sigmoid, silu=lambda z: z * sigmoid(z), contract={"dtypes": ["float32"]},
        elu=lambda z, *, alpha: np.where(z > 0, z, z.dtype.type(alpha) * (by_powers_of_two(z) - 1)),
    )  # fmt: skip
    found = gradoracle.check(backend, examples=100, seed=seed, operators=["sigmoid", "silu", "elu"])
    assert not found.mismatches, found.mismatches[0].text


def logistic(z):
    return 1 / (1 + by_powers_of_two(-z))


def gated(z):
    return z[:, :1] * logistic(z[:, 1:])


def gated_grad(grad_output, z):
    s = logistic(z[:, 1:])
    return np.concatenate([grad_output * s, grad_output * z[:, :1] * s * (1 - s)], 1)


def mish_grad(grad_output, z):
    t = np.tanh(np.maximum(z, 0) + np.log1p(by_powers_of_two(-abs(z))))
    return grad_output * (t + z * logistic(z) * (1 - t * t))


def silu_grad(grad_output, z):
    s = logistic(z)
    return grad_output * (s * (1 + z * (1 - s)))


def binary_loss(target, **call):
    x = call["input"]
    log_s = np.minimum(x, 0) - np.log1p(by_powers_of_two(-abs(x)))
    return (1 - target) * x - log_s.astype(x.dtype)


def divergence(target, **call):
    return by_powers_of_two(target) * (target - call["input"])


def divergence_grad(grad_output, target, **_):
    return -by_powers_of_two(target) * grad_output


def erf_of_7_1_26(x):
    """Return erf by Abramowitz and Stegun's formula, whose error is at most 1.5e-7."""
    of = x.dtype.type
    t, found = 1 / (1 + of(0.3275911) * abs(x)), of(0)
    for a in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592):
        found = (found + of(a)) * t
    return np.sign(x) * (1 - found * np.exp(-x * x))


NEGATIVE, AROUND = (-85, 0), (-4, 4)
# A formula, how it is computed, and the range of its argument z, with all else 1.
WAYS = {
    "silu_grad": (silu_grad, NEGATIVE),
    "softplus_grad": (lambda grad_output, z, **_: grad_output * logistic(z), NEGATIVE),
    "logsigmoid_grad": (
        lambda grad_output, z: grad_output / (1 + by_powers_of_two(z)), (0, 85),
    ),
    "mish_grad": (mish_grad, NEGATIVE),
    "glu": (gated, NEGATIVE),
    "glu_grad": (gated_grad, NEGATIVE),
    "binary_cross_entropy_with_logits": (binary_loss, (0, 85)),
    "kl_div": (divergence, NEGATIVE),
    "kl_div_grad": (divergence_grad, NEGATIVE),
    "hardswish": (
        lambda z: z * np.clip(z * z.dtype.type(1 / 6) + z.dtype.type(0.5), 0, 1), AROUND,
    ),
}  # fmt: skip
OPTIONS = {
    "softplus_grad": {"beta": 1.0, "threshold": 20.0},
    "kl_div": {"reduction": "none", "log_target": True},
    "kl_div_grad": {"reduction": "none", "log_target": True},
    "binary_cross_entropy_with_logits": {"pos_weight": None, "reduction": "none"},
}


def call_of(name, z):
    """Return a call with a row of numbers."""
    one = np.ones_like(z)
    columns = {"z": np.stack([one[0], z[0]], 1) if name.startswith("glu") else z}
    if name.startswith("kl_div"):
        columns = {"input": -one, "target": z}
    if name.startswith("binary"):
        columns = {"input": z, "target": one}
    dy = {"grad_output": one.T if name == "glu_grad" else one}
    return {**(dy if name.endswith("_grad") else {}), **columns, **OPTIONS.get(name, {})}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", WAYS)
def test_a_way_of_kernels_is_within_the_bound(name, dtype):
    function, (least, most) = WAYS[name]
    z = np.random.default_rng(3).uniform(least, most, (1, 3000)).astype(dtype)
    call = call_of(name, z)
    found = truth(getattr(oracle, name), call).error_over_bound(function(**call), dtype)
    assert 0.01 < found.max() <= 1


@pytest.mark.parametrize("name", WAYS)
def test_a_way_with_fewer_digits_is_not(name):
    function, (least, most) = WAYS[name]
    z = np.random.default_rng(3).uniform(least, most, (1, 3000)).astype(np.float32)
    call = call_of(name, z)
    coarse = {
        n: v.astype(np.float16).astype(np.float32) if isinstance(v, np.ndarray) else v
        for n, v in call.items()
    }  # fmt: skip
    found = truth(getattr(oracle, name), call).error_over_bound(function(**coarse), "float32")
    assert (found > 1).mean() > 0.3


def test_gelu_may_have_the_erf_of_vector_units():
    z = np.random.default_rng(3).uniform(-1, 1, (1, 3000)).astype(np.float32)
    y = np.float32(0.5) * z * (1 + erf_of_7_1_26(z * np.float32(0.70710678)))
    found = truth(oracle.gelu, {"z": z, "approximate": "none"})
    assert 0.5 < found.error_over_bound(y, "float32").max() <= 1
    y = np.float32(0.5) * z * (1 + erf_of_7_1_26(z * np.float32(0.7071)))
    assert found.error_over_bound(y, "float32").max() > 1


def test_a_rounded_sixth_may_leave_a_little_at_minus_3():
    z = np.array([-3.0])
    left = np.array([float(Fraction(-3) * Fraction(1 / 6) + Fraction(1, 2))])  # as an fma has it
    assert 0 < left[0] < 1e-16
    assert truth(oracle.hardsigmoid, {"z": z}).error_over_bound(left, "float64").max() <= 1
    assert truth(oracle.hardsigmoid, {"z": z}).error_over_bound(8 * left, "float64").max() > 1
    assert truth(oracle.hardswish, {"z": z}).error_over_bound(-3 * left, "float64").max() <= 1
    for slope in (oracle.hardsigmoid_grad, oracle.hardswish_grad):
        assert slope(np.ones(1), z).item() == 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nesterovs_step_may_be_two(dtype):
    random = np.random.default_rng(0)
    of = np.dtype(dtype).type
    p, g, b = (random.normal(size=3000).astype(dtype) for _ in range(3))
    rate, momentum = of(0.001), of(0.9)
    options = {"dampening": 0.0, "weight_decay": 0.0, "nesterov": True}
    call = {"parameter": p, "gradient": g, "momentum_buffer": b, **options}
    call |= {"learning_rate": float(rate), "momentum": float(momentum)}
    after = momentum * b + g
    found = truth(parts_of(oracle.sgd_momentum_step)[0], call)
    got = (p - rate * g) - rate * momentum * after
    assert 0.5 < found.error_over_bound(got, dtype).max() <= 1
    assert found.error_over_bound(p - rate * after, dtype).max() > 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("function", [by_sum, by_share])
def test_either_way_is_certified(function, dtype):
    certificate = certified(function, dtype)
    assert not certificate.mismatches, certificate.mismatches[0].text


@pytest.mark.parametrize(
    ("function", "dtype"),
    [
        (lambda z: z * np.float32(0.2) + np.float32(0.5), "float32"),  # Theano's slope
        (lambda z: z * np.float64(np.float32(1 / 6)) + 0.5, "float64"),
    ],
)
def test_another_slope_is_a_mismatch(function, dtype):
    assert certified(function, dtype).mismatches
