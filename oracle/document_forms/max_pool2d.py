"""Max pooling and its gradient as 003 tells them: regions, and weights of 1 and 0."""

import numpy as np

from gradoracle.oracle.declaration import Formula
from gradoracle.oracle.document_forms.conv2d import Form
from gradoracle.oracle.formulas.max_pool import (
    max_pool2d_grad_input,
    max_pool2d_indices,
    max_pool2d_values,
    max_pool2d_vjp,
)
from gradoracle.oracle.shapes import Array, Pair, Shape, pool_shape


def maximum_of_region(
    x: Array, *, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair, ceil_mode: bool
) -> Array:
    """y = max(x in the region covered by the kernel)    (003, under "max-unpool")."""
    y = np.zeros(
        pool_shape(
            2,
            x.shape,
            kernel_size=kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            ceil_mode=ceil_mode,
        ),
        x.dtype,
    )
    for i, j in np.ndindex(y.shape[2:]):
        rows = _region(i, 0, x.shape, kernel_size, stride, padding, dilation)
        columns = _region(j, 1, x.shape, kernel_size, stride, padding, dilation)
        y[:, :, i, j] = x[:, :, rows][:, :, :, columns].max(axis=(2, 3))
    return y


def weights_of_1_and_0(grad_output: Array, indices: Array, *, input_shape: Shape) -> Array:
    """dX = dZ times 1 where the pixel was the maximum, times 0 where it was eliminated.

    (003, "weights = 1 for the max-pooled values or weights = 0 for the eliminated values"; over
    all windows, added.)
    """
    places = np.arange(input_shape[2] * input_shape[3]).reshape(input_shape[2:])
    dx = np.zeros(input_shape, grad_output.dtype)
    for i, j in np.ndindex(grad_output.shape[2:]):
        chosen = indices[:, :, i, j, None, None] == places
        dx = dx + np.where(chosen, grad_output[:, :, i, j, None, None], 0)
    return dx


def finds_the_indices_again(
    grad_output: Array,
    x: Array,
    *,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    ceil_mode: bool,
) -> Array:
    """Return `weights_of_1_and_0` for the indices of x's maxima."""
    indices = max_pool2d_indices(
        x,
        kernel_size=kernel_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
        ceil_mode=ceil_mode,
    )
    return weights_of_1_and_0(grad_output, indices, input_shape=x.shape)


FORMS: dict[Formula, tuple[Form, ...]] = {
    max_pool2d_values: (
        Form("the maximum of the region", maximum_of_region, "003, 'max(x in X)'"),
    ),
    max_pool2d_grad_input: (
        Form("weights of 1 and 0", weights_of_1_and_0, "003, below max-unpool"),
    ),
    max_pool2d_vjp: (Form("weights of 1 and 0", finds_the_indices_again, "003, below max-unpool"),),
}


def _region(
    window: int,
    axis: int,
    shape: Shape,
    kernel_size: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
) -> list[int]:
    """Return the rows or columns of the image that a window sees."""
    start = window * stride[axis] - padding[axis]
    seen = range(start, start + kernel_size[axis] * dilation[axis], dilation[axis])
    return [at for at in seen if 0 <= at < shape[2 + axis]]
