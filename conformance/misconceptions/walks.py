"""Convolutions and pooling as a backend computes them that reads an option wrongly.

It walks over arrays of the right shapes with another stride, padding or dilation, and adds what
its taps find on the image.  All of that is which pixel a tap of a window reads: one array a side.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from gradoracle.conformance.misconceptions.misconception import Bend, Misconception, Wrong, bent
from gradoracle.oracle.declaration import Formula
from gradoracle.oracle.expected.truth import answer_shape
from gradoracle.oracle.shapes import Array, Shape

MOST = 2_000_000  # numbers of an array on the way: enough for the calls that are explained


def walked(bend: Bend, *, safe: bool = False) -> Wrong:
    """Return what a backend gives that allocates the right shape and bends what it loops over.

    A `safe` one divides by 1 where a window has no pixel.
    """

    def wrong(formula: Formula, call: dict[str, Any]) -> Array:
        bad = {**bend(call), "safe": safe}
        return WALKS[formula.__name__](bad, answer_shape(formula, call))

    return wrong


def misread(sentence: str, functions: tuple[str, ...], bend: Bend) -> Misconception:
    """Return the misconception of an option, whether the answer's shape follows it or not."""
    return Misconception(
        sentence, functions, walked(bend), also=(walked(bend, safe=True), bent(bend)), finite=False
    )


def taps(call: dict[str, Any], axis: int, windows: int, kernel: int, size: int) -> Array:
    """Return [windows, kernel, size]: 1 where a tap of a window reads a pixel, along one side."""
    start = np.arange(windows) * call["stride"][axis] - call["padding"][axis]
    at = start[:, None] + np.arange(kernel) * call.get("dilation", (1, 1))[axis]
    return np.asarray(at[:, :, None] == np.arange(size), np.float64)


