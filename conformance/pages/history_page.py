"""The history of a backend's speed as a page: every kept run, and its means over PyTorch's."""

from __future__ import annotations

from collections.abc import Sequence

from gradoracle.conformance.benchmarks.history import (
    Change,
    HistoryError,
    Saved,
    compare,
    counted,
    differences,
    largest,
)
from gradoracle.conformance.benchmarks.pictures import bands_of, beside, means_of, shown
from gradoracle.conformance.pages import charts, render

MOST = 20  # changes that are listed


def history_page(runs: Sequence[Saved], backend: str = "") -> str:
    """Return a page of runs, the oldest first.

    Raises:
        ImportError: Jinja2 is not installed.
    """
    formulas = shown(runs)
    means = {formula: means_of(runs, formula) for formula in formulas}
    bands = {formula: bands_of(runs, formula) for formula in formulas}
    names = [run.name.partition("_")[0] for run in runs]
    label = f"processor time over {beside(runs[-1])}, run by run: below 1 is faster"
    changes, unknown = _changes(runs)
    shown_changes = largest(changes)
    return render.page(
        "history.html", runs=runs, backend=backend or "all backends", means=means,
        chart=charts.lines(means, names, label, bands), beside=beside(runs[-1]),
        changes=shown_changes[:MOST], more=len(shown_changes[MOST:]), unknown=unknown,
        counted=counted(changes),
    )  # fmt: skip


def _changes(runs: Sequence[Saved]) -> tuple[Sequence[Change], str]:
    """Return how the cases of the last run changed since the run before, or why that is unknown."""
    if len(runs) < 2:
        return [], "there is one run only"
    if other := differences(runs[-2], runs[-1]):
        return [], f"they are not from the same machine ({'; '.join(other)})"
    try:
        return compare(runs[-2], runs[-1]), ""
    except (HistoryError, ImportError) as error:
        return [], str(error)
