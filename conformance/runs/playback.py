"""A certificate's counterexamples, checked again: made of its data, in the isolated worker.

A certificate is somebody's file.  Its scripts are shown, and run only where that is asked for; its
data become arrays, options and the names of the suite's own formulas and properties.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from gradoracle.conformance.backends.backend import SOURCE_TEXT, Backend
from gradoracle.conformance.backends.caller import Candidate, Request, one_line, printable
from gradoracle.conformance.backends.interrupts import heeded
from gradoracle.conformance.backends.isolation.isolated import Isolated, Unloadable
from gradoracle.conformance.backends.mismatch import Declined, Mismatch
from gradoracle.conformance.backends.registry import Confinement, UnknownBackend, UnusableBackend
from gradoracle.conformance.backends.single_thread import one_thread
from gradoracle.conformance.checking import counterexample
from gradoracle.conformance.checking.check_run import unasked
from gradoracle.conformance.checking.checks import checks_of
from gradoracle.conformance.checking.counterexample import NoCall
from gradoracle.conformance.properties import NotJudged
from gradoracle.conformance.reports.certificate import Certificate, Outcome
from gradoracle.conformance.runs.loading import confinement_of, load

End: TypeAlias = Literal["there", "gone", "unshown", "undecided"]
WORDS: dict[End, str] = {
    "there": "STILL there", "gone": "not there any more", "unshown": "did not show again",
    "undecided": "could not be run",
}  # fmt: skip
CODES: dict[End, int] = {"gone": 0, "there": 1, "unshown": 2, "undecided": 2}
TRIES, MANY = 3, 50  # of a call that fails every time, and of one that does not
ENTRY = "gradoracle.conformance.runs.playback:Script"
OF_TEXT = (
    "the certificate is of a source text: write it to a file and name that, --backend ./FILE.py, "
    "or run the script, which has the text in it, with --yes"
)
# What a script raises that says nothing of the fault.
CANNOT = ("FileNotFoundError", "ImportError", "ModuleNotFoundError", "NameError", "SystemExit")
WAS_CUT = 4000  # characters of what a script prints


class Ended(NamedTuple):
    """What became of a counterexample."""

    end: End
    text: str  # why


def replayed(
    told: Certificate, numbers: Sequence[int], name: str = ""
) -> Iterator[tuple[int, Ended]]:
    """Yield what became of some of a certificate's mismatches, counted from 1.

    They are checked on the backend called `name`, if that is not empty.
    """
    found = [o for o in told.outcomes if o.status == "mismatch"]
    backend: Backend | None = None
    why = OF_TEXT if told.backend == SOURCE_TEXT else ""
    try:
        if name or not why:
            backend = load(name or told.backend, confinement_of(told))
    except (UnknownBackend, UnusableBackend, ValueError) as error:
        why = str(error)
    try:
        for number in numbers:
            one = found[number - 1]
            yield number, again(backend, one) if backend is not None else Ended("undecided", why)
    finally:
        if backend is not None:
            backend.asked.close()


def again(backend: Backend, outcome: Outcome) -> Ended:
    """Return what becomes of one mismatch on the backend as it is now."""
    report: Any = outcome.mismatch
    content = report["replay"] if isinstance(report, dict) else None
    if report is None:
        return _absent(backend, outcome)
    if content is None:
        return Ended("undecided", "the call was too large to be kept in the certificate")
    try:
        return _checked(backend, counterexample.read(content, outcome.formula, _sums(backend)),
                        steady=content["steady"])  # fmt: skip
    except NoCall as error:
        return Ended("undecided", f"the certificate has no such call: {error}")
    except Exception as error:  # noqa: BLE001 - a forged call may be anything
        return Ended("undecided", f"the certificate's call cannot be checked: {one_line(error)}")


def _sums(backend: Backend) -> Mapping[str, str]:
    return backend.contract.accumulators


def _absent(backend: Backend, outcome: Outcome) -> Ended:
    """Return whether a function that is claimed is still not there."""
    case = checks_of([outcome.formula]).get((outcome.formula, outcome.property_name))
    if case is None:
        return Ended("undecided", "there is no such check")
    status, reason = unasked(backend, *case)
    return Ended("there", reason) if status == "mismatch" else Ended("gone", "")


def _checked(backend: Backend, check: counterexample.Check, *, steady: bool) -> Ended:
    """Check the property on the call until it fails, a few times at most."""
    status, reason = unasked(backend, check.operator, check.formula, check.property)
    if reason and status != "not run":
        return Ended("there" if status == "mismatch" else "undecided", reason)
    with heeded(), one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # More than once: a function's first call has more time than the others.
        for _ in range(TRIES if steady else MANY):
            try:
                check.property.check(backend, check.operator, check.formula, check.call)
            except Mismatch as mismatch:
                return Ended("there", mismatch.headline)
            except Declined as declined:
                return Ended("gone", f"the backend declines the call: {declined}")
            except NotJudged as error:
                return Ended("undecided", f"the property does not apply to the call: {error}")
    if steady:
        return Ended("gone", "")
    return Ended(
        "unshown",
        f"the call alone did not fail in {MANY} tries, but it did not fail every time before: the "
        "fault depends on more than the call (earlier calls, memory, a race), so only certify can "
        "tell whether it is mended",
    )


# -- scripts --------------------------------------------------------------------------------------


class Script:
    """A script that the worker runs when it is asked to, as a backend of one function."""

    def __init__(self, file: str) -> None:
        """Remember the script in a file."""
        self.file = Path(file)

    def run(self) -> Any:
        """Run the script and return what it printed, as bytes."""
        text = self.file.read_text(encoding="utf-8")
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(compile(text, "<script>", "exec"), {"__name__": "__main__"})  # noqa: S102
        return np.frombuffer(said.getvalue()[-WAS_CUT:].encode("utf-8", "replace"), np.uint8)


def script_run(text: str, confinement: Confinement) -> Ended:
    """Run a script in the isolated worker and return whether its assertion still fails."""
    try:
        compile(text, "<script>", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return Ended("undecided", f"it is no Python: {one_line(error)}")
    with TemporaryDirectory() as folder:
        file = Path(folder) / "script.py"
        file.write_text(text, encoding="utf-8")
        path = f"{ENTRY}!{file}"
        if confinement.isolates:
            asked: Any = Isolated(path, ("run",), confinement.limits, confinement.forbidden)
        else:
            asked = Candidate(Script(str(file)), ("run",))
        try:
            asked.description  # noqa: B018 - that starts the worker
            reply = asked.perform(Request("run", [], {}))
        except Unloadable as error:
            return Ended("undecided", str(error))
        finally:
            asked.close()
    if reply.kind == "answer":
        return Ended("gone", reply.arrays[0].tobytes().decode("utf-8", "replace"))
    name = reply.text.partition(":")[0]
    cannot = name in CANNOT or reply.kind == "declined"
    return Ended("undecided" if cannot else "there", printable(reply.text))
