"""Where kernels run: on a CUDA device through CuPy, or on the CPU through hostcuda.

A machine compiles the .cu files beside this module and launches what is in them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from gradoracle.implementations.shapes import Array, Shape

Types: TypeAlias = tuple[str, str]  # what C++ calls the elements, and what their sums are held in

HERE = Path(__file__).parent
ELEMENTS: dict[str, Types] = {
    "float32": ("float", "float"),
    "float64": ("double", "double"),
    "float16": ("__half", "float"),
    "bfloat16": ("__nv_bfloat16", "float"),
}
# NumPy has bfloat16 from ml_dtypes only.
HALVES = ("float16", "bfloat16") if find_spec("ml_dtypes") else ("float16",)
# No sum depends on the order of threads.
POLICIES = {"repeats": "bitwise", "bad_arguments": "raise"}
HEADERS = {"float16": ("-DWITH_FLOAT16",), "bfloat16": ("-DWITH_BFLOAT16",)}
THREADS = 256  # of a block, at most: common.cuh's MOST_THREADS
LANES = 32  # of a warp
OF_WARP = 256  # terms of a row, from which on a block has another warp
BLOCKS = 2**16  # enough to fill every device; then threads take several elements each
SHORT = 2**31 - THREADS * BLOCKS  # `int` counts so many elements, and the loop's last step


@dataclass(frozen=True)
class Source:
    """A .cu file and its kernels, which are all templates <T, A, I>."""

    file: str
    kernels: tuple[str, ...]

    def expressions(self, dtype: str, index: str) -> tuple[str, ...]:
        """Return what C++ calls the kernels for these elements and this index type."""
        return tuple(self.expression(name, dtype, index) for name in self.kernels)

    def expression(self, kernel: str, dtype: str, index: str) -> str:
        """Return what C++ calls one of them."""
        return f"{kernel}<{', '.join((*ELEMENTS[dtype], index))}>"


@dataclass(frozen=True)
class Machine:
    """An array library, the compiler of kernels for its arrays, and the device they run on."""

    name: str  # as messages say it: "the CPU", "CUDA device 0"
    xp: Any
    RawModule: Callable[..., Any]
    device: int | None = None

    def active(self) -> AbstractContextManager[Any]:
        """Make the device the current one: there CuPy allocates, loads and launches."""
        return nullcontext() if self.device is None else self.xp.cuda.Device(self.device)

    def empty(self, shape: Shape, dtype: Any) -> Array:
        """Return a new array, whose elements are anything."""
        with self.active():
            return self.xp.empty(shape, dtype)

    def zeros(self, shape: Shape, dtype: Any) -> Array:
        """Return a new array of zeros."""
        with self.active():
            return self.xp.zeros(shape, dtype)

    def sorted(self, array: Array) -> Array:
        """Return the elements of an array of one axis in ascending order."""
        with self.active():
            return self.xp.sort(array)

    def in_order(self, array: Array) -> Array:
        """Return an equal array whose elements lie one after another, which kernels expect."""
        if self.device is None:
            return np.require(array, requirements=("C_CONTIGUOUS", "ALIGNED"))
        with self.active():
            return array if array.flags.c_contiguous else self.xp.ascontiguousarray(array)

    def kernel(
        self, file: str, expression: str, expressions: Sequence[str], options: Sequence[str] = ()
    ) -> Any:
        """Return a kernel of a file of ours, compiled with others of that file, once."""
        return _kernel(self, file, expression, tuple(expressions), tuple(options))

    def each(
        self, source: Source, kernel: str, arguments: Sequence[Any], *, count: int, dtype: Any
    ) -> None:
        """Launch a kernel with a thread for each of `count` elements, or for several."""
        threads = min(THREADS, -(-count // LANES) * LANES)
        blocks = min(BLOCKS, -(-count // max(threads, 1)))
        self._launch(source, kernel, arguments, blocks, threads, dtype)

    def sums(
        self, source: Source, kernel: str, arguments: Sequence[Any], *, count: int, terms: int,
        dtype: Any,
    ) -> None:  # fmt: skip
        """Launch a kernel with a block for each of `count` sums, each of so many terms."""
        threads = min(THREADS, 1 << max(terms - 1, 0).bit_length())
        self._launch(source, kernel, arguments, count, threads, dtype)

    def rows(
        self, source: Source, kernel: str, arguments: Sequence[Any], *, count: int, terms: int,
        dtype: Any,
    ) -> None:  # fmt: skip
        """Launch a kernel with a block for each of `count` rows, each of so many terms.

        The block has a warp or more, or a part of one: a power of two.
        """
        self._launch(source, kernel, arguments, count, row_threads(terms), dtype)

    def _launch(
        self, source: Source, kernel: str, arguments: Sequence[Any], blocks: int, threads: int,
        dtype: Any,
    ) -> None:  # fmt: skip
        """Launch; integers are handed over as the index type, other numbers as sums."""
        if not blocks:
            return
        index, name, real = _index(arguments), dtype_name(dtype), accumulator(dtype)
        expression = source.expression(kernel, name, index)
        options = HEADERS.get(name, ())
        with self.active():
            function = self.kernel(
                source.file, expression, _expressions(source, name, index), options
            )
            function((blocks,), (threads,), tuple(_passed(a, index, real) for a in arguments))


def row_threads(terms: int) -> int:
    """Return how many threads a block has for a row of so many terms: see common.cuh."""
    if terms < LANES:
        return 1 << max(terms - 1, 0).bit_length()
    return min(THREADS, LANES * max(1, -(-terms // OF_WARP)))


@cache
def accumulator(dtype: Any) -> Any:
    """Return the dtype that sums of these elements are held in."""
    return np.dtype(np.float64 if ELEMENTS[dtype_name(dtype)][1] == "double" else np.float32)


@cache
def dtype_name(dtype: Any) -> str:
    """Return NumPy's name of a dtype, which NumPy puts together each time."""
    name: str = np.dtype(dtype).name
    return name


