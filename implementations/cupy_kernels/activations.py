"""Activations and their gradients, of arrays of any shape."""

from typing import Any

from gradoracle.implementations.cupy_kernels.machine import Source
from gradoracle.implementations.cupy_kernels.placement import place
from gradoracle.implementations.shapes import Array, check_same_shape

SOURCE = Source(
    "activations.cu",
    (
        "relu", "relu_grad", "leaky_relu", "leaky_relu_grad", "sigmoid", "sigmoid_grad",
        "tanh_forward", "tanh_grad",
    ),
)  # fmt: skip


def relu(z: Array) -> Array:
    """Return max(z, 0); a NaN stays one."""
    return pointwise(SOURCE, "relu", z)


def relu_grad(grad_output: Array, z: Array) -> Array:
    """Return dy where z > 0, else 0.

    Raises:
        ValueError: the shapes differ.
    """
    return pointwise_grad(SOURCE, "relu_grad", grad_output, z)


def leaky_relu(z: Array, *, negative_slope: float) -> Array:
    """Return z where z > 0, else negative_slope * z."""
    return pointwise(SOURCE, "leaky_relu", z, float(negative_slope))


def leaky_relu_grad(grad_output: Array, z: Array, *, negative_slope: float) -> Array:
    """Return dy where z > 0, else negative_slope * dy.

    Raises:
        ValueError: the shapes differ.
    """
    return pointwise_grad(SOURCE, "leaky_relu_grad", grad_output, z, float(negative_slope))


def sigmoid(z: Array) -> Array:
    """Return 1 / (1 + e^-z)."""
    return pointwise(SOURCE, "sigmoid", z)


def sigmoid_grad(grad_output: Array, z: Array) -> Array:
    """Return dy y (1 - y), accurate on both sides.

    Raises:
        ValueError: the shapes differ.
    """
    return pointwise_grad(SOURCE, "sigmoid_grad", grad_output, z)


def tanh(z: Array) -> Array:
    """Return the hyperbolic tangent of z."""
    return pointwise(SOURCE, "tanh_forward", z)


def tanh_grad(grad_output: Array, z: Array) -> Array:
    """Return dy (1 - y^2).

    Raises:
        ValueError: the shapes differ.
    """
    return pointwise_grad(SOURCE, "tanh_grad", grad_output, z)


def pointwise(source: Source, kernel: str, z: Any, *options: float) -> Array:
    """Return a function of every element of z."""
    machine, (z,) = place(z=z)
    y = machine.empty(z.shape, z.dtype)
    machine.each(source, kernel, (z, y, *options, z.size), count=z.size, dtype=z.dtype)
    return y


def pointwise_grad(source: Source, kernel: str, grad_output: Any, z: Any, *options: float) -> Array:
    """Return dy times the slope at every element of z.

    Raises:
        ValueError: the shapes differ.
    """
    machine, (grad_output, z) = place(grad_output=grad_output, z=z)
    check_same_shape(grad_output, z)
    dz = machine.empty(z.shape, z.dtype)
    arguments = (grad_output, z, dz, *options, z.size)
    machine.each(source, kernel, arguments, count=z.size, dtype=z.dtype)
    return dz
