"""`gradoracle certify`."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from gradoracle.conformance.cli.adapted import (
    Compile,
    Device,
    Flipped,
    Header,
    Jax,
    LayoutOption,
    NoBatch,
    NoJit,
    NoPairs,
    Numpy,
    Torch,
    Weights,
    adapted,
    declared,
)
from gradoracle.conformance.cli.app import app
from gradoracle.conformance.cli.options import (
    CallTimeout,
    CertificateFile,
    Deviations,
    Domain,
    Dtypes,
    Forbid,
    Github,
    Html,
    ImportTimeout,
    Junit,
    Memory,
    Operators,
    OperatorsFrom,
    Policy,
    Regressions,
    Verbose,
    confinement_of,
    examples_of,
    known_backends,
    known_profiles,
    names_of,
    require_shard,
)
from gradoracle.conformance.cli.pages import require_pages, write_certificate_page
from gradoracle.conformance.cli.repeated import repeated
from gradoracle.conformance.cli.running import (
    certified,
    finish,
    list_checks,
    prepared,
    remembered,
    require_located,
    require_writable,
    show,
    told,
)


class Remembering(TyperCommand):
    """The command, which takes --remember=FILE as --remember --regressions FILE."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments."""
        given: list[str] = []
        for one in args:
            option, equals, file = one.partition("=")
            split = [option, "--regressions", file] if option == "--remember" and equals else [one]
            given += split
        return super().parse_args(ctx, given)


