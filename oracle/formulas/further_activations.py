"""Activations beyond the documents' four, element by element, with PyTorch's names and options.

Each is a function of one number; its slope follows by reverse mode.  At a kink the slope is that of
the side which the equation names.  Nothing overflows: exponentials are taken of numbers that are
not positive.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from gradoracle.oracle.derive import derived, derived_pointwise
from gradoracle.oracle.numbers.elementary import (
    also,
    decimal,
    detached,
    either,
    erf,
    expm1,
    log1p,
    pi,
    power_of_e,
    sigmoid,
    sqrt,
    sqrt_2,
    tanh,
)
from gradoracle.oracle.numbers.elementary import softplus as softplus_of
from gradoracle.oracle.numbers.functions import Constant
from gradoracle.oracle.numbers.log_sum import log_of_powers, log_sum_exp, logistic
from gradoracle.oracle.numbers.reverse import where
from gradoracle.oracle.numbers.ways import UNSHIFTED, is_claimed
from gradoracle.oracle.shapes import check_integer

CUBE = decimal("0.044715")
SIXTH = Constant("1/6", 1 / 6, lambda context: context.mpf(1) / 6)
APPROXIMATIONS = ("none", "tanh")


def _logistic(z: Any) -> Any:
    """Return 1 / (1 + e^-z), written with e^z where z is negative."""
    if z >= 0:
        return 1 / (1 + power_of_e(-z))
    e = power_of_e(z)
    return e / (1 + e)


def _log_of_one_plus(z: Any) -> Any:
    """Return log(1 + e^z), whose slope is a difference or the logistic function."""
    parts = z + log1p(power_of_e(-z)) if z > 0 else log1p(power_of_e(z))
    return either(parts, partial(softplus_of, z))


@derived_pointwise
def gelu(z: Any, *, approximate: str) -> Any:
    """Return y, of z's shape and dtype.

        y = z (1 + erf(z / sqrt(2))) / 2
        or, approximate = "tanh", y = z (1 + tanh(sqrt(2/pi) (z + 0.044715 z^3))) / 2

    (Hendrycks and Gimpel 2016, "Gaussian Error Linear Units", section 2).

    Raises:
        ValueError: `approximate` is neither "none" nor "tanh".
    """
    if approximate not in APPROXIMATIONS:
        raise ValueError(f"approximate must be one of {[*APPROXIMATIONS]}, got {approximate!r}")
    if approximate == "none":
        above = 1 + erf(z / sqrt_2(z))
        return z * also(above, partial(_less_accurate, above)) / 2
    inner = sqrt_2(z) / sqrt(pi(z)) * (z + CUBE(z) * (z * z * z))
    return z * (1 + tanh(inner)) / 2


def _less_accurate(number: Any) -> Any:
    """Return 1 + erf of a number with some three units of 1 more of error.

    So much is Abramowitz and Stegun's formula 7.1.26 off in float32, by which vector units compute
    erf.
    """
    return number + 1.5 - 1.5


@derived_pointwise
def silu(z: Any) -> Any:
    """Return y, of z's shape and dtype.

        y = z / (1 + e^-z)

    (Elfwing, Uchibe and Doya 2017, "Sigmoid-Weighted Linear Units", equation 6).
    """
    return z * either(_logistic(z), partial(sigmoid, z))


@derived_pointwise
def elu(z: Any, *, alpha: float) -> Any:
    """Return y, of z's shape and dtype.

        y = z where z > 0, else alpha (e^z - 1)

    (Clevert, Unterthiner and Hochreiter 2015, "Exponential Linear Units", equation 15).
    """
    if z > 0:
        return z
    return either(expm1(z), partial(_less_one, z)) * alpha


def _less_one(z: Any) -> Any:
    return power_of_e(z) - 1


@derived_pointwise
def softplus(z: Any, *, beta: float, threshold: float) -> Any:
    """Return y, of z's shape and dtype.

        y = z where beta z > threshold, else log(1 + e^(beta z)) / beta

    (Dugas and others 2000, "Incorporating Second-Order Functional Knowledge", equation 3; the
    threshold is PyTorch's).
    """
    scaled = z * beta
    if scaled > threshold:
        return z
    return _log_of_one_plus(scaled) / beta


@derived_pointwise
def mish(z: Any) -> Any:
    """Return y, of z's shape and dtype.

        y = z tanh(log(1 + e^z))

    (Misra 2019, "Mish: A Self Regularized Non-Monotonic Activation Function", equation 1).
    """
    return z * tanh(_log_of_one_plus(z))


@derived_pointwise
def logsigmoid(z: Any) -> Any:
    """Return y, of z's shape and dtype.

        y = log(1 / (1 + e^-z))

    (the logarithm of the logistic function, PyTorch's `logsigmoid`).
    """
    return -_log_of_one_plus(-z)


@derived_pointwise
def hardtanh(z: Any, *, min_val: float, max_val: float) -> Any:
    """Return y, of z's shape and dtype.

        y = min_val where z <= min_val, max_val where z >= max_val, else z

    (Collobert 2004, "Large Scale Machine Learning", the hard hyperbolic tangent).

    Raises:
        ValueError: min_val is not below max_val.
    """
    if not min_val < max_val:
        raise ValueError(f"min_val must be below max_val, got {min_val} and {max_val}")
    if z <= min_val:
        return min_val
    return max_val if z >= max_val else z  # noqa: FURB136 - min(max_val, z) drops a NaN


@derived_pointwise
def relu6(z: Any) -> Any:
    """Return y, of z's shape and dtype.

        y = 0 where z <= 0, 6 where z >= 6, else z

    (Krizhevsky 2010, "Convolutional Deep Belief Networks on CIFAR-10", ReLU-6).
    """
    if z <= 0:
        return 0
    return 6 if z >= 6 else z  # noqa: FURB136


@derived_pointwise
def hardsigmoid(z: Any) -> Any:
    """Return y, of z's shape and dtype.

        y = 0 where z <= -3, 1 where z >= 3, else (z + 3) / 6

    (Howard and others 2019, "Searching for MobileNetV3", section 5.2; PyTorch and Keras write it
    z / 6 + 1 / 2, which rounds more near -3).
    """
    if z == -3:  # where a rounded sixth leaves a little
        return also(z * 0, partial(_sixth_and_half, z))
    if z <= -3:
        return 0
    return 1 if z >= 3 else also((z + 3) / 6, partial(_sixth_and_half, z))


def _sixth_and_half(z: Any) -> Any:
    return z * SIXTH(z) + 0.5


@derived_pointwise
def hardswish(z: Any) -> Any:
    """Return y, of z's shape and dtype.

        y = z h / 6,  h = 0 where z <= -3, 6 where z >= 3, else z + 3

    (Howard and others 2019, "Searching for MobileNetV3", section 5.2).
    """
    if z == -3:
        return also(z * 0, partial(_times_sixth_and_half, z))
    if z <= -3:
        return z * 0
    if z >= 3:
        return z * 6 / 6
    return also(z * (z + 3) / 6, partial(_times_sixth_and_half, z))


def _times_sixth_and_half(z: Any) -> Any:
    """Return z (z / 6 + 1 / 2), as ONNX writes it, which rounds more near -3."""
    return z * _sixth_and_half(z)


@derived("z: n *; grad_output: n *", ("z",))
def log_softmax(z: Any, *, axis: int) -> Any:
    """Return y, of z's shape and dtype.

        y_i = z_i - m - log sum_j e^(z_j - m),  m = max_j z_j,  along axis

    (the logarithm of the softmax, as PyTorch's `log_softmax` has it).

    Raises:
        ValueError: there is no such axis, or it is empty.
    """
    place = check_integer("axis", axis, smallest=-z.ndim)
    if place >= z.ndim or z.shape[place] < 1:
        raise ValueError(f"axis must name an axis with elements of shape {[*z.shape]}, got {axis}")
    if is_claimed(UNSHIFTED):
        return z - log_sum_exp(z, place)
    shifted = z - detached(z.max(place, keepdims=True))
    return shifted - log_of_powers(shifted, place)


@derived("z: n k; grad_output: n m", ("z",))
def glu(z: Any) -> Any:
    """Return y [N, K/2] from z [N, K].

        y[n,k] = z[n,k] / (1 + e^-z[n,k+K/2])

    (Dauphin and others 2016, "Language Modeling with Gated Convolutional Networks", equation 1).

    Raises:
        ValueError: K is odd.
    """
    half, odd = divmod(z.shape[1], 2)
    if odd:
        raise ValueError(f"z must have an even number of columns, got shape {[*z.shape]}")
    return z[:, :half] * logistic(z[:, half:])


@derived("x: n c (h w); weight: c; grad_output: n c (h w)", ("x", "weight"))
def prelu(x: Any, weight: Any) -> Any:
    """Return y, of x's shape and dtype, from x [N, C, H, W] and weight [C].

        y[n,c,h,w] = x[n,c,h,w] where it is > 0, else weight[c] x[n,c,h,w]

    (He and others 2015, "Delving Deep into Rectifiers", equation 1).
    """
    return where(x > 0, x, x * weight.reshape((1, -1, 1, 1)))


DERIVED = (
    elu, gelu, glu, hardsigmoid, hardswish, hardtanh, log_softmax, logsigmoid, mish, prelu, relu6,
    silu, softplus,
)  # fmt: skip
