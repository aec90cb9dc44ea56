"""The command itself: its help, `--version` and where backends are looked for."""

from __future__ import annotations

import sys
from pathlib import Path
from shutil import get_terminal_size
from textwrap import wrap
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from gradoracle.conformance.cli import settings

NARROW = 100  # columns below which tables leave too little for words, and cut long ones


WIDTH = get_terminal_size().columns
IN_TABLES = WIDTH >= NARROW  # is help; else it is in plain lines, and errors are in boxes still


_Context: Any = TyperGroup.context_class  # Click's, or that of the Click that Typer brings
_Formatter: Any = _Context.formatter_class


class Columns(_Formatter):  # type: ignore[misc]
    """Help in plain lines, of which the names of options take a third at most."""

    def write_dl(self, rows: Any, col_max: int = 30, col_spacing: int = 2) -> None:
        """Write names and what they mean, in words that no line cuts at a hyphen."""
        rows, most = [*rows], min(col_max, self.width // 3)
        names = min(max(len(name) for name, _ in rows), most) if rows else 0
        room = max(self.width - self.current_indent - names - col_spacing, 10)
        wrapped = (wrap(text, room, break_on_hyphens=False) for _, text in rows)
        meanings = ["\n".join(("\b", *lines)) if lines else "" for lines in wrapped]
        super().write_dl([*zip((n for n, _ in rows), meanings, strict=True)], most, col_spacing)


class Context(_Context):  # type: ignore[misc]
    """What a command is called in."""

    formatter_class = Columns


class Commands(TyperGroup):
    """Lists commands with their first sentences whole; Click cuts them to a line."""

    context_class = Context

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help of the command itself."""
        style = self.rich_markup_mode
        self.rich_markup_mode = style if IN_TABLES else None
        try:
            super().format_help(ctx, formatter)
        finally:
            self.rich_markup_mode = style

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a command by its name, or None."""
        found: Any = super().get_command(ctx, cmd_name)
        if found is None:
            return None
        found.context_class = Context
        found.rich_markup_mode = self.rich_markup_mode if IN_TABLES else None
        if found.help and not found.short_help:
            found.short_help = " ".join(found.help.partition("\n\n")[0].split())
        return found


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    context_settings={} if IN_TABLES else {"terminal_width": WIDTH},
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
