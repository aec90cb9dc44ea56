"""The pytest plugin's door: every pytest session of an environment with gradoracle comes by here.

So it imports nothing and adds nothing, unless the command line names the suite: then the options
(`--backend`, `--seed`, `--certificate`) and hooks of `conformance.pytest_hooks` come in.
"""

from __future__ import annotations

from pathlib import Path

import pytest

NAME = "gradoracle-suite"


def activate(pluginmanager: pytest.PytestPluginManager) -> None:
    """Register the suite's options and hooks, once."""
    if pluginmanager.has_plugin(NAME):
        return
    from conformance import pytest_hooks  # noqa: PLC0415 - only sessions that run the suite pay

    pluginmanager.register(pytest_hooks, NAME)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config, args: list[str]) -> None:
    """Activate the suite where an argument names it: by path, or as a package with --pyargs."""
    packages = "--pyargs" in args or bool(getattr(early_config.option, "pyargs", False))
    if any(_names_the_suite(argument, packages=packages) for argument in args):
        activate(early_config.pluginmanager)


def _names_the_suite(argument: str, *, packages: bool) -> bool:
    if argument.startswith("-"):
        return False
    name = argument.partition("::")[0]
    if packages and name.partition(".")[0] == "conformance":
        return True
    try:
        return Path(name).resolve().is_relative_to(Path(__file__).parent)
    except (OSError, ValueError):
        return False
