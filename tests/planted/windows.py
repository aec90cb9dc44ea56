"""Windows on an image, tap by tap, whatever the options: what wrong loops are made of."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from gradoracle.implementations import im2col as good

OPTIONS = ("kernel_size", "stride", "padding", "dilation")


def taps(size, count, kernel_size, stride, padding, dilation=(1, 1)) -> Iterator[tuple[Any, ...]]:
    """Yield every tap, the windows that see a pixel of the image with it, and those pixels.

    `size` is the image's height and width, `count` that of the windows.
    """
    for tap in np.ndindex(*kernel_size):
        sides = []
        for axis in (0, 1):
            at = np.arange(count[axis]) * stride[axis] - padding[axis] + tap[axis] * dilation[axis]
            seen = (at >= 0) & (at < size[axis])
            sides.append((np.flatnonzero(seen), at[seen]))
        (i, h), (j, w) = sides
        yield tap, (i[:, None], j), (h[:, None], w)


# -- max pooling ----------------------------------------------------------------------------------


def first_largest(seen, best, place):
    """Which windows take the pixel that they see over the best of those before."""
    return (place < 0) | (seen > best) | (np.isnan(seen) & ~np.isnan(best))


def scan(x, wins=first_largest, start=-np.inf, **o):
    """Return y and indices of as many windows as there are, their taps read as `o` says."""
    count = o.pop("count", None) or good.max_pool2d(x, **o)[0].shape[2:]
    y = np.full((*x.shape[:2], *count), start, x.dtype)
    indices = np.full(y.shape, -1)
    plane = np.arange(x.shape[2] * x.shape[3]).reshape(x.shape[2:])
    options = {name: o[name] for name in OPTIONS}
    for _, windows, pixels in taps(x.shape[2:], count, **options):
        best, place, seen = y[:, :, *windows], indices[:, :, *windows], x[:, :, *pixels]
        won = wins(seen, best, place)
        y[:, :, *windows] = np.where(won, seen, best)
        indices[:, :, *windows] = np.where(won, plane[pixels], place)
    return y, indices


def unpooled(grad_output, indices, shape):
    """Return dy added up where `indices` point in planes of `shape`, those outside left out."""
    dx = np.zeros((*shape[:2], shape[2] * shape[3]), grad_output.dtype)
    for n, c in np.ndindex(*shape[:2]):
        inside = (indices[n, c] >= 0) & (indices[n, c] < dx.shape[2])
        np.add.at(dx[n, c], indices[n, c][inside], grad_output[n, c][inside])
    return dx.reshape(shape)


# -- average pooling ------------------------------------------------------------------------------


def window_sums(x, count, o):
    y = np.zeros((*x.shape[:2], *count), x.dtype)
    for _, windows, pixels in taps(x.shape[2:], count, o["kernel_size"], o["stride"], o["padding"]):
        y[:, :, *windows] += x[:, :, *pixels]
    return y


def spread(share, shape, o):
    """Return dx: every window's share added to all the pixels that it sees."""
    dx = np.zeros(shape, share.dtype)
    for _, windows, pixels in taps(
        shape[2:], share.shape[2:], o["kernel_size"], o["stride"], o["padding"]
    ):
        dx[:, :, *pixels] += share[:, :, *windows]
    return dx


def divisors(size, count, o, *, include=None, overhang=False):
    """Return how many pixels count in each window; with `overhang` also those past the padding."""
    include = o["count_include_pad"] if include is None else include
    sides = []
    for axis in (0, 1):
        k, s, p = o["kernel_size"][axis], o["stride"][axis], o["padding"][axis]
        start = np.arange(count[axis]) * s - p
        end = start + k if overhang else np.minimum(start + k, size[axis] + p)
        if not include:
            start, end = np.maximum(start, 0), np.minimum(end, size[axis])
        sides.append(end - start)
    return sides[0][:, None] * sides[1]


# -- transposed convolution -----------------------------------------------------------------------


def grouped(array, groups, axis=1):
    """Split an axis into groups and the members of each."""
    members = array.shape[axis] // groups
    return array.reshape(*array.shape[:axis], groups, members, *array.shape[axis + 1 :])


def scattered(x, weight, shape, o, *, store=False):
    """Return y: x's pixels times the weights, added (or stored) where the taps put them."""
    y = np.zeros(shape, x.dtype)
    for tap, pixels, places in _conv_taps(shape[2:], x.shape[2:], weight.shape[2:], o):
        product = np.einsum(
            "ngchw,gcm->ngmhw",
            grouped(x[:, :, *pixels], o["groups"]), grouped(weight[:, :, *tap], o["groups"], 0),
        )  # fmt: skip
        product = product.reshape(len(x), shape[1], *product.shape[3:])
        y[:, :, *places] = product if store else y[:, :, *places] + product
    return y


def gathered(grad_output, weight, shape, o):
    """Return dx: every pixel of x collects from where its taps went."""
    dx = np.zeros(shape, grad_output.dtype)
    for tap, pixels, places in _conv_taps(grad_output.shape[2:], shape[2:], weight.shape[2:], o):
        product = np.einsum(
            "ngmhw,gcm->ngchw",
            grouped(grad_output[:, :, *places], o["groups"]),
            grouped(weight[:, :, *tap], o["groups"], 0),
        )
        dx[:, :, *pixels] += product.reshape(*shape[:2], *product.shape[3:])
    return dx


def correlated(grad_output, x, shape, o):
    """Return dw: for every tap the products of x and of where the tap puts it."""
    dw = np.zeros(shape, x.dtype)
    for tap, pixels, places in _conv_taps(grad_output.shape[2:], x.shape[2:], shape[2:], o):
        dw[:, :, *tap] = np.einsum(
            "ngchw,ngmhw->gcm",
            grouped(x[:, :, *pixels], o["groups"]),
            grouped(grad_output[:, :, *places], o["groups"]),
        ).reshape(shape[:2])
    return dw


def _conv_taps(size, count, kernel, o):
    return taps(size, count, kernel, o["stride"], o["padding"], o["dilation"])
