"""`python -m tests.power.soundness`: check what is right, again and again, and count false alarms.

Every shard checks one shipped backend in one dtype from a seed of its own: of odd seeds it is a
certification; of even ones every check is given as many geometries, those too that a certificate
asks a few times only, where a false alarm would stay rare and unseen.  A mismatch is a false alarm
of the suite or a fault of the backend, and is kept with its headline.  The largest error over its
rounding bound, per formula and dtype, says how much room is left.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import gradoracle
from gradoracle.conformance.backends.backend import Backend
from gradoracle.conformance.backends.registry import IN_PROCESS, load
from gradoracle.conformance.backends.single_thread import one_thread
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.reports.certificate import Certificate
from gradoracle.conformance.runs.certify import certificate as summed_up
from gradoracle.conformance.runs.certify import checks, run_check
from gradoracle.conformance.runs.fingerprint import suite
from gradoracle.conformance.runs.jobs import limit
from gradoracle.oracle.float_formats import FORMATS
from tests.power.journal import Journal

RESULTS = Path(__file__).parent / "results" / "soundness.json"
JOURNAL = Path(".gradoracle") / "soundness.jsonl"
BACKENDS = ("im2col", "torch", "oracle")
MILLION = 1_000_000
EACH = 60  # geometries of every check, where all are given as many


class Shard(NamedTuple):
    """One certification, or as many geometries of every check."""

    backend: str
    dtype: str
    seed: int


def shards(backends: list[str]) -> Iterator[Shard]:
    """Yield shards without end: every backend in every dtype that it claims, seed by seed."""
    claimed = {name: load(name, IN_PROCESS).contract.dtypes for name in backends}
    seed = 0
    while True:
        seed += 1
        for name in backends:
            for dtype in claimed[name]:
                yield Shard(name, dtype, seed)


def judged(shard: Shard, examples: int | None = None) -> dict[str, Any]:
    """Return the calls checked and the largest error of every formula, and what was flagged."""
    backend = load(shard.backend, IN_PROCESS)
    limit(backend, [shard.dtype])
    with one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if shard.seed % 2:
            certificate = gradoracle.check(backend, examples=examples, seed=shard.seed)
        else:
            certificate = _evenly(backend, examples or EACH, shard.seed)
    calls, worst = Counter[str](), dict[str, float]()
    for one in certificate.outcomes:
        calls[one.formula] += one.judged
        worst[one.formula] = max(worst.get(one.formula, 0.0), one.worst_error_over_bound)
    flagged = [f"{m.formula} {m.property_name}: {m.headline}" for m in certificate.mismatches]
    if not flagged and not certificate.passed:
        flagged = [certificate.why_not]
    seconds = sum(one.seconds for one in certificate.outcomes)
    return {"calls": calls, "worst": worst, "flagged": flagged, "seconds": seconds}


def _evenly(backend: Backend, examples: int, seed: int) -> Certificate:
    """Return what came of all checks, each given as many geometries."""
    outcomes = [
        run_check(
            backend, operator, formula, replace(property_, share=1.0), examples=examples, seed=seed
        )
        for operator, formula, property_ in checks(OPERATORS)
    ]
    return summed_up(backend, outcomes, seed, examples)


Shards: TypeAlias = Journal[Shard, dict[str, Any]]


def journal(path: Path) -> Shards:
    """Return the shards of this suite that a file has.

    Raises:
        ValueError: another suite checked there.
    """
    return Journal(path, suite(), lambda shard, found: (Shard(*shard), found))


def calls_of(found: Mapping[Shard, dict[str, Any]]) -> int:
    """Return how many calls were checked."""
    return sum(sum(one["calls"].values()) for one in found.values())


def content(done: Mapping[Shard, dict[str, Any]]) -> dict[str, Any]:
    """Return the results: calls and largest errors per dtype and formula, and what was flagged."""
    calls: dict[str, Counter[str]] = {}
    worst: dict[str, dict[str, float]] = {}
    for shard, found in done.items():
        calls.setdefault(shard.dtype, Counter()).update(found["calls"])
        most = worst.setdefault(shard.dtype, {})
        for formula, share in found["worst"].items():
            most[formula] = max(most.get(formula, 0.0), share)
    return {
        "calls": calls_of(done),
        "by backend": Counter({
            name: calls_of({s: f for s, f in done.items() if s.backend == name})
            for name in sorted({shard.backend for shard in done})
        }),
        "seeds": max((shard.seed for shard in done), default=0),
        "flagged": [[*shard, *found["flagged"]] for shard, found in done.items()
                    if found["flagged"]],
        "calls of": calls,
        "worst": worst,
    }  # fmt: skip


def table(results: dict[str, Any]) -> str:
    """Return the largest error over its bound, a row per formula and a column per dtype."""
    dtypes = [dtype for dtype in FORMATS if dtype in results["worst"]]
    formulas = list(dict.fromkeys(f for dtype in dtypes for f in results["worst"][dtype]))
    rows = [f"| formula | {' | '.join(dtypes)} |", f"|---|{'---|' * len(dtypes)}"]
    for formula in formulas:
        shares = [results["worst"][dtype].get(formula, 0.0) for dtype in dtypes]
        if any(shares):
            rows.append(f"| `{formula}` | {' | '.join(f'{s:.3f}' for s in shares)} |")
    return "\n".join(rows)


def summary(results: dict[str, Any]) -> str:
    """Return how many calls were checked of whom, and how many shards were flagged."""
    of = ", ".join(f"{count:,} of {name}" for name, count in results["by backend"].items())
    flagged = len(results["flagged"])
    return f"{results['calls']:,} calls checked ({of}), {flagged} certifications flagged"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.power.soundness",
        description="Certify the shipped backends from one seed after the other until enough calls "
        "are checked, and print what was flagged and how near errors came to their bounds. It can "
        "be stopped at any time and goes on where it was.",
    )
    add = parser.add_argument
    add("--calls", type=int, default=MILLION, metavar="N", help="default: a million")
    add("--backends", nargs="+", default=list(BACKENDS), metavar="NAME",
        help=f"default: {', '.join(BACKENDS)}")  # fmt: skip
    add("--jobs", type=int, default=1, metavar="N", help="processes (default: 1)")
    add("--journal", type=Path, default=JOURNAL, metavar="FILE",
        help=f"where shards are written as they end (default: {JOURNAL})")  # fmt: skip
    add("--save", action="store_true", help=f"write the results to {RESULTS.name}")
    return parser.parse_args()


def main() -> int:
    """Check until there are enough calls; 1 where something was flagged, 2 where none could be."""
    given, start = _arguments(), time.monotonic()
    try:
        done, ahead = journal(given.journal), shards(given.backends)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(given.jobs, context) as pool:
        waiting = {}
        while calls_of(done.known) < given.calls or waiting:
            while calls_of(done.known) < given.calls and len(waiting) < given.jobs:
                shard = next(one for one in ahead if one not in done.known)
                waiting[pool.submit(judged, shard)] = shard
            ended = next(as_completed(waiting))
            shard = waiting.pop(ended)
            done.add(shard, ended.result())
            calls, seconds = calls_of(done.known), time.monotonic() - start
            flagged = "; ".join(done.known[shard]["flagged"])
            told = f"{shard.backend} {shard.dtype}, seed {shard.seed} {flagged}"
            print(f"{calls:,} calls in {seconds:.0f} s; {told}", file=sys.stderr, flush=True)
    results = content(done.known)
    print(summary(results))
    print(table(results))
    if given.save:
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return int(bool(results["flagged"]))


if __name__ == "__main__":
    sys.exit(main())
