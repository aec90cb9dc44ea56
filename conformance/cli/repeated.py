"""The options of a command line, as the `next:` line of a verdict repeats them."""

from __future__ import annotations

from typing import Any

# What the line says by itself, what is part of the backend's name, and what goes on with a run.
OTHERWISE = (
    "backend", "operators", "operators_from", "domain", "policy", "deviations", "profile", "seed",
    "at_scale", "torch", "jax", "numpy", "device", "compile", "no_jit", "layout", "weights",
    "no_batch", "flipped", "no_pairs", "header", "resume", "list_",
)  # fmt: skip
BY_VALUE = ("backend", "profile", "seed")  # left out where the run has what the table says


def repeated(context: Any) -> Any:
    """Return the words of the options that were given on the command line, each with its value.

    With them is what a pyproject.toml gave in their place, and of the backend, the profile and the
    seed always what it has: the next command reads that, too, where it does not say otherwise.
    """
    from gradoracle.conformance.reports.screen import Repeated  # noqa: PLC0415 - --help stays quick

    words: list[str] = []
    table: dict[str, Any] = {}
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name)
        told = (context.default_map or {}).get(parameter.name)
        if told is not None and (_is_of_a_table(source) or parameter.name in BY_VALUE):
            table[parameter.name] = told
        if parameter.name in OTHERWISE or source is None or source.name != "COMMANDLINE":
            continue
        value = context.params[parameter.name]
        words += _words(max(parameter.opts, key=len), value)
    return Repeated(words, table)


def _is_of_a_table(source: Any) -> bool:
    return source is not None and source.name == "DEFAULT_MAP"


def _words(option: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [option] * value
    if isinstance(value, (list, tuple)):
        return [option, ",".join(map(str, value))] if value else []
    return [option, f"{value:g}" if isinstance(value, float) else str(value)]
