"""The `gradoracle` command."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from math import inf
from pathlib import Path
from typing import Annotated, Any

import typer

NO_DASK = (
    "a campaign needs Dask's distributed, which cannot be imported: "
    "pip install 'gradoracle[campaign]'"
)

# What `bench` and `history` both take.
Fail = Annotated[bool, typer.Option("--fail", help="Exit with 1 where something became slower.")]
Least = Annotated[float, typer.Option(help="The change of a time that is worth telling.")]
AnyMachine = Annotated[
    bool, typer.Option("--any-machine", help="Compare runs of different machines, too.")
]
Picture = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Draw history and roofline (PNG, SVG, PDF).")
]
Storage = Annotated[Path, typer.Option(metavar="FOLDER", help="Where runs are kept.")]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Is this convolution right, forward and every gradient, for all shapes? "
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
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Take the options of the command itself."""
    del version
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # as `python -m` does: a backend may lie right here


@app.command()
def backends() -> None:
    """List the registered backends: from where, with which functions, or why they cannot run."""
    from rich.console import Console  # noqa: PLC0415 - --help stays quick
    from rich.table import Table  # noqa: PLC0415

    from gradoracle.conformance.backends.backend import FUNCTIONS  # noqa: PLC0415
    from gradoracle.conformance.backends.registry import (  # noqa: PLC0415
        HOW_TO_REGISTER,
        UnusableBackend,
        registered,
    )
    from gradoracle.conformance.runs.loading import load  # noqa: PLC0415

    table = Table(box=None, pad_edge=False)
    for title in ("backend", "from", "import path", "functions"):
        table.add_column(title, overflow="fold")
    for entry in registered().values():
        try:
            backend = load(entry.name)
        except UnusableBackend as error:
            reason = str(error).partition("cannot be loaded: ")[2]
            has = f"cannot run: {reason or error}"
        else:
            absent = [name for name in FUNCTIONS if name not in backend.functions]
            has = ", ".join(backend.functions) or "none of the protocol's"
            has += f"; not claimed: {', '.join(absent)}" if absent else ""
            has = has if absent else f"all {len(FUNCTIONS)} of the protocol"
        table.add_row(entry.name, entry.distribution, entry.path, has)
    console = Console(highlight=False, markup=False)
    console.print(table)
    console.print(f"\nTo add yours: {HOW_TO_REGISTER}")


