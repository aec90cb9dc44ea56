"""Which check kills each planted fault: the tests try that one first, and all others after it.

    python -m tests.planted.killers [--anew | --sooner run.xml]

adds to `killers.json` what is not in it, or writes it anew.  A line that is missing, or no longer
right, costs time only.  Where none of the check's drawn calls kills a fault that remembers nothing,
the line says which of its other calls do: they depend on the seed alone, not on those before them.

`--sooner` takes what `pytest tests/test_planted.py --junitxml run.xml` wrote, and for each fault
that took long looks for listed calls of the checks of its numbers that kill it from three seeds in
less time: `sooner.json` has them, and they are tried first.
"""

import json
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from xml.etree import ElementTree as ET

import gradoracle
from gradoracle.conformance.backends.mismatch import Mismatch
from gradoracle.conformance.backends.registry import wrap
from gradoracle.conformance.checking import call_list, check_run, examination, outcomes
from gradoracle.conformance.checking.check_run import examine
from gradoracle.conformance.checking.checks import checks
from gradoracle.conformance.checking.claim import Claim
from gradoracle.conformance.drawing.profiles import PROFILES
from gradoracle.conformance.operators.textbook import textbook
from gradoracle.conformance.reports.certificate import FoundMismatch
from tests.planted import FAULTS, RANKED
from tests.planted.fault import family

FILE = Path(__file__).with_name("killers.json")
KILLERS = json.loads(FILE.read_text()) if FILE.is_file() else {}
SOONER_FILE = Path(__file__).with_name("sooner.json")
SOONER = json.loads(SOONER_FILE.read_text()) if SOONER_FILE.is_file() else {}
LONG, SHORT = 0.25, 0.1  # seconds
SEEDS = (1, 2, 3)
TEST = "test_fault_is_caught_at_the_default_number_of_examples"
ALL = {**FAULTS, **RANKED}
ALONE, BESIDE = "alone", "beside the operator's other functions"


def _smallest(exam, seed):
    call_list.judge_textbook(exam, textbook(exam.operator), seed)


PARTS = {
    "smallest": _smallest,
    "combinations": call_list.check_covers,
    "changed layers": call_list.check_variants,
    "corners": call_list.judge_corners,
}
# To these, what was called before matters.
REMEMBER = {"state", "purity", "aliasing", "nondeterminism", "unwritten memory"}


def backends(name):
    """Yield the fault by itself, then in company, each with the words for it."""
    yield ALONE, ALL[name].alone()
    yield BESIDE, ALL[name].backend()


def is_killed(name, seed):
    """Return whether a check finds the fault at the default number of examples."""
    return (
        (name in SOONER and _by_listed(name, seed, SOONER[name]))
        or (name in KILLERS and _by(name, seed, KILLERS[name]))
        or bool(killer(name, seed))
    )


def _by_listed(name, seed, known):
    where, formula, property_, *part = known
    case = case_of(formula, property_)
    return case is not None and _by_a_part(name, seed, where, case, *part)


def _by(name, seed, known):
    where, formula, property_, *part = known
    case = case_of(formula, property_)
    if case is None:
        return False
    if part and _by_a_part(name, seed, where, case, *part):
        return True
    backend = wrap(dict(backends(name))[where])
    outcome = examine(backend, *case, examples=PROFILES["certify"], seed=seed)
    return outcome.status == "mismatch"


def case_of(formula, property_):
    """Return a check by the names of its formula and its property; None: there is none."""
    return _cases().get((formula, property_))


@cache
def _cases():
    return {(case[1].__name__, case[2].name): case for case in checks()}


def _by_a_part(name, seed, where, case, part, region=None):
    """Return whether these of a check's calls fail; of a covering array or corner, if named."""
    backend, (operator, formula, property_) = wrap(dict(backends(name))[where]), case
    operator = backend.inside(operator, Claim(backend, *case).with_domains())
    if region is not None:
        covers = tuple(c for c in operator.covers if c.name == region)
        corners = tuple(c for c in operator.corners if c.region == region)
        operator = replace(operator, covers=covers, corners=corners)
    exam = examination.Examination(backend, operator, formula, property_, seed, PROFILES["certify"])
    try:
        PARTS[part](exam, call_list.own_seed(exam))
        exam.settle()
    except Mismatch:
        return True
    return False


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
    verdicts_only(setattr)
    known = killer(name, 1)
    return known and [*known, *_part(name, known)]


