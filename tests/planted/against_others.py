"""Planted faults of poolings, activations, losses and updates that hide behind two conditions.

An option beside a large side, numbers that are not ordinary in the path of large arrays, views that
are cut out of larger ones, and what an earlier call left behind.
"""

from collections import deque

import numpy as np

from gradoracle.implementations import im2col as good
from tests.planted.fault import fault, gap

ONE, NONE = (1, 1), (0, 0)
BLOCK = 1024  # threads
VECTORS = 2048  # elements from which on a vectorised path is taken
FORGOTTEN, LARGE = "forgotten option", "two large sides"


def _is_stem(o):
    return (o["kernel_size"], o["stride"], o["padding"]) == ((3, 3), (2, 2), ONE)


# -- options of poolings beside a side that is large ----------------------------------------------


@fault(FORGOTTEN)
def max_pool2d_forgets_padding_past_256_columns(x, **o):
    """The second block of threads starts at its first column times the stride."""
    y, indices = good.max_pool2d(x, **o)
    if y.shape[3] > 256 and o["padding"][1] > 0:
        y, indices = y.copy(), indices.copy()
        y[..., 256:], indices[..., 256:] = y[..., 255:-1], indices[..., 255:-1]
    return y, indices


@fault(FORGOTTEN)
def max_pool2d_forgets_padding_of_dilated_windows_past_8_channels(x, **o):
    """Channels are packed by eights, and the first pack only handles windows over the edge."""
    y, indices = good.max_pool2d(x, **o)
    if x.shape[1] > 8 and o["padding"] != NONE and o["dilation"] != ONE:
        y, indices = y.copy(), indices.copy()
        y[:, 8:, 0], indices[:, 8:, 0] = y[:, 8:, -1], indices[:, 8:, -1]
    return y, indices


@fault(FORGOTTEN)
def max_pool2d_vjp_forgets_ceil_mode_past_32_rows(grad_output, x, **o):
    """The last tile of 32 rows has as many as there are without it."""
    dx = good.max_pool2d_vjp(grad_output, x, **o)
    if grad_output.shape[2] > 32 and o["ceil_mode"]:
        down = o["dilation"][0] * (o["kernel_size"][0] - 1) + 1
        rows = (x.shape[2] + 2 * o["padding"][0] - down) // o["stride"][0] + 1
        if rows < grad_output.shape[2]:
            cut = grad_output.copy()
            cut[:, :, rows:] = 0
            return good.max_pool2d_vjp(cut, x, **o)
    return dx


@fault(FORGOTTEN)
def avg_pool2d_grad_input_counts_padding_after_8_images(grad_output, *, input_shape, **o):
    """The batch goes in chunks, and count_include_pad is passed on to the first one."""
    dx = good.avg_pool2d_grad_input(grad_output, input_shape=input_shape, **o)
    if len(grad_output) > 8 and not o["count_include_pad"] and o["padding"] != NONE:
        counted = {**o, "count_include_pad": True}
        dx[8:] = good.avg_pool2d_grad_input(grad_output, input_shape=input_shape, **counted)[8:]
    return dx


@fault(FORGOTTEN)
def avg_pool2d_of_rows_counts_padding_where_it_hangs_over(x, **o):
    """Pooling along rows only, as of sequences, has a path of its own."""
    y = good.avg_pool2d(x, **o)
    rows = o["kernel_size"][0] == o["stride"][0] == 1 and o["padding"][0] == 0
    if rows and o["ceil_mode"] and not o["count_include_pad"]:
        counted = good.avg_pool2d(x, **{**o, "count_include_pad": True})
        y[..., -1] = counted[..., -1]
    return y


@fault("overflow")
def avg_pool2d_counts_pixels_in_16_bits(x, **o):
    """Global pooling of an image of 224 by 224 divides by a negative number."""
    y = good.avg_pool2d(x, **o)
    return -y if np.prod(o["kernel_size"]) > 32767 else y


@fault("nan")
def max_pool2d_drops_nans_of_float64_in_stems(x, **o):
    """The vector instruction for the larger of two numbers returns the second one."""
    if x.dtype == np.float64 and _is_stem(o):
        indices = good.max_pool2d(x, **o)[1]
        return good.max_pool2d(np.where(np.isnan(x), -np.inf, x), **o)[0], indices
    return good.max_pool2d(x, **o)


