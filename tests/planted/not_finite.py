"""Faults on NaN, infinities and subnormal numbers, and right ways to lose more to them."""

import numpy as np

from implementations import im2col as good
from tests.planted.fault import control, fault

WINDOW = {"policies": {"non_finite": "window"}}
KEPT = {"policies": {"subnormals": "kept"}}


@fault("nan", "uxlfoundation/oneDNN#5370 (relu)")
def conv2d_loses_nan(x, weight, bias=None, **o):
    return good.conv2d(np.nan_to_num(x, posinf=np.inf, neginf=-np.inf), weight, bias, **o)


@fault("nan")
def conv2d_grad_weight_skips_images_that_are_nan(grad_output, x, **o):
    lost = np.isnan(grad_output).any(axis=(1, 2, 3), keepdims=True)
    return good.conv2d_grad_weight(np.where(lost, grad_output.dtype.type(0), grad_output), x, **o)


@fault("nan")
def conv2d_grad_bias_is_a_nansum(grad_output):
    return np.nansum(grad_output, axis=(0, 2, 3), dtype=grad_output.dtype)


@fault("nan")
def conv2d_grad_input_takes_nan_to_all_images(grad_output, weight, **o):
    dx = good.conv2d_grad_input(grad_output, weight, **o)
    return dx + 0 * grad_output.sum(dtype=dx.dtype) if dx.size else dx


@fault("nan")
def conv_transpose2d_takes_nan_to_all_channels(x, weight, bias=None, **o):
    """By one product for all groups, the other groups' weights filled with zeros."""
    y = good.conv_transpose2d(x, weight, bias, **o)
    with np.errstate(all="ignore"):
        return y + 0 * x.sum(axis=(1, 2, 3), keepdims=True, dtype=x.dtype)


@fault("nan")
def linear_grad_input_takes_nan_to_all_images(grad_output, weight):
    dx = good.linear_grad_input(grad_output, weight)
    with np.errstate(all="ignore"):
        return dx + 0 * grad_output.sum(dtype=dx.dtype)


@fault("nan")
def leaky_relu_prefers_what_is_a_number(z, *, negative_slope):
    """By fmax and fmin."""
    dtype = z.dtype.type
    return (np.fmax(z, dtype(0)) + dtype(negative_slope) * np.fmin(z, dtype(0))).astype(z.dtype)


@fault("nan")
def tanh_clips_its_argument(z):
    return good.tanh(np.fmin(np.fmax(z, z.dtype.type(-1e3)), z.dtype.type(1e3)))


@fault("nan")
def sigmoid_grad_takes_nan_for_saturated(grad_output, z):
    dz = good.sigmoid_grad(grad_output, z)
    return np.where(np.isnan(z), dz.dtype.type(0), dz)


@fault("nan")
def softmax_leaves_nan_out(z, *, axis):
    left = np.where(np.isnan(z), z.dtype.type(-np.inf), z)
    hopeless = np.isneginf(left).all(axis=axis, keepdims=True)
    return good.softmax(np.where(hopeless, z.dtype.type(0), left), axis=axis)


@fault("nan")
def cross_entropy_grad_takes_nan_to_all_rows(logits, target, *, reduction):
    dlogits = good.cross_entropy_grad(logits, target, reduction=reduction)
    return dlogits + 0 * logits.sum(where=~np.isinf(logits), dtype=logits.dtype)


@fault("nan")
def cross_entropy_leaves_rows_out(logits, target, *, reduction):
    known = ~np.isnan(logits).any(axis=1)
    if known.all() or not known.any():
        return good.cross_entropy(logits, target, reduction=reduction)
    return good.cross_entropy(logits[known], target[known], reduction=reduction)


@fault("nan")
def batch_mean_is_a_nanmean(gradient_per_image):
    right = good.batch_mean(gradient_per_image)
    lost = np.isnan(gradient_per_image)
    if not lost.any():
        return right
    return good.batch_mean(np.where(lost, right.dtype.type(0), gradient_per_image))


@fault("infinity")
def sgd_step_skips_what_overflowed(parameter, gradient, *, learning_rate):
    usable = np.where(np.isfinite(gradient), gradient, gradient.dtype.type(0))
    return good.sgd_step(parameter, usable, learning_rate=learning_rate)


