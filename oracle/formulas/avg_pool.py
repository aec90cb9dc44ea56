"""Average pooling and its gradient, as loops.

Index names are those of `oracle.max_pool2d`.  The divisor of a window counts its taps inside the
padded image, or with count_include_pad=False those inside the image: never what hangs over the
end with ceil_mode.  Forward and backward divide by the same number.

Source: document 003 ("Backpropagation through Average-Pooling": divide by the region's size, spread
evenly, add where regions overlap); padding, ceil_mode and the divisor's rule are PyTorch's.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import lcm, prod
from typing import NamedTuple, TypeAlias, Unpack

import numpy as np

from gradoracle.oracle.compiled_loops import run
from gradoracle.oracle.declaration import Call, Division, Formula, declare_axes, multilinear
from gradoracle.oracle.ranks import RANKS, axes_of_rank, named
from gradoracle.oracle.shapes import Array, AvgPoolOptions, Shape, Sides, check_shape, pool_shape
from gradoracle.oracle.windows import KEPT, Indices, Meetings, flat, meetings


class AveragePooling(NamedTuple):
    """The formulas of an average pooling."""

    forward: Formula
    grad_input: Formula


def average_pooling(rank: int) -> AveragePooling:
    """Return the formulas of an average pooling of `rank` spatial axes."""

    def divisors(call: Call) -> Division:
        """Return what all windows' divisors divide, and how many taps a window has."""
        shape = call["x"].shape if "x" in call else call["input_shape"]
        options = {name: call[name] for name in AvgPoolOptions.__annotations__}
        counted = _windows(rank, (1, 1, *shape[2:]), **options).regions
        return Division(lcm(*np.unique(counted.array).tolist()), prod(options["kernel_size"]))

    @multilinear("x", images="kept", over=divisors)
    @named("avg_pool2d", rank)
    def avg_pool(x: Array, **options: Unpack[AvgPoolOptions]) -> Array:
        """Return y [N, C, OH, OW], the mean of every window of x [N, C, H, W].

            y[n,c,i,j] = sum of x[n,c, i*S+p-P, j*S+q-P] over its taps (p, q) on the image, / r[i,j]

        (003, average pooling, r the region's size).  r[i,j] counts the window's taps inside the
        padded image, or inside the image without count_include_pad; what hangs over the end with
        ceil_mode never counts.  dtype follows x.

        Raises:
            ValueError: the shapes or options fit no pooling.
        """
        shape, met, r = _windows(rank, x.shape, **options)
        y = np.zeros(shape, x.dtype)
        start, _, pixel = met.by_window
        products = y.size * prod(options["kernel_size"])
        run(_average, flat(y), flat(x), r, start, pixel, products=products, mixed=True)
        return y

    @multilinear("grad_output", images="kept", over=divisors)
    @named("avg_pool2d_grad_input", rank)
    def grad_input(
        grad_output: Array, *, input_shape: Shape, **options: Unpack[AvgPoolOptions]
    ) -> Array:
        """Return dx = dE/dx, of shape `input_shape` [N, C, H, W], from dy [N, C, OH, OW].

            dx[n,c,h,w] = sum of dy[n,c,i,j] / r[i,j] over the windows (i, j) that cover (h, w)

        (003, dZ^l / r spread over every region r, overlaps added; r as in the forward pass).  dtype
        follows dy.
        Erratum: 003 writes dZ^{l-1} on the right of its display; see `oracle.errata`.

        Raises:
            ValueError: the shapes or options fit no pooling.
        """
        shape, met, r = _windows(rank, input_shape, **options)
        check_shape("grad_output", grad_output.shape, shape, "the pooling's output has")
        dx, dy = np.zeros(tuple(input_shape), grad_output.dtype), flat(grad_output)
        start, _, window = met.by_pixel
        products = grad_output.size * prod(options["kernel_size"])
        run(_spread, flat(dx), dy, r, start, window, products=products, mixed=True)
        return dx

    axes = axes_of_rank(
        rank,
        "x: n c ({pixels}); grad_output: n c ({windows})",
        {"n": "images", "c": "channels"},
        {"input_shape": "x"},
        strided="x",
        window="kernel_size",
        neutral={"stride": 1, "padding": 0, "ceil_mode": False, "count_include_pad": True},
    )
    declare_axes(axes, avg_pool, grad_input)
    return AveragePooling(avg_pool, grad_input)


class Windows(NamedTuple):
    """The windows of an average pooling: y's shape, what meets, and how many taps count."""

    shape: Shape
    met: Meetings
    regions: Indices


def _windows(
    rank: int, x_shape: Shape, *, count_include_pad: bool, ceil_mode: bool, **sides: Sides
) -> Windows:
    """Return the windows of a pooling of x [N, C, *pixels]; ValueError where there are none."""
    shape = pool_shape(rank, x_shape, **sides, ceil_mode=ceil_mode)
    kernel, stride, padding = (tuple(sides[n]) for n in ("kernel_size", "stride", "padding"))
    size, windows = tuple(x_shape[2:]), shape[2:]
    met = meetings(size, kernel, windows, stride, padding, (1,) * rank)
    return Windows(shape, met, regions(size, kernel, windows, stride, padding, count_include_pad))


@lru_cache(KEPT)
def regions(
    size: Shape,
    kernel: Sides,
    windows: Shape,
    stride: Sides,
    padding: Sides,
    count_include_pad: bool,  # noqa: FBT001 - of an option's name
) -> Indices:
    """Return how many taps of each window count."""
    r: Array = np.ones(1, np.int64)
    for h, k, i, s, pad in zip(size, kernel, windows, stride, padding, strict=True):
        start = np.arange(i) * s - pad
        end = np.minimum(start + k, h + pad)
        if not count_include_pad:
            start, end = np.maximum(start, 0), np.minimum(end, h)
        r = (r[:, np.newaxis] * (end - start)).ravel()
    return Indices(r)


List: TypeAlias = Sequence[int]


def _average(y: Array, x: Array, r: List, start: List, pixel: List) -> None:
    images, channels, windows = y.shape
    for n in range(images):
        for c in range(channels):
            for i in range(windows):
                total = y[n, c, i]
                for k in range(start[i], start[i + 1]):
                    total += x[n, c, pixel[k]]
                y[n, c, i] = total / r[i]


def _spread(dx: Array, dy: Array, r: List, start: List, window: List) -> None:
    images, channels, pixels = dx.shape
    for n in range(images):
        for c in range(channels):
            for h in range(pixels):
                total = dx[n, c, h]
                for k in range(start[h], start[h + 1]):
                    total += dy[n, c, window[k]] / r[window[k]]
                dx[n, c, h] = total


AVERAGE_POOLINGS = {rank: average_pooling(rank) for rank in RANKS}
avg_pool1d, avg_pool1d_grad_input = AVERAGE_POOLINGS[1]
avg_pool2d, avg_pool2d_grad_input = AVERAGE_POOLINGS[2]
avg_pool3d, avg_pool3d_grad_input = AVERAGE_POOLINGS[3]
