"""The history of a backend's speed, its layers, and its roofline, as a picture."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from gradoracle.conformance.benchmarks.history import Saved
from gradoracle.conformance.benchmarks.results import Timing, grouped
from gradoracle.conformance.benchmarks.roofline import MARKS, draw_roofline, under_a_roof
from gradoracle.conformance.benchmarks.ticks import scaled

NO_MATPLOTLIB = "matplotlib is not installed: pip install 'gradoracle[bench]'"
SUMS = ("conv2d", "conv2d_grad_input", "conv2d_grad_weight")
MOST = 20  # layers that are named: of more, those that take longest over PyTorch's time
WIDE, NARROW = 14.0, 7.0  # inches
ROW, LINE = 4.6, 0.22  # of a panel, and of a layer's name


def draw(runs: Sequence[Saved], file: Path, *, narrow: bool = False) -> None:
    """Draw the runs' means over time, and the last run's functions under the machine's roof.

    Below them are the last run's layers by name.  `narrow` puts one panel below the other.

    Raises:
        ImportError: matplotlib is not installed.
        OSError, ValueError: the file cannot be written, or is of no kind of picture.
    """
    try:
        figures: Any = import_module("matplotlib.figure")  # optional, and slow to import
    except ImportError as error:
        raise ImportError(NO_MATPLOTLIB) from error
    last = runs[-1]
    named, roofed = slowest(last), bool(under_a_roof(last))
    tall = 1.4 + LINE * max(len(named), 4)
    panels = [*["history"] * bool(named or not roofed), *["roof"] * roofed]
    rows = [[one] for one in panels] if narrow else [panels]
    heights = [ROW] * len(rows) + [tall] * bool(named)
    rows += [["layers"] * len(rows[0])] * bool(named)
    figure = figures.Figure(
        figsize=(NARROW if narrow else WIDE, sum(heights) + 0.6), layout="constrained"
    )
    axes = figure.subplot_mosaic(rows, height_ratios=heights)
    figure.suptitle("\n".join(summary(last)), fontsize=11, x=0.01, ha="left")
    colours = {name: f"C{at}" for at, name in enumerate(formulas(runs))}
    if "history" in axes:
        _history(axes["history"], runs, colours)
    if roofed:
        draw_roofline(axes["roof"], last, colours)
    if named:
        _layers(axes["layers"], last, named, colours, 2 if narrow else 4)
    figure.savefig(file, dpi=120)


def summary(run: Saved) -> Iterator[str]:
    """Yield what a run says in lines: what was timed, its mean, its best and worst function."""
    ratios = {name: mean for name in formulas([run]) if (mean := run.mean(name)) is not None}
    backends = ", ".join(dict.fromkeys(t.backend for t in run.timings))
    count = len(run.by_case())
    about = f"{backends}, run {run.name}: {count} case{'s' * (count != 1)} timed"
    if not ratios:
        yield f"{about} alone, beside nothing"
        return
    every = [t.ratio for t in run.timings if t.ratio is not None]
    mean = statistics.geometric_mean(every)
    yield f"{about}"
    yield f"{mean:.2f} of {beside(run)} processor time in the mean"
    if len(ratios) > 1:
        best, worst = (f"{name} {ratios[name]:.2f}" for name in _ends(ratios))
        yield f"fastest {best}, slowest {worst}"


def beside(run: Saved) -> str:
    """Return whose time a run's times are divided by."""
    name = run.machine.get("beside", "") or "torch"
    return "PyTorch's" if name == "torch" else f"{name}'s"


def _ends(ratios: dict[str, float]) -> tuple[str, str]:
    ordered = sorted(ratios, key=lambda name: ratios[name])
    return ordered[0], ordered[-1]


def formulas(runs: Sequence[Saved]) -> list[str]:
    """Return the formulas that runs have timed, each once, those that add products first."""
    timed = [t for run in runs for t in run.timings]
    ordered = sorted(timed, key=lambda t: not t.products)
    return [*dict.fromkeys(t.formula for t in ordered)]


# -- history --------------------------------------------------------------------------------------


