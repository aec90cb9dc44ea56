"""What commands that run checks have in common: files, errors and exit codes."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import typer

from gradoracle.conformance.cli.messages import complain

JOB_SUMMARY = "GITHUB_STEP_SUMMARY"  # the variable that names a job's summary


def certified(order: Any, console: Any, troubles: list[str] | None = None) -> Any:
    """Return the certificate of an order; what keeps it from being run is an exit code."""
    from gradoracle.conformance.runs import command  # noqa: PLC0415 - --help stays quick

    goes_on = f"{order.journal} has what was checked: --resume goes on"
    return told(
        lambda: command.certify(order, console, troubles),
        goes_on if order.keeps else "nothing is kept",
    )


def list_checks(order: Any, *, several: bool) -> None:
    """Print the checks of an order, a line each: the formula and the property."""
    from gradoracle.conformance.runs import command  # noqa: PLC0415 - --help stays quick

    for formula, name in told(lambda: command.checks_of(order), "nothing was run"):
        typer.echo(f"{order.name} {formula} {name}" if several else f"{formula} {name}")


def told(run: Callable[[], Any], goes_on: str) -> Any:
    """Return what a run does, or say why it cannot, or how one that was stopped goes on."""
    from gradoracle.conformance.backends.errors import UsageError  # noqa: PLC0415
    from gradoracle.conformance.backends.registry import UnknownBackend  # noqa: PLC0415
    from gradoracle.conformance.runs import command  # noqa: PLC0415 - --help stays quick

    try:
        return reached(run, goes_on)
    except (UnknownBackend, UsageError) as error:
        complain(str(error))
        raise typer.Exit(command.USAGE) from error


def reached(run: Callable[[], Any], goes_on: str) -> Any:
    """Return what a run does, or say why this machine cannot; what was asked wrongly is raised."""
    from gradoracle.conformance.backends.errors import OURS, CouldNotRunError, UsageError  # noqa: PLC0415
    from gradoracle.conformance.backends.registry import UnknownBackend, UnusableBackend  # noqa: PLC0415
    from gradoracle.conformance.operators import OPERATORS  # noqa: PLC0415
    from gradoracle.conformance.operators.own_formulas import formula_error  # noqa: PLC0415
    from gradoracle.conformance.reports.output import CannotWrite  # noqa: PLC0415
    from gradoracle.conformance.runs import command  # noqa: PLC0415 - --help stays quick

    try:
        return run()
    except (UnknownBackend, UsageError):
        raise
    except (UnusableBackend, CannotWrite, CouldNotRunError) as error:
        complain(str(error))
        raise typer.Exit(command.COULD_NOT) from error
    except KeyboardInterrupt:
        complain(f"stopped; {goes_on}")
        raise typer.Exit(130) from None
    except Exception as error:
        if message := formula_error(error, OPERATORS):
            complain(message)
            raise typer.Exit(command.COULD_NOT) from error
        if not hasattr(error, "__notes__"):
            error.add_note(OURS)
        typer.echo("".join(traceback.format_exception(error)), err=True)
        raise typer.Exit(command.COULD_NOT) from error


def require_located(backends: Sequence[str]) -> None:
    """Say which name is no backend's, and end, before the first of several is checked."""
    from gradoracle.conformance.backends.registry import located  # noqa: PLC0415 - --help stays quick

    told(lambda: [located(name) for name in backends], "nothing is checked")


def require_writable(files: Sequence[Path], junit: Path | None, journals: Sequence[Path]) -> None:
    """Say which file cannot be written, and end, before anything runs."""
    from gradoracle.conformance.reports import output  # noqa: PLC0415 - --help stays quick
    from gradoracle.conformance.runs import command  # noqa: PLC0415 - --help stays quick

    try:
        for path in files:
            output.require_writable("--certificate", path)
        if junit is not None:
            output.require_writable("--junit", junit)
        for path in journals:
            output.require_folder("the journal's folder", path.parent)
    except output.CannotWrite as error:
        complain(str(error))
        raise typer.Exit(command.COULD_NOT) from error


