"""Interpolation between neighbouring pixels and its gradient, as loops.

Index names are those of `interpolate_nearest`; in the loops i and h count all pixels of a plane,
row by row.  Each pixel of the result is made of the two pixels beside its coordinate, along every
axis.

Coordinates are rounded: PyTorch computes them in float32, also of halves, so that the shares of two
pixels are off by what a coordinate may be, whatever the shares are.  The bound allows an error of
4 u (a + 1) of a coordinate a, which all of the usual ways to compute one keep, and what
x0 + l (x1 - x0) rounds more than (1 - l) x0 + l x1.  Coordinates at multiples of a power of two are
exact in any format, as those of twice the size are, if the inverse of the scale is exact, too: ONNX
Runtime divides by it, and where 1 pixel is made of 7, it is 1/7, which is rounded.

Source: PyTorch, torch.nn.functional.interpolate; the documents have none.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import ceil, gcd, prod
from typing import NamedTuple

import numpy as np

from gradoracle.oracle.compiled_loops import run
from gradoracle.oracle.declaration import Call, Division, declare_axes, multilinear
from gradoracle.oracle.formulas.gathered import check_plane, checked_shape
from gradoracle.oracle.formulas.interpolate_nearest import Interpolation, words
from gradoracle.oracle.ranks import RANKS, axes_of_rank, named
from gradoracle.oracle.shapes import Array, Shape, Sides, check_shape, check_sides
from gradoracle.oracle.windows import KEPT, Indices, flat

NAMES = {1: "linear1d", 2: "bilinear2d", 3: "trilinear3d"}
NEAR = 64  # of a coordinate's room, for the coarsest format: closer than a 64th of it is near


class Side(NamedTuple):
    """What pixels of a side each pixel of the result is made of: shares / over, [count, taps]."""

    pixels: Array
    shares: Array
    over: int


class Shares(NamedTuple):
    """The same of a plane, as loops read it: `taps` pixels for each, shares in lowest terms."""

    taps: int
    pixel: Indices
    share: Indices
    over: Indices


def linear_interpolation(rank: int) -> Interpolation:
    """Return the formulas of interpolation between pixels along `rank` spatial axes."""

    def over(call: Call) -> Division:
        sides = [_side(*of, call["align_corners"], 0) for of in _both(call["x"], call)]
        terms = _rounded(rank, 2**rank)
        wide = [_side(*of, call["align_corners"], terms) for of in _both(call["x"], call)]
        sizes = prod(one.shares.sum(1).max() / one.over for one in wide)
        return Division(prod(one.over for one in sides), terms, ceil(sizes))

    def over_back(call: Call) -> Division:
        plane, outputs = call["input_shape"][2:], call["grad_output"].shape[2:]
        both, align = [*zip(plane, outputs, strict=True)], call["align_corners"]
        terms = _most(rank, plane, outputs, align)
        sizes = prod(_received(_side(*of, align, terms)) for of in both)
        return Division(prod(_side(*of, align, 0).over for of in both), terms, ceil(sizes))

    def wide(x: Array, *, output_size: Sides, align_corners: bool) -> Array:
        return _between(rank, x, output_size, align=align_corners, wide=True)

    def wide_back(grad_output: Array, *, input_shape: Shape, align_corners: bool) -> Array:
        return _sent_back(rank, grad_output, input_shape, align=align_corners, wide=True)

    @multilinear("x", images="kept", over=over, sizes=wide)
    @named(f"interpolate_{NAMES[rank]}", rank)
    def forward(x: Array, *, output_size: Sides, align_corners: bool) -> Array:
        return _between(rank, x, output_size, align=align_corners, wide=False)

    @multilinear("grad_output", images="kept", over=over_back, sizes=wide_back)
    @named(f"interpolate_{NAMES[rank]}_grad_input", rank)
    def grad_input(grad_output: Array, *, input_shape: Shape, align_corners: bool) -> Array:
        return _sent_back(rank, grad_output, input_shape, align=align_corners, wide=False)

    told = words(rank, "a") | {"tents": _tents(rank)}
    forward.__doc__, grad_input.__doc__ = FORWARD.format(**told), BACK.format(**told)
    axes = axes_of_rank(
        rank, "x: n c ({pixels}); grad_output: n c ({windows})",
        {"n": "images", "c": "channels"}, {"input_shape": "x"}, neutral={"align_corners": False},
    )  # fmt: skip
    declare_axes(axes, forward, grad_input)
    return Interpolation(forward, grad_input)


COORDINATES = """tent(d) = max(0, 1 - |d|),
    a(i, A, B) = i (A-1) / (B-1) with align_corners (0 if B = 1),
                 else (i + 1/2) A / B - 1/2, but at least 0 and at most A-1"""
FORWARD = f"""Return y [N, C, *output_size], between the pixels of x [N, C, {{sides}}].

    y[n,c,{{outputs}}] = sum of x[n,c,{{pixels}}] {{tents}} over all ({{pixels}}),
    {COORDINATES}

