"""Faults that show only when arrays lie in memory otherwise than NumPy makes them."""

import numpy as np
from numpy.lib.stride_tricks import as_strided

from gradoracle.implementations import im2col as good
from tests.planted.fault import control, fault


def as_if_contiguous(array):
    """What a kernel reads that is told where the memory begins and a shape, and no strides."""
    whole = array if array.base is None else array.base
    return np.resize(whole.ravel(order="K"), array.shape)


@fault("layout", "huggingface/candle#3735")
def conv2d_grad_input_reads_the_weight_as_if_contiguous(grad_output, weight, **o):
    return good.conv2d_grad_input(grad_output, as_if_contiguous(weight), **o)


@fault("layout")
def conv2d_reads_the_bias_as_if_contiguous(x, weight, bias=None, **o):
    return good.conv2d(x, weight, None if bias is None else as_if_contiguous(bias), **o)


@fault("layout", "torch/cunn#199")
def max_pool2d_vjp_reads_dy_as_if_contiguous(grad_output, x, **o):
    return good.max_pool2d_vjp(as_if_contiguous(grad_output), x, **o)


@fault("layout", "pytorch/pytorch#82060")
def conv2d_takes_channels_last_for_granted_with_one_channel(x, weight, bias=None, **o):
    nhwc = weight.strides[1] == weight.itemsize
    if nhwc and weight.shape[1] == 1 < weight[0].size:
        _, _, height, width = weight.shape
        weight = weight.reshape(-1, 1, width, height).transpose(0, 1, 3, 2)
    return good.conv2d(x, weight, bias, **o)


@fault("layout", "intel/torch-xpu-ops#4906")
def conv2d_grad_weight_trusts_the_stride_of_an_axis_of_one(grad_output, x, **o):
    dw = good.conv2d_grad_weight(grad_output, x, **o)
    if x.shape[2] == 1 and x.size and x.strides[2] != x.shape[3] * x.strides[3]:
        dw += 1
    return dw


@fault("layout")
def conv2d_grad_weight_takes_strides_of_0_for_one_element(grad_output, x, **o):
    dw = good.conv2d_grad_weight(grad_output, x, **o)
    if grad_output.size > 1 and not any(grad_output.strides):
        dw = dw / dw.dtype.type(grad_output.size)
    return dw


@fault("layout")
def linear_forgets_the_sign_of_strides(x, weight, bias=None):
    forwards = tuple(slice(None, None, -1 if stride < 0 else 1) for stride in weight.strides)
    weight = weight[forwards]
    return good.linear(x, weight, bias)


@fault("layout")
def avg_pool2d_takes_images_to_follow_each_other(x, **o):
    if x.flags.c_contiguous or not x.size:
        return good.avg_pool2d(x, **o)
    inner = x[0].flags.c_contiguous
    dense = as_strided(x, x.shape, (x[0].size * x.itemsize, *x.strides[1:])) if inner else x
    return good.avg_pool2d(dense, **o)


@fault("layout")
def relu_loads_vectors_from_the_address_below(z):
    astray = z.ctypes.data % 16
    if astray and z.flags.c_contiguous and z.size:
        z = np.roll(z.ravel(), astray // z.itemsize).reshape(z.shape)
    return good.relu(z)


@fault("layout")
def softmax_writes_its_argument_back(z, *, axis):
    p = good.softmax(z, axis=axis)
    z[...] = z
    return p


@fault("layout")
def tanh_truncates_an_odd_address(z):
    if z.size and not z.flags.aligned:
        z = np.frombuffer(b"\0" + z.tobytes()[:-1], z.dtype).reshape(z.shape)
    return good.tanh(z)


@fault("layout", "pytorch/pytorch#175969")
def linear_grad_weight_takes_the_order_of_dy_for_both(grad_output, x):
    if grad_output.flags.f_contiguous and not grad_output.flags.c_contiguous:
        x = x.ravel(order="K").reshape(x.shape[::-1]).T
    return good.linear_grad_weight(grad_output, x)


@control
def relu_refuses_what_is_not_aligned(z):
    if not z.flags.aligned:
        raise TypeError("elements must be aligned")
    return good.relu(z)


@control
def conv2d_copies_what_is_not_contiguous(x, weight, bias=None, **o):
    return good.conv2d(np.ascontiguousarray(x), np.ascontiguousarray(weight), bias, **o)


# -- a layout and one more condition --------------------------------------------------------------


def in_one_place_along(array, axis):
    return array.ndim > axis and array.shape[axis] > 1 and array.strides[axis] == 0


@fault("layout")
def conv2d_grad_bias_sums_one_pixel_of_an_expanded_row(grad_output):
    """dy of a sum along rows, with a stride of 0 along the last axis only."""
    db = good.conv2d_grad_bias(grad_output)
    if in_one_place_along(grad_output, 3) and not in_one_place_along(grad_output, 0):
        return db / db.dtype.type(grad_output.shape[3])
    return db


@fault("layout")
def linear_grad_weight_reads_an_expanded_batch_as_one_image(grad_output, x):
    dw = good.linear_grad_weight(grad_output, x)
    return dw[:, :1] + 0 * dw if in_one_place_along(grad_output, 0) else dw


@fault("layout")
def conv2d_misreads_a_broadcast_channel_of_a_1x1_kernel(x, weight, bias=None, **o):
    y = good.conv2d(x, weight, bias, **o)
    if in_one_place_along(x, 1) and weight.shape[2:] == (1, 1):
        y = y * 0
    return y


@fault("layout")
def conv2d_reads_channels_last_with_padding_as_it_lies(x, weight, bias=None, **o):
    is_last = not x.flags.c_contiguous and x.transpose(0, 2, 3, 1).flags.c_contiguous
    if is_last and any(o["padding"]) and x.shape[1] > 1:
        x = x.transpose(0, 2, 3, 1).reshape(x.shape)
    return good.conv2d(x, weight, bias, **o)


@fault("layout")
def linear_of_one_output_misreads_a_transposed_x(x, weight, bias=None):
    if len(weight) == 1 and x.flags.f_contiguous and not x.flags.c_contiguous:
        x = x.T.reshape(x.shape)
    return good.linear(x, weight, bias)


@fault("layout")
def softmax_grad_takes_an_expanded_dy_for_zeros(grad_output, z, *, axis):
    """Its sum over a row of one dy is that dy, whatever the row."""
    dz = good.softmax_grad(grad_output, z, axis=axis)
    return dz + 1 if in_one_place_along(grad_output, 0) else dz
