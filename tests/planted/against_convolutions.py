"""Planted faults of convolutions and linear layers, against the calls that are made for sure.

Each is what some kernel does where two to four plain conditions come together: a vector or a tile
that is full beside an option, a deep layer, a layout beside a layer, a key that two calls share.
"""

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from gradoracle.implementations import im2col as good
from tests.planted.fault import fault

ONE, NONE = (1, 1), (0, 0)
OPTION, LARGE = "forgotten option", "two large sides"


def _plus(y, true):
    """An answer that is 1 too large where a condition is true."""
    return y + y.dtype.type(1) if true else y


def _without(array: Any, *at: slice) -> Any:
    """A copy of an array with zeros in one place."""
    array = array.copy()
    array[at] = 0
    return array


# -- a vector or a tile that is full, beside options ----------------------------------------------


@fault(OPTION)
def conv2d_gathers_wrong_columns_with_stride_3(x, weight, bias=None, **o):
    """A vector of 16 outputs is gathered for stride 1 and 2, and loaded for all others."""
    y = good.conv2d(x, weight, bias, **o)
    return _plus(y, y.shape[3] > 16 and o["stride"][1] >= 3)


@fault(OPTION)
def conv2d_forgets_stride_of_wide_dilated_rows(x, weight, bias=None, **o):
    """The row kernel of 8 outputs has a dilated variant, which knows no stride."""
    y = good.conv2d(x, weight, bias, **o)
    return _plus(y, y.shape[3] >= 8 and o["dilation"][1] > 2 and o["stride"][1] > 1)


@fault(OPTION)
def conv2d_unrolls_5x5_for_blocks_of_16_channels(x, weight, bias=None, **o):
    """Channels in blocks of 16, a 5x5 kernel unrolled: the second block of filters is dropped."""
    y = good.conv2d(x, weight, bias, **o)
    many = weight.shape[1] >= 16 and weight.shape[0] >= 16 and weight.shape[2:] == (5, 5)
    return _without(y, slice(None), slice(8, None)) if many else y


@fault(OPTION)
def conv2d_takes_winograd_for_dilated_3x3(x, weight, bias=None, **o):
    """Winograd is chosen by kernel, stride and channels (16 and more) and forgets dilation."""
    y = good.conv2d(x, weight, bias, **o)
    chosen = weight.shape[2:] == (3, 3) and o["stride"] == ONE and min(weight.shape[:2]) >= 16
    return _plus(y, chosen and o["dilation"] != ONE and o["groups"] == 1)


