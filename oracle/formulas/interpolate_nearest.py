"""Interpolation by the nearest pixel and its gradient, as loops.

Index names: n image, c channel, (i, j) pixel of the result, (h, w) pixel of the image.  The result
has output_size; PyTorch's scale_factor f stands for an output_size of floor(H*f), and with that is
the same call (where PyTorch recomputes the scale from the sizes).

Source: PyTorch, torch.nn.functional.interpolate; the documents have none.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from gradoracle.oracle.declaration import Formula, declare_axes, multilinear, selection
from gradoracle.oracle.formulas.gathered import check_plane, checked_shape, sent_back, taken
from gradoracle.oracle.ranks import RANKS, axes_of_rank, named
from gradoracle.oracle.shapes import SPACE, Array, Shape, Sides, check_shape, check_sides
from gradoracle.oracle.windows import Indices

NEAREST, EXACT = MODES = ("nearest", "nearest-exact")
LETTERS = {1: ("i",), 2: ("i", "j"), 3: ("k", "i", "j")}


class Interpolation(NamedTuple):
    """The formulas of an interpolation."""

    forward: Formula
    grad_input: Formula


def nearest_interpolation(rank: int) -> Interpolation:
    """Return the formulas of the nearest pixel among `rank` spatial axes."""

    @selection(images="kept")
    @named("interpolate_nearest2d", rank)
    def forward(x: Array, *, output_size: Sides, mode: str) -> Array:
        shape = check_plane("x", x, rank)
        outputs = check_sides("output_size", output_size, rank, smallest=1)
        return taken(x, _places(shape[2:], outputs, mode), outputs)

    @multilinear("grad_output", images="kept")
    @named("interpolate_nearest2d_grad_input", rank)
    def grad_input(grad_output: Array, *, input_shape: Shape, mode: str) -> Array:
        shape = checked_shape("input_shape", input_shape, rank)
        outputs = check_plane("grad_output", grad_output, rank)[2:]
        check_shape("grad_output", grad_output.shape, (*shape[:2], *outputs), "input_shape demands")
        return sent_back(grad_output, _places(shape[2:], outputs, mode), shape[2:])

    forward.__doc__ = FORWARD.format(**words(rank, "s"))
    grad_input.__doc__ = BACK.format(**words(rank, "s"))
    axes = axes_of_rank(
        rank, "x: n c ({pixels}); grad_output: n c ({windows})",
        {"n": "images", "c": "channels"}, {"input_shape": "x"}, neutral={"mode": NEAREST},
    )  # fmt: skip
    declare_axes(axes, forward, grad_input)
    return Interpolation(forward, grad_input)


FORWARD = """Return y [N, C, *output_size], of the nearest pixels of x [N, C, {sides}].

    y[n,c,{outputs}] = x[n,c, {sources}],
    s(i, A, B) = floor(i A / B), or floor((i + 1/2) A / B) if mode is "nearest-exact"

(PyTorch, torch.nn.functional.interpolate with mode "nearest" or "nearest-exact").  dtype follows x.

Raises:
    ValueError: the shapes fit no interpolation, or there is no such mode.
"""
BACK = """Return dx = dE/dx, of shape `input_shape` [N, C, {sides}], from dy [N, C, {osides}].

    dx[n,c,{pixels}] = sum of dy[n,c,{outputs}] over all ({outputs}) with ({sources}) = ({pixels}),
    s(i, A, B) = floor(i A / B), or floor((i + 1/2) A / B) if mode is "nearest-exact"

(PyTorch, torch.nn.functional.interpolate, differentiated).  dtype follows dy.

Raises:
    ValueError: the shapes fit no interpolation, or there is no such mode.
"""
PIXEL = {1: "h", 2: "h,w", 3: "t,h,w"}


def words(rank: int, source: str) -> dict[str, str]:
    """Return what docstrings say of so many axes; `source` is the function of an axis."""
    letters, sides = LETTERS[rank], SPACE[rank]
    return {
        "sides": ", ".join(sides),
        "osides": ", ".join(f"O{side}" for side in sides),
        "outputs": ",".join(letters),
        "pixels": PIXEL[rank],
        "sources": ", ".join(
            f"{source}({i}, {a}, O{a})" for i, a in zip(letters, sides, strict=True)
        ),
    }


def source(size: int, count: int, mode: str) -> Array:
    """Return the pixel of a side that each of `count` pixels of the result shows.

    Raises:
        ValueError: there is no such mode.
    """
    if mode not in MODES:
        raise ValueError(f"mode must be {' or '.join(map(repr, MODES))}, got {mode!r}")
    at = np.arange(count, dtype=np.int64)
    found: Array = (2 * at + 1) * size // (2 * count) if mode == EXACT else at * size // count
    return found


@lru_cache(1024)
def is_settled(size: int, count: int, mode: str) -> bool:
    """Return whether coordinates that are rounded lead to the same pixels.

    They are computed in float32 by PyTorch and in float32 or float64 by others, as a product with
    A / B or a quotient by B.  That of pixel 41 of 82 is 1 of 2 by the formula; in float32,
    41 * (2 / 82) is a little less.  A result of one pixel is always settled.
    """
    want, half = source(size, count, mode), 0.5 * (mode == EXACT)
    for dtype in (np.float32, np.float64):
        at: Array = np.asarray(np.arange(count) + half, dtype)
        a: Array = np.full(count, size, dtype)
        b: Array = np.full(count, count, dtype)
        for found in (at * (a / b), at * a / b):
            if (np.minimum(np.floor(found), size - 1) != want).any():
                return False
    return True


def _places(plane: Sequence[int], outputs: Sequence[int], mode: str) -> Indices:
    joined: Array = np.zeros(1, np.int64)
    for size, count in zip(plane, outputs, strict=True):
        joined = (joined[:, np.newaxis] * size + source(size, count, mode)).ravel()
    return Indices(joined)


NEAREST_INTERPOLATIONS = {rank: nearest_interpolation(rank) for rank in RANKS}
interpolate_nearest2d, interpolate_nearest2d_grad_input = NEAREST_INTERPOLATIONS[2]
