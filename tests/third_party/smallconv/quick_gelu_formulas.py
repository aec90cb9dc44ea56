"""The quick GELU and its gradient, as formulas for gradoracle: one file of loops."""

from gradoracle.extend import Axes, composed, decimal, declare_axes, each_element, exp

FACTOR = decimal("1.702")


@composed(images="kept", pointwise=True)
def quick_gelu(z):
    """Return y, of z's shape and dtype.

        y = z / (1 + e^(-1.702 z))

    (Hendrycks and Gimpel 2016, "Gaussian Error Linear Units", section 2).
    """
    return each_element(lambda v: v * _share(v), z)


@composed(images="kept", pointwise=True)
def quick_gelu_grad(grad_output, z):
    """Return dz = dE/dz from dy and z, of the same shape.

        dz = dy (s + 1.702 z s (1 - s)),  s = 1 / (1 + e^(-1.702 z))

    (the same, differentiated).

    Raises:
        ValueError: the shapes differ.
    """
    return each_element(_slope, grad_output, z)


def _slope(dy, v):
    s = _share(v)
    return dy * (s + FACTOR(v) * v * (s * (1 - s)))


def _share(v):
    """Return 1 / (1 + e^(-1.702 v)), written with e^(1.702 v) where v is negative."""
    if v >= 0:
        return 1 / (1 + exp(-(FACTOR(v) * v)))
    e = exp(FACTOR(v) * v)
    return e / (1 + e)


declare_axes(Axes("z: n *; grad_output: n *"), quick_gelu, quick_gelu_grad)
