"""Shapes of a convolution, and the errors for geometries that have none.

Every pair is (height, width).  Sizes follow the documents: an image side of H pixels under P
pixels of padding on each end, a kernel side of K taps D pixels apart, moved S pixels at a time.
"""

from collections.abc import Sequence
from operator import index
from typing import Any, NamedTuple, TypeAlias

import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Pair: TypeAlias = tuple[int, int]
Shape: TypeAlias = tuple[int, ...]

SIDES = ("height", "width")


class Conv2dShapes(NamedTuple):
    """The shapes of a legal convolution: x, weight, and y (which dy shares)."""

    x: Shape  # [N, C, H, W]
    weight: Shape  # [M, C/groups, KH, KW]
    y: Shape  # [N, M, OH, OW]


def extent(kernel: int, dilation: int) -> int:
    """Return how many pixels a dilated kernel side spans: (K - 1) * D + 1."""
    return (kernel - 1) * dilation + 1


def remainder(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """Return how many of the last padded pixels no window reaches: (H + 2P - extent) mod S."""
    return (size + 2 * padding - extent(kernel, dilation)) % stride


def window_count(
    size: Sequence[int], kernel: Sequence[int], stride: Pair, padding: Pair, dilation: Pair
) -> Pair:
    """Return how many windows fit down and across: (H + 2P - extent) // S + 1 for each side.

    Raises:
        ValueError: the dilated kernel is larger than the padded image.
    """
    counts = []
    for axis, side in enumerate(SIDES):
        span, padded = extent(kernel[axis], dilation[axis]), size[axis] + 2 * padding[axis]
        if span > padded:
            raise ValueError(
                f"the kernel's {side} spans {span} pixels ({kernel[axis]} taps, dilation "
                f"{dilation[axis]}), but the padded image has {padded} ({size[axis]} pixels, "
                f"padding {padding[axis]} on each end); at most {padded} is legal"
            )
        counts.append((padded - span) // stride[axis] + 1)
    return counts[0], counts[1]


def conv2d_shapes(
    x_shape: Sequence[int],
    weight_shape: Sequence[int],
    *,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> Conv2dShapes:
    """Return the shapes of a convolution of an image batch with a filter bank.

    Raises:
        ValueError: ranks, channel counts or options fit no convolution; the message names the
            value and what would be legal.
    """
    x = _sizes("x", x_shape, ("N", "C", "H", "W"), smallest=(0, 1, 1, 1))
    weight = _sizes("weight", weight_shape, ("M", "C/groups", "KH", "KW"), smallest=(1, 1, 1, 1))
    stride = check_pair("stride", stride, smallest=1)
    padding = check_pair("padding", padding, smallest=0)
    dilation = check_pair("dilation", dilation, smallest=1)
    groups = check_integer("groups", groups, smallest=1)
    _check_groups(x[1], weight[0], weight[1], groups)
    return Conv2dShapes(
        x, weight, (x[0], weight[0], *window_count(x[2:], weight[2:], stride, padding, dilation))
    )


def _check_groups(channels: int, filters: int, depth: int, groups: int) -> None:
    if filters % groups:
        raise ValueError(f"groups={groups} does not divide the {filters} filters of weight")
    if channels != depth * groups:
        raise ValueError(
            f"x has {channels} channels, but weight's depth {depth} times groups={groups} "
            f"takes {depth * groups}"
        )


def check_pair(name: str, value: object, *, smallest: int) -> Pair:
    """Return `value` as a (height, width) pair of ints.

    Raises:
        ValueError: not two integers of at least `smallest`.
    """
    legal = f"{name} must be a pair (height, width) of integers of at least {smallest}"
    try:
        down, across = (index(side) for side in value)  # type: ignore[attr-defined]
    except (TypeError, ValueError) as error:
        raise ValueError(f"{legal}, got {value!r}") from error
    if down < smallest or across < smallest:
        raise ValueError(f"{legal}, got {value!r}")
    return down, across


def check_integer(name: str, value: object, *, smallest: int) -> int:
    """Return `value` as an int.

    Raises:
        ValueError: not an integer of at least `smallest`.
    """
    try:
        number = index(value)  # type: ignore[arg-type]
    except TypeError as error:
        raise ValueError(f"{name} must be an integer, got {value!r}") from error
    if number < smallest:
        raise ValueError(f"{name} must be at least {smallest}, got {number}")
    return number


def check_shape(name: str, got: Sequence[int], want: Shape, reason: str) -> None:
    """Raise ValueError unless the array called `name` has the shape that `reason` demands."""
    if tuple(got) != want:
        raise ValueError(f"{name} has shape {[*got]}, but {reason} {[*want]}")


def _sizes(
    name: str, shape: Sequence[int], axes: tuple[str, ...], *, smallest: tuple[int, ...]
) -> Shape:
    sizes = tuple(index(size) for size in shape)
    layout = f"[{', '.join(axes)}]"
    if len(sizes) != len(axes):
        raise ValueError(f"{name} must have {len(axes)} axes {layout}, got shape {[*sizes]}")
    for axis, size, least in zip(axes, sizes, smallest, strict=True):
        if size < least:
            raise ValueError(f"{name} {layout} must have {axis} of at least {least}, got {size}")
    return sizes
