"""What was timed, as it is told: ratios, layer by layer and in the mean."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from shutil import get_terminal_size
from typing import Any

WIDE = 110  # columns from which a name and its numbers share a line
CELLS = (10, 9, 7, 9, 9, 6, 8)  # columns of the numbers of a line
SUITE = "the suite"  # in place of a network
NAMED = ("BLAS", "machine", "Python", "NumPy", "PyTorch")  # of the environment
CHOSEN = "OPENBLAS_CORETYPE"  # a variable that decides which kernels OpenBLAS runs


@dataclass(frozen=True)
class Timing:
    """A case of one backend: seconds of one call, a round each."""

    case: str
    backend: str
    network: str
    layer: str
    function: str
    formula: str
    images: int
    dtype: str
    products: int
    bytes: int
    verdict: str
    wall: tuple[float, ...]
    cpu: tuple[float, ...]
    beside_wall: tuple[float, ...]
    beside_cpu: tuple[float, ...]
    product_cpu: tuple[float, ...] = ()  # of the matrix products alone
    peak: int = 0  # bytes that a call allocates at a time
    own: int = 0  # bytes of its result

    @property
    def seconds(self) -> float:
        """The median processor time of a call."""
        return statistics.median(self.cpu)

    @property
    def ratio(self) -> float | None:
        """The median processor time over PyTorch's: below 1 the backend is faster."""
        if not self.beside_cpu:
            return None
        return self.seconds / statistics.median(self.beside_cpu)

    @property
    def wall_ratio(self) -> float | None:
        """The same of the time that passed."""
        if not self.beside_wall:
            return None
        return statistics.median(self.wall) / statistics.median(self.beside_wall)

    @property
    def product_ratio(self) -> float | None:
        """The median processor time of the matrix products alone over PyTorch's of the whole."""
        if not self.product_cpu or not self.beside_cpu:
            return None
        return statistics.median(self.product_cpu) / statistics.median(self.beside_cpu)

    @property
    def memory(self) -> float | None:
        """The bytes held at a time over those of arguments and result; None: not seen."""
        if not self.own or self.peak < self.own or not self.bytes:
            return None
        return (self.bytes - self.own + self.peak) / self.bytes

    @property
    def samples(self) -> tuple[float, ...]:
        """Processor time round by round, over PyTorch's of the same round if there is one.

        What slows the machine for a while slows both, so a ratio is steadier than a time.
        """
        if not self.beside_cpu:
            return self.cpu
        return tuple(a / b for a, b in zip(self.cpu, self.beside_cpu, strict=True) if b > 0)

    def gflops(self) -> float:
        """Two operations a product, in 10**9 a second; 0 where no products are added."""
        return 2e-9 * self.products / self.seconds if self.seconds else 0.0


def timing(info: Mapping[str, Any]) -> Timing:
    """Return the timing that pytest-benchmark's extra_info holds.

    Raises:
        ValueError: it is no benchmark of ours.
    """
    try:
        return Timing(
            **{n: info[n] for n in (
                "case", "backend", "network", "layer", "function", "formula", "images", "dtype",
                "products",
            )},
            bytes=info.get("bytes", 0),
            verdict=info.get("verdict", "not checked"),
            wall=tuple(info["wall"]), cpu=tuple(info["cpu"]),
            beside_wall=tuple(info.get("beside_wall", ())),
            beside_cpu=tuple(info.get("beside_cpu", ())),
            product_cpu=tuple(info.get("product_cpu", ())),
            peak=info.get("peak", 0), own=info.get("own", 0),
        )  # fmt: skip
    except KeyError as error:
        raise ValueError(f"no benchmark of gradoracle: {error} is missing") from None


def of_benchmarks(benchmarks: Iterable[Any]) -> list[Timing]:
    """Return the timings of a session's benchmarks that ended."""
    return [timing(one.extra_info) for one in benchmarks if "cpu" in one.extra_info]


def machine(environment: Mapping[str, Any], variables: Mapping[str, str]) -> dict[str, Any]:
    """Return what two runs must share to be compared."""
    found = {name: environment[name] for name in NAMED if name in environment}
    return {**found, CHOSEN: variables.get(CHOSEN, "")}


