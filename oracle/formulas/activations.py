"""Activations and their gradients, element by element.

002: Y(i, j, k) = f(Z(i, j, k)) on the way forward, dL/dZ = dL/dY f'(Z) on the way back, whatever
the shape.  The documents leave f open; these are the usual four.  At 0, where relu and leaky_relu
have no derivative, it is that of their negative side: relu'(0) = 0, leaky'(0) = negative_slope.
Nothing overflows: the exponential is only taken of numbers that are not positive.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from gradoracle.oracle.axes import Axes
from gradoracle.oracle.compiled_loops import run
from gradoracle.oracle.declaration import composed, declare_axes, selection
from gradoracle.oracle.numbers.elementary import either, power_of_e
from gradoracle.oracle.numbers.elementary import tanh as tanh_of
from gradoracle.oracle.shapes import Array, check_shape


@selection(images="kept", pointwise=True)
def relu(z: Array) -> Array:
    """Return y = max(z, 0), of z's shape and dtype.

        y = 0 where z <= 0, else z

    (002, "Activation Layer": Y = f(Z), f the rectifier).  A NaN stays one.
    """
    return each_element(_relu, z)


def _relu(z: Any) -> Any:
    return 0 if z <= 0 else z  # noqa: FURB136 - max(0, z) is 0 where z is NaN


@selection(images="kept", pointwise=True)
def relu_grad(grad_output: Array, z: Array) -> Array:
    """Return dz = dE/dz from dy and z, of the same shape.

        dz = dy where z > 0, else 0

    (002, dL/dZ = dL/dY f'(Z); f'(0) = 0).

    Raises:
        ValueError: the shapes differ.
    """
    return each_element(lambda dy, v: dy if v > 0 else 0, grad_output, z)


@composed(images="kept", pointwise=True)
def leaky_relu(z: Array, *, negative_slope: float) -> Array:
    """Return y, of z's shape and dtype.

        y = z where z > 0, else negative_slope * z

    (002, "Activation Layer": Y = f(Z), f the leaky rectifier).
    """
    return each_element(lambda v: v if v > 0 else v * negative_slope, z)


@composed(images="kept", pointwise=True)
def leaky_relu_grad(grad_output: Array, z: Array, *, negative_slope: float) -> Array:
    """Return dz = dE/dz from dy and z, of the same shape.

        dz = dy where z > 0, else negative_slope * dy

    (002, dL/dZ = dL/dY f'(Z); f'(0) = negative_slope).

    Raises:
        ValueError: the shapes differ.
    """
    return each_element(lambda dy, v: dy if v > 0 else dy * negative_slope, grad_output, z)


@composed(images="kept", pointwise=True)
def sigmoid(z: Array) -> Array:
    """Return y = sigma(z), of z's shape and dtype.

        y = 1 / (1 + e^-z)

    (002, "Activation Layer": Y = f(Z), f the logistic function).

    Covered by the bound: e^x as 2^(x log2(e)), here and wherever an activation has e^x.
    """
    return each_element(_sigmoid, z)


def _sigmoid(z: Any) -> Any:
    """Return 1 / (1 + e^-z), written with e^z where z is negative."""
    if z >= 0:
        return 1 / (1 + power_of_e(-z))
    e = power_of_e(z)
    return e / (1 + e)


@composed(images="kept", pointwise=True)
def sigmoid_grad(grad_output: Array, z: Array) -> Array:
    """Return dz = dE/dz from dy and z, of the same shape.

        dz = dy y (1 - y),  y = 1 / (1 + e^-z)

    (002, dL/dZ = dL/dY f'(Z)).

    Covered by the bound: y (1 - y) of the rounded y, which cancels where y is close to 1, and
    e^-|z| / (1 + e^-|z|)^2.

    Raises:
        ValueError: the shapes differ.
    """
    return each_element(_sigmoid_grad, grad_output, z)


def _sigmoid_grad(dy: Any, z: Any) -> Any:
    y = _sigmoid(z)
    return either(dy * (y * (1 - y)), partial(_by_exponentials, dy, z))


def _by_exponentials(dy: Any, z: Any) -> Any:
    """Return dy e^-|z| / (1 + e^-|z|)^2, which is dy sigma'(z)."""
    e = power_of_e(-abs(z))
    return dy * (e / ((1 + e) * (1 + e)))


@composed(images="kept", pointwise=True)
def tanh(z: Array) -> Array:
    """Return the hyperbolic tangent y, of z's shape and dtype.

        y = (e^z - e^-z) / (e^z + e^-z)

    (002, "Activation Layer": Y = f(Z), f the hyperbolic tangent).

    Covered by the bound: a hyperbolic tangent of 5 ulp, and the displayed quotient computed to the
    letter, which next to 0 subtracts two numbers close to 1 and so is off by a few units in the
    last place of 1, not of y.  1 - 2 / (e^2z + 1), 2 sigmoid(2z) - 1 and (1 - e^-2z) / (1 + e^-2z)
    lose no more than that; where e^|z| overflows, y is still 1 or -1.
    """
    return each_element(_tanh, z)


def _tanh(z: Any) -> Any:
    """Return tanh(z); an estimate takes the worse of the function itself and the quotient."""
    if z > 0 or z < 0:
        return either(tanh_of(z), partial(_displayed_tanh, z))
    return tanh_of(z)


def _displayed_tanh(z: Any) -> Any:
    """Return (e^z - e^-z) / (e^z + e^-z), both sides divided by e^|z|: nothing overflows.

    e^-|z| / e^|z| is charged as a square of e^-|z|: one rounding more than the displayed quotient.
    """
    e = power_of_e(-abs(z))
    size = (1 - e * e) / (1 + e * e)
    return size if z > 0 else -size


@composed(images="kept", pointwise=True)
def tanh_grad(grad_output: Array, z: Array) -> Array:
    """Return dz = dE/dz from dy and z, of the same shape.

        dz = dy (1 - y^2),  y = tanh(z)

    (002, dL/dZ = dL/dY f'(Z)).

    Covered by the bound: 1 - y^2 of the rounded y, in either of the ways that `tanh` may be
    computed, and 1 / cosh(z)^2.

    Raises:
        ValueError: the shapes differ.
    """
    return each_element(_tanh_grad, grad_output, z)


def _tanh_grad(dy: Any, z: Any) -> Any:
    y = _tanh(z)
    return either(dy * (1 - y * y), partial(_by_secants, dy, z))


def _by_secants(dy: Any, z: Any) -> Any:
    """Return dy / cosh(z)^2, which is dy tanh'(z)."""
    e = power_of_e(-abs(z))
    secant = 2 * e / (1 + e * e)
    return dy * (secant * secant)


def each_element(function: Callable[..., Any], first: Array, *others: Array) -> Array:
    """Return `function` of every element, or of the elements in the same place.

    Raises:
        ValueError: the arrays' shapes differ.
    """
    for other in others:
        check_shape("z", other.shape, first.shape, "grad_output has")
    result = np.zeros(first.size, first.dtype)
    flat = [a.ravel() for a in (first, *others)]
    return run(_loop, result, function, *flat, products=0).reshape(first.shape)


def _loop(result: Array, function: Callable[..., Any], *arrays: Array) -> None:
    for at in range(len(result)):
        result[at] = function(*(a[at] for a in arrays))


declare_axes(
    Axes("z: n *; grad_output: n *"),
    relu, relu_grad, leaky_relu, leaky_relu_grad, sigmoid, sigmoid_grad, tanh, tanh_grad,
)  # fmt: skip
