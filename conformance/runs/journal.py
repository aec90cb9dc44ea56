"""Every verdict on disk as it falls, so that a run that is killed loses none and can go on.

The first line says what is checked, by what, how hard and from which seed; every other is an
outcome.  A line is written at once; what a kill cuts short is left out when it is read.

Every line begins with the SHA-256 of the line before it and of its own text.  A line that was
changed, moved or left out is found when the journal is read, and nothing is resumed from it.  The
hash has no secret in it: a line that somebody changed and hashed anew, with all lines behind it, is
not found.  `gradoracle verify` finds what such a journal says wrongly, since it runs all again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from gradoracle.conformance.backends.backend import Backend
from gradoracle.conformance.backends.caller import printable
from gradoracle.conformance.backends.errors import UsageError
from gradoracle.conformance.backends.registry import Confinement
from gradoracle.conformance.backends.single_thread import one_thread
from gradoracle.conformance.checking.checks import checks
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.reports.certificate import Outcome, outcome_of
from gradoracle.conformance.reports.output import CannotWrite
from gradoracle.conformance.reports.schema import Malformed, parsed, require
from gradoracle.conformance.runs.environment import environment
from gradoracle.conformance.runs.fingerprint import files_of, suite

FOLDER = Path(".gradoracle")  # where journals go
LONGEST_NAME = 160  # characters of a backend's name in that of its journal
FORMAT = "gradoracle journal 3"
Entry: TypeAlias = Outcome | Mapping[str, Any]
Made = TypeVar("Made")
CHAINED = re.compile(rb'\{"sha256": "([0-9a-f]{64})", (.*)\}', re.DOTALL)  # a line
HEADER = {
    "type": "object",
    "required": ["format", "seed"],
    "properties": {"format": {"type": "string"}, "seed": {"type": "integer"}},
}
ACTS = {  # what the backend did beside answering, as far as it was seen by then
    "type": "object",
    "additionalProperties": False,
    "required": ["acts"],
    "properties": {
        "acts": {
            "type": "array",
            "items": {"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": "string"}},
        }
    },
}
SETTLED = (
    "backend", "path", "files", "suite", "examples", "at_scale", "operators", "dtypes", "contract",
    "confinement", "environment",
)  # fmt: skip


class JournalError(UsageError):
    """A journal cannot be read or belongs to another run; the message says which."""


def place(name: str) -> Path:
    """Return the file that a backend's verdicts are written to as they fall.

    It is in `FOLDER` whatever the name: a backend may be a file elsewhere.
    """
    plain = re.sub(r"[:/\\]+", ".", name.removeprefix("./").replace("..", "up")).lstrip(".")
    if len(plain) > LONGEST_NAME:
        plain = f"{plain[:LONGEST_NAME]}.{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    return FOLDER / f"{plain}.journal"


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
        self._last = ""  # the hash of the last line
        lines = map(self._line, chain([{"format": FORMAT, **header}], entries))
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
        line = self._line(entry)
        while line:
            line = line[os.write(self._descriptor, line) :]

    def _line(self, entry: Entry) -> bytes:
        """Return an entry as the next line, which begins with its hash."""
        content = asdict(entry) if isinstance(entry, Outcome) else entry
        text = json.dumps(content)[1:-1].encode()
        self._last = _hash(self._last, text)
        return b'{"sha256": "%s", %s}\n' % (self._last.encode(), text)

    def close(self) -> None:
        """Leave the journal as it is."""
        os.close(self._descriptor)

    def remove(self) -> None:
        """Close the journal of a run that is done and remove it, unless another's is there now."""
        with suppress(OSError):
            if os.path.samestat(os.fstat(self._descriptor), self.path.stat()):
                remove(self.path)
        self.close()


class Kept:
    """The journal of a run, if it keeps one, until it cannot be written any more."""

    def __init__(
        self, path: Path | None, header: Mapping[str, Any], entries: Iterable[Entry],
        troubles: list[str],
    ) -> None:  # fmt: skip
        """Begin the journal; `troubles` is told why it ends, if it does before the run.

        Raises:
            CannotWrite: it cannot be begun.
        """
        self.troubles = troubles
        self.acts: list[list[str]] = []  # that it has
        self.journal: Journal | None = None
        if path is None:
            return
        try:
            self.journal = Journal(path, header, entries)
        except OSError as error:
            raise CannotWrite(f"the journal {path}: cannot be written: {error.strerror}") from error

    def write(self, entry: Entry, acts: Sequence[list[str]] = ()) -> None:
        """Add an entry, and new acts before it, or remember why they cannot be added."""
        if self.journal is None:
            return
        new = [act for act in acts if act not in self.acts]
        self.acts += new
        try:
            if new:
                self.journal.write({"acts": new})
            self.journal.write(entry)
        except OSError as error:
            self.troubles.append(f"the journal {self.journal.path} ends early: {error.strerror}")
            self.close()

    def close(self) -> None:
        """Leave the journal as it is."""
        if self.journal is not None:
            self.journal.close()
            self.journal = None


