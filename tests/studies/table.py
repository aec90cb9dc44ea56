"""The tables of README.md, made of the results and the docstrings of the scripts."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable
from typing import Any

from tests.studies.decisions import Decision, decided
from tests.studies.libraries import HERE, LIBRARIES

START, END = "<!-- tables -->", "<!-- end of the tables -->"
README = HERE / "README.md"
Operators = dict[str, dict[str, Any]]


def write() -> None:
    """Write the tables anew."""
    text = README.read_text()
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    README.write_text(f"{before}{START}\n{tables()}{END}{after}")


def tables() -> str:
    """Return what stands between the marks."""
    found = results()
    return "\n".join([*_summary(found), "", *_mismatches(found), "", *_scripts(), ""])


def results() -> dict[str, dict[str, Any]]:
    """Return what is stored of each library that has results."""
    return {
        name: json.loads(path.read_text())
        for name in LIBRARIES
        if (path := HERE / "results" / f"{name}.json").exists()
    }


def _summary(found: dict[str, dict[str, Any]]) -> Iterable[str]:
    yield "| library | lines of glue | certified | not certified | calls |"
    yield "|---|---|---|---|---|"
    for name, one in found.items():
        operators: Operators = one["operators"]
        versions = ", ".join(f"{n} {version}" for n, version in one["versions"].items())
        good = [o for o, of in operators.items() if of["verdict"] == "certified"]
        calls = sum(of.get("calls", 0) for of in operators.values())
        rest = ", ".join(_short(o, of) for o, of in operators.items() if o not in good)
        title = versions if versions.startswith(f"{name} ") else f"{name} ({versions})"
        yield f"| {title} | {LIBRARIES[name].lines} | {', '.join(good)} | {rest} | {calls} |"


def _short(operator: str, of: dict[str, Any]) -> str:
    """Return an operator that is not certified, and why where that is no mismatch."""
    if of.get("mismatches"):
        return operator
    return f"{operator} ({of['verdict'].removeprefix('NOT CERTIFIED: ')})"


def _mismatches(found: dict[str, dict[str, Any]]) -> Iterable[str]:
    yield "| library | formula | what a report says first | on | what it is |"
    yield "|---|---|---|---|---|"
    told = set()
    for name, mismatch, decision in decisions(found):
        formula = mismatch["formula"]
        if (name, formula, decision) in told:
            continue
        told.add((name, formula, decision))
        says, call = _cell(mismatch["says"]), _cell(mismatch["call"])
        yield f"| {name} | {formula} | {says} | {call} | {_known(decision)} |"


def decisions(
    found: dict[str, dict[str, Any]],
) -> Iterable[tuple[str, dict[str, Any], Decision | None]]:
    """Yield every mismatch with its library and what is known of it."""
    for name, one in found.items():
        for of in one["operators"].values():
            for mismatch in of.get("mismatches", ()):
                text = f"{mismatch['says']} {mismatch['call']}"
                yield name, mismatch, decided(name, mismatch["formula"], mismatch["property"], text)


def _known(decision: Decision | None) -> str:
    """Return what is known of a mismatch, a script as a link."""
    if decision is None or not decision.is_fault:
        return "" if decision is None else decision.known
    return f"[{decision.known}](faults/{decision.known}.py)"


def _scripts() -> Iterable[str]:
    yield "| script | what it shows |"
    yield "|---|---|"
    for path in sorted((HERE / "faults").glob("*.py")):
        says = ast.get_docstring(ast.parse(path.read_text())) or ""
        yield f"| [{path.stem}](faults/{path.name}) | {_cell(says.splitlines()[0])} |"


def _cell(text: str, most: int = 220) -> str:
    short = text if len(text) <= most else f"{text[:most]}…"
    return short.replace("|", "\\|").replace("\n", " ")