@fault("tie")
def max_pool2d_vjp_takes_the_last_maximum_of_2x2_in_ceil_mode(grad_output, x, **o):
    """Four pixels are compared pairwise, from the end where the last window is cut."""
    dx = good.max_pool2d_vjp(grad_output, x, **o)
    if o["kernel_size"] == o["stride"] == (2, 2) and o["ceil_mode"] and x.shape[3] % 2:
        flipped = np.ascontiguousarray(x[:, :, ::-1])
        if o["padding"] == NONE and x.shape[2] % 2 == 0:
            back = good.max_pool2d_vjp(np.ascontiguousarray(grad_output[:, :, ::-1]), flipped, **o)
            return np.ascontiguousarray(back[:, :, ::-1])
    return dx


# -- how the arguments lie ------------------------------------------------------------------------


def _is_channels_last(array):
    _, c, h, w = array.shape
    i = array.itemsize
    return min(c, h * w) > 1 and array.strides == (h * w * c * i, i, w * c * i, c * i)


@fault("layout")
def max_pool2d_pads_channels_last_stems_with_zeros(x, **o):
    y, indices = good.max_pool2d(x, **o)
    if _is_channels_last(x) and _is_stem(o):
        y = y.copy()
        y[:, :, 0] = np.maximum(y[:, :, 0], 0)
        y[..., 0] = np.maximum(y[..., 0], 0)
    return y, indices


def _as_dense(array, axes):
    """The same memory, read as if its last so many axes had no gaps."""
    if array.size == 0 or array.strides[-1] != array.itemsize:
        return array
    strides = [*array.strides]
    for axis in range(array.ndim - 2, array.ndim - 1 - axes, -1):
        strides[axis] = strides[axis + 1] * array.shape[axis + 1]
    if any(a > b for a, b in zip(strides, array.strides, strict=True)):
        return array  # it would read beyond
    return np.lib.stride_tricks.as_strided(array, array.shape, strides)


@fault("layout")
def avg_pool2d_reads_the_rows_of_a_crop_as_dense(x, **o):
    """Strides of images and channels are passed on, the pitch of rows is not."""
    return good.avg_pool2d(_as_dense(x, 2) if x.ndim == 4 else x, **o)


@fault("layout")
def batch_mean_takes_the_numbers_of_an_image_for_dense(gradient_per_image):
    good.batch_mean(gradient_per_image)
    return good.batch_mean(_as_dense(gradient_per_image, gradient_per_image.ndim - 1))


def _planes_in_one(array):
    """The numbers of planes that follow each other, as they lie."""
    dense = array.copy(order="C")
    outer = array.strides[: array.ndim - 2]
    if array.ndim < 4 or outer != dense.strides[: array.ndim - 2] or array.strides[-1] <= 0:
        return array
    inner = sorted(array.strides[-2:])
    if (
        inner[0] != array.itemsize
        or inner[1] != array.itemsize * array.shape[-1 - (array.strides[-1] != inner[0])]
    ):
        return array
    return np.lib.stride_tricks.as_strided(array, array.shape, dense.strides)


@fault("layout")
def max_pool2d_grad_input_walks_dense_planes_in_one(grad_output, indices, *, input_shape):
    """One loop over each plane, if planes follow each other: rows or columns first."""
    good.max_pool2d_grad_input(grad_output, indices, input_shape=input_shape)
    return good.max_pool2d_grad_input(
        _planes_in_one(grad_output), _planes_in_one(indices), input_shape=input_shape
    )


@fault("layout")
def sigmoid_grad_walks_dense_planes_in_one(grad_output, z):
    good.sigmoid_grad(grad_output, z)
    flat = _planes_in_one(grad_output), _planes_in_one(z)
    if z.ndim == 4 and z.strides == grad_output.strides:
        return good.sigmoid_grad(grad_output, z)
    return good.sigmoid_grad(*flat)


# -- what an earlier call left behind -------------------------------------------------------------


@fault("state", fresh=True)
def avg_pool2d_keeps_divisors_by_a_hash_that_pairs_commute_in():
    """Height and width are combined by an exclusive or."""
    kept = {}

    def avg_pool2d(x, *, kernel_size, **o):
        y = good.avg_pool2d(x, kernel_size=kernel_size, **o)
        hashed = hash(kernel_size[0]) ^ hash(kernel_size[1])
        key = (x.tobytes(), x.shape, x.dtype, y.shape, hashed, *sorted(o.items()))
        return kept.setdefault(key, y).copy()

    return avg_pool2d


