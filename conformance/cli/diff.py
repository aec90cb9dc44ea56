"""`gradoracle diff`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gradoracle.conformance.cli.app import app
from gradoracle.conformance.cli.messages import tell
from gradoracle.conformance.cli.options import Html
from gradoracle.conformance.cli.pages import require_pages, write_page
from gradoracle.conformance.cli.reading import certificate_in, unpainted


@app.command()
def diff(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A certificate, as JSON.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="Another one.")],
    *,
    html: Html = None,
) -> None:
    """Say what two certificates say differently: verdicts, calls, files, versions.

    Checks that neither has checked, for different reasons, are counted in a line; it is no
    difference.

    `gradoracle diff before.json after.json` after a change; with `--html diff.html` as a page.

    Exit code 0: nothing; 1: something; 2: one of them is no certificate; 3: the page could not be
    written.
    """
    from gradoracle.conformance.runs.command import differences, in_neither  # noqa: PLC0415 - --help stays quick

    was, now = certificate_in(old), certificate_in(new)
    lines, left = differences(was, now), in_neither(was, now)
    if html is not None:
        require_pages([html])
        from gradoracle.conformance.pages.diff_page import diff_page  # noqa: PLC0415

        write_page(html, diff_page(was, now, lines, new.name, left))
    for line in [*(lines or ["no difference"]), *filter(None, [left])]:
        tell(unpainted(line))
    raise typer.Exit(1 if lines else 0)
