"""`gradoracle badge`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gradoracle.conformance.cli.app import app
from gradoracle.conformance.cli.options import Output
from gradoracle.conformance.cli.reading import certificate_in
from gradoracle.conformance.cli.running import printed


@app.command()
def badge(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A certificate, as JSON.")],
    *,
    output: Output = None,
) -> None:
    """Draw a badge of a certificate as SVG: certified, quick, with known deviations, or not.

    gradoracle badge certificate.json -o badge.svg

    Exit code 0: drawn, whatever it says; 2: no certificate; 3: the file cannot
    be written.
    """
    from gradoracle.conformance.reports.badge import svg  # noqa: PLC0415 - --help stays quick

    printed(svg(certificate_in(file)), output)
