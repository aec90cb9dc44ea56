"""NVIDIA's compute-sanitizer: where it is, what it says, and what it looks for.

Its documentation: memcheck tells accesses outside an allocation or misaligned and errors of the
API, racecheck hazards in shared memory, initcheck reads of global memory that nobody wrote,
synccheck barriers that are used wrongly.
"""

import importlib.util
import re
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

from tests.faults import FILE

TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
BINARY = "compute-sanitizer"
KEPT = 6  # findings of a run that are kept in full


class Row(NamedTuple):
    """What hostcuda tells, and which of the tools looks for it."""

    kind: str
    tool: str | None
    title: str  # what the tool's message begins with; of none: why nobody looks
    where: str = ""  # of a data race: in which memory
    words: str = ""  # of hostcuda's text


LOOKED_FOR = (
    Row("out of bounds", "memcheck", "Invalid __"),
    Row("misaligned access", "memcheck", "Invalid __"),
    Row("data race", "racecheck", "Race reported", where="shared"),
    Row("data race", None, "racecheck looks at shared memory only", where="global"),
    Row("uninitialised shared memory", None, "initcheck looks at global memory only"),
    Row("divergent barrier", "synccheck", "Barrier error"),
    Row("deadlock", "synccheck", "Barrier error"),
    Row("absent lane", "synccheck", "Barrier error", words="does not name the calling lane"),
    Row("integer overflow", None, "no tool looks at arithmetic"),
    Row("undefined behaviour", None, "no tool looks at arithmetic"),
    Row("launch", "memcheck", "Program hit"),
    Row("order", None, "no tool runs the threads in another order"),
)


def row_of(kind: str, words: str, *, shared: bool) -> Row:
    """Return which tool looks for a fault; the first row that fits.

    Raises:
        LookupError: the table does not have the kind.
    """
    where = "shared" if shared else "global"
    for row in LOOKED_FOR:
        if row.kind == kind and row.where in ("", where) and row.words in words:
            return row
    raise LookupError(f"the table says of no tool whether it looks for {kind!r}")


@dataclass
class Said:
    """One finding of a tool, with how often it was told at that line."""

    title: str
    detail: str = ""  # whose access, and to what
    places: list[tuple[str, int]] = field(default_factory=list)  # file and line: its own first
    count: int = 1

    def lines(self, file: str) -> list[int]:
        """Return the lines of a file that it is about, or that called what it is about."""
        return [line for name, line in self.places if name == file]


@dataclass
class Report:
    """What a run of the sanitizer says."""

    findings: list[Said] = field(default_factory=list)
    api: list[Said] = field(default_factory=list)  # calls of the CUDA API that failed
    trouble: list[str] = field(default_factory=list)  # why it could not look
    summary: str = ""  # "" where it did not get so far
    errors: int = 0  # that the summary counts; races: those that it displays
    failed: str = ""  # how the program ended, if not well: the kernel may not have run

    def plain(self) -> dict:
        """Return it as plain data, the first findings in full."""
        return {
            "summary": self.summary, "findings": [asdict(one) for one in self.findings[:KEPT]],
            "different_findings": len(self.findings),
            "api_errors": [asdict(one) for one in self.api[:KEPT]],
            "trouble": self.trouble[:KEPT], "failed": self.failed,
        }  # fmt: skip


_MARK = re.compile(r"^=========\s?(?P<indent>\s*)(?P<text>.*?)\s*$")
_FINDING = re.compile(
    r"(?:(?:Error|Warning|WARN|ERROR)[: ]*(?:\([^)]*\) *)?)?"
    r"(?P<title>Invalid __\w+__ (?:read|write|atomic)|Invalid __\w+__|Uninitialized |"
    r"Barrier error detected|Race reported|Potential \w+ hazard|Host API .*memory access|"
    r"Unused memory|Illegal|Malloc/Free error|Stack overflow)"
)
_API = re.compile(r"Program hit ")
_SUMMARY = re.compile(r"(?:ERROR|RACECHECK) SUMMARY: (?P<count>[\d,]+) ")
_TROUBLE = re.compile(
    r"(?:Error: |Internal |Device not supported|.*not supported|Target application|"
    r"Unable to |Failed to |Could not |No attachable)"
)
_LINE = re.compile(r"\bin (?P<file>[^\s:()]+):(?P<line>\d+)\b")
_WHO = re.compile(r"by thread \(|Address 0x|Access (?:at|to) 0x|and (?:is|\w+ access)|at ")


