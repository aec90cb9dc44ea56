"""`gradoracle backends`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from gradoracle.conformance.cli.app import app

if TYPE_CHECKING:
    from gradoracle.conformance.reports.terminal import Look


@app.command()
def backends(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="List its functions; a path or a file will do."),
    ] = None,
) -> None:
    """List the registered backends: how many functions each has, or why it cannot run.

    `gradoracle backends im2col` lists the functions of one, and what it lacks.

    Exit code 0; 2: there is no backend NAME; 3: it cannot run.
    """
    from gradoracle.conformance.backends.registry import (  # noqa: PLC0415 - --help stays quick
        HOW_TO_REGISTER,
        UnknownBackend,
        UnusableBackend,
        registered,
    )
    from gradoracle.conformance.reports.terminal import look_of  # noqa: PLC0415

    here = look_of(sys.stdout)
    if name is not None:
        try:
            lines = [*_functions_of(name, here)]
        except (UnknownBackend, UnusableBackend) as error:
            typer.echo("\n".join(here.wrapped(str(error), rest="")), err=True)
            raise typer.Exit(2 if isinstance(error, UnknownBackend) else 3) from error
        typer.echo("\n".join(lines))
        return
    entries = registered()
    width = max(map(len, entries)) + 2
    for one, entry in entries.items():
        whose = entry.distribution
        of = "" if whose.partition(" ")[0] == "gradoracle" else f", of {whose}"
        text = _has(one) + of
        shown = here.wrapped(text, first=one.ljust(width), rest=" " * width)
        typer.echo("\n".join(shown))  # each as soon as it is loaded
    for text in (
        "gradoracle backends NAME lists the functions of one.",
        f"To add yours: {HOW_TO_REGISTER}",
    ):
        typer.echo("\n".join(["", *here.wrapped(text, rest="")]))


def _has(name: str) -> str:
    """Return how many functions of the protocol a backend has, or why it cannot run."""
    from gradoracle.conformance.backends.backend import FUNCTIONS  # noqa: PLC0415
    from gradoracle.conformance.backends.registry import UnusableBackend  # noqa: PLC0415
    from gradoracle.conformance.runs.loading import load  # noqa: PLC0415

    try:
        return f"{len(load(name).functions)} of {len(FUNCTIONS)} functions"
    except UnusableBackend as error:
        return f"cannot run: {str(error).partition('cannot be loaded: ')[2] or error}"


def _functions_of(name: str, look: Look) -> Iterator[str]:
    """Yield where a backend comes from, what it has and what it lacks, an operator a line.

    Raises:
        UnknownBackend, UnusableBackend: as `load` does.
    """
    from gradoracle.conformance.backends.backend import FUNCTIONS  # noqa: PLC0415
    from gradoracle.conformance.backends.registry import located  # noqa: PLC0415
    from gradoracle.conformance.reports.matrix import operator_of  # noqa: PLC0415
    from gradoracle.conformance.runs.loading import load  # noqa: PLC0415

    path, origin = located(name)
    has, homes = load(name).functions, operator_of()
    yield from look.wrapped(f"{name} ({origin}): {path}")
    titles = {True: f"{len(has)} of {len(FUNCTIONS)} functions", False: "not there"}
    for there, title in titles.items():
        found: dict[str, list[str]] = {}
        for one in FUNCTIONS:
            if (one in has) is there:
                found.setdefault(homes.get(one, one), []).append(one)
        yield from ["", f"{title}:"] if found else []
        for names in found.values():
            yield from look.wrapped(", ".join(names), first="  ", rest="    ")
