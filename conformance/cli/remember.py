"""`gradoracle remember`."""

from __future__ import annotations

from typing import Annotated

import typer

from gradoracle.conformance.cli.app import app
from gradoracle.conformance.cli.messages import complain
from gradoracle.conformance.cli.options import OperatorsFrom, Regressions
from gradoracle.conformance.cli.reading import unpainted


@app.command()
def remember(
    *,
    file: Regressions = None,
    forget: Annotated[
        int | None, typer.Option(metavar="N", help="Remove this call, as the list numbers it.")
    ] = None,
    operators_from: OperatorsFrom = [],  # noqa: B006 - Typer reads it only
) -> None:
    """List the calls that certify tries first, or forget one of them.

    gradoracle certify mine --remember keeps the counterexamples that it finds.
    One that holds meanwhile stays: it is a regression test.

    gradoracle remember --forget 2

    Exit code 0: done; 2: there is no such call, or the file has none.
    """
    del operators_from  # its callback has read it
    from gradoracle.conformance.backends.errors import UsageError  # noqa: PLC0415 - --help stays quick
    from gradoracle.conformance.reports.output import CannotWrite  # noqa: PLC0415
    from gradoracle.conformance.runs import command, regressions  # noqa: PLC0415

    path = file or regressions.FILE
    try:
        calls = regressions.read(path)
        if forget is not None and not 1 <= forget <= len(calls):
            raise typer.BadParameter(f"{path} has {len(calls)} calls; there is no number {forget}")
        for number, one in enumerate(calls, 1):
            if forget in (None, number):
                line = f"{one.backend}: {' '.join(one.check)}: {one.mismatch['headline']}"
                typer.echo(unpainted(f"{number}. {'forgotten: ' * (forget is not None)}{line}"))
        if forget is not None:
            regressions.write(path, [*calls[: forget - 1], *calls[forget:]])
        elif not calls:
            typer.echo(f"{path} has no calls")
    except (UsageError, CannotWrite) as error:
        complain(str(error))
        code = command.USAGE if isinstance(error, UsageError) else command.COULD_NOT
        raise typer.Exit(code) from error
