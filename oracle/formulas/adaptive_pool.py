"""Average pooling to a given size and its gradient, as loops.

Index names: n image, c channel, (i, j) window, (h, w) pixel.  Windows begin at pixel i*H // OH and
end before -(-(i+1)*H // OH): they overlap where OH does not divide H, and repeat pixels where OH is
larger.  An output_size of (1, 1) is the mean of every plane, global average pooling.

Source: PyTorch, torch.nn.AdaptiveAvgPool2d; the documents have none.
"""

from collections.abc import Sequence
from math import lcm
from typing import NamedTuple

import numpy as np

from gradoracle.oracle.axes import Axes
from gradoracle.oracle.compiled_loops import run
from gradoracle.oracle.declaration import Call, Division, declare_axes, multilinear
from gradoracle.oracle.formulas.gathered import check_plane, checked_shape
from gradoracle.oracle.shapes import Array, Shape, Sides, check_shape, check_sides
from gradoracle.oracle.windows import Indices


class Windows(NamedTuple):
    """Where the windows of each side begin, and where they end."""

    top: Indices
    bottom: Indices
    left: Indices
    right: Indices


def _divided(call: Call) -> Division:
    """Return what the sizes of all windows divide, and the largest of them."""
    windows = _windows(call["x"].shape[2:], call["output_size"])
    return Division(_multiple(windows), _most(*_sizes(windows)))


def _shared(call: Call) -> Division:
    """Return what the sizes of all windows divide, and how many windows have a pixel in common."""
    plane = call["input_shape"][2:]
    windows = _windows(plane, call["grad_output"].shape[2:])
    top, bottom, left, right = (one.array for one in windows)
    over = []
    for size, first, last in zip(plane, (top, left), (bottom, right), strict=True):
        pixel = np.arange(size)
        over.append(np.searchsorted(first, pixel, "right") - np.searchsorted(last, pixel, "right"))
    return Division(_multiple(windows), _most(*over))


@multilinear("x", images="kept", over=_divided)
def adaptive_avg_pool2d(x: Array, *, output_size: Sides) -> Array:
    """Return y [N, C, *output_size], the means of as many windows of x [N, C, H, W].

        y[n,c,i,j] = sum of x[n,c,h,w] over its window / the window's pixels,  the window being
        i*H // OH <= h < ceil((i+1)*H / OH) and j*W // OW <= w < ceil((j+1)*W / OW)

    (PyTorch, torch.nn.AdaptiveAvgPool2d).  dtype follows x.

    Raises:
        ValueError: the shapes fit no pooling.
    """
    shape = check_plane("x", x)
    outputs = check_sides("output_size", output_size, 2, smallest=1)
    y = np.zeros((*shape[:2], *outputs), x.dtype)
    run(_average, y, x, *_windows(shape[2:], outputs), products=x.size + y.size, mixed=True)
    return y


@multilinear("grad_output", images="kept", over=_shared)
def adaptive_avg_pool2d_grad_input(grad_output: Array, *, input_shape: Shape) -> Array:
    """Return dx = dE/dx, of shape `input_shape` [N, C, H, W], from dy [N, C, OH, OW].

        dx[n,c,h,w] = sum of dy[n,c,i,j] / the window's pixels, over the windows (i, j) with
        i*H // OH <= h < ceil((i+1)*H / OH) and j*W // OW <= w < ceil((j+1)*W / OW)

    (PyTorch, torch.nn.AdaptiveAvgPool2d, differentiated).  dtype follows dy.

    Raises:
        ValueError: the shapes fit no pooling.
    """
    shape = checked_shape("input_shape", input_shape)
    outputs = check_plane("grad_output", grad_output)[2:]
    check_shape("grad_output", grad_output.shape, (*shape[:2], *outputs), "input_shape demands")
    dx = np.zeros(shape, grad_output.dtype)
    products = dx.size + grad_output.size
    run(_spread, dx, grad_output, *_windows(shape[2:], outputs), products=products, mixed=True)
    return dx


def _windows(plane: Sequence[int], outputs: Sequence[int]) -> Windows:
    """Return where the windows of a plane begin and end, in so many rows and columns."""
    ends = []
    for size, count in zip(plane, outputs, strict=True):
        at = np.arange(count, dtype=np.int64)
        ends += [Indices(at * size // count), Indices(-(-(at + 1) * size // count))]
    return Windows(*ends)


def _sizes(windows: Windows) -> tuple[Array, Array]:
    """Return how many rows and columns windows have."""
    top, bottom, left, right = (one.array for one in windows)
    return bottom - top, right - left


def _multiple(windows: Windows) -> int:
    """Return the least number that the pixels of every window divide."""
    rows, columns = (np.unique(side).tolist() for side in _sizes(windows))
    return lcm(*(a * b for a in rows for b in columns))


def _most(rows: Array, columns: Array) -> int:
    return int(rows.max()) * int(columns.max())


List = Sequence[int]


def _average(y: Array, x: Array, top: List, bottom: List, left: List, right: List) -> None:
    images, channels, rows, columns = y.shape
    for n in range(images):
        for c in range(channels):
            for i in range(rows):
                for j in range(columns):
                    total = y[n, c, i, j]
                    for h in range(top[i], bottom[i]):
                        for w in range(left[j], right[j]):
                            total += x[n, c, h, w]
                    y[n, c, i, j] = total / ((bottom[i] - top[i]) * (right[j] - left[j]))


def _spread(dx: Array, dy: Array, top: List, bottom: List, left: List, right: List) -> None:
    images, channels, rows, columns = dy.shape
    for n in range(images):
        for c in range(channels):
            for i in range(rows):
                for j in range(columns):
                    share = dy[n, c, i, j] / ((bottom[i] - top[i]) * (right[j] - left[j]))
                    for h in range(top[i], bottom[i]):
                        for w in range(left[j], right[j]):
                            dx[n, c, h, w] += share


declare_axes(
    Axes(
        "x: n c (h w); grad_output: n c (i j)", {"n": "images", "c": "channels"},
        {"input_shape": "x"},
    ),
    adaptive_avg_pool2d,
    adaptive_avg_pool2d_grad_input,
)  # fmt: skip
