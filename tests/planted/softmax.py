"""Planted faults and controls of softmax."""

import numpy as np

from gradoracle.implementations import im2col as good
from tests.planted.fault import control, fault, half


def _powers(z, shift):
    return np.exp(z - shift)


# -- softmax --------------------------------------------------------------------------------------


@fault("overflow", "pytorch/pytorch#11752")
def softmax_takes_no_maximum_off(z, *, axis):
    good.softmax(z, axis=axis)
    e = np.exp(z)
    return e / e.sum(axis=axis, keepdims=True)


@fault("overflow", "manassharma07/crysx_nn#7")
def softmax_takes_the_maximum_of_everything_off(z, *, axis):
    good.softmax(z, axis=axis)
    e = _powers(z, z.max(initial=-np.inf))
    return e / e.sum(axis=axis, keepdims=True)


@fault("overflow")
def softmax_clips_logits(z, *, axis):
    return good.softmax(np.clip(z, -80, 80), axis=axis)


@fault("axis")
def softmax_goes_along_the_last_axis(z, *, axis):
    good.softmax(z, axis=axis)
    return good.softmax(z, axis=-1)


@fault("axis")
def softmax_goes_along_axis_1_of_several(z, *, axis):
    good.softmax(z, axis=axis)
    return good.softmax(z, axis=min(1, z.ndim - 1))


@fault("axis")
def softmax_counts_negative_axes_from_the_one_before(z, *, axis):
    good.softmax(z, axis=axis)
    return good.softmax(z, axis=axis if axis >= 0 else (axis + z.ndim - 1) % z.ndim)


@fault("axis")
def softmax_sums_everything(z, *, axis):
    p = good.softmax(z, axis=axis)
    if not p.size:
        return p
    e = _powers(z, z.max())
    return e / e.sum()


@fault("value")
def softmax_adds_an_epsilon(z, *, axis):
    p = good.softmax(z, axis=axis)
    return p / (1 + p.dtype.type(1e-5))


@fault("value")
def softmax_returns_logarithms(z, *, axis):
    return np.log(good.softmax(z, axis=axis))


