"""What somebody may misunderstand about interpolation, unpooling, and pooling to a given size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gradoracle.conformance.misconceptions.misconception import Misconception, Wrong, bent
from gradoracle.oracle.declaration import Formula
from gradoracle.oracle.shapes import Array

NEAREST = ("interpolate_nearest2d", "interpolate_nearest2d_grad_input")
BETWEEN = ("interpolate_bilinear2d", "interpolate_bilinear2d_grad_input")
# From the pixels of a result, those of the image and the call's options to coordinates.
Place = Callable[[Array, int, int, Mapping[str, Any]], Array]


def _resized(place: Place, *, extrapolates: bool = False) -> Wrong:
    """Return interpolation at other coordinates: shares of the two pixels beside each."""

    def side(size: int, count: int, call: Mapping[str, Any]) -> Array:
        at = place(np.arange(count), size, count, call)
        at = at if extrapolates else np.clip(at, 0, size - 1)
        first = np.clip(np.floor(at), 0, max(size - 2, 0)).astype(int)
        share, found = at - first if size > 1 else 0 * at, np.zeros((count, size))
        found[np.arange(count), first] += 1 - share
        found[np.arange(count), np.minimum(first + 1, size - 1)] += share
        return found

    def wrong(formula: Formula, call: dict[str, Any]) -> Array:
        forward = formula.__name__ in (NEAREST[0], BETWEEN[0])
        x, dy = ("x", "output_size") if forward else ("input_shape", "grad_output")
        plane = call[x].shape[2:] if forward else call[x][2:]
        outputs = call[dy] if forward else call[dy].shape[2:]
        down, across = (side(*of, call) for of in zip(plane, outputs, strict=True))
        text = "ih,nchw,jw->ncij" if forward else "ih,ncij,jw->nchw"
        given = call["x" if forward else "grad_output"]
        return np.asarray(np.einsum(text, down, given, across, optimize=True))

    return wrong


def _half_a_pixel(at: Array, size: int, count: int, call: Mapping[str, Any]) -> Array:
    del call
    return np.asarray((at + 0.5) * size / count - 0.5)


def _corners(at: Array, size: int, count: int, call: Mapping[str, Any]) -> Array:
    del call
    return np.asarray(at * (size - 1) / max(count - 1, 1))


def _unless_aligned(other: Place) -> Place:
    """Return coordinates that are others only without align_corners."""
    return lambda at, size, count, call: (
        _corners if call["align_corners"] else other
    )(at, size, count, call)  # fmt: skip


def _from_the_edge(at: Array, size: int, count: int, call: Mapping[str, Any]) -> Array:
    del call
    return np.asarray(at * size / count)


def _rounded(at: Array, size: int, count: int, call: Mapping[str, Any]) -> Array:
    del call
    return np.rint(at * size / count)


def _last_of_several(at: Array, size: int, count: int, call: Mapping[str, Any]) -> Array:
    del call
    return np.asarray(np.ceil((at + 1) * size / count) - 1)


ADAPTIVE = ("adaptive_avg_pool2d", "adaptive_max_pool2d_values")


def _of_windows(end: Callable[[Array, int, int], Array]) -> Wrong:
    """Return pooling to a given size whose windows end elsewhere."""

    def wrong(formula: Formula, call: dict[str, Any]) -> Array:
        x, outputs = call["x"], call["output_size"]
        sides = []
        for size, count in zip(x.shape[2:], outputs, strict=True):
            at = np.arange(count)
            first = at * size // count
            last = np.minimum(np.maximum(end(at, size, count), first + 1), size)
            sides.append([*zip(first.tolist(), last.tolist(), strict=True)])
        pooled = np.mean if formula.__name__ == ADAPTIVE[0] else np.max
        rows = [
            [pooled(x[:, :, top:bottom, left:right], axis=(2, 3)) for left, right in sides[1]]
            for top, bottom in sides[0]
        ]
        return np.moveaxis(np.array(rows).reshape(*outputs, *x.shape[:2]), (0, 1), (2, 3))

    return wrong


UNPOOLING = ("max_unpool2d", "max_unpool2d_grad_input")


def _by_columns(call: dict[str, Any]) -> dict[str, Any]:
    forward = "output_size" in call
    tall, wide = call["output_size"] if forward else call["grad_output"].shape[2:]
    i, j = np.divmod(call["indices"], wide)
    return {**call, "indices": j * tall + i}


MISCONCEPTIONS = (
    Misconception("indices count down the columns, not along the rows", UNPOOLING,
                  bent(_by_columns)),
    Misconception("windows end before (i+1) H / OH rounded down, not up: they never overlap",
                  ADAPTIVE, _of_windows(lambda at, size, count: (at + 1) * size // count)),
    Misconception("every window is H // OH long", ADAPTIVE,
                  _of_windows(lambda at, size, count: at * size // count + size // count)),
    Misconception("`align_corners` is ignored: corners are never aligned", BETWEEN,
                  bent(lambda c: {**c, "align_corners": False})),
    Misconception("corners are aligned, whatever `align_corners` says", BETWEEN,
                  bent(lambda c: {**c, "align_corners": True})),
    Misconception("the coordinate is i H / OH: half a pixel is left out on both sides", BETWEEN,
                  _resized(_unless_aligned(_from_the_edge))),
    Misconception("before the first and after the last pixel it is extrapolated", BETWEEN,
                  _resized(_unless_aligned(_half_a_pixel), extrapolates=True)),
    Misconception('`mode` is ignored: it is always "nearest"', NEAREST,
                  bent(lambda c: {**c, "mode": "nearest"})),
    Misconception('`mode` is ignored: it is always "nearest-exact"', NEAREST,
                  bent(lambda c: {**c, "mode": "nearest-exact"})),
    Misconception("i H / OH is rounded to the nearest number, not down", NEAREST,
                  _resized(_rounded)),
    Misconception("the last of several pixels is taken, not the first", NEAREST,
                  _resized(_last_of_several)),
)  # fmt: skip
