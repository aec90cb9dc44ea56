"""Further activations and their slopes; exponentials are only taken of numbers up to 0."""

from math import erf as erf_of
from math import pi, sqrt
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gradoracle.implementations.im2col.activations import sigmoid
from gradoracle.implementations.im2col.halves import in_float32
from gradoracle.implementations.shapes import check_letters, check_same_shape

Array: TypeAlias = npt.NDArray[Any]

PER_PLANE = (1, -1, 1, 1)
CUBE, ROOT = 0.044715, sqrt(2 / pi)
_erf_of_each = np.frompyfunc(erf_of, 1, 1)  # NumPy has none


def _erf(z: Array) -> Array:
    found: Array = np.asarray(_erf_of_each(z.astype(np.float64)), np.float64).astype(z.dtype)
    return found


def _softplus(z: Array) -> Array:
    """Return log(1 + e^z)."""
    found: Array = np.maximum(z, 0) + np.log1p(np.exp(-abs(z)))
    return found


def _check_approximate(approximate: str) -> None:
    if approximate not in ("none", "tanh"):
        raise ValueError(f"approximate must be 'none' or 'tanh', got {approximate!r}")


@in_float32
def gelu(z: Array, *, approximate: str) -> Array:
    """Return z times the share of the normal distribution below it.

    Raises:
        ValueError: `approximate` is neither "none" nor "tanh".
    """
    _check_approximate(approximate)
    with np.errstate(over="ignore"):
        inner = ROOT * (z + CUBE * (z * z * z))
    share = np.tanh(inner) if approximate == "tanh" else _erf(z * sqrt(0.5))
    y: Array = z * (1 + share) / 2
    return y


@in_float32
def gelu_grad(grad_output: Array, z: Array, *, approximate: str) -> Array:
    """Return dy times the slope of `gelu`.

    Raises:
        ValueError: the shapes differ, or as `gelu`.
    """
    check_same_shape(grad_output, z)
    _check_approximate(approximate)
    if approximate == "none":
        density = np.exp(-(z * z) / 2) / sqrt(2 * pi)
        slope = (1 + _erf(z * sqrt(0.5))) / 2 + z * density
        return np.asarray(grad_output * slope)
    square = z * z
    t = np.tanh(ROOT * (z + CUBE * (square * z)))
    slope = (1 + t) / 2 + z * (1 - t * t) / 2 * (ROOT * (1 + 3 * CUBE * square))
    return grad_output * np.where(abs(t) == 1, (1 + t) / 2, slope)


@in_float32
def silu(z: Array) -> Array:
    """Return z / (1 + e^-z)."""
    return z * sigmoid(z)


@in_float32
def silu_grad(grad_output: Array, z: Array) -> Array:
    """Return dy s (1 + z (1 - s)), s the logistic function.

    Raises:
        ValueError: the shapes differ.
    """
    check_same_shape(grad_output, z)
    s = sigmoid(z)
    dz: Array = grad_output * (s * (1 + z * (1 - s)))
    return dz


@in_float32
def elu(z: Array, *, alpha: float) -> Array:
    """Return z where z > 0, else alpha (e^z - 1)."""
    return np.where(z > 0, z, z.dtype.type(alpha) * np.expm1(np.minimum(z, 0)))


@in_float32
def elu_grad(grad_output: Array, z: Array, *, alpha: float) -> Array:
    """Return dy where z > 0, else dy alpha e^z.

    Raises:
        ValueError: the shapes differ.
    """
    check_same_shape(grad_output, z)
    slope = z.dtype.type(alpha) * np.exp(np.minimum(z, 0))
    return np.where(z > 0, grad_output, grad_output * slope)


@in_float32
def softplus(z: Array, *, beta: float, threshold: float) -> Array:
    """Return z where beta z > threshold, else log(1 + e^(beta z)) / beta."""
    scaled = z * z.dtype.type(beta)
    return np.where(scaled > threshold, z, _softplus(scaled) / z.dtype.type(beta))


