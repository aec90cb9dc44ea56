"""Charts in SVG: counts as bars, and values run by run as lines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from types import MappingProxyType

import numpy as np

from gradoracle.conformance.benchmarks.ticks import TICKS
from gradoracle.conformance.pages.heat_maps import svg
from gradoracle.oracle.shapes import Array

WIDTH, HEIGHT = 300, 110
LEFT, BOTTOM = 34, 22
ROOM = 560, 260  # of lines
ASIDE = 46  # of numbers that are written larger on a narrow screen
NAMED = 8  # runs whose names have room below them


def bars(counts: Sequence[int], label: str) -> str:
    """Return counts as bars, the first at 0 and the last at 1."""
    top, step = max(counts) or 1, (WIDTH - LEFT - 6) / len(counts)
    base = HEIGHT - BOTTOM
    parts = [f'<path class="axis" d="M{LEFT} {base}H{WIDTH - 6}"/>']
    for n, count in enumerate(counts):
        height = (base - 16) * count / top
        x = LEFT + n * step + 1.5
        parts.append(
            f'<path class="bar" d="M{x:g} {base}v{-height:.4g}h{step - 3:g}v{height:.4g}z">'
            f"<title>{n / len(counts):g} to {(n + 1) / len(counts):g}: {count}</title></path>"
        )
    parts += [
        f'<text class="at" x="{LEFT + share * (WIDTH - LEFT - 6):g}" y="{HEIGHT - 6}">{share:g}'
        "</text>"
        for share in (0, 0.5, 1)
    ]
    parts.append(f'<text class="at end" x="{LEFT - 6}" y="20">{top}</text>')
    return svg((WIDTH, HEIGHT), f"{label}: {', '.join(map(str, counts))}", parts)


def lines(
    series: Mapping[str, Sequence[float | None]], names: Sequence[str], label: str,
    bands: Mapping[str, Sequence[tuple[float, float] | None]] = MappingProxyType({}),
) -> str:  # fmt: skip
    """Return a line for each series of positive values, on a logarithmic scale.

    `bands` are of the series of the same names: from where to where each of its values may lie.
    """
    ends = [one for some in bands.values() for band in some if band for one in band]
    known = [v for values in series.values() for v in values if v is not None] + ends
    low, high = min([1.0, *known]) / 1.25, max([1.0, *known]) * 1.25
    width, height = ROOM
    across = (width - ASIDE - 40) / max(1, len(names) - 1)

    def at(run: int, value: float) -> tuple[float, float]:
        share = math.log(value / low) / math.log(high / low)
        return ASIDE + 10 + run * across, (height - BOTTOM) - share * (height - BOTTOM - 12)

    parts = []
    for tick in (one for one in TICKS if low <= one <= high):
        y = at(0, tick)[1]
        css = "axis" if tick == 1 else "grid"
        parts.append(f'<path class="{css}" d="M{ASIDE} {y:.1f}H{width - 8}"/>')
        parts.append(f'<text class="at end" x="{ASIDE - 5}" y="{y + 4:.1f}">{tick:g}</text>')
    for run in range(0, len(names), -(-len(names) // NAMED)):
        x = at(run, 1)[0]
        parts.append(f'<text class="at" x="{x:.1f}" y="{height - 6}">{escape(names[run])}</text>')
    for n, title in enumerate(series):
        known_bands = [(run, one) for run, one in enumerate(bands.get(title, ())) if one]
        outline = [at(run, low) for run, (low, _) in known_bands]
        outline += [at(run, high) for run, (_, high) in reversed(known_bands)]
        parts.append(f'<polygon class="band w{n % 4}" points="{_path(outline)}"/>')
        parts += [
            f'<path class="spread w{n % 4}" d="M{at(run, low)[0]:.1f} {at(run, low)[1]:.1f}'
            f'V{at(run, high)[1]:.1f}"/>'
            for run, (low, high) in known_bands
        ]
    for n, (title, values) in enumerate(series.items()):
        runs = [(run, v) for run, v in enumerate(values) if v is not None]
        css = f"w{n % 4} dash{n // 4 % 3}"
        path = _path([at(run, v) for run, v in runs])
        parts.append(f'<polyline class="line {css}" points="{path}"/>')
        parts += [
            f'<circle class="point {css}" cx="{at(run, v)[0]:.1f}" cy="{at(run, v)[1]:.1f}" '
            f'r="3.5"><title>{escape(f"{title}, {names[run]}: {v:.3f}")}</title></circle>'
            for run, v in runs
        ]
    return svg((width, height), label, parts)


def _path(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def curves(z: Array, series: Mapping[str, Array], label: str) -> str:
    """Return functions of one number as lines, on axes through 0."""
    width, height = ROOM
    known = np.concatenate([one[np.isfinite(one)] for one in series.values()])
    low, high = min(-0.5, float(known.min())), max(1.25, float(known.max()))

    def at(x: float, y: float) -> str:
        across = (x - z[0]) / (z[-1] - z[0]) * (width - 40) + 30
        return f"{across:.1f},{(high - y) / (high - low) * (height - 34) + 12:.1f}"

    parts = [
        f'<polyline class="axis" points="{at(z[0], 0)} {at(z[-1], 0)}"/>',
        f'<polyline class="axis" points="{at(0, low)} {at(0, high)}"/>',
    ]
    for tick in range(math.ceil(z[0]), math.floor(z[-1]) + 1):
        x, y = at(tick, low).split(",")
        parts.append(f'<text class="at" x="{x}" y="{float(y) + 16:.1f}">{tick}</text>')
    for tick in range(math.ceil(low), math.floor(high) + 1):
        x, y = at(z[0], tick).split(",")
        parts.append(
            f'<text class="at end" x="{float(x) - 6:.1f}" y="{float(y) + 4:.1f}">{tick}</text>'
        )
    for n, (title, values) in enumerate(series.items()):
        points = " ".join(at(x, y) for x, y in zip(z, values, strict=True) if np.isfinite(y))
        parts.append(
            f'<polyline class="line w{n}" points="{points}"><title>{escape(title)}</title>'
            "</polyline>"
        )
    return svg((width, height), label, parts)
