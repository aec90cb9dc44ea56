"""The tables of addresses that `conv2d_gemm.cu` reads, made from a convolution's shape.

A lane is (offset, bits); see the file itself for what the bits say.  Offsets count bytes for y and
dx, and numbers for dw.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import gcd
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]

DEPTH = 8  # terms of a step of the main loop
MOST_TAPS = 15  # along an axis: a lane has a bit for each
COLUMN_BITS = 16  # rows' bits are below, columns' from here on
NEVER = 1 << 15
AHEAD = 2  # steps that the main loop looks beyond the last


class Conv(NamedTuple):
    """A convolution of x [N, C, H, W] by weight [M, C/G, KH, KW] to y [N, M, OH, OW]."""

    N: int
    C: int
    H: int
    W: int
    M: int
    KH: int
    KW: int
    SH: int
    SW: int
    PH: int
    PW: int
    DH: int
    DW: int
    G: int
    OH: int
    OW: int


class Part(NamedTuple):
    """Some pixels of a result and the taps that reach them, as in conv2d_gemm.cu."""

    block: int
    row: int
    steps: int
    height: int
    width: int
    top: int
    left: int
    taps_h: int
    taps_w: int
    start_h: int
    start_w: int
    tap_h: int
    tap_w: int


class Side(NamedTuple):
    """Along one axis: some pixels of the result, and the taps that reach them from the source.

    Tap `taps[t]` takes pixel `first + i*step` of the result to `i*source_step + start + t*tap`.
    """

    first: int
    pixels: int
    taps: range
    start: int
    tap: int


@dataclass(frozen=True)
class Walk:
    """The parts of a result, and for every term of every part its lane and its weight."""

    parts: list[Part]  # `block` is the plan's to say
    lanes: Array  # [terms, 2]
    origins: Array  # [terms]: index of the first row's weight, -1 for padding


def conv_of(p: Any) -> Conv:
    """Return the struct that kernels take, all of int32, as a tuple of integers."""
    return _conv_of(p.tobytes())


@lru_cache(maxsize=4096)
def _conv_of(raw: bytes) -> Conv:
    return Conv(*map(int, np.frombuffer(raw, np.int32)))


def forward_walk(conv: Conv, itemsize: int) -> Walk:
    """Return the walk from x to y: one part, whose terms are weight's (c, p, q)."""
    down = Side(0, conv.OH, range(conv.KH), -conv.PH, conv.DH)
    across = Side(0, conv.OW, range(conv.KW), -conv.PW, conv.DW)
    channels = np.arange(conv.C // conv.G)
    planes, lines = channels * conv.H * conv.W, channels * conv.KH * conv.KW
    return _walk([(down, across)], planes, conv.W, lines, conv.KW, itemsize)


def gradient_walk(conv: Conv, itemsize: int) -> Walk:
    """Return the walk from dy to dx: a part for each phase of the strides; terms are (m, p, q)."""
    sides = [
        (down, across)
        for down in _phases(conv.H, conv.KH, conv.SH, conv.PH, conv.DH)
        for across in _phases(conv.W, conv.KW, conv.SW, conv.PW, conv.DW)
    ]
    # The longest sums come first, so that no block starts one when the others are done.
    sides.sort(key=lambda side: -len(side[0].taps) * len(side[1].taps))
    filters = np.arange(conv.M // conv.G)
    planes = filters * conv.OH * conv.OW
    lines = filters * (conv.C // conv.G) * conv.KH * conv.KW
    return _walk(sides, planes, conv.OW, lines, conv.KW, itemsize)


def pixel_lanes(conv: Conv) -> Array:
    """Return the lane of every output pixel: where its window begins, and what of it is outside."""
    rows = np.arange(conv.OH) * conv.SH - conv.PH
    columns = np.arange(conv.OW) * conv.SW - conv.PW
    offsets = rows[:, np.newaxis] * conv.W + columns
    above = _outside(rows, conv.KH, conv.DH, conv.H)
    beside = _outside(columns, conv.KW, conv.DW, conv.W) << COLUMN_BITS
    bits = above[:, np.newaxis] | beside
    return np.stack([offsets, bits], axis=-1).reshape(-1, 2).astype(np.int32)


def _outside(starts: Array, taps: int, dilation: int, size: int) -> Array:
    """Return, for every window, the bits of its taps outside of 0 ... size - 1."""
    at = starts[:, np.newaxis] + np.arange(taps) * dilation
    bits: Array = (((at < 0) | (at >= size)) << np.arange(taps)).sum(axis=1)
    return bits


def _phases(size: int, taps: int, stride: int, padding: int, dilation: int) -> list[Side]:
    """Return the pixels r, r + stride, ... of dx for each r, and the taps p that reach them.

    Output pixel i sees pixel h = i*stride - padding + p*dilation.  So the taps of h = r + a*stride
    are those with r + padding - p*dilation divisible by stride, and i = a + that quotient.
    """
    apart = stride // gcd(stride, dilation)
    phases = []
    for r in range(min(stride, size)):
        first = next((p for p in range(taps) if (r + padding - p * dilation) % stride == 0), taps)
        start = (r + padding - first * dilation) // stride if first < taps else 0
        reach = range(first, taps, apart)
        phases.append(
            Side(r, -(-(size - r) // stride), reach, start, -(apart * dilation // stride))
        )
    return phases


def _walk(
    sides: list[tuple[Side, Side]], planes: Array, width: int, lines: Array, row: int, itemsize: int
) -> Walk:
    """Return the walk of parts whose terms are (channel, p, q), padded to whole steps."""
    at = 0
    parts: list[Part] = []
    lanes: list[Array] = []
    origins: list[Array] = []
    for down, across in sides:
        t, u = np.arange(len(down.taps)), np.arange(len(across.taps))
        terms = len(planes) * len(t) * len(u)
        steps = -(-terms // DEPTH)
        padded = ((0, (steps + AHEAD) * DEPTH - terms),)
        offsets = _sums(planes, t * down.tap * width, u * across.tap) * itemsize
        bits = _sums(planes * 0, 1 << t, 1 << (COLUMN_BITS + u))
        origin = _sums(lines, np.array(down.taps, int) * row, np.array(across.taps, int))
        bits = np.pad(bits, padded, constant_values=NEVER)
        lanes.append(np.stack([np.pad(offsets, padded), bits], axis=-1))
        origins.append(np.pad(origin, padded, constant_values=-1))
        parts.append(
            Part(
                *(0, at, steps, down.pixels, across.pixels, down.first, across.first),
                *(len(t), len(u), down.start, across.start, down.tap, across.tap),
            )
        )
        at += (steps + AHEAD) * DEPTH
    return Walk(
        parts, np.concatenate(lanes).astype(np.int32), np.concatenate(origins).astype(np.int32)
    )


def _sums(a: Array, b: Array, c: Array) -> Array:
    """Return a + b + c for every triple of elements, the last running fastest."""
    sums: Array = (a[:, np.newaxis, np.newaxis] + b[:, np.newaxis] + c).reshape(-1)
    return sums
