"""How the windows of a convolution or a pooling meet its image: as numbers, and as a picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.pages.heat_maps import (
    MARGIN,
    SIDE,
    cell,
    cell_width,
    largest,
    shade,
    svg,
)
from gradoracle.conformance.reports.worked_example import written
from gradoracle.oracle.declaration import Call, Formula
from gradoracle.oracle.shapes import Array, Shape, extent

Kind: TypeAlias = Literal["pixel", "tap", "window"]
LARGEST = 2**16  # pixels, taps or windows along an axis
SHOWN = 14  # cells along a side of a picture
OUTLINED = 6  # windows
TAKEN = 64  # meetings along an axis, and in words
TAPS = 4  # of a window in words


class Meeting(NamedTuple):
    """A window whose tap lies on a pixel, along one axis."""

    window: int
    tap: int
    pixel: int


class Axis(NamedTuple):
    """The windows along one axis: window i has tap p on pixel i*stride + p*dilation - padding."""

    pixels: int = 1
    taps: int = 1
    windows: int = 1
    stride: int = 1
    padding: int = 0
    dilation: int = 1

    def meetings(self, kind: Kind, at: int) -> list[Meeting]:
        """Return what meets at a pixel, a tap or a window."""
        windows = range(at, at + 1) if kind == "window" else range(self.windows)
        taps = range(at, at + 1) if kind == "tap" else range(self.taps)
        if kind == "pixel":
            found = [divmod(at + self.padding - p * self.dilation, self.stride) for p in taps]
            return [
                Meeting(i, p, at)
                for p, (i, rest) in zip(taps, found, strict=True)
                if not rest and 0 <= i < self.windows
            ]
        met = [
            Meeting(i, p, i * self.stride + p * self.dilation - self.padding)
            for i in windows
            for p in taps
        ]
        return [one for one in met if 0 <= one.pixel < self.pixels]

    def start(self, window: int) -> int:
        """Return the pixel under a window's first tap, which may lie in the padding."""
        return window * self.stride - self.padding

    @property
    def extent(self) -> int:
        """How many pixels a window spans."""
        return extent(self.taps, self.dilation)

    @property
    def cells(self) -> range:
        """The pixels with their padding, and what windows cover beyond it."""
        end = max(self.pixels + self.padding, self.start(self.windows - 1) + self.extent)
        return range(-self.padding, end)


class Geometry(NamedTuple):
    """How windows meet an image, and what an element of a formula's answer is in it."""

    axes: tuple[Axis, ...]
    kind: Kind
    image: str  # the array of the pixels

    def meetings(self, place: Sequence[int]) -> list[list[Meeting]]:
        """Return what meets in an element of the answer, axis by axis."""
        at = place[len(place) - len(self.axes) :]
        return [axis.meetings(self.kind, one) for axis, one in zip(self.axes, at, strict=True)]


def geometry_of(operator: Operator, formula: Formula, call: Call, answer: Shape) -> Geometry | None:
    """Return how the windows of a call meet its image, where an element of the answer is in it.

    None: the formula has no windows, or not all of their sizes are known.
    """
    axes, rank = operator.axes, operator.axes.rank
    result = operator.argument_of(formula) or "grad_output"
    shapes = {n: v.shape for n, v in call.items() if isinstance(v, np.ndarray)}
    shapes |= {of: tuple(call[n]) for n, of in axes.shapes.items() if n in call}
    shapes[result] = answer
    roles = _roles(operator)
    sizes = {kind: shapes[n][-rank:] for n, kind in roles.items() if len(shapes.get(n, ())) > rank}
    if axes.window and axes.window in call:
        sizes["tap"] = tuple(call[axes.window])
    if len(sizes) < 3 or result not in roles:
        return None
    options = [_sides(call.get(n, default), rank) for n, default in OPTIONS.items()]
    numbers = [*(sizes[kind] for kind in ("pixel", "tap", "window")), *options]
    if any(len(one) != rank or max(one) > LARGEST for one in numbers) or not _is_legal(numbers):
        return None
    found = tuple(Axis(*one) for one in zip(*numbers, strict=True))
    return Geometry(found, roles[result], axes.strided)


OPTIONS = {"stride": 1, "padding": 0, "dilation": 1}


