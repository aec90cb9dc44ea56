"""Rows of the tables, and the kernels that compute them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradoracle.implementations import hostcuda
from tests.intrinsics.numbers import BFLOAT16, HALF, from_bits, units

DTYPES = {
    "float": np.float32,
    "double": np.float64,
    "int": np.int32,
    "unsigned": np.uint32,
    "long long": np.int64,
    "unsigned long long": np.uint64,
    "__half": np.uint16,
    "__nv_bfloat16": np.uint16,
    "bool": np.bool_,
    "short": np.int16,
    "unsigned short": np.uint16,
}
NARROW = {"__half": HALF, "__nv_bfloat16": BFLOAT16}
HEAD = "#include <cuda_fp16.h>\n#include <cuda_bf16.h>\n"


@dataclass(frozen=True)
class Row:
    """An expression of `a`, `b`, ..., and what it is of given arguments.

    `want` gets them as Python's numbers; `ulps` is how far the result may be from what it returns
    (in `form`), as CUDA's programming guide has it for functions that are not rounded correctly.
    """

    expression: str
    given: tuple[str, ...]  # C types
    result: str
    values: Sequence[tuple[Any, ...]]
    want: Callable[..., Any]
    ulps: float = 0
    form: Any = None
    signed_zeros: bool = False


def _kernel(number: int, row: Row) -> str:
    names = "abcdef"[: len(row.given)]
    arrays = "".join(f"const {kind} *{n}_, " for kind, n in zip(row.given, names, strict=True))
    values = "".join(
        f"const {kind} {n} = {n}_[i]; " for kind, n in zip(row.given, names, strict=True)
    )
    return (
        f'extern "C" __global__ void row{number}({arrays}{row.result} *y, int n) {{\n'
        f"    for (int i = threadIdx.x; i < n; i += blockDim.x) {{\n        {values}\n"
        f"        y[i] = {row.expression};\n    }}\n}}\n"
    )


def module(rows: Sequence[Row]) -> hostcuda.RawModule:
    """Return the kernels of a table, one a row."""
    return hostcuda.RawModule(code=HEAD + "".join(_kernel(i, row) for i, row in enumerate(rows)))


def wrong(kernels: hostcuda.RawModule, number: int, row: Row) -> list[str]:
    """Return the arguments of which a row's result is wrong, each with what it is."""
    arrays = [
        np.array([given[i] for given in row.values], DTYPES[kind])
        for i, kind in enumerate(row.given)
    ]
    y = np.zeros(len(row.values), DTYPES[row.result])
    kernels.get_function(f"row{number}")((1,), (32,), (*arrays, y, np.int32(len(y))))
    found = []
    for values, result in zip(zip(*arrays, strict=True), y, strict=True):
        numbers = [_number(v, kind) for v, kind in zip(values, row.given, strict=True)]
        want, got = row.want(*numbers), _number(result, row.result)
        if not _same(row, got, want):
            found.append(f"{row.expression} of {numbers}: got {got!r}, want {want!r}")
    return found


def _number(value: Any, kind: str) -> Any:
    return from_bits(value, NARROW[kind]) if kind in NARROW else value.item()


def _same(row: Row, got: Any, want: Any) -> bool:
    if isinstance(want, int):
        return bool(got == want)
    if row.ulps:
        return units(got, want, row.form) <= row.ulps
    signs = not row.signed_zeros or math.copysign(1, got) == math.copysign(1, want)
    return (math.isnan(got) and math.isnan(want)) or (got == want and signs)
