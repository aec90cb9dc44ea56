"""Answers in another convention are told in one line, and as one mismatch."""

from types import SimpleNamespace

import numpy as np
import pytest

import gradoracle
from gradoracle.conformance.checking.recognised import parameters
from gradoracle.implementations import im2col as good
from gradoracle.oracle import conv2d, relu_grad
from tests.claimed_ways import one_pass, unshifted_log_softmax

pytestmark = pytest.mark.slow

NARROW = {"dtypes": ["float32"]}


def last(array):
    return np.ascontiguousarray(np.moveaxis(array, 1, -1))


def first(array):
    return np.moveaxis(array, -1, 1)


def channels_last_conv2d(x, weight, bias=None, **options):
    return last(good.conv2d(first(x), first(weight), bias, **options))


def one_image(x, **options):
    c, h, w = x.shape
    return good.avg_pool2d(x.reshape(1, c, h, w), **options)[0]


def aligned_to_the_end(query, key, value, mask=None, *, is_causal, **options):
    if is_causal:
        rows, keys = query.shape[2], key.shape[2]
        mask = np.tri(rows, keys, keys - rows, dtype=bool)
        mask = np.broadcast_to(mask, (*query.shape[:3], keys))
    return good.scaled_dot_product_attention(query, key, value, mask, is_causal=False, **options)


# The operator, the function, what is returned, and what the one line says.
SEEN = {
    "parameters": (
        "conv2d", lambda a, b, c, s, pad: 0,
        "conv2d: takes (x, weight, bias=None, *, stride, padding, dilation, groups); yours is "
        "(a, b, c, s, pad): give s, pad a default, for nothing is passed there",
    ),
    "an option fewer": (
        "conv2d_grad_input", lambda dy, w: 0,
        "conv2d_grad_input: takes (grad_output, weight, *, input_shape, stride, padding, dilation, "
        "groups); yours is (dy, w): add input_shape by name",
    ),
    "an argument fewer": (
        "relu_grad", lambda z: z, "relu_grad: takes (grad_output, z); yours is (z): add z",
    ),
    "an argument more": (
        "relu", lambda z, scale: z * scale,
        "relu: takes (z); yours is (z, scale): give scale a default, for nothing is passed there",
    ),
    "result of channels last": (
        "avg_pool2d", lambda x, **o: last(good.avg_pool2d(x, **o)),
        "avg_pool2d: the values agree with channels last (NHWC): return y.transpose(0, 3, 1, 2)",
    ),
    "channels last": (
        "avg_pool2d", lambda x, **o: last(good.avg_pool2d(first(x), **o)),
        "avg_pool2d: the values agree with channels last (NHWC): the protocol's arrays are",
    ),
    "channels last with weights": (
        "conv2d", channels_last_conv2d,
        "conv2d: the values agree with channels last (NHWC and weights [M, ..., C]): ",
    ),
    "float64": (
        "relu", lambda z: good.relu(z.astype(float)),
        "relu: the values are right; the dtype is float64 where float32 was given: return "
        "y.astype(z.dtype)",
    ),
    "no axis of images in the result": (
        "avg_pool2d", lambda x, **o: good.avg_pool2d(x, **o)[0 if len(x) == 1 else slice(None)],
        "avg_pool2d: the values are right, the axis of images is missing: return y[np.newaxis]",
    ),
    "one image only": (
        "avg_pool2d", one_image, "avg_pool2d: takes one image [C, ...] without the axis of images",
    ),
    "a list": (
        "relu", lambda z: good.relu(z).tolist(),
        "relu: returned a list ([0.0]), want a NumPy array: return np.asarray(y, z.dtype)",
    ),
    "a tuple": (
        "relu", lambda z: (good.relu(z), z),
        "relu: returned a tuple of 2 (float32[1], float32[1]), want a NumPy array: return one",
    ),
    "the slope of relu at 0": (
        "relu_grad", lambda dy, z: np.where(z < 0, z.dtype.type(0), dy),
        'relu_grad: the values are right under the policy "relu_at_zero": 1; if that is ',
    ),
    "causal masks that end at the last key": (
        "scaled_dot_product_attention", aligned_to_the_end,
        'scaled_dot_product_attention: the values are right under the policy "causal": ',
    ),
    "a variance in one pass": (
        "layer_norm", one_pass,
        'layer_norm: the values are right under the policy "variance": "one-pass"; if that is',
    ),
    "a log-softmax of a rounded sum": (
        "log_softmax", unshifted_log_softmax,
        'log_softmax: the values are right under the policy "log_sum_exp": "unshifted"; if that',
    ),
    "an approximation": (
        "gelu", lambda z: good.gelu(z, approximate="tanh"),
        'gelu: the values are right for approximate = tanh: --domain "gelu: approximate = tanh" '
        "declares that",
    ),
    "another eps": (
        "layer_norm", lambda x, weight, bias: good.layer_norm(x, weight, bias, eps=1e-6),
        "layer_norm: the values are right for eps = 1e-06: --domain",
    ),
    "nothing": ("relu", lambda z: None, "relu: returned a NoneType (None), want a NumPy array: is"),
}  # fmt: skip


