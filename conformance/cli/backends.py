"""`gradoracle backends`."""

from __future__ import annotations

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
            has = ", ".join(backend.functions) or "none of the protocol's"
            has += f"; not claimed: {', '.join(absent)}" if absent else ""
            has = has if absent else f"all {len(FUNCTIONS)} of the protocol"
        table.add_row(entry.name, entry.distribution, entry.path, has)
    console = Console(highlight=False, markup=False)
    console.print(table)
    console.print(f"\nTo add yours: {HOW_TO_REGISTER}")
