"""Ways for equal arrays to lie in memory.

Each is a function that takes a NumPy array and `own`, which makes an array of the backend's kind
of it (by default it stays NumPy's), and returns an equal array that lies otherwise; its docstring
says how, for a report, and its text stands in a report's script.  Only methods of arrays are used:
this module runs beside the backend, which may have replaced NumPy's functions.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Own: TypeAlias = Callable[[Array], Any]


def as_it_is(array: Any) -> Any:
    """Return the array."""
    return array


def permuted(array: Any, axes: tuple[int, ...]) -> Any:
    """Return a view with the axes in that order, of PyTorch's arrays too."""
    return array.permute(*axes) if hasattr(array, "permute") else array.transpose(axes)


def filler(array: Array) -> float:
    """Return what stands in gaps: no answer of finite data has it."""
    return 2**31 - 1 if array.dtype.kind in "iu" else float("nan")


def fortran(array: Array, own: Own = as_it_is) -> Any:
    """Lay it in Fortran's order, the first axis innermost."""
    axes = (*range(array.ndim),)[::-1]
    return permuted(own(array.transpose(axes).copy()), axes)


def channels_last(array: Array, own: Own = as_it_is) -> Any:
    """Lay it with the channels innermost, as NHWC."""
    rest = (*range(2, array.ndim),)
    back = (0, array.ndim - 1, *(axis - 1 for axis in rest))
    return permuted(own(array.transpose((0, *rest, 1)).copy()), back)


def transposed(array: Array, own: Own = as_it_is) -> Any:
    """Lay it with rows and columns of each plane exchanged."""
    axes = (*range(array.ndim - 2), array.ndim - 1, array.ndim - 2)
    return permuted(own(array.transpose(axes).copy()), axes)


def sliced(array: Array, own: Own = as_it_is) -> Any:
    """Lay it in every second place of longer rows (a[..., ::2])."""
    longer = array.repeat(2, axis=-1)
    longer[..., 1::2] = filler(array)
    return own(longer)[..., ::2]


def spaced(array: Array, own: Own = as_it_is) -> Any:
    """Lay it with gaps between the first axis' parts (a[::2])."""
    longer = array.repeat(2, axis=0)
    longer[1::2] = filler(array)
    return own(longer)[::2]


def cropped(array: Array, own: Own = as_it_is) -> Any:
    """Lay it in the corner of an array that is longer along every axis (a[:-1, :-1])."""
    longer = type(array)(tuple(n + 1 for n in array.shape), array.dtype)
    longer[...] = filler(array)
    corner = (slice(-1),) * array.ndim
    longer[corner] = array
    return own(longer)[corner]


def reversed_rows(array: Array, own: Own = as_it_is) -> Any:
    """Lay it with the last axis backwards (a[..., ::-1])."""
    return own(array[..., ::-1].copy())[..., ::-1]


def upside_down(array: Array, own: Own = as_it_is) -> Any:
    """Lay it with every axis backwards."""
    flip = (slice(None, None, -1),) * array.ndim
    return own(array[flip].copy())[flip]


def offset(array: Array, own: Own = as_it_is) -> Any:
    """Lay it one element behind an address that is a multiple of 16 bytes."""
    longer = array.reshape(-1).repeat(2)
    longer[1 : 1 + array.size] = array.reshape(-1)
    return own(longer)[1 : 1 + array.size].reshape(array.shape)


def read_only(array: Array, own: Own = as_it_is) -> Any:
    """Lay it where nobody may write."""
    copy = array.copy()
    copy.flags.writeable = False
    return own(copy)


def odd_strides(array: Array, own: Own = as_it_is) -> Any:
    """Lay it with odd strides of axes of size 1."""
    strides = [
        stride if size > 1 else array.itemsize * (-3 if axis % 2 else 7)
        for axis, (size, stride) in enumerate(zip(array.shape, array.copy().strides, strict=True))
    ]
    return own(type(array)(array.shape, array.dtype, array.copy(), 0, strides))


def unaligned(array: Array, own: Own = as_it_is) -> Any:
    """Lay it one byte behind the address that its elements would be aligned to."""
    raw = array.reshape(-1).view("u1").repeat(2)
    raw[1 : 1 + array.nbytes] = array.reshape(-1).view("u1")
    return own(raw[1 : 1 + array.nbytes].view(array.dtype).reshape(array.shape))


