"""Matrix products, the bilinear layer and the rotary embedding, and their gradients."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gradoracle.implementations.im2col.halves import in_float32
from gradoracle.implementations.shapes import (
    Shape,
    check_letters,
    check_matmul,
    check_rotary,
    check_same_shape,
)

Array: TypeAlias = npt.NDArray[Any]


def _product(one: Array, other: Array) -> Array:
    found: Array = one @ other
    return found


@in_float32
def matmul(input: Array, other: Array) -> Array:
    """Return input other [N, M].

    Raises:
        ValueError: the shapes do not fit each other.
    """
    check_letters({"input": (input, "nk"), "other": (other, "km")})
    return _product(input, other)


@in_float32
def matmul_grad_input(grad_output: Array, other: Array) -> Array:
    """Return dy other^T [N, K].

    Raises:
        ValueError: the shapes do not fit each other.
    """
    check_letters({"grad_output": (grad_output, "nm"), "other": (other, "km")})
    return _product(grad_output, other.T)


@in_float32
def matmul_grad_other(grad_output: Array, input: Array) -> Array:
    """Return input^T dy [K, M].

    Raises:
        ValueError: the shapes do not fit each other.
    """
    check_letters({"grad_output": (grad_output, "nm"), "input": (input, "nk")})
    return _product(input.T, grad_output)


@in_float32
def bmm(input: Array, mat2: Array) -> Array:
    """Return input mat2 [N, P, Q] of every matrix.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    check_letters({"input": (input, "npk"), "mat2": (mat2, "nkq")})
    return _product(input, mat2)


@in_float32
def bmm_grad_input(grad_output: Array, mat2: Array) -> Array:
    """Return dy mat2^T [N, P, K] of every matrix.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    check_letters({"grad_output": (grad_output, "npq"), "mat2": (mat2, "nkq")})
    return _product(grad_output, mat2.swapaxes(1, 2))


@in_float32
def bmm_grad_mat2(grad_output: Array, input: Array) -> Array:
    """Return input^T dy [N, K, Q] of every matrix.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    check_letters({"grad_output": (grad_output, "npq"), "input": (input, "npk")})
    return _product(input.swapaxes(1, 2), grad_output)


@in_float32
def broadcast_matmul(input: Array, other: Array) -> Array:
    """Return what numpy.matmul does.

    Raises:
        ValueError: the shapes do not fit each other, or nothing is summed.
    """
    check_matmul(input.shape, other.shape)
    return np.asarray(input @ other)


@in_float32
def broadcast_matmul_grad_input(
    grad_output: Array, other: Array, *, input_shape: Shape
) -> Array:  # fmt: skip
    """Return dy other^T, summed over the batch along which input was broadcast.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    dy = _as_matrices(grad_output, input_shape, other.shape)
    columns = other[:, np.newaxis] if other.ndim == 1 else other
    return _summed_to(dy @ columns.swapaxes(-1, -2), input_shape, (1, *input_shape))


@in_float32
def broadcast_matmul_grad_other(
    grad_output: Array, input: Array, *, other_shape: Shape
) -> Array:  # fmt: skip
    """Return input^T dy, summed over the batch along which other was broadcast.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    dy = _as_matrices(grad_output, input.shape, other_shape)
    rows = input[np.newaxis] if input.ndim == 1 else input
    return _summed_to(rows.swapaxes(-1, -2) @ dy, other_shape, (*other_shape, 1))


def _as_matrices(dy: Array, one: Shape, other: Shape) -> Array:
    """Return dy with the axes of vectors back.

    Raises:
        ValueError: it does not have the shape of the product.
    """
    shape = check_matmul(one, other)
    if dy.shape != shape:
        raise ValueError(f"grad_output has shape {dy.shape}, the product {shape}")
    wide = dy if len(other) > 1 else dy[..., np.newaxis]
    return wide if len(one) > 1 else wide[..., np.newaxis, :]


def _summed_to(full: Array, shape: Shape, of_vector: Shape) -> Array:
    """Return the sum over what was broadcast: leading axes, and sides that were 1."""
    whole = shape if len(shape) > 1 else of_vector
    leading = full.ndim - len(whole)
    ones = [leading + at for at, side in enumerate(whole) if side == 1]
    found = full.sum((*range(leading), *ones), keepdims=True)
    return np.asarray(found.reshape(shape))


