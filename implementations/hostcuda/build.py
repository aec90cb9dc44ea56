"""Compiling with g++ into shared libraries that are kept from run to run."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
_INCLUDED = re.compile(r"^[ \t]*#[ \t]*include[ \t]*(.*)", re.MULTILINE)
INCLUDE = HERE / "include"
COMMON = (
    "-std=c++17", "-fPIC", "-w", "-fvisibility=hidden", "-fno-gnu-unique", "-fno-strict-aliasing",
    "-ffp-contract=off", "-fstack-clash-protection", f"-I{INCLUDE}",
)  # fmt: skip
_OF_C = "assert float limits math stdbool stddef stdint stdio stdlib string time sys/time unistd"
_OF_CPP = (
    "algorithm array atomic cassert cfloat chrono climits cmath complex cstddef cstdint cstdio "
    "cstdlib cstring ctime fstream functional iomanip iostream iterator limits map memory numeric "
    "random set sstream stdexcept string tuple type_traits unordered_map utility vector"
)
COMMON_HEADERS = frozenset((*_OF_CPP.split(), *(f"{name}.h" for name in _OF_C.split())))
SANITIZERS = (
    "thread", "bounds-strict", "signed-integer-overflow", "integer-divide-by-zero", "shift",
    "alignment", "float-cast-overflow",
)  # fmt: skip
KERNEL_FLAGS = {
    "fast": ("-O2", "-g1", "-gdwarf-4"),  # lines, for what the linker says
    "check": (
        "-O1", f"-fsanitize={','.join(SANITIZERS)}", "--param=tsan-instrument-func-entry-exit=0",
        "-fno-inline-functions-called-once", "-fno-tree-sra",  # a float4 is read in one piece
        "-gdwarf-4",  # of 5, binutils misread file names
    ),
}  # fmt: skip
RUNTIME_FLAGS = {"fast": ("-O2",), "check": ("-O2", "-DHOSTCUDA_CHECKER")}
RUNTIME = {"fast": ("scheduler.cpp",), "check": ("scheduler.cpp", "checker.cpp", "patterns.cpp")}


class NoCompiler(ImportError):
    """There is no g++ to compile kernels with."""


class CompileError(ValueError):
    """g++ refuses the kernel; the message is its own."""


@cache
def compiler() -> str:
    """Return the path of g++ (or of what CXX names).

    Raises:
        NoCompiler: there is none.
    """
    name = os.environ.get("CXX", "g++")
    found = shutil.which(name)
    if found is None:
        raise NoCompiler(
            f"CUDA kernels run on the CPU only where there is a C++ compiler, and {name} is not "
            "installed (Debian: apt install g++; or name a GNU compiler in CXX)"
        )
    return found


@cache
def _version() -> str:
    return subprocess.run(  # noqa: S603 - the compiler that the user installed
        [compiler(), "--version"], capture_output=True, text=True, check=True
    ).stdout


@cache
def _ours() -> str:
    """Return what compiled kernels depend on besides their text."""
    sources = sorted([*INCLUDE.rglob("*.h"), *HERE.glob("*.cpp"), *HERE.glob("*.h")])
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


@cache
def runtime(mode: str) -> Path:
    """Return the library that schedules, and in mode `check` checks, the threads of a block."""
    text = "".join(f'#include "{HERE / name}"\n' for name in RUNTIME[mode])
    return _library(f"runtime-{mode}", text, RUNTIME_FLAGS[mode], ())


def kernels(name: str, text: str, mode: str, options: Sequence[str]) -> Path:
    """Return the library made of a CUDA text that has become C++.

    Raises:
        NoCompiler: there is no g++.
        CompileError: g++ refuses the text.
    """
    flags = (*KERNEL_FLAGS[mode], *options)
    included = _with_includes(text, flags)
    return _library(f"{name}-{mode}", text, flags, (runtime(mode),), included)


def _with_includes(text: str, flags: Sequence[str]) -> str:
    """Return the text with what it includes that is not ours: a header may change where it stays.

    "" where it includes nothing of others.
    """
    named = [re.match(r"[<\"]([^>\"]+)[>\"]", line) for line in _INCLUDED.findall(text)]
    if all(name is not None and _stays(name[1]) for name in named):
        return ""
    return subprocess.run(  # noqa: S603 - what it refuses, compiling will tell
        [compiler(), *COMMON, *flags, "-E", "-x", "c++", "-"],
        input=text, capture_output=True, encoding="utf-8", check=False,
    ).stdout  # fmt: skip


def remembered(text: str, options: Sequence[str]) -> Any:
    """Return what was to be remembered of a text, or None."""
    file = _folder() / _note(text, options)
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def remember(text: str, options: Sequence[str], what: Any) -> None:
    """Keep something, of JSON's kinds, that compiling a text has shown."""
    file = _folder() / _note(text, options)
    with tempfile.TemporaryDirectory(dir=file.parent) as work:
        new = Path(work) / "note"
        new.write_text(json.dumps(what), encoding="utf-8")
        new.replace(file)


