"""Planted faults and controls of interpolation: most ideas are planted forward and backward."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from gradoracle.implementations import im2col as good
from tests.planted.fault import half
from tests.planted.moved_pixels import (
    after,
    before,
    first_channel_for_all,
    first_image_for_all,
    nan_as_zero,
    up_to_16_bits,
    without_tail,
)
from tests.planted.table import plant

Array = Any
Matrix = Callable[..., Array]  # from pixels, pixels of the result and the option: [result, pixels]
NEAREST, BILINEAR = "interpolate_nearest2d", "interpolate_bilinear2d"
BACK = "_grad_input"


# -- one side as a matrix -------------------------------------------------------------------------


def picks(place: Callable[..., Array]) -> Matrix:
    """Return what takes the pixel at a place."""

    def matrix(size: int, count: int, option: Any) -> Array:
        found = np.zeros((count, size))
        at = np.asarray(place(np.arange(count), size, count, option))
        found[np.arange(count), np.clip(at, 0, size - 1).astype(int)] = 1
        return found

    return matrix


def exact_half(mode: str) -> float:
    return 0.5 if mode == "nearest-exact" else 0


def nearest(at: Array, size: int, count: int, mode: str) -> Array:
    return np.floor((2 * at + 2 * exact_half(mode)) * size / (2 * count))


def place_of(at: Array, size: int, count: int, align: Any) -> Array:
    """The coordinate between pixels."""
    if align:
        return at * (size - 1) / max(count - 1, 1)
    return np.maximum((at + 0.5) * size / count - 0.5, 0)


def tents(
    place: Callable[..., Array] = place_of, share: Callable[[Array], Array] = lambda a: a,
    *, past: str = "stays",
) -> Matrix:  # fmt: skip
    """Return what shares between the two pixels beside a coordinate."""

    def matrix(size: int, count: int, option: Any) -> Array:
        at = place(np.arange(count), size, count, option)
        first = np.clip(np.floor(at).astype(int), 0, size - 1)
        part, found, rows = share(at - first), np.zeros((count, size)), np.arange(count)
        found[rows, first] += 1 - part
        inside = first + 1 < size
        found[rows[inside], first[inside] + 1] += part[inside]
        if past == "stays":
            found[rows[~inside], size - 1] += part[~inside]
        if past == "wraps":
            found[rows[~inside], 0] += part[~inside]
        return found

    return matrix


def forward(rows: Matrix, columns: Matrix | None = None, *, same: bool = False) -> Any:
    def resized(x: Array, *, output_size: Any, **o: Any) -> Array:
        (option,) = o.values()
        down = rows(x.shape[2], output_size[0], option)
        across = (columns or rows)(x.shape[3], output_size[1], option)
        if same:
            down, across = _exchanged(rows, x.shape[2:], output_size, option, (down, across))
        return np.einsum("ih,nchw,jw->ncij", down, np.asarray(x, float), across, optimize=True)

    return resized


def backward(rows: Matrix, columns: Matrix | None = None) -> Any:
    def sent(dy: Array, *, input_shape: Any, **o: Any) -> Array:
        (option,) = o.values()
        down = rows(input_shape[2], dy.shape[2], option)
        across = (columns or rows)(input_shape[3], dy.shape[3], option)
        return np.einsum("ih,ncij,jw->nchw", down, np.asarray(dy, float), across, optimize=True)

    return sent


def _exchanged(rows: Matrix, plane: Any, outputs: Any, option: Any, both: Any) -> Any:
    """Both sides by the height's scale."""
    down, across = both
    wide = np.zeros_like(across)
    found = rows(max(plane), max(outputs), option)[: outputs[1], : plane[1]]
    wide[: len(found), : found.shape[1]] = found
    return down, wide


# -- wrong matrices -------------------------------------------------------------------------------


def aligned(at: Array, size: int, count: int, option: Any) -> Array:
    del option
    return at * ((size - 1) / max(count - 1, 1))


def without_half(at: Array, size: int, count: int, align: Any) -> Array:
    return place_of(at, size, count, align) if align else at * size / count


def never_aligned(at: Array, size: int, count: int, option: Any) -> Array:
    del option
    return place_of(at, size, count, align=False)


