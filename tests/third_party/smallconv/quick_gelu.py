"""The record of the quick GELU, which the entry point names, and two backends."""

from types import SimpleNamespace

import numpy as np

from gradoracle.extend import elementwise
from smallconv.quick_gelu_formulas import quick_gelu, quick_gelu_grad


def pytorchs(torch):
    return lambda z: z * torch.sigmoid(1.702 * z)


# The third derivative of z s(1.702 z) is nowhere above 1.1 in size.
OPERATORS = (elementwise(quick_gelu, quick_gelu_grad, pytorchs, curvature=1.1),)


def _share(z):
    wide = 1.702 * z.astype(np.float64)
    e = np.exp(-abs(wide))
    return np.where(wide >= 0, 1, e) / (1 + e)


def right_quick_gelu(z):
    with np.errstate(invalid="ignore"):
        return (z * _share(z)).astype(z.dtype)


def right_quick_gelu_grad(grad_output, z):
    if grad_output.shape != z.shape:
        raise ValueError("shapes differ")
    s = _share(z)
    with np.errstate(invalid="ignore", over="ignore"):
        return (grad_output * (s + 1.702 * z * s * (1 - s))).astype(z.dtype)


def _without_slope(grad_output, z):
    right_quick_gelu_grad(grad_output, z)
    return (grad_output * _share(z)).astype(z.dtype)


right = SimpleNamespace(quick_gelu=right_quick_gelu, quick_gelu_grad=right_quick_gelu_grad)
wrong = SimpleNamespace(quick_gelu=right_quick_gelu, quick_gelu_grad=_without_slope)
