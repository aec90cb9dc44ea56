"""Planted faults of conv2d: each is im2col with one idea gone wrong.

`kind` is the class of fault; where somebody shipped it, `seen` names the public issue.
Controls are other right ways to compute the same, which must never be flagged.
"""

from contextlib import suppress
from functools import partial

import numpy as np

from gradoracle.implementations import im2col as good
from tests.planted import fault as planting
from tests.planted.fault import CONTROLS, FAULTS, Fault, exchanged, family, first_twice, with_option

__all__ = ["CONTROLS", "FAULTS", "backend"]

NAMES = family("conv2d")
SHORT = {"y": "conv2d", "dx": "conv2d_grad_input", "dw": "conv2d_grad_weight",
         "db": "conv2d_grad_bias"}  # fmt: skip
backend = partial(planting.backend, NAMES)
fault = partial(planting.fault, names=SHORT)
control = partial(planting.control, names=SHORT)


# -- the kernel's orientation ---------------------------------------------------------------------


@fault("orientation")
def y_flips_the_kernel(x, weight, bias=None, **o):
    return good.conv2d(x, weight[:, :, ::-1, ::-1], bias, **o)


@fault("orientation", "document 001, last display")
def dx_flips_twice(grad_output, weight, **o):
    return good.conv2d_grad_input(grad_output, weight[:, :, ::-1, ::-1], **o)


@fault("orientation")
def dx_flips_one_axis(grad_output, weight, **o):
    return good.conv2d_grad_input(grad_output, weight[:, :, ::-1], **o)


@fault("orientation")
def dx_exchanges_kernel_axes(grad_output, weight, **o):
    if weight.shape[2] != weight.shape[3]:
        return good.conv2d_grad_input(grad_output, weight, **o)
    return good.conv2d_grad_input(grad_output, weight.swapaxes(2, 3), **o)


@fault("orientation")
def dw_reads_dy_flipped(grad_output, x, **o):
    return good.conv2d_grad_weight(grad_output[:, :, ::-1, ::-1], x, **o)


@fault("orientation")
def dw_flips_the_result(grad_output, x, **o):
    return good.conv2d_grad_weight(grad_output, x, **o)[:, :, ::-1, ::-1].copy()


@fault("orientation")
def y_exchanges_output_axes(x, weight, bias=None, **o):
    y = good.conv2d(x, weight, bias, **o)
    return y.swapaxes(2, 3).reshape(y.shape)


# -- height taken for width -----------------------------------------------------------------------


SEEN = {
    ("dx", "dilation", "takes_height_for_both"): "tracel-ai/burn#4466 (pooling)",
    ("y", "stride", "exchanges_sides"): "mlpack/mlpack#3146",
}
for _short, _name in list(SHORT.items())[:3]:
    for _option in ("stride", "padding", "dilation"):
        for _what, _change in (
            ("exchanges_sides", exchanged),
            ("takes_height_for_both", first_twice),
        ):
            FAULTS[f"{_short}_{_what}_of_{_option}"] = Fault(
                "height for width", _name,
                partial(with_option, _name, _option, _change),
                SEEN.get((_short, _option, _what), ""),
            )  # fmt: skip


# -- stride, dilation and padding -----------------------------------------------------------------


@fault("dilation", "tensorflow/tensorflow#18454")
def y_ignores_dilation(x, weight, bias=None, **o):
    y = good.conv2d(x, weight, bias, **o)
    return good.conv2d(x, weight, bias, **{**o, "dilation": (1, 1)})[
        :, :, : y.shape[2], : y.shape[3]
    ]


@fault("stride", "huggingface/candle#2337")
def dx_exchanges_stride_and_dilation(grad_output, weight, **o):
    swapped = {**o, "stride": o["dilation"], "dilation": o["stride"]}
    with suppress(ValueError):
        return good.conv2d_grad_input(grad_output, weight, **swapped)
    return good.conv2d_grad_input(grad_output, weight, **o)


def rest(weight_shape, o):
    return [
        (s + 2 * p - (k - 1) * d - 1) % step
        for s, p, k, d, step in zip(
            o["input_shape"][2:], o["padding"], weight_shape[2:], o["dilation"], o["stride"],
            strict=True,
        )
    ]  # fmt: skip


@fault("remainder", "PKUFlyingPig/CMU10-714#6")
def dx_drops_remainder_rows(grad_output, weight, **o):
    dx = good.conv2d_grad_input(grad_output, weight, **o)
    down, across = rest(weight.shape, o)
    return dx[:, :, : dx.shape[2] - down, : dx.shape[3] - across].copy()


@fault("remainder", "f-dangel/backpack#30")
def dx_shifts_by_remainder(grad_output, weight, **o):
    dx = good.conv2d_grad_input(grad_output, weight, **o)
    return np.roll(dx, rest(weight.shape, o), (2, 3))