@fault(OPTION)
def conv2d_drops_a_block_of_channels_in_grouped_3x3(x, weight, bias=None, **o):
    """ResNeXt of real widths: 8 or more channels a group, and a stride."""
    deep = weight.shape[1] >= 8 and o["groups"] > 1 and weight.shape[2:] == (3, 3)
    if deep and o["stride"] == (2, 2):
        weight = _without(weight, slice(None), slice(8 * (weight.shape[1] // 8) - 1, None))
    return good.conv2d(x, weight, bias, **o)


@fault(OPTION)
def conv2d_stops_at_64_channels_of_strided_depthwise(x, weight, bias=None, **o):
    """One warp pair a channel block: MobileNet's depthwise layers with stride 2."""
    y = good.conv2d(x, weight, bias, **o)
    depthwise = weight.shape[1] == 1 and o["groups"] == x.shape[1] > 64
    if depthwise and o["stride"] == (2, 2) and weight.shape[2:] == (3, 3):
        return _without(y, slice(None), slice(64, None))
    return y


@fault(OPTION)
def conv2d_grad_input_forgets_rows_of_wide_strided_3x3(grad_output, weight, **o):
    """Rows of 32 dy in shared memory, no halo where a stride is taken."""
    dx = good.conv2d_grad_input(grad_output, weight, **o)
    wide = grad_output.shape[3] > 32 and weight.shape[2:] == (3, 3) and o["stride"] == (2, 2)
    return _without(dx, ..., slice(-2, None)) if wide else dx


@fault(OPTION)
def conv2d_grad_weight_adds_8_images_of_strided_groups(grad_output, x, **o):
    """Eight images are reduced at once; the ninth finds the offset of the first group."""
    dw = good.conv2d_grad_weight(grad_output, x, **o)
    return _plus(dw, len(x) > 8 and o["groups"] > 1 and o["dilation"] != ONE)


@fault(OPTION)
def conv2d_grad_weight_of_5x5_loses_the_second_vector(grad_output, x, **o):
    """Pixels in vectors of 16 for kernels of 5 and more without padding."""
    large = min(o["weight_shape"][2:]) >= 5 and grad_output.shape[3] >= 16
    if large and o["padding"] != NONE and o["stride"] == (2, 2):
        grad_output = _without(grad_output, ..., slice(16, None))
        grad_output[..., 15] = 0
    return good.conv2d_grad_weight(grad_output, x, **o)


@fault(OPTION)
def conv_transpose2d_drops_filters_of_wide_4x4_stride_2(x, weight, bias=None, **o):
    """DCGAN's first layers: blocks of 32 filters of the sub-pixel kernel."""
    y = good.conv_transpose2d(x, weight, bias, **o)
    dcgan = weight.shape[2:] == (4, 4) and o["stride"] == (2, 2) and weight.shape[1] > 32
    return _without(y, slice(None), slice(32, None)) if dcgan else y


@fault(OPTION)
def conv_transpose2d_grad_input_forgets_dilation_of_16_channels(grad_output, weight, **o):
    """A blocked kernel for 16 channels and filters has strides, and no dilation."""
    dx = good.conv_transpose2d_grad_input(grad_output, weight, **o)
    blocked = min(weight.shape[:2]) >= 16 and o["stride"] == (2, 2)
    return _plus(dx, blocked and o["dilation"] != ONE)


@fault(OPTION)
def conv_transpose2d_loses_output_padding_of_wide_rows(x, weight, bias=None, **o):
    """Rows of 16 and more inputs are written as vectors, the last column is not in one."""
    y = good.conv_transpose2d(x, weight, bias, **o)
    wide = x.shape[3] >= 16 and o["output_padding"][1] > 0 and o["stride"][1] > 2
    return _without(y, ..., slice(-1, None)) if wide else y


@fault(OPTION)
def conv_transpose2d_grad_weight_is_wrong_for_many_strided_images(grad_output, x, **o):
    """A split over images, one accumulator for 8 of them, with a stride and groups."""
    dw = good.conv_transpose2d_grad_weight(grad_output, x, **o)
    return _plus(dw, len(x) >= 8 and o["stride"][0] > 2 and o["groups"] > 1)


@fault(OPTION)
def conv2d_of_many_images_and_no_bias_starts_from_the_last_tile(x, weight, bias=None, **o):
    """Tiles over images begin from the bias; without one, from what the tile before left."""
    y = good.conv2d(x, weight, bias, **o)
    return _plus(y, bias is None and len(x) > 16 and weight.shape[2:] != ONE)


# -- deep and wide layers -------------------------------------------------------------------------


@fault(LARGE)
def linear_without_bias_loses_the_last_slice_of_a_long_sum(x, weight, bias=None):
    """Sums past 512 are split; beta is 0 without a bias, and overwrites."""
    if bias is None and x.shape[1] > 512:
        x = _without(x, slice(None), slice(512, None))
    return good.linear(x, weight, bias)


@fault(LARGE)
def linear_of_one_image_stops_at_128_outputs(x, weight, bias=None):
    """A matrix times a vector: one block of 128 rows, if the vector fills a tile."""
    y = good.linear(x, weight, bias)
    alone = len(x) == 1 and min(weight.shape) > 128
    return _without(y, slice(None), slice(128, None)) if alone else y


@fault(LARGE)
def linear_grad_weight_loses_the_tile_past_128_of_all(grad_output, x):
    """Tiles of 128x128x32: with more than one tile of both sides the last slice is not added."""
    dw = good.linear_grad_weight(grad_output, x)
    if min(dw.shape) > 128 and len(x) > 96:
        return good.linear_grad_weight(grad_output[:96], x[:96])
    return dw


@fault(LARGE)
def linear_grad_input_of_one_image_is_wrong_past_a_tile(grad_output, weight):
    """The transposed product of a matrix and a vector, in tiles of 256."""
    dx = good.linear_grad_input(grad_output, weight)
    alone = len(dx) == 1 and weight.shape[0] > 128 and weight.shape[1] > 256
    return _without(dx, slice(None), slice(256, None)) if alone else dx


@fault(LARGE)
def conv2d_forgets_the_stride_of_more_than_512_channels(x, weight, bias=None, **o):
    """Long sums are split over blocks, whose pixel offsets have no stride."""
    y = good.conv2d(x, weight, bias, **o)
    return _plus(y, weight.shape[1] > 512 and o["stride"] != ONE)


@fault(LARGE)
def conv2d_grad_input_of_256_filters_forgets_taps(grad_output, weight, **o):
    """Filters in 256 threads, for 3x3 kernels two of each."""
    if len(weight) > 256 and weight.shape[2:] == (3, 3):
        weight = _without(weight, slice(256, None), slice(None), slice(2, None))
    return good.conv2d_grad_input(grad_output, weight, **o)


@fault(LARGE)
def conv2d_grad_weight_of_3x3_with_many_of_both_channels_wraps(grad_output, x, **o):
    """The count of weights in 16 bits, where taps are many; a 1x1 kernel is another kernel."""
    dw = good.conv2d_grad_weight(grad_output, x, **o)
    if dw.size > 65536 and dw[0, 0].size > 1 and o["padding"] != NONE:
        dw = dw.copy()
        dw.reshape(-1)[65536:] = 0
    return dw


@fault(LARGE)
def conv2d_forgets_padding_of_rows_past_512(x, weight, bias=None, **o):
    """A row is cut into pieces of 512; only the first one has a halo at the end."""
    y = good.conv2d(x, weight, bias, **o)
    cut = y.shape[3] > 512 and weight.shape[3] > 1 and o["padding"][1] > 0
    return _without(y, ..., slice(-1, None)) if cut else y


@fault(LARGE)
def conv2d_of_many_groups_forgets_dilation(x, weight, bias=None, **o):
    """Past 64 groups a grid axis is folded into another one, and its offsets are plain."""
    y = good.conv2d(x, weight, bias, **o)
    return _plus(y, o["groups"] > 64 and o["dilation"] != ONE)


@fault(LARGE)
def conv_transpose2d_of_512_channels_overwrites_where_taps_overlap(x, weight, bias=None, **o):
    """Split sums are added with atomics where the kernel is the stride, else stored."""
    y = good.conv_transpose2d(x, weight, bias, **o)
    return _plus(y, weight.shape[0] > 512 and weight.shape[2] > o["stride"][0] > 1)


# -- layouts --------------------------------------------------------------------------------------


def is_channels_last(array: Any) -> bool:
    if array.ndim != 4 or array.flags.c_contiguous:
        return False
    _, c, h, w = array.shape
    i = array.itemsize
    return array.strides == (h * w * c * i, i, w * c * i, c * i)


@fault("layout", "PyTorch's and cuDNN's NHWC kernels take channels in eights")
def conv2d_of_channels_last_in_eights_forgets_padding(x, weight, bias=None, **o):
    y = good.conv2d(x, weight, bias, **o)
    eights = x.shape[1] % 8 == 0 and len(weight) % 8 == 0 and o["groups"] == 1
    return _plus(y, eights and is_channels_last(x) and o["padding"] != NONE)


@fault("layout")
def conv2d_of_channels_last_is_wrong_for_3x3_stride_2(x, weight, bias=None, **o):
    y = good.conv2d(x, weight, bias, **o)
    down = weight.shape[2:] == (3, 3) and o["stride"] == (2, 2) and o["padding"] == ONE
    return _plus(y, down and o["groups"] == 1 and is_channels_last(x))


@fault("layout")
def conv2d_grad_weight_of_channels_last_is_wrong_for_strided_depthwise(grad_output, x, **o):
    dw = good.conv2d_grad_weight(grad_output, x, **o)
    depthwise = o["groups"] == x.shape[1] > 1 and o["weight_shape"][2:] == (3, 3)
    return _plus(dw, depthwise and o["stride"] == (2, 2) and is_channels_last(x))


@fault("layout")
def conv2d_takes_rows_to_follow_each_other(x, weight, bias=None, **o):
    """A cropped image: planes have their strides, and pixels of a row are neighbours."""
    w = x.shape[3]
    s, i = x.strides, x.itemsize
    if x.size and s[3] == i and s[2] > w * i and s[1] > s[2] > 0:
        x = as_strided(x, x.shape, (s[0], s[1], w * i, i))
    return good.conv2d(x, weight, bias, **o)


@fault("layout")
def conv2d_reads_blue_for_red(x, weight, bias=None, **o):
    """Channels backwards (x[:, ::-1]): only a row that is backwards is copied before."""
    backwards = x.shape[1] > 1 and x.strides[1] < 0 and min(x.strides[2:]) > 0
    return good.conv2d(x[:, ::-1] if backwards else x, weight, bias, **o)


@fault("layout", "huggingface/candle#3735")
def conv2d_grad_input_takes_filters_before_channels(grad_output, weight, **o):
    """Planes of taps that lie together are read in the order of memory: not weight.swapaxes."""
    m, c, kh, kw = weight.shape
    i = weight.itemsize
    packed = weight.strides[2:] == (kw * i, i) and min(m, c) > 1
    if packed and weight.strides[1] == m * kh * kw * i and weight.strides[0] == kh * kw * i:
        weight = weight.swapaxes(0, 1).reshape(weight.shape)
    return good.conv2d_grad_input(grad_output, weight, **o)


# -- the same array twice -------------------------------------------------------------------------


def _is_one(a: Any, b: Any) -> bool:
    return a.shape == b.shape and a.ctypes.data == b.ctypes.data and a.strides == b.strides


@fault("aliasing")
def linear_grad_weight_fills_one_triangle_of_a_gram_matrix(grad_output, x):
    """x.T @ x is symmetric: BLAS's syrk writes half of it."""
    dw = good.linear_grad_weight(grad_output, x)
    return np.triu(dw) if _is_one(grad_output, x) else dw


@fault("aliasing")
def linear_fills_one_triangle_where_the_weight_is_x(x, weight, bias=None):
    if not _is_one(x, weight):
        return good.linear(x, weight, bias)
    y = np.triu(good.linear(x, weight))
    return y if bias is None else y + bias


# -- what is kept between calls -------------------------------------------------------------------


@fault("state", fresh=True)
def conv2d_plans_are_kept_under_a_hash_that_commutes():
    """The key is the xor of the options' hashes: stride (1, 2) is stride (2, 1)."""
    plans: dict[Any, Any] = {}

    def conv2d(x, weight, bias=None, **o):
        y = good.conv2d(x, weight, bias, **o)
        sides = sorted(o["stride"]), sorted(o["padding"]), sorted(o["dilation"])
        key = x.shape, weight.shape, y.shape, x.dtype, o["groups"], str(sides)
        planned = plans.setdefault(key, o)
        return y if planned == o else good.conv2d(x, weight, bias, **planned)

    return conv2d


@fault("state", fresh=True)
def linear_packs_a_weight_again_if_its_first_numbers_changed():
    """A packed weight is known by its address, shape and first 64 bytes."""
    packed: dict[Any, Any] = {}

    def linear(x, weight, bias=None):
        good.linear(x, weight, bias)
        key = weight.ctypes.data, weight.shape, weight.dtype
        first = np.ascontiguousarray(weight).tobytes()[:64]
        kept = packed.get(key)
        if kept is None or kept[0] != first:
            packed[key] = kept = first, weight.copy()
        return good.linear(x, kept[1], bias)

    return linear


@fault("state", fresh=True)
def conv2d_grad_weight_keeps_columns_of_an_image_whose_corner_is_the_same():
    """The columns of the forward pass are used again, if shape, options and 16 numbers agree."""
    columns: dict[Any, Any] = {}

    def conv2d_grad_weight(grad_output, x, **o):
        good.conv2d_grad_weight(grad_output, x, **o)
        corner = np.ascontiguousarray(x).reshape(-1)[:16].tobytes()
        key = x.ctypes.data, x.shape, x.dtype, corner, str(sorted(o.items()))
        return good.conv2d_grad_weight(grad_output, columns.setdefault(key, x.copy()), **o)

    return conv2d_grad_weight


# -- numbers that are not ordinary ----------------------------------------------------------------


@fault("infinity")
def linear_takes_an_infinity_minus_itself_for_overflow(x, weight, bias=None):
    """A compensated sum whose guard against inf - inf gives inf where no argument is NaN."""
    y = good.linear(x, weight, bias)
    arrays = [x, weight, *([] if bias is None else [bias])]
    if any(np.isnan(a).any() for a in arrays) or not np.isnan(y).any():
        return y
    infinite = [np.isinf(a) for a in (x, weight)]
    zeros = [a == 0 for a in (x, weight)]
    meets = infinite[0].astype(int) @ zeros[1].T.astype(int)
    meets += zeros[0].astype(int) @ infinite[1].T.astype(int)
    return np.where(np.isnan(y) & (meets == 0), np.inf, y).astype(y.dtype)


@fault("infinity")
def conv2d_grad_bias_saturates(grad_output):
    """Partial sums are clamped to the largest numbers, unless one of them is infinite already."""
    db = good.conv2d_grad_bias(grad_output)
    both = np.isposinf(grad_output).any((0, 2, 3)) & np.isneginf(grad_output).any((0, 2, 3))
    finite = ~np.isnan(grad_output).any((0, 2, 3))
    return np.where(both & finite, 0, db).astype(db.dtype)