def check(function, made):
    backend = SimpleNamespace(**{function: made}, contract=NARROW)
    operator = function.partition("_grad")[0]
    return gradoracle.check(backend, operators=[operator], seed=1, examples=6)


@pytest.mark.parametrize("name", SEEN)
def test_another_convention_is_one_mismatch_and_one_line(name):
    function, made, line = SEEN[name]
    certificate = check(function, made)
    (found,) = certificate.mismatches
    assert found.headline.startswith(line), found.headline
    assert f"\n  {line[:60]}" in found.text
    assert "\n  on this call" in found.text


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x, **o: last(good.avg_pool2d(x, **o)) + 1,
        lambda x, **o: good.avg_pool2d(x, **o).astype(float) * 2,
        lambda x, **o: good.avg_pool2d(x, **o)[:, ::-1],
        lambda x, **o: good.avg_pool2d(x, **o).astype(np.float16),
    ],
)
def test_what_is_wrong_by_any_convention_is_not_explained(wrong):
    found = check("avg_pool2d", wrong).mismatches[0]
    assert "agree" not in found.headline
    assert "values are right" not in found.headline
    assert "\n  on this call" not in found.text


@pytest.mark.parametrize("wrong", [1, 3])
def test_a_variance_over_another_number_is_not_one_in_one_pass(wrong):
    def unbiased(x, weight=None, bias=None, *, eps):
        share = np.sqrt(x.dtype.type(x.shape[2]) / x.dtype.type(x.shape[2] + wrong))
        plain = one_pass(x, eps=eps) * share
        plain = plain if weight is None else plain * weight
        return plain if bias is None else plain + bias

    found = check("layer_norm", unbiased).mismatches[0]
    assert "values are right" not in found.headline


@pytest.mark.parametrize("wrong", [1.5, -1])
def test_what_is_wrong_by_any_policy_is_not_explained(wrong):
    found = check("relu_grad", lambda dy, z: np.where(z == 0, dy * wrong, good.relu_grad(dy, z)))
    assert "policy" not in found.mismatches[0].headline


def test_a_process_of_its_own_tells_the_parameters():
    certificate = gradoracle.check("tests.test_recognised:other", operators=["relu"], examples=2)
    assert certificate.mismatches[0].headline.startswith(SEEN["an argument more"][2])


other = SimpleNamespace(relu=SEEN["an argument more"][1], contract=NARROW)


def test_the_protocols_parameters_are_those_of_its_formulas():
    assert parameters(relu_grad) == "grad_output, z"
    assert parameters(conv2d) == "x, weight, bias=None, *, stride, padding, dilation, groups"
