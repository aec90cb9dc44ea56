"""How a formula's loops are run: by Python, or compiled by Numba once that pays.

The loops are the same source either way, and so is every answer: compiled code keeps the order
of the operations and contracts nothing.  Compiling costs about as much as Python needs for a few
million products, so Python runs the loops until it has spent as long on them as compiling would
take, and a large shape is compiled at once.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from time import perf_counter
from typing import Any

import numpy as np

from gradoracle.oracle.shapes import Array
from gradoracle.oracle.windows import Indices

Loops = Callable[..., None]

PATIENCE = 0.6  # seconds of interpreted loops: what loading Numba and its cached code costs
SLOW = 1_000_000  # products that Python needs about half of that for
COMPILABLE = (np.dtype(np.float32), np.dtype(np.float64))

_spent = 0.0
_only_checked: ContextVar[bool] = ContextVar("_only_checked", default=False)


@contextmanager
def arguments_only() -> Iterator[None]:
    """Let formulas check their arguments and return zeros of the right shape, running no loop."""
    token = _only_checked.set(True)
    try:
        yield
    finally:
        _only_checked.reset(token)


def checks_arguments_only() -> bool:
    """Return whether formulas are to check their arguments and return zeros."""
    return _only_checked.get()


def pays_to_compile() -> bool:
    """Return whether Python has spent so long on loops that Numba takes what it can."""
    return _spent > PATIENCE


def run(loops: Loops, out: Array, *arguments: Any, products: int, mixed: bool = False) -> Array:
    """Fill `out` by `loops(out, *arguments)` and return it.

    Only float32 and float64 arrays may be compiled; Python's own numbers in object arrays
    (integers, fractions, dual numbers) and any other dtype are interpreted.  So are loops that
    say 0 `products`: they call elementary functions.  Loops that are `mixed` bring Python's numbers
    to the arrays' (a divisor, a learning rate): Numba would widen float32 where NumPy does not.
    """
    global _spent  # noqa: PLW0603 - the process's own memory of what it paid
    if checks_arguments_only():
        return out
    arrays = [a for a in arguments if isinstance(a, np.ndarray) and a.dtype.kind not in "iu"]
    one_dtype = all(a.dtype == arrays[0].dtype for a in (*arrays, *_numbers(out)))
    formats = COMPILABLE[1:] if mixed else COMPILABLE
    compilable = bool(products) and one_dtype and arrays[0].dtype in formats
    if compilable and (products > SLOW or pays_to_compile()):
        fast = compiled(loops)
        if fast is not None:
            fast(out, *(_contiguous(a) for a in arguments))
            return out
    start = perf_counter()
    loops(out, *(a.list if isinstance(a, Indices) else a for a in arguments))
    _spent += perf_counter() - start
    return out


@cache
def compiled(loops: Loops) -> Loops | None:
    """Return `loops` compiled by Numba, cached on disk, or None where Numba cannot be imported."""
    try:
        import numba  # noqa: PLC0415 - half a second that small shapes never pay
    except ImportError:
        return None
    try:
        result: Loops = numba.njit(cache=True, fastmath=False, nogil=True)(loops)
    except RuntimeError:  # no folder that the cache could be written to
        result = numba.njit(fastmath=False, nogil=True)(loops)
    return result


def _numbers(out: Array) -> tuple[Array, ...]:
    """Return the result unless its elements are indices."""
    return () if out.dtype.kind in "iu" else (out,)


def _contiguous(argument: Any) -> Any:
    if isinstance(argument, Indices):
        return argument.array
    return np.ascontiguousarray(argument) if isinstance(argument, np.ndarray) else argument
