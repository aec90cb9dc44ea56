"""Matrix products and their gradients, as loops.

Index names: b matrix of the batch, i row, j column, k what is summed over.  The documents have
none; names and semantics are PyTorch's.  The three operators differ in their shapes only:
`matmul` has two matrices, `bmm` a batch of each, `broadcast_matmul` all that torch.matmul takes.
"""

from __future__ import annotations

from math import prod

import numpy as np

from gradoracle.oracle.axes import Axes
from gradoracle.oracle.compiled_loops import run
from gradoracle.oracle.declaration import declare_axes, multilinear
from gradoracle.oracle.shapes import Array, Shape, check_shape


@multilinear("input", "other", images="kept")
def matmul(input: Array, other: Array) -> Array:
    """Return y [N, M] from input [N, K] and other [K, M].

        y[n,m] = sum_k input[n,k] other[k,m]

    (the product of two matrices, as torch.matmul has it of two axes).  dtype follows input.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    _check_axes("input", input, "[N, K]")
    _check_axes("other", other, "[K, M]")
    _check_inner("other", other.shape[0], input.shape[1], "input's columns demand")
    y = np.zeros((input.shape[0], other.shape[1]), input.dtype)
    return _summed(_rows_by_columns, y, input, other, input.shape[1])


@multilinear("grad_output", "other", images="kept")
def matmul_grad_input(grad_output: Array, other: Array) -> Array:
    """Return dinput [N, K] from dy [N, M] and other [K, M].

        dinput[n,k] = sum_m dy[n,m] other[k,m]

    (the same, differentiated: dy other^T).  dtype follows dy.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    _check_axes("grad_output", grad_output, "[N, M]")
    _check_axes("other", other, "[K, M]")
    _check_inner("other", other.shape[1], grad_output.shape[1], "dy's columns demand")
    dx = np.zeros((grad_output.shape[0], other.shape[0]), grad_output.dtype)
    return _summed(_rows_by_rows, dx, grad_output, other, other.shape[1])


@multilinear("grad_output", "input", images="summed")
def matmul_grad_other(grad_output: Array, input: Array) -> Array:
    """Return dother [K, M] from dy [N, M] and input [N, K].

        dother[k,m] = sum_n dy[n,m] input[n,k]

    (the same, differentiated: input^T dy).  dtype follows dy.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    _check_axes("grad_output", grad_output, "[N, M]")
    _check_axes("input", input, "[N, K]")
    _check_inner("input", input.shape[0], grad_output.shape[0], "dy's rows demand", "N")
    do = np.zeros((input.shape[1], grad_output.shape[1]), grad_output.dtype)
    return _summed(_columns_by_columns, do, grad_output, input, input.shape[0])


@multilinear("input", "mat2", images="kept")
def bmm(input: Array, mat2: Array) -> Array:
    """Return y [N, P, Q] from input [N, P, K] and mat2 [N, K, Q].

        y[n,p,q] = sum_k input[n,p,k] mat2[n,k,q]

    (the products of two batches of matrices, as torch.bmm has them).  dtype follows input.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    _check_axes("input", input, "[N, P, K]")
    _check_axes("mat2", mat2, "[N, K, Q]")
    _check_inner("mat2", mat2.shape[1], input.shape[2], "input's columns demand")
    _check_inner("mat2", len(mat2), len(input), "input's batch demands", "N")
    y = np.zeros((*input.shape[:2], mat2.shape[2]), input.dtype)
    return _summed(_rows_by_columns, y, input, mat2, input.shape[2])


@multilinear("grad_output", "mat2", images="kept")
def bmm_grad_input(grad_output: Array, mat2: Array) -> Array:
    """Return dinput [N, P, K] from dy [N, P, Q] and mat2 [N, K, Q].

        dinput[n,p,k] = sum_q dy[n,p,q] mat2[n,k,q]

    (the same, differentiated: dy mat2^T of every matrix).  dtype follows dy.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    _check_axes("grad_output", grad_output, "[N, P, Q]")
    _check_axes("mat2", mat2, "[N, K, Q]")
    _check_inner("mat2", mat2.shape[2], grad_output.shape[2], "dy's columns demand")
    _check_inner("mat2", len(mat2), len(grad_output), "dy's batch demands", "N")
    dx = np.zeros((*grad_output.shape[:2], mat2.shape[1]), grad_output.dtype)
    return _summed(_rows_by_rows, dx, grad_output, mat2, mat2.shape[2])


@multilinear("grad_output", "input", images="kept")
def bmm_grad_mat2(grad_output: Array, input: Array) -> Array:
    """Return dmat2 [N, K, Q] from dy [N, P, Q] and input [N, P, K].

        dmat2[n,k,q] = sum_p dy[n,p,q] input[n,p,k]

    (the same, differentiated: input^T dy of every matrix).  dtype follows dy.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    _check_axes("grad_output", grad_output, "[N, P, Q]")
    _check_axes("input", input, "[N, P, K]")
    _check_inner("input", input.shape[1], grad_output.shape[1], "dy's rows demand")
    _check_inner("input", len(input), len(grad_output), "dy's batch demands", "N")
    do = np.zeros((len(input), input.shape[2], grad_output.shape[2]), grad_output.dtype)
    return _summed(_columns_by_columns, do, grad_output, input, input.shape[1])


