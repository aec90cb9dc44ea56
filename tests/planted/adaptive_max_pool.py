"""Planted faults and controls of max pooling to a given size."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from gradoracle.implementations import im2col as good
from tests.planted.adaptive_pool import WINDOWS, ends
from tests.planted.fault import Fault, add, checked, control, half
from tests.planted.moved_pixels import first_image_for_all, up_to_16_bits, without_tail
from tests.planted.table import plant
from tests.planted.windows import first_largest, unpooled

Array = Any
Ends = Callable[[int, int], tuple[Array, Array]]  # from pixels and windows of a side
POOL = "adaptive_max_pool2d"
BACK, VJP = f"{POOL}_grad_input", f"{POOL}_vjp"


def scan(x: Array, sides: tuple[Ends, Ends], wins: Any, output_size: Any, start: float) -> Any:
    """Return y and indices, window by window and pixel by pixel."""
    y = np.full((*x.shape[:2], *output_size), start, x.dtype)
    indices = np.full(y.shape, -1)
    down, across = (of(*s) for of, *s in zip(sides, x.shape[2:], output_size, strict=True))
    for i, (top, bottom) in enumerate(zip(*down, strict=True)):
        for j, (left, right) in enumerate(zip(*across, strict=True)):
            for h in range(top, bottom):
                for w in range(left, right):
                    seen, best, place = x[:, :, h, w], y[:, :, i, j], indices[:, :, i, j]
                    won = wins(seen, best, place)
                    y[:, :, i, j] = np.where(won, seen, best)
                    indices[:, :, i, j] = np.where(won, h * x.shape[3] + w, place)
    return y, indices


def pooled(rows: Ends = ends, columns: Ends = ends, wins: Any = first_largest,
           start: float = -np.inf) -> Any:  # fmt: skip
    return lambda x, *, output_size: scan(x, (rows, columns), wins, output_size, start)


def back(forward: Any) -> Any:
    """The gradient by x of a wrong forward pass."""

    def sent(dy: Array, x: Array) -> Array:
        return unpooled(dy, forward(x, output_size=dy.shape[2:])[1], x.shape)

    return sent


def last_wins(seen: Array, best: Array, place: Array) -> Array:
    return (place < 0) | (seen >= best) | (np.isnan(seen) & ~np.isnan(best))


def last_nan(seen: Array, best: Array, place: Array) -> Array:
    return (place < 0) | (seen > best) | np.isnan(seen)


def drops_nan(seen: Array, best: Array, place: Array) -> Array:
    return (place < 0) | (seen > best) | np.isnan(best)


def nan_loses(seen: Array, best: Array, place: Array) -> Array:
    return (place < 0) | (seen > best)


def changed(values: Any = None, places: Any = None) -> Any:
    """The right maxima and places, of which one is spoilt."""

    def made(x: Array, *, output_size: Any) -> Any:
        y, indices = good.adaptive_max_pool2d(x, output_size=output_size)
        return values(y) if values else y, places(indices, x) if places else indices

    return made


def in_the_window(indices: Array, x: Array) -> Array:
    """Places counted from the window's own first pixel."""
    (top, bottom), (left, right) = map(ends, x.shape[2:], indices.shape[2:])
    h, w = np.divmod(indices, x.shape[3])
    del bottom
    return (h - top[:, None]) * (right - left) + w - left


def in_the_batch(indices: Array, x: Array) -> Array:
    planes = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], 1, 1)
    return indices + planes * x.shape[2] * x.shape[3]


def by_columns(indices: Array, x: Array) -> Array:
    h, w = np.divmod(indices, x.shape[3])
    return w * x.shape[2] + h


def in_16_bits(indices: Array, x: Array) -> Array:
    """Places as float16 holds them."""
    del x
    return np.minimum(indices.astype(np.float16), 65504).astype(int)


def assigned(dy: Array, indices: Array, *, input_shape: Any) -> Array:
    flat = np.zeros((*input_shape[:2], input_shape[2] * input_shape[3]), dy.dtype)
    lines = (*input_shape[:2], -1)
    np.put_along_axis(flat, indices.reshape(lines), dy.reshape(lines), 2)
    return flat.reshape(input_shape)


def averaged(dy: Array, indices: Array, *, input_shape: Any) -> Array:
    given = {"input_shape": input_shape}
    counts = good.adaptive_max_pool2d_grad_input(np.ones_like(dy), indices, **given)
    return good.adaptive_max_pool2d_grad_input(dy, indices, **given) / np.maximum(counts, 1)


def not_the_first(dy: Array, indices: Array, *, input_shape: Any) -> Array:
    return good.adaptive_max_pool2d_grad_input(
        np.where(indices > 0, dy, 0), indices, input_shape=input_shape
    )


def to_all_maxima(dy: Array, x: Array) -> Array:
    dx = np.zeros(x.shape, dy.dtype)
    down, across = map(ends, x.shape[2:], dy.shape[2:])
    for i, (top, bottom) in enumerate(zip(*down, strict=True)):
        for j, (left, right) in enumerate(zip(*across, strict=True)):
            window = x[:, :, top:bottom, left:right]
            tops = window.max((2, 3), keepdims=True)
            dx[:, :, top:bottom, left:right] += (window == tops) * dy[:, :, i : i + 1, j : j + 1]
    return dx


def then(name: str, spoil: Callable[[Array], Array]) -> Any:
    return lambda *arrays, **o: spoil(np.ascontiguousarray(getattr(good, name)(*arrays, **o)))


