"""The functions that add products, under what the machine does at most."""

from __future__ import annotations

from typing import Any

from gradoracle.conformance.benchmarks.history import Saved
from gradoracle.conformance.benchmarks.results import Timing, grouped
from gradoracle.conformance.benchmarks.ticks import scaled

MARKS = {"float32": "o", "float64": "x"}


def under_a_roof(run: Saved) -> list[Timing]:
    """Return the timings of functions that add products, in dtypes whose roof was measured."""
    return [t for t in run.timings if t.products and t.bytes and t.dtype in run.roofs]


def draw_roofline(axes: Any, run: Saved, colours: dict[str, str]) -> None:
    """Draw what a run reached, under the matrix product's roof and the copy's slope, labelled."""
    timed = under_a_roof(run)
    for (formula, dtype), some in grouped(timed, "formula", "dtype").items():
        axes.scatter(
            [2 * t.products / t.bytes for t in some], [t.gflops() for t in some], s=14,
            marker=MARKS.get(dtype, "+"), color=colours[formula], label=f"{formula} {dtype}",
        )  # fmt: skip
    intensities = [2 * t.products / t.bytes for t in timed]
    low, high = min(intensities) / 2, max(intensities) * 2
    _roofs(axes, run, low, high)
    speeds = [t.gflops() for t in timed]
    tops = [2e-9 * roof for roof in run.roofs.values()]
    scaled(axes, axes.xaxis, (low, high))
    scaled(axes, axes.yaxis, (min(speeds) / 2, 1.6 * max(*speeds, *tops)))
    axes.set_title("10⁹ operations a second, under the machine's roof", loc="left", fontsize=10)
    axes.set_xlabel("operations per byte of arguments and result", fontsize=9)
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(0, -0.12), ncols=2, frameon=False)


def _roofs(axes: Any, run: Saved, low: float, high: float) -> None:
    """Draw the slope of a copy, and each dtype's roof with its speed on it."""
    slope, label = 1e-9 * run.bandwidth, f"copying, {1e-9 * run.bandwidth:.1f} GB/s"
    for dtype, roof in run.roofs.items():
        top = 2e-9 * roof
        corner = min(max(top / slope, low), high)
        axes.plot([low, corner], [min(low * slope, top), top], color="grey", lw=1, label=label)
        axes.plot([corner, high], [top, top], color="black", lw=1)
        axes.annotate(
            f"roof of {dtype}: NumPy's matrix product, {top:.0f}", (high, top), ha="right",
            va="bottom", fontsize=8, xytext=(-3, 2), textcoords="offset points",
            bbox={"facecolor": "white", "alpha": 0.7, "lw": 0, "pad": 0.5},
        )  # fmt: skip
        label = ""  # the slope is that of all
