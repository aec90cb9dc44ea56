"""Kernels with the features of published ones, each right and with planted faults.

    python -m tests.cuda_features --calls 2000          # right kernels, call after call

In `cuda/features/*.cu`, a line that ends in `// fault NAME: TEXT` is the right one; the kernel NAME
is a copy of its function with TEXT in its place (`removed`: nothing).
"""

import argparse
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from gradoracle.implementations import hostcuda
from gradoracle.implementations.hostcuda.parts import Part, parts

FOLDER = Path(__file__).parent / "cuda" / "features"
_FAULT = re.compile(r"^(.*?\S)?\s*// fault (\w+): (.*)$", re.MULTILINE)
C = 40  # of layers.cu
N = (0, 1, 31, 32, 33, 64, 101, 130)


@dataclass(frozen=True)
class Call:
    """One launch: the arguments with the result among them, and what it must be."""

    grid: tuple[int, ...]
    block: tuple[int, ...]
    arguments: tuple[Any, ...]
    result: Any
    want: Any
    shared: int = 0


def _drawn(rng: np.random.Generator, *shape: int) -> Any:
    return rng.integers(-4, 5, shape).astype(np.float32)


def _product(rng: np.random.Generator) -> Call:
    a, b = _drawn(rng, 32, 16), _drawn(rng, 16, 16)
    c = hostcuda.empty((32, 16), np.float32)
    return Call((2,), (32,), (a, b, c), c, a @ b)


def _sum(threads: int, least: int = 0) -> Callable[[np.random.Generator], Call]:
    def call(rng: np.random.Generator) -> Call:
        n = int(rng.choice([n for n in N if n >= least]))
        x, y = _drawn(rng, n), np.zeros(1, np.float32)
        return Call((1,), (threads,), (x, y, np.int32(n)), y, np.array([x.sum()]), 4 * n)

    return call


def _rows(
    threads: int, made: Callable[[Any], Any], per_row: int = C
) -> Callable[[np.random.Generator], Call]:
    def call(rng: np.random.Generator) -> Call:
        rows = int(rng.integers(1, 12))
        x, y = _drawn(rng, rows, C), hostcuda.empty(rows * per_row, np.float32)
        return Call((rows,), (threads,), (x, y, np.int32(rows)), y, made(x).reshape(-1))

    return call


def _counts(x: Any) -> Any:
    return np.stack([np.bincount(np.abs(row).astype(int) & 3, minlength=4) for row in x])


CALLS: dict[str, dict[str, Callable[[np.random.Generator], Call]]] = {
    "matrices": dict.fromkeys(("fragments", "by_ptx", "by_copies", "by_pipeline"), _product),
    "groups": {
        **dict.fromkeys(("half_pairs", "reduced", "stages", "instructions", "noise"), _sum(32)),
        **dict.fromkeys(("bf16_atomics", "tiles", "barriers"), _sum(64)),
        "block_copy": _sum(32),
        **dict.fromkeys(("by_grid", "by_texture"), _sum(1)),
        "by_library": _sum(1, least=1),
    },
    "language": dict.fromkeys(
        ("scans", "coalesced", "timed", "functions", "converted", "matched", "referred"), _sum(32)
    ),
    "layers": {
        "centred": _rows(32, lambda x: x - x.sum(1, keepdims=True) / np.float32(C)),
        "less_most": _rows(64, lambda x: x - x.max(1, keepdims=True)),
        "scanned": _rows(64, lambda x: x.cumsum(1)),
        "turned_on_device": _rows(1, np.transpose),
        "fours": _rows(32, lambda x: 2 * x),
        "counted": _rows(64, _counts, 4),
    },
}
HOST = ("by_grid", "by_texture", "by_library", "turned_on_device")
# The kernel that a host function launches: a fault of the one is checked through the other.
LAUNCHES = {"grid_sum": "by_grid", "fetched": "by_texture", "turned": "turned_on_device"}


