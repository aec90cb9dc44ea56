"""Finding backends: by registered name, by import path, or an object at hand."""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import Distribution, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from gradoracle.conformance.backends.adapters import jax_library, named, onnx_models
from gradoracle.conformance.backends.backend import FUNCTIONS, FURTHER, Backend
from gradoracle.conformance.backends.caller import Asked, Candidate, imported, one_line
from gradoracle.conformance.backends.isolation.isolated import Isolated, Unloadable
from gradoracle.conformance.backends.isolation.limits import Limits
from gradoracle.conformance.backends.isolation.workers import available
from gradoracle.oracle.float_formats import dtype_of

GROUP = "gradoracle.backends"
INTERPRETED = 60.0  # seconds of a call, where a loader may interpret the file
COMPILED = 300.0  # where torch.compile may have to compile for it

# The shipped backends, known even in a checkout that nobody installed.
SHIPPED = {
    "im2col": "gradoracle.implementations.im2col",
    "torch": "gradoracle.implementations.torch_reference",
    "oracle": "gradoracle.oracle",
    "cupy": "gradoracle.implementations.cupy_kernels.device",
    "cupy@host": "gradoracle.implementations.cupy_kernels.host",
}

# What makes a backend of functions: it is given what stands after the `!` of a name.
ADAPTERS = {name: f"{named.__name__}:{name}" for name in named.ADAPTERS}
COMPILING = "compile=yes"
# torch.nn.functional on other devices, and through Inductor; only what is asked for is loaded.
DEVICES = {
    f"torch@{name}": f"{ADAPTERS['torch']}!torch.nn.functional,{how}"
    for name, how in {
        "inductor": COMPILING, "cuda": "device=cuda",
        "mps": "device=mps,dtypes=float32", "xpu": "device=xpu",
    }.items()
}  # fmt: skip
# Libraries whose operators an adapter names; each is loaded only where it is asked for.
LIBRARIES = {
    "jax": f"{jax_library.__name__}:jax!", "onnxruntime": f"{onnx_models.__name__}:onnxruntime!"
}  # fmt: skip
KNOWN = SHIPPED | DEVICES | LIBRARIES

C = "gradoracle.implementations.c_source:backend"
SHARED = (".so", ".dylib")  # libraries, which need a header
PYTHON = "gradoracle.conformance.backends.caller:from_file"
# What makes a backend of a file of these: it is given the file's name.
LOADERS = {
    ".cu": "gradoracle.implementations.cuda_source:backend",
    ".cuh": "gradoracle.implementations.cuda_source:backend",
    **dict.fromkeys((".c", ".cc", ".cpp", ".cxx", ".h", ".hh", ".hpp", *SHARED), C),
    ".py": PYTHON,
}

HOW_TO_REGISTER = (
    f'register one with  [project.entry-points."{GROUP}"]  mine = "mypkg.kernels"  in your '
    "pyproject.toml, or pass an import path such as mypkg.kernels or mypkg.kernels:backend, or a "
    "file such as ./kernels.py, ./kernels.py:backend, kernel.cu, kernel.c or libmine.so, or "
    "functions such as "
    "--torch conv2d=mypkg.ops:my_conv"
)


class UnknownBackend(LookupError):
    """No backend has this name, and it is no import path."""


class UnusableBackend(ImportError):
    """The backend is there and cannot be loaded; the message says why in one line."""


@dataclass(frozen=True)
class Registered:
    """A backend's name, where its code is, and which distribution registered it."""

    name: str
    path: str
    source: Distribution | None = None  # of those that are shipped none is looked for
    conflict: str = ""  # why nobody can say which code the name stands for

    @cached_property
    def distribution(self) -> str:
        """Its name and version: read only here, for that takes longer than to find all names."""
        if self.source is None:
            return "gradoracle" if KNOWN.get(self.name) == self.path else "unknown"
        return f"{self.source.name} {self.source.version}"


