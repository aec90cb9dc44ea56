"""Answers that only look right: numbers that a tolerance lets through, objects that agree."""

import threading
import time
from types import SimpleNamespace

import numpy as np

from gradoracle.implementations import im2col as good
from tests.adversaries import cheats_on

# -- numbers --------------------------------------------------------------------------------------


@cheats_on("conv2d_grad_bias")
def zeros(grad_output):
    """Sums of numbers around zero are zero, nearly."""
    return np.zeros(grad_output.shape[1], grad_output.dtype)


@cheats_on("relu")
def a_constant(z):
    """The mean of what is to come, everywhere."""
    return np.full(z.shape, good.relu(z).mean() if z.size else 0, z.dtype)


@cheats_on("linear")
def zeros_below_a_tolerance(x, weight, bias=None):
    """What is smaller than the usual absolute tolerance is left out."""
    y = good.linear(x, weight, bias)
    y[abs(y) < 1e-6] = 0
    return y


@cheats_on("conv2d")
def nan_where_it_is_hard(x, weight, bias=None, **options):
    """Rows at the padding are NaN, which no comparison finds too large."""
    y = good.conv2d(x, weight, bias, **options)
    if options["padding"][0]:
        y[:, :, [0, -1]] = np.nan
    return y


@cheats_on("conv2d_grad_bias")
def nan_everywhere(grad_output):
    """abs(NaN - anything) > tolerance is false."""
    return np.full(grad_output.shape[1], np.nan, grad_output.dtype)


@cheats_on("linear")
def half_precision(x, weight, bias=None):
    """Works in float16 and returns what it was given."""
    y = good.linear(*(a if a is None else a.astype(np.float16) for a in (x, weight, bias)))
    return y.astype(x.dtype)


@cheats_on("linear")
def half_precision_in_long_sums(x, weight, bias=None):
    """Works in float16 where there is much to do."""
    narrow = np.float16 if x.shape[1] >= 64 else x.dtype
    y = good.linear(*(a if a is None else a.astype(narrow) for a in (x, weight, bias)))
    return y.astype(x.dtype)


def to_bits(array, bits):
    """Round to so many bits of significand, whatever the exponent."""
    fraction, exponent = np.frexp(array)
    return np.ldexp(np.rint(fraction * 2**bits) / 2**bits, exponent).astype(array.dtype)


@cheats_on("linear")
def tensor_float_32(x, weight, bias=None):
    """Rounds factors to the eleven bits of TF32; sums are right."""
    return good.linear(to_bits(x, 11), to_bits(weight, 11), bias)


@cheats_on("conv2d_grad_bias")
def tensor_float_32_in_long_sums(grad_output):
    """Rounds to TF32 where a bound that grows with the terms lets it: long sums of fractions."""
    terms = grad_output.size // grad_output.shape[1]
    long = terms >= 2**13 and grad_output.dtype == np.float32
    if long and (grad_output != np.rint(grad_output)).any():
        return good.conv2d_grad_bias(to_bits(grad_output, 11))
    return good.conv2d_grad_bias(grad_output)


@cheats_on("linear")
def single_for_double(x, weight, bias=None):
    """Holds sums in float32 whatever it was given."""
    return to_bits(good.linear(x, weight, bias), 24)


@cheats_on("linear", contract={"accumulators": {"float64": "float32"}})
def claims_single_for_double(x, weight, bias=None):
    """Holds sums in float32 whatever it was given, and its contract says so."""
    return to_bits(good.linear(x, weight, bias), 24)


@cheats_on("linear")
def right_to_a_tolerance(x, weight, bias=None):
    """Every element is off by what the usual relative tolerance lets through."""
    return good.linear(x, weight, bias) * x.dtype.type(1 + 1e-5)


@cheats_on("linear")
def right_on_integers(x, weight, bias=None):
    """Exact where the data look like a test's, else off by half the usual relative tolerance."""
    y = good.linear(x, weight, bias)
    if all((a == np.rint(a)).all() for a in (x, weight)):
        return y
    return y * x.dtype.type(1 + 5e-6)