@app.command()
def certify(
    backend: Annotated[
        list[str],
        typer.Argument(
            metavar="BACKEND...",
            help="Registered names, import paths or files: ./kernels.py, kernel.cu.",
        ),
    ],
    *,
    operators: Annotated[
        list[str], typer.Option(metavar="NAME,...", help="Only these operators, such as conv2d.")
    ] = [],  # noqa: B006 - Typer reads it only
    dtypes: Annotated[
        list[str], typer.Option(metavar="NAME,...", help="Only these of the claimed dtypes.")
    ] = [],  # noqa: B006
    profile: Annotated[
        str, typer.Option(metavar="NAME", help="How hard: quick, certify or deep.")
    ] = "certify",
    seed: Annotated[int | None, typer.Option(help="Repeat the run that printed it.")] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Checks at a time.")] = 1,
    file: Annotated[
        Path | None, typer.Option("--certificate", help="Write the certificate here, as JSON.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML here.")] = None,
    github: Annotated[bool, typer.Option(help="Print annotations for GitHub Actions.")] = False,
    resume: Annotated[
        bool, typer.Option(help="Go on with the run that was interrupted in this folder.")
    ] = False,
    in_process: Annotated[
        bool, typer.Option(help="Judge in this process, to debug; a crash ends the run.")
    ] = False,
    forbid: Annotated[
        list[str], typer.Option(metavar="MODULE,...", help="Modules that it may not import.")
    ] = [],  # noqa: B006
    call_timeout: Annotated[
        float, typer.Option(help="Seconds of a call; a first one has at least 15, to compile.")
    ] = 10.0,
    import_timeout: Annotated[float, typer.Option(help="Seconds of the backend's import.")] = 60.0,
    memory: Annotated[float, typer.Option(help="GiB that its process may hold.")] = 8.0,
    at_scale: Annotated[
        bool,
        typer.Option(
            "--at-scale",
            help="Judge all layers of LeNet, VGG-16, ResNet-50, MobileNet, U-Net and FCN-8s, in "
            "batches of 1 and up to 32; without, the few small ones. A slow backend needs a longer "
            "--call-timeout.",
        ),
    ] = False,
    verbose: Annotated[bool, typer.Option(help="Print the whole certificate.")] = False,
) -> None:
    """Judge backends: every function they have, on drawn shapes, in a process of their own.

    Exit code 0: certified, or but for the known deviations that its contract lists, all printed;
    1: a mismatch, or a listed deviation that holds; 2: usage, or a journal that cannot be resumed;
    3: could not run, certifies nothing, or a file could not be written.
    """
    from gradoracle.conformance.backends.isolation import start  # noqa: PLC0415 - --help stays quick

    if not in_process:
        start.prepare()
    from rich.console import Console  # noqa: PLC0415

    from gradoracle.conformance.reports import formats  # noqa: PLC0415
    from gradoracle.conformance.runs import command  # noqa: PLC0415
    from gradoracle.conformance.runs.journal import place  # noqa: PLC0415

    if in_process and (forbid or jobs > 1):
        raise typer.BadParameter("--in-process goes with neither --forbid nor --jobs")
    confinement = _confinement(call_timeout, import_timeout, memory, forbid, in_process=in_process)
    console = Console(highlight=False, markup=False)
    certificates, troubles = [], list[str]()
    alone = len(set(backend)) == 1
    targets = {n: formats.own_file(file, n, alone=alone) for n in backend} if file else {}
    _require_writable([*targets.values()], junit, [place(name) for name in backend])
    for name in dict.fromkeys(backend):
        order = command.Order(
            name, _names(operators) or None, _names(dtypes) or None, _examples(profile), seed,
            jobs, resume, confinement, at_scale,
        )  # fmt: skip
        one = _certified(order, console, troubles)
        certificates.append(one)
        for line in formats.summary(one, whole=verbose):
            console.print(line, soft_wrap=True)
        if name in targets:
            troubles += _written("--certificate", targets[name], one.to_json())
    if junit is not None:
        troubles += _written("--junit", junit, formats.junit(certificates))
    for line in formats.workflow_commands(certificates) if github else ():
        typer.echo(line)
    raise typer.Exit(_ended(command.exit_code(certificates), troubles))