@app.command(cls=Remembering)
def certify(
    context: typer.Context,
    backend: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="BACKEND",
            help="Registered names, import paths or files: ./kernels.py, kernel.cu, kernel.c.",
            autocompletion=known_backends,
        ),
    ] = None,
    *,
    torch: Torch = [],  # noqa: B006 - Typer reads it only
    jax: Jax = [],  # noqa: B006
    numpy: Numpy = [],  # noqa: B006
    device: Device = None,
    compile: Compile = False,  # noqa: A002 - the option's name
    no_jit: NoJit = False,
    layout: LayoutOption = None,
    weights: Weights = None,
    no_batch: NoBatch = False,
    flipped: Flipped = False,
    no_pairs: NoPairs = False,
    header: Header = None,
    operators: Operators = [],  # noqa: B006 - Typer reads it only
    operators_from: OperatorsFrom = [],  # noqa: B006
    dtypes: Dtypes = [],  # noqa: B006
    domain: Domain = [],  # noqa: B006
    policy: Policy = [],  # noqa: B006
    deviations: Deviations = None,
    profile: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="How hard: quick, certify or deep.",
            autocompletion=known_profiles,
        ),
    ] = "certify",
    seed: Annotated[int | None, typer.Option(help="Repeat the run that printed it.")] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Checks at a time.")] = 1,
    file: CertificateFile = None,
    html: Html = None,
    junit: Junit = None,
    github: Github = False,
    resume: Annotated[
        bool,
        typer.Option(
            show_default=False, help="Go on with the run that was interrupted in this folder."
        ),
    ] = False,
    in_process: Annotated[
        bool,
        typer.Option(
            show_default=False, help="Check in this process, to debug; a crash ends the run."
        ),
    ] = False,
    forbid: Forbid = [],  # noqa: B006
    call_timeout: CallTimeout = 10.0,
    import_timeout: ImportTimeout = 60.0,
    memory: Memory = 8.0,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", "-x", help="Stop at the first mismatch.")
    ] = False,
    list_: Annotated[
        bool, typer.Option("--list", help="List the checks that would be run, and run none.")
    ] = False,
    at_scale: Annotated[
        bool,
        typer.Option(
            "--at-scale",
            help="Check all layers of LeNet, VGG-16, ResNet-50, MobileNet, U-Net and FCN-8s, in "
            "batches of 1 and up to 32; without, the few small ones. A slow backend needs a longer "
            "--call-timeout.",
        ),
    ] = False,
    shard: Annotated[
        str,
        typer.Option(
            metavar="N/M", help="Run the N-th of M parts of the checks: see gradoracle merge."
        ),
    ] = "",
    remember: Annotated[
        bool,
        typer.Option(
            "--remember",
            help="Keep the counterexamples, for later runs to try first; --remember=FILE: there.",
        ),
    ] = False,
    regressions: Regressions = None,
    verbose: Verbose = False,
) -> None:
    """Check backends: every function they have, on drawn shapes, in a process of their own.

    Without a name, the backend is that of [tool.gradoracle] in the nearest
    pyproject.toml, which options that are not given come from, too.

    gradoracle certify ./kernels.py --profile quick --seed 1 --remember

    gradoracle certify mine --github --seed 7 --shard 1/2 --certificate 1.json

    Exit code 0: certified, or but for the known deviations that its contract lists, all printed;
    1: a mismatch, or a listed deviation that holds; 2: usage, or a journal that cannot be resumed;
    3: could not run, certifies nothing, or a file could not be written.
    """
    del operators_from, domain, policy  # their callbacks have read them
    from gradoracle.conformance.backends.isolation import start  # noqa: PLC0415 - --help stays quick

    if not in_process:
        start.prepare()
    from rich.console import Console  # noqa: PLC0415

    from gradoracle.conformance.reports import formats  # noqa: PLC0415
    from gradoracle.conformance.runs import command  # noqa: PLC0415
    from gradoracle.conformance.runs import regressions as kept  # noqa: PLC0415
    from gradoracle.conformance.runs.journal import place  # noqa: PLC0415

    if in_process and (forbid or jobs > 1):
        raise typer.BadParameter("--in-process goes with neither --forbid nor --jobs")
    options: dict[str, dict[str, str | bool | None]] = {
        "torch": {"--device": device, "--compile": compile},
        "jax": {"--no-jit": no_jit},
        "numpy": {
            "--layout": layout, "--weights": weights, "--no-batch": no_batch,
            "--flipped": flipped, "--no-pairs": no_pairs,
        },
    }  # fmt: skip
    given = {"torch": torch, "jax": jax, "numpy": numpy}
    backend = _named(context, declared(backend or [], header), adapted(given, options, dtypes))
    if shard:
        require_shard(shard, seed)
    if deviations is not None and len({*backend}) > 1:
        raise typer.BadParameter(f"--deviations {deviations} is of one backend: name one")
    confinement = confinement_of(
        call_timeout, import_timeout, memory, forbid, in_process=in_process
    )
    console = Console(highlight=False, markup=False)
    certificates, troubles = [], list[str]()
    alone = len(set(backend)) == 1
    targets = {n: formats.own_file(file, n, alone=alone) for n in backend} if file else {}
    pages = {n: formats.own_file(html, n, alone=alone) for n in backend} if html else {}
    known = regressions or kept.FILE
    require_writable([*targets.values()], junit, [place(name) for name in backend])
    require_pages(pages.values())
    calls = told(lambda: prepared(known, writes=remember), "nothing is checked")
    require_located(backend)
    for name in dict.fromkeys(backend):
        order = command.Order(
            name, names_of(operators) or None, names_of(dtypes) or None, examples_of(profile), seed,
            jobs, resume, confinement, at_scale, shard=shard, remembered=calls,
            fail_fast=fail_fast,
        )  # fmt: skip
        if list_:
            list_checks(order, several=not alone)
            continue
        certificates.append(certified(order, console, troubles))
        show(
            certificates[-1], console, targets.get(name), troubles, whole=verbose,
            repeated=repeated(context),
        )  # fmt: skip
        if name in pages:
            troubles += write_certificate_page(
                certificates[-1], pages[name], targets.get(name), repeated(context)
            )
        if remember:
            troubles += remembered(known, certificates[-1], console)
    if not list_:
        finish(certificates, junit, troubles, github=github)


def _named(context: typer.Context, backends: list[str], functions: list[str]) -> list[str]:
    """Return the backends of a run; functions that are given replace those of pyproject.toml."""
    source = context.get_parameter_source("backend")
    if functions and (source is None or source.name != "COMMANDLINE"):
        return functions
    if not (backends or functions):
        raise typer.BadParameter(
            "name a backend, or functions by --torch, --jax or --numpy, or write one in "
            'pyproject.toml: [tool.gradoracle] backend = "mypkg.kernels"'
        )
    return [*backends, *functions]
