"""Pages that commands write: whether they can be written is found out before anything runs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import typer

from gradoracle.conformance.cli.messages import complain


def require_pages(files: Iterable[Path]) -> None:
    """Say what pages need that is not there, and end, before anything runs."""
    files = [*files]
    if not files:
        return
    from gradoracle.conformance.pages import render  # noqa: PLC0415 - --help stays quick
    from gradoracle.conformance.reports import output  # noqa: PLC0415

    try:
        render.environment()
        for file in files:
            output.require_writable("--html", file)
    except (ImportError, output.CannotWrite) as error:
        raise _ended(error) from error


def write_page(file: Path, text: str, *, silent: bool = False) -> None:
    """Write a page and say where, unless it is one of many; what keeps it is an exit code."""
    from gradoracle.conformance.reports import output  # noqa: PLC0415 - --help stays quick

    try:
        output.write("--html", file, text)
    except output.CannotWrite as error:
        raise _ended(error) from error
    if not silent:
        typer.echo(f"written: {file}")


def write_certificate_page(
    certificate: Any, file: Path, source: Path | None, repeated: Any = None
) -> list[str]:
    """Write the page of a certificate, whose JSON is in `source`; return why it cannot be."""
    from gradoracle.conformance.cli.running import written  # noqa: PLC0415 - --help stays quick
    from gradoracle.conformance.pages.certificate_page import certificate_page  # noqa: PLC0415

    given: dict[str, Any] = {} if repeated is None else {"repeated": repeated}
    name = source.name if source is not None else "CERTIFICATE.json"
    return written("--html", file, certificate_page(certificate, name, **given))


def _ended(error: Exception) -> typer.Exit:
    from gradoracle.conformance.runs import command  # noqa: PLC0415 - --help stays quick

    complain(str(error))
    return typer.Exit(command.COULD_NOT)