def registered() -> dict[str, Registered]:
    """Return every registered backend by name: the shipped ones, then entry points.

    A name that several distributions take is nobody's, and ours stay ours: `conflict` says so.
    """
    found = {name: Registered(name, path) for name, path in KNOWN.items()}
    for entry in entry_points(group=GROUP):
        one, other = Registered(entry.name, entry.value, entry.dist), found.get(entry.name)
        if other is None or (other.path == one.path and not other.conflict):
            found[entry.name] = one
        else:
            both = " and ".join(f"{each.distribution} ({each.path})" for each in (other, one))
            found[entry.name] = replace(other, conflict=f"both {both} register it: rename one")
    return found


@dataclass(frozen=True)
class Confinement:
    """How a backend is kept: in a process of its own unless asked otherwise, within limits."""

    in_process: bool = False
    limits: Limits = field(default_factory=Limits)
    forbidden: tuple[str, ...] = ()  # modules that it may not import

    @property
    def isolates(self) -> bool:
        """Whether a backend comes into a process of its own, as far as this system can."""
        return available() and not self.in_process


ISOLATED, IN_PROCESS = Confinement(), Confinement(in_process=True)


def path_of(name: str) -> str:
    """Return the import path of a registered name, of a file or of what an adapter takes.

    Any other is its own.
    """
    known = registered()
    return known[name].path if name in known else _unregistered(name)


def _unregistered(name: str) -> str:
    adapter, bang, text = name.partition("!")
    if bang and adapter in ADAPTERS:
        return f"{ADAPTERS[adapter]}!{named.with_operators(named.absolute(text))}"
    file, where = _file_and_rest(name)
    loader = LOADERS.get(Path(file).suffix)
    return f"{loader}!{Path(file).resolve()}{where}" if loader is not None else name


def _file_and_rest(name: str) -> tuple[str, str]:
    """Return a file's name, and what loaders take beside it: `@host`, `@object`, `@header.h`."""
    file, colon, attribute = name.partition(".py:")
    if colon:
        return f"{file}.py", f"@{attribute}"
    file, at, where = name.partition("@")
    if Path(file).suffix in SHARED and not at:
        beside = [Path(file).with_suffix(".h"), Path(file).with_suffix(".hpp")]
        beside += [one.with_name(one.name.removeprefix("lib")) for one in beside]
        return file, next((f"@{one.name}" for one in beside if one.is_file()), "")
    return file, f"{at}{where}"


def with_header(name: str, header: str) -> str:
    """Return the name of a library's backend that is declared in the file `header`.

    Raises:
        UnknownBackend: it is no library.
    """
    library = Path(name)
    if library.suffix not in SHARED or "@" in name:
        raise UnknownBackend(
            f"a header goes with a library such as ./libmine.so, not with {name!r}"
        )
    return f"{name}@{os.path.relpath(header, library.parent)}"


def load(name: str, confinement: Confinement = ISOLATED) -> Backend:
    """Return the backend called `name`, or the one at that import path.

    Raises:
        UnknownBackend: neither is there; the message lists what is, and how to register.
        UnusableBackend: importing it failed, or its contract is wrong.
    """
    path, origin = located(name)
    if origin == "import path":
        return _noted(_open(name, path, origin, confinement), name)
    if origin == "file" and path.startswith(PYTHON):
        backend = _noted(_open(name, path, origin, confinement), name)
        return _with_functions(backend, _file_and_rest(name)[0])
    return _noted(_open(name, path, origin, _patient(confinement, path)), path)


