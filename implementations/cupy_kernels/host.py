"""The backend `cupy@host`: the kernels on NumPy's arrays, compiled by g++, where there is no GPU.

What is certified here are the kernels' text and their host code; their speed is no GPU's.
`gradoracle.implementations.cupy_kernels.host:direct` computes convolutions by the readable kernels
alone.
"""

import sys

from gradoracle.implementations import cupy_kernels
from gradoracle.implementations.cupy_kernels import *  # noqa: F403 - the same functions, under the same names
from gradoracle.implementations.cupy_kernels import algorithms, machine
from gradoracle.implementations.hostcuda import described
from gradoracle.implementations.hostcuda.build import compiler

__all__ = [*cupy_kernels.__all__, "contract"]  # noqa: PLE0604

contract = {
    "dtypes": ["float32", "float64", *machine.HALVES],
    "accumulators": dict.fromkeys(machine.HALVES, "float32"),
    # No zero is multiplied in but for padding and gaps, and none stands for a subnormal number.
    # Of a device that is not claimed: its own matrix product takes part there.
    "policies": {**machine.POLICIES, "non_finite": "window", "subnormals": "kept"},
    "runs_on": described(),
}

compiler()  # without one, no kernel can run: that is an ImportError, which says what to install
direct = algorithms.backend(sys.modules[__name__], "direct")
implicit = algorithms.backend(sys.modules[__name__], "implicit", "direct")