@in_float32
def softplus_grad(grad_output: Array, z: Array, *, beta: float, threshold: float) -> Array:
    """Return dy where beta z > threshold, else dy s(beta z), s the logistic function.

    Raises:
        ValueError: the shapes differ.
    """
    check_same_shape(grad_output, z)
    scaled = z * z.dtype.type(beta)
    return np.where(scaled > threshold, grad_output, grad_output * sigmoid(scaled))


@in_float32
def mish(z: Array) -> Array:
    """Return z tanh(log(1 + e^z))."""
    return z * np.tanh(_softplus(z))


@in_float32
def mish_grad(grad_output: Array, z: Array) -> Array:
    """Return dy (t + z (1 - t^2) s), t = tanh(log(1 + e^z)) and s the logistic function.

    Raises:
        ValueError: the shapes differ.
    """
    check_same_shape(grad_output, z)
    t = np.tanh(_softplus(z))
    dz: Array = grad_output * (t + z * ((1 - t * t) * sigmoid(z)))
    return dz


@in_float32
def logsigmoid(z: Array) -> Array:
    """Return log(1 / (1 + e^-z))."""
    return -_softplus(-z)


@in_float32
def logsigmoid_grad(grad_output: Array, z: Array) -> Array:
    """Return dy / (1 + e^z).

    Raises:
        ValueError: the shapes differ.
    """
    check_same_shape(grad_output, z)
    return grad_output * sigmoid(-z)


@in_float32
def hardtanh(z: Array, *, min_val: float, max_val: float) -> Array:
    """Return z, or what is nearest to it from min_val to max_val.

    Raises:
        ValueError: min_val is not below max_val.
    """
    _check_ends(min_val, max_val)
    y: Array = np.clip(z, z.dtype.type(min_val), z.dtype.type(max_val))
    return y


@in_float32
def hardtanh_grad(grad_output: Array, z: Array, *, min_val: float, max_val: float) -> Array:
    """Return dy where min_val < z < max_val, else 0.

    Raises:
        ValueError: the shapes differ, or min_val is not below max_val.
    """
    check_same_shape(grad_output, z)
    _check_ends(min_val, max_val)
    inside = (z > z.dtype.type(min_val)) & (z < z.dtype.type(max_val))
    return np.where(inside, grad_output, grad_output.dtype.type(0))


def _check_ends(min_val: float, max_val: float) -> None:
    if not min_val < max_val:
        raise ValueError(f"min_val must be below max_val, got {min_val} and {max_val}")


@in_float32
def relu6(z: Array) -> Array:
    """Return z, or what is nearest to it from 0 to 6."""
    return hardtanh(z, min_val=0.0, max_val=6.0)


@in_float32
def relu6_grad(grad_output: Array, z: Array) -> Array:
    """Return dy where 0 < z < 6, else 0.

    Raises:
        ValueError: the shapes differ.
    """
    return hardtanh_grad(grad_output, z, min_val=0.0, max_val=6.0)


@in_float32
def hardsigmoid(z: Array) -> Array:
    """Return (z + 3) / 6, or what is nearest to it from 0 to 1."""
    y: Array = np.clip(z + 3, 0, 6) / 6
    return y


@in_float32
def hardsigmoid_grad(grad_output: Array, z: Array) -> Array:
    """Return dy / 6 where -3 < z < 3, else 0.

    Raises:
        ValueError: the shapes differ.
    """
    return hardtanh_grad(grad_output, z, min_val=-3.0, max_val=3.0) / 6


@in_float32
def hardswish(z: Array) -> Array:
    """Return z h / 6, h = z + 3 or what is nearest to it from 0 to 6."""
    y: Array = z * np.clip(z + 3, 0, 6) / 6
    return y


