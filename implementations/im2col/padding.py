"""Padding by NumPy, and its gradients: what stands in the padding added to its pixel, by slices."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gradoracle.implementations.im2col.halves import in_float32
from gradoracle.implementations.shapes import Sides, check_image, check_padding, named, pad_ends

Array: TypeAlias = npt.NDArray[Any]
Ends: TypeAlias = tuple[int, int]
Back: TypeAlias = Callable[[Array, Ends], Array]
Pair: TypeAlias = tuple[Callable[..., Array], Callable[..., Array]]


def _padding(name: str, rank: int, mode: Any, back: Back, most: Callable[[int], float]) -> Pair:
    """Return a padding of `rank` spatial axes in one of NumPy's modes, and its gradient.

    `back` gives the gradient along the first axis of all; `most` is the padding that so many pixels
    allow.
    """

    @in_float32
    @named(f"{name}{rank}d")
    def forward(x: Array, *, padding: Sides) -> Array:
        """Return the padded images.

        Raises:
            ValueError: x has other axes, or padding is negative or more than the image allows.
        """
        check_image("x", x.shape, rank)
        ends = pad_ends(check_padding(padding, x.shape[2:], most))
        return np.pad(x, ((0, 0), (0, 0), *ends), mode)

    @in_float32
    @named(f"{name}{rank}d_grad_input")
    def grad_input(grad_output: Array, *, padding: Sides) -> Array:
        """Return dx, to whose pixels what stands in the padding is added.

        Raises:
            ValueError: grad_output has other axes, or fits no such padding.
        """
        check_image("grad_output", grad_output.shape, rank)
        ends = pad_ends(padding)
        plane = (side - sum(both) for side, both in zip(grad_output.shape[2:], ends, strict=False))
        check_padding(padding, tuple(plane), most)
        found = grad_output
        for axis, both in enumerate(ends, 2):
            found = np.moveaxis(back(np.moveaxis(found, axis, 0), both), 0, axis)
        return np.ascontiguousarray(found)

    return forward, grad_input


def _core(dy: Array, ends: Ends) -> Array:
    """Return what goes back to the pixels from where they stand themselves, as a copy."""
    return dy[ends[0] : len(dy) - ends[1]].copy()


def _from_mirror(dy: Array, ends: Ends) -> Array:
    dx, (first, last) = _core(dy, ends), ends
    dx[1 : first + 1] += dy[:first][::-1]
    dx[len(dx) - 1 - last : len(dx) - 1] += dy[len(dy) - last :][::-1]
    return dx


def _from_edges(dy: Array, ends: Ends) -> Array:
    dx, (first, last) = _core(dy, ends), ends
    dx[0] += dy[:first].sum(0)
    dx[-1] += dy[len(dy) - last :].sum(0)
    return dx


def _from_around(dy: Array, ends: Ends) -> Array:
    dx, (first, last) = _core(dy, ends), ends
    dx[len(dx) - first :] += dy[:first]
    dx[:last] += dy[len(dy) - last :]
    return dx


def _any(size: int) -> float:
    del size
    return np.inf


def zero_padding(rank: int) -> Pair:
    """Return the padding by zeros, and its gradient."""
    return _padding("zero_pad", rank, "constant", _core, _any)


def reflection_padding(rank: int) -> Pair:
    """Return the padding by the mirror image without its edge, and its gradient."""
    return _padding("reflection_pad", rank, "reflect", _from_mirror, lambda size: size - 1)


def replication_padding(rank: int) -> Pair:
    """Return the padding by the nearest pixel, and its gradient."""
    return _padding("replication_pad", rank, "edge", _from_edges, _any)


def circular_padding(rank: int) -> Pair:
    """Return the padding around the edge, and its gradient."""
    return _padding("circular_pad", rank, "wrap", _from_around, lambda size: size)


zero_pad1d, zero_pad1d_grad_input = zero_padding(1)
zero_pad2d, zero_pad2d_grad_input = zero_padding(2)
zero_pad3d, zero_pad3d_grad_input = zero_padding(3)
reflection_pad1d, reflection_pad1d_grad_input = reflection_padding(1)
reflection_pad2d, reflection_pad2d_grad_input = reflection_padding(2)
reflection_pad3d, reflection_pad3d_grad_input = reflection_padding(3)
replication_pad1d, replication_pad1d_grad_input = replication_padding(1)
replication_pad2d, replication_pad2d_grad_input = replication_padding(2)
replication_pad3d, replication_pad3d_grad_input = replication_padding(3)
circular_pad1d, circular_pad1d_grad_input = circular_padding(1)
circular_pad2d, circular_pad2d_grad_input = circular_padding(2)
circular_pad3d, circular_pad3d_grad_input = circular_padding(3)
