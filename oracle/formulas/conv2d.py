"""Two-dimensional convolution (cross-correlation) and its three gradients, as loops.

Index names, here and everywhere: n image, m output channel, c input channel within m's group,
(i, j) output pixel, (h, w) input pixel, (p, q) kernel tap.  E is the loss, dy = dE/dy is given.

The four formulas are written independently of each other: each walks the elements of its own
result and sums the products that reach them.  They take floats, ints, Fractions and dual numbers
(in object arrays) alike, because only + and * touch the values.  Where an index falls into the
padding there is no product; padding is never stored.

Sources: document 000 (forward, dW), 001 (dX), 002 (bias, stride, padding), 003 (bias gradient).
The documents have square kernels, one image and no groups; dilation and groups are PyTorch's.
"""

import math

import numpy as np

from gradoracle.oracle.axes import Axes
from gradoracle.oracle.compiled_loops import run
from gradoracle.oracle.declaration import declare_axes, multilinear
from gradoracle.oracle.shapes import Array, Pair, Shape, check_shape, conv2d_shapes


@multilinear("x", "weight", plus="bias", images="kept")
def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> Array:
    """Return y [N, M, OH, OW] from x [N, C, H, W], weight [M, C/groups, KH, KW] and bias [M].

        y[n,m,i,j] = bias[m] + sum_{c,p,q} x[n, first(m)+c, i*S+p*D-P, j*S+q*D-P] weight[m,c,p,q]

    (000, "Understanding dE/dW", second display; bias and stride: 002, Task 2, step 1).
    first(m) is the first input channel of m's group.  dtype follows x.

    Raises:
        ValueError: the shapes or options fit no convolution.
    """
    shapes = conv2d_shapes(
        x.shape, weight.shape, stride=stride, padding=padding, dilation=dilation, groups=groups
    )
    if bias is None:
        bias = np.zeros(shapes.weight[0], x.dtype)
    check_shape("bias", bias.shape, shapes.weight[:1], "the number of filters demands")
    y = np.zeros(shapes.y, x.dtype)
    products = math.prod(shapes.y) * math.prod(shapes.weight[1:])
    return run(_conv2d, y, x, weight, bias, stride, padding, dilation, groups, products=products)


