"""The backend `cupy`: the kernels on CuPy's arrays, on a CUDA device.

Needs CuPy and a device: pip install 'gradoracle[cupy]'.  What runs without one is `cupy@host`.
In `gradoracle.implementations.cupy_kernels`, `device:direct` computes convolutions by the readable
kernels alone, `device:implicit` by those of conv2d_gemm.cu wherever they can.
"""

import sys
from typing import Any

import numpy.typing as npt

from gradoracle.implementations import cupy_kernels
from gradoracle.implementations.cupy_kernels import *  # noqa: F403 - the same functions, under the same names
from gradoracle.implementations.cupy_kernels import algorithms, machine
from gradoracle.implementations.cupy_kernels.probe import cupy_with_device, described

__all__ = [  # noqa: PLE0604
    *cupy_kernels.__all__, "contract", "from_numpy", "synchronize", "to_numpy",
]  # fmt: skip

cupy = cupy_with_device()

contract = {"runs_on": described(cupy), "policies": machine.POLICIES}


def from_numpy(array: npt.NDArray[Any]) -> Any:
    """Return a CuPy array with the array's elements, on the current device."""
    return cupy.array(array)


def to_numpy(array: Any) -> npt.NDArray[Any]:
    """Return a CuPy array's elements."""
    elements: npt.NDArray[Any] = cupy.asnumpy(array)
    return elements


def synchronize() -> None:
    """Wait until what was launched on the current stream is done: a benchmark times that."""
    cupy.cuda.get_current_stream().synchronize()


direct = algorithms.backend(sys.modules[__name__], "direct")
implicit = algorithms.backend(sys.modules[__name__], "implicit", "direct")
