"""A certificate for other readers: a screenful, JUnit XML, annotations."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.reports import certificate_text, screen
from gradoracle.conformance.reports.certificate import (
    REPEATS,
    UNCLAIMED,
    UNJUDGED,
    Certificate,
    Outcome,
)
from gradoracle.conformance.reports.terminal import Look
from gradoracle.oracle.declaration import output_of

CONTINUED = re.compile(r"\n {18}(?=\S)")  # a line of a mismatch's text that goes on
SKIPPED = ("not run", "deviation", *REPEATS)  # in JUnit's word: neither passed nor failed
FUNCTION_OF = OPERATORS.table(
    lambda: {f.__name__: output_of(f).function for o in OPERATORS for f in o.formulas}
)


def summary(
    certificate: Certificate, look: Look, *, whole: bool, file: Path | None = None,
    repeated: screen.Repeated = screen.NO_OPTIONS,
) -> Iterator[str]:  # fmt: skip
    """Yield a certificate's mismatches and verdict: a screenful, or all of it.

    `file` is where its JSON was written; `repeated` is of the command line.
    """
    if not whole:
        yield from screen.lines(certificate, look, file, repeated)
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
    """Return certificates as JUnit XML: a suite per backend, a case per check that it claims."""
    root = ET.Element("testsuites")
    for one in certificates:
        cases = [o for o in one.outcomes if o.status != UNCLAIMED]
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
            title = f"{known.formula} of {one.backend} is known to break {known.property_name}"
            text = f"{known.deviation}: {known.reason}"
            yield _command("warning", title, text, place(one, known.formula))
        for sentence in one.stale:
            yield _command("error", one.backend, sentence, place(one, sentence.split()[0]))
        for found in one.mismatches:
            title = f"{found.formula} of {one.backend} breaks {found.property_name}"
            at = place(one, found.formula, found.function)
            yield _command("error", title, found.text, at)
        if not (one.as_claimed or one.holds_so_far or one.mismatches or one.stale):
            yield _command("error", one.backend, one.why_not, {})


def place(certificate: Certificate, formula: str, blamed: str = "") -> dict[str, Any]:
    """Return the file and the line of a formula's function, or of the one that is to blame.

    Empty where the function has none, as builtins have, or lies outside of the repository.
    """
    names = (FUNCTION_OF.get(blamed, blamed), FUNCTION_OF.get(formula, formula))
    return next((certificate.places[n] for n in names if n in certificate.places), {})


def _command(kind: str, title: str, text: str, at: Mapping[str, Any]) -> str:
    """Return a workflow command: a kind, its properties, and what is shown."""
    named = {**at, "title": title}
    told = (f"{name}={_escaped(str(value), more=':,')}" for name, value in named.items())
    return f"::{kind} {','.join(told)}::{_escaped(text)}"


def _escaped(text: str, more: str = "") -> str:
    for character in ("%", "\r", "\n", *more):
        text = text.replace(character, f"%{ord(character):02X}")
    return text


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() or c in "\n\t" else "?" for c in text)
