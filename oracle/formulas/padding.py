"""Padding of images by zeros, by reflection, by the nearest pixel, and around the edge, as loops.

Index names: n image, c channel, (i, j) pixel of the padded image, (h, w) pixel of the image.
`padding` is PyTorch's: (left, right, top, bottom).  Of these 002 has zeros ("Backward Convolution:
Input Map with Zero-Padding"); they are torch.nn's ZeroPad2d, ReflectionPad2d, ReplicationPad2d and
CircularPad2d.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import index
from typing import NamedTuple

from gradoracle.oracle.axes import Axes
from gradoracle.oracle.declaration import Formula, declare_axes, multilinear, selection
from gradoracle.oracle.formulas.gathered import (
    NOWHERE,
    check_plane,
    plane_of,
    sent_back,
    taken,
)
from gradoracle.oracle.ranks import named
from gradoracle.oracle.shapes import Array, Shape, Sides

# From a pixel counted from the image's first, maybe negative, and the pixels of a side.
Source = Callable[[int, int], int]
FOUR = ("left", "right", "top", "bottom")


class Padding(NamedTuple):
    """The formulas of a padding."""

    forward: Formula
    grad_input: Formula


def padding_of(
    name: str, source: Source, most: Callable[[int], int | None], equation: str, cited: str
) -> Padding:
    """Return the formulas of a padding.

    `source` says which pixel of a side stands where, `most` how much padding there may be beside
    so many pixels, `equation` and `cited` are for the docstrings.
    """

    @selection(images="kept")
    @named(name, 2)
    def forward(x: Array, *, padding: Sides) -> Array:
        _, _, height, width = check_plane("x", x)
        rows, columns = _sources(source, most, (height, width), padding)
        return taken(x, plane_of(rows, columns, width), (len(rows), len(columns)))

    @multilinear("grad_output", images="kept")
    @named(f"{name}_grad_input", 2)
    def grad_input(grad_output: Array, *, padding: Sides) -> Array:
        _, _, tall, wide = check_plane("grad_output", grad_output)
        left, right, top, bottom = check_padding(padding)
        height, width = tall - top - bottom, wide - left - right
        if min(height, width) < 1:
            raise ValueError(
                f"grad_output has {tall}x{wide} pixels, of which padding {[*padding]} leaves none"
            )
        rows, columns = _sources(source, most, (height, width), padding)
        return sent_back(grad_output, plane_of(rows, columns, width), (height, width))

    limit = ", or is more than the image allows" if most(1) is not None else ""
    forward.__doc__ = _FORWARD.format(equation=equation, cited=cited, limit=limit)
    grad_input.__doc__ = _BACK.format(equation=equation, cited=cited, limit=limit)
    axes = Axes(
        "x: n c (h w); grad_output: n c (i j)", {"n": "images", "c": "channels"},
        neutral={"padding": 0},
    )  # fmt: skip
    declare_axes(axes, forward, grad_input)
    return Padding(forward, grad_input)


_FORWARD = """Return y [N, C, top+H+bottom, left+W+right], the padded images x [N, C, H, W].

    y[n,c,i,j] = {equation}

({cited}).  padding is (left, right, top, bottom).  dtype follows x.

Raises:
    ValueError: x has other axes, or padding is negative{limit}.
"""
_BACK = """Return dx = dE/dx [N, C, H, W] from dy [N, C, top+H+bottom, left+W+right].

    dx[n,c,h,w] = sum of dy[n,c,i,j] over all (i, j) with y[n,c,i,j] = x[n,c,h,w] in
    y[n,c,i,j] = {equation}

({cited}, differentiated).  What several pixels send to one is added.  dtype follows dy.

Raises:
    ValueError: dy has other axes, or padding is negative{limit}.
"""


def check_padding(padding: Sequence[int]) -> Sides:
    """Return (left, right, top, bottom).

    Raises:
        ValueError: it is not four integers of at least 0.
    """
    try:
        sides = tuple(map(index, padding))
    except TypeError:
        sides = ()
    if len(sides) == 4 and min(sides) >= 0:
        return sides
    raise ValueError(
        f"padding must be four integers ({', '.join(FOUR)}) of at least 0, got {padding!r}"
    )


def _sources(
    source: Source, most: Callable[[int], int | None], plane: Shape, padding: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Return the row of x that every row of y shows, and the columns likewise.

    Raises:
        ValueError: there is more padding than the side allows.
    """
    left, right, top, bottom = check_padding(padding)
    found = []
    for size, ends, at in zip(plane, ((top, bottom), (left, right)), (2, 0), strict=True):
        limit = most(size)
        if limit is not None and max(ends) > limit:
            raise ValueError(
                f"padding's {FOUR[at]} and {FOUR[at + 1]} must be at most {limit} beside {size} "
                f"pixels, got {ends[0]} and {ends[1]}"
            )
        found.append([source(i - ends[0], size) for i in range(size + sum(ends))])
    rows, columns = found
    return rows, columns


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


zero_pad2d, zero_pad2d_grad_input = padding_of(
    "zero_pad2d", _inside, lambda _: None,
    "x[n,c, i-top, j-left] where that is a pixel, else 0",
    "PyTorch, torch.nn.ZeroPad2d; 002 pads the input map so, and removes the padding going back",
)  # fmt: skip
reflection_pad2d, reflection_pad2d_grad_input = padding_of(
    "reflection_pad2d", _reflected, lambda size: size - 1,
    "x[n,c, r(i-top, H), r(j-left, W)],  r(a, A) = A-1 - |A-1 - |a||",
    "PyTorch, torch.nn.ReflectionPad2d: the mirror image leaves out the pixel at the edge",
)  # fmt: skip
replication_pad2d, replication_pad2d_grad_input = padding_of(
    "replication_pad2d", _nearest, lambda _: None,
    "x[n,c, r(i-top, H), r(j-left, W)],  r(a, A) = min(max(a, 0), A-1)",
    "PyTorch, torch.nn.ReplicationPad2d",
)  # fmt: skip
circular_pad2d, circular_pad2d_grad_input = padding_of(
    "circular_pad2d", _around, lambda size: size,
    "x[n,c, (i-top) mod H, (j-left) mod W]",
    "PyTorch, torch.nn.CircularPad2d: at most once around",
)  # fmt: skip
PADDINGS = (
    Padding(zero_pad2d, zero_pad2d_grad_input),
    Padding(reflection_pad2d, reflection_pad2d_grad_input),
    Padding(replication_pad2d, replication_pad2d_grad_input),
    Padding(circular_pad2d, circular_pad2d_grad_input),
)
