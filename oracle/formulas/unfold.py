"""Windows as columns (im2col) and columns added up to images (col2im), with gradients, as loops.

Index names: n image, c channel, (i, j) window, (p, q) tap, (h, w) pixel; of KH*KW taps a column has
k = (c*KH + p)*KW + q, and l = i*OW + j counts the windows.

The documents have neither.  Source: Chellapilla, Puri and Simard 2006, "High Performance
Convolutional Neural Networks for Document Processing" (unrolled convolutions); the options and the
order of the axes are PyTorch's, torch.nn.Unfold and torch.nn.Fold.
"""

from collections.abc import Sequence
from math import prod
from typing import TypedDict, Unpack

import numpy as np

from gradoracle.oracle.axes import Axes
from gradoracle.oracle.compiled_loops import run
from gradoracle.oracle.declaration import declare_axes, multilinear, selection
from gradoracle.oracle.formulas.gathered import check_plane, checked_shape
from gradoracle.oracle.ranks import named
from gradoracle.oracle.shapes import Array, Shape, Sides, check_sides, window_count
from gradoracle.oracle.windows import Sorted, flat, meetings


class WindowOptions(TypedDict):
    """The options of windows: these formulas take them as keywords."""

    kernel_size: Sides
    stride: Sides
    padding: Sides
    dilation: Sides


@selection(images="kept")
@named("unfold", 2)
def unfold(x: Array, **options: Unpack[WindowOptions]) -> Array:
    """Return y [N, C*KH*KW, OH*OW], every window of x [N, C, H, W] as a column.

        y[n, (c*KH+p)*KW+q, i*OW+j] = x[n,c, i*S+p*D-P, j*S+q*D-P], or 0 outside the image

    (PyTorch, torch.nn.Unfold, known as im2col).  dtype follows x.

    Raises:
        ValueError: the shapes or options fit no windows.
    """
    shape = check_plane("x", x)
    by_window, _ = _windows(shape[2:], **options)
    return _columns(x, by_window, prod(options["kernel_size"]))


@multilinear("grad_output", images="kept")
@named("unfold_grad_input", 2)
def unfold_grad_input(
    grad_output: Array, *, input_shape: Shape, **options: Unpack[WindowOptions]
) -> Array:
    """Return dx = dE/dx, of shape `input_shape` [N, C, H, W], from dy [N, C*KH*KW, OH*OW].

        dx[n,c,h,w] = sum of dy[n, (c*KH+p)*KW+q, i*OW+j] over all windows (i, j) and taps (p, q)
                      with h = i*S+p*D-P and w = j*S+q*D-P

    (PyTorch, torch.nn.Unfold, differentiated: the sums of torch.nn.Fold).  dtype follows dy.

    Raises:
        ValueError: the shapes or options fit no windows.
    """
    shape = checked_shape("input_shape", input_shape)
    return _images("grad_output", grad_output, shape, **options)


@multilinear("x", images="kept")
@named("fold", 2)
def fold(x: Array, *, output_size: Sides, **options: Unpack[WindowOptions]) -> Array:
    """Return y [N, C, *output_size], the columns x [N, C*KH*KW, OH*OW] added up where they overlap.

        y[n,c,h,w] = sum of x[n, (c*KH+p)*KW+q, i*OW+j] over all windows (i, j) and taps (p, q)
                     with h = i*S+p*D-P and w = j*S+q*D-P

    (PyTorch, torch.nn.Fold, known as col2im: overlaps are added, not averaged).  dtype follows x.

    Raises:
        ValueError: the shapes or options fit no windows.
    """
    plane = check_sides("output_size", output_size, 2, smallest=1)
    taps = prod(check_sides("kernel_size", options["kernel_size"], 2, smallest=1))
    if x.ndim != 3 or x.shape[1] % taps or x.shape[1] < 1:
        raise ValueError(f"x must be [N, C*{taps}, windows], got shape {[*x.shape]}")
    return _images("x", x, (x.shape[0], x.shape[1] // taps, *plane), **options)


@multilinear("grad_output", images="kept")
@named("fold_grad_input", 2)
def fold_grad_input(grad_output: Array, **options: Unpack[WindowOptions]) -> Array:
    """Return dx = dE/dx [N, C*KH*KW, OH*OW] from dy [N, C, H, W].

        dx[n, (c*KH+p)*KW+q, i*OW+j] = dy[n,c, i*S+p*D-P, j*S+q*D-P], or 0 outside the image

    (PyTorch, torch.nn.Fold, differentiated: the columns of torch.nn.Unfold).  dtype follows dy.

    Raises:
        ValueError: the shapes or options fit no windows.
    """
    shape = check_plane("grad_output", grad_output)
    by_window, _ = _windows(shape[2:], **options)
    return _columns(grad_output, by_window, prod(options["kernel_size"]))


def _windows(plane: Shape, **options: Unpack[WindowOptions]) -> tuple[Sorted, int]:
    """Return what meets, sorted by windows, and how many windows there are."""
    kernel = check_sides("kernel_size", options["kernel_size"], 2, smallest=1)
    stride = check_sides("stride", options["stride"], 2, smallest=1)
    padding = check_sides("padding", options["padding"], 2, smallest=0)
    dilation = check_sides("dilation", options["dilation"], 2, smallest=1)
    windows = window_count(plane, kernel, stride, padding, dilation)
    return meetings(plane, kernel, windows, stride, padding, dilation).by_window, prod(windows)


def _columns(x: Array, by_window: Sorted, taps: int) -> Array:
    start, tap, pixel = by_window
    images, channels, windows = *x.shape[:2], len(start.array) - 1
    y = np.zeros((images, channels * taps, windows), x.dtype)
    run(_unfold, y, flat(x), taps, start, tap, pixel, products=y.size)
    return y


def _images(name: str, columns: Array, shape: Shape, **options: Unpack[WindowOptions]) -> Array:
    (start, tap, pixel), windows = _windows(shape[2:], **options)
    taps = prod(options["kernel_size"])
    want = (shape[0], shape[1] * taps, windows)
    if columns.shape != want:
        raise ValueError(f"{name} has shape {[*columns.shape]}, but the windows demand {[*want]}")
    y = np.zeros(shape, columns.dtype)
    run(_fold, flat(y), columns, taps, start, tap, pixel, products=columns.size)
    return y


List = Sequence[int]


def _unfold(y: Array, x: Array, taps: int, start: List, tap: List, pixel: List) -> None:
    images, channels, _ = x.shape
    for n in range(images):
        for c in range(channels):
            for i in range(y.shape[2]):
                for k in range(start[i], start[i + 1]):
                    y[n, c * taps + tap[k], i] = x[n, c, pixel[k]]


def _fold(y: Array, x: Array, taps: int, start: List, tap: List, pixel: List) -> None:
    images, channels, _ = y.shape
    for n in range(images):
        for c in range(channels):
            for i in range(x.shape[2]):
                for k in range(start[i], start[i + 1]):
                    y[n, c, pixel[k]] += x[n, c * taps + tap[k], i]


NEUTRAL = {"stride": 1, "padding": 0, "dilation": 1}
declare_axes(
    Axes(
        "x: n c h w; grad_output: n k l", shapes={"input_shape": "x"},
        neutral=NEUTRAL,
    ),
    unfold,
    unfold_grad_input,
)  # fmt: skip
declare_axes(
    Axes(
        "x: n k l; grad_output: n c h w", neutral=NEUTRAL
    ),
    fold,
    fold_grad_input,
)  # fmt: skip