def parsed(output: str) -> Report:
    """Return what is said in the sanitizer's output, which the program's own is mixed with."""
    report, last = Report(), None
    for line in output.splitlines():
        mark = _MARK.match(line)
        if mark is None:
            continue
        text, deep = mark["text"], len(mark["indent"]) > 0
        if found := _SUMMARY.search(text):
            report.summary, last = text, None
            report.errors = int(found["count"].replace(",", ""))
        elif not text or "SUMMARY" in text:
            last = None
        elif _FINDING.match(text) and not deep:
            last = Said(text)
            report.findings.append(last)
            _place(last, text)
        elif _API.match(text) and not deep:
            last = Said(text)
            report.api.append(last)
        elif last is not None and deep:
            _more(last, text)
        elif not deep and _TROUBLE.match(text):
            report.trouble.append(text)
    report.findings = _counted(report.findings)
    report.api = _counted(report.api)
    return report


def _place(said: Said, text: str) -> None:
    if found := _LINE.search(text):
        said.places.append((Path(found["file"]).name, int(found["line"])))


def _more(said: Said, text: str) -> None:
    """Add an indented line to the finding that it is about; the host's stack is left out."""
    if text.startswith(("Saved host", "Host Frame", "in ")):
        return
    _place(said, text)
    if _WHO.match(text) and len(said.detail) < 300:
        said.detail += f"{'; ' if said.detail else ''}{text[:160]}"


def _counted(found: list[Said]) -> list[Said]:
    """Return the findings, those of the same words and line as one."""
    different: dict[tuple[object, ...], Said] = {}
    for one in found:
        title = re.sub(r"\b0x[0-9a-f]+", "0x…", one.title)
        kept = different.setdefault((title, *one.places), one)
        if kept is not one:
            kept.count += one.count
    return list(different.values())


# What a tool says of a kernel.
AGREES, OTHER_LINE, SILENT = "agrees", "agrees on another line", "SILENT"
NOBODY, MORE, NO_VERDICT = "not looked for", "not looked for, but told", "no verdict"


def told_of(report: Report, row: Row) -> list[Said]:
    """Return what a report says that is of a row's kind."""
    if row.tool is None:
        return []
    if row.title.startswith("Program hit"):
        return [one for one in report.api if "LaunchKernel" in one.title]
    titles = (row.title, "Potential") if row.tool == "racecheck" else (row.title,)
    return [one for one in report.findings if any(title in one.title for title in titles)]


def verdict(row: Row, reports: dict[str, Report], line: int) -> tuple[str, str]:
    """Return how the tools' reports on a planted fault go with hostcuda's, and why, in words."""
    if row.tool is None:
        said = [(tool, one) for tool, report in reports.items() for one in report.findings]
        if said:
            tool, one = said[0]
            return MORE, f"{row.title}; {tool}: {one.title}"
        return NOBODY, row.title
    report = reports.get(row.tool)
    if report is None:
        return NO_VERDICT, f"{row.tool} was not run"
    found = told_of(report, row)
    if not found:
        if not report.summary or report.failed:
            return NO_VERDICT, _why(report)
        return SILENT, f"{row.tool} says: {report.summary}"
    lines = [number for one in found for number in one.lines(FILE)]
    if not line or not lines or line in lines:
        return AGREES, f"{row.tool}: {found[0].title}"
    return OTHER_LINE, f"{row.tool}: {found[0].title}, line {lines[0]} for {line}"


def cleanliness(report: Report) -> tuple[str, str]:
    """Return what a report says of a kernel that is right, and why, in words."""
    if report.findings:
        return "flagged", report.findings[0].title
    if not report.summary or report.failed:
        return NO_VERDICT, _why(report)
    return "clean", report.summary


def _why(report: Report) -> str:
    """Return why a report without findings says nothing."""
    return "; ".join(filter(None, (*report.trouble, report.failed))) or "it came to no summary"


def binary() -> Path | None:
    """Return where the sanitizer is: on the path, in CUDA's folder, or in a wheel of NVIDIA's."""
    found = shutil.which(BINARY)
    if found:
        return Path(found)
    places = [Path("/usr/local/cuda/bin"), Path("/usr/local/cuda/compute-sanitizer")]
    places += sorted(Path("/usr/local").glob("cuda-*/bin"), reverse=True)
    places += sorted(Path("/opt/nvidia").glob("*sanitizer*"))
    spec = importlib.util.find_spec("nvidia")
    for folder in spec.submodule_search_locations or () if spec else ():
        places += [file.parent for file in Path(folder).rglob(BINARY)]
    for place in places:
        if (place / BINARY).is_file():
            return place / BINARY
    return None


def command(where: Path, tool: str, program: list[str]) -> list[str]:
    """Return the command that has a tool look at a program."""
    options = ["--show-backtrace", "device", "--target-processes", "application-only"]
    return [str(where), "--tool", tool, *options, *program]
