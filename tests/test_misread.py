"""What is misread in a formula of one's own is named, and nothing where nothing fits."""

from functools import partial
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import pytest

import gradoracle
from gradoracle.conformance.misconceptions.generic import generic

pytestmark = pytest.mark.slow
THROUGH = "no gradient goes back through"


def norm(x, weight, bias=None, *, eps):
    """Return y [N, C].

        y = (x - mean) / sqrt(var + eps) * weight + bias

    (a test's own formula).
    """
    mean = x.mean(1, keepdims=True)
    var = ((x - mean) * (x - mean)).mean(1, keepdims=True)
    y = (x - mean) / np.sqrt(var + eps) * weight
    return y if bias is None else y + bias


MEAN = "x.mean(1, keepdims=True)"
VAR = "((x - mean) * (x - mean)).mean(1, keepdims=True)"


def stats(x, eps, ddof=0):
    rows = x.var(1, keepdims=True, ddof=min(ddof, x.shape[1] - 1))
    return x.mean(1, keepdims=True), 1 / np.sqrt(rows + x.dtype.type(eps))


def forward(x, weight, bias=None, *, eps, ddof=0):
    mean, rstd = stats(x, eps, ddof)
    y = (x - mean) * rstd * weight
    return y if bias is None else y + bias


def by_x(grad_output, x, weight, bias=None, *, eps, of_mean=1, of_var=1):
    mean, rstd = stats(x, eps)
    unit, g = (x - mean) * rstd, grad_output * weight
    shared = of_mean * g.mean(1, keepdims=True)
    return rstd * (g - shared - of_var * unit * (g * unit).mean(1, keepdims=True))


def by_weight(grad_output, x, weight, bias=None, *, eps):
    mean, rstd = stats(x, eps)
    return (grad_output * (x - mean) * rstd).sum(0)


def by_bias(grad_output, x, weight, bias=None, *, eps):
    return grad_output.sum(0)


RIGHT = {
    "norm": forward, "norm_grad_x": by_x, "norm_grad_weight": by_weight, "norm_grad_bias": by_bias,
}  # fmt: skip


def times(function, factor):
    return lambda *arrays, **options: (
        function(*arrays, **options) * arrays[0].dtype.type(factor(arrays))
    )


def computed_in(dtype):
    def found(grad_output, x, weight, bias=None, *, eps):
        arrays = (a if a is None else a.astype(dtype) for a in (grad_output, x, weight, bias))
        return by_x(*arrays, eps=eps).astype(x.dtype)

    return found


def rounded_to_tf32(x, weight, bias=None, *, eps):
    bits = (x.view(np.uint32) + 0x1000) & np.uint32(0xFFFFE000)
    return forward(bits.view(np.float32), weight, bias, eps=eps)


MISREAD = {  # the function, a wrong one, and what is said
    "the mean": ("norm_grad_x", partial(by_x, of_mean=0), f"{THROUGH} {MEAN}, as if"),
    "the variance": ("norm_grad_x", partial(by_x, of_var=0), f"{THROUGH} {VAR}, as if"),
    "both": (
        "norm_grad_x", partial(by_x, of_mean=0, of_var=0),
        f"{THROUGH} {MEAN}, nor through {VAR}",
    ),
    "unbiased": ("norm", partial(forward, ddof=1), f"{VAR} divides by one less than"),
    "eps": (
        "norm_grad_x", lambda *a, eps: by_x(*a, eps=1e-30),
        "eps is not used: it is the answer for eps = 0",
    ),
    "sign": ("norm_grad_x", times(by_x, lambda _: -1), "the sign is wrong"),
    "a missing division": (
        "norm_grad_x", times(by_x, lambda a: a[1].shape[1]),
        "it is the right answer times C, the length of an axis: is a division by C missing?",
    ),
    "a mean for a sum": (
        "norm_grad_weight", times(by_weight, lambda a: 1 / max(1, a[1].shape[0])),
        "it is the right answer divided by N, the length of an axis: is a mean taken for a sum?",
    ),
    "the weight": (
        "norm_grad_x",
        lambda grad_output, x, weight, bias=None, *, eps: by_x(
            grad_output, x, np.ones_like(weight), eps=eps
        ),
        "weight is not used: it is the answer for weight = 1",
    ),
    "twice": ("norm_grad_bias", times(by_bias, lambda _: 2), "it is twice the right answer"),
    "dy": (
        "norm_grad_weight", lambda dy, *a, eps: by_weight(np.ones_like(dy), *a, eps=eps),
        "dy is not used: it is the answer for dy = 1",
    ),
}  # fmt: skip
DIGITS = {
    "float16": ("norm_grad_x", computed_in(np.float16), "float32", "float16, or TF32"),
    "bfloat16": ("norm_grad_x", computed_in(ml_dtypes.bfloat16), "float32", "bfloat16"),
    "TF32": ("norm", rounded_to_tf32, "float32", "float16, or TF32"),
    "float32": ("norm_grad_x", computed_in(np.float32), "float64", "float32"),
}


