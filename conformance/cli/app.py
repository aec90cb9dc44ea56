"""The command itself: its help, `--version` and where backends are looked for."""

from __future__ import annotations

import sys
from pathlib import Path
from shutil import get_terminal_size
from typing import Annotated, Literal

import typer

from gradoracle.conformance.cli import settings

NARROW = 60  # columns below which tables would cut the names of options


WIDTH = get_terminal_size().columns
# Of help: paragraphs and tables, or on narrow terminals plain lines of this width.
STYLE: Literal["markdown"] | None = "markdown" if WIDTH >= NARROW else None
app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=STYLE,
    context_settings={} if STYLE else {"terminal_width": WIDTH},
    help="Is this kernel right, forward and every gradient, for all shapes? "
    "Certify a backend with:  gradoracle certify NAME  (or  pytest --pyargs gradoracle.conformance "
    "--backend NAME)",
)


def _version(wanted: bool) -> None:  # noqa: FBT001 - typer's callback
    if wanted:
        from gradoracle.conformance.runs.environment import suite_version  # noqa: PLC0415 - --help stays quick

        typer.echo(f"gradoracle {suite_version()}")
        raise typer.Exit


@app.callback()
def main(
    context: typer.Context,
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Take the options of the command itself."""
    del version
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # as `python -m` does: a backend may lie right here
    if context.invoked_subcommand == "certify":
        context.obj = settings.found()
        context.default_map = {"certify": context.obj.values}
        if context.obj.folder is not None and str(context.obj.folder) not in sys.path:
            sys.path.insert(1, str(context.obj.folder))