def _grouped(array: Array, axis: int, groups: int) -> Array:
    """Return an array whose channels are split into groups and the channels of one."""
    shape = array.shape
    split = (groups, shape[axis] // groups)
    grouped: Array = array.reshape(*shape[:axis], *split, *shape[axis + 1 :])
    return grouped


def _both(call: dict[str, Any], windows: Shape, kernel: Shape, image: Shape) -> tuple[Array, Array]:
    """Return the taps of both sides: of windows [N, M, OH, OW] and an image [N, C, H, W].

    Raises:
        ValueError: they would be too many numbers for an explanation.
    """
    sizes = [(windows[2 + a], kernel[a], image[2 + a]) for a in (0, 1)]
    read = prod(image[:2]) * prod(w * k for w, k, _ in sizes)
    if max(read, *map(prod, sizes)) > MOST:
        raise ValueError(f"more than {MOST} numbers")
    sides = [taps(call, axis, *sizes[axis]) for axis in (0, 1)]
    return sides[0], sides[1]


def _patches(image: Array, call: dict[str, Any], windows: Shape, kernel: Shape) -> Array:
    """Return what every tap of every window reads: [N, groups, C/groups, OH, KH, OW, KW]."""
    down, across = _both(call, windows, kernel, image.shape)
    columns = np.tensordot(_grouped(image, 1, call["groups"]), across, (4, 2))
    read = np.tensordot(columns, down, (3, 2))  # n g c, then j q, then i p
    return np.asarray(read.transpose(0, 1, 2, 5, 6, 3, 4))


def _seen(image: Array, weight: Array, call: dict[str, Any], shape: Shape) -> Array:
    """Return what windows see through filters: [N, M, OH, OW]."""
    read = _patches(image, call, shape, weight.shape[2:])
    filters = _grouped(weight, 0, call["groups"])
    y = np.einsum("ngcipjq,gmcpq->ngmij", read, filters, optimize=True)
    return np.asarray(y).reshape(shape)


def _laid(windows: Array, weight: Array, call: dict[str, Any], shape: Shape) -> Array:
    """Return the image that windows lay down their filters on: [N, C, H, W]."""
    groups = call["groups"]
    down, across = _both(call, windows.shape, weight.shape[2:], shape)
    laid = np.einsum(
        "ngmij,gmcpq->ngcipjq", _grouped(windows, 1, groups), _grouped(weight, 0, groups),
        optimize=True,
    )  # fmt: skip
    rows = np.tensordot(laid, down, ((3, 4), (0, 1)))  # n g c, then j q, then h
    return np.asarray(np.tensordot(rows, across, ((3, 4), (0, 1)))).reshape(shape)


def _met(windows: Array, image: Array, call: dict[str, Any], shape: Shape) -> Array:
    """Return what every tap meets: [M, C/groups, KH, KW]."""
    read = _patches(image, call, windows.shape, shape[2:])
    dw = np.einsum(
        "ngmij,ngcipjq->gmcpq", _grouped(windows, 1, call["groups"]), read, optimize=True
    )  # fmt: skip
    return np.asarray(dw).reshape(shape)


def _biased(y: Array, bias: Array | None) -> Array:
    return y if bias is None else y + bias[:, None, None]


def divisors(call: dict[str, Any], windows: Shape) -> Array:
    """Return what the windows of an average pooling divide by: [OH, OW]."""
    sides = []
    for axis in (0, 1):
        size, pad = call["input_shape"][2 + axis], call["padding"][axis]
        start = np.arange(windows[2 + axis]) * call["stride"][axis] - pad
        end = np.minimum(start + call["kernel_size"][axis], size + pad)
        if not call["count_include_pad"]:
            start, end = np.maximum(start, 0), np.minimum(end, size)
        sides.append(end - start)
    counted: Array = sides[0][:, None] * sides[1]
    return np.maximum(counted, 1) if call.get("safe") else counted


def _averaged(call: dict[str, Any], shape: Shape) -> Array:
    down, across = _both(call, shape, call["kernel_size"], call["x"].shape)
    sums = np.einsum("nchw,iph,jqw->ncij", call["x"], down, across, optimize=True)
    return np.asarray(sums / divisors(call, shape))


def _spread(call: dict[str, Any], shape: Shape) -> Array:
    windows = call["grad_output"]
    down, across = _both(call, windows.shape, call["kernel_size"], shape)
    shares = windows / divisors(call, windows.shape)
    return np.asarray(np.einsum("ncij,iph,jqw->nchw", shares, down, across, optimize=True))


def _maxima(call: dict[str, Any], shape: Shape) -> tuple[Array, Array]:
    """Return the maxima of the windows and where they are in the plane, the first of equal ones."""
    x, kernel = call["x"], call["kernel_size"]
    down, across = _both(call, shape, kernel, x.shape)
    rows, columns = down.argmax(2), across.argmax(2)  # [windows, taps]
    inside = np.multiply.outer(down.any(2), across.any(2)).swapaxes(1, 2)
    read = x[:, :, rows[:, None, :, None], columns[None, :, None, :]]
    flat = np.where(inside, read, -np.inf).reshape(*shape, -1)
    first = flat.argmax(-1)
    values = np.take_along_axis(flat, first[..., None], -1)[..., 0]
    plane = rows[:, None, :, None] * x.shape[3] + columns[None, :, None, :]
    places = np.broadcast_to(plane.reshape(*shape[2:], -1), flat.shape)
    return values, np.take_along_axis(places, first[..., None], -1)[..., 0]


def _sent_back(call: dict[str, Any], shape: Shape) -> Array:
    dy = call["grad_output"]
    _, places = _maxima(call, dy.shape)
    dx = np.zeros((*shape[:2], shape[2] * shape[3]))
    n, c = np.ogrid[: shape[0], : shape[1]]
    np.add.at(dx, (n[..., None, None], c[..., None, None], places), dy)
    return dx.reshape(shape)


# A call and the shape of the right answer make the answer.
WALKS: dict[str, Callable[[dict[str, Any], Shape], Array]] = {
    "conv2d": lambda c, s: _biased(_seen(c["x"], c["weight"], c, s), c["bias"]),
    "conv2d_grad_input": lambda c, s: _laid(c["grad_output"], c["weight"], c, s),
    "conv2d_grad_weight": lambda c, s: _met(c["grad_output"], c["x"], c, s),
    "conv_transpose2d": lambda c, s: _biased(_laid(c["x"], c["weight"], c, s), c["bias"]),
    "conv_transpose2d_grad_input": lambda c, s: _seen(c["grad_output"], c["weight"], c, s),
    "conv_transpose2d_grad_weight": lambda c, s: _met(c["x"], c["grad_output"], c, s),
    "max_pool2d_values": lambda c, s: _maxima(c, s)[0],
    "max_pool2d_indices": lambda c, s: _maxima(c, s)[1],
    "max_pool2d_vjp": _sent_back,
    "avg_pool2d": _averaged,
    "avg_pool2d_grad_input": _spread,
}