(PyTorch, torch.nn.functional.interpolate).  dtype follows x.

Raises:
    ValueError: the shapes fit no interpolation.
"""
BACK = f"""Return dx = dE/dx, of shape `input_shape` [N, C, {{sides}}], from dy [N, C, {{osides}}].

    dx[n,c,{{pixels}}] = sum of dy[n,c,{{outputs}}] {{tents}} over all ({{outputs}}),
    {COORDINATES}

(PyTorch, torch.nn.functional.interpolate, differentiated).  dtype follows dy.

Raises:
    ValueError: the shapes fit no interpolation.
"""


def _between(rank: int, x: Array, output_size: Sides, *, align: bool, wide: bool) -> Array:
    """Return what lies between pixels, or what rounding acts on then."""
    plane = check_plane("x", x, rank)[2:]
    outputs = check_sides("output_size", output_size, rank, smallest=1)
    terms = _rounded(rank, 2**rank) if wide else 0
    y = np.zeros((*x.shape[:2], *outputs), x.dtype)
    shares = _shares(plane, outputs, align, terms)
    run(_mix, flat(y), flat(x), *shares, products=y.size * shares.taps, mixed=True)
    return y


def _sent_back(rank: int, dy: Array, input_shape: Shape, *, align: bool, wide: bool) -> Array:
    """Return what goes back to the pixels, or what rounding acts on then."""
    shape = checked_shape("input_shape", input_shape, rank)
    outputs = check_plane("grad_output", dy, rank)[2:]
    check_shape("grad_output", dy.shape, (*shape[:2], *outputs), "input_shape demands")
    terms = _most(rank, shape[2:], outputs, align) if wide else 0
    dx = np.zeros(shape, dy.dtype)
    shares = _shares(shape[2:], outputs, align, terms)
    run(_send_back, flat(dx), flat(dy), *shares, products=dy.size * shares.taps, mixed=True)
    return dx


def _tents(rank: int) -> str:
    sources = words(rank, "a")["sources"].split("), ")
    pixels = words(rank, "a")["pixels"].split(",")
    return " ".join(
        f"tent({one.rstrip(')')}) - {h})" for one, h in zip(sources, pixels, strict=True)
    )


def _rounded(rank: int, terms: int) -> int:
    """Return how often a term is rounded: sums, products with x and of shares, 1 - l of each."""
    return terms - 1 + 2 * rank


def _both(x: Array, call: Call) -> list[tuple[int, int]]:
    return [*zip(x.shape[2:], call["output_size"], strict=True)]


def _most(rank: int, plane: Sequence[int], outputs: Sequence[int], align: bool) -> int:  # noqa: FBT001 - as the option
    """Return how often a term of the gradient is rounded at most."""
    counts = [
        int(np.bincount(_side(*of, align, 0).pixels.ravel()).max())
        for of in zip(plane, outputs, strict=True)
    ]
    return _rounded(rank, prod(counts))


def _received(side: Side) -> float:
    """Return the largest sum of the shares that go back to a pixel."""
    return float(np.bincount(side.pixels.ravel(), side.shares.ravel()).max() / side.over)


@lru_cache(KEPT)
def _side(size: int, count: int, align: bool, terms: int) -> Side:  # noqa: FBT001 - as the option
    """Return what a side is made of, or with `terms` what rounding acts on if it does so often."""
    at = np.arange(count, dtype=np.int64)
    if align:
        top, over = at * (size - 1 if count > 1 else 0), max(count - 1, 1)
    else:
        top, over = (2 * at + 1) * size - count, 2 * count
    common = int(np.gcd.reduce(top, initial=over))
    top, over = top // common, over // common
    if not align and not _is_power_of_two(size // gcd(size, count)):
        top, over = 3 * top, 3 * over  # with an odd divisor nothing counts as exact
    inside = np.maximum(top, 0)
    first, rest = inside // over, inside % over
    pixels, shares = [first, first + 1], [over - rest, rest]
    if terms:
        pixels, shares = [first - 1, *pixels, first + 2], [rest * 0, *shares, rest * 0]
        for place, more in enumerate(_room(top, rest, over, align)):
            shares[place] = shares[place] - more // -terms  # rounded up
        if not (shares[0].any() or shares[3].any()):
            pixels, shares = pixels[1:3], shares[1:3]
    places = np.clip(np.stack(pixels, 1), 0, size - 1)
    return Side(places, np.stack(shares, 1), over)


def _is_power_of_two(number: int) -> bool:
    return number & (number - 1) == 0


def _room(top: Array, rest: Array, over: int, align: bool) -> tuple[Array, ...]:  # noqa: FBT001
    """Return by how many u / over the shares of four pixels may be off, apart from their own size.

    Those beyond the two have a share where the coordinate is so near to a pixel that, rounded, it
    may lie on the other side.
    """
    between = 2 * over * (rest > 0)
    if _is_power_of_two(over):
        return 0 * top, between, between, 0 * top
    moves = (top > 0) if align else (top >= 0)
    off, near = 4 * (top + over) * moves, NEAR * np.stack([rest, over - rest]) <= top + over
    return off * near[0], off + between, off + between, off * near[1]


@lru_cache(KEPT)
def _shares(plane: Shape, outputs: Shape, align: bool, terms: int) -> Shares:  # noqa: FBT001
    pixels: Array = np.zeros((1, 1), np.int64)
    shares, over, taps = np.ones((1, 1), np.int64), 1, 1
    for size, count in zip(plane, outputs, strict=True):
        side = _side(size, count, align, terms)
        over, taps = over * side.over, taps * side.pixels.shape[1]
        rows = len(pixels) * count
        pixels = (pixels[:, None, :, None] * size + side.pixels[:, None, :]).reshape(rows, taps)
        shares = (shares[:, None, :, None] * side.shares[:, None, :]).reshape(rows, taps)
    common = _common(shares, over)
    return Shares(taps, *(Indices(a.ravel()) for a in (pixels, shares // common, over // common)))


def _common(numbers: Array, number: int) -> Array:
    """Return the greatest common divisors of numbers with one: of many, from a table of those."""
    if number >= numbers.size:
        common: Array = np.gcd(numbers, number)
    else:
        common = np.gcd(np.arange(number), number)[numbers % number]
    return common


List = Sequence[int]


def _mix(y: Array, x: Array, taps: int, pixel: List, share: List, over: List) -> None:
    images, channels, pixels = y.shape
    for n in range(images):
        for c in range(channels):
            for i in range(pixels):
                total = y[n, c, i]
                for k in range(i * taps, (i + 1) * taps):
                    total += x[n, c, pixel[k]] / over[k] * share[k]
                y[n, c, i] = total


def _send_back(dx: Array, dy: Array, taps: int, pixel: List, share: List, over: List) -> None:
    images, channels, pixels = dy.shape
    for n in range(images):
        for c in range(channels):
            for i in range(pixels):
                for k in range(i * taps, (i + 1) * taps):
                    dx[n, c, pixel[k]] += dy[n, c, i] / over[k] * share[k]


LINEAR_INTERPOLATIONS = {rank: linear_interpolation(rank) for rank in RANKS}
interpolate_bilinear2d, interpolate_bilinear2d_grad_input = LINEAR_INTERPOLATIONS[2]
