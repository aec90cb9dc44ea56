"""Planted faults and controls of the transposed convolution."""

from contextlib import suppress

import numpy as np

from gradoracle.implementations import im2col as good
from tests.planted.fault import (
    FAULTS,
    Fault,
    control,
    exchanged,
    fault,
    first_twice,
    fitted,
    half,
    remembered,
    single,
)
from tests.planted.windows import correlated, gathered, grouped, scattered


def _added(y, bias):
    return y if bias is None else y + bias[:, None, None]


def _without_bias(x, weight, o):
    return good.conv_transpose2d(x, weight, None, **o)


# -- the kernel -----------------------------------------------------------------------------------


@fault("orientation")
def conv_transpose2d_flips_the_kernel(x, weight, bias=None, **o):
    return good.conv_transpose2d(x, weight[:, :, ::-1, ::-1], bias, **o)


@fault("orientation")
def conv_transpose2d_grad_input_flips_the_kernel(grad_output, weight, **o):
    return good.conv_transpose2d_grad_input(grad_output, weight[:, :, ::-1, ::-1], **o)


@fault("orientation")
def conv_transpose2d_grad_weight_flips_one_axis(grad_output, x, **o):
    dw = good.conv_transpose2d_grad_weight(grad_output, x, **o)
    return dw[:, :, :, ::-1].copy()


@fault("orientation")
def conv_transpose2d_reads_the_weight_of_a_convolution(x, weight, bias=None, **o):
    if o["groups"] == 1 and weight.shape[0] == weight.shape[1]:
        weight = weight.swapaxes(0, 1)
    return good.conv_transpose2d(x, weight, bias, **o)


@fault("orientation")
def conv_transpose2d_grad_weight_has_the_shape_of_a_convolution(grad_output, x, **o):
    return good.conv_transpose2d_grad_weight(grad_output, x, **o).swapaxes(0, 1).copy()


# -- overlap and gaps -----------------------------------------------------------------------------


@fault("overlap", "ahrefs/ocannl#512 (pooling)")
def conv_transpose2d_stores_instead_of_adding(x, weight, bias=None, **o):
    y = _without_bias(x, weight, o)
    return _added(scattered(x, weight, y.shape, o, store=True), bias)


@fault("bias")
def conv_transpose2d_adds_the_bias_with_every_tap(x, weight, bias=None, **o):
    y = good.conv_transpose2d(x, weight, bias, **o)
    if bias is None:
        return y
    ones = scattered(np.ones_like(x[:, :1]), np.ones_like(weight[:1, :1]),
                     (len(x), 1, *y.shape[2:]), {**o, "groups": 1})  # fmt: skip
    return _without_bias(x, weight, o) + ones * bias[:, None, None]


@fault("bias")
def conv_transpose2d_leaves_gaps_without_a_bias(x, weight, bias=None, **o):
    y = good.conv_transpose2d(x, weight, bias, **o)
    reached = _without_bias(np.ones_like(x), np.ones_like(weight), o)
    y[reached == 0] = 0
    return y


@fault("unwritten memory", "pytorch/pytorch#24341")
def conv_transpose2d_leaves_gaps_unwritten(x, weight, bias=None, **o):
    y = good.conv_transpose2d(x, weight, bias, **o)
    reached = _without_bias(np.ones_like(x), np.ones_like(weight), o)
    y[reached == 0] = 7
    return y


# -- output_padding -------------------------------------------------------------------------------


def _core(shape, o):
    """Return y's height and width before output_padding."""
    return tuple(side - extra for side, extra in zip(shape[2:], o["output_padding"], strict=True))


@fault("output_padding", "apache/tvm#5758")
def conv_transpose2d_fills_output_padding_with_zeros(x, weight, bias=None, **o):
    y = good.conv_transpose2d(x, weight, bias, **o)
    rows, columns = _core(y.shape, o)
    return fitted(y[:, :, : max(rows, 0), : max(columns, 0)], y.shape)


@fault("output_padding", "apache/tvm#19524")
def conv_transpose2d_pads_the_output_at_its_start(x, weight, bias=None, **o):
    y = _without_bias(x, weight, o)
    return _added(np.roll(y, o["output_padding"], (2, 3)), bias)


@fault("output_padding", "pytorch/pytorch#98129")
def conv_transpose2d_forgets_output_padding_in_its_shape(x, weight, bias=None, **o):
    y = good.conv_transpose2d(x, weight, bias, **o)
    rows, columns = _core(y.shape, o)
    return y[:, :, : max(rows, 1), : max(columns, 1)].copy()


