r"""Notes: what a launch does that is no fault, but explains a wrong result.

    with hostcuda.noting() as notes:
        kernel((1,), (32,), (x, y, n))
    print(*notes, sep="\\n")

Noted are the line, thread and operands where NaN or infinity arises, shuffles that read from absent
lanes, and arrays that a launch writes to in part; with `noting(accesses=True)`, also the lines
whose accesses are slow on a GPU: see `patterns`.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gradoracle.implementations.hostcuda import patterns, report
from gradoracle.implementations.hostcuda.settings import Settings, using

KINDS = ("absent lane", "unwritten elements", "arises")
ACCESSES = ("bank conflicts", "uncoalesced access")
WHOLE_LAUNCH = ("unwritten elements",)  # of no line and no thread


@dataclass(frozen=True)
class Note:
    """One thing that a launch did, where, and which thread did it first."""

    kind: str  # one of KINDS or ACCESSES
    text: str
    file: str = ""
    line: int = 0
    source: str = ""
    block: tuple[int, ...] = ()
    thread: tuple[int, ...] = ()

    def __str__(self) -> str:
        """Return it as one line, and the source line where there is one."""
        where = f"{self.file}:{self.line}: " if self.line else ""
        who = ""
        if self.block:
            block, thread = (",".join(map(str, one)) for one in (self.block, self.thread))
            who = f" [block {block}, thread {thread}]"
        source = f"\n    {self.source}" if self.source else ""
        return f"{where}{self.text}{who}{source}"


_open: list[list[Note]] = []
_accesses: list[bool] = []  # whether the accesses are noted, too


@contextmanager
def noting(*, accesses: bool = False) -> Iterator[list[Note]]:
    """Run launches within the block in mode `check`, in one order, and collect their notes.

    With `accesses`, also the bank conflicts and the uncoalesced accesses of every source line.
    """
    notes: list[Note] = []
    _open.append(notes)
    _accesses.append(accesses)
    try:
        with using(Settings("check")):
            yield notes
    finally:
        _open.pop()
        _accesses.pop()


def wanted() -> bool:
    """Return whether somebody collects notes."""
    return bool(_open)


def start(runtime: ctypes.CDLL) -> None:
    """Have the next launch noted."""
    runtime.hostcuda_note(1)
    runtime.hostcuda_count(_accesses[-1])


def collect(runtime: ctypes.CDLL, library: Path, lines: report.Lines) -> None:
    """Hand what the last launch noted to the caller of `noting`, with the text of each line."""
    runtime.hostcuda_note(0)
    runtime.hostcuda_count(0)
    for note in (*_noted(runtime, library, lines), *_slow(runtime, library, lines)):
        if note not in _open[-1]:
            _open[-1].append(note)


def _noted(runtime: ctypes.CDLL, library: Path, lines: report.Lines) -> Iterator[Note]:
    count = ctypes.c_uint()
    raw = runtime.hostcuda_notes(ctypes.byref(count))
    for one in raw[: count.value]:
        kind = KINDS[one.kind]
        file, line = one.file.decode(errors="replace"), one.line
        if not line and kind not in WHOLE_LAUNCH:
            file, line = report.source_of(library, one.address)
        who = () if kind in WHOLE_LAUNCH else (tuple(one.block), tuple(one.thread))
        text = one.text.decode(errors="replace")
        source = report.text_of(file, line, lines)
        yield Note(kind, text, Path(file).name, line, source, *who)


def _slow(runtime: ctypes.CDLL, library: Path, lines: report.Lines) -> Iterator[Note]:
    """Yield the notes of the lines whose accesses use more than they need."""
    if not _accesses[-1]:
        return
    count = ctypes.c_uint()
    raw = runtime.hostcuda_patterns(ctypes.byref(count))
    for place, cost in patterns.by_line(raw[: count.value], library).items():
        file, line, *_, kind = place
        source, who = report.text_of(file, line, lines), (cost.block, cost.thread)
        yield Note(kind, patterns.words(place, cost), Path(file).name, line, source, *who)
