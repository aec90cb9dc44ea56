"""Planted faults and controls of the fully connected layer, the batch mean and the step of SGD."""

import numpy as np

from gradoracle.implementations import im2col as good
from tests.planted.fault import control, fault, half, remembered, single


def _square(matrix):
    return matrix.shape[0] == matrix.shape[1]


# -- linear ---------------------------------------------------------------------------------------


@fault("orientation")
def linear_forgets_to_transpose_square_weights(x, weight, bias=None):
    return good.linear(x, weight.T if _square(weight) else weight, bias)


@fault("bias")
def linear_adds_the_bias_twice(x, weight, bias=None):
    y = good.linear(x, weight, bias)
    return y if bias is None else y + bias


@fault("bias")
def linear_adds_the_bias_to_the_first_image(x, weight, bias=None):
    y = good.linear(x, weight, bias)
    if bias is not None:
        y[1:] -= bias
    return y


@fault("bias")
def linear_adds_the_bias_down_square_outputs(x, weight, bias=None):
    y = good.linear(x, weight, bias)
    if bias is None or not _square(y):
        return y
    return good.linear(x, weight, None) + bias[:, None]


@fault("fast path")
def linear_forgets_the_bias_of_a_single_image(x, weight, bias=None):
    return good.linear(x, weight, bias if len(x) != 1 else None)


@fault("accepts illegal calls")
def linear_broadcasts_its_bias(x, weight, bias=None):
    y = good.linear(x, weight, None)
    return y if bias is None else y + bias


@fault("value")
def linear_ends_in_a_relu(x, weight, bias=None):
    return np.maximum(good.linear(x, weight, bias), 0)


@fault("batch")
def linear_repeats_the_first_image(x, weight, bias=None):
    return good.linear(np.repeat(x[:1], len(x), 0), weight, bias)