@fault("unwritten memory", "ROCm/composable_kernel#105")
def dx_leaves_gaps_unwritten(grad_output, weight, **o):
    dx = good.conv2d_grad_input(grad_output, weight, **o)
    ones = good.conv2d_grad_input(np.ones_like(grad_output), np.ones_like(weight), **o)
    dx[ones == 0] = 7
    return dx


@fault("overlap", "ahrefs/ocannl#512 (pooling)")
def dx_stores_instead_of_adding(grad_output, weight, **o):
    dx = np.zeros(o["input_shape"], grad_output.dtype)
    taps = [*np.ndindex(weight.shape[2:])]
    for tap in reversed(taps):  # the last window that has a pixel has it under its first tap
        alone, here = np.zeros_like(weight), np.zeros_like(weight)
        alone[:, :, *tap], here[:, :, *tap] = weight[:, :, *tap], 1
        reached = good.conv2d_grad_input(np.ones_like(grad_output), here, **o) != 0
        dx[reached] = good.conv2d_grad_input(grad_output, alone, **o)[reached]
    return dx


@fault("padding")
def dx_keeps_the_padding(grad_output, weight, **o):
    (down, across), (n, c, h, w) = o["padding"], o["input_shape"]
    padded = {**o, "padding": (0, 0), "input_shape": (n, c, h + 2 * down, w + 2 * across)}
    return good.conv2d_grad_input(grad_output, weight, **padded)[:, :, :h, :w].copy()


@fault("padding", "ml-explore/mlx#833")
def dx_clamps_padding_to_the_kernel(grad_output, weight, **o):
    dx = good.conv2d_grad_input(grad_output, weight, **o)
    shift = [
        max(0, p - (k - 1) * d)
        for p, k, d in zip(o["padding"], weight.shape[2:], o["dilation"], strict=True)
    ]
    return np.roll(dx, shift, (2, 3))


@fault("fast path")
def y_skips_padding_of_1x1(x, weight, bias=None, **o):
    y = good.conv2d(x, weight, bias, **o)
    if weight.shape[2:] == (1, 1) and any(o["padding"]) and bias is not None:
        y[:, :, 0] = 0
    return y


@fault("fast path", "Tencent/ncnn#1283")
def y_last_pixel_of_3x3_stride_2(x, weight, bias=None, **o):
    y = good.conv2d(x, weight, bias, **o)
    if weight.shape[2:] == (3, 3) and o["stride"] == (2, 2):
        y[..., -1:, -1:] = 0
    return y


@fault("fast path", "ROCm/composable_kernel#2478")
def dw_1x1_with_even_filters(grad_output, x, **o):
    dw = good.conv2d_grad_weight(grad_output, x, **o)
    plain = o["stride"] == (1, 1) and o["padding"] == (0, 0) and dw.shape[2:] == (1, 1)
    if plain and len(dw) // o["groups"] % 2 == 0:
        return dw[::-1].copy()
    return dw


@fault("refuses legal calls", "tensorflow/tensorflow#889")
def y_refuses_stride_beyond_kernel(x, weight, bias=None, **o):
    if any(s > k for s, k in zip(o["stride"], weight.shape[2:], strict=True)):
        raise ValueError("stride must not exceed the kernel")
    return good.conv2d(x, weight, bias, **o)


@fault("accepts illegal calls")
def y_takes_any_kernel(x, weight, bias=None, **o):
    try:
        return good.conv2d(x, weight, bias, **o)
    except ValueError:
        return np.zeros((len(x), len(weight), 0, 0), x.dtype)


# -- groups ---------------------------------------------------------------------------------------


def _repeat_first(array, groups, axis):
    part = array.shape[axis] // groups
    return np.concatenate([array.take(range(part), axis)] * groups, axis)


@fault("groups")
def y_uses_the_first_groups_filters(x, weight, bias=None, **o):
    return good.conv2d(x, _repeat_first(weight, o["groups"], 0), bias, **o)


@fault("groups", "ml-explore/mlx#3800")
def dx_uses_the_first_groups_filters_when_strided(grad_output, weight, **o):
    if max(o["stride"]) > 1:
        weight = _repeat_first(weight, o["groups"], 0)
    return good.conv2d_grad_input(grad_output, weight, **o)


@fault("groups", "pytorch/pytorch#51430")
def dw_reads_the_first_groups_channels(grad_output, x, **o):
    return good.conv2d_grad_weight(grad_output, _repeat_first(x, o["groups"], 1), **o)


@fault("groups", "tracel-ai/burn#1891")
def dw_depthwise_with_stride(grad_output, x, **o):
    dw = good.conv2d_grad_weight(grad_output, x, **o)
    if o["groups"] == x.shape[1] > 1 and max(o["stride"]) > 1:
        return np.roll(dw, 1, 0)
    return dw


