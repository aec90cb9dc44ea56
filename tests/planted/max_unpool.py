"""Planted faults and controls of max unpooling."""

from collections.abc import Callable
from typing import Any

import numpy as np

from gradoracle.implementations import im2col as good
from tests.planted.fault import fitted, half
from tests.planted.moved_pixels import (
    first_channel_for_all,
    first_image_for_all,
    nan_as_zero,
    up_to_16_bits,
    without_tail,
)
from tests.planted.table import plant

Array = Any
UNPOOL = "max_unpool2d"
BACK = f"{UNPOOL}_grad_input"
Moved = Callable[[Array, tuple[int, ...], tuple[int, int]], Array]  # indices, x's shape, outputs


def put(x: Array, indices: Array, output_size: Any, start: float = 0) -> Array:
    """Right for any indices: those outside the plane are left out, repeated ones add up."""
    y = np.full((*x.shape[:2], output_size[0] * output_size[1]), start, x.dtype)
    for n, c in np.ndindex(*x.shape[:2]):
        at, pixels = indices[n, c].ravel(), x[n, c].ravel()
        inside = (at >= 0) & (at < y.shape[2])
        y[n, c, at[inside]] = pixels[inside]
    return y.reshape(*x.shape[:2], *output_size)


def taken(dy: Array, indices: Array) -> Array:
    planes = dy.reshape(*dy.shape[:2], dy.shape[2] * dy.shape[3])
    at = np.clip(indices, 0, planes.shape[2] - 1).reshape(*planes.shape[:2], -1 if len(dy) else 0)
    return np.take_along_axis(planes, at, 2).reshape(indices.shape)


def forward(moved: Moved) -> Any:
    return lambda x, indices, *, output_size: put(
        x, moved(indices, x.shape, output_size), output_size)  # fmt: skip


def backward(moved: Moved) -> Any:
    return lambda dy, indices: taken(dy, moved(indices, indices.shape, dy.shape[2:]))


def one_further(indices: Array, shape: Any, outputs: Any) -> Array:
    del shape
    return np.minimum(indices + 1, outputs[0] * outputs[1] - 1)


def by_columns(indices: Array, shape: Any, outputs: Any) -> Array:
    del shape
    i, j = np.divmod(indices, outputs[1])
    return j * outputs[0] + i


def of_the_width_of_x(indices: Array, shape: Any, outputs: Any) -> Array:
    i, j = np.divmod(indices, shape[3])
    return np.minimum(i, outputs[0] - 1) * outputs[1] + j