def _part(name, known):
    """Return which part of the check kills a fault that none of its drawn calls kills."""
    met = []
    outcomes.reported = lambda exam, **_: met.append(exam) or no_report(exam, unsteady=False)
    if ALL[name].kind in REMEMBER or not _by(name, 1, known[:3]) or met[0].drawn is None:
        return []
    geometry = met[0].drawn[0]
    stratum, region = geometry.stratum, geometry.region
    covered = any(of == "combinations" for _, of in met[0].calls)
    part = {
        stratum == "combinations": ["combinations", region],
        stratum == "layers": ["changed layers"],
        stratum == "boundary" and covered: ["corners"],
        region == "textbook": ["smallest"],
    }.get(True, [])
    case = case_of(*known[1:3])
    return part if part and _by_a_part(name, 1, known[0], case, *part) else []


def _sooner(name):
    """Return listed calls that kill a fault sooner than it is killed now, if there are any."""
    verdicts_only(setattr)
    takes = max(_seconds(is_killed, name, seed)[0] for seed in SEEDS)
    soonest = SOONER.get(name, [])
    for known in _listed(name):
        if takes < SHORT:
            break
        spent = 0.0
        for seed in SEEDS:
            seconds, kills = _seconds(_by_listed, name, seed, known)
            spent = max(spent, seconds)
            if not kills or spent > takes / 2:
                break
        else:
            takes, soonest = spent, known
    return soonest


def _seconds(function, *arguments):
    """Return how long a call takes, and what it returns."""
    start = time.perf_counter()
    returned = function(*arguments)
    return time.perf_counter() - start, returned


def _listed(name):
    """Yield the listed calls of the checks of a fault's numbers, those of fewer calls first."""
    operator = case_of(*KILLERS[name][1:3])[0] if name in KILLERS else None
    if operator is None or ALL[name].kind in REMEMBER:
        return
    backend = wrap(dict(backends(name))[KILLERS[name][0]])
    cases = [c for c in checks([operator]) if c[2].at_corners and backend.has(c[1])]
    cases.sort(key=lambda case: case[1].__name__ != KILLERS[name][1])
    parts = [["smallest"], *(["corners", c.region] for c in operator.corners)]
    parts += [*(["combinations", c.name] for c in operator.covers), ["changed layers"]]
    for part in parts:
        for _, formula, property_ in cases:
            yield [KILLERS[name][0], formula.__name__, property_.name, *part]


def verdicts_only(patch):
    """Have checks end with the first call that fails, and nothing made small, named or explained.

    The verdict is the same: the calls that follow may only fail in a graver way.
    """
    for name in ("FURTHER", "FURTHER_IF_LIGHT"):
        patch(examination, name, 0)
    patch(outcomes, "reported", no_report)
    patch(check_run, "domain_hint", lambda *_: "")


def no_report(exam, *, unsteady):
    """Return a mismatch without its report: to make calls small takes most of the time."""
    del unsteady
    return FoundMismatch("", "", exam.broken[1].headline, "")


def main():
    """Write the files."""
    if "--sooner" in sys.argv:
        slow = [name for name in _slow(sys.argv[-1]) if name in ALL]
        _write(SOONER_FILE, {**SOONER, **_of_each(_sooner, slow)})
        return
    known = {} if "--anew" in sys.argv else {n: how for n, how in KILLERS.items() if n in ALL}
    _write(FILE, {**known, **_of_each(_first, [name for name in ALL if name not in known])})


def _slow(file):
    """Return the faults whose tests took long."""
    for case in ET.parse(file).iter("testcase"):  # noqa: S314 - our own
        test, _, fault = case.get("name").partition("[")
        if test == TEST and float(case.get("time")) > LONG:
            yield fault.rpartition("-")[0]


def _of_each(function, names):
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=spawned) as pool:
        return dict(zip(names, pool.map(function, names, chunksize=4), strict=True))


def _write(file, found):
    lines = (
        f" {json.dumps(name)}: {json.dumps(how)}" for name, how in sorted(found.items()) if how
    )
    file.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
