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
`// gradoracle: domain conv2d: stride = 1, c % 4 == 0` says.  `// gradoracle: accumulators =
float32: float64` claims sums in float64, `// gradoracle: algorithms = conv2d: winograd2` how they
are made.

The kernels run on a CUDA device where there is one, else on the CPU by `implementations.hostcuda`,
where every access is looked at and every launch is run in three orders.  `kernel.cu@host` and
`kernel.cu@device` choose.  Arrays reach the kernels in row-major order; results are what
`cupy.empty` gives, not zeros; with an empty array nothing is launched, and the result is zeros.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from gradoracle.implementations import hostcuda
from gradoracle.implementations.cuda_source.comments import C_TYPES, Plan, read
from gradoracle.implementations.cuda_source.expressions import NUMBERS, SourceError, value
from gradoracle.implementations.cuda_source.includes import whole
from gradoracle.implementations.cuda_source.results import RESULTS, Names, Results
from gradoracle.implementations.cupy_kernels import machine as machines
from gradoracle.implementations.cupy_kernels.placement import place
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
    plans, settings = read(text, file.name)
    on_host = where == "host" or (where != "device" and not _has_device())
    if where not in ("", "host", "device"):
        raise SourceError(f"{given}: a kernel runs @host or @device, not @{where}")
    dtypes = settings.get("dtypes") or (
        [*C_TYPES] if any("{T}" in x.kernel for p in plans.values() for x in p.launches)
        else ["float32"]
    )  # fmt: skip
    module = _module(file, plans, dtypes, on_host=on_host)
    made: dict[str, Any] = {
        name: partial(_run, RESULTS[name], plan, module, on_host=on_host)
        for name, plan in plans.items()
    }
    contract: dict[str, Any] = {"functions": [*plans], "dtypes": dtypes}
    with hostcuda.checking():
        contract["runs_on"] = hostcuda.described() if on_host else _device()
    contract |= {n: settings[n] for n in ("accumulators", "algorithms", "domain") if n in settings}
    if not on_host:
        made |= {"from_numpy": machines.on_device(0).xp.asarray, "to_numpy": _to_numpy}
    return SimpleNamespace(contract=contract, **made)


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


def _run(
    results: Results, plan: Plan, module: Any, *given: Any, on_host: bool, **options: Any
) -> Any:
    """Perform one call: check the shapes, allocate the results, launch."""
    arrays = dict(zip(results.arguments, (*given, *[None] * 9), strict=False))
    machine, placed = place(**arrays)
    called = {**dict(zip(arrays, placed, strict=True)), **options}
    sizes = dict(results.of(called))
    shape = sizes.pop("shape")
    dtype = next(a.dtype for a in placed if a is not None and a.dtype.kind == "f")
    kinds = [np.dtype(np.int64) if name == "indices" else dtype for name in results.names]
    empty = any(a is not None and not a.size for a in placed)
    make = machine.zeros if empty else hostcuda.empty if on_host else machine.empty
    made = [make(shape, kind) for kind in kinds]
    if not empty and made[0].size:
        names = {
            **sizes, **called, **dict(zip(results.names, made, strict=True)), "out": made[0],
        }  # fmt: skip
        if plan.workspace is not None:
            kind, count = plan.workspace
            held = dtype if kind == "T" else np.dtype(NUMBERS[kind])
            make = hostcuda.empty if on_host else machine.empty
            names["workspace"] = make((int(value(count, names, dtype)),), held)
        _launch_all(plan, module, names, dtype, on_host=on_host)
    return tuple(made) if len(made) > 1 else made[0]


def _launch_all(plan: Plan, module: Any, names: Names, dtype: Any, *, on_host: bool) -> None:
    for launch in plan.launches:
        kernel = module.get_function(launch.kernel.replace("{T}", C_TYPES[dtype.name]))
        try:
            blocks, threads, *shared = (value(size, names, dtype) for size in launch.sizes)
            arguments = tuple(_passed(value(a, names, dtype)) for a in launch.arguments)
        except (ArithmeticError, LookupError, TypeError, SourceError) as error:
            raise SourceError(f"{launch.where}: {error}") from error
        grid, block = (x if isinstance(x, tuple) else (x,) for x in (blocks, threads))
        memory = int(shared[0]) if shared else 0
        if on_host:
            with hostcuda.checking():
                kernel(grid, block, arguments, shared_mem=memory)
        else:
            kernel(grid, block, arguments, shared_mem=memory)


def _passed(value: Any) -> Any:
    if value is None:
        return NULL
    if isinstance(value, (bool, int)):
        return np.int32(value)
    return np.float64(value) if isinstance(value, float) else value
