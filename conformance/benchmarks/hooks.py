"""What `pytest conformance/benchmarks` does: options, one benchmark per case, the table after it.

It needs pytest-benchmark, whose options all hold: `--benchmark-json`, `--benchmark-save`, ….
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from gradoracle.conformance.backends.backend import Backend
from gradoracle.conformance.backends.registry import (
    IN_PROCESS,
    SHIPPED,
    UnknownBackend,
    UnusableBackend,
)
from gradoracle.conformance.backends.single_thread import one_thread
from gradoracle.conformance.benchmarks import cases, measure
from gradoracle.conformance.benchmarks.case import Case
from gradoracle.conformance.benchmarks.results import lines, machine, of_benchmarks
from gradoracle.conformance.runs.environment import environment
from gradoracle.conformance.runs.fingerprint import files_of
from gradoracle.conformance.runs.loading import load

TESTS = Path(__file__).with_name("test_functions.py")
SUITE = Path(__file__).with_name("test_suite.py")
NO_PLUGIN = "pytest-benchmark is not installed: pip install 'gradoracle[bench]'"
REFERENCE = "torch"


class Bench:
    """One session's backends, what they are timed beside, and the machine's roof."""

    def __init__(self, config: pytest.Config) -> None:
        """Read the options; load the backends into this process, where they are timed."""
        given = config.getoption("gradoracle_backend")
        names = [name.strip() for option in given for name in option.split(",")]
        self.seconds: float = config.getoption("bench_seconds")
        self.networks = _chosen(config, "networks", cases.all_networks())
        self.batches = tuple(
            int(one) for one in _chosen(config, "images", None, tuple(map(str, cases.BATCHES)))
        )
        self.dtypes = _chosen(config, "dtypes", cases.DTYPES)
        known = [*cases.cases(self.networks, self.batches, self.dtypes)]
        functions = tuple(dict.fromkeys(case.function for case in known))
        chosen = _chosen(config, "functions", functions)
        self.cases = [case for case in known if case.function in chosen]
        self.backends: list[Backend] = []
        for name in dict.fromkeys(names or [next(iter(SHIPPED))]):
            try:
                self.backends.append(load(name, IN_PROCESS))
            except (UnknownBackend, UnusableBackend) as error:
                raise pytest.UsageError(str(error)) from None
        self._beside: Backend | None = None
        self.beside: str = config.getoption("bench_beside")
        self.why_alone = ""
        try:
            self._beside = load(self.beside, IN_PROCESS)
        except UnknownBackend as error:
            raise pytest.UsageError(str(error)) from None
        except UnusableBackend as error:
            if self.beside != REFERENCE:
                raise pytest.UsageError(str(error)) from None
            self.why_alone = str(error)
        with one_thread():
            self.roofs = {dtype: measure.roof(dtype) for dtype in self.dtypes}
            self.bandwidth = measure.bandwidth()

    def reference(self, case: Case, backend: Backend) -> Backend | None:
        """Return what a case is timed beside, where it is there and claims it."""
        beside = self._beside
        if beside is None or beside.path == backend.path:
            return None
        return beside if beside.claims(case.formula, case.dtype) else None

    def pairs(self) -> list[tuple[Backend, Case]]:
        """Return every backend with every case that it claims."""
        return [
            (backend, case)
            for backend in self.backends
            for case in self.cases
            if backend.claims(case.formula, case.dtype)
        ]


BENCH = pytest.StashKey[Bench]()


def _chosen(
    config: pytest.Config, name: str, legal: tuple[str, ...] | None, default: tuple[str, ...] = ()
) -> tuple[str, ...]:
    text = config.getoption(f"bench_{name}")
    given = tuple(one.strip() for one in text.split(",")) if text else (legal or default)
    for one in given:
        if legal is not None and one not in legal:
            raise pytest.UsageError(f"--{name} {one!r} is unknown; pick from {', '.join(legal)}")
        if name == "images" and not (one.isdigit() and int(one) > 0):
            raise pytest.UsageError(f"--images must be numbers above 0, got {one!r}")
    return given


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the benchmarks; --backend is the suite's."""
    group = parser.getgroup("gradoracle benchmarks", "time a backend beside PyTorch")
    networks = ", ".join(cases.all_networks())
    described: dict[str, tuple[str, str]] = {
        "networks": ("NAME,...", f"only these networks' layers, of {networks}"),
        "images": ("N,...", "only these batches (default: 1,8)"),
        "dtypes": ("NAME,...", "only these dtypes (default: float32,float64)"),
        "functions": ("NAME,...", "only these functions of the protocol"),
    }
    for name, (metavar, text) in described.items():
        group.addoption(f"--{name}", dest=f"bench_{name}", metavar=metavar, default="", help=text)
    group.addoption(
        "--beside", dest="bench_beside", metavar="NAME", default=REFERENCE,
        help=f"the backend that is timed in turns with it (default: {REFERENCE})",
    )  # fmt: skip
    group.addoption(
        "--run", dest="bench_run", metavar="NAME", default="",
        help="what the files of one run share: it is timed in several processes",
    )  # fmt: skip
    group.addoption(
        "--seconds", dest="bench_seconds", type=float, default=1.0, metavar="S",
        help=f"of a case, at least {measure.LEAST} rounds and at most {measure.MOST} (default: 1)",
    )  # fmt: skip


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the suite's own times alone, unless the command line names their file."""
    asked = any(str(argument).partition("::")[0].endswith(SUITE.name) for argument in config.args)
    return True if collection_path == SUITE and not asked else None


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Load what is timed, so that a wrong name is reported before anything runs."""
    if not config.pluginmanager.hasplugin("benchmark"):
        raise pytest.UsageError(NO_PLUGIN)
    if hasattr(config, "workerinput") or getattr(config.option, "numprocesses", None):
        raise pytest.UsageError("benchmarks run in one process: leave out -n")
    config.option.benchmark_quiet = config.option.verbose < 1  # its tables are one per case
    config.stash[BENCH] = Bench(config)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say what is timed, beside what, on how fast a machine."""
    bench = config.stash[BENCH]
    names = ", ".join(backend.name for backend in bench.backends)
    beside = f"in turns with {bench.beside}" if not bench.why_alone else f"alone: {bench.why_alone}"
    with one_thread():
        blas = environment()["BLAS"]
    roofs = ", ".join(f"{dtype} {2e-9 * r:.0f} GFLOP/s" for dtype, r in bench.roofs.items())
    copies = f"copying: {bench.bandwidth * 1e-9:.1f} GB/s"
    return [
        f"gradoracle: timing {names} {beside}; processor time, one thread",
        f"gradoracle: BLAS {blas}; its matrix product: {roofs}; {copies}",
    ]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one benchmark of every backend and case."""
    bench = metafunc.config.stash[BENCH]
    file = Path(str(metafunc.module.__file__))
    if file == SUITE:
        metafunc.parametrize("backend", bench.backends, ids=lambda backend: backend.name)
    if file != TESTS:
        return
    pairs = bench.pairs()
    ids = [f"{backend.name}-{case.name}" for backend, case in pairs]
    metafunc.parametrize(("backend", "case"), pairs, ids=ids)


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: Any) -> None:
    """Add what decides how fast a backend is: BLAS, its architecture, and the threads."""
    with one_thread():
        machine_info["gradoracle"] = machine(environment(), os.environ)
    machine_info["gradoracle"]["beside"] = (
        "" if config.stash[BENCH].why_alone else config.stash[BENCH].beside
    )


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_json(
    config: pytest.Config, benchmarks: Any, output_json: dict[str, Any]
) -> None:
    """Add the machine's roof, measured in this session, and what exactly was timed."""
    del benchmarks
    bench = config.stash[BENCH]
    output_json["gradoracle"] = {
        "run": config.getoption("bench_run") or output_json.get("datetime", ""),
        "roofs": bench.roofs, "bandwidth": bench.bandwidth,
        "backends": {backend.name: files_of(backend.path) for backend in bench.backends},
    }  # fmt: skip


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print a table per function: layer by layer, and geometric means."""
    session = getattr(config, "_benchmarksession", None)
    timed = of_benchmarks(session.benchmarks) if session is not None else []
    if not timed:
        return
    bench = config.stash[BENCH]
    terminalreporter.section("gradoracle: times")
    beside = "torch" if bench.beside == REFERENCE else "other"
    for line in lines(timed, bench.roofs, bench.bandwidth, beside):
        terminalreporter.write_line(line)
