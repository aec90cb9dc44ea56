"""Copies of a call's arrays between margins, and where they were laid at a guard, at one."""

import ctypes
import mmap

import numpy as np

from gradoracle.implementations.shapes import Array

MARGIN = 4096  # bytes before and behind each array
FILLED = 0xFFFFFFFF  # less the argument's place: a NaN in every format, and below 0
PAGE = mmap.PAGESIZE


class Held:
    """A copy of an array between margins, which nobody may write to.

    An array that was laid with a page of memory right before or behind it has pages there that
    cannot be accessed.
    """

    def __init__(self, array: Array, place: int, text: str) -> None:
        """Copy an array, the argument at a place whose declaration is a text."""
        self.array, self.place, self.text = array, place, text
        begins, ends = _laid_at(array)
        if (begins or ends) and _has_guards():
            self._room, self._start = _guarded(array.nbytes, ends=ends)
        else:
            self._room = np.empty(array.nbytes + 2 * MARGIN, np.uint8)
            self._start = MARGIN
        self._end = self._start + array.nbytes
        self._before = slice(max(0, self._start - MARGIN), self._start)
        self._behind = slice(self._end, self._end + MARGIN)
        for margin in (self._before, self._behind):
            self._room[margin] = self._filled(margin)
        self._copy = self._room[self._start : self._end]
        self._copy[...] = np.frombuffer(array.tobytes(), np.uint8)
        self.address = self._room.ctypes.data + self._start

    def _filled(self, margin: slice) -> Array:
        """Return what is in a margin: unlike in others, or copies among them would not show."""
        room = self._room[margin]
        word = np.array([FILLED - self.place], np.uint32).view(np.uint8)
        return word[np.arange(margin.start, margin.start + room.size) % word.size]

    def given_back(self) -> str:
        """Let the array have what the copy holds; return where else was written, if anywhere."""
        if (self._room[self._before] != self._filled(self._before)).any():
            return "a write before"
        written = np.flatnonzero(self._room[self._behind] != self._filled(self._behind))
        if written.size:
            return f"a write {written[0]} bytes past the end of"
        if self.array.flags.writeable:
            self.array[...] = self._copy.view(self.array.dtype).reshape(self.array.shape)
        elif self._copy.tobytes() != self.array.tobytes():
            return "a write to the read-only"
        return ""


def _laid_at(array: Array) -> tuple[bool, bool]:
    """Return whether an array begins behind the first page of its memory, or ends at the last one.

    So arrays lie that are laid at a guard; any other may lie so by chance, which does no harm.
    """
    whole = array
    while isinstance(whole.base, np.ndarray):
        whole = whole.base
    before = array.ctypes.data - whole.ctypes.data
    behind = whole.nbytes - before - array.nbytes
    return (before == PAGE and array.nbytes > 0), (behind == PAGE and array.nbytes > 0)


def _has_guards() -> bool:
    return hasattr(mmap, "PROT_READ")  # not on Windows


def _guarded(size: int, *, ends: bool) -> tuple[Array, int]:
    """Return memory between two pages that cannot be accessed, and where an array is to begin."""
    length = -(-size // PAGE) * PAGE
    pages = np.frombuffer(mmap.mmap(-1, length + 2 * PAGE), np.uint8)
    protect = ctypes.CDLL(None).mprotect
    for guard in (0, PAGE + length):
        protect(ctypes.c_void_p(pages.ctypes.data + guard), ctypes.c_size_t(PAGE), 0)
    return pages[PAGE : PAGE + length], length - size if ends else 0
