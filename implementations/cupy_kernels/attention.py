"""Attention with a running maximum, and its gradients."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradoracle.implementations.cupy_kernels.machine import (
    Machine,
    Source,
    accumulator,
    row_threads,
)
from gradoracle.implementations.cupy_kernels.placement import place
from gradoracle.implementations.shapes import Array, Shape, check_attention

SOURCE = Source(
    "attention.cu",
    (
        "attention", "attention_rows", "attention_grad_query", "attention_grad_keys",
        "attention_grad_mask",
    ),
)  # fmt: skip
ATTENTION = np.dtype([(name, np.int32) for name in (*"NQHLSEV", "causal")])


@dataclass(frozen=True)
class Pass:
    """A call of attention: its arrays on their machine, and what kernels take of its options."""

    machine: Machine
    arrays: tuple[Any, ...]  # query, key, value, a mask of booleans, and one that is added
    scale: float
    causal: bool

    @property
    def shape(self) -> Shape:
        """Return the shape [N, Q, L, V] of the result."""
        query, _, value = self.arrays[:3]
        return (*query.shape[:3], value.shape[3])

    @property
    def rows(self) -> int:
        """Return how many rows of queries there are."""
        return math.prod(self.shape[:3])

    @property
    def struct(self) -> Any:
        """Return the kernels' `Attention`."""
        query, key, value = self.arrays[:3]
        n, q, rows, features = query.shape
        sides = (n, q, key.shape[1], rows, key.shape[2], features, value.shape[3])
        return np.array((*sides, self.causal), ATTENTION)

    def launch(
        self, kernel: str, arguments: tuple[Any, ...], count: int, terms: int, features: int
    ) -> None:
        """Launch a kernel with blocks for each of `count` rows, as many as the features need.

        A block has a thread for each of so many terms, or for several.
        """
        parts = -(-features // row_threads(terms))
        first, *more = arguments
        self.machine.rows(
            SOURCE, kernel, (*first, parts, *more), count=count * parts, terms=terms,
            dtype=self.arrays[0].dtype,
        )  # fmt: skip


def passed(
    query: Any, key: Any, value: Any, attn_mask: Any, *, is_causal: bool, scale: float | None,
    enable_gqa: bool, grad_output: Any = None,
) -> tuple[Pass, Any]:  # fmt: skip
    """Return a call of attention, and dy there.

    Raises:
        ValueError: the arguments do not fit each other.
    """
    machine, (query, key, value, mask, dy) = place(
        query=query, key=key, value=value, attn_mask=attn_mask, grad_output=grad_output,
        optional=("attn_mask", "grad_output"), masks=("attn_mask",),
    )  # fmt: skip
    check_attention(query, key, value, mask, is_causal=is_causal, enable_gqa=enable_gqa)
    factor = 1 / math.sqrt(query.shape[3]) if scale is None else float(scale)
    seen, added = (mask, None) if mask is not None and mask.dtype == bool else (None, mask)
    of = Pass(machine, (query, key, value, seen, added), factor, bool(is_causal))
    if dy is not None and dy.shape != of.shape:
        raise ValueError(f"grad_output has shape {dy.shape}, the result {of.shape}")
    return of, dy


def scaled_dot_product_attention(
    query: Array, key: Array, value: Array, attn_mask: Array | None = None, *,
    is_causal: bool, scale: float | None, enable_gqa: bool,
) -> Array:  # fmt: skip
    """Return the means of the values [N, Q, L, V], weighted by softmax(scale query key^T + mask).

    Raises:
        ValueError: the arguments do not fit each other.
    """
    of, _ = passed(
        query, key, value, attn_mask, is_causal=is_causal, scale=scale, enable_gqa=enable_gqa
    )
    y = of.machine.empty(of.shape, of.arrays[0].dtype)
    arguments = ((*of.arrays, y, of.scale, of.struct),)
    keys, features = of.arrays[2].shape[2:]
    of.launch("attention", arguments, of.rows, max(keys, features), features)
    return y


def moments(of: Pass, dy: Array) -> tuple[Any, ...]:
    """Return what the kernels of all gradients begin with: the arrays, and what rows have."""
    dtype = accumulator(dy.dtype)
    found = [of.machine.empty((of.rows,), dtype) for _ in range(3)]
    arguments = (dy, *of.arrays, *found, of.scale, of.struct)
    keys = of.arrays[1].shape[2]
    of.machine.rows(SOURCE, "attention_rows", arguments, count=of.rows, terms=keys, dtype=dy.dtype)
    return arguments


def grad_query(of: Pass, arguments: tuple[Any, ...]) -> Array:
    """Return dquery [N, Q, L, E]."""
    query, key = of.arrays[:2]
    dquery = of.machine.empty(query.shape, query.dtype)
    keys, features = key.shape[2:]
    of.launch(
        "attention_grad_query", ((*arguments, dquery),), of.rows, max(keys, features), features
    )
    return dquery


def grad_keys(of: Pass, arguments: tuple[Any, ...], *, of_value: bool) -> Array:
    """Return dkey [N, H, S, E], or dvalue [N, H, S, V]."""
    query, *others = of.arrays[:3]
    array = others[of_value]
    found = of.machine.empty(array.shape, array.dtype)
    features, rows = array.shape[3], query.shape[1] // array.shape[1] * query.shape[2]
    more = ((*arguments, found), np.int32(of_value))
    count = math.prod(array.shape[:3])
    of.launch("attention_grad_keys", more, count, max(rows, features), features)
    return found


def grad_mask(of: Pass, arguments: tuple[Any, ...]) -> Array:
    """Return dmask [N, Q, L, S]."""
    mask = of.arrays[4]
    found = of.machine.empty(mask.shape, mask.dtype)
    of.machine.each(
        SOURCE, "attention_grad_mask", (*arguments, found, found.size),
        count=found.size, dtype=found.dtype,
    )  # fmt: skip
    return found
