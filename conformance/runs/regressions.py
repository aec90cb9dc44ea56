"""Counterexamples of earlier runs, kept in a file: every later run tries them first.

What is kept is the report of a mismatch as a certificate has it, with its call as data.  Nothing of
it is run as text: a call is made of it as `gradoracle replay` does.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from gradoracle.conformance.backends.backend import Backend
from gradoracle.conformance.backends.errors import UsageError
from gradoracle.conformance.backends.registry import path_of
from gradoracle.conformance.reports import output
from gradoracle.conformance.reports.certificate import Certificate, Outcome, mismatch_of
from gradoracle.conformance.reports.certificate_json import scheme
from gradoracle.conformance.reports.schema import Malformed, parsed, require
from gradoracle.conformance.runs.playback import Ended, again

FORMAT = "gradoracle regressions 1"
FILE = Path("gradoracle.regressions.json")  # where they are unless another file is named
CALLS = {
    "type": "object",
    "additionalProperties": False,
    "required": ["format", "calls"],
    "properties": {
        "format": {"const": FORMAT},
        "calls": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["backend", "formula", "property_name", "mismatch"],
                "properties": {
                    "backend": {"type": "string"},
                    "formula": {"type": "string"},
                    "property_name": {"type": "string"},
                    "mismatch": {"$ref": "#/$defs/mismatch"},
                },
            },
        },
    },
}
TURNED = ("passed", "no call", "blind")  # how a check ended that a remembered call turns


@dataclass(frozen=True)
class Remembered:
    """A call on which a property of a backend's formula failed once."""

    backend: str
    formula: str
    property_name: str
    mismatch: dict[str, Any]  # the report of it, as a certificate has it

    @property
    def check(self) -> tuple[str, str]:
        """The names of the formula and the property."""
        return self.formula, self.property_name

    def is_of(self, name: str) -> bool:
        """Return whether the backend is the one of this name, however a file is written."""
        if self.backend == name:
            return True
        try:
            return path_of(self.backend) == path_of(name)
        except (OSError, ValueError):  # of a name that no file can have
            return False

    def is_same(self, other: Remembered) -> bool:
        """Return whether it is the same check on the same call."""
        return (
            self.is_of(other.backend) and self.check == other.check
            and self.mismatch["replay"] == other.mismatch["replay"]
        )  # fmt: skip


class Tried(NamedTuple):
    """What became of a remembered call."""

    call: Remembered
    ended: Ended

    @property
    def fails(self) -> bool:
        """Whether the property fails on it still."""
        return self.ended.end == "there"


def read(file: Path) -> list[Remembered]:
    """Return the calls in a file; none where there is no file.

    Raises:
        UsageError: it cannot be read, or is another file; the message names the place.
    """
    try:
        content = parsed(file.read_bytes())
        require(content, CALLS, scheme())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from error
    except Malformed as error:
        raise UsageError(f"{file} has no remembered calls of this gradoracle: {error}") from error
    return [Remembered(**one) for one in content["calls"]]


def write(file: Path, calls: Sequence[Remembered]) -> None:
    """Write the calls to a file.

    Raises:
        CannotWrite: it cannot be written.
    """
    content = {"format": FORMAT, "calls": [asdict(one) for one in calls]}
    output.write("--remember", file, json.dumps(content, indent=1) + "\n")


def found_in(certificate: Certificate) -> list[Remembered]:
    """Return the mismatches of a certificate whose calls can be kept."""
    found = []
    for one in certificate.outcomes:
        report = mismatch_of(one)
        if one.status == "mismatch" and report.get("replay") is not None:
            plain = json.loads(json.dumps(report))
            found.append(Remembered(certificate.backend, one.formula, one.property_name, plain))
    return found


def remember(file: Path, certificate: Certificate) -> int:
    """Add what a run found to a file, and return how many calls are new there.

    Raises:
        UsageError, CannotWrite: the file cannot be read or written.
    """
    calls = read(file)
    new = [
        one for one in found_in(certificate) if not any(one.is_same(known) for known in calls)
    ]  # fmt: skip
    if new:
        write(file, [*calls, *new])
    return len(new)


def tried(
    backend: Backend, calls: Sequence[Remembered], checks: Sequence[tuple[str, str]]
) -> list[Tried]:
    """Make the calls of a backend's checks, where it runs, and return what became of each."""
    own = (one for one in calls if one.check in checks and one.is_of(backend.name))
    return [Tried(one, again(backend, _outcome(one))) for one in own]


def _outcome(one: Remembered) -> Outcome:
    return Outcome(one.backend, one.formula, one.property_name, "mismatch", mismatch=one.mismatch)


def turned(outcome: Outcome, ends: Sequence[Tried]) -> Outcome:
    """Return an outcome, a mismatch where its check fails on a call that is remembered."""
    check = outcome.formula, outcome.property_name
    first = next((one for one in ends if one.fails and one.call.check == check), None)
    if first is None or outcome.status not in TURNED:
        return outcome
    return replace(
        outcome, status="mismatch", reason=first.ended.text, mismatch=first.call.mismatch,
        remembered=True,
    )  # fmt: skip


def told(ends: Sequence[Tried]) -> list[str]:
    """Return how many remembered calls were tried, and which of them fail, a line each."""
    if not ends:
        return []
    failing = [one for one in ends if one.fails]
    unclear = [one for one in ends if one.ended.end in ("unshown", "undecided")]
    count = f"{len(ends)} remembered call{'s' * (len(ends) > 1)} tried"
    lines = [f"{count}: {len(failing)} still fail{'s' * (len(failing) == 1)}"]
    lines += [f"  {' '.join(one.call.check)} still fails: {one.ended.text}" for one in failing]
    return lines + [f"  {' '.join(one.call.check)}: {one.ended.text}" for one in unclear]