def written(what: str, path: Path, text: str) -> list[str]:
    """Write a file; return why it cannot be written, if it cannot."""
    from gradoracle.conformance.reports import output  # noqa: PLC0415 - --help stays quick

    try:
        output.write(what, path, text)
    except output.CannotWrite as error:
        return [str(error)]
    return []


def show(
    certificate: Any, console: Any, file: Path | None, troubles: list[str], *, whole: bool,
    repeated: Any = None,
) -> None:  # fmt: skip
    """Write a certificate to its file, if it has one, and print it.

    `repeated` is what its `next:` line has again of the command line.
    """
    from gradoracle.conformance.reports import formats  # noqa: PLC0415 - --help stays quick
    from gradoracle.conformance.reports.terminal import look_of  # noqa: PLC0415

    if file is not None:
        lost = written("--certificate", file, certificate.to_json())
        troubles += lost
        file = None if lost else file
    look = look_of(console.file)
    given: dict[str, Any] = {} if repeated is None else {"repeated": repeated}
    for line in formats.summary(certificate, look, whole=whole, file=file, **given):
        typer.echo(line, file=console.file, color=True)


def printed(text: str, file: Path | None) -> None:
    """Write a text to a file, or print it where there is none; what fails is an exit code."""
    from gradoracle.conformance.runs import command  # noqa: PLC0415 - --help stays quick

    if file is None:
        typer.echo(text, nl=False)
        return
    for line in written("--output", file, text):
        complain(line)
        raise typer.Exit(command.COULD_NOT)


def prepared(file: Path, *, writes: bool) -> Any:
    """Return the calls that are remembered in a file, which can be written where it is to be."""
    from gradoracle.conformance.reports import output  # noqa: PLC0415 - --help stays quick
    from gradoracle.conformance.runs import regressions  # noqa: PLC0415

    if writes:
        output.require_writable("--remember", file)
    return regressions.read(file)


def remembered(file: Path, certificate: Any, console: Any) -> list[str]:
    """Keep the counterexamples of a run in a file; return why it cannot be written."""
    from gradoracle.conformance.backends.errors import UsageError  # noqa: PLC0415 - --help stays quick
    from gradoracle.conformance.reports.output import CannotWrite  # noqa: PLC0415
    from gradoracle.conformance.runs import regressions  # noqa: PLC0415

    try:
        count = regressions.remember(file, certificate)
    except (UsageError, CannotWrite) as error:
        return [str(error)]
    console.print(f"{count} new call{'s' * (count != 1)} remembered in {file}", soft_wrap=True)
    return []


def finish(
    certificates: Sequence[Any], junit: Path | None, troubles: list[str], *, github: bool
) -> NoReturn:
    """Write what tells of all certificates, and end with their exit code."""
    from gradoracle.conformance.reports import formats  # noqa: PLC0415 - --help stays quick
    from gradoracle.conformance.runs import command  # noqa: PLC0415

    if junit is not None:
        troubles += written("--junit", junit, formats.junit(certificates))
    if github:
        troubles += on_github(certificates)
    raise typer.Exit(_ended(command.exit_code(certificates), troubles))


def on_github(certificates: Sequence[Any]) -> list[str]:
    """Print annotations and add to the job's summary, where there is one; return what failed."""
    from gradoracle.conformance.reports import formats, output, summary  # noqa: PLC0415 - --help stays quick

    for line in formats.workflow_commands(certificates):
        typer.echo(line)
    page = os.environ.get(JOB_SUMMARY)
    if not page:
        return []
    try:
        output.append(JOB_SUMMARY, Path(page), summary.markdown(certificates))
    except output.CannotWrite as error:
        return [str(error)]
    return []


def _ended(code: int, troubles: Sequence[str]) -> int:
    """Return the exit code of a run, after saying what could not be written."""
    from gradoracle.conformance.runs import command  # noqa: PLC0415 - --help stays quick

    for line in troubles:
        complain(line)
    return command.COULD_NOT if troubles else code
