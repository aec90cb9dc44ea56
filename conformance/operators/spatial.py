"""Sides of one, two and three spatial axes, for records that are drawn by the letters of axes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from gradoracle.conformance.operators.record import Size
from gradoracle.oracle.ranks import PIXELS, WINDOWS

Layers: TypeAlias = tuple[tuple[str, tuple[int, ...]], ...]
Plane: TypeAlias = tuple[int, int, int, int]  # rows and columns, and those of the result

SHARES = {1: 0.1, 2: 0.2, 3: 0.1}
# The product of all sides of x and of the result together, of which there are up to six.
MOST: dict[int, dict[Size, int]] = {
    1: {"small": 60, "medium": 300, "large": 900},
    2: {"small": 60, "medium": 300, "large": 900},
    3: {"small": 200, "medium": 2_000, "large": 6_000},
}
MANY = 5_000  # pixels of a plane past which a volume has one slice


def pixels(rank: int) -> tuple[str, ...]:
    """Return the letters of x's spatial axes."""
    return (*PIXELS[rank].split(),)


def windows(rank: int) -> tuple[str, ...]:
    """Return the letters of the result's spatial axes."""
    return (*WINDOWS[rank].split(),)


def images(rank: int) -> tuple[str, ...]:
    """Return the letters of x's axes, images first."""
    return ("n", "c", *pixels(rank))


def layers_of_rank(rank: int, layers: Layers) -> Layers:
    """Return layers (channels, rows, columns, rows and columns of the result) of so many axes."""
    return tuple((name, (c, *_sides(rank, (h, w, i, j)))) for name, (c, h, w, i, j) in layers)


def resized(rank: int, planes: Sequence[Plane]) -> Iterator[tuple[str, dict[str, int]]]:
    """Yield lengths by letter, each once, with what they are in words.

    Of one axis: every row and every column.  Of three: with a depth, which is the height of every
    second one.
    """
    letters = (*pixels(rank), *windows(rank))
    found = dict.fromkeys(_planes(rank, planes))
    for sides in found:
        size, count = sides[:rank], sides[rank:]
        yield f"{_words(size)} pixels to {_words(count)}", dict(zip(letters, sides, strict=True))


def _planes(rank: int, planes: Sequence[Plane]) -> Iterator[tuple[int, ...]]:
    for at, (h, w, i, j) in enumerate(planes):
        sides = _sides(rank, (h, w, i, j))
        if rank == 1:
            yield (h, i)
        if rank == 3 and at % 2:
            t, k = sides[0], sides[3]
            sides = (h, t, w, i, k, j)
        yield sides


def _sides(rank: int, plane: Plane) -> tuple[int, ...]:
    h, w, i, j = plane
    if rank == 1:
        return (w, j)
    if rank == 2:
        return plane
    t, k = _depth(plane)
    return (t, h, w, k, i, j)


def _depth(plane: Plane) -> tuple[int, int]:
    """Return a depth, and that of the result, which is larger where the result has more rows."""
    h, w, i, j = plane
    if max(h * w, i * j) > MANY:
        return (1, 1)
    if i == h:
        return (2, 2)
    if i > h:
        return (2, 3)
    return (3, 1) if i == 1 else (3, 2)


def _words(sides: Sequence[int]) -> str:
    return "x".join(map(str, sides))
