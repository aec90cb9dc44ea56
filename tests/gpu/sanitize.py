"""The stage `sanitize`: what compute-sanitizer and hostcuda say of the same kernels.

Every run is a process of its own with a limit: kernels that wait for each other are killed.
"""

import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

from tests.faults import FAULTS
from tests.gpu import launch, sanitizer
from tests.gpu.processes import end_all, run

STAGE = "sanitize"
SECONDS = 45.0  # of a run: Python, CuPy, the compiler, and the kernel under a tool
AT_ONCE = 8
LINES, DEBUG = "-lineinfo", "-G"  # -G keeps what a compiler may leave out as useless


def sanitize(budget, note, *, where=None, runner=run):
    """Run the tools on every subject; `note` takes what is known so far.

    `where` is the sanitizer, `runner` what runs commands: `tests.gpu.processes.run`.
    """
    where = where or sanitizer.binary()
    result = {"looked_for": [row._asdict() for row in sanitizer.LOOKED_FOR]}
    note(result)
    if where is None:
        result["not_run"] = (
            f"{sanitizer.BINARY} is neither on the path, nor in /usr/local/cuda, nor in a wheel"
        )
        return result
    version = runner([where, "--version"], 20).output.strip().splitlines()
    result |= {"binary": str(where), "version": version[-1] if version else "not told"}
    with tempfile.TemporaryDirectory(prefix="gradoracle-", ignore_cleanup_errors=True) as cache:
        _all(_Runs(budget, where, runner, cache), result, note)
    return result


def _all(runs, result, note):
    """Do the runs, the most telling ones first."""
    rows = {f.name: sanitizer.row_of(f.kind, f.words, shared=f.shared) for f in FAULTS.values()}
    right = [name for name in launch.subjects() if ":" in name]

    def told():
        result["faults"] = {name: _fault(runs, rows[name], fault) for name, fault in FAULTS.items()}
        result["right"] = {name: _right(runs, name) for name in right}
        result["runs"] = len(runs.reports)
        result["out_of_time"] = sorted(" ".join(job) for job in runs.skipped)
        result["counts"] = _counts(result)
        note(result)

    first = [(name, row.tool, LINES) for name, row in rows.items() if row.tool]
    runs.do(first)
    told()
    runs.budget.say(f"sanitize: {result['counts']['faults']} after the tools that look for it")
    silent = [name for name in FAULTS if result["faults"][name]["verdict"] == sanitizer.SILENT]
    runs.do([(name, rows[name].tool, DEBUG) for name in silent])
    runs.do([(name, tool, LINES) for name in right for tool in sanitizer.TOOLS])
    told()
    hangs = {name for (name, *_), end in runs.ends.items() if end.code is None}
    rest = [(name, tool, LINES) for name in FAULTS if name not in hangs for tool in sanitizer.TOOLS]
    runs.do([job for job in rest if job not in runs.reports])
    told()
    runs.budget.say(f"sanitize: {result['counts']}")


class _Runs:
    """Runs of the sanitizer, by subject, tool and the compiler's option."""

    def __init__(self, budget, where, runner, cache):
        self.budget, self.where, self.runner, self.cache = budget, where, runner, cache
        self.reports, self.ends, self.skipped = {}, {}, set()

    def do(self, jobs):
        """Do the jobs that there is time for, several at once."""
        at_once = max(1, min(AT_ONCE, (os.cpu_count() or 1) // 2))
        with ThreadPoolExecutor(at_once) as pool:
            try:
                for job, end in zip(jobs, pool.map(self._one, jobs), strict=True):
                    if end is None:
                        self.skipped.add(job)
                    else:
                        self.ends[job] = end
                        self.reports[job] = self._report(job[0], end)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                end_all()
                raise

    def _one(self, job):
        left = self.budget.left(STAGE)
        if left < 5:
            return None
        subject, tool, option = job
        program = [sys.executable, "-m", "tests.gpu.launch", subject, option]
        command = sanitizer.command(self.where, tool, program)
        return self.runner(command, min(SECONDS, left), CUPY_CACHE_DIR=self.cache)

    def _report(self, subject, end):
        report = sanitizer.parsed(end.output)
        if end.code is None:
            report.trouble.insert(0, f"killed after {end.seconds:.0f} s")
        elif end.code != 0:
            lines = [line for line in end.output.splitlines() if not line.startswith("=====")]
            last = next((line for line in reversed(lines) if line.strip()), "it wrote nothing")
            report.failed = f"exit code {end.code}: {last.strip()[:200]}"
        elif launch.DONE.format(subject) not in end.output:
            report.failed = "the tool ended well, but the program did not say that it ran"
        return report

    def of(self, subject, option):
        """Return the reports of a subject, by tool."""
        return {
            tool: report for (name, tool, how), report in self.reports.items()
            if name == subject and how == option
        }  # fmt: skip

    def plain(self, subject):
        """Return the reports of a subject as plain data, by tool and option."""
        return {
            f"{tool} {option}": {
                **report.plain(), "exit_code": self.ends[name, tool, option].code,
                "seconds": round(self.ends[name, tool, option].seconds, 1),
            }
            for (name, tool, option), report in self.reports.items() if name == subject
        }  # fmt: skip


def _fault(runs, row, fault):
    """Return what is known of a planted fault."""
    plain = runs.of(fault.name, LINES)
    verdict, words = sanitizer.verdict(row, plain, fault.line)
    compiled = LINES
    debug = runs.of(fault.name, DEBUG)
    if verdict == sanitizer.SILENT and debug:
        again, why = sanitizer.verdict(row, debug, fault.line)
        if again in (sanitizer.AGREES, sanitizer.OTHER_LINE):
            verdict, words, compiled = again, f"{why} (only with {DEBUG})", DEBUG
    return {
        "hostcuda": f"{fault.kind}: {fault.words}", "line": fault.line, "tool": row.tool,
        "verdict": verdict, "words": words, "compiled": compiled, "runs": runs.plain(fault.name),
    }  # fmt: skip


def _right(runs, name):
    """Return what is known of a kernel that is right."""
    judged = {tool: sanitizer.cleanliness(r) for tool, r in runs.of(name, LINES).items()}
    return {
        "verdicts": {tool: verdict for tool, (verdict, _) in judged.items()},
        "words": {tool: words for tool, (_, words) in judged.items()},
        "exit_codes": {
            tool: end.code for (who, tool, _), end in runs.ends.items() if who == name
        },
        "runs": {
            how: one for how, one in runs.plain(name).items()
            if judged[how.split()[0]][0] != "clean"
        },
    }  # fmt: skip


def _counts(result):
    """Return how often each verdict fell."""
    faults, right = {}, {}
    for one in result["faults"].values():
        faults[one["verdict"]] = faults.get(one["verdict"], 0) + 1
    for one in result["right"].values():
        for verdict in one["verdicts"].values():
            right[verdict] = right.get(verdict, 0) + 1
    return {"faults": faults, "right": right}