def lines(
    timed: Sequence[Timing], roofs: Mapping[str, float], bandwidth: float, beside: str = "torch"
) -> Iterator[str]:
    """Yield a table per function that adds products, one of all others, and networks' means."""
    yield from _suite([one for one in timed if one.network == SUITE])
    timed = [one for one in timed if one.network != SUITE]
    for (backend, dtype, images), some in grouped(timed, "backend", "dtype", "images").items():
        where = f"{dtype}, {images} image{'s' * (images > 1)}"
        sums = [one for one in some if one.products]
        for (formula,), those in grouped(sums, "formula").items():
            yield from _table(f"{backend} {formula}, {where}", beside, "GFLOP/s", "roof")
            for one in those:
                share = one.products / one.seconds / roofs[one.dtype]
                yield from _line(f"{one.network} {one.layer}", one, one.gflops(), share)
            yield from _means(those)
            yield ""
        others = sorted((one for one in some if not one.products), key=lambda one: one.formula)
        if others:
            yield from _table(f"{backend}, no products, {where}", beside, "GB/s", "copy")
        for one in others:
            share = one.bytes / one.seconds / bandwidth
            title = f"{one.formula} {one.network} {one.layer}"
            yield from _line(title, one, 1e-9 * one.bytes / one.seconds, share)
        yield ""
    if not timed:
        return
    rest = [one for one in timed if one.verdict != "right"]
    right = len(timed) - len(rest)
    told = f"{right} of {len(timed)} answers found right after they were timed"
    yield from textwrap.wrap(told, _columns())
    yield from (f"  {one.backend} {one.case}: {one.verdict}" for one in rest)


def _suite(timed: Sequence[Timing]) -> Iterator[str]:
    """Yield what the suite itself takes."""
    for (backend, of), some in grouped(timed, "backend", "function").items():
        yield f"{of} ({backend})"
        for one in some:
            each = f"{1 / one.seconds:10.0f} a second" if one.seconds < 0.05 else ""
            yield f"  {one.layer:50}{1e3 * one.seconds:10.1f} ms{each}"
        yield ""


def grouped(timed: Iterable[Timing], *names: str) -> dict[tuple[Any, ...], list[Timing]]:
    """Return the timings by the values of some of their fields."""
    found: dict[tuple[Any, ...], list[Timing]] = {}
    for one in timed:
        found.setdefault(tuple(getattr(one, name) for name in names), []).append(one)
    return found


def _table(title: str, beside: str, speed: str, share: str) -> Iterator[str]:
    yield title
    yield from _row("", ("ms", f"/ {beside}", "wall", "product", speed, share, "memory"))


def _columns() -> int:
    return get_terminal_size((WIDE, 24)).columns


def _is_wide() -> bool:
    """Return whether a name and its numbers fit a line; else the numbers are below."""
    return _columns() >= WIDE


def _row(title: str, cells: Sequence[str]) -> Iterator[str]:
    """Yield a name and its numbers as lines that fit, as the head of the table is."""
    if _is_wide():
        yield f"  {title:50}{''.join(map(str.rjust, cells, CELLS))}"
        return
    if title:
        yield f"  {title}"
    line = "  "
    for cell, width in zip(cells, CELLS, strict=True):
        if len(line) + width > _columns() and line.strip():
            yield line.rstrip()
            line = "  "
        line += cell.rjust(width)
    yield line.rstrip()


def _line(title: str, one: Timing, speed: float, share: float) -> Iterator[str]:
    ratios = (one.ratio, one.wall_ratio, one.product_ratio)
    told = ["" if ratio is None else f"{ratio:.2f}" for ratio in ratios]
    memory = "" if one.memory is None else f"{one.memory:.2f}"
    cells = (f"{1e3 * one.seconds:.3f}", *told, f"{speed:.1f}", f"{share:.0%}", memory)
    yield from _row(title, cells)


def _means(some: Sequence[Timing]) -> Iterator[str]:
    for (network,), those in grouped(some, "network").items():
        cpu = [one.ratio for one in those if one.ratio is not None]
        wall = [one.wall_ratio for one in those if one.wall_ratio is not None]
        bare = [one.product_ratio for one in those if one.product_ratio is not None]
        if len(cpu) > 1:
            title = f"geometric mean of {network}, {len(cpu)} layers"
            ours, passed = map(statistics.geometric_mean, (cpu, wall))
            alone = f"{statistics.geometric_mean(bare):9.2f}" if len(bare) == len(cpu) else ""
            means = f"{ours:9.2f}{passed:7.2f}{alone}"
            if _is_wide():
                yield f"  {title:60}{means}"
            else:
                yield from (f"  {title}", f"  {'':10}{means}")
