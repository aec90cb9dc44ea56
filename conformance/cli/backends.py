"""`gradoracle backends`."""

from __future__ import annotations

from collections.abc import Sequence

from gradoracle.conformance.cli.app import app


@app.command()
def backends() -> None:
    """List the registered backends: from where, with which functions, or why they cannot run."""
    from rich.console import Console  # noqa: PLC0415 - --help stays quick
    from rich.table import Table  # noqa: PLC0415

    from gradoracle.conformance.backends.backend import FUNCTIONS  # noqa: PLC0415
    from gradoracle.conformance.backends.registry import (  # noqa: PLC0415
        HOW_TO_REGISTER,
        UnusableBackend,
        registered,
    )
    from gradoracle.conformance.runs.loading import load  # noqa: PLC0415

    table = Table(box=None, pad_edge=False)
    for title in ("backend", "from", "import path", "functions"):
        table.add_column(title, overflow="fold")
    for entry in registered().values():
        try:
            backend = load(entry.name)
        except UnusableBackend as error:
            reason = str(error).partition("cannot be loaded: ")[2]
            has = f"cannot run: {reason or error}"
        else:
            absent = [name for name in FUNCTIONS if name not in backend.functions]
            has = _functions(backend.functions, absent)
        table.add_row(entry.name, entry.distribution, entry.path, has)
    console = Console(highlight=False, markup=False)
    console.print(table)
    console.print(f"\nTo add yours: {HOW_TO_REGISTER}")


def _functions(present: Sequence[str], absent: Sequence[str]) -> str:
    """Return which functions of the protocol there are, by those that are fewer."""
    if not absent:
        return f"all {len(present)} of the protocol"
    if len(absent) < len(present):
        every = len(present) + len(absent)
        return f"{len(present)} of the protocol's {every}, all but {', '.join(absent)}"
    has = ", ".join(present) or "none of the protocol's"
    return f"{has}; not claimed: {', '.join(absent)}"
