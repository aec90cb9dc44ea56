"""Planted faults and controls of relu, leaky relu, sigmoid and tanh."""

import numpy as np

from gradoracle.implementations import im2col as good
from tests.planted.fault import control, fault, half, single


def _check(grad_output, z):
    good.relu_grad(grad_output, z)


# -- relu -----------------------------------------------------------------------------------------


@fault("nan", "uxlfoundation/oneDNN#5370 (RISC-V)")
def relu_drops_nans(z):
    return np.fmax(z, 0)


@fault("infinity")
def relu_multiplies_with_its_mask(z):
    return z * (z > 0)


@fault("infinity")
def relu_halves_the_sum_with_its_absolute_value(z):
    """Minus infinity plus infinity is no number."""
    return (z + abs(z)) / 2


@fault("value")
def relu_clips_at_6(z):
    return np.clip(z, 0, 6)


@fault("value")
def relu_takes_absolute_values(z):
    return abs(z)


@fault("value")
def relu_leaks(z):
    return good.leaky_relu(z, negative_slope=0.01)


@fault("value")
def relu_flushes_small_numbers(z):
    return np.where(z > 1e-6, z, z.dtype.type(0))


@fault("tail")
def relu_leaves_the_rest_of_a_vector(z):
    y = np.maximum(z, 0).ravel()
    whole = y.size // 8 * 8 if y.size > 8 else y.size
    y[whole:] = z.ravel()[whole:]
    return y.reshape(z.shape)


@fault("purity")
def relu_works_in_place(z):
    z[z < 0] = 0
    return z.copy()


@fault("aliasing")
def relu_returns_its_argument_where_nothing_changes(z):
    return z if (z >= 0).all() else good.relu(z)


@fault("refuses legal calls")
def relu_wants_four_axes(z):
    _, _, _, _ = z.shape
    return good.relu(z)


@fault("value", "document 002, f'(0) left open")
def relu_grad_is_1_at_0(grad_output, z):
    _check(grad_output, z)
    return np.where(z >= 0, grad_output, grad_output.dtype.type(0))


@fault("value")
def relu_grad_is_a_half_at_0(grad_output, z):
    return good.relu_grad(grad_output, z) + np.where(z == 0, grad_output / 2, 0)


@fault("value")
def relu_grad_looks_at_dy(grad_output, z):
    _check(grad_output, z)
    return np.where(grad_output > 0, grad_output, grad_output.dtype.type(0))


@fault("value")
def relu_grad_is_guided(grad_output, z):
    return np.maximum(good.relu_grad(grad_output, z), 0)


@fault("value")
def relu_grad_returns_the_mask(grad_output, z):
    _check(grad_output, z)
    return (z > 0).astype(z.dtype)


@fault("dtype")
def relu_grad_returns_float64(grad_output, z):
    return good.relu_grad(grad_output, z).astype(np.float64)


@fault("purity")
def relu_grad_works_in_place(grad_output, z):
    dz = good.relu_grad(grad_output, z)
    grad_output[z <= 0] = 0
    return dz


@fault("accepts illegal calls")
def relu_grad_broadcasts(grad_output, z):
    return np.where(z > 0, grad_output, grad_output.dtype.type(0))


# -- leaky relu -----------------------------------------------------------------------------------


@fault("value")
def leaky_relu_takes_the_larger(z, *, negative_slope):
    """max(z, slope z) is the other branch for slopes above 1."""
    return np.maximum(z, z * z.dtype.type(negative_slope))


@fault("option")
def leaky_relu_ignores_its_slope(z, *, negative_slope):
    return good.leaky_relu(z, negative_slope=0.01)


@fault("option")
def leaky_relu_takes_0_for_the_default(z, *, negative_slope):
    return good.leaky_relu(z, negative_slope=negative_slope or 0.01)


@fault("precision")
def leaky_relu_keeps_its_slope_in_float16(z, *, negative_slope):
    return good.leaky_relu(z, negative_slope=float(np.float16(negative_slope)))


@fault("precision")
def leaky_relu_keeps_its_slope_in_float32(z, *, negative_slope):
    return good.leaky_relu(z, negative_slope=float(np.float32(negative_slope)) * (1 + 2.0**-24))


@fault("value")
def leaky_relu_scales_both_sides(z, *, negative_slope):
    return good.leaky_relu(z, negative_slope=negative_slope) * z.dtype.type(1 + negative_slope)


@fault("value")
def leaky_relu_grad_is_1_at_0(grad_output, z, *, negative_slope):
    _check(grad_output, z)
    return np.where(z >= 0, grad_output, grad_output * grad_output.dtype.type(negative_slope))


@fault("value")
def leaky_relu_grad_squares_the_slope(grad_output, z, *, negative_slope):
    return good.leaky_relu_grad(grad_output, z, negative_slope=negative_slope**2)


