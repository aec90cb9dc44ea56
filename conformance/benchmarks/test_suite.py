"""How fast the suite itself is: calls a second of every property, time to reject, to certify."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

import pytest

from gradoracle.conformance.backends.single_thread import one_thread
from gradoracle.conformance.benchmarks import measure
from gradoracle.conformance.benchmarks.hooks import BENCH
from gradoracle.conformance.benchmarks.results import SUITE
from gradoracle.conformance.checking.checks import checks
from gradoracle.conformance.operators.convolution import CONV2D
from gradoracle.conformance.runs.certify import run_check
from gradoracle.oracle import conv2d

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture

    from gradoracle.conformance.backends.backend import Backend

EXAMPLES = 60
ROUNDS = measure.LEAST
REJECT = """
import gradoracle
wrong = "gradoracle.conformance.benchmarks.wrong"
found = gradoracle.check(wrong, stop_at_first_mismatch=True)
raise SystemExit(0 if found.mismatches else 1)
"""
PROPERTIES = [property_ for _, formula, property_ in checks((CONV2D,)) if formula is conv2d]


def _told(backend: str, what: str, of: str) -> dict[str, Any]:
    return {
        "case": f"{of} {what}", "backend": backend, "network": SUITE, "layer": what,
        "function": of, "formula": of, "images": 1, "dtype": "float64", "products": 0,
        "verdict": "right",
    }  # fmt: skip


@pytest.mark.parametrize("property_", PROPERTIES, ids=lambda one: one.name)
def test_property(benchmark: BenchmarkFixture, backend: Backend, property_: Any) -> None:
    seconds: list[float] = []
    calls: list[int] = []

    def judge() -> None:
        start = process_time()
        with one_thread():
            outcome = run_check(backend, CONV2D, conv2d, property_, examples=EXAMPLES, seed=1)
        seconds.append(process_time() - start)
        calls.append(max(1, outcome.judged))

    judge()
    if calls == [1]:
        pytest.skip("it checks nothing here")
    seconds.clear()
    benchmark.pedantic(judge, rounds=ROUNDS)  # type: ignore[no-untyped-call]
    each = [spent / calls[0] for spent in seconds]
    told = _told(backend.name, property_.name, "a checked call of")
    benchmark.extra_info.update(told | {"wall": each, "cpu": each, "calls": calls[0]})


def _commands(backend: str) -> dict[str, list[str]]:
    python = sys.executable
    gradoracle = [python, "-m", "gradoracle"]
    return {
        "Python itself": [python, "-c", "pass"],
        "gradoracle --help": [*gradoracle, "--help"],
        "rejecting a wrong conv2d": [python, "-c", REJECT],
        "certifying, profile quick": [*gradoracle, "certify", backend, "--profile", "quick"],
    }


@pytest.mark.parametrize("what", [*_commands("")])
def test_process(
    benchmark: BenchmarkFixture, backend: Backend, what: str, request: pytest.FixtureRequest
) -> None:
    command = _commands(backend.name)[what]
    seconds: list[float] = []
    # Compiled modules and caches of what Numba made are there from the second run on.
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    def perform() -> None:
        start = perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(  # noqa: S603 - our own command
                command, check=False, capture_output=True, text=True, cwd=folder, env=environment
            )
        seconds.append(perf_counter() - start)
        assert done.returncode == 0, done.stdout + done.stderr

    perform()
    rounds = 3 if seconds[0] > request.config.stash[BENCH].seconds * ROUNDS else ROUNDS
    seconds.clear()
    benchmark.pedantic(perform, rounds=rounds)  # type: ignore[no-untyped-call]
    told = _told(backend.name, what, "a process:")
    benchmark.extra_info.update(told | {"wall": seconds, "cpu": seconds})
