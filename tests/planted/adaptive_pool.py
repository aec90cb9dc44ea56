"""Planted faults and controls of average pooling to a given size."""

from collections.abc import Callable
from typing import Any

import numpy as np

from gradoracle.implementations import im2col as good
from tests.planted.fault import Fault, add, checked, control, half

Array = Any
Ends = Callable[[int, int], tuple[Array, Array]]  # from pixels and windows of a side
POOL, BACK = "adaptive_avg_pool2d", "adaptive_avg_pool2d_grad_input"


def ends(size: int, count: int) -> tuple[Array, Array]:
    """Return where the windows of a side begin and end."""
    at = np.arange(count)
    return at * size // count, ((at + 1) * size + count - 1) // count


def rounded_down(size: int, count: int) -> tuple[Array, Array]:
    first, _ = ends(size, count)
    return first, np.maximum((np.arange(count) + 1) * size // count, first + 1)


def of_equal_steps(size: int, count: int) -> tuple[Array, Array]:
    step = max(1, size // count)
    first = np.minimum(np.arange(count) * step, size - 1)
    return first, np.minimum(first + step, size)


def one_too_long(size: int, count: int) -> tuple[Array, Array]:
    first, last = ends(size, count)
    return first, np.minimum(last + 1, size)


def begins_rounded_up(size: int, count: int) -> tuple[Array, Array]:
    _, last = ends(size, count)
    return np.minimum(-(-np.arange(count) * size // count), last - 1), last


def in_float16(size: int, count: int) -> tuple[Array, Array]:
    """The quotient of the sides in half precision: off where there are many windows."""
    scale = np.float16(size / count).astype(float)
    first = np.minimum(np.floor(np.arange(count) * scale).astype(int), size - 1)
    last = np.minimum(np.ceil((np.arange(count) + 1) * scale).astype(int), size)
    return first, np.maximum(last, first + 1)


def pooled(x: Array, output_size: Any, rows: Ends, columns: Ends, divide: Any = None) -> Array:
    y = np.zeros((*x.shape[:2], *output_size), x.dtype)
    down, across = rows(x.shape[2], output_size[0]), columns(x.shape[3], output_size[1])
    for i, (top, bottom) in enumerate(zip(*down, strict=True)):
        for j, (left, right) in enumerate(zip(*across, strict=True)):
            total = x[:, :, top:bottom, left:right].sum((2, 3))
            count = (bottom - top) * (right - left)
            y[:, :, i, j] = total / x.dtype.type(divide(x, output_size) if divide else count)
    return y


def spread(dy: Array, input_shape: Any, rows: Ends, columns: Ends, divide: Any = None,
           *, assigned: bool = False) -> Array:  # fmt: skip
    dx, outputs = np.zeros(input_shape, dy.dtype), dy.shape[2:]
    down, across = rows(input_shape[2], outputs[0]), columns(input_shape[3], outputs[1])
    for i, (top, bottom) in enumerate(zip(*down, strict=True)):
        for j, (left, right) in enumerate(zip(*across, strict=True)):
            count = (bottom - top) * (right - left)
            share = dy[:, :, i, j] / dy.dtype.type(divide(dx, outputs) if divide else count)
            window = dx[:, :, top:bottom, left:right]
            window[...] = share[:, :, None, None] + (0 if assigned else window)
    return dx


def in_equal_parts(x: Array, outputs: Any) -> float:
    """The pixels of a plane over the number of windows."""
    return max(1, x.shape[2] * x.shape[3] / (outputs[0] * outputs[1]))


def _swapped(x: Array, output_size: Any) -> Array:
    return pooled(x, output_size[::-1], ends, ends).swapaxes(2, 3).copy()


def _by_16_bits(y: Array) -> Array:
    y.reshape(-1)[2**16 :] = 0
    return y


def _first(y: Array) -> Array:
    return np.broadcast_to(y[:1], y.shape).copy() if len(y) else y


def _tail(y: Array) -> Array:
    if y.shape[-1] > 32:
        y[..., y.shape[-1] // 32 * 32 :] = 0
    return y


def forward(rows: Ends, columns: Ends, divide: Any = None) -> Callable[..., Array]:
    return lambda x, *, output_size: pooled(x, output_size, rows, columns, divide)


def backward(rows: Ends, columns: Ends, divide: Any = None, **how: Any) -> Callable[..., Array]:
    return lambda dy, *, input_shape: spread(dy, input_shape, rows, columns, divide, **how)


def after(name: str, spoil: Callable[[Array], Array]) -> Callable[..., Array]:
    return lambda array, **o: spoil(getattr(good, name)(array, **o))


WINDOWS = (
    ("ends_windows_too_early", "index", rounded_down),
    ("takes_steps_of_one_length", "remainder", of_equal_steps),
    ("ends_windows_too_late", "index", one_too_long),
    ("begins_windows_too_late", "index", begins_rounded_up),
    ("divides_the_sides_in_half_precision", "precision", in_float16),
)
FAULTS: dict[str, tuple[str, Callable[..., Array]]] = {
    **{f"{POOL}_{what}": (kind, forward(of, of)) for what, kind, of in WINDOWS},
    **{f"{BACK}_{what}": (kind, backward(of, of)) for what, kind, of in WINDOWS},
    f"{POOL}_ends_rows_too_early": ("height for width", forward(rounded_down, ends)),
    f"{BACK}_ends_rows_too_early": ("height for width", backward(rounded_down, ends)),
    f"{POOL}_divides_by_equal_parts": ("divisor", forward(ends, ends, in_equal_parts)),
    f"{BACK}_divides_by_equal_parts": ("divisor", backward(ends, ends, in_equal_parts)),
    f"{POOL}_takes_height_for_width": ("height for width", lambda x, *, output_size: _swapped(
        x, output_size) if x.shape[2] == x.shape[3] or min(output_size) == 1 else
        good.adaptive_avg_pool2d(x, output_size=output_size)[:, :, ::-1].copy()),
    f"{POOL}_sums": ("normalisation", forward(ends, ends, lambda *_: 1)),
    f"{BACK}_does_not_divide": ("normalisation", backward(ends, ends, lambda *_: 1)),
    f"{BACK}_assigns_where_windows_overlap": ("overlap", backward(ends, ends, assigned=True)),
    f"{POOL}_of_the_first_image": ("batch", after(POOL, _first)),
    f"{BACK}_of_the_first_image": ("batch", after(BACK, _first)),
    f"{POOL}_leaves_the_tail_of_a_row": ("tail", after(POOL, _tail)),
    f"{BACK}_leaves_the_tail_of_a_row": ("tail", after(BACK, _tail)),
    f"{POOL}_stops_at_65536_pixels": ("overflow", after(POOL, _by_16_bits)),
    f"{BACK}_stops_at_65536_pixels": ("overflow", after(BACK, _by_16_bits)),
    f"{POOL}_rounds_to_half": ("precision", lambda x, **o: good.adaptive_avg_pool2d(half(x), **o)),
    f"{BACK}_rounds_to_half": ("precision", after(BACK, half)),
    f"{POOL}_of_one_pixel_each_is_x": ("aliasing", lambda x, *, output_size: x if x.shape[
        2:] == (*output_size,) else good.adaptive_avg_pool2d(x, output_size=output_size)),
    f"{POOL}_drops_a_nan": ("nan", lambda x, **o: good.adaptive_avg_pool2d(
        np.where(np.isnan(x), np.zeros_like(x), x), **o)),
    f"{BACK}_takes_the_first_window_of_a_pixel": ("overlap", lambda dy, *, input_shape: spread(
        dy[:, :, ::-1, ::-1], input_shape, *[lambda a, n: tuple(e[::-1] for e in ends(a, n))] * 2,
        assigned=True)),
}  # fmt: skip


def _quietly(wrong: Callable[..., Array]) -> Callable[..., Array]:
    def made(array: Array, **o: Any) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(wrong(array, **o), array.dtype)

    return made


for planted, (kind, wrong) in FAULTS.items():
    of = BACK if planted.startswith(BACK) else POOL
    add(planted, Fault(kind, of, lambda n=of, f=wrong: checked(n, _quietly(f))))


def _areas(plane: Any, outputs: Any, dtype: Any) -> Array:
    down, across = (np.subtract(*ends(a, n)[::-1]) for a, n in zip(plane, outputs, strict=True))
    return (down[:, None] * across).astype(dtype)


RIGHT: dict[str, Callable[..., Array]] = {
    f"{POOL}_window_by_window": forward(ends, ends),
    f"{POOL}_multiplies_for_the_mean": lambda x, *, output_size: forward(
        ends, ends, lambda *_: 1)(x, output_size=output_size) * (
        1 / _areas(x.shape[2:], output_size, x.dtype)),
    f"{BACK}_window_by_window": backward(ends, ends),
}  # fmt: skip
for planted, right in RIGHT.items():
    made = _quietly(right)
    made.__name__ = planted
    control(made)