def faults(file: str) -> dict[str, str]:
    """Return the faults of a file by name, each with the function that it is planted in."""
    text = (FOLDER / f"{file}.cu").read_text()
    whole = [part for part in parts(text) if part.is_function]
    return {
        found[2]: next(p.name for p in whole if p.start <= found.start() < p.end)
        for found in _FAULT.finditer(text)
    }


@cache
def text_of(file: str) -> str:
    """Return a file's text with a copy of a function for each of its faults."""
    text = (FOLDER / f"{file}.cu").read_text()
    copies = [
        planted(text, part, name)
        for part in parts(text) if part.is_function
        for name, of in faults(file).items()
        if of in (part.name, next((k for k, h in LAUNCHES.items() if h == part.name), ""))
    ]  # fmt: skip
    return text + "\n".join(copies)


def planted(text: str, part: Part, name: str) -> str:
    """Return a copy of a function, named after a fault of it or of the kernel that it launches."""
    own = text[part.start : part.end]
    if part.name in LAUNCHES:
        return _named(own, part.name, f"{part.name}_{name}", name)
    if part.name in LAUNCHES.values() and f"// fault {name}:" not in own:
        kernel = next(k for k, host in LAUNCHES.items() if host == part.name)
        own = re.sub(rf"\b{kernel}\b", f"{kernel}_{name}", own)
    return _named(own, part.name, name, name)


def _named(text: str, old: str, new: str, fault: str) -> str:
    def put(found: re.Match[str]) -> str:
        if found[2] != fault:
            return found[1] or ""
        return "" if found[3] == "removed" else found[3]

    return re.sub(rf"\b{old}\b", new, _FAULT.sub(put, text), count=1)


@cache
def module(file: str) -> hostcuda.RawModule:
    """Return a file's kernels and those with its faults."""
    hosted = [name for name, of in faults(file).items() if of in (*HOST, *LAUNCHES)]
    functions = [*(name for name in HOST if name in CALLS[file]), *hosted]
    return hostcuda.RawModule(code=text_of(file), functions=functions)


def function_of(file: str, name: str) -> str:
    """Return the function whose call shows a fault, or the kernel itself."""
    of = faults(file).get(name, name)
    return LAUNCHES.get(of, of)


def run(file: str, name: str, call: Call) -> bool:
    """Run a kernel or host function and return whether the result is right.

    Raises:
        hostcuda.KernelFault: the kernel is at fault.
    """
    kernel = module(file).get_function(name)
    if isinstance(kernel, hostcuda.HostFunction):
        kernel.call(call.arguments)
    else:
        kernel(call.grid, call.block, call.arguments, shared_mem=call.shared)
    return bool(np.array_equal(call.result, call.want.astype(np.float32)))


def right() -> Iterator[tuple[str, str]]:
    """Yield the right kernels, each with its file."""
    yield from ((file, name) for file, calls in CALLS.items() for name in calls)


def wrong() -> Iterator[tuple[str, str]]:
    """Yield the kernels with a fault, each with its file."""
    yield from ((file, name) for file in CALLS for name in faults(file))


def main() -> int:
    """Call the right kernels again and again; return 1 if one is reported or wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.cuda_features")
    parser.add_argument("--calls", type=int, default=2000)
    given, reports = parser.parse_args(), 0
    for file, name in right():
        rng, begun, before = np.random.default_rng(1), time.monotonic(), reports
        for _ in range(given.calls):
            try:
                with hostcuda.checking():
                    reports += not run(file, name, CALLS[file][name](rng))
            except hostcuda.KernelFault as error:
                reports += 1
                print(f"{name}: {error}")
        print(
            f"{name}: {given.calls} calls, {reports - before} reports, "
            f"{time.monotonic() - begun:.0f} s",
            flush=True,
        )
    return 1 if reports else 0


if __name__ == "__main__":
    sys.exit(main())