@fault("output_padding", "pytorch/pytorch#14272")
def conv_transpose2d_refuses_output_padding_past_the_stride(x, weight, bias=None, **o):
    if any(p >= s for p, s in zip(o["output_padding"], o["stride"], strict=True)):
        raise ValueError("output padding must be smaller than stride")
    return good.conv_transpose2d(x, weight, bias, **o)


@fault("output_padding", "pytorch/xla#2351")
def conv_transpose2d_grad_input_ignores_output_padding(grad_output, weight, **o):
    good.conv_transpose2d_grad_input(grad_output, weight, **o)
    rows, columns = _core(grad_output.shape, o)
    cropped = fitted(grad_output[:, :, : max(rows, 0), : max(columns, 0)], grad_output.shape)
    return good.conv_transpose2d_grad_input(cropped, weight, **o)


@fault("output_padding")
def conv_transpose2d_grad_weight_ignores_output_padding(grad_output, x, **o):
    good.conv_transpose2d_grad_weight(grad_output, x, **o)
    rows, columns = _core(grad_output.shape, o)
    cropped = fitted(grad_output[:, :, : max(rows, 0), : max(columns, 0)], grad_output.shape)
    return good.conv_transpose2d_grad_weight(cropped, x, **o)


# -- height for width, stride, dilation and padding -----------------------------------------------


def _misread(option, change):
    def forward(x, weight, bias=None, **o):
        y = _without_bias(x, weight, o)
        return _added(scattered(x, weight, y.shape, {**o, option: change(o[option])}), bias)

    def grad_input(grad_output, weight, **o):
        right = good.conv_transpose2d_grad_input(grad_output, weight, **o)
        return gathered(grad_output, weight, right.shape, {**o, option: change(o[option])})

    def grad_weight(grad_output, x, **o):
        right = good.conv_transpose2d_grad_weight(grad_output, x, **o)
        return correlated(grad_output, x, right.shape, {**o, option: change(o[option])})

    return {"": forward, "_grad_input": grad_input, "_grad_weight": grad_weight}


for _option in ("stride", "padding", "dilation"):
    for _what, _change in (
        ("exchanges_sides", exchanged),
        ("takes_height_for_both", first_twice),
    ):
        for _suffix, _wrong in _misread(_option, _change).items():
            FAULTS[f"conv_transpose2d{_suffix}_{_what}_of_{_option}"] = Fault(
                "height for width", f"conv_transpose2d{_suffix}", lambda wrong=_wrong: wrong,
            )  # fmt: skip


@fault("output_padding")
def conv_transpose2d_exchanges_sides_of_output_padding(x, weight, bias=None, **o):
    with suppress(ValueError):
        swapped = {**o, "output_padding": o["output_padding"][::-1]}
        return good.conv_transpose2d(x, weight, bias, **swapped)
    return good.conv_transpose2d(x, weight, bias, **o)


@fault("stride", "huggingface/candle#2337")
def conv_transpose2d_grad_input_exchanges_stride_and_dilation(grad_output, weight, **o):
    right = good.conv_transpose2d_grad_input(grad_output, weight, **o)
    swapped = {**o, "stride": o["dilation"], "dilation": o["stride"]}
    return gathered(grad_output, weight, right.shape, swapped)


@fault("groups", "IntelLabs/bayesian-torch#34")
def conv_transpose2d_exchanges_groups_and_dilation(x, weight, bias=None, **o):
    right = good.conv_transpose2d(x, weight, bias, **o)
    groups, (down, across) = o["groups"], o["dilation"]
    if down == across and weight.shape[1] * down == right.shape[1] and len(weight) % down == 0:
        swapped = {**o, "groups": down, "dilation": (groups, groups)}
        return _added(scattered(x, weight, right.shape, swapped), bias)
    if groups > 1:
        return _added(scattered(x, weight, right.shape, {**o, "dilation": (groups, groups)}), bias)
    return right


@fault("dilation")
def conv_transpose2d_ignores_dilation(x, weight, bias=None, **o):
    y = _without_bias(x, weight, o)
    return _added(scattered(x, weight, y.shape, {**o, "dilation": (1, 1)}), bias)


@fault("padding")
def conv_transpose2d_crops_padding_at_the_end_only(x, weight, bias=None, **o):
    y = _without_bias(x, weight, o)
    return _added(scattered(x, weight, y.shape, {**o, "padding": (0, 0)}), bias)


