"""Matrix products and their gradients, as loops.

Index names: b matrix of the batch, i row, j column, k what is summed over.  The documents have
none; names and semantics are PyTorch's.  The three operators differ in their shapes only:
`matmul` has two matrices, `bmm` a batch of each, `broadcast_matmul` (`broadcast.py`) all that
torch.matmul takes.
"""

from __future__ import annotations

import numpy as np

from gradoracle.oracle.axes import Axes
from gradoracle.oracle.compiled_loops import run
from gradoracle.oracle.declaration import declare_axes, multilinear
from gradoracle.oracle.shapes import Array


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
    return _summed(rows_by_columns, y, input, other, input.shape[1])


@multilinear("grad_output", "other", images="kept")
def matmul_grad_input(grad_output: Array, other: Array) -> Array:
    """Return dinput [N, K] from dy [N, M] and other [K, M].

        dinput[n,k] = sum_m dy[n,m] other[k,m]

    (the derivative of torch.matmul: dy other^T).  dtype follows dy.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    _check_axes("grad_output", grad_output, "[N, M]")
    _check_axes("other", other, "[K, M]")
    _check_inner("other", other.shape[1], grad_output.shape[1], "dy's columns demand")
    dx = np.zeros((grad_output.shape[0], other.shape[0]), grad_output.dtype)
    return _summed(rows_by_rows, dx, grad_output, other, other.shape[1])


@multilinear("grad_output", "input", images="summed")
def matmul_grad_other(grad_output: Array, input: Array) -> Array:
    """Return dother [K, M] from dy [N, M] and input [N, K].

        dother[k,m] = sum_n dy[n,m] input[n,k]

    (the derivative of torch.matmul: input^T dy).  dtype follows dy.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    _check_axes("grad_output", grad_output, "[N, M]")
    _check_axes("input", input, "[N, K]")
    _check_inner("input", input.shape[0], grad_output.shape[0], "dy's rows demand", "N")
    do = np.zeros((input.shape[1], grad_output.shape[1]), grad_output.dtype)
    return _summed(columns_by_columns, do, grad_output, input, input.shape[0])


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
    return _summed(rows_by_columns, y, input, mat2, input.shape[2])


@multilinear("grad_output", "mat2", images="kept")
def bmm_grad_input(grad_output: Array, mat2: Array) -> Array:
    """Return dinput [N, P, K] from dy [N, P, Q] and mat2 [N, K, Q].

        dinput[n,p,k] = sum_q dy[n,p,q] mat2[n,k,q]

    (the derivative of torch.bmm: dy mat2^T of every matrix).  dtype follows dy.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    _check_axes("grad_output", grad_output, "[N, P, Q]")
    _check_axes("mat2", mat2, "[N, K, Q]")
    _check_inner("mat2", mat2.shape[2], grad_output.shape[2], "dy's columns demand")
    _check_inner("mat2", len(mat2), len(grad_output), "dy's batch demands", "N")
    dx = np.zeros((*grad_output.shape[:2], mat2.shape[1]), grad_output.dtype)
    return _summed(rows_by_rows, dx, grad_output, mat2, mat2.shape[2])


@multilinear("grad_output", "input", images="kept")
def bmm_grad_mat2(grad_output: Array, input: Array) -> Array:
    """Return dmat2 [N, K, Q] from dy [N, P, Q] and input [N, P, K].

        dmat2[n,k,q] = sum_p dy[n,p,q] input[n,p,k]

    (the derivative of torch.bmm: input^T dy of every matrix).  dtype follows dy.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    _check_axes("grad_output", grad_output, "[N, P, Q]")
    _check_axes("input", input, "[N, P, K]")
    _check_inner("input", input.shape[1], grad_output.shape[1], "dy's rows demand")
    _check_inner("input", len(input), len(grad_output), "dy's batch demands", "N")
    do = np.zeros((len(input), input.shape[2], grad_output.shape[2]), grad_output.dtype)
    return _summed(columns_by_columns, do, grad_output, input, input.shape[1])


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


def rows_by_columns(y: Array, x: Array, w: Array, to: Array, left: Array, right: Array) -> None:
    """Add x w to matrices `to` of y, of matrices `left` and `right`."""
    for b in range(len(to)):
        for i in range(x.shape[1]):
            for j in range(w.shape[2]):
                total = y[to[b], i, j]
                for k in range(x.shape[2]):
                    total += x[left[b], i, k] * w[right[b], k, j]
                y[to[b], i, j] = total


def rows_by_rows(dx: Array, dy: Array, w: Array, to: Array, left: Array, right: Array) -> None:
    """Add dy w^T to matrices `to` of dx, of matrices `left` and `right`."""
    for b in range(len(to)):
        for i in range(dy.shape[1]):
            for k in range(w.shape[1]):
                total = dx[to[b], i, k]
                for j in range(dy.shape[2]):
                    total += dy[left[b], i, j] * w[right[b], k, j]
                dx[to[b], i, k] = total


def columns_by_columns(
    dw: Array, dy: Array, x: Array, to: Array, left: Array, right: Array
) -> None:
    """Add x^T dy to matrices `to` of dw, of matrices `left` and `right`."""
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
