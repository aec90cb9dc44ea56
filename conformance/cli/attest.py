"""`gradoracle attest`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from gradoracle.conformance.cli.app import app
from gradoracle.conformance.cli.messages import complain
from gradoracle.conformance.cli.options import Output
from gradoracle.conformance.cli.reading import content_and_certificate
from gradoracle.conformance.cli.running import printed


@app.command()
def attest(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A certificate, as JSON.")],
    *,
    output: Output = None,
) -> None:
    """Write an in-toto Statement (v1) of a certificate, to be signed.

    Its subjects are the backend's files by their SHA-256; its predicate has the
    verdict and the hashes of the certificate and of the suite. It is not signed:
    cosign or GitHub's attestations do that.

    gradoracle attest certificate.json -o statement.json

    jq .predicate statement.json | cosign attest-blob --predicate - --type
    urn:gradoracle:attestation:1 --bundle bundle.json kernels.py

    Exit code 0: written, whatever the verdict; 2: no certificate, or one that
    cannot be attested; 3: the file cannot be written.
    """
    from gradoracle.conformance.reports.statement import statement  # noqa: PLC0415 - --help stays quick

    content, told = content_and_certificate(file)
    try:
        made = statement(file.read_bytes(), content, told)
    except ValueError as error:
        complain(f"{file}: {error}")
        raise typer.Exit(2) from error
    printed(json.dumps(made, indent=1) + "\n", output)
