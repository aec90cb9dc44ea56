"""What `gradoracle bench` and `gradoracle history` do."""

from __future__ import annotations

import importlib.util
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import typer

from gradoracle.conformance.backends.caller import printable
from gradoracle.conformance.benchmarks.history import (
    HistoryError,
    Saved,
    compare,
    differences,
    named,
    read,
    saved,
    told,
)
from gradoracle.conformance.benchmarks.hooks import NO_PLUGIN, SUITE, TESTS
from gradoracle.conformance.benchmarks.pictures import SUMS, draw
from gradoracle.conformance.reports.terminal import fitted

LAST = "last"  # the run to compare with: the last one that was kept


@dataclass(frozen=True)
class Comparison:
    """What of two runs is told, and when it is a failure."""

    least: float
    any_machine: bool = False
    fail: bool = False

    def told(self, old: Saved, new: Saved) -> int:
        """Print what changed; return the exit code.

        Raises:
            HistoryError: the runs are of different machines, or have nothing in common.
        """
        other = differences(old, new)
        if other and not self.any_machine:
            raise HistoryError(
                f"{old.name} and {new.name} are not from the same machine ({'; '.join(other)}): "
                "--any-machine compares them all the same"
            )
        changes = compare(old, new, least=self.least)
        _tell(f"\n{old.name} ({old.when[:16]}, {old.commit or 'no commit'}) and {new.name}:")
        for line in [*(f"  another machine: {one}" for one in other), *told(changes)]:
            _tell(line)
        return int(self.fail and any(change.verdict == "slower" for change in changes))


def bench(
    backend: str, options: Sequence[str], storage: Path, other: str, comparison: Comparison, *,
    processes: int, suite: bool, save: bool, picture: Path | None, narrow: bool = False,
) -> int:  # fmt: skip
    """Time a backend, keep the run, compare it with another, draw it; return the exit code."""

    def performed() -> int:
        before = saved(storage, backend)
        old = _found(before, other, backend, storage) if other else None
        new = timed(backend, options, storage, processes=processes, suite=suite, save=save)
        code = 0 if old is None else comparison.told(old, new)
        if picture is not None:
            _drawn([*before, new], picture, narrow=narrow)
        return code

    return _excused(performed)


def history(
    backend: str, old: str, new: str, storage: Path, comparison: Comparison, *,
    picture: Path | None, narrow: bool = False,
) -> int:  # fmt: skip
    """List the runs that are kept, compare two and draw them; return the exit code."""

    def performed() -> int:
        runs = saved(storage, backend)
        for run in runs:
            _tell(printable(_line(run)))
        later = named(runs, new) if new else _found(runs, LAST, backend, storage)
        earlier = named(runs, old) if old else _before(runs, later)
        code = 0 if earlier is None else comparison.told(earlier, later)
        if picture is not None:
            _drawn(runs or [later], picture, narrow=narrow)
        return code

    return _excused(performed)


def _excused(perform: Callable[[], int]) -> int:
    try:
        return perform()
    except (HistoryError, ImportError, OSError, ValueError, ArithmeticError) as error:
        typer.echo(fitted(str(error), sys.stderr, ""), err=True)
        return 2


def _tell(text: str) -> None:
    typer.echo(fitted(text, sys.stdout, "    "))


def _found(runs: Sequence[Saved], name: str, backend: str, storage: Path) -> Saved:
    """Return a run by number or file, or the last one."""
    if name != LAST:
        return named(runs, name)
    if not runs:
        of = f" of {backend}" if backend else ""
        raise HistoryError(f"no run{of} is kept in {storage}: gradoracle bench NAME --save")
    return runs[-1]


def _before(runs: Sequence[Saved], later: Saved) -> Saved | None:
    """Return the last run before another that timed some of the same cases."""
    cases = later.by_case().keys()
    some = [run for run in runs if run.when < later.when and cases & run.by_case().keys()]
    return some[-1] if some else None


def _drawn(runs: Sequence[Saved], picture: Path, *, narrow: bool) -> None:
    draw(runs, picture, narrow=narrow)
    typer.echo(f"drawn: {picture}")


def timed(
    backend: str, options: Sequence[str], storage: Path, *, processes: int, suite: bool, save: bool
) -> Saved:
    """Time a backend in Pythons of its own, printing as it goes, and return what was timed.

    Raises:
        HistoryError: nothing was timed, or an answer was wrong; what was said is on the screen.
    """
    if importlib.util.find_spec("pytest_benchmark") is None:
        raise HistoryError(NO_PLUGIN)
    run = secrets.token_hex(8)
    # Inside a worker of xdist pytest-benchmark would time nothing.
    alone = {name: v for name, v in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{number:04}_now.json" for number in range(1, processes + 1)]
        for number, file in enumerate(files, 1):
            typer.echo(f"process {number} of {processes}")
            command = [
                sys.executable, "-m", "pytest", str(SUITE if suite else TESTS), "-c", os.devnull,
                "--rootdir", str(Path.cwd()), "-p", "no:cacheprovider", "-q", "--backend", backend,
                *options, f"--run={run}", f"--benchmark-json={file}",
            ]  # fmt: skip
            code = subprocess.run(command, check=False, env=alone).returncode  # noqa: S603 - ours
            if code or not file.is_file() or not file.stat().st_size:
                raise HistoryError("nothing is kept nor compared: see above why")
        new = read(*files)
        return replace(new, files=_kept(files, backend, storage)) if save else new


def _kept(files: Sequence[Path], backend: str, storage: Path) -> tuple[Path, ...]:
    """Copy files to where pytest-benchmark would keep them, under the next free numbers."""
    from pytest_benchmark.utils import get_machine_id  # noqa: PLC0415 - optional

    folder = storage / str(get_machine_id())  # type: ignore[no-untyped-call]
    folder.mkdir(parents=True, exist_ok=True)
    taken = [int(f.stem[:4]) for f in folder.glob("[0-9][0-9][0-9][0-9]_*.json")]
    name = re.sub(r"[^\w@.-]", "_", backend)
    kept = []
    for number, file in enumerate(files, max(taken, default=0) + 1):
        kept.append(folder / f"{number:04}_{name}.json")
        shutil.copyfile(file, kept[-1])
    return tuple(kept)


def _line(run: Saved) -> str:
    means = (f"{name} {mean:.2f}" for name in SUMS if (mean := run.mean(name)) is not None)
    about = f"{run.name:24} {run.when[:16]}  {run.commit or '-':12}  {len(run.timings):5} cases  "
    return about + ", ".join(means)
