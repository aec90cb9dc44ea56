"""Faults that come from what an earlier call left behind."""

from itertools import count

import numpy as np

from gradoracle.implementations import im2col as good
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


# -- what the forward pass keeps for the gradient, and keys that lack something --------------------


def address(array):
    return array.ctypes.data, array.shape, array.strides, array.dtype.str


def content(*arrays):
    return tuple(None if a is None else (a.shape, a.dtype.str, a.tobytes()) for a in arrays)


@fault("state", fresh=True)
def leaky_relu_grad_asks_for_the_mask_of_its_address():
    """A right function of the mask that the last call at this address and shape made."""
    masks = {}

    def leaky_relu_grad(grad_output, z, *, negative_slope):
        good.leaky_relu_grad(grad_output, z, negative_slope=negative_slope)
        positive = masks.setdefault(address(z), z > 0)
        slope = z.dtype.type(negative_slope)
        return np.where(positive, grad_output, slope * grad_output).astype(z.dtype)

    return leaky_relu_grad


@fault("state", fresh=True)
def conv2d_keeps_its_packed_weight_by_address():
    packed = {}

    def conv2d(x, weight, bias=None, **o):
        good.conv2d(x, weight, bias, **o)
        return good.conv2d(x, packed.setdefault(address(weight), weight.copy()), bias, **o)

    return conv2d


@fault("state", fresh=True)
def conv2d_grad_input_has_a_plan_without_input_shape():
    """Two images give the same dy where a stride leaves pixels over."""
    plans = {}

    def conv2d_grad_input(grad_output, weight, *, input_shape, **o):
        dx = good.conv2d_grad_input(grad_output, weight, input_shape=input_shape, **o)
        key = (*content(grad_output, weight), *sorted(o.items()))
        return plans.setdefault(key, dx).copy()

    return conv2d_grad_input


@fault("state", fresh=True)
def conv2d_grad_weight_has_a_plan_without_the_kernels_width():
    plans = {}

    def conv2d_grad_weight(grad_output, x, *, weight_shape, **o):
        dw = good.conv2d_grad_weight(grad_output, x, weight_shape=weight_shape, **o)
        key = (*content(grad_output, x), weight_shape[:3], *sorted(o.items()))
        return plans.setdefault(key, dw).copy()

    return conv2d_grad_weight


@fault("state", fresh=True)
def max_pool2d_has_a_plan_without_kernel_size():
    plans = {}

    def max_pool2d(x, *, kernel_size, **o):
        y, indices = good.max_pool2d(x, kernel_size=kernel_size, **o)
        found = plans.setdefault((*content(x), *sorted(o.items())), (y, indices))
        return found[0].copy(), found[1].copy()

    return max_pool2d


@fault("state", fresh=True)
def linear_keeps_whether_there_was_a_bias():
    known = {}

    def linear(x, weight, bias=None):
        y = good.linear(x, weight, bias)
        return known.setdefault(content(x, weight), y).copy()

    return linear


@fault("state", fresh=True)
def sgd_step_keeps_its_scaled_gradient():
    known = {}

    def sgd_step(parameter, gradient, *, learning_rate):
        good.sgd_step(parameter, gradient, learning_rate=learning_rate)
        scaled = parameter.dtype.type(learning_rate) * gradient
        return parameter - known.setdefault(content(gradient), scaled)

    return sgd_step


@fault("state", fresh=True)
def tanh_knows_numbers_whatever_their_dtype():
    known = {}

    def tanh(z):
        found = known.setdefault((z.shape, z.astype(np.float64).tobytes()), good.tanh(z))
        return found.astype(z.dtype)

    return tanh


@fault("state", fresh=True)
def batch_mean_knows_bytes_whatever_their_shape():
    known = {}

    def batch_mean(gradient_per_image):
        mean = good.batch_mean(gradient_per_image)
        key = gradient_per_image.dtype.str, gradient_per_image.tobytes()
        return known.setdefault(key, mean).copy()

    return batch_mean


def cached_by_everything(name):
    """A cache whose key is complete."""
    known = {}

    def cached(*arrays, **options):
        key = (*content(*arrays), *sorted(options.items()))
        if key not in known:
            known[key] = getattr(good, name)(*arrays, **options)
        return known[key].copy()

    return cached


CACHED = {n: cached_by_everything(n) for n in ("conv2d_grad_input", "avg_pool2d", "softmax_grad")}


@control
def conv2d_grad_input_from_a_cache(grad_output, weight, **o):
    return CACHED["conv2d_grad_input"](grad_output, weight, **o)


@control
def avg_pool2d_from_a_cache(x, **o):
    return CACHED["avg_pool2d"](x, **o)


@control
def softmax_grad_from_a_cache(grad_output, z, **o):
    return CACHED["softmax_grad"](grad_output, z, **o)
