"""By which of a check's calls each planted fault is met first: `python -m tests.power.stages`.

    python -m tests.power.stages --seed 1 --jobs 2 [--every 10]

Each fault is checked as `killers.json` says, at the default number of examples, up to the first
call that fails.  A row is a property: how many faults it is the first to find, by which part of its
calls (drawn ones, the smallest, listed ones, rows of covering arrays, changed layers, corners), and
the drawn calls that it took for half of those that drawn calls meet, for 95 of 100, and for all.
`elsewhere`: not by this property from this seed; `pytest tests/test_planted.py` tries all others.
"""

import argparse
import multiprocessing
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import NamedTuple

from gradoracle.conformance.backends.mismatch import Mismatch
from gradoracle.conformance.backends.registry import wrap
from gradoracle.conformance.checking import call_list
from gradoracle.conformance.checking.claim import Claim
from gradoracle.conformance.checking.examination import Examination
from gradoracle.conformance.drawing.profiles import PROFILES
from tests.planted.killers import ALL, KILLERS, backends, case_of

DRAWN, ELSEWHERE = "drawn", "elsewhere"
STAGES = {
    "judge_textbook": "smallest",
    "check_not_finite": "not finite",
    "judge_listed": "listed",
    "check_covers": "combinations",
    "check_variants": "changed layers",
    "judge_corners": "corners",
}
COLUMNS = (DRAWN, *STAGES.values(), ELSEWHERE)


class Met(BaseException):
    """A call fails."""


class Found(NamedTuple):
    """Which property meets a fault, by which part of its calls, after how many drawn ones."""

    property: str
    stage: str
    drawn: int


class Watched(Examination):
    """A check that ends with the first call that fails, and counts the drawn ones before."""

    stage = DRAWN
    made = 0

    def judge_call(self, call):
        """Check one call and return whether it counts; end if it fails."""
        self.made += self.stage == DRAWN
        try:
            return self.passes(call)
        except Mismatch as mismatch:
            raise Met from mismatch


def _staged(judge, stage):
    """Return a part of the calls that says while it is judged which one it is."""

    def judge_part(exam, *arguments, **options):
        exam.stage = stage
        judge(exam, *arguments, **options)
        exam.stage = DRAWN

    return judge_part


def watch(patch):
    """Have each part of a check's calls say which one it is."""
    for name, stage in STAGES.items():
        patch(call_list, name, _staged(getattr(call_list, name), stage))


def _begin():
    watch(setattr)


def met(name: str, seed: int) -> Found:
    """Return by which calls a fault is met."""
    where, formula, property_, *_ = KILLERS[name]
    case = case_of(formula, property_)
    backend = wrap(dict(backends(name))[where])
    operator = backend.inside(case[0], Claim(backend, *case).with_domains())
    exam = Watched(backend, operator, *case[1:], seed, PROFILES["certify"])
    try:
        if case[2].on_layers:
            call_list.judge_layers(exam, call_list.own_seed(exam))
        else:
            call_list.judge_drawn(exam)
    except Met:
        return Found(property_, exam.stage, exam.made)
    return Found(property_, ELSEWHERE, exam.made)


def rows(found: list[Found]) -> Iterator[tuple[str, ...]]:
    """Yield a row for each property, those that find most first."""
    for name, count in Counter(one.property for one in found).most_common():
        own = [one for one in found if one.property == name]
        stages = Counter(one.stage for one in own)
        drawn = sorted(one.drawn for one in own if one.stage == DRAWN) or [0]
        late = (drawn[len(drawn) * share // 100] for share in (50, 95))
        by = (str(stages[one] or "") for one in COLUMNS)
        yield name, str(count), *by, *map(str, late), str(drawn[-1])


def table(found: list[Found]) -> str:
    """Return the rows as a table of Markdown."""
    header = ("property", "faults", *COLUMNS, "half", "95 of 100", "all")
    lines = [header, ("---", *["--:"] * (len(header) - 1)), *rows(found)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Print the table."""
    command = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    command.add_argument("--seed", type=int, default=1)
    command.add_argument("--jobs", type=int, default=2)
    command.add_argument("--every", type=int, default=1, help="one fault of so many")
    asked = command.parse_args()
    names = sorted(name for name in KILLERS if name in ALL)[:: asked.every]
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(asked.jobs, spawned, _begin) as pool:
        found = [*pool.map(partial(met, seed=asked.seed), names, chunksize=8)]
    print(table(found))


if __name__ == "__main__":
    main()