def remove(path: Path) -> None:
    """Remove a journal that nobody needs, and the folder where nothing else is in it."""
    with suppress(OSError):
        path.unlink(missing_ok=True)
        path.parent.rmdir()


def _hash(before: str, text: bytes) -> str:
    """Return the hash of a line of this text behind a line of that hash."""
    return hashlib.sha256(before.encode() + text).hexdigest()


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
        JournalError: there is none, it is no journal, or a line of it was changed.
    """
    header, entries = entries_of(path, FORMAT, _entry)
    return header, [one for one in entries if isinstance(one, Outcome)]


def acts_in(path: Path) -> list[list[str]]:
    """Return what a journal has of acts beside answering, each with its subject.

    Raises as `read` does.
    """
    _, entries = entries_of(path, FORMAT, _entry)
    return [act for one in entries if not isinstance(one, Outcome) for act in one]


def _entry(content: dict[str, Any]) -> Outcome | list[list[str]]:
    """Return an outcome, or acts."""
    if "acts" not in content:
        return outcome_of(content)
    require(content, ACTS)
    found: list[list[str]] = content["acts"]
    return found


def entries_of(
    path: Path, format_: str, made: Callable[[dict[str, Any]], Made]
) -> tuple[dict[str, Any], Iterator[Made]]:
    """Return the header of a journal of some format and, one by one, its entries.

    `made` makes an entry of plain data; it raises Malformed where it cannot.  An entry that was
    changed or cannot be made raises JournalError when its turn comes.

    Raises:
        JournalError: there is none, or it is no journal of that format.
    """
    try:
        *whole, _ = path.read_bytes().split(b"\n")
    except OSError as error:
        raise JournalError(f"no journal can be read at {path}: {error.strerror}") from error
    if not whole:
        raise JournalError(f"{path} is no journal of this gradoracle: it is empty")
    lines = _contents(path, whole)
    header = next(lines)
    try:
        require(header, HEADER)
    except Malformed as error:
        raise _no_journal(path, 1, error) from error
    if header["format"] != format_:
        raise JournalError(
            f"{path} is no journal of this gradoracle: line 1: format: must be {format_!r}, got "
            f"{header['format'][:60]!r}"
        )
    del header["format"]
    return header, _entries(path, lines, made)


def _entries(
    path: Path, lines: Iterator[dict[str, Any]], made: Callable[[dict[str, Any]], Made]
) -> Iterator[Made]:
    for number, content in enumerate(lines, 2):
        try:
            yield made(content)
        except Malformed as error:
            raise _no_journal(path, number, error) from error


def _contents(path: Path, lines: Sequence[bytes]) -> Iterator[dict[str, Any]]:
    """Yield what every line says; JournalError where one is not what was written."""
    last = ""
    for number, line in enumerate(lines, 1):
        told, text = _split(path, number, line)
        last = _hash(last, text)
        if last != told:
            raise JournalError(
                f"{path}: line {number} was changed after it was written, or a line before it is "
                "missing: its SHA-256 does not fit. Run without --resume to start anew, or remove "
                "that line and all behind it"
            )
        yield _parsed(path, number, b"{%s}" % text)


def _split(path: Path, number: int, line: bytes) -> tuple[str, bytes]:
    """Return the hash that a line begins with and the text behind it."""
    found = CHAINED.fullmatch(line)
    if found is None:
        _parsed(path, number, line)  # says more of what is no JSON at all
        raise _no_journal(path, number, Malformed("must be an object that begins with its sha256"))
    return found[1].decode(), found[2]


def _parsed(path: Path, number: int, text: bytes) -> dict[str, Any]:
    try:
        content = parsed(text)
        require(content, {"type": "object"})
    except Malformed as error:
        raise _no_journal(path, number, error) from error
    return dict(content)


def _no_journal(path: Path, line: int, why: Malformed) -> JournalError:
    return JournalError(f"{path} is no journal of this gradoracle: line {line}: {why}")


def resumed(
    path: Path, ours: Mapping[str, Any], seed: int | None = None
) -> tuple[int, list[Outcome]]:
    """Return the seed and the outcomes of a run that is to go on; `ours` is what is settled now.

    Raises:
        JournalError: the journal cannot be read, or is of another run; the message says of which.
    """
    header, outcomes = read(path)
    seed = require_same(path, header, ours, seed)
    chosen = [operator for operator in OPERATORS if operator.name in ours["operators"]]
    known = {(formula.__name__, property_.name) for _, formula, property_ in checks(chosen)}
    found: dict[tuple[str, str], Outcome] = {}
    for line, one in enumerate(outcomes, 2):
        check = one.formula, one.property_name
        if check not in known or one.backend != ours["backend"]:
            said = f"{one.backend} {one.formula} {one.property_name}"
            raise _no_journal(path, line, Malformed(f"{said!r} is no check of this run"))
        if found.setdefault(check, one).verdict != one.verdict:
            raise _no_journal(path, line, Malformed(f"{' '.join(check)} has two verdicts"))
    return seed, [*found.values()]


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
    header: Mapping[str, Any], ours: Mapping[str, Any], names: Sequence[str] = SETTLED
) -> Iterator[tuple[str, str, str]]:
    """Yield what is settled and is another in `header`: its name, as it is there, as it is here."""
    for name in names:
        if header.get(name) != ours.get(name):
            yield name, *_difference(header.get(name), ours.get(name))


def _difference(was: Any, now: Any) -> tuple[str, str]:
    """Return two values as words; of dicts, what differs."""
    if not (isinstance(was, dict) and isinstance(now, dict)):
        return _short(repr(was)), _short(repr(now))
    names = [name for name in {**was, **now} if was.get(name) != now.get(name)]
    texts = [", ".join(f"{n} {str(one.get(n, 'none'))[:12]}" for n in names) for one in (was, now)]
    return _short(texts[0]), _short(texts[1])


def _short(text: str) -> str:
    return printable(text if len(text) <= 80 else text[:77] + "...")


class Journals:
    """The journals of a session, a file per backend; one begins when its first verdict falls.

    Until then an older run's stays where it is, and can be gone on with.
    """

    def __init__(self, settled: Mapping[str, Mapping[str, Any]], part: str = "") -> None:
        """Remember what is settled, by the name of the backend."""
        self._settled = settled
        self._places = {name: place(f"{name}{part}") for name in settled}
        self._paths = {name: path.absolute() for name, path in self._places.items()}
        self._before: list[Outcome] = []
        self._acts: dict[str, list[list[str]]] = {}  # that are in the journals, by backend
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
            self._acts[name] = acts_in(self._paths[name])
        return seed, self._before

    def acts(self, name: str) -> list[list[str]]:
        """Return what a backend did beside answering, as its journal has it."""
        return self._acts.get(name, [])

    def keep(self, outcomes: Sequence[Outcome]) -> None:
        """Go on with these of the outcomes that `resume` returned; the others are run again."""
        self._before = [*outcomes]

    def write(self, outcome: Outcome, seed: int, acts: Sequence[list[str]] = ()) -> None:
        """Add an outcome and new acts; where nothing can be written, remember why and go on."""
        if self.problem:
            return
        name = outcome.backend
        known = self._acts.setdefault(name, [])
        new = [act for act in acts if act not in known]
        try:
            if name not in self._begun:
                before: list[Entry] = [one for one in self._before if one.backend == name]
                header = {**self._settled[name], "seed": seed}
                said = [{"acts": known}] if known else []
                self._begun[name] = Journal(self._paths[name], header, [*said, *before])
            if new:
                known += new
                self._begun[name].write({"acts": new})
            self._begun[name].write(outcome)
        except (OSError, JournalError) as error:
            self.problem = f"no journal is written: {error}"

    def end(self, *, done: bool) -> list[str]:
        """Remove the journals of a run that is done; else return the files to go on from."""
        resumed = {one.backend for one in self._before}
        if not done:
            for journal in self._begun.values():
                journal.close()
            return [
                str(self._places[name]) for name in self._paths if name in {*resumed, *self._begun}
            ]
        for name in resumed - set(self._begun):
            remove(self._paths[name])
        for journal in self._begun.values():
            journal.remove()
        return []
