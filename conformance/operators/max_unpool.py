"""Max unpooling: its record, with indices that differ within a plane, and PyTorch's function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from math import prod
from typing import Any

import numpy as np

from gradoracle.conformance.operators.moved_pixels import written
from gradoracle.conformance.operators.of_formula import Further, Sizes
from gradoracle.conformance.operators.record import Corner, Operator, Policies
from gradoracle.conformance.operators.spatial import (
    MOST,
    SHARES,
    images,
    layers_of_rank,
    pixels,
    resized,
    windows,
)
from gradoracle.oracle.declaration import Call, Formula
from gradoracle.oracle.formulas.max_unpool import MAX_UNPOOLINGS
from gradoracle.oracle.ranks import RANKS
from gradoracle.oracle.shapes import Array, Sides, check_sides

# Channels, rows and columns, and those of the result, as networks have them.
LAYERS = (
    ("SegNet", (2, 4, 6, 8, 12)), ("DeconvNet", (2, 7, 7, 14, 14)),
    ("an odd side", (2, 5, 6, 11, 13)), ("one pixel", (3, 1, 1, 2, 2)),
    ("as many pixels", (2, 5, 4, 5, 4)),
)  # fmt: skip
SIDES = (
    (1, 1, 1, 1), (3, 5, 6, 10), (4, 3, 13, 7), (33, 32, 66, 65), (129, 3, 258, 7),
    (150, 151, 300, 302),
)  # fmt: skip


def _lengths(rank: int, sizes: Sizes) -> Sizes:
    """Return sizes of a result that is at least as long along every axis."""
    both = zip(windows(rank), pixels(rank), strict=True)
    return {**sizes, **{i: max(sizes[i], sizes[h]) for i, h in both}}


def _options(rank: int, sizes: Sizes) -> Mapping[str, Any]:
    """Return the option, and the shape of the planes that indices count in."""
    outputs = tuple(sizes[letter] for letter in windows(rank))
    return {"output_size": outputs, "input_shape": (sizes["n"], sizes["c"], *outputs)}


def _differ(indices: Array, plane: int) -> bool:
    """Return whether no two indices of a plane are the same."""
    lines = np.sort(indices.reshape(-1, prod(indices.shape[2:])), axis=1)
    return bool((np.diff(lines, axis=1) > 0).all() and (lines >= 0).all() and (lines < plane).all())


def _drawn(shape: tuple[int, ...], outputs: Sides, seed: int) -> Array:
    """Return indices as max pooling gives them, one in each window, or anywhere in the plane."""
    random, places = np.random.default_rng(seed), np.zeros(shape, np.int64)
    if seed % 2:
        for axis, (size, count) in enumerate(zip(shape[2:], outputs, strict=True)):
            at = np.arange(size).reshape(-1, *(1,) * (len(outputs) - 1 - axis))
            found = random.integers(at * count // size, (at + 1) * count // size, shape)
            places = places * count + found
        return places
    order = np.argsort(random.random((*shape[:2], prod(outputs))), axis=2)
    return order[:, :, : prod(shape[2:])].reshape(shape)


def _with_indices(call: dict[str, Any], seed: int) -> dict[str, Any]:
    """Add indices that differ within each plane; those of a call are kept where they fit."""
    shape: tuple[int, ...] = call["x"].shape
    found: Any = call.get("indices")
    try:
        outputs = check_sides("output_size", call["output_size"], len(shape) - 2, smallest=1)
    except (ValueError, KeyError):
        outputs = (0,) * len(shape[2:])
    kept = isinstance(found, np.ndarray) and found.dtype == np.int64 and found.shape == shape
    if kept and (not found.size or _differ(found, prod(outputs))):
        return call
    fits = all(a <= b for a, b in zip(shape[2:], outputs, strict=True))
    return {**call, "indices": _drawn(shape, outputs, seed) if fits else np.zeros(shape, np.int64)}


def _repeats(policies: Policies, formula: Formula, call: Call) -> bool:
    """Return whether indices repeat: PyTorch says that any of several results is right."""
    del policies, formula
    found = call["indices"]
    return bool(found.size) and not _differ(found, int(found.max()) + 1)


def max_unpooling(rank: int) -> Operator:
    """Return the record of a max unpooling of `rank` spatial axes."""
    of = MAX_UNPOOLINGS[rank]

    def witness(torch: Any) -> Callable[..., Any]:
        def unpool(x: Any, indices: Any, *, output_size: Sides) -> Any:
            if rank == 3:  # its stride and padding only have to be legal
                return torch.ops.aten.max_unpool3d(x, indices, output_size, (1,) * 3, (0,) * 3)
            if rank == 2:
                return torch.ops.aten.max_unpool2d(x, indices, output_size)
            lifted = (one.unsqueeze(2) for one in (x, indices))
            return torch.ops.aten.max_unpool2d(*lifted, (1, *output_size)).squeeze(2)

        return unpool

    corners = tuple(
        Corner(what, {"n": 1, "c": 2, **sides}, in_turn=True)
        for what, sides in resized(rank, SIDES)
    )
    further = Further(
        (*images(rank), *windows(rank)), lengths=partial(_lengths, rank),
        options=partial(_options, rank),
    )  # fmt: skip
    record = written(
        of.forward, of.grad_input, witness, further=further, corners=corners,
        layers=layers_of_rank(rank, LAYERS), share=SHARES[rank], most=MOST[rank],
    )  # fmt: skip
    return replace(record, complete=_with_indices, unsettled=_repeats)


MAX_UNPOOLS = tuple(map(max_unpooling, RANKS))
MAX_UNPOOL1D, MAX_UNPOOL2D, MAX_UNPOOL3D = MAX_UNPOOLS
