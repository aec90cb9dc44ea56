"""Kernels in Numba as a backend: a linear layer and its gradient by the input.

    gradoracle certify gradoracle.conformance.examples.numba_linear --profile quick

Numba's CUDA simulator runs them on the CPU, each thread of a block as a thread of Python.  With
NUMBA_ENABLE_CUDASIM=0 in the environment they run on the GPU.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np

os.environ.setdefault("NUMBA_ENABLE_CUDASIM", "1")  # read where numba is imported
try:
    from numba import cuda
except ImportError as error:
    raise ImportError("Numba has no CUDA target here: pip install numba-cuda") from error

contract = {  # small layers, for the simulator is slow
    "dtypes": ["float32"],
    "domain": {"linear": "n = 1..8, k = 1..16, m = 1..16"},
}
BLOCKS, THREADS = 4, 8  # at most, as the simulator starts a thread of Python for each
if os.environ["NUMBA_ENABLE_CUDASIM"] == "1":
    sys.setswitchinterval(1e-5)  # it polls them, and each has to wait so long for its turn


@cuda.jit  # type: ignore[untyped-decorator]
def outputs(x: Any, weight: Any, bias: Any, y: Any) -> None:
    """Write y [N, M] = x [N, C] weight^T [C, M] + bias [M]; a bias of no elements is none."""
    first, step = cuda.grid(1), cuda.gridsize(1)  # type: ignore[attr-defined]
    for at in range(first, y.size, step):
        n, m = at // y.shape[1], at % y.shape[1]
        total = bias[m] if bias.size else y.dtype.type(0)
        for c in range(x.shape[1]):
            total += x[n, c] * weight[m, c]
        y[n, m] = total


@cuda.jit  # type: ignore[untyped-decorator]
def inputs(grad_output: Any, weight: Any, dx: Any) -> None:
    """Write dx [N, C] = dy [N, M] weight [M, C]."""
    first, step = cuda.grid(1), cuda.gridsize(1)  # type: ignore[attr-defined]
    for at in range(first, dx.size, step):
        n, c = at // dx.shape[1], at % dx.shape[1]
        total = dx.dtype.type(0)
        for m in range(weight.shape[0]):
            total += grad_output[n, m] * weight[m, c]
        dx[n, c] = total


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """Return y [N, M] of x [N, C], weight [M, C] and bias [M] or None."""
    y = np.empty((len(x), len(weight)), x.dtype)
    bias = np.empty(0, x.dtype) if bias is None else np.array(bias)
    _launch(outputs, np.array(x, order="C"), np.array(weight, order="C"), bias, y)
    return y


def linear_grad_input(grad_output: Any, weight: Any) -> Any:
    """Return dx [N, C] of dy [N, M] and weight [M, C]."""
    dx = np.empty((len(grad_output), weight.shape[1]), grad_output.dtype)
    _launch(inputs, np.array(grad_output, order="C"), np.array(weight, order="C"), dx)
    return dx


def _launch(kernel: Any, *arrays: Any) -> None:
    """Launch a kernel with threads that share the elements of the last array, its result."""
    blocks = min(BLOCKS, -(-arrays[-1].size // THREADS))
    if blocks:
        kernel[blocks, THREADS](*arrays)
