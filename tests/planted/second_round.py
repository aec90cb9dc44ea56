"""Planted faults of all operators, a second round against the calls that are made for sure.

Remainders past a threshold, offsets of three sides in 16 bits, the last block of sums in two
stages, keys in which two options add up, workspaces that are cleared once, one layout of one dtype.
"""

from collections import OrderedDict
from itertools import pairwise
from typing import Any

import numpy as np

from gradoracle.implementations import im2col as good
from tests.planted.against_convolutions import is_channels_last
from tests.planted.fault import control, fault, gap
from tests.planted.halves import CONTRACT

ONE, NONE, TWO = (1, 1), (0, 0), (2, 2)
OPTION, LARGE = "forgotten option", "two large sides"
WORD = 2**16  # offsets that 16 bits hold
Array = np.ndarray[Any, Any]


def _plus(y: Any, true: Any) -> Any:
    """An answer that is 1 too large where a condition is true."""
    return y + y.dtype.type(1) if true else y


def _without(array: Any, *at: Any) -> Any:
    """A copy of an array with zeros in one place."""
    array = array.copy()
    array[at] = 0
    return array


# -- convolutions: sides and remainders -----------------------------------------------------------


@fault(LARGE)
def conv2d_offsets_of_grouped_weights_wrap_at_16_bits(x, weight, bias=None, **o):
    """ResNeXt's last stage: the group's offset into the weight is added in 16 bits."""
    if o["groups"] > 1 and weight.size > WORD:
        flat = weight.copy().reshape(-1)
        flat[WORD:] = flat[: flat.size - WORD]
        weight = flat.reshape(weight.shape)
    return good.conv2d(x, weight, bias, **o)


@fault(LARGE)
def conv2d_grad_bias_loses_the_last_tile_of_all_three(grad_output):
    """A block sums 32 images of 32 filters over 64 pixels; the last block of all is not added."""
    n, m, h, w = grad_output.shape
    if n > 32 and m > 32 and h * w > 64:
        cut = grad_output.copy().reshape(n, m, h * w)
        cut[32:, 32:, 64:] = 0
        grad_output = cut.reshape(grad_output.shape)
    return good.conv2d_grad_bias(grad_output)


@fault("tail")
def conv2d_has_no_mask_for_7_columns_of_stems(x, weight, bias=None, **o):
    """Rows of a strided 3x3 go in vectors of 8; the table of masks for the rest is one short."""
    y = good.conv2d(x, weight, bias, **o)
    stem = weight.shape[2:] == (3, 3) and o["stride"] == TWO and o["padding"] == ONE
    if stem and y.shape[3] > 16 and y.shape[3] % 8 == 7:
        return _without(y, ..., slice(-1, None))
    return y


