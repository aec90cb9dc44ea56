"""`gradoracle explain`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from gradoracle.conformance.cli.app import app
from gradoracle.conformance.cli.messages import complain
from gradoracle.conformance.cli.options import OperatorsFrom, known_formulas
from gradoracle.conformance.cli.pages import require_pages, write_page


@app.command()
def explain(
    formula: Annotated[
        str | None,
        typer.Argument(
            metavar="FORMULA",
            help="A formula or an operator, such as conv2d_grad_input; none: list all.",
            autocompletion=known_formulas,
        ),
    ] = None,
    *,
    everything: Annotated[
        bool, typer.Option("--all", help="Print all that is known of it, however long.")
    ] = False,
    html: Annotated[
        str,
        typer.Option(
            metavar="FILE|FOLDER/",
            help="Write its page, with pictures to move; without FORMULA all pages and an index.",
        ),
    ] = "",
    operators_from: OperatorsFrom = [],  # noqa: B006 - Typer reads it only
) -> None:
    """Show a formula: an example in numbers, equation, loops, how it is checked, errata.

    `gradoracle explain conv2d_grad_input`; with `--html conv.html` as a page with pictures that
    move, and `gradoracle explain --html book/` writes the pages of all formulas.

    Exit code 0; 2: there is no such formula; 3: a page could not be written, or a formula of your
    own raised an exception.
    """
    del operators_from  # its callback has read it
    from rich.console import Console  # noqa: PLC0415 - --help stays quick

    from gradoracle.conformance.reports.explain import UnknownFormula, find, show, show_all  # noqa: PLC0415

    console = Console(highlight=False, markup=False)
    if formula is None:
        with _formulas_that_fail_told():
            if html:
                _write_book(html)
            else:
                show_all(console)
        return
    try:
        topic = find(formula)
    except UnknownFormula as error:
        complain(str(error))
        raise typer.Exit(2) from error
    with _formulas_that_fail_told():
        if html:
            _write_one(topic, html)
        else:
            show(console, topic, everything=everything)


@contextmanager
def _formulas_that_fail_told() -> Iterator[None]:
    """Within it, a formula of one's own that raises an exception ends the command in a sentence."""
    from gradoracle.conformance.backends.errors import CouldNotRunError  # noqa: PLC0415 - --help stays quick
    from gradoracle.conformance.runs.certify import formula_errors  # noqa: PLC0415
    from gradoracle.conformance.runs.command import COULD_NOT  # noqa: PLC0415

    try:
        with formula_errors([]):
            yield
    except CouldNotRunError as error:
        complain(str(error))
        raise typer.Exit(COULD_NOT) from error


def _write_one(topic: Any, html: str) -> None:
    """Write the page of a formula, into a folder under its name."""
    from gradoracle.conformance.pages.formula_page import formula_page  # noqa: PLC0415 - --help stays quick

    name = f"{topic.formula.__name__}.html"
    file = _made(html) / name if _is_folder(html) else Path(html)
    require_pages([file])
    write_page(file, formula_page(topic))


def _write_book(html: str) -> None:
    """Write all pages into a folder."""
    if not _is_folder(html):
        raise typer.BadParameter(
            f"--html {html} names no folder: without FORMULA many pages are written; name a folder "
            "that exists, or end it with a /"
        )
    from gradoracle.conformance.pages.book import INDEX, book  # noqa: PLC0415 - --help stays quick

    folder = _made(html)
    require_pages([folder / INDEX])
    count = 0
    for name, text in book():
        write_page(folder / name, text, silent=True)
        count += 1
    typer.echo(f"written: {folder / INDEX} and {count - 1} formulas")


def _is_folder(html: str) -> bool:
    return html.endswith(("/", os.sep)) or Path(html).is_dir()


def _made(html: str) -> Path:
    """Return a folder, made where it is not there."""
    from gradoracle.conformance.runs import command  # noqa: PLC0415 - --help stays quick

    try:
        Path(html).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        complain(f"--html {html}: cannot be made: {error.strerror}")
        raise typer.Exit(command.COULD_NOT) from error
    return Path(html)
