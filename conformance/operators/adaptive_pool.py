"""Average and max pooling to a given size: their records, with PyTorch's functions beside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from gradoracle.conformance.operators import max_pool
from gradoracle.conformance.operators.moved_pixels import PLANE, written
from gradoracle.conformance.operators.of_formula import Further, Sizes
from gradoracle.conformance.operators.record import (
    Corner,
    Operator,
    Styles,
    named_function,
)
from gradoracle.oracle.float_formats import widened
from gradoracle.oracle.formulas import adaptive_max_pool, adaptive_pool

# Channels, rows, columns and outputs as networks have them.
LAYERS = (
    ("global, ResNet", (4, 7, 7, 1, 1)), ("VGG at another size", (2, 9, 9, 7, 7)),
    ("AlexNet", (2, 6, 6, 6, 6)), ("PSPNet", (1, 12, 12, 6, 6)), ("SPP", (1, 13, 13, 4, 4)),
)  # fmt: skip
TINY = {"n": 1, "c": 2, "h": 7, "w": 5, "i": 1, "j": 1}


def _options(sizes: Sizes) -> Mapping[str, Any]:
    return {
        "output_size": (sizes["i"], sizes["j"]), "input_shape": tuple(sizes[n] for n in PLANE)
    }  # fmt: skip


CORNERS = tuple(
    Corner(f"{h}x{w} pixels to {i}x{j}", {**TINY, "h": h, "w": w, "i": i, "j": j}, in_turn=True)
    for h, w, i, j in (
        (8, 8, 2, 4), (7, 5, 3, 2), (10, 9, 7, 7), (3, 4, 7, 9), (33, 35, 32, 34), (64, 48, 4, 3),
        (181, 182, 1, 1), (5, 7, 5, 7), (2, 3, 33, 65),
    )
)  # fmt: skip
ADAPTIVE_AVG_POOL2D = written(
    adaptive_pool.adaptive_avg_pool2d, adaptive_pool.adaptive_avg_pool2d_grad_input,
    partial(named_function, "adaptive_avg_pool2d"),
    further=Further((*PLANE, "i", "j"), options=_options), numbers=Styles(), corners=CORNERS,
    layers=LAYERS,
)  # fmt: skip


def _with_indices(call: dict[str, Any], seed: int) -> dict[str, Any]:
    """Add the indices of the maxima, which the gradient is given."""
    del seed
    x, sides = widened(call["x"]), call["output_size"]
    return {**call, "indices": adaptive_max_pool.adaptive_max_pool2d_indices(x, output_size=sides)}


def _maxima(torch: Any) -> Callable[..., Any]:
    return partial(torch.nn.functional.adaptive_max_pool2d, return_indices=True)


def _of_maxima() -> Operator:
    of = adaptive_max_pool.ADAPTIVE_MAX_POOLING
    record = written(
        of.values, of.grad_input, _maxima,
        further=Further((*PLANE, "i", "j"), options=_options), numbers=max_pool.STYLES,
        corners=CORNERS, layers=LAYERS,
    )  # fmt: skip
    return replace(
        record, also=(of.indices,), gradients={of.grad_input: "x", of.vjp: "x"},
        complete=_with_indices, unsettled=max_pool.unsettled,
    )  # fmt: skip


ADAPTIVE_MAX_POOL2D = _of_maxima()
