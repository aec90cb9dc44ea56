"""Faults on NaN, infinities and subnormal numbers, and right ways to lose more to them."""

import numpy as np

from gradoracle.implementations import im2col as good
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


# -- zeros beside what is not finite, and where maxima start --------------------------------------


def without_zero_terms(name, factor, other):
    """A right function that skips the products in which an element of `factor` is 0."""

    def skips(*arrays, **o):
        right = getattr(good, name)(*arrays, **o)
        lost = ~np.isfinite(arrays[other])
        if not lost.any():
            return right
        marks = [(a != 0).astype(a.dtype) if at == factor else a for at, a in enumerate(arrays)]
        marks[other] = lost.astype(marks[other].dtype)
        finite = [*arrays]
        finite[other] = np.where(lost, arrays[other].dtype.type(0), arrays[other])
        if len(arrays) > 2:
            marks[2] = None
        hot = getattr(good, name)(*marks, **o)
        return np.where(hot > 0, right, getattr(good, name)(*finite, **o))

    return skips


@fault("nan")
def linear_skips_zero_weights(x, weight, bias=None):
    return without_zero_terms("linear", 1, 0)(x, weight, bias)


@fault("nan")
def linear_grad_weight_skips_dead_units(grad_output, x):
    """A sparse product: whatever meets a zero of x is left out."""
    return without_zero_terms("linear_grad_weight", 1, 0)(grad_output, x)


@fault("nan")
def conv2d_skips_zero_pixels(x, weight, bias=None, **o):
    return without_zero_terms("conv2d", 0, 1)(x, weight, bias, **o)


@fault("nan")
def conv_transpose2d_skips_zero_pixels(x, weight, bias=None, **o):
    return without_zero_terms("conv_transpose2d", 0, 1)(x, weight, bias, **o)


@fault("nan")
def conv2d_grad_input_skips_zero_gradients(grad_output, weight, **o):
    return without_zero_terms("conv2d_grad_input", 0, 1)(grad_output, weight, **o)


@fault("infinity")
def max_pool2d_starts_at_minus_1e9(x, **o):
    y, indices = good.max_pool2d(x, **o)
    return np.maximum(y, y.dtype.type(max(-1e9, float(np.finfo(np.float16).min)))), indices


@fault("infinity")
def cross_entropy_starts_at_minus_1e30(logits, target, *, reduction):
    e = good.cross_entropy(logits, target, reduction=reduction)
    lost = logits.size and (logits.max(axis=1) < -1e30).any()
    return np.full_like(e, np.nan) if lost else e


@fault("infinity")
def softmax_grad_starts_at_minus_1e4(grad_output, z, *, axis):
    dz = good.softmax_grad(grad_output, z, axis=axis)
    return np.where(z.max(axis=axis, keepdims=True, initial=-np.inf) < -1e4, np.nan, dz).astype(
        z.dtype
    )


@fault("infinity")
def softmax_loses_a_tile_of_1024_impossible_classes(z, *, axis):
    """Minus infinity less minus infinity in a tile that is not the first."""
    p = good.softmax(z, axis=axis)
    rows = np.moveaxis(z, axis, -1)
    lost = np.zeros(rows.shape[:-1], bool)
    for start in range(1024, rows.shape[-1], 1024):
        lost |= np.isneginf(rows[..., start : start + 1024]).all(axis=-1)
    return np.where(np.expand_dims(lost, axis), p.dtype.type(np.nan), p)


@fault("infinity")
def sigmoid_of_infinity_is_nan(z):
    with np.errstate(invalid="ignore"):
        return good.sigmoid(z) + (z - z)


@fault("infinity")
def tanh_of_infinity_is_nan(z):
    with np.errstate(invalid="ignore"):
        return good.tanh(z) + (z - z)


@fault("infinity")
def softmax_of_an_infinite_logit_is_certain(z, *, axis):
    with np.errstate(invalid="ignore"):
        p = good.softmax(z, axis=axis)
    return np.where(np.isposinf(z), p.dtype.type(1), p)


@fault("option")
def leaky_relu_takes_small_slopes_for_none(z, *, negative_slope):
    return good.leaky_relu(z, negative_slope=negative_slope if abs(negative_slope) > 1e-6 else 0.0)


@fault("option")
def leaky_relu_grad_clips_its_slope(grad_output, z, *, negative_slope):
    return good.leaky_relu_grad(grad_output, z, negative_slope=min(negative_slope, 10.0))


@fault("option")
def sgd_step_clips_its_rate(parameter, gradient, *, learning_rate):
    return good.sgd_step(parameter, gradient, learning_rate=min(learning_rate, 10.0))


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


@control
def softmax_starts_at_minus_infinity(z, *, axis):
    """A running maximum and sum, as online softmax has them."""
    rows = np.moveaxis(z, axis, -1).astype(np.float64)
    top = np.full(rows.shape[:-1], -np.inf)
    total = np.zeros(rows.shape[:-1])
    with np.errstate(invalid="ignore"):
        for at in range(rows.shape[-1]):
            new = np.maximum(top, rows[..., at])
            scale = np.where(np.isneginf(new), 1.0, np.exp(top - new))
            term = np.where(np.isneginf(rows[..., at]), 0.0, np.exp(rows[..., at] - new))
            total, top = total * scale + term, new
        p = np.exp(rows - top[..., None]) / total[..., None]
    return np.moveaxis(p, -1, axis).astype(z.dtype)
