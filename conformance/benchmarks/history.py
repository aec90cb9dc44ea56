"""Runs that pytest-benchmark kept, and whether one is slower than another or only noisier.

A run is timed in several processes, a file each: where a process has its memory moves the time of a
call by some per cent, more than its rounds tell, and short calls by a tenth and more.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

from gradoracle.conformance.benchmarks.results import Timing, timing
from gradoracle.conformance.reports.schema import Malformed, parsed, require

LEAST = 0.10  # a change of the mean that is worth telling
LEVEL = 0.01  # of all tests of one comparison together
PRIOR = 4  # what all cases say of one case's spread counts as so many processes do
UNKNOWN = 0.1  # the spread between processes, where every case was timed in one only
NO_SCIPY = "SciPy is not installed: pip install 'gradoracle[bench]'"

TEXT, SECONDS = {"type": "string"}, {"type": "number", "minimum": 0, "maximum": 1e12}
ROUNDS = {"type": "array", "items": SECONDS}
NUMBER = {"type": "integer", "minimum": 0, "maximum": 2**62}
KEPT = {  # of a file of pytest-benchmark what is read
    "type": "object",
    "required": ["benchmarks", "machine_info", "gradoracle", "datetime"],
    "properties": {
        "benchmarks": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["extra_info"],
                "properties": {"extra_info": {"type": "object"}},
            },
        },
        "machine_info": {
            "type": "object",
            "required": ["gradoracle"],
            "properties": {
                "cpu": {"type": "object", "properties": {"brand_raw": TEXT}},
                "processor": TEXT,
                "gradoracle": {"type": "object", "additionalProperties": TEXT},
            },
        },
        "commit_info": {"type": ["object", "null"], "properties": {"id": {"type": "string"}}},
        "datetime": TEXT,
        "gradoracle": {
            "type": "object",
            "required": ["run", "roofs", "bandwidth"],
            "properties": {
                "run": TEXT,
                "roofs": {
                    "type": "object",
                    "additionalProperties": {"type": "number", "exclusiveMinimum": 0},
                },
                "bandwidth": {"type": "number", "exclusiveMinimum": 0},
            },
        },
    },
}
TIMED = {  # what is in extra_info
    "type": "object",
    "required": [
        "case", "backend", "network", "layer", "function", "formula", "images", "dtype", "products",
        "wall", "cpu",
    ],
    "properties": {
        **dict.fromkeys(
            ("case", "backend", "network", "layer", "function", "formula", "dtype", "verdict"), TEXT
        ),
        **dict.fromkeys(("images", "products", "bytes", "peak", "own"), NUMBER),
        **dict.fromkeys(("beside_wall", "beside_cpu", "product_cpu"), ROUNDS),
        **{name: {**ROUNDS, "minItems": 1} for name in ("wall", "cpu")},
    },
}  # fmt: skip

Key: TypeAlias = tuple[str, str]  # a backend and a case


class HistoryError(Exception):
    """There is no such run, or two cannot be compared; the message says why."""


@dataclass(frozen=True)
class Saved:
    """One run: a file of pytest-benchmark of every process that timed it."""

    files: tuple[Path, ...]
    run: str  # what the files of one run have in common
    when: str
    commit: str
    machine: Mapping[str, str]
    timings: tuple[Timing, ...]
    roofs: Mapping[str, float]
    bandwidth: float

    @property
    def name(self) -> str:
        """The first file's name without its ending, which begins with its number."""
        return self.files[0].stem

    def mean(self, formula: str) -> float | None:
        """Return the geometric mean of a formula's ratios to PyTorch."""
        ratios = [t.ratio for t in self.timings if t.formula == formula and t.ratio is not None]
        return statistics.geometric_mean(ratios) if ratios else None

    def by_case(self) -> dict[Key, list[Timing]]:
        """Return the timings of every case, one of each process."""
        found: dict[Key, list[Timing]] = {}
        for one in self.timings:
            found.setdefault((one.backend, one.case), []).append(one)
        return found