def middle_of_one(at: Array, size: int, count: int, align: Any) -> Array:
    if align and count == 1:
        return np.full(1, (size - 1) / 2)
    return place_of(at, size, count, align)


def by_all(at: Array, size: int, count: int, align: Any) -> Array:
    """(A-1) / B with align_corners."""
    return at * (size - 1) / count if align else place_of(at, size, count, align)


def below_zero(at: Array, size: int, count: int, align: Any) -> Array:
    return place_of(at, size, count, align) if align else (at + 0.5) * size / count - 0.5


def scaled_in(dtype: Any) -> Callable[..., Array]:
    """The coordinate, its scale rounded to a format."""

    def place(at: Array, size: int, count: int, align: Any) -> Array:
        scale = float(dtype((size - 1) / max(count - 1, 1) if align else size / count))
        return at * scale if align else np.maximum((at + 0.5) * scale - 0.5, 0)

    return place


def nearest_in_half(at: Array, size: int, count: int, mode: str) -> Array:
    return np.floor((at + exact_half(mode)) * float(np.float16(size / count)))


def rounded(at: Array, size: int, count: int, mode: str) -> Array:
    return np.rint((at + exact_half(mode)) * size / count)


def one_further(at: Array, size: int, count: int, mode: str) -> Array:
    """The last of the pixels that a downsampled one stands for, not the first."""
    far = np.ceil((at + 1) * size / count) - 1
    return far if mode == "nearest" else nearest(at, size, count, mode)