@app.command()
def campaign(
    backend: Annotated[
        str,
        typer.Argument(
            metavar="BACKEND", help="A registered name, an import path or a file, .py or .cu."
        ),
    ],
    *,
    calls: Annotated[
        int, typer.Option("--calls", min=1, metavar="N", help="How many to judge, at least.")
    ],
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, help="Workers here; default: one a core.")
    ] = None,
    scheduler: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Of a Dask scheduler whose workers are to judge.")
    ] = "",
    operators: Annotated[
        list[str], typer.Option(metavar="NAME,...", help="Only these operators, such as conv2d.")
    ] = [],  # noqa: B006 - Typer reads it only
    dtypes: Annotated[
        list[str], typer.Option(metavar="NAME,...", help="Only these of the claimed dtypes.")
    ] = [],  # noqa: B006
    profile: Annotated[
        str, typer.Option(metavar="NAME", help="How hard a shard looks: quick, certify or deep.")
    ] = "certify",
    seed: Annotated[int | None, typer.Option(help="Repeat the campaign that printed it.")] = None,
    file: Annotated[
        Path | None, typer.Option("--certificate", help="Write the certificate here, as JSON.")
    ] = None,
    journal: Annotated[
        Path | None,
        typer.Option(help="Where shards are kept; default: .gradoracle/BACKEND.campaign.jsonl."),
    ] = None,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML here.")] = None,
    github: Annotated[bool, typer.Option(help="Print annotations for GitHub Actions.")] = False,
    resume: Annotated[
        bool, typer.Option(help="Go on with the campaign in the journal; N may be another.")
    ] = False,
    forbid: Annotated[
        list[str], typer.Option(metavar="MODULE,...", help="Modules that it may not import.")
    ] = [],  # noqa: B006
    call_timeout: Annotated[
        float, typer.Option(help="Seconds of a call; a first one has at least 15, to compile.")
    ] = 10.0,
    import_timeout: Annotated[float, typer.Option(help="Seconds of the backend's import.")] = 60.0,
    memory: Annotated[float, typer.Option(help="GiB that its process may hold.")] = 8.0,
    at_scale: Annotated[
        bool, typer.Option("--at-scale", help="Judge all layers of real networks in every shard.")
    ] = False,
    verbose: Annotated[bool, typer.Option(help="Print the whole certificate.")] = False,
) -> None:
    """Certify a backend from seed to seed, on many workers, until N calls are judged.

    Every shard is a certification from a seed of its own. One certificate sums
    them up, with the smallest counterexample of every broken check. Which
    shards count depends on the seed and N only. A worker that is lost costs
    the shard that it was judging, which another one repeats.

    For example, a million calls on all cores, and further where that ended:

    gradoracle campaign im2col --calls 1000000 --certificate c.json

    gradoracle campaign im2col --calls 1000000 --certificate c.json --resume

    On several machines, with this gradoracle and the backend on each: on one
    dask scheduler, on all, for every core,
    dask worker tcp://HOST:8786 --nthreads 1, and here

    gradoracle campaign im2col --calls 1000000 --scheduler tcp://HOST:8786

    Exit code 0: certified; 1: a mismatch; 2: usage, or a journal that cannot be
    resumed; 3: could not run, a shard could not be judged, or a file could not be
    written.
    """
    from rich.console import Console  # noqa: PLC0415 - --help stays quick

    from gradoracle.conformance.reports import formats  # noqa: PLC0415
    from gradoracle.conformance.runs import command  # noqa: PLC0415
    from gradoracle.conformance.runs.journal import place  # noqa: PLC0415

    if scheduler and jobs is not None:
        raise typer.BadParameter("--jobs is of workers here: it goes without --scheduler")
    _require_writable([file] if file else [], junit, [journal or place(backend)])
    order = command.Order(
        backend, _names(operators) or None, _names(dtypes) or None, _examples(profile), seed,
        jobs or _cores(), resume, _confinement(call_timeout, import_timeout, memory, forbid),
        at_scale,
    )  # fmt: skip
    console = Console(highlight=False, markup=False)
    troubles: list[str] = []
    merged = _campaigned(order, calls, scheduler, journal, console, troubles)
    for line in formats.summary(merged, whole=verbose):
        console.print(line, soft_wrap=True)
    if file is not None:
        troubles += _written("--certificate", file, merged.to_json())
    if junit is not None:
        troubles += _written("--junit", junit, formats.junit([merged]))
    for line in formats.workflow_commands([merged]) if github else ():
        typer.echo(line)
    raise typer.Exit(_ended(command.exit_code([merged]), troubles))


def _require_writable(files: Sequence[Path], junit: Path | None, journals: Sequence[Path]) -> None:
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
        typer.echo(str(error), err=True)
        raise typer.Exit(command.COULD_NOT) from error


def _written(what: str, path: Path, text: str) -> list[str]:
    """Write a file; return why it cannot be written, if it cannot."""
    from gradoracle.conformance.reports import output  # noqa: PLC0415 - --help stays quick

    try:
        output.write(what, path, text)
    except output.CannotWrite as error:
        return [str(error)]
    return []


def _ended(code: int, troubles: Sequence[str]) -> int:
    """Return the exit code of a run, after saying what could not be written."""
    from gradoracle.conformance.runs import command  # noqa: PLC0415 - --help stays quick

    for line in troubles:
        typer.echo(line, err=True)
    return command.COULD_NOT if troubles else code


def _campaigned(
    order: Any, calls: int, scheduler: str, journal: Path | None, console: Any, troubles: list[str]
) -> Any:
    """Return the certificate of a campaign; what keeps it from being run is an exit code."""
    from gradoracle.conformance.runs import command  # noqa: PLC0415 - --help stays quick

    try:
        from gradoracle.conformance.campaigns import campaign as campaigns  # noqa: PLC0415 - Dask may be missing
    except ImportError as error:
        typer.echo(f"{NO_DASK} ({error})", err=True)
        raise typer.Exit(command.COULD_NOT) from error
    plan = campaigns.Plan(order, calls, scheduler, journal)
    return _told(
        lambda: campaigns.run(plan, console, troubles),
        f"{plan.journal} has what was judged: --resume goes on",
    )


