"""PyTorch's matrix products and bilinear layer, and a rotary embedding; with autograd."""

from __future__ import annotations

from typing import Any

import torch

from gradoracle.implementations.shapes import (
    Shape,
    check_letters,
    check_matmul,
    check_rotary,
)

__all__ = [
    "bilinear",
    "bilinear_grad_bias",
    "bilinear_grad_input1",
    "bilinear_grad_input2",
    "bilinear_grad_weight",
    "bilinear_vjp",
    "bmm",
    "bmm_grad_input",
    "bmm_grad_mat2",
    "broadcast_matmul",
    "broadcast_matmul_grad_input",
    "broadcast_matmul_grad_other",
    "matmul",
    "matmul_grad_input",
    "matmul_grad_other",
    "rotary_embedding",
    "rotary_embedding_grad",
]

F = torch.nn.functional
Tensor = torch.Tensor


def leaf_of(tensor: Tensor) -> Tensor:
    """Return a copy that gradients are taken by."""
    return tensor.detach().clone().requires_grad_()


def backward(y: Tensor, leaf: Tensor, grad_output: Tensor) -> Tensor:
    """Return what a leaf receives.

    Raises:
        ValueError: dy does not have the shape of y.
    """
    if y.shape != grad_output.shape:
        raise ValueError(f"dy has shape {[*grad_output.shape]}, y {[*y.shape]}")
    found: Tensor = torch.autograd.grad(y, leaf, grad_output)[0]
    return found


def matmul(input: Tensor, other: Tensor) -> Tensor:
    """Return torch.matmul of two matrices."""
    check_letters({"input": (input, "nk"), "other": (other, "km")})
    return torch.matmul(input, other)


def matmul_grad_input(grad_output: Tensor, other: Tensor) -> Tensor:
    """Return the gradient by the left matrix."""
    check_letters({"grad_output": (grad_output, "nm"), "other": (other, "km")})
    leaf = leaf_of(grad_output.new_zeros(len(grad_output), len(other)))
    return backward(torch.matmul(leaf, other), leaf, grad_output)


def matmul_grad_other(grad_output: Tensor, input: Tensor) -> Tensor:
    """Return the gradient by the right matrix."""
    check_letters({"grad_output": (grad_output, "nm"), "input": (input, "nk")})
    leaf = leaf_of(grad_output.new_zeros(input.shape[1], grad_output.shape[1]))
    return backward(torch.matmul(input, leaf), leaf, grad_output)


def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """Return torch.bmm."""
    check_letters({"input": (input, "npk"), "mat2": (mat2, "nkq")})
    return torch.bmm(input, mat2)


def bmm_grad_input(grad_output: Tensor, mat2: Tensor) -> Tensor:
    """Return the gradient by the left matrices."""
    check_letters({"grad_output": (grad_output, "npq"), "mat2": (mat2, "nkq")})
    leaf = leaf_of(grad_output.new_zeros(*grad_output.shape[:2], mat2.shape[1]))
    return backward(torch.bmm(leaf, mat2), leaf, grad_output)


def bmm_grad_mat2(grad_output: Tensor, input: Tensor) -> Tensor:
    """Return the gradient by the right matrices."""
    check_letters({"grad_output": (grad_output, "npq"), "input": (input, "npk")})
    leaf = leaf_of(grad_output.new_zeros(len(input), input.shape[2], grad_output.shape[2]))
    return backward(torch.bmm(input, leaf), leaf, grad_output)


def broadcast_matmul(input: Tensor, other: Tensor) -> Tensor:
    """Return torch.matmul, whatever the axes."""
    check_matmul((*input.shape,), (*other.shape,))
    return torch.matmul(input, other)


def broadcast_matmul_grad_input(
    grad_output: Tensor, other: Tensor, *, input_shape: Shape
) -> Tensor:
    """Return the gradient by the left operand."""
    check_matmul(input_shape, (*other.shape,))
    leaf = leaf_of(grad_output.new_zeros(input_shape))
    return backward(torch.matmul(leaf, other), leaf, grad_output)


def broadcast_matmul_grad_other(
    grad_output: Tensor, input: Tensor, *, other_shape: Shape
) -> Tensor:
    """Return the gradient by the right operand."""
    check_matmul((*input.shape,), other_shape)
    leaf = leaf_of(grad_output.new_zeros(other_shape))
    return backward(torch.matmul(input, leaf), leaf, grad_output)