@in_float32
def hardswish_grad(grad_output: Array, z: Array) -> Array:
    """Return 0 where z <= -3, dy where z >= 3, else dy (2 z + 3) / 6.

    Raises:
        ValueError: the shapes differ.
    """
    check_same_shape(grad_output, z)
    between = grad_output * ((2 * z + 3) / 6)
    zero = grad_output.dtype.type(0)
    return np.where(z <= -3, zero, np.where(z >= 3, grad_output, between))


def _shifted(z: Array, axis: int) -> Array:
    """Return z less its largest number along an axis.

    Raises:
        ValueError: there is no such axis, or nothing on it.
    """
    shifted: Array = z - z.max(axis=axis, keepdims=True)
    return shifted


@in_float32
def log_softmax(z: Array, *, axis: int) -> Array:
    """Return z - log sum e^z along `axis`.

    Raises:
        ValueError: there is no such axis, or nothing on it.
    """
    shifted = _shifted(z, axis)
    y: Array = shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))
    return y


@in_float32
def log_softmax_grad(grad_output: Array, z: Array, *, axis: int) -> Array:
    """Return dy - softmax(z) sum dy along `axis`.

    Raises:
        ValueError: as `log_softmax`, or the shapes differ.
    """
    check_same_shape(grad_output, z)
    powers = np.exp(_shifted(z, axis))
    p = powers / powers.sum(axis=axis, keepdims=True)
    dz: Array = grad_output - p * grad_output.sum(axis=axis, keepdims=True)
    return dz


def _halves(z: Array) -> tuple[Array, Array]:
    """Return the left and the right columns.

    Raises:
        ValueError: z does not have two axes, or an odd number of columns.
    """
    check_letters({"z": (z, "nk")})
    half, odd = divmod(z.shape[1], 2)
    if odd:
        raise ValueError(f"z must have an even number of columns, got {z.shape[1]}")
    return z[:, :half], z[:, half:]


@in_float32
def glu(z: Array) -> Array:
    """Return the left columns times the logistic function of the right ones.

    Raises:
        ValueError: z does not have two axes, or an odd number of columns.
    """
    left, right = _halves(z)
    return left * sigmoid(right)


@in_float32
def glu_grad(grad_output: Array, z: Array) -> Array:
    """Return [dy s, dy left s (1 - s)], s the logistic function of the right columns.

    Raises:
        ValueError: as `glu`, or dy does not have its shape.
    """
    left, right = _halves(z)
    check_same_shape(grad_output, left)
    s = sigmoid(right)
    return np.concatenate([grad_output * s, grad_output * left * (s * (1 - s))], 1)


def _planes(x: Array, weight: Array, grad_output: Array | None = None) -> Array:
    arrays = {"x": (x, "nchw"), "weight": (weight, "c"), "grad_output": (grad_output, "nchw")}
    check_letters(arrays)
    if weight is None:
        raise ValueError("there must be a weight")
    return weight.reshape(PER_PLANE)


@in_float32
def prelu(x: Array, weight: Array) -> Array:
    """Return x where x > 0, else weight x, by channels of x [N, C, H, W].

    Raises:
        ValueError: the shapes do not fit.
    """
    return np.where(x > 0, x, x * _planes(x, weight))


@in_float32
def prelu_grad_x(grad_output: Array, x: Array, weight: Array) -> Array:
    """Return dy where x > 0, else weight dy.

    Raises:
        ValueError: the shapes do not fit.
    """
    return np.where(x > 0, grad_output, grad_output * _planes(x, weight, grad_output))


@in_float32
def prelu_grad_weight(grad_output: Array, x: Array, weight: Array) -> Array:
    """Return the sum of dy x over what is not positive [C].

    Raises:
        ValueError: the shapes do not fit.
    """
    _planes(x, weight, grad_output)
    terms = np.where(x > 0, grad_output.dtype.type(0), grad_output * x)
    dw: Array = terms.sum((0, 2, 3))
    return dw
