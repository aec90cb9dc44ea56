"""Planted faults and controls of padding, of pixels as channels, and of windows as columns.

Most ideas of padding are planted in all four kinds.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from gradoracle.implementations import im2col as good
from tests.planted.fault import Fault, add, checked, control, fitted, half

Array = Any
Wrong = Callable[..., Array]
PADS = ("zero_pad2d", "reflection_pad2d", "replication_pad2d", "circular_pad2d")
BLOCK = 32


def right(name: str) -> Wrong:
    return getattr(good, name)


def with_options(name: str, change: Callable[..., dict[str, Any]]) -> Wrong:
    """Return the right function of other options, its answer cropped or filled up with zeros."""

    def wrong(array: Array, **o: Any) -> Array:
        want = right(name)(array, **o)
        with suppress(ValueError):
            return fitted(right(name)(array, **{**o, **change(o)}), want.shape)
        return want

    return wrong


def after(name: str, spoil: Callable[[Array], Array]) -> Wrong:
    """Return the right function, whose answer is spoilt."""
    return lambda array, **o: spoil(right(name)(array, **o))


def before(name: str, spoil: Callable[[Array], Array]) -> Wrong:
    """Return the right function of a spoilt argument."""
    return lambda array, **o: right(name)(spoil(array), **o)


def without_tail(y: Array) -> Array:
    """Leave the last columns out that fill no block of 32."""
    if y.shape[-1] > BLOCK:
        y[..., y.shape[-1] // BLOCK * BLOCK :] = 0
    return y


def first_image_for_all(y: Array) -> Array:
    return np.broadcast_to(y[:1], y.shape).copy() if len(y) else y


def first_channel_for_all(y: Array) -> Array:
    return np.broadcast_to(y[:, :1], y.shape).copy()


def up_to_16_bits(y: Array) -> Array:
    y.reshape(-1)[2**16 :] = 0
    return y


def nan_as_zero(x: Array) -> Array:
    return np.where(np.isnan(x), np.zeros_like(x), x)


def padded(x: Array, padding: Any, mode: str) -> Array:
    """Return x padded otherwise where NumPy can, else by zeros."""
    left, right_, top, bottom = padding
    ends = ((0, 0), (0, 0), (top, bottom), (left, right_))
    return np.pad(x, ends, mode)


def swapped(o: dict[str, Any]) -> dict[str, Any]:
    left, right_, top, bottom = o["padding"]
    return {"padding": (right_, left, bottom, top)}


def rows_for_columns(o: dict[str, Any]) -> dict[str, Any]:
    left, right_, top, bottom = o["padding"]
    return {"padding": (top, bottom, left, right_)}


def in_the_opposite_order(o: dict[str, Any]) -> dict[str, Any]:
    return {"padding": o["padding"][::-1]}


def left_everywhere(o: dict[str, Any]) -> dict[str, Any]:
    return {"padding": (o["padding"][0],) * 4}


def core(dy: Array, padding: Any) -> Array:
    left, right_, top, bottom = padding
    return dy[:, :, top : dy.shape[2] - bottom, left : dy.shape[3] - right_]


def of_every_padding(p: str) -> dict[str, tuple[str, str, Wrong]]:
    """Return what goes wrong in any padding and its gradient."""
    g = f"{p}_grad_input"

    def no_corners(x: Array, *, padding: Any) -> Array:
        y = right(p)(x, padding=padding)
        left, _, top, _ = padding
        y[:, :, :top, :left] = 0
        return y

    def no_last_row(x: Array, *, padding: Any) -> Array:
        y = right(p)(x, padding=padding)
        if padding[3]:
            y[:, :, -1] = 0
        return y

    def view(x: Array, *, padding: Any) -> Array:
        return right(p)(x, padding=padding) if any(padding) else x

    def drops_first_pixel(dy: Array, *, padding: Any) -> Array:
        dx = right(g)(dy, padding=padding)
        dx[:, :, 0, 0] = dy[:, :, padding[2], padding[0]]
        return dx if p != "zero_pad2d" else right(g)(dy, padding=padding) * (dx != 0)

    def spoils_dy(dy: Array, *, padding: Any) -> Array:
        dx = right(g)(dy, padding=padding)
        if padding[0]:
            dy[..., 0] = 0
        return dx

    found = {
        f"{p}_exchanges_both_ends": ("orientation", "", with_options(p, swapped)),
        f"{p}_takes_height_for_width": ("height for width", "", with_options(p, rows_for_columns)),
        f"{p}_reads_the_options_from_the_end": (
            "option", "", with_options(p, in_the_opposite_order)),
        f"{p}_pads_all_sides_as_the_left": ("option", "", with_options(p, left_everywhere)),
        f"{p}_ignores_padding": ("option", "", with_options(p, lambda _: {"padding": (0,) * 4})),
        f"{p}_leaves_the_tail_of_a_row": ("tail", "", after(p, without_tail)),
        f"{p}_stops_at_65536_pixels": ("overflow", "", after(p, up_to_16_bits)),
        f"{p}_of_the_first_image": ("batch", "", after(p, first_image_for_all)),
        f"{p}_drops_a_nan": ("nan", "", before(p, nan_as_zero)),
        f"{p}_rounds_to_half": ("precision", "", before(p, half)),
        f"{p}_returns_x_itself": ("aliasing", "", view),
        f"{g}_exchanges_both_ends": ("orientation", "", with_options(g, swapped)),
        f"{g}_takes_height_for_width": ("height for width", "", with_options(g, rows_for_columns)),
        f"{g}_leaves_the_tail_of_a_row": ("tail", "", after(g, without_tail)),
        f"{g}_of_the_first_image": ("batch", "", after(g, first_image_for_all)),
        f"{g}_of_the_first_channel": ("axis", "", after(g, first_channel_for_all)),
        f"{g}_rounds_to_half": ("precision", "", before(g, half)),
        f"{g}_changes_dy": ("purity", "", spoils_dy),
        f"{g}_is_one_pixel_off": ("index", "", after(g, lambda dx: np.roll(dx, 1, 3))),
    }  # fmt: skip
    if p != "zero_pad2d":
        found |= {
            f"{p}_leaves_a_corner_zero": ("padding", "", no_corners),
            f"{p}_forgets_the_last_row": ("padding", "", no_last_row),
            f"{p}_pads_with_zeros": ("padding", "", lambda x, *, padding: padded(
                x, padding, "constant")),
            f"{g}_takes_the_core_only": ("gradient", "", lambda dy, *, padding: core(
                dy, padding).copy()),
            f"{g}_assigns_at_the_first_pixel": ("overlap", "", drops_first_pixel),
            f"{g}_adds_in_half_precision": ("precision", "", after(g, half)),
        }  # fmt: skip
    return found


def only_if_it_fits(p: str, mode: str) -> Wrong:
    """Return a padding of another kind, where images are large enough for that."""

    def wrong(x: Array, *, padding: Any) -> Array:
        left, right_, top, bottom = padding
        if max(left, right_) < x.shape[3] and max(top, bottom) < x.shape[2]:
            return padded(x, padding, mode)
        return right(p)(x, padding=padding)

    return wrong


def _once_around(dy: Array, *, padding: Any) -> Array:
    """Reflection going back, with the edge counted twice."""
    dx = good.reflection_pad2d_grad_input(dy, padding=padding)
    if padding[0]:
        dx[..., 0] += dy[:, :, padding[2] : dy.shape[2] - padding[3], padding[0] - 1]
    return dx


OF_KINDS: dict[str, tuple[str, str, Wrong]] = {
    "zero_pad2d_repeats_the_edge": ("padding", "", only_if_it_fits("zero_pad2d", "edge")),
    "zero_pad2d_pads_with_the_least": ("padding", "", lambda x, *, padding: np.pad(
        x, ((0, 0), (0, 0), padding[2:], padding[:2]), "minimum") if len(x) else
        good.zero_pad2d(x, padding=padding)),
    "zero_pad2d_grad_input_crops_the_end": ("gradient", "", lambda dy, *, padding: dy[
        :, :, : dy.shape[2] - sum(padding[2:]), : dy.shape[3] - sum(padding[:2])].copy()),
    "zero_pad2d_grad_input_is_a_view": ("aliasing", "", lambda dy, *, padding: core(dy, padding)),
    "reflection_pad2d_repeats_the_edge": (
        "padding", "", only_if_it_fits("reflection_pad2d", "symmetric")),
    "reflection_pad2d_goes_around": ("padding", "", only_if_it_fits("reflection_pad2d", "wrap")),
    "reflection_pad2d_grad_input_counts_the_edge_twice": ("gradient", "", _once_around),
    "replication_pad2d_reflects": (
        "padding", "", only_if_it_fits("replication_pad2d", "reflect")),
    "replication_pad2d_takes_the_mean_of_a_row": (
        "padding", "", only_if_it_fits("replication_pad2d", "mean")),
    "circular_pad2d_reflects": ("padding", "", only_if_it_fits("circular_pad2d", "reflect")),
    "circular_pad2d_repeats_the_edge": (
        "padding", "", only_if_it_fits("circular_pad2d", "edge")),
}  # fmt: skip


# -- pixels as channels ----------------------------------------------------------------------------


def spread(x: Array, r: int, blocks: tuple[int, ...], order: tuple[int, ...]) -> Array:
    n, k, h, w = x.shape
    sides = {"c": k // r**2, "r": r}
    split = x.reshape(n, *[sides["c"] if b == 0 else r for b in blocks], h, w)
    return split.transpose(order).reshape(n, k // r**2, h * r, w * r).copy()


def gather(y: Array, r: int, order: tuple[int, ...]) -> Array:
    n, c, i, j = y.shape
    split = y.reshape(n, c, i // r, r, j // r, r)
    return split.transpose(order).reshape(n, c * r * r, i // r, j // r).copy()


def _shuffles() -> dict[str, tuple[str, str, Wrong]]:
    found: dict[str, tuple[str, str, Wrong]] = {}
    spreads = ("pixel_shuffle", "upscale_factor"), ("pixel_unshuffle_grad_input",
        "downscale_factor")  # fmt: skip
    gathers = ("pixel_unshuffle", "downscale_factor"), ("pixel_shuffle_grad_input",
        "upscale_factor")  # fmt: skip
    for name, option in spreads:
        found |= {
            f"{name}_exchanges_rows_and_columns_of_blocks": ("orientation", "",
                lambda x, o=option, **k: spread(x, k[o], (0, 1, 1), (0, 1, 4, 3, 5, 2))),
            f"{name}_has_the_channels_last": ("index", "",
                lambda x, o=option, **k: spread(x, k[o], (1, 1, 0), (0, 3, 4, 1, 5, 2))),
            f"{name}_lays_blocks_side_by_side": ("index", "",
                lambda x, o=option, **k: spread(x, k[o], (0, 1, 1), (0, 1, 2, 4, 3, 5))),
        }  # fmt: skip
    for name, option in gathers:
        found |= {
            f"{name}_exchanges_rows_and_columns_of_blocks": ("orientation", "",
                lambda y, o=option, **k: gather(y, k[o], (0, 1, 5, 3, 2, 4))),
            f"{name}_has_the_channels_last": ("index", "",
                lambda y, o=option, **k: gather(y, k[o], (0, 3, 5, 1, 2, 4))),
            f"{name}_lays_blocks_side_by_side": ("index", "",
                lambda y, o=option, **k: gather(y, k[o], (0, 1, 2, 4, 3, 5))),
        }  # fmt: skip
    for name, option in (*spreads, *gathers):
        found |= {
            f"{name}_leaves_the_tail_of_a_row": ("tail", "", after(name, without_tail)),
            f"{name}_of_the_first_image": ("batch", "", after(name, first_image_for_all)),
            f"{name}_is_a_copy_for_2_only": ("option", "", lambda a, n=name, o=option, **k: (
                right(n)(a, **k) if k[o] <= 2 else np.zeros_like(right(n)(a, **k)))),
            f"{name}_rounds_to_half": ("precision", "", before(name, half)),
            f"{name}_by_1_is_its_argument": ("aliasing", "", lambda a, n=name, o=option, **k: (
                a if k[o] == 1 else right(n)(a, **k))),
        }  # fmt: skip
    return found


# -- windows as columns ----------------------------------------------------------------------------


def exchanged(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda o: {name: o[name][::-1]}


def neutral(name: str, value: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda o: {name: (value, value)}


def first_twice(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda o: {name: (o[name][0],) * 2}


def reordered(columns: Array, channels: int, kernel: Any, order: tuple[int, ...]) -> Array:
    """Return columns whose channels, rows and columns of taps follow each other otherwise."""
    n, k, windows = columns.shape
    split = columns.reshape(n, channels, *kernel, windows)
    return split.transpose(0, *(1 + at for at in order), 4).reshape(n, k, windows).copy()


def windows_of(plane: Any, o: dict[str, Any]) -> tuple[int, int]:
    sides = zip(plane, o["kernel_size"], o["stride"], o["padding"], o["dilation"], strict=True)
    down, across = ((a + 2 * p - d * (k - 1) - 1) // s + 1 for a, k, s, p, d in sides)
    return down, across


def by_columns(columns: Array, windows: tuple[int, int]) -> Array:
    """Return columns whose windows are counted column by column."""
    n, k, count = columns.shape
    return columns.reshape(n, k, *windows).swapaxes(2, 3).reshape(n, k, count).copy()


def without_last(y: Array) -> Array:
    if y.shape[-1] > 1:
        y[..., -1] = 0
    return y


def scattered(columns: Array, shape: Any, o: dict[str, Any], *, how: str) -> Array:
    """Return columns put back to an image: by assignment, or as the mean of what meets there."""
    plane = np.arange(1.0, shape[2] * shape[3] + 1).reshape(1, 1, *shape[2:])
    places = good.unfold(plane, **o)[0].astype(int) - 1
    found = np.zeros((*shape[:2], shape[2] * shape[3]), columns.dtype)
    parts = columns.reshape(*shape[:2], *places.shape)
    if how == "assign":
        for at in np.ndindex(places.shape):
            if places[at] >= 0:
                found[:, :, places[at]] = parts[(..., *at)]
        return found.reshape(shape)
    sums = good.fold(columns, output_size=shape[2:], **o)
    counts = np.bincount(places[places >= 0], minlength=shape[2] * shape[3]).reshape(shape[2:])
    return sums / np.maximum(counts, 1).astype(sums.dtype)


def _folded(how: str) -> Wrong:
    def wrong(x: Array, *, output_size: Any, **o: Any) -> Array:
        shape = (len(x), x.shape[1] // int(np.prod(o["kernel_size"])), *output_size)
        return scattered(x, shape, o, how=how)

    return wrong


def astray(columns: Array, shape: Any, o: dict[str, Any], **changed: Any) -> Array:
    """Return columns added up where windows of other options, as many as there are, would be."""
    wrong, (rows, across) = {**o, **changed}, windows_of(shape[2:], o)
    found = np.zeros(shape, columns.dtype)
    parts = columns.reshape(*shape[:2], *o["kernel_size"], rows, across)
    for p, q, i, j in np.ndindex(parts.shape[2:]):
        taps, windows = zip(wrong["stride"], wrong["dilation"], wrong["padding"], strict=True), (
            (p, i), (q, j))  # fmt: skip
        h, w = (i * s + p * d - pad for (p, i), (s, d, pad) in zip(windows, taps, strict=True))
        if 0 <= h < shape[2] and 0 <= w < shape[3]:
            found[:, :, h, w] += parts[:, :, p, q, i, j]
    return found


def _astray(name: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Wrong:
    def wrong(columns: Array, **o: Any) -> Array:
        if name == "unfold_grad_input":
            shape = o.pop("input_shape")
        else:
            taps = int(np.prod(o["kernel_size"]))
            shape = (len(columns), columns.shape[1] // taps, *o.pop("output_size"))
        return astray(columns, shape, o, **change(o))

    return wrong


ADDING, COL2IM = ("fold", "unfold_grad_input"), "szagoruyko/pyinn#16"


def _windows() -> dict[str, tuple[str, str, Wrong]]:
    found: dict[str, tuple[str, str, Wrong]] = {}
    for name in ("unfold", "fold_grad_input", *ADDING):
        make = _astray if name in ADDING else with_options
        for option, value in (("stride", 1), ("padding", 0), ("dilation", 1)):
            found[f"{name}_exchanges_the_sides_of_{option}"] = (
                "height for width",
                "",
                make(name, exchanged(option)),
            )
            found[f"{name}_takes_the_first_{option}_twice"] = (
                "height for width",
                "",
                make(name, first_twice(option)),
            )
            found[f"{name}_ignores_{option}"] = (
                option,
                "",
                make(name, neutral(option, value)),
            )
        found |= {
            f"{name}_of_the_first_image": (
                "batch", COL2IM if name in ADDING else "", after(name, first_image_for_all)),
            f"{name}_rounds_to_half": ("precision", "", before(name, half)),
            f"{name}_leaves_the_tail_of_a_row": ("tail", "", after(name, without_tail)),
            f"{name}_forgets_the_last_column": (
                "remainder", "", after(name, without_last)),
        }  # fmt: skip
    for name in ("unfold", "fold_grad_input"):
        found |= {
            f"{name}_has_the_channels_last": ("index", "", lambda x, n=name, **o: reordered(
                right(n)(x, **o), x.shape[1], o["kernel_size"], (1, 2, 0))),
            f"{name}_counts_taps_column_by_column": ("orientation", "",
                lambda x, n=name, **o: reordered(
                    right(n)(x, **o), x.shape[1], o["kernel_size"], (0, 2, 1))),
            f"{name}_flips_the_taps": ("orientation", "", lambda x, n=name, **o: right(n)(
                x, **o).reshape(len(x), x.shape[1], np.prod(o["kernel_size"]), -1)[:, :, ::-1]
                .reshape(right(n)(x, **o).shape) if len(x) else right(n)(x, **o)),
            f"{name}_counts_windows_column_by_column": ("axis", "", lambda x, n=name, **o:
                by_columns(right(n)(x, **o), windows_of(x.shape[2:], o))),
            f"{name}_drops_a_nan": ("nan", "", before(name, nan_as_zero)),
        }  # fmt: skip
    return found | {
        "unfold_pads_with_the_edge": ("padding", "", lambda x, **o: good.unfold(np.pad(
            x, ((0, 0), (0, 0), *((p, p) for p in o["padding"])), "edge"),
            **{**o, "padding": (0, 0)})),
        "fold_assigns_where_windows_overlap": (
            "overlap", "", _folded("assign")),
        "fold_averages_where_windows_overlap": ("normalisation", "", _folded("mean")),
        "fold_adds_in_half_precision": ("precision", "", after("fold", half)),
        "unfold_grad_input_assigns_where_windows_overlap": ("overlap", "",
            lambda dy, *, input_shape, **o: scattered(dy, input_shape, o, how="assign")),
        "unfold_grad_input_averages_where_windows_overlap": ("normalisation", "",
            lambda dy, *, input_shape, **o: scattered(dy, input_shape, o, how="mean")),
        "unfold_grad_input_adds_in_half_precision": (
            "precision", "", after("unfold_grad_input", half)),
    }  # fmt: skip


FAULTS: dict[str, tuple[str, str, Wrong]] = {
    **{name: how for p in PADS for name, how in of_every_padding(p).items()},
    **OF_KINDS,
    **_shuffles(),
    **_windows(),
}
FUNCTIONS = sorted(
    (n + end for n in (*PADS, "pixel_shuffle", "pixel_unshuffle", "unfold", "fold")
     for end in ("", "_grad_input")),
    key=len, reverse=True,
)  # fmt: skip


def _of(planted: str) -> str:
    return next(n for n in FUNCTIONS if planted.startswith(n + "_"))


def _quietly(wrong: Wrong) -> Wrong:
    def made(array: Array, **o: Any) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(wrong(array, **o), array.dtype)

    return made


for planted, (kind, seen, wrong) in FAULTS.items():
    of = _of(planted)
    add(planted, Fault(kind, of, lambda n=of, f=wrong: checked(n, _quietly(f)), seen))


# -- right variants -------------------------------------------------------------------------------


def sources(p: str, shape: Any, padding: Any) -> Array:
    """Return which pixel of a plane stands where in a padded one, and -1 for none."""
    plane = np.arange(shape[2] * shape[3], dtype=float).reshape(1, 1, *shape[2:]) + 1
    return right(p)(plane, padding=padding)[0, 0].astype(int) - 1


def by_one_gather(p: str) -> Wrong:
    def made(x: Array, *, padding: Any) -> Array:
        places = sources(p, x.shape, padding)
        flat = x.reshape(*x.shape[:2], x.shape[2] * x.shape[3])
        return np.where(places < 0, np.zeros((), x.dtype), flat[:, :, np.maximum(places, 0)])

    return made


def by_one_scatter(p: str) -> Wrong:
    """Pixels in the opposite order, as atomics may add them."""

    def made(dy: Array, *, padding: Any) -> Array:
        n, c, tall, wide = dy.shape
        shape = n, c, tall - sum(padding[2:]), wide - sum(padding[:2])
        places = sources(p, shape, padding).ravel()
        dx = np.zeros((shape[2] * shape[3], n, c), dy.dtype)
        rows = dy.reshape(n, c, tall * wide).transpose(2, 0, 1)
        inside = places >= 0
        np.add.at(dx, places[inside][::-1], rows[inside][::-1])
        return dx.transpose(1, 2, 0).reshape(shape)

    return made


def _shuffled(x: Array, r: int) -> Array:
    n, k, h, w = x.shape
    y = np.empty((n, k // r**2, h * r, w * r), x.dtype)
    for a in range(r):
        for b in range(r):
            y[:, :, a::r, b::r] = x[:, a * r + b :: r * r]
    return y


def _unshuffled(y: Array, r: int) -> Array:
    n, c, i, j = y.shape
    x = np.empty((n, c * r * r, i // r, j // r), y.dtype)
    for a in range(r):
        for b in range(r):
            x[:, a * r + b :: r * r] = y[:, :, a::r, b::r]
    return x


def _by_a_product(x: Array, *, output_size: Any, **o: Any) -> Array:
    """Columns added up one window after another, the last one first."""
    shape = (len(x), x.shape[1] // int(np.prod(o["kernel_size"])), *output_size)
    plane = np.arange(1.0, np.prod(output_size) + 1).reshape(1, 1, *output_size)
    places = good.unfold(plane, **o)[0].astype(int) - 1
    y = np.zeros((*shape[:2], int(np.prod(output_size)) + 1), x.dtype)
    parts = x.reshape(*shape[:2], *places.shape)
    for window in reversed(range(places.shape[1])):
        y[:, :, places[:, window]] += parts[..., window]
    return y[:, :, :-1].reshape(shape)


RIGHT: dict[str, Wrong] = {
    **{f"{p}_by_one_gather": by_one_gather(p) for p in PADS},
    **{f"{p}_grad_input_by_one_scatter": by_one_scatter(p) for p in PADS},
    "pixel_shuffle_place_by_place": lambda x, *, upscale_factor: _shuffled(x, upscale_factor),
    "pixel_shuffle_grad_input_place_by_place": lambda dy, *, upscale_factor: _unshuffled(
        dy, upscale_factor),
    "pixel_unshuffle_place_by_place": lambda x, *, downscale_factor: _unshuffled(
        x, downscale_factor),
    "pixel_unshuffle_grad_input_place_by_place": lambda dy, *, downscale_factor: _shuffled(
        dy, downscale_factor),
    "unfold_is_the_gradient_of_fold": good.fold_grad_input,
    "unfold_grad_input_is_fold": lambda dy, *, input_shape, **o: good.fold(
        dy, output_size=input_shape[2:], **o),
    "fold_one_window_after_another": _by_a_product,
    "fold_grad_input_is_unfold": good.unfold,
}  # fmt: skip
for planted, made_right in RIGHT.items():
    made = _quietly(made_right)
    made.__name__ = planted
    control(made)
