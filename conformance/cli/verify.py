"""`gradoracle verify`."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from gradoracle.conformance import DEVIATIONS
from gradoracle.conformance.cli.app import app
from gradoracle.conformance.cli.messages import complain, tell
from gradoracle.conformance.cli.options import OperatorsFrom
from gradoracle.conformance.cli.reading import claim_as_the_run, content_and_certificate, unpainted
from gradoracle.conformance.cli.running import certified, reached


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A certificate, as JSON.")],
    *,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Checks at a time.")] = 1,
    shard: Annotated[
        str,
        typer.Option(metavar="N|all", help="Of a campaign, which shard; default: one at random."),
    ] = "",
    any_machine: Annotated[
        bool,
        typer.Option("--any-machine", help="Only list versions and processors that differ."),
    ] = False,
    operators_from: OperatorsFrom = [],  # noqa: B006 - Typer reads it only
) -> None:
    """Run a certificate's checks again, and compare all that it says with what comes of them.

    The backend runs in a process of its own, within the certificate's limits, or
    the suite's own where it names none. No journal is read or written.

    Compared are the verdict, the level, the witnesses, every outcome (status,
    counts, errors, counterexamples), the contract, what was expected, how the
    backend was kept, which modules it loaded, what it did beside answering and
    what it changed. Each difference is a line, and makes the exit code 1. Times
    are not compared, nor which function was the first to be seen changing
    something, nor where functions are written: that depends on the folder.

    Versions (Python, NumPy, PyTorch, modules), processor and BLAS are of the
    machine: others mean that the certificate was made elsewhere, or that it was
    changed; from here that cannot be told. They make the exit code 1, too,
    unless --any-machine lists them only. Other versions of Hypothesis or NumPy
    may draw other calls; then the verdicts differ as well.

    Where checks differ in bits only, they are run once more: what is another in
    every run here is listed, and no failure.

    `gradoracle verify certificate.json --any-machine` on another machine.

    Of a campaign's, one shard is run again, or all one after the other.

    Exit code 0: all of it is the same; 1: something differs; 2: no certificate;
    3: the backend cannot be loaded, or is another one, or the suite is.
    """
    del operators_from  # its callback has read it
    from rich.console import Console  # noqa: PLC0415 - --help stays quick

    from gradoracle.conformance.campaigns import verification  # noqa: PLC0415

    content, told = content_and_certificate(file)
    claim_as_the_run(told)
    os.environ[DEVIATIONS] = _listed_again(told)
    _require_same_backend(told)
    if shard and told.campaign is None:
        raise typer.BadParameter(f"{file} is of one run, not of a campaign: it has no shards")
    console = Console(highlight=False, markup=False)
    found = verification.Differences()
    if told.campaign is not None:
        found.wrong += verification.contradictions(content, told)
        found.take(_replayed_shards(told, shard, jobs, console))
    else:
        found.take(_verified(content, told, jobs, console))
    raise typer.Exit(_differing(file, told.backend, found, any_machine=any_machine))


def _listed_again(told: Any) -> str:
    """Return a file of the deviations that a certificate has from one, "" where it has none."""
    if "deviations from" not in told.environment:
        return ""
    folder = tempfile.mkdtemp(prefix="gradoracle")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    file = Path(folder, "deviations.json")
    try:
        entries = [
            {**one, "call": json.loads(one["call"]) if one["call"] else None}
            for one in told.contract["deviations"]
        ]
        file.write_text(json.dumps(entries), encoding="utf-8")
    except (ValueError, RecursionError) as error:
        complain(unpainted(f"a deviation of the certificate records no call: {error}"))
        raise typer.Exit(2) from error
    return str(file)


def _require_same_backend(told: Any) -> None:
    """Say what is another backend or suite here than a certificate's, and end."""
    from gradoracle.conformance.runs import command  # noqa: PLC0415 - --help stays quick

    try:
        others = command.others(told)
    except (OSError, ValueError) as error:  # of a name that no file can have
        others = [f"{told.backend!r} cannot be a backend: {error}"]
    for line in others:
        complain(unpainted(line))
    if others:
        raise typer.Exit(command.COULD_NOT)


def _differing(file: Path, backend: str, found: Any, *, any_machine: bool) -> int:
    """Print what a certificate says otherwise than a run now; return the exit code."""
    wrong = list(dict.fromkeys(found.wrong))
    elsewhere = list(dict.fromkeys(found.of_the_machine))
    for line in wrong:
        tell(line)
    for line in elsewhere:
        tell(f"another machine, or changed: {line}")
    for line in found.unsteady:
        tell(f"another in every run here, no failure: {line}")
    if wrong:
        tell(f"{backend}: other verdicts or claims than {file} has")
    elif elsewhere:
        hint = "" if any_machine else "; --any-machine accepts that"
        typer.echo(
            f"{backend}: the same verdicts as {file} has, on a machine that differs as listed{hint}"
        )
    else:
        typer.echo(f"{backend}: the same verdicts as {file} has")
    return int(bool(wrong or (elsewhere and not any_machine)))


def _verified(content: Any, told: Any, jobs: int, console: Any) -> Any:
    """Run the checks of a certificate of one run again; return what it says differently."""
    from gradoracle.conformance.backends.registry import UnknownBackend  # noqa: PLC0415
    from gradoracle.conformance.campaigns import verification  # noqa: PLC0415 - --help stays quick
    from gradoracle.conformance.runs import command  # noqa: PLC0415

    found = verification.Differences(verification.contradictions(content, told))
    try:
        order = command.order_of(told, jobs)
        again = reached(lambda: command.certify(order, console), "nothing is kept")
        found.take(verification.compared(content, told, again))
        unlike = [*verification.alike(told, again)]
        cases = [(now.formula, now.property_name) for _, now in unlike]
        third = reached(lambda: command.repeated(order, cases), "nothing is kept") if cases else ()
    except UnknownBackend as error:
        complain(str(error))
        raise typer.Exit(command.COULD_NOT) from error
    except ValueError as error:
        found.wrong.append(unpainted(f"its checks cannot be run here: {error}"))
        return found
    by_check = {(one.formula, one.property_name): one for one in third}
    same = not found.of_the_machine
    found.take(verification.settled_by_repeating(unlike, by_check, same_machine=same))
    return found


def _replayed_shards(told: Any, which: str, jobs: int, console: Any) -> Any:
    """Run one shard of a campaign again, or all; return what they say differently."""
    import secrets  # noqa: PLC0415 - --help stays quick

    from gradoracle.conformance.campaigns import shards, verification  # noqa: PLC0415
    from gradoracle.conformance.runs import command  # noqa: PLC0415

    judged = {str(one.number): one for one in told.campaign.shards if not one.lost}
    if not judged:
        complain("none of its shards was checked: there is nothing to replay")
        raise typer.Exit(command.COULD_NOT)
    if which not in ("", "all", *judged):
        raise typer.BadParameter(f"no shard {which!r} was checked; pick from {', '.join(judged)}")
    found, replayed = verification.Differences(), []
    for number in judged if which == "all" else [which or secrets.choice([*judged])]:
        one = judged[number]
        chosen = "" if which else ", picked at random"
        total = len(told.campaign.shards)
        console.print(f"replaying shard {number} of {total}, seed {one.seed}{chosen}")
        again = certified(command.order_of(told, jobs, one), console)
        found.wrong += shards.contradictions(told, one, again)
        found.take(verification.disclosed(told, again, part=True))
        replayed.append(shards.Shard.of(one.number, again))
    if which == "all":
        found.wrong += shards.other_sums(told, replayed)
    return found
