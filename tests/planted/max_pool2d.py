"""Planted faults and controls of max pooling: values, indices and the way back."""

import numpy as np

from gradoracle.implementations import im2col as good
from tests.planted.fault import (
    FAULTS,
    Fault,
    exchanged,
    fault,
    first_twice,
    fitted,
)
from tests.planted.windows import OPTIONS, scan, taps, unpooled


def _pads(x, o):
    """Return which windows of y see padding: one flag per window."""
    y = good.max_pool2d(x, **o)[0]
    pixels = np.zeros(y.shape[2:])
    for _, windows, _ in taps(x.shape[2:], y.shape[2:], *(o[name] for name in OPTIONS)):
        pixels[windows] += 1
    return pixels < o["kernel_size"][0] * o["kernel_size"][1]


# -- padding, infinities and NaN ------------------------------------------------------------------


@fault("padding")
def max_pool2d_pads_with_zeros(x, **o):
    y, indices = good.max_pool2d(x, **o)
    return np.where(_pads(x, o), np.maximum(y, 0), y), indices


@fault("padding")
def max_pool2d_starts_from_zero(x, **o):
    y, indices = good.max_pool2d(x, **o)
    return np.maximum(y, 0), indices


@fault("padding", "pytorch/pytorch#39846")
def max_pool2d_starts_from_the_lowest_float(x, **o):
    y, indices = good.max_pool2d(x, **o)
    return np.maximum(y, np.finfo(y.dtype).min), indices


@fault("padding")
def max_pool2d_starts_from_the_smallest_float(x, **o):
    y, indices = good.max_pool2d(x, **o)
    return np.maximum(y, np.finfo(y.dtype).tiny), indices


@fault("index", "pytorch/pytorch#1465")
def max_pool2d_has_no_index_where_all_is_minus_infinity(x, **o):
    y, indices = good.max_pool2d(x, **o)
    return y, np.where(np.isneginf(y), -1, indices)


@fault("index")
def max_pool2d_points_at_pixel_0_where_all_is_minus_infinity(x, **o):
    y, indices = good.max_pool2d(x, **o)
    return y, np.where(np.isneginf(y), 0, indices)


@fault("nan", "pytorch/pytorch#7645")
def max_pool2d_drops_nans(x, **o):
    return scan(x, lambda seen, best, place: (place < 0) | (seen > best) | np.isnan(best), **o)


@fault("nan", "tracel-ai/burn#5662")
def max_pool2d_keeps_a_nan_only_if_it_is_first(x, **o):
    return scan(x, lambda seen, best, place: (place < 0) | (seen > best), **o)


@fault("nan", "Theano/Theano#3060")
def max_pool2d_forgets_a_nan_that_is_first(x, **o):
    return scan(x, lambda seen, best, place: (place < 0) | ~(seen <= best), **o)


@fault("nan")
def max_pool2d_takes_infinity_over_a_nan(x, **o):
    def wins(seen, best, place):
        return (place < 0) | (seen > best) | (np.isnan(seen) & ~np.isposinf(best))

    return scan(x, wins, **o)


@fault("tie")
def max_pool2d_takes_the_last_nan(x, **o):
    return scan(x, lambda seen, best, place: (place < 0) | (seen > best) | np.isnan(seen), **o)


# -- ties -----------------------------------------------------------------------------------------


def last_wins(seen, best, place):
    return (place < 0) | (seen >= best) | (np.isnan(seen) & ~np.isnan(best))


@fault("tie")
def max_pool2d_takes_the_last_maximum(x, **o):
    return scan(x, last_wins, **o)


@fault("tie")
def max_pool2d_takes_the_first_maximum_by_columns(x, **o):
    turned = {name: o[name][::-1] for name in OPTIONS}
    y, indices = good.max_pool2d(x.swapaxes(2, 3), **{**o, **turned})
    columns, rows = np.divmod(indices, x.shape[2])
    return y.swapaxes(2, 3).copy(), (rows * x.shape[3] + columns).swapaxes(2, 3).copy()


@fault("tie")
def max_pool2d_vjp_goes_to_the_last_maximum(grad_output, x, **o):
    return unpooled(grad_output, scan(x, last_wins, **o)[1], x.shape)


