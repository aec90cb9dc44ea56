"""Rows of a table that tokens name, and the gradient by the table."""

from typing import Any

from gradoracle.implementations.cupy_kernels.machine import Machine
from gradoracle.implementations.cupy_kernels.placement import place
from gradoracle.implementations.cupy_kernels.places import (
    NOWHERE,
    added,
    check_inside,
    chosen,
)
from gradoracle.implementations.shapes import Array, check_letters


def embedding(input: Array, weight: Array, *, padding_idx: int | None) -> Array:
    """Return the rows [N, T, D] of weight [V, D] that input [N, T] names.

    Raises:
        ValueError: the shapes do not fit, or an index or padding_idx names no row.
    """
    machine, (weight, tokens) = _placed(weight=weight, input=input)
    _padding(padding_idx, len(weight))
    return chosen(machine, weight, tokens, 0, (*tokens.shape, weight.shape[1]))


def embedding_grad(
    grad_output: Array, input: Array, weight: Array, *, padding_idx: int | None
) -> Array:
    """Return for each row of weight the sum of dy where input names it; 0 for the padding.

    Raises:
        ValueError: as `embedding`, or dy does not have the shape of the result.
    """
    machine, (weight, tokens, dy) = _placed(weight=weight, input=input, grad_output=grad_output)
    padding = _padding(padding_idx, len(weight))
    return added(machine, dy, tokens, weight.shape, 0, padding)


def _placed(**arrays: Any) -> tuple[Machine, list[Any]]:
    """Return the machine and the arrays there.

    Raises:
        ValueError: the shapes do not fit, or a token names no row.
    """
    machine, placed = place(integers={"input": "int64"}, **arrays)
    letters = {"weight": "vd", "input": "nt", "grad_output": "ntd"}
    pairs = zip(arrays, placed, strict=True)
    check_letters({name: (array, letters[name]) for name, array in pairs})
    check_inside(machine, placed[1], len(placed[0]))
    return machine, placed


def _padding(padding_idx: int | None, rows: int) -> int:
    """Return the row of the padding, counted from the first.

    Raises:
        ValueError: there is no such row.
    """
    if padding_idx is None:
        return NOWHERE
    if not -rows <= padding_idx < rows:
        raise ValueError(f"padding_idx {padding_idx} is no row of {rows}")
    return padding_idx % rows
