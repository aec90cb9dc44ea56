"""`gradoracle explain`."""

from __future__ import annotations

from typing import Annotated

import typer

from gradoracle.conformance.cli.app import app
from gradoracle.conformance.cli.options import OperatorsFrom


@app.command()
def explain(
    formula: Annotated[
        str | None,
        typer.Argument(
            metavar="[FORMULA]",
            help="A formula or an operator, such as conv2d_grad_input; none: list all.",
        ),
    ] = None,
    *,
    operators_from: OperatorsFrom = [],  # noqa: B006 - Typer reads it only
) -> None:
    """Show a formula: equation, loops, how it is checked, errata, and how it is misunderstood."""
    del operators_from  # its callback has read it
    from rich.console import Console  # noqa: PLC0415 - --help stays quick

    from gradoracle.conformance.reports.explain import UnknownFormula, find, show, show_all  # noqa: PLC0415

    console = Console(highlight=False, markup=False)
    if formula is None:
        show_all(console)
        return
    try:
        topic = find(formula)
    except UnknownFormula as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    show(console, topic)
