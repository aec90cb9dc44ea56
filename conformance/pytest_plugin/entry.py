"""The pytest plugin's door: every pytest session of an environment with gradoracle comes by here.

So it imports nothing and adds nothing, unless the command line names the suite: then the options
(`--backend`, `--seed`, `--certificate`) and hooks of `conformance.pytest_plugin.hooks` come in.
Where it names `conformance/benchmarks`, nothing is checked: those of `conformance.benchmarks.hooks`
time.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gradoracle.conformance import DEVIATIONS, DOMAIN, OPERATORS_FROM, POLICIES

NAME = "gradoracle-suite"
SUITE = "gradoracle.conformance"
BENCHMARKS = "gradoracle-benchmarks"
# Options that every process of a run reads, by their variables.
VARIABLES = {
    "--operators-from": OPERATORS_FROM, "--domain": DOMAIN, "--deviations": DEVIATIONS,
    "--policy": POLICIES,
}  # fmt: skip
FILES = ("--deviations",)


def activate(pluginmanager: pytest.PytestPluginManager) -> None:
    """Register the suite's options and hooks, once."""
    if pluginmanager.has_plugin(NAME):
        return
    from gradoracle.conformance.pytest_plugin import hooks  # noqa: PLC0415 - only sessions that run the suite pay

    pluginmanager.register(hooks, NAME)


def activate_benchmarks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Register what times instead of checking, once."""
    if pluginmanager.has_plugin(BENCHMARKS):
        return
    from gradoracle.conformance.benchmarks import hooks  # noqa: PLC0415 - only sessions that time pay

    pluginmanager.register(hooks, BENCHMARKS)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config, args: list[str]) -> None:
    """Activate the suite where an argument names it: by path, or as a package with --pyargs."""
    packages = "--pyargs" in args or bool(getattr(early_config.option, "pyargs", False))
    if any(_names(SUITE, argument, packages=packages) for argument in args):
        _bring(args)
        try:
            activate(early_config.pluginmanager)
        except ValueError as error:  # of operators from outside
            raise pytest.UsageError(str(error)) from error
    if any(_names(f"{SUITE}.benchmarks", argument, packages=packages) for argument in args):
        activate_benchmarks(early_config.pluginmanager)


def _bring(args: list[str]) -> None:
    """Tell all processes what operators and contracts are to be read with, before they are."""
    for at, argument in enumerate(args):
        option, equals, value = argument.partition("=")
        if option in VARIABLES:
            given = value if equals else " ".join(args[at + 1 : at + 2])
            os.environ[VARIABLES[option]] = (
                str(Path(given).absolute()) if option in FILES else given
            )


def _names(package: str, argument: str, *, packages: bool) -> bool:
    """Return whether an argument is a package of ours, or a file in it."""
    if argument.startswith("-"):
        return False
    name = argument.partition("::")[0]
    if packages and f"{name}.".startswith(f"{package}."):
        return True
    try:
        folder = Path(__file__).parents[1].joinpath(*package.split(".")[2:])
        return Path(name).resolve().is_relative_to(folder)
    except (OSError, ValueError):
        return False
