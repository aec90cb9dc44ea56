"""Where a backend's functions are written, relative to the repository: no folder and no user."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

REPOSITORY = ".git"  # what the folder of a repository has


def places(told: Mapping[str, tuple[str, int]]) -> dict[str, dict[str, Any]]:
    """Return the file and the line of each function whose file is below the root.

    The root is the repository's folder, or the current one where it is in none.  `told` has whole
    paths, from the process that imported the backend.
    """
    root = _root()
    found = {}
    for name, (file, line) in told.items():
        path = Path(file).resolve()
        if path.is_relative_to(root) and path.is_file():
            found[name] = {"file": path.relative_to(root).as_posix(), "line": line}
    return found


def _root() -> Path:
    here = Path.cwd().resolve()
    return next((one for one in (here, *here.parents) if (one / REPOSITORY).exists()), here)
