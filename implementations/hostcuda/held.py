"""Copies of a launch's arrays in mode `check`: a stray access finds nothing that is another's."""

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradoracle.implementations.hostcuda.report import Finding

GUARD = 1 << 20  # bytes around each copy


def _extent(array: Any) -> tuple[int, int]:
    """Return where an array's elements lie: the first address and that after the last."""
    if not array.size:
        return array.ctypes.data, array.ctypes.data
    steps = [(n - 1) * step for n, step in zip(array.shape, array.strides, strict=True)]
    start = array.ctypes.data + sum(step for step in steps if step < 0)
    return start, array.ctypes.data + sum(s for s in steps if s > 0) + array.itemsize


class Held:
    """Copies of a launch's arrays, far apart: what leaves one does not land in another.

    Arrays that share memory stay together.
    """

    def __init__(self, arrays: Sequence[tuple[int, Any]]) -> None:
        """Copy them, each with as much room around it as a stray access is likely to go."""
        self._arrays = arrays
        self._first: tuple[str, list[bytes]] | None = None  # an order, and what it left
        self._pieces: list[
            tuple[int, int, Any, int]
        ] = []  # start, end, the copy, the address in it
        self.pointers: dict[int, int] = {}
        self.regions: list[tuple[int, int, int]] = []
        spans: list[list[int]] = []
        for start, end in sorted(_extent(a) for _, a in arrays):
            if spans and start < spans[-1][1]:
                spans[-1][1] = max(end, spans[-1][1])
            else:
                spans.append([start, end])
        for start, end in spans:
            room = np.empty(end - start + 2 * GUARD + 256, np.uint8)
            here = room.ctypes.data + GUARD
            self._pieces.append((start, end, room, here + (start - here) % 256))
        self._before = [ctypes.string_at(start, end - start) for start, end in spans]
        for i, array in arrays:
            start, end = _extent(array)
            for low, high, _, here in self._pieces:
                if low <= start and end <= high:
                    self.pointers[i] = array.ctypes.data - low + here
                    self.regions.append((start - low + here, end - start, i))
                    break

    def fill(self) -> None:
        """Give the copies what the arrays held before the launch."""
        for (start, end, _, here), was in zip(self._pieces, self._before, strict=True):
            ctypes.memmove(here, was, end - start)

    def contents(self) -> list[bytes]:
        """Return what each array's copy holds now."""
        return [ctypes.string_at(start, count) for start, count, _ in self.regions]

    def give_back(self) -> None:
        """Let the arrays have what their copies hold."""
        for start, end, _, here in self._pieces:
            if any(a.flags.writeable and start <= _extent(a)[0] < end for _, a in self._arrays):
                ctypes.memmove(start, here, end - start)

    def written_but_read_only(self) -> list[Finding]:
        """Return a finding for the first array that cannot be written, and was."""
        for (_, array), (start, count, i) in zip(self._arrays, self.regions, strict=True):
            low, high = _extent(array)
            shared = any(
                a.flags.writeable and _extent(a)[0] < high and low < _extent(a)[1]
                for _, a in self._arrays
            )
            if array.flags.writeable or shared:
                continue
            if ctypes.string_at(start, count) != ctypes.string_at(low, count):
                return [Finding("launch", f"argument {i} is a read-only array, and it was written")]
        return []

    def found(self, order: str, *, exact: bool = True) -> list[Finding]:
        """Return a finding for the first array that this order leaves otherwise than the first.

        If it is not `exact`, floating-point numbers may differ: their sums were made in this order.
        """
        if told := self.written_but_read_only():
            return told
        now = self.contents()
        if self._first is None:
            self._first = order, now
            return []
        first, before = self._first
        for (_, array), (_, _, i), was, one in zip(
            self._arrays, self.regions, before, now, strict=True
        ):
            if one != was and (exact or array.dtype.kind not in "fV"):
                both = np.frombuffer(one, np.uint8) != np.frombuffer(was, np.uint8)
                byte = int(np.flatnonzero(both)[0])
                return [Finding(
                    "order",
                    f"argument {i} differs from element {byte // array.itemsize} on when threads "
                    f"run in {order} order, not in {first} order",
                )]  # fmt: skip
        return []
