"""A certificate as Markdown, for the page that GitHub shows of a job."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gradoracle.conformance.reports.certificate import (
    UNCLAIMED,
    Certificate,
    FoundMismatch,
    Outcome,
)
from gradoracle.conformance.reports.formats import place

MOST = 10  # mismatches that are told in full: GitHub shows 1 MiB of a step
LITERAL = 32  # elements of an array that are written out
HEAD = "| function | calls | worst error / bound | result |\n| --- | ---: | ---: | --- |"


def markdown(certificates: Sequence[Certificate]) -> str:
    """Return the verdicts, the tables of functions and the smallest counterexamples."""
    return "\n\n".join(part for one in certificates for part in _parts(one)) + "\n"


def _parts(one: Certificate) -> Iterator[str]:
    yield f"## {_inline(one.backend)}"
    yield f"**{_plain(one.in_full)}** ({_plain(one.level)})"
    rows = [*_rows(one)]
    if rows:
        yield "\n".join([HEAD, *rows])
    for sentence in one.stale:
        yield f"Stale deviation: {_plain(sentence)}"
    for found in one.mismatches[:MOST]:
        yield from _finding(one, found)
    more = len(one.mismatches) - MOST
    if more > 0:
        yield f"and {more} more mismatches; the certificate has all"


def _rows(one: Certificate) -> Iterator[str]:
    formulas: dict[str, list[Outcome]] = {}
    for outcome in one.outcomes:
        if outcome.status != UNCLAIMED:
            formulas.setdefault(outcome.formula, []).append(outcome)
    for formula, outcomes in formulas.items():
        calls = sum(o.judged for o in outcomes)
        worst = max(o.worst_error_over_bound for o in outcomes)
        yield f"| `{formula}` | {calls} | {worst:.2g} | {_result(outcomes)} |"


def _result(outcomes: Sequence[Outcome]) -> str:
    """Return what came of a function's checks: those that did not pass, by how they ended."""
    left: dict[str, list[str]] = {}
    for one in outcomes:
        if one.status not in ("passed", "not run"):
            left.setdefault(one.status, []).append(f"`{one.property_name}`")
    if not left:
        return "holds" if any(one.judged for one in outcomes) else "not run"
    return "; ".join(f"{status}: {', '.join(names)}" for status, names in left.items())


def _finding(one: Certificate, found: FoundMismatch) -> Iterator[str]:
    at = place(one, found.formula, found.function)
    where = f" ({_inline('{file}:{line}'.format(**at))})" if at else ""
    yield f"### `{found.formula}` breaks `{found.property_name}`{where}"
    call = [f"{name} = {_argument(value)}" for name, value in found.arguments.items()]
    yield _fenced("\n".join([found.headline, *call]))
    if found.looks_like:
        yield f"Looks like: {_plain('; '.join(found.looks_like))}"
    if found.repro:
        yield f"Repeat it with\n\n{_fenced(found.repro)}"


def _argument(value: Any) -> str:
    if not isinstance(value, dict) or "data" not in value:
        return str(value)
    kind = f"{value['dtype']}{value['shape']}"
    if len(value["data"]) > LITERAL:
        return f"{kind}, {len(value['data'])} elements"
    return f"{kind} {np.array(value['data'], object).reshape(value['shape']).tolist()}"


def _fenced(text: str) -> str:
    """Return a block of code that no text can end."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def _inline(text: str) -> str:
    return f"`{_plain(text, escaped='')}`".replace("|", "\\|")


def _plain(text: str, escaped: str = "\\`*_{}[]<>#|~") -> str:
    """Return a line of text in which nothing is Markdown; a name in backticks has no backtick."""
    line = " ".join(text.split())
    return (
        "".join(f"\\{c}" if c in escaped else c for c in line)
        if escaped
        else line.replace("`", "'")
    )