def _cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _confinement(
    call_timeout: float, import_timeout: float, memory: float, forbid: list[str], *,
    in_process: bool = False,
) -> Any:  # fmt: skip
    from gradoracle.conformance.backends.isolation.isolated import GIB, Limits  # noqa: PLC0415 - --help stays quick
    from gradoracle.conformance.backends.registry import Confinement  # noqa: PLC0415

    given = {
        "--call-timeout": call_timeout, "--import-timeout": import_timeout, "--memory": memory
    }  # fmt: skip
    for name, value in given.items():
        if not 0 < value < inf:
            raise typer.BadParameter(f"{name} must be above 0 and finite, got {value:g}")
    first = max(call_timeout, Limits.first)
    limits = Limits(call_timeout, first, import_timeout, int(memory * GIB))
    return Confinement(in_process, limits, _names(forbid))


def _examples(profile: str) -> int:
    from gradoracle.conformance.drawing.profiles import PROFILES  # noqa: PLC0415 - --help stays quick

    if profile not in PROFILES:
        raise typer.BadParameter(f"no profile {profile!r}; there are {', '.join(PROFILES)}")
    return PROFILES[profile]


def _certified(order: Any, console: Any, troubles: list[str] | None = None) -> Any:
    """Return the certificate of an order; what keeps it from being run is an exit code."""
    from gradoracle.conformance.runs import command  # noqa: PLC0415 - --help stays quick

    goes_on = f"{order.journal} has what was judged: --resume goes on"
    return _told(
        lambda: command.certify(order, console, troubles),
        goes_on if order.keeps else "nothing is kept",
    )


