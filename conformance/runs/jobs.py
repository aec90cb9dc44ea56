"""Checks spread over processes of the suite's own, each with the backend in a worker beside it."""

from __future__ import annotations

import json
import multiprocessing as mp
import os
import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from gradoracle.conformance.backends.backend import Backend
from gradoracle.conformance.backends.errors import CouldNotRunError
from gradoracle.conformance.backends.isolation import audit
from gradoracle.conformance.backends.isolation.isolated import Isolated
from gradoracle.conformance.backends.registry import Confinement
from gradoracle.conformance.checking.checks import checks_of
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.reports.certificate import Outcome
from gradoracle.conformance.runs.certify import limit, run_check
from gradoracle.conformance.runs.loading import load

Case = tuple[str, str]  # the names of a formula and a property


class JobEnded(CouldNotRunError):
    """A process of the suite's own ended in the middle of a check."""


def judge(
    backend: Backend, cases: Sequence[Case], *, examples: int, seed: int, jobs: int,
    confinement: Confinement, dtypes: Sequence[str] | None = None, at_scale: bool = False,
) -> Generator[Outcome, None, None]:  # fmt: skip
    """Yield the outcomes of some checks as they fall; the order is that of `cases` with one job.

    Raises:
        CouldNotRunError: a formula of the user's own cannot be evaluated.
        JobEnded: a process of ours was killed.
    """
    if jobs == 1:
        known = checks_of(formula for formula, _ in cases)
        for case in cases:
            yield run_check(backend, *known[case], examples=examples, seed=seed, at_scale=at_scale)
        return
    with backend.stops.shared() as stops:
        yield from _spread(
            backend, cases, min(jobs, len(cases)), (examples, seed, dtypes, at_scale),
            confinement, str(stops),
        )  # fmt: skip


def _spread(
    backend: Backend, cases: Sequence[Case], jobs: int, how: tuple[Any, ...],
    confinement: Confinement, stops: str,
) -> Iterator[Outcome]:  # fmt: skip
    ahead = _Ahead(cases)
    context = mp.get_context("spawn")
    lines: dict[Any, Any] = {}
    for _ in range(jobs):
        ours, theirs = context.Pipe()
        process = context.Process(
            target=_serve,
            args=(theirs, backend.name, confinement, stops, *how),
            daemon=True,
        )
        process.start()
        theirs.close()
        lines[ours] = process
        ours.send(ahead.next_of(ours))
    try:
        while lines:
            for line in wait(list(lines)):
                assert isinstance(line, Connection)  # noqa: S101 - for the type checker
                try:
                    message = json.loads(line.recv())
                except EOFError:
                    raise JobEnded("a checking process ended in the middle of a check") from None
                if "error" in message:
                    raise CouldNotRunError(message["error"])
                outcome = Outcome(**message["outcome"])
                did_before(backend, message["acts"])
                following = ahead.next_of(line)
                line.send(following)
                if following is None:
                    backend.kept_elsewhere.append(json.loads(line.recv()))
                    lines.pop(line).join()
                yield outcome
    finally:
        for process in lines.values():
            process.kill()


class _Ahead:
    """The checks that no process has begun, dealt so that one process has those of an operator.

    What a process knows of calls that it has checked, it knows for the operator's other checks.
    """

    def __init__(self, cases: Sequence[Case]) -> None:
        self.groups: list[deque[Case]] = []  # that no process has
        self.own: dict[Any, deque[Case]] = {}  # by process
        operators = {f.__name__: o.name for o in OPERATORS for f in o.formulas}
        for _, group in groupby(cases, key=lambda case: operators.get(case[0], case[0])):
            self.groups.append(deque(group))
        self.groups.reverse()

    def next_of(self, process: Any) -> Case | None:
        """Return what a process is to check next: when its operator and all others are through,
        the last of what another has left; None where nothing is left.
        """  # noqa: D205 - one sentence
        own = self.own.get(process)
        if not own and self.groups:
            own = self.own[process] = self.groups.pop()
        if own:
            return own.popleft()
        longest = max(self.own.values(), key=len)
        return longest.pop() if longest else None


def done_by(backend: Backend) -> list[list[str]]:
    """Return what a backend in a process of its own did beside answering, so far."""
    found = backend.asked.acts if isinstance(backend.asked, Isolated) else {}
    return [[act, subject] for act, subjects in found.items() for subject in subjects]


def did_before(backend: Backend, told: list[list[str]]) -> None:
    """Note what a backend did beside answering in another process, or before an interruption."""
    if isinstance(backend.asked, Isolated):
        audit.add(backend.asked.acts, told)


def _serve(
    line: Any, name: str, confinement: Confinement, stops: str, examples: int, seed: int,
    dtypes: Sequence[str] | None, at_scale: bool,  # noqa: FBT001 - of the call above
) -> None:  # fmt: skip
    """Check what comes until None does; end at once where the run that asked is gone."""
    parent = mp.parent_process()
    assert parent is not None  # noqa: S101 - for the type checker
    threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    backend, known = load(name, confinement), dict[Case, Any]()
    limit(backend, dtypes)
    backend.stops.file = Path(stops)
    while (case := line.recv()) is not None:
        if case not in known:
            known |= checks_of([case[0]])
        try:
            outcome = run_check(
                backend, *known[case], examples=examples, seed=seed, at_scale=at_scale
            )
        except CouldNotRunError as error:  # the process that started this one reports it
            line.send(json.dumps({"error": str(error)}))
            break
        line.send(json.dumps({"outcome": asdict(outcome), "acts": done_by(backend)}))
    line.send(json.dumps(backend.asked.kept()))
    backend.asked.close()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
