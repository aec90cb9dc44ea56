"""Adapted backends by name, so that a command, another process and a certificate can say them.

    torch!torch.nn.functional
    torch!conv2d=mypkg.ops:my_conv,device=cuda,compile=yes
    numpy!conv2d=./course.py:conv,layout=HWC,flipped=yes

Before the `!` stands the adapter, after it the functions, by the protocol's names, and the
adapter's options.  A path alone is a module, all of whose functions are taken, or an object in one
that already has the protocol's name.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from gradoracle.conformance import OPERATORS_FROM
from gradoracle.conformance.backends.adapters import (
    jax_functions,
    numpy_functions,
    torch_functions,
)
from gradoracle.conformance.backends.adapters.base import bring
from gradoracle.conformance.backends.caller import from_file, imported
from gradoracle.conformance.operators.outside import operators_of

ADAPTERS = {
    "torch": ("device", "compile", "dtypes", "operators"),
    "jax": ("jit", "dtypes", "operators"),
    "numpy": ("layout", "weights", "batch", "flipped", "pairs", "dtypes", "operators"),
}
SWITCHES = {"yes": True, "no": False}
FILE = ".py"
OPERATORS = "operators"  # an option: a module that brings operators; it may be repeated


class Given(NamedTuple):
    """What a name says after its `!`: paths by the protocol's name or "", and options."""

    paths: tuple[tuple[str, str], ...]
    options: dict[str, Any]


def split(adapter: str, text: str) -> Given:
    """Return what a text says.

    Raises:
        ValueError: an option has no such value, or nothing is named.
    """
    paths, options = [], dict[str, Any]()
    for item in filter(None, text.split(",")):
        key, equals, value = item.rpartition("=")
        if key not in ADAPTERS[adapter]:
            paths.append((key if equals else "", value))
        elif key == OPERATORS:
            options.setdefault(OPERATORS, []).append(value)
        elif key == "dtypes":
            options[key] = value.split("+")
        elif key in ("device", "layout", "weights"):
            options[key] = value
        elif value in SWITCHES:
            options[key] = SWITCHES[value]
        else:
            raise ValueError(f"{key} must be yes or no, got {value!r}")
    if not paths:
        raise ValueError(f"{adapter}! names no function, such as conv2d=mypkg.ops:my_conv")
    return Given((*paths,), options)


def files_of(text: str) -> list[Path]:
    """Return the files of Python that a text names."""
    targets = (item.rpartition("=")[2] for item in text.split(","))
    return [Path(_file(t)[0]) for t in targets if _file(t)[0]]


def absolute(text: str) -> str:
    """Return the text with its files named from the root, for a process in another folder."""
    return ",".join(map(_absolute, text.split(",")))


def with_operators(text: str) -> str:
    """Return the text with the modules that bring operators to this run.

    The worker's environment does not have the variable that names them.
    """
    modules = filter(None, map(str.strip, os.environ.get(OPERATORS_FROM, "").split(",")))
    return ",".join([text, *(f"{OPERATORS}={module}" for module in modules)])


def _absolute(item: str) -> str:
    name, equals, path = item.rpartition("=")
    file, attribute = _file(path)
    whole = f"{Path(file).resolve()}{':' * bool(attribute)}{attribute}" if file else path
    return f"{name}{equals}{whole}"


def _file(path: str) -> tuple[str, str]:
    """Return the file of a path such as ./kernels.py:conv, and the object; "" for a module."""
    file, colon, attribute = path.partition(f"{FILE}:")
    if colon:
        return file + FILE, attribute
    return (path, "") if path.endswith(FILE) else ("", "")


def torch(text: str) -> Any:
    """Return the backend of functions on tensors that a text names."""
    return _made("torch", torch_functions.adapt, text)


def jax(text: str) -> Any:
    """Return the backend of functions on JAX arrays that a text names."""
    return _made("jax", jax_functions.adapt, text)


def numpy(text: str) -> Any:
    """Return the backend of functions on NumPy arrays that a text names."""
    return _made("numpy", numpy_functions.adapt, text)


def _made(adapter: str, adapt: Any, text: str) -> Any:
    given = split(adapter, text)
    for module in given.options.pop(OPERATORS, ()):
        bring(operators_of(module))
    namespaces, functions = [], dict[str, Any]()
    load = cache(from_file)  # two functions of one file share what it has beside them
    for name, path in given.paths:
        file, attribute = _file(path)
        found = load(file) if file else imported(path)
        for part in filter(None, attribute.split(".")):
            found = getattr(found, part)
        last = path.rpartition(":")[2].rpartition(".")[2]
        if name or (callable(found) and not isinstance(found, ModuleType)):
            functions[name or last] = found
        else:
            namespaces.append(found)
    return adapt(*namespaces, **given.options, **functions)
