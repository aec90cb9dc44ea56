"""A certificate for other readers: a screenful, JUnit XML, annotations."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from gradoracle.conformance.reports import certificate_text, screen
from gradoracle.conformance.reports.certificate import REPEATS, UNJUDGED, Certificate, Outcome
from gradoracle.conformance.reports.terminal import Look

CONTINUED = re.compile(r"\n {18}(?=\S)")  # a line of a mismatch's text that goes on
SKIPPED = (
    "not claimed",
    "not run",
    "deviation",
    *REPEATS,
)  # in JUnit's word: neither passed nor failed


def summary(
    certificate: Certificate, look: Look, *, whole: bool, file: Path | None = None
) -> Iterator[str]:
    """Yield a certificate's mismatches and verdict: a screenful, or all of it.

    `file` is where its JSON was written.
    """
    if not whole:
        yield from screen.lines(certificate, look, file)
        return
    for one in certificate.mismatches:
        explained, script, code = one.text.partition("\n  script  ")
        for line in CONTINUED.sub(" ", explained).splitlines():
            yield from look.wrapped(line, rest=" " * 18) if len(line) > look.width else [line]
        yield from f"{script[1:]}{code}".splitlines()
        yield ""
    for line in certificate_text.lines(certificate, look.width):
        yield look.readable(line)


def own_file(file: Path, name: str, *, alone: bool) -> Path:
    """Return the file of one backend's certificate."""
    return file if alone else file.with_name(f"{file.stem}.{name.replace(':', '.')}{file.suffix}")


def junit(certificates: Sequence[Certificate]) -> str:
    """Return certificates as JUnit XML: a suite per backend, a case per check."""
    root = ET.Element("testsuites")
    for one in certificates:
        cases = one.outcomes
        lost = one.campaign.lost if one.campaign is not None else []
        suite = ET.SubElement(
            root, "testsuite", name=f"gradoracle.{one.backend}",
            tests=str(len(cases) + len(one.stale) + len(lost)),
            failures=str(sum(o.status == "mismatch" for o in cases) + len(one.stale)),
            errors=str(sum(o.status in UNJUDGED for o in cases) + len(lost)),
            skipped=str(sum(o.status in SKIPPED for o in cases)),
            time=f"{sum(o.seconds for o in cases):.3f}",
        )  # fmt: skip
        for o in cases:
            _add_case(suite, o)
        for sentence in one.stale:
            case = ET.SubElement(suite, "testcase", classname="contract", name="deviations")
            ET.SubElement(case, "failure", message=_printable(sentence))
        for shard in lost:
            case = ET.SubElement(
                suite, "testcase", classname="campaign", name=f"shard {shard.number}"
            )
            ET.SubElement(case, "error", message=_printable(shard.lost))
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _add_case(suite: ET.Element, o: Outcome) -> None:
    case = ET.SubElement(
        suite, "testcase", classname=o.formula, name=o.property_name, time=f"{o.seconds:.3f}"
    )
    if o.status == "mismatch":
        failure = ET.SubElement(case, "failure", message=_printable(o.reason))
        failure.text = _printable(o.text)
    elif o.status == "deviation":
        told = f"known deviation: {o.deviation}: {o.reason}"
        ET.SubElement(case, "skipped", type="pytest.xfail", message=_printable(told))
    elif o.status in UNJUDGED:
        ET.SubElement(case, "error", message=o.reason)
    elif o.status != "passed":
        ET.SubElement(case, "skipped", message=f"{o.status}: {o.reason}")


def workflow_commands(certificates: Sequence[Certificate]) -> Iterator[str]:
    """Yield mismatches, and known deviations as warnings, as GitHub's workflow commands."""
    for one in certificates:
        for known in one.deviations:
            title = _escaped(f"{one.backend} is known to break {known.property_name}", more=":,")
            yield f"::warning title={title}::{_escaped(f'{known.deviation}: {known.reason}')}"
        for sentence in one.stale:
            yield f"::error title={_escaped(one.backend, more=':,')}::{_escaped(sentence)}"
        for found in one.mismatches:
            title = _escaped(f"{one.backend} breaks {found.property_name}", more=":,")
            yield f"::error title={title}::{_escaped(found.text)}"
        if not (one.as_claimed or one.mismatches or one.stale):
            yield f"::error title={_escaped(one.backend, more=':,')}::{_escaped(one.why_not)}"


def _escaped(text: str, more: str = "") -> str:
    for character in ("%", "\r", "\n", *more):
        text = text.replace(character, f"%{ord(character):02X}")
    return text


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() or c in "\n\t" else "?" for c in text)
