"""`gradoracle merge`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gradoracle.conformance.cli.app import app
from gradoracle.conformance.cli.messages import complain
from gradoracle.conformance.cli.options import (
    CertificateFile,
    Github,
    Junit,
    OperatorsFrom,
    Verbose,
)
from gradoracle.conformance.cli.reading import certificate_in
from gradoracle.conformance.cli.running import finish, require_writable, show


@app.command()
def merge(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="The certificates of all shards.")
    ],
    *,
    file: CertificateFile = None,
    junit: Junit = None,
    github: Github = False,
    any_machine: Annotated[
        bool,
        typer.Option("--any-machine", help="Merge shards of machines that differ, and name all."),
    ] = False,
    operators_from: OperatorsFrom = [],  # noqa: B006 - Typer reads it only
    verbose: Verbose = False,
) -> None:
    """Merge the certificates of a run's shards into that of the run.

    All are of the same backend, files, seed, profile, suite and environment,
    and every check is in exactly one of them; else the difference is named. The
    shards can run anywhere: nothing is run again.

    gradoracle certify mine --seed 7 --shard 1/2 --certificate 1.json

    gradoracle certify mine --seed 7 --shard 2/2 --certificate 2.json

    gradoracle merge 1.json 2.json --certificate whole.json

    Exit code: that of certify without shards; 2: they are no shards of one run.
    """
    del operators_from  # its callback has read it
    from rich.console import Console  # noqa: PLC0415 - --help stays quick

    from gradoracle.conformance.runs import command, parts  # noqa: PLC0415

    require_writable([file] if file else [], junit, [])
    told = {str(one): certificate_in(one) for one in files}
    if len(told) < len(files):
        raise typer.BadParameter("a file is named twice")
    try:
        whole = parts.merged(told, any_machine=any_machine)
    except parts.NotMergeable as error:
        complain(str(error))
        raise typer.Exit(command.USAGE) from error
    troubles: list[str] = []
    show(whole, Console(highlight=False, markup=False), file, troubles, whole=verbose)
    finish([whole], junit, troubles, github=github)