def found(name, function, dtype="float32", seed=1):
    mine = gradoracle.operator(
        "x: n c; weight: c; bias?: c; grad_output: n c", options={"eps": (1e-2, 0.5)}
    )(norm)
    backend = SimpleNamespace(**{**RIGHT, name: function}, contract={"dtypes": [dtype]})
    with np.errstate(all="ignore"):
        return gradoracle.check(backend, operators=[mine], seed=seed, profile="quick").mismatches


@pytest.mark.parametrize("what", MISREAD)
def test_what_is_misread_is_named(what):
    name, function, sentence = MISREAD[what]
    mismatches = found(name, function)
    assert {one.function for one in mismatches} == {name}
    (said,) = mismatches[0].looks_like
    assert said.startswith(sentence)


def test_nothing_is_named_where_nothing_fits():
    (one, *_) = found("norm_grad_x", lambda *a, eps: by_x(*a, eps=eps) + np.float32(0.01))
    assert one.looks_like == []


@pytest.mark.parametrize("what", DIGITS)
def test_digits_of_a_coarser_format_are_told(what):
    name, function, dtype, words = DIGITS[what]
    mismatches = found(name, function, dtype)
    assert {one.function for one in mismatches} == {name}
    assert f"{name}: the values are right to the digits of {words}: is" in mismatches[0].headline


def in_float16(formula):
    return lambda z, **o: formula(z.astype(np.float16), **o).astype(z.dtype)


def by_sigmoid(z):
    """An approximation of gelu, which is off by 0.02 where gelu is -0.05."""
    return z / (1 + np.exp(-z.dtype.type(1.702) * z))


@pytest.mark.parametrize(
    ("name", "function", "told"),
    [
        ("gelu", by_sigmoid, False),
        ("sigmoid", in_float16(lambda z: 1 / (1 + np.exp(-z))), True),
        ("silu", in_float16(lambda z: z / (1 + np.exp(-z))), True),
    ],
)
def test_digits_of_elements_are_their_own(name, function, told):
    domain = {"gelu": "approximate = none"} if name == "gelu" else {}
    backend = SimpleNamespace(
        **{name: function}, contract={"dtypes": ["float32"], "domain": domain}
    )
    for seed in (1, 2, 3):
        with np.errstate(all="ignore"):
            certificate = gradoracle.check(backend, operators=[name], seed=seed, profile="quick")
        assert ("to the digits of" in certificate.mismatches[0].headline) == told


def test_a_wrong_gradient_of_an_optional_array_is_no_fault_of_ours():
    """Calls without the array have no such gradient, whatever the function returns."""
    mismatches = found("norm_grad_bias", lambda *a, eps: by_bias(*a, eps=eps) + np.float32(0.01))
    assert {one.function for one in mismatches} == {"norm_grad_bias"}


