"""Messages about what cannot be done, on the stream of errors."""

from __future__ import annotations

import sys

import typer


def complain(text: str) -> None:
    """Print a message: wrapped by words on a terminal, and as it is in a pipe."""
    from gradoracle.conformance.reports.terminal import look_of  # noqa: PLC0415 - --help stays quick

    if sys.stderr.isatty():
        look = look_of(sys.stderr)
        lines = (look.wrapped(line, rest="") or [""] for line in text.split("\n"))
        text = "\n".join(part for line in lines for part in line)
    typer.echo(text, err=True)
