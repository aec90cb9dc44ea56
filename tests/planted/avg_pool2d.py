"""Planted faults and controls of average pooling."""

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
from tests.planted.windows import divisors, spread, taps, window_sums


def _mean(x, o, changed=None, **how):
    """Return y of the right shape: sums by `changed` options, divided as `how` says."""
    count = good.avg_pool2d(x, **o).shape[2:]
    read = {**o, **(changed or {})}
    by = np.maximum(divisors(x.shape[2:], count, read, **how), 1)
    return window_sums(x, count, read) / by.astype(x.dtype)


def _back(grad_output, shape, o, changed=None, **how):
    good.avg_pool2d_grad_input(grad_output, input_shape=shape, **o)
    read = {**o, **(changed or {})}
    by = np.maximum(divisors(shape[2:], grad_output.shape[2:], read, **how), 1)
    return spread(grad_output / by.astype(grad_output.dtype), shape, read)


# -- the divisor ----------------------------------------------------------------------------------


@fault("divisor", "apple/coremltools#2772")
def avg_pool2d_counts_what_hangs_over_the_end(x, **o):
    return _mean(x, o, overhang=True)


@fault("divisor", "pytorch/pytorch#198119")
def avg_pool2d_grad_input_counts_what_hangs_over_the_end(grad_output, *, input_shape, **o):
    return _back(grad_output, input_shape, o, overhang=True)


@fault("divisor")
def avg_pool2d_always_divides_by_the_kernel(x, **o):
    return _mean(x, o, overhang=True, include=True)


@fault("divisor", "kulinseth/pytorch#273")
def avg_pool2d_ignores_count_include_pad(x, **o):
    return _mean(x, o, include=True)


@fault("divisor")
def avg_pool2d_grad_input_ignores_count_include_pad(grad_output, *, input_shape, **o):
    return _back(grad_output, input_shape, o, include=True)


@fault("divisor", "mpc-msri/EzPC#95")
def avg_pool2d_never_counts_padding(x, **o):
    return _mean(x, o, include=False)


@fault("divisor")
def avg_pool2d_grad_input_never_counts_padding(grad_output, *, input_shape, **o):
    return _back(grad_output, input_shape, o, include=False)


@fault("divisor")
def avg_pool2d_inverts_count_include_pad(x, **o):
    return _mean(x, o, include=not o["count_include_pad"])


@fault("divisor", "microsoft/onnxruntime#16752")
def avg_pool2d_counts_overhang_of_columns_only(x, **o):
    count = good.avg_pool2d(x, **o).shape[2:]
    right, wrong = (divisors(x.shape[2:], count, o, overhang=yes) for yes in (False, True))
    by = right[:, :1] / right[:1, :1] * wrong[:1]
    return window_sums(x, count, o) / by.astype(x.dtype)


@fault("normalisation")
def avg_pool2d_returns_sums(x, **o):
    return window_sums(x, good.avg_pool2d(x, **o).shape[2:], o)


@fault("normalisation")
def avg_pool2d_grad_input_spreads_undivided(grad_output, *, input_shape, **o):
    good.avg_pool2d_grad_input(grad_output, input_shape=input_shape, **o)
    return spread(grad_output, input_shape, o)


@fault("normalisation")
def avg_pool2d_grad_input_is_averaged_over_the_batch(grad_output, *, input_shape, **o):
    dx = good.avg_pool2d_grad_input(grad_output, input_shape=input_shape, **o)
    return dx / dx.dtype.type(max(1, len(dx)))


# -- geometry -------------------------------------------------------------------------------------


def _misread(option, change):
    def forward(x, **o):
        return _mean(x, o, {option: change(o[option])})

    def grad_input(grad_output, *, input_shape, **o):
        return _back(grad_output, input_shape, o, {option: change(o[option])})

    return {"": forward, "_grad_input": grad_input}


for _option in ("kernel_size", "stride", "padding"):
    for _what, _change in (
        ("exchanges_sides", exchanged),
        ("takes_height_for_both", first_twice),
    ):
        for _suffix, _wrong in _misread(_option, _change).items():
            FAULTS[f"avg_pool2d{_suffix}_{_what}_of_{_option}"] = Fault(
                "height for width", f"avg_pool2d{_suffix}", lambda wrong=_wrong: wrong,
            )  # fmt: skip


