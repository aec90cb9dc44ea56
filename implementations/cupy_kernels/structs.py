"""The structs of shapes that kernels take by value, and the options that go into them."""

from operator import index
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gradoracle.implementations.shapes import Pair, Shape

Struct: TypeAlias = npt.NDArray[Any]  # one element, without axes

WINDOWS = ("SH", "SW", "PH", "PW", "DH", "DW")  # stride, padding, dilation
CONV = np.dtype([(n, np.int32) for n in (*"NCHWM", "KH", "KW", *WINDOWS, "G", "OH", "OW")])
POOL = np.dtype([(n, np.int32) for n in (*"NCHW", "KH", "KW", *WINDOWS, "OH", "OW")])
MOST = 2**31 - 1  # of what the kernels count along one side of an image


def pair(name: str, value: Any) -> Pair:
    """Return an option as (height, width).

    Raises:
        ValueError: it is no pair of integers.
    """
    try:
        down, across = (index(side) for side in value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be a pair of integers, got {value!r}") from error
    return down, across


def sizes(name: str, value: Any) -> Shape:
    """Return an option as a shape.

    Raises:
        ValueError: its sizes are no integers.
    """
    try:
        return tuple(index(size) for size in value)
    except TypeError as error:
        raise ValueError(f"{name} must be a shape, got {value!r}") from error


def options(stride: Any, padding: Any, dilation: Any, groups: Any) -> tuple[Pair, Pair, Pair, int]:
    """Return the options of a convolution, as integers.

    Raises:
        ValueError: one of them is something else.
    """
    try:
        count = index(groups)
    except TypeError as error:
        raise ValueError(f"groups must be an integer, got {groups!r}") from error
    return pair("stride", stride), pair("padding", padding), pair("dilation", dilation), count


def conv(
    x: Shape, weight: Shape, y: Shape, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Struct:
    """Return the `Conv` of a convolution of x [N, C, H, W] to y [N, M, OH, OW].

    Raises:
        NotImplementedError: a side is too long for the kernels.
    """
    _check_sides(x, weight[2:], stride, padding, dilation)
    numbers = (*x, weight[0], *weight[2:], *stride, *padding, *dilation, groups, *y[2:])
    return np.array(numbers, CONV)


def pool(
    x: Shape, windows: Pair, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair
) -> Struct:
    """Return the `Pool` of a pooling of x [N, C, H, W].

    Raises:
        NotImplementedError: a side is too long for the kernels.
    """
    _check_sides(x, kernel_size, stride, padding, dilation)
    return np.array((*x, *kernel_size, *stride, *padding, *dilation, *windows), POOL)


def _check_sides(x: Shape, kernel: Shape, stride: Pair, padding: Pair, dilation: Pair) -> None:
    """Check that no coordinate, of a pixel or beyond the padding's end, overflows an int."""
    for size, taps, s, p, d in zip(x[2:], kernel, stride, padding, dilation, strict=True):
        if size + 2 * p + s + taps * d > MOST:
            raise NotImplementedError(
                f"{size} pixels padded by {p} under {taps} taps {d} apart, stride {s}: kernels "
                f"count to {MOST}"
            )
