"""The history of a backend's speed, and its roofline, as a picture."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from gradoracle.conformance.benchmarks.history import Saved
from gradoracle.conformance.benchmarks.results import grouped

NO_MATPLOTLIB = "matplotlib is not installed: pip install 'gradoracle[bench]'"
TICKS = (
    0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.7, 1, 1.5, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000,
)  # fmt: skip
SUMS = ("conv2d", "conv2d_grad_input", "conv2d_grad_weight")


def draw(runs: Sequence[Saved], file: Path) -> None:
    """Draw the runs' means over time, and the last run's functions under the machine's roof.

    Raises:
        ImportError: matplotlib is not installed.
        OSError, ValueError: the file cannot be written, or is of no kind of picture.
    """
    try:
        figures: Any = import_module("matplotlib.figure")  # optional, and slow to import
    except ImportError as error:
        raise ImportError(NO_MATPLOTLIB) from error
    figure = figures.Figure(figsize=(12, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    _history(left, runs)
    _roofline(right, runs[-1])
    figure.savefig(file, dpi=120)


def _history(axes: Any, runs: Sequence[Saved]) -> None:
    """Draw a line per function: the geometric mean of its ratios to PyTorch, run by run.

    The cases are those of the last run that has the function, and of runs that have them all.
    """
    numbers = range(1, len(runs) + 1)
    for formula in shown(runs):
        means = means_of(runs, formula)
        known = [(at, mean) for at, mean in zip(numbers, means, strict=True) if mean is not None]
        if known:
            axes.plot(*zip(*known, strict=True), marker="o", label=formula)
    axes.axhline(1, color="grey", linewidth=1)
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    ticks = [tick for tick in TICKS if low / 1.5 <= tick <= high * 1.5]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    names = [f"{run.name.partition('_')[0]}\n{run.commit[:7]}" for run in runs]
    axes.set_xticks([*numbers], names, fontsize=8)
    axes.set_title("processor time over PyTorch's: below 1 is faster")
    axes.set_xlabel("run, commit")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8)


def shown(runs: Sequence[Saved]) -> list[str]:
    """Return the formulas to draw: those that add products, where the runs have any."""
    timed = [t for run in runs for t in run.timings]
    sums = dict.fromkeys(t.formula for t in timed if t.products)
    return [*(sums or dict.fromkeys(t.formula for t in timed))]


def means_of(runs: Sequence[Saved], formula: str) -> list[float | None]:
    """Return a formula's mean in every run, of the cases of the last that has it; None: not all."""
    by_run = [
        {
            key: [t.ratio for t in some if t.ratio is not None]
            for key, some in run.by_case().items()
            if some[0].formula == formula
        }
        for run in runs
    ]
    last = next((cases for cases in reversed(by_run) if cases), {})
    return [
        statistics.geometric_mean([ratio for key in last for ratio in cases[key]])
        if last and all(cases.get(key) for key in last)
        else None
        for cases in by_run
    ]


def _roofline(axes: Any, run: Saved) -> None:
    """Draw what the last run reached, under the matrix product's roof and the copy's slope."""
    timed = [t for t in run.timings if t.products and t.bytes and t.dtype in run.roofs]
    for (formula, dtype), some in grouped(timed, "formula", "dtype").items():
        mark = "o" if dtype == "float32" else "x"
        axes.scatter(
            [2 * t.products / t.bytes for t in some], [t.gflops() for t in some], s=14,
            marker=mark, label=f"{formula} {dtype}",
        )  # fmt: skip
    slope = 1e-9 * run.bandwidth
    intensities = [2 * t.products / t.bytes for t in timed] or [1.0, 100.0]
    low, high = min(intensities) / 2, max(intensities) * 2
    for dtype, roof in run.roofs.items():
        top = 2e-9 * roof
        corner = min(max(top / slope, low), high)
        axes.plot([low, corner, high], [min(low * slope, top), top, top], color="black", lw=1)
        axes.annotate(f"{dtype} matrix product", (high, top), ha="right", va="bottom", fontsize=8)
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis, ends in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
        ticks = [tick for tick in TICKS if ends[0] <= tick <= ends[1]]
        axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_title(f"run {run.name}: 10⁹ operations a second")
    axes.set_xlabel("operations per byte read or written; the slope is a copy's")
    if timed:
        axes.legend(fontsize=8)
