"""Activates the benchmarks where they are named: in a checkout, or with --pyargs."""

import pytest

from conformance.pytest_plugin.entry import activate, activate_benchmarks


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    """Register the options before pytest reads the command line."""
    activate(pluginmanager)
    activate_benchmarks(pluginmanager)
