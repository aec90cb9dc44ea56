"""Logarithmic axes with round numbers."""

from __future__ import annotations

from typing import Any

TICKS = (
    0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.7, 1, 1.5, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000,
)  # fmt: skip
BETWEEN = (0.7, 1.5)  # left out where an axis is long


def scaled(axes: Any, axis: Any, ends: tuple[float, float]) -> None:
    """Make an axis logarithmic, at least from half to twice as much, with round numbers on it."""
    low, high = (max(end, 1e-3) for end in ends)
    if high < 2 * low:
        middle = (low * high) ** 0.5
        low, high = middle / 1.5, middle * 1.5
    is_x = axis is axes.xaxis
    (axes.set_xscale if is_x else axes.set_yscale)("log")
    (axes.set_xlim if is_x else axes.set_ylim)(low, high)
    left_out = BETWEEN if high > 20 * low else ()
    ticks = [tick for tick in TICKS if low <= tick <= high and tick not in left_out]
    axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.set_ticks([], minor=True)
