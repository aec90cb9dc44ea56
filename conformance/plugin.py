"""The pytest plugin's door: every pytest session of an environment with gradoracle comes by here.

So it imports nothing and adds nothing, unless the command line names the suite: then the options
(`--backend`, `--seed`, `--certificate`) and hooks of `conformance.pytest_hooks` come in.
"""

from __future__ import annotations

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
    """Activate the suite where an argument is the package, a path to it, or a test of it."""
    before = ["", *args]
    if any(_names_the_suite(one) for one, last in zip(args, before, strict=False) if last != "-p"):
        activate(early_config.pluginmanager)


def _names_the_suite(argument: str) -> bool:
    if argument.startswith("-"):
        return False
    path = argument.partition("::")[0].replace("\\", "/").rstrip("/")
    return "conformance" in path.replace(".", "/").split("/")
