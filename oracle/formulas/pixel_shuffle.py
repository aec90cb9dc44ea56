"""Channels as pixels and pixels as channels, with their gradients, as loops.

Index names: n image, c channel of the fine image, (h, w) pixel of the coarse one, (a, b) place in
the block of r x r fine pixels that a coarse pixel stands for.
"""

from __future__ import annotations

import numpy as np

from gradoracle.oracle.axes import Axes
from gradoracle.oracle.compiled_loops import run
from gradoracle.oracle.declaration import declare_axes, multilinear, selection
from gradoracle.oracle.formulas.gathered import check_plane
from gradoracle.oracle.shapes import Array, check_integer


@selection(images="kept")
def pixel_shuffle(x: Array, *, upscale_factor: int) -> Array:
    """Return y [N, C, H*r, W*r] from x [N, C*r*r, H, W], r = upscale_factor.

        y[n,c, h*r+a, w*r+b] = x[n, (c*r + a)*r + b, h,w]

    (Shi and others 2016, "Real-Time Single Image and Video Super-Resolution Using an Efficient
    Sub-Pixel Convolutional Neural Network"; the order of channels is PyTorch's,
    torch.nn.PixelShuffle).  dtype follows x.

    Raises:
        ValueError: x has other axes, or r*r does not divide its channels.
    """
    return _spread(x, upscale_factor, "x", "upscale_factor")


@multilinear("grad_output", images="kept")
def pixel_shuffle_grad_input(grad_output: Array, *, upscale_factor: int) -> Array:
    """Return dx = dE/dx [N, C*r*r, H, W] from dy [N, C, H*r, W*r], r = upscale_factor.

        dx[n, (c*r + a)*r + b, h,w] = dy[n,c, h*r+a, w*r+b]

    (PyTorch, torch.nn.PixelShuffle, differentiated).  dtype follows dy.

    Raises:
        ValueError: dy has other axes, or r does not divide its sides.
    """
    return _gather(grad_output, upscale_factor, "grad_output", "upscale_factor")


@selection(images="kept")
def pixel_unshuffle(x: Array, *, downscale_factor: int) -> Array:
    """Return y [N, C*r*r, H, W] from x [N, C, H*r, W*r], r = downscale_factor.

        y[n, (c*r + a)*r + b, h,w] = x[n,c, h*r+a, w*r+b]

    (PyTorch, torch.nn.PixelUnshuffle, the inverse of `pixel_shuffle`).  dtype follows x.

    Raises:
        ValueError: x has other axes, or r does not divide its sides.
    """
    return _gather(x, downscale_factor, "x", "downscale_factor")


@multilinear("grad_output", images="kept")
def pixel_unshuffle_grad_input(grad_output: Array, *, downscale_factor: int) -> Array:
    """Return dx = dE/dx [N, C, H*r, W*r] from dy [N, C*r*r, H, W], r = downscale_factor.

        dx[n,c, h*r+a, w*r+b] = dy[n, (c*r + a)*r + b, h,w]

    (PyTorch, torch.nn.PixelUnshuffle, differentiated).  dtype follows dy.

    Raises:
        ValueError: dy has other axes, or r*r does not divide its channels.
    """
    return _spread(grad_output, downscale_factor, "grad_output", "downscale_factor")


def _spread(coarse: Array, factor: int, name: str, option: str) -> Array:
    """Return the fine image of a coarse one."""
    images, channels, height, width = check_plane(name, coarse)
    r = check_integer(option, factor, smallest=1)
    if channels % (r * r):
        raise ValueError(f"{option}={r} must divide the {channels} channels of {name} twice")
    fine = np.zeros((images, channels // (r * r), height * r, width * r), coarse.dtype)
    run(_to_pixels, fine, coarse, r, products=fine.size)
    return fine


def _gather(fine: Array, factor: int, name: str, option: str) -> Array:
    """Return the coarse image of a fine one."""
    images, channels, height, width = check_plane(name, fine)
    r = check_integer(option, factor, smallest=1)
    if height % r or width % r:
        raise ValueError(f"{option}={r} must divide the {height}x{width} pixels of {name}")
    coarse = np.zeros((images, channels * r * r, height // r, width // r), fine.dtype)
    run(_to_channels, coarse, fine, r, products=fine.size)
    return coarse


def _to_pixels(y: Array, x: Array, r: int) -> None:
    images, channels, rows, columns = y.shape
    for n in range(images):
        for c in range(channels):
            for i in range(rows):
                for j in range(columns):
                    y[n, c, i, j] = x[n, (c * r + i % r) * r + j % r, i // r, j // r]


def _to_channels(y: Array, x: Array, r: int) -> None:
    images, channels, rows, columns = x.shape
    for n in range(images):
        for c in range(channels):
            for i in range(rows):
                for j in range(columns):
                    y[n, (c * r + i % r) * r + j % r, i // r, j // r] = x[n, c, i, j]


# Pixels are channels, too: there are no planes that a NaN stays in.
declare_axes(
    Axes("x: n k h w; grad_output: n c i j", neutral={"upscale_factor": 1}),
    pixel_shuffle,
    pixel_shuffle_grad_input,
)
declare_axes(
    Axes("x: n c i j; grad_output: n k h w", neutral={"downscale_factor": 1}),
    pixel_unshuffle,
    pixel_unshuffle_grad_input,
)
