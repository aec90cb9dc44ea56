"""`gradoracle html`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gradoracle.conformance.cli.app import app
from gradoracle.conformance.cli.options import OperatorsFrom
from gradoracle.conformance.cli.pages import require_pages, write_page
from gradoracle.conformance.cli.reading import certificate_in


@app.command()
def html(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A certificate, as JSON.")],
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Default: FILE, ending in .html."),
    ] = None,
    operators_from: OperatorsFrom = [],  # noqa: B006 - Typer reads it only
) -> None:
    """Write a certificate as a page: one file, which loads nothing.

    `gradoracle html certificate.json --output page.html`; without --output, certificate.html.

    Exit code 0; 2: FILE is no certificate; 3: the page could not be written.
    """
    del operators_from  # its callback has read it
    target = file.with_suffix(".html") if output is None else output
    certificate = certificate_in(file)
    require_pages([target])
    from gradoracle.conformance.pages.certificate_page import certificate_page  # noqa: PLC0415 - --help stays quick

    write_page(target, certificate_page(certificate, file.name))
