"""`gradoracle bench` and `gradoracle history`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gradoracle.conformance.cli.app import app
from gradoracle.conformance.cli.options import (
    AnyMachine,
    Fail,
    Html,
    Least,
    Narrow,
    OperatorsFrom,
    Picture,
    Storage,
)
from gradoracle.conformance.cli.pages import require_pages, write_page


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
    operators_from: OperatorsFrom = [],  # noqa: B006 - Typer reads it only
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
        bool, typer.Option("--suite", help="Time the suite itself, checking this backend.")
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
    narrow: Narrow = False,
    storage: Storage = Path(".gradoracle/benchmarks"),
) -> None:
    """Time a backend on layers of networks and large calls, beside PyTorch; check the answers.

    With `--beside` it is another backend's turn: one of yours, or PyTorch on tensors whose channels
    lie together, gradoracle.implementations.torch_reference.channels_last.

    `gradoracle bench im2col --networks ResNet-50 --images 1 --save` keeps a run, and with
    `--compare` the next one tells what is slower, faster or the same but for noise.  Exit code 0;
    1: something is slower, and --fail was given; 2: nothing could be timed or compared.
    """
    del operators_from  # its callback has read it
    from gradoracle.conformance.benchmarks import command  # noqa: PLC0415 - --help stays quick

    chosen = {"networks": networks, "images": images, "dtypes": dtypes, "functions": functions}
    options = [f"--{name}={value}" for name, value in chosen.items() if value]
    options += [f"--seconds={seconds}", f"--beside={beside}"]
    comparison = command.Comparison(least, any_machine=any_machine, fail=fail)
    other = (against or command.LAST) if compare or against else ""
    raise typer.Exit(
        command.bench(
            backend, options, storage, other, comparison,
            processes=processes, suite=suite, save=save, picture=picture, narrow=narrow,
        )
    )  # fmt: skip


@app.command()
def history(
    backend: Annotated[str, typer.Argument(metavar="BACKEND", help="Default: all.")] = "",
    old: Annotated[str, typer.Argument(metavar="OLD", help="A run's number or file.")] = "",
    new: Annotated[str, typer.Argument(metavar="NEW", help="Default: the last run.")] = "",
    *,
    fail: Fail = False,
    least: Least = 0.10,
    any_machine: AnyMachine = False,
    picture: Picture = None,
    narrow: Narrow = False,
    html: Html = None,
    storage: Storage = Path(".gradoracle/benchmarks"),
) -> None:
    """List the runs that `bench --save` kept, and compare the last two, or any two.

    `gradoracle history im2col 3 7` compares the runs 3 and 7; `--html history.html` draws all.

    Exit code 0; 1: something is slower, and --fail was given; 2: nothing to compare or to draw;
    3: the page could not be written.
    """
    from gradoracle.conformance.benchmarks import command  # noqa: PLC0415 - --help stays quick

    comparison = command.Comparison(least, any_machine=any_machine, fail=fail)
    code = command.history(backend, old, new, storage, comparison, picture=picture, narrow=narrow)
    if html is not None and code != 2:
        require_pages([html])
        from gradoracle.conformance.benchmarks.history import saved  # noqa: PLC0415
        from gradoracle.conformance.pages.history_page import history_page  # noqa: PLC0415

        write_page(html, history_page(saved(storage, backend), backend))
    raise typer.Exit(code)
