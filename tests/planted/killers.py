"""Which check kills each planted fault: the tests try that one first, and all others after it.

    python -m tests.planted.killers [--anew]

adds to `killers.json` what is not in it, or writes it anew.  A line that is missing, or no longer
right, costs time only.
"""

import json
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import gradoracle
from gradoracle.conformance.backends.registry import wrap
from gradoracle.conformance.checking import outcomes
from gradoracle.conformance.checking.check_run import examine
from gradoracle.conformance.checking.checks import checks
from gradoracle.conformance.drawing.profiles import PROFILES
from gradoracle.conformance.reports.certificate import FoundMismatch
from tests.planted import FAULTS, RANKED
from tests.planted.fault import family

FILE = Path(__file__).with_name("killers.json")
KILLERS = json.loads(FILE.read_text()) if FILE.is_file() else {}
ALL = {**FAULTS, **RANKED}
ALONE, BESIDE = "alone", "beside the operator's other functions"


def backends(name):
    """Yield the fault by itself, then in company, each with the words for it."""
    yield ALONE, ALL[name].alone()
    yield BESIDE, ALL[name].backend()


def is_killed(name, seed):
    """Return whether a check finds the fault at the default number of examples."""
    return (name in KILLERS and _by(name, seed, KILLERS[name])) or bool(killer(name, seed))


def _by(name, seed, known):
    where, formula, property_ = known
    case = next((c for c in checks() if (c[1].__name__, c[2].name) == (formula, property_)), None)
    if case is None:
        return False
    backend = wrap(dict(backends(name))[where])
    outcome = examine(backend, *case, examples=PROFILES["certify"], seed=seed)
    return outcome.status == "mismatch"


def killer(name, seed):
    """Return how, by which formula's check, and by which property a fault is found first."""
    operators = [family(ALL[name].function)[0]]
    for where, backend in backends(name):
        certificate = gradoracle.check(
            backend, operators=operators, seed=seed, stop_at_first_mismatch=True
        )
        for found in certificate.mismatches[:1]:
            return [where, found.formula, found.property_name]
    return []


def _first(name):
    outcomes.reported = no_report
    return killer(name, 1)


def no_report(exam, *, unsteady):
    """Return a mismatch without its report: to make calls small takes most of the time."""
    del unsteady
    return FoundMismatch("", "", exam.broken[1].headline, "")


def main():
    """Write the file."""
    spawned = multiprocessing.get_context("spawn")
    known = {} if "--anew" in sys.argv else {n: how for n, how in KILLERS.items() if n in ALL}
    names = [name for name in ALL if name not in known]
    with ProcessPoolExecutor(2, mp_context=spawned) as pool:
        found = {**known, **dict(zip(names, pool.map(_first, names, chunksize=4), strict=True))}
    lines = (
        f" {json.dumps(name)}: {json.dumps(how)}" for name, how in sorted(found.items()) if how
    )
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
