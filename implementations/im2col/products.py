"""Matrix products and their gradients."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gradoracle.implementations.im2col.halves import in_float32
from gradoracle.implementations.shapes import (
    Shape,
    check_letters,
    check_matmul,
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
