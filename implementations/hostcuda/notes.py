r"""Notes: what a launch does that is no fault, but explains a wrong result.

    with hostcuda.noting() as notes:
        kernel((1,), (32,), (x, y, n))
    print(*notes, sep="\\n")

Noted are the line, thread and operands where NaN or infinity arises, shuffles that read from absent
lanes, and arrays that a launch writes to in part.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gradoracle.implementations.hostcuda import report
from gradoracle.implementations.hostcuda.settings import Settings, using

KINDS = ("absent lane", "unwritten elements", "arises")
WHOLE_LAUNCH = ("unwritten elements",)  # of no line and no thread


@dataclass(frozen=True)
class Note:
    """One thing that a launch did, where, and which thread did it first."""

    kind: str  # one of KINDS
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


@contextmanager
def noting() -> Iterator[list[Note]]:
    """Run launches within the block in mode `check`, in one order, and collect their notes."""
    notes: list[Note] = []
    _open.append(notes)
    try:
        with using(Settings("check")):
            yield notes
    finally:
        _open.remove(notes)


def wanted() -> bool:
    """Return whether somebody collects notes."""
    return bool(_open)


def collect(runtime: ctypes.CDLL, library: Path, lines: dict[tuple[str, int], str]) -> None:
    """Hand what the last launch noted to the caller of `noting`, with the text of each line."""
    count = ctypes.c_uint()
    raw = runtime.hostcuda_notes(ctypes.byref(count))
    for one in raw[: count.value]:
        kind = KINDS[one.kind]
        file, line = one.file.decode(errors="replace"), one.line
        if not line and kind not in WHOLE_LAUNCH:
            file, line = report.source_of(library, one.address)
        name = Path(file).name
        who = () if kind in WHOLE_LAUNCH else (tuple(one.block), tuple(one.thread))
        text = one.text.decode(errors="replace")
        note = Note(kind, text, name, line, lines.get((name, line), "").strip(), *who)
        if note not in _open[-1]:
            _open[-1].append(note)
