"""Forward passes that are kept: gradients of one call by several arguments go back from one."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np

from gradoracle.oracle.numbers.reverse import Traced, TracedArray
from gradoracle.oracle.numbers.running_error import Arithmetic
from gradoracle.oracle.numbers.running_error_arrays import Lanes
from gradoracle.oracle.shapes import Array

KEPT = 3  # the last passes: a bound's, and one in extended precision
MOST = 2**15  # numbers of the arguments: of more, what a pass holds takes too much memory

Pass = tuple[Mapping[str, Any], list[TracedArray]]


class Passes:
    """The last forward passes of a function on numbers with running errors, by the arguments."""

    def __init__(self, run: Callable[[Mapping[str, Any]], list[TracedArray]]) -> None:
        """Keep the function, of arguments by name."""
        self._run = run
        self._kept: dict[Hashable, Pass] = {}

    def of(self, given: Mapping[str, Any]) -> Pass:
        """Return traced arguments like these, and what the function makes of them."""
        key = _key(given)
        found = None if key is None else self._kept.pop(key, None)
        if found is None:
            found = given, self._run(given)
        if key is not None:
            self._kept[key] = found
            if len(self._kept) > KEPT:
                del self._kept[next(iter(self._kept))]
        return found


def _key(given: Mapping[str, Any]) -> Hashable | None:
    """Return all that a pass depends on; None: it is of other numbers, or of too many."""
    held = {n: v.held if isinstance(v, Traced) else v for n, v in given.items()}
    lanes = [v for v in held.values() if isinstance(v, Lanes)]
    if not lanes or sum(one.value.size for one in lanes) > MOST:
        return None
    return (*((name, *_part(value)) for name, value in held.items()),)


def _part(value: Any) -> tuple[Any, ...]:
    if isinstance(value, (Lanes, Arithmetic)):  # and further kinds of those
        slots = [n for kind in type(value).__mro__ for n in getattr(kind, "__slots__", ())]
        return type(value), *(_part(getattr(value, name)) for name in slots)
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, *_bits(value)
    if isinstance(value, (list, tuple)):
        return type(value), *map(_part, value)
    return type(value), repr(value)  # -0.0 is not 0.0


def _bits(array: Array) -> tuple[Hashable, ...]:
    """Return the numbers of an array as bytes; in memory, extended ones have some without use."""
    if array.dtype == object:
        return (*array.ravel(),)
    if array.dtype != np.longdouble:
        return (array.tobytes(),)
    with np.errstate(all="ignore"):
        high = array.astype(np.float64)
        return high.tobytes(), (array - high).astype(np.float64).tobytes()
