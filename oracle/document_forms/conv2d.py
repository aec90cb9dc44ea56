"""The same quantities as the documents write them: one function per form, source in its docstring.

The documents write for one image, square kernels, stride 1, no padding and one group.  Each form
here is that formula to the letter, over whole pixels and taps, and the general options are
*reduced* to it as the documents say: padding is laid around the image and taken off the gradient
(002), a stride keeps every S-th output, so going back zeros are put between (002), a dilated
kernel is a kernel with zeros between its taps, and a group is a convolution of its own.
So the forms share neither loops nor index arithmetic with `oracle.conv2d`.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from gradoracle.oracle.compiled_loops import run
from gradoracle.oracle.declaration import Formula
from gradoracle.oracle.formulas.convolution import (
    conv2d,
    conv2d_grad_bias,
    conv2d_grad_input,
    conv2d_grad_weight,
)
from gradoracle.oracle.shapes import Array, Pair, Shape, conv_shapes, extent


class Form(NamedTuple):
    """One way a document writes a formula."""

    name: str
    function: Formula
    source: str


# -- the formulas of one image and one group: x [C, H, W], weight [M, C, K, K], dy [M, OH, OW] ----


def forward_000(x: Array, weight: Array) -> Array:
    """Y[m,h,w] = sum_{c,p,q} W[m,c,p,q] X[c,h+p,w+q]          (000 and 001, forward pass)."""
    filters, channels, taps_down, taps_across = weight.shape
    height, width = x.shape[1:]
    y = _zeros((filters, height - taps_down + 1, width - taps_across + 1), x)
    for m, h, w in np.ndindex(y.shape):
        for c, p, q in np.ndindex(channels, taps_down, taps_across):
            y[m, h, w] += weight[m, c, p, q] * x[c, h + p, w + q]
    return y


def grad_weight_000(dy: Array, x: Array, kernel: Sequence[int]) -> Array:
    """dE/dW[m,c,p,q] = sum_{h,w} dE/dY[m,h,w] X[c,h+p,w+q]    (000, "Final Expression")."""
    filters, rows, columns = dy.shape
    dw = _zeros((filters, len(x), *kernel), dy)
    for m, c, p, q in np.ndindex(dw.shape):
        for h, w in np.ndindex(rows, columns):
            dw[m, c, p, q] += dy[m, h, w] * x[c, h + p, w + q]
    return dw


def grad_input_001(dy: Array, weight: Array) -> Array:
    """dE/dX[c,h,w] = sum_{m,h',w'} dE/dY[m,h',w'] W[m,c,h-h',w-w']    (001, fifth display).

    h' runs from max(0, h-K+1) to min(h, H_out-1), and w' likewise (below the display).
    """
    filters, channels, taps_down, taps_across = weight.shape
    rows, columns = dy.shape[1:]
    dx = _zeros((channels, rows + taps_down - 1, columns + taps_across - 1), dy)
    for c, h, w in np.ndindex(dx.shape):
        for m in range(filters):
            for i in range(max(0, h - taps_down + 1), min(h, rows - 1) + 1):
                for j in range(max(0, w - taps_across + 1), min(w, columns - 1) + 1):
                    dx[c, h, w] += dy[m, i, j] * weight[m, c, h - i, w - j]
    return dx


def grad_input_002(dy: Array, weight: Array) -> Array:
    """Convolve dL/dZ, padded with f-1 zeros on every side, with the flipped filter.

    (002, "Backward Convolution using Flipped Filter": flip vertically, then horizontally; the
    size is (n_h + f_h - 1) x (n_w + f_w - 1).)
    """
    filters, channels, taps_down, taps_across = weight.shape
    flipped = weight[:, :, ::-1, :][:, :, :, ::-1]
    padded = _pad(dy, (taps_down - 1, taps_across - 1))
    dx = _zeros((channels, dy.shape[1] + taps_down - 1, dy.shape[2] + taps_across - 1), dy)
    products = dx.size * filters * taps_down * taps_across
    return run(_full_convolution, dx, padded, flipped, products=products)


def _full_convolution(dx: Array, padded: Array, flipped: Array) -> None:
    filters, channels, taps_down, taps_across = flipped.shape
    for k_in in range(channels):
        for i in range(dx.shape[1]):
            for j in range(dx.shape[2]):
                for k in range(filters):
                    for p in range(taps_down):
                        for q in range(taps_across):
                            dx[k_in, i, j] += padded[k, i + p, j + q] * flipped[k, k_in, p, q]


def grad_weight_003(dy: Array, x: Array, kernel: Sequence[int]) -> Array:
    """DW = sum over positions (i, j) of patch_ij(A) * dZ_ij       (003, sum of patches O_n)."""
    filters, rows, columns = dy.shape
    dw = _zeros((filters, len(x), *kernel), dy)
    for i, j in np.ndindex(rows, columns):
        patch = x[:, i : i + kernel[0], j : j + kernel[1]]
        for m in range(filters):
            dw[m] = dw[m] + patch * dy[m, i, j]
    return dw


def grad_input_003(dy: Array, weight: Array) -> Array:
    """Transposed convolution: put K * dZ_ij back where the window of (i, j) was, adding overlaps.

    (003, the transposed convolution, with the kernel itself; as printed it is flipped, see
    `oracle.errata`.)
    """
    filters, channels, taps_down, taps_across = weight.shape
    rows, columns = dy.shape[1:]
    dx = _zeros((channels, rows + taps_down - 1, columns + taps_across - 1), dy)
    for m, i, j in np.ndindex(filters, rows, columns):
        window = np.s_[:, i : i + taps_down, j : j + taps_across]
        dx[window] = dx[window] + weight[m] * dy[m, i, j]
    return dx


# -- the forms, general in every option -----------------------------------------------------------


def _forward(one: Callable[[Array, Array], Array]) -> Formula:
    """Return the general forward pass of a one-image, stride-1 form."""

    def general(
        x: Array,
        weight: Array,
        bias: Array | None = None,
        *,
        stride: Pair,
        padding: Pair,
        dilation: Pair,
        groups: int,
    ) -> Array:
        shapes = conv_shapes(
            2,
            x.shape,
            weight.shape,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
        )
        y = np.zeros(shapes.y, x.dtype)
        kernel = spread(weight, dilation)
        for n, (maps, filters, channels) in _images_and_groups(shapes.y, x.shape, groups):
            full = one(_pad(x[n, channels], padding), kernel[filters])
            y[n, maps] = full[:, :: stride[0], :: stride[1]]
        return y if bias is None else y + bias[:, None, None]

    return general


def _grad_weight(one: Callable[[Array, Array, Sequence[int]], Array]) -> Formula:
    """Return the general dW of a one-image, stride-1 form: dL/dZ is upsampled (002, corrected)."""

    def general(
        grad_output: Array,
        x: Array,
        *,
        weight_shape: Shape,
        stride: Pair,
        padding: Pair,
        dilation: Pair,
        groups: int,
    ) -> Array:
        dw = np.zeros(weight_shape, grad_output.dtype)
        kernel = _extents(weight_shape, dilation)
        for n, (maps, filters, channels) in _images_and_groups(grad_output.shape, x.shape, groups):
            padded = _pad(x[n, channels], padding)
            dy = upsample(grad_output[n, maps], stride, _stride_1_size(padded, kernel))
            dw[filters] += one(dy, padded, kernel)[:, :, :: dilation[0], :: dilation[1]]
        return dw

    return general


def _grad_input(one: Callable[[Array, Array], Array], *, append_remainder: bool) -> Formula:
    """Return the general dX of a one-image, stride-1 form.

    dL/dZ is upsampled with zeros between its values.  002 stops at the last value, so the rows
    and columns that no window reaches are missing and are appended as zeros; otherwise the
    upsampled map has its stride-1 size from the start.  The padding is removed at the end.
    """

    def general(
        grad_output: Array,
        weight: Array,
        *,
        input_shape: Shape,
        stride: Pair,
        padding: Pair,
        dilation: Pair,
        groups: int,
    ) -> Array:
        dx = np.zeros(input_shape, grad_output.dtype)
        kernel = spread(weight, dilation)
        padded = tuple(s + 2 * p for s, p in zip(input_shape[2:], padding, strict=True))
        full = (padded[0] - kernel.shape[2] + 1, padded[1] - kernel.shape[3] + 1)
        for n, (maps, filters, channels) in _images_and_groups(
            grad_output.shape, input_shape, groups
        ):
            dy = grad_output[n, maps]
            if append_remainder:
                part = one(upsample(dy, stride, None), kernel[filters])
                whole = np.zeros((len(part), *padded), part.dtype)
                whole[:, : part.shape[1], : part.shape[2]] = part
            else:
                whole = one(upsample(dy, stride, full), kernel[filters])
            dx[n, channels] = _crop(whole, padding)
        return dx

    return general


def grad_bias_003(grad_output: Array) -> Array:
    """dB = sum_{i,j} dZ_ij per filter, summed over the images    (003, display of dB)."""
    per_image = _zeros(grad_output.shape[:2], grad_output)
    for n, m, i, j in np.ndindex(grad_output.shape):
        per_image[n, m] += grad_output[n, m, i, j]
    db = _zeros(grad_output.shape[1:2], grad_output)
    for gradient in per_image:
        db = db + gradient
    return db


FORMS: dict[Formula, tuple[Form, ...]] = {
    conv2d: (
        Form(
            "stride-1 map, every S-th kept",
            _forward(forward_000),
            "000 forward pass; 002 'Stride > 1'",
        ),
    ),
    conv2d_grad_input: (
        Form(
            "gather with max/min ranges",
            _grad_input(grad_input_001, append_remainder=False),
            "001, fifth display",
        ),
        Form(
            "flipped full correlation",
            _grad_input(grad_input_002, append_remainder=True),
            "002, 'Backward Convolution using Flipped Filter' and 'Stride > 1'",
        ),
        Form(
            "transposed convolution",
            _grad_input(grad_input_003, append_remainder=False),
            "003, transposed convolution",
        ),
    ),
    conv2d_grad_weight: (
        Form("sum over the output map", _grad_weight(grad_weight_000), "000, 'Final Expression'"),
        Form("sum of patches", _grad_weight(grad_weight_003), "003, sum of patches O_n"),
    ),
    conv2d_grad_bias: (Form("sum over pixels, then images", grad_bias_003, "003, display of dB"),),
}


# -- the reductions -------------------------------------------------------------------------------


def _images_and_groups(
    y_shape: Sequence[int], x_shape: Sequence[int], groups: int
) -> list[tuple[int, tuple[slice, slice, slice]]]:
    """Return, per image and group, the slices of its output maps, filters and input channels."""
    maps, channels = y_shape[1] // groups, x_shape[1] // groups
    return [
        (n, (_part(g, maps), _part(g, maps), _part(g, channels)))
        for n in range(x_shape[0])
        for g in range(groups)
    ]


def _part(g: int, size: int) -> slice:
    return slice(g * size, (g + 1) * size)


def _zeros(shape: Sequence[int], like: Array) -> Array:
    return np.zeros(tuple(shape), like.dtype)


def _pad(maps: Array, padding: Sequence[int]) -> Array:
    """Lay zeros around every map."""
    down, across = padding
    padded = np.zeros((len(maps), maps.shape[1] + 2 * down, maps.shape[2] + 2 * across), maps.dtype)
    padded[:, down : down + maps.shape[1], across : across + maps.shape[2]] = maps
    return padded


def _crop(maps: Array, padding: Sequence[int]) -> Array:
    """Take the padding off every map (002: zero-padding is removed from the gradient)."""
    down, across = padding
    return maps[:, down : maps.shape[1] - down, across : maps.shape[2] - across]


def spread(weight: Array, dilation: Pair) -> Array:
    """Put D-1 zeros between the taps of every kernel."""
    kernel = np.zeros((*weight.shape[:2], *_extents(weight.shape, dilation)), weight.dtype)
    kernel[:, :, :: dilation[0], :: dilation[1]] = weight
    return kernel


def upsample(dy: Array, stride: Pair, size: Pair | None) -> Array:
    """Put S-1 zeros between the values of every map, up to `size` or to the last value."""
    if size is None:
        size = (extent(dy.shape[1], stride[0]), extent(dy.shape[2], stride[1]))
    full = np.zeros((len(dy), *size), dy.dtype)
    full[:, :: stride[0], :: stride[1]] = dy
    return full


def _extents(weight_shape: Sequence[int], dilation: Pair) -> Pair:
    return extent(weight_shape[2], dilation[0]), extent(weight_shape[3], dilation[1])


def _stride_1_size(padded: Array, kernel: Pair) -> Pair:
    return padded.shape[1] - kernel[0] + 1, padded.shape[2] - kernel[1] + 1
