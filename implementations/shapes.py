"""Which shapes and options fit each function of the protocol, and the shapes of the results.

The arrays may be NumPy's or any library's with its interface.  Each of these raises ValueError,
naming the value, where the arguments fit nothing.
"""

from collections.abc import Callable, Mapping
from inspect import Parameter, Signature, signature
from math import prod
from typing import Any, TypeAlias, TypedDict, TypeVar, get_args, get_type_hints

import numpy as np

Array: TypeAlias = Any
Pair: TypeAlias = tuple[int, int]
Sides: TypeAlias = tuple[int, ...]  # one number per spatial axis
Shape: TypeAlias = tuple[int, ...]
F = TypeVar("F", bound=Callable[..., Any])


class ConvOptions(TypedDict):
    """The options of a convolution: its functions take them as keywords."""

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


class WindowOptions(TypedDict):
    """The options of windows that are columns of a matrix."""

    kernel_size: Sides
    stride: Sides
    padding: Sides
    dilation: Sides


def conv_shape(
    rank: int,
    x_shape: Shape,
    weight_shape: Shape,
    stride: Sides,
    padding: Sides,
    dilation: Sides,
    groups: int,
) -> Shape:
    """Return y's shape [N, M, *windows] of a convolution of `rank` spatial axes."""
    if len(x_shape) != rank + 2 or len(weight_shape) != rank + 2:
        raise ValueError(f"x {x_shape} and weight {weight_shape} must have {rank + 2} axes each")
    if min(stride) < 1 or min(dilation) < 1 or min(padding) < 0:
        raise ValueError(
            f"stride {stride} and dilation {dilation} must be at least 1, padding {padding} at "
            "least 0"
        )
    (images, channels, *size), (filters, depth, *kernel) = x_shape, weight_shape
    if groups < 1 or filters % groups or channels != depth * groups:
        raise ValueError(
            f"{channels} channels and {filters} filters of depth {depth} do not fit {groups} groups"
        )
    if images < 0 or min(channels, filters, *size, *kernel) < 1:
        raise ValueError(f"x {x_shape} and weight {weight_shape} must have sizes of at least 1")
    sides = []
    for side, taps, s, p, d in zip(size, kernel, stride, padding, dilation, strict=True):
        room = side + 2 * p - (taps - 1) * d - 1
        if room < 0:
            raise ValueError(f"{taps} taps {d} apart do not fit into {side} pixels padded by {p}")
        sides.append(room // s + 1)
    return (images, filters, *sides)


def conv_transpose_shape(
    rank: int,
    x_shape: Shape,
    weight_shape: Shape,
    stride: Sides,
    padding: Sides,
    output_padding: Sides,
    dilation: Sides,
    groups: int,
) -> Shape:
    """Return y's shape [N, M, *pixels] of a transposed convolution of `rank` spatial axes."""
    if len(x_shape) != rank + 2 or len(weight_shape) != rank + 2:
        raise ValueError(f"x {x_shape} and weight {weight_shape} must have {rank + 2} axes each")
    if min(*stride, *dilation) < 1 or min(*padding, *output_padding) < 0:
        raise ValueError(
            f"stride {stride} and dilation {dilation} must be at least 1, padding {padding} and "
            f"output_padding {output_padding} at least 0"
        )
    if groups < 1 or x_shape[1] != weight_shape[0] or x_shape[1] % groups:
        raise ValueError(f"x {x_shape}, weight {weight_shape} and {groups} groups do not fit")
    if min(x_shape[0], *(s - 1 for s in (*x_shape[1:], *weight_shape))) < 0:
        raise ValueError(f"x {x_shape} and weight {weight_shape} must have sizes of at least 1")
    sides = []
    for size, taps, s, p, o, d in zip(
        x_shape[2:], weight_shape[2:], stride, padding, output_padding, dilation, strict=True
    ):
        side = (size - 1) * s + (taps - 1) * d + 1 + o - 2 * p
        if side < 1 or o >= max(s, d):
            raise ValueError(
                f"an output of {side} pixels with output_padding {o}, stride {s} and dilation {d} "
                "is not possible"
            )
        sides.append(side)
    return (x_shape[0], weight_shape[1] * groups, *sides)


def pool_windows(
    rank: int,
    x_shape: Shape,
    kernel_size: Sides,
    stride: Sides,
    padding: Sides,
    dilation: Sides,
    *,
    ceil_mode: bool,
) -> Sides:
    """Return how many windows of a pooling there are along each of `rank` spatial axes."""
    if len(x_shape) != rank + 2 or min(x_shape[1:]) < 1 or x_shape[0] < 0:
        raise ValueError(f"x {x_shape} must have {rank + 2} axes, all but the first at least 1")
    if min(*kernel_size, *stride, *dilation) < 1 or min(padding) < 0:
        raise ValueError(
            f"kernel_size {kernel_size}, stride {stride} and dilation {dilation} must be at least "
            f"1, padding {padding} at least 0"
        )
    counts = []
    for size, kernel, s, p, d in zip(
        x_shape[2:], kernel_size, stride, padding, dilation, strict=True
    ):
        span = (kernel - 1) * d + 1
        room = size + 2 * p - span
        if p > kernel // 2 or (room < 0 and not ceil_mode):
            raise ValueError(f"a window of {span} pixels does not fit {size} padded by {p}")
        count = (room + (s - 1 if ceil_mode else 0)) // s + 1
        if ceil_mode and (count - 1) * s >= size + p:
            count -= 1
        starts = np.arange(count) * s - p
        if (
            count < 1
            or (starts + -(np.minimum(starts, 0) // d) * d >= np.minimum(size, starts + span)).any()
        ):
            raise ValueError(f"{count} windows of {span} pixels on {size}: one holds no pixel")
        counts.append(count)
    return tuple(counts)


def check_image(name: str, shape: Shape, rank: int = 2) -> None:
    """Check that there are images of `rank` spatial axes, of which there may be none."""
    if len(shape) != rank + 2 or min(shape[1:]) < 1 or shape[0] < 0:
        raise ValueError(f"{name} {shape} must have {rank + 2} axes, all but the first at least 1")


def check_resized(input_shape: Shape, shape: Shape, rank: int = 2) -> None:
    """Check that a gradient of this shape goes back to images of the other: likewise many."""
    check_image("input_shape", input_shape, rank)
    check_image("grad_output", shape, rank)
    if tuple(shape[:2]) != tuple(input_shape[:2]):
        raise ValueError(f"grad_output {tuple(shape)} does not fit input_shape {input_shape}")


def check_padding(padding: Sides, plane: Shape, most: Callable[[int], float]) -> Sides:
    """Return (left, right, top, bottom), and so on, at most what so many pixels allow."""
    if len(padding) != 2 * len(plane) or min(padding) < 0 or min(plane) < 1:
        raise ValueError(
            f"padding {padding} must be {2 * len(plane)} numbers of at least 0 around {plane}"
        )
    if any(max(ends) > most(side) for ends, side in zip(pad_ends(padding), plane, strict=True)):
        raise ValueError(f"padding {padding} is more than {plane} pixels allow")
    return padding


def pad_ends(padding: Sides) -> list[tuple[int, int]]:
    """Return the padding before and after each axis, the last axis last."""
    return [(padding[at], padding[at + 1]) for at in range(len(padding) - 2, -1, -2)]


def columns_shape(
    x_shape: Shape, kernel_size: Sides, stride: Sides, padding: Sides, dilation: Sides
) -> Shape:
    """Return [N, C, OH, OW] of the windows of x, padded by any number of pixels."""
    check_image("x", x_shape)
    weight = (1, x_shape[1], *kernel_size)
    images, _, *windows = conv_shape(2, x_shape, weight, stride, padding, dilation, 1)
    return (images, x_shape[1], *windows)


def check_bias(bias: Array | None, count: int, what: str) -> None:
    """Check that there are as many elements as `what` there are, if there are any."""
    if bias is not None and bias.shape != (count,):
        raise ValueError(f"bias has shape {bias.shape}, but there are {count} {what}")


def check_grad_output(grad_output: Array, shape: Shape) -> None:
    """Check that dy has y's shape."""
    if grad_output.shape != shape:
        raise ValueError(f"grad_output has shape {grad_output.shape}, but the output has {shape}")


def check_channels(rank: int, grad_output: Array) -> None:
    """Check that dy has the axes [N, M, *windows]."""
    if grad_output.ndim != rank + 2:
        raise ValueError(f"grad_output must have {rank + 2} axes, got {grad_output.shape}")


def check_same_shape(grad_output: Array, z: Array) -> None:
    """Check that dy and z have the same shape."""
    if grad_output.shape != z.shape:
        raise ValueError(f"grad_output has shape {grad_output.shape}, but z has {z.shape}")


def check_indices(
    rank: int, grad_output: Array, indices: Array, input_shape: Shape, *, of_plane: bool = True
) -> None:
    """Check dy [N, C, *windows] and where it goes in dx [N, C, *pixels], or in planes of that."""
    axes = rank + 2
    if len(input_shape) != axes or grad_output.ndim != axes or min(input_shape[1:]) < 1:
        raise ValueError(
            f"grad_output {grad_output.shape} and dx {input_shape} must have {axes} axes"
        )
    if grad_output.shape != indices.shape or grad_output.shape[:2] != tuple(input_shape[:2]):
        raise ValueError(
            f"grad_output {grad_output.shape}, indices {indices.shape} and input_shape "
            f"{input_shape} do not fit"
        )
    pixels = prod(input_shape[2:] if of_plane else input_shape)
    if indices.size and not (indices.min() >= 0 and indices.max() < pixels):
        where = "plane" if of_plane else "array"
        raise ValueError(f"indices must lie in the {where} of {pixels} pixels")


def check_cross_entropy(logits: Array, target: Array, reduction: str) -> None:
    """Check logits [N, C], classes [N] and a reduction that they have."""
    if logits.ndim != 2 or logits.shape[1] < 1 or target.shape != logits.shape[:1]:
        raise ValueError(f"logits {logits.shape} must be [N, C] and target {target.shape} [N]")
    if target.size and not (target.min() >= 0 and target.max() < logits.shape[1]):
        raise ValueError(f"target must hold classes 0 to {logits.shape[1] - 1}")
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction must be 'mean' or 'sum', got {reduction!r}")
    if reduction == "mean" and not len(target):
        raise ValueError("the mean over an empty batch is undefined")


def check_linear(x: Array, weight: Array, bias: Array | None) -> None:
    """Check x [N, C], weight [M, C] and bias [M]."""
    check_axes(2, x=x, weight=weight)
    if x.shape[1] != weight.shape[1] or x.shape[1] < 1:
        raise ValueError(f"x {x.shape} and weight {weight.shape} must share their second axis")
    check_bias(bias, len(weight), "features")


def check_linear_gradient(grad_output: Array, axis: int, **other: Array) -> None:
    """Check that dy [N, M] and another matrix, x or weight, share the `axis` of dy."""
    check_axes(2, grad_output=grad_output, **other)
    for name, array in other.items():
        if len(array) != grad_output.shape[axis]:
            raise ValueError(
                f"{name} {array.shape} must have as many rows as axis {axis} of grad_output "
                f"{grad_output.shape}"
            )


def check_batch(gradient_per_image: Array) -> None:
    """Check that there is something to average over."""
    if gradient_per_image.ndim < 1 or not len(gradient_per_image):
        raise ValueError(f"there is no batch to average over in shape {gradient_per_image.shape}")


def check_step(parameter: Array, gradient: Array) -> None:
    """Check that a parameter and its gradient have one shape."""
    if parameter.shape != gradient.shape:
        raise ValueError(f"gradient has shape {gradient.shape}, but parameter {parameter.shape}")


def check_axes(count: int, **arrays: Array) -> None:
    """Check that arrays have so many axes."""
    for name, array in arrays.items():
        if array.ndim != count:
            raise ValueError(f"{name} must have {count} axes, got shape {array.shape}")


def check_letters(arrays: Mapping[str, tuple[Array | None, str]]) -> None:
    """Check that arrays have an axis for every letter, and that a letter is one length.

    Arrays that are None are left out; only along n may there be nothing.

    Raises:
        ValueError: an array has other axes.
    """
    sides: dict[str, int] = {}
    for name, (array, letters) in arrays.items():
        if array is None:
            continue
        if array.ndim != len(letters):
            raise ValueError(f"{name} must have {len(letters)} axes, got shape {array.shape}")
        for letter, side in zip(letters, array.shape, strict=True):
            if sides.setdefault(letter, side) != side or (side < 1 and letter != "n"):
                raise ValueError(f"{name} of shape {array.shape} does not fit the other arrays")


def named(name: str, kind: type | None = None) -> Callable[[F], F]:
    """Give a function that a factory makes the protocol's name, and its options as keywords.

    `kind` says what the options are of a function that takes those of several operators.
    """

    def name_it(function: F) -> F:
        function.__signature__ = _written_out(function, kind)  # type: ignore[attr-defined]
        function.__name__ = function.__qualname__ = name
        return function

    return name_it


def _written_out(function: Callable[..., Any], kind: type | None) -> Signature:
    """Return a signature with each of the options that `**options: Unpack[...]` stands for."""
    short = signature(function)
    *arguments, last = short.parameters.values()
    if last.kind is not Parameter.VAR_KEYWORD:
        return short
    options = kind or get_args(last.annotation)[0]
    keywords = [
        Parameter(name, Parameter.KEYWORD_ONLY, annotation=kind)
        for name, kind in get_type_hints(options).items()
    ]
    return short.replace(parameters=[*arguments, *keywords])


def check_matmul(one: Shape, other: Shape) -> Shape:
    """Return the shape of a product, as numpy.matmul and torch.matmul broadcast.

    Raises:
        ValueError: there is none, or nothing is summed.
    """
    if not one or not other:
        raise ValueError(f"a product needs an axis of each array, got shapes {one} and {other}")
    left = one if len(one) > 1 else (1, *one)
    right = other if len(other) > 1 else (*other, 1)
    if left[-1] != right[-2] or not left[-1]:
        raise ValueError(f"columns of {one} do not fit rows of {other}")
    batch = np.broadcast_shapes(left[:-2], right[:-2])
    return (*batch, *(left[-2:-1] if len(one) > 1 else ()), *(right[-1:] if len(other) > 1 else ()))


def check_rotary(x: Shape, table: Shape, offset: int) -> None:
    """Check that a table has a row for each step, and no more columns than there are pairs."""
    if offset < 0:
        raise ValueError(f"offset must not be negative, got {offset}")
    if 2 * table[1] > x[3] or table[0] < offset + x[2]:
        raise ValueError(f"a table {table} does not fit x {x} with offset {offset}")


def check_attention(
    query: Array, key: Array, value: Array, mask: Array | None, *,
    is_causal: bool, enable_gqa: bool,
) -> None:  # fmt: skip
    """Check that the arrays of attention fit each other and its options.

    Raises:
        ValueError: they do not.
    """
    check_letters({
        "query": (query, "nqle"), "key": (key, "nhse"), "value": (value, "nhsv"),
        "attn_mask": (mask, "nqls"),
    })  # fmt: skip
    queries, heads = query.shape[1], key.shape[1]
    if queries % heads if enable_gqa else queries != heads:
        raise ValueError(f"{heads} heads of the key do not fit {queries} of the query")
    if is_causal and mask is not None:
        raise ValueError("attn_mask must be None with is_causal")
    if mask is not None and "bool" not in str(mask.dtype) and mask.dtype != query.dtype:
        raise ValueError(f"attn_mask must hold booleans or {query.dtype}, got {mask.dtype}")
