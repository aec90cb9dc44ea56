"""PyTorch's derivatives along tangents: forward mode, and autograd through the gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import torch

from gradoracle.implementations.torch_reference import (
    activations,
    convolution,
    dense,
    further,
    products,
)

__all__ = [
    "bmm_double_backward",
    "bmm_jvp",
    "conv1d_double_backward",
    "conv1d_jvp",
    "conv2d_double_backward",
    "conv2d_jvp",
    "conv3d_double_backward",
    "conv3d_jvp",
    "conv_transpose1d_double_backward",
    "conv_transpose1d_jvp",
    "conv_transpose2d_double_backward",
    "conv_transpose2d_jvp",
    "conv_transpose3d_double_backward",
    "conv_transpose3d_jvp",
    "elu_jvp",
    "gelu_jvp",
    "leaky_relu_jvp",
    "linear_double_backward",
    "linear_jvp",
    "matmul_double_backward",
    "matmul_jvp",
    "mish_jvp",
    "relu_jvp",
    "sigmoid_jvp",
    "silu_jvp",
    "softplus_jvp",
    "tanh_jvp",
]

Tensor: TypeAlias = torch.Tensor
Function: TypeAlias = Callable[..., Any]


def _jvp(function: Function, count: int) -> Function:
    """Return the derivative of a function of `count` tensors along tangents, which come first."""
    return jvp(function, *range(count))


def jvp(function: Function, *places: int) -> Function:
    """Return the derivative of a function along tangents of the arguments in some places.

    It takes the tangents first, None of an argument that is None, then what the function takes.
    """

    def along(*given: Tensor | None, **options: Any) -> Tensor:
        """Return the tangent of y; raises as the function does."""
        tangents = dict(zip(places, given, strict=False))
        primals = [*given[len(places) :]]
        there = [at for at in places if tangents[at] is not None]

        def of(*some: Tensor) -> Tensor:
            moved = dict(zip(there, some, strict=True))
            arrays = (moved.get(at, one) for at, one in enumerate(primals))
            y: Tensor = function(*arrays, **options)
            return y

        found: Tensor = torch.func.jvp(
            of, tuple(primals[at] for at in there), tuple(tangents[at] for at in there)
        )[1]
        return found

    return along


def _double_backward(function: Function, count: int) -> Function:
    """Return the gradients of <gradients, tangents> by dy and by both factors."""

    def back(*given: Tensor | None, **options: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Return (ddy, dx, dweight); raises as the function does."""
        tangents, (dy, *primals) = given[:count], given[count:]
        leaves = [a if a is None else a.detach().requires_grad_() for a in (dy, *primals)]
        y = function(*leaves[1:], **options)
        by = [one for one in leaves[1:] if one is not None]
        first = torch.autograd.grad(y, by, leaves[0], create_graph=True)
        along = [one for one in tangents if one is not None]
        inner = torch.stack([(g * v).sum() for g, v in zip(first, along, strict=True)]).sum()
        wanted = [leaf for leaf in leaves[:3] if leaf is not None]
        # Without images, nothing of what is differentiated is used.
        ddy, dx, dweight = torch.autograd.grad(inner, wanted, materialize_grads=True)
        return ddy, dx, dweight

    return back


# How many arguments have a gradient: a bias does, too.
conv1d_jvp = _jvp(convolution.conv1d, 3)
conv1d_double_backward = _double_backward(convolution.conv1d, 3)
conv2d_jvp = _jvp(convolution.conv2d, 3)
conv2d_double_backward = _double_backward(convolution.conv2d, 3)
conv3d_jvp = _jvp(convolution.conv3d, 3)
conv3d_double_backward = _double_backward(convolution.conv3d, 3)
conv_transpose1d_jvp = _jvp(convolution.conv_transpose1d, 3)
conv_transpose1d_double_backward = _double_backward(convolution.conv_transpose1d, 3)
conv_transpose2d_jvp = _jvp(convolution.conv_transpose2d, 3)
conv_transpose2d_double_backward = _double_backward(convolution.conv_transpose2d, 3)
conv_transpose3d_jvp = _jvp(convolution.conv_transpose3d, 3)
conv_transpose3d_double_backward = _double_backward(convolution.conv_transpose3d, 3)
linear_jvp = _jvp(dense.linear, 3)
linear_double_backward = _double_backward(dense.linear, 3)
matmul_jvp = _jvp(products.matmul, 2)
matmul_double_backward = _double_backward(products.matmul, 2)
bmm_jvp = _jvp(products.bmm, 2)
bmm_double_backward = _double_backward(products.bmm, 2)
leaky_relu_jvp = _jvp(activations.leaky_relu, 1)
relu_jvp = _jvp(activations.relu, 1)
sigmoid_jvp = _jvp(activations.sigmoid, 1)
tanh_jvp = _jvp(activations.tanh, 1)
elu_jvp = _jvp(further.elu, 1)
gelu_jvp = _jvp(further.gelu, 1)
mish_jvp = _jvp(further.mish, 1)
silu_jvp = _jvp(further.silu, 1)
softplus_jvp = _jvp(further.softplus, 1)
