"""What accesses of a warp cost on a GPU, by source line: bank conflicts and uncoalesced access.

A warp's access of shared memory takes a pass for every word of 4 bytes that it wants of the same
one of 32 banks (of 8 or 16 bytes a thread, half or a quarter of the warp goes at once); one of
other memory moves every sector of 32 bytes that it touches.  Sources: CUDA C++ Programming Guide,
"Shared Memory" of compute capability 5.x and later; CUDA C++ Best Practices Guide, "Coalesced
Access to Global Memory".
"""

import ctypes
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from gradoracle.implementations.hostcuda import report
from gradoracle.implementations.hostcuda.build import INCLUDE

BYTES = ("hostcuda_memcpy", "hostcuda_memset")  # a GPU's go word by word
OWN = frozenset(  # of the headers: loops in place of one instruction
    ("mma.h", "hostcuda_ptx.h", "hostcuda_async.h", "hostcuda_textures.h", "cublas_v2.h")
)
Place: TypeAlias = tuple[str, int, str, str, str]  # file, line, "reads" or "writes", memory, kind


class RawPattern(ctypes.Structure):
    """`Pattern` of patterns.cpp."""

    _fields_ = (
        ("address", ctypes.c_size_t),
        ("times", ctypes.c_uint64),
        ("used", ctypes.c_uint64),
        ("least", ctypes.c_uint64),
        ("worst", ctypes.c_uint),
        ("block", ctypes.c_uint * 3),
        ("thread", ctypes.c_uint * 3),
        ("bytes", ctypes.c_uint),
        ("shared", ctypes.c_int),
        ("write", ctypes.c_int),
        ("argument", ctypes.c_int),
        ("name", ctypes.c_char * 64),
    )


@dataclass
class Cost:
    """What the accesses of one source line used: passes, or sectors."""

    times: int = 0
    used: int = 0
    least: int = 0
    worst: int = 0  # of one access
    block: tuple[int, ...] = ()  # of the first that used more than it needs
    thread: tuple[int, ...] = ()


def by_line(raw: Sequence[RawPattern], library: Path) -> dict[Place, Cost]:
    """Return the lines whose accesses use more passes or sectors than they need."""
    found: dict[Place, Cost] = {}
    of = report.frames(library, [one.address for one in raw])
    for one, frames in zip(raw, of, strict=True):
        if not _is_one_access(frames):
            continue
        cost = found.setdefault((*report.called_from(frames), *_memory(one)), Cost())
        _add(cost, one)
    return {place: cost for place, cost in found.items() if cost.used > cost.least}


def _is_one_access(frames: Sequence[report.Frame]) -> bool:
    """Return whether a GPU does it with one instruction, as far as the headers tell."""
    ours = _names(one.file for one in frames if Path(one.file).is_relative_to(INCLUDE))
    return bool(frames) and not ours & OWN and not any(one.function in BYTES for one in frames)


def _names(files: Iterable[str]) -> set[str]:
    return {Path(file).name for file in files}


def _memory(one: RawPattern) -> tuple[str, str, str]:
    what = "writes" if one.write else "reads"
    if one.shared:
        return what, "shared memory", "bank conflicts"
    name = one.name.decode(errors="replace") or f"argument {one.argument}"
    return what, name, "uncoalesced access"


def _add(cost: Cost, one: RawPattern) -> None:
    if one.used > one.least and not cost.block:
        cost.block, cost.thread = tuple(one.block), tuple(one.thread)
    cost.times += one.times
    cost.used += one.used
    cost.least += one.least
    cost.worst = max(cost.worst, one.worst)


def words(place: Place, cost: Cost) -> str:
    """Return a note's text."""
    _, _, what, memory, kind = place
    did = f"{what} {'to' if what == 'writes' else 'of'} {memory}"
    if kind == "bank conflicts":
        return (
            f"bank conflicts: {cost.times} {did} by a warp take {cost.used} passes, up to "
            f"{cost.worst} for one; without conflicts {cost.least}"
        )
    return (
        f"uncoalesced access: {cost.times} {did} by a warp touch {cost.used} sectors of 32 bytes, "
        f"up to {cost.worst} for one; their bytes fit into {cost.least}"
    )