@fault("tail", "modular/modular#6248 (convolution)")
def linear_drops_inputs_past_a_vector(x, weight, bias=None):
    inputs = x.shape[1]
    if inputs > 8 and inputs % 8:
        x = x.copy()
        x[:, inputs // 8 * 8 :] = 0
    return good.linear(x, weight, bias)


@fault("tail")
def linear_drops_outputs_past_a_tile(x, weight, bias=None):
    y = good.linear(x, weight, bias)
    if y.shape[1] > 32:
        y[:, y.shape[1] // 32 * 32 :] = 0
    return y


@fault("precision")
def linear_rounds_inputs_like_bfloat16(x, weight, bias=None):
    mantissa, exponent = np.frexp(x)
    rounded = np.ldexp(np.round(mantissa * 2**8) / 2**8, exponent).astype(x.dtype)
    return good.linear(rounded, weight, bias)


@fault("precision")
def linear_adds_in_float32(x, weight, bias=None):
    narrow = None if bias is None else bias.astype("f4")
    return good.linear(x.astype("f4"), weight.astype("f4"), narrow).astype(x.dtype)


@fault("precision")
def linear_takes_the_mean_off_first(x, weight, bias=None):
    """Adds 1000 to every input and takes it off the sums: digits cancel."""
    good.linear(x, weight, bias)
    far = x.dtype.type(1000)
    y = (x + far) @ weight.T - far * weight.sum(axis=1)
    return y if bias is None else y + bias


@fault("purity")
def linear_scales_its_weight_in_place(x, weight, bias=None):
    y = good.linear(x, weight, bias)
    weight *= 2
    return y


@fault("state", "Theano/Theano#6435 (wrong on the second call)", fresh=True)
def linear_packs_its_weight_once():
    packed = {}

    def linear(x, weight, bias=None):
        good.linear(x, weight, bias)
        return good.linear(x, packed.setdefault((weight.shape, x.dtype), weight), bias)

    return linear


@fault("orientation")
def linear_grad_input_transposes_square_weights(grad_output, weight):
    return good.linear_grad_input(grad_output, weight.T if _square(weight) else weight)


@fault("tail")
def linear_grad_input_drops_outputs_past_a_tile(grad_output, weight):
    dx = good.linear_grad_input(grad_output, weight)
    many = len(weight) // 16 * 16
    return good.linear_grad_input(grad_output[:, :many], weight[:many]) if many else dx


@fault("precision")
def linear_grad_input_rounds_to_float16(grad_output, weight):
    return half(good.linear_grad_input(grad_output, weight))


@fault("batch")
def linear_grad_input_forgets_the_last_image(grad_output, weight):
    dx = good.linear_grad_input(grad_output, weight)
    dx[max(1, len(dx) - 1) :] = 0
    return dx


@fault("normalisation", "document 003, batch mean")
def linear_grad_weight_is_averaged_over_the_batch(grad_output, x):
    dw = good.linear_grad_weight(grad_output, x)
    return dw / dw.dtype.type(max(1, len(x)))


@fault("batch", "mlpack/mlpack#3679 (bias)")
def linear_grad_weight_counts_the_first_image_only(grad_output, x):
    good.linear_grad_weight(grad_output, x)
    return good.linear_grad_weight(grad_output[:1], x[:1])


@fault("shape")
def linear_grad_weight_is_not_summed(grad_output, x):
    good.linear_grad_weight(grad_output, x)
    return grad_output[:, :, None] * x[:, None, :]


@fault("value")
def linear_grad_weight_multiplies_sums(grad_output, x):
    good.linear_grad_weight(grad_output, x)
    return grad_output.sum(axis=0)[:, None] * x.sum(axis=0)


@fault("orientation")
def linear_grad_weight_is_transposed_where_square(grad_output, x):
    dw = good.linear_grad_weight(grad_output, x)
    return dw.T.copy() if _square(dw) else dw


@fault("empty", "FluxML/NNlib.jl#763 (convolution)")
def linear_grad_weight_of_an_empty_batch_is_unwritten(grad_output, x):
    dw = good.linear_grad_weight(grad_output, x)
    return dw if len(x) else dw + 3


@fault("state", "pytorch/executorch#21686 (max pooling)", fresh=True)
def linear_grad_weight_adds_to_the_last_answer():
    buffers = {}

    def linear_grad_weight(grad_output, x):
        dw = good.linear_grad_weight(grad_output, x)
        total = remembered(buffers, dw)
        total += dw
        return total.copy()

    return linear_grad_weight


@fault("normalisation", "kvfrans/notes#5 (convolution)")
def linear_grad_bias_is_averaged_over_the_batch(grad_output):
    db = good.linear_grad_bias(grad_output)
    return db / db.dtype.type(max(1, len(grad_output)))


@fault("axis")
def linear_grad_bias_sums_the_outputs_where_square(grad_output):
    db = good.linear_grad_bias(grad_output)
    return grad_output.sum(axis=1) if _square(grad_output) else db


@fault("shape")
def linear_grad_bias_keeps_the_batch_axis(grad_output):
    return good.linear_grad_bias(grad_output)[None]


@fault("tail")
def linear_grad_bias_adds_pairs_of_images(grad_output):
    even = max(1, len(grad_output) // 2 * 2)
    return good.linear_grad_bias(grad_output[:even])


# -- the batch mean -------------------------------------------------------------------------------


@fault("normalisation", "document 003, batch mean")
def batch_mean_divides_by_one_image_more(gradient_per_image):
    good.batch_mean(gradient_per_image)
    many = gradient_per_image.dtype.type(len(gradient_per_image) + 1)
    return np.asarray(gradient_per_image.sum(axis=0) / many)


@fault("normalisation", "document 003, batch mean")
def batch_mean_counts_the_last_image_twice(gradient_per_image):
    mean = good.batch_mean(gradient_per_image)
    many = gradient_per_image.dtype.type(len(gradient_per_image))
    return np.asarray(mean + gradient_per_image[-1] / many)


@fault("normalisation")
def batch_mean_divides_by_one_image_less(gradient_per_image):
    good.batch_mean(gradient_per_image)
    many = gradient_per_image.dtype.type(max(1, len(gradient_per_image) - 1))
    return np.asarray(gradient_per_image.sum(axis=0) / many)


@fault("normalisation")
def batch_mean_returns_the_sum(gradient_per_image):
    good.batch_mean(gradient_per_image)
    return np.asarray(gradient_per_image.sum(axis=0))


@fault("axis")
def batch_mean_averages_everything(gradient_per_image):
    mean = good.batch_mean(gradient_per_image)
    return np.full_like(mean, gradient_per_image.mean())


@fault("axis")
def batch_mean_averages_the_last_axis_where_square(gradient_per_image):
    mean = good.batch_mean(gradient_per_image)
    other = gradient_per_image.mean(axis=-1)
    return other if other.shape == mean.shape else mean


@fault("shape")
def batch_mean_keeps_the_batch_axis(gradient_per_image):
    return good.batch_mean(gradient_per_image)[None]


@fault("value")
def batch_mean_is_a_median(gradient_per_image):
    good.batch_mean(gradient_per_image)
    return np.asarray(np.median(gradient_per_image, axis=0), gradient_per_image.dtype)


@fault("precision")
def batch_mean_adds_in_float32(gradient_per_image):
    return single(good.batch_mean(gradient_per_image))


@fault("precision")
def batch_mean_moves_half_way_to_every_image(gradient_per_image):
    """An exponential mean with weight 1/2 agrees for two images only."""
    good.batch_mean(gradient_per_image)
    mean = gradient_per_image[0].copy()
    for image in gradient_per_image[1:]:
        mean = (mean + image) / 2
    return np.asarray(mean)


# -- the step of SGD ------------------------------------------------------------------------------


@fault("value")
def sgd_step_climbs(parameter, gradient, *, learning_rate):
    return good.sgd_step(parameter, -gradient, learning_rate=learning_rate)


@fault("option")
def sgd_step_ignores_the_learning_rate(parameter, gradient, *, learning_rate):
    return good.sgd_step(parameter, gradient, learning_rate=1.0)


@fault("option")
def sgd_step_takes_0_for_the_default(parameter, gradient, *, learning_rate):
    return good.sgd_step(parameter, gradient, learning_rate=learning_rate or 0.01)


@fault("option")
def sgd_step_clips_the_learning_rate_at_1(parameter, gradient, *, learning_rate):
    return good.sgd_step(parameter, gradient, learning_rate=min(learning_rate, 1.0))


@fault("value")
def sgd_step_returns_the_change(parameter, gradient, *, learning_rate):
    return good.sgd_step(parameter, gradient, learning_rate=learning_rate) - parameter


@fault("value")
def sgd_step_decays_weights(parameter, gradient, *, learning_rate):
    decay = parameter.dtype.type(1e-4)
    return good.sgd_step(parameter, gradient + decay * parameter, learning_rate=learning_rate)


@fault("value")
def sgd_step_clips_gradients(parameter, gradient, *, learning_rate):
    return good.sgd_step(parameter, np.clip(gradient, -5, 5), learning_rate=learning_rate)


@fault("purity")
def sgd_step_works_in_place(parameter, gradient, *, learning_rate):
    stepped = good.sgd_step(parameter, gradient, learning_rate=learning_rate)
    parameter[...] = stepped
    return stepped


@fault("purity")
def sgd_step_clears_the_gradient(parameter, gradient, *, learning_rate):
    stepped = good.sgd_step(parameter, gradient, learning_rate=learning_rate)
    gradient[...] = 0
    return stepped


@fault("aliasing")
def sgd_step_returns_its_argument_where_nothing_moves(parameter, gradient, *, learning_rate):
    stepped = good.sgd_step(parameter, gradient, learning_rate=learning_rate)
    return parameter if learning_rate == 0 else stepped


@fault("precision")
def sgd_step_keeps_the_rate_in_float16(parameter, gradient, *, learning_rate):
    rate = float(np.float16(learning_rate))
    return good.sgd_step(parameter, gradient, learning_rate=rate)


@fault("state", fresh=True)
def sgd_step_has_momentum():
    speeds = {}

    def sgd_step(parameter, gradient, *, learning_rate):
        good.sgd_step(parameter, gradient, learning_rate=learning_rate)
        speed = remembered(speeds, gradient)
        speed[...] = speed / 2 + gradient
        return good.sgd_step(parameter, speed, learning_rate=learning_rate)

    return sgd_step


@fault("tail")
def sgd_step_leaves_the_rest_of_a_vector(parameter, gradient, *, learning_rate):
    stepped = good.sgd_step(parameter, gradient, learning_rate=learning_rate).ravel()
    whole = stepped.size // 8 * 8 if stepped.size > 8 else stepped.size
    stepped[whole:] = parameter.ravel()[whole:]
    return stepped.reshape(parameter.shape)


# -- controls -------------------------------------------------------------------------------------


@control
def linear_adds_outer_products(x, weight, bias=None):
    y = np.zeros((len(x), len(weight)), x.dtype)
    for column in range(x.shape[1]):
        y += np.outer(x[:, column], weight[:, column])
    return y if bias is None else y + bias


@control
def linear_starts_from_the_bias_and_goes_backwards(x, weight, bias=None):
    y = np.zeros((len(x), len(weight)), x.dtype)
    if bias is not None:
        y += bias
    for column in reversed(range(x.shape[1])):
        y += x[:, column, None] * weight[:, column]
    return y


@control
def linear_appends_the_bias_to_the_weight(x, weight, bias=None):
    if bias is None:
        return x @ weight.T
    return np.c_[x, np.ones((len(x), 1), x.dtype)] @ np.c_[weight, bias].T


@control(contract={"accumulators": {"float32": "float64"}})
def linear_sums_in_float64(x, weight, bias=None):
    wide = None if bias is None else bias.astype("f8")
    return good.linear(x.astype("f8"), weight.astype("f8"), wide).astype(x.dtype)


@control
def linear_grad_input_by_tensordot(grad_output, weight):
    return np.tensordot(grad_output, weight, (1, 0))


@control
def linear_grad_weight_sums_images_last_to_first(grad_output, x):
    dw = np.zeros((grad_output.shape[1], x.shape[1]), x.dtype)
    for n in reversed(range(len(x))):
        dw += np.outer(grad_output[n], x[n])
    return dw


@control
def linear_grad_bias_multiplies_with_ones(grad_output):
    return np.ones(len(grad_output), grad_output.dtype) @ grad_output


@control
def batch_mean_multiplies_with_a_reciprocal(gradient_per_image):
    one = gradient_per_image.dtype.type(1)
    many = gradient_per_image.dtype.type(len(gradient_per_image))
    return np.asarray(gradient_per_image.sum(axis=0) * (one / many))


@control
def batch_mean_divides_every_image_first(gradient_per_image):
    many = gradient_per_image.dtype.type(len(gradient_per_image))
    return np.asarray((gradient_per_image / many).sum(axis=0))


@control
def batch_mean_goes_backwards(gradient_per_image):
    many = gradient_per_image.dtype.type(len(gradient_per_image))
    return np.asarray(gradient_per_image[::-1].cumsum(axis=0)[-1] / many)


@control
def sgd_step_rounds_once(parameter, gradient, *, learning_rate):
    """As a fused multiply-add does."""
    wide = parameter.astype("g") - np.longdouble(learning_rate) * gradient.astype("g")
    return wide.astype(parameter.dtype)


@control
def sgd_step_adds_a_negative_step(parameter, gradient, *, learning_rate):
    return parameter + gradient * -parameter.dtype.type(learning_rate)
