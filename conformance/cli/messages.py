"""What commands say: wrapped by words on a terminal."""

from __future__ import annotations

import sys

import typer


def complain(text: str) -> None:
    """Print a message about what cannot be done."""
    from gradoracle.conformance.reports.terminal import fitted  # noqa: PLC0415 - --help stays quick

    typer.echo(fitted(text, sys.stderr, ""), err=True)


def tell(text: str) -> None:
    """Print what a command has found; lines that go on are indented."""
    from gradoracle.conformance.reports.terminal import fitted  # noqa: PLC0415 - --help stays quick

    typer.echo(fitted(text, sys.stdout, "  "))
