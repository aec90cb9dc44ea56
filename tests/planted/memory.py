"""Faults in what lies around the numbers: memory, earlier calls, chance; and gaps of the suite."""

import numpy as np
from numpy.lib.stride_tricks import as_strided

from gradoracle.implementations import im2col as good
from tests.planted.conv2d import fault as conv2d_fault
from tests.planted.conv2d import rest
from tests.planted.fault import fault, gap
from tests.planted.not_finite import KEPT

# -- memory layout --------------------------------------------------------------------------------


def as_it_lies(array):
    return array.ravel(order="K").reshape(array.shape)


@conv2d_fault("layout", "huggingface/candle#3735")
def dx_reads_the_weight_as_it_lies(grad_output, weight, **o):
    return good.conv2d_grad_input(grad_output, as_it_lies(weight), **o)


@fault("layout", "torch/cunn#199")
def max_pool2d_grad_input_reads_dy_as_it_lies(grad_output, indices, *, input_shape):
    grad_output = as_it_lies(grad_output)
    return good.max_pool2d_grad_input(grad_output, indices, input_shape=input_shape)


# -- earlier calls --------------------------------------------------------------------------------


@fault("state", fresh=True)
def linear_keeps_weights_by_address():
    packed = {}

    def linear(x, weight, bias=None):
        good.linear(x, weight, bias)
        key = weight.ctypes.data, weight.shape, weight.dtype
        return good.linear(x, packed.setdefault(key, weight.copy()), bias)

    return linear


# -- chance ---------------------------------------------------------------------------------------


def now_and_then(one_of):
    """Return what says yes in one of so many calls, each time at others."""
    random = np.random.default_rng(7)
    return lambda: random.integers(one_of) == 0


@conv2d_fault("nondeterminism", "apache/mxnet#13142", fresh=True)
def dw_loses_an_image_now_and_then():
    unlucky = now_and_then(8)

    def conv2d_grad_weight(grad_output, x, **o):
        dw = good.conv2d_grad_weight(grad_output, x, **o)
        if len(x) > 1 and unlucky():
            return good.conv2d_grad_weight(grad_output[1:], x[1:], **o)
        return dw

    return conv2d_grad_weight


@fault("nondeterminism", fresh=True)
def avg_pool2d_grad_input_loses_an_addition_now_and_then():
    unlucky = now_and_then(8)

    def avg_pool2d_grad_input(grad_output, **o):
        dx = good.avg_pool2d_grad_input(grad_output, **o)
        overlaps = any(s < k for s, k in zip(o["stride"], o["kernel_size"], strict=True))
        if overlaps and grad_output.size and unlucky():
            lost = grad_output.copy()
            lost[..., -1, -1] = 0
            return good.avg_pool2d_grad_input(lost, **o)
        return dx

    return avg_pool2d_grad_input


@fault("nondeterminism", fresh=True)
def linear_reads_a_tile_too_early_now_and_then():
    unlucky = now_and_then(8)

    def linear(x, weight, bias=None):
        y = good.linear(x, weight, bias)
        if x.shape[1] > 16 and y.size and unlucky():
            y -= np.outer(x[:, 16], weight[:, 16])
        return y

    return linear


# -- the pixels that no window reaches ------------------------------------------------------------


@conv2d_fault("remainder", "meta-pytorch/opacus#245")
def dw_has_taps_for_the_remainder(grad_output, x, **o):
    dw = good.conv2d_grad_weight(grad_output, x, **o)
    down, across = rest(dw.shape, {**o, "input_shape": x.shape})
    return np.pad(dw, ((0, 0), (0, 0), (0, down), (0, across)))


@conv2d_fault("remainder", "uxlfoundation/oneDNN#542")
def dx_spreads_the_last_row_over_the_remainder(grad_output, weight, **o):
    dx = good.conv2d_grad_input(grad_output, weight, **o)
    down = rest(weight.shape, o)[0]
    if 0 < down < dx.shape[2]:
        dx[:, :, -down:] = dx[:, :, -down - 1, None]
    return dx


# -- what the suite does not see ------------------------------------------------------------------


@fault("layout", "pytorch/pytorch#175969")
def conv2d_misreads_a_weight_that_lies_otherwise_than_x(x, weight, bias=None, **o):
    if x.flags.c_contiguous and not weight.flags.c_contiguous:
        weight = as_it_lies(weight)
    return good.conv2d(x, weight, bias, **o)


@fault("layout", "pytorch/pytorch#82060")
def conv2d_takes_adjacent_channels_for_channels_last(x, weight, bias=None, **o):
    """A single filter in Fortran's order has its channels side by side, as channels-last has."""
    m, c, kh, kw = weight.shape
    if weight.strides[1] == weight.itemsize and not weight.flags.c_contiguous:
        weight = np.moveaxis(weight.ravel(order="K").reshape(m, kh, kw, c), 3, 1)
    return good.conv2d(x, weight, bias, **o)


@fault("layout")
def softmax_reads_over_gaps_between_elements(z, *, axis):
    if min(z.strides) > 0:
        z = as_strided(z, strides=np.empty_like(z, order="C").strides)
    return good.softmax(z, axis=axis)


@fault("layout", "torch/cunn#199 (expanded)")
def max_pool2d_grad_input_misreads_an_expanded_dy(grad_output, indices, *, input_shape):
    if 0 in grad_output.strides and grad_output.size > 1:
        grad_output = np.zeros_like(grad_output)
    return good.max_pool2d_grad_input(grad_output, indices, input_shape=input_shape)


@fault("state", "pytorch/pytorch#94348", fresh=True)
def avg_pool2d_keeps_its_plan_by_shape():
    plans = {}

    def avg_pool2d(x, *, count_include_pad, **o):
        y = good.avg_pool2d(x, count_include_pad=count_include_pad, **o)
        key = x.shape, y.shape, o["kernel_size"], o["padding"]
        counted = plans.setdefault(key, count_include_pad)
        return good.avg_pool2d(x, count_include_pad=counted, **o)

    return avg_pool2d


@fault("subnormal", contract=KEPT)
def relu_flushes_subnormals(z):
    return np.where(abs(z) < np.finfo(z.dtype).tiny, z * 0, good.relu(z))


@fault("subnormal", contract=KEPT)
def relu_grad_is_0_at_subnormals(grad_output, z):
    flushed = np.where(abs(z) < np.finfo(z.dtype).tiny, z * 0, z)
    return good.relu_grad(grad_output, flushed)


@fault("subnormal")
def leaky_relu_grad_has_no_slope_at_subnormals(grad_output, z, *, negative_slope):
    tiny = (abs(z) < np.finfo(z.dtype).tiny) & (z != 0)
    dz = good.leaky_relu_grad(grad_output, z, negative_slope=negative_slope)
    return np.where(tiny, 0 * dz, dz)


@gap("index", "no result has so many elements", "ROCm/rocm-libraries#4611")
def relu_stops_at_16_777_216_elements(z):
    y = good.relu(z)
    y.reshape(-1)[2**24 :] = 0
    return y
