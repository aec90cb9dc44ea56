"""Padding of images by zeros, by reflection, by the nearest pixel, and around the edge, as loops.

Index names: n image, c channel, (i, j) pixel of the padded image, (h, w) pixel of the image.
`padding` is PyTorch's: (left, right, top, bottom), of sequences (left, right), of volumes with
(front, back) last.  Of these 002 has zeros ("Backward Convolution:
Input Map with Zero-Padding"); they are torch.nn's ZeroPad2d, ReflectionPad2d, ReplicationPad2d and
CircularPad2d.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import index
from typing import NamedTuple, TypeVar

import numpy as np

from gradoracle.oracle.declaration import Formula, declare_axes, multilinear, selection
from gradoracle.oracle.formulas.gathered import NOWHERE, check_plane, sent_back, taken
from gradoracle.oracle.ranks import PIXELS, RANKS, WINDOWS, axes_of_rank, named
from gradoracle.oracle.shapes import SPACE, Array, Shape, Sides
from gradoracle.oracle.windows import Indices

# From a pixel counted from the image's first, maybe negative, and the pixels of a side.
Source = Callable[[int, int], int]
ENDS = {"W": ("left", "right"), "H": ("top", "bottom"), "T": ("front", "back")}
End = TypeVar("End")
COUNTS = {1: "two", 2: "four", 3: "six"}


class Padding(NamedTuple):
    """The formulas of a padding."""

    forward: Formula
    grad_input: Formula


class Kind(NamedTuple):
    """Which pixel stands where, the padding that so many pixels allow, and what docstrings say."""

    name: str
    source: Source
    most: Callable[[int], int | None]
    place: str  # of an axis, of {i}, {first} and {side}
    rest: str  # of the equation
    cited: str


def ends_of(rank: int) -> tuple[str, ...]:
    """Return what the numbers of `padding` are called, those of the last axis first."""
    return tuple(end for side in reversed(SPACE[rank]) for end in ENDS[side])


def padding_of(kind: Kind, rank: int) -> Padding:
    """Return the formulas of a padding of images of `rank` spatial axes."""

    @selection(images="kept")
    @named(f"{kind.name}2d", rank)
    def forward(x: Array, *, padding: Sides) -> Array:
        plane = check_plane("x", x, rank)[2:]
        found = _sources(kind, plane, check_padding(padding, rank))
        return taken(x, _places(found, plane), tuple(map(len, found)))

    @multilinear("grad_output", images="kept")
    @named(f"{kind.name}2d_grad_input", rank)
    def grad_input(grad_output: Array, *, padding: Sides) -> Array:
        padded, pads = (
            check_plane("grad_output", grad_output, rank)[2:],
            check_padding(padding, rank),
        )
        plane = tuple(size - sum(ends) for size, ends in zip(padded, by_axis(pads), strict=True))
        if min(plane) < 1:
            raise ValueError(
                f"grad_output has {'x'.join(map(str, padded))} pixels, of which padding "
                f"{[*padding]} leaves none"
            )
        return sent_back(grad_output, _places(_sources(kind, plane, pads), plane), plane)

    words = _words(kind, rank)
    forward.__doc__, grad_input.__doc__ = _FORWARD.format(**words), _BACK.format(**words)
    axes = axes_of_rank(
        rank, "x: n c ({pixels}); grad_output: n c ({windows})", {"n": "images", "c": "channels"},
        neutral={"padding": 0},
    )  # fmt: skip
    declare_axes(axes, forward, grad_input)
    return Padding(forward, grad_input)


_FORWARD = """Return y [N, C, {padded}], the padded images x [N, C, {sides}].

    y[n,c,{outputs}] = {equation}

({cited}).  padding is ({ends}).  dtype follows x.

Raises:
    ValueError: x has other axes, or padding is negative{limit}.
"""
_BACK = """Return dx = dE/dx [N, C, {sides}] from dy [N, C, {padded}].

    dx[n,c,{pixels}] = sum of dy[n,c,{outputs}] over all {all} with {same} in
    y[n,c,{outputs}] = {equation}

({cited}, differentiated).  What several pixels send to one is added.  dtype follows dy.

Raises:
    ValueError: dy has other axes, or padding is negative{limit}.