def _told(run: Callable[[], Any], goes_on: str) -> Any:
    """Return what a run does, or say why it cannot, or how one that was stopped goes on."""
    from gradoracle.conformance.backends.errors import UsageError  # noqa: PLC0415
    from gradoracle.conformance.backends.registry import UnknownBackend  # noqa: PLC0415
    from gradoracle.conformance.runs import command  # noqa: PLC0415 - --help stays quick

    try:
        return _reached(run, goes_on)
    except (UnknownBackend, UsageError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(command.USAGE) from error


def _reached(run: Callable[[], Any], goes_on: str) -> Any:
    """Return what a run does, or say why this machine cannot; what was asked wrongly is raised."""
    from gradoracle.conformance.backends.errors import OURS, CouldNotRunError, UsageError  # noqa: PLC0415
    from gradoracle.conformance.backends.registry import UnknownBackend, UnusableBackend  # noqa: PLC0415
    from gradoracle.conformance.reports.output import CannotWrite  # noqa: PLC0415
    from gradoracle.conformance.runs import command  # noqa: PLC0415 - --help stays quick

    try:
        return run()
    except (UnknownBackend, UsageError):
        raise
    except (UnusableBackend, CannotWrite, CouldNotRunError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(command.COULD_NOT) from error
    except KeyboardInterrupt:
        typer.echo(f"stopped; {goes_on}", err=True)
        raise typer.Exit(130) from None
    except Exception as error:
        if not hasattr(error, "__notes__"):
            error.add_note(OURS)
        typer.echo("".join(traceback.format_exception(error)), err=True)
        raise typer.Exit(command.COULD_NOT) from error


def _names(given: list[str]) -> tuple[str, ...]:
    """Return what an option names, given once with commas or several times."""
    names = (name.strip() for text in given for name in text.split(","))
    return tuple(dict.fromkeys(filter(None, names)))


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
) -> None:
    """Run a certificate's checks again, and compare all that it says with what comes of them.

    The backend runs in a process of its own, within the certificate's limits, or
    the suite's own where it names none. No journal is read or written.

    Compared are the verdict, the level, the witnesses, every outcome (status,
    counts, errors, counterexamples), the contract, what was expected, how the
    backend was kept, which modules it loaded, what it did beside answering and
    what it changed. Each difference is a line, and makes the exit code 1. Times
    are not compared, nor which function was the first to be seen changing
    something.

    Versions (Python, NumPy, PyTorch, modules), processor and BLAS are of the
    machine: others mean that the certificate was made elsewhere, or that it was
    changed; from here that cannot be told. They make the exit code 1, too,
    unless --any-machine lists them only. Other versions of Hypothesis or NumPy
    may draw other calls; then the verdicts differ as well.

    Where checks differ in bits only, they are run once more: what is another in
    every run here is listed, and no failure.

    Of a campaign's, one shard is run again, or all one after the other.

    Exit code 0: all of it is the same; 1: something differs; 2: no certificate;
    3: the backend cannot be loaded, or is another one, or the suite is.
    """
    from rich.console import Console  # noqa: PLC0415 - --help stays quick

    from gradoracle.conformance.runs import command, verification  # noqa: PLC0415

    content, told = _read(file)
    try:
        others = command.others(told)
    except (OSError, ValueError) as error:  # of a name that no file can have
        others = [f"{told.backend!r} cannot be a backend: {error}"]
    for line in others:
        typer.echo(_unpainted(line), err=True)
    if others:
        raise typer.Exit(command.COULD_NOT)
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


def _differing(file: Path, backend: str, found: Any, *, any_machine: bool) -> int:
    """Print what a certificate says otherwise than a run now; return the exit code."""
    wrong = list(dict.fromkeys(found.wrong))
    elsewhere = list(dict.fromkeys(found.of_the_machine))
    for line in wrong:
        typer.echo(line)
    for line in elsewhere:
        typer.echo(f"another machine, or changed: {line}")
    for line in found.unsteady:
        typer.echo(f"another in every run here, no failure: {line}")
    if wrong:
        typer.echo(f"{backend}: other verdicts or claims than {file} has")
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
    from gradoracle.conformance.runs import command, verification  # noqa: PLC0415 - --help stays quick

    found = verification.Differences(verification.contradictions(content, told))
    try:
        order = command.order_of(told, jobs)
        again = _reached(lambda: command.certify(order, console), "nothing is kept")
        found.take(verification.compared(content, told, again))
        unlike = [*verification.alike(told, again)]
        cases = [(now.formula, now.property_name) for _, now in unlike]
        third = _reached(lambda: command.repeated(order, cases), "nothing is kept") if cases else ()
    except UnknownBackend as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(command.COULD_NOT) from error
    except ValueError as error:
        found.wrong.append(_unpainted(f"its checks cannot be run here: {error}"))
        return found
    by_check = {(one.formula, one.property_name): one for one in third}
    same = not found.of_the_machine
    found.take(verification.settled_by_repeating(unlike, by_check, same_machine=same))
    return found


def _replayed_shards(told: Any, which: str, jobs: int, console: Any) -> Any:
    """Run one shard of a campaign again, or all; return what they say differently."""
    import secrets  # noqa: PLC0415 - --help stays quick

    from gradoracle.conformance.campaigns import shards  # noqa: PLC0415
    from gradoracle.conformance.runs import command, verification  # noqa: PLC0415

    judged = {str(one.number): one for one in told.campaign.shards if not one.lost}
    if not judged:
        typer.echo("none of its shards was judged: there is nothing to replay", err=True)
        raise typer.Exit(command.COULD_NOT)
    if which not in ("", "all", *judged):
        raise typer.BadParameter(f"no shard {which!r} was judged; pick from {', '.join(judged)}")
    found, replayed = verification.Differences(), []
    for number in judged if which == "all" else [which or secrets.choice([*judged])]:
        one = judged[number]
        chosen = "" if which else ", picked at random"
        total = len(told.campaign.shards)
        console.print(f"replaying shard {number} of {total}, seed {one.seed}{chosen}")
        again = _certified(command.order_of(told, jobs, one), console)
        found.wrong += shards.contradictions(told, one, again)
        found.take(verification.disclosed(told, again, part=True))
        replayed.append(shards.Shard.of(one.number, again))
    if which == "all":
        found.wrong += shards.other_sums(told, replayed)
    return found


@app.command()
def diff(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A certificate, as JSON.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="Another one.")],
) -> None:
    """Say what two certificates say differently: verdicts, calls, files, versions.

    Exit code 0: nothing; 1: something; 2: one of them is no certificate.
    """
    from gradoracle.conformance.runs.command import differences  # noqa: PLC0415 - --help stays quick

    lines = differences(_certificate(old), _certificate(new))
    for line in lines or ["no difference"]:
        typer.echo(_unpainted(line))
    raise typer.Exit(1 if lines else 0)


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A certificate with mismatches.")],
    number: Annotated[
        int | None, typer.Argument(metavar="[N]", help="Which of them; none: all.")
    ] = None,
    *,
    script: Annotated[
        bool, typer.Option("--script", help="Print the Python that the certificate has of them.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Run that Python, in an isolated process.")
    ] = False,
) -> None:
    """Check the counterexamples of a certificate again, on the backend as it is now.

    The calls are made of the certificate's data, and the same property is
    checked on them, with the backend in a process of its own. No text of the
    certificate is run, but the backend that it names is imported. Its scripts are
    for people to read: --script prints them, and --yes runs them.

    Exit code 0: all are mended; 1: one is still there; 2: one could not be run,
    as where the backend is not found, or came and went and does not show now, or
    there is no such mismatch; 130: stopped.
    """
    told = _certificate(file)
    found = told.mismatches
    if not found or not 1 <= (1 if number is None else number) <= len(found):
        missing = 1 if number is None else number
        typer.echo(f"{file} has {len(found)} mismatches; there is no number {missing}", err=True)
        raise typer.Exit(2)
    numbers = range(1, len(found) + 1) if number is None else [number]
    if script and not yes:
        for at in numbers:
            typer.echo(f"# {at}. {_words(found[at - 1])}\n{_unpainted(found[at - 1].script)}")
        return
    try:
        raise typer.Exit(_played(told, numbers, scripts=yes))
    except KeyboardInterrupt:
        typer.echo("stopped", err=True)
        raise typer.Exit(130) from None