@fault("stride", "deeplearning4j/libnd4j#793")
def avg_pool2d_steps_by_its_kernel(x, **o):
    return _mean(x, o, {"stride": o["kernel_size"]})


@fault("padding")
def avg_pool2d_pads_at_the_end_only(x, **o):
    count = good.avg_pool2d(x, **o).shape[2:]
    sums = window_sums(x, count, {**o, "padding": (0, 0)})
    return sums / divisors(x.shape[2:], count, o).astype(x.dtype)


@fault("padding")
def avg_pool2d_repeats_the_edge_as_padding(x, **o):
    y = good.avg_pool2d(x, **o)
    if not o["count_include_pad"]:
        return y
    (down, across), options = o["padding"], {**o, "padding": (0, 0)}
    padded = np.pad(x, ((0, 0), (0, 0), (down, down), (across, across)), "edge")
    return _mean_of_padded(padded, y.shape[2:], options)


def _mean_of_padded(padded, count, o):
    return window_sums(padded, count, o) / divisors(padded.shape[2:], count, o).astype(padded.dtype)


@fault("padding")
def avg_pool2d_grad_input_keeps_the_padding(grad_output, *, input_shape, **o):
    good.avg_pool2d_grad_input(grad_output, input_shape=input_shape, **o)
    by = divisors(input_shape[2:], grad_output.shape[2:], o).astype(grad_output.dtype)
    return spread(grad_output / by, input_shape, {**o, "padding": (0, 0)})


@fault("ceil_mode")
def avg_pool2d_ignores_ceil_mode(x, **o):
    try:
        return good.avg_pool2d(x, **{**o, "ceil_mode": False})
    except ValueError:
        return good.avg_pool2d(x, **o)


