"""Average pooling to a given size: its record, with PyTorch's function beside."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from gradoracle.conformance.operators.moved_pixels import PLANE, written
from gradoracle.conformance.operators.of_formula import Further, Sizes
from gradoracle.conformance.operators.record import Corner, Styles, named_function
from gradoracle.oracle.formulas import adaptive_pool

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