@fault("value")
def softmax_uses_powers_of_two(z, *, axis):
    good.softmax(z, axis=axis)
    e = np.exp2(z - z.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


@fault("value")
def softmax_masks_minus_infinity_weakly(z, *, axis):
    return good.softmax(np.where(np.isneginf(z), -10, z).astype(z.dtype), axis=axis)


@fault("state")
def softmax_forgets_to_rescale_its_running_sum(z, *, axis):
    """One pass: a larger maximum arrives, what was summed before is not scaled down."""
    good.softmax(z, axis=axis)
    rows = np.moveaxis(z, axis, 0)
    top, total = rows[0], np.zeros(rows.shape[1:], z.dtype)
    for row in rows:
        top = np.maximum(top, row)
        total = total + np.where(np.isneginf(row), 0, np.exp(row - top))
    return np.moveaxis(np.exp(rows - top) / total, 0, axis).astype(z.dtype)


@fault("tail")
def softmax_sums_whole_vectors_only(z, *, axis):
    good.softmax(z, axis=axis)
    e = _powers(z, z.max(axis=axis, keepdims=True))
    side = z.shape[axis]
    kept = np.moveaxis(e, axis, 0)[: side // 4 * 4 if side > 4 else side]
    return e / np.expand_dims(kept.sum(axis=0), axis)


@fault("precision")
def softmax_sums_in_float16(z, *, axis):
    good.softmax(z, axis=axis)
    e = _powers(z, z.max(axis=axis, keepdims=True))
    return e / half(e.sum(axis=axis, keepdims=True))


@fault("purity")
def softmax_takes_the_maximum_off_in_place(z, *, axis):
    p = good.softmax(z, axis=axis)
    z -= z.max(axis=axis, keepdims=True)
    return p


@fault("refuses legal calls", "pytorch/pytorch#795")
def softmax_takes_matrices_only(z, *, axis):
    if z.ndim > 2:
        raise ValueError("softmax expects 1D or 2D input")
    return good.softmax(z, axis=axis)


@fault("value")
def softmax_grad_forgets_the_sum(grad_output, z, *, axis):
    good.softmax_grad(grad_output, z, axis=axis)
    return good.softmax(z, axis=axis) * grad_output


@fault("value")
def softmax_grad_has_the_diagonal_only(grad_output, z, *, axis):
    good.softmax_grad(grad_output, z, axis=axis)
    p = good.softmax(z, axis=axis)
    return p * (1 - p) * grad_output


@fault("value")
def softmax_grad_sums_without_weights(grad_output, z, *, axis):
    good.softmax_grad(grad_output, z, axis=axis)
    p = good.softmax(z, axis=axis)
    return p * (grad_output - grad_output.sum(axis=axis, keepdims=True))


@fault("axis")
def softmax_grad_sums_along_the_last_axis(grad_output, z, *, axis):
    good.softmax_grad(grad_output, z, axis=axis)
    p = good.softmax(z, axis=axis)
    return p * (grad_output - (grad_output * p).sum(axis=-1, keepdims=True))


@fault("value")
def softmax_grad_takes_the_input_for_the_output(grad_output, z, *, axis):
    good.softmax_grad(grad_output, z, axis=axis)
    return z * (grad_output - (grad_output * z).sum(axis=axis, keepdims=True))


@fault("overflow", "FluxML/NNlib.jl#68")
def softmax_grad_overflows(grad_output, z, *, axis):
    good.softmax_grad(grad_output, z, axis=axis)
    e = np.exp(z)
    p = e / e.sum(axis=axis, keepdims=True)
    return p * (grad_output - (grad_output * p).sum(axis=axis, keepdims=True))


@fault("value")
def softmax_grad_changes_its_sign(grad_output, z, *, axis):
    return -good.softmax_grad(grad_output, z, axis=axis)


@fault("precision")
def softmax_grad_rounds_probabilities_to_float16(grad_output, z, *, axis):
    good.softmax_grad(grad_output, z, axis=axis)
    p = half(good.softmax(z, axis=axis))
    return p * (grad_output - (grad_output * p).sum(axis=axis, keepdims=True))


# -- controls -------------------------------------------------------------------------------------


@control
def softmax_multiplies_with_a_reciprocal(z, *, axis):
    e = _powers(z, z.max(axis=axis, keepdims=True))
    return e * (1 / e.sum(axis=axis, keepdims=True))


@control
def softmax_in_one_pass(z, *, axis):
    """The running sum is scaled down whenever a larger maximum arrives."""
    rows = np.moveaxis(z, axis, 0)
    top, total = rows[0], np.zeros(rows.shape[1:], z.dtype)
    for row in rows:
        larger = np.maximum(top, row)
        safe = np.where(np.isneginf(larger), 0, larger)
        total = total * np.exp(top - safe) + np.exp(row - safe)
        top = larger
    return np.moveaxis(np.exp(rows - top) / total, 0, axis).astype(z.dtype)


@control
def softmax_is_an_exponential_of_log_softmax(z, *, axis):
    shifted = z - z.max(axis=axis, keepdims=True)
    return np.exp(shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True)))


@control(contract={"accumulators": {"float32": "float64"}})
def softmax_works_in_float64(z, *, axis):
    return good.softmax(z.astype("f8"), axis=axis).astype(z.dtype)


@control
def softmax_grad_subtracts_products(grad_output, z, *, axis):
    p = good.softmax(z, axis=axis)
    products = grad_output * p
    return products - p * products.sum(axis=axis, keepdims=True)


@control
def softmax_grad_by_the_whole_jacobian(grad_output, z, *, axis):
    p = np.moveaxis(good.softmax(z, axis=axis), axis, -1)
    jacobian = p[..., :, None] * (np.eye(p.shape[-1], dtype=p.dtype) - p[..., None, :])
    dz = np.einsum("...ij,...j->...i", jacobian, np.moveaxis(grad_output, axis, -1))
    return np.moveaxis(dz, -1, axis).copy()