def read(*files: Path) -> Saved:
    """Return a run that was kept in some files.

    Raises:
        HistoryError: a file cannot be read, or holds no benchmarks of ours.
    """
    parts = [_part(file) for file in files]
    first = parts[0]
    timings = tuple(timing for part in parts for timing in part.timings)
    return Saved(
        files, first.run, first.when, first.commit, first.machine, timings, first.roofs,
        first.bandwidth,
    )  # fmt: skip


def _part(file: Path) -> Saved:
    try:
        content = parsed(file.read_bytes())
        require(content, KEPT)
        infos = [one["extra_info"] for one in content["benchmarks"] if "cpu" in one["extra_info"]]
        for number, info in enumerate(infos):
            _require_timing(number, info)
        about, ours = content["machine_info"], content["gradoracle"]
        processor = about.get("cpu", {}).get("brand_raw", about.get("processor", ""))
        commit = (content.get("commit_info") or {}).get("id", "")
        return Saved(
            (file,), ours["run"], content["datetime"],
            "" if commit == "unversioned" else commit[:12],
            {"processor": str(processor), **about["gradoracle"]}, tuple(map(timing, infos)),
            ours["roofs"], ours["bandwidth"],
        )  # fmt: skip
    except OSError as error:
        raise HistoryError(f"{file} cannot be read: {error.strerror}") from None
    except Malformed as error:
        raise HistoryError(f"{file} is no run of gradoracle's benchmarks: {error}") from None


def _require_timing(number: int, info: Any) -> None:
    """Raise Malformed unless it is a timing with as many rounds beside it as it has."""
    try:
        require(info, TIMED)
    except Malformed as error:
        raise Malformed(f"timing {number}: {error}") from error
    for name in ("wall", "beside_wall", "beside_cpu", "product_cpu"):
        rounds = len(info.get(name, ()))
        if rounds != len(info["cpu"]) and (rounds or name == "wall"):
            raise Malformed(
                f"timing {number}: {name}: must be as long as cpu, {len(info['cpu'])}, got {rounds}"
            )


def saved(storage: Path, backend: str = "") -> list[Saved]:
    """Return the runs that were kept, of a backend or all, the oldest first.

    Raises:
        HistoryError: a file there cannot be read.
    """
    parts: dict[str, list[Saved]] = {}
    for part in map(_part, sorted(storage.glob("*/*.json"))):
        if not backend or any(t.backend == backend for t in part.timings):
            parts.setdefault(part.run, []).append(part)
    runs = [read(*(part.files[0] for part in some)) for some in parts.values()]
    return sorted(runs, key=lambda run: run.when)


def named(runs: Sequence[Saved], name: str) -> Saved:
    """Return the run with a number such as 3 or 0003, or the one in a file.

    Raises:
        HistoryError: there is none.
    """
    if not name.isdigit():
        return read(Path(name))
    for run in runs:
        if any(int(file.stem.partition("_")[0]) == int(name) for file in run.files):
            return run
    numbers = ", ".join(run.name for run in runs) or "none"
    raise HistoryError(f"no run that is kept has the number {name}; there are {numbers}")


def differences(old: Saved, new: Saved) -> list[str]:
    """Return in what the machines of two runs differ; what is installed for Python counts too."""
    return [
        f"{name}: {old.machine.get(name, '')!r} was {new.machine.get(name, '')!r} later"
        for name in dict.fromkeys((*old.machine, *new.machine))
        if old.machine.get(name, "") != new.machine.get(name, "")
    ]


@dataclass(frozen=True)
class Change:
    """How the time of one case changed between two runs."""

    case: str
    formula: str
    factor: float  # the later processor time over the earlier, each over PyTorch's if both have it
    chance: float  # that there is no change, and it looks like this all the same
    told: bool = False  # it is more than noise, and as much as is worth telling

    @property
    def verdict(self) -> str:
        """What is to be thought of it."""
        if not self.told:
            return "same"
        return "slower" if self.factor > 1 else "faster"


