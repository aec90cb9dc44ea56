"""The transposed convolution as 003 tells it: whole kernels laid over the output, adding up."""

from collections.abc import Iterator

import numpy as np

from gradoracle.oracle.declaration import Formula
from gradoracle.oracle.document_forms.conv2d import Form, spread
from gradoracle.oracle.formulas.conv_transpose import (
    conv_transpose2d,
    conv_transpose2d_grad_input,
    conv_transpose2d_grad_weight,
)
from gradoracle.oracle.formulas.convolution import conv2d
from gradoracle.oracle.shapes import Array, Pair, Shape, conv_transpose_shapes


def lays_kernels_003(
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
    """Put W * x_ij where the window of (i, j) was, adding overlaps; then take the padding off.

    (003, "expanding values of Z back onto the same original positions".)
    """
    shapes = conv_transpose_shapes(
        2,
        x.shape,
        weight.shape,
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        dilation=dilation,
        groups=groups,
    )
    kernel = spread(weight, dilation)
    whole = np.zeros((*shapes.y[:2], *_padded(shapes.y, padding)), x.dtype)
    for (n, maps, c), window in _windows(shapes.x, shapes.weight, kernel.shape, stride, groups):
        at = (n, maps, *window[0])
        whole[at] = whole[at] + kernel[c] * x[n, c, *window[1]]
    y = _crop(whole, shapes.y, padding)
    return y if bias is None else y + bias[:, None, None]


def sums_patches_003(
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
    """DW = sum over positions (i, j) of patch_ij(dY) * x_ij    (003, sum of patches O_n)."""
    del output_padding
    kernel = spread(np.zeros(weight_shape, grad_output.dtype), dilation)
    reach = (
        (x.shape[2] - 1) * stride[0] + kernel.shape[2],
        (x.shape[3] - 1) * stride[1] + kernel.shape[3],
    )
    sides = np.maximum(_padded(grad_output.shape, padding), reach)
    whole = np.zeros((*grad_output.shape[:2], *sides), grad_output.dtype)
    down, across = padding
    whole[:, :, down : down + grad_output.shape[2], across : across + grad_output.shape[3]] = (
        grad_output
    )
    dw = np.zeros(kernel.shape, grad_output.dtype)
    for (n, maps, c), window in _windows(x.shape, weight_shape, kernel.shape, stride, groups):
        dw[c] = dw[c] + whole[(n, maps, *window[0])] * x[n, c, *window[1]]
    return dw[:, :, :: dilation[0], :: dilation[1]]


def is_a_convolution(
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
    """Convolve dY with the kernel itself; windows that only output_padding made are left out.

    (003: the transposed convolution goes back through a convolution, so the other way round too.)
    """
    del output_padding
    dx = conv2d(
        grad_output, weight, stride=stride, padding=padding, dilation=dilation, groups=groups
    )
    return dx[:, :, : input_shape[2], : input_shape[3]]


FORMS: dict[Formula, tuple[Form, ...]] = {
    conv_transpose2d: (
        Form("kernels laid over the output", lays_kernels_003, "003, transposed convolution"),
    ),
    conv_transpose2d_grad_input: (
        Form("a convolution", is_a_convolution, "003, transposed convolution; 000 forward pass"),
    ),
    conv_transpose2d_grad_weight: (
        Form("sum of patches", sums_patches_003, "003, sum of patches O_n"),
    ),
}


def _windows(
    x_shape: Shape, weight_shape: Shape, kernel_shape: Shape, stride: Pair, groups: int
) -> Iterator[tuple[tuple[int, slice, int], tuple[tuple[slice, slice], Pair]]]:
    """Yield every (image, output maps, input channel), with the window of every input pixel."""
    images, channels, rows, columns = x_shape
    maps = weight_shape[1]
    for n, c in np.ndindex(images, channels):
        first = c // (channels // groups) * maps
        for i, j in np.ndindex(rows, columns):
            top, left = i * stride[0], j * stride[1]
            window = slice(top, top + kernel_shape[2]), slice(left, left + kernel_shape[3])
            yield (n, slice(first, first + maps), c), (window, (i, j))


def _padded(shape: Shape, padding: Pair) -> Pair:
    """Return the sides of the output before padding is taken off."""
    return shape[2] + 2 * padding[0], shape[3] + 2 * padding[1]


def _crop(whole: Array, shape: Shape, padding: Pair) -> Array:
    down, across = padding
    return whole[:, :, down : down + shape[2], across : across + shape[3]]