@cache
def _expressions(source: Source, dtype: str, index: str) -> tuple[str, ...]:
    return source.expressions(dtype, index)


@contextmanager
def long_indices() -> Iterator[None]:
    """Have kernels count with 64 bits within the block, however short the arrays are."""
    token = _long.set(True)
    try:
        yield
    finally:
        _long.reset(token)


@cache
def host() -> Machine:
    """Return the machine of NumPy's arrays."""
    from gradoracle.implementations.hostcuda import RawModule  # noqa: PLC0415 - CuPy's users need none

    return Machine("the CPU", np, RawModule)


@cache
def on_device(number: int) -> Machine:
    """Return the machine of CuPy's arrays on a device."""
    import cupy  # noqa: PLC0415 - an optional dependency

    return Machine(f"CUDA device {number}", cupy, cupy.RawModule, number)


@cache
def _kernel(
    machine: Machine, file: str, expression: str, expressions: tuple[str, ...],
    options: tuple[str, ...],
) -> Any:  # fmt: skip
    return _module(machine, file, expressions, options).get_function(expression)


@cache
def _module(
    machine: Machine, file: str, expressions: tuple[str, ...], options: tuple[str, ...]
) -> Any:
    parts = (f'#line 1 "{name}"\n{_text(name)}' for name in ("common.cuh", file))
    text = "\n".join((f'#line 1 "{file}"', *parts))  # compilers call a text by its first name
    return machine.RawModule(
        code=text, options=("--std=c++17", *options), name_expressions=expressions
    )


def _text(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


_long: ContextVar[bool] = ContextVar("_long", default=False)


def _index(arguments: Sequence[Any]) -> str:
    """Return the type that counts the elements of the longest array."""
    longest = max((a.size for a in arguments if hasattr(a, "size")), default=0)
    return "long long" if _long.get() or longest > SHORT else "int"


def _passed(value: Any, index: str, real: Any) -> Any:
    """Return an argument as the kernel's signature has it."""
    if value is None:
        return np.uint64(0)  # some versions of CuPy make of None a pointer that is not null
    if isinstance(value, int):
        return np.int32(value) if index == "int" else np.int64(value)
    return real.type(value) if isinstance(value, float) else value
