"""Curves of a loss: a line of blocks for a terminal, and a picture in SVG."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

BLOCKS = "▁▂▃▄▅▆▇█"
COLUMNS = 60
WIDTH, HEIGHT, MARGIN = 640, 320, 40


def sparkline(losses: Sequence[float], columns: int = COLUMNS) -> str:
    """Return a block for each of so many parts of the steps, as high as their mean loss.

    Raises:
        ValueError: there are no losses.
    """
    means = _means(losses, columns)
    top = max(means) or 1.0
    return "".join(BLOCKS[min(int(m / top * len(BLOCKS)), len(BLOCKS) - 1)] for m in means)


def _means(losses: Sequence[float], columns: int) -> list[float]:
    if not losses:
        raise ValueError("there is no curve of no losses")
    parts = np.array_split(np.asarray(losses, np.float64), min(columns, len(losses)))
    return [float(part.mean()) for part in parts]


def svg(losses: Sequence[float], title: str) -> str:
    """Return a picture of the loss of every step, from 0 up.

    Raises:
        ValueError: there are no losses.
    """
    values = _means(losses, len(losses))
    top = max(values) or 1.0
    across = (WIDTH - 2 * MARGIN) / max(len(values) - 1, 1)
    points = " ".join(
        f"{MARGIN + at * across:.1f},{HEIGHT - MARGIN - v / top * (HEIGHT - 2 * MARGIN):.1f}"
        for at, v in enumerate(values)
    )
    low, right = HEIGHT - MARGIN, WIDTH - MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
        f'<text x="{MARGIN}" y="20">{escape(title)}</text>'
        f'<path d="M{MARGIN} {MARGIN}V{low}H{right}" fill="none" stroke="gray"/>'
        f'<text x="{MARGIN - 4}" y="{MARGIN}" text-anchor="end">{top:.2f}</text>'
        f'<text x="{MARGIN - 4}" y="{low}" text-anchor="end">0</text>'
        f'<text x="{right}" y="{low + 16}" text-anchor="end">{len(values)}</text>'
        f'<polyline points="{points}" fill="none" stroke="steelblue" stroke-width="1.5"/></svg>\n'
    )
