"""Correlation where every filter sees one channel: loops for Numba, as GEMMs would be thin.

Every plane of x is laid out as its phases, one plane [TALL, WIDE] for each pixel of a step, with
the zeros that the windows see around it.  In these, the next window is the next number for every
tap, so that a tap takes part in all windows at once: number row * WIDE + column is a window where
column < OW, and beyond that it is not read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, TypeAlias

import numpy as np

from gradoracle.implementations.im2col.windows import Array, Windows
from gradoracle.implementations.shapes import Pair

Loops: TypeAlias = Callable[..., Any]

DTYPES = ("float32", "float64")
CACHE = 2**18  # bytes of phases at a time


def fits(x: Array, groups: int) -> bool:
    """Return whether x [N, C, H, W] in so many groups can be computed here."""
    is_plane = x.ndim == 4
    return (
        is_plane
        and x.shape[1] == groups > 1
        and x.dtype.name in DTYPES
        and compiled(_lay_out) is not None
    )


def correlate(x: Array, filters: Array, windows: Windows, y: Array) -> None:
    """Fill y [N, M, OH, OW] from x [N, C, H, W] and filters [C, M/C, KH*KW]."""
    for image, own, phases, places in _planes(x, windows):
        _run(_add_taps, phases, places, _plain(filters[own]), _of_channels(y[image], x, own))


def correlate_grad_weight(dy: Array, x: Array, windows: Windows) -> Array:
    """Return dw [M, 1, KH, KW] of dy [N, M, OH, OW] and x [N, C, H, W]."""
    dw = np.zeros((x.shape[1], dy.shape[1] // x.shape[1], windows.size), dy.dtype)
    for image, own, phases, places in _planes(x, windows):
        grad_output = _of_channels(_plain(dy[image]), x, own)
        _run(_add_windows, phases, places, dw[own], grad_output)
    return dw.reshape(-1, 1, *windows.taps)


def _planes(x: Array, windows: Windows) -> Iterator[tuple[int, slice, Array, Array]]:
    """Yield images, some channels, their phases, and where in these the taps begin."""
    start, size, places = _phases(windows)
    plane = math.prod((*windows.step, *size))
    together = max(1, CACHE // (plane * x.itemsize))
    phases = np.zeros((min(together, x.shape[1]), *windows.step, *size), x.dtype.name)
    for n, image in enumerate(x):
        for first in range(0, len(image), together):
            some = image[first : first + together]
            _run(_lay_out, _plain(some), phases, start)
            yield n, slice(first, first + together), phases[: len(some)], places


def _phases(windows: Windows) -> tuple[Pair, Pair, Array]:
    """Return the pixel at which the phases begin, their size, and where each tap begins in them."""
    start, size, places = [], [], []
    for axis in (0, 1):
        taps = np.arange(windows.taps[axis]) * windows.gap[axis]
        place, phase = np.divmod(taps - taps.min(), windows.step[axis])
        start.append(windows.start[axis] + int(taps.min()))
        size.append(windows.counts[axis] + int(place.max()))
        places.append((place, phase))
    (row, down), (column, across) = places
    plane = down[:, np.newaxis] * windows.step[1] + across
    numbers = (plane * size[0] + row[:, np.newaxis]) * size[1] + column
    return (start[0], start[1]), (size[0], size[1]), numbers.reshape(-1)


def _of_channels(y: Array, x: Array, own: slice) -> Array:
    """Return what belongs to some channels of x, of the planes of an image of y: [C, M/C, ..]."""
    return y.reshape(x.shape[1], -1, *y.shape[1:])[own]


def _plain(array: Array) -> Array:
    """Return an array as the loops are compiled for."""
    return np.require(array, array.dtype.name, ("C", "A", "W"))


# -- loops ----------------------------------------------------------------------------------------


def _run(loops: Loops, *arguments: Any) -> None:
    run = compiled(loops)
    if run is None:
        raise RuntimeError("these loops are for Numba, which cannot be imported")
    run(*arguments)


@cache
def compiled(loops: Loops) -> Loops | None:
    """Return loops that Numba compiles, or None where there is no Numba."""
    try:
        import numba  # noqa: PLC0415 - half a second that other convolutions never pay
    except ImportError:
        return None
    # A sum may be reassociated, and a product be added with one rounding.
    options: dict[str, Any] = {"nogil": True, "fastmath": {"contract", "reassoc"}}
    try:
        result: Loops = numba.njit(cache=True, **options)(loops)
    except RuntimeError:  # no folder that the cache could be written to
        result = numba.njit(**options)(loops)
    return result


def _lay_out(x: Array, phases: Array, start: Pair) -> None:
    """Copy planes [C, H, W] to their places in the phases [C, SH, SW, TALL, WIDE]."""
    channels, height, width = x.shape
    down, across, tall, wide = phases.shape[1:]
    for c in range(channels):
        for b in range(across):
            first = start[1] + b
            left = max(0, -(first // across))
            right = max(left, min(wide, (width - 1 - first) // across + 1))
            for a in range(down):
                for u in range(tall):
                    h = start[0] + u * down + a
                    if h < 0 or h >= height:
                        continue
                    into = phases[c, a, b, u, left:right]
                    if across == 1:
                        row = x[c, h, first + left : first + right]
                        for v in range(len(into)):
                            into[v] = row[v]
                    else:
                        every = x[c, h, first + left * across :: across]
                        for v in range(len(into)):
                            into[v] = every[v]


def _add_taps(phases: Array, places: Array, filters: Array, y: Array) -> None:
    """Fill y [C, M/C, OH, OW] from the phases and filters [C, M/C, KH*KW]."""
    channels, several, rows, columns = y.shape
    wide, taps = phases.shape[4], len(places)
    length = (rows - 1) * wide + columns
    sums = np.empty(length, phases.dtype)  # a number for each window
    three = taps - taps % 3  # taps at a time, or the sums would be loaded and stored for each
    for c in range(channels):
        numbers = phases[c].reshape(-1)
        for m in range(several):
            w = filters[c, m]
            sums[:] = 0
            for k in range(0, three, 3):
                first = numbers[places[k] : places[k] + length]
                second = numbers[places[k + 1] : places[k + 1] + length]
                third = numbers[places[k + 2] : places[k + 2] + length]
                of_first, of_second, of_third = w[k], w[k + 1], w[k + 2]
                for j in range(length):
                    sums[j] += of_first * first[j] + of_second * second[j] + of_third * third[j]
            for k in range(three, taps):
                first, of_first = numbers[places[k] : places[k] + length], w[k]
                for j in range(length):
                    sums[j] += of_first * first[j]
            for i in range(rows):
                row, into = sums[i * wide : i * wide + columns], y[c, m, i]
                for j in range(columns):
                    into[j] = row[j]


def _add_windows(phases: Array, places: Array, dw: Array, dy: Array) -> None:
    """Add to dw [C, M/C, KH*KW] from the phases and dy [C, M/C, OH, OW]."""
    channels, several, rows, columns = dy.shape
    wide = phases.shape[4]
    length = (rows - 1) * wide + columns
    each = np.zeros(length, phases.dtype)  # dy as the phases are laid out
    for c in range(channels):
        numbers = phases[c].reshape(-1)
        for m in range(several):
            for i in range(rows):
                row, into = dy[c, m, i], each[i * wide : i * wide + columns]
                for j in range(columns):
                    into[j] = row[j]
            for k in range(len(places)):
                seen = numbers[places[k] : places[k] + length]
                total = each[0] * seen[0]
                for j in range(1, length):
                    total += each[j] * seen[j]
                if not np.isfinite(total):  # perhaps from beyond the end of a row
                    total = phases.dtype.type(0)
                    for i, j in np.ndindex((rows, columns)):
                        total += dy[c, m, i, j] * seen[i * wide + j]
                dw[c, m, k] += total
