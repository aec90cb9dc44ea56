"""Walks of formulas with several results, which are asked for one after the other: each is kept.

So are the gradients of one function: by one check after the other, on the same calls.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any, TypeAlias

import numpy as np

from gradoracle.oracle.declaration import Call, Composed, Formula, algebra, all_names
from gradoracle.oracle.numbers import running_error_arrays
from gradoracle.oracle.numbers.running_error import Arithmetic
from gradoracle.oracle.shapes import Array

LARGEST = 2**20  # numbers of a call whose walk is kept
ROOM = 2**28  # bytes of all that is kept

Walked: TypeAlias = list[tuple[Array, Array]]  # the elements of each result, and their bounds


class _Kept:
    """Walks by formula and call.

    Where room is needed, those of the formula that was asked for longest ago go first.  Of one
    formula alone no walk goes: checks make the same calls in the same order again, and would find
    those that came last only.
    """

    def __init__(self, room: int) -> None:
        self.of: OrderedDict[Formula, dict[Any, Walked]] = OrderedDict()
        self.room = room
        self.last: tuple[Any, Walked] = (None, [])

    def get(self, whole: Formula, key: Any, make: Callable[[], Walked]) -> Walked:
        """Return the walk of a formula on a call, made where it is not kept."""
        own = self.of.setdefault(whole, {})
        self.of.move_to_end(whole)
        if key in own:
            return own[key]
        if self.last[0] != (whole, key):
            self.last = (whole, key), make()
        found = self.last[1]
        size = _bytes_of(found)
        while size > self.room and len(self.of) > 1:
            _, gone = self.of.popitem(last=False)
            self.room += sum(map(_bytes_of, gone.values()))
        if size <= self.room:
            own[key] = found
            self.room -= size
        return found


_kept = _Kept(ROOM)


def walked_once(
    whole: Formula, call: Call, given: Mapping[str, Array], arithmetic: Arithmetic, dtype: Any
) -> Walked:
    """Return the elements of all results and their bounds, those from before where they are kept.

    `given` are the call's numbers as they are evaluated, `dtype` what they are evaluated in.
    """
    kind = algebra(whole)
    assert isinstance(kind, Composed) and kind.lanes  # noqa: S101, PT018 - for the type checker
    lanes = kind.lanes

    def walk() -> Walked:
        return running_error_arrays.lines(lanes, call, given, arithmetic, dtype)

    arrays = {n: v for n in all_names(whole) if isinstance(v := call[n], np.ndarray)}
    how = (arithmetic.unit, arithmetic.tiny, arithmetic.most, arithmetic.one_way, np.dtype(dtype))
    own = ((n, a.dtype, a.shape, blake2b(a.tobytes()).digest()) for n, a in arrays.items())
    options = ((n, call[n]) for n in all_names(whole) if n not in arrays)
    return _kept.get(whole, (*how, *own, *options), walk)


def numbers_of(call: Call) -> int:
    """Return how many numbers the arrays of a call have together."""
    return sum(value.size for value in call.values() if isinstance(value, np.ndarray))


def _bytes_of(walked: Walked) -> int:
    return sum(value.nbytes + error.nbytes for value, error in walked)
