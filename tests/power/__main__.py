"""`python -m tests.power`: check every planted fault by every rival."""

import argparse
import sys
import time
from pathlib import Path

from tests.planted import FAULTS
from tests.power.measure import SUBJECTS, Case, journal, run
from tests.power.rivals import RIVALS
from tests.power.table import NAME, content, save, table

JOURNAL = Path(".gradoracle") / "power.jsonl"
EVERY = 15.0  # seconds between two lines about how far it is


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.power",
        description="Check every planted fault and every control by the usual checks and by this "
        "suite, and print how many faults of a class each of them kills. It can be stopped at any "
        "time and goes on where it was.",
    )
    add = parser.add_argument
    kinds = sorted({fault.kind for fault in FAULTS.values()})
    add(
        "--rivals", nargs="+", choices=RIVALS, default=list(RIVALS), metavar="NAME",
        help=f"some only, of {', '.join(RIVALS)}",
    )  # fmt: skip
    add(
        "--kinds", nargs="+", choices=kinds, metavar="KIND",
        help="faults of these classes only, and no control",
    )  # fmt: skip
    add(
        "--faults", nargs="+", choices=SUBJECTS, metavar="NAME",
        help="these faults, gaps or controls only",
    )  # fmt: skip
    add(
        "--seeds", nargs="+", type=int, default=[1], metavar="N",
        help="a fault counts as killed if it is from all of them (default: 1)",
    )  # fmt: skip
    add(
        "--jobs", type=int, default=1, metavar="N",
        help="processes; times are of one core each (default: 1)",
    )  # fmt: skip
    add(
        "--journal", type=Path, default=JOURNAL, metavar="FILE",
        help=f"where verdicts are written as they fall (default: {JOURNAL}); remove it where a "
        "fault was changed",
    )  # fmt: skip
    add(
        "--save", type=Path, metavar="FILE",
        help=f"the results as JSON; the README's are tests/power/results/{NAME}",
    )  # fmt: skip
    return parser.parse_args()


def _subjects(given: argparse.Namespace) -> list[str]:
    if given.faults:
        return list(given.faults)
    if given.kinds:
        return [name for name, fault in FAULTS.items() if fault.kind in given.kinds]
    return list(SUBJECTS)


def main() -> int:
    """Run what is missing and print the table."""
    given = _arguments()
    try:
        verdicts = journal(given.journal)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    cases = [
        Case(subject, rival, seed)
        for seed in given.seeds
        for rival in given.rivals
        for subject in _subjects(given)
    ]
    missing = [case for case in cases if case not in verdicts.known]
    told = start = time.monotonic()
    for count, (case, verdict) in enumerate(run(missing, jobs=given.jobs), 1):
        verdicts.add(case, verdict)
        if time.monotonic() - told > EVERY:
            told = time.monotonic()
            far = f"{count} of {len(missing)} in {told - start:.0f} s"
            last = f"{case.rival}, seed {case.seed}, {case.subject}: {verdict.verdict}"
            print(f"{far}: {last}", file=sys.stderr, flush=True)
    results = content({case: verdicts.known[case] for case in cases})
    print(table(results))
    if given.save:
        save(results, given.save)
    return 0


if __name__ == "__main__":
    sys.exit(main())
