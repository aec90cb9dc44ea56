"""Every verdict on disk as it falls, so that a run that is killed loses none and can go on.

The first line says what is judged, by what, how hard and from which seed; every other is an
outcome.  A line is written at once; what a kill cuts short is left out when it is read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from conformance.certificate import Outcome

FORMAT = "gradoracle journal 1"
SETTLED = ("backend", "path", "files", "suite", "examples", "operators", "dtypes")


class JournalError(ValueError):
    """A journal cannot be read or belongs to another run; the message says which."""


class Journal:
    """A file that outcomes are added to."""

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        """Begin a new journal, in place of one that is there."""
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        self._append({"format": FORMAT, **header})

    @classmethod
    def go_on(cls, path: Path, outcomes: Sequence[Outcome], header: Mapping[str, Any]) -> Journal:
        """Return the journal of a run that goes on, with what it holds and no torn line."""
        journal = cls(path.with_name(f"{path.name}.new"), header)
        for outcome in outcomes:
            journal.write(outcome)
        journal.path = journal.path.replace(path)
        return journal

    def write(self, outcome: Outcome) -> None:
        """Add an outcome; it is on disk when this returns."""
        self._append(asdict(outcome))

    def _append(self, content: Mapping[str, Any]) -> None:
        line = json.dumps(content).encode() + b"\n"
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            while line:
                line = line[os.write(descriptor, line) :]
        finally:
            os.close(descriptor)


def read(path: Path) -> tuple[dict[str, Any], list[Outcome]]:
    """Return the header and the outcomes of a journal; a line that was cut short is left out.

    Raises:
        JournalError: there is none, or it is no journal.
    """
    try:
        *whole, _ = path.read_bytes().split(b"\n")
    except OSError as error:
        raise JournalError(f"no journal can be read at {path}: {error.strerror}") from error
    try:
        header, *outcomes = [json.loads(line) for line in whole]
        known = header.pop("format") == FORMAT
        found = [Outcome(**outcome) for outcome in outcomes]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise JournalError(f"{path} is no journal of this gradoracle") from error
    if not known:
        raise JournalError(f"{path} is no journal of this gradoracle")
    return header, found


def require_same_run(path: Path, header: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    """Raise JournalError, naming what differs, unless a journal is of the run that is to go on."""
    for name in SETTLED:
        if header.get(name) != ours.get(name):
            was, now = (_short(h.get(name)) for h in (header, ours))
            raise JournalError(
                f"{path} cannot be resumed: its {name} was {was}, now it is {now}. "
                "Run without --resume to start anew"
            )


def _short(value: Any) -> str:
    if isinstance(value, dict):
        text = ", ".join(f"{name} {str(one)[:8]}" for name, one in value.items())
        return text if len(text) <= 80 else text[:77] + "..."
    return repr(value)
