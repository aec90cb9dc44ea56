"""The product of arrays as torch.matmul broadcasts them, and its gradients, as loops."""

from __future__ import annotations

from math import prod

import numpy as np

from gradoracle.oracle.axes import Axes
from gradoracle.oracle.compiled_loops import run
from gradoracle.oracle.declaration import declare_axes, multilinear
from gradoracle.oracle.formulas.products import columns_by_columns, rows_by_columns, rows_by_rows
from gradoracle.oracle.shapes import Array, Shape, check_shape


@multilinear("input", "other", images="mixed")
def broadcast_matmul(input: Array, other: Array) -> Array:
    """Return y from input [..., P, K] or [K] and other [..., K, Q] or [K].

        y[...,p,q] = sum_k input[...,p,k] other[...,k,q]

    (as torch.matmul has it: batches are broadcast to each other; an array of one axis is a row on
    the left and a column on the right, whose axis the result does not have).  dtype follows input.

    Raises:
        ValueError: the shapes do not fit each other, or no numbers are summed.
    """
    left, right, batch = _operands(input, other)
    y = np.zeros((*batch, left.shape[-2], right.shape[-1]), input.dtype)
    flat = y.reshape(prod(batch), *y.shape[-2:])
    arrays = (_matrices(left), _matrices(right), np.arange(len(flat)))
    places = (_places(left.shape, batch), _places(right.shape, batch))
    run(rows_by_columns, flat, *arrays, *places, products=y.size * left.shape[-1])
    return y.reshape(_result(input.shape, other.shape, batch))


@multilinear("grad_output", "other", images="mixed")
def broadcast_matmul_grad_input(grad_output: Array, other: Array, *, input_shape: Shape) -> Array:
    """Return dinput, of input_shape, from dy and other.

        dinput[...,p,k] = sum of dy[...,p,q] other[...,k,q] over q
                          and over the batch along which input was broadcast

    (the derivative of torch.matmul).  dtype follows dy.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    grad_output = np.asarray(grad_output)  # a number, of two arrays of one axis
    blank = np.broadcast_to(grad_output.dtype.type(0), input_shape)
    left, right, batch = _operands(blank, other)
    dy = _received(grad_output, input_shape, other.shape, batch)
    dx = np.zeros(left.shape, grad_output.dtype)
    arrays = (dy, _matrices(right), _places(left.shape, batch), np.arange(len(dy)))
    flat, places = _matrices(dx), _places(right.shape, batch)
    run(rows_by_rows, flat, *arrays, places, products=dy.size * left.shape[-1])
    return dx.reshape(input_shape)


@multilinear("grad_output", "input", images="mixed")
def broadcast_matmul_grad_other(grad_output: Array, input: Array, *, other_shape: Shape) -> Array:
    """Return dother, of other_shape, from dy and input.

        dother[...,k,q] = sum of dy[...,p,q] input[...,p,k] over p
                          and over the batch along which other was broadcast

    (the derivative of torch.matmul).  dtype follows dy.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    grad_output = np.asarray(grad_output)  # a number, of two arrays of one axis
    blank = np.broadcast_to(grad_output.dtype.type(0), other_shape)
    left, right, batch = _operands(input, blank)
    dy = _received(grad_output, input.shape, other_shape, batch)
    do = np.zeros(right.shape, grad_output.dtype)
    arrays = (dy, _matrices(left), _places(right.shape, batch), np.arange(len(dy)))
    flat, places = _matrices(do), _places(left.shape, batch)
    run(columns_by_columns, flat, *arrays, places, products=dy.size * left.shape[-1])
    return do.reshape(other_shape)


def _operands(input: Array, other: Array) -> tuple[Array, Array, Shape]:
    """Return both with two axes at least, and the batch of the result.

    Raises:
        ValueError: they do not fit each other.
    """
    for name, array in (("input", input), ("other", other)):
        if array.ndim < 1:
            raise ValueError(f"{name} must have an axis, got shape {[*array.shape]}")
    left = input if input.ndim > 1 else input[np.newaxis]
    right = other if other.ndim > 1 else other[:, np.newaxis]
    if left.shape[-1] != right.shape[-2] or not left.shape[-1]:
        raise ValueError(
            f"input {[*input.shape]} has {left.shape[-1]} columns and other {[*other.shape]} "
            f"{right.shape[-2]} rows: as many are needed, one at least"
        )
    try:
        batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    except ValueError:
        raise ValueError(
            f"batches of input {[*input.shape]} and other {[*other.shape]} do not broadcast"
        ) from None
    return left, right, batch


def _result(one: Shape, other: Shape, batch: Shape) -> Shape:
    """Return the shape of the product of two shapes."""
    rows = one[-2:-1] if len(one) > 1 else ()
    return (*batch, *rows, *(other[-1:] if len(other) > 1 else ()))


def _received(dy: Array, one: Shape, other: Shape, batch: Shape) -> Array:
    """Return dy as a batch of matrices.

    Raises:
        ValueError: it does not have the shape of the result.
    """
    check_shape("grad_output", dy.shape, _result(one, other, batch), "the product has")
    rows = one[-2] if len(one) > 1 else 1
    columns = other[-1] if len(other) > 1 else 1
    return dy.reshape(prod(batch), rows, columns)


def _matrices(array: Array) -> Array:
    """Return an array as a batch of matrices."""
    return array.reshape(prod(array.shape[:-2]), *array.shape[-2:])


def _places(shape: Shape, batch: Shape) -> Array:
    """Return, for each matrix of the result's batch, which one of an operand it is made of."""
    own = shape[:-2]
    return np.broadcast_to(np.arange(prod(own)).reshape(own), batch).ravel()


declare_axes(
    Axes(
        "input: *; other: *; grad_output: *",
        shapes={"input_shape": "input", "other_shape": "other"},
    ),
    broadcast_matmul, broadcast_matmul_grad_input, broadcast_matmul_grad_other,
)  # fmt: skip
