"""The history of a backend's speed as a page: every kept run, and its means over PyTorch's."""

from __future__ import annotations

from collections.abc import Sequence

from gradoracle.conformance.benchmarks.history import Saved
from gradoracle.conformance.benchmarks.pictures import means_of, shown
from gradoracle.conformance.pages import charts, render


def history_page(runs: Sequence[Saved], backend: str = "") -> str:
    """Return a page of runs, the oldest first.

    Raises:
        ImportError: Jinja2 is not installed.
    """
    means = {formula: means_of(runs, formula) for formula in shown(runs)}
    names = [run.name.partition("_")[0] for run in runs]
    label = "processor time over PyTorch's, run by run: below 1 is faster"
    return render.page(
        "history.html", runs=runs, backend=backend or "all backends", means=means,
        chart=charts.lines(means, names, label),
    )  # fmt: skip
