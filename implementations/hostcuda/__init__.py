"""CUDA C++ kernels on the CPU: a `cupy.RawModule` that compiles with g++ and runs on NumPy arrays.

    import gradoracle.implementations.hostcuda as cupy          # on a machine without a GPU

    module = cupy.RawModule(code=text, options=("--std=c++17",), name_expressions=["f<float>"])
    module.get_function("f<float>")((blocks,), (threads,), (x, y, numpy.int32(n)))

The text is the one that a GPU gets.  Threads of a block are fibers, so barriers, votes, shuffles
and shared memory mean what they mean there.  There are two modes:

`fast`   runs the kernel; for kernels that are known to keep to their arrays.
`check`  looks at every access and raises `KernelFault`, with the source line, block and thread, for
         accesses outside the arrays, data races (also those that this order of threads would not
         show), shared memory that nobody wrote, barriers that not all threads of a block reach,
         misaligned accesses, overflow of signed integers, masks without the calling lane, and a
         result that depends on the order in which blocks and threads run.

    with hostcuda.checking(): ...                    # or HOSTCUDA_MODE=check in the environment

Modelled: everything above; dynamic and static shared memory; atomics; fences with an atomic as in
"the last block adds up"; float16 and bfloat16; vector types; the limits of a launch; variables in
`__device__` and `__constant__` memory; cooperative groups of a block; host code, of which
`functions` names what can be called: launches, memory, copies, streams, events, textures, cuBLAS's
products of matrices, cuRAND.  Fragments of matrices (wmma), about fifty instructions of inline PTX,
asynchronous copies, barriers in memory and of a whole grid.  Not modelled, and refused in words
(`NotModelled`) by the functions that use it: other PTX, clusters, layered textures, NVIDIA's other
libraries, kernels that launch kernels.
Not modelled, and not noticed: the time that anything takes; two blocks that wait for each other;
the fused multiply-adds that a GPU's compiler makes of `a * b + c` (here every operation rounds);
memory of the device that host code reads without a copy; the last
bits of exp, log and tanh, which are the C library's; what a kernel does with a variable that it
never set.  What a shuffle reads from an absent lane, and an `empty` array, is NaN or -1: no fault,
unless the result shows it.
"""

from typing import Any

from gradoracle.implementations.hostcuda import streams as cuda
from gradoracle.implementations.hostcuda.build import NoCompiler
from gradoracle.implementations.hostcuda.elementwise import ElementwiseKernel, ReductionKernel
from gradoracle.implementations.hostcuda.field import PRIMES, modulo, residue
from gradoracle.implementations.hostcuda.kernel import HostFunction, Kernel
from gradoracle.implementations.hostcuda.module import RawKernel, RawModule
from gradoracle.implementations.hostcuda.notes import Note, noting
from gradoracle.implementations.hostcuda.report import Finding, KernelFault
from gradoracle.implementations.hostcuda.settings import (
    ORDERS,
    Settings,
    checking,
    described,
    settings,
    using,
)
from gradoracle.implementations.hostcuda.source import NotInField, NotModelled

__all__ = [
    "ORDERS",
    "PRIMES",
    "ElementwiseKernel",
    "Finding",
    "HostFunction",
    "Kernel",
    "KernelFault",
    "NoCompiler",
    "NotInField",
    "NotModelled",
    "Note",
    "RawKernel",
    "RawModule",
    "ReductionKernel",
    "Settings",
    "asnumpy",
    "checking",
    "cuda",
    "described",
    "empty",
    "fuse",
    "modulo",
    "noting",
    "residue",
    "settings",
    "using",
]


def empty(shape: Any, dtype: Any = float) -> Any:
    """Return a new array as `cupy.empty` does: what is in it is anybody's, here NaN or -1."""
    import numpy as np  # noqa: PLC0415 - beside `__getattr__`, which hands out NumPy's own names

    array = np.empty(shape, dtype)
    array.reshape(-1).view(np.uint8)[...] = 0xFF
    return array


def asnumpy(array: Any) -> Any:
    """Return the array: it is NumPy's already."""
    return array


def fuse(function: Any = None, kernel_name: str | None = None) -> Any:  # noqa: ARG001 - CuPy's
    """Return the function as it is, or a decorator that does: NumPy computes it."""
    return function if callable(function) else lambda one: one


def __getattr__(name: str) -> Any:
    """Return NumPy's function of that name, as CuPy has one for most."""
    import numpy as np  # noqa: PLC0415

    return getattr(np, name)
