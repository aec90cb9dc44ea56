"""What check mode finds, and the error that carries it."""

import ctypes
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gradoracle.implementations.hostcuda.build import INCLUDE

KINDS = (
    "out of bounds",
    "data race",
    "uninitialised shared memory",
    "divergent barrier",
    "misaligned access",
    "integer overflow",
    "undefined behaviour",
    "deadlock",
    "launch",
    "absent lane",
    "failed assertion",
    "not modelled",
    "unfinished copy",
)

NOBODY = 2**32 - 1  # the block of a fault of the host's code


class RawFinding(ctypes.Structure):
    """`Finding` of runtime.h."""

    _fields_ = (
        ("kind", ctypes.c_int),
        ("line", ctypes.c_int),
        ("block", ctypes.c_uint * 3),
        ("thread", ctypes.c_uint * 3),
        ("address", ctypes.c_size_t),
        ("other", ctypes.c_size_t),
        ("file", ctypes.c_char * 64),
        ("text", ctypes.c_char * 200),
    )


@dataclass(frozen=True)
class Finding:
    """One thing that a kernel does wrong, and the block and thread that did it first."""

    kind: str  # one of KINDS, or "order"
    text: str
    file: str = ""
    line: int = 0
    block: tuple[int, ...] = ()
    thread: tuple[int, ...] = ()

    def __str__(self) -> str:
        """Return it as one line."""
        where = f"{self.file}:{self.line}: " if self.line else ""
        who = f" [block {_triple(self.block)}, thread {_triple(self.thread)}]" if self.block else ""
        return f"{where}{self.kind}: {self.text}{who}"


class KernelFault(RuntimeError):
    """A kernel does what no kernel may; `findings` says what, where and who."""

    def __init__(self, kernel: str, findings: Sequence[Finding]) -> None:
        """Make the message of the first finding, and notes of the others."""
        self.kernel, self.findings = kernel, tuple(findings)
        first, *others = map(str, self.findings)
        super().__init__(f"{kernel}: {first}" + (f", and {len(others)} more" if others else ""))
        for other in others:
            self.add_note(other)


def read(raw: Sequence[RawFinding], library: Path) -> list[Finding]:
    """Return what the runtime reported, with the source lines that `library` keeps."""
    found = []
    for one in raw:
        file, line = one.file.decode(errors="replace"), one.line
        if not line:
            file, line = source_of(library, one.address)
        text = one.text.decode(errors="replace").replace("\x01", _other(library, one.other))
        who = (tuple(one.block), tuple(one.thread)) if one.block[0] != NOBODY else ()
        found.append(Finding(KINDS[one.kind], text, Path(file).name, line, *who))
    return found


def _other(library: Path, address: int) -> str:
    """Return in words which line the earlier access of a race is in; "" where nobody can tell."""
    file, line = source_of(library, address) if address else ("", 0)
    return f"; the earlier access: {Path(file).name}:{line}" if line else ""


def source_of(library: Path, address: int) -> tuple[str, int]:
    """Return the file and line of the code at `address`; ("", 0) where it is not known.

    Of code that a function of hostcuda's headers was inlined from, the line that calls it.
    """
    try:
        told = subprocess.run(  # noqa: S603
            ["addr2line", "-i", "-e", str(library), hex(address)],  # noqa: S607 - comes with g++
            capture_output=True, text=True, check=False,
        ).stdout  # fmt: skip
    except OSError:
        return "", 0
    found = [line.split(" ")[0].rpartition(":") for line in told.splitlines()]
    known = [(file, int(line)) for file, _, line in found if line.isdigit()]
    theirs = [place for place in known if not Path(place[0]).is_relative_to(INCLUDE)]
    return (theirs or known or [("", 0)])[0]


def _triple(index: Sequence[int]) -> str:
    return ",".join(map(str, index))
