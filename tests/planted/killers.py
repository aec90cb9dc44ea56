"""Which check kills each planted fault: the tests try that one first, and all others after it.

    python -m tests.planted.killers [--anew]

adds to `killers.json` what is not in it, or writes it anew.  A line that is missing, or no longer
right, costs time only.  Where none of the check's drawn calls kills a fault that remembers nothing,
the line says which of its other calls do: they depend on the seed alone, not on those before them.
"""

import json
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

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
    return (name in KILLERS and _by(name, seed, KILLERS[name])) or bool(killer(name, seed))


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
    return next((c for c in checks() if (c[1].__name__, c[2].name) == (formula, property_)), None)


def _by_a_part(name, seed, where, case, part, cover=None):
    """Return whether these of a check's calls fail; of a covering array, if it is named."""
    backend, (operator, formula, property_) = wrap(dict(backends(name))[where]), case
    operator = backend.inside(operator, Claim(backend, *case).with_domains())
    if cover is not None:
        operator = replace(operator, covers=tuple(c for c in operator.covers if c.name == cover))
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
