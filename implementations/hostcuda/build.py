"""Compiling with g++ into shared libraries that are kept from run to run."""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
_INCLUDED = re.compile(r"^[ \t]*#[ \t]*include[ \t]*(.*)", re.MULTILINE)
INCLUDE = HERE / "include"
COMMON = (
    "-std=c++17", "-fPIC", "-w", "-fvisibility=hidden", "-fno-gnu-unique", "-fno-strict-aliasing",
    "-ffp-contract=off", "-fstack-clash-protection", f"-I{INCLUDE}",
)  # fmt: skip
SANITIZERS = (
    "thread", "bounds-strict", "signed-integer-overflow", "integer-divide-by-zero", "shift",
    "alignment", "float-cast-overflow",
)  # fmt: skip
KERNEL_FLAGS = {
    "fast": ("-O2",),
    "check": (
        "-O1", f"-fsanitize={','.join(SANITIZERS)}", "--param=tsan-instrument-func-entry-exit=0",
        "-fno-inline-functions-called-once", "-gdwarf-4",  # of 5, binutils misread file names
    ),
}  # fmt: skip
RUNTIME_FLAGS = {"fast": ("-O2",), "check": ("-O2", "-DHOSTCUDA_CHECKER")}
RUNTIME = {"fast": ("scheduler.cpp",), "check": ("scheduler.cpp", "checker.cpp")}


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
    sources = sorted([*INCLUDE.iterdir(), *HERE.glob("*.cpp"), *HERE.glob("*.h")])
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
    if all(name is not None and (INCLUDE / name[1]).is_file() for name in named):
        return ""
    return subprocess.run(  # noqa: S603 - what it refuses, compiling will tell
        [compiler(), *COMMON, *flags, "-E", "-x", "c++", "-"],
        input=text, capture_output=True, encoding="utf-8", check=False,
    ).stdout  # fmt: skip


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
        _run([compiler(), "-shared", "-o", str(linked), str(compiled), *map(str, beside), "-ldl"])
        linked.replace(library)
    return library


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
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
