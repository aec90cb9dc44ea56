"""Transposed convolution and its three gradients, as loops.

003 calls it what puts the elements of a convolution's output back to where they came from: every
input pixel lays a copy of the kernel, times its value, over the output.  Index names are those of
`oracle.conv2d`, but here (i, j) is an *input* pixel and (h, w) an output pixel, and the kernel of
input channel c and output channel m is weight[c, m].

Source: document 003 ("The transposed convolution computes", and the paragraph before); stride,
padding and dilation as 002 has them for the convolution it belongs to; output_padding and groups
are PyTorch's.
"""

import math

import numpy as np

from gradoracle.oracle.axes import Axes
from gradoracle.oracle.compiled_loops import run
from gradoracle.oracle.declaration import declare_axes, multilinear
from gradoracle.oracle.shapes import Array, Pair, Shape, check_shape, conv_transpose2d_shapes


@multilinear("x", "weight", plus="bias", images="kept")
def conv_transpose2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: Pair,
    padding: Pair,
    output_padding: Pair,
    dilation: Pair,
    groups: int,
) -> Array:
    """Return y [N, M, OH, OW] from x [N, C, H, W], weight [C, M/groups, KH, KW] and bias [M].

        y[n,m,h,w] = bias[m] + sum of x[n,c,i,j] weight[c,m',p,q] over c of m's group and all (p, q)
                     with i*S + p*D - P = h and j*S + q*D - P = w

    (003, the transposed convolution of W and Z; m' counts m within its group).  output_padding
    adds rows and columns at the end, which get what the kernel lays there, else the bias alone.
    dtype follows x.

    Raises:
        ValueError: the shapes or options fit no transposed convolution.
    """
    shapes = conv_transpose2d_shapes(
        x.shape,
        weight.shape,
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        dilation=dilation,
        groups=groups,
    )
    if bias is None:
        bias = np.zeros(shapes.y[1], x.dtype)
    check_shape("bias", bias.shape, shapes.y[1:2], "the number of output channels demands")
    y = np.zeros(shapes.y, x.dtype)
    products = math.prod(shapes.y) * math.prod(shapes.weight[2:]) * shapes.x[1] // groups
    return run(
        _conv_transpose2d,
        y,
        x,
        weight,
        bias,
        stride,
        padding,
        dilation,
        groups,
        products=products,
    )


