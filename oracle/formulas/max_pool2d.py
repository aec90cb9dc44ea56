"""Max pooling, the places of its maxima, and the gradient that goes back to them, as loops.

Index names: n image, c channel, (i, j) window, (h, w) pixel, (p, q) tap.  Padding is minus
infinity and is never looked at, so it cannot win over a pixel that is minus infinity itself.  The
first maximum in row-major order wins a tie, and a NaN wins over everything, the first of several.

Source: document 003 ("Backpropagation through Max-Pooling"): the maximum of the region that the
kernel covers, cached indices, and an empty mask into which dZ is put.  Erratum: 003 *inserts*;
windows that overlap may share a maximum, so what arrives is added; see `oracle.errata`.
"""

import math

import numpy as np

from gradoracle.oracle.axes import Axes
from gradoracle.oracle.compiled_loops import run
from gradoracle.oracle.declaration import declare_axes, multilinear, output, selection
from gradoracle.oracle.shapes import Array, Pair, Shape, check_shape, pool_shape


def max_pool2d(
    x: Array,
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    ceil_mode: bool,
) -> tuple[Array, Array]:
    """Return `max_pool2d_values` and `max_pool2d_indices` of x [N, C, H, W]: (y, indices).

    Raises:
        ValueError: the shapes or options fit no pooling, or a window holds no pixel.
    """
    options = {
        "kernel_size": kernel_size,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "ceil_mode": ceil_mode,
    }
    return max_pool2d_values(x, **options), max_pool2d_indices(x, **options)  # type: ignore[arg-type]


@output("max_pool2d", 0)
@selection(images="kept")
def max_pool2d_values(
    x: Array,
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    ceil_mode: bool,
) -> Array:
    """Return y [N, C, OH, OW], the maximum of every window of x [N, C, H, W].

        y[n,c,i,j] = max of x[n,c, i*S+p*D-P, j*S+q*D-P] over the taps (p, q) inside the image

    (003, "max(x in X_{n:K_row-size, m:K_col-size})").  A NaN is the maximum.  dtype follows x.

    Raises:
        ValueError: the shapes or options fit no pooling, or a window holds no pixel.
    """
    places = max_pool2d_indices(
        x,
        kernel_size=kernel_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        ceil_mode=ceil_mode,
    )
    y = np.zeros(places.shape, x.dtype)
    return run(_values, y, x, places, products=y.size)


