"""Max unpooling: its record, with indices that differ within a plane, and PyTorch's function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from gradoracle.conformance.operators.moved_pixels import PLANE, written
from gradoracle.conformance.operators.of_formula import Further, Sizes
from gradoracle.conformance.operators.record import Corner, Operator, Policies
from gradoracle.oracle.declaration import Call, Formula
from gradoracle.oracle.formulas import max_unpool
from gradoracle.oracle.shapes import Array, Sides, check_sides

# Channels, rows and columns, and those of the result, as networks have them.
LAYERS = (
    ("SegNet", (2, 4, 6, 8, 12)), ("DeconvNet", (2, 7, 7, 14, 14)),
    ("an odd side", (2, 5, 6, 11, 13)), ("one pixel", (3, 1, 1, 2, 2)),
    ("as many pixels", (2, 5, 4, 5, 4)),
)  # fmt: skip
TINY = {"n": 1, "c": 2}
CORNERS = tuple(
    Corner(f"{h}x{w} pixels to {i}x{j}", {**TINY, "h": h, "w": w, "i": i, "j": j}, in_turn=True)
    for h, w, i, j in (
        (1, 1, 1, 1), (3, 5, 6, 10), (4, 3, 13, 7), (33, 32, 66, 65), (129, 3, 258, 7),
        (150, 151, 300, 302),
    )
)  # fmt: skip


def _lengths(sizes: Sizes) -> Sizes:
    """Return sizes of a result that has as many rows and columns at least."""
    return {**sizes, "i": max(sizes["i"], sizes["h"]), "j": max(sizes["j"], sizes["w"])}


def _options(sizes: Sizes) -> Mapping[str, Any]:
    """Return the option, and the shape of the planes that indices count in."""
    outputs = (sizes["i"], sizes["j"])
    return {"output_size": outputs, "input_shape": (sizes["n"], sizes["c"], *outputs)}


def _differ(indices: Array, plane: int) -> bool:
    """Return whether no two indices of a plane are the same."""
    lines = np.sort(indices.reshape(-1, prod(indices.shape[2:])), axis=1)
    return bool((np.diff(lines, axis=1) > 0).all() and (lines >= 0).all() and (lines < plane).all())


def _drawn(shape: tuple[int, ...], outputs: Sides, seed: int) -> Array:
    """Return indices as max pooling gives them, one in each window, or anywhere in the plane."""
    random, (tall, wide) = np.random.default_rng(seed), outputs
    if seed % 2:
        down, across = np.arange(shape[2])[:, np.newaxis], np.arange(shape[3])
        rows, columns = (
            random.integers(at * count // size, (at + 1) * count // size, shape)
            for at, count, size in ((down, tall, shape[2]), (across, wide, shape[3]))
        )
        return np.asarray(rows * wide + columns)
    order = np.argsort(random.random((*shape[:2], tall * wide)), axis=2)
    return order[:, :, : prod(shape[2:])].reshape(shape)


def _with_indices(call: dict[str, Any], seed: int) -> dict[str, Any]:
    """Add indices that differ within each plane; those of a call are kept where they fit."""
    shape: tuple[int, ...] = call["x"].shape
    found: Any = call.get("indices")
    try:
        outputs = check_sides("output_size", call["output_size"], 2, smallest=1)
    except ValueError:
        outputs = (0, 0)
    kept = isinstance(found, np.ndarray) and found.dtype == np.int64 and found.shape == shape
    if kept and (not found.size or _differ(found, prod(outputs))):
        return call
    fits = len(shape) == 4 and all(a <= b for a, b in zip(shape[2:], outputs, strict=True))
    return {**call, "indices": _drawn(shape, outputs, seed) if fits else np.zeros(shape, np.int64)}


def _repeats(policies: Policies, formula: Formula, call: Call) -> bool:
    """Return whether indices repeat: PyTorch says that any of several results is right."""
    del policies, formula
    found = call["indices"]
    return bool(found.size) and not _differ(found, int(found.max()) + 1)


def _witness(torch: Any) -> Callable[..., Any]:
    def unpool(x: Any, indices: Any, *, output_size: Any) -> Any:
        return torch.ops.aten.max_unpool2d(x, indices, output_size)

    return unpool


def _record() -> Operator:
    record = written(
        max_unpool.max_unpool2d, max_unpool.max_unpool2d_grad_input, _witness,
        further=Further((*PLANE, "i", "j"), lengths=_lengths, options=_options), corners=CORNERS,
        layers=LAYERS,
    )  # fmt: skip
    return replace(record, complete=_with_indices, unsettled=_repeats)


MAX_UNPOOL2D = _record()
