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

from gradoracle.oracle.compiled_loops import run
from gradoracle.oracle.declaration import Call, Division, Formula, declare_axes, multilinear
from gradoracle.oracle.formulas.adaptive_max_pool import adaptive_windows
from gradoracle.oracle.formulas.gathered import check_plane, checked_shape
from gradoracle.oracle.ranks import RANKS, axes_of_rank, named
from gradoracle.oracle.shapes import Array, Shape, Sides, check_shape, check_sides
from gradoracle.oracle.windows import flat


class AdaptiveAveraging(NamedTuple):
    """The formulas of an average pooling to a given size."""

    forward: Formula
    grad_input: Formula


def _divided(call: Call) -> Division:
    """Return what the sizes of all windows divide, and the largest of them."""
    counts = _sizes(call["x"].shape[2:], call["output_size"])
    return Division(lcm(*np.unique(counts).tolist()), int(counts.max()))


def _shared(call: Call) -> Division:
    """Return what the sizes of all windows divide, and how many windows have a pixel in common."""
    plane, outputs = tuple(call["input_shape"][2:]), call["grad_output"].shape[2:]
    over = np.bincount(adaptive_windows(plane, outputs).pixel.array)
    return Division(lcm(*np.unique(_sizes(plane, outputs)).tolist()), int(over.max()))


def _sizes(plane: Sequence[int], outputs: Sequence[int]) -> Array:
    """Return how many pixels each window has."""
    return np.diff(adaptive_windows(tuple(plane), tuple(outputs)).start.array)


def adaptive_averaging(rank: int) -> AdaptiveAveraging:
    """Return the formulas of an average pooling to a given size along `rank` spatial axes."""

    @multilinear("x", images="kept", over=_divided)
    @named("adaptive_avg_pool2d", rank)
    def adaptive_avg_pool(x: Array, *, output_size: Sides) -> Array:
        """Return y [N, C, *output_size], the means of as many windows of x [N, C, H, W].

            y[n,c,i,j] = sum of x[n,c,h,w] over its window / the window's pixels,  the window being
            i*H // OH <= h < ceil((i+1)*H / OH) and j*W // OW <= w < ceil((j+1)*W / OW)

        (PyTorch, torch.nn.AdaptiveAvgPool2d).  dtype follows x.

        Raises:
            ValueError: the shapes fit no pooling.
        """
        shape = check_plane("x", x, rank)
        outputs = check_sides("output_size", output_size, rank, smallest=1)
        y = np.zeros((*shape[:2], *outputs), x.dtype)
        start, pixel = adaptive_windows(shape[2:], outputs)
        products = x.size + y.size
        run(_average, flat(y), flat(x), start, pixel, products=products, mixed=True)
        return y

    @multilinear("grad_output", images="kept", over=_shared)
    @named("adaptive_avg_pool2d_grad_input", rank)
    def grad_input(grad_output: Array, *, input_shape: Shape) -> Array:
        """Return dx = dE/dx, of shape `input_shape` [N, C, H, W], from dy [N, C, OH, OW].

            dx[n,c,h,w] = sum of dy[n,c,i,j] / the window's pixels, over the windows (i, j) with
            i*H // OH <= h < ceil((i+1)*H / OH) and j*W // OW <= w < ceil((j+1)*W / OW)

        (PyTorch, torch.nn.AdaptiveAvgPool2d, differentiated).  dtype follows dy.

        Raises:
            ValueError: the shapes fit no pooling.
        """
        shape = checked_shape("input_shape", input_shape, rank)
        outputs = check_plane("grad_output", grad_output, rank)[2:]
        check_shape("grad_output", grad_output.shape, (*shape[:2], *outputs), "input_shape demands")
        dx, dy = np.zeros(shape, grad_output.dtype), flat(grad_output)
        start, pixel = adaptive_windows(shape[2:], outputs)
        run(_spread, flat(dx), dy, start, pixel, products=dx.size + dy.size, mixed=True)
        return dx

    axes = axes_of_rank(
        rank, "x: n c ({pixels}); grad_output: n c ({windows})",
        {"n": "images", "c": "channels"}, {"input_shape": "x"},
    )  # fmt: skip
    declare_axes(axes, adaptive_avg_pool, grad_input)
    return AdaptiveAveraging(adaptive_avg_pool, grad_input)


List = Sequence[int]


def _average(y: Array, x: Array, start: List, pixel: List) -> None:
    images, channels, windows = y.shape
    for n in range(images):
        for c in range(channels):
            for i in range(windows):
                total = y[n, c, i]
                for k in range(start[i], start[i + 1]):
                    total += x[n, c, pixel[k]]
                y[n, c, i] = total / (start[i + 1] - start[i])


def _spread(dx: Array, dy: Array, start: List, pixel: List) -> None:
    images, channels, windows = dy.shape
    for n in range(images):
        for c in range(channels):
            for i in range(windows):
                share = dy[n, c, i] / (start[i + 1] - start[i])
                for k in range(start[i], start[i + 1]):
                    dx[n, c, pixel[k]] += share


ADAPTIVE_AVERAGINGS = {rank: adaptive_averaging(rank) for rank in RANKS}
adaptive_avg_pool2d, adaptive_avg_pool2d_grad_input = ADAPTIVE_AVERAGINGS[2]
