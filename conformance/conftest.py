"""Activates the suite in a checkout that nobody installed."""

import pytest

from conformance.pytest_plugin.entry import activate


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    """Register the suite's options before pytest reads the command line."""
    activate(pluginmanager)