def _conv2d(
    y: Array,
    x: Array,
    weight: Array,
    bias: Array,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> None:
    images, filters, rows, columns = y.shape
    height, width = x.shape[2:]
    depth, taps_down, taps_across = weight.shape[1:]
    for n in range(images):
        for m in range(filters):
            first = m // (filters // groups) * depth
            for i in range(rows):
                for j in range(columns):
                    total = bias[m]
                    for c in range(depth):
                        for p in range(taps_down):
                            h = i * stride[0] + p * dilation[0] - padding[0]
                            if 0 <= h < height:
                                for q in range(taps_across):
                                    w = j * stride[1] + q * dilation[1] - padding[1]
                                    if 0 <= w < width:
                                        total += x[n, first + c, h, w] * weight[m, c, p, q]
                    y[n, m, i, j] = total


@multilinear("grad_output", "weight", images="kept")
def conv2d_grad_input(
    grad_output: Array,
    weight: Array,
    *,
    input_shape: Shape,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
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
    shapes = conv2d_shapes(
        input_shape, weight.shape, stride=stride, padding=padding, dilation=dilation, groups=groups
    )
    check_shape("grad_output", grad_output.shape, shapes.y, "the convolution's output has")
    dx = np.zeros(shapes.x, grad_output.dtype)
    products = math.prod(shapes.x) * math.prod(shapes.weight) // shapes.weight[1] // groups
    return run(
        _conv2d_grad_input,
        dx,
        grad_output,
        weight,
        stride,
        padding,
        dilation,
        groups,
        products=products,
    )


def _conv2d_grad_input(
    dx: Array,
    dy: Array,
    weight: Array,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> None:
    images, channels, height, width = dx.shape
    filters, depth, taps_down, taps_across = weight.shape
    rows, columns = dy.shape[2:]
    members = filters // groups
    for n in range(images):
        for channel in range(channels):
            group, c = channel // depth, channel % depth
            for h in range(height):
                for w in range(width):
                    total = dx[n, channel, h, w]
                    for p in range(taps_down):
                        i, between = divmod(h + padding[0] - p * dilation[0], stride[0])
                        if between == 0 and 0 <= i < rows:
                            for q in range(taps_across):
                                j, gap = divmod(w + padding[1] - q * dilation[1], stride[1])
                                if gap == 0 and 0 <= j < columns:
                                    for m in range(group * members, (group + 1) * members):
                                        total += dy[n, m, i, j] * weight[m, c, p, q]
                    dx[n, channel, h, w] = total


@multilinear("grad_output", "x", images="summed")
def conv2d_grad_weight(
    grad_output: Array,
    x: Array,
    *,
    weight_shape: Shape,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> Array:
    """Return dw = dE/dweight, of shape `weight_shape` [M, C/groups, KH, KW], summed over images.

        dw[m,c,p,q] = sum_{n,i,j} dy[n,m,i,j] x[n, first(m)+c, i*S+p*D-P, j*S+q*D-P]

    (000, "Final Expression").  Every output pixel counts, and nothing is averaged over the batch.
    dtype follows dy.
    Erratum: 002 sums i and j over the filter's size instead of the output's; see `oracle.errata`.

    Raises:
        ValueError: the shapes or options fit no convolution.
    """
    shapes = conv2d_shapes(
        x.shape, weight_shape, stride=stride, padding=padding, dilation=dilation, groups=groups
    )
    check_shape("grad_output", grad_output.shape, shapes.y, "the convolution's output has")
    dw = np.zeros(shapes.weight, grad_output.dtype)
    products = math.prod(shapes.y) * math.prod(shapes.weight[1:])
    return run(
        _conv2d_grad_weight,
        dw,
        grad_output,
        x,
        stride,
        padding,
        dilation,
        groups,
        products=products,
    )


def _conv2d_grad_weight(
    dw: Array,
    dy: Array,
    x: Array,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> None:
    filters, depth, taps_down, taps_across = dw.shape
    images, _, rows, columns = dy.shape
    height, width = x.shape[2:]
    for m in range(filters):
        first = m // (filters // groups) * depth
        for c in range(depth):
            for p in range(taps_down):
                for q in range(taps_across):
                    total = dw[m, c, p, q]
                    for n in range(images):
                        for i in range(rows):
                            h = i * stride[0] + p * dilation[0] - padding[0]
                            if 0 <= h < height:
                                for j in range(columns):
                                    w = j * stride[1] + q * dilation[1] - padding[1]
                                    if 0 <= w < width:
                                        total += dy[n, m, i, j] * x[n, first + c, h, w]
                    dw[m, c, p, q] = total


@multilinear("grad_output", images="summed")
def conv2d_grad_bias(grad_output: Array) -> Array:
    """Return db = dE/dbias [M] from dy [N, M, OH, OW]: each bias reaches every pixel of its map.

        db[m] = sum_{n,i,j} dy[n,m,i,j]

    (003, display of dB; summed over the images, as dW is).  dtype follows dy.
    Erratum: 003 writes dB with pixel indices (i, j); there is one per filter.

    Raises:
        ValueError: grad_output does not have the axes [N, M, OH, OW].
    """
    if grad_output.ndim != 4:
        raise ValueError(f"grad_output must have 4 axes [N, M, OH, OW], got {grad_output.shape}")
    db = np.zeros(grad_output.shape[1], grad_output.dtype)
    return run(_conv2d_grad_bias, db, grad_output, products=grad_output.size)


def _conv2d_grad_bias(db: Array, dy: Array) -> None:
    images, filters, rows, columns = dy.shape
    for m in range(filters):
        total = db[m]
        for n in range(images):
            for i in range(rows):
                for j in range(columns):
                    total += dy[n, m, i, j]
        db[m] = total


declare_axes(
    Axes(
        "x: n c (h w); weight: m c/g (p q); bias?: m; grad_output: n m (i j)",
        {"n": "images", "m": "filters", "c": "channels"},
        {"input_shape": "x", "weight_shape": "weight"},
        strided="x",
        neutral={"stride": 1, "padding": 0, "dilation": 1, "groups": 1},
    ),
    conv2d,
    conv2d_grad_input,
    conv2d_grad_weight,
    conv2d_grad_bias,
)