def _values(y: Array, x: Array, places: Array) -> None:
    images, channels, rows, columns = y.shape
    width = x.shape[3]
    for n in range(images):
        for c in range(channels):
            for i in range(rows):
                for j in range(columns):
                    at = places[n, c, i, j]
                    y[n, c, i, j] = x[n, c, at // width, at % width]


@output("max_pool2d", 1)
@selection(images="kept", places=True)
def max_pool2d_indices(
    x: Array,
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    ceil_mode: bool,
) -> Array:
    """Return where every maximum is: int64 [N, C, OH, OW], h*W + w within its plane.

        indices[n,c,i,j] = the first h*W + w, row by row, with x[n,c,h,w] = y[n,c,i,j]

    (003, "remember the indices of the maximum values").  The first NaN, if there is one.

    Raises:
        ValueError: the shapes or options fit no pooling, or a window holds no pixel.
    """
    shape = pool_shape(
        x.shape,
        kernel_size=kernel_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        ceil_mode=ceil_mode,
    )
    places = np.zeros(shape, np.int64)
    products = math.prod(shape) * math.prod(kernel_size)
    return run(_places, places, x, kernel_size, stride, padding, dilation, products=products)


def _places(
    places: Array, x: Array, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair
) -> None:
    images, channels, rows, columns = places.shape
    height, width = x.shape[2:]
    for n in range(images):
        for c in range(channels):
            for i in range(rows):
                for j in range(columns):
                    best = -1
                    for p in range(kernel_size[0]):
                        h = i * stride[0] + p * dilation[0] - padding[0]
                        if 0 <= h < height:
                            for q in range(kernel_size[1]):
                                w = j * stride[1] + q * dilation[1] - padding[1]
                                if 0 <= w < width:
                                    v, top = x[n, c, h, w], x[n, c, best // width, best % width]
                                    # not <= rather than >: a NaN wins, and nothing beats it
                                    if best < 0 or (top == top and not v <= top):  # noqa: PLR0124
                                        best = h * width + w
                    places[n, c, i, j] = best


@multilinear("grad_output", images="kept")
def max_pool2d_grad_input(grad_output: Array, indices: Array, *, input_shape: Shape) -> Array:
    """Return dx = dE/dx, of shape `input_shape` [N, C, H, W], from dy and indices [N, C, OH, OW].

        dx[n,c,h,w] = sum of dy[n,c,i,j] over all (i, j) with indices[n,c,i,j] = h*W + w

    (003, max-unpool: an empty mask, the cached indices, dZ put where they point).  What several
    windows send to one pixel is added.  dtype follows dy.
    Erratum: 003 inserts instead of adding; see `oracle.errata`.

    Raises:
        ValueError: the shapes do not fit each other, or an index lies outside the plane.
    """
    if len(input_shape) != 4 or grad_output.ndim != 4 or min(input_shape[1:]) < 1:
        raise ValueError(
            f"grad_output {[*grad_output.shape]} and input_shape {[*input_shape]} must have 4 axes "
            "[N, C, H, W], the last three at least 1"
        )
    check_shape(
        "grad_output",
        grad_output.shape,
        (*input_shape[:2], *grad_output.shape[2:]),
        "input_shape's images and channels demand",
    )
    check_shape("indices", indices.shape, grad_output.shape, "grad_output has")
    plane = input_shape[2] * input_shape[3]
    if indices.size and not (indices.min() >= 0 and indices.max() < plane):
        raise ValueError(
            f"indices must lie in the plane, 0 to {plane - 1}, got {indices.min()} to "
            f"{indices.max()}"
        )
    dx = np.zeros(input_shape, grad_output.dtype)
    products = grad_output.size * 4
    return run(_max_pool2d_grad_input, dx, grad_output, indices, products=products)


def _max_pool2d_grad_input(dx: Array, dy: Array, indices: Array) -> None:
    images, channels, _, width = dx.shape
    rows, columns = dy.shape[2:]
    for n in range(images):
        for c in range(channels):
            for i in range(rows):
                for j in range(columns):
                    at = indices[n, c, i, j]
                    dx[n, c, at // width, at % width] += dy[n, c, i, j]


@multilinear("grad_output", images="kept")
def max_pool2d_vjp(
    grad_output: Array,
    x: Array,
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    ceil_mode: bool,
) -> Array:
    """Return dx = dE/dx [N, C, H, W] from dy [N, C, OH, OW] and x, for want of cached indices.

        dx[n,c,h,w] = sum of dy[n,c,i,j] over the windows whose first maximum is x[n,c,h,w]

    (003, as `max_pool2d_grad_input`, the indices found again).  dtype follows dy.

    Raises:
        ValueError: the shapes or options fit no pooling, or a window holds no pixel.
    """
    places = max_pool2d_indices(
        x,
        kernel_size=kernel_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        ceil_mode=ceil_mode,
    )
    check_shape("grad_output", grad_output.shape, places.shape, "the pooling's output has")
    dx = np.zeros(x.shape, grad_output.dtype)
    return run(_max_pool2d_grad_input, dx, grad_output, places, products=grad_output.size * 4)


declare_axes(
    Axes(
        "x: n c (h w); indices: n c (i j); grad_output: n c (i j)",
        {"n": "images", "c": "channels"},
        {"input_shape": "x"},
        strided="x",
        window="kernel_size",
        neutral={"stride": 1, "padding": 0, "dilation": 1, "ceil_mode": False},
    ),
    max_pool2d_values,
    max_pool2d_indices,
    max_pool2d_grad_input,
    max_pool2d_vjp,
)
