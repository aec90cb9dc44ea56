"""Faults that only large layers show: each is im2col, wrong beyond some size.

Beside each is a layer whose calls it is wrong on, and whether a smaller call shows it too.
"""

from collections.abc import Callable
from math import prod
from typing import NamedTuple

import numpy as np

from gradoracle.implementations import im2col as good


class Fault(NamedTuple):
    function: str
    layer: str
    small: bool | None  # whether a report shows a small call; None: where there is time to
    wrong: Callable


FAULTS = {}


def fault(function, layer, *, small=True):
    def plant(wrong):
        FAULTS[wrong.__name__] = Fault(function, layer, small, wrong)
        return wrong

    return plant


@fault("conv2d", "ResNet-50 64x56² 1x1 -> 64")
def index_of_16_bits(x, weight, bias=None, **o):
    """The pixels of an image past 32 767 are those before them."""
    flat = x.reshape(len(x), -1)
    place = np.arange(flat.shape[1]).astype(np.int16).astype(np.int64) % flat.shape[1]
    return good.conv2d(flat[:, place].reshape(x.shape), weight, bias, **o)


@fault("conv2d", "ResNet-50 512x7² 3x3 -> 512", small=None)
def half_precision_sums_past_4096_terms(x, weight, bias=None, **o):
    y = good.conv2d(x, weight, bias, **o)
    long = weight[0].size > 4096
    return y.astype(np.float16).astype(y.dtype) if long else y


@fault("conv2d", "ResNet-50 512x7² 3x3 -> 512")
def last_tile_of_filters_is_dropped(x, weight, bias=None, **o):
    y = good.conv2d(x, weight, bias, **o)
    if len(weight) >= 512:
        y[:, -128:] = 0
    return y


@fault("conv2d", "ResNet-50 64x56² 3x3 -> 64", small=False)
def off_by_one_past_a_million_products(x, weight, bias=None, **o):
    y = good.conv2d(x, weight, bias, **o)
    if y.size * weight[0].size > 2**20:
        y.flat[-1] += 1
    return y


@fault("conv2d", "ResNet-50 1024x14² 1x1 -> 256")
def images_past_16_are_the_first(x, weight, bias=None, **o):
    y = good.conv2d(x, weight, bias, **o)
    y[16:] = y[:1]
    return y


@fault("conv2d", "MobileNet v1 512x14² 3x3 depthwise -> 512")
def channels_past_256_are_exchanged(x, weight, bias=None, **o):
    y = good.conv2d(x, weight, bias, **o)
    if y.shape[1] > 257:
        y[:, [256, 257]] = y[:, [257, 256]]
    return y


@fault("conv2d_grad_input", "ResNet-50 256x14² 1x1 -> 1024")
def columns_past_8_of_wide_layers_move(grad_output, weight, **o):
    dx = good.conv2d_grad_input(grad_output, weight, **o)
    return np.roll(dx, 1, 3) if len(weight) >= 1024 and dx.shape[3] > 8 else dx


@fault("conv2d_grad_weight", "ResNet-50 256x14² 3x3 -> 256")
def last_slice_of_a_split_sum_is_lost(grad_output, x, **o):
    """Sums of more than 4096 products are made in slices of 1024, of which the last is lost."""
    size = grad_output[:, 0].size
    if size <= 4096:
        return good.conv2d_grad_weight(grad_output, x, **o)
    kept = grad_output.copy()
    pixels = prod(grad_output.shape[2:])
    last = (size - 1) // 1024 * 1024
    for n in range(last // pixels, len(kept)):
        kept[n].reshape(len(kept[0]), -1)[:, max(0, last - n * pixels) :] = 0
    return good.conv2d_grad_weight(kept, x, **o)


@fault("conv2d_grad_bias", "ResNet-50 64x56² 1x1 -> 256")
def bias_gradient_of_the_first_16_images(grad_output):
    return good.conv2d_grad_bias(grad_output[:16])


@fault("conv_transpose2d", "U-Net 1024x28² 2x2/2 -> 512")
def last_tile_of_a_transposed_convolution_is_dropped(x, weight, bias=None, **o):
    y = good.conv_transpose2d(x, weight, bias, **o)
    if y.shape[1] >= 512:
        y[:, -64:] = 0
    return y


@fault("linear", "ResNet-50 2048 -> 1000")
def last_classes_are_swapped(x, weight, bias=None):
    y = good.linear(x, weight, bias)
    if y.shape[1] >= 1000:
        y[:, [998, 999]] = y[:, [999, 998]]
    return y
