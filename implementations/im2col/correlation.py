"""Correlation of images with filters and its two gradients, as products of matrices.

The columns are a matrix [C * taps, windows] of each image: a column is what a window sees.  With
the filters as rows of a matrix, for each group,

    y = weight @ columns        dw = dy @ columns.T        d(columns) = weight.T @ dy

and dx adds every column of d(columns) to the window that it came from (col2im).  Or dx is itself
a correlation, of dy: a pixel sees the windows that saw it.
"""

from __future__ import annotations

from itertools import product
from math import gcd, prod
from typing import Any, NamedTuple

import numpy as np

from gradoracle.implementations.im2col import depthwise, plan
from gradoracle.implementations.im2col.windows import Array, Windows, blocks, columns, inside, room
from gradoracle.implementations.shapes import Shape


def correlate(x: Array, weight: Array, windows: Windows, groups: int) -> Array:
    """Return y [N, M, *windows] of x [N, C, *pixels] and weight [M, C/groups, *taps]."""
    y = np.empty((len(x), len(weight), *windows.counts), x.dtype)
    _correlate(x, _of_groups(weight, groups), windows, y)
    return y


def correlate_grad_weight(dy: Array, x: Array, windows: Windows, groups: int) -> Array:
    """Return dw [M, C/groups, *taps] of dy [N, M, *windows] and x [N, C, *pixels]."""
    if depthwise.fits(x, groups):
        return depthwise.correlate_grad_weight(dy, x, windows)
    shape = (dy.shape[1], x.shape[1] // groups, *windows.taps)
    turned = plan.transposes(shape, groups)
    dw: Array | None = None
    for block, seen in columns(x, windows):
        left = _of_groups(block.of(dy).swapaxes(0, 1), groups)
        right = _of_groups(seen, groups)
        part = right @ left.swapaxes(1, 2) if turned else left @ right.swapaxes(1, 2)
        dw = part if dw is None else np.add(dw, part, out=dw)
    if dw is None:
        return np.zeros(shape, dy.dtype)
    return np.ascontiguousarray(dw.swapaxes(1, 2) if turned else dw).reshape(shape)


def correlate_grad_input(
    dy: Array, weight: Array, windows: Windows, groups: int, size: Shape
) -> Array:
    """Return dx [N, C, *size] of dy [N, M, *windows] and weight [M, C/groups, *taps]."""
    shape = (len(dy), weight.shape[1] * groups, *size)
    if plan.folds(dy.shape, weight.shape, groups) and not depthwise.fits(dy, groups):
        return _fold(dy, weight, windows, groups, shape)
    return _gather(dy, weight, windows, groups, shape)


def _correlate(x: Array, filters: Array, windows: Windows, y: Array) -> None:
    """Fill y [N, M, *windows] from x and filters [groups, M/groups, C/groups * taps]."""
    if depthwise.fits(x, len(filters)):
        depthwise.correlate(x, filters, windows, y)
        return
    for block, seen in columns(x, windows):
        out = block.of(y).swapaxes(0, 1)
        matrix = out.reshape(*filters.shape[:2], -1)  # a view where the windows follow each other
        np.matmul(filters, _of_groups(seen, len(filters)), out=matrix)
        if not np.may_share_memory(matrix, out):
            out[...] = matrix.reshape(out.shape)


def _fold(dy: Array, weight: Array, windows: Windows, groups: int, shape: Shape) -> Array:
    """Return dx, whose pixels add up what every window that saw them gives back."""
    dx = np.empty(shape, dy.dtype)
    margins = windows.margins(shape[2:])
    filters = _of_groups(weight, groups).swapaxes(1, 2)
    for block in blocks(len(dy), shape[1], windows, dy.itemsize):
        if block.is_first:
            whole = room(dx[block.images].shape, margins, dy.dtype)
            seen = windows.of(whole, margins)
        some = block.of(dy).swapaxes(0, 1)
        taps = (filters @ _of_groups(some, groups)).reshape(-1, *windows.taps, *some.shape[1:])
        for tap in np.ndindex(*windows.taps):
            seen[(slice(None), *tap, slice(None), block.rows)] += taps[(slice(None), *tap)]
        if block.is_last:
            dx[block.images] = inside(whole, margins)
    return dx


def _gather(dy: Array, weight: Array, windows: Windows, groups: int, shape: Shape) -> Array:
    """Return dx as correlations of dy, one for the pixels of each phase of the step."""
    axes = (_phases(windows, axis, size) for axis, size in enumerate(shape[2:]))
    dx = np.zeros(shape, dy.dtype)
    for phase in product(*axes):
        taps: Any = (..., *(axis.taps for axis in phase))
        pixels: Any = (..., *(axis.pixels for axis in phase))
        filters = weight[taps]
        size = filters.shape[2:]
        of_group = filters.reshape(groups, -1, weight.shape[1], prod(size)).swapaxes(1, 2)
        seen = Windows(
            size,
            tuple(axis.length for axis in phase),
            tuple(axis.start for axis in phase),
            (1,) * len(phase),
            tuple(-axis.gap for axis in phase),
        )
        _correlate(dy, of_group.reshape(groups, weight.shape[1], -1), seen, dx[pixels])
    return dx


class _Phase(NamedTuple):
    """The pixels of an axis that the same taps see, and where in dy the first of these is."""

    pixels: slice
    taps: slice
    length: int
    start: int
    gap: int


def _phases(windows: Windows, axis: int, size: int) -> list[_Phase]:
    """Return the phases of an axis; pixels that no tap can see are in none."""
    step, gap, taps = windows.step[axis], windows.gap[axis], windows.taps[axis]
    every = step // gcd(step, gap)
    found = []
    for pixel in range(min(step, size)):
        for tap in range(min(every, taps)):
            start, beside = divmod(pixel - windows.start[axis] - tap * gap, step)
            if not beside:
                found.append(
                    _Phase(
                        slice(pixel, None, step),
                        slice(tap, None, every),
                        -(-(size - pixel) // step),
                        start,
                        every * gap // step,
                    )
                )
    return found


def _of_groups(matrix: Array, groups: int) -> Array:
    """Return rows [R, ..] as matrices [groups, R/groups, ..]."""
    return matrix.reshape(groups, len(matrix) // groups, -1)
