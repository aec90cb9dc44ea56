"""Further activations and their gradients, of arrays of any shape."""

from gradoracle.implementations.cupy_kernels.activations import pointwise, pointwise_grad
from gradoracle.implementations.cupy_kernels.machine import Source
from gradoracle.implementations.shapes import Array

SOURCE = Source(
    "further_activations.cu",
    (
        "gelu", "gelu_grad", "gelu_tanh", "gelu_tanh_grad", "silu", "silu_grad", "elu", "elu_grad",
        "softplus", "softplus_grad", "mish", "mish_grad", "logsigmoid", "logsigmoid_grad",
        "hardtanh", "hardtanh_grad", "hardsigmoid", "hardswish", "hardswish_grad",
    ),
)  # fmt: skip
GELU = {"none": "gelu", "tanh": "gelu_tanh"}  # kernels


def _gelu(approximate: str) -> str:
    """Return the kernel of an approximation.

    Raises:
        ValueError: there is none of that name.
    """
    if approximate not in GELU:
        raise ValueError(f"approximate must be one of {[*GELU]}, got {approximate!r}")
    return GELU[approximate]


def gelu(z: Array, *, approximate: str) -> Array:
    """Return z times the share of the normal distribution below it.

    Raises:
        ValueError: `approximate` is neither "none" nor "tanh".
    """
    return pointwise(SOURCE, _gelu(approximate), z)


def gelu_grad(grad_output: Array, z: Array, *, approximate: str) -> Array:
    """Return dy times the slope of `gelu`.

    Raises:
        ValueError: the shapes differ, or as `gelu`.
    """
    return pointwise_grad(SOURCE, f"{_gelu(approximate)}_grad", grad_output, z)


def silu(z: Array) -> Array:
    """Return z / (1 + e^-z)."""
    return pointwise(SOURCE, "silu", z)


def silu_grad(grad_output: Array, z: Array) -> Array:
    """Return dy s (1 + z (1 - s)), s the logistic function.

    Raises:
        ValueError: the shapes differ.
    """
    return pointwise_grad(SOURCE, "silu_grad", grad_output, z)


def elu(z: Array, *, alpha: float) -> Array:
    """Return z where z > 0, else alpha (e^z - 1)."""
    return pointwise(SOURCE, "elu", z, float(alpha))


def elu_grad(grad_output: Array, z: Array, *, alpha: float) -> Array:
    """Return dy where z > 0, else dy alpha e^z.

    Raises:
        ValueError: the shapes differ.
    """
    return pointwise_grad(SOURCE, "elu_grad", grad_output, z, float(alpha))


def softplus(z: Array, *, beta: float, threshold: float) -> Array:
    """Return z where beta z > threshold, else log(1 + e^(beta z)) / beta."""
    return pointwise(SOURCE, "softplus", z, float(beta), float(threshold))


def softplus_grad(grad_output: Array, z: Array, *, beta: float, threshold: float) -> Array:
    """Return dy where beta z > threshold, else dy s(beta z), s the logistic function.

    Raises:
        ValueError: the shapes differ.
    """
    return pointwise_grad(SOURCE, "softplus_grad", grad_output, z, float(beta), float(threshold))


def mish(z: Array) -> Array:
    """Return z tanh(log(1 + e^z))."""
    return pointwise(SOURCE, "mish", z)


def mish_grad(grad_output: Array, z: Array) -> Array:
    """Return dy (t + z (1 - t^2) s), t = tanh(log(1 + e^z)) and s the logistic function.

    Raises:
        ValueError: the shapes differ.
    """
    return pointwise_grad(SOURCE, "mish_grad", grad_output, z)


def logsigmoid(z: Array) -> Array:
    """Return log(1 / (1 + e^-z))."""
    return pointwise(SOURCE, "logsigmoid", z)


def logsigmoid_grad(grad_output: Array, z: Array) -> Array:
    """Return dy / (1 + e^z).

    Raises:
        ValueError: the shapes differ.
    """
    return pointwise_grad(SOURCE, "logsigmoid_grad", grad_output, z)


def _ends(min_val: float, max_val: float) -> tuple[float, float]:
    if not min_val < max_val:
        raise ValueError(f"min_val must be below max_val, got {min_val} and {max_val}")
    return float(min_val), float(max_val)


def hardtanh(z: Array, *, min_val: float, max_val: float) -> Array:
    """Return z, or what is nearest to it from min_val to max_val.

    Raises:
        ValueError: min_val is not below max_val.
    """
    return pointwise(SOURCE, "hardtanh", z, *_ends(min_val, max_val))


def hardtanh_grad(grad_output: Array, z: Array, *, min_val: float, max_val: float) -> Array:
    """Return dy where min_val < z < max_val, else 0.

    Raises:
        ValueError: the shapes differ, or min_val is not below max_val.
    """
    return pointwise_grad(SOURCE, "hardtanh_grad", grad_output, z, *_ends(min_val, max_val), 1.0)


def relu6(z: Array) -> Array:
    """Return z, or what is nearest to it from 0 to 6."""
    return pointwise(SOURCE, "hardtanh", z, 0.0, 6.0)


def relu6_grad(grad_output: Array, z: Array) -> Array:
    """Return dy where 0 < z < 6, else 0.

    Raises:
        ValueError: the shapes differ.
    """
    return pointwise_grad(SOURCE, "hardtanh_grad", grad_output, z, 0.0, 6.0, 1.0)


def hardsigmoid(z: Array) -> Array:
    """Return (z + 3) / 6, or what is nearest to it from 0 to 1."""
    return pointwise(SOURCE, "hardsigmoid", z)


def hardsigmoid_grad(grad_output: Array, z: Array) -> Array:
    """Return dy / 6 where -3 < z < 3, else 0.

    Raises:
        ValueError: the shapes differ.
    """
    return pointwise_grad(SOURCE, "hardtanh_grad", grad_output, z, -3.0, 3.0, 6.0)


def hardswish(z: Array) -> Array:
    """Return z h / 6, h = z + 3 or what is nearest to it from 0 to 6."""
    return pointwise(SOURCE, "hardswish", z)


def hardswish_grad(grad_output: Array, z: Array) -> Array:
    """Return 0 where z <= -3, dy where z >= 3, else dy (2 z + 3) / 6.

    Raises:
        ValueError: the shapes differ.
    """
    return pointwise_grad(SOURCE, "hardswish_grad", grad_output, z)