@in_float32
def bilinear(input1: Array, input2: Array, weight: Array, bias: Array | None = None) -> Array:
    """Return y [N, M], one product of matrices and a sum over what is left.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    _check_bilinear(input1=input1, input2=input2, weight=weight, bias=bias)
    y: Array = np.matmul(_by_input2(input2, weight), input1[:, :, np.newaxis])[..., 0]
    return y if bias is None else y + bias


def _by_input2(input2: Array, weight: Array) -> Array:
    """Return sum_b weight[m,a,b] input2[n,b], [N, M, A]."""
    outputs, one, other = weight.shape
    flat = input2 @ weight.reshape(outputs * one, other).T
    return flat.reshape(len(input2), outputs, one)


SIDES = {"grad_output": "nm", "input1": "na", "input2": "nb", "weight": "mab", "bias": "m"}


def _check_bilinear(**arrays: Array | None) -> None:
    check_letters({name: (array, SIDES[name]) for name, array in arrays.items()})


@in_float32
def bilinear_grad_input1(grad_output: Array, input2: Array, weight: Array) -> Array:
    """Return sum_m dy[n,m] sum_b weight[m,a,b] input2[n,b].

    Raises:
        ValueError: the shapes do not fit each other.
    """
    _check_bilinear(grad_output=grad_output, input2=input2, weight=weight)
    each = _by_input2(input2, weight)
    dx: Array = np.matmul(grad_output[:, np.newaxis], each)[:, 0]
    return dx


@in_float32
def bilinear_grad_input2(grad_output: Array, input1: Array, weight: Array) -> Array:
    """Return sum_m dy[n,m] sum_a weight[m,a,b] input1[n,a].

    Raises:
        ValueError: the shapes do not fit each other.
    """
    _check_bilinear(grad_output=grad_output, input1=input1, weight=weight)
    return bilinear_grad_input1(grad_output, input1, weight.swapaxes(1, 2))


@in_float32
def bilinear_grad_weight(grad_output: Array, input1: Array, input2: Array) -> Array:
    """Return sum_n dy[n,m] input1[n,a] input2[n,b].

    Raises:
        ValueError: the shapes do not fit each other.
    """
    _check_bilinear(grad_output=grad_output, input1=input1, input2=input2)
    pairs = grad_output[:, :, np.newaxis] * input1[:, np.newaxis]
    outputs, one = pairs.shape[1:]
    dw: Array = pairs.reshape(len(pairs), outputs * one).T @ input2
    return dw.reshape(outputs, one, input2.shape[1])


@in_float32
def bilinear_grad_bias(grad_output: Array) -> Array:
    """Return the sum of dy over the batch.

    Raises:
        ValueError: grad_output does not have two axes.
    """
    check_letters({"grad_output": (grad_output, "nm")})
    db: Array = grad_output.sum(0)
    return db


def bilinear_vjp(
    grad_output: Array, input1: Array, input2: Array, weight: Array, bias: Array | None = None
) -> tuple[Array | None, ...]:
    """Return the gradients by all arguments, None by a bias that is None.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    _check_bilinear(weight=weight, bias=bias)
    return (
        bilinear_grad_input1(grad_output, input2, weight),
        bilinear_grad_input2(grad_output, input1, weight),
        bilinear_grad_weight(grad_output, input1, input2),
        None if bias is None else bilinear_grad_bias(grad_output),
    )


@in_float32
def rotary_embedding(
    x: Array, cos: Array, sin: Array, *, interleaved: bool, offset: int
) -> Array:  # fmt: skip
    """Return x with its pairs of features turned by the angles of their places.

    Raises:
        ValueError: the shapes do not fit each other, or offset is negative.
    """
    return _turned(x, cos, sin, interleaved, offset, sign=1)


@in_float32
def rotary_embedding_grad(
    grad_output: Array, cos: Array, sin: Array, *, interleaved: bool, offset: int
) -> Array:  # fmt: skip
    """Return dy with its pairs turned back.

    Raises:
        ValueError: as `rotary_embedding`.
    """
    return _turned(grad_output, cos, sin, interleaved, offset, sign=-1)


def _turned(
    x: Array, cos: Array, sin: Array, interleaved: bool, offset: int, *, sign: int  # noqa: FBT001
) -> Array:  # fmt: skip
    check_letters({"x": (x, "nhte"), "cos": (cos, "md")})
    check_same_shape(cos, sin)
    check_rotary(x.shape, cos.shape, offset)
    steps, pairs = x.shape[2], cos.shape[1]
    c, s = (table[offset : offset + steps] for table in (cos, sin))
    s = s if sign > 0 else -s
    even = slice(0, 2 * pairs, 2) if interleaved else slice(0, pairs)
    odd = slice(1, 2 * pairs, 2) if interleaved else slice(pairs, 2 * pairs)
    y: Array = np.array(x)
    y[..., even] = x[..., even] * c - x[..., odd] * s
    y[..., odd] = x[..., odd] * c + x[..., even] * s
    return y
