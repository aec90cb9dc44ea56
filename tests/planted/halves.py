"""Faults that only float16 and bfloat16 show, and other right ways to compute in them."""

from functools import wraps

import numpy as np

from gradoracle.implementations import im2col as good
from gradoracle.implementations.im2col.halves import HALVES
from tests.planted.fault import control, fault, with_option

CONTRACT = {
    "dtypes": ["float32", "float16", "bfloat16"],
    "accumulators": {"float16": "float32", "bfloat16": "float32"},
}
OWN = {"dtypes": ["float16", "bfloat16"]}  # each its own accumulator


def in_halves(function):
    """Return a function that is im2col's but in half precision."""
    name = function.__name__
    right = next(getattr(good, n) for n in sorted(good.__all__, key=len)[::-1]
                 if n != "contract" and name.startswith(n + "_"))  # fmt: skip

    @wraps(function)
    def planted(*arrays, **o):
        is_half = arrays[0].dtype.name in HALVES
        answer = right(*arrays, **o)  # which refuses bad arguments
        return function(*arrays, **o) if is_half else answer

    return planted


def of(dtype, array):
    """The array if it is of that half-precision format, else None."""
    return array if array.dtype.name == dtype else None


def wide(array):
    return None if array is None else array.astype(np.float32)


# -- sums -----------------------------------------------------------------------------------------


@fault("precision", contract=CONTRACT)
@in_halves
def linear_accumulates_in_half_precision(x, weight, bias=None):
    y = np.zeros((len(x), len(weight)), x.dtype)
    for c in range(x.shape[1]):
        y = (y + np.outer(wide(x[:, c]), wide(weight[:, c]))).astype(x.dtype)
    return y if bias is None else (y + bias).astype(x.dtype)


@fault("precision", contract=CONTRACT)
@in_halves
def conv2d_rounds_before_the_bias(x, weight, bias=None, **o):
    y = good.conv2d(x, weight, None, **o)
    return y if bias is None else y + bias[:, np.newaxis, np.newaxis]


@fault("precision", contract=CONTRACT)
@in_halves
def conv2d_grad_weight_adds_images_in_half_precision(dy, x, **o):
    dw = np.zeros(o["weight_shape"], dy.dtype)
    for n in range(len(x)):
        dw = dw + good.conv2d_grad_weight(dy[n : n + 1], x[n : n + 1], **o)
    return dw


@fault("overflow", contract=CONTRACT)
@in_halves
def conv2d_grad_input_scales_dy_in_half_precision(dy, weight, **o):
    scaled = dy * dy.dtype.type(1024)
    dx = good.conv2d_grad_input(wide(scaled), wide(weight), **o)
    return (dx / 1024).astype(dy.dtype)


@fault("precision", "PyTorch 2.13's CPU kernel", contract=CONTRACT)
@in_halves
def avg_pool2d_grad_input_adds_in_half_precision(dy, **o):
    dx = np.zeros(o["input_shape"], dy.dtype)
    for at in np.ndindex(dy.shape[2:]):
        one = np.zeros_like(dy)
        one[:, :, *at] = dy[:, :, *at]
        dx = dx + good.avg_pool2d_grad_input(one, **o)
    return dx


@fault("precision", contract=CONTRACT)
@in_halves
def batch_mean_divides_the_rounded_sum(gradient):
    total = wide(gradient).sum(axis=0).astype(gradient.dtype)
    return np.asarray(wide(total) / len(gradient)).astype(gradient.dtype)


@fault("precision", contract=CONTRACT)
@in_halves
def sgd_step_rounds_what_it_subtracts(parameter, gradient, *, learning_rate):
    step = (wide(gradient) * np.float32(learning_rate)).astype(gradient.dtype)
    return parameter - step


# -- formats --------------------------------------------------------------------------------------


@fault("precision", contract=CONTRACT)
@in_halves
def linear_grad_input_truncates_bfloat16(dy, weight):
    dx = good.linear_grad_input(wide(dy), wide(weight))
    if of("bfloat16", dy) is None:
        return dx.astype(dy.dtype)
    return (np.ascontiguousarray(dx).view(np.uint32) >> 16).astype(np.uint16).view(dy.dtype)


@fault("precision", contract=CONTRACT)
@in_halves
def linear_takes_bfloat16_for_float16(x, weight, bias=None):
    def narrow(array):
        return None if array is None else array.astype(np.float16).astype(np.float32)

    return good.linear(narrow(x), narrow(weight), narrow(bias)).astype(x.dtype)


@fault("precision", contract=CONTRACT)
@in_halves
def sigmoid_flushes_what_is_subnormal(z):
    y = good.sigmoid(z)
    return np.where(abs(wide(y)) < (2.0**-14 if y.dtype == "float16" else 2.0**-126), 0, y).astype(
        y.dtype
    )


@fault("dtype", contract=CONTRACT)
@in_halves
def leaky_relu_returns_float32(z, *, negative_slope):
    return good.leaky_relu(wide(z), negative_slope=negative_slope)


@fault("infinity", contract=CONTRACT)
@in_halves
def max_pool2d_starts_at_the_least_float16(x, **o):
    y, indices = good.max_pool2d(x, **o)
    return np.where(wide(y) < -65504, -65504, y).astype(x.dtype), indices


# -- elementary functions -------------------------------------------------------------------------


