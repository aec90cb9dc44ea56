"""Messages between the suite and a worker, packed by msgpack; arrays lie in shared memory.

Both sides use it.  What comes from a worker is untrusted: only plain numbers, names and sizes are
read from it, and everything is checked before it is used.
"""

from __future__ import annotations

import math
import mmap
import os
import re
import socket
import struct
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from importlib import import_module
from typing import Any, TypeAlias

import msgpack
import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]

ALIGNED = 64
LONGEST = 1 << 20  # bytes of a message; ours have a few hundred
PAGE = 1 << 16
DTYPE = re.compile(r"[<>|=][biufc]\d{1,2}")  # of numbers; nothing else is sent

BFLOAT16 = "bfloat16"  # named so: what NumPy calls it, two bytes of void, is nothing that sums

LENGTH = struct.Struct("<I")

_frombuffer, _empty = np.frombuffer, np.empty  # see `conformance.backends.caller`


class Garbled(Exception):
    """What came is not a message."""


class Segment:
    """Memory that two processes share: a file without a name, mapped by both."""

    def __init__(self, descriptor: int) -> None:
        """Map what there is of the file."""
        self.descriptor = descriptor
        self.size = os.fstat(descriptor).st_size
        self.map = mmap.mmap(descriptor, self.size)
        self.top = 0  # where the next array is laid

    def view(self, size: int) -> None:
        """Map at least `size` bytes, making the file longer if need be.

        Raises:
            OSError, ValueError: there is no room for that much.
        """
        if size <= self.size:
            return
        there = os.fstat(self.descriptor).st_size
        if there < size:
            os.ftruncate(self.descriptor, -(-size // PAGE) * PAGE)
            there = os.fstat(self.descriptor).st_size
        self.map, self.size = mmap.mmap(self.descriptor, there), there

    def lay(self, array: Array) -> list[Any]:
        """Lay an array at `top` and return its place there: [dtype, shape, offset].

        Raises:
            OSError, ValueError: there is no room for it.
        """
        start, size = self.top, array.nbytes
        if size:
            self.top = start + -(-size // ALIGNED) * ALIGNED
            if self.top > self.size:
                self.view(self.top)
            laid = array if array.flags.c_contiguous else array.copy(order="C")
            if array.dtype.kind == "V" and array.dtype.itemsize == 2:
                laid = laid.view(np.uint16)  # bfloat16 has no buffer
            self.map[start : start + size] = laid.data if laid.ndim else laid.tobytes()
        return [_name(array.dtype), array.shape, start]

    def read(self, places: Any, count: int, most: int) -> list[Array]:
        """Return the `count` arrays that were laid there, of `most` bytes together: views of it.

        Nothing is allocated for them, and the file stays as long as it is.

        Raises:
            Garbled: there cannot be such arrays there.
        """
        if not isinstance(places, list) or len(places) != count:
            raise Garbled(f"not as many arrays as were asked for, which is {count}")
        found = []
        for place in places:
            found.append(self.array(place, most))
            most -= found[-1].nbytes
        return found

    def array(self, place: Any, most: int) -> Array:
        """Return the array of one place, of `most` bytes at most; raises as `read` does."""
        if not (isinstance(place, list) and len(place) == 3):
            raise Garbled("no place of an array")
        name, shape, start = place
        if not (isinstance(shape, list) and len(shape) <= 64 and all(map(_is_size, shape))):
            raise Garbled("no shape that arrays have")
        dtype, count = _dtype(name), math.prod(shape)
        size = count * dtype.itemsize
        if size > most:
            raise Garbled(f"an array of {size} bytes")
        if not _is_size(start):
            raise Garbled("no place that arrays have")
        try:
            if not count:
                return _empty(shape, dtype)
            self._reach(start + size)
            return _frombuffer(self.map, dtype, count, start).reshape(shape)
        except (OSError, ValueError) as error:
            raise Garbled("no place that arrays have") from error

    def _reach(self, end: int) -> None:
        """Map what the other process made longer, up to `end` at least; it is not made longer."""
        if end <= self.size:
            return
        there = os.fstat(self.descriptor).st_size
        if there < end:
            raise ValueError("the shared memory ends before")
        there = min(there, max(end, 2 * self.size))
        self.map, self.size = mmap.mmap(self.descriptor, there), there

    def close(self) -> None:
        """Unmap the memory and let go of the file."""
        with suppress(BufferError):  # an array that somebody still holds; it goes with that
            self.map.close()
        os.close(self.descriptor)


class Line:
    """One end of a socket on which messages follow each other, each after its length."""

    def __init__(self, end: socket.socket) -> None:
        """Take over a connected socket."""
        self.end = end
        self._read = b""
        # Once for all messages: where fresh memory is filled, a new buffer costs more than they do.
        self._buffer, self._pack = memoryview(bytearray(PAGE)), msgpack.Packer().pack

    def send(self, message: Any) -> None:
        """Send a message.

        Raises:
            OSError: nobody is there any more.
        """
        self.end.sendall(framed(self._pack(message)))

    def receive(self) -> Any:
        """Wait for a message and return it.

        Raises:
            EOFError: the other end is closed.
            TimeoutError: the socket has a time limit, and nothing came within it.
            Garbled: what came is no message.
        """
        while True:
            message = self.pending()
            if message is not None:
                return message
            self.fill()

    def fill(self) -> None:
        """Read what has come, waiting for the first byte of it; raises as `receive` does."""
        try:
            count = self.end.recv_into(self._buffer)
        except ConnectionError as error:
            raise EOFError from error
        if not count:
            raise EOFError
        self.take(self._buffer[:count].tobytes())

    def take(self, came: bytes) -> None:
        """Add what was read from the socket."""
        self._read = self._read + came if self._read else came

    def pending(self) -> Any:
        """Return the first message that was read and not returned yet, or None.

        Raises:
            Garbled: what came is no message.
        """
        if len(self._read) < LENGTH.size:
            return None
        end = LENGTH.size + LENGTH.unpack_from(self._read)[0]
        if end > LONGEST:
            raise Garbled("a message longer than any")
        if len(self._read) < end:
            return None
        content, self._read = self._read[LENGTH.size : end], self._read[end:]
        try:
            message = msgpack.unpackb(content)
        except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
            raise Garbled("what cannot be read") from error
        if not isinstance(message, dict):
            raise Garbled("what is no message")
        return message


def framed(content: bytes) -> bytes:
    """Return what was packed as it is sent."""
    return LENGTH.pack(len(content)) + content


def tupled(value: Any) -> Any:
    """Return an argument in which every list is the tuple that it was."""
    return tuple(map(tupled, value)) if isinstance(value, list) else value


def is_plain(value: Any, depth: int = 32) -> bool:
    """Return whether a value is one that JSON has, nested at most so deep."""
    if isinstance(value, dict):
        return depth > 0 and all(
            isinstance(key, str) and is_plain(one, depth - 1) for key, one in value.items()
        )
    if isinstance(value, list):
        return depth > 0 and all(is_plain(one, depth - 1) for one in value)
    return value is None or isinstance(value, (bool, int, float, str))


def names(value: Any, most: int) -> list[str]:
    """Return a list of at most so many names.

    Raises:
        Garbled: it is something else.
    """
    if not (isinstance(value, list) and len(value) <= most):
        raise Garbled("no list of names")
    if not all(isinstance(name, str) for name in value):
        raise Garbled("no list of names")
    return value


def takes_of(value: Any, functions: Sequence[str]) -> dict[str, tuple[tuple[str, ...], int]]:
    """Return what functions take: names, and how many arguments by position.

    Raises:
        Garbled: it is something else.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Garbled("no signatures")
    found = {}
    for name in functions:
        told = value.get(name)
        if told is None:
            continue
        if not (isinstance(told, list | tuple) and len(told) == 2 and _is_size(told[1])):
            raise Garbled("no signature")
        found[name] = (tuple(names([*told[0]], 64)), told[1])
    return found


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**40


def _name(dtype: np.dtype[Any]) -> str:
    """Return what `_dtype` knows a dtype by."""
    return BFLOAT16 if dtype.kind == "V" and dtype.name == BFLOAT16 else dtype.str


@lru_cache(maxsize=64)
def _known(name: str) -> np.dtype[Any] | None:
    if name == BFLOAT16:
        with suppress(ImportError):
            dtype: np.dtype[Any] = np.dtype(import_module("ml_dtypes").bfloat16)
            return dtype
    if DTYPE.fullmatch(name):
        with suppress(TypeError, ValueError):
            return np.dtype(name)
    return None


def _dtype(name: Any) -> np.dtype[Any]:
    """Return the dtype of that name; it comes from a worker."""
    dtype = _known(name) if isinstance(name, str) and len(name) <= len(BFLOAT16) else None
    if dtype is None:
        raise Garbled(f"no dtype of numbers: {str(name)[:20]!r}")
    return dtype
