"""One thread for BLAS, OpenMP and PyTorch while something is checked.

On products this small more threads only wait for each other, and two processes with two threads
each on two cores are several times slower than two with one.
"""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import threadpoolctl


class _Loaded(ctypes.Structure):
    """What `dl_iterate_phdr` says of a library, up to how many have been loaded (man 3)."""

    _fields_ = (
        ("address", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("headers", ctypes.c_void_p),
        ("count", ctypes.c_uint16),
        ("loaded", ctypes.c_ulonglong),
        ("unloaded", ctypes.c_ulonglong),
    )


_EACH = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_Loaded), ctypes.c_size_t, ctypes.c_void_p)
_last: list[tuple[object, threadpoolctl.ThreadpoolController]] = []


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit every library that is loaded to one thread."""
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch is not None else 0
    with _controller().limit(limits=1):
        if torch is not None:
            torch.set_num_threads(1)
        try:
            yield
        finally:
            if torch is not None:
                torch.set_num_threads(before)


def _controller() -> threadpoolctl.ThreadpoolController:
    """Return what limits the libraries, which are looked for again once others are loaded."""
    now = _loads()
    if not _last or _last[0][0] != now:
        _last[:] = [(now, threadpoolctl.ThreadpoolController())]
    return _last[0][1]


def _loads() -> object:
    """Return how many libraries were loaded and unloaded; where that is not known, a new object."""
    found: list[tuple[int, int]] = []

    def first(info: "ctypes._Pointer[_Loaded]", size: int, _data: object) -> int:
        if size >= ctypes.sizeof(_Loaded):
            found.append((info.contents.loaded, info.contents.unloaded))
        return 1  # the counts are the same of all

    try:
        ctypes.CDLL(None).dl_iterate_phdr(_EACH(first), None)
    except (AttributeError, OSError, TypeError):  # neither Linux nor BSD
        return object()
    return found[0] if found else object()