def _note(text: str, options: Sequence[str]) -> str:
    key = "\0".join((text, _with_includes(text, options), *options, _version(), _ours()))
    return f"note-{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"


def _stays(header: str) -> bool:
    """Return whether a header is ours, or of C or C++: it changes with them only."""
    return (INCLUDE / header).is_file() or header in COMMON_HEADERS


def headers(names: Sequence[str], options: Sequence[str]) -> list[str]:
    """Return those of the headers, such as <vector>, that can be included."""
    unsure = [name for name in names if not _stays(name[1:-1])]
    if not unsure:
        return [*names]
    text = "".join(f"#if __has_include({n})\nthere {i}\n#endif\n" for i, n in enumerate(unsure))
    told = subprocess.run(  # noqa: S603 - the compiler that the user installed
        [compiler(), *COMMON, *options, "-E", "-P", "-x", "c++", "-"],
        input=text, capture_output=True, encoding="utf-8", check=False,
    ).stdout  # fmt: skip
    there = {unsure[int(number)] for number in re.findall(r"^there (\d+)$", told, re.MULTILINE)}
    return [name for name in names if name not in unsure or name in there]


def _library(
    name: str, text: str, flags: Sequence[str], beside: Sequence[Path], included: str = ""
) -> Path:
    key = "\0".join((text, included, *flags, *map(str, beside), _version(), _ours()))
    library = _folder() / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:24]}.so"
    if library.exists():
        return library
    with tempfile.TemporaryDirectory(dir=library.parent) as work:
        source, compiled, linked = (Path(work) / f"kernel{end}" for end in (".cpp", ".o", ".so"))
        source.write_text(text, encoding="utf-8")
        _run([compiler(), *COMMON, *flags, "-c", "-o", str(compiled), str(source)])
        # Linked without -fsanitize: what the instrumented code calls is in the runtime.
        _run(
            [
                compiler(),
                "-shared",
                "-o",
                str(linked),
                str(compiled),
                *map(str, beside),
                "-ldl",
                "-Wl,-z,defs",
            ]
        )
        linked.replace(library)
    return library


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, errors="replace")  # noqa: S603
    if done.returncode:
        raise CompileError(f"g++ does not compile it:\n{done.stderr.strip()}")


@cache
def _folder() -> Path:
    """Return where compiled kernels are kept: nobody else may be able to write there."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    for candidate in (Path(base) / "gradoracle" / "hostcuda", None):
        try:
            folder = candidate or Path(tempfile.mkdtemp(prefix="hostcuda-"))
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if os.access(folder, os.W_OK):
                return folder
        except OSError:
            continue
    raise NoCompiler(f"there is no folder to keep compiled kernels in: {base} cannot be written")
