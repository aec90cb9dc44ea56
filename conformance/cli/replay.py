"""`gradoracle replay`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from gradoracle.conformance.cli.app import app
from gradoracle.conformance.cli.messages import complain, tell
from gradoracle.conformance.cli.options import OperatorsFrom
from gradoracle.conformance.cli.reading import certificate_in, claim_as_the_run, unpainted


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A certificate with mismatches.")],
    number: Annotated[
        int | None, typer.Argument(metavar="N", help="Which of them; none: all.")
    ] = None,
    *,
    script: Annotated[
        bool, typer.Option("--script", help="Print the Python that the certificate has of them.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Run that Python, in an isolated process.")
    ] = False,
    backend: Annotated[
        str, typer.Option(metavar="NAME", help="Check this backend; default: the certificate's.")
    ] = "",
    operators_from: OperatorsFrom = [],  # noqa: B006 - Typer reads it only
) -> None:
    """Check the counterexamples of a certificate again, on the backend as it is now.

    The calls are made of the certificate's data, and the same property is
    checked on them, with the backend in a process of its own. No text of the
    certificate is run, but the backend that it names is imported. Its scripts are
    for people to read: --script prints them, and --yes runs them.

    `gradoracle replay certificate.json --backend ./kernels.py` checks another backend on the
    same calls, as a new version of the file, or the file that holds what was checked as text.

    Exit code 0: all are mended; 1: one is still there; 2: one could not be run,
    as where the backend is not found, or came and went and does not show now, or
    there is no such mismatch; 130: stopped.
    """
    del operators_from  # its callback has read it
    told = certificate_in(file)
    found = told.mismatches
    if not found or not 1 <= (1 if number is None else number) <= len(found):
        missing = 1 if number is None else number
        complain(f"{file} has {len(found)} mismatches; there is no number {missing}")
        raise typer.Exit(2)
    numbers = range(1, len(found) + 1) if number is None else [number]
    if backend and (script or yes):
        complain("--backend is of calls that are made anew; a script has its backend in its text")
        raise typer.Exit(2)
    if script and not yes:
        for at in numbers:
            typer.echo(f"# {at}. {_words(found[at - 1])}\n{unpainted(found[at - 1].script)}")
        return
    claim_as_the_run(told)
    try:
        raise typer.Exit(_played(told, numbers, backend, scripts=yes))
    except KeyboardInterrupt:
        complain("stopped")
        raise typer.Exit(130) from None


def _played(told: Any, numbers: Sequence[int], backend: str, *, scripts: bool) -> int:
    """Say what became of some mismatches, and return the exit code."""
    from gradoracle.conformance.runs import playback  # noqa: PLC0415 - --help stays quick
    from gradoracle.conformance.runs.loading import confinement_of  # noqa: PLC0415

    found = told.mismatches
    ends = (
        ((at, playback.script_run(found[at - 1].script, confinement_of(told))) for at in numbers)
        if scripts
        else playback.replayed(told, numbers, backend)
    )
    worst = []
    for at, ended in ends:
        worst.append(playback.CODES[ended.end])
        tell(f"{at}. {_words(found[at - 1])}: {playback.WORDS[ended.end]}")
        if ended.text:
            tell(unpainted(f"   {ended.text}"))
    return 1 if 1 in worst else max(worst, default=0)


def _words(found: Any) -> str:
    from gradoracle.conformance.backends.caller import printable  # noqa: PLC0415 - --help stays quick

    return printable(f"{found.formula} {found.property_name}")
