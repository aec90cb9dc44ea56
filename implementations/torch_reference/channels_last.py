"""PyTorch on tensors whose channels lie together, where oneDNN's convolutions are at their fastest.

Only to time others beside it.  Convolutions in groups are declined: in PyTorch 2.13 some of them
end the process, such as 1x1 of [1, 2, 2, 1] in two groups, padded by (0, 1), at stride (1, 2).
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import numpy.typing as npt
import torch

from implementations import torch_reference
from implementations.torch_reference import *  # noqa: F403 - the same functions, but for some below

__all__ = torch_reference.__all__

F = TypeVar("F", bound=Callable[..., Any])


def _of_one_group(function: F) -> F:
    @wraps(function)
    def called(*arrays: Any, groups: int, **options: Any) -> Any:
        if groups > 1:
            raise NotImplementedError("PyTorch may crash on groups whose channels lie together")
        return function(*arrays, groups=groups, **options)

    return cast("F", called)


conv2d = _of_one_group(torch_reference.conv2d)
conv2d_grad_input = _of_one_group(torch_reference.conv2d_grad_input)
conv2d_grad_weight = _of_one_group(torch_reference.conv2d_grad_weight)
conv_transpose2d = _of_one_group(torch_reference.conv_transpose2d)
conv_transpose2d_grad_input = _of_one_group(torch_reference.conv_transpose2d_grad_input)
conv_transpose2d_grad_weight = _of_one_group(torch_reference.conv_transpose2d_grad_weight)


def from_numpy(array: npt.NDArray[Any]) -> torch.Tensor:  # type: ignore[no-redef]
    """Return a tensor of the array's elements, the channels of a pixel side by side."""
    tensor = torch_reference.from_numpy(array)
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor
