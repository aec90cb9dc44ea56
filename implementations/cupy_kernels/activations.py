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
    return _forward("relu", z)


def relu_grad(grad_output: Array, z: Array) -> Array:
    """Return dy where z > 0, else 0.

    Raises:
        ValueError: the shapes differ.
    """
    return _gradient("relu_grad", grad_output, z)


def leaky_relu(z: Array, *, negative_slope: float) -> Array:
    """Return z where z > 0, else negative_slope * z."""
    return _forward("leaky_relu", z, float(negative_slope))


def leaky_relu_grad(grad_output: Array, z: Array, *, negative_slope: float) -> Array:
    """Return dy where z > 0, else negative_slope * dy.

    Raises:
        ValueError: the shapes differ.
    """
    return _gradient("leaky_relu_grad", grad_output, z, float(negative_slope))


def sigmoid(z: Array) -> Array:
    """Return 1 / (1 + e^-z)."""
    return _forward("sigmoid", z)


def sigmoid_grad(grad_output: Array, z: Array) -> Array:
    """Return dy y (1 - y), accurate on both sides.

    Raises:
        ValueError: the shapes differ.
    """
    return _gradient("sigmoid_grad", grad_output, z)


def tanh(z: Array) -> Array:
    """Return the hyperbolic tangent of z."""
    return _forward("tanh_forward", z)


def tanh_grad(grad_output: Array, z: Array) -> Array:
    """Return dy (1 - y^2).

    Raises:
        ValueError: the shapes differ.
    """
    return _gradient("tanh_grad", grad_output, z)


def _forward(kernel: str, z: Any, *options: float) -> Array:
    machine, (z,) = place(z=z)
    y = machine.empty(z.shape, z.dtype)
    machine.each(SOURCE, kernel, (z, y, *options, z.size), count=z.size, dtype=z.dtype)
    return y


def _gradient(kernel: str, grad_output: Any, z: Any, *options: float) -> Array:
    machine, (grad_output, z) = place(grad_output=grad_output, z=z)
    check_same_shape(grad_output, z)
    dz = machine.empty(z.shape, z.dtype)
    arguments = (grad_output, z, dz, *options, z.size)
    machine.each(SOURCE, kernel, arguments, count=z.size, dtype=z.dtype)
    return dz
