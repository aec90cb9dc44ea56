"""Whether kernels can run on this machine's CUDA device, and if not, why in one sentence."""

from typing import Any

import numpy as np

HOST = "`cupy@host` runs the same kernels on the CPU"


def cupy_with_device() -> Any:
    """Return CuPy, where it has a device that runs our kernels.

    Raises:
        ImportError: it has not; the message is one sentence that says what is missing.
    """
    try:
        import cupy  # noqa: PLC0415 - an optional dependency
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == "cupy":
            raise ImportError("CuPy is not installed: pip install 'gradoracle[cupy]'") from error
        raise ImportError(f"CuPy cannot be imported: {_one_line(error)}") from error
    try:
        devices = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:
        raise ImportError(f"there is no CUDA device: {_one_line(error)}; {HOST}") from error
    if not devices:
        raise ImportError(f"there is no CUDA device: the driver sees none; {HOST}")
    try:
        answer = cupy.asnumpy(_doubled(cupy))
    except Exception as error:
        raise ImportError(f"no kernel runs on the CUDA device: {_one_line(error)}") from error
    if answer.tolist() != [2.0, 4.0]:
        raise ImportError(f"the CUDA device computes 2 * [1, 2] as {answer.tolist()}")
    return cupy


def described(cupy: Any) -> str:
    """Return the names of the device and of what drives it."""
    runtime = cupy.cuda.runtime
    found = runtime.getDeviceProperties(cupy.cuda.Device().id)
    name = found["name"].decode(errors="replace")
    version = runtime.runtimeGetVersion()
    return (
        f"{name} (compute capability {found['major']}.{found['minor']}), "
        f"CUDA {version // 1000}.{version % 1000 // 10}, CuPy {cupy.__version__}"
    )


def _doubled(cupy: Any) -> Any:
    """Return 2 * [1, 2], from a kernel that is compiled as ours are."""
    module = cupy.RawModule(
        code="template <typename T> __global__ void doubled(T* x) { x[threadIdx.x] *= T(2); }",
        options=("--std=c++17",),
        name_expressions=("doubled<float>",),
    )
    x = cupy.asarray(np.array([1, 2], np.float32))
    module.get_function("doubled<float>")((1,), (2,), (x,))
    return x


def _one_line(error: Exception) -> str:
    """Return an error's text without line breaks, at most 200 characters of it."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
