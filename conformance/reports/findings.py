"""What is wrong, each cause once: where, on which call, why, and how to see it again."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np

from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.reports.certificate import (
    PLAIN,
    Certificate,
    Outcome,
    few,
    mismatch_of,
)
from gradoracle.conformance.reports.mismatch_text import (
    CUT,
    HISTORY,
    LITERAL,
    UNSTEADY,
    written,
)
from gradoracle.conformance.reports.terminal import Look
from gradoracle.oracle.declaration import axes_of

FULL, SHORT = 3, 7  # causes that are told with their calls, and then in a line each
ZEROS = re.compile(r"[.]0(?![0-9])")  # of a float that is an integer
EXPLAINED = re.compile(r"(?<=want )(\S+) \(.*")  # behind an element: how it is known to be wrong
IN_CONTRACT = re.compile(r'contract\["domain"\] = \{.*\} or ')  # a longer way to declare the same
MARGIN = 12  # columns of a title
MOST = 2  # checks that fail on the same answer, by name
HANGING = 60  # columns, from which the lines of a row begin below each other
ALONE = " (not checked)"  # behind the name of a check that needs right answers


@dataclass
class Cause:
    """What several checks found: the first of them, its number, and where else it shows."""

    number: int  # among the mismatches, as `gradoracle replay` counts
    first: Outcome
    others: list[str] = field(default_factory=list)  # functions with the same fault
    again: list[str] = field(default_factory=list)  # properties that the same answer breaks


def causes(c: Certificate) -> list[Cause]:
    """Return the mismatches of a certificate, those of one cause together."""
    found: dict[tuple[str, ...], Cause] = {}
    for number, one in enumerate((o for o in c.outcomes if o.status == "mismatch"), 1):
        key = _key(one)
        same = (cause for cause in found.values() if _is_same(one, cause.first))
        known = found.get(key) or next(same, None) or found.setdefault(key, Cause(number, one))
        if one.formula != known.first.formula and one.formula not in known.others:
            known.others.append(one.formula)
        elif one.formula == known.first.formula and one.property_name != known.first.property_name:
            known.again.append(one.property_name)
    return list(found.values())


def _is_same(one: Outcome, other: Outcome) -> bool:
    """Return whether two checks of a function show the same wrong element."""
    return one.formula == other.formula and one.reason == other.reason


def findings(c: Certificate, look: Look, file: Path | None) -> Iterator[str]:
    """Yield what is wrong: the first causes in full, one of each function, more in a line each."""
    all_ = causes(c)
    first: dict[str, Cause] = {}
    for cause in all_:
        first.setdefault(cause.first.formula, cause)
    full = [*first.values()][:FULL]
    others = [cause for cause in all_ if cause not in full]
    for cause in full:
        yield ""
        yield from _told(cause, look, file)
    if others:
        yield ""
    for cause in others[:SHORT]:
        yield from _headline(cause, look, short=True)
    if len(others) > SHORT:
        yield from look.wrapped(f"and {len(others) - SHORT} more: -v shows them all", rest="")


def _key(one: Outcome) -> tuple[str, ...]:
    """Return what mismatches of one cause have in common; wrong values have causes of their own."""
    if mismatch_of(one).get("element"):
        return one.formula, one.property_name
    return (re.sub(rf"\b{re.escape(one.formula)}\b", "", one.reason),)


def _headline(cause: Cause, look: Look, *, short: bool = False) -> list[str]:
    """Return what is wrong; in short without how it is known."""
    lead, text = f"{cause.number:<3}", cause.first.reason
    if short and mismatch_of(cause.first).get("element"):
        text = EXPLAINED.sub(r"\1", text)
    return look.wrapped(text, "bold", "red", first=lead, rest=" " * len(lead))


def _told(cause: Cause, look: Look, file: Path | None) -> Iterator[str]:
    """Yield the headline, and what explains it under titles."""
    one, told = cause.first, mismatch_of(cause.first)
    yield from _headline(cause, look)
    fails = [name for name in (*one.also, *cause.again) if not name.endswith(ALONE)]
    rows = {
        "answer": [_answer(one.reason, told.get("element") or {})],
        "check": [one.property_name] if one.property_name not in PLAIN else [],
        "also in": [", ".join(cause.others)],
        "looks like": told.get("looks_like", []),
        "call": [call_of(told.get("formula", one.formula), told.get("arguments", {}))],
        "formula": [" ".join(told.get("equation", "").split())],
        "made for": [IN_CONTRACT.sub("", one.domain_hint)],
        "also seen": one.also_seen,
        "fails too": [few(fails, most=MOST)],
        "note": [words for words in (CUT, UNSTEADY, HISTORY) if _says(told, words)],
    }
    rest = " " * (MARGIN + 3 if look.width >= HANGING else 5)
    for title, content in rows.items():
        lead = f"   {title:<{MARGIN}}"
        for text in filter(None, content):
            yield from look.wrapped(text, first=lead, rest=rest)
            lead = " " * len(lead)
    if file is not None:
        replay = f"gradoracle replay {quote(str(file))} {cause.number}"
        text = f"{replay}   (--script prints it as Python)"
        yield from look.wrapped(text, first=f"   {'again':<{MARGIN}}", rest=rest)
    elif told.get("repro"):
        yield from look.command(told["repro"], f"   {'again':<{MARGIN}}", rest)


def _answer(headline: str, element: Mapping[str, Any]) -> str:
    """Return the wrong element, where the headline names another thing; "" of none."""
    if not element or "got " in headline:
        return ""
    index = ", ".join(map(str, element["index"]))
    got, want = (ZEROS.sub("", str(element[name])) for name in ("got", "want"))
    return f"{element['function']}[{index}]: got {got}, want {want}"


def _says(told: Mapping[str, Any], words: str) -> bool:
    return words in " ".join(str(told.get("text", "")).split())


def call_of(formula: str, arguments: Mapping[str, Any]) -> str:
    """Return a call in a line: arrays without axes of size 1, options that are not neutral."""
    arrays, options = [], []
    neutral = _neutral(formula)
    for name, value in arguments.items():
        if isinstance(value, Mapping):
            arrays.append(f"{name} {_array(value)}")
        elif isinstance(value, str) and value.endswith("the script makes"):
            arrays.append(f"{name} {value}")
        elif value is not None and not _is_neutral(value, neutral.get(name)):
            shown = tuple(value) if isinstance(value, list) else value
            options.append(f"{name}={shown}")
    return ", ".join([*arrays, *options])


def _neutral(formula: str) -> Mapping[str, Any]:
    known = {f.__name__: f for operator in OPERATORS for f in operator.formulas}
    return axes_of(known[formula]).neutral if formula in known else {}


def _is_neutral(value: Any, neutral: Any) -> bool:
    sides = value if isinstance(value, list) else [value]
    return neutral is not None and all(side == neutral for side in sides)


def _array(told: Mapping[str, Any]) -> str:
    """Return an array as it is written in a line: dtype, shape, and what is in it."""
    numbers = [float(v) if isinstance(v, str) else v for v in told["data"]]
    array = np.array(numbers).reshape(told["shape"])
    if array.size <= LITERAL:
        array = array.reshape([size for size in array.shape if size != 1])
    return f"{told['dtype']}{told['shape']} = {ZEROS.sub('', written(array))}"