def compare(old: Saved, new: Saved, *, least: float = LEAST, level: float = LEVEL) -> list[Change]:
    """Return how every case that both runs timed changed.

    A change is told where two tests find it, all those of the comparison together at `level`
    (Holm 1979), and it is at least `least`: a rank test of the rounds (Mann and Whitney 1947), and
    Student's of the processes' medians, each case's spread drawn towards that of all (Smyth 2004).

    Raises:
        HistoryError: they have no case in common.
        ImportError: SciPy is not installed.
    """
    before, after = old.by_case(), new.by_case()
    pairs = [(before[key], after[key]) for key in after if key in before]
    if not pairs:
        raise HistoryError(f"{old.name} and {new.name} timed nothing in common")
    try:
        stats: Any = import_module("scipy.stats")  # optional, and slow to import
    except ImportError as error:
        raise ImportError(NO_SCIPY) from error
    usual = _usual_spread(pairs)
    changes = [_change(stats, earlier, later, usual) for earlier, later in pairs]
    told, left = set[int](), len(changes)
    for at in sorted(range(len(changes)), key=lambda at: changes[at].chance):
        if changes[at].chance > level / left:
            break
        left -= 1
        if not 1 / (1 + least) < changes[at].factor < 1 + least:
            told.add(at)
    return [Change(c.case, c.formula, c.factor, c.chance, at in told)
            for at, c in enumerate(changes)]  # fmt: skip


def _usual_spread(pairs: Sequence[tuple[list[Timing], list[Timing]]]) -> float:
    """Return the median variance between processes, of the logarithms of times."""
    known = [
        statistics.variance([math.log(statistics.median(t.samples)) for t in some])
        for pair in pairs for some in pair if len(some) > 1
    ]  # fmt: skip
    return statistics.median(known) if known else UNKNOWN**2


def _change(stats: Any, old: list[Timing], new: list[Timing], usual: float) -> Change:
    both = all(one.beside_cpu for one in (*old, *new))
    a, b = ([one.samples if both else one.cpu for one in some] for some in (old, new))
    before, after = ([math.log(statistics.median(rounds)) for rounds in some] for some in (a, b))
    step = statistics.fmean(after) - statistics.fmean(before)
    freedom = len(before) + len(after) - 2
    within = sum(
        (value - statistics.fmean(some)) ** 2 for some in (before, after) for value in some
    )
    spread = math.sqrt((PRIOR * usual + within) / (PRIOR + freedom))
    error = spread * math.sqrt(1 / len(before) + 1 / len(after))
    by_process = 2 * float(stats.t.sf(abs(step) / error, PRIOR + freedom)) if error else 0.0
    earlier, later = ([value for rounds in some for value in rounds] for some in (a, b))
    by_round = float(stats.mannwhitneyu(earlier, later).pvalue)
    return Change(new[0].case, new[0].formula, math.exp(step), max(by_process, by_round))


def told(changes: Sequence[Change]) -> Iterator[str]:
    """Yield what changed, the largest first, and the mean of every function."""
    some = largest(changes)
    for change in some:
        yield f"  {change.verdict}: {change.case}  x {change.factor:.2f} (p {change.chance:.1g})"
    for formula in dict.fromkeys(change.formula for change in changes):
        factors = [change.factor for change in changes if change.formula == formula]
        cases = f"{len(factors)} case{'s' * (len(factors) > 1)}"
        yield f"  {formula:34} {cases:>9}  x {statistics.geometric_mean(factors):.3f}"
    yield counted(changes)


def largest(changes: Sequence[Change]) -> list[Change]:
    """Return the changes that are more than noise, the largest first."""
    return sorted((c for c in changes if c.told), key=lambda c: -abs(math.log(c.factor)))


def counted(changes: Sequence[Change]) -> str:
    """Return in words how many cases are slower, faster or the same."""
    slower, faster = (sum(c.verdict == word for c in changes) for word in ("slower", "faster"))
    rest = len(changes) - slower - faster
    return f"{slower} slower, {faster} faster, {rest} the same but for noise"
