"""A file of JSON lines that takes results as they fall, and gives them back after a stop."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Generic, TypeVar

Key = TypeVar("Key")
Result = TypeVar("Result")


class Journal(Generic[Key, Result]):
    """A JSON Lines file: the first line says who checks, each other one is a key and a result."""

    def __init__(
        self, path: Path, judges: str, read: Callable[[Any, Any], tuple[Key, Result]]
    ) -> None:
        """Read what the same checks wrote before.

        Args:
            path: the file; it is made, with its folders, where it is not there.
            checks: a hash of what must be the same for results to be comparable.
            read: makes a key and a result of what JSON knows of them.

        Raises:
            ValueError: others checked there, or it is no such file; it is left as it is.
        """
        self.path, self.known = path, dict[Key, Result]()
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_text(json.dumps(judges) + "\n", encoding="utf-8")
        text = path.read_text(encoding="utf-8", errors="replace")
        head, *lines = text.splitlines() or [""]
        if head != json.dumps(judges):
            raise ValueError(
                f"{path} was written by another suite or for other code, or is no journal: "
                "results cannot be mixed; name another --journal, or remove it"
            )
        for line in lines:
            with suppress(json.JSONDecodeError):  # a kill may cut the last line off
                key, result = read(*json.loads(line))
                self.known[key] = result
        if not text.endswith("\n"):
            with path.open("a", encoding="utf-8") as file:
                file.write("\n")

    def add(self, key: Key, result: Result) -> None:
        """Write a result down at once."""
        self.known[key] = result
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([key, result]) + "\n")