@fault("groups")
def dx_orders_multipliers_wrongly(grad_output, weight, **o):
    groups = o["groups"]
    if groups == o["input_shape"][1]:
        shape = (groups, len(weight) // groups, *weight.shape[1:])
        weight = weight.reshape(shape).swapaxes(0, 1).reshape(weight.shape)
    return good.conv2d_grad_input(grad_output, weight, **o)


@fault("groups")
def dx_ignores_dilation_in_groups(grad_output, weight, **o):
    if o["groups"] > 1 and max(o["stride"]) == 1:
        with suppress(ValueError, IndexError):
            return _shaped(grad_output, weight, o)
    return good.conv2d_grad_input(grad_output, weight, **o)


def _shaped(grad_output, weight, o):
    """Undilated dX of as much of dY as there is."""
    right = good.conv2d_grad_input(grad_output, weight, **o)
    wrong = np.zeros_like(right)
    for i, j in np.ndindex(grad_output.shape[2:]):
        one = np.zeros_like(grad_output)
        one[:, :, i, j] = grad_output[:, :, i, j]
        wrong += np.roll(good.conv2d_grad_input(one, weight, **o), 1, 3)
    return wrong if max(o["dilation"]) > 1 else right


@fault("bias")
def y_adds_the_first_groups_bias(x, weight, bias=None, **o):
    if bias is not None:
        bias = _repeat_first(bias, o["groups"], 0)
    return good.conv2d(x, weight, bias, **o)


@fault("bias")
def y_forgets_the_bias_of_groups(x, weight, bias=None, **o):
    return good.conv2d(x, weight, bias if o["groups"] == 1 else None, **o)


# -- batches --------------------------------------------------------------------------------------


@fault("batch")
def y_repeats_the_first_image(x, weight, bias=None, **o):
    return good.conv2d(np.repeat(x[:1], len(x), 0), weight, bias, **o)


@fault("batch")
def dx_forgets_the_last_image(grad_output, weight, **o):
    dx = good.conv2d_grad_input(grad_output, weight, **o)
    if len(dx) > 1:
        dx[-1] = 0
    return dx


@fault("batch")
def y_stops_after_16_images(x, weight, bias=None, **o):
    y = good.conv2d(x, weight, bias, **o)
    y[16:] = 0
    return y


@fault("normalisation", "sebgao/cTensor#3")
def dw_is_averaged_over_batch_and_pixels(grad_output, x, **o):
    dw = good.conv2d_grad_weight(grad_output, x, **o)
    return (dw / max(1, grad_output.size // grad_output.shape[1])).astype(dw.dtype)


@fault("normalisation", "document 003, batch mean")
def dw_is_averaged_over_the_batch(grad_output, x, **o):
    dw = good.conv2d_grad_weight(grad_output, x, **o)
    return (dw / max(1, len(x))).astype(dw.dtype)


@fault("batch")
def dw_counts_the_first_image_only(grad_output, x, **o):
    return good.conv2d_grad_weight(grad_output[:1], x[:1], **o)


@fault("empty", "FluxML/NNlib.jl#763")
def dw_of_an_empty_batch_is_unwritten(grad_output, x, **o):
    dw = good.conv2d_grad_weight(grad_output, x, **o)
    return dw if len(x) else dw + 3


@fault("empty")
def y_raises_on_an_empty_batch(x, weight, bias=None, **o):
    if not len(x):
        raise IndexError("list index out of range")
    return good.conv2d(x, weight, bias, **o)


@fault("batch", "mlpack/mlpack#3679")
def db_counts_the_first_image_only(grad_output):
    return good.conv2d_grad_bias(grad_output[:1])


@fault("normalisation", "kvfrans/notes#5")
def db_is_averaged_over_the_batch(grad_output):
    db = good.conv2d_grad_bias(grad_output)
    return (db / max(1, len(grad_output))).astype(db.dtype)


@fault("tail")
def db_drops_the_last_column(grad_output):
    return good.conv2d_grad_bias(grad_output[..., : max(1, grad_output.shape[3] - 1)])


# -- memory layout --------------------------------------------------------------------------------


@fault("layout", "pytorch/pytorch#192212")
def y_reads_the_weight_as_it_lies(x, weight, bias=None, **o):
    return good.conv2d(x, weight.ravel(order="K").reshape(weight.shape), bias, **o)


@fault("layout", "Tencent/ncnn#3082")
def dw_reads_dy_in_fortrans_order(grad_output, x, **o):
    if grad_output.flags.f_contiguous and not grad_output.flags.c_contiguous:
        grad_output = grad_output.ravel(order="K").reshape(grad_output.shape)
    return good.conv2d_grad_weight(grad_output, x, **o)
