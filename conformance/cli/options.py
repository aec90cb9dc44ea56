"""Options that several commands take, and what they mean."""

from __future__ import annotations

import os
from math import inf
from pathlib import Path
from typing import Annotated, Any

import typer

from gradoracle.conformance import DEVIATIONS, DOMAIN, OPERATORS_FROM, POLICIES


def known_backends(begun: str) -> list[str]:
    """Return the registered backends that begin so, for shells to complete."""
    from gradoracle.conformance.backends.registry import registered  # noqa: PLC0415 - --help stays quick

    return sorted(name for name in registered() if name.startswith(begun))


def known_operators(begun: str) -> list[str]:
    """Return the operators that go on with what was begun, behind others and a comma or alone."""
    from gradoracle.conformance.operators import OPERATORS  # noqa: PLC0415 - --help stays quick

    return _listed([one.name for one in OPERATORS], begun)


def known_formulas(begun: str) -> list[str]:
    """Return the formulas that begin so."""
    from gradoracle.conformance.operators import OPERATORS  # noqa: PLC0415 - --help stays quick

    return [f.__name__ for o in OPERATORS for f in o.formulas if f.__name__.startswith(begun)]


def known_dtypes(begun: str) -> list[str]:
    """Return the dtypes that go on with what was begun."""
    from gradoracle.oracle.float_formats import FORMATS  # noqa: PLC0415 - --help stays quick

    return _listed([*FORMATS], begun)


def known_profiles(begun: str) -> list[str]:
    """Return the profiles that begin so."""
    from gradoracle.conformance.drawing.profiles import PROFILES  # noqa: PLC0415

    return [name for name in PROFILES if name.startswith(begun)]


def _listed(names: list[str], begun: str) -> list[str]:
    before, comma, last = begun.rpartition(",")
    return [f"{before}{comma}{name}" for name in names if name.startswith(last)]


Operators = Annotated[
    list[str],
    typer.Option(
        metavar="NAME,...",
        help="Only these operators, such as conv2d.",
        autocompletion=known_operators,
    ),
]


def _bring(modules: list[str]) -> list[str]:
    """Name the modules to all processes of the run, before anything reads what operators are."""
    if not modules:
        return modules
    os.environ[OPERATORS_FROM] = ",".join(map(_from_anywhere, names_of(modules)))
    try:
        import gradoracle.conformance.operators  # noqa: F401, PLC0415 - it reads them
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    return modules


def _from_anywhere(module: str) -> str:
    """Return a file's name as it is from any folder, and a module's as it is."""
    path, colon, attribute = module.partition(":")
    return f"{Path(path).resolve()}{colon}{attribute}" if path.endswith(".py") else module


OperatorsFrom = Annotated[
    list[str],
    typer.Option(
        "--operators-from",
        metavar="MODULE,...",
        callback=_bring,
        is_eager=True,
        help="Modules or files with more operators: see gradoracle.operator and compose.",
    ),
]


def _restrict(domains: list[str]) -> list[str]:
    """Tell all processes of the run what every backend is restricted to."""
    if domains:
        os.environ[DOMAIN] = "; ".join(domains)
    return domains


Domain = Annotated[
    list[str],
    typer.Option(
        "--domain",
        metavar="TEXT",
        callback=_restrict,
        help='Calls that it is made for: "conv2d: stride = 1, padding = 0 or 1, bias required".',
    ),
]


