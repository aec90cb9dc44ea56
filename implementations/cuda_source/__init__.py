"""A file of CUDA C++ as a backend: comments in it say how its kernels are launched.

    // gradoracle: relu = my_relu<<<(z.size + 255) / 256, 256>>>(z, y, z.size)
    extern "C" __global__ void my_relu(const float *z, float *y, int n) { ... }

Left of the `=` is a function of the protocol, right of it a launch as CUDA writes it: blocks,
threads and, if any, bytes of shared memory; then the arguments.  Several launches of one function
run one after the other.  A launch may go on over several comment lines.

A comment can also call a function of the host's code, which launches kernels itself; results
marked * are of several functions, in order:

    // gradoracle: conv2d_grad_input, conv2d_grad_weight =
    //     backward(grad_output, x, weight, *, *, C, M, H, W, KH)

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
    zero(dw) copy(z)              the array filled with 0 before; the result with the values of z
    THREADS                       a number that the file names: #define, const at file scope
    scratch(mean, N * T)          an array of so many numbers that is no result: of what its
                                  parameter holds, else T; the same in all launches that name it
    workspace                     what `// gradoracle: conv2d: workspace = T[N * C * OH * OW]` says

`cross_entropy = mean(workspace)` (or sum) is what the host makes of an array after the launches,
`options = -I../include -DTILE=16` what the compiler gets, besides NVCC_APPEND_FLAGS.

A kernel whose name has {T} in it, as in my_relu<{T}>, is checked in float32 and float64; any other
in the dtype that its pointers hold, half and bfloat16 among them; or all in those that
`// gradoracle: dtypes = float64` says.  They are given all calls, or those that
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
`kernel.cu@device` choose; a file with host code runs on the CPU.  Arrays reach the kernels in
row-major order; results are what `cupy.empty` gives, not zeros (on the CPU, NaN with every bit set,
which a report tells from a NaN that was computed); with an empty array nothing is
launched, and the result is zeros.
"""

import os
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from gradoracle.implementations import hostcuda
from gradoracle.implementations.cuda_source.comments import C_TYPES, CUDA_TYPES, Launch, Plan, read
from gradoracle.implementations.cuda_source.expressions import SourceError, constants
from gradoracle.implementations.cuda_source.includes import whole
from gradoracle.implementations.cuda_source.results import Names
from gradoracle.implementations.cuda_source.running import assumed, evaluated, functions, held_by
from gradoracle.implementations.cuda_source.signatures import (
    Parameter,
    Signature,
    converted,
    dtypes_held,
    fitting,
    integer_policies,
    plain,
    scratch_types,
    signatures,
)
from gradoracle.implementations.cuda_source.unknown_names import require_known
from gradoracle.implementations.cupy_kernels import machine as machines
from gradoracle.implementations.cupy_kernels.probe import described
from gradoracle.implementations.hostcuda.text import without_comments
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
    if where not in ("", "host", "device"):
        raise SourceError(f"{given}: a kernel runs @host or @device, not @{where}")
    plans, contract = read(file.read_text(encoding="utf-8", errors="replace"), file.name)
    flags = _flags(file, contract.pop("options", []))
    text = whole(file, [Path(flag[2:]) for flag in flags if flag.startswith("-I")])
    # What NVRTC compiles is device code alone.
    on_host = where == "host" or (where != "device" and (_has_host_code(text) or not _has_device()))
    contract |= by_pointers(plans, contract, partial(signatures, plain(text)), [*CUDA_TYPES])
    dtypes = dtypes_of(plans, contract)
    said, named = contract.get("policies", {}), constants(without_comments(text))
    require_known(plans, named)
    left_out = not_claimed(plans, contract)
    known = _signatures(plans, plain(text), dtypes, said, left_out)
    policies = integer_policies(plans, lambda kernel: known.get((kernel, dtypes[0])), said)
    compiled, refused = _compiled(text, plans, dtypes, flags, on_host=on_host)
    launch = partial(_launch, compiled, known, on_host=on_host)
    made: dict[str, Any] = {
        **functions(
            plans,
            launch,
            policies,
            file,
            on_host=on_host,
            constants=named,
            scratches=lambda plan, dtype: scratch_types(plan, lambda k: known.get((k, dtype))),
        ),
        **{name: partial(_refused, why) for name, why in refused.items()},
    }
    contract |= {
        "functions": [*plans], "dtypes": dtypes, "policies": policies, "not_claimed": left_out,
        "assumes": assumed(plans),
    }  # fmt: skip
    with hostcuda.checking():
        contract["runs_on"] = hostcuda.described() if on_host else _device()
    if not on_host:
        made |= {"from_numpy": machines.on_device(0).xp.asarray, "to_numpy": _to_numpy}
    return SimpleNamespace(contract=contract, **made)