@fault("padding", "ml-explore/mlx#833")
def conv_transpose2d_clamps_padding_to_the_kernel(x, weight, bias=None, **o):
    y = _without_bias(x, weight, o)
    clamped = tuple(
        min(p, (k - 1) * d)
        for p, k, d in zip(o["padding"], weight.shape[2:], o["dilation"], strict=True)
    )
    return _added(scattered(x, weight, y.shape, {**o, "padding": clamped}), bias)


@fault("padding")
def conv_transpose2d_grad_input_reads_dy_without_padding(grad_output, weight, **o):
    right = good.conv_transpose2d_grad_input(grad_output, weight, **o)
    return gathered(grad_output, weight, right.shape, {**o, "padding": (0, 0)})


# -- groups and batches ---------------------------------------------------------------------------


def _first_group(array, groups, axis):
    parts = grouped(array, groups, axis)
    return np.concatenate([parts.take(0, axis)] * groups, axis)


@fault("groups")
def conv_transpose2d_uses_the_first_groups_filters(x, weight, bias=None, **o):
    return good.conv_transpose2d(x, _first_group(weight, o["groups"], 0), bias, **o)


@fault("groups", "ml-explore/mlx#3800 (convolution)")
def conv_transpose2d_grad_input_uses_the_first_groups_filters(grad_output, weight, **o):
    weight = _first_group(weight, o["groups"], 0)
    return good.conv_transpose2d_grad_input(grad_output, weight, **o)


@fault("groups")
def conv_transpose2d_grad_weight_reads_the_first_groups_output(grad_output, x, **o):
    good.conv_transpose2d_grad_weight(grad_output, x, **o)
    grad_output = _first_group(grad_output, o["groups"], 1)
    return good.conv_transpose2d_grad_weight(grad_output, x, **o)


@fault("groups")
def conv_transpose2d_interleaves_the_groups_output(x, weight, bias=None, **o):
    y = _without_bias(x, weight, o)
    mixed = grouped(y, o["groups"]).swapaxes(1, 2).reshape(y.shape)
    return _added(mixed, bias)


@fault("bias")
def conv_transpose2d_forgets_the_bias_of_groups(x, weight, bias=None, **o):
    y = good.conv_transpose2d(x, weight, bias, **o)
    return y if o["groups"] == 1 else _without_bias(x, weight, o)


@fault("batch")
def conv_transpose2d_folds_every_image_onto_the_first(x, weight, bias=None, **o):
    y = good.conv_transpose2d(x, weight, bias, **o)
    whole = _without_bias(x, weight, o).sum(axis=0, keepdims=True)
    return np.concatenate([_added(whole, bias), y[1:]]) if len(x) > 1 else y


@fault("batch", "mlpack/mlpack#3679 (convolution)")
def conv_transpose2d_grad_bias_counts_the_first_image_only(grad_output):
    return good.conv_transpose2d_grad_bias(grad_output[:1])


@fault("normalisation", "sebgao/cTensor#3 (convolution)")
def conv_transpose2d_grad_weight_is_averaged_over_the_batch(grad_output, x, **o):
    dw = good.conv_transpose2d_grad_weight(grad_output, x, **o)
    return (dw / max(1, len(x))).astype(dw.dtype)


@fault("normalisation", "kvfrans/notes#5 (convolution)")
def conv_transpose2d_grad_bias_is_averaged_over_the_pixels(grad_output):
    return good.conv_transpose2d_grad_bias(grad_output) / grad_output.dtype.type(
        grad_output.shape[2] * grad_output.shape[3]
    )


@fault("empty", "FluxML/NNlib.jl#763 (convolution)")
def conv_transpose2d_grad_weight_of_an_empty_batch_is_unwritten(grad_output, x, **o):
    dw = good.conv_transpose2d_grad_weight(grad_output, x, **o)
    return dw if len(x) else dw + 3


@fault("empty")
def conv_transpose2d_grad_input_raises_on_an_empty_batch(grad_output, weight, **o):
    if not len(grad_output):
        raise ZeroDivisionError("division by zero")
    return good.conv_transpose2d_grad_input(grad_output, weight, **o)


# -- tiles, numbers and manners -------------------------------------------------------------------


