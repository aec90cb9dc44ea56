"""The `gradoracle` command."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Is this convolution right, forward and every gradient, for all shapes? "
    "Certify a backend with:  pytest --pyargs conformance --backend NAME",
)


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer's callback
    if wanted:
        from conformance.environment import suite_version  # noqa: PLC0415 - --help stays quick

        typer.echo(f"gradoracle {suite_version()}")
        raise typer.Exit


@app.callback()
def main(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Take the options of the command itself."""


@app.command()
def backends() -> None:
    """List the registered backends: from where, with which functions, or why they cannot run."""
    from rich.console import Console  # noqa: PLC0415 - --help stays quick
    from rich.table import Table  # noqa: PLC0415

    from conformance.backend import FUNCTIONS  # noqa: PLC0415
    from conformance.registry import HOW_TO_REGISTER, UnusableBackend, load, registered  # noqa: PLC0415

    table = Table(box=None, pad_edge=False)
    for title in ("backend", "from", "import path", "functions"):
        table.add_column(title, overflow="fold")
    for entry in registered().values():
        try:
            backend = load(entry.name)
        except UnusableBackend as error:
            has = f"cannot run: {error}"
        else:
            absent = [name for name in FUNCTIONS if name not in backend.functions]
            has = ", ".join(backend.functions) or "none of the protocol's"
            has += f"; not claimed: {', '.join(absent)}" if absent else ""
        table.add_row(entry.name, entry.distribution, entry.path, has)
    console = Console(highlight=False, markup=False)
    console.print(table)
    console.print(f"\nTo add yours: {HOW_TO_REGISTER}")


@app.command()
def explain(
    formula: Annotated[
        str | None,
        typer.Argument(
            metavar="[FORMULA]",
            help="A formula or an operator, such as conv2d_grad_input; none: list all.",
        ),
    ] = None,
) -> None:
    """Show a formula: equation, loops, how it is judged, errata, and how it is misunderstood."""
    from rich.console import Console  # noqa: PLC0415 - --help stays quick

    from conformance.explain import UnknownFormula, find, show, show_all  # noqa: PLC0415

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


if __name__ == "__main__":
    app()
