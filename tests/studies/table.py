"""The tables of README.md, made of the results and the docstrings of the scripts."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable
from typing import Any

from tests.studies.libraries import FAULTS, HERE, LIBRARIES

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
    found = {
        name: json.loads(path.read_text())
        for name in LIBRARIES
        if (path := HERE / "results" / f"{name}.json").exists()
    }
    return "\n".join([*_summary(found), "", *_mismatches(found), "", *_scripts(), ""])


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
    yield "| library | formula | what a report says first | on | script |"
    yield "|---|---|---|---|---|"
    for name, one in found.items():
        told = set()
        for of in one["operators"].values():
            for mismatch in of.get("mismatches", ()):
                formula, says = mismatch["formula"], mismatch["says"]
                script = script_of(name, formula, mismatch["property"])
                if (formula, script) in told:
                    continue
                told.add((formula, script))
                link = f"[{script}](faults/{script}.py)" if script else ""
                yield f"| {name} | {formula} | {_cell(says)} | {_cell(mismatch['call'])} | {link} |"


def script_of(library: str, formula: str, property_name: str) -> str:
    """Return the script that shows a mismatch, "" if there is none."""
    for script, (of, formulas, properties) in FAULTS.items():
        if (
            of == library
            and (not formulas or formula in formulas)
            and (not properties or property_name in properties)
        ):
            return script
    return ""


def _scripts() -> Iterable[str]:
    yield "| script | what it shows |"
    yield "|---|---|"
    for path in sorted((HERE / "faults").glob("*.py")):
        says = ast.get_docstring(ast.parse(path.read_text())) or ""
        yield f"| [{path.stem}](faults/{path.name}) | {_cell(says.splitlines()[0])} |"


def _cell(text: str, most: int = 220) -> str:
    short = text if len(text) <= most else f"{text[:most]}…"
    return short.replace("|", "\\|").replace("\n", " ")
