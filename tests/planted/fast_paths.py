"""Planted faults of fast paths: they know a layer, and forget one of its options.

Each is wrong where two to four conditions come together, all of them plain.
"""

from typing import Any

import numpy as np

from gradoracle.implementations import im2col as good
from tests.planted.fault import fault

ONE, NONE = (1, 1), (0, 0)
KIND = "forgotten option"


def _is(o: dict[str, Any], **wanted: Any) -> bool:
    return all(o[name] == value for name, value in wanted.items())


def _plus(y, true):
    """An answer that is 1 too large where a condition is true."""
    return y + y.dtype.type(1) if true else y


# -- plain combinations ---------------------------------------------------------------------------


@fault(KIND)
def conv2d_is_wrong_with_stride_3_and_no_padding(x, weight, bias=None, **o):
    y = good.conv2d(x, weight, bias, **o)
    return _plus(y, _is(o, stride=(3, 3), padding=NONE, dilation=ONE, groups=1))


@fault(KIND)
def conv2d_is_wrong_for_overlapping_patches(x, weight, bias=None, **o):
    """The patch embedding of SegFormer: 7x7, stride 4, padding 3."""
    y = good.conv2d(x, weight, bias, **o)
    return _plus(y, o["stride"][0] >= 4 and o["padding"][0] >= 3 and o["groups"] == 1)


@fault(KIND)
def conv2d_grad_input_is_wrong_with_stride_4_and_one_filter(grad_output, weight, **o):
    dx = good.conv2d_grad_input(grad_output, weight, **o)
    return _plus(dx, _is(o, stride=(4, 4), dilation=ONE) and len(weight) == 1)


@fault(KIND)
def conv2d_grad_weight_is_wrong_for_dilated_depthwise_with_a_stride(grad_output, x, **o):
    dw = good.conv2d_grad_weight(grad_output, x, **o)
    depthwise = o["groups"] == x.shape[1] == grad_output.shape[1] > 1
    return _plus(dw, depthwise and o["dilation"] == (2, 2) and o["stride"] == (2, 2))


@fault(KIND)
def conv2d_grad_weight_is_wrong_for_padding_beyond_the_kernel_in_groups(grad_output, x, **o):
    dw = good.conv2d_grad_weight(grad_output, x, **o)
    beyond = min(o["padding"]) >= max(o["weight_shape"][2:])
    return _plus(dw, beyond and o["groups"] == 2 and o["stride"] == (3, 3))


@fault(KIND)
def conv_transpose2d_is_wrong_with_stride_4_and_output_padding(x, weight, bias=None, **o):
    y = good.conv_transpose2d(x, weight, bias, **o)
    return _plus(y, o["stride"] == (4, 4) and min(o["output_padding"]) > 0 and o["groups"] == 1)


@fault(KIND)
def max_pool2d_is_wrong_for_dilated_windows_side_by_side(x, **o):
    y, indices = good.max_pool2d(x, **o)
    beside = o["stride"] == o["kernel_size"] == (3, 3) and o["dilation"] == (2, 2)
    return _plus(y, beside and o["ceil_mode"]), indices


@fault(KIND)
def avg_pool2d_grad_input_is_wrong_for_half_padding_that_does_not_count(grad_output, **o):
    dx = good.avg_pool2d_grad_input(grad_output, **o)
    half = o["padding"] == (2, 2) and o["kernel_size"] == (4, 4)
    return _plus(dx, half and not o["count_include_pad"] and o["stride"] == (4, 4))


# -- layers of networks with one option changed ---------------------------------------------------


@fault(KIND)
def conv2d_forgets_dilation_of_5x5(x, weight, bias=None, **o):
    y = good.conv2d(x, weight, bias, **o)
    if weight.shape[2:] == (5, 5) and o["padding"] == (2, 2) and o["dilation"] != ONE:
        plain = good.conv2d(x, weight, bias, **{**o, "dilation": ONE})
        return np.ascontiguousarray(plain[:, :, : y.shape[2], : y.shape[3]])
    return y


@fault(KIND)
def conv2d_forgets_groups_of_vit_patches(x, weight, bias=None, **o):
    y = good.conv2d(x, weight, bias, **o)
    patches = weight.shape[2:] in {(14, 14), (16, 16), (32, 32)} and o["groups"] > 1
    return _plus(y, patches and o["stride"] == weight.shape[2:])


@fault(KIND)
def conv2d_grad_input_forgets_stride_of_7x7_depthwise(grad_output, weight, **o):
    dx = good.conv2d_grad_input(grad_output, weight, **o)
    convnext = weight.shape[1:] == (1, 7, 7) and o["padding"] == (3, 3) and o["groups"] > 1
    return _plus(dx, convnext and o["stride"] != ONE)


@fault(KIND)
def conv2d_grad_weight_forgets_one_sided_stride_of_3x3(grad_output, x, **o):
    dw = good.conv2d_grad_weight(grad_output, x, **o)
    vgg = o["weight_shape"][2:] == (3, 3) and o["padding"] == ONE and o["groups"] == 1
    return _plus(dw, vgg and o["stride"] == (2, 1) and o["dilation"] == ONE)


