"""The fully connected layer, the batch mean and the step of SGD."""

from math import prod

from gradoracle.implementations.cupy_kernels.machine import Source
from gradoracle.implementations.cupy_kernels.placement import place
from gradoracle.implementations.shapes import (
    Array,
    check_axes,
    check_batch,
    check_linear,
    check_linear_gradient,
    check_step,
)

LINEAR = Source(
    "linear.cu", ("linear", "linear_grad_input", "linear_grad_weight", "linear_grad_bias")
)
UPDATE = Source("update.cu", ("batch_mean", "sgd_step"))


def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """Return y [N, M] = x weight^T + bias.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    machine, (x, weight, bias) = place(x=x, weight=weight, bias=bias)
    check_linear(x, weight, bias)
    sizes = (len(x), x.shape[1], len(weight))
    y = machine.empty((len(x), len(weight)), x.dtype)
    machine.each(LINEAR, "linear", (x, weight, bias, y, *sizes), count=y.size, dtype=y.dtype)
    return y


def linear_grad_input(grad_output: Array, weight: Array) -> Array:
    """Return dx [N, C] = dy weight.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    machine, (grad_output, weight) = place(grad_output=grad_output, weight=weight)
    check_linear_gradient(grad_output, 1, weight=weight)
    sizes = (len(grad_output), weight.shape[1], len(weight))
    dx = machine.empty(sizes[:2], grad_output.dtype)
    arguments = (grad_output, weight, dx, *sizes)
    machine.each(LINEAR, "linear_grad_input", arguments, count=dx.size, dtype=dx.dtype)
    return dx


def linear_grad_weight(grad_output: Array, x: Array) -> Array:
    """Return dw [M, C] = dy^T x, summed over the batch.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    machine, (grad_output, x) = place(grad_output=grad_output, x=x)
    check_linear_gradient(grad_output, 0, x=x)
    shape = (grad_output.shape[1], x.shape[1])
    if not len(x):
        return machine.zeros(shape, x.dtype)
    dw = machine.empty(shape, x.dtype)
    arguments = (grad_output, x, dw, len(x), x.shape[1], grad_output.shape[1])
    machine.each(LINEAR, "linear_grad_weight", arguments, count=dw.size, dtype=dw.dtype)
    return dw


def linear_grad_bias(grad_output: Array) -> Array:
    """Return db [M], summed over the batch.

    Raises:
        ValueError: grad_output does not have two axes.
    """
    machine, (grad_output,) = place(grad_output=grad_output)
    check_axes(2, grad_output=grad_output)
    rows, features = grad_output.shape
    if not rows:
        return machine.zeros((features,), grad_output.dtype)
    db = machine.empty((features,), grad_output.dtype)
    arguments = (grad_output, db, rows, features)
    machine.each(LINEAR, "linear_grad_bias", arguments, count=features, dtype=db.dtype)
    return db


def batch_mean(gradient_per_image: Array) -> Array:
    """Return the mean over axis 0.

    Raises:
        ValueError: there is no axis 0, or nothing on it.
    """
    machine, (gradient,) = place(gradient_per_image=gradient_per_image)
    check_batch(gradient)
    images, *rest = gradient.shape
    mean = machine.empty(tuple(rest), gradient.dtype)
    arguments = (gradient, mean, images, prod(rest))
    machine.each(UPDATE, "batch_mean", arguments, count=mean.size, dtype=mean.dtype)
    return mean


def sgd_step(parameter: Array, gradient: Array, *, learning_rate: float) -> Array:
    """Return parameter - learning_rate * gradient.

    Raises:
        ValueError: the shapes differ.
    """
    machine, (parameter, gradient) = place(parameter=parameter, gradient=gradient)
    check_step(parameter, gradient)
    stepped = machine.empty(parameter.shape, parameter.dtype)
    arguments = (parameter, gradient, stepped, float(learning_rate), stepped.size)
    machine.each(UPDATE, "sgd_step", arguments, count=stepped.size, dtype=stepped.dtype)
    return stepped
