"""What isolation costs: `python -m gradoracle.conformance.benchmarks.isolation`.

Round trips of a call to a worker, alone and begun together, and the time of a short certification
in a worker over that in this process, check by check in turns.
"""

from __future__ import annotations

import os
import statistics
import sys
from time import perf_counter

import numpy as np

from gradoracle.conformance.backends.backend import FUNCTIONS
from gradoracle.conformance.backends.caller import Request
from gradoracle.conformance.backends.isolation.isolated import Isolated
from gradoracle.conformance.backends.isolation.wire import Array
from gradoracle.conformance.backends.registry import IN_PROCESS, ISOLATED, load
from gradoracle.conformance.checking.checks import checks
from gradoracle.conformance.runs.certify import run_check

ROUNDS, TOGETHER = 2000, 16
SIZES = {"64 B": 16, "64 KiB": 1 << 14, "1 MiB": 1 << 18}  # of float32
TURNS, EXAMPLES = 2, 40
DONE_NOTHING = "gradoracle.conformance.benchmarks.isolation:copies"


class copies:  # noqa: N801 - it stands for a backend's module
    """A backend whose one function costs a copy."""

    @staticmethod
    def relu(z: Array) -> Array:
        """Return a copy."""
        return z.copy()


def main() -> None:
    """Print both."""
    print(f"{os.cpu_count()} CPUs, Python {sys.version.split()[0]}, NumPy {np.__version__}")
    print(f"round trip in us, median of {ROUNDS} (argument and result of this size each)")
    backend = Isolated(DONE_NOTHING, FUNCTIONS)
    try:
        for name, count in SIZES.items():
            alone, together = _round_trips(backend, np.ones(count, np.float32))
            print(f"  {name:>6}  alone {alone:6.1f}   {TOGETHER} together, each {together:6.1f}")
    finally:
        backend.close()
    print(f"certification of im2col, {EXAMPLES} examples a check, every check in turns", flush=True)
    here, there = _certifications()
    print(
        f"  in this process {here:6.1f} s   in a worker {there:6.1f} s   ratio {there / here:.2f}"
    )


def _certifications() -> tuple[float, float]:
    """Return the seconds of all checks in this process and in a worker, one after the other."""
    backends = [load("im2col", confinement) for confinement in (IN_PROCESS, ISOLATED)]
    seconds = [0.0, 0.0]
    for turn in range(TURNS + 1):
        for case in checks():
            for which in (0, 1) if turn % 2 else (1, 0):
                start = perf_counter()
                run_check(backends[which], *case, examples=EXAMPLES if turn else 1, seed=turn)
                if turn:  # the first compiles and starts what has to be
                    seconds[which] += perf_counter() - start
    for backend in backends:
        backend.asked.close()
    return seconds[0], seconds[1]


def _round_trips(backend: Isolated, array: Array) -> tuple[float, float]:
    """Return the median microseconds of a call, alone and among others."""
    alone = []
    for _ in range(ROUNDS):
        request = Request("relu", [array], {})
        start = perf_counter()
        backend.perform(request)
        alone.append(perf_counter() - start)
    together = []
    for _ in range(ROUNDS // TOGETHER):
        requests = [Request("relu", [array], {}) for _ in range(TOGETHER)]
        start = perf_counter()
        backend.begin(requests)
        for request in requests:
            backend.perform(request)
        together.append((perf_counter() - start) / TOGETHER)
    return statistics.median(alone) * 1e6, statistics.median(together) * 1e6


if __name__ == "__main__":
    main()