def to_all_maxima(grad_output, x, o, *, shared):
    y = good.max_pool2d(x, **o)[0]
    counts, windows_of = np.zeros(y.shape), []
    for _, windows, pixels in taps(x.shape[2:], y.shape[2:], *(o[name] for name in OPTIONS)):
        top, seen = y[:, :, *windows], x[:, :, *pixels]
        hit = (seen == top) | (np.isnan(seen) & np.isnan(top))
        counts[:, :, *windows] += hit
        windows_of.append((windows, pixels, hit))
    dy = (grad_output / counts).astype(x.dtype) if shared else grad_output
    dx = np.zeros_like(x)
    for windows, pixels, hit in windows_of:
        dx[:, :, *pixels] += np.where(hit, dy[:, :, *windows], 0)
    return dx


@fault("tie")
def max_pool2d_vjp_goesto_all_maxima(grad_output, x, **o):
    return to_all_maxima(grad_output, x, o, shared=False)


@fault("tie")
def max_pool2d_vjp_is_shared_among_maxima(grad_output, x, **o):
    return to_all_maxima(grad_output, x, o, shared=True)


@fault("nan")
def max_pool2d_vjp_of_a_nan_goes_nowhere(grad_output, x, **o):
    y = good.max_pool2d(x, **o)[0]
    return good.max_pool2d_vjp(np.where(np.isnan(y), 0, grad_output), x, **o)


# -- indices --------------------------------------------------------------------------------------


def _repointed(x, o, change):
    y, indices = good.max_pool2d(x, **o)
    return y, change(*np.divmod(indices, x.shape[3]))


@fault("index")
def max_pool2d_points_into_the_padded_plane(x, **o):
    (down, across), width = o["padding"], x.shape[3]
    return _repointed(x, o, lambda h, w: (h + down) * (width + 2 * across) + w + across)


@fault("index")
def max_pool2d_points_into_the_window(x, **o):
    def tap(h, w):
        (s, t), (p, q), (d, e) = o["stride"], o["padding"], o["dilation"]
        i, j = np.arange(h.shape[2])[:, None], np.arange(h.shape[3])
        return (h + p - i * s) // d * o["kernel_size"][1] + (w + q - j * t) // e

    return _repointed(x, o, tap)


@fault("index")
def max_pool2d_points_by_columns(x, **o):
    return _repointed(x, o, lambda h, w: w * x.shape[2] + h)


@fault("index")
def max_pool2d_counts_the_planes_before(x, **o):
    y, indices = good.max_pool2d(x, **o)
    plane = x.shape[2] * x.shape[3]
    return y, indices + (np.arange(x.shape[1]) * plane)[:, None, None]


@fault("index")
def max_pool2d_keeps_indices_in_a_byte(x, **o):
    y, indices = good.max_pool2d(x, **o)
    return y, indices % 256


@fault("dtype")
def max_pool2d_returns_indices_of_32_bits(x, **o):
    y, indices = good.max_pool2d(x, **o)
    return y, indices.astype(np.int32)


@fault("type")
def max_pool2d_returns_no_indices(x, **o):
    return good.max_pool2d(x, **o)[0]


# -- geometry -------------------------------------------------------------------------------------


def _misread(option, change):
    def forward(x, **o):
        count = good.max_pool2d(x, **o)[0].shape[2:]
        return scan(x, count=count, **{**o, option: change(o[option])})

    def vjp(grad_output, x, **o):
        return unpooled(grad_output, forward(x, **o)[1], x.shape)

    return {"": forward, "_vjp": vjp}


SEEN = {("_vjp", "dilation", "takes_height_for_both"): "tracel-ai/burn#4466"}
for _option in OPTIONS:
    for _what, _change in (
        ("exchanges_sides", exchanged),
        ("takes_height_for_both", first_twice),
    ):
        for _suffix, _wrong in _misread(_option, _change).items():
            FAULTS[f"max_pool2d{_suffix}_{_what}_of_{_option}"] = Fault(
                "height for width", f"max_pool2d{_suffix}", lambda wrong=_wrong: wrong,
                SEEN.get((_suffix, _option, _what), ""),
            )  # fmt: skip


