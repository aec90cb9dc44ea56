"""One kernel: its compiled forms, the check of its arguments, and the launch."""

import ctypes
import operator
import os
import re
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from gradoracle.implementations.hostcuda import build, notes, patterns, report
from gradoracle.implementations.hostcuda.field import residue
from gradoracle.implementations.hostcuda.held import Held
from gradoracle.implementations.hostcuda.report import Finding, KernelFault, RawFinding
from gradoracle.implementations.hostcuda.settings import ORDERS, Settings, settings
from gradoracle.implementations.hostcuda.source import NotModelled, Source

MOST_THREADS, MOST_SHARED = 1024, 48 * 1024
LARGEST_GRID = (2**31 - 1, 65535, 65535)
LARGEST_BLOCK = (1024, 1024, 64)
ELEMENT = 4  # bytes of an element of a field
LARGEST_SHARED = 227 * 1024  # that a kernel can ask for, on compute capability 9.0
_one_launch = threading.Lock()  # the runtime keeps its state in globals


def _new_lock() -> None:
    global _one_launch  # noqa: PLW0603
    _one_launch = threading.Lock()


os.register_at_fork(after_in_child=_new_lock)  # whoever held it is not in the child


_Sides = ctypes.c_uint * 3
_UNLIKE = {np.dtype(np.float32).num: "double", np.dtype(np.float64).num: "float"}
_Sizes: TypeAlias = tuple[tuple[int, ...], tuple[int, ...], int]  # grid, block, shared memory


@dataclass(frozen=True)
class _Compiled:
    library: Path
    launch: Any
    runtime: ctypes.CDLL
    sizes: tuple[int, ...]  # of the arguments, in bytes
    guards: tuple[int, ...]  # offsets in shared memory that are no kernel's
    kinds: str  # F, D, p pointers to float, double, others; f floating-point, i integer, s struct