def _noted(backend: Backend, place: str) -> Backend:
    """Return a backend with what should be told of it: what at its place may have been meant.

    Raises:
        UnusableBackend: it has no function of the protocol, and the object `backend` in it has.
    """
    inner, own = backend.asked.description.inner, backend.functions
    further = [name for name in inner if name not in own]
    if not further:
        backend.notes = [
            f"no {name} in {backend.name}; did you mean: your {mine}?"
            for name, mine in backend.misspelt.items()
        ]
        return backend
    meant = f"did you mean {place}:backend?"
    if not (own or backend.missing):
        backend.asked.close()
        raise UnusableBackend(
            f"{backend.name!r} has none of the protocol's functions, but the object `backend` in "
            f"it has {_first(further)}: {meant}"
        )
    note = (
        f"{backend.name}: only its own {_first(own)} {'is' if len(own) == 1 else 'are'} checked; "
        f"the object `backend` in it has {_first(further)}: {meant}"
    )
    backend.notes = [note]
    return backend


def _first(names: Sequence[str]) -> str:
    """Return the first of several names, and how many there are beside."""
    shown = ", ".join(names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown


def located(name: str) -> tuple[str, str]:
    """Return where a backend's functions are and whose they are, importing nothing.

    Raises:
        UnknownBackend: it is no registered name, no file that is there and no import path.
        UnusableBackend: two distributions register the name.
    """
    known = registered()
    if name in known:
        entry = known[name]
        if entry.conflict:
            raise UnusableBackend(f"backend {name!r}: {entry.conflict}")
        return entry.path, entry.distribution
    path = _unregistered(name)
    if path.partition("!")[0] in ADAPTERS.values():
        _require_targets(name)
        return path, "functions"
    if path != name:
        _require_files(name)
        return path, "file"
    if not _looks_importable(name):
        raise UnknownBackend(_unknown(name, list(known)))
    return name, "import path"


def _require_files(name: str) -> None:
    """Raise UnknownBackend unless the file that a name begins with is there, and its header."""
    file, rest = _file_and_rest(name)
    needed = [Path(file)]
    if Path(file).suffix in SHARED and rest:
        needed.append(Path(file).parent / rest[1:])
    for one in needed:
        if not one.is_file():
            raise UnknownBackend(f"there is no file {str(one)!r}")


def _with_functions(backend: Backend, file: str) -> Backend:
    """Return the backend of a file of Python, which must have a function of the protocol.

    Raises:
        UnusableBackend: it has none; the message names what may have been meant.
    """
    if backend.functions or backend.missing:
        return backend
    backend.asked.close()
    tree = ast.parse(Path(file).read_bytes())
    names = [one.name for one in tree.body if isinstance(one, ast.FunctionDef | ast.ClassDef)]
    near = {name: difflib.get_close_matches(name.lower(), FUNCTIONS, n=1) for name in names}
    meant = [f"{name} (did you mean {known[0]}?)" for name, known in near.items() if known]
    if meant:
        has = f"it has {', '.join(meant)}"
    else:
        has = f"it has {', '.join(names[:8])}" if names else "it has no function"
    raise UnusableBackend(
        f"{backend.name!r} has none of the protocol's functions, such as conv2d and relu: {has}; "
        "`gradoracle explain` lists them"
    )


def _require_targets(name: str) -> None:
    """Raise UnknownBackend unless a name says functions that can be looked for."""
    adapter, _, text = name.partition("!")
    try:
        paths = [path for _, path in named.split(adapter, text).paths]
    except ValueError as error:
        raise UnknownBackend(f"{name!r}: {error}") from error
    files = named.files_of(text)
    absent = [str(file) for file in files if not file.is_file()]
    if absent:
        raise UnknownBackend(f"there is no file {absent[0]!r}")
    for path in paths:
        if not named.files_of(path) and not _looks_importable(path):
            raise UnknownBackend(
                f"no module for {path!r}; name a function as in conv2d=mypkg.ops:my_conv, "
                "conv2d=./ops.py:my_conv or torch.nn.functional"
            )


def _patient(confinement: Confinement, path: str) -> Confinement:
    """Return the same, with more time for a call than the default where code is made for it."""
    adapter, _, text = path.partition("!")
    compiles = adapter == ADAPTERS["torch"] and COMPILING in text.split(",")
    interprets = adapter == LOADERS[".cu"]
    if confinement.limits.call != Limits.call or not (compiles or interprets):
        return confinement
    call = COMPILED if compiles else INTERPRETED
    return replace(confinement, limits=replace(confinement.limits, call=call))


def wrap(backend: Any, name: str | None = None, confinement: Confinement = ISOLATED) -> Backend:
    """Return a Backend from a name, an import path, a module, or any object with the functions.

    What is at hand already, a module or an object, stays in this process.
    """
    if isinstance(backend, Backend):
        return backend
    if isinstance(backend, str):
        return load(backend, confinement)
    module = isinstance(backend, ModuleType)
    named = module or isinstance(backend, type)
    label = name or (backend.__name__ if named else type(backend).__name__)
    path = backend.__name__ if module and is_importable(backend) else ""
    return _judgeable(
        label, lambda: Candidate(backend, (*FUNCTIONS, *FURTHER)), "this process", path
    )


def is_importable(module: ModuleType) -> bool:
    """Return whether another process can import a module by its name.

    One that was made by hand, or is the program that runs, it cannot.
    """
    spec = module.__spec__
    if spec is None or sys.modules.get(spec.name) is not module or spec.name != module.__name__:
        return False
    top = spec.name.partition(".")[0]
    return any(finder.find_spec(top, None) is not None for finder in sys.meta_path)


def _open(name: str, path: str, origin: str, confinement: Confinement) -> Backend:
    if confinement.isolates:
        apart = Isolated(path, (*FUNCTIONS, *FURTHER), confinement.limits, confinement.forbidden)

        def opened() -> Asked:
            try:
                apart.description  # noqa: B018 - that is what imports it
            except Unloadable as error:
                apart.close()
                if error.read:
                    raise
                raise UnusableBackend(_cannot_load(name, path, str(error))) from error
            return apart

        return _judgeable(name, opened, origin, path)
    try:
        source = imported(path)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise UnusableBackend(_cannot_load(name, path, one_line(error))) from error
    return _judgeable(name, lambda: Candidate(source, (*FUNCTIONS, *FURTHER)), origin, path)


def _cannot_load(name: str, path: str, reason: str) -> str:
    where = f" ({path})" if name in registered() else ""  # of others the name says it
    return f"backend {name!r}{where} cannot be loaded: {reason}"


def _judgeable(name: str, asked: Callable[[], Asked], origin: str, path: str) -> Backend:
    try:
        backend = Backend(name, asked(), origin, path)
        for dtype in backend.contract.dtypes:
            dtype_of(dtype)
        backend.require_calls()
    except UnusableBackend:
        raise
    except ImportError as error:
        raise UnusableBackend(f"backend {name!r} claims {dtype}: {error}") from error
    except ValueError as error:
        raise UnusableBackend(f"backend {name!r}: {error}") from error
    except Unloadable as error:
        raise UnusableBackend(f"backend {name!r}: its contract cannot be read: {error}") from error
    except Exception as error:
        raise UnusableBackend(
            f"backend {name!r}: its contract cannot be read: {one_line(error)}"
        ) from error
    return backend


def _looks_importable(path: str) -> bool:
    """Return whether there is a package of that name; nothing of it is imported."""
    module_name, colon, attribute = path.partition(":")
    if colon and not attribute:
        return False
    top, *below = module_name.split(".")
    # "!" in a path is a call of what stands before it: nobody's name may have one.
    attributes = attribute.split(".") if colon else []
    if not all(part.isidentifier() for part in (top, *below, *attributes)):
        return False
    try:
        return importlib.util.find_spec(top) is not None
    except (ImportError, ValueError):
        return False


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    guess = f" (did you mean {near[0]!r}?)" if near else ""
    if name in FUNCTIONS:
        guess = " (it is a function of the protocol: --operators chooses some, with commas)"
    return (
        f"no backend {name!r}{guess}; registered: {', '.join(sorted(known))}. "
        f"To add yours: {HOW_TO_REGISTER}"
    )