def _check_axes(name: str, array: Array, axes: str) -> None:
    """Raise ValueError unless an array has these axes, empty only where they count images."""
    letters = axes[1:-1].split(", ")
    if array.ndim != len(letters):
        raise ValueError(f"{name} must have {len(letters)} axes {axes}, got {[*array.shape]}")
    for letter, side in zip(letters, array.shape, strict=True):
        if side < 1 and letter != "N":
            raise ValueError(f"{name} {axes} must have {letter} of at least 1, got {side}")


def _check_inner(name: str, got: int, want: int, reason: str, letter: str = "") -> None:
    """Raise ValueError unless a side is as long as another array's."""
    if got != want:
        side = f" along {letter}" if letter else ""
        raise ValueError(f"{name} is {got} long{side}, but {reason} {want}")


# -- the loops: matrices in batches, or one of each --------------------------------------------


def _summed(loops: object, out: Array, one: Array, other: Array, terms: int) -> Array:
    """Fill a result of two or three axes."""
    whole, a, b = (x if x.ndim == 3 else x[np.newaxis] for x in (out, one, other))
    at = np.arange(len(whole))
    run(loops, whole, a, b, at, at, at, products=whole.size * terms)  # type: ignore[arg-type]
    return out


def _rows_by_columns(y: Array, x: Array, w: Array, to: Array, left: Array, right: Array) -> None:
    for b in range(len(to)):
        for i in range(x.shape[1]):
            for j in range(w.shape[2]):
                total = y[to[b], i, j]
                for k in range(x.shape[2]):
                    total += x[left[b], i, k] * w[right[b], k, j]
                y[to[b], i, j] = total


def _rows_by_rows(dx: Array, dy: Array, w: Array, to: Array, left: Array, right: Array) -> None:
    for b in range(len(to)):
        for i in range(dy.shape[1]):
            for k in range(w.shape[1]):
                total = dx[to[b], i, k]
                for j in range(dy.shape[2]):
                    total += dy[left[b], i, j] * w[right[b], k, j]
                dx[to[b], i, k] = total


def _columns_by_columns(
    dw: Array, dy: Array, x: Array, to: Array, left: Array, right: Array
) -> None:
    for b in range(len(to)):
        for k in range(x.shape[2]):
            for j in range(dy.shape[2]):
                total = dw[to[b], k, j]
                for i in range(dy.shape[1]):
                    total += dy[left[b], i, j] * x[right[b], i, k]
                dw[to[b], k, j] = total


declare_axes(
    Axes(
        "input: n k; other: k m; grad_output: n m",
        {"n": "images", "m": "columns", "k": "inner sides"},
    ),
    matmul, matmul_grad_input, matmul_grad_other,
)  # fmt: skip
declare_axes(
    Axes(
        "input: n p k; mat2: n k q; grad_output: n p q",
        {"n": "images", "p": "rows", "q": "columns", "k": "inner sides"},
    ),
    bmm, bmm_grad_input, bmm_grad_mat2,
)  # fmt: skip


# -- as torch.matmul broadcasts ------------------------------------------------------------------


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
    run(_rows_by_columns, flat, *arrays, *places, products=y.size * left.shape[-1])
    return y.reshape(_result(input.shape, other.shape, batch))


@multilinear("grad_output", "other", images="mixed")
def broadcast_matmul_grad_input(grad_output: Array, other: Array, *, input_shape: Shape) -> Array:
    """Return dinput, of input_shape, from dy and other.

        dinput[...,p,k] = sum of dy[...,p,q] other[...,k,q] over q
                          and over the batch along which input was broadcast

    (as torch.matmul, differentiated).  dtype follows dy.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    blank = np.broadcast_to(grad_output.dtype.type(0), input_shape)
    left, right, batch = _operands(blank, other)
    dy = _received(grad_output, input_shape, other.shape, batch)
    dx = np.zeros(left.shape, grad_output.dtype)
    arrays = (dy, _matrices(right), _places(left.shape, batch), np.arange(len(dy)))
    flat, places = _matrices(dx), _places(right.shape, batch)
    run(_rows_by_rows, flat, *arrays, places, products=dy.size * left.shape[-1])
    return dx.reshape(input_shape)


@multilinear("grad_output", "input", images="mixed")
def broadcast_matmul_grad_other(grad_output: Array, input: Array, *, other_shape: Shape) -> Array:
    """Return dother, of other_shape, from dy and input.

        dother[...,k,q] = sum of dy[...,p,q] input[...,p,k] over p
                          and over the batch along which other was broadcast

    (as torch.matmul, differentiated).  dtype follows dy.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    blank = np.broadcast_to(grad_output.dtype.type(0), other_shape)
    left, right, batch = _operands(input, blank)
    dy = _received(grad_output, input.shape, other_shape, batch)
    do = np.zeros(right.shape, grad_output.dtype)
    arrays = (dy, _matrices(left), _places(right.shape, batch), np.arange(len(dy)))
    flat, places = _matrices(do), _places(left.shape, batch)
    run(_columns_by_columns, flat, *arrays, places, products=dy.size * left.shape[-1])
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