class Kernel:
    """A function (grid, block, args, *, shared_mem=0), as CuPy's `RawModule.get_function` gives."""

    def __init__(self, name: str, source: Source, number: int) -> None:
        """Remember what to compile; it is compiled at the first call in each mode."""
        self.name, self._source, self._number = name.partition("#")[0], source, number
        self.max_dynamic_shared_size_bytes = MOST_SHARED
        self._compiled: dict[tuple[str, int], _Compiled] = {}

    def __call__(
        self,
        grid: Sequence[int],
        block: Sequence[int],
        args: Sequence[Any],
        *,
        shared_mem: int = 0,
        **_stream: object,
    ) -> None:
        """Run the kernel on the arrays among `args`; NumPy scalars and structs go by value.

        Raises:
            KernelFault: the launch is outside a GPU's limits, an argument does not fit, or (in
                mode `check`) the kernel does what no kernel may.
            ValueError: g++ refuses the text.
        """
        sides, threads = _triple("grid", grid), _triple("block", block)
        refused = self._refusal(sides, threads, shared_mem)
        if refused:
            raise KernelFault(self.name, [Finding("launch", refused)])
        self._call(args, (sides, threads, shared_mem))

    def takes(self, args: Sequence[Any]) -> bool:
        """Return whether the arguments fit its parameters."""
        compiled = self.compiled(settings().mode)
        try:
            return compiled is not None and bool(self._values(compiled, args) or not args)
        except KernelFault:
            return False

    def _call(self, args: Sequence[Any], sizes: _Sizes) -> None:
        chosen = settings()
        compiled = self.compiled(chosen.mode)
        if compiled is None:
            raise ValueError(f"there is no kernel {self.name!r}: the preprocessor leaves it out")
        values = self._values(compiled, args)
        arrays = [
            (i, a) for i, (a, kind) in enumerate(zip(args, compiled.kinds, strict=True))
            if kind in "pFD" and _is_array(a)
        ]  # fmt: skip
        with _one_launch:
            self._run(compiled, chosen, sizes, values, arrays)

    def _run(
        self,
        compiled: _Compiled,
        chosen: Settings,
        sizes: _Sizes,
        values: list[Any],
        arrays: Sequence[tuple[int, Any]],
    ) -> None:
        """Run the launch, in mode `check` in every order that is asked for, from the same data."""
        if chosen.mode == "fast":
            self._raise(self._start(compiled, chosen, chosen.orders[0], sizes, values))
            return
        held = Held(arrays)
        for i, _ in arrays:
            values[i] = ctypes.c_void_p(held.pointers[i])
        told: list[Finding] = []
        guards = (ctypes.c_size_t * len(compiled.guards))(*compiled.guards)
        compiled.runtime.hostcuda_guards(guards, ctypes.c_size_t(len(guards)))
        compiled.runtime.hostcuda_keep_variables()
        for order in chosen.orders:
            held.fill()
            compiled.runtime.hostcuda_restore_variables()
            compiled.runtime.hostcuda_forget_arguments()
            for start, count, i in held.regions:
                compiled.runtime.hostcuda_argument(
                    ctypes.c_size_t(start), ctypes.c_size_t(count), i
                )
            told = self._start(compiled, chosen, order, sizes, values)
            rounds = compiled.runtime.hostcuda_order_rounds()
            told = told or held.found(order, exact=not rounds)
            if told:
                break
        held.give_back()
        self._raise(told)

    def _raise(self, told: Sequence[Finding]) -> None:
        if told and told[0].kind == "not modelled":
            raise NotModelled(str(told[0]).replace("not modelled: ", "", 1))
        if told:
            raise KernelFault(self.name, told)

    def _start(
        self,
        compiled: _Compiled,
        chosen: Settings,
        order: str,
        sizes: _Sizes,
        values: Sequence[Any],
    ) -> list[Finding]:
        """Run the launch once and return what was found."""
        runtime = compiled.runtime
        runtime.hostcuda_options(
            ORDERS.index(order), ctypes.c_uint64(chosen.seed), chosen.mode == "check"
        )
        pointers = (ctypes.c_void_p * max(1, len(values)))(*map(ctypes.addressof, values))
        noted = chosen.mode == "check" and notes.wanted()
        if noted:
            notes.start(runtime)
        found = self._started(compiled, pointers, sizes)
        if noted:
            notes.collect(runtime, compiled.library, self._source.lines)
        if not found:
            return []
        raw = runtime.hostcuda_findings(ctypes.byref(ctypes.c_uint()))
        return report.read(raw[:found], compiled.library, self._source.lines)

    def _started(self, compiled: _Compiled, pointers: Any, sizes: _Sizes) -> int:
        """Run it and return the number of findings."""
        grid, block, shared_mem = sizes
        sides = [_Sides(*each) for each in (grid, block)]
        return int(compiled.launch(pointers, *sides, ctypes.c_size_t(shared_mem)))

    def _refusal(self, grid: tuple[int, ...], block: tuple[int, ...], shared: int) -> str:
        """Return why no GPU would start such a launch; "" if one would."""
        for name, given, largest in (("grid", grid, LARGEST_GRID), ("block", block, LARGEST_BLOCK)):
            for axis, side, most in zip("xyz", given, largest, strict=True):
                if not 1 <= side <= most:
                    return f"{name}.{axis} must be 1 to {most}, got {side}"
        if block[0] * block[1] * block[2] > MOST_THREADS:
            return f"a block has at most {MOST_THREADS} threads, got {' x '.join(map(str, block))}"
        most = min(self.max_dynamic_shared_size_bytes, LARGEST_SHARED)
        if not 0 <= shared <= most:
            return (
                f"shared_mem must be 0 to {most} bytes, got {shared}; up to {LARGEST_SHARED} after "
                "kernel.max_dynamic_shared_size_bytes = ..."
            )
        return ""

    def compiled(self, mode: str) -> _Compiled | None:
        """Return the kernel as it runs in that mode, compiled if it was not yet.

        None: it is not in what the preprocessor leaves of the text.

        Raises:
            NoCompiler: there is no g++.
            CompileError: g++ refuses it, or what it calls.
            NotModelled: it needs what the CPU does not model.
        """
        key = mode, settings().prime
        if key in self._compiled:
            return self._compiled[key]
        source = self._source.modulo(settings().prime)
        library = source.library(mode)
        source.check_modelled(self.name)  # compiling shows what g++ refuses
        opened, runtime = _opened(library), _runtime(mode)
        if not hasattr(opened, f"hostcuda_describe_{self._number}"):
            return None
        # A kernel has at most 4 KiB of arguments, of a byte or more each.
        sizes, kinds = (ctypes.c_int * 4096)(), ctypes.create_string_buffer(4096)
        count = getattr(opened, f"hostcuda_describe_{self._number}")(sizes, kinds)
        launch = getattr(opened, f"hostcuda_kernel_{self._number}")
        compiled = _Compiled(
            library, launch, runtime, tuple(sizes[:count]), _guards(library, mode),
            kinds.raw[:count].decode(),
        )  # fmt: skip
        self._compiled[key] = compiled
        return compiled

    def _values(self, compiled: _Compiled, args: Sequence[Any]) -> list[Any]:
        """Return the arguments as C has them."""
        if len(args) != len(compiled.sizes):
            raise self._misfit(f"it takes {len(compiled.sizes)} arguments, {len(args)} are given")
        return [
            self._value(i, value, size, kind)
            for i, (value, size, kind) in enumerate(
                zip(args, compiled.sizes, compiled.kinds, strict=True)
            )
        ]

    def _value(self, i: int, value: Any, size: int, kind: str) -> Any:
        if kind in "pFD":
            return self._pointer(i, value, kind)
        if (prime := settings().prime) and (kind, size) == ("s", ELEMENT) and _is_number(value):
            value = np.uint32(residue(float(value), prime))
        if isinstance(value, (bool, int)) and not isinstance(value, np.generic) and kind == "i":
            # CuPy hands over 8 bytes, of which the kernel reads the first.
            if not -(2 ** (8 * size - 1)) <= value < 2 ** (8 * size):
                raise self._misfit(f"argument {i} has {size} bytes, {value} does not fit")
            return ctypes.create_string_buffer(
                int(value).to_bytes(size + 1, "little", signed=True)[:size], size
            )
        if isinstance(value, (float, int)) and not isinstance(value, np.generic):
            value = np.float64(value) if isinstance(value, float) else np.int64(value)
        if isinstance(value, (np.generic, np.ndarray)):
            raw = value.tobytes()
            if len(raw) != size:
                hint = (
                    ": a Python float is 8 bytes, numpy.float32(value) is 4" if kind == "f" else ""
                )
                raise self._misfit(
                    f"argument {i} has {size} bytes, {len(raw)} are given ({value.dtype}){hint}"
                )
            if value.dtype.kind not in {"f": "f", "i": "iub"}.get(kind, value.dtype.kind):
                wanted = {"f": "a floating-point number", "i": "an integer"}[kind]
                raise self._misfit(f"argument {i} is {wanted}, {value.dtype} is given")
            return ctypes.create_string_buffer(raw, size)
        raise self._misfit(f"argument {i} is a value of {size} bytes, got {type(value).__name__}")

    def _pointer(self, i: int, value: Any, kind: str) -> ctypes.c_void_p:
        if value is None or (isinstance(value, (int, np.integer)) and value == 0):
            return ctypes.c_void_p(None)
        if not _is_array(value):
            raise self._misfit(f"argument {i} is a pointer, got {type(value).__name__}")
        pointed = {"F": "float", "D": "double"}.get(kind)
        if pointed is not None and _UNLIKE.get(value.dtype.num) == pointed:
            raise self._misfit(
                f"argument {i} points to {pointed}, an array of {value.dtype} is given"
            )
        return ctypes.c_void_p(value.__array_interface__["data"][0])

    def _misfit(self, text: str) -> KernelFault:
        return KernelFault(self.name, [Finding("launch", text)])


