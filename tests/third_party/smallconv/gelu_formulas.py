"""GELU and its gradient, as formulas for gradoracle: one file of loops."""

from gradoracle.extend import Axes, composed, declare_axes, each_element, erf, exp, sqrt_2, sqrt_pi


@composed(images="kept", pointwise=True)
def gelu(z):
    """Return y, of z's shape and dtype.

        y = z (1 + erf(z / sqrt(2))) / 2

    (Hendrycks and Gimpel 2016, "Gaussian Error Linear Units", section 2).
    """
    return each_element(lambda v: v * _normal(v), z)


@composed(images="kept", pointwise=True)
def gelu_grad(grad_output, z):
    """Return dz = dE/dz from dy and z, of the same shape.

        dz = dy ((1 + erf(z / sqrt(2))) / 2 + z e^(-z^2 / 2) / sqrt(2 pi))

    (the same, differentiated).

    Raises:
        ValueError: the shapes differ.
    """
    return each_element(
        lambda dy, v: dy * (_normal(v) + v * exp(-(v * v) / 2) / (sqrt_2(v) * sqrt_pi(v))),
        grad_output, z,
    )  # fmt: skip


def _normal(v):
    """Return the share of the normal distribution below v."""
    return (1 + erf(v / sqrt_2(v))) / 2


declare_axes(Axes("z: n *; grad_output: n *"), gelu, gelu_grad)
