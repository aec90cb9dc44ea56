"""Max pooling, the places of its maxima, and the gradient that goes back to them, as loops.

Index names: n image, c channel, (i, j) window, (h, w) pixel, (p, q) tap; in the loops i, h and p
stand for all spatial indices, counted row by row.  Padding is minus infinity and is never looked
at, so it cannot win over a pixel that is minus infinity itself.  The first maximum in row-major
order wins a tie, and a NaN wins over everything, the first of several.

Source: document 003 ("Backpropagation through Max-Pooling"): the maximum of the region that the
kernel covers, cached indices, and an empty mask into which dZ is put.  Erratum: 003 *inserts*;
windows that overlap may share a maximum, so what arrives is added; see `oracle.errata`.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import NamedTuple, Unpack

import numpy as np

from gradoracle.oracle.compiled_loops import run
from gradoracle.oracle.declaration import Formula, declare_axes, multilinear, output, selection
from gradoracle.oracle.ranks import RANKS, axes_of_rank, named
from gradoracle.oracle.shapes import (
    SPACE,
    Array,
    MaxPoolOptions,
    Shape,
    check_shape,
    pool_shape,
)
from gradoracle.oracle.windows import Indices, flat, meetings


class MaxPooling(NamedTuple):
    """The formulas of a max pooling; `forward` gives both of its results."""

    forward: Callable[..., tuple[Array, Array]]
    values: Formula
    indices: Formula
    grad_input: Formula
    vjp: Formula


def max_pooling(rank: int) -> MaxPooling:
    """Return the formulas of a max pooling of `rank` spatial axes."""
    function = f"max_pool{rank}d"

    @named("max_pool2d", rank)
    def max_pool(x: Array, **options: Unpack[MaxPoolOptions]) -> tuple[Array, Array]:
        """Return `max_pool2d_values` and `max_pool2d_indices` of x [N, C, H, W]: (y, indices).

        Raises:
            ValueError: the shapes or options fit no pooling, or a window holds no pixel.
        """
        places = _maxima(rank, x, **options)
        return taken_from_places(x, places), places

    @output(function, 0)
    @selection(images="kept")
    @named("max_pool2d_values", rank)
    def values(x: Array, **options: Unpack[MaxPoolOptions]) -> Array:
        """Return y [N, C, OH, OW], the maximum of every window of x [N, C, H, W].

            y[n,c,i,j] = max of x[n,c, i*S+p*D-P, j*S+q*D-P] over the taps (p, q) inside the image

        (003, "max(x in X_{n:K_row-size, m:K_col-size})").  A NaN is the maximum.  dtype follows x.

        Raises:
            ValueError: the shapes or options fit no pooling, or a window holds no pixel.
        """
        places = _maxima(rank, x, **options)
        return taken_from_places(x, places)

    @output(function, 1)
    @selection(images="kept", places=True)
    @named("max_pool2d_indices", rank)
    def indices(x: Array, **options: Unpack[MaxPoolOptions]) -> Array:
        """Return where every maximum is: int64 [N, C, OH, OW], h*W + w within its plane.

            indices[n,c,i,j] = the first h*W + w, row by row, with x[n,c,h,w] = y[n,c,i,j]

        (003, "remember the indices of the maximum values").  The first NaN, if there is one.

        Raises:
            ValueError: the shapes or options fit no pooling, or a window holds no pixel.
        """
        return _maxima(rank, x, **options)

    @multilinear("grad_output", images="kept")
    @named("max_pool2d_grad_input", rank)
    def grad_input(grad_output: Array, indices: Array, *, input_shape: Shape) -> Array:
        """Return dx = dE/dx, of shape `input_shape` [N, C, H, W], of dy and indices [N, C, OH, OW].

            dx[n,c,h,w] = sum of dy[n,c,i,j] over all (i, j) with indices[n,c,i,j] = h*W + w

        (003, max-unpool: an empty mask, the cached indices, dZ put where they point).  What several
        windows send to one pixel is added.  dtype follows dy.
        Erratum: 003 inserts instead of adding; see `oracle.errata`.

        Raises:
            ValueError: the shapes do not fit each other, or an index lies outside the plane.
        """
        check_places(rank, grad_output, indices, input_shape)
        return sent_to_places(grad_output, indices, tuple(input_shape))

    @multilinear("grad_output", images="kept")
    @named("max_pool2d_vjp", rank)
    def vjp(grad_output: Array, x: Array, **options: Unpack[MaxPoolOptions]) -> Array:
        """Return dx = dE/dx [N, C, H, W] from dy [N, C, OH, OW] and x, for want of cached indices.

            dx[n,c,h,w] = sum of dy[n,c,i,j] over the windows whose first maximum is x[n,c,h,w]

        (003, as `max_pool2d_grad_input`, the indices found again).  dtype follows dy.

        Raises:
            ValueError: the shapes or options fit no pooling, or a window holds no pixel.
        """
        places = _maxima(rank, x, **options)
        check_shape("grad_output", grad_output.shape, places.shape, "the pooling's output has")
        return sent_to_places(grad_output, places, x.shape)

    axes = axes_of_rank(
        rank,
        "x: n c ({pixels}); indices: n c ({windows}); grad_output: n c ({windows})",
        {"n": "images", "c": "channels"},
        {"input_shape": "x"},
        strided="x",
        window="kernel_size",
        neutral={"stride": 1, "padding": 0, "dilation": 1, "ceil_mode": False},
    )
    declare_axes(axes, values, indices, grad_input, vjp)
    return MaxPooling(max_pool, values, indices, grad_input, vjp)


def _maxima(rank: int, x: Array, **options: Unpack[MaxPoolOptions]) -> Array:
    """Return the place of every window's maximum, int64."""
    shape = pool_shape(rank, x.shape, **options)
    kernel = tuple(options["kernel_size"])
    sides = (tuple(options[name]) for name in ("stride", "padding", "dilation"))
    places = np.zeros(shape, np.int64)
    start, _, pixel = meetings(x.shape[2:], kernel, shape[2:], *sides).by_window
    run(find_maxima, flat(places), flat(x), start, pixel, products=places.size * prod(kernel))
    return places