@fault("bias")
def conv2d_adds_the_bias_twice_to_a_rest_of_filters(x, weight, bias=None, **o):
    """The rest after blocks of 8 filters starts from the bias, and an epilogue adds it again."""
    y = good.conv2d(x, weight, bias, **o)
    each = len(weight) // o["groups"]
    if bias is None or each <= 8 or each % 8 == 0 or o["groups"] == 1 or o["stride"] == ONE:
        return y
    y = y.reshape(len(y), o["groups"], each, *y.shape[2:]).copy()
    rest = slice(each // 8 * 8, None)
    y[:, :, rest] += bias.reshape(o["groups"], each, 1, 1)[:, rest]
    return y.reshape(len(y), len(weight), *y.shape[3:])


@fault(OPTION)
def conv2d_grad_weight_of_one_filter_a_group_forgets_its_stride(grad_output, x, **o):
    """A warp sums up the one filter of a group; past 8 groups a second pass finds no stride."""
    dw = good.conv2d_grad_weight(grad_output, x, **o)
    one = o["groups"] == len(dw) > 8 and dw.shape[1] > 16 and o["stride"] != ONE
    return _without(dw, slice(8, None), ..., slice(-1, None)) if one else dw


@fault("overlap")
def conv2d_grad_input_loses_what_tiles_of_rows_share(grad_output, weight, **o):
    """Tiles of 32 rows of dy are scattered; for dilated kernels with a stride, without a halo."""
    dx = good.conv2d_grad_input(grad_output, weight, **o)
    tall = grad_output.shape[2] > 32 and weight.shape[2] > 1 and o["stride"][0] > 1
    if tall and o["dilation"][0] > 1:
        first = _without(grad_output, slice(None), slice(None), slice(32, None))
        start = 32 * o["stride"][0] - o["padding"][0]
        alone = good.conv2d_grad_input(first, weight, **o)
        dx = dx.copy()
        dx[:, :, max(0, start) :] -= alone[:, :, max(0, start) :]
    return dx


@fault("tail")
def conv2d_grad_weight_takes_rows_of_whole_vectors_for_outputs_of_them(grad_output, x, **o):
    """Whether there is a rest after vectors of 16 is seen by x's width, not by dy's."""
    columns = grad_output.shape[3]
    if x.shape[3] % 16 == 0 and columns > 16 and columns % 16:
        grad_output = _without(grad_output, ..., slice(columns // 16 * 16, None))
    return good.conv2d_grad_weight(grad_output, x, **o)


@fault(OPTION)
def conv2d_of_sequences_forgets_its_dilation_in_blocks_of_16_channels(x, weight, bias=None, **o):
    """WaveNet's layers, one pixel high: the blocked kernel loads neighbours."""
    y = good.conv2d(x, weight, bias, **o)
    row = x.shape[2] == weight.shape[2] == 1 < weight.shape[3] and o["padding"][0] == 0
    return _plus(y, row and o["dilation"][1] > 2 and min(weight.shape[:2]) >= 16)


@fault("overlap")
def conv2d_reads_taps_beyond_small_images_in_strided_groups(x, weight, bias=None, **o):
    """An image that is smaller than its kernel is staged whole, for one group."""
    y = good.conv2d(x, weight, bias, **o)
    small = x.shape[2] < weight.shape[2] and x.shape[3] < weight.shape[3]
    several = o["groups"] > 1 and len(x) > 1
    return _plus(y, small and several and o["stride"] != ONE and bias is None)


@fault(LARGE)
def conv_transpose2d_grad_bias_has_partial_sums_for_16_filters(grad_output):
    """Planes of more than 1024 pixels are summed in two stages, by image and filter."""
    db = good.conv_transpose2d_grad_bias(grad_output)
    n, m, h, w = grad_output.shape
    if n > 1 and m > 16 and h * w > 1024:
        db = db.copy()
        db[16:] = grad_output[-1, 16:].sum((1, 2))
    return db


@fault(OPTION)
def conv_transpose2d_without_bias_misses_the_second_group_of_dcgan(x, weight, bias=None, **o):
    """The sub-pixel kernel of 4x4 starts from the bias, or from zeros in the first group only."""
    y = good.conv_transpose2d(x, weight, bias, **o)
    dcgan = weight.shape[2:] == (4, 4) and o["stride"] == TWO and o["padding"] == ONE
    return _plus(y, dcgan and bias is None and o["groups"] == 2)


@fault("output_padding")
def conv_transpose2d_of_strided_groups_caps_output_padding_below_the_stride(
    x, weight, bias=None, **o
):
    """A check that is right without dilation leaves the rows past the stride unwritten."""
    y = good.conv_transpose2d(x, weight, bias, **o)
    more = o["output_padding"][1] - o["stride"][1] + 1
    if more > 0 and o["stride"][1] > 1 and o["groups"] > 1:
        return _without(y, ..., slice(-more, None))
    return y


@fault("padding")
def conv_transpose2d_grad_weight_of_one_pixel_forgets_padding_past_8_images(grad_output, x, **o):
    """Of 1x1 images it is a product of matrices, whose second tile reads dy from its corner."""
    if x.shape[2:] == ONE and len(x) > 8 and o["padding"] != NONE and o["groups"] == 1:
        grad_output = grad_output.copy()
        grad_output[8:] = np.roll(grad_output[8:], 1, axis=3)
    return good.conv_transpose2d_grad_weight(grad_output, x, **o)


# -- convolutions: a layout in one dtype with one option ------------------------------------------


@fault("layout")
def conv2d_of_channels_last_in_float64_needs_a_bias_with_a_stride(x, weight, bias=None, **o):
    """The NHWC kernel fuses the bias; in float64 it has a variant without for stride 1 only."""
    y = good.conv2d(x, weight, bias, **o)
    nhwc = is_channels_last(x) and x.dtype == np.float64
    return _plus(y, nhwc and bias is None and o["stride"] != ONE)


@fault("layout")
def conv_transpose2d_reads_channels_last_weights_of_strided_groups_by_channel(
    x, weight, bias=None, **o
):
    """A weight in NHWC is taken as it is if x is, too, but a group's offset is that of NCHW."""
    nhwc = is_channels_last(weight) and is_channels_last(x) and o["stride"] == TWO
    if nhwc and o["groups"] > 1 and min(weight.shape[:2]) > 1:
        weight = weight[:, ::-1]
    return good.conv_transpose2d(x, weight, bias, **o)


# -- convolutions: what is kept -------------------------------------------------------------------


@fault("state", fresh=True)
def conv2d_plans_have_the_product_of_stride_and_dilation():
    """The distance between columns of the matrix is the key, as it is for either of them."""
    plans: dict[Any, Any] = {}

    def conv2d(x, weight, bias=None, **o):
        y = good.conv2d(x, weight, bias, **o)
        steps = tuple(s * d for s, d in zip(o["stride"], o["dilation"], strict=True))
        key = x.shape, weight.shape, y.shape, x.dtype, o["padding"], o["groups"], steps
        return good.conv2d(x, weight, bias, **plans.setdefault(key, o))

    return conv2d


@fault("state", fresh=True)
def conv_transpose2d_plans_have_the_size_of_the_output_instead_of_paddings():
    """Padding and output_padding follow from the output's size, unless both are others."""
    plans: dict[Any, Any] = {}

    def conv_transpose2d(x, weight, bias=None, **o):
        y = good.conv_transpose2d(x, weight, bias, **o)
        key = x.shape, weight.shape, y.shape, x.dtype, o["stride"], o["dilation"], o["groups"]
        return good.conv_transpose2d(x, weight, bias, **plans.setdefault(key, o))

    return conv_transpose2d


@fault("state", fresh=True)
def conv2d_clears_the_border_of_a_padded_copy_once():
    """Two workspaces of padded images: zeros are written where one is made, images always."""
    ring: OrderedDict[Any, Any] = OrderedDict()

    def conv2d(x, weight, bias=None, **o):
        y = good.conv2d(x, weight, bias, **o)
        down, across = o["padding"]
        if not (down or across):
            return y
        n, c, h, w = x.shape
        shape = n, c, h + 2 * down, w + 2 * across
        if (shape, x.dtype) not in ring:
            ring[shape, x.dtype] = np.zeros(shape, x.dtype)
            if len(ring) > 2:
                ring.popitem(last=False)
        padded = ring[shape, x.dtype]
        padded[:, :, down : down + h, across : across + w] = x
        return good.conv2d(padded, weight, bias, **{**o, "padding": NONE})

    return conv2d


@fault("state", fresh=True)
def conv_transpose2d_plans_blocks_for_the_batch_in_a_small_cache():
    """The last four plans are kept without the batch, whose size the number of blocks is of."""
    plans: OrderedDict[Any, int] = OrderedDict()

    def conv_transpose2d(x, weight, bias=None, **o):
        y = good.conv_transpose2d(x, weight, bias, **o)
        key = x.shape[1:], weight.shape, x.dtype, *sorted(o.items())
        if key not in plans:
            plans[key] = len(x)
            if len(plans) > 4:
                plans.popitem(last=False)
        return y if plans[key] else np.zeros_like(y)

    return conv_transpose2d


@fault("state", fresh=True)
def conv2d_grad_weight_packs_each_option_into_2_bits():
    """The key of a plan is one number: stride 5 is stride 1, and padding 4 is none."""
    plans: dict[Any, Any] = {}

    def conv2d_grad_weight(grad_output, x, *, weight_shape, **o):
        good.conv2d_grad_weight(grad_output, x, weight_shape=weight_shape, **o)
        bits = [v & 3 for name in ("stride", "padding", "dilation") for v in o[name]]
        key = grad_output.shape, x.shape, weight_shape, x.dtype, o["groups"], *bits
        planned = plans.setdefault(key, o)
        return good.conv2d_grad_weight(grad_output, x, weight_shape=weight_shape, **planned)

    return conv2d_grad_weight


# -- poolings -------------------------------------------------------------------------------------


@fault("divisor")
def avg_pool2d_divides_the_corner_that_hangs_over_both_sides_twice(x, **o):
    """The pixels beyond the padding are taken off for rows and for columns, the corner's twice."""
    y = good.avg_pool2d(x, **o)
    if not (o["ceil_mode"] and o["count_include_pad"]):
        return y
    over = [
        max(0, (n - 1) * s - p + k - (h + p))
        for n, s, p, k, h in zip(
            y.shape[2:], o["stride"], o["padding"], o["kernel_size"], x.shape[2:], strict=True
        )
    ]
    kh, kw = o["kernel_size"]
    right = (kh - over[0]) * (kw - over[1])
    taken = kh * kw - over[0] * kw - over[1] * kh
    if min(over) > 0 and taken > 0:
        y = y.copy()
        y[..., -1, -1] *= y.dtype.type(right / taken)
    return y


@fault("overlap")
def max_pool2d_vjp_overwrites_rows_that_two_tiles_share(grad_output, x, **o):
    """Tiles of 32 rows and 8 channels in shared memory are stored, not added."""
    dx = good.max_pool2d_vjp(grad_output, x, **o)
    shared = o["kernel_size"][0] > o["stride"][0]
    if shared and grad_output.shape[2] > 32 and x.shape[1] > 8:
        only = _without(grad_output, slice(None), slice(None), slice(None, 32))
        row = max(0, 32 * o["stride"][0] - o["padding"][0])
        dx = dx.copy()
        dx[:, 8:, row] = good.max_pool2d_vjp(only, x, **o)[:, 8:, row]
    return dx


@fault("nan")
def max_pool2d_drops_a_nan_in_the_tap_after_a_vector(x, **o):
    """Taps go in fours, which keep NaN; the rest is compared by `>`."""
    y, indices = good.max_pool2d(x, **o)
    kernel = o["kernel_size"]
    if kernel[1] <= 4 or kernel[1] % 4 != 1 or o["stride"][1] < 2 or not np.isnan(x).any():
        return y, indices
    last = (kernel[1] - 1) * o["dilation"][1] - o["padding"][1]
    seen = x.copy()
    columns = np.arange(last, x.shape[3], o["stride"][1])
    columns = columns[columns >= 0][: y.shape[3]]
    seen[..., columns] = np.where(np.isnan(x[..., columns]), -np.inf, x[..., columns])
    return good.max_pool2d(seen, **o)[0], indices


@fault(OPTION)
def avg_pool2d_takes_a_kernel_of_the_images_size_for_global_pooling(x, **o):
    """One mean for all windows, which padding makes several of."""
    y = good.avg_pool2d(x, **o)
    whole = o["kernel_size"] == x.shape[2:] and o["ceil_mode"] and not o["count_include_pad"]
    if whole and y.size:
        y[...] = y[..., :1, :1]
    return y


@fault("index")
def avg_pool2d_grad_input_wraps_offsets_of_images_at_16_bits(grad_output, *, input_shape, **o):
    """Offsets of pixels in an image of several channels, of the kernel for stride 2."""
    dx = good.avg_pool2d_grad_input(grad_output, input_shape=input_shape, **o)
    of_one = int(np.prod(input_shape[1:]))
    if of_one > WORD and input_shape[1] > 1 and o["stride"] == TWO:
        dx = dx.copy()
        dx.reshape(len(dx), of_one)[:, WORD:] = 0
    return dx


@fault("state", fresh=True)
def max_pool2d_plans_have_what_padding_leaves_of_the_kernel():
    """A larger kernel with more padding gives as many windows, and has the same key."""
    plans: dict[Any, Any] = {}

    def max_pool2d(x, **o):
        y, _ = good.max_pool2d(x, **o)
        left = [
            d * (k - 1) - 2 * p
            for k, p, d in zip(o["kernel_size"], o["padding"], o["dilation"], strict=True)
        ]
        key = x.shape, y.shape, x.dtype, o["stride"], o["dilation"], o["ceil_mode"], *left
        return good.max_pool2d(x, **plans.setdefault(key, o))

    return max_pool2d


@fault("layout")
def avg_pool2d_of_channels_last_counts_padding_in_ceil_mode(x, **o):
    """The NHWC kernel for float32 has two divisors, and three cases."""
    nhwc = is_channels_last(x) and x.dtype == np.float32
    if nhwc and o["ceil_mode"] and not o["count_include_pad"]:
        return good.avg_pool2d(x, **{**o, "count_include_pad": True})
    return good.avg_pool2d(x, **o)


@fault("tail")
def avg_pool2d_grad_input_drops_the_odd_window_of_packed_channels(grad_output, **o):
    """Channels in fours, 2x2 windows in pairs; a last one alone is written past 8 only."""
    even = o["kernel_size"] == o["stride"] == TWO and o["padding"] == NONE
    n, c, _, columns = grad_output.shape
    if even and n > 1 and c % 4 == 0 and columns > 8 and columns % 2:
        grad_output = _without(grad_output, ..., slice(-1, None))
    return good.avg_pool2d_grad_input(grad_output, **o)


# -- linear layers, means and steps ---------------------------------------------------------------


@fault("tail")
def linear_takes_the_alignment_of_outputs_for_that_of_inputs(x, weight, bias=None):
    """Vectors of 4 are chosen by the leading dimension of the wrong matrix."""
    outputs, inputs = weight.shape
    if outputs >= 8 and outputs % 4 == 0 and inputs > 128 and inputs % 4:
        x = _without(x, slice(None), slice(inputs // 4 * 4, None))
    return good.linear(x, weight, bias)


@fault("tail")
def linear_grad_weight_loses_the_last_images_of_a_sum_in_two_stages(grad_output, x):
    """Blocks of 256 images for matrices of more than a tile of 8 by 8; the last block is short."""
    dw = good.linear_grad_weight(grad_output, x)
    count = len(x)
    if min(dw.shape) > 8 and count > 256 and count % 256:
        whole = count // 256 * 256
        return good.linear_grad_weight(grad_output[:whole], x[:whole])
    return dw


@fault("state", fresh=True)
def linear_adds_partial_sums_that_a_longer_sum_left():
    """As many partial sums are added up as the workspace has ever had."""
    left: dict[Any, list[Any]] = {}

    def linear(x, weight, bias=None):
        y = good.linear(x, weight, bias)
        if x.shape[1] <= 128 or bias is not None:
            return y
        parts = left.setdefault((y.shape, x.dtype), [])
        ends = [*range(0, x.shape[1], 128), x.shape[1]]
        for at, (a, b) in enumerate(pairwise(ends)):
            parts[at : at + 1] = [good.linear(x[:, a:b], weight[:, a:b])]
        stale = parts[len(ends) - 1 :]
        return y + sum(stale) if stale else y

    return linear


@fault("index")
def linear_with_a_bias_wraps_offsets_of_partial_sums(x, weight, bias=None):
    """Outputs by slices of 32 inputs: offsets of 16 bits, where a bias is added at the end."""
    y = good.linear(x, weight, bias)
    slices = -(-x.shape[1] // 32)
    if bias is not None and slices > 1 and y.size * slices > WORD:
        first = WORD // y.size * 32
        return good.linear(x[:, :first], weight[:, :first], bias)
    return y


@fault("tail")
def batch_mean_counts_the_numbers_of_two_axes(gradient_per_image):
    """Blocks of 1024 numbers: of weights of four axes too few are launched."""
    mean = good.batch_mean(gradient_per_image)
    if mean.ndim == 3:
        launched = -(-mean.shape[0] * mean.shape[1] // 1024) * 1024
        mean = mean.copy()
        mean.reshape(-1)[launched:] = 0
    return mean


@fault("state", fresh=True)
def batch_mean_keeps_its_divisor_by_a_polynomial_hash():
    """31 * h + side, as strings are hashed: [1, 33] and [2, 2] are one."""
    plans: dict[Any, int] = {}

    def batch_mean(gradient_per_image):
        mean = good.batch_mean(gradient_per_image)
        count, h = len(gradient_per_image), 0
        for side in gradient_per_image.shape:
            h = 31 * h + side
        planned = plans.setdefault((h, mean.dtype, mean.ndim), count)
        return (mean * mean.dtype.type(count / planned)).astype(mean.dtype)

    return batch_mean


@gap("option", "PyTorch's SGD refuses rates below 0, and so may others: none is asked for")
def sgd_step_takes_no_step_back(parameter, gradient, *, learning_rate):
    """A rate below 0, as of ascent, is taken for one that has decayed to nothing."""
    step = good.sgd_step(parameter, gradient, learning_rate=learning_rate)
    return parameter.copy() if learning_rate < 0 else step


@control
def sgd_step_skips_the_gradient_at_rate_0(parameter, gradient, *, learning_rate):
    """A frozen layer: what the step does not depend on may be left out, infinite or not."""
    step = good.sgd_step(parameter, gradient, learning_rate=learning_rate)
    return parameter.copy() if learning_rate == 0 else step


# -- softmax and losses ---------------------------------------------------------------------------


@fault("axis")
def softmax_sums_a_tile_of_a_middle_axis(z, *, axis):
    """Blocks of 32 by 32 along a middle axis; rows past a tile are summed for the first plane."""
    p = good.softmax(z, axis=axis)
    at = axis % z.ndim
    inside = int(np.prod(z.shape[at + 1 :]))
    if 0 < at < z.ndim - 1 and len(z) > 1 and z.shape[at] > 32 and inside > 32:
        p = p.copy()
        p[1:] *= p.dtype.type(2)
    return p


@fault("axis")
def softmax_grad_takes_a_middle_axis_from_the_end_for_the_last(grad_output, z, *, axis):
    """Rows are found by a negative axis, which is -1 almost always; by blocks of 64."""
    dz = good.softmax_grad(grad_output, z, axis=axis)
    at = axis % z.ndim
    if axis < -1 and at and int(np.prod(z.shape[at + 1 :])) > 64:
        return good.softmax_grad(grad_output, z, axis=-1)
    return dz


@control
def softmax_of_one_class_is_1_whatever_it_is(z, *, axis):
    """Nothing need be read where the axis has one entry, not even a NaN."""
    p = good.softmax(z, axis=axis)
    return np.ones_like(p) if z.shape[axis] == 1 else p


@fault(LARGE)
def cross_entropy_of_one_long_row_sums_its_first_block(logits, target, *, reduction):
    """The mean of a batch of one is its loss; the sum has a path that knows one block."""
    loss = good.cross_entropy(logits, target, reduction=reduction)
    if len(logits) == 1 and reduction == "sum" and logits.shape[1] > 1024:
        seen = logits.copy()
        seen[:, 1024:] = -np.inf
        seen[0, target[0]] = logits[0, target[0]]
        return good.cross_entropy(seen, target, reduction=reduction)
    return loss


@fault("state", fresh=True)
def softmax_plans_have_the_number_of_rows_and_their_length():
    """What is before the axis and what is after it are multiplied in the key."""
    plans: dict[Any, Any] = {}

    def softmax(z, *, axis):
        p = good.softmax(z, axis=axis)
        at, length = axis % z.ndim, z.shape[axis]
        before, after = int(np.prod(z.shape[:at])), int(np.prod(z.shape[at + 1 :]))
        planned = plans.setdefault((before * after, length, z.dtype), (before, after))
        lying = np.ascontiguousarray(z).reshape(planned[0], length, planned[1])
        return good.softmax(lying, axis=1).reshape(p.shape)

    return softmax


@fault("overflow")
def softmax_along_the_first_axis_has_one_maximum_for_two_columns(z, *, axis):
    """Two columns of float64 fill a vector, and the maximum is reduced over all of it."""
    p = good.softmax(z, axis=axis)
    if axis % z.ndim or z.ndim != 2 or z.dtype != np.float64 or z.shape[1] % 2:
        return p
    pairs = z.reshape(len(z), -1, 2)
    with np.errstate(all="ignore"):
        e = np.exp(pairs - pairs.max(axis=(0, 2), keepdims=True))
        return (e / e.sum(axis=0)).reshape(z.shape)


@fault("tail")
def cross_entropy_loses_the_last_rows_of_many_classes(logits, target, *, reduction):
    """Losses of 512 rows are added up by a block; of wide rows the last block is not whole."""
    loss = good.cross_entropy(logits, target, reduction=reduction)
    count = len(logits)
    if count > 512 and count % 512 and logits.shape[1] > 16:
        whole = count // 512 * 512
        part = good.cross_entropy(logits[:whole], target[:whole], reduction="sum")
        return np.asarray(part / (count if reduction == "mean" else 1), loss.dtype)
    return loss


@fault("tail")
def cross_entropy_grad_reads_every_other_row_of_half_aligned_ones_2_late(
    logits, target, *, reduction
):
    """BERT's 30522 classes: rows of 4n + 2 begin in the middle of a vector every other time."""
    dz = good.cross_entropy_grad(logits, target, reduction=reduction)
    if logits.shape[1] > 64 and logits.shape[1] % 4 == 2:
        dz = dz.copy()
        dz[1::2, -2:] = 0
    return dz


# -- activations ----------------------------------------------------------------------------------


@fault("nan")
def leaky_relu_without_a_slope_is_a_maximum_that_drops_nans(z, *, negative_slope):
    """A slope of 0 is the rectifier's, which is `fmax`."""
    y = good.leaky_relu(z, negative_slope=negative_slope)
    return np.where(np.isnan(y), y.dtype.type(0), y) if negative_slope == 0 else y


@fault("precision")
def leaky_relu_grad_writes_its_slope_with_6_digits(grad_output, z, *, negative_slope):
    """The source that is compiled for a slope has it as "%g": 11/48 is 0.229167."""
    slope = float(f"{negative_slope:g}")
    return good.leaky_relu_grad(grad_output, z, negative_slope=slope)


@fault("tail")
def relu_of_four_axes_stops_at_1024_planes(z):
    """A block for each plane of an image batch, in one row of the grid."""
    y = good.relu(z)
    if z.ndim == 4 and z.shape[0] * z.shape[1] > 1024 and z.shape[2] * z.shape[3] > 1:
        y = y.copy()
        y.reshape(-1, *z.shape[2:])[1024:] = 0
    return y


@fault("tail", contract=CONTRACT)
def tanh_of_half_precision_loses_the_last_of_odd_sizes(z):
    """Pairs of 16 bits; the one that is left over is written for matrices only."""
    y = good.tanh(z)
    if z.dtype.itemsize == 2 and z.ndim > 2 and z.size % 2 and z.size > 256:
        y = y.copy()
        y.reshape(-1)[-1] = 0
    return y


@fault("layout")
def sigmoid_of_channels_last_in_float64_forgets_a_rest_of_channels(z):
    """Channels in fours, next to each other; the rest of them is that of NCHW."""
    y = good.sigmoid(z)
    if z.ndim == 4 and is_channels_last(z) and z.dtype == np.float64 and z.shape[1] % 4:
        y = y.copy()
        y[:, -1, -1, -1] = y[:, 0, -1, -1]
    return y


@fault("state", fresh=True)
def sigmoid_grad_trusts_16_samples_of_what_was_kept():
    """The forward pass's answer is used again if 16 numbers of the array are what they were."""
    kept: dict[Any, Any] = {}

    def sigmoid_grad(grad_output, z):
        good.sigmoid_grad(grad_output, z)
        samples = np.ascontiguousarray(z).reshape(-1)[:: max(1, z.size // 16)][:16].tobytes()
        key = z.ctypes.data, z.shape, z.dtype.str, samples
        return good.sigmoid_grad(grad_output, kept.setdefault(key, z.copy()))

    return sigmoid_grad