def _words(found: Any) -> str:
    from gradoracle.conformance.backends.caller import printable  # noqa: PLC0415 - --help stays quick

    return printable(f"{found.formula} {found.property_name}")


def _unpainted(text: str) -> str:
    """Return lines without what moves a cursor or paints."""
    from gradoracle.conformance.backends.caller import printable  # noqa: PLC0415 - --help stays quick

    return "\n".join(map(printable, text.split("\n")))


def _played(told: Any, numbers: Sequence[int], *, scripts: bool) -> int:
    """Say what became of some mismatches, and return the exit code."""
    from gradoracle.conformance.runs import playback  # noqa: PLC0415 - --help stays quick
    from gradoracle.conformance.runs.command import confinement_of  # noqa: PLC0415

    found = told.mismatches
    ends = (
        ((at, playback.script_run(found[at - 1].script, confinement_of(told))) for at in numbers)
        if scripts
        else playback.replayed(told, numbers)
    )
    worst = []
    for at, ended in ends:
        worst.append(playback.CODES[ended.end])
        typer.echo(f"{at}. {_words(found[at - 1])}: {playback.WORDS[ended.end]}")
        if ended.text:
            typer.echo(_unpainted(f"   {ended.text}"))
    return 1 if 1 in worst else max(worst, default=0)


def _certificate(file: Path) -> Any:
    return _read(file)[1]


def _read(file: Path) -> tuple[Any, Any]:
    """Return a certificate as plain data and as itself; what is none is an exit code."""
    from gradoracle.conformance.reports.certificate import Certificate, content_of  # noqa: PLC0415 - --help stays quick

    try:
        content = content_of(file.read_bytes())
    except OSError as error:
        typer.echo(f"{file}: {error.strerror}", err=True)
        raise typer.Exit(2) from error
    except ValueError as error:
        typer.echo(f"{file}: {error}", err=True)
        raise typer.Exit(2) from error
    return content, Certificate.of_content(content)


