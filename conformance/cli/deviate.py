"""`gradoracle deviate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from gradoracle.conformance.cli.app import app
from gradoracle.conformance.cli.messages import complain
from gradoracle.conformance.cli.options import OperatorsFrom
from gradoracle.conformance.cli.reading import certificate_in, unpainted
from gradoracle.conformance.cli.running import require_writable, written


@app.command()
def deviate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A certificate with mismatches.")],
    *,
    to: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Add them to this file of deviations.")
    ] = None,
    reason: Annotated[
        str, typer.Option(help="Why they are not fixed; without, what the answer is.")
    ] = "",
    operators_from: OperatorsFrom = [],  # noqa: B006 - Typer reads it only
) -> None:
    """List the mismatches of a certificate as known deviations, each with its smallest call.

    An entry counts as stale only when that very call is right again: whether a
    seed meets the fault does not matter. Give the file to certify, or name it in
    pyproject.toml. Without --to the entries are printed, for a contract.

    gradoracle deviate certificate.json --to deviations.json --reason "see bug 12"

    gradoracle certify mine --deviations deviations.json

    Exit code 0: listed; 2: no certificate, or none with mismatches; 3: the file
    cannot be written.
    """
    del operators_from  # its callback has read it
    from gradoracle.conformance.backends.listed import entries_in  # noqa: PLC0415 - --help stays quick
    from gradoracle.conformance.runs import command, deviations  # noqa: PLC0415

    new = deviations.entries_of(certificate_in(file), reason)
    if not new:
        complain(f"{file} has no mismatches")
        raise typer.Exit(command.USAGE)
    if to is None:
        typer.echo(unpainted(json.dumps(new, indent=1)))
        return
    require_writable([to], None, [])
    try:
        entries = deviations.joined(entries_in(to) if to.exists() else [], new)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    for line in written("--to", to, json.dumps(entries, indent=1) + "\n"):
        complain(line)
        raise typer.Exit(command.COULD_NOT)
    for one in new:
        call = "with its smallest call" if "call" in one else "without a call"
        of = one.get("property", "all properties")
        typer.echo(unpainted(f"{one['formula']}, {of}: listed {call}"))
    typer.echo(f"Now: gradoracle certify NAME --deviations {to}")
