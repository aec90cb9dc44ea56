"""The options of a command line, as the `next:` line of a verdict repeats them."""

from __future__ import annotations

from typing import Any

# What the line says by itself, what is part of the backend's name, and what goes on with a run.
OTHERWISE = (
    "backend", "operators", "operators_from", "domain", "policy", "deviations", "profile", "seed",
    "at_scale", "torch", "jax", "numpy", "device", "compile", "no_jit", "layout", "weights",
    "no_batch", "flipped", "no_pairs", "header", "resume", "list_",
)  # fmt: skip


def repeated(context: Any) -> list[str]:
    """Return the words of the options that were given on the command line, each with its value.

    Those of a pyproject.toml are left out: the next command reads them, too.
    """
    words: list[str] = []
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name)
        if parameter.name in OTHERWISE or source is None or source.name != "COMMANDLINE":
            continue
        value = context.params[parameter.name]
        words += _words(max(parameter.opts, key=len), value)
    return words


def _words(option: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [option] * value
    if isinstance(value, (list, tuple)):
        return [option, ",".join(map(str, value))] if value else []
    return [option, f"{value:g}" if isinstance(value, float) else str(value)]