def vjp_windows(
    rank: int, x: Array, *, like: Array | None = None, **options: Unpack[MaxPoolOptions]
) -> tuple[Array, Indices, Indices]:
    """Return the place of every window's maximum, where its pixels begin, and the pixels.

    Raises:
        ValueError: the shapes or options fit no pooling, or `like` is not of its output's shape.
    """
    kernel = tuple(options["kernel_size"])
    sides = [tuple(options[name]) for name in ("stride", "padding", "dilation")]
    places = _maxima(rank, x, **options)
    if like is not None:
        check_shape("grad_output", like.shape, places.shape, "the pooling's output has")
    met = meetings(x.shape[2:], kernel, places.shape[2:], *sides).by_window
    return places, met[0], met[2]


def taken_from_places(x: Array, places: Array) -> Array:
    """Return the pixels of x [N, C, *pixels] at places of its planes."""
    y = np.zeros(places.shape, x.dtype)
    run(_take, flat(y), flat(x), flat(places), products=y.size)
    return y


def sent_to_places(dy: Array, places: Array, shape: Shape) -> Array:
    """Return dx of a shape: dy, added up at places of its planes."""
    dx = np.zeros(shape, dy.dtype)
    run(_send_back, flat(dx), flat(dy), flat(places), products=dy.size * 4)
    return dx


def check_places(rank: int, grad_output: Array, indices: Array, input_shape: Shape) -> None:
    """Check that dy and its indices [N, C, *windows] fit dx of `input_shape` [N, C, *pixels].

    Raises:
        ValueError: they do not, or an index lies outside the plane.
    """
    count = rank + 2
    if len(input_shape) != count or grad_output.ndim != count or min(input_shape[1:]) < 1:
        raise ValueError(
            f"grad_output {[*grad_output.shape]} and input_shape {[*input_shape]} must have "
            f"{count} axes [N, C, {', '.join(SPACE[rank])}], all but the first at least 1"
        )
    check_shape(
        "grad_output",
        grad_output.shape,
        (*input_shape[:2], *grad_output.shape[2:]),
        "input_shape's images and channels demand",
    )
    check_shape("indices", indices.shape, grad_output.shape, "grad_output has")
    plane = prod(input_shape[2:])
    if indices.size and not (indices.min() >= 0 and indices.max() < plane):
        raise ValueError(
            f"indices must lie in the plane, 0 to {plane - 1}, got {indices.min()} to "
            f"{indices.max()}"
        )


def find_maxima(places: Array, x: Array, start: Sequence[int], pixel: Sequence[int]) -> None:
    """Fill `places` [N, C, windows] with the first maximum of each window of x [N, C, pixels].

    The pixels of window i are pixel[start[i]] to pixel[start[i + 1] - 1].
    """
    images, channels, windows = places.shape
    for n in range(images):
        for c in range(channels):
            for i in range(windows):
                best = -1
                for k in range(start[i], start[i + 1]):
                    h = pixel[k]
                    v, top = x[n, c, h], x[n, c, best]
                    # not <= rather than >: a NaN wins, and nothing beats it
                    if best < 0 or (top == top and not v <= top):  # noqa: PLR0124
                        best = h
                places[n, c, i] = best


def _take(y: Array, x: Array, places: Array) -> None:
    images, channels, windows = y.shape
    for n in range(images):
        for c in range(channels):
            for i in range(windows):
                y[n, c, i] = x[n, c, places[n, c, i]]


def _send_back(dx: Array, dy: Array, places: Array) -> None:
    images, channels, windows = dy.shape
    for n in range(images):
        for c in range(channels):
            for i in range(windows):
                dx[n, c, places[n, c, i]] += dy[n, c, i]


MAX_POOLINGS = {rank: max_pooling(rank) for rank in RANKS}
max_pool1d, max_pool1d_values, max_pool1d_indices, max_pool1d_grad_input, max_pool1d_vjp = (
    MAX_POOLINGS[1]
)
max_pool2d, max_pool2d_values, max_pool2d_indices, max_pool2d_grad_input, max_pool2d_vjp = (
    MAX_POOLINGS[2]
)
max_pool3d, max_pool3d_values, max_pool3d_indices, max_pool3d_grad_input, max_pool3d_vjp = (
    MAX_POOLINGS[3]
)
