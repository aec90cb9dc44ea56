"""Products of matrices and their gradients, which are products of the same kernel."""

from typing import Any

import numpy as np

from gradoracle.implementations.cupy_kernels.machine import Machine, Source
from gradoracle.implementations.cupy_kernels.placement import place
from gradoracle.implementations.shapes import Array, check_letters

SOURCE = Source("products.cu", ("product",))
FACTOR = np.dtype([(name, np.int64) for name in ("batch", "row", "column")])
TILE = 16  # products.cu's


def _placed(letters: str, others: str, **arrays: Any) -> tuple[Machine, list[Any]]:
    """Return the machine and two arrays there, of these axes.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    machine, placed = place(**arrays)
    pairs = zip(arrays, zip(placed, (letters, others), strict=True), strict=True)
    check_letters(dict(pairs))
    return machine, placed


def _product(
    machine: Machine, a: Array, b: Array, *, turn_a: bool = False, turn_b: bool = False
) -> Array:
    """Return a b of every matrix, the last two axes of either exchanged where it is turned."""
    of_a, of_b = _factor(a, turn_a), _factor(b, turn_b)
    rows, terms = a.shape[:-3:-1] if turn_a else a.shape[-2:]
    columns = b.shape[-2] if turn_b else b.shape[-1]
    y = machine.empty((*a.shape[:-2], rows, columns), a.dtype)
    if not terms:
        return machine.zeros(y.shape, y.dtype)
    matrices = a.shape[0] if a.ndim > 2 else 1
    machine.sums(
        SOURCE, "product", (a, b, y, of_a, of_b, rows, terms, columns),
        count=matrices * -(-rows // TILE) * -(-columns // TILE), terms=TILE * TILE, dtype=y.dtype,
    )  # fmt: skip
    return y


def _factor(array: Array, turned: bool) -> Any:  # noqa: FBT001
    """Return the kernel's `Factor` of an array in order."""
    rows, columns = array.shape[-2:]
    row, column = (1, columns) if turned else (columns, 1)
    return np.array((rows * columns, row, column), FACTOR)


def matmul(input: Array, other: Array) -> Array:
    """Return input other [N, M].

    Raises:
        ValueError: the shapes do not fit each other.
    """
    machine, (a, b) = _placed("nk", "km", input=input, other=other)
    return _product(machine, a, b)


def matmul_grad_input(grad_output: Array, other: Array) -> Array:
    """Return dy other^T [N, K].

    Raises:
        ValueError: the shapes do not fit each other.
    """
    machine, (dy, b) = _placed("nm", "km", grad_output=grad_output, other=other)
    return _product(machine, dy, b, turn_b=True)


def matmul_grad_other(grad_output: Array, input: Array) -> Array:
    """Return input^T dy [K, M].

    Raises:
        ValueError: the shapes do not fit each other.
    """
    machine, (dy, a) = _placed("nm", "nk", grad_output=grad_output, input=input)
    return _product(machine, a, dy, turn_a=True)


def bmm(input: Array, mat2: Array) -> Array:
    """Return input mat2 [N, P, Q] of every matrix.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    machine, (a, b) = _placed("npk", "nkq", input=input, mat2=mat2)
    return _product(machine, a, b)


def bmm_grad_input(grad_output: Array, mat2: Array) -> Array:
    """Return dy mat2^T [N, P, K] of every matrix.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    machine, (dy, b) = _placed("npq", "nkq", grad_output=grad_output, mat2=mat2)
    return _product(machine, dy, b, turn_b=True)


def bmm_grad_mat2(grad_output: Array, input: Array) -> Array:
    """Return input^T dy [N, K, Q] of every matrix.

    Raises:
        ValueError: the shapes do not fit each other.
    """
    machine, (dy, a) = _placed("npq", "npk", grad_output=grad_output, input=input)
    return _product(machine, a, dy, turn_a=True)
