"""Shared libraries: compiled from a file of C or C++, or as they are, with the text of a header."""

import ctypes
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gradoracle.implementations.cuda_source.comments import Launch
from gradoracle.implementations.cuda_source.expressions import SourceError
from gradoracle.implementations.cuda_source.includes import whole
from gradoracle.implementations.cuda_source.signatures import plain

C, CPP = ("c", "CC", "cc", "CFLAGS"), ("c++", "CXX", "c++", "CXXFLAGS")
COMPILED = {".c": C, **dict.fromkeys((".cc", ".cpp", ".cxx", ".h", ".hh", ".hpp"), CPP)}
SILENT = ("-fPIC", "-w")
FLAGS = ("-O2", *SILENT)
ERROR = re.compile(r"^.*\berror: .*$", re.MULTILINE)


class NoCompiler(ImportError):
    """There is no compiler of C or C++."""


class CompileError(ValueError):
    """The compiler refuses the file; the message is its own."""


@dataclass(frozen=True)
class Library:
    """Functions by name: their addresses, and a plain text that declares them."""

    text: str
    address: Callable[[str], int]
    runs_on: str  # in words


def opened(file: Path, launches: Mapping[str, Launch], header: Path) -> Library:
    """Return a library that is there, declared in a header.

    Raises:
        OSError: it cannot be loaded.
        SourceError: it lacks one of the functions.
    """
    library = ctypes.CDLL(str(file))

    def address(name: str) -> int:
        return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0

    for name, launch in launches.items():
        if not hasattr(library, name):
            raise SourceError(
                f'{launch.where}: {file.name} exports no {name!r}; functions of C++ need extern "C"'
            )
    return Library(plain(whole(header)), address, f"the CPU: {file.name}")


def compiled(file: Path, launches: Mapping[str, Launch]) -> Library:
    """Compile a file of C or C++ and return its functions.

    Raises:
        NoCompiler: there is no compiler.
        CompileError: it refuses the file.
    """
    names = [*launches]
    command = _compiler(file)
    text = _with_exports(file, launches)
    with tempfile.TemporaryDirectory(prefix="gradoracle") as folder:
        there = Path(folder, "library.so")
        _run([*command, "-shared", "-o", str(there), "-", "-lm"], file, text)
        library = ctypes.CDLL(str(there))

    def address(name: str) -> int:
        return ctypes.c_void_p.in_dll(library, _exported(names.index(name))).value or 0

    declared = plain(_run([*command, "-E", "-"], file, text))
    version = _run([command[0], "--version"], file).split("\n")[0]
    flags = " ".join(flag for flag in command[3:-1] if flag not in SILENT)
    return Library(declared, address, f"the CPU: {version}, {flags}")


def _exported(number: int) -> str:
    return f"gradoracle_function_{number}"


def _with_exports(file: Path, launches: Mapping[str, Launch]) -> str:
    """Return a text that includes the file and exports its functions, also static ones.

    A function that is not there is an error in the line of the comment that calls it.
    """
    lines = [f'#include "{file.name}"']
    opening, closing = ("", "") if COMPILED[file.suffix] is C else ('extern "C" { ', " }")
    for number, (name, launch) in enumerate(launches.items()):
        where, _, line = launch.where.rpartition(":")
        lines += [
            f'#line {line} "{where}"',
            f"{opening}void *{_exported(number)} = (void *)(&{name});{closing}",
        ]
    return "\n".join([*lines, ""])


def _compiler(file: Path) -> list[str]:
    """Return the command that compiles files of this kind, found through CC or CXX."""
    language, variable, default, flags = COMPILED[file.suffix]
    name, *more = shlex.split(os.environ.get(variable) or default)
    found = shutil.which(name)
    if found is None:
        raise NoCompiler(
            f"{file.name} must be compiled, and {name} is not installed (Debian: apt install g++; "
            f"or name a compiler in {variable})"
        )
    chosen = shlex.split(os.environ.get(flags, ""))
    return [found, "-x", language, *more, *FLAGS, *chosen, f"-I{file.parent}"]


def _run(command: Sequence[str], file: Path, text: str = "") -> str:
    done = subprocess.run(  # noqa: S603 - the compiler that the user installed
        command, input=text, cwd=file.parent, capture_output=True, encoding="utf-8", check=False
    )
    if done.returncode:
        errors = ERROR.findall(done.stderr) or [done.stderr.strip()]
        raise CompileError("\n".join([f"{Path(command[0]).name} does not compile it:", *errors]))
    return done.stdout