@fault("ceil_mode", "PaddlePaddle/Paddle#51542")
def avg_pool2d_adds_a_window_outside_the_image(x, **o):
    y = good.avg_pool2d(x, **o)
    if not o["ceil_mode"]:
        return y
    count = [
        -(-(side + 2 * pad - kernel) // step) + 1
        for side, pad, kernel, step in zip(
            x.shape[2:], o["padding"], o["kernel_size"], o["stride"], strict=True
        )
    ]
    return fitted(y, (*y.shape[:2], *count))


@fault("ceil_mode")
def avg_pool2d_grad_input_forgets_windows_of_ceil_mode(grad_output, *, input_shape, **o):
    dx = good.avg_pool2d_grad_input(grad_output, input_shape=input_shape, **o)
    try:
        image = np.zeros(input_shape)
        rows, columns = good.avg_pool2d(image, **{**o, "ceil_mode": False}).shape[2:]
    except ValueError:
        return dx
    dy = fitted(grad_output[:, :, :rows, :columns], grad_output.shape)
    return good.avg_pool2d_grad_input(dy, input_shape=input_shape, **o)


@fault("fast path")
def avg_pool2d_of_a_whole_image_ignores_padding(x, **o):
    y = good.avg_pool2d(x, **o)
    if y.shape[2:] == (1, 1) and all(
        k >= side for k, side in zip(o["kernel_size"], x.shape[2:], strict=True)
    ):
        return x.mean(axis=(2, 3), keepdims=True)
    return y


@fault("tail", "tenstorrent/tt-metal#14260")
def avg_pool2d_spoils_the_last_row_of_3x3(x, **o):
    y = good.avg_pool2d(x, **o)
    if o["kernel_size"] == (3, 3) and o["stride"] == (1, 1) and o["padding"] == (1, 1):
        y[:, :, -1] = y[:, :, 0]
    return y


# -- overlap, gaps and batches --------------------------------------------------------------------


@fault("overlap", "ahrefs/ocannl#512 (max pooling)")
def avg_pool2d_grad_input_stores_instead_of_adding(grad_output, *, input_shape, **o):
    dx = good.avg_pool2d_grad_input(grad_output, input_shape=input_shape, **o)
    for i, j in np.ndindex(grad_output.shape[2:]):
        alone, here = np.zeros_like(grad_output), np.zeros_like(grad_output)
        alone[:, :, i, j], here[:, :, i, j] = grad_output[:, :, i, j], 1
        reached = spread(here, input_shape, o) != 0
        dx[reached] = good.avg_pool2d_grad_input(alone, input_shape=input_shape, **o)[reached]
    return dx


@fault("unwritten memory", "ROCm/composable_kernel#105 (convolution)")
def avg_pool2d_grad_input_leaves_gaps_unwritten(grad_output, *, input_shape, **o):
    dx = good.avg_pool2d_grad_input(grad_output, input_shape=input_shape, **o)
    dx[spread(np.ones_like(grad_output), input_shape, o) == 0] = 7
    return dx


@fault("batch")
def avg_pool2d_repeats_the_first_image(x, **o):
    return good.avg_pool2d(np.repeat(x[:1], len(x), 0), **o)


@fault("batch")
def avg_pool2d_grad_input_forgets_the_last_image(grad_output, *, input_shape, **o):
    dx = good.avg_pool2d_grad_input(grad_output, input_shape=input_shape, **o)
    if len(dx) > 1:
        dx[-1] = 0
    return dx


@fault("empty")
def avg_pool2d_grad_input_raises_on_an_empty_batch(grad_output, *, input_shape, **o):
    if not len(grad_output):
        raise ZeroDivisionError("division by zero")
    return good.avg_pool2d_grad_input(grad_output, input_shape=input_shape, **o)


# -- tiles, numbers and manners -------------------------------------------------------------------


@fault("tail")
def avg_pool2d_drops_channels_past_a_vector(x, **o):
    y = good.avg_pool2d(x, **o)
    if y.shape[1] > 8:
        y[:, y.shape[1] // 8 * 8 :] = 0
    return y


@fault("tail")
def avg_pool2d_grad_input_drops_columns_past_a_tile(grad_output, *, input_shape, **o):
    dx = good.avg_pool2d_grad_input(grad_output, input_shape=input_shape, **o)
    if dx.shape[3] > 64:
        dx[..., dx.shape[3] // 64 * 64 :] = 0
    return dx


@fault("precision")
def avg_pool2d_multiplies_with_a_float16_reciprocal(x, **o):
    count = good.avg_pool2d(x, **o).shape[2:]
    reciprocals = (1 / divisors(x.shape[2:], count, o)).astype(np.float16)
    return window_sums(x, count, o) * reciprocals.astype(x.dtype)


@fault("precision")
def avg_pool2d_takes_differences_of_running_sums(x, **o):
    """The integral image: large sums cancel, and a small window far down loses its digits."""
    y = good.avg_pool2d(x, **o)
    corner = np.zeros((*x.shape[:2], x.shape[2] + 1, x.shape[3] + 1), x.dtype)
    corner[:, :, 1:, 1:] = x.cumsum(axis=2, dtype=x.dtype).cumsum(axis=3, dtype=x.dtype)
    ends = []
    for axis in (0, 1):
        k, s, p = o["kernel_size"][axis], o["stride"][axis], o["padding"][axis]
        start = np.arange(y.shape[2 + axis]) * s - p
        ends.append([np.clip(at, 0, x.shape[2 + axis]) for at in (start, start + k)])
    (top, bottom), (left, right) = ends
    sums = (
        corner[:, :, bottom[:, None], right] - corner[:, :, top[:, None], right]
        - corner[:, :, bottom[:, None], left] + corner[:, :, top[:, None], left]
    )  # fmt: skip
    return sums / divisors(x.shape[2:], y.shape[2:], o).astype(x.dtype)


@fault("precision")
def avg_pool2d_grad_input_adds_in_float16(grad_output, *, input_shape, **o):
    return half(good.avg_pool2d_grad_input(grad_output, input_shape=input_shape, **o))


@fault("precision")
def avg_pool2d_adds_in_float32(x, **o):
    return single(good.avg_pool2d(x, **o))


@fault("value")
def avg_pool2d_divides_integers(x, **o):
    y = good.avg_pool2d(x, **o)
    return np.trunc(y) if (x == np.trunc(x)).all() else y


@fault("purity")
def avg_pool2d_grad_input_divides_dy_in_place(grad_output, *, input_shape, **o):
    dx = good.avg_pool2d_grad_input(grad_output, input_shape=input_shape, **o)
    grad_output /= divisors(input_shape[2:], grad_output.shape[2:], o).astype(grad_output.dtype)
    return dx


@fault("state", "pytorch/executorch#21686 (max pooling)", fresh=True)
def avg_pool2d_grad_input_adds_to_an_uncleared_buffer():
    buffers = {}

    def avg_pool2d_grad_input(grad_output, *, input_shape, **o):
        dx = good.avg_pool2d_grad_input(grad_output, input_shape=input_shape, **o)
        total = remembered(buffers, dx)
        total += dx
        return total.copy()

    return avg_pool2d_grad_input


# -- controls -------------------------------------------------------------------------------------


@control
def avg_pool2d_divides_every_pixel_first(x, **o):
    """The mean as a sum of quotients."""
    count = good.avg_pool2d(x, **o).shape[2:]
    by = divisors(x.shape[2:], count, o).astype(x.dtype)
    y = np.zeros((*x.shape[:2], *count), x.dtype)
    read = (o["kernel_size"], o["stride"], o["padding"])
    for _, windows, pixels in taps(x.shape[2:], count, *read):
        y[:, :, *windows] += x[:, :, *pixels] / by[windows]
    return y


@control
def avg_pool2d_multiplies_with_reciprocals(x, **o):
    count = good.avg_pool2d(x, **o).shape[2:]
    by = divisors(x.shape[2:], count, o).astype(x.dtype)
    return window_sums(x, count, o) * (1 / by)


@control
def avg_pool2d_sums_rows_then_columns(x, **o):
    """Separable: the kernel's rows first, its columns after."""
    rows, columns = good.avg_pool2d(x, **o).shape[2:]
    down = {**o, "kernel_size": (o["kernel_size"][0], 1), "stride": (o["stride"][0], 1),
            "padding": (o["padding"][0], 0)}  # fmt: skip
    across = {**o, "kernel_size": (1, o["kernel_size"][1]), "stride": (1, o["stride"][1]),
              "padding": (0, o["padding"][1])}  # fmt: skip
    sums = window_sums(window_sums(x, (rows, x.shape[3]), down), (rows, columns), across)
    return sums / divisors(x.shape[2:], (rows, columns), o).astype(x.dtype)


@control(contract={"accumulators": {"float32": "float64"}})
def avg_pool2d_sums_in_float64(x, **o):
    return good.avg_pool2d(x.astype("f8"), **o).astype(x.dtype)


@control
def avg_pool2d_sums_in_float64_and_says_nothing(x, **o):
    return good.avg_pool2d(x.astype("f8"), **o).astype(x.dtype)


@control
def avg_pool2d_grad_input_gathers(grad_output, *, input_shape, **o):
    """Every pixel adds the shares of the windows that see it, rows first."""
    dtype = grad_output.dtype
    share = grad_output / divisors(input_shape[2:], grad_output.shape[2:], o).astype(dtype)
    down, across = (
        seen(pixels, windows, *of).astype(dtype)
        for pixels, windows, *of in zip(
            input_shape[2:], share.shape[2:], o["kernel_size"], o["stride"], o["padding"],
            strict=True,
        )
    )  # fmt: skip
    return down @ share @ across.T


def seen(pixels, windows, taps, stride, padding):
    """Return which pixel [pixels, 1] of a side which window [1, windows] sees."""
    tap = np.arange(pixels)[:, np.newaxis] - np.arange(windows) * stride + padding
    return (tap >= 0) & (tap < taps)


@control
def avg_pool2d_grad_input_multiplies_with_reciprocals(grad_output, *, input_shape, **o):
    by = divisors(input_shape[2:], grad_output.shape[2:], o).astype(grad_output.dtype)
    return spread(grad_output * (1 / by), input_shape, o)
