"""Kernels in Triton as a backend: a fused softmax and its gradient, several rows a program.

    gradoracle certify gradoracle.conformance.examples.triton_softmax --profile quick

On a machine without a GPU, Triton's interpreter runs them (TRITON_INTERPRET=1).
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

try:
    import torch

    DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
    if DEVICE == "cpu":
        os.environ["TRITON_INTERPRET"] = "1"  # read where a kernel is decorated
    import triton
    import triton.language as tl
except ImportError as error:
    raise ImportError(f"{error.name} is not installed: pip install torch triton") from error

ROWS = 16  # of a program
contract = {"dtypes": ["float32"]}


@triton.jit  # type: ignore[untyped-decorator]
def rows_of_softmax(
    z: Any, p: Any, count: Any, n: Any, block: tl.constexpr, width: tl.constexpr
) -> None:
    """Write the softmax of `block` rows of z [count, n] to p."""
    rows, columns = tl.program_id(0) * block + tl.arange(0, block), tl.arange(0, width)
    place = rows[:, None] * n + columns[None, :]
    here = (rows < count)[:, None] & (columns < n)[None, :]
    row = tl.where((columns < n)[None, :], tl.load(z + place, mask=here, other=0.0), -float("inf"))
    powers = tl.exp(row - tl.max(row, axis=1)[:, None])
    tl.store(p + place, powers / tl.sum(powers, axis=1)[:, None], mask=here)


@triton.jit  # type: ignore[untyped-decorator]
def rows_of_gradient(
    grad_output: Any, p: Any, dz: Any, count: Any, n: Any, block: tl.constexpr, width: tl.constexpr
) -> None:  # fmt: skip
    """Write p (dy - sum of dy p) of `block` rows to dz."""
    rows, columns = tl.program_id(0) * block + tl.arange(0, block), tl.arange(0, width)
    place = rows[:, None] * n + columns[None, :]
    here = (rows < count)[:, None] & (columns < n)[None, :]
    row = tl.load(p + place, mask=here, other=0.0)
    dy = tl.load(grad_output + place, mask=here, other=0.0)
    tl.store(dz + place, row * (dy - tl.sum(row * dy, axis=1)[:, None]), mask=here)


def softmax(z: Any) -> Any:
    """Return the softmax along the last axis of an array, of its shape."""
    return _softmax(_tensor(z)).cpu()


def softmax_grad(grad_output: Any, z: Any) -> Any:
    """Return dz for two arrays of one shape, of that shape."""
    if grad_output.shape != z.shape:
        raise ValueError(f"grad_output {grad_output.shape} must have the shape {z.shape} of z")
    dy, p = _tensor(grad_output), _softmax(_tensor(z))
    dz = torch.empty_like(p)
    _launch(rows_of_gradient, dy, p, dz)
    return dz.cpu()


def _softmax(z: Any) -> Any:
    p = torch.empty_like(z)
    _launch(rows_of_softmax, z, p)
    return p


def _launch(kernel: Any, *tensors: Any) -> None:
    n = tensors[0].shape[-1]
    count = tensors[0].numel() // n
    if count:
        grid = (triton.cdiv(count, ROWS),)
        kernel[grid](*tensors, count, n, block=ROWS, width=triton.next_power_of_2(n))


def _tensor(array: Any) -> Any:
    """Return a tensor in row-major order, as the kernels read it."""
    return torch.from_numpy(np.array(array, order="C")).to(DEVICE)