SPOILT = (
    ("of_the_first_image", "batch", first_image_for_all),
    ("leaves_the_tail_of_a_row", "tail", without_tail),
    ("stops_at_65536_pixels", "overflow", up_to_16_bits),
)
FAULTS = {
    **{f"{POOL}_{what}": (kind, "pytorch/pytorch#190064", pooled(of, of))
       for what, kind, of in WINDOWS},
    **{f"{VJP}_{what}": (kind, "", back(pooled(of, of))) for what, kind, of in WINDOWS},
    f"{POOL}_ends_rows_too_early": ("height for width", "", pooled(WINDOWS[0][2], ends)),
    f"{POOL}_takes_the_last_maximum": ("tie", "", pooled(wins=last_wins)),
    f"{POOL}_takes_the_last_nan": ("tie", "", pooled(wins=last_nan)),
    f"{POOL}_drops_nans": ("nan", "pytorch/pytorch#7645", pooled(wins=drops_nan)),
    f"{POOL}_keeps_a_nan_only_if_it_is_first": ("nan", "", pooled(wins=nan_loses)),
    f"{POOL}_starts_from_zero": ("padding", "", changed(lambda y: np.maximum(y, 0))),
    f"{POOL}_starts_from_the_lowest_float": (
        "infinity", "pytorch/pytorch#7645", changed(
            lambda y: np.maximum(y, np.finfo(y.dtype).min))),
    f"{POOL}_rounds_to_half": ("precision", "", changed(half)),
    f"{POOL}_counts_places_in_the_window": ("index", "pytorch/pytorch#2722",
                                            changed(places=in_the_window)),
    f"{POOL}_counts_places_in_the_batch": ("index", "", changed(places=in_the_batch)),
    f"{POOL}_counts_places_by_columns": ("index", "", changed(places=by_columns)),
    f"{POOL}_keeps_places_in_half_precision": ("index", "pytorch/pytorch#159936",
                                               changed(places=in_16_bits)),
    f"{POOL}_of_the_first_image": ("batch", "", changed(first_image_for_all)),
    f"{POOL}_leaves_the_tail_of_a_row": ("tail", "", changed(without_tail)),
    f"{BACK}_assigns_where_windows_overlap": ("overlap", "", assigned),
    f"{BACK}_averages_what_arrives": ("normalisation", "", averaged),
    f"{BACK}_takes_place_0_for_none": ("index", "", not_the_first),
    f"{BACK}_rounds_to_half": ("precision", "", then(BACK, half)),
    f"{VJP}_goes_to_the_last_maximum": ("tie", "", back(pooled(wins=last_wins))),
    f"{VJP}_goes_to_all_maxima": ("tie", "", to_all_maxima),
    f"{VJP}_assigns_where_windows_overlap": ("overlap", "", lambda dy, x: assigned(
        dy, good.adaptive_max_pool2d(x, output_size=dy.shape[2:])[1], input_shape=x.shape)),
    **{f"{of}_{what}": (kind, "", then(of, spoil))
       for of in (BACK, VJP) for what, kind, spoil in SPOILT},
}  # fmt: skip


def _shared(dy: Array, x: Array) -> Array:
    """Equal maxima share a dy, as the contract says; a NaN takes all."""
    dx = np.zeros(x.shape, dy.dtype)
    down, across = map(ends, x.shape[2:], dy.shape[2:])
    for i, (top, bottom) in enumerate(zip(*down, strict=True)):
        for j, (left, right) in enumerate(zip(*across, strict=True)):
            window = x[:, :, top:bottom, left:right]
            lost = np.isnan(window)
            lines = lost.reshape(*lost.shape[:2], lost.shape[2] * lost.shape[3])
            first = lost & (np.cumsum(lines, 2).reshape(lost.shape) == 1)
            equal = window == window.max((2, 3), keepdims=True)
            equal = np.where(lost.any((2, 3), keepdims=True), first, equal)
            share = equal / equal.sum((2, 3), keepdims=True).astype(dy.dtype)
            dx[:, :, top:bottom, left:right] += share * dy[:, :, i : i + 1, j : j + 1]
    return dx.astype(dy.dtype)


RIGHT = {
    f"{BACK}_plane_by_plane": lambda dy, indices, *, input_shape: unpooled(
        dy, indices, input_shape),
    f"{VJP}_window_by_window": back(pooled()),
}  # fmt: skip


def _with_places(wrong: Any) -> Any:
    """Return a function whose values have x's dtype, and whose places are integers."""

    def made(*arrays: Any, **o: Any) -> Any:
        with np.errstate(all="ignore"):
            y, indices = wrong(*arrays, **o)
        return np.asarray(y, arrays[0].dtype), np.asarray(indices, np.int64)

    return made


plant({n: f for n, f in FAULTS.items() if n.startswith((BACK, VJP))}, RIGHT)
for planted, (kind, seen, wrong) in FAULTS.items():
    if not planted.startswith((BACK, VJP)):
        made = _with_places(wrong)
        add(planted, Fault(kind, POOL, partial(checked, POOL, made), seen))
whole = _with_places(pooled())
whole.__name__ = f"{POOL}_window_by_window"
control(whole)
split = _shared
split.__name__ = f"{VJP}_shares"
control(split, contract={"policies": {"ties": "split"}})
dropping = _with_places(pooled(wins=drops_nan))
dropping.__name__ = f"{POOL}_that_drops_nans_and_says_so"
control(dropping, contract={"policies": {"nan": "dropped"}})