def by_pointers(
    plans: Mapping[str, Plan], contract: Mapping[str, Any],
    found: Callable[[str], Iterable[Signature]], types: Sequence[str],
) -> dict[str, Any]:  # fmt: skip
    """Return the dtypes of a file that claims none, where its kernels hold another than float.

    Functions whose kernels have {T} are of float32 and float64, each other one of what the pointers
    of its kernels say.  `found` returns what may be declared of a name; `types` are all dtypes.
    """
    if contract.get("dtypes"):
        return {}
    held = dtypes_held(plans, found)
    templates = {
        name for name, plan in plans.items() if any("{T}" in one.kernel for one in plan.launches)
    }
    of = {name: [*C_TYPES] if name in templates else [held[name]] for name in plans}
    if all(dtypes in ([*C_TYPES], ["float32"]) for dtypes in of.values()):
        return {}
    dtypes = [dtype for dtype in types if any(dtype in one for one in of.values())]
    left_out = {dtype: [name for name in plans if dtype not in of[name]] for dtype in dtypes}
    for dtype, names in contract.get("not_claimed", {}).items():
        left_out[dtype] = [*dict.fromkeys((*left_out.get(dtype, ()), *names))]
    return {"dtypes": dtypes, "not_claimed": left_out}


def _flags(file: Path, said: Sequence[str]) -> tuple[str, ...]:
    """Return the -I, -D and -U of the comments and of nvcc's variables; folders from the file's."""
    given = [
        *shlex.split(os.environ.get("NVCC_PREPEND_FLAGS", "")), *said,
        *shlex.split(os.environ.get("NVCC_APPEND_FLAGS", "")),
    ]  # fmt: skip
    return tuple(
        f"-I{(file.resolve().parent / flag[2:]).resolve()}" if flag.startswith("-I") else flag
        for flag in given
        if flag.startswith(("-I", "-D", "-U"))
    )


def _has_host_code(text: str) -> bool:
    return bool(re.search(r"<<<|\bcuda(Malloc|Memcpy|LaunchKernel)|\bint\s+main\s*\(", plain(text)))


def _refused(why: str, *_arrays: object, **_options: object) -> None:
    raise hostcuda.NotModelled(why)


def _signatures(
    plans: Mapping[str, Plan], text: str, dtypes: Sequence[str], policies: Mapping[str, Any],
    left_out: Mapping[str, Sequence[str]],
) -> dict[tuple[str, str], Signature]:  # fmt: skip
    """Return what kernels and host functions take, by name and dtype, where that can be read.

    Raises:
        SourceError: an argument does not fit its parameter.
    """
    found: dict[tuple[str, str], Signature] = {}
    for (name, plan), dtype in product(plans.items(), dtypes):
        if name in left_out.get(dtype, ()):
            continue
        held = held_by(name, plan, dtype, policies)
        for launch in (one for one in plan.launches if not one.reduces):
            declared = signatures(text, launch.kernel.replace("{T}", CUDA_TYPES[dtype]))
            if one := fitting(launch, declared, held):
                found[launch.kernel, dtype] = one
    return found


def dtypes_of(plans: Mapping[str, Plan], contract: Mapping[str, Any]) -> list[str]:
    """Return the dtypes that a file is checked in: those it claims, else what its names say."""
    templates = any("{T}" in x.kernel for plan in plans.values() for x in plan.launches)
    return contract.get("dtypes") or ([*C_TYPES] if templates else ["float32"])