@fault("value")
def leaky_relu_grad_looks_at_the_output(grad_output, z, *, negative_slope):
    """What an in-place layer has left; wrong where the slope is negative."""
    y = good.leaky_relu(z, negative_slope=negative_slope)
    return good.leaky_relu_grad(grad_output, y, negative_slope=negative_slope)


@fault("value")
def leaky_relu_grad_is_that_of_relu(grad_output, z, *, negative_slope):
    return good.relu_grad(grad_output, z)


# -- sigmoid --------------------------------------------------------------------------------------


@fault("overflow", "clab/dynet#761")
def sigmoid_overflows(z):
    return np.exp(z) / (1 + np.exp(z))


@fault("precision", "chainer/chainer#1047")
def sigmoid_is_half_a_tanh(z):
    return np.tanh(z * z.dtype.type(0.5)) * z.dtype.type(0.5) + z.dtype.type(0.5)


@fault("precision")
def sigmoid_subtracts_from_1(z):
    y = good.sigmoid(abs(z))
    return np.where(z >= 0, y, 1 - y)


@fault("value")
def sigmoid_clips_its_argument(z):
    return good.sigmoid(np.clip(z, -15, 15))


@fault("value")
def sigmoid_is_hard(z):
    return np.clip(z * z.dtype.type(0.2) + z.dtype.type(0.5), 0, 1)


@fault("value")
def sigmoid_is_off_by_1e_6(z):
    return good.sigmoid(z) * z.dtype.type(1 + 1e-6)


@fault("precision")
def sigmoid_uses_a_float16_exponential(z):
    e = half(np.exp(-abs(z)))
    return np.where(z >= 0, 1, e) / (1 + e)


