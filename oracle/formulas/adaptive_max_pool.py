"""Max pooling to a given size, the places of its maxima, and the gradient back, as loops.

Index names and conventions are those of `max_pool`: the first maximum in row-major order wins a
tie, and a NaN wins over everything.  Windows are those of `adaptive_pool`: window i of OH begins at
pixel i*H // OH and ends before ceil((i+1)*H / OH).

Source: PyTorch, torch.nn.AdaptiveMaxPool2d; the documents have none.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from gradoracle.oracle.compiled_loops import run
from gradoracle.oracle.declaration import declare_axes, multilinear, output, selection
from gradoracle.oracle.formulas.gathered import check_plane, checked_shape
from gradoracle.oracle.formulas.max_pool import (
    MaxPooling,
    check_places,
    find_maxima,
    sent_to_places,
    taken_from_places,
)
from gradoracle.oracle.ranks import RANKS, axes_of_rank, named
from gradoracle.oracle.shapes import Array, Shape, Sides, check_shape, check_sides
from gradoracle.oracle.windows import KEPT, Indices, flat


class AdaptiveWindows(NamedTuple):
    """Where the pixels of each window begin, and the pixels, counted row by row."""

    start: Indices
    pixel: Indices


@lru_cache(KEPT)
def adaptive_windows(plane: Shape, outputs: Sides) -> AdaptiveWindows:
    """Return the windows of pooling to a given size, along any number of axes."""
    counts, pixels = np.ones(1, np.int64), np.zeros(1, np.int64)
    for size, count in zip(plane, outputs, strict=True):
        along = np.arange(count)
        first, end = along * size // count, -(-(along + 1) * size // count)
        counts, pixels = _crossed(counts, pixels, first, end - first, size)
    return AdaptiveWindows(Indices(np.concatenate([[0], np.cumsum(counts)])), Indices(pixels))


def _crossed(
    counts: Array, pixels: Array, first: Array, lengths: Array, size: int
) -> tuple[Array, Array]:
    """Return windows along one axis more, of `size` pixels: how many pixels each has, and which.

    `counts` and `pixels` are of the windows along the axes before.
    """
    begin = np.cumsum(counts) - counts
    found = np.multiply.outer(counts, lengths).ravel()
    before, side = np.divmod(np.repeat(np.arange(found.size), found), len(lengths))
    place = np.arange(len(before)) - np.repeat(np.cumsum(found) - found, found)
    row, column = np.divmod(place, lengths[side])
    return found, pixels[begin[before] + row] * size + first[side] + column


def adaptive_max_pooling(rank: int) -> MaxPooling:
    """Return the formulas of a max pooling to a given size along `rank` spatial axes."""
    function = f"adaptive_max_pool{rank}d"

    @named("adaptive_max_pool2d", rank)
    def adaptive_max_pool(x: Array, *, output_size: Sides) -> tuple[Array, Array]:
        """Return the values and the indices of x [N, C, H, W]: (y, indices).

        Raises:
            ValueError: the shapes fit no pooling.
        """
        places = maxima(rank, x, output_size)
        return taken_from_places(x, places), places

    @output(function, 0)
    @selection(images="kept")
    @named("adaptive_max_pool2d_values", rank)
    def values(x: Array, *, output_size: Sides) -> Array:
        """Return y [N, C, *output_size], the maxima of as many windows of x [N, C, H, W].

            y[n,c,i,j] = max of x[n,c,h,w] over its window, which is
            i*H // OH <= h < ceil((i+1)*H / OH) and j*W // OW <= w < ceil((j+1)*W / OW)

        (PyTorch, torch.nn.AdaptiveMaxPool2d).  A NaN is the maximum.  dtype follows x.

        Raises:
            ValueError: the shapes fit no pooling.
        """
        return taken_from_places(x, maxima(rank, x, output_size))

    @output(function, 1)
    @selection(images="kept", places=True)
    @named("adaptive_max_pool2d_indices", rank)
    def indices(x: Array, *, output_size: Sides) -> Array:
        """Return where every maximum is: int64 [N, C, *output_size], h*W + w within its plane.

            indices[n,c,i,j] = the first h*W + w, row by row, with x[n,c,h,w] = y[n,c,i,j]

        (PyTorch, torch.nn.AdaptiveMaxPool2d with return_indices).  The first NaN, if there is one.

        Raises:
            ValueError: the shapes fit no pooling.
        """
        return maxima(rank, x, output_size)

    @multilinear("grad_output", images="kept")
    @named("adaptive_max_pool2d_grad_input", rank)
    def grad_input(grad_output: Array, indices: Array, *, input_shape: Shape) -> Array:
        """Return dx = dE/dx, of shape `input_shape` [N, C, H, W], of dy and indices [N, C, OH, OW].

            dx[n,c,h,w] = sum of dy[n,c,i,j] over all (i, j) with indices[n,c,i,j] = h*W + w

        (PyTorch, torch.nn.AdaptiveMaxPool2d, differentiated).  dtype follows dy.

        Raises:
            ValueError: the shapes do not fit each other, or an index lies outside the plane.
        """
        check_places(rank, grad_output, indices, input_shape)
        return sent_to_places(grad_output, indices, tuple(input_shape))

    @multilinear("grad_output", images="kept")
    @named("adaptive_max_pool2d_vjp", rank)
    def vjp(grad_output: Array, x: Array) -> Array:
        """Return dx = dE/dx [N, C, H, W] from dy [N, C, OH, OW] and x, for want of cached indices.

            dx[n,c,h,w] = sum of dy[n,c,i,j] over the windows whose first maximum is x[n,c,h,w]

        (PyTorch, torch.nn.AdaptiveMaxPool2d, differentiated).  dtype follows dy.

        Raises:
            ValueError: the shapes fit no pooling.
        """
        return sent_to_places(grad_output, maxima_of(rank, grad_output, x), x.shape)

    axes = axes_of_rank(
        rank,
        "x: n c ({pixels}); indices: n c ({windows}); grad_output: n c ({windows})",
        {"n": "images", "c": "channels"}, {"input_shape": "x"},
    )  # fmt: skip
    declare_axes(axes, values, indices, grad_input, vjp)
    return MaxPooling(adaptive_max_pool, values, indices, grad_input, vjp)


def maxima(rank: int, x: Array, output_size: Sequence[int]) -> Array:
    """Return the place of every window's maximum, int64.

    Raises:
        ValueError: the shapes fit no pooling.
    """
    shape = check_plane("x", x, rank)
    outputs = check_sides("output_size", output_size, rank, smallest=1)
    places = np.zeros((*shape[:2], *outputs), np.int64)
    windows = adaptive_windows(shape[2:], outputs)
    run(
        find_maxima,
        flat(places),
        flat(x),
        *windows,
        products=len(places) * windows.pixel.array.size,
    )
    return places


def maxima_of(rank: int, grad_output: Array, x: Array) -> Array:
    """Return the place of every window's maximum, of as many windows as dy has.

    Raises:
        ValueError: the shapes fit no pooling.
    """
    outputs = checked_shape("grad_output", grad_output.shape, rank)[2:]
    places = maxima(rank, x, outputs)
    check_shape("grad_output", grad_output.shape, places.shape, "the pooling's output has")
    return places


ADAPTIVE_MAX_POOLINGS = {rank: adaptive_max_pooling(rank) for rank in RANKS}
adaptive_max_pool2d, _, _, adaptive_max_pool2d_grad_input, adaptive_max_pool2d_vjp = (
    ADAPTIVE_MAX_POOLINGS[2]
)
