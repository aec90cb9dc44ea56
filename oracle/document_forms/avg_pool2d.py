"""The gradient of average pooling as 003 tells it: every value spread over its region."""

import numpy as np

from gradoracle.oracle.declaration import Formula
from gradoracle.oracle.document_forms.conv2d import Form
from gradoracle.oracle.formulas.avg_pool import avg_pool2d, avg_pool2d_grad_input
from gradoracle.oracle.shapes import Array, Pair, Shape, pool_shape


def spreads_over_regions(
    grad_output: Array,
    *,
    input_shape: Shape,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,
    count_include_pad: bool,
) -> Array:
    """Divide dZ_ij by the region's size and add it to every slot of the region's mask.

    (003, "evenly spread it out over the region"; "for the overlapping portions, we add".)
    """
    del ceil_mode
    down, across = padding
    height, width = input_shape[2:]
    mask = np.zeros((*input_shape[:2], height + 2 * down, width + 2 * across), grad_output.dtype)
    for i, j in np.ndindex(grad_output.shape[2:]):
        rows = slice(i * stride[0], i * stride[0] + kernel_size[0])
        columns = slice(j * stride[1], j * stride[1] + kernel_size[1])
        region = mask[:, :, rows, columns]
        size = region.shape[2] * region.shape[3]
        if not count_include_pad:
            size = _inside(rows.start, rows.stop, down, height) * _inside(
                columns.start, columns.stop, across, width
            )
        mask[:, :, rows, columns] = region + grad_output[:, :, i, j, None, None] / size
    return mask[:, :, down : down + height, across : across + width]


def mean_of_region(
    x: Array,
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    ceil_mode: bool,
    count_include_pad: bool,
) -> Array:
    """y = the sum over the region of the padded image, divided by its size    (003, r_size)."""
    y = np.zeros(
        pool_shape(
            2, x.shape, kernel_size=kernel_size, stride=stride, padding=padding, ceil_mode=ceil_mode
        ),
        x.dtype,
    )
    (down, across), (height, width) = padding, x.shape[2:]
    padded = np.zeros((*x.shape[:2], height + 2 * down, width + 2 * across), x.dtype)
    padded[:, :, down : down + height, across : across + width] = x
    for i, j in np.ndindex(y.shape[2:]):
        rows = slice(i * stride[0], i * stride[0] + kernel_size[0])
        columns = slice(j * stride[1], j * stride[1] + kernel_size[1])
        region = padded[:, :, rows, columns]
        size = region.shape[2] * region.shape[3]
        if not count_include_pad:
            size = _inside(rows.start, rows.stop, down, height) * _inside(
                columns.start, columns.stop, across, width
            )
        y[:, :, i, j] = region.sum(axis=(2, 3)) / size
    return y


FORMS: dict[Formula, tuple[Form, ...]] = {
    avg_pool2d: (Form("the mean of the region", mean_of_region, "003, r_size"),),
    avg_pool2d_grad_input: (
        Form("spread over every region", spreads_over_regions, "003, last display"),
    ),
}


def _inside(start: int, stop: int, padding: int, size: int) -> int:
    """Return how many rows or columns of a window of the padded image lie in the image."""
    return min(stop, padding + size) - max(start, padding)
