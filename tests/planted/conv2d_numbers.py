"""More planted faults of conv2d, in tiles, numbers and manners; and its controls."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from gradoracle.implementations import im2col as good
from tests.planted.conv2d import SHORT, control, fault, rest
from tests.planted.fault import FAULTS, Fault

# -- sizes past tiles -----------------------------------------------------------------------------


@fault("tail", "modular/modular#6248")
def y_drops_channels_past_a_vector(x, weight, bias=None, **o):
    depth = weight.shape[1]
    if depth > 8 and depth % 8:
        weight = weight.copy()
        weight[:, depth // 8 * 8 :] = 0
    return good.conv2d(x, weight, bias, **o)


@fault("tail")
def dx_drops_filters_past_a_tile(grad_output, weight, **o):
    if len(weight) > 16 and len(weight) % 16:
        weight = weight.copy()
        weight[len(weight) // 16 * 16 :] = 0
    return good.conv2d_grad_input(grad_output, weight, **o)


@fault("tail", "fujitsu/oneDNN#43")
def dx_wrong_past_16_channels(grad_output, weight, **o):
    dx = good.conv2d_grad_input(grad_output, weight, **o)
    if weight.shape[1] > 16:
        dx[:, 16:] = 0
    return dx


@fault("tail", "dlsys-course/examples#1")
def y_drops_columns_past_a_tile(x, weight, bias=None, **o):
    y = good.conv2d(x, weight, bias, **o)
    if y.shape[3] > 32:
        y[..., y.shape[3] // 32 * 32 :] = 0
    return y


@fault("tail")
def dw_drops_pixels_past_a_tile(grad_output, x, **o):
    pixels = grad_output.shape[2] * grad_output.shape[3]
    if pixels > 64 and pixels % 64:
        kept = np.arange(pixels) < pixels // 64 * 64
        grad_output = grad_output * kept.reshape(grad_output.shape[2:])
    return good.conv2d_grad_weight(grad_output, x, **o)


@fault("index", "ROCm/rocm-libraries#4611")
def y_stops_at_the_grids_limit(x, weight, bias=None, **o):
    y = good.conv2d(x, weight, bias, **o)
    y.reshape(-1)[65_535:] = 0
    return y


@fault("tail", "modular/modular#6129")
def y_wrong_from_128_channels_on(x, weight, bias=None, **o):
    y = good.conv2d(x, weight, bias, **o)
    return y + y if weight.shape[1] >= 128 else y


# -- narrow conditions: a size, an option or two together -----------------------------------------


def _sizes(x_shape, weight_shape, o):
    """Return the sizes a condition may name: G groups, D depth, MU multiplier, K, S, P, O, N."""
    sizes = {"N": x_shape[0], "G": o["groups"], "D": weight_shape[1],
             "MU": weight_shape[0] // o["groups"]}  # fmt: skip
    for i, axis in enumerate("HW"):
        k, s, p, d = (weight_shape[2 + i], o["stride"][i], o["padding"][i], o["dilation"][i])
        out = (x_shape[2 + i] + 2 * p - (k - 1) * d - 1) // s + 1
        sizes |= {f"K{axis}": k, f"S{axis}": s, f"P{axis}": p, f"D{axis}": d, f"O{axis}": out}
    return sizes


NARROW = {
    "grouped channels past a vector": lambda z: z["G"] > 1 and z["D"] > 7,
    "grouped filters past a vector": lambda z: z["G"] > 1 and z["MU"] >= 8,
    "grouped columns past a vector": lambda z: z["G"] > 1 and z["OW"] > 7,
    "grouped batches": lambda z: z["G"] > 1 and z["N"] > 8,
    "a tile of channels and filters": lambda z: z["D"] > 15 and z["MU"] > 15,
    "channels and filters": lambda z: z["D"] > 6 and z["MU"] > 6,
    "a network's first layer": lambda z: z["D"] == 3 and z["MU"] >= 8,
    "a tiled 3x3": lambda z: min(z["OH"], z["OW"]) >= 8 and min(z["KH"], z["KW"]) >= 3,
    "channels and columns": lambda z: z["D"] >= 16 and z["OW"] >= 16,
    "batch and channels": lambda z: z["N"] > 4 and z["D"] > 4,
    "wide dilation": lambda z: max(z["DH"], z["DW"]) > 3,
    "wide padding": lambda z: max(z["PH"], z["PW"]) > 3,
    "wide stride": lambda z: max(z["SH"], z["SW"]) > 4,
    "a patch embedding": lambda z: z["KH"] == z["SH"] == 4,
    "7x7 at stride 1": lambda z: (z["KH"], z["KW"], z["SH"]) == (7, 7, 1),
    "a row kernel": lambda z: (z["KH"], z["KW"]) == (1, 7),
    "4x4 at stride 2 with padding": lambda z: (z["KH"], z["SH"], z["PH"]) == (4, 2, 1),
    "5x5 in groups": lambda z: z["KH"] == z["KW"] == 5 and z["G"] > 1,
}


def _narrow(short, condition):
    name = SHORT[short]

    def wrong(*arrays, **o):
        result = getattr(good, name)(*arrays, **o)
        x_shape = o.get("input_shape") or arrays[0 if short == "y" else 1].shape
        weight_shape = o.get("weight_shape") or arrays[1].shape
        if result.size and condition(_sizes(x_shape, weight_shape, o)):
            result.flat[-1] += 1
        return result

    return wrong


for _i, (_condition_name, _condition) in enumerate(NARROW.items()):
    _short = ("y", "dx", "dw")[_i % 3]
    FAULTS[f"{_short}_off_by_one_in_{_condition_name.replace(' ', '_')}"] = Fault(
        "narrow", SHORT[_short],
        lambda short=_short, condition=_condition: _narrow(short, condition),
    )  # fmt: skip


# -- numbers --------------------------------------------------------------------------------------


@fault("precision")
def y_rounds_inputs_like_tf32(x, weight, bias=None, **o):
    def tf32(a):
        mantissa, exponent = np.frexp(a)
        return np.ldexp(np.round(mantissa * 2**11) / 2**11, exponent).astype(a.dtype)

    return good.conv2d(tf32(x), tf32(weight), bias, **o)


@fault("precision")
def dw_accumulates_in_float16(grad_output, x, **o):
    dw = good.conv2d_grad_weight(grad_output, x, **o)
    with np.errstate(over="ignore"):
        return dw.astype(np.float16).astype(dw.dtype)


@fault("precision")
def dx_accumulates_in_float32(grad_output, weight, **o):
    narrow = good.conv2d_grad_input(grad_output.astype("f4"), weight.astype("f4"), **o)
    return narrow.astype(grad_output.dtype)


@fault("dtype")
def y_returns_float64(x, weight, bias=None, **o):
    return good.conv2d(x, weight, bias, **o).astype(np.float64)


@fault("value")
def y_is_half_a_unit_off(x, weight, bias=None, **o):
    return good.conv2d(x, weight, bias, **o) + x.dtype.type(0.5)


@fault("value")
def dw_has_a_nan(grad_output, x, **o):
    dw = good.conv2d_grad_weight(grad_output, x, **o)
    dw[-1, -1, -1, -1] = np.nan
    return dw


@fault("value")
def y_relative_error_of_1e_5(x, weight, bias=None, **o):
    y = good.conv2d(x, weight, bias, **o)
    return (y * (1 + 1e-5)).astype(y.dtype)


@fault("value", "ScalingIntelligence/KernelBench#165")
def dx_is_zero(grad_output, weight, **o):
    return 0 * good.conv2d_grad_input(grad_output, weight, **o)


@fault("value")
def y_flushes_small_inputs(x, weight, bias=None, **o):
    return good.conv2d(np.where(abs(x) < 1e-6, 0, x).astype(x.dtype), weight, bias, **o)


@fault("value")
def dx_flushes_large_results(grad_output, weight, **o):
    dx = good.conv2d_grad_input(grad_output, weight, **o)
    return np.where(abs(dx) > 1e12, 0, dx).astype(dx.dtype)


# -- what is not the value ------------------------------------------------------------------------


@fault("purity")
def y_adds_the_bias_in_place(x, weight, bias=None, **o):
    y = good.conv2d(x, weight, bias, **o)
    x += 0 if bias is None else 1
    return y


@fault("purity")
def dw_scales_dy_in_place(grad_output, x, **o):
    dw = good.conv2d_grad_weight(grad_output, x, **o)
    grad_output *= 2
    return dw


@fault("state", "pytorch/executorch#21686", fresh=True)
def dw_accumulates_over_calls():
    buffers: dict[Any, Any] = {}

    def conv2d_grad_weight(grad_output, x, **o):
        dw = good.conv2d_grad_weight(grad_output, x, **o)
        total = buffers.get((dw.shape, dw.dtype), 0) + dw
        buffers[dw.shape, dw.dtype] = total
        return total

    return conv2d_grad_weight


@fault("state", fresh=True)
def y_replays_answers_by_shape():
    cache: dict[Any, Any] = {}

    def conv2d(x, weight, bias=None, **o):
        key = (x.shape, weight.shape, x.dtype, bias is None, str(o))
        if key not in cache:
            cache[key] = good.conv2d(x, weight, bias, **o)
        return cache[key]

    return conv2d


@fault("aliasing", fresh=True)
def db_returns_one_buffer():
    buffers: dict[Any, Any] = {}

    def conv2d_grad_bias(grad_output):
        db = good.conv2d_grad_bias(grad_output)
        buffer = buffers.setdefault((db.shape, db.dtype), np.empty_like(db))
        buffer[...] = db
        return buffer

    return conv2d_grad_bias


@fault("aliasing")
def y_of_a_unit_kernel_is_the_input(x, weight, bias=None, **o):
    y = good.conv2d(x, weight, bias, **o)
    if y.shape == x.shape and (y == x).all():
        return x
    return y


@fault("raises")
def y_skips_its_tests(x, weight, bias=None, **o):
    import pytest

    pytest.skip("not tested")


@fault("raises")
def db_raises_what_is_no_exception(grad_output):
    raise GeneratorExit


@fault("raises")
def db_raises_an_error_without_a_text(grad_output):
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError("no text")

    raise Mute


@fault("type")
def db_returns_text(grad_output):
    return np.full(grad_output.shape[1], "a")


@fault("type")
def db_returns_objects(grad_output):
    return np.full(grad_output.shape[1], None)


@fault("type")
def y_returns_a_list(x, weight, bias=None, **o):
    return good.conv2d(x, weight, bias, **o).tolist()


@fault("type")
def db_keeps_dimensions(grad_output):
    return grad_output.sum(axis=(0, 2, 3), keepdims=True)


# -- controls: right, by other ways ---------------------------------------------------------------


@control
def y_sums_in_float64(x, weight, bias=None, **o):
    wide = None if bias is None else bias.astype("f8")
    return good.conv2d(x.astype("f8"), weight.astype("f8"), wide, **o).astype(x.dtype)


def _blocks(count: int, size: int) -> Iterator[slice]:
    return (slice(i, i + size) for i in range(0, count, size))


@control
def y_sums_channels_in_blocks_of_three(x, weight, bias=None, **o):
    if o["groups"] > 1 or weight.shape[1] != x.shape[1]:
        return good.conv2d(x, weight, bias, **o)
    parts = [good.conv2d(x[:, part], weight[:, part], None, **o) for part in _blocks(x.shape[1], 3)]
    y = sum(parts[1:], parts[0])
    return y if bias is None else y + bias[:, None, None]


@control
def y_starts_from_the_bias_and_goes_backwards(x, weight, bias=None, **o):
    flip = np.s_[:, ::-1, ::-1, ::-1]
    if o["groups"] > 1:
        return good.conv2d(x, weight, bias, **o)
    y = good.conv2d(x[flip], weight[flip], None, **o)
    left_over = rest(weight.shape, {**o, "input_shape": x.shape})
    if any(left_over):
        return good.conv2d(x, weight, bias, **o)
    y = y[:, :, ::-1, ::-1]
    return y if bias is None else bias[:, None, None] + y


@control
def dx_by_the_flipped_kernel(grad_output, weight, *, input_shape, **o):
    """Document 002: dY upsampled by zero insertion, correlated with the flipped kernel."""
    groups, (n, c, h, w) = o["groups"], input_shape
    (kh, kw), (sh, sw) = weight.shape[2:], o["stride"]
    (ph, pw), (dh, dw) = o["padding"], o["dilation"]
    full = np.zeros(
        (n, len(weight), h + 2 * ph - (kh - 1) * dh, w + 2 * pw - (kw - 1) * dw),
        grad_output.dtype,
    )
    full[:, :, ::sh, ::sw] = grad_output
    flipped = weight[:, :, ::-1, ::-1].reshape(groups, -1, c // groups, kh, kw)
    flipped = flipped.swapaxes(1, 2).reshape(c, len(weight) // groups, kh, kw)
    edge = ((kh - 1) * dh, (kw - 1) * dw)
    dx = good.conv2d(full, flipped, None, stride=(1, 1), padding=edge, dilation=(dh, dw),
                     groups=groups)  # fmt: skip
    return dx[:, :, ph : ph + h, pw : pw + w].copy()


@control
def dx_sums_filters_in_blocks_of_two(grad_output, weight, **o):
    if o["groups"] > 1 or len(weight) < 2:
        return good.conv2d_grad_input(grad_output, weight, **o)
    parts = [
        good.conv2d_grad_input(grad_output[:, part], weight[part], **o)
        for part in _blocks(len(weight), 2)
    ]
    return sum(parts[1:], parts[0])


@control
def dw_sums_images_last_to_first(grad_output, x, **o):
    dw = np.zeros(o["weight_shape"], grad_output.dtype)
    for n in reversed(range(len(x))):
        dw += good.conv2d_grad_weight(grad_output[n : n + 1], x[n : n + 1], **o)
    return dw


@control
def dw_is_fortran_ordered(grad_output, x, **o):
    return np.asfortranarray(good.conv2d_grad_weight(grad_output, x, **o))


@control
def db_sums_columns_first(grad_output):
    return grad_output.sum(axis=3).sum(axis=2).sum(axis=0)


@control
def db_sums_one_by_one(grad_output):
    flat = np.moveaxis(grad_output, 1, 0).reshape(grad_output.shape[1], -1)
    if not flat.shape[1]:
        return np.zeros(len(flat), grad_output.dtype)
    return np.cumsum(flat, axis=1, dtype=grad_output.dtype)[:, -1].copy()
