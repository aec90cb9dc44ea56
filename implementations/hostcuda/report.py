"""What check mode finds, and the error that carries it."""

import ctypes
import linecache
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeAlias

from gradoracle.implementations.hostcuda.build import INCLUDE

Lines: TypeAlias = Mapping[tuple[str, int], str]  # the text of each file's name and line

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
    source: str = ""  # the text of that line

    def __str__(self) -> str:
        """Return it as one line, which ends in the text of the source line."""
        where = f"{self.file}:{self.line}: " if self.line else ""
        who = f" [block {_triple(self.block)}, thread {_triple(self.thread)}]" if self.block else ""
        return f"{where}{self.kind}: {self.text}{who}{_quoted(self.source)}"


class KernelFault(RuntimeError):
    """A kernel does what no kernel may; `findings` says what, where and who."""

    def __init__(self, kernel: str, findings: Sequence[Finding]) -> None:
        """Make the message of the first finding, and notes of the others."""
        self.kernel, self.findings = kernel, tuple(findings)
        first, *others = map(str, self.findings)
        super().__init__(f"{kernel}: {first}" + (f", and {len(others)} more" if others else ""))
        for other in others:
            self.add_note(other)


def read(raw: Sequence[RawFinding], library: Path, lines: Lines) -> list[Finding]:
    """Return what the runtime reported, with the source lines that `library` keeps."""
    found = []
    for one in raw:
        file, line = one.file.decode(errors="replace"), one.line
        if not line:
            file, line = source_of(library, one.address)
        source = text_of(file, line, lines)
        other = _other(library, one.other, lines, source)
        text = one.text.decode(errors="replace").replace("\x01", other)
        who = (tuple(one.block), tuple(one.thread)) if one.block[0] != NOBODY else ((), ())
        found.append(Finding(KINDS[one.kind], text, Path(file).name, line, *who, source))
    return found


def text_of(file: str, line: int, lines: Lines) -> str:
    """Return the text of a source line: of the kernel's file, or of a header that is there."""
    known = lines.get((Path(file).name, line))
    if known is None and line and Path(file).is_file():
        known = linecache.getline(file, line)
    return (known or "").strip()


def _quoted(source: str) -> str:
    return f": `{source}`" if source else ""


def _other(library: Path, address: int, lines: Lines, source: str) -> str:
    """Return in words which line the earlier access of a race is in; "" where nobody can tell.

    Its text follows, unless it is that of the later access, `source`.
    """
    file, line = source_of(library, address) if address else ("", 0)
    if not line:
        return ""
    text = text_of(file, line, lines)
    return (
        f"; the earlier access: {Path(file).name}:{line}{_quoted(text if text != source else '')}"
    )


def source_of(library: Path, address: int) -> tuple[str, int]:
    """Return the file and line of the code at `address`; ("", 0) where it is not known.

    Of code that a function of hostcuda's headers was inlined from, the line that calls it.
    """
    return called_from(frames(library, [address])[0])


class Frame(NamedTuple):
    """One function that an instruction is of, or was inlined into."""

    function: str
    file: str
    line: int


def called_from(found: Sequence[Frame]) -> tuple[str, int]:
    """Return the innermost file and line that is not hostcuda's own; ("", 0) of no frame."""
    theirs = [one for one in found if not Path(one.file).is_relative_to(INCLUDE)]
    return next(((one.file, one.line) for one in (*theirs, *found)), ("", 0))


def frames(library: Path, addresses: Sequence[int]) -> list[list[Frame]]:
    """Return the functions that the code at each address is of, the innermost first."""
    command = ["addr2line", "-a", "-f", "-i", "-e", str(library), *map(hex, addresses)]
    try:
        output = subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603
    except OSError:
        output = ""
    each = re.split(r"^(?=0x)", output, flags=re.MULTILINE)[1:]
    found = [_frames(one.splitlines()[1:]) for one in each]
    return found if len(found) == len(addresses) else [[] for _ in addresses]


def _frames(lines: Sequence[str]) -> list[Frame]:
    """Return what addr2line says of one address: a function's name, and its file and line."""
    pairs = zip(lines[::2], (at.split(" ")[0].rpartition(":") for at in lines[1::2]), strict=False)
    return [Frame(name, file, int(line)) for name, (file, _, line) in pairs if line.isdigit()]


def _triple(index: Sequence[int]) -> str:
    return ",".join(map(str, index))
