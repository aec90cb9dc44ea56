"""What a program gives `gradoracle.check`: a file, the text of a module, or a module to isolate."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from gradoracle.conformance.backends.errors import UsageError
from gradoracle.conformance.backends.registry import is_importable

WRITTEN = "given.py"  # what the text of a module is written to


@contextmanager
def backend_argument(backend: Any, *, isolate: bool) -> Iterator[Any]:
    """Yield the backend as `checked` takes it: texts are in a file meanwhile.

    Raises:
        UsageError: it is to be isolated, and no other process can import it.
    """
    if isinstance(backend, os.PathLike):
        yield os.fspath(backend)
    elif isinstance(backend, str) and _is_text(backend):
        with tempfile.TemporaryDirectory(prefix="gradoracle") as folder:
            file = Path(folder, WRITTEN)
            file.write_text(backend, encoding="utf-8")
            yield str(file)
    elif isolate and not isinstance(backend, str):
        yield _by_name(backend)
    else:
        yield backend


def _is_text(backend: str) -> bool:
    """Return whether it is the text of a module: several lines, or one that begins a definition.

    Raises:
        UsageError: it is empty.
    """
    if not backend.strip():
        raise UsageError(
            "the backend is an empty text; give a registered name, an import path, a file or the "
            "text of a module"
        )
    return "\n" in backend or backend.startswith(("def ", "import ", "from ", "class ", "@"))


def _by_name(backend: Any) -> str:
    """Return the name by which another process imports a module."""
    if isinstance(backend, ModuleType) and is_importable(backend):
        return backend.__name__
    raise UsageError(
        "isolate=True needs what another process can import: an import path, a file, the text of a "
        f"module, or a module that was imported by its name, got {type(backend).__name__}"
    )
