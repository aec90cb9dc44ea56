"""Convolution (cross-correlation) of one to three dimensions and its three gradients, as loops.

Index names, here and everywhere: n image, m output channel, c input channel within m's group,
(i, j) output pixel, (h, w) input pixel, (p, q) kernel tap.  E is the loss, dy = dE/dy is given.
In the loops i, h and p stand for all spatial indices, counted row by row, and walk over what meets:
the windows, taps and pixels with h = i*S + p*D - P (`oracle.windows`).

The formulas are written independently of each other: each walks the elements of its own result and
sums the products that reach them.  They take floats, ints, Fractions and dual numbers (in object
arrays) alike, because only + and * touch the values.  Where an index falls into the padding there
is no product; padding is never stored.

Sources: document 000 (forward, dW), 001 (dX), 002 (bias, stride, padding), 003 (bias gradient).
The documents have two dimensions, square kernels, one image and no groups; the rest is PyTorch's.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias, Unpack

import numpy as np

from gradoracle.oracle.compiled_loops import run
from gradoracle.oracle.declaration import Formula, declare_axes, multilinear
from gradoracle.oracle.ranks import RANKS, axes_of_rank, named, of_pixels
from gradoracle.oracle.shapes import Array, ConvOptions, Shape, check_shape, conv_shapes
from gradoracle.oracle.windows import flat, meetings

List: TypeAlias = Sequence[int]


class Convolution(NamedTuple):
    """The formulas of a convolution."""

    forward: Formula
    grad_input: Formula
    grad_weight: Formula
    grad_bias: Formula


def convolution(rank: int) -> Convolution:
    """Return the formulas of a convolution of `rank` spatial axes."""

    @multilinear("x", "weight", plus="bias", images="kept")
    @named("conv2d", rank)
    def conv(
        x: Array, weight: Array, bias: Array | None = None, **options: Unpack[ConvOptions]
    ) -> Array:
        """Return y [N, M, OH, OW] from x [N, C, H, W], weight [M, C/groups, KH, KW] and bias [M].

            y[n,m,i,j] = bias[m]
                         + sum_{c,p,q} x[n, first(m)+c, i*S+p*D-P, j*S+q*D-P] weight[m,c,p,q]

        (000, "Understanding dE/dW", second display; bias and stride: 002, Task 2, step 1).
        first(m) is the first input channel of m's group.  dtype follows x.

        Raises:
            ValueError: the shapes or options fit no convolution.
        """
        shapes = conv_shapes(rank, x.shape, weight.shape, **options)
        if bias is None:
            bias = np.zeros(shapes.weight[0], x.dtype)
        check_shape("bias", bias.shape, shapes.weight[:1], "the number of filters demands")
        y = np.zeros(shapes.y, x.dtype)
        met, groups = meetings(*shapes.meeting), options["groups"]
        products = y.size * math.prod(shapes.weight[1:])
        arrays = flat(x), flat(weight), bias
        run(_sum_by_window, flat(y), *arrays, groups, *met.by_window, products=products)
        return y

    @multilinear("grad_output", "weight", images="kept")
    @named("conv2d_grad_input", rank)
    def grad_input(
        grad_output: Array, weight: Array, *, input_shape: Shape, **options: Unpack[ConvOptions]
    ) -> Array:
        """Return dx = dE/dx, of shape `input_shape` [N, C, H, W], from dy [N, M, OH, OW].

            dx[n,c,h,w] = sum of dy[n,m,i,j] weight[m,c,p,q] over m of c's group and all (p, q)
                          with i*S + p*D - P = h and j*S + q*D - P = w

        (001, fifth display: h = h' + p, kernel *not* flipped where dy is read at (h - p)).  Pixels
        that no window reaches get 0.  dtype follows dy.
        Erratum: 001's last display flips the kernel as well; see `oracle.errata`.

        Raises:
            ValueError: the shapes or options fit no convolution.
        """
        shapes = conv_shapes(rank, input_shape, weight.shape, **options)
        check_shape("grad_output", grad_output.shape, shapes.y, "the convolution's output has")
        dx = np.zeros(shapes.x, grad_output.dtype)
        met, groups = meetings(*shapes.meeting), options["groups"]
        products = dx.size * math.prod(shapes.weight) // shapes.weight[1] // groups
        no_bias = np.zeros(shapes.x[1], grad_output.dtype)
        arrays = flat(grad_output), flat(weight), no_bias
        run(_sum_by_pixel, flat(dx), *arrays, groups, *met.by_pixel, products=products)
        return dx

    @multilinear("grad_output", "x", images="summed")
    @named("conv2d_grad_weight", rank)
    def grad_weight(
        grad_output: Array, x: Array, *, weight_shape: Shape, **options: Unpack[ConvOptions]
    ) -> Array:
        """Return dw = dE/dweight, of shape `weight_shape` [M, C/groups, KH, KW], of all images.

            dw[m,c,p,q] = sum_{n,i,j} dy[n,m,i,j] x[n, first(m)+c, i*S+p*D-P, j*S+q*D-P]

        (000, "Final Expression").  Every output pixel counts, and nothing is averaged over the
        batch.  dtype follows dy.
        Erratum: 002 sums i and j over the filter's size, not the output's; see `oracle.errata`.

        Raises:
            ValueError: the shapes or options fit no convolution.
        """
        shapes = conv_shapes(rank, x.shape, weight_shape, **options)
        check_shape("grad_output", grad_output.shape, shapes.y, "the convolution's output has")
        dw = np.zeros(shapes.weight, grad_output.dtype)
        met, groups = meetings(*shapes.meeting), options["groups"]
        products = grad_output.size * math.prod(shapes.weight[1:])
        arrays = flat(grad_output), flat(x)
        run(_sum_by_tap, flat(dw), *arrays, groups, *met.by_tap, products=products)
        return dw

    formulas = Convolution(conv, grad_input, grad_weight, grad_bias("conv2d_grad_bias", rank))
    axes = axes_of_rank(
        rank,
        "x: n c ({pixels}); weight: m c/g ({taps}); bias?: m; grad_output: n m ({windows})",
        {"n": "images", "m": "filters", "c": "channels"},
        {"input_shape": "x", "weight_shape": "weight"},
        strided="x",
        neutral={"stride": 1, "padding": 0, "dilation": 1, "groups": 1},
    )
    declare_axes(axes, *formulas)
    return formulas


def grad_bias(name: str, rank: int) -> Formula:
    """Return the gradient by the bias, of a convolution or a transposed one."""

    @multilinear("grad_output", images="summed")
    @named(name, rank)
    def gradient(grad_output: Array) -> Array:
        """Return db = dE/dbias [M] from dy [N, M, OH, OW]: a bias reaches every pixel of its map.

            db[m] = sum_{n,i,j} dy[n,m,i,j]

        (003, display of dB; summed over the images, as dW is).  dtype follows dy.
        Erratum: 003 writes dB with pixel indices (i, j); there is one per filter.

        Raises:
            ValueError: grad_output does not have the axes [N, M, OH, OW].
        """
        if grad_output.ndim != rank + 2:
            layout = (gradient.__doc__ or "").rpartition("the axes ")[2].partition(".")[0]
            raise ValueError(
                f"grad_output must have {rank + 2} axes {layout}, got {grad_output.shape}"
            )
        db = np.zeros(grad_output.shape[1], grad_output.dtype)
        return run(_sum_pixels, db, flat(grad_output), products=grad_output.size)

    if not name.startswith("conv2d"):  # there (i, j) is an input pixel, and 003 is about the other
        gradient.__doc__ = of_pixels(gradient.__doc__ or "")
    return gradient


# -- the loops: x [N, C, pixels], weight [M, C/groups, taps], y [N, M, windows] --------------------


def _sum_by_window(
    y: Array, x: Array, weight: Array, bias: Array, groups: int, start: List, tap: List, pixel: List
) -> None:
    """Add up x times weight over the taps and pixels that meet window i, start[i] to start[i+1]."""
    images, filters, windows = y.shape
    channels = weight.shape[1]
    for n in range(images):
        for m in range(filters):
            first = m // (filters // groups) * channels
            for i in range(windows):
                total = bias[m]
                for c in range(channels):
                    for k in range(start[i], start[i + 1]):
                        total += x[n, first + c, pixel[k]] * weight[m, c, tap[k]]
                y[n, m, i] = total


def _sum_by_pixel(
    x: Array,
    y: Array,
    weight: Array,
    bias: Array,
    groups: int,
    start: List,
    tap: List,
    window: List,
) -> None:
    """Add up y times weight over the taps and windows that meet pixel h, start[h] to start[h+1]."""
    images, channels, pixels = x.shape
    filters, depth = weight.shape[:2]
    members = filters // groups
    for n in range(images):
        for channel in range(channels):
            group, c = channel // depth, channel % depth
            for h in range(pixels):
                total = bias[channel]
                for k in range(start[h], start[h + 1]):
                    for m in range(group * members, (group + 1) * members):
                        total += y[n, m, window[k]] * weight[m, c, tap[k]]
                x[n, channel, h] = total


def _sum_by_tap(
    dw: Array, y: Array, x: Array, groups: int, start: List, window: List, pixel: List
) -> None:
    """Add up y times x over the windows and pixels that meet tap p, start[p] to start[p+1]."""
    filters, channels, taps = dw.shape
    images = len(y)
    for m in range(filters):
        first = m // (filters // groups) * channels
        for c in range(channels):
            for p in range(taps):
                total = dw[m, c, p]
                for n in range(images):
                    for k in range(start[p], start[p + 1]):
                        total += y[n, m, window[k]] * x[n, first + c, pixel[k]]
                dw[m, c, p] = total


def _sum_pixels(db: Array, dy: Array) -> None:
    images, filters, pixels = dy.shape
    for m in range(filters):
        total = db[m]
        for n in range(images):
            for i in range(pixels):
                total += dy[n, m, i]
        db[m] = total


CONVOLUTIONS = {rank: convolution(rank) for rank in RANKS}
conv1d, conv1d_grad_input, conv1d_grad_weight, conv1d_grad_bias = CONVOLUTIONS[1]
conv2d, conv2d_grad_input, conv2d_grad_weight, conv2d_grad_bias = CONVOLUTIONS[2]
conv3d, conv3d_grad_input, conv3d_grad_weight, conv3d_grad_bias = CONVOLUTIONS[3]