@fault("state", fresh=True)
def avg_pool2d_launches_nothing_after_an_empty_batch():
    """A launch is planned once for a plane; of no images, it has no blocks."""
    plan = {}

    def avg_pool2d(x, **o):
        y = good.avg_pool2d(x, **o)
        key = (x.shape[1:], x.dtype, *sorted(o.items()))
        if key not in plan:
            plan.clear()
            plan[key] = len(x)
        return y if plan[key] else np.zeros_like(y)

    return avg_pool2d


@fault("state", fresh=True)
def softmax_grad_trusts_what_was_kept_if_the_first_number_is_the_same():
    """Probabilities are kept by the address, and checked by a look at the first logit."""
    kept = {}

    def softmax_grad(grad_output, z, *, axis):
        dz = good.softmax_grad(grad_output, z, axis=axis)
        if not z.size:
            return dz
        key = (z.ctypes.data, z.strides, z.shape, z.dtype, z.flat[0].tobytes(), axis)
        if key not in kept:
            kept.clear()
            kept[key] = z.copy()
        return good.softmax_grad(grad_output, kept[key], axis=axis)

    return softmax_grad


@fault("aliasing", fresh=True)
def sigmoid_returns_one_of_16_buffers():
    """Results lie in a pool, whose oldest buffer is used again."""
    pools = {}

    def sigmoid(z):
        y = good.sigmoid(z)
        pool = pools.setdefault((z.shape, z.dtype), deque(maxlen=16))
        if len(pool) < 16:
            pool.append(np.empty_like(y))
        pool.rotate(1)
        pool[0][...] = y
        return pool[0]

    return sigmoid


@fault("purity")
def avg_pool2d_masks_nans_in_place(x, **o):
    """Sums are taken with 0 in the place of NaN, and marked afterwards."""
    y = good.avg_pool2d(x, **o)
    if x.flags.writeable:
        x[np.isnan(x)] = 0
    return y


# -- softmax and losses ---------------------------------------------------------------------------


@fault("axis")
def softmax_takes_all_that_follows_a_negative_axis_for_its_inside(z, *, axis):
    """`shape[axis + 1:]` is everything for axis -1; more than a block goes in chunks."""
    p = good.softmax(z, axis=axis)
    inside = int(np.prod(z.shape[axis + 1 :]))
    if axis < 0 and inside > BLOCK:
        p = p.copy()
        p.reshape(-1)[BLOCK:] = 0
    return p


@fault(LARGE)
def softmax_along_the_first_axis_stops_at_32_columns(z, *, axis):
    """A matrix goes in tiles of 32 by 32, and the next tile's columns are forgotten."""
    p = good.softmax(z, axis=axis)
    if z.ndim == 2 and axis in (0, -2) and min(z.shape) > 32:
        p = p.copy()
        p[32:, 32:] = 0
    return p


@fault(LARGE)
def softmax_grad_stops_at_a_block_of_pixels_beside_the_classes(grad_output, z, *, axis):
    """Segmentation: classes along axis 1, a thread for a pixel."""
    dz = good.softmax_grad(grad_output, z, axis=axis)
    at = axis % z.ndim if z.ndim else 0
    inside = int(np.prod(z.shape[at + 1 :]))
    if 0 < at < z.ndim - 1 and inside > BLOCK:
        dz = dz.copy()
        dz.reshape(*z.shape[: at + 1], -1)[..., BLOCK:] = 0
    return dz


def _overflows(z, axis):
    with np.errstate(all="ignore"):
        e = np.exp(z)
        return e / e.sum(axis=axis, keepdims=True)


@fault("overflow")
def softmax_of_rows_past_a_block_takes_no_maximum_off(z, *, axis):
    p = good.softmax(z, axis=axis)
    with np.errstate(all="ignore"):
        far = z.shape[axis] > BLOCK and not np.isfinite(np.exp(z).sum())
    return _overflows(z, axis) if far else p


@fault("nan")
def softmax_loses_nans_of_rows_past_256(z, *, axis):
    """The maximum of a block is taken by an instruction that ignores NaN; so is the sum."""
    p = good.softmax(z, axis=axis)
    if z.shape[axis] > 256 and np.isnan(z).any():
        return good.softmax(np.where(np.isnan(z), z.dtype.type(-1e4), z), axis=axis)
    return p


