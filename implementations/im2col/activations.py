"""Activations and their gradients; the exponential is only taken of numbers up to 0.

Nothing is chosen number by number (`np.where`), where the processor would guess wrong half of the
time: a choice is a sum with 0 or a product with 1.
"""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gradoracle.implementations.im2col.halves import in_float32
from gradoracle.implementations.shapes import check_same_shape

Array: TypeAlias = npt.NDArray[Any]


@in_float32
def relu(z: Array) -> Array:
    """Return max(z, 0); a NaN stays one."""
    y: Array = np.maximum(z, 0)
    return y


@in_float32
def relu_grad(grad_output: Array, z: Array) -> Array:
    """Return dy where z > 0, else 0.

    Raises:
        ValueError: the shapes differ.
    """
    check_same_shape(grad_output, z)
    bits = grad_output.dtype.str.replace("f", "u")  # integers, since 0 * inf would be NaN
    dz = np.asarray(z > 0).astype(bits)
    dz *= grad_output.view(bits)
    return dz.view(grad_output.dtype)


@in_float32
def leaky_relu(z: Array, *, negative_slope: float) -> Array:
    """Return z where z > 0, else negative_slope * z."""
    y = np.minimum(z, 0)
    y *= z.dtype.type(negative_slope)
    y += np.maximum(z, 0)
    return y


@in_float32
def leaky_relu_grad(grad_output: Array, z: Array, *, negative_slope: float) -> Array:
    """Return dy where z > 0, else negative_slope * dy.

    Raises:
        ValueError: the shapes differ.
    """
    check_same_shape(grad_output, z)
    slopes = np.array([negative_slope, 1], grad_output.dtype)
    dz: Array = slopes[(z > 0).view(np.int8)]
    dz *= grad_output
    return dz


@in_float32
def sigmoid(z: Array) -> Array:
    """Return 1 / (1 + e^-z)."""
    y: Array = np.exp(np.minimum(z, 0))
    y /= 1 + np.exp(-abs(z))
    return y


@in_float32
def sigmoid_grad(grad_output: Array, z: Array) -> Array:
    """Return dy y (1 - y), written as dy e / (1 + e)^2 with e = e^-|z|: accurate on both sides.

    Raises:
        ValueError: the shapes differ.
    """
    check_same_shape(grad_output, z)
    e = np.exp(-abs(z))
    slope: Array = grad_output * (e / ((1 + e) * (1 + e)))
    return slope


@in_float32
def tanh(z: Array) -> Array:
    """Return the hyperbolic tangent of z."""
    y: Array = np.tanh(z)
    return y


@in_float32
def tanh_grad(grad_output: Array, z: Array) -> Array:
    """Return dy (1 - y^2).

    Raises:
        ValueError: the shapes differ.
    """
    check_same_shape(grad_output, z)
    y = np.tanh(z)
    slope: Array = grad_output * (1 - y * y)
    return slope