SIDES = {"grad_output": "nm", "input1": "na", "input2": "nb", "weight": "mab", "bias": "m"}


def _check_bilinear(**tensors: Any) -> None:
    check_letters({name: (tensor, SIDES[name]) for name, tensor in tensors.items()})


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return PyTorch's bilinear."""
    _check_bilinear(input1=input1, input2=input2, weight=weight, bias=bias)
    return F.bilinear(input1, input2, weight, bias)


def bilinear_grad_input1(grad_output: Tensor, input2: Tensor, weight: Tensor) -> Tensor:
    """Return the gradient by input1."""
    _check_bilinear(grad_output=grad_output, input2=input2, weight=weight)
    leaf = leaf_of(grad_output.new_zeros(len(input2), weight.shape[1]))
    return backward(F.bilinear(leaf, input2, weight), leaf, grad_output)


def bilinear_grad_input2(grad_output: Tensor, input1: Tensor, weight: Tensor) -> Tensor:
    """Return the gradient by input2."""
    _check_bilinear(grad_output=grad_output, input1=input1, weight=weight)
    leaf = leaf_of(grad_output.new_zeros(len(input1), weight.shape[2]))
    return backward(F.bilinear(input1, leaf, weight), leaf, grad_output)


def bilinear_grad_weight(grad_output: Tensor, input1: Tensor, input2: Tensor) -> Tensor:
    """Return the gradient by the weight."""
    _check_bilinear(grad_output=grad_output, input1=input1, input2=input2)
    sides = grad_output.shape[1], input1.shape[1], input2.shape[1]
    leaf = leaf_of(grad_output.new_zeros(sides))
    return backward(F.bilinear(input1, input2, leaf), leaf, grad_output)


def bilinear_grad_bias(grad_output: Tensor) -> Tensor:
    """Return the gradient by the bias."""
    check_letters({"grad_output": (grad_output, "nm")})
    return grad_output.sum(0)


def bilinear_vjp(
    grad_output: Tensor, input1: Tensor, input2: Tensor, weight: Tensor,
    bias: Tensor | None = None,
) -> tuple[Tensor | None, ...]:  # fmt: skip
    """Return all gradients, None by a bias that is None."""
    given = [input1, input2, weight, bias]
    leaves = [None if one is None else leaf_of(one) for one in given]
    y = bilinear(*leaves)  # type: ignore[arg-type]
    return all_backward(y, leaves, grad_output)


def all_backward(
    y: Tensor, leaves: list[Tensor | None], grad_output: Tensor
) -> tuple[Tensor | None, ...]:
    """Return what each leaf receives, None where there is none.

    Raises:
        ValueError: dy does not have the shape of y.
    """
    if y.shape != grad_output.shape:
        raise ValueError(f"dy has shape {[*grad_output.shape]}, y {[*y.shape]}")
    some = [one for one in leaves if one is not None]
    found = iter(torch.autograd.grad(y, some, grad_output))
    return tuple(None if one is None else next(found) for one in leaves)


def rotary_embedding(
    x: Tensor, cos: Tensor, sin: Tensor, *, interleaved: bool, offset: int
) -> Tensor:
    """Return x with its pairs turned, as complex numbers are by a product."""
    check_letters({"x": (x, "nhte"), "cos": (cos, "md"), "sin": (sin, "md")})
    check_rotary((*x.shape,), (*cos.shape,), offset)
    steps, pairs = x.shape[2], cos.shape[1]
    c, s = (table[offset : offset + steps] for table in (cos, sin))
    part, rest = x[..., : 2 * pairs], x[..., 2 * pairs :]
    shape = (pairs, 2) if interleaved else (2, pairs)
    a, b = part.reshape(*part.shape[:-1], *shape).unbind(-1 if interleaved else -2)
    both = torch.stack((a * c - b * s, b * c + a * s), -1 if interleaved else -2)
    return torch.cat((both.flatten(-2), rest), -1)


def rotary_embedding_grad(
    grad_output: Tensor, cos: Tensor, sin: Tensor, *, interleaved: bool, offset: int
) -> Tensor:
    """Return the gradient by x."""
    leaf = leaf_of(torch.zeros_like(grad_output))
    y = rotary_embedding(leaf, cos, sin, interleaved=interleaved, offset=offset)
    return backward(y, leaf, grad_output)
