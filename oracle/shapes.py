"""Shapes of a convolution, and the errors for geometries that have none.

Every option is one number per spatial axis, such as (height, width).  Sizes follow the documents:
an image side of H pixels under P pixels of padding on each end, a kernel side of K taps D pixels
apart, moved S pixels at a time.
"""

from collections.abc import Mapping, Sequence
from operator import ge, index
from typing import Any, NamedTuple, TypeAlias, TypedDict

import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Pair: TypeAlias = tuple[int, int]
Sides: TypeAlias = tuple[int, ...]  # one number per spatial axis
Shape: TypeAlias = tuple[int, ...]

# The spatial axes by their number, in words and in letters.
SIDES: Mapping[int, tuple[str, ...]] = {
    1: ("width",),
    2: ("height", "width"),
    3: ("depth", "height", "width"),
}
SPACE: Mapping[int, tuple[str, ...]] = {1: ("W",), 2: ("H", "W"), 3: ("T", "H", "W")}


class ConvOptions(TypedDict):
    """The options of a convolution: its formulas take them as keywords."""

    stride: Sides
    padding: Sides
    dilation: Sides
    groups: int


class ConvTransposeOptions(TypedDict):
    """The options of a transposed convolution."""

    stride: Sides
    padding: Sides
    output_padding: Sides
    dilation: Sides
    groups: int


class MaxPoolOptions(TypedDict):
    """The options of a max pooling."""

    kernel_size: Sides
    stride: Sides
    padding: Sides
    dilation: Sides
    ceil_mode: bool


class AvgPoolOptions(TypedDict):
    """The options of an average pooling."""

    kernel_size: Sides
    stride: Sides
    padding: Sides
    ceil_mode: bool
    count_include_pad: bool


class ConvShapes(NamedTuple):
    """The shapes of a legal convolution: x, weight, and y (which dy shares)."""

    x: Shape  # [N, C, *pixels]
    weight: Shape  # [M, C/groups, *taps]
    y: Shape  # [N, M, *windows]
    # Pixels, taps, windows, stride, padding and dilation: how windows meet an image.
    meeting: tuple[Shape, Shape, Shape, Sides, Sides, Sides]


def extent(kernel: int, dilation: int) -> int:
    """Return how many pixels a dilated kernel side spans: (K - 1) * D + 1."""
    return (kernel - 1) * dilation + 1


