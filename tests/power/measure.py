"""Running rivals over faults and controls: a line of JSON for every verdict, as it falls."""

import hashlib
import multiprocessing
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import wraps
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from gradoracle.conformance.backends.single_thread import one_thread
from gradoracle.conformance.runs.fingerprint import suite as suite_hash
from tests.planted import CONTROLS, FAULTS, GAPS
from tests.planted.fault import Control, Fault, backend, family, refusing
from tests.power.journal import Journal
from tests.power.rivals import RIVALS

RIVAL_CODE = (
    "layers", "derived", "kernelbench", "gradcheck", "opinfo", "hypothesis_check", "suite",
    "rivals",
)  # fmt: skip
SUBJECTS: dict[str, Fault | Control] = {
    **FAULTS,
    **{name: fault for name, (fault, _) in GAPS.items()},
    **CONTROLS,
}
KILLED, MISSED, UNSEEN = "killed", "missed", "does not look"
CLOCK = "processor time"


class Case(NamedTuple):
    """One verdict to be had."""

    subject: str  # a fault's or a control's name
    rival: str
    seed: int


class Verdict(NamedTuple):
    """What came of a case; of a control "killed" is a false alarm."""

    verdict: str
    seconds: float  # of the processor: the machine may be busy with other work
    why: str  # what the rival said, for who reads the lines


def judges() -> str:
    """Return one hash of the suite and of the rivals: verdicts of others are not mixed in."""
    total = hashlib.sha256(suite_hash().encode())
    for name in RIVAL_CODE:
        total.update((Path(__file__).parent / f"{name}.py").read_bytes())
    return total.hexdigest()


def measured(case: Case) -> Verdict:
    """Let a rival check a fault that starts afresh, or a control."""
    rival = RIVALS[case.rival]
    judged = SUBJECTS[case.subject]
    operator = family(judged.function)[0]
    if operator not in rival.operators:
        return Verdict(UNSEEN, 0.0, f"it has nothing of {operator}")
    asked: Counter[str] = Counter()
    is_fault = isinstance(judged, Fault)
    made = _counted(judged.make() if is_fault else judged.replaced, asked)
    whole = _whole(judged, made, suite=case.rival == "suite")
    start = time.process_time()
    said = _said(rival.judge, whole, operator, case.seed)
    seconds = round(time.process_time() - start, 4)
    if said:
        return Verdict(KILLED, seconds, said)
    if not asked.total():
        return Verdict(UNSEEN, seconds, f"it never calls {judged.function}")
    if is_fault and judged.kind in rival.blind_to:
        return Verdict(UNSEEN, seconds, f"it has no check of {judged.kind}")
    return Verdict(MISSED, seconds, "")


def _whole(judged: Any, made: Any, *, suite: bool) -> SimpleNamespace:
    """Return the whole operator with one function replaced.

    The suite is given a control as its own test gives it: beside the forward pass, or alone where
    its contract is about that function only.
    """
    if suite and isinstance(judged, Control):
        whole = judged.backend()
        setattr(whole, judged.function, made)
        return whole
    whole = backend(family(judged.function), **{judged.function: made})
    whole.contract = refusing(judged.contract)
    return whole


def _counted(function: Callable[..., Any], asked: Counter[str]) -> Callable[..., Any]:
    @wraps(function)
    def counted(*arrays: Any, **options: Any) -> Any:
        asked["calls"] += 1
        return function(*arrays, **options)

    return counted


def _said(judge: Any, whole: Any, operator: str, seed: int) -> str:
    """Return what a rival says is wrong, or "": whatever is raised counts for it."""
    with one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            judge(whole, operator, seed)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - faults raise that too
            return ": ".join(filter(None, (type(error).__name__, _text(error))))
    return ""


def _text(error: BaseException) -> str:
    try:
        return " ".join(str(error).split())[:160]
    except Exception:  # noqa: BLE001 - it is a fault's error
        return "(its text cannot be read)"


def warm_up(rivals: Iterable[str]) -> None:
    """Import and compile what a first call needs, so that no fault's time has it in it."""
    for name in rivals:
        RIVALS[name].judge(backend(family("relu")), "relu", 1)


# -- many of them ---------------------------------------------------------------------------------


def journal(path: Path) -> Journal[Case, Verdict]:
    """Return the verdicts of this suite and these rivals that a file has.

    Raises:
        ValueError: another suite or other rivals checked there.
    """
    return Journal(path, judges(), lambda case, verdict: (Case(*case), Verdict(*verdict)))


def run(cases: Iterable[Case], *, jobs: int) -> Iterator[tuple[Case, Verdict]]:
    """Yield verdicts as they fall, in this process or in `jobs` others."""
    cases = list(cases)
    rivals = list(dict.fromkeys(case.rival for case in cases))
    if jobs == 1:
        warm_up(rivals)
        yield from ((case, measured(case)) for case in cases)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, warm_up, (rivals,)) as pool:
        waiting = {pool.submit(measured, case): case for case in cases}
        try:
            for done in as_completed(waiting):
                yield waiting[done], done.result()
        finally:
            pool.shutdown(cancel_futures=True)