def _roles(operator: Operator) -> dict[str, Kind]:
    """Return what the spatial axes of an operator's arrays count."""
    axes = operator.axes
    if not axes.strided:
        return {}
    spatial = [name for name, at in axes.space.items() if at]
    roles: dict[str, Kind] = {
        name: "tap" if name == "weight" else "window" for name in spatial if name != "indices"
    }
    roles[axes.strided] = "pixel"
    return roles


def _sides(value: Any, rank: int) -> tuple[int, ...]:
    return (value,) * rank if isinstance(value, int) else tuple(value)


def _is_legal(numbers: Sequence[Sequence[int]]) -> bool:
    *positive, padding, dilation = numbers
    return min(map(min, (*positive, dilation))) >= 1 and min(padding) >= 0


# -- the picture ----------------------------------------------------------------------------------


class Windows(NamedTuple):
    """A picture of the windows that meet in an element, and each of them in words."""

    svg: str
    lines: list[tuple[int, str]]  # the number of its colour, and its taps
    more: int  # windows that have no line


def picture(geometry: Geometry, place: Sequence[int], image: Array | None) -> Windows:
    """Draw the windows that meet in an element over the padded image.

    `image` are the pixels of the plane [*pixels], if they are known. Of three axes the slice is
    drawn in which the element's first pixel lies.
    """
    met = geometry.meetings(place)
    axes = (Axis(), *geometry.axes)[-2:]
    flat = [some[:TAKEN] for some in ([Meeting(0, 0, 0)], *met)[-2:]]
    sliced = None
    if image is not None:
        depth = [m[0].pixel for m in met[:-2] if m]
        sliced = image[tuple(depth)] if len(depth) == image.ndim - 2 else None
        sliced = image.reshape(1, -1) if image.ndim == 1 else sliced
    pairs = [(a, b) for a in flat[0] for b in flat[1]]
    count = math.prod(len({one.window for one in some}) for some in met)
    lines = _lines(met)[:OUTLINED]
    return Windows(_drawn(axes, pairs, sliced), lines, count - len(lines))


def _lines(met: Sequence[Sequence[Meeting]]) -> list[tuple[int, str]]:
    """Return each window with the taps that meet there and their pixels, and its colour."""
    found: dict[tuple[int, ...], list[str]] = {}
    for places in islice(np.ndindex(*map(len, met)), TAKEN):
        one = [m[at] for m, at in zip(met, places, strict=True)]
        taps = found.setdefault(tuple(m.window for m in one), [])
        tap, pixel = (_index([m[n] for m in one]) for n in (1, 2))
        taps.append(f"tap {tap} on pixel {pixel}" if len(taps) < TAPS else "...")
    colours = {window: n for n, window in enumerate(dict.fromkeys(w[-2:] for w in found))}
    return [
        (colours[window[-2:]] % 4, f"window {_index(window)}: {', '.join(dict.fromkeys(taps))}")
        for window, taps in found.items()
    ]


def _index(numbers: Sequence[int]) -> str:
    return f"[{', '.join(map(str, numbers))}]"


def _drawn(
    axes: Sequence[Axis], pairs: Sequence[tuple[Meeting, Meeting]], image: Array | None
) -> str:
    rows, columns = (_cropped(axis, [pair[n] for pair in pairs]) for n, axis in enumerate(axes))
    values = _values(axes, rows, columns, image)
    width = cell_width(text for text, _ in values.values())
    place = _Places(rows, columns, width)
    most = 1.0 if image is None else largest(image)
    parts = _pixels(values, place, most)
    parts += _starts(axes, place)
    for n, (one, other) in enumerate(_by_window(pairs)[:OUTLINED]):
        parts += _window(axes, (one, other), place, n)
    parts += _marked(pairs, place)
    sides = MARGIN + len(columns) * width + 6, MARGIN + len(rows) * SIDE + 6
    return svg(sides, _spoken(axes, pairs), parts)


class _Places(NamedTuple):
    """Where cells are drawn: pixels of an image by their place in the picture."""

    rows: range
    columns: range
    width: int

    def cell(self, row: int, column: int, inset: float = 1) -> str:
        return cell(row - self.rows.start, column - self.columns.start, self.width, inset)

    def centre(self, row: int, column: int) -> tuple[float, float]:
        x = MARGIN + (column - self.columns.start + 0.5) * self.width
        return x, MARGIN + (row - self.rows.start + 0.5) * SIDE

    def has(self, row: int, column: int) -> bool:
        return row in self.rows and column in self.columns


