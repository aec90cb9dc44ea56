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
DTYPE = re.compile(r"[<>|=][biufcSUVmMO]\d{0,9}(\[\w{1,4}\])?")

BFLOAT16 = "bfloat16"  # named so: what NumPy calls it, two bytes of void, is nothing that sums

NO_DTYPE = "no dtype that arrays have"

LENGTH = struct.Struct("<I")

_frombuffer, _empty = np.frombuffer, np.empty  # see `conformance.candidate`


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
        if size and not array.dtype.hasobject:
            self.top = start + -(-size // ALIGNED) * ALIGNED
            if self.top > self.size:
                self.view(self.top)
            laid = array if array.flags.c_contiguous else array.copy(order="C")
            if array.dtype.kind == "V" and array.dtype.itemsize == 2:
                laid = laid.view(np.uint16)  # bfloat16 has no buffer
            self.map[start : start + size] = laid.data if laid.ndim else laid.tobytes()
        return [_name(array.dtype), array.shape, start]

    def read(self, places: Any, most: int) -> list[Array]:
        """Return the arrays that were laid there, of at most `most` elements each: views of it.

        Raises:
            Garbled: there cannot be such arrays there.
        """
        if not isinstance(places, list):
            raise Garbled("a list of arrays was to come")
        return [self.array(place, most) for place in places]

    def array(self, place: Any, most: int) -> Array:
        """Return the array of one place; raises as `read` does."""
        if not (isinstance(place, list) and len(place) == 3):
            raise Garbled("an array was to come")
        name, shape, start = place
        if not (isinstance(shape, list) and len(shape) <= 64 and all(map(_is_size, shape))):
            raise Garbled("no shape that arrays have")
        if not isinstance(name, str):
            raise Garbled(NO_DTYPE)
        dtype, count = _dtype(name), math.prod(shape)
        if count > most or not _is_size(start):
            raise Garbled("no place that arrays have")
        if dtype.hasobject or not count or not dtype.itemsize:
            try:
                return _empty(shape, dtype)
            except ValueError as error:
                raise Garbled("no shape that arrays have") from error
        if start + count * dtype.itemsize > self.size:
            try:
                self.view(start + count * dtype.itemsize)
            except (OSError, ValueError) as error:
                raise Garbled("no place that arrays have") from error
        return _frombuffer(self.map, dtype, count, start).reshape(shape)

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
        except (ValueError, TypeError, msgpack.UnpackException) as error:
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


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**40


def _name(dtype: np.dtype[Any]) -> str:
    """Return what `_dtype` knows a dtype by."""
    return BFLOAT16 if dtype.kind == "V" and dtype.name == BFLOAT16 else dtype.str


@lru_cache(maxsize=64)
def _dtype(name: str) -> np.dtype[Any]:
    """Return the dtype of that name; it comes from a worker."""
    if name == BFLOAT16:
        with suppress(ImportError):
            dtype: np.dtype[Any] = np.dtype(import_module("ml_dtypes").bfloat16)
            return dtype
    if DTYPE.fullmatch(name):
        with suppress(TypeError, ValueError):
            return np.dtype(name)
    raise Garbled(NO_DTYPE)