"""


def _words(kind: Kind, rank: int) -> dict[str, str]:
    """Return what the docstrings of a rank say."""
    letters, sides = WINDOWS[rank].split(), SPACE[rank]
    firsts = [ENDS[side][0] for side in sides]
    places = [
        kind.place.format(i=i, first=first, side=side)
        for i, first, side in zip(letters, firsts, sides, strict=True)
    ]
    return {
        "padded": ", ".join(f"{ENDS[side][0]}+{side}+{ENDS[side][1]}" for side in sides),
        "sides": ", ".join(sides),
        "outputs": ",".join(letters),
        "pixels": PIXELS[rank].replace(" ", ","),
        "all": f"({', '.join(letters)})" if rank > 1 else letters[0],
        "same": f"y[n,c,{','.join(letters)}] = x[n,c,{PIXELS[rank].replace(' ', ',')}]",
        "equation": f"x[n,c, {', '.join(places)}]{kind.rest}",
        "cited": kind.cited.format(rank=rank),
        "ends": ", ".join(ends_of(rank)),
        "limit": ", or is more than the image allows" if kind.most(1) is not None else "",
    }


def by_axis(padding: Sequence[End]) -> list[Sequence[End]]:
    """Return what stands for the two ends of each axis, the last axis last."""
    return [padding[at : at + 2] for at in range(len(padding) - 2, -1, -2)]


def check_padding(padding: Sequence[int], rank: int) -> Sides:
    """Return (left, right), or (left, right, top, bottom), or these and (front, back).

    Raises:
        ValueError: it is not two integers of at least 0 for every axis.
    """
    try:
        sides = tuple(map(index, padding))
    except TypeError:
        sides = ()
    if len(sides) == 2 * rank and min(sides) >= 0:
        return sides
    raise ValueError(
        f"padding must be {COUNTS[rank]} integers ({', '.join(ends_of(rank))}) of at least 0, got "
        f"{padding!r}"
    )


def _sources(kind: Kind, plane: Shape, padding: Sides) -> list[list[int]]:
    """Return the row of x that every row of y shows, and the same of every other axis.

    Raises:
        ValueError: there is more padding than the side allows.
    """
    found, limits = [], [kind.most(size) for size in plane]
    for size, ends, side, limit in zip(
        plane, by_axis(padding), SPACE[len(plane)], limits, strict=True
    ):
        if limit is not None and max(ends) > limit:
            raise ValueError(
                f"padding's {ENDS[side][0]} and {ENDS[side][1]} must be at most {limit} beside "
                f"{size} pixels, got {ends[0]} and {ends[1]}"
            )
        found.append([kind.source(i - ends[0], size) for i in range(size + sum(ends))])
    return found


def _places(sources: Sequence[Sequence[int]], plane: Shape) -> Indices:
    """Return the places of a plane, counted row by row, from a pixel of x along every axis."""
    joined: Array = np.zeros(1, np.int64)
    for size, of in zip(plane, sources, strict=True):
        before, along = joined[:, np.newaxis], np.asarray(of, np.int64)
        nowhere = (before < 0) | (along < 0)
        joined = np.where(nowhere, NOWHERE, before * size + along).ravel()
    return Indices(joined)


def _inside(at: int, size: int) -> int:
    return at if 0 <= at < size else NOWHERE


def _reflected(at: int, size: int) -> int:
    if at < 0:
        return -at
    return at if at < size else 2 * (size - 1) - at


def _nearest(at: int, size: int) -> int:
    return min(max(at, 0), size - 1)


def _around(at: int, size: int) -> int:
    return at % size


ZERO, REFLECTION, REPLICATION, CIRCULAR = KINDS = (
    Kind("zero_pad", _inside, lambda _: None, "{i}-{first}", " where that is a pixel, else 0",
         "PyTorch, torch.nn.ZeroPad{rank}d; 002 pads the input map so, and removes the padding "
         "going back"),
    Kind("reflection_pad", _reflected, lambda size: size - 1, "r({i}-{first}, {side})",
         ",  r(a, A) = A-1 - |A-1 - |a||",
         "PyTorch, torch.nn.ReflectionPad{rank}d: the mirror image leaves out the pixel at the "
         "edge"),
    Kind("replication_pad", _nearest, lambda _: None, "r({i}-{first}, {side})",
         ",  r(a, A) = min(max(a, 0), A-1)", "PyTorch, torch.nn.ReplicationPad{rank}d"),
    Kind("circular_pad", _around, lambda size: size, "({i}-{first}) mod {side}", "",
         "PyTorch, torch.nn.CircularPad{rank}d: at most once around"),
)  # fmt: skip
PADDINGS = {rank: tuple(padding_of(kind, rank) for kind in KINDS) for rank in RANKS}
(
    (zero_pad2d, zero_pad2d_grad_input),
    (reflection_pad2d, reflection_pad2d_grad_input),
    (replication_pad2d, replication_pad2d_grad_input),
    (circular_pad2d, circular_pad2d_grad_input),
) = PADDINGS[2]