@fault("dilation")
def max_pool2d_ignores_dilation(x, **o):
    count = good.max_pool2d(x, **o)[0].shape[2:]
    return scan(x, count=count, **{**o, "dilation": (1, 1)})


@fault("stride", "deeplearning4j/libnd4j#793")
def max_pool2d_steps_by_its_kernel(x, **o):
    count = good.max_pool2d(x, **o)[0].shape[2:]
    return scan(x, count=count, **{**o, "stride": o["kernel_size"]})


@fault("dilation", "microsoft/onnxruntime#29637")
def max_pool2d_dilates_from_the_image_edge(x, **o):
    """The window's start is clipped to 0 before the taps are spaced out."""
    y, indices = good.max_pool2d(x, **o)
    for axis in (0, 1):
        late, d = o["padding"][axis], o["dilation"][axis]
        if not late or d == 1 or late % d == 0:
            continue
        shifted, places = scan(x, count=y.shape[2:], **{**o, "padding": (
            *o["padding"][:axis], late // d * d, *o["padding"][axis + 1 :])})  # fmt: skip
        first = (slice(None),) * (2 + axis) + (slice(1),)
        y[first], indices[first] = shifted[first], places[first]
    return y, indices


@fault("padding", "microsoft/onnxruntime#29631 (average pooling)")
def max_pool2d_drops_padding_at_the_end(x, **o):
    y, indices = good.max_pool2d(x, **o)
    last = [
        (side + pad - (kernel - 1) * d - 1) // step + 1
        for side, pad, kernel, d, step in zip(
            x.shape[2:], o["padding"], o["kernel_size"], o["dilation"], o["stride"], strict=True
        )
    ]
    rows, columns = (max(1, n) for n in last)
    return y[:, :, :rows, :columns].copy(), indices[:, :, :rows, :columns].copy()


@fault("ceil_mode")
def max_pool2d_ignores_ceil_mode(x, **o):
    try:
        return good.max_pool2d(x, **{**o, "ceil_mode": False})
    except ValueError:
        return good.max_pool2d(x, **o)


@fault("ceil_mode", "microsoft/onnxruntime#16350")
def max_pool2d_adds_a_window_outside_the_image(x, **o):
    y, indices = good.max_pool2d(x, **o)
    if not o["ceil_mode"]:
        return y, indices
    count = [
        -(-(side + 2 * pad - (kernel - 1) * d - 1) // step) + 1
        for side, pad, kernel, d, step in zip(
            x.shape[2:], o["padding"], o["kernel_size"], o["dilation"], o["stride"], strict=True
        )
    ]
    return scan(x, count=tuple(count), **o)


@fault("ceil_mode")
def max_pool2d_reads_the_next_row_past_the_end(x, **o):
    """A window that hangs over the right end goes on at the start of the row below."""
    y, indices = good.max_pool2d(x, **o)
    wide = fitted(x, (*x.shape[:3], x.shape[3] + 1))
    wide[:, :, :-1, -1] = x[:, :, 1:, 0]
    wide[:, :, -1, -1] = -np.inf
    beyond, _ = scan(wide, count=y.shape[2:], **o)
    return np.maximum(y, beyond), indices


@fault("ceil_mode")
def max_pool2d_vjp_forgets_windows_of_ceil_mode(grad_output, x, **o):
    try:
        count = good.max_pool2d(x, **{**o, "ceil_mode": False})[0].shape
    except ValueError:
        return good.max_pool2d_vjp(grad_output, x, **o)
    dy = fitted(grad_output[:, :, : count[2], : count[3]], grad_output.shape)
    return good.max_pool2d_vjp(dy, x, **o)


@fault("refuses legal calls", "pytorch/pytorch#154882")
def max_pool2d_refuses_stride_beyond_kernel(x, **o):
    if o["ceil_mode"] and any(s > k for s, k in zip(o["stride"], o["kernel_size"], strict=True)):
        raise RuntimeError("invalid stride")
    return good.max_pool2d(x, **o)


@fault("accepts illegal calls")
def max_pool2d_takes_any_padding(x, **o):
    try:
        return good.max_pool2d(x, **o)
    except ValueError:
        return np.zeros((*x.shape[:2], 0, 0), x.dtype), np.zeros((*x.shape[:2], 0, 0), np.int64)
