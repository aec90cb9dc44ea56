"""Files that a run writes: whether they can be written is found out before it, not after."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

PROBE = 4096  # bytes that are written to see whether the disk has room


class CannotWrite(Exception):
    """A file cannot be written; the message names it and says why."""


def require_writable(what: str, path: Path) -> None:
    """Raise CannotWrite unless a file can be written there; what is there stays as it is."""
    try:
        if path.is_dir():
            raise CannotWrite(f"{what} {path}: is a folder; name a file")
        if not path.exists():
            _probe(path.absolute().parent)
            return
        with path.open("ab"):
            pass
        if path.is_file() and os.access(path.absolute().parent, os.W_OK):
            _probe(path.absolute().parent)
    except (OSError, ValueError) as error:
        raise CannotWrite(f"{what} {path}: {_why(error)}") from error


def require_folder(what: str, folder: Path) -> None:
    """Raise CannotWrite unless files can be written in a folder, which need not be there yet."""
    there = folder.absolute()
    try:
        while not there.exists() and there != there.parent:
            there = there.parent
        _probe(there)
    except (OSError, ValueError) as error:
        raise CannotWrite(f"{what} {folder}: {_why(error)}") from error


def write(what: str, path: Path, text: str) -> None:
    """Write a file whole; one that is cut short is removed.

    Raises:
        CannotWrite: it cannot be written, as on a full disk.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except (OSError, ValueError) as error:
        with suppress(OSError):
            if path.is_file() and not path.is_symlink():
                path.unlink()
        raise CannotWrite(f"{what} {path}: {_why(error)}") from error


def append(what: str, path: Path, text: str) -> None:
    """Add to a file.

    Raises:
        CannotWrite: it cannot be written.
    """
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except (OSError, ValueError) as error:
        raise CannotWrite(f"{what} {path}: {_why(error)}") from error


def _probe(folder: Path) -> None:
    if not folder.exists():
        raise FileNotFoundError(2, f"there is no folder {folder}")
    if not folder.is_dir():
        raise NotADirectoryError(20, f"{folder} is no folder")
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(PROBE))
        file.flush()


def _why(error: Exception) -> str:
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"cannot be written: {said}"