def _conv_transpose2d(
    y: Array,
    x: Array,
    weight: Array,
    bias: Array,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> None:
    images, maps, height, width = y.shape
    channels, multiplier, taps_down, taps_across = weight.shape
    rows, columns = x.shape[2:]
    depth = channels // groups
    for n in range(images):
        for m in range(maps):
            first, member = m // multiplier * depth, m % multiplier
            for h in range(height):
                for w in range(width):
                    total = bias[m]
                    for p in range(taps_down):
                        i, between = divmod(h + padding[0] - p * dilation[0], stride[0])
                        if between == 0 and 0 <= i < rows:
                            for q in range(taps_across):
                                j, gap = divmod(w + padding[1] - q * dilation[1], stride[1])
                                if gap == 0 and 0 <= j < columns:
                                    for c in range(first, first + depth):
                                        total += x[n, c, i, j] * weight[c, member, p, q]
                    y[n, m, h, w] = total


@multilinear("grad_output", "weight", images="kept")
def conv_transpose2d_grad_input(
    grad_output: Array,
    weight: Array,
    *,
    input_shape: Shape,
    stride: Pair,
    padding: Pair,
    output_padding: Pair,
    dilation: Pair,
    groups: int,
) -> Array:
    """Return dx = dE/dx, of shape `input_shape` [N, C, H, W], from dy [N, M, OH, OW].

        dx[n,c,i,j] = sum_{m',p,q} dy[n, first(c)+m', i*S+p*D-P, j*S+q*D-P] weight[c,m',p,q]

    (000, forward pass: going back through a transposed convolution is the convolution itself, as
    003's transposed convolution is going back through one).  first(c) is the first output channel
    of c's group.  dtype follows dy.

    Raises:
        ValueError: the shapes or options fit no transposed convolution.
    """
    shapes = conv_transpose2d_shapes(
        input_shape,
        weight.shape,
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        dilation=dilation,
        groups=groups,
    )
    check_shape(
        "grad_output", grad_output.shape, shapes.y, "the transposed convolution's output has"
    )
    dx = np.zeros(shapes.x, grad_output.dtype)
    products = math.prod(shapes.x) * math.prod(shapes.weight[1:])
    return run(
        _conv_transpose2d_grad_input,
        dx,
        grad_output,
        weight,
        stride,
        padding,
        dilation,
        groups,
        products=products,
    )


def _conv_transpose2d_grad_input(
    dx: Array,
    dy: Array,
    weight: Array,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> None:
    images, channels, rows, columns = dx.shape
    multiplier, taps_down, taps_across = weight.shape[1:]
    height, width = dy.shape[2:]
    for n in range(images):
        for c in range(channels):
            first = c // (channels // groups) * multiplier
            for i in range(rows):
                for j in range(columns):
                    total = dx[n, c, i, j]
                    for p in range(taps_down):
                        h = i * stride[0] + p * dilation[0] - padding[0]
                        if 0 <= h < height:
                            for q in range(taps_across):
                                w = j * stride[1] + q * dilation[1] - padding[1]
                                if 0 <= w < width:
                                    for m in range(multiplier):
                                        total += dy[n, first + m, h, w] * weight[c, m, p, q]
                    dx[n, c, i, j] = total


@multilinear("grad_output", "x", images="summed")
def conv_transpose2d_grad_weight(
    grad_output: Array,
    x: Array,
    *,
    weight_shape: Shape,
    stride: Pair,
    padding: Pair,
    output_padding: Pair,
    dilation: Pair,
    groups: int,
) -> Array:
    """Return dw = dE/dweight, of shape `weight_shape` [C, M/groups, KH, KW], summed over images.

        dw[c,m',p,q] = sum_{n,i,j} x[n,c,i,j] dy[n, first(c)+m', i*S+p*D-P, j*S+q*D-P]

    (000, "Final Expression", x and dy in each other's place).  dtype follows dy.

    Raises:
        ValueError: the shapes or options fit no transposed convolution.
    """
    shapes = conv_transpose2d_shapes(
        x.shape,
        weight_shape,
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        dilation=dilation,
        groups=groups,
    )
    check_shape(
        "grad_output", grad_output.shape, shapes.y, "the transposed convolution's output has"
    )
    dw = np.zeros(shapes.weight, grad_output.dtype)
    products = math.prod(shapes.x) * math.prod(shapes.weight[1:])
    return run(
        _conv_transpose2d_grad_weight,
        dw,
        grad_output,
        x,
        stride,
        padding,
        dilation,
        groups,
        products=products,
    )


def _conv_transpose2d_grad_weight(
    dw: Array,
    dy: Array,
    x: Array,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> None:
    channels, multiplier, taps_down, taps_across = dw.shape
    images, _, rows, columns = x.shape
    height, width = dy.shape[2:]
    for c in range(channels):
        first = c // (channels // groups) * multiplier
        for m in range(multiplier):
            for p in range(taps_down):
                for q in range(taps_across):
                    total = dw[c, m, p, q]
                    for n in range(images):
                        for i in range(rows):
                            h = i * stride[0] + p * dilation[0] - padding[0]
                            if 0 <= h < height:
                                for j in range(columns):
                                    w = j * stride[1] + q * dilation[1] - padding[1]
                                    if 0 <= w < width:
                                        total += x[n, c, i, j] * dy[n, first + m, h, w]
                    dw[c, m, p, q] = total


@multilinear("grad_output", images="summed")
def conv_transpose2d_grad_bias(grad_output: Array) -> Array:
    """Return db = dE/dbias [M] from dy [N, M, OH, OW]: each bias reaches every pixel of its map.

        db[m] = sum_{n,h,w} dy[n,m,h,w]

    (003, display of dB; summed over the images).  dtype follows dy.

    Raises:
        ValueError: grad_output does not have the axes [N, M, OH, OW].
    """
    if grad_output.ndim != 4:
        raise ValueError(f"grad_output must have 4 axes [N, M, OH, OW], got {grad_output.shape}")
    db = np.zeros(grad_output.shape[1], grad_output.dtype)
    return run(_conv_transpose2d_grad_bias, db, grad_output, products=grad_output.size)


def _conv_transpose2d_grad_bias(db: Array, dy: Array) -> None:
    images, maps, height, width = dy.shape
    for m in range(maps):
        total = db[m]
        for n in range(images):
            for h in range(height):
                for w in range(width):
                    total += dy[n, m, h, w]
        db[m] = total


declare_axes(
    Axes(
        "x: n c (h w); weight: c m/g (p q); bias?: m; grad_output: n m (i j)",
        {"n": "images", "m": "filters", "c": "channels"},
        {"input_shape": "x", "weight_shape": "weight"},
        strided="grad_output",
        neutral={"stride": 1, "padding": 0, "dilation": 1, "output_padding": 0, "groups": 1},
    ),
    conv_transpose2d,
    conv_transpose2d_grad_input,
    conv_transpose2d_grad_weight,
    conv_transpose2d_grad_bias,
)