class HostFunction(Kernel):
    """A function (args) of the host's code, which launches kernels itself.

    It returns what the function does, if that is a number.  Every access of the kernels is checked,
    and what the function allocates, copies and launches.
    """

    returned = 0.0

    def call(self, args: Sequence[Any]) -> float:
        """Run it on the arrays among `args`, as a launch would.

        Raises:
            KernelFault: an argument does not fit, a kernel or the host's code is at fault.
            NotModelled: it comes to what is not modelled.
        """
        self._call(args, ((), (), 0))
        return self.returned

    def _started(self, compiled: _Compiled, pointers: Any, sizes: _Sizes) -> int:  # noqa: ARG002
        returned = ctypes.c_double(0)
        found = compiled.launch(pointers, ctypes.byref(returned))
        self.returned = returned.value
        return int(found)


class Overloads(Kernel):
    """Kernels of one name: the one whose parameters fit the arguments is launched."""

    def __init__(self, first: Kernel, others: Sequence[Kernel]) -> None:
        """Remember them, in the order of the text."""
        super().__init__(first.name, first._source, first._number)  # noqa: SLF001
        self._all = (first, *others)

    def __call__(
        self,
        grid: Sequence[int],
        block: Sequence[int],
        args: Sequence[Any],
        *,
        shared_mem: int = 0,
        **_stream: object,
    ) -> None:
        """Run the first that takes the arguments, as `Kernel` does."""
        one = next((kernel for kernel in self._all if kernel.takes(args)), self._all[0])
        one(grid, block, args, shared_mem=shared_mem)


def _is_number(value: Any) -> bool:
    return isinstance(value, (float, int, np.floating))


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray)


def _triple(name: str, given: Sequence[int]) -> tuple[int, int, int]:
    given = given if isinstance(given, (Sequence, np.ndarray)) else [given]
    sides = [operator.index(side) for side in given]  # 2.5 blocks are no 2
    if not 1 <= len(sides) <= 3:
        raise ValueError(f"{name} must have one to three sides, got {given!r}")
    x, y, z = (*sides, 1, 1)[:3]
    return x, y, z


@cache
def _opened(library: Path) -> ctypes.CDLL:
    return ctypes.CDLL(str(library))


@cache
def _guards(library: Path, mode: str) -> tuple[int, ...]:
    """Return where in thread-local storage g++ keeps whether a shared variable was made."""
    if mode != "check" or b"_ZGVZ" not in library.read_bytes():
        return ()
    told = subprocess.run(  # noqa: S603
        ["readelf", "-sW", str(library)],  # noqa: S607 - comes with g++
        capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    found = re.findall(r"^\s*\d+: ([0-9a-f]+)\s+\d+ TLS\s.*\b_ZGV", told, re.MULTILINE)
    return tuple({int(offset, 16) for offset in found})


@cache
def _runtime(mode: str) -> ctypes.CDLL:
    runtime = ctypes.CDLL(str(build.runtime(mode)))
    runtime.hostcuda_findings.restype = ctypes.POINTER(RawFinding)
    runtime.hostcuda_notes.restype = ctypes.POINTER(RawFinding)
    if mode == "check":
        runtime.hostcuda_patterns.restype = ctypes.POINTER(patterns.RawPattern)
    return runtime
