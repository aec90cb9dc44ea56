"""Every verdict on disk as it falls, so that a run that is killed loses none and can go on.

The first line says what is judged, by what, how hard and from which seed; every other is an
outcome.  A line is written at once; what a kill cuts short is left out when it is read.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

from conformance.backend import Backend
from conformance.certificate import Outcome
from conformance.environment import environment
from conformance.errors import UsageError
from conformance.fingerprint import files_of, suite
from conformance.operator import Operator
from conformance.registry import Confinement
from conformance.threads import one_thread

FOLDER = Path(".gradoracle")  # where journals go
FORMAT = "gradoracle journal 2"
Entry: TypeAlias = Outcome | Mapping[str, Any]
SETTLED = (
    "backend", "path", "files", "suite", "examples", "at_scale", "operators", "dtypes", "contract",
    "confinement", "environment",
)  # fmt: skip


class JournalError(UsageError):
    """A journal cannot be read or belongs to another run; the message says which."""


def place(name: str) -> Path:
    """Return the file that a backend's verdicts are written to as they fall."""
    return FOLDER / f"{name.replace(':', '.')}.journal"


def settled(
    backend: Backend, *, examples: int, operators: Sequence[Operator], confinement: Confinement,
    at_scale: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Return what must not have changed where a run goes on, as plain data."""
    with one_thread():
        circumstances = environment()
    del circumstances["BLAS"]  # which of several is named depends on what is loaded by now
    limits = {"in_process": confinement.in_process, **asdict(confinement.limits)}
    content = {
        "backend": backend.name,
        "path": backend.path,
        "files": files_of(backend.path),
        "suite": suite(),
        "examples": examples,
        "at_scale": at_scale,
        "operators": [operator.name for operator in operators],
        "dtypes": backend.contract.dtypes,
        "contract": asdict(backend.contract),
        "confinement": {**limits, "forbidden": confinement.forbidden},
        "environment": circumstances,
    }
    plain: dict[str, Any] = json.loads(json.dumps(content))
    return plain


class Journal:
    """A file that outcomes are added to."""

    def __init__(
        self, path: Path, header: Mapping[str, Any], entries: Iterable[Entry] = ()
    ) -> None:
        """Begin a journal with the entries of a run that goes on, in place of one that is there.

        Its format is that of outcomes, unless the header has another.

        Raises:
            JournalError: another run began its own at this very moment.
        """
        self.path = path.absolute()
        fresh = self.path.with_name(f"{path.name}.{os.getpid()}")
        lines = map(_line, chain([{"format": FORMAT, **header}], entries))
        _write(fresh, b"".join(lines))
        ours = fresh.stat()
        fresh.replace(self.path)
        # Held open: what another run puts in its place gets none of our lines.
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        if not os.path.samestat(os.fstat(self._descriptor), ours):
            self.close()
            raise JournalError(f"{path}: another run of {header['backend']} begins there")

    def write(self, entry: Entry) -> None:
        """Add an outcome, or what else it is a journal of; it is on disk when this returns."""
        line = _line(entry)
        while line:
            line = line[os.write(self._descriptor, line) :]

    def close(self) -> None:
        """Leave the journal as it is."""
        os.close(self._descriptor)

    def remove(self) -> None:
        """Close the journal of a run that is done and remove it, unless another's is there now."""
        with suppress(OSError):
            if os.path.samestat(os.fstat(self._descriptor), self.path.stat()):
                remove(self.path)
        self.close()


def remove(path: Path) -> None:
    """Remove a journal that nobody needs, and the folder where nothing else is in it."""
    with suppress(OSError):
        path.unlink(missing_ok=True)
        path.parent.rmdir()


def _line(entry: Entry) -> bytes:
    content = asdict(entry) if isinstance(entry, Outcome) else entry
    return json.dumps(content).encode() + b"\n"


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.write_bytes(content)
    except FileNotFoundError:  # a run that is done took the empty folder away just now
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def read(path: Path) -> tuple[dict[str, Any], list[Outcome]]:
    """Return the header and the outcomes of a journal; a line that was cut short is left out.

    Raises:
        JournalError: there is none, or it is no journal.
    """
    header, entries = entries_of(path, FORMAT)
    try:
        return header, [Outcome(**outcome) for outcome in entries]
    except (ValueError, TypeError) as error:
        raise JournalError(f"{path} is no journal of this gradoracle") from error


def entries_of(path: Path, format_: str) -> tuple[dict[str, Any], Iterator[Any]]:
    """Return the header of a journal of some format and, one by one, its entries as plain data.

    An entry that is no JSON raises ValueError when its turn comes.

    Raises:
        JournalError: there is none, or it is no journal of that format.
    """
    try:
        *whole, _ = path.read_bytes().split(b"\n")
    except OSError as error:
        raise JournalError(f"no journal can be read at {path}: {error.strerror}") from error
    try:
        header = json.loads(whole[0])
        known = header.pop("format") == format_
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise JournalError(f"{path} is no journal of this gradoracle") from error
    if not known:
        raise JournalError(f"{path} is no journal of this gradoracle")
    return header, map(json.loads, whole[1:])


def resumed(
    path: Path, ours: Mapping[str, Any], seed: int | None = None
) -> tuple[int, list[Outcome]]:
    """Return the seed and the outcomes of a run that is to go on; `ours` is what is settled now.

    Raises:
        JournalError: the journal cannot be read, or is of another run; the message says of which.
    """
    header, outcomes = read(path)
    return require_same(path, header, ours, seed), outcomes


def require_same(
    path: Path, header: Mapping[str, Any], ours: Mapping[str, Any], seed: int | None = None
) -> int:
    """Return the seed of a journal with this header, if its run is the one that is settled now.

    Raises:
        JournalError: it is another one, or of another seed; the message says what differs.
    """
    for name, was, now in differences(header, ours):
        raise JournalError(
            f"{path} cannot be resumed: its {name} was {was}, now it is {now}. "
            "Run without --resume to start anew"
        )
    if seed not in (None, header["seed"]):
        raise JournalError(f"{path} has seed {header['seed']}, not {seed}")
    return int(header["seed"])


def differences(
    header: Mapping[str, Any], ours: Mapping[str, Any]
) -> Iterator[tuple[str, str, str]]:
    """Yield what is settled and is another in `header`: its name, as it is there, as it is here."""
    for name in SETTLED:
        if header.get(name) != ours.get(name):
            yield name, *_difference(header.get(name), ours.get(name))


def _difference(was: Any, now: Any) -> tuple[str, str]:
    """Return two values as words; of dicts, what differs."""
    if not (isinstance(was, dict) and isinstance(now, dict)):
        return repr(was), repr(now)
    names = [name for name in {**was, **now} if was.get(name) != now.get(name)]
    texts = [", ".join(f"{n} {str(one.get(n, 'none'))[:12]}" for n in names) for one in (was, now)]
    first, second = (text if len(text) <= 80 else text[:77] + "..." for text in texts)
    return first, second


class Journals:
    """The journals of a session, a file per backend; one begins when its first verdict falls.

    Until then an older run's stays where it is, and can be gone on with.
    """

    def __init__(self, settled: Mapping[str, Mapping[str, Any]]) -> None:
        """Remember what is settled, by the name of the backend."""
        self._settled = settled
        self._paths = {name: place(name).absolute() for name in settled}
        self._before: list[Outcome] = []
        self._begun: dict[str, Journal] = {}
        self.problem = ""  # why nothing is written any more

    def resume(self, seed: int | None) -> tuple[int | None, list[Outcome]]:
        """Go on with the runs of these backends that were interrupted; return what they had.

        Raises:
            JournalError: see `resumed`; several must be of one seed.
        """
        for name, ours in self._settled.items():
            seed, outcomes = resumed(self._paths[name], ours, seed)
            self._before += outcomes
        return seed, self._before

    def write(self, outcome: Outcome, seed: int) -> None:
        """Add an outcome; where nothing can be written, remember why and go on without."""
        if self.problem:
            return
        name = outcome.backend
        try:
            if name not in self._begun:
                before = [one for one in self._before if one.backend == name]
                header = {**self._settled[name], "seed": seed}
                self._begun[name] = Journal(self._paths[name], header, before)
            self._begun[name].write(outcome)
        except (OSError, JournalError) as error:
            self.problem = f"no journal is written: {error}"

    def end(self, *, done: bool) -> list[str]:
        """Remove the journals of a run that is done; else return the files to go on from."""
        resumed = {one.backend for one in self._before}
        if not done:
            for journal in self._begun.values():
                journal.close()
            return [str(place(name)) for name in self._paths if name in {*resumed, *self._begun}]
        for name in resumed - set(self._begun):
            remove(self._paths[name])
        for journal in self._begun.values():
            journal.remove()
        return []