def remainder(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """Return how many of the last padded pixels no window reaches: (H + 2P - extent) mod S."""
    return (size + 2 * padding - extent(kernel, dilation)) % stride


def window_count(
    size: Sequence[int], kernel: Sequence[int], stride: Sides, padding: Sides, dilation: Sides
) -> Sides:
    """Return how many windows fit along each axis: (H + 2P - extent) // S + 1.

    Raises:
        ValueError: the dilated kernel is larger than the padded image.
    """
    counts = []
    for axis, side in enumerate(SIDES[len(size)]):
        span, padded = extent(kernel[axis], dilation[axis]), size[axis] + 2 * padding[axis]
        if span > padded:
            raise ValueError(
                f"the kernel's {side} spans {span} pixels ({kernel[axis]} taps, dilation "
                f"{dilation[axis]}), but the padded image has {padded} ({size[axis]} pixels, "
                f"padding {padding[axis]} on each end); at most {padded} is legal"
            )
        counts.append((padded - span) // stride[axis] + 1)
    return tuple(counts)


def conv_shapes(
    rank: int,
    x_shape: Sequence[int],
    weight_shape: Sequence[int],
    stride: Sides,
    padding: Sides,
    dilation: Sides,
    groups: int,
) -> ConvShapes:
    """Return the shapes of a convolution of an image batch with a filter bank.

    `rank` is the number of spatial axes.

    Raises:
        ValueError: axes, channel counts or options fit no convolution; the message names the
            value and what would be legal.
    """
    x = _images("x", x_shape, rank)
    weight = _filters(weight_shape, ("M", "C/groups"), rank)
    stride = check_sides("stride", stride, rank, smallest=1)
    padding = check_sides("padding", padding, rank, smallest=0)
    dilation = check_sides("dilation", dilation, rank, smallest=1)
    groups = check_integer("groups", groups, smallest=1)
    _check_groups(x[1], weight[0], weight[1], groups)
    windows = window_count(x[2:], weight[2:], stride, padding, dilation)
    meeting = (x[2:], weight[2:], windows, stride, padding, dilation)
    return ConvShapes(x, weight, (x[0], weight[0], *windows), meeting)


def conv_transpose_shapes(
    rank: int,
    x_shape: Sequence[int],
    weight_shape: Sequence[int],
    stride: Sides,
    padding: Sides,
    dilation: Sides,
    groups: int,
    output_padding: Sides,
) -> ConvShapes:
    """Return the shapes of a transposed convolution; its weight is [C, M/groups, *taps].

    Each side of y has (H - 1)*S - 2P + D*(K - 1) + output_padding + 1 pixels.

    Raises:
        ValueError: axes, channel counts or options fit no transposed convolution.
    """
    x = _images("x", x_shape, rank)
    weight = _filters(weight_shape, ("C", "M/groups"), rank)
    stride = check_sides("stride", stride, rank, smallest=1)
    padding = check_sides("padding", padding, rank, smallest=0)
    output_padding = check_sides("output_padding", output_padding, rank, smallest=0)
    dilation = check_sides("dilation", dilation, rank, smallest=1)
    groups = check_integer("groups", groups, smallest=1)
    if x[1] != weight[0] or x[1] % groups:
        raise ValueError(
            f"x has {x[1]} channels in groups={groups}; weight's first axis must have as many "
            f"({weight[0]}), and the groups must divide them"
        )
    sides = []
    for axis, side in enumerate(SIDES[rank]):
        if output_padding[axis] >= max(stride[axis], dilation[axis]):
            raise ValueError(
                f"output_padding's {side} must be below the stride ({stride[axis]}) or the "
                f"dilation ({dilation[axis]}), got {output_padding[axis]}"
            )
        span = (x[2 + axis] - 1) * stride[axis] + extent(weight[2 + axis], dilation[axis])
        sides.append(span + output_padding[axis] - 2 * padding[axis])
        if sides[-1] < 1:
            raise ValueError(
                f"the output's {side} would have {sides[-1]} pixels: padding {padding[axis]} on "
                f"each end takes more than the {span} that the kernel reaches"
            )
    meeting = ((*sides,), weight[2:], x[2:], stride, padding, dilation)
    return ConvShapes(x, weight, (x[0], weight[1] * groups, *sides), meeting)


def pool_shape(
    rank: int,
    x_shape: Sequence[int],
    kernel_size: Sides,
    stride: Sides,
    padding: Sides,
    dilation: Sides | None = None,
    *,
    ceil_mode: bool,
) -> Shape:
    """Return y's shape [N, C, *windows] of a pooling of x [N, C, *pixels].

    Each side has (H + 2P - extent) / S + 1 windows, rounded down, or with `ceil_mode` up: then the
    last window may hang over the end, but must start on the image or in the padding before it.

    Raises:
        ValueError: options that fit no pooling, padding of more than half the kernel's taps, or a
            window without a pixel.
    """
    x = _images("x", x_shape, rank)
    kernel_size = check_sides("kernel_size", kernel_size, rank, smallest=1)
    stride = check_sides("stride", stride, rank, smallest=1)
    padding = check_sides("padding", padding, rank, smallest=0)
    dilation = check_sides("dilation", dilation or (1,) * rank, rank, smallest=1)
    sides = []
    for axis, side in enumerate(SIDES[rank]):
        size, kernel, step = x[2 + axis], kernel_size[axis], stride[axis]
        pad, apart = padding[axis], dilation[axis]
        span = extent(kernel, apart)
        if pad > kernel // 2:
            raise ValueError(
                f"padding's {side} must be at most half the kernel's {kernel} taps, got {pad}"
            )
        count = pool_windows(size, kernel, step, pad, apart, ceil_mode=ceil_mode)
        if count < 1:
            raise ValueError(
                f"the window's {side} spans {span} pixels, but the padded image has "
                f"{size + 2 * pad}; no window fits"
            )
        # Windows that begin on the image hold a pixel, but for the last.
        for i in (*range(min(count - 1, -(-pad // step))), count - 1):
            start = i * step - pad
            first = start + -(min(0, start) // apart) * apart
            if first >= size or first > start + span - 1:
                raise ValueError(f"window {i} of the {side} holds no pixel of the image")
        sides.append(count)
    return (*x[:2], *sides)


def pool_windows(
    size: int, kernel: int, stride: int, padding: int, dilation: int, *, ceil_mode: bool
) -> int:
    """Return how many windows of a pooling fit along one side, 0 or less if none does."""
    room = size + 2 * padding - extent(kernel, dilation)
    if not ceil_mode:
        return room // stride + 1
    count = -(-room // stride) + 1
    return count - 1 if (count - 1) * stride >= size + padding else count


def _check_groups(channels: int, filters: int, depth: int, groups: int) -> None:
    if filters % groups:
        raise ValueError(f"groups={groups} does not divide the {filters} filters of weight")
    if channels != depth * groups:
        raise ValueError(
            f"x has {channels} channels, but weight's second axis of {depth} times "
            f"groups={groups} takes {depth * groups}"
        )


def check_sides(name: str, value: object, rank: int, *, smallest: int) -> Sides:
    """Return `value` as ints, one per spatial axis.

    Raises:
        ValueError: not as many integers of at least `smallest` as there are spatial axes.
    """
    try:
        sides = tuple(map(index, value))  # type: ignore[call-overload]
    except TypeError:
        sides = ()
    if len(sides) == rank and min(sides) >= smallest:
        return sides
    names = f"({', '.join(SIDES[rank])}{',' * (rank == 1)})"
    what = "a pair" if rank == 2 else "a tuple"
    legal = f"{name} must be {what} {names} of integers of at least {smallest}"
    raise ValueError(f"{legal}, got {value!r}")


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
    sizes = tuple(map(index, shape))
    if len(sizes) == len(axes) and all(map(ge, sizes, smallest)):
        return sizes
    layout = f"[{', '.join(axes)}]"
    if len(sizes) != len(axes):
        raise ValueError(f"{name} must have {len(axes)} axes {layout}, got shape {[*sizes]}")
    few = next(at for at, size in enumerate(sizes) if size < smallest[at])
    raise ValueError(
        f"{name} {layout} must have {axes[few]} of at least {smallest[few]}, got {sizes[few]}"
    )


def _images(name: str, shape: Sequence[int], rank: int) -> Shape:
    return _sizes(name, shape, ("N", "C", *SPACE[rank]), smallest=(0, *[1] * (rank + 1)))


def _filters(shape: Sequence[int], channels: tuple[str, str], rank: int) -> Shape:
    taps = (f"K{letter}" for letter in SPACE[rank])
    return _sizes("weight", shape, (*channels, *taps), smallest=(1,) * (rank + 2))
