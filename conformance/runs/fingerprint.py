"""What exactly was checked, and by what: hashes of the backend's files and of the suite's.

Nothing is imported to find the files.  Paths are relative to where the package lies, so they tell
no folder and no user.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import os
import re
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

from gradoracle.conformance.backends.adapters.named import split
from gradoracle.conformance.backends.registry import ADAPTERS, SHARED, path_of
from gradoracle.conformance.operators import BROUGHT

CODE = frozenset(
    {".py", ".pyx", ".so", ".pyd", ".dylib", ".c", ".cc", ".cpp", ".h", ".hpp", ".cu", ".cuh",
     ".ptx", ".cubin"}
)  # fmt: skip
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"\n]+)"', re.MULTILINE)
MOST = 2000  # files of one backend
PROGRAM = "__main__"  # the module of the program that runs
NAMESPACE = __name__.partition(".")[0]


def files_of(path: str) -> dict[str, str]:
    """Return the SHA-256 of every file of code beside the module at an import path.

    A module of a package is all of the package that it lies in; a file that a loader reads is that
    file and what it includes, with the header of a library; what an adapter is given, all modules
    of its functions; empty where nothing is found.
    """
    path, _, given = path.partition("!")
    if path in ADAPTERS.values():
        targets = [path_of(target) for _, target in split(path.rpartition(":")[2], given).paths]
        return {name: one for target in targets for name, one in files_of(target).items()}
    if given:
        return _of_file(given)
    top, *below = path.partition(":")[0].split(".")
    if top == NAMESPACE and below:  # whose packages are several folders
        top = f"{top}.{below.pop(0)}"
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return {}
    if spec is None:
        return {}
    if not spec.submodule_search_locations:
        file = Path(spec.origin) if spec.origin else None
        return {file.name: _hash(file)} if file is not None and file.is_file() else {}
    folder = root = Path(next(iter(spec.submodule_search_locations)))
    for part in below:
        if not (folder / part).is_dir():
            break
        folder /= part
    found = sorted(f for f in folder.rglob("*") if f.suffix in CODE and f.is_file())
    return {str(f.relative_to(root.parent)): _hash(f) for f in found[:MOST]}


def _of_file(given: str) -> dict[str, str]:
    """Return the hashes of a file that a loader is given, `kernel.cu@host` or `lib.so@mine.h`."""
    name, _, rest = given.partition("@")
    source = Path(name).resolve()
    reached = _with_imports if source.suffix == ".py" else _with_includes
    found = reached(source, set()) if source.is_file() else set()
    header = (source.parent / rest).resolve()
    if source.suffix in SHARED and header.is_file():
        found |= _with_includes(header, set())
    return {os.path.relpath(f, source.parent): _hash(f) for f in sorted(found)}


def _with_includes(file: Path, known: set[Path]) -> set[Path]:
    """Return a file of C++ and those beside it that it includes, and they include."""
    known.add(file)
    for name in INCLUDE.findall(file.read_text(encoding="utf-8", errors="replace")):
        other = (file.parent / name).resolve()
        if other.is_file() and other not in known:
            _with_includes(other, known)
    return known


def _with_imports(file: Path, known: set[Path]) -> set[Path]:
    """Return a file of Python and those of its folder that it imports, and they import."""
    known.add(file)
    with suppress(SyntaxError, ValueError):
        for one in ast.walk(ast.parse(file.read_bytes())):
            names = [alias.name for alias in one.names] if isinstance(one, ast.Import) else []
            if isinstance(one, ast.ImportFrom) and one.module:
                names = [one.module]
            for top in {name.partition(".")[0] for name in names}:
                module, package = file.parent / f"{top}.py", file.parent / top
                if package.is_dir():
                    known |= {f for f in package.rglob("*") if f.suffix in CODE and f.is_file()}
                elif module.is_file() and module not in known:
                    _with_imports(module, known)
    return known


def suite() -> str:
    """Return one SHA-256 of the suite's and the oracle's code, and of operators from outside."""
    return _hash_of_all(tuple(module for brought in BROUGHT for module in brought.modules))


@cache
def _hash_of_all(outside: tuple[str, ...]) -> str:
    total = hashlib.sha256()
    for package in ("gradoracle.conformance", "gradoracle.oracle", *outside):
        found = _of_file(program()) if package == PROGRAM and program() else files_of(package)
        for name, one in found.items():
            total.update(f"{name} {one}\n".encode())
    return total.hexdigest()


def program() -> str:
    """Return the file of the program that runs, or "" where it has none."""
    return getattr(sys.modules.get(PROGRAM), "__file__", None) or ""


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
