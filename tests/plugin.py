"""How a subprocess's pytest gets our plugin: by entry point if we are installed, else by name."""

from importlib.metadata import entry_points

INSTALLED = bool(entry_points(group="pytest11", name="gradoracle"))
PLUGIN = () if INSTALLED else ("-p", "gradoracle.conformance.pytest_plugin.entry")
