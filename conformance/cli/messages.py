"""What commands say: wrapped by words on a terminal."""

from __future__ import annotations

import sys
from typing import IO

import typer


def complain(text: str) -> None:
    """Print a message about what cannot be done: see `wrapped`."""
    typer.echo(wrapped(text, sys.stderr, ""), err=True)


def tell(text: str) -> None:
    """Print what a command has found: see `wrapped`; lines that go on are indented."""
    typer.echo(wrapped(text, sys.stdout, "  "))


def wrapped(text: str, stream: IO[str], more: str) -> str:
    """Return a text wrapped by words if the stream is a terminal, and as it is in a pipe.

    Lines that go on begin as the line before, and `more`.
    """
    from gradoracle.conformance.reports.terminal import look_of  # noqa: PLC0415 - --help stays quick

    if not stream.isatty():
        return text
    look, lines = look_of(stream), list[str]()
    for line in text.split("\n"):
        plain = line.lstrip()
        begun = line[: len(line) - len(plain)]
        lines += look.wrapped(plain, first=begun, rest=begun + more) or [""]
    return "\n".join(lines)
