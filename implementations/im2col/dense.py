"""The fully connected layer as matrix products, the batch mean and the step of SGD."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gradoracle.implementations.im2col.halves import in_float32
from gradoracle.implementations.shapes import (
    check_axes,
    check_batch,
    check_linear,
    check_linear_gradient,
    check_step,
)

Array: TypeAlias = npt.NDArray[Any]


@in_float32
def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """Return y [N, M] = x weight^T + bias.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    check_linear(x, weight, bias)
    y: Array = x @ weight.T
    if bias is not None:
        y += bias
    return y


@in_float32
def linear_grad_input(grad_output: Array, weight: Array) -> Array:
    """Return dx [N, C] = dy weight.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    check_linear_gradient(grad_output, 1, weight=weight)
    dx: Array = grad_output @ weight
    return dx


@in_float32
def linear_grad_weight(grad_output: Array, x: Array) -> Array:
    """Return dw [M, C] = dy^T x, summed over the batch.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    check_linear_gradient(grad_output, 0, x=x)
    # A GEMM over one number is slower than the products that it consists of.
    dw: Array = grad_output.T * x if len(x) == 1 else grad_output.T @ x
    return dw


@in_float32
def linear_grad_bias(grad_output: Array) -> Array:
    """Return db [M], summed over the batch.

    Raises:
        ValueError: grad_output does not have two axes.
    """
    check_axes(2, grad_output=grad_output)
    db: Array = grad_output.sum(axis=0)
    return db


@in_float32
def batch_mean(gradient_per_image: Array) -> Array:
    """Return the mean over axis 0.

    Raises:
        ValueError: there is no axis 0, or nothing on it.
    """
    check_batch(gradient_per_image)
    total = np.asarray(gradient_per_image.sum(axis=0))
    return np.asarray(total / gradient_per_image.dtype.type(len(gradient_per_image)))


@in_float32
def sgd_step(parameter: Array, gradient: Array, *, learning_rate: float) -> Array:
    """Return parameter - learning_rate * gradient.

    Raises:
        ValueError: the shapes differ.
    """
    check_step(parameter, gradient)
    return np.asarray(parameter - parameter.dtype.type(learning_rate) * gradient)
