"""Average pooling and its gradient, as loops.

Index names are those of `oracle.max_pool2d`.  The divisor of a window counts its taps inside the
padded image, or with count_include_pad=False those inside the image: never what hangs over the
end with ceil_mode.  Forward and backward divide by the same number.

Source: document 003 ("Backpropagation through Average-Pooling": divide by the region's size, spread
evenly, add where regions overlap); padding, ceil_mode and the divisor's rule are PyTorch's.
"""

import math
from typing import Any

import numpy as np

from gradoracle.oracle.axes import Axes
from gradoracle.oracle.compiled_loops import run
from gradoracle.oracle.declaration import Call, Division, declare_axes, multilinear
from gradoracle.oracle.shapes import Array, Pair, Shape, check_shape, pool_shape


def _divisors(call: Call) -> Division:
    """Return what all windows' divisors divide, and how many taps a window has."""
    shape = call["x"].shape if "x" in call else call["input_shape"]
    sides = []
    for axis in (0, 1):
        counts = {
            _taps(i, shape[2 + axis], call["kernel_size"][axis], call["stride"][axis],
                  call["padding"][axis], call["count_include_pad"])
            for i in range(_windows(shape, call)[axis])
        }  # fmt: skip
        sides.append(counts or {1})
    multiple = math.lcm(*(down * across for down in sides[0] for across in sides[1]))
    return Division(multiple, math.prod(call["kernel_size"]))


def _windows(shape: Shape, call: Call) -> Pair:
    options: dict[str, Any] = {
        n: call[n] for n in ("kernel_size", "stride", "padding", "ceil_mode")
    }
    rows, columns = pool_shape(shape, **options)[2:]
    return rows, columns


def _taps(
    i: int,
    size: int,
    kernel: int,
    stride: int,
    padding: int,
    count_include_pad: bool,  # noqa: FBT001
) -> int:
    """Return how many taps of window i count along one side."""
    start = i * stride - padding
    end = min(start + kernel, size + padding)
    if not count_include_pad:
        start, end = max(start, 0), min(end, size)
    return end - start


@multilinear("x", images="kept", over=_divisors)
def avg_pool2d(
    x: Array,
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,
    count_include_pad: bool,
) -> Array:
    """Return y [N, C, OH, OW], the mean of every window of x [N, C, H, W].

        y[n,c,i,j] = sum of x[n,c, i*S+p-P, j*S+q-P] over the taps (p, q) inside the image, / r[i,j]

    (003, average pooling, r the region's size).  r[i,j] counts the window's taps inside the padded
    image, or inside the image without count_include_pad; what hangs over the end with ceil_mode
    never counts.  dtype follows x.

    Raises:
        ValueError: the shapes or options fit no pooling.
    """
    shape = pool_shape(
        x.shape, kernel_size=kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode
    )
    y = np.zeros(shape, x.dtype)
    products = math.prod(shape) * math.prod(kernel_size)
    return run(
        _avg_pool2d,
        y,
        x,
        kernel_size,
        stride,
        padding,
        count_include_pad,
        products=products,
        mixed=True,
    )


def _avg_pool2d(
    y: Array,
    x: Array,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    count_include_pad: bool,  # noqa: FBT001
) -> None:
    images, channels, rows, columns = y.shape
    height, width = x.shape[2:]
    for n in range(images):
        for c in range(channels):
            for i in range(rows):
                top = i * stride[0] - padding[0]
                bottom = min(top + kernel_size[0], height + padding[0])
                for j in range(columns):
                    left = j * stride[1] - padding[1]
                    right = min(left + kernel_size[1], width + padding[1])
                    total = y[n, c, i, j]
                    inside = 0
                    for h in range(top, bottom):
                        if 0 <= h < height:
                            for w in range(left, right):
                                if 0 <= w < width:
                                    total += x[n, c, h, w]
                                    inside += 1
                    divisor = (bottom - top) * (right - left) if count_include_pad else inside
                    y[n, c, i, j] = total / divisor


@multilinear("grad_output", images="kept", over=_divisors)
def avg_pool2d_grad_input(
    grad_output: Array,
    *,
    input_shape: Shape,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,
    count_include_pad: bool,
) -> Array:
    """Return dx = dE/dx, of shape `input_shape` [N, C, H, W], from dy [N, C, OH, OW].

        dx[n,c,h,w] = sum of dy[n,c,i,j] / r[i,j] over the windows (i, j) that cover (h, w)

    (003, dZ^l / r spread over every region r, overlaps added; r as in the forward pass).  dtype
    follows dy.
    Erratum: 003 writes dZ^{l-1} on the right of its display; see `oracle.errata`.

    Raises:
        ValueError: the shapes or options fit no pooling.
    """
    shape = pool_shape(
        input_shape, kernel_size=kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode
    )
    check_shape("grad_output", grad_output.shape, shape, "the pooling's output has")
    dx = np.zeros(tuple(input_shape), grad_output.dtype)
    products = math.prod(shape) * math.prod(kernel_size)
    return run(
        _avg_pool2d_grad_input,
        dx,
        grad_output,
        kernel_size,
        stride,
        padding,
        count_include_pad,
        products=products,
        mixed=True,
    )


def _avg_pool2d_grad_input(
    dx: Array,
    dy: Array,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    count_include_pad: bool,  # noqa: FBT001
) -> None:
    images, channels, height, width = dx.shape
    rows, columns = dy.shape[2:]
    for n in range(images):
        for c in range(channels):
            for h in range(height):
                for w in range(width):
                    total = dx[n, c, h, w]
                    first_i = max(0, (h + padding[0] - kernel_size[0]) // stride[0] + 1)
                    first_j = max(0, (w + padding[1] - kernel_size[1]) // stride[1] + 1)
                    for i in range(first_i, min(rows - 1, (h + padding[0]) // stride[0]) + 1):
                        top = i * stride[0] - padding[0]
                        bottom = min(top + kernel_size[0], height + padding[0])
                        if not count_include_pad:
                            top, bottom = max(top, 0), min(bottom, height)
                        for j in range(
                            first_j, min(columns - 1, (w + padding[1]) // stride[1]) + 1
                        ):
                            left = j * stride[1] - padding[1]
                            right = min(left + kernel_size[1], width + padding[1])
                            if not count_include_pad:
                                left, right = max(left, 0), min(right, width)
                            total += dy[n, c, i, j] / ((bottom - top) * (right - left))
                    dx[n, c, h, w] = total


declare_axes(
    Axes(
        "x: n c (h w); grad_output: n c (i j)",
        {"n": "images", "c": "channels"},
        {"input_shape": "x"},
        strided="x",
        window="kernel_size",
        neutral={
            "stride": 1,
            "padding": 0,
            "ceil_mode": False,
            "count_include_pad": True,
        },
    ),
    avg_pool2d,
    avg_pool2d_grad_input,
)
