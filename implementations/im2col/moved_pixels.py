"""Pixels as channels and windows as columns, with their gradients, by slices."""

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any, TypeAlias, Unpack

import numpy as np
import numpy.typing as npt

from gradoracle.implementations.im2col.halves import in_float32
from gradoracle.implementations.shapes import (
    Shape,
    Sides,
    WindowOptions,
    check_image,
    columns_shape,
    named,
)

Array: TypeAlias = npt.NDArray[Any]
Ends: TypeAlias = tuple[int, int]
Back: TypeAlias = Callable[[Array, Ends], Array]


def _spread(name: str, x: Array, r: int) -> Array:
    """Return the fine image of a coarse one."""
    check_image(name, x.shape)
    images, channels, height, width = x.shape
    if r < 1 or channels % (r * r):
        raise ValueError(f"a factor of {r} must divide the {channels} channels of {name} twice")
    blocks = x.reshape(images, channels // r**2, r, r, height, width)
    fine = blocks.transpose(0, 1, 4, 2, 5, 3)
    return np.array(fine.reshape(images, channels // r**2, height * r, width * r))


def _gather(name: str, x: Array, r: int) -> Array:
    """Return the coarse image of a fine one."""
    check_image(name, x.shape)
    images, channels, tall, wide = x.shape
    if r < 1 or tall % r or wide % r:
        raise ValueError(f"a factor of {r} must divide the {tall}x{wide} pixels of {name}")
    blocks = x.reshape(images, channels, tall // r, r, wide // r, r)
    coarse = blocks.transpose(0, 1, 3, 5, 2, 4)
    return np.array(coarse.reshape(images, channels * r**2, tall // r, wide // r))


def pixel_shuffle(x: Array, *, upscale_factor: int) -> Array:
    """Return r*r channels as blocks of r x r pixels.

    Raises:
        ValueError: the channels cannot be divided so.
    """
    return _spread("x", x, upscale_factor)


def pixel_shuffle_grad_input(grad_output: Array, *, upscale_factor: int) -> Array:
    """Return blocks of r x r pixels as r*r channels.

    Raises:
        ValueError: the pixels cannot be divided so.
    """
    return _gather("grad_output", grad_output, upscale_factor)


def pixel_unshuffle(x: Array, *, downscale_factor: int) -> Array:
    """Return blocks of r x r pixels as r*r channels.

    Raises:
        ValueError: the pixels cannot be divided so.
    """
    return _gather("x", x, downscale_factor)


def pixel_unshuffle_grad_input(grad_output: Array, *, downscale_factor: int) -> Array:
    """Return r*r channels as blocks of r x r pixels.

    Raises:
        ValueError: the channels cannot be divided so.
    """
    return _spread("grad_output", grad_output, downscale_factor)


def _taps(shape: Shape, options: WindowOptions) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """Yield each tap's number, and the pixels of the padded image that it sees in all windows."""
    _, _, *windows = columns_shape(shape, **options)
    kernel, steps, apart = (options[n] for n in ("kernel_size", "stride", "dilation"))
    for number, tap in enumerate(product(*map(range, kernel))):
        starts = [at * d for at, d in zip(tap, apart, strict=True)]
        ends = [
            at + (count - 1) * step + 1
            for at, count, step in zip(starts, windows, steps, strict=True)
        ]
        yield number, (..., *map(slice, starts, ends, steps))


def _padded(shape: Shape, padding: Sequence[int]) -> tuple[Shape, tuple[Any, ...]]:
    """Return the shape of the padded images, and where in them the images are."""
    (tall, wide), (down, across) = shape[2:], padding
    inside = (..., slice(down, down + tall), slice(across, across + wide))
    return (*shape[:2], tall + 2 * down, wide + 2 * across), inside


def _columns(x: Array, options: WindowOptions) -> Array:
    images, channels, *windows = columns_shape(x.shape, **options)
    whole, inside = _padded(x.shape, options["padding"])
    padded = np.zeros(whole, x.dtype)
    padded[inside] = x
    kernel = options["kernel_size"]
    columns = np.empty((images, channels, np.prod(kernel), *windows), x.dtype)
    for tap, pixels in _taps(x.shape, options):
        columns[:, :, tap] = padded[pixels]
    return columns.reshape(images, channels * int(np.prod(kernel)), np.prod(windows))


def _images(name: str, columns: Array, shape: Shape, options: WindowOptions) -> Array:
    images, channels, *windows = columns_shape(shape, **options)
    taps = int(np.prod(options["kernel_size"]))
    if columns.shape != (images, channels * taps, np.prod(windows)):
        raise ValueError(f"{name} {columns.shape} does not fit the windows of {shape}")
    whole, inside = _padded(shape, options["padding"])
    sums = np.zeros(whole, columns.dtype)
    parts = columns.reshape(images, channels, taps, *windows)
    for tap, pixels in _taps(shape, options):
        sums[pixels] += parts[:, :, tap]
    return np.array(sums[inside])


@in_float32
@named("unfold")
def unfold(x: Array, **options: Unpack[WindowOptions]) -> Array:
    """Return [N, C*KH*KW, OH*OW]: every window as a column.

    Raises:
        ValueError: the shapes or options fit no windows.
    """
    return np.asarray(_columns(x, options))


@in_float32
@named("unfold_grad_input")
def unfold_grad_input(
    grad_output: Array, *, input_shape: Shape, **options: Unpack[WindowOptions]
) -> Array:
    """Return dx of shape `input_shape`: the columns added up where they overlap.

    Raises:
        ValueError: the shapes or options fit no windows.
    """
    return _images("grad_output", grad_output, tuple(input_shape), options)


@in_float32
@named("fold")
def fold(x: Array, *, output_size: Sides, **options: Unpack[WindowOptions]) -> Array:
    """Return [N, C, *output_size]: the columns added up where they overlap.

    Raises:
        ValueError: the shapes or options fit no windows.
    """
    taps = int(np.prod(options["kernel_size"]))
    if x.ndim != 3 or taps < 1 or x.shape[1] % taps:
        raise ValueError(f"x {x.shape} must be [N, C*{taps}, windows]")
    shape = (len(x), x.shape[1] // taps, *output_size)
    return _images("x", x, shape, options)


@in_float32
@named("fold_grad_input")
def fold_grad_input(grad_output: Array, **options: Unpack[WindowOptions]) -> Array:
    """Return [N, C*KH*KW, OH*OW]: every window of dy as a column.

    Raises:
        ValueError: the shapes or options fit no windows.
    """
    return np.asarray(_columns(grad_output, options))
