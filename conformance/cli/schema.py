"""`gradoracle schema`."""

from __future__ import annotations

import typer

from gradoracle.conformance.cli.app import app


@app.command()
def schema() -> None:
    """Print the JSON Schema of certificates: every field, and what it means.

    `gradoracle schema > certificate.schema.json`.
    """
    from gradoracle.conformance.reports.certificate_json import SCHEMA_FILE  # noqa: PLC0415 - --help stays quick

    typer.echo(SCHEMA_FILE.read_text(encoding="utf-8"), nl=False)