def at_the_corner(indices: Array, shape: Any, outputs: Any) -> Array:
    """Every pixel in the first place of its window: the indices are ignored."""
    rows = (np.arange(shape[2]) * outputs[0] // shape[2])[:, None]
    columns = np.arange(shape[3]) * outputs[1] // shape[3]
    return np.broadcast_to(rows * outputs[1] + columns, indices.shape)


def of_the_first_image(indices: Array, shape: Any, outputs: Any) -> Array:
    del shape, outputs
    return first_image_for_all(indices)


def of_the_first_channel(indices: Array, shape: Any, outputs: Any) -> Array:
    del shape, outputs
    return first_channel_for_all(indices)


def in_half_precision(indices: Array, shape: Any, outputs: Any) -> Array:
    del shape, outputs
    return np.minimum(indices.astype(np.float16), 65504).astype(int)


def in_8_bits(indices: Array, shape: Any, outputs: Any) -> Array:
    del shape, outputs
    return indices % 256


MOVED = (
    ("puts_everything_one_further", "index", one_further),
    ("counts_places_by_columns", "index", by_columns),
    ("divides_by_the_width_of_x", "index", of_the_width_of_x),
    ("ignores_the_indices", "index", at_the_corner),
    ("takes_the_indices_of_the_first_image", "batch", of_the_first_image),
    ("takes_the_indices_of_the_first_channel", "channels", of_the_first_channel),
    ("keeps_indices_in_half_precision", "precision", in_half_precision),
    ("keeps_indices_in_8_bits", "overflow", in_8_bits),
)


def then(name: str, spoil: Callable[[Array], Array]) -> Any:
    return lambda *arrays, **o: spoil(np.ascontiguousarray(getattr(good, name)(*arrays, **o)))


def _in_one_plane(x: Array, indices: Array, *, output_size: Any) -> Array:
    """The plane's offset is left out."""
    y = good.max_unpool2d(x, indices, output_size=output_size)
    together = np.zeros_like(y)
    together[:, :1] = y.sum(1, keepdims=True)
    return together


def _twice_the_size(x: Array, indices: Array, *, output_size: Any) -> Array:
    """output_size is ignored: the planes are twice as large as x."""
    twice = (2 * x.shape[2], 2 * x.shape[3])
    return fitted(put(x, indices, twice), (*x.shape[:2], *output_size))


def _scattered(dy: Array, indices: Array) -> Array:
    """dy is put where indices point, not taken from there."""
    crop = dy[:, :, : indices.shape[2], : indices.shape[3]]
    return fitted(put(crop, indices, dy.shape[2:]), indices.shape)


def _of_windows(dy: Array, indices: Array) -> Array:
    """All dy of a window, whichever pixel was put there."""
    found = dy
    for axis, size in ((2, indices.shape[2]), (3, indices.shape[3])):
        starts = np.arange(size) * found.shape[axis] // size
        found = np.add.reduceat(found, starts, axis) if found.size else found.take(starts, axis)
    return found


FAULTS = {
    **{f"{UNPOOL}_{what}": (kind, "", forward(of)) for what, kind, of in MOVED},
    **{f"{BACK}_{what}": (kind, "", backward(of)) for what, kind, of in MOVED},
    f"{UNPOOL}_starts_from_ones": (
        "unwritten memory", "", lambda x, indices, *, output_size: put(
            x, indices, output_size, start=1)),
    f"{UNPOOL}_starts_from_minus_infinity": (
        "padding", "", lambda x, indices, *, output_size: put(
            x, indices, output_size, start=-np.inf)),
    f"{UNPOOL}_forgets_the_plane": ("index", "", _in_one_plane),
    f"{UNPOOL}_makes_planes_of_twice_the_size": ("option", "pytorch/pytorch#580", _twice_the_size),
    f"{UNPOOL}_leaves_out_index_0": ("index", "", lambda x, indices, *, output_size: put(
        x, np.where(indices > 0, indices, -1), output_size)),
    f"{UNPOOL}_drops_a_nan": ("nan", "", lambda x, indices, **o: good.max_unpool2d(
        nan_as_zero(x), indices, **o)),
    f"{UNPOOL}_drops_what_is_below_0": ("index", "", lambda x, indices, **o: good.max_unpool2d(
        np.maximum(x, 0), indices, **o)),
    f"{BACK}_adds_up_windows": ("index", "pytorch/pytorch#80827", _of_windows),
    f"{BACK}_puts_and_does_not_take": ("index", "", _scattered),
    f"{BACK}_leaves_out_index_0": ("index", "", lambda dy, indices: np.where(
        indices > 0, taken(dy, indices), 0)),
    **{
        f"{of}_{what}": (kind, "", then(of, spoil))
        for of in (UNPOOL, BACK)
        for what, kind, spoil in (
            ("leaves_the_tail_of_a_row", "tail", without_tail),
            ("stops_at_65536_pixels", "overflow", up_to_16_bits),
            ("rounds_to_half", "precision", half),
        )
    },
}  # fmt: skip


def _flat(x: Array, indices: Array, *, output_size: Any) -> Array:
    """Places in the whole array."""
    y = np.zeros((*x.shape[:2], *output_size), x.dtype)
    planes = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], 1, 1)
    y.reshape(-1)[(indices + planes * output_size[0] * output_size[1]).ravel()] = x.ravel()
    return y


RIGHT = {
    f"{UNPOOL}_plane_by_plane": lambda x, indices, *, output_size: put(x, indices, output_size),
    f"{UNPOOL}_by_places_in_the_whole_array": _flat,
    f"{BACK}_by_rows_and_columns": lambda dy, indices: dy[
        np.arange(len(dy))[:, None, None, None], np.arange(dy.shape[1])[:, None, None],
        indices // dy.shape[3], indices % dy.shape[3]],
}  # fmt: skip
plant(FAULTS, RIGHT)
