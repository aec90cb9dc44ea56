"""Faults that come from what an earlier call left behind."""

from itertools import count

import numpy as np

from implementations import im2col as good
from tests.planted.fault import control, fault


@fault("state", fresh=True)
def conv2d_is_wrong_after_an_error():
    refused = []

    def conv2d(x, weight, bias=None, **o):
        try:
            y = good.conv2d(x, weight, bias, **o)
        except Exception:
            refused.append(True)
            raise
        if refused:
            refused.clear()
            y[..., -1:] = 0
        return y

    return conv2d


@fault("state", "pytorch/executorch#21686", fresh=True)
def avg_pool2d_grad_input_adds_to_what_a_larger_call_left():
    left = {}

    def avg_pool2d_grad_input(grad_output, *, input_shape, **o):
        dx = good.avg_pool2d_grad_input(grad_output, input_shape=input_shape, **o)
        key = (dx.dtype, dx.shape[1:])
        old = left.get(key)
        if old is not None and len(old) > len(dx):
            dx = dx + old[: len(dx)]
        left[key] = dx.copy()
        return dx

    return avg_pool2d_grad_input


@fault("state", fresh=True)
def linear_keeps_the_weight_of_a_shape():
    packed = {}

    def linear(x, weight, bias=None):
        good.linear(x, weight, bias)
        return good.linear(x, packed.setdefault((weight.shape, weight.dtype), weight.copy()), bias)

    return linear


def sums_from_another_image_each_time():
    start = count()

    def linear_grad_weight(grad_output, x):
        dw = np.zeros_like(good.linear_grad_weight(grad_output, x))
        for n in np.roll(np.arange(len(x)), next(start)):
            dw += np.outer(grad_output[n], x[n])
        return dw

    return linear_grad_weight


@fault("state", fresh=True, contract={"policies": {"repeats": "bitwise"}})
def linear_grad_weight_is_summed_in_another_order_each_time():
    return sums_from_another_image_each_time()


@control
def linear_grad_weight_may_be_summed_in_any_order(grad_output, x):
    return ANY_ORDER(grad_output, x)


ANY_ORDER = sums_from_another_image_each_time()