def ends_at_guard(array: Array, own: Own = as_it_is) -> Any:
    """Lay it before a page of memory that may be neither read nor written."""
    import ctypes  # noqa: PLC0415 - the text of this function stands in scripts
    import mmap  # noqa: PLC0415

    length = -(-array.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
    raw = type(array)((length + mmap.PAGESIZE,), "u1", mmap.mmap(-1, length + mmap.PAGESIZE))
    raw[:length] = 255  # NaN, or -1
    end = ctypes.c_void_p(raw.__array_interface__["data"][0] + length)
    ctypes.CDLL(None).mprotect(end, ctypes.c_size_t(mmap.PAGESIZE), 0)
    there = raw[length - array.nbytes : length].view(array.dtype).reshape(array.shape)
    there[...] = array
    return own(there)


def begins_at_guard(array: Array, own: Own = as_it_is) -> Any:
    """Lay it behind a page of memory that may be neither read nor written."""
    import ctypes  # noqa: PLC0415
    import mmap  # noqa: PLC0415

    length = -(-array.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
    raw = type(array)((mmap.PAGESIZE + length,), "u1", mmap.mmap(-1, mmap.PAGESIZE + length))
    raw[mmap.PAGESIZE :] = 255
    start = ctypes.c_void_p(raw.__array_interface__["data"][0])
    ctypes.CDLL(None).mprotect(start, ctypes.c_size_t(mmap.PAGESIZE), 0)
    there = raw[mmap.PAGESIZE :][: array.nbytes].view(array.dtype).reshape(array.shape)
    there[...] = array
    return own(there)


def expanded(array: Array, own: Own = as_it_is) -> Any:
    """Lay it all in one place, by strides of 0."""
    first = array.reshape(-1)[:1].copy()
    return own(type(array)(array.shape, array.dtype, first, 0, (0,) * array.ndim))


def one_image(array: Array, own: Own = as_it_is) -> Any:
    """Lay it in one place along the first axis, by a stride of 0."""
    part = array[:1].copy()
    return own(type(array)(array.shape, array.dtype, part, 0, (0, *part.strides[1:])))


def one_channel(array: Array, own: Own = as_it_is) -> Any:
    """Lay it in one place along the second axis, by a stride of 0."""
    part = array[:, :1].copy()
    first, _, *rest = part.strides
    return own(type(array)(array.shape, array.dtype, part, 0, (first, 0, *rest)))


def one_column(array: Array, own: Own = as_it_is) -> Any:
    """Lay it in one place along the last axis, by a stride of 0."""
    part = array[..., :1].copy()
    return own(type(array)(array.shape, array.dtype, part, 0, (*part.strides[:-1], 0)))


def one_pixel(array: Array, own: Own = as_it_is) -> Any:
    """Lay it in one place along the last two axes, by strides of 0."""
    part = array[..., :1, :1].copy()
    return own(type(array)(array.shape, array.dtype, part, 0, (*part.strides[:-2], 0, 0)))


def channels_backwards(array: Array, own: Own = as_it_is) -> Any:
    """Lay it with the second axis backwards (a[:, ::-1])."""
    return own(array[:, ::-1].copy())[:, ::-1]


def exchanged(array: Array, own: Own = as_it_is) -> Any:
    """Lay it with the first two axes exchanged."""
    axes = (1, 0, *range(2, array.ndim))
    return permuted(own(array.transpose(axes).copy()), axes)


def shared(array: Array, own: Own = as_it_is, kept: dict[Any, Any] = {}) -> Any:  # noqa: B006
    """Lay it where the argument with the same numbers lies: one array is both."""
    key = own, array.shape, array.dtype.str, array.tobytes()
    made = kept.pop(key, None)
    if made is None:
        kept.clear()
        made = kept[key] = own(array.copy())
    return made


def placed(array: Array, own: Own = as_it_is, *, place: str) -> Any:
    """Lay it at the address of the array that was laid in this place before."""
    if not array.nbytes:
        return own(array.copy())
    memory = _places.get(place)
    if memory is None or len(memory) < array.nbytes:
        memory = type(array)((ALIGNED + max(ROOMY, 2 * array.nbytes),), "u1")
        memory = memory[-memory.__array_interface__["data"][0] % ALIGNED :]
        _places[place] = memory
    there = memory[: array.nbytes].view(array.dtype).reshape(array.shape)
    there[...] = array
    return own(there)


class Layout(NamedTuple):
    """A way to lie in memory, and the shapes for which it is unlike the ways before it."""

    lay: Callable[..., Any]
    differs: Callable[[tuple[int, ...]], bool]


def _is_large(axes: int) -> Callable[[tuple[int, ...]], bool]:
    """Return what tells arrays that have elements and at least so many axes."""
    return lambda shape: len(shape) >= axes and 0 not in shape


def _can_be_guarded(shape: tuple[int, ...]) -> bool:
    return os.name == "posix" and 0 not in shape


LAYOUTS = {
    "fortran": Layout(fortran, _is_large(2)),
    "channels_last": Layout(channels_last, _is_large(3)),
    "transposed": Layout(transposed, _is_large(3)),
    "sliced": Layout(sliced, _is_large(1)),
    "spaced": Layout(spaced, _is_large(2)),
    "reversed_rows": Layout(reversed_rows, _is_large(1)),
    "upside_down": Layout(upside_down, _is_large(2)),
    "cropped": Layout(cropped, _is_large(3)),
    "channels_backwards": Layout(channels_backwards, _is_large(3)),
    "exchanged": Layout(exchanged, _is_large(3)),
    "offset": Layout(offset, _is_large(0)),
    "read_only": Layout(read_only, _is_large(0)),
    "odd_strides": Layout(odd_strides, lambda shape: 1 in shape and 0 not in shape),
    "unaligned": Layout(unaligned, _is_large(0)),
    "ends_at_guard": Layout(ends_at_guard, _can_be_guarded),
    "begins_at_guard": Layout(begins_at_guard, _can_be_guarded),
}
# What is read or written outside of such an array ends the process: a crash of the backend.
GUARDED = ("ends_at_guard", "begins_at_guard")
# Of arrays whose elements are all equal, and of such that are equal along these axes.
EXPANDED = "expanded"
ALONG: dict[str, tuple[int, ...]] = {
    "one_image": (0,), "one_channel": (1,), "one_column": (-1,), "one_pixel": (-2, -1),
}  # fmt: skip
_expanded = {one.__name__: one for one in (expanded, one_image, one_channel, one_column, one_pixel)}
# Of two arguments that have the same numbers.
SHARED = "shared"
FUNCTIONS = {**_expanded, SHARED: shared} | {name: layout.lay for name, layout in LAYOUTS.items()}
# One for each argument: what a call leaves behind under an address is found by the next call there.
PLACES = tuple(f"place {number}" for number in range(32))
ROOMY, ALIGNED = 2**16, 64  # bytes
_places: dict[str, Array] = {}
_lay: dict[str, Callable[..., Any]] = {
    **FUNCTIONS, **{place: partial(placed, place=place) for place in PLACES},
}  # fmt: skip


def words(layout: str) -> str:
    """Return how an array lies, behind "lies"."""
    return (FUNCTIONS[layout].__doc__ or "").removeprefix("Lay it ").removesuffix(".")


def differs(layout: str, shape: tuple[int, ...]) -> bool:
    """Return whether the layout is another for arrays of this shape."""
    return layout not in LAYOUTS or LAYOUTS[layout].differs(shape)


def expansions(shape: tuple[int, ...]) -> list[tuple[str, tuple[int, ...]]]:
    """Return the layouts in one place along some axes, with those axes; no two alike."""
    found: dict[tuple[int, ...], str] = {(*range(len(shape)),): EXPANDED}
    for layout, axes in ALONG.items():
        if max(axes) < len(shape) and -min(axes) <= len(shape):
            long = tuple(sorted(a % len(shape) for a in axes if shape[a] > 1))
            if long:
                found.setdefault(tuple(sorted(a % len(shape) for a in axes)), layout)
    return [(layout, axes) for axes, layout in found.items()]


def one_each(layouts: str, count: int) -> list[str]:
    """Return the layout of each of `count` arguments; "fortran" is for all, "fortran," the first's.

    "" lies as NumPy makes it.
    """
    if "," not in layouts:
        return [layouts] * count
    names = layouts.split(",")
    return [*names, *[""] * count][:count]


def laid(array: Array, layout: str, own: Own = as_it_is) -> Any:
    """Return an equal array of the backend's kind that lies so.

    Where arrays of its kind cannot be viewed so, or are NumPy's, `own` is given an array that lies
    so, and may make of it what it likes.
    """
    if not layout or not differs(layout, array.shape):
        return own(array.copy())
    if own is as_it_is:
        return _lay[layout](array)
    try:
        view = _lay[layout](array, own)
        if type(view) is not type(array) and (*view.shape,) == array.shape:
            return view
    # Arrays that are not NumPy's may raise anything where they are viewed so; then it is NumPy's
    # that is laid so, and what the backend raises of that is told.
    except Exception:  # noqa: BLE001, S110
        pass
    return own(_lay[layout](array))