def not_claimed(plans: Mapping[str, Plan], contract: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return by dtype the functions that it is not claimed for.

    They are those that the contract says and, where it says no dtypes, in float64 those without {T}
    beside others that have it.
    """
    found = {dtype: [*names] for dtype, names in contract.get("not_claimed", {}).items()}
    of_float = [
        name for name, plan in plans.items()
        if not any("{T}" in launch.kernel for launch in plan.launches)
    ]  # fmt: skip
    if not contract.get("dtypes") and 0 < len(of_float) < len(plans):
        known = found.setdefault("float64", [])
        known += [name for name in of_float if name not in known]
    return found


def _has_device() -> bool:
    try:
        return bool(machines.on_device(0).xp.cuda.is_available())
    except ImportError:
        return False


def _device() -> str:
    return described(machines.on_device(0).xp)


def _to_numpy(array: Array) -> Array:
    return machines.on_device(0).xp.asnumpy(array)


def _compiled(
    text: str, plans: Mapping[str, Plan], dtypes: Sequence[str], flags: Sequence[str], *,
    on_host: bool,
) -> tuple[dict[str, Any], dict[str, str]]:  # fmt: skip
    """Return the file's kernels and functions, and why functions of the protocol cannot run."""
    launches = {
        one.kernel.replace("{T}", CUDA_TYPES[dtype]): one
        for plan in plans.values() for one in plan.launches if not one.reduces for dtype in dtypes
    }  # fmt: skip
    calls = [kernel for kernel, one in launches.items() if not one.sizes]
    kernels = [kernel for kernel in launches if kernel not in calls]
    options = ("--std=c++17", *flags)
    if on_host:
        module = hostcuda.RawModule(
            code=text, options=options, name_expressions=kernels, functions=calls
        )
        return _modelled(module, launches, plans)
    if calls:
        raise SourceError(f"{launches[calls[0]].where}: functions of the host run on the CPU")
    raw = machines.on_device(0).RawModule(code=text, options=options, name_expressions=kernels)
    raw.compile()
    return {kernel: raw.get_function(kernel) for kernel in kernels}, {}


def _modelled(
    module: hostcuda.RawModule, launches: Mapping[str, Launch], plans: Mapping[str, Plan]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what the CPU can run, and why functions of the protocol cannot.

    Raises:
        hostcuda.NotModelled: none of them can.
    """
    compiled: dict[str, Any] = {}
    refused: dict[str, str] = {}
    with hostcuda.checking():
        for kernel, launch in launches.items():
            try:
                compiled[kernel] = module.get_function(kernel)
                compiled[kernel].compiled("check")
            except hostcuda.NotModelled as error:
                for name, plan in plans.items():
                    if any(one.kernel == launch.kernel for one in plan.launches):
                        refused[name] = str(error)
    if len(refused) == len(plans):
        raise hostcuda.NotModelled("; ".join(dict.fromkeys(refused.values())))
    return compiled, refused


def _launch(
    compiled: Mapping[str, Any], known: Mapping[tuple[str, str], Signature], launch: Launch,
    names: Names, dtype: Any, *, on_host: bool,
) -> None:  # fmt: skip
    sizes, values = evaluated(launch, names, dtype)
    kernel = compiled[launch.kernel.replace("{T}", CUDA_TYPES[dtype.name])]
    signature = known.get((launch.kernel, dtype.name))
    given = [*map(_passed, _fitted(launch, signature, values))]
    if sizes:
        blocks, threads, *shared = sizes
        grid, block = (x if isinstance(x, tuple) else (x,) for x in (blocks, threads))
        with hostcuda.checking() if on_host else nullcontext():
            kernel(grid, block, tuple(given), shared_mem=int(shared[0]) if shared else 0)
    else:
        with hostcuda.checking():
            returned = kernel.call(given)
        if (
            signature
            and signature.returns
            and _is_float(signature.returns)
            and not names["out"].ndim
        ):
            names["out"][...] = returned
    for one, before in zip(given, values, strict=True):  # integers of another type
        if isinstance(before, np.ndarray) and one is not before and before.flags.writeable:
            before[...] = one


def _is_float(parameter: Parameter) -> bool:
    return parameter.dtype is not None and parameter.dtype.kind == "f" and not parameter.pointer


def _fitted(launch: Launch, signature: Signature | None, values: Sequence[Any]) -> list[Any]:
    if signature is None:
        return [*values]
    try:
        return [*map(converted, values, signature.parameters)]
    except SourceError as error:
        raise SourceError(f"{launch.where}: {launch.kernel}: {error}") from error


def _passed(value: Any) -> Any:
    if value is None:
        return NULL
    if isinstance(value, (bool, int)):
        return np.int32(value)
    return np.float64(value) if isinstance(value, float) else value