def _history(axes: Any, runs: Sequence[Saved], colours: dict[str, str]) -> None:
    """Draw a line per function: the geometric mean of its ratios to PyTorch, run by run.

    The cases are those of the last run that has the function, and of runs that have them all.  The
    band goes from the least to the largest mean of one process of the run.
    """
    numbers = range(1, len(runs) + 1)
    for formula in shown(runs):
        means, bands = means_of(runs, formula), bands_of(runs, formula)
        known = [(at, m, b) for at, m, b in zip(numbers, means, bands, strict=True) if m and b]
        if not known:
            continue
        at, mean, band = zip(*known, strict=True)
        low, high = zip(*band, strict=True)
        colour = colours[formula]
        axes.plot(at, mean, marker="o", ms=4, label=formula, color=colour)
        axes.fill_between(at, low, high, alpha=0.18, lw=0, color=colour)
        axes.vlines(at, low, high, color=colour, lw=1)
    axes.axhline(1, color="grey", linewidth=1)
    scaled(axes, axes.yaxis, axes.get_ylim())
    names = [f"{run.name.partition('_')[0]}\n{run.commit[:7]}" for run in runs]
    step = -(-len(runs) // 12)  # no more names than have room
    axes.set_xticks([*numbers][::step], names[::step], fontsize=8)
    axes.set_xlim(0.5, len(runs) + 0.5)
    axes.set_title(
        f"processor time over {beside(runs[-1])}: below 1 is faster", loc="left", fontsize=10
    )
    axes.set_xlabel("run and commit; the bands are of the processes of a run", fontsize=9)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8)


def shown(runs: Sequence[Saved]) -> list[str]:
    """Return the formulas to draw: those that add products, where the runs have any."""
    timed = [t for run in runs for t in run.timings]
    sums = dict.fromkeys(t.formula for t in timed if t.products)
    return [*(sums or dict.fromkeys(t.formula for t in timed))]


def means_of(runs: Sequence[Saved], formula: str) -> list[float | None]:
    """Return a formula's mean in every run, of the cases of the last that has it; None: not all."""
    return [
        statistics.geometric_mean([ratio for ratios in cases for ratio in ratios])
        if cases
        else None
        for cases in _ratios(runs, formula)
    ]


def bands_of(runs: Sequence[Saved], formula: str) -> list[tuple[float, float] | None]:
    """Return the least and the largest mean of one process, in every run; None: not all cases."""
    found: list[tuple[float, float] | None] = []
    for cases in _ratios(runs, formula):
        processes = [*zip(*cases, strict=False)]
        means = [statistics.geometric_mean(one) for one in processes]
        found.append((min(means), max(means)) if means else None)
    return found


def _ratios(runs: Sequence[Saved], formula: str) -> list[list[list[float]]]:
    """Return the ratios of every process, by case and by run; none of a run without all cases."""
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
        [cases[key] for key in last] if all(cases.get(key) for key in last) else []
        for cases in by_run
    ]


# -- layers ---------------------------------------------------------------------------------------


def slowest(run: Saved) -> list[str]:
    """Return the names of a run's slowest layers, at most `MOST`, the slowest last."""
    by_layer = grouped([t for t in run.timings if t.ratio is not None], "network", "layer")
    means = {
        f"{network} {layer}": statistics.geometric_mean([t.ratio for t in some if t.ratio])
        for (network, layer), some in by_layer.items()
    }
    return sorted(sorted(means, key=lambda name: means[name])[-MOST:], key=lambda n: means[n])


def _layers(
    axes: Any, run: Saved, named: Sequence[str], colours: dict[str, str], columns: int
) -> None:
    """Draw the mean ratios of each layer on a line of its own, a mark per function and dtype."""
    lines = {name: at for at, name in enumerate(named)}
    drawn = [some for some in run.by_case().values() if some[0].ratio and _name(some[0]) in lines]
    labelled = set[tuple[str, str]]()
    for some in drawn:
        formula, dtype = some[0].formula, some[0].dtype
        mean = statistics.geometric_mean([t.ratio for t in some if t.ratio])
        new = (formula, dtype) not in labelled
        labelled.add((formula, dtype))
        axes.plot(
            mean, lines[_name(some[0])], ls="", marker=MARKS.get(dtype, "+"), ms=5,
            color=colours[formula], label=f"{formula} {dtype}" if new else None,
        )  # fmt: skip
    axes.axvline(1, color="grey", linewidth=1)
    scaled(axes, axes.xaxis, axes.get_xlim())
    axes.set_yticks([*lines.values()], [*lines], fontsize=8)
    axes.set_ylim(-0.6, len(lines) - 0.4)
    axes.grid(axis="y", lw=0.4)
    total = len({_name(t) for t in run.timings})
    of = f"the {len(named)} slowest of {total} layers" if total > len(named) else "layers"
    axes.set_title(f"{of}: processor time over {beside(run)}", loc="left", fontsize=10)
    below = (0, -0.8 / len(lines))
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=below, ncols=columns, frameon=False)


def _name(one: Timing) -> str:
    return f"{one.network} {one.layer}"