def _cropped(axis: Axis, met: Sequence[Meeting]) -> range:
    """Return the cells to draw along an axis: all, or those of the windows that meet."""
    cells = axis.cells
    if len(cells) <= SHOWN:
        return cells
    middle = met[0].pixel if met else 0
    start = min(max(cells.start, middle - SHOWN // 2), cells.stop - SHOWN)
    return range(start, start + SHOWN)


def _values(
    axes: Sequence[Axis], rows: range, columns: range, image: Array | None
) -> dict[tuple[int, int], tuple[str, float]]:
    """Return the text and the number of each pixel that is drawn."""
    pixels = [
        (h, w)
        for h in rows if 0 <= h < axes[0].pixels
        for w in columns if 0 <= w < axes[1].pixels
    ]  # fmt: skip
    if image is None:
        return dict.fromkeys(pixels, ("", 0.0))
    return {at: (written(image[at]), float(image[at])) for at in pixels}


def _pixels(
    values: Mapping[tuple[int, int], tuple[str, float]], place: _Places, most: float
) -> list[str]:
    paths: dict[str, str] = {}
    for at in ((h, w) for h in place.rows for w in place.columns):
        css = "padding" if at not in values else shade(values[at][1], most)
        paths[css] = paths.get(css, "") + place.cell(*at)
    parts = [f'<path class="{css}" d="{path}"/>' for css, path in paths.items()]
    for at, (text, _) in values.items():
        x, y = place.centre(*at)
        parts.append(f'<text x="{x:g}" y="{y + 4:g}">{text}</text>')
    return parts


def _starts(axes: Sequence[Axis], place: _Places) -> list[str]:
    """Return a tick at the start of every window, along both sides: a stride apart."""
    path = ""
    rows, columns = (
        [at for at in map(axis.start, range(axis.windows)) if axis.windows > 1 and at in cells]
        for axis, cells in zip(axes, (place.rows, place.columns), strict=True)
    )
    for at in columns:
        path += f"M{place.centre(0, at)[0] - 4:g} {MARGIN - 9}h8l-4 6z"
    for at in rows:
        path += f"M{MARGIN - 9} {place.centre(at, 0)[1] - 4:g}v8l6 -4z"
    return [f'<path class="start" d="{path}"/>'] if path else []


def _by_window(pairs: Sequence[tuple[Meeting, Meeting]]) -> list[tuple[Meeting, Meeting]]:
    """Return the first meeting of each window."""
    found: dict[tuple[int, int], tuple[Meeting, Meeting]] = {}
    for one, other in pairs:
        found.setdefault((one.window, other.window), (one, other))
    return [*found.values()]


def _window(
    axes: Sequence[Axis], pair: tuple[Meeting, Meeting], place: _Places, number: int
) -> list[str]:
    """Return a window's outline and a mark on each of its taps."""
    top, left = (axis.start(one.window) for axis, one in zip(axes, pair, strict=True))
    inset = 1.5 + 2 * (number % 3)
    x = MARGIN + (left - place.columns.start) * place.width + inset
    y = MARGIN + (top - place.rows.start) * SIDE + inset
    w = axes[1].extent * place.width - 2 * inset
    h = axes[0].extent * SIDE - 2 * inset
    outline = f'<path class="window w{number % 4}" d="M{x:g} {y:g}h{w:g}v{h:g}h{-w:g}z"/>'
    dots = ""
    for p in range(axes[0].taps):
        for q in range(axes[1].taps):
            at = top + p * axes[0].dilation, left + q * axes[1].dilation
            if place.has(*at):
                u, v = place.centre(*at)
                dots += f"M{u - place.width / 2 + 6:g} {v - 9:g}h4v4h-4z"
    return [outline, f'<path class="tap w{number % 4}" d="{dots}"/>']


def _marked(pairs: Sequence[tuple[Meeting, Meeting]], place: _Places) -> list[str]:
    """Return rings around the pixels that take part."""
    pixels = dict.fromkeys((one.pixel, other.pixel) for one, other in pairs)
    path = "".join(place.cell(*at, 4) for at in pixels if place.has(*at))
    return [f'<path class="ring" d="{path}"/>'] if path else []


def _spoken(axes: Sequence[Axis], pairs: Sequence[tuple[Meeting, Meeting]]) -> str:
    names = ("stride", "padding", "dilation")
    options = [f"{n} {_index([getattr(axis, n) for axis in axes])}" for n in names]
    return f"the image with its padding and the windows, {', '.join(options)}: {len(pairs)} meet"
