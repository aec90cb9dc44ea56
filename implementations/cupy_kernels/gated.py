"""Activations of two arrays and their gradients: gated linear units and parametric ReLUs."""

from gradoracle.implementations.cupy_kernels.machine import Machine, Source
from gradoracle.implementations.cupy_kernels.placement import place
from gradoracle.implementations.shapes import Array, Shape, check_grad_output, check_letters

SOURCE = Source("gated.cu", ("glu", "glu_grad", "prelu", "prelu_grad_weight"))


def _half(z: Array) -> Shape:
    """Return the shape [N, K/2] of the left columns.

    Raises:
        ValueError: z does not have two axes, or an odd number of columns.
    """
    check_letters({"z": (z, "nk")})
    half, odd = divmod(z.shape[1], 2)
    if odd:
        raise ValueError(f"z must have an even number of columns, got {z.shape[1]}")
    return z.shape[0], half


def glu(z: Array) -> Array:
    """Return the left columns times the logistic function of the right ones.

    Raises:
        ValueError: z does not have two axes, or an odd number of columns.
    """
    machine, (z,) = place(z=z)
    shape = _half(z)
    y = machine.empty(shape, z.dtype)
    machine.each(SOURCE, "glu", (z, y, *shape), count=y.size, dtype=y.dtype)
    return y


def glu_grad(grad_output: Array, z: Array) -> Array:
    """Return [dy s, dy left s (1 - s)], s the logistic function of the right columns.

    Raises:
        ValueError: as `glu`, or dy does not have its shape.
    """
    machine, (grad_output, z) = place(grad_output=grad_output, z=z)
    shape = _half(z)
    check_grad_output(grad_output, shape)
    dz = machine.empty(z.shape, z.dtype)
    arguments = (grad_output, z, dz, *shape)
    machine.each(SOURCE, "glu_grad", arguments, count=grad_output.size, dtype=dz.dtype)
    return dz


def prelu(x: Array, weight: Array) -> Array:
    """Return x where x > 0, else weight x, by channels of x [N, C, H, W].

    Raises:
        ValueError: the shapes do not fit.
    """
    machine, (x, weight) = place(x=x, weight=weight)
    check_letters({"x": (x, "nchw"), "weight": (weight, "c")})
    return _sloped(machine, x, x, weight)


def prelu_grad_x(grad_output: Array, x: Array, weight: Array) -> Array:
    """Return dy where x > 0, else weight dy.

    Raises:
        ValueError: the shapes do not fit.
    """
    machine, (grad_output, x, weight) = place(grad_output=grad_output, x=x, weight=weight)
    _check_prelu(grad_output, x, weight)
    return _sloped(machine, grad_output, x, weight)


def prelu_grad_weight(grad_output: Array, x: Array, weight: Array) -> Array:
    """Return the sum of dy x over what is not positive [C].

    Raises:
        ValueError: the shapes do not fit.
    """
    machine, (grad_output, x, weight) = place(grad_output=grad_output, x=x, weight=weight)
    _check_prelu(grad_output, x, weight)
    images, channels, rows, columns = x.shape
    dw = machine.empty((channels,), x.dtype)
    machine.sums(
        SOURCE, "prelu_grad_weight", (grad_output, x, dw, images, channels, rows * columns),
        count=channels, terms=images * rows * columns, dtype=dw.dtype,
    )  # fmt: skip
    return dw


def prelu_vjp(grad_output: Array, x: Array, weight: Array) -> tuple[Array, Array]:
    """Return (dx, dw).

    Raises:
        ValueError: the shapes do not fit.
    """
    return prelu_grad_x(grad_output, x, weight), prelu_grad_weight(grad_output, x, weight)


def _check_prelu(grad_output: Array, x: Array, weight: Array) -> None:
    check_letters({"grad_output": (grad_output, "nchw"), "x": (x, "nchw"), "weight": (weight, "c")})


def _sloped(machine: Machine, of: Array, x: Array, weight: Array) -> Array:
    """Return `of` where x > 0, else weight times it."""
    y = machine.empty(x.shape, x.dtype)
    arguments = (of, x, weight, y, x.size, x.shape[1], x.shape[2] * x.shape[3])
    machine.each(SOURCE, "prelu", arguments, count=x.size, dtype=x.dtype)
    return y
