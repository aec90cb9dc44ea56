"""What a program gives `gradoracle.check`: a file, the text of a module, or a module to isolate."""

from __future__ import annotations

import ast
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from gradoracle.conformance.backends.backend import SOURCE_TEXT
from gradoracle.conformance.backends.errors import UsageError
from gradoracle.conformance.backends.registry import UnusableBackend, is_importable

WRITTEN = "given.py"  # what the text of a module is written to
FENCE = "```"  # of code in Markdown


class Given(NamedTuple):
    """A backend, and the text of its module where that is what was given."""

    backend: Any
    text: str = ""


@contextmanager
def backend_argument(backend: Any, *, isolate: bool) -> Iterator[Given]:
    """Yield the backend as `checked` takes it: texts are in a file meanwhile.

    Raises:
        UsageError: it is to be isolated, and no other process can import it.
        UnusableBackend: a text cannot be used; the message names it as a source text.
    """
    if isinstance(backend, os.PathLike):
        yield Given(os.fspath(backend))
    elif isinstance(backend, str) and _is_text(backend):
        _require_no_fence(backend)
        with tempfile.TemporaryDirectory(prefix="gradoracle") as folder:
            file = Path(folder, WRITTEN)
            file.write_text(backend, encoding="utf-8")
            try:
                yield Given(str(file), backend)
            except UnusableBackend as error:  # the file is gone before anybody reads of it
                text = str(error).replace(f"backend {str(file)!r}", SOURCE_TEXT)
                text = text.replace(
                    f"did you mean {file}:backend?", "define them as functions of the text"
                )
                raise UnusableBackend(
                    text.replace(repr(str(file)), f"the {SOURCE_TEXT}")
                ) from error
    elif isolate and not isinstance(backend, str):
        yield Given(_by_name(backend))
    else:
        yield Given(backend)


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


def _require_no_fence(text: str) -> None:
    """Raise UnusableBackend where a text is that of Markdown, as far as it is no Python."""
    if not any(line.lstrip().startswith(FENCE) for line in text.splitlines()):
        return
    try:
        ast.parse(text)
    except (SyntaxError, ValueError):
        raise UnusableBackend(
            f"the {SOURCE_TEXT} is fenced by {FENCE}: give what is between the fences"
        ) from None


def _by_name(backend: Any) -> str:
    """Return the name by which another process imports a module."""
    if isinstance(backend, ModuleType) and is_importable(backend):
        return backend.__name__
    raise UsageError(
        "isolate=True needs what another process can import: an import path, a file, the text of a "
        f"module, or a module that was imported by its name, got {type(backend).__name__}"
    )
