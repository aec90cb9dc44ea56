"""PyTorch's padding, pixel shuffle, unfold and fold; gradients are those of autograd."""

from collections.abc import Callable
from typing import Any, TypeAlias, TypedDict, Unpack

import torch

from gradoracle.implementations.shapes import (
    Shape,
    Sides,
    WindowOptions,
    check_image,
    check_padding,
    named,
    pad_ends,
)

Function: TypeAlias = Callable[..., Any]
F = torch.nn.functional

__all__ = [
    "circular_pad2d",
    "circular_pad2d_grad_input",
    "fold",
    "fold_grad_input",
    "pixel_shuffle",
    "pixel_shuffle_grad_input",
    "pixel_unshuffle",
    "pixel_unshuffle_grad_input",
    "reflection_pad2d",
    "reflection_pad2d_grad_input",
    "replication_pad2d",
    "replication_pad2d_grad_input",
    "unfold",
    "unfold_grad_input",
    "zero_pad2d",
    "zero_pad2d_grad_input",
]


class Upscale(TypedDict):
    """The option of pixel_shuffle."""

    upscale_factor: int


class Downscale(TypedDict):
    """The option of pixel_unshuffle."""

    downscale_factor: int


def _back(function: Callable[[Any], Any], shape: Shape, grad_output: torch.Tensor) -> torch.Tensor:
    """Return the gradient of a function that is linear in x, of this shape.

    Raises:
        ValueError: dy has another shape than the result.
    """
    x = grad_output.new_zeros(shape).requires_grad_()
    y = function(x)
    if y.shape != grad_output.shape:
        raise ValueError(f"grad_output {[*grad_output.shape]} does not fit y {[*y.shape]}")
    gradient: torch.Tensor = torch.autograd.grad(y, x, grad_output)[0]
    return gradient


def padding_of(name: str, mode: str, rank: int) -> tuple[Function, Function]:
    """Return a padding of `rank` spatial axes in one of PyTorch's modes, and its gradient."""

    @named(name)
    def forward(x: torch.Tensor, *, padding: Sides) -> torch.Tensor:
        """Return PyTorch's padded images.

        Raises:
            ValueError, RuntimeError: there is no such padding.
        """
        check_image("x", x.shape, rank)
        pads = check_padding(padding, x.shape[2:], lambda _: float("inf"))
        return F.pad(x, list(pads), mode).clone()

    @named(f"{name}_grad_input")
    def grad_input(grad_output: torch.Tensor, *, padding: Sides) -> torch.Tensor:
        """Return PyTorch's gradient.

        Raises:
            ValueError, RuntimeError: there is no such padding.
        """
        check_image("grad_output", grad_output.shape, rank)
        sides = zip(grad_output.shape[2:], pad_ends(padding), strict=True)
        shape = (*grad_output.shape[:2], *(side - sum(ends) for side, ends in sides))
        check_image("dx", shape, rank)
        return _back(lambda x: forward(x, padding=padding), shape, grad_output)

    return forward, grad_input


def _shuffle(name: str, inverse: str, kind: type) -> tuple[Function, Function]:
    """Return PyTorch's pixel shuffle or its inverse, and the gradient: the other one."""
    there, back = getattr(F, name), getattr(F, inverse)

    @named(name, kind)
    def forward(x: torch.Tensor, **options: int) -> torch.Tensor:
        check_image("x", x.shape)
        return _of_images(there, x, *options.values())

    @named(f"{name}_grad_input", kind)
    def grad_input(grad_output: torch.Tensor, **options: int) -> torch.Tensor:
        check_image("grad_output", grad_output.shape)
        return _of_images(back, grad_output, *options.values())

    return forward, grad_input


def _of_images(function: Function, x: torch.Tensor, factor: int) -> torch.Tensor:
    """Return a new tensor; of no images in the shape of one, which pixel_unshuffle leaves as is."""
    y: torch.Tensor = function(x if len(x) else x.new_zeros((1, *x.shape[1:])), factor)
    check_image("y", y.shape)
    return y[: len(x)].clone()


@named("unfold")
def unfold(x: torch.Tensor, **options: Unpack[WindowOptions]) -> torch.Tensor:
    """Return PyTorch's columns.

    Raises:
        ValueError, RuntimeError: the shapes or options fit no windows.
    """
    check_image("x", x.shape)
    return F.unfold(x, **options)


@named("unfold_grad_input")
def unfold_grad_input(
    grad_output: torch.Tensor, *, input_shape: Shape, **options: Unpack[WindowOptions]
) -> torch.Tensor:
    """Return PyTorch's gradient, of shape `input_shape`.

    Raises:
        ValueError, RuntimeError: the shapes or options fit no windows.
    """
    check_image("input_shape", input_shape)
    return _back(lambda x: unfold(x, **options), input_shape, grad_output)


@named("fold")
def fold(x: torch.Tensor, *, output_size: Sides, **options: Unpack[WindowOptions]) -> torch.Tensor:
    """Return the columns added up, as PyTorch does.

    Raises:
        ValueError, RuntimeError: the shapes or options fit no windows.
    """
    if x.dim() != 3:
        raise ValueError(f"x must be [N, C*KH*KW, windows], got {[*x.shape]}")
    return F.fold(x, output_size, **options)


@named("fold_grad_input")
def fold_grad_input(grad_output: torch.Tensor, **options: Unpack[WindowOptions]) -> torch.Tensor:
    """Return PyTorch's gradient: the columns of dy.

    Raises:
        ValueError, RuntimeError: the shapes or options fit no windows.
    """
    check_image("grad_output", grad_output.shape)
    return F.unfold(grad_output, **options)


zero_pad2d, zero_pad2d_grad_input = padding_of("zero_pad2d", "constant", 2)
reflection_pad2d, reflection_pad2d_grad_input = padding_of("reflection_pad2d", "reflect", 2)
replication_pad2d, replication_pad2d_grad_input = padding_of("replication_pad2d", "replicate", 2)
circular_pad2d, circular_pad2d_grad_input = padding_of("circular_pad2d", "circular", 2)
pixel_shuffle, pixel_shuffle_grad_input = _shuffle("pixel_shuffle", "pixel_unshuffle", Upscale)
pixel_unshuffle, pixel_unshuffle_grad_input = _shuffle(
    "pixel_unshuffle", "pixel_shuffle", Downscale
)
