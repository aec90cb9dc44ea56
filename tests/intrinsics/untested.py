"""The functions of hostcuda's headers that no test calls, and why each is left without one."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from gradoracle.implementations.hostcuda import build
from gradoracle.implementations.hostcuda.parts import parts
from tests.intrinsics import bits, fast, halves, singles

TESTS = Path(__file__).parent.parent
OURS = ("hostcuda_field.h",)  # arithmetic of `gradoracle prove`, which tests/test_proofs.py checks
NAMESPACES = re.compile(r"\bnamespace hostcuda\b")
INTERNAL = re.compile(r"hostcuda|operator|HOSTCUDA")
# What is left, by reason.
WHY = {
    "the inside of inline PTX, of tiles of matrices and of barriers: their instructions are called "
    "by name": """
        abs_ and_ atom_add atom_and atom_cas atom_dec atom_exch atom_inc atom_max atom_min
        atom_or atom_xor clz copy_as copy_async cp_async cvt ex2 fma_ ld_vector lg2 lop3
        mad_wide max_ min_ mul_hi mul_wide named_barrier neg or_ popc place_a place_b prmt
        quit rcp rem rsqrt_ set_element shl shr sqrt_ st_vector stmatrix tanh_
        whole_matrix xor_ or_stop gemv""",
    "the inside of other functions": """
        Narrow Variable __half2 __nv_bfloat162 nearest_odd uniform_double vote exchange
        describe ballot texel texel_at shfl_down shfl_up shfl_xor shuffle_down shuffle_up
        shuffle_xor""",
    "times, hints, names and limits that mean nothing here, or do nothing": """
        __globaltimer __maxnreg__ __threadfence_block
        __threadfence_system atomic_thread_fence cudaDeviceReset cudaDeviceSetCacheConfig
        cudaDeviceSetLimit cudaDeviceSetSharedMemConfig cudaFuncSetCacheConfig
        cudaFuncSetSharedMemConfig cudaMemAdvise cudaMemPrefetchAsync cudaProfilerStart
        cudaProfilerStop cudaSetDeviceFlags cudaThreadExit cudaThreadSynchronize
        cublasSetMathMode cublasSetStream cublasSetWorkspace cublasGetStatusString
        curandSetStream curandSetGeneratorOrdering sdkCreateTimer sdkDeleteTimer
        sdkGetAverageTimerValue sdkGetTimerValue sdkResetTimer sdkStartTimer sdkStopTimer
        sdkFindFilePath checkCmdLineFlag getCmdLineArgumentInt getCmdLineArgumentString
        findCudaDevice checkCudaErrors getLastCudaError""",
    "not tested yet": """
        __float_to_tf32 aligned_size_t cudaLaunchKernelEx pipeline_consumer_wait_prior
        wait_prior""",
}


def functions() -> set[str]:
    """Return the names that hostcuda's headers define, without those of our own."""
    own = "".join(f'#include "{name}"\n' for name in sorted(_headers()))
    command = [build.compiler(), *build.COMMON, "-E", "-x", "c++", "-"]
    told = subprocess.run(command, input=own, capture_output=True, text=True, check=True).stdout
    code = "\n".join(_of_headers(told))
    text = "\n".join(path.read_text() for path in build.INCLUDE.rglob("*.h"))
    macros = re.findall(r"^#define\s+(__\w+|[a-z]\w+)\(", text, re.MULTILINE)
    names = {part.name for part in parts(code) if part.is_function} | {*macros}
    return {name for name in names if not INTERNAL.match(name)}


def _headers() -> Iterator[str]:
    for path in build.INCLUDE.rglob("*.h"):
        if path.name not in OURS:
            yield str(path.relative_to(build.INCLUDE))


def _of_headers(preprocessed: str) -> Iterator[str]:
    """Yield the lines that come from hostcuda's own headers."""
    ours = False
    for line in preprocessed.split("\n"):
        if place := re.match(r'# \d+ "([^"]*)"', line):
            ours = Path(place[1]).is_relative_to(build.INCLUDE)
        elif ours:
            yield line


def called() -> set[str]:
    """Return the words of the tests: of the tables' expressions, and of all other kernels."""
    tables = (bits, fast, halves, singles)
    rows = [row.expression for table in tables for row in table.ROWS]
    files = [
        path.read_text(errors="replace")
        for path in TESTS.rglob("*")
        if path.suffix in {".py", ".cu", ".cuh", ".h"}
        and not {"studies", "intrinsics"} & {*path.relative_to(TESTS).parts}
    ]
    return {*re.findall(r"\w+", " ".join((*rows, *bits.WARP, *files)))}


def explained() -> set[str]:
    """Return the functions that a reason is given for."""
    return {name for names in WHY.values() for name in names.split()}
