"""What `certify` is told in a pyproject.toml, in place of options: the table [tool.gradoracle]."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import typer

FILE, TABLE = "pyproject.toml", "gradoracle"
TEXTS, TEXT, NUMBER = "a text or a list of texts", "a text", "an integer"
# What there is, and of which kind.
KINDS = {
    "backend": TEXTS, "operators": TEXTS, "operators-from": TEXTS, "dtypes": TEXTS,
    "profile": TEXT, "domain": TEXTS, "policy": TEXTS, "deviations": TEXT, "regressions": TEXT,
    "seed": NUMBER,
}  # fmt: skip
PATHS = ("deviations", "regressions")  # relative to the folder of the file


class Settings(NamedTuple):
    """The table as values of the command's parameters, by their names, and the folder it is in."""

    values: Mapping[str, Any]
    folder: Path | None = None


def found() -> Settings:
    """Return the table of the nearest pyproject.toml upwards that has one; empty: none has.

    Raises:
        typer.BadParameter: it is no TOML, or a key or a value that there is not.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        file = folder / FILE
        table = _table(file) if file.is_file() else None
        if table is not None:
            return Settings(_read(table, file, folder), folder)
    return Settings({})


def _table(file: Path) -> Any:
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"{file}: {error}") from error
    return content.get("tool", {}).get(TABLE)


def _read(table: Any, file: Path, folder: Path) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise typer.BadParameter(f"{file}: tool.{TABLE} must be a table, got {table!r:.60}")
    values: dict[str, Any] = {}
    for key, value in table.items():
        _require(key, value, file)
        one: Any = [value] if KINDS[key] == TEXTS and isinstance(value, str) else value
        if key in PATHS:
            one = _relative(folder / one)
        elif key == "backend":
            one = [
                _relative(folder / name) if _is_elsewhere(folder, name) else name for name in one
            ]
        values[key.replace("-", "_")] = one
    return values


def _require(key: str, value: Any, file: Path) -> None:
    """Raise BadParameter, with what is valid, for a key or a value that there is not."""
    at = f"{file}: tool.{TABLE}.{key}"
    if key not in KINDS:
        near = difflib.get_close_matches(key, KINDS, n=1)
        guess = f" (did you mean {near[0]}?)" if near else ""
        raise typer.BadParameter(f"{at} is unknown{guess}; there are {', '.join(KINDS)}")
    kind = KINDS[key]
    texts = isinstance(value, list) and value and all(isinstance(one, str) for one in value)
    legal = {
        TEXTS: isinstance(value, str) or texts, TEXT: isinstance(value, str),
        NUMBER: isinstance(value, int) and not isinstance(value, bool),
    }  # fmt: skip
    if not legal[kind] or value == "":
        raise typer.BadParameter(f"{at} must be {kind}, got {value!r:.60}")


def _is_elsewhere(folder: Path, name: str) -> bool:
    """Return whether a backend is a file, and not named from the current folder."""
    file, colon, _ = name.partition("@")[0].partition(".py:")
    return folder != Path.cwd() and (folder / f"{file}{'.py' * bool(colon)}").is_file()


def _relative(path: Path) -> str:
    """Return a path from the current folder, `./` before what lies in it."""
    told = os.path.relpath(path)
    return told if told.startswith(os.pardir) else f"./{told}"