def whole_steps(at: Array, size: int, count: int, mode: str) -> Array:
    """The scale as a whole number, of pixels or of results."""
    del mode
    return at * (size // count) if size >= count else at // (count // size)


def modes_exchanged(at: Array, size: int, count: int, mode: str) -> Array:
    return nearest(at, size, count, "nearest-exact" if mode == "nearest" else "nearest")


def one_mode(mode: str) -> Callable[..., Array]:
    return lambda at, size, count, _: nearest(at, size, count, mode)


def smoothed(size: int, count: int, align: Any) -> Array:
    """Antialiased where pixels are left out: tents as wide as a step."""
    scale = max(1.0, size / count)
    centre = place_of(np.arange(count), size, count, align)
    found = np.maximum(0, 1 - abs(centre[:, None] - np.arange(size)) / scale)
    return found / found.sum(1, keepdims=True)


def of_a_window(size: int, count: int, align: Any) -> Array:
    """The gradient from as many results as the scale without corners lets expect."""
    found = tents()(size, count, align)
    reach = np.ceil(count / size) + 1
    middle = (np.arange(size) + 0.5) * count / size - 0.5
    return found * (abs(np.arange(count)[:, None] - middle) <= reach)


def normalised(size: int, count: int, align: Any) -> Array:
    found = tents()(size, count, align)
    return found / np.maximum(found.sum(0), 1e-30)


def to_the_last(matrix: Matrix) -> Matrix:
    """What goes back to a pixel is assigned: only the last result counts."""

    def of(size: int, count: int, option: Any) -> Array:
        found = matrix(size, count, option)
        later = np.cumsum((found != 0)[::-1], axis=0)[::-1]
        return found * (later == 1)

    return of


def _portrait(dy: Array, *, input_shape: Any, align_corners: bool) -> Array:
    """Columns found by the height: wrong where an image is tall and its scale whole."""
    _, _, height, width = input_shape
    scale = dy.shape[3] // width
    moved = dy
    if height > width and not align_corners and scale > 1 and dy.shape[3] == scale * width:
        moved = np.roll(dy, (height - width) // 2, 3)
    return good.interpolate_bilinear2d_grad_input(
        moved, input_shape=input_shape, align_corners=align_corners
    )


PICKED = (
    ("rounds_to_the_next", "index", "", rounded),
    ("takes_the_last_of_several", "index", "pytorch/pytorch#38985", one_further),
    ("takes_whole_steps", "remainder", "Oneflow-Inc/oneflow#5347", whole_steps),
    ("exchanges_the_modes", "option", "", modes_exchanged),
    ("is_never_exact", "option", "", one_mode("nearest")),
    ("is_always_exact", "option", "Oneflow-Inc/oneflow#5347", one_mode("nearest-exact")),
    ("aligns_corners", "index", "", aligned),
    ("scales_in_half_precision", "precision", "pytorch/pytorch#175177", nearest_in_half),
)
MIXED = (
    ("ignores_align_corners", "option", "tenstorrent/tt-metal#27001", tents(never_aligned)),
    ("always_aligns_corners", "option", "pytorch/pytorch#5511", tents(aligned)),
    ("leaves_out_half_a_pixel", "index", "", tents(without_half)),
    ("takes_the_middle_for_one", "edge", "", tents(middle_of_one)),
    ("steps_by_all_pixels_less_one", "index", "", tents(by_all)),
    ("goes_on_before_the_first", "edge", "intel/torch-xpu-ops#1627", tents(below_zero)),
    ("exchanges_the_shares", "index", "", tents(share=lambda a: 1 - a)),
    ("rounds_shares_to_half", "precision", "", tents(share=half)),
    ("scales_in_half_precision", "precision", "", tents(scaled_in(np.float16))),
    ("scales_in_single_precision", "precision", "", tents(scaled_in(np.float32))),
    ("takes_the_nearest", "option", "", tents(share=np.rint)),
    ("takes_the_first", "option", "", tents(share=np.zeros_like)),
    ("smooths_what_shrinks", "option", "", smoothed),
)
SPOILT = (
    ("of_the_first_image", "batch", first_image_for_all),
    ("of_the_first_channel", "channels", first_channel_for_all),
    ("leaves_the_tail_of_a_row", "tail", without_tail),
    ("stops_at_65536_pixels", "overflow", up_to_16_bits),
    ("rounds_to_half", "precision", half),
)
picked, between = picks(nearest), tents()
FAULTS = {
    **{
        f"{NEAREST}{end}_{what}": (kind, seen, made(picks(of)))
        for what, kind, seen, of in PICKED
        for end, made in (("", forward), (BACK, backward))
    },
    **{
        f"{BILINEAR}{end}_{what}": (kind, seen, made(of))
        for what, kind, seen, of in MIXED
        for end, made in (("", forward), (BACK, backward))
    },
    **{
        f"{name}{end}_{what}": (kind, "", after(f"{name}{end}", of))
        for name in (NEAREST, BILINEAR)
        for what, kind, of in SPOILT
        for end in ("", BACK)
    },
    f"{NEAREST}_rounds_rows_only": ("height for width", "", forward(picks(rounded), picked)),
    f"{NEAREST}{BACK}_rounds_columns_only": (
        "height for width", "", backward(picked, picks(rounded))),
    f"{BILINEAR}_wraps_around_the_edge": ("edge", "", forward(tents(past="wraps"))),
    f"{BILINEAR}_is_0_past_the_edge": ("edge", "", forward(tents(past="is 0"))),
    f"{BILINEAR}{BACK}_loses_what_is_past_the_edge": ("edge", "", backward(tents(past="is 0"))),
    f"{BILINEAR}_scales_columns_as_rows": ("height for width", "", forward(between, same=True)),
    f"{BILINEAR}{BACK}_from_a_window_of_the_scale": (
        "remainder", "flagos-ai/FlagGems#5218", backward(of_a_window)),
    f"{BILINEAR}{BACK}_divides_by_the_shares": ("normalisation", "", backward(normalised)),
    f"{BILINEAR}{BACK}_finds_columns_by_rows": (
        "height for width", "intel/torch-xpu-ops#4380", _portrait),
    f"{BILINEAR}{BACK}_assigns": ("overlap", "", backward(to_the_last(between))),
    f"{NEAREST}{BACK}_assigns": ("overlap", "", backward(to_the_last(picked))),
    f"{NEAREST}_drops_a_nan": ("nan", "", before(NEAREST, nan_as_zero)),
    f"{BILINEAR}_drops_a_nan": ("nan", "", before(BILINEAR, nan_as_zero)),
    f"{NEAREST}_of_as_many_pixels_is_x": (
        "aliasing", "", lambda x, *, output_size, mode: x if x.shape[2:] == (*output_size,)
        else good.interpolate_nearest2d(x, output_size=output_size, mode=mode)),
}  # fmt: skip


# -- right ones -----------------------------------------------------------------------------------


def _beside(x: Array, axis: int, count: int, by: str, *, align: bool) -> Any:
    """Two pixels and the share of the second, in x's format, the coordinate found in some way."""
    size, kind = x.shape[axis], x.dtype.type
    at = np.arange(count).astype(x.dtype)
    if align:
        place = at * kind(size - 1) / kind(max(count - 1, 1))
    elif by == "quotient":
        place = (at + kind(0.5)) * kind(size) / kind(count) - kind(0.5)
    else:  # the first one's, and steps
        scale = kind(size) / kind(count)
        place = at * scale + (kind(0.5) * scale - kind(0.5))
    place = np.maximum(place, 0)
    first = np.minimum(place.astype(int), size - 1)
    shape = [count if one == axis else 1 for one in range(x.ndim)]
    return first, np.minimum(first + 1, size - 1), (place - first.astype(x.dtype)).reshape(shape)


def _lerps(x: Array, *, output_size: Any, align_corners: bool, by: str = "quotient") -> Array:
    """x0 + l (x1 - x0), columns first, as TensorFlow has it."""
    found = x
    for axis in (3, 2):
        first, second, share = _beside(x, axis, output_size[axis - 2], by, align=align_corners)
        left, right = np.take(found, first, axis), np.take(found, second, axis)
        found = left + share * (right - left)
    return found


def _four(x: Array, *, output_size: Any, align_corners: bool) -> Array:
    """Four products with products of shares."""
    rows = _beside(x, 2, output_size[0], "steps", align=align_corners)
    columns = _beside(x, 3, output_size[1], "steps", align=align_corners)
    found = np.zeros((*x.shape[:2], *output_size), x.dtype)
    for down in (0, 1):
        for across in (0, 1):
            share = (rows[2] if down else 1 - rows[2]) * (columns[2] if across else 1 - columns[2])
            found = found + share * x[:, :, rows[down][:, None], columns[across]]
    return found


def _in_its_format(matrix: Matrix, made: Any) -> Any:
    """Return what multiplies with matrices in x's format."""
    cast = partial(_cast, matrix)

    def product(array: Array, **o: Any) -> Array:
        (option,) = (v for n, v in o.items() if n not in ("output_size", "input_shape"))
        plane = o.get("input_shape", array.shape)[2:]
        outputs = o.get("output_size", array.shape[2:])
        down, across = (cast(array.dtype, *of, option) for of in zip(plane, outputs, strict=True))
        text = "ih,nchw,jw->ncij" if made is forward else "ih,ncij,jw->nchw"
        return np.einsum(text, down, array, across)

    return product


def _cast(matrix: Matrix, dtype: Any, size: int, count: int, option: Any) -> Array:
    return matrix(size, count, option).astype(dtype)


def _in_double(x: Array, **o: Any) -> Array:
    return _lerps(x.astype(float), **o)


def _nearest_by_scale(x: Array, *, output_size: Any, mode: str) -> Array:
    """PyTorch's: the scale in float32."""
    rows, columns = (
        np.minimum(((np.arange(count) + np.float32(exact_half(mode))).astype(np.float32)
                    * (np.float32(size) / np.float32(count))).astype(int), size - 1)
        for size, count in zip(x.shape[2:], output_size, strict=True)
    )  # fmt: skip
    return x[:, :, rows][:, :, :, columns]


RIGHT = {
    f"{NEAREST}_by_a_scale_in_float32": _nearest_by_scale,
    f"{NEAREST}{BACK}_by_matrices": _in_its_format(picked, backward),
    f"{BILINEAR}_of_differences": _lerps,
    f"{BILINEAR}_of_differences_by_steps": partial(_lerps, by="steps"),
    f"{BILINEAR}_of_four_products": _four,
    f"{BILINEAR}_by_matrices": _in_its_format(between, forward),
    f"{BILINEAR}_in_double": _in_double,
    f"{BILINEAR}{BACK}_by_matrices": _in_its_format(between, backward),
}
plant(FAULTS, RIGHT)
