"""A wrong backend, to time how soon it is found out: it reads the kernel upside down."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Pair: TypeAlias = tuple[int, int]

contract = {"functions": ["conv2d"]}


def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    groups: int,
) -> Array:
    """Return the convolution with the kernel's rows in the opposite order, one tap at a time."""
    padded = np.pad(x, ((0, 0), (0, 0), *((side, side) for side in padding)))
    rows, columns = (
        (padded.shape[2 + axis] - (weight.shape[2 + axis] - 1) * dilation[axis] - 1) // stride[axis]
        + 1
        for axis in (0, 1)
    )
    y = np.zeros((len(x), groups, len(weight) // groups, rows, columns), x.dtype)
    for p, q in np.ndindex(*weight.shape[2:]):
        down, across = p * dilation[0], q * dilation[1]
        seen = padded[:, :, down :: stride[0], across :: stride[1]][:, :, :rows, :columns]
        y += np.einsum(
            "ngchw,gmc->ngmhw",
            seen.reshape(len(x), groups, weight.shape[1], rows, columns),
            weight[:, :, -1 - p, q].reshape(groups, -1, weight.shape[1]),
        )
    whole: Array = y.reshape(len(x), len(weight), rows, columns)
    return whole if bias is None else whole + bias[:, np.newaxis, np.newaxis]