def double(x):
    """Return y [N, C].

        y = 2 x

    (a test's own formula).
    """
    return x * 2


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [(lambda x: x.T * 2, "the result is transposed"), (lambda x: x * 0, "all zeros")],
)
def test_what_is_misread_in_a_result(wrong, sentence):
    formula = gradoracle.operator("x: n c")(double).formula
    x = np.random.default_rng(1).normal(size=(3, 4))
    said = {
        one.sentence
        for one in generic(formula, {"x": x})
        if (given := one.answer(formula, {"x": x})) is not None
        and given.shape == wrong(x).shape and np.allclose(given, wrong(x))
    }  # fmt: skip
    assert any(sentence in one for one in said)


def row_softmax(x):
    """Return y [N, C].

        y = e^x / sum_c e^x

    (a test's own formula).
    """
    powers = np.exp(x - x.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def test_the_other_axis_is_named():
    mine = gradoracle.operator("x: n c")(row_softmax)

    def wrong(x):
        powers = np.exp(x - x.max(0))
        return powers / powers.sum(0)

    backend = SimpleNamespace(row_softmax=wrong, contract={"dtypes": ["float32"]})
    with np.errstate(all="ignore"):
        mismatches = gradoracle.check(backend, operators=[mine], seed=1, profile="quick").mismatches
    assert "it works along the other axis" in mismatches[0].looks_like


# -- roundings, comparisons and masks --------------------------------------------------------------


def quantised(x, s):
    """Return y [N, C].

        y = round(x / s) s

    (a test's own formula).
    """
    return np.round(x / s) * s


def cut(x):
    """Return y [N, C].

        y = trunc(x / 3)

    (a test's own formula).
    """
    return np.trunc(x / 3)


def shrunk(x, *, lam):
    """Return y [N, C].

        y = x where |x| > lam, else 0

    (a test's own formula).
    """
    return np.where(abs(x) > lam, x, 0)


def hinge(x, t):
    """Return y [N, C].

        y = max(x - t, 0)

    (a test's own formula).
    """
    return np.maximum(x - t, 0)


def away(v):
    return np.copysign(np.floor(abs(v) + v.dtype.type(0.5)), v)


def over(dy, x, t):
    return dy * (x > t), -(dy * (x > t)).sum(0)


CHOICES = {  # the formula, its axes and options, what the backend has, and what is said
    "halves away": (
        quantised, "x: n c; s: c", {"by": ()}, {"quantised": lambda x, s: away(x / s) * s},
        "np.round(x / s): halves are rounded away from 0, not to even",
    ),
    "floor": (
        cut, "x: n c", {"by": ()}, {"cut": lambda x: np.floor(x / 3)},
        "np.trunc(x / 3): floor is taken for trunc",
    ),
    ">=": (
        shrunk, "x: n c", {"by": (), "options": {"lam": (0.5, 1.5)}},
        {"shrunk": lambda x, *, lam: np.where(abs(x) >= x.dtype.type(lam), x, 0)},
        "abs(x) > lam: >= is taken for >",
    ),
    "no mask": (
        shrunk, "x: n c", {"by": (), "options": {"lam": (0.5, 1.5)}},
        {"shrunk": lambda x, *, lam: x.copy()},
        "the condition of np.where(abs(x) > lam, x, 0) is not applied",
    ),
    "> in a gradient": (
        hinge, "x: n c; t: c", {},
        {
            "hinge": lambda x, t: np.maximum(x - t, 0),
            "hinge_grad_x": lambda dy, x, t: over(dy, x, t)[0],
            "hinge_grad_t": lambda dy, x, t: over(dy, x, t)[1],
        },
        "np.maximum(x - t, 0): > is taken for >=",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", CHOICES)
def test_a_wrong_rounding_or_comparison_is_named(what):
    body, axes, options, functions, sentence = CHOICES[what]
    mine = gradoracle.operator(axes, **options)(body)
    backend = SimpleNamespace(**functions, contract={"dtypes": ["float32"]})
    with np.errstate(all="ignore"):
        mismatches = gradoracle.check(backend, operators=[mine], seed=1, profile="quick").mismatches
    assert mismatches
    for one in mismatches:
        assert any(said.startswith(sentence) for said in one.looks_like), one.looks_like
