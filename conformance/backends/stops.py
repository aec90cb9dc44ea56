"""Functions whose other checks are not run, since a call of theirs did not end.

A call that reaches a limit costs as long as the limit, or as much memory.  So one such call of a
function is enough: the check that met it reports it, and the others are "not run".  The processes
of a run share what they met through a file.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol


class Ending(Protocol):
    """What is read of the outcome of a check: see `reports.certificate.Outcome`."""

    backend: str
    formula: str
    property_name: str
    status: str
    reason: str
    ended: str


@dataclass(frozen=True)
class Stop:
    """A function that is not called any more, why, and the check that reports it."""

    backend: str
    function: str
    why: str
    formula: str
    property_name: str
    listed: bool  # as a known deviation, so that it is no mismatch

    @classmethod
    def of(cls, outcome: Ending) -> Stop:
        """Return what the outcome of a check that was ended says of all others."""
        why = re.sub(r" \(it is \w+\)", "", outcome.reason)
        return cls(
            outcome.backend, outcome.ended, why.removeprefix(f"{outcome.ended}: "),
            outcome.formula, outcome.property_name, outcome.status == "deviation",
        )  # fmt: skip

    def sentence(self, formula: str) -> str:
        """Return why a check of a formula is not run."""
        of = "" if formula == self.formula else f" of {self.formula}"
        return f"not checked: {self.function} {self.why} (see {self.property_name}{of})"


@dataclass
class Stops:
    """The functions of a run's backends that are not called any more."""

    file: Path | None = None  # that the processes of a run share
    known: dict[tuple[str, str], Stop] = field(default_factory=dict)

    @contextmanager
    def shared(self) -> Iterator[Path]:
        """Yield a file through which other processes know what this one does, and vice versa."""
        self.file = new_file()
        try:
            self._write(self.known.values())
            yield self.file
        finally:
            self.file.unlink(missing_ok=True)
            self.file = None

    def note(self, outcome: Ending) -> None:
        """Remember the function of a check that was ended, if it was."""
        if not outcome.ended or outcome.status not in ("mismatch", "deviation"):
            return
        stop = Stop.of(outcome)
        self.known.setdefault((stop.backend, stop.function), stop)
        self._write([stop])

    def _write(self, stops: Iterable[Stop]) -> None:
        """Add lines to the file: what is written at once stays whole beside other processes."""
        lines = b"".join(json.dumps(asdict(stop)).encode() + b"\n" for stop in stops)
        if lines and self.file is not None:
            with self.file.open("ab", buffering=0) as shared:
                shared.write(lines)

    def clear(self) -> None:
        """Forget all, as a new run begins."""
        self.known.clear()

    def first(self, backend: str, functions: Iterable[str]) -> Stop | None:
        """Return the stop of the first of some functions that is not called any more."""
        content = self.file.read_bytes() if self.file is not None else b""
        *lines, _ = content.split(b"\n")
        for line in lines:
            stop = Stop(**json.loads(line))
            self.known.setdefault((stop.backend, stop.function), stop)
        return next((s for f in functions if (s := self.known.get((backend, f)))), None)


def new_file() -> Path:
    """Return a new, empty file for the processes of a run."""
    descriptor, name = tempfile.mkstemp(prefix="gradoracle-stops-")
    os.close(descriptor)
    return Path(name)
