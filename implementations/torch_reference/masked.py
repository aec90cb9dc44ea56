"""PyTorch's backward operators with an output mask: all gradients of a call that are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch

from gradoracle.implementations.torch_reference import convolution

__all__ = [
    "conv1d_backward",
    "conv2d_backward",
    "conv3d_backward",
    "conv_transpose1d_backward",
    "conv_transpose2d_backward",
    "conv_transpose3d_backward",
    "layer_norm_backward",
]

Tensor: TypeAlias = torch.Tensor
Gradients: TypeAlias = tuple[Tensor | None, ...]


def _of_convolution(rank: int, *, transposed: bool = False) -> Callable[..., Gradients]:
    """Return the backward operator of a convolution, or of a transposed one."""
    name = f"conv_transpose{rank}d" if transposed else f"conv{rank}d"
    forward = getattr(convolution, name)

    def backward(
        grad_output: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None = None, *,
        output_mask: Sequence[bool], **options: Any,
    ) -> Gradients:  # fmt: skip
        """Return (dx, dw, db) of PyTorch's convolution_backward, None where the mask is False.

        Raises:
            ValueError, RuntimeError: the shapes or options fit no convolution.
        """
        given = [a if a is None else a.contiguous() for a in (grad_output, x, weight, bias)]
        dy, image, filters, added = given
        like = (a if a is None else a.to("meta") for a in (image, filters, added))
        _require_shape(grad_output, forward(*like, **options))
        whole = {"output_padding": (0,) * rank, **options, "transposed": transposed}
        sizes = None if bias is None else bias.shape
        found = torch.ops.aten.convolution_backward(
            dy, image, filters, bias_sizes=sizes, **whole, output_mask=[*output_mask]
        )
        return _selected(found, output_mask)

    backward.__name__ = backward.__qualname__ = f"{name}_backward"
    return backward


def layer_norm_backward(
    grad_output: Tensor, x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None, *,
    eps: float, output_mask: Sequence[bool],
) -> Gradients:  # fmt: skip
    """Return (dx, dw, db) of PyTorch's native_layer_norm_backward, None where the mask is False.

    Raises:
        ValueError, RuntimeError: the shapes fit no layer norm.
    """
    shape = x.shape[2:]
    y, mean, deviation = torch.ops.aten.native_layer_norm(x, shape, weight, bias, eps)
    _require_shape(grad_output, y)
    found = torch.ops.aten.native_layer_norm_backward(
        grad_output, x, shape, mean, deviation, weight, bias, [*output_mask]
    )
    return _selected(found, output_mask)


def _selected(found: Sequence[Tensor | None], output_mask: Sequence[bool]) -> Gradients:
    """Return the gradients of which the mask is True: oneDNN's give dw with db, too."""
    return tuple(one if wanted else None for one, wanted in zip(found, output_mask, strict=True))


def _require_shape(grad_output: Tensor, y: Tensor) -> None:
    if y.shape != grad_output.shape:
        raise ValueError(
            f"grad_output has shape {[*grad_output.shape]}, but the output has {[*y.shape]}"
        )


conv1d_backward = _of_convolution(1)
conv2d_backward = _of_convolution(2)
conv3d_backward = _of_convolution(3)
conv_transpose1d_backward = _of_convolution(1, transposed=True)
conv_transpose2d_backward = _of_convolution(2, transposed=True)
conv_transpose3d_backward = _of_convolution(3, transposed=True)
