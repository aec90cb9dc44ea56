"""The fully connected layer as matrix products, the batch mean and the step of SGD."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]


def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """Return y [N, M] = x weight^T + bias.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    _check_axes(2, x=x, weight=weight)
    if x.shape[1] != weight.shape[1] or x.shape[1] < 1:
        raise ValueError(f"x {x.shape} and weight {weight.shape} must share their second axis")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"bias has shape {bias.shape}, but there are {len(weight)} features")
    y: Array = x @ weight.T
    if bias is not None:
        y += bias
    return y


def linear_grad_input(grad_output: Array, weight: Array) -> Array:
    """Return dx [N, C] = dy weight.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    _check_axes(2, grad_output=grad_output, weight=weight)
    dx: Array = grad_output @ weight
    return dx


def linear_grad_weight(grad_output: Array, x: Array) -> Array:
    """Return dw [M, C] = dy^T x, summed over the batch.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    _check_axes(2, grad_output=grad_output, x=x)
    dw: Array = grad_output.T @ x
    return dw


def linear_grad_bias(grad_output: Array) -> Array:
    """Return db [M], summed over the batch.

    Raises:
        ValueError: grad_output does not have two axes.
    """
    _check_axes(2, grad_output=grad_output)
    db: Array = grad_output.sum(axis=0)
    return db


def batch_mean(gradient_per_image: Array) -> Array:
    """Return the mean over axis 0.

    Raises:
        ValueError: there is no axis 0, or nothing on it.
    """
    if gradient_per_image.ndim < 1 or not len(gradient_per_image):
        raise ValueError(f"there is no batch to average over in shape {gradient_per_image.shape}")
    total = np.asarray(gradient_per_image.sum(axis=0))
    return np.asarray(total / gradient_per_image.dtype.type(len(gradient_per_image)))


def sgd_step(parameter: Array, gradient: Array, *, learning_rate: float) -> Array:
    """Return parameter - learning_rate * gradient.

    Raises:
        ValueError: the shapes differ.
    """
    if parameter.shape != gradient.shape:
        raise ValueError(f"gradient has shape {gradient.shape}, but parameter {parameter.shape}")
    return np.asarray(parameter - parameter.dtype.type(learning_rate) * gradient)


def _check_axes(count: int, **arrays: Array) -> None:
    for name, array in arrays.items():
        if array.ndim != count:
            raise ValueError(f"{name} must have {count} axes, got shape {array.shape}")