@app.command()
def bench(
    backend: Annotated[
        str, typer.Argument(metavar="BACKEND", help="A registered name or an import path.")
    ],
    *,
    networks: Annotated[
        str, typer.Option(metavar="NAME,...", help="Only layers of these, such as ResNet-50.")
    ] = "",
    images: Annotated[str, typer.Option(metavar="N,...", help="Batches; default: 1,8.")] = "",
    dtypes: Annotated[str, typer.Option(metavar="NAME,...", help="Default: float32,float64.")] = "",
    functions: Annotated[
        str, typer.Option(metavar="NAME,...", help="Only these functions, such as conv2d.")
    ] = "",
    beside: Annotated[
        str, typer.Option(metavar="BACKEND", help="What it is timed in turns with.")
    ] = "torch",
    seconds: Annotated[
        float, typer.Option(help="Of a case in each process, at least ten rounds.")
    ] = 0.5,
    processes: Annotated[
        int, typer.Option(min=1, help="Time everything in so many: where memory lies matters.")
    ] = 3,
    suite: Annotated[
        bool, typer.Option("--suite", help="Time the suite itself, judging this backend.")
    ] = False,
    save: Annotated[
        bool, typer.Option("--save", help="Keep the run, in the folder below.")
    ] = False,
    compare: Annotated[
        bool, typer.Option("--compare", help="Tell what changed since the last run that was kept.")
    ] = False,
    against: Annotated[
        str, typer.Option(metavar="RUN", help="The number or the file of the run to compare with.")
    ] = "",
    fail: Fail = False,
    least: Least = 0.10,
    any_machine: AnyMachine = False,
    picture: Picture = None,
    storage: Storage = Path(".gradoracle/benchmarks"),
) -> None:
    """Time a backend on layers of real networks, in turns with PyTorch, and judge the answers.

    With `--beside` it is another backend's turn: one of yours, or PyTorch on tensors whose channels
    lie together, implementations.torch_reference.channels_last.

    `gradoracle bench im2col --networks ResNet-50 --images 1 --save` keeps a run, and with
    `--compare` the next one tells what is slower, faster or the same but for noise.  Exit code 0;
    1: something is slower, and --fail was given; 2: nothing could be timed or compared.
    """
    from gradoracle.conformance.benchmarks import command  # noqa: PLC0415 - --help stays quick

    chosen = {"networks": networks, "images": images, "dtypes": dtypes, "functions": functions}
    options = [f"--{name}={value}" for name, value in chosen.items() if value]
    options += [f"--seconds={seconds}", f"--beside={beside}"]
    comparison = command.Comparison(least, any_machine=any_machine, fail=fail)
    other = (against or command.LAST) if compare or against else ""
    raise typer.Exit(
        command.bench(
            backend, options, storage, other, comparison,
            processes=processes, suite=suite, save=save, picture=picture,
        )
    )  # fmt: skip


@app.command()
def history(
    backend: Annotated[str, typer.Argument(metavar="[BACKEND]", help="Default: all.")] = "",
    old: Annotated[str, typer.Argument(metavar="[OLD]", help="A run's number or file.")] = "",
    new: Annotated[str, typer.Argument(metavar="[NEW]", help="Default: the last run.")] = "",
    *,
    fail: Fail = False,
    least: Least = 0.10,
    any_machine: AnyMachine = False,
    picture: Picture = None,
    storage: Storage = Path(".gradoracle/benchmarks"),
) -> None:
    """List the runs that `bench --save` kept, and compare the last two, or any two.

    Exit code 0; 1: something is slower, and --fail was given; 2: nothing to compare or to draw.
    """
    from gradoracle.conformance.benchmarks import command  # noqa: PLC0415 - --help stays quick

    comparison = command.Comparison(least, any_machine=any_machine, fail=fail)
    raise typer.Exit(command.history(backend, old, new, storage, comparison, picture=picture))


@app.command()
def schema() -> None:
    """Print the JSON Schema of certificates: every field, and what it means."""
    from gradoracle.conformance.reports.certificate import SCHEMA_FILE  # noqa: PLC0415 - --help stays quick

    typer.echo(SCHEMA_FILE.read_text(encoding="utf-8"), nl=False)


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


if __name__ == "__main__":
    app()
