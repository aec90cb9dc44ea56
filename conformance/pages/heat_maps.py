"""Arrays as heat maps with their numbers, in SVG: blue above 0, orange below."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from gradoracle.conformance.reports.worked_example import written
from gradoracle.oracle.shapes import Array, Shape

SIDE, LETTER, MARGIN = 30, 7.3, 20  # pixels: a cell's height, a letter's width, room for indices
LEVELS = 6  # shades of a sign
WHOLE, PART = 10, 9  # a plane with longer sides is cropped to so many rows or columns
PLANES = 4  # of an array that are shown
SPOKEN = 25  # cells whose numbers the label says


class Plane(NamedTuple):
    """A part of an array's last two axes: at `place` on the axes before them."""

    place: Shape
    rows: range
    columns: range


class Marks(NamedTuple):
    """Elements that are ringed, and those that are wrong; None: no element."""

    rings: Array | None = None
    wrong: Array | None = None


NONE = Marks()


class Map(NamedTuple):
    """A picture of a plane, with what stands above it."""

    caption: str
    svg: str


def maps(
    array: Array, name: str, marks: Marks = NONE, *, start: Sequence[int] = (),
    most: float | None = None,
) -> list[Map]:  # fmt: skip
    """Return heat maps of an array: all of a small one, else what is near the marked elements.

    `start` is the place of its first element in the array that it is a part of; `most` what the
    darkest shade stands for, by default its largest number.
    """
    planes = array.reshape((1,) * max(0, 2 - array.ndim) + array.shape)
    first = (0,) * (planes.ndim - len(start)) + tuple(start)
    rings, wrong = (None if one is None else one.reshape(planes.shape) for one in marks)
    focus = wrong if wrong is not None and wrong.any() else rings
    top = largest(array) if most is None else most
    return [
        Map(
            _caption(one, first, array.ndim),
            heat_map(_of(planes, one), f"{name}{_caption(one, first, array.ndim)}", top,
                     Marks(_of(rings, one), _of(wrong, one)),
                     (one.rows.start + first[-2], one.columns.start + first[-1])),
        )
        for one in planes_of(planes.shape, focus)
    ]  # fmt: skip


def largest(*arrays: Array) -> float:
    """Return the largest finite absolute value, or 1 where there is none."""
    sizes = [abs(np.asarray(array, np.float64)) for array in arrays]
    finite = [one[np.isfinite(one)].max(initial=0.0) for one in sizes]
    return float(max(finite, default=0.0)) or 1.0


def planes_of(shape: Shape, focus: Array | None) -> list[Plane]:
    """Return which parts of which planes are shown: those with elements in focus."""
    places = [*np.ndindex(shape[:-2])] if np.prod(shape) else []
    if focus is not None and focus.any():
        places = [one for one in places if focus[one].any()]
    return [
        Plane(one, *_part(shape[-2:], None if focus is None else focus[one]))
        for one in places[:PLANES]
    ]


def _part(sides: Shape, focus: Array | None) -> tuple[range, range]:
    at = (0, 0) if focus is None or not focus.any() else tuple(np.argwhere(focus)[0].tolist())
    rows, columns = (_around(place, side) for place, side in zip(at, sides, strict=True))
    return rows, columns