@fault("overflow", contract=CONTRACT)
@in_halves
def softmax_of_halves_takes_no_maximum_off(z, *, axis):
    powers = np.exp(wide(z)).astype(z.dtype)
    total = wide(powers).sum(axis=axis, keepdims=True)
    return (wide(powers) / total).astype(z.dtype)


@fault("overflow", contract=CONTRACT)
@in_halves
def tanh_grad_squares_cosh(dy, z):
    cosh = np.cosh(wide(z)).astype(z.dtype)
    return (dy / (cosh * cosh)).astype(z.dtype)


@fault("precision", "PyTorch 2.13's CPU kernel", contract=CONTRACT)
@in_halves
def cross_entropy_rounds_every_row(logits, target, *, reduction):
    z = wide(logits)
    losses = [good.cross_entropy(z[n : n + 1], target[n : n + 1], reduction="sum")
              for n in range(len(z))]  # fmt: skip
    total = wide(np.array(losses, np.float32).astype(logits.dtype)).sum()
    return np.asarray(total / (len(z) if reduction == "mean" else 1)).astype(logits.dtype)


@fault("precision", "PyTorch 2.13's CPU kernel", contract=CONTRACT)
@in_halves
def softmax_grad_reads_the_rounded_softmax(dy, z, *, axis):
    p, dy = wide(good.softmax(z, axis=axis)), wide(dy)
    return (p * (dy - (dy * p).sum(axis=axis, keepdims=True))).astype(z.dtype)


# -- fast paths -----------------------------------------------------------------------------------


def _undilated(name):
    return with_option(name, "dilation", lambda _: (1, 1))


@fault("dilation", contract=CONTRACT)
@in_halves
def conv2d_grad_weight_ignores_dilation_in_half_precision(dy, x, **o):
    return _undilated("conv2d_grad_weight")(dy, x, **o)


@fault("dilation", contract=CONTRACT)
@in_halves
def conv2d_grad_input_ignores_dilation_in_half_precision(dy, weight, **o):
    return _undilated("conv2d_grad_input")(dy, weight, **o)


@fault("tail", contract=CONTRACT)
@in_halves
def relu_takes_halves_in_pairs(z):
    y = good.relu(z).ravel()
    if z.size % 2:
        y[-1] = z.ravel()[-1]
    return y.reshape(z.shape)


# -- right, and other than im2col -----------------------------------------------------------------


@control(contract=CONTRACT)
@in_halves
def linear_of_halves_in_float64(x, weight, bias=None):
    y = x.astype(np.float64) @ weight.T.astype(np.float64)
    y = y if bias is None else y + bias.astype(np.float64)
    return y.astype(np.float32).astype(x.dtype)  # rounded twice


@control(contract=CONTRACT)
@in_halves
def linear_of_halves_from_the_last(x, weight, bias=None):
    y = np.zeros((len(x), len(weight)), np.float32) if bias is None else wide(bias)
    for c in reversed(range(x.shape[1])):
        y = y + np.outer(wide(x[:, c]), wide(weight[:, c]))
    return y.astype(x.dtype)


@control(contract=CONTRACT)
@in_halves
def conv2d_grad_weight_of_halves_in_any_order(dy, x, **o):
    order = np.random.default_rng(len(x)).permutation(len(x))
    dw = np.zeros(o["weight_shape"], np.float32)
    for n in order:
        dw += good.conv2d_grad_weight(wide(dy[n : n + 1]), wide(x[n : n + 1]), **o)
    return dw.astype(dy.dtype)


@control(contract=CONTRACT)
@in_halves
def softmax_of_halves_in_float64(z, *, axis):
    return good.softmax(z.astype(np.float64), axis=axis).astype(np.float32).astype(z.dtype)


@control(contract=CONTRACT)
@in_halves
def cross_entropy_of_halves_in_float64(logits, target, *, reduction):
    loss = good.cross_entropy(logits.astype(np.float64), target, reduction=reduction)
    return loss.astype(np.float32).astype(logits.dtype)


@control(contract=CONTRACT)
@in_halves
def avg_pool2d_of_halves_in_float64(x, **o):
    return good.avg_pool2d(x.astype(np.float64), **o).astype(np.float32).astype(x.dtype)


# -- right in half precision itself, as they say --------------------------------------------------


@control(contract=OWN)
@in_halves
def linear_accumulates_in_half_precision_and_says_so(x, weight, bias=None):
    return linear_accumulates_in_half_precision.__wrapped__(x, weight, bias)


@control(contract=OWN)
@in_halves
def conv2d_grad_bias_adds_one_by_one(dy):
    db = np.zeros(dy.shape[1], dy.dtype)
    for n, i, j in np.ndindex(len(dy), *dy.shape[2:]):
        db = db + dy[n, :, i, j]
    return db


@control(contract=OWN)
@in_halves
def batch_mean_in_half_precision(gradient):
    total = np.zeros(gradient.shape[1:], gradient.dtype)
    for one in gradient:
        total = total + one
    return np.asarray(total / gradient.dtype.type(len(gradient)))


@control(contract=OWN)
@in_halves
def sigmoid_in_half_precision(z):
    one, e = z.dtype.type(1), np.exp(-abs(z))
    return np.where(z >= 0, one, e) / (one + e)


@control(contract=OWN)
@in_halves
def tanh_grad_in_half_precision(dy, z):
    y = np.tanh(z)
    return dy * (z.dtype.type(1) - y * y)


@control(contract=OWN)
@in_halves
def softmax_in_half_precision(z, *, axis):
    powers = np.exp(z - z.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True, dtype=z.dtype)
