"""Faults of convolutions and poolings over sequences and volumes.

Each is im2col with one idea gone wrong, named `<function>_<what is wrong>`, as the others are; they
stand in a table of their own, for no rival looks at these operators.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from gradoracle import oracle
from gradoracle.implementations import im2col as good
from gradoracle.implementations.im2col.convolution import windows
from gradoracle.implementations.im2col.correlation import (
    correlate,
    correlate_grad_input,
    correlate_grad_weight,
)
from tests.planted.fault import Fault, Function, fitted, half, remembered, target, with_option

RANKED: dict[str, Fault] = {}
NAMES = {n: n for n in good.__all__ if n.split("_grad")[0].endswith(("1d", "3d", "vjp"))}
CONVOLUTIONS = ("conv1d", "conv3d", "conv_transpose1d", "conv_transpose3d")
POOLINGS = ("max_pool1d", "max_pool3d", "avg_pool1d", "avg_pool3d")
GRADIENTS = ("", "_grad_input", "_grad_weight")


def plant(kind: str, name: str, make: Callable[[], Function]) -> None:
    assert name not in RANKED, name
    RANKED[name] = Fault(kind, target(name, NAMES), make)


def fault(kind: str) -> Callable[[Function], Function]:
    def add(function: Function) -> Function:
        plant(kind, function.__name__, lambda: function)
        return function

    return add


def bent(name: str, option: str, change: Callable[[Any], Any]) -> Function:
    """im2col with one option misread where the windows are laid, in arrays of the right shapes."""

    def wrong(*arrays: Any, **o: Any) -> Any:
        right = getattr(good, name)(*arrays, **o)
        return _bent(name, arrays, {**o, option: change(o[option])}, right)

    return wrong


def _bent(name: str, arrays: Any, o: Any, right: Any) -> Any:
    is_transposed = name.startswith("conv_transpose")
    first, second = arrays[:2]
    options = o["stride"], o["padding"], o["dilation"]
    if name.endswith("grad_weight"):
        dy, x = (second, first) if is_transposed else (first, second)
        seen = windows(right.shape[2:], dy.shape[2:], *options)
        return correlate_grad_weight(dy, x, seen, o["groups"])
    lays = is_transposed == (not name.endswith("grad_input"))
    counts = first.shape[2:] if lays else right.shape[2:]
    seen = windows(second.shape[2:], counts, *options)
    if lays:
        result = correlate_grad_input(first, second, seen, o["groups"], right.shape[2:])
    else:
        result = correlate(first, second, seen, o["groups"])
    bias = arrays[2] if len(arrays) > 2 else None
    return result if bias is None else result + bias.reshape(-1, *(1,) * (result.ndim - 2))


def when(name: str, condition: Callable[..., Any], option: str, value: int) -> Function:
    """A fast path that takes an option for one value along all axes."""
    wrong = bent(name, option, lambda sides: (value,) * len(sides))

    def sometimes(*arrays: Any, **o: Any) -> Any:
        return (wrong if condition(o, *arrays) else getattr(good, name))(*arrays, **o)

    return sometimes


def along(at: int, value: int) -> Callable[[Any], Any]:
    """An option with another value along one axis."""
    return lambda sides: tuple(value if axis == at else n for axis, n in enumerate(sides))


def taken_for(one: int, other: int) -> Callable[[Any], Any]:
    """An option whose value along an axis is that of another one."""
    return lambda sides: tuple(sides[other] if axis == one else n for axis, n in enumerate(sides))


# -- every convolution ----------------------------------------------------------------------------

for _name in CONVOLUTIONS:
    for _end in GRADIENTS:
        _function, _last = _name + _end, int(_name[-2]) - 1
        for _option, _neutral in (("stride", 1), ("dilation", 1), ("padding", 0)):
            plant(
                _option,
                f"{_function}_forgets_{_option}_across",
                lambda f=_function, o=_option, v=_neutral, at=_last: bent(f, o, along(at, v)),
            )
        plant(
            "groups",
            f"{_function}_sees_the_first_group_only",
            lambda f=_function: _of_first_group(f),
        )
    plant("bias", f"{_name}_forgets_the_bias_of_one_filter", lambda f=_name: _without_bias(f))
    plant(
        "batch",
        f"{_name}_grad_weight_averages_the_batch",
        lambda f=f"{_name}_grad_weight": (
            lambda dy, x, **o: (getattr(good, f)(dy, x, **o) / max(len(x), 1)).astype(x.dtype)
        ),
    )
    plant(
        "batch",
        f"{_name}_grad_bias_sums_one_image",
        lambda f=f"{_name}_grad_bias": lambda dy: getattr(good, f)(dy[:1]),
    )
    plant("state", f"{_name}_returns_its_workspace", lambda f=_name: _workspace(f))
    plant(
        "precision",
        f"{_name}_multiplies_in_half_precision",
        lambda f=_name: (
            lambda x, weight, bias=None, **o: getattr(good, f)(half(x), half(weight), bias, **o)
        ),
    )


def _of_first_group(name):
    def wrong(*arrays, groups, **o):
        right = getattr(good, name)(*arrays, groups=groups, **o)
        if groups == 1 or right.shape[0] == 0:
            return right
        part = len(right) // groups if name.endswith("weight") else right.shape[1] // groups
        if name.endswith("weight"):
            return np.concatenate([right[:part]] * groups)
        return np.concatenate([right[:, :part]] * groups, axis=1)

    return wrong


def _without_bias(name):
    def wrong(x, weight, bias=None, **o):
        if bias is not None and len(bias) > 1:
            bias = np.concatenate([bias[:-1], bias[-1:] * 0])
        return getattr(good, name)(x, weight, bias, **o)

    return wrong


def _workspace(name):
    kept: dict[Any, Any] = {}

    def wrong(x, weight, bias=None, **o):
        y = getattr(good, name)(x, weight, bias, **o)
        held = remembered(kept, y)
        held[...] = y
        return held

    return wrong


# -- volumes --------------------------------------------------------------------------------------

for _name in ("conv3d", "conv_transpose3d"):
    for _end in GRADIENTS:
        for _option in ("stride", "padding", "dilation"):
            plant(
                "height for width",
                f"{_name}{_end}_takes_{_option}_of_the_height_for_the_depth",
                lambda f=_name + _end, o=_option: bent(f, o, taken_for(0, 1)),
            )


@fault("axis")
def conv3d_flips_the_depth_of_the_kernel(x, weight, bias=None, **o):
    return good.conv3d(x, weight[:, :, ::-1], bias, **o)


@fault("axis")
def conv3d_grad_input_flips_the_height_of_the_kernel(grad_output, weight, **o):
    return good.conv3d_grad_input(grad_output, weight[:, :, :, ::-1], **o)


@fault("index")
def max_pool3d_points_into_its_own_slice(x, **o):
    y, indices = good.max_pool3d(x, **o)
    return y, indices % (x.shape[3] * x.shape[4])


@fault("index")
def max_pool3d_grad_input_puts_all_into_the_first_slice(grad_output, indices, *, input_shape):
    good.max_pool3d_grad_input(grad_output, indices, input_shape=input_shape)
    plane = input_shape[3] * input_shape[4]
    return good.max_pool3d_grad_input(grad_output, indices % plane, input_shape=input_shape)


@fault("tie")
def max_pool3d_vjp_takes_the_last_of_equal_maxima(grad_output, x, **o):
    turned = x[:, :, ::-1, ::-1, ::-1]
    if any(o["padding"]) or o["ceil_mode"]:
        return good.max_pool3d_vjp(grad_output, x, **o)
    spans = [
        (k - 1) * d + s * (n - 1) + 1
        for k, d, s, n in zip(
            o["kernel_size"], o["dilation"], o["stride"], grad_output.shape[2:], strict=True
        )
    ]
    if [*x.shape[2:]] != spans:
        return good.max_pool3d_vjp(grad_output, x, **o)
    back = good.max_pool3d_vjp(grad_output[:, :, ::-1, ::-1, ::-1], turned, **o)
    return np.ascontiguousarray(back[:, :, ::-1, ::-1, ::-1])


# -- fast paths -----------------------------------------------------------------------------------


def _kernel(o, *arrays):
    return o.get("weight_shape", arrays[1].shape)[2:] if len(arrays) > 1 else ()


plant(
    "fast path forgotten option",
    "conv1d_of_three_taps_forgets_dilation",
    lambda: when(
        "conv1d", lambda o, x, w, *_: w.shape[2] == 3 and o["stride"] == (1,), "dilation", 1
    ),
)
plant(
    "fast path forgotten option",
    "conv1d_grad_input_of_depthwise_kernels_forgets_padding",
    lambda: when(
        "conv1d_grad_input", lambda o, dy, w: o["groups"] == o["input_shape"][1] > 1, "padding", 0
    ),
)
plant(
    "fast path forgotten option",
    "conv3d_of_one_slice_forgets_stride",
    lambda: when(
        "conv3d", lambda o, x, w, *_: w.shape[2] == 1 and max(w.shape[2:]) == 3, "stride", 1
    ),
)
plant(
    "fast path forgotten option",
    "conv3d_grad_weight_of_cubes_forgets_dilation",
    lambda: when(
        "conv3d_grad_weight", lambda o, dy, x: _kernel(o, dy, x) == (3, 3, 3), "dilation", 1
    ),
)
plant(
    "fast path forgotten option",
    "conv_transpose1d_of_four_taps_forgets_padding",
    lambda: when(
        "conv_transpose1d",
        lambda o, x, w, *_: w.shape[2] == 4 and o["stride"] == (2,),
        "padding",
        0,
    ),
)


@fault("tail")
def conv1d_loses_what_is_past_a_tile_of_64(x, weight, bias=None, **o):
    y = good.conv1d(x, weight, bias, **o)
    y[:, :, y.shape[2] // 64 * 64 or y.shape[2] :] = 0
    return y


@fault("tail")
def conv3d_grad_bias_stops_after_a_thousand_pixels(grad_output):
    rows = grad_output.reshape(*grad_output.shape[:2], -1)[:, :, :1000]
    good.conv3d_grad_bias(grad_output)
    return rows.sum(axis=(0, 2))


@fault("output_padding")
def conv_transpose3d_loses_output_padding_in_depth(x, weight, bias=None, *, output_padding, **o):
    right = good.conv_transpose3d(x, weight, bias, output_padding=output_padding, **o)
    if output_padding[0]:
        right[:, :, -output_padding[0] :] = 0
    return right


@fault("layout")
def conv3d_reads_the_depth_last(x, weight, bias=None, **o):
    if x.strides[2:] != np.empty(x.shape).strides[2:] and not x.flags.c_contiguous and x.size:
        x = np.moveaxis(x, 2, 4).reshape(x.shape)
    return good.conv3d(x, weight, bias, **o)


@fault("purity")
def conv1d_grad_input_scales_its_argument(grad_output, weight, **o):
    dx = good.conv1d_grad_input(grad_output, weight, **o)
    if grad_output.flags.writeable:
        grad_output *= 2
    return dx


@fault("accepts illegal calls")
def conv1d_takes_channels_that_do_not_fit(x, weight, bias=None, **o):
    fits = x.ndim != 3 or weight.ndim != 3 or x.shape[1] == weight.shape[1] * o["groups"]
    return good.conv1d(x if fits else x[:, : weight.shape[1] * o["groups"]], weight, bias, **o)


@fault("nan")
def max_pool1d_skips_nan(x, **o):
    return good.max_pool1d(np.where(np.isnan(x), x.dtype.type(-np.inf), x), **o)


# -- pooling --------------------------------------------------------------------------------------


def misread(name: str, option: str, change: Callable[[Any], Any]) -> Function:
    """im2col with one option misread, the answer cropped or filled up to its shape."""

    def wrong(*arrays: Any, **o: Any) -> Any:
        right = getattr(good, name)(*arrays, **o)
        other = {**o, option: change(o[option])}
        with suppress(ValueError):
            if "input_shape" in o or len(arrays) == 2:
                x = arrays[1] if len(arrays) == 2 else np.zeros(o["input_shape"], arrays[0].dtype)
                asked = {n: v for n, v in other.items() if n != "input_shape"}
                forward = getattr(good, name.split("_grad", maxsplit=1)[0].removesuffix("_vjp"))
                y = forward(x, **asked)
                shape = (y[0] if isinstance(y, tuple) else y).shape
                arrays = (fitted(arrays[0], shape), *arrays[1:])
            return fitted(getattr(good, name)(*arrays, **other), right.shape)
        return right

    return wrong


for _name in POOLINGS:
    _last = int(_name[-2]) - 1
    for _end in ("", "_grad_input") if _name.startswith("avg") else ("_vjp",):
        _function = _name + _end
        plant(
            "stride",
            f"{_function}_forgets_stride_across",
            lambda f=_function, at=_last: misread(f, "stride", along(at, 1)),
        )
        plant(
            "padding",
            f"{_function}_forgets_padding_across",
            lambda f=_function, at=_last: misread(f, "padding", along(at, 0)),
        )
        plant(
            "ceil_mode",
            f"{_function}_rounds_down",
            lambda f=_function: misread(f, "ceil_mode", lambda _: False),
        )
    if _name.startswith("avg"):
        plant(
            "divisor",
            f"{_name}_counts_padding",
            lambda f=_name: with_option(f, "count_include_pad", lambda _: True),
        )
        plant(
            "divisor",
            f"{_name}_grad_input_leaves_padding_out",
            lambda f=f"{_name}_grad_input": with_option(f, "count_include_pad", lambda _: False),
        )
plant(
    "height for width",
    "avg_pool3d_takes_the_kernel_of_the_height_for_the_depth",
    lambda: misread("avg_pool3d", "kernel_size", taken_for(0, 1)),
)
plant(
    "dilation",
    "max_pool3d_vjp_forgets_dilation",
    lambda: misread("max_pool3d_vjp", "dilation", lambda sides: (1,) * len(sides)),
)
plant(
    "dilation",
    "max_pool1d_vjp_forgets_dilation",
    lambda: misread("max_pool1d_vjp", "dilation", lambda sides: (1,) * len(sides)),
)


def _stores(name):
    def wrong(grad_output, indices, *, input_shape):
        right = getattr(good, name)(grad_output, indices, input_shape=input_shape)
        stored = np.zeros((*right.shape[:2], right[0:1, 0:1].size or 1), right.dtype)
        rows, places = (a.reshape(*a.shape[:2], -1) for a in (grad_output, indices))
        np.put_along_axis(stored, places, rows, axis=2)
        return stored.reshape(right.shape)

    return wrong


def _last_channel(name):
    def wrong(grad_output, *arrays, **o):
        right = getattr(good, name)(grad_output, *arrays, **o)
        if right.shape[1] > 2:
            right[:, -1] = 0
        return right

    return wrong


for _name in ("max_pool1d", "max_pool3d"):
    plant(
        "overlap",
        f"{_name}_grad_input_stores_instead_of_adding",
        lambda f=f"{_name}_grad_input": _stores(f),
    )
    for _end in ("_grad_input", "_vjp"):
        plant(
            "tail",
            f"{_name}{_end}_forgets_a_third_channel",
            lambda f=_name + _end: _last_channel(f),
        )
    plant("ceil_mode", f"{_name}_rounds_down", lambda f=_name: _rounds_down(f))
    plant("dtype", f"{_name}_gives_narrow_indices", lambda f=_name: _narrow_indices(f))
for _name in CONVOLUTIONS:
    plant(
        "batch",
        f"{_name}_grad_bias_averages",
        lambda f=f"{_name}_grad_bias": (
            lambda dy: (getattr(good, f)(dy) / max(len(dy), 1)).astype(dy.dtype)
        ),
    )


def _rounds_down(name):
    def wrong(x, *, ceil_mode, **o):
        y, indices = getattr(good, name)(x, ceil_mode=ceil_mode, **o)
        with suppress(ValueError):
            down, _ = getattr(good, name)(x, ceil_mode=False, **o)
            y = fitted(down, y.shape)
        return y, indices

    return wrong


def _narrow_indices(name):
    def wrong(x, **o):
        y, indices = getattr(good, name)(x, **o)
        return y, indices.astype(np.int16)

    return wrong


# -- other right ways -----------------------------------------------------------------------------

RIGHT: dict[str, Function] = {}  # by the name of the function


def _lifted(name: str) -> Function:
    """One axis as the second of two, or the loops of the oracle in the arrays' own format."""
    if "3d" in name:
        return checked(name, getattr(oracle, name))
    planar = getattr(good, name.replace("1d", "2d"))
    neutral = {"kernel_size": 1, "stride": 1, "padding": 0, "dilation": 1, "output_padding": 0}

    def right(*arrays: Any, **o: Any) -> Any:
        arrays = tuple(a[:, :, None] if np.ndim(a) == 3 else a for a in arrays)
        options = {n: (neutral[n], *v) if n in neutral else v for n, v in o.items()}
        y = planar(*arrays, **options)
        return tuple(a[:, :, 0] for a in y) if isinstance(y, tuple) else y[:, :, 0]

    return checked(name, right)


def checked(name: str, function: Function) -> Function:
    """A function that refuses what im2col refuses."""

    def right(*arrays: Any, **o: Any) -> Any:
        getattr(good, name)(*arrays, **o)
        return function(*arrays, **o)

    return right


for _name in (*CONVOLUTIONS, *POOLINGS):
    RIGHT[_name] = _lifted(_name)