def _around(place: int, side: int) -> range:
    if side <= WHOLE:
        return range(side)
    start = min(max(0, place - PART // 2), side - PART)
    return range(start, start + PART)


def _of(array: Array | None, plane: Plane) -> Array | None:
    if array is None:
        return None
    rows, columns = plane.rows, plane.columns
    part: Array = array[plane.place][rows.start : rows.stop, columns.start : columns.stop]
    return part


def _caption(plane: Plane, start: Sequence[int], axes: int) -> str:
    """Return a plane's place on the axes before the last two, as an index."""
    if axes <= 2:
        return ""
    places = [place + at for place, at in zip(plane.place, start, strict=False)]
    return f"[{', '.join(map(str, places))}]"


def heat_map(
    array: Array | None, name: str, most: float, marks: Marks = NONE, start: Shape = (0, 0)
) -> str:
    """Return an SVG of a table of numbers, whose first element is the one at `start`."""
    assert array is not None  # noqa: S101 - for the type checker
    texts = [[written(v) for v in row] for row in array.tolist()]
    width = cell_width(text for row in texts for text in row)
    rows, columns = array.shape
    sides = MARGIN + columns * width, MARGIN + rows * SIDE
    parts = [*_shades(array, most, width), *_indices(rows, columns, width, start)]
    parts += [
        f'<text x="{_middle(j, width)}" y="{_base(i)}">{text}</text>'
        for i, row in enumerate(texts)
        for j, text in enumerate(row)
    ]
    for css, mask in zip(("ring", "wrong"), marks, strict=True):
        parts += _frames(css, mask, width)
    return svg(sides, _spoken(name, texts), parts)


def svg(sides: tuple[float, float], label: str, parts: Sequence[str]) -> str:
    """Return an SVG of a size in pixels, with a label for those who do not see it."""
    width, height = (f"{side:g}" for side in sides)
    return (
        f'<svg class="map" role="img" aria-label="{escape(label)}" width="{width}" '
        f'height="{height}" viewBox="0 0 {width} {height}">{"".join(parts)}</svg>'
    )


def cell_width(texts: Iterator[str]) -> int:
    """Return how wide cells must be for their texts."""
    return max(SIDE, math.ceil(LETTER * max(map(len, texts), default=1)) + 8)


def cell(row: int, column: int, width: int, inset: float = 1) -> str:
    """Return the outline of a cell as a path, `inset` pixels inside it."""
    x, y = MARGIN + column * width + inset, MARGIN + row * SIDE + inset
    w, h = width - 2 * inset, SIDE - 2 * inset
    return f"M{x:g} {y:g}h{w:g}v{h:g}h{-w:g}z"


def shade(value: float, most: float) -> str:
    """Return the class of a number: its sign and how much of the largest it is."""
    if not math.isfinite(value):
        return "odd"
    level = math.ceil(LEVELS * abs(value) / most) if value else 0
    return f"{'n' if value < 0 else 'p'}{min(level, LEVELS)}" if level else "zero"


def _shades(array: Array, most: float, width: int) -> Iterator[str]:
    """Yield one path of all cells of each shade."""
    paths: dict[str, str] = {}
    for (i, j), value in np.ndenumerate(array):
        css = shade(float(value), most)
        paths[css] = paths.get(css, "") + cell(i, j, width)
    for css, path in paths.items():
        yield f'<path class="{css}" d="{path}"/>'


def _frames(css: str, mask: Array | None, width: int) -> Iterator[str]:
    if mask is not None and mask.any():
        path = "".join(cell(i, j, width, 2.5) for i, j in np.argwhere(mask).tolist())
        yield f'<path class="{css}" d="{path}"/>'


def _indices(rows: int, columns: int, width: int, start: Shape) -> Iterator[str]:
    """Yield the indices of columns and rows."""
    if rows > 1:
        for i in range(rows):
            yield f'<text class="at" x="{MARGIN / 2:g}" y="{_base(i)}">{start[0] + i}</text>'
    if columns > 1:
        for j in range(columns):
            at = f"{MARGIN - 7}"
            yield f'<text class="at" x="{_middle(j, width)}" y="{at}">{start[1] + j}</text>'


def _middle(column: int, width: int) -> str:
    return f"{MARGIN + column * width + width / 2:g}"


def _base(row: int) -> str:
    return f"{MARGIN + row * SIDE + SIDE / 2 + 4:g}"


def _spoken(name: str, texts: Sequence[Sequence[str]]) -> str:
    rows, columns = len(texts), max(map(len, texts), default=0)
    about = f"{name}, {rows} by {columns}"
    if rows * columns > SPOKEN:
        return about
    return f"{about}: {'; '.join(', '.join(row) for row in texts)}"