@fault("infinity")
def avg_pool2d_clips_infinity(x, **o):
    most = np.finfo(x.dtype).max if x.dtype.kind == "f" else x.dtype.type(3e38)
    return good.avg_pool2d(np.clip(x, -most, most), **o)


@fault("infinity")
def linear_loses_the_sign_of_infinity(x, weight, bias=None):
    y = good.linear(x, weight, bias)
    return np.where(np.isneginf(y), -y, y)


@fault("infinity", contract=WINDOW)
def linear_grad_weight_makes_nan_of_infinity(grad_output, x):
    """As compensated sums do, where the contract says that none are."""
    dw = good.linear_grad_weight(grad_output, x)
    with np.errstate(all="ignore"):
        return dw + (dw - dw)


@fault("nan", contract=WINDOW)
def conv2d_multiplies_what_is_beside_a_window(x, weight, bias=None, **o):
    """A vector of pixels, the last of which a zero stands for where the row of taps ends."""
    y = good.conv2d(x, weight, bias, **o)
    wide = np.pad(weight, ((0, 0), (0, 0), (0, 0), (0, 1)))
    down, across = o["padding"]
    with np.errstate(all="ignore"):
        more = good.conv2d(
            np.pad(x, ((0, 0), (0, 0), (0, 0), (0, o["dilation"][1]))), wide, bias,
            **{**o, "padding": (down, across)},
        )  # fmt: skip
    return more[:, :, : y.shape[2], : y.shape[3]]


@fault("nan", contract=WINDOW)
def avg_pool2d_subtracts_running_sums(x, **o):
    y = good.avg_pool2d(x, **o)
    with np.errstate(all="ignore"):
        return y + 0 * x.sum(axis=(2, 3), keepdims=True, dtype=x.dtype)


@fault("subnormal", contract=KEPT)
def conv2d_flushes_subnormal_weights(x, weight, bias=None, **o):
    tiny = np.finfo(weight.dtype).tiny
    return good.conv2d(x, np.where(abs(weight) < tiny, 0, weight), bias, **o)


@fault("subnormal", "intel VDPBF16PS", contract=KEPT)
def linear_flushes_subnormal_pixels(x, weight, bias=None):
    tiny = np.finfo(x.dtype).tiny
    return good.linear(np.where(abs(x) < tiny, 0, x), weight, bias)


@fault("subnormal", contract=KEPT)
def conv2d_grad_bias_flushes_its_result(grad_output):
    db = good.conv2d_grad_bias(grad_output)
    return np.where(abs(db) < np.finfo(db.dtype).tiny, db.dtype.type(0), db)


# -- controls -------------------------------------------------------------------------------------


@control
def conv2d_transforms_whole_planes(x, weight, bias=None, **o):
    """As FFT and Winograd do, which lose the plane of a NaN."""
    y = good.conv2d(x, weight, bias, **o)
    with np.errstate(all="ignore"):
        lost = 0 * good.conv2d(
            x.sum(axis=(2, 3), keepdims=True, dtype=x.dtype),
            weight.sum(axis=(2, 3), keepdims=True, dtype=x.dtype),
            **{**o, "stride": (1, 1), "padding": (0, 0), "dilation": (1, 1)},
        )
        return y + lost


@control
def avg_pool2d_from_running_sums(x, **o):
    y = good.avg_pool2d(x, **o)
    with np.errstate(all="ignore"):
        return y + 0 * x.sum(axis=(2, 3), keepdims=True, dtype=x.dtype)


@control
def linear_compensates_its_sums(x, weight, bias=None):
    y = good.linear(x, weight, bias)
    with np.errstate(all="ignore"):
        return y + (y - y)


@control(contract={"policies": {"non_finite": "any"}})
def conv2d_grad_input_of_all_groups_at_once(grad_output, weight, **o):
    dx = good.conv2d_grad_input(grad_output, weight, **o)
    with np.errstate(all="ignore"):
        return dx + 0 * grad_output.sum(axis=(1, 2, 3), keepdims=True, dtype=dx.dtype)


@control
def linear_takes_subnormals_for_0(x, weight, bias=None):
    def normal(array):
        return np.where(abs(array) < np.finfo(array.dtype).tiny, array.dtype.type(0), array)

    return good.linear(normal(x), normal(weight), None if bias is None else normal(bias))
