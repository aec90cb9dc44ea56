"""Embeddings, gather, scatter_add and index_select: their records, and the indices of their calls.

Indices are drawn in four ways: any, the last few, all of them in some order, all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from gradoracle.conformance.operators.of_arrays import AXIS, Sizes, of_arrays
from gradoracle.conformance.operators.of_formula import of_formula
from gradoracle.conformance.operators.record import Policies
from gradoracle.oracle.declaration import Call, Formula
from gradoracle.oracle.derive import GRAD_OUTPUT
from gradoracle.oracle.formulas import indexing
from gradoracle.oracle.shapes import Array, Shape

LONG = 1000  # rows of a table
LAST = 3  # rows that one way of drawing keeps to
# Tokens, entries of the table and columns as networks have them.
TABLES = (("a sentence", (12, 30, 8)), ("one token", (1, 50, 16)), ("positions", (8, 8, 12)))


def places(seed: int, shape: Shape, count: int) -> Array:
    """Return indices below `count`: any, the last few, all in some order, or all the same.

    Of a long table the last row is among them: others are seldom past what 16 bits hold.
    """
    random, size = np.random.default_rng(seed), prod(shape)
    flat = (
        lambda: random.integers(0, count, size),
        lambda: random.integers(max(0, count - LAST), count, size),
        lambda: random.permutation(max(size, count))[:size] % count,
        lambda: np.full(size, random.choice((0, count - 1))),
    )[seed % 4]()
    if size and count > LONG:
        flat[seed % size] = count - 1
    return np.asarray(flat, np.int64).reshape(shape)


def _kept(index: Any, shape: Shape, count: int, seed: int) -> Array:
    """Return the indices of a call, those that are too large made smaller; new ones if need be."""
    if getattr(index, "dtype", None) != np.int64 or index.shape != shape:
        return places(seed, shape, max(1, count))
    return np.asarray(index if not index.size or index.max() < count else index % max(1, count))


def _with_tokens(call: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return the call with rows of the table as its input, some of them the padding."""
    rows, padding = len(call["weight"]), call["padding_idx"]
    drawn = call["input"].dtype != np.int64
    index = _kept(call["input"], call[GRAD_OUTPUT].shape[:2], rows, seed)
    if drawn and padding is not None:
        where = np.random.default_rng(seed).integers(0, 4, index.shape) == 0
        index = np.where(where, padding % rows, index)
    return {**call, "input": index}


def _paddings(sizes: Sizes) -> list[int | None]:
    last = max(1, sizes["v"]) - 1
    return [None, 0, last, -1, last // 2]


def _embedding(torch: Any) -> Callable[..., Any]:
    def embedding(input: Any, weight: Any, *, padding_idx: int | None) -> Any:
        return torch.nn.functional.embedding(input, weight, padding_idx)

    return embedding


def _is_lost(policies: Policies, formula: Formula, call: Call) -> bool:
    """Return whether a dy that is not finite meets the padding: it is left out, or times 0."""
    del policies
    if call["padding_idx"] is None or formula is indexing.embedding.forward:
        return False
    padding = call["input"] == call["padding_idx"] % len(call["weight"])
    return not bool(np.isfinite(call[GRAD_OUTPUT][padding]).all())


def _longest(shape: Shape, sizes: Sizes, options: Mapping[str, Any]) -> Shape:
    """Return the shape of an index: along the axis any, along others at most the array's."""
    place = options[AXIS] % len(shape)
    return tuple(
        sizes["count"] if axis == place else max(min(1, side), side - sizes["less"])
        for axis, side in enumerate(shape)
    )


def _gathered(shape: Shape, sizes: Sizes, options: dict[str, Any]) -> Mapping[str, Shape]:
    return {"input": shape, GRAD_OUTPUT: _longest(shape, sizes, options)}


def _scattered(shape: Shape, sizes: Sizes, options: dict[str, Any]) -> Mapping[str, Shape]:
    return {"input": shape, "src": _longest(shape, sizes, options), GRAD_OUTPUT: shape}


def _selected(shape: Shape, sizes: Sizes, options: dict[str, Any]) -> Mapping[str, Shape]:
    place = options[AXIS] % len(shape)
    return {
        "input": shape,
        GRAD_OUTPUT: (*shape[:place], sizes["count"], *shape[place + 1 :]),
    }


def _with_index(like: str) -> Callable[[dict[str, Any], int], dict[str, Any]]:
    """Return what adds an index of the shape of another array."""

    def complete(call: dict[str, Any], seed: int) -> dict[str, Any]:
        count = call["input"].shape[call[AXIS]] if _is_axis(call) else 1
        return {**call, "index": _kept(call.get("index"), call[like].shape, count, seed)}

    return complete


def _with_entries(call: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return the call with an index of the entries that the result has."""
    if not _is_axis(call):
        return call
    entries = call[GRAD_OUTPUT].shape[call[AXIS]]
    count = call["input"].shape[call[AXIS]]
    return {**call, "index": _kept(call.get("index"), (entries,), count, seed)}


def _is_axis(call: Call) -> bool:
    axes: int = call["input"].ndim
    return bool(-axes <= call[AXIS] < axes)


def _gather(torch: Any) -> Callable[..., Any]:
    def gather(input: Any, index: Any, *, axis: int) -> Any:
        return torch.gather(input, axis, index)

    return gather


def _scatter_add(torch: Any) -> Callable[..., Any]:
    def scatter_add(input: Any, index: Any, src: Any, *, axis: int) -> Any:
        return torch.scatter_add(input, axis, index, src)

    return scatter_add


def _index_select(torch: Any) -> Callable[..., Any]:
    def index_select(input: Any, index: Any, *, axis: int) -> Any:
        return torch.index_select(input, axis, index)

    return index_select


EMBEDDING = replace(
    of_formula(
        indexing.embedding, _embedding, options={"padding_idx": _paddings}, complete=_with_tokens,
        layers=TABLES,
    ),
    unsettled=_is_lost,
)  # fmt: skip
COUNT = {"count": (1, 6)}
LESS = {"less": (0, 1)}
GATHER = of_arrays(
    indexing.gather, _gather, _gathered, counts=COUNT, flags=LESS, along=True,
    complete=_with_index(GRAD_OUTPUT),
)  # fmt: skip
SCATTER_ADD = of_arrays(
    indexing.scatter_add, _scatter_add, _scattered, counts=COUNT, flags=LESS, along=True,
    complete=_with_index("src"),
)  # fmt: skip
INDEX_SELECT = of_arrays(
    indexing.index_select, _index_select, _selected, counts=COUNT, along=True,
    complete=_with_entries,
)  # fmt: skip

INDEXED = (EMBEDDING, GATHER, INDEX_SELECT, SCATTER_ADD)
