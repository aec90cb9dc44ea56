"""PyTorch on tensors whose channels lie together, where oneDNN's convolutions are at their fastest.

Only to time others beside it: in PyTorch 2.13 some convolutions end the process, where a stride is
wider than the image.  In groups, where most did that were seen, they are declined.
"""

from collections.abc import Callable
from functools import wraps
from inspect import unwrap
from typing import Any, TypeVar, cast

import numpy.typing as npt
import torch

from gradoracle.implementations import torch_reference
from gradoracle.implementations.torch_reference import *  # noqa: F403 - the same functions, but for some below
from gradoracle.implementations.torch_reference import convolution

__all__ = torch_reference.__all__

F = TypeVar("F", bound=Callable[..., Any])


def _of_one_group(function: F) -> F:
    @wraps(function)
    def called(*arrays: Any, groups: int, **options: Any) -> Any:
        if groups > 1:
            raise NotImplementedError("PyTorch may crash on groups whose channels lie together")
        return function(*arrays, groups=groups, **options)

    return cast("F", called)


conv2d = _of_one_group(unwrap(convolution.conv2d))
conv2d_grad_input = _of_one_group(unwrap(convolution.conv2d_grad_input))
conv2d_grad_weight = _of_one_group(unwrap(convolution.conv2d_grad_weight))
conv_transpose2d = _of_one_group(unwrap(convolution.conv_transpose2d))
conv_transpose2d_grad_input = _of_one_group(unwrap(convolution.conv_transpose2d_grad_input))
conv_transpose2d_grad_weight = _of_one_group(unwrap(convolution.conv_transpose2d_grad_weight))


def from_numpy(array: npt.NDArray[Any]) -> torch.Tensor:  # type: ignore[no-redef]
    """Return a tensor of the array's elements, the channels of a pixel side by side."""
    tensor = torch_reference.from_numpy(array)
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor
