"""Max unpooling and its gradient, as loops: pixels put at given places, and taken from there.

Index names: n image, c channel, (h, w) pixel, (i, j) pixel of the result.  Indices are those of max
pooling, i*OW + j within a plane of the result, and differ within a plane: where they repeat,
PyTorch's answer is any of several, and its gradient that of none of them.
PyTorch's kernel_size, stride and padding only say how large the result is without output_size.

Source: document 003 (max-unpool: an empty mask, the cached indices, what is put where they point);
PyTorch, torch.nn.MaxUnpool2d.
"""

from math import prod
from typing import NamedTuple

import numpy as np

from gradoracle.oracle.compiled_loops import run
from gradoracle.oracle.declaration import Formula, declare_axes, multilinear, selection
from gradoracle.oracle.formulas.gathered import check_plane
from gradoracle.oracle.formulas.max_pool import taken_from_places
from gradoracle.oracle.ranks import RANKS, axes_of_rank, named
from gradoracle.oracle.shapes import Array, Shape, Sides, check_shape, check_sides
from gradoracle.oracle.windows import flat


class MaxUnpooling(NamedTuple):
    """The formulas of a max unpooling."""

    forward: Formula
    grad_input: Formula


def max_unpooling(rank: int) -> MaxUnpooling:
    """Return the formulas of a max unpooling of `rank` spatial axes."""

    @selection(images="kept")
    @named("max_unpool2d", rank)
    def max_unpool(x: Array, indices: Array, *, output_size: Sides) -> Array:
        """Return y [N, C, *output_size]: x [N, C, H, W] where its indices point, 0 elsewhere.

            y[n,c,i,j] = x[n,c,h,w] where indices[n,c,h,w] = i*OW + j, else 0

        (PyTorch, torch.nn.MaxUnpool2d; 003 has it as the way back of max pooling).  dtype follows
        x.

        Raises:
            ValueError: the shapes do not fit each other, or an index lies outside the plane.
        """
        shape = check_plane("x", x, rank)
        outputs = check_sides("output_size", output_size, rank, smallest=1)
        _check(indices, x.shape, outputs)
        y = np.zeros((*shape[:2], *outputs), x.dtype)
        run(_put, flat(y), flat(x), flat(indices), products=x.size)
        return y

    @multilinear("grad_output", images="kept")
    @named("max_unpool2d_grad_input", rank)
    def grad_input(grad_output: Array, indices: Array) -> Array:
        """Return dx = dE/dx, of the shape of indices [N, C, H, W], from dy [N, C, OH, OW].

            dx[n,c,h,w] = dy[n,c,i,j] where indices[n,c,h,w] = i*OW + j

        (PyTorch, torch.nn.MaxUnpool2d, differentiated).  dtype follows dy.

        Raises:
            ValueError: the shapes do not fit each other, or an index lies outside the plane.
        """
        shape = check_plane("grad_output", grad_output, rank)
        sides = check_plane("indices", indices, rank)
        _check(indices, (*shape[:2], *sides[2:]), shape[2:])
        return taken_from_places(grad_output, indices)

    text = "x: n c {pixels}; indices: n c {pixels}; grad_output: n c {windows}"
    declare_axes(
        axes_of_rank(rank, text, {"n": "images", "c": "channels"}), max_unpool, grad_input
    )  # fmt: skip
    return MaxUnpooling(max_unpool, grad_input)


def _check(indices: Array, shape: Shape, outputs: Sides) -> None:
    check_shape("indices", indices.shape, shape, "the other array demands")
    plane = prod(outputs)
    if indices.size and not (indices.min() >= 0 and indices.max() < plane):
        raise ValueError(
            f"indices must lie in the plane of the result, 0 to {plane - 1}, got {indices.min()} "
            f"to {indices.max()}"
        )


def _put(y: Array, x: Array, places: Array) -> None:
    images, channels, pixels = x.shape
    for n in range(images):
        for c in range(channels):
            for h in range(pixels):
                y[n, c, places[n, c, h]] = x[n, c, h]


MAX_UNPOOLINGS = {rank: max_unpooling(rank) for rank in RANKS}
max_unpool2d, max_unpool2d_grad_input = MAX_UNPOOLINGS[2]