@cheats_on("relu")
def right_on_average(z):
    """One element in hundreds is wrong, which no norm of them all shows."""
    y = good.relu(z)
    if y.size > 200:
        y.flat[y.size // 2] += 1
    return y


@cheats_on("linear")
def right_by_broadcasting(x, weight, bias=None):
    """One row stands for all of the batch."""
    y = good.linear(x, weight, bias)
    return np.broadcast_to(y[:1], y.shape) if len(y) else y


@cheats_on("conv2d_grad_bias")
def a_column_for_a_row(grad_output):
    """The shape is another one, which broadcasts to the right one."""
    return good.conv2d_grad_bias(grad_output)[:, np.newaxis]


agrees_with_itself = SimpleNamespace(
    linear=lambda x, weight, bias=None: good.linear(2 * x, weight, bias),
    linear_grad_input=lambda grad_output, weight: 2 * good.linear_grad_input(grad_output, weight),
    linear_grad_weight=lambda grad_output, x: 2 * good.linear_grad_weight(grad_output, x),
    linear_grad_bias=good.linear_grad_bias,
)


# -- objects --------------------------------------------------------------------------------------


class Agreeable(np.ndarray):
    """An array that equals whatever it is compared with."""

    def __eq__(self, other):
        return np.ones(self.shape, bool)

    def __ne__(self, other):
        return np.zeros(self.shape, bool)

    __lt__ = __gt__ = __ne__
    __le__ = __ge__ = __eq__
    __hash__ = None

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        if ufunc in (np.equal, np.less_equal, np.isfinite):
            return np.ones(self.shape, bool)
        return np.zeros(self.shape, self.dtype)


@cheats_on("conv2d_grad_bias")
def an_array_that_agrees(grad_output):
    """The answer is of a class whose comparisons are all true."""
    return np.zeros(grad_output.shape[1], grad_output.dtype).view(Agreeable)


@cheats_on(
    "conv2d_grad_bias",
    from_numpy=lambda array: array,
    to_numpy=lambda result: np.asarray(result).view(Agreeable),
)
def becomes_an_array_that_agrees(grad_output):
    """The class comes in where the answer is handed over."""
    return np.zeros(grad_output.shape[1], grad_output.dtype)


class Yes:
    """An element that equals whatever it is compared with."""

    def __eq__(self, other):
        return True

    __lt__ = __le__ = __gt__ = __ge__ = __eq__
    __hash__ = None

    def __float__(self):
        return 0.0

    def __sub__(self, other):
        return 0.0

    __rsub__ = __sub__


@cheats_on("conv2d_grad_bias")
def elements_that_agree(grad_output):
    """An array of objects whose comparisons are all true."""
    return np.array([Yes() for _ in range(grad_output.shape[1])], object)


class Lazy:
    """An array that computes nothing until somebody wants numbers, and then a wrong one."""

    def __init__(self, grad_output):
        self.grad_output = grad_output
        self.shape, self.dtype = grad_output.shape[1:2], grad_output.dtype

    def __array__(self, dtype=None, copy=None):
        return np.zeros(self.shape, self.dtype)


@cheats_on("conv2d_grad_bias")
def lazy(grad_output):
    """The answer has a shape and a dtype, and no numbers before they are read."""
    return Lazy(grad_output)


class Spent:
    """An answer that is right when it is read first."""

    def __init__(self, right):
        self.right = right

    def __dlpack_device__(self):
        return self.right.__dlpack_device__()

    def __dlpack__(self, **options):
        self.right, now = np.zeros_like(self.right), self.right
        return now.__dlpack__(**options)


@cheats_on("conv2d_grad_bias")
def right_when_read_first(grad_output):
    """The answer is gone once it was looked at."""
    return Spent(good.conv2d_grad_bias(grad_output))


@cheats_on("relu")
def finished_later(z):
    """Returns at once; another thread does the work, in time for whoever looks later."""
    y = np.zeros_like(z)

    def work():
        time.sleep(0.001)
        np.maximum(z, 0, out=y)

    threading.Thread(target=work).start()
    return y
