"""`gradoracle campaign`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from gradoracle.conformance.cli.app import app
from gradoracle.conformance.cli.messages import complain
from gradoracle.conformance.cli.options import (
    CallTimeout,
    CertificateFile,
    Domain,
    Dtypes,
    Forbid,
    Github,
    ImportTimeout,
    Junit,
    Memory,
    Operators,
    OperatorsFrom,
    Policy,
    Verbose,
    confinement_of,
    examples_of,
    names_of,
)
from gradoracle.conformance.cli.running import finish, require_writable, show, told

NO_DASK = (
    "a campaign needs Dask's distributed, which cannot be imported: "
    "pip install 'gradoracle[campaign]'"
)


@app.command()
def campaign(
    backend: Annotated[
        str,
        typer.Argument(
            metavar="BACKEND", help="A registered name, an import path or a file: .py, .cu, .c."
        ),
    ],
    *,
    calls: Annotated[
        int, typer.Option("--calls", min=1, metavar="N", help="How many to check, at least.")
    ],
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, help="Workers here; default: one a core.")
    ] = None,
    scheduler: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Of a Dask scheduler whose workers are to check.")
    ] = "",
    operators: Operators = [],  # noqa: B006 - Typer reads it only
    operators_from: OperatorsFrom = [],  # noqa: B006
    dtypes: Dtypes = [],  # noqa: B006
    domain: Domain = [],  # noqa: B006
    policy: Policy = [],  # noqa: B006
    profile: Annotated[
        str, typer.Option(metavar="NAME", help="How hard a shard looks: quick, certify or deep.")
    ] = "certify",
    seed: Annotated[int | None, typer.Option(help="Repeat the campaign that printed it.")] = None,
    file: CertificateFile = None,
    journal: Annotated[
        Path | None,
        typer.Option(help="Where shards are kept; default: a file in .gradoracle."),
    ] = None,
    junit: Junit = None,
    github: Github = False,
    resume: Annotated[
        bool,
        typer.Option(
            show_default=False, help="Go on with the campaign in the journal; N may be another."
        ),
    ] = False,
    forbid: Forbid = [],  # noqa: B006
    call_timeout: CallTimeout = 10.0,
    import_timeout: ImportTimeout = 60.0,
    memory: Memory = 8.0,
    at_scale: Annotated[
        bool, typer.Option("--at-scale", help="Check all layers of real networks in every shard.")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Certify a backend from seed to seed, on many workers, until N calls are checked.

    Every shard is a certification from a seed of its own. One certificate sums
    them up, with the smallest counterexample of every broken check. Which
    shards count depends on the seed and N only. A worker that is lost costs
    the shard that it was checking, which another one repeats.

    For example, a million calls on all cores, and further where that ended:

    gradoracle campaign im2col --calls 1000000 --certificate c.json

    gradoracle campaign im2col --calls 1000000 --certificate c.json --resume

    On several machines, with this gradoracle and the backend on each: on one
    dask scheduler, on all, for every core,
    dask worker tcp://HOST:8786 --nthreads 1, and here

    gradoracle campaign im2col --calls 1000000 --scheduler tcp://HOST:8786

    Exit code 0: certified; 1: a mismatch; 2: usage, or a journal that cannot be
    resumed; 3: could not run, a shard could not be checked, or a file could not be
    written.
    """
    del operators_from, domain, policy  # their callbacks have read them
    from rich.console import Console  # noqa: PLC0415 - --help stays quick

    from gradoracle.conformance.runs import command  # noqa: PLC0415
    from gradoracle.conformance.runs.journal import place  # noqa: PLC0415

    if scheduler and jobs is not None:
        raise typer.BadParameter("--jobs is of workers here: it goes without --scheduler")
    require_writable([file] if file else [], junit, [journal or place(backend)])
    order = command.Order(
        backend, names_of(operators) or None, names_of(dtypes) or None, examples_of(profile), seed,
        jobs or _cores(), resume, confinement_of(call_timeout, import_timeout, memory, forbid),
        at_scale,
    )  # fmt: skip
    console = Console(highlight=False, markup=False)
    troubles: list[str] = []
    merged = _campaigned(order, calls, scheduler, journal, console, troubles)
    show(merged, console, file, troubles, whole=verbose)
    finish([merged], junit, troubles, github=github)


def _campaigned(
    order: Any, calls: int, scheduler: str, journal: Path | None, console: Any, troubles: list[str]
) -> Any:
    """Return the certificate of a campaign; what keeps it from being run is an exit code."""
    from gradoracle.conformance.runs import command  # noqa: PLC0415 - --help stays quick

    try:
        from gradoracle.conformance.campaigns import campaign as campaigns  # noqa: PLC0415 - Dask may be missing
    except ImportError as error:
        complain(f"{NO_DASK} ({error})")
        raise typer.Exit(command.COULD_NOT) from error
    plan = campaigns.Plan(order, calls, scheduler, journal)
    return told(
        lambda: campaigns.run(plan, console, troubles),
        f"{plan.journal} has what was checked: --resume goes on",
    )


def _cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