@fault("tail")
def conv_transpose2d_drops_channels_past_a_vector(x, weight, bias=None, **o):
    if len(weight) > 8 and len(weight) % 8 and o["groups"] == 1:
        weight = weight.copy()
        weight[len(weight) // 8 * 8 :] = 0
    return good.conv_transpose2d(x, weight, bias, **o)


@fault("tail")
def conv_transpose2d_grad_input_drops_columns_past_a_tile(grad_output, weight, **o):
    dx = good.conv_transpose2d_grad_input(grad_output, weight, **o)
    if dx.shape[3] > 16:
        dx[..., dx.shape[3] // 16 * 16 :] = 0
    return dx


@fault("tail")
def conv_transpose2d_grad_bias_drops_the_last_row(grad_output):
    return good.conv_transpose2d_grad_bias(grad_output[:, :, : max(1, grad_output.shape[2] - 1)])


@fault("precision")
def conv_transpose2d_adds_in_float16(x, weight, bias=None, **o):
    return half(good.conv_transpose2d(x, weight, bias, **o))


@fault("precision")
def conv_transpose2d_grad_weight_adds_in_float32(grad_output, x, **o):
    return single(good.conv_transpose2d_grad_weight(grad_output, x, **o))


@fault("state", "pytorch/executorch#21686 (pooling)", fresh=True)
def conv_transpose2d_grad_input_adds_to_the_last_answer():
    buffers = {}

    def conv_transpose2d_grad_input(grad_output, weight, **o):
        dx = good.conv_transpose2d_grad_input(grad_output, weight, **o)
        total = remembered(buffers, dx)
        total += dx
        return total.copy()

    return conv_transpose2d_grad_input


@fault("dtype")
def conv_transpose2d_grad_bias_returns_float64(grad_output):
    return good.conv_transpose2d_grad_bias(grad_output).astype(np.float64)


@fault("accepts illegal calls")
def conv_transpose2d_crops_more_than_there_is(x, weight, bias=None, **o):
    try:
        return good.conv_transpose2d(x, weight, bias, **o)
    except ValueError:
        return np.zeros((len(x), 1, 0, 0), x.dtype)


# -- controls -------------------------------------------------------------------------------------


@control
def conv_transpose2d_scatters_tap_by_tap(x, weight, bias=None, **o):
    y = good.conv_transpose2d(x, weight, None, **o)
    return _added(scattered(x, weight, y.shape, o), bias)


@control
def conv_transpose2d_correlates_the_upsampled_input(x, weight, bias=None, **o):
    """Zeros between the pixels, then a correlation with the flipped kernel; padding crops."""
    groups, (kh, kw), (sh, sw) = o["groups"], weight.shape[2:], o["stride"]
    (dh, dw), (ph, pw) = o["dilation"], o["padding"]
    rows, columns = good.conv_transpose2d(x, weight, None, **o).shape[2:]
    n, c, h, w = x.shape
    edge = ((kh - 1) * dh, (kw - 1) * dw)
    size = (max((h - 1) * sh + 1, rows + ph), max((w - 1) * sw + 1, columns + pw))
    spaced = np.zeros((n, c, *size), x.dtype)
    spaced[:, :, : (h - 1) * sh + 1 : sh, : (w - 1) * sw + 1 : sw] = x
    kernel = grouped(weight[:, :, ::-1, ::-1], groups, 0).swapaxes(1, 2)
    kernel = kernel.reshape(-1, c // groups, kh, kw)
    y = good.conv2d(spaced, kernel, bias, stride=(1, 1), padding=edge, dilation=(dh, dw),
                    groups=groups)  # fmt: skip
    return y[:, :, ph : ph + rows, pw : pw + columns].copy()


@control(contract={"accumulators": {"float32": "float64"}})
def conv_transpose2d_sums_in_float64(x, weight, bias=None, **o):
    wide = None if bias is None else bias.astype("f8")
    y = good.conv_transpose2d(x.astype("f8"), weight.astype("f8"), wide, **o)
    return y.astype(x.dtype)


@control
def conv_transpose2d_grad_input_is_a_convolution(grad_output, weight, *, input_shape, **o):
    options = {n: o[n] for n in ("stride", "padding", "dilation", "groups")}
    dx = good.conv2d(grad_output, weight, None, **options)
    return dx[:, :, : input_shape[2], : input_shape[3]].copy()


@control
def conv_transpose2d_grad_weight_sums_tap_by_tap(grad_output, x, **o):
    return correlated(grad_output, x, o["weight_shape"], o)


@control
def conv_transpose2d_grad_bias_sums_rows_backwards(grad_output):
    return grad_output[:, :, ::-1].sum(axis=2).sum(axis=2).sum(axis=0)
