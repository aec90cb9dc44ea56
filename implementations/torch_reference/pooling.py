"""PyTorch's pooling of one to three dimensions and its gradients."""

from collections.abc import Callable
from math import prod
from typing import Any, TypeAlias, Unpack

import torch

from gradoracle.implementations.shapes import AvgPoolOptions, MaxPoolOptions, Shape, named

Function: TypeAlias = Callable[..., Any]


def max_pooling(rank: int) -> tuple[Function, Function, Function]:
    """Return a max pooling of `rank` spatial axes, its gradient by indices, and the one by x."""
    name = f"max_pool{rank}d"
    torchs = getattr(torch.nn.functional, name)

    @named(name)
    def forward(
        x: torch.Tensor, **options: Unpack[MaxPoolOptions]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return PyTorch's values and indices.

        Raises:
            ValueError, RuntimeError: the shapes or options fit no pooling.
        """
        _check(rank, x.shape)
        if rank == 3:  # of channels-last volumes, PyTorch's indices of -infinity are wrong
            x = x.contiguous()
        y, indices = torchs(x, **options, return_indices=True)
        sides = (options["kernel_size"], options["stride"], options["padding"], options["dilation"])
        for size, count, k, s, p, d in zip(x.shape[2:], y.shape[2:], *sides, strict=True):
            starts = torch.arange(count) * s - p
            first = starts + torch.clamp(-starts + d - 1, min=0) // d * d
            if (first >= torch.clamp(starts + (k - 1) * d + 1, max=size)).any():
                raise ValueError("a window holds no pixel: PyTorch's index is out of the plane")
        return y, indices

    @named(f"{name}_grad_input")
    def grad_input(
        grad_output: torch.Tensor, indices: torch.Tensor, *, input_shape: Shape
    ) -> torch.Tensor:
        """Return dx of shape `input_shape`: dy added up where `indices` point.

        Raises:
            ValueError, RuntimeError: the shapes do not fit each other.
        """
        dy, axes = grad_output, rank + 2
        if len(input_shape) != axes or min(input_shape[1:]) < 1 or dy.shape != indices.shape:
            raise ValueError(
                f"grad_output {[*dy.shape]}, indices {[*indices.shape]} and input_shape "
                f"{input_shape} do not fit"
            )
        if dy.dim() != axes or tuple(dy.shape[:2]) != tuple(input_shape[:2]):
            raise ValueError(f"grad_output {[*dy.shape]} does not fit {input_shape}")
        planes = dy.new_zeros((*input_shape[:2], prod(input_shape[2:])))
        return planes.scatter_add(2, indices.flatten(2), dy.flatten(2)).reshape(input_shape)

    @named(f"{name}_vjp")
    def vjp(
        grad_output: torch.Tensor, x: torch.Tensor, **options: Unpack[MaxPoolOptions]
    ) -> torch.Tensor:
        """Return PyTorch's own gradient of its max pooling.

        Raises:
            ValueError, RuntimeError: the shapes or options fit no pooling.
        """
        y, indices = forward(x, **options)
        if y.shape != grad_output.shape:
            raise ValueError(f"grad_output {[*grad_output.shape]} does not fit {[*y.shape]}")
        *arrays, places = _lifted(rank, grad_output, x, indices)
        of_two = _with_two_axes(rank, options)
        dx: torch.Tensor = OF_MAXIMA[max(rank, 2)](*arrays, **of_two, indices=places)
        return dx.reshape(x.shape)

    return forward, grad_input, vjp


def average_pooling(rank: int) -> tuple[Function, Function]:
    """Return an average pooling of `rank` spatial axes, and its gradient."""
    name = f"avg_pool{rank}d"
    torchs = getattr(torch.nn.functional, name)

    @named(name)
    def forward(x: torch.Tensor, **options: Unpack[AvgPoolOptions]) -> torch.Tensor:
        """Return PyTorch's average pooling.

        Raises:
            ValueError, RuntimeError: the shapes or options fit no pooling.
        """
        _check(rank, x.shape)
        _decline_large_windows(rank, x.shape, options)
        y: torch.Tensor = torchs(x, **options)
        return y

    @named(f"{name}_grad_input")
    def grad_input(
        grad_output: torch.Tensor, *, input_shape: Shape, **options: Unpack[AvgPoolOptions]
    ) -> torch.Tensor:
        """Return PyTorch's gradient, of shape `input_shape`.

        Raises:
            ValueError, RuntimeError: the shapes or options fit no pooling.
        """
        x = grad_output.new_zeros(input_shape)
        _check(rank, x.shape)
        _decline_large_windows(rank, x.shape, options)
        y = torchs(x.to("meta"), **options)
        if y.shape != grad_output.shape:  # the backward pass trusts its arguments
            raise ValueError(f"grad_output {[*grad_output.shape]} does not fit {[*y.shape]}")
        arrays, of_two = _lifted(rank, grad_output, x), _with_two_axes(rank, options)
        dx: torch.Tensor = OF_MEANS[max(rank, 2)](*arrays, **of_two, divisor_override=None)
        return dx.reshape(input_shape)

    return forward, grad_input


# PyTorch has these gradients of two and of three dimensions.
OF_MAXIMA: dict[int, Function] = {
    2: torch.ops.aten.max_pool2d_with_indices_backward,
    3: torch.ops.aten.max_pool3d_with_indices_backward,
}
OF_MEANS: dict[int, Function] = {
    2: torch.ops.aten.avg_pool2d_backward,
    3: torch.ops.aten.avg_pool3d_backward,
}


def _lifted(rank: int, *arrays: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return arrays of one spatial axis with that axis as the second of two."""
    return arrays if rank > 1 else tuple(array.unsqueeze(2) for array in arrays)


def _with_two_axes(rank: int, options: MaxPoolOptions | AvgPoolOptions) -> dict[str, Any]:
    """Return options of one axis with some before them that change nothing along the first."""
    found: dict[str, Any] = {**options}
    neutral = {"kernel_size": 1, "stride": 1, "padding": 0, "dilation": 1}
    for name in neutral.keys() & found.keys() if rank == 1 else ():
        found[name] = neutral[name], *found[name]
    return found


def _decline_large_windows(rank: int, shape: Shape, options: AvgPoolOptions) -> None:
    """Raise NotImplementedError for what PyTorch's avg_pool3d lacks."""
    sides = zip(shape[2:], options["kernel_size"], options["padding"], strict=True)
    if rank == 3 and any(size < taps and pad <= taps // 2 for size, taps, pad in sides):
        raise NotImplementedError("PyTorch's avg_pool3d takes no window larger than the image")


def _check(rank: int, shape: Shape) -> None:
    """Raise ValueError for what PyTorch takes and the protocol does not."""
    if len(shape) != rank + 2 or min(shape[1:]) < 1:
        raise ValueError(f"an image batch must have {rank + 2} axes of at least 1, got {[*shape]}")


max_pool1d, max_pool1d_grad_input, max_pool1d_vjp = max_pooling(1)
max_pool2d, max_pool2d_grad_input, max_pool2d_vjp = max_pooling(2)
max_pool3d, max_pool3d_grad_input, max_pool3d_vjp = max_pooling(3)
avg_pool1d, avg_pool1d_grad_input = average_pooling(1)
avg_pool2d, avg_pool2d_grad_input = average_pooling(2)
avg_pool3d, avg_pool3d_grad_input = average_pooling(3)
