"""The record of GELU, which the entry point of `gradoracle.operators` names, and two backends."""

from types import SimpleNamespace

import numpy as np

from gradoracle.extend import elementwise
from smallconv.gelu_formulas import gelu, gelu_grad

# The third derivative of z Phi(z) is (z^3 - 4 z) phi(z), nowhere above 0.75 in size.
OPERATORS = (elementwise(gelu, gelu_grad, "gelu", curvature=0.75),)


def _erf(z):
    from math import erf

    return np.vectorize(erf, otypes=[np.float64])(z.astype(np.float64))


def right_gelu(z):
    wide = z.astype(np.float64)
    with np.errstate(invalid="ignore"):
        return (wide * (1 + _erf(wide / np.sqrt(2))) / 2).astype(z.dtype)


def right_gelu_grad(grad_output, z):
    if grad_output.shape != z.shape:
        raise ValueError("shapes differ")
    wide = z.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        slope = (1 + _erf(wide / np.sqrt(2))) / 2 + wide * np.exp(-wide * wide / 2) / np.sqrt(
            2 * np.pi
        )
        return (grad_output * slope).astype(z.dtype)


def _without_density(grad_output, z):
    right_gelu_grad(grad_output, z)
    return (grad_output * ((1 + _erf(z / np.sqrt(2))) / 2)).astype(z.dtype)


right = SimpleNamespace(gelu=right_gelu, gelu_grad=right_gelu_grad)
wrong = SimpleNamespace(gelu=right_gelu, gelu_grad=_without_density)
