"""A file of CUDA C++ as a backend: comments in it say how its kernels are launched.

    // gradoracle: relu = my_relu<<<(z.size + 255) / 256, 256>>>(z, y, z.size)
    extern "C" __global__ void my_relu(const float *z, float *y, int n) { ... }

Left of the `=` is a function of the protocol, right of it a launch as CUDA writes it: blocks,
threads and, if any, bytes of shared memory; then the arguments.  Several launches of one function
run one after the other.  A launch may go on over several comment lines.

What a launch can speak of:

    x, weight, bias, z, ...       the function's arguments, by the protocol's names; an array has
                                  .size, .ndim and .shape[0]; no bias is a null pointer
    y, dx, dw, db, dz, ...        its result, by the protocol's name; `out` is the first, always
    stride[0], groups, axis, ...  its options
    N C H W M KH KW OH OW SH SW PH PW DH DW G
                                  the sizes of convolutions, poolings and linear layers, where a
                                  side is (height, width); C and M count all groups' channels
    + - * / % ( ) < if else min max ceil_div
                                  arithmetic as in C: / of integers drops the remainder
    float(e) double(e) int(e) long(e) T(e)
                                  a number of that type; without, integers are int, others double
    workspace                     what `// gradoracle: conv2d: workspace = T[N * C * OH * OW]` says

A kernel whose name has {T} in it, as in my_relu<{T}>, is checked in float32 and float64; any other
in float32, or in what `// gradoracle: dtypes = float64` says, and of all calls, or of those that
`// gradoracle: domain conv2d: stride = 1, c % 4 == 0` says.  What else a contract can claim:

    // gradoracle: contract ties = split, nan = dropped, bad_arguments = raise
    // gradoracle: contract labels = int32, index_origin = global, relu_at_zero = 0.5
    // gradoracle: contract dtypes = float32, float64, not_claimed = float64: softmax
    // gradoracle: contract accumulators = float32: float64, algorithms = conv2d: winograd2
    // gradoracle: deviation conv2d rejects_bad_arguments: a stride of 0 hangs

A kernel whose parameter for `target` or `indices` is an `int *` is given int32 (`labels = int32`,
`indices = int32`), one with a `long long *` or an `int64_t *` int64.

The kernels run on a CUDA device where there is one, else on the CPU by `implementations.hostcuda`,
where every access is looked at and every launch is run in three orders.  `kernel.cu@host` and
`kernel.cu@device` choose.  Arrays reach the kernels in row-major order; results are what
`cupy.empty` gives, not zeros; with an empty array nothing is launched, and the result is zeros.
"""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from gradoracle.implementations import hostcuda
from gradoracle.implementations.cuda_source.comments import C_TYPES, Launch, Plan, read
from gradoracle.implementations.cuda_source.expressions import SourceError
from gradoracle.implementations.cuda_source.includes import whole
from gradoracle.implementations.cuda_source.results import Names
from gradoracle.implementations.cuda_source.running import evaluated, functions
from gradoracle.implementations.cuda_source.signatures import (
    Signature,
    integer_policies,
    plain,
    signature,
)
from gradoracle.implementations.cupy_kernels import machine as machines
from gradoracle.implementations.cupy_kernels.probe import described
from gradoracle.implementations.shapes import Array

__all__ = ["SourceError", "backend"]
NULL = np.uint64(0)


def backend(given: str) -> SimpleNamespace:
    """Return the backend that a file of CUDA C++ is; `given` may end in @host or @device.

    Raises:
        SourceError: a comment cannot be understood, or there is none.
        ValueError: the text does not compile.
        hostcuda.NotModelled: only a GPU can run it, and there is none.
    """
    name, _, where = given.partition("@")
    file = Path(name)
    text = file.read_text(encoding="utf-8")
    plans, contract = read(text, file.name)
    on_host = where == "host" or (where != "device" and not _has_device())
    if where not in ("", "host", "device"):
        raise SourceError(f"{given}: a kernel runs @host or @device, not @{where}")
    dtypes = dtypes_of(plans, contract)
    declared = partial(_declared, plain(whole(file)), C_TYPES[dtypes[0]])
    policies = integer_policies(plans, declared, contract.get("policies", {}))
    launch = partial(_launch, _module(file, plans, dtypes, on_host=on_host), on_host=on_host)
    made: dict[str, Any] = {**functions(plans, launch, policies, file, on_host=on_host)}
    contract |= {"functions": [*plans], "dtypes": dtypes, "policies": policies}
    with hostcuda.checking():
        contract["runs_on"] = hostcuda.described() if on_host else _device()
    if not on_host:
        made |= {"from_numpy": machines.on_device(0).xp.asarray, "to_numpy": _to_numpy}
    return SimpleNamespace(contract=contract, **made)


def dtypes_of(plans: Mapping[str, Plan], contract: Mapping[str, Any]) -> list[str]:
    """Return the dtypes that a file is checked in: those it claims, else what its names say."""
    templates = any("{T}" in x.kernel for plan in plans.values() for x in plan.launches)
    return contract.get("dtypes") or ([*C_TYPES] if templates else ["float32"])


def _declared(text: str, element: str, kernel: str) -> Signature | None:
    return signature(text, kernel.replace("{T}", element))


def _has_device() -> bool:
    try:
        return bool(machines.on_device(0).xp.cuda.is_available())
    except ImportError:
        return False


def _device() -> str:
    return described(machines.on_device(0).xp)


def _to_numpy(array: Array) -> Array:
    return machines.on_device(0).xp.asnumpy(array)


def _module(file: Path, plans: Mapping[str, Plan], dtypes: Sequence[str], *, on_host: bool) -> Any:
    kernels = [launch.kernel for plan in plans.values() for launch in plan.launches]
    names = list(dict.fromkeys(k.replace("{T}", C_TYPES[d]) for d in dtypes for k in kernels))
    raw = hostcuda.RawModule if on_host else machines.on_device(0).RawModule
    module = raw(code=whole(file), options=("--std=c++17",), name_expressions=names)
    with hostcuda.checking():
        for name in names:
            module.get_function(name)
        module.compile()
    return module


def _launch(module: Any, launch: Launch, names: Names, dtype: Any, *, on_host: bool) -> None:
    kernel = module.get_function(launch.kernel.replace("{T}", C_TYPES[dtype.name]))
    (blocks, threads, *shared), values = evaluated(launch, names, dtype)
    grid, block = (x if isinstance(x, tuple) else (x,) for x in (blocks, threads))
    with hostcuda.checking() if on_host else nullcontext():
        kernel(grid, block, tuple(map(_passed, values)), shared_mem=int(shared[0]) if shared else 0)


def _passed(value: Any) -> Any:
    if value is None:
        return NULL
    if isinstance(value, (bool, int)):
        return np.int32(value)
    return np.float64(value) if isinstance(value, float) else value