@fault("infinity")
def cross_entropy_clamps_the_loss_of_an_impossible_class(logits, target, *, reduction):
    """Logarithms are clamped at -100, as binary losses do."""
    loss = good.cross_entropy(logits, target, reduction=reduction)
    return np.asarray(100, loss.dtype) if np.isposinf(loss) else loss


@fault(LARGE)
def cross_entropy_sums_the_first_1024_rows(logits, target, *, reduction):
    """What each block summed is added up for the mean only."""
    if reduction == "sum" and len(logits) > BLOCK:
        good.cross_entropy(logits, target, reduction=reduction)
        return good.cross_entropy(logits[:BLOCK], target[:BLOCK], reduction=reduction)
    return good.cross_entropy(logits, target, reduction=reduction)


@fault(LARGE)
def cross_entropy_grad_divides_the_first_tile_only(logits, target, *, reduction):
    """Tiles of 64 by 64: those beyond both are not divided by the batch."""
    dz = good.cross_entropy_grad(logits, target, reduction=reduction)
    if reduction == "mean" and min(logits.shape) > 64:
        dz[64:, 64:] *= len(logits)
    return dz


@fault("option")
def cross_entropy_ignores_class_255(logits, target, *, reduction):
    """The number that marks unlabelled pixels, where there are more classes than that."""
    loss = good.cross_entropy(logits, target, reduction="sum")
    seen = target != 255
    if not seen.all():
        good.cross_entropy(logits, target, reduction=reduction)
        count = max(1, int(seen.sum())) if reduction == "mean" else 1
        if not seen.any():
            return np.zeros_like(loss)
        loss = good.cross_entropy(logits[seen], target[seen], reduction="sum")
        return np.asarray(loss / count, logits.dtype)
    return good.cross_entropy(logits, target, reduction=reduction)


@fault("overflow")
def cross_entropy_of_rows_past_a_block_takes_no_maximum_off(logits, target, *, reduction):
    loss = good.cross_entropy(logits, target, reduction=reduction)
    with np.errstate(all="ignore"):
        far = logits.shape[1] > BLOCK and not np.isfinite(np.exp(logits).sum(axis=1)).all()
    return np.full_like(loss, np.inf) if far else loss


# -- elementwise: the path of large arrays --------------------------------------------------------


@fault("overflow")
def tanh_divides_exponentials_in_large_arrays(z):
    if z.size <= VECTORS:
        return good.tanh(z)
    with np.errstate(all="ignore"):
        lost = np.isinf(np.exp(2 * z))
    return np.where(lost, z.dtype.type(np.nan), good.tanh(z))


@fault("nan")
def relu_drops_nans_in_large_arrays(z):
    y = good.relu(z)
    return np.where(np.isnan(y), z.dtype.type(0), y) if z.size > VECTORS else y


@fault(FORGOTTEN)
def leaky_relu_takes_the_larger_in_large_arrays(z, *, negative_slope):
    """The larger of z and slope * z: right for slopes up to 1."""
    y = good.leaky_relu(z, negative_slope=negative_slope)
    if z.size > VECTORS:
        return np.maximum(z, z * z.dtype.type(negative_slope))
    return y


@fault("precision")
def sgd_step_keeps_the_rate_of_large_parameters_in_float32(parameter, gradient, *, learning_rate):
    """The kernel for many numbers takes the rate as a float."""
    if parameter.size > VECTORS:
        learning_rate = float(np.float32(learning_rate))
    return good.sgd_step(parameter, gradient, learning_rate=learning_rate)


@fault("infinity")
def sigmoid_grad_of_large_arrays_squares_an_exponential(grad_output, z):
    """e / (1 + e)^2 with e = e^-z, which overflows for z below -89 only: infinity by infinity."""
    dz = good.sigmoid_grad(grad_output, z)
    if z.size <= VECTORS:
        return dz
    with np.errstate(all="ignore"):
        e = np.exp(-z)
        return np.where(np.isinf(e * e), grad_output * (e / ((1 + e) * (1 + e))), dz)


@gap("overflow", "sums of 2**16 normal numbers in half precision have bounds as large as the mean")
def batch_mean_counts_images_in_float16(gradient_per_image):
    mean = good.batch_mean(gradient_per_image)
    return mean * 0 if mean.dtype == np.float16 and len(gradient_per_image) > 65519 else mean
