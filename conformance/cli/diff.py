"""`gradoracle diff`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gradoracle.conformance.cli.app import app
from gradoracle.conformance.cli.reading import certificate_in, unpainted


@app.command()
def diff(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A certificate, as JSON.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="Another one.")],
) -> None:
    """Say what two certificates say differently: verdicts, calls, files, versions.

    Exit code 0: nothing; 1: something; 2: one of them is no certificate.
    """
    from gradoracle.conformance.runs.command import differences  # noqa: PLC0415 - --help stays quick

    lines = differences(certificate_in(old), certificate_in(new))
    for line in lines or ["no difference"]:
        typer.echo(unpainted(line))
    raise typer.Exit(1 if lines else 0)
