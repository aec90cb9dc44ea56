"""Known deviations from a file, for a backend whose contract cannot list them, or need not."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gradoracle.conformance import DEVIATIONS


def listed() -> list[Mapping[str, Any]]:
    """Return the entries of the run's file, as a contract has them; empty where it has none.

    Raises:
        ValueError: it cannot be read, or is no list of entries; the message names it.
    """
    name = os.environ.get(DEVIATIONS)
    return entries_in(Path(name)) if name else []


def entries_in(file: Path) -> list[Mapping[str, Any]]:
    """Return the entries of a file of deviations, a JSON list.

    Raises:
        ValueError: it cannot be read, or is no list of objects; the message names it.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:  # whose text would name the file again
        raise ValueError(f"deviations {file}: {error.strerror or error}") from error
    except ValueError as error:
        raise ValueError(f"deviations {file}: {error}") from error
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ValueError(
            f"deviations {file}: must be a list of entries, which `gradoracle deviate` writes"
        )
    return found
