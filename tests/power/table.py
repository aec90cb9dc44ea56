"""Results as JSON, and the README's table of them: `python -m tests.power.table [FILE]`."""

import json
import platform
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from gradoracle.conformance.runs.environment import environment
from tests.planted import FAULTS, GAPS
from tests.power.measure import CLOCK, KILLED, MISSED, SUBJECTS, UNSEEN, Case, Verdict, judges
from tests.power.rivals import RIVALS

RESULTS = Path(__file__).parent / "results"
NAME = "cpu.json"
DERIVED = "derived.json"  # of operators whose gradients are derived from their forward formulas
GAP = "in `GAPS`"  # as the class of what the suite is known not to catch
CONTROL = "control"  # and of what is right
MARK = {KILLED: "k", MISSED: "m", UNSEEN: "-"}
NOT_RUN = "?"


def content(verdicts: Mapping[Case, Verdict]) -> dict[str, Any]:
    """Return the results: of every subject and rival a mark and a time for every seed.

    What has no verdict is marked as not run.
    """
    seeds = sorted({case.seed for case in verdicts})
    rivals = [name for name in RIVALS if any(case.rival == name for case in verdicts)]
    subjects: dict[str, Any] = {}
    for name in dict.fromkeys(case.subject for case in verdicts):
        found = {r: [verdicts.get(Case(name, r, seed)) for seed in seeds] for r in rivals}
        subjects[name] = {
            "kind": kind_of(name),
            "function": SUBJECTS[name].function,
            "verdicts": {
                r: "".join(MARK[v.verdict] if v else NOT_RUN for v in vs) for r, vs in found.items()
            },
            "seconds": {
                r: [round(v.seconds, 3) if v else 0.0 for v in vs] for r, vs in found.items()
            },
        }
    return {
        "seeds": seeds,
        "rivals": {name: RIVALS[name].title for name in rivals},
        "judges": judges(),
        "clock": CLOCK,
        "environment": environment(),
        "machine": _machine(),
        "subjects": subjects,
    }


def kind_of(name: str) -> str:
    """Return the class that a fault is counted in."""
    if name in FAULTS:
        return FAULTS[name].kind
    return GAP if name in GAPS else CONTROL


def _machine() -> str:
    """Return the processor's name as Linux tells it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def save(results: Mapping[str, Any], path: Path) -> None:
    """Write the results, a line for every subject."""
    head = {name: value for name, value in results.items() if name != "subjects"}
    lines = [f"{json.dumps(n)}: {json.dumps(v)}" for n, v in results["subjects"].items()]
    text = json.dumps(head, indent=1).removesuffix("\n}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'{text},\n "subjects": {{\n' + ",\n".join(lines) + "\n}}\n", encoding="utf-8")


def load(path: Path = RESULTS / NAME) -> dict[str, Any]:
    """Return the results in a file."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def known() -> set[str]:
    """Return what the README's tables are of."""
    return {name for file in (NAME, DERIVED) for name in load(RESULTS / file)["subjects"]}


# -- the table ------------------------------------------------------------------------------------


def table(results: Mapping[str, Any]) -> str:
    """Return Markdown: the faults of each class that each rival kills from every seed."""
    rivals, subjects = results["rivals"], results["subjects"]
    by_kind: dict[str, list[Any]] = defaultdict(list)
    for one in subjects.values():
        by_kind[one["kind"]].append(one["verdicts"])
    controls = by_kind.pop(CONTROL, [])
    every = [verdicts for found in by_kind.values() for verdicts in found]
    order = sorted(by_kind, key=lambda kind: (kind == GAP, -len(by_kind[kind]), kind))
    rows = [["class of fault", "faults", *rivals.values()]]
    rows += [[kind, len(by_kind[kind]), *_killed(by_kind[kind], rivals)] for kind in order]
    rows.append(["**all**", f"**{len(every)}**", *(f"**{n}**" for n in _killed(every, rivals))])
    rows.append(["right, and flagged", len(controls), *_flagged(controls, rivals)])
    for title, value in (("median seconds", median), ("95th percentile", _most)):
        rows.append([title, "", *(f"{value(_seconds(results, r)):.2f}" for r in rivals)])
    totals = (sum(_seconds(results, r)) / len(results["seeds"]) for r in rivals)
    rows.append(["minutes in all, a seed", "", *(f"{total / 60:.1f}" for total in totals)])
    rows.insert(1, ["---", *["--:"] * (len(rivals) + 1)])
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)


def _killed(found: list[Any], rivals: Any) -> list[str]:
    """Return how many are killed from every seed, and in brackets what is neither that nor missed.

    `-` counts those that a rival does not look at, `?` those that were not run.
    """
    cells = []
    for rival in rivals:
        counts = Counter(_whole(verdicts[rival]) for verdicts in found)
        others = ", ".join(f"{counts[mark]}{mark}" for mark in ("-", NOT_RUN) if counts[mark])
        blind = counts["-"] == len(found)
        cells.append("-" if blind else f"{counts['k']}{f' ({others})' if others else ''}")
    return cells


def _whole(marks: str) -> str:
    """Return one mark for all seeds: killed only if from each."""
    if NOT_RUN in marks:
        return NOT_RUN
    return marks[0] if len({*marks}) == 1 else "m"


def _flagged(controls: list[Any], rivals: Any) -> list[str]:
    """Return how many controls are flagged from any seed, and how many were not run."""
    cells = []
    for rival in rivals:
        left = sum(NOT_RUN in verdicts[rival] for verdicts in controls)
        flagged = sum("k" in verdicts[rival] for verdicts in controls)
        cells.append(f"{flagged} ({left}?)" if left else f"{flagged}")
    return cells


def _seconds(results: Mapping[str, Any], rival: str) -> list[float]:
    """Return the times of the faults that a rival checked."""
    return [
        seconds
        for one in results["subjects"].values()
        if one["kind"] != CONTROL
        for mark, seconds in zip(one["verdicts"][rival], one["seconds"][rival], strict=True)
        if mark != NOT_RUN and (mark != "-" or seconds)
    ] or [0.0]


def _most(times: list[float]) -> float:
    return quantiles(times, n=20)[-1] if len(times) > 1 else times[0]


def caption(results: Mapping[str, Any]) -> str:
    """Return what was run on what, in a sentence."""
    found, seeds = results["environment"], results["seeds"]
    of = "one seed" if len(seeds) == 1 else f"each of {len(seeds)} seeds"
    versions = ", ".join(f"{n} {found[n]}" for n in ("Python", "NumPy", "PyTorch", "Hypothesis"))
    later = SUBJECTS.keys() - results["subjects"].keys() - known()
    left = f" The catalogue has grown since: {len(later)} of them are not in it." if later else ""
    return (
        f"Faults killed from {of}; {versions}; times are {results['clock']} on one core of "
        f"{results['machine']}.{left}"
    )


if __name__ == "__main__":
    chosen = load(Path(sys.argv[1])) if sys.argv[1:] else load()
    print(f"{caption(chosen)}\n\n{table(chosen)}")
