"""Convolutions as products of stored matrices: columns (im2col) times weights, by `xp.matmul`.

For each image and group the columns are a matrix [C/G*KH*KW, OH*OW]; a convolution of 1 x 1 taps
without stride and padding has x itself for columns.
"""

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np

from gradoracle.implementations.cupy_kernels.gemm_tables import Conv, conv_of

Array: TypeAlias = Any  # NumPy's or CuPy's
MOST = 2**26  # numbers in the columns that exist at a time


def forward(machine: Any, x: Array, weight: Array, bias: Array | None, p: Any, y: Array) -> None:
    """Fill y [N, M, OH, OW]."""
    conv = conv_of(p)
    filters = _filters(conv, weight)
    for images in _chunks(conv):
        columns = _columns(machine.xp, conv, x[images])
        machine.xp.matmul(filters, columns, out=_slopes(conv, y[images]))
    if bias is not None:
        y += bias[:, None, None]


def grad_input(machine: Any, grad_output: Array, weight: Array, p: Any, dx: Array) -> None:
    """Fill dx [N, C, H, W]."""
    conv = conv_of(p)
    filters = _filters(conv, weight).swapaxes(1, 2)
    for images in _chunks(conv):
        slopes = _slopes(conv, grad_output[images])
        if is_pointwise(conv):
            machine.xp.matmul(filters, slopes, out=_columns(machine.xp, conv, dx[images]))
        else:
            dx[images] = _fold(machine.xp, conv, filters @ slopes)


def grad_weight(machine: Any, grad_output: Array, x: Array, p: Any, dw: Array) -> None:
    """Fill dw [M, C/G, KH, KW]: the sum over the images, in their order."""
    conv = conv_of(p)
    dw.fill(0)
    for images in _chunks(conv):
        columns = _columns(machine.xp, conv, x[images]).swapaxes(2, 3)
        dw += (_slopes(conv, grad_output[images]) @ columns).sum(axis=0).reshape(dw.shape)


def _filters(conv: Conv, weight: Array) -> Array:
    """Return the filters of every group as rows: [G, M/G, C/G*KH*KW]."""
    return weight.reshape(conv.G, conv.M // conv.G, -1)


def _slopes(conv: Conv, grad_output: Array) -> Array:
    """Return dy, or y, as [N, G, M/G, OH*OW]: a view of it."""
    return grad_output.reshape(len(grad_output), conv.G, conv.M // conv.G, conv.OH * conv.OW)


def _chunks(conv: Conv) -> Iterator[slice]:
    """Yield the images whose columns, and copies of dw, fit into memory, a few at a time."""
    size = conv.C * conv.KH * conv.KW * max(conv.OH * conv.OW, conv.M // conv.G)
    few = max(1, MOST // size)
    for first in range(0, conv.N, few):
        yield slice(first, min(first + few, conv.N))


def _columns(xp: Any, conv: Conv, x: Array) -> Array:
    """Return [N, G, C/G*KH*KW, OH*OW]: x itself where every window is one pixel, in order."""
    shape = (len(x), conv.G, conv.C // conv.G * conv.KH * conv.KW, conv.OH * conv.OW)
    if is_pointwise(conv):
        return x.reshape(shape)
    padded = _canvas(xp, conv, len(x), x.dtype)
    padded[:, :, conv.PH : conv.PH + conv.H, conv.PW : conv.PW + conv.W] = x
    image, channel, row, column = padded.strides
    windows = xp.lib.stride_tricks.as_strided(
        padded,
        (len(x), conv.C, conv.KH, conv.KW, conv.OH, conv.OW),
        (image, channel, row * conv.DH, column * conv.DW, row * conv.SH, column * conv.SW),
    )
    return windows.reshape(shape)  # a copy


def _fold(xp: Any, conv: Conv, taps: Array) -> Array:
    """Return dx that taps [N, G, C/G*KH*KW, OH*OW] add up to, tap by tap."""
    taps = taps.reshape(len(taps), conv.C, conv.KH, conv.KW, conv.OH, conv.OW)
    padded = _canvas(xp, conv, len(taps), taps.dtype)
    for p, q in np.ndindex(conv.KH, conv.KW):
        padded[_seen(conv, p, q)] += taps[:, :, p, q]
    return padded[:, :, conv.PH : conv.PH + conv.H, conv.PW : conv.PW + conv.W]


def is_pointwise(conv: Conv) -> bool:
    """Return whether y[n, :, i, j] depends on x[n, :, i, j] alone, for every pixel."""
    return (conv.KH, conv.KW, conv.OH, conv.OW) == (1, 1, conv.H, conv.W) and not (
        conv.PH or conv.PW
    )


def _canvas(xp: Any, conv: Conv, images: int, dtype: Any) -> Array:
    """Return zeros as large as the padded image, and as what windows reach."""
    height = max(conv.H + 2 * conv.PH, (conv.OH - 1) * conv.SH + (conv.KH - 1) * conv.DH + 1)
    width = max(conv.W + 2 * conv.PW, (conv.OW - 1) * conv.SW + (conv.KW - 1) * conv.DW + 1)
    return xp.zeros((images, conv.C, height, width), dtype)


def _seen(conv: Conv, p: int, q: int) -> tuple[slice, ...]:
    """Return the pixels of the padded image that tap (p, q) sees from all windows."""
    rows = slice(p * conv.DH, p * conv.DH + (conv.OH - 1) * conv.SH + 1, conv.SH)
    columns = slice(q * conv.DW, q * conv.DW + (conv.OW - 1) * conv.SW + 1, conv.SW)
    return (slice(None), slice(None), rows, columns)