@fault("tail")
def sigmoid_skips_the_rest_of_a_vector(z):
    y = good.sigmoid(z).ravel()
    y[y.size // 8 * 8 or y.size :] = 0.5
    return y.reshape(z.shape)


@fault("overflow", "jeshraghian/snntorch#427")
def sigmoid_grad_overflows(grad_output, z):
    _check(grad_output, z)
    return grad_output * np.exp(-z) / (1 + np.exp(-z)) ** 2


@fault("value", "tenstorrent/tt-metal#56397")
def sigmoid_grad_is_0_in_the_tail(grad_output, z):
    return np.where(z < -10, 0, good.sigmoid_grad(grad_output, z))


@fault("value")
def sigmoid_grad_takes_the_input_for_the_output(grad_output, z):
    _check(grad_output, z)
    return grad_output * z * (1 - z)


@fault("value")
def sigmoid_grad_applies_sigmoid_twice(grad_output, z):
    return good.sigmoid_grad(grad_output, good.sigmoid(z))


@fault("value")
def sigmoid_grad_forgets_dy(grad_output, z):
    return good.sigmoid_grad(np.ones_like(grad_output), z)


@fault("precision")
def sigmoid_grad_works_in_float32(grad_output, z):
    return single(good.sigmoid_grad(grad_output, z))


# -- tanh -----------------------------------------------------------------------------------------


@fault("overflow")
def tanh_divides_exponentials(z):
    return (np.exp(z) - np.exp(-z)) / (np.exp(z) + np.exp(-z))


@fault("precision")
def tanh_is_the_root_of_1_less_a_squared_secant(z):
    """Next to 0 it cancels to the root of what the displayed quotient loses."""
    e = np.exp(-2 * abs(z))
    return np.copysign(np.sqrt(1 - 4 * e / ((1 + e) * (1 + e))), z)


@fault("precision")
def tanh_is_twice_a_float16_sigmoid(z):
    return 2 * half(good.sigmoid(2 * z)) - 1


@fault("precision")
def tanh_divides_float16_exponentials(z):
    inner = np.clip(z, -10, 10)
    a, b = half(np.exp(inner)), half(np.exp(-inner))
    return (a - b) / (a + b)


@fault("value")
def tanh_is_its_argument_next_to_0(z):
    return np.where(abs(z) < 0.05, z, np.tanh(z)).astype(z.dtype)


@fault("value")
def tanh_clips_its_argument_at_5(z):
    return np.tanh(np.clip(z, -5, 5))


@fault("overflow", "Tencent/ncnn#1769")
def tanh_is_0_far_out(z):
    return np.where(abs(z) > 43.5, 0, np.tanh(z)).astype(z.dtype)


@fault("value")
def tanh_is_a_rational_function(z):
    z = np.clip(z, -3, 3)
    return z * (27 + z * z) / (27 + 9 * z * z)


@fault("value")
def tanh_is_0_next_to_0(z):
    return np.where(abs(z) < 1e-4, 0, np.tanh(z)).astype(z.dtype)


@fault("precision")
def tanh_works_in_float32(z):
    return np.tanh(z.astype("f4")).astype(z.dtype)


@fault("value")
def tanh_grad_takes_the_input_for_the_output(grad_output, z):
    _check(grad_output, z)
    return grad_output * (1 - z * z)


@fault("value")
def tanh_grad_forgets_the_square(grad_output, z):
    _check(grad_output, z)
    return grad_output * (1 - abs(np.tanh(z)))


@fault("value")
def tanh_grad_is_that_of_sigmoid(grad_output, z):
    return good.sigmoid_grad(grad_output, z)


@fault("value")
def tanh_grad_is_0_past_3(grad_output, z):
    return np.where(abs(z) > 3, 0, good.tanh_grad(grad_output, z)).astype(z.dtype)


@fault("overflow")
def tanh_grad_divides_by_an_overflowing_square(grad_output, z):
    _check(grad_output, z)
    e = np.exp(2 * z)
    return grad_output * 4 * e / (e + 1) ** 2


@fault("precision")
def tanh_grad_works_in_float16(grad_output, z):
    return half(good.tanh_grad(grad_output, z))


# -- controls -------------------------------------------------------------------------------------


@control
def relu_selects(z):
    return np.where(z < 0, z.dtype.type(0), z)


@control
def relu_clips_from_below(z):
    return np.clip(z, 0, None)


@control
def relu_grad_multiplies_with_the_mask(grad_output, z):
    return grad_output * (z > 0)


@control
def relu_grad_looks_at_the_output(grad_output, z):
    return np.where(np.maximum(z, 0) > 0, grad_output, grad_output.dtype.type(0))


@control
def leaky_relu_adds_both_sides(z, *, negative_slope):
    return np.maximum(z, 0) + z.dtype.type(negative_slope) * np.minimum(z, 0)


@control
def leaky_relu_multiplies_with_a_slope_per_element(z, *, negative_slope):
    return z * np.where(z > 0, 1, negative_slope).astype(z.dtype)


@control
def leaky_relu_grad_multiplies_with_a_slope_per_element(grad_output, z, *, negative_slope):
    return grad_output * np.where(z > 0, 1, negative_slope).astype(z.dtype)


@control
def sigmoid_lets_the_exponential_overflow(z):
    """1 / (1 + inf) is 0."""
    return 1 / (1 + np.exp(-z))


@control
def sigmoid_branches(z):
    y, left = np.empty_like(z), z < 0
    e = np.exp(z[left])
    y[left] = e / (1 + e)
    y[~left] = 1 / (1 + np.exp(-z[~left]))
    return y


@control(contract={"accumulators": {"float32": "float64"}})
def sigmoid_works_in_float64(z):
    return good.sigmoid(z.astype("f8")).astype(z.dtype)


@control
def sigmoid_grad_multiplies_output_and_rest(grad_output, z):
    y = good.sigmoid(z)
    return grad_output * y * (1 - y)


@control
def sigmoid_grad_subtracts_the_square(grad_output, z):
    y = good.sigmoid(z)
    return grad_output * (y - y * y)


@control
def sigmoid_grad_multiplies_both_sigmoids(grad_output, z):
    return grad_output * good.sigmoid(z) * good.sigmoid(-z)


@control
def tanh_by_expm1(z):
    e = np.expm1(-2 * abs(z))
    return np.copysign(e / (2 + e), z)


@control
def tanh_is_as_displayed(z):
    """Next to 0 it subtracts two numbers close to 1, as the equation does."""
    inner = np.clip(z, -20, 20)
    a, b = np.exp(inner), np.exp(-inner)
    return np.where(abs(z) > 20, np.sign(z), (a - b) / (a + b)).astype(z.dtype)


@control
def tanh_divides_by_one_exponential(z):
    """(1 - e^-2z) / (1 + e^-2z): the displayed quotient, less accurate nowhere."""
    e = np.exp(-2 * abs(z))
    return np.sign(z) * (1 - e) / (1 + e)


@control
def tanh_is_twice_a_sigmoid(z):
    """It loses next to 0 what the displayed quotient does."""
    return 2 * good.sigmoid(2 * z) - 1


@control
def tanh_divides_sinh_by_cosh(z):
    inner = np.clip(z, -20, 20)
    return np.where(abs(z) > 20, np.sign(z), np.sinh(inner) / np.cosh(inner)).astype(z.dtype)


@control
def tanh_grad_uses_the_displayed_tanh(grad_output, z):
    y = tanh_is_as_displayed(z)
    return grad_output * (1 - y * y)


@control
def tanh_grad_subtracts_products(grad_output, z):
    y = np.tanh(z)
    return grad_output - grad_output * y * y


@control
def tanh_grad_multiplies_sum_and_difference(grad_output, z):
    """As JAX does."""
    y = np.tanh(z)
    return (grad_output + grad_output * y) * (1 - y)


@control
def tanh_grad_is_a_squared_secant(grad_output, z):
    return grad_output * (1 / np.cosh(z)) ** 2


@control
def tanh_grad_by_exponentials(grad_output, z):
    e = np.exp(-2 * abs(z))
    return grad_output * (4 * e / ((1 + e) * (1 + e)))