def _claim(policies: list[str]) -> list[str]:
    """Tell all processes of the run which policies every backend has."""
    from gradoracle.conformance.backends.contract import policies_in  # noqa: PLC0415 - --help stays quick

    text = ", ".join(policies)
    try:
        policies_in(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if text:
        os.environ[POLICIES] = text
    return policies


Policy = Annotated[
    list[str],
    typer.Option(
        "--policy",
        metavar="TEXT",
        callback=_claim,
        help='Conventions that it has: "nan = dropped, log_sum_exp = unshifted".',
    ),
]


def _list(file: Path | None) -> Path | None:
    """Tell all processes of the run which deviations are known besides the contract's."""
    from gradoracle.conformance.backends.listed import entries_in  # noqa: PLC0415 - --help stays quick

    if file is not None:
        try:
            entries_in(file)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
        os.environ[DEVIATIONS] = str(file.absolute())
    return file


Deviations = Annotated[
    Path | None,
    typer.Option(
        "--deviations",
        metavar="FILE",
        callback=_list,
        help="Known deviations beside the contract's: see gradoracle deviate.",
    ),
]
Dtypes = Annotated[
    list[str],
    typer.Option(
        metavar="NAME,...",
        help="Only these of the claimed dtypes.",
        autocompletion=known_dtypes,
    ),
]
CertificateFile = Annotated[
    Path | None, typer.Option("--certificate", help="Write the certificate here, as JSON.")
]
Html = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write a page of it here, as HTML.")
]
Junit = Annotated[Path | None, typer.Option(help="Write JUnit XML here.")]
Github = Annotated[
    bool,
    typer.Option(
        show_default=False,
        help="Print annotations for GitHub Actions, and write the summary of its job.",
    ),
]
Forbid = Annotated[
    list[str], typer.Option(metavar="MODULE,...", help="Modules that it may not import.")
]
CallTimeout = Annotated[
    float, typer.Option(help="Seconds of a call; a first one has at least 15, to compile.")
]
ImportTimeout = Annotated[float, typer.Option(help="Seconds of the backend's import.")]
Memory = Annotated[float, typer.Option(help="GiB that its process may hold.")]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it here.")
]
Regressions = Annotated[
    Path | None,
    typer.Option(
        "--regressions",
        metavar="FILE",
        help="Calls that are tried first; without, gradoracle.regressions.json if it is there.",
    ),
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Print all mismatches, and the calls by check.")
]
# What `bench` and `history` both take.
Fail = Annotated[bool, typer.Option("--fail", help="Exit with 1 where something became slower.")]
Least = Annotated[float, typer.Option(help="The change of a time that is worth telling.")]
AnyMachine = Annotated[
    bool, typer.Option("--any-machine", help="Compare runs of different machines, too.")
]
Picture = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Draw history and roofline (PNG, SVG, PDF).")
]
Narrow = Annotated[bool, typer.Option("--narrow", help="Draw one panel below the other.")]
Storage = Annotated[Path, typer.Option(metavar="FOLDER", help="Where runs are kept.")]


def confinement_of(
    call_timeout: float, import_timeout: float, memory: float, forbid: list[str], *,
    in_process: bool = False,
) -> Any:  # fmt: skip
    """Return the limits of the backend's process; BadParameter where one is not above 0."""
    from gradoracle.conformance.backends.isolation.limits import GIB, Limits  # noqa: PLC0415 - --help stays quick
    from gradoracle.conformance.backends.registry import Confinement  # noqa: PLC0415

    given = {
        "--call-timeout": call_timeout, "--import-timeout": import_timeout, "--memory": memory
    }  # fmt: skip
    for name, value in given.items():
        if not 0 < value < inf:
            raise typer.BadParameter(f"{name} must be above 0 and finite, got {value:g}")
    first = max(call_timeout, Limits.first)
    limits = Limits(call_timeout, first, import_timeout, int(memory * GIB))
    return Confinement(in_process, limits, names_of(forbid))


def examples_of(profile: str) -> int:
    """Return the geometries a check of a profile; BadParameter where there is no such profile."""
    from gradoracle.conformance.drawing.profiles import PROFILES  # noqa: PLC0415 - --help stays quick

    if profile not in PROFILES:
        raise typer.BadParameter(f"no profile {profile!r}; there are {', '.join(PROFILES)}")
    return PROFILES[profile]


def require_shard(shard: str, seed: int | None) -> None:
    """Raise BadParameter unless it is like 2/4, and the seed is given that all shards have."""
    from gradoracle.conformance.runs.parts import numbers_of  # noqa: PLC0415 - --help stays quick

    try:
        numbers_of(shard)
    except ValueError as error:
        raise typer.BadParameter(f"--shard: {error}") from error
    if seed is None:
        raise typer.BadParameter(f"--shard {shard} needs --seed N, the same for all shards")


def names_of(given: list[str]) -> tuple[str, ...]:
    """Return what an option names, given once with commas or several times."""
    names = (name.strip() for text in given for name in text.split(","))
    return tuple(dict.fromkeys(filter(None, names)))