@fault(KIND)
def conv_transpose2d_forgets_groups_of_dcgan(x, weight, bias=None, **o):
    y = good.conv_transpose2d(x, weight, bias, **o)
    dcgan = weight.shape[2:] == (4, 4) and o["stride"] == (2, 2) and o["padding"] == ONE
    return _plus(y, dcgan and o["groups"] > 1)


@fault(KIND)
def conv_transpose2d_grad_weight_forgets_output_padding_of_u_net(grad_output, x, **o):
    dw = good.conv_transpose2d_grad_weight(grad_output, x, **o)
    up = o["weight_shape"][2:] == o["stride"] == (2, 2) and o["padding"] == NONE
    return _plus(dw, up and max(o["output_padding"]) > 0)


@fault(KIND)
def avg_pool2d_forgets_ceil_mode_of_stems(x, **o):
    if _is(o, kernel_size=(3, 3), stride=(2, 2), padding=ONE) and o["ceil_mode"]:
        o = {**o, "ceil_mode": False}
    return good.avg_pool2d(x, **o)


@fault(KIND)
def max_pool2d_forgets_dilation_of_inception(x, **o):
    y, indices = good.max_pool2d(x, **o)
    inception = _is(o, kernel_size=(3, 3), stride=ONE, padding=ONE)
    return _plus(y, inception and o["dilation"] != ONE), indices


# -- two or three sides large at once, or one of them long ----------------------------------------
LARGE = "two large sides"


def _lost_after(array, count):
    array = array.copy()
    array.reshape(-1)[count:] = 0
    return array


@fault(LARGE)
def max_pool2d_stops_at_65535_planes(x, **o):
    y, indices = good.max_pool2d(x, **o)
    if x.shape[0] * x.shape[1] > 65535:
        y = y.copy()
        y.reshape(-1, *y.shape[2:])[65535:] = 0
    return y, indices


@fault(LARGE)
def conv2d_grad_weight_stops_at_65536_elements(grad_output, x, **o):
    return _lost_after(good.conv2d_grad_weight(grad_output, x, **o), 65536)


@fault(LARGE)
def conv2d_grad_input_forgets_the_second_tile_of_both_channels(grad_output, weight, **o):
    if weight.shape[0] > 64 and weight.shape[1] > 64 and o["groups"] == 1:
        weight = weight.copy()
        weight[64:, 64:] = 0
    return good.conv2d_grad_input(grad_output, weight, **o)


@fault(LARGE)
def conv2d_forgets_the_last_images_of_many_channels(x, weight, bias=None, **o):
    y = good.conv2d(x, weight, bias, **o)
    if len(x) > 128 and x.shape[1] > 128:
        y = y.copy()
        y[128:] = 0
    return y


@fault(LARGE)
def conv2d_stops_at_65536_images(x, weight, bias=None, **o):
    y = good.conv2d(x, weight, bias, **o)
    if len(x) > 65536:
        y = y.copy()
        y[65536:] = 0
    return y


@fault(LARGE)
def linear_stops_at_65536_rows(x, weight, bias=None):
    y = good.linear(x, weight, bias)
    if len(x) > 65536:
        y = y.copy()
        y[65536:] = 0
    return y


@fault(LARGE)
def linear_grad_input_stops_at_65536_elements(grad_output, weight):
    return _lost_after(good.linear_grad_input(grad_output, weight), 65536)


@fault(LARGE)
def relu_stops_at_65536_elements(z):
    return _lost_after(good.relu(z), 65536)


@fault(LARGE)
def softmax_halves_odd_rows_of_513_to_1023(z, *, axis):
    p = good.softmax(z, axis=axis)
    n = z.shape[axis] if z.ndim else 1
    last = z.ndim > 0 and axis % z.ndim == z.ndim - 1
    if z.dtype == np.float64 and last and 512 < n < 1024 and n % 2:
        p = p.copy()
        p.reshape(-1, n)[1::2] *= 0.5
    return p


@fault(LARGE)
def softmax_stops_at_1024_entries_of_an_axis_before_the_last(z, *, axis):
    p = good.softmax(z, axis=axis)
    at = axis % z.ndim if z.ndim else 0
    if z.ndim and at != z.ndim - 1 and z.shape[at] > 1024 and np.prod(z.shape[at + 1 :]) > 1:
        p = np.moveaxis(p.copy(), at, 0)
        p[1024:] = 0
        p = np.ascontiguousarray(np.moveaxis(p, 0, at))
    return p


@fault(LARGE)
def cross_entropy_grad_stops_at_65536_logits(logits, target, *, reduction):
    right = good.cross_entropy_grad(logits, target, reduction=reduction)
    return _lost_after(right, 65536)


@fault(LARGE)
def batch_mean_stops_at_65536_images(gradient_per_image):
    if len(gradient_per_image) <= 65536:
        return good.batch_mean(gradient_per_image)
    mean = gradient_per_image[:65536].astype(np.float64).sum(0) / len(gradient_per_image)
    return mean.astype(gradient_per_image.dtype)
