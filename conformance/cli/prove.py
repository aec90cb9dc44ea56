"""`gradoracle prove`."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from gradoracle.conformance.cli.app import app
from gradoracle.conformance.cli.messages import complain, tell
from gradoracle.conformance.cli.options import Operators, OperatorsFrom, names_of
from gradoracle.conformance.cli.running import require_writable, told, written

PROVED, WRONG, USAGE, UNDECIDED = 0, 1, 2, 3
WIDTH = 96
ASKED = "give a kernel.cu with comments that say how it is launched, or cupy@host"
ASSUMED = (
    "A proof is about real numbers: nothing rounds, overflows or is NaN. It is about these shapes "
    "and options, and about a function of degree at most 1000. certify asks how the kernel rounds, "
    "and about all shapes."
)


@app.command()
def prove(
    kernel: Annotated[
        str, typer.Argument(metavar="FILE", help="A kernel.cu with comments, or cupy@host.")
    ],
    *,
    at: Annotated[
        list[str],
        typer.Option(
            metavar="DOMAIN", help='Of these shapes: "conv2d: n = 1, c = 3, h = 8, stride = 2".'
        ),
    ] = [],  # noqa: B006 - Typer reads it only
    operators: Operators = [],  # noqa: B006
    operators_from: OperatorsFrom = [],  # noqa: B006
    shapes: Annotated[
        int, typer.Option("--shapes", min=1, metavar="N", help="How many, of each function.")
    ] = 10,
    seed: Annotated[int, typer.Option(help="Of the random numbers.")] = 1,
    file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Also write it as JSON.")
    ] = None,
) -> None:
    """Prove that CUDA kernels compute their formulas for all numbers, at some shapes.

    Convolutions, matrix products, average pooling, padding, gathering and whatever
    else adds, subtracts, multiplies and divides: the kernel's own text is run on
    random numbers of two prime fields and compared with the formula. Where the two
    differ anywhere, they differ there but for a chance below 1e-19. Every access of
    every thread is checked, in three orders of threads. No GPU is needed; g++ is.

    gradoracle prove kernel.cu

    gradoracle prove kernel.cu --at "conv2d: n = 1, c = 3, h = 8, w = 8, m = 4, p = 3, q = 3"

    Exit code 0: all are proved; 1: one is wrong; 2: FILE or a domain cannot be
    understood; 3: none is wrong, and some compare numbers or take functions of them.
    """
    del operators_from  # its callback has read it
    if file is not None:
        require_writable([file], None, [])
    found = told(lambda: _found(kernel, at, names_of(operators), shapes, seed), "nothing is kept")
    _print_end(found)
    if file is not None:
        content = json.dumps({"backend": kernel, "seed": seed, "proofs": found}, indent=1)
        for line in written("--json", file, content + "\n"):
            complain(line)
    statuses = {one["status"] for one in found}
    if statuses & {"differs", "fault"}:
        raise typer.Exit(WRONG)
    raise typer.Exit(PROVED if statuses == {"proved"} else UNDECIDED)


def _found(
    kernel: str, at: Sequence[str], operators: Sequence[str], shapes: int, seed: int
) -> list[dict[str, Any]]:
    """Print each proof as it comes and return all as JSON has them."""
    from rich.console import Console  # noqa: PLC0415 - --help stays quick

    from gradoracle.conformance.backends.errors import UsageError  # noqa: PLC0415
    from gradoracle.conformance.backends.registry import IN_PROCESS  # noqa: PLC0415
    from gradoracle.conformance.proofs.run import proofs  # noqa: PLC0415
    from gradoracle.conformance.runs.certify import operators_named  # noqa: PLC0415
    from gradoracle.conformance.runs.loading import load  # noqa: PLC0415

    chosen, domains = operators_named(operators or None), _domains(at)
    backend = load(f"{kernel}@host" if kernel.endswith(".cu") else kernel, IN_PROCESS)
    if "(hostcuda)" not in backend.contract.runs_on:
        raise UsageError(f"{kernel} is no CUDA text that runs on the CPU: {ASKED}")
    found = []
    with Console(stderr=True).status(f"{kernel}: compiling") as status:
        try:
            for proof in proofs(backend, chosen, domains, shapes, seed, status.update):
                found.append(asdict(proof))
                if proof.status != "undecided":
                    status.stop()  # its line would stand before ours
                    tell(proof.text)
                    status.start()
        except ValueError as error:
            raise UsageError(str(error)) from error
    return found


def _domains(at: Sequence[str]) -> dict[str, str]:
    """Return what --at says, by operator."""
    from gradoracle.conformance.backends.errors import UsageError  # noqa: PLC0415
    from gradoracle.conformance.operators.domain import domains_in  # noqa: PLC0415

    try:
        return {name: text for one in at for name, text in domains_in(one).items()}
    except ValueError as error:
        raise UsageError(str(error)) from error


def _print_end(found: list[dict[str, Any]]) -> None:
    """Print what was not decided, once a reason, and what a proof assumes."""
    reasons: dict[str, list[str]] = {}
    for one in found:
        if one["status"] == "undecided":
            reasons.setdefault(one["reason"], []).append(one["formula"])
    for reason, formulas in reasons.items():
        _print(f"not decided: {', '.join(formulas)}")
        _print(f"    {reason}")
    if any(one["shapes"] for one in found):
        typer.echo("")
        _print(ASSUMED)


def _print(text: str) -> None:
    from gradoracle.conformance.reports.terminal import look_of  # noqa: PLC0415 - --help stays quick

    indent = "    " if text.startswith(" ") else ""
    width = min(WIDTH, look_of(sys.stdout).width) if sys.stdout.isatty() else WIDTH
    for line in textwrap.wrap(text.strip(), width, initial_indent=indent, subsequent_indent="    "):
        typer.echo(line)
