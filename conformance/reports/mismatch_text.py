"""What a mismatch is told as: what is wrong, where, why, and how to see it again.

The script needs nothing but NumPy and the backend: its arrays are written out.
"""

from __future__ import annotations

import os
import re
import shlex
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import numpy as np

from gradoracle.conformance import DOMAIN, OPERATORS_FROM, POLICIES
from gradoracle.conformance.backends.backend import Backend
from gradoracle.conformance.backends.caller import describe
from gradoracle.conformance.backends.conventions import as_given
from gradoracle.conformance.backends.mismatch import Answer, Mismatch
from gradoracle.conformance.drawing.profiles import PROFILES
from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.properties import Property
from gradoracle.conformance.properties.comparison import Verdict, truth_of, verdict, wanted
from gradoracle.conformance.reports.python_call import check_call, has_own
from gradoracle.conformance.reports.reproducer import IN_SEQUENCE, script
from gradoracle.conformance.scale.data import LayerCall
from gradoracle.oracle.chains.links import Node
from gradoracle.oracle.declaration import (
    Call,
    Formula,
    argument_names,
    displayed,
    is_place,
    output_of,
)
from gradoracle.oracle.expected.exact import MultilinearTruth
from gradoracle.oracle.expected.truth import answer_dtype, answer_shape, data_dtype, format_of
from gradoracle.oracle.float_formats import is_real
from gradoracle.oracle.formulas.conventions import under
from gradoracle.oracle.shapes import Array

WIDTH = 100
LARGE = 1e10  # numbers below are written out
SHOWN = 4  # wrong elements listed
SELECTABLE = re.compile(r"[\w:+\-.\[\]\\/@]+")  # names that pytest's -k can have
LITERAL = 24  # elements written out in a report
KEPT, AROUND = 1024, 8  # elements of an answer that are kept; of a larger one so many around one


@dataclass
class Finding:
    """Everything known about one broken property."""

    backend: Backend
    operator: Operator
    formula: Formula
    property: Property
    seed: int
    examples: int
    call: Call
    mismatch: Mismatch
    answers: list[Answer]  # to the minimal call
    blamed: list[Answer]  # those of them that are not what their formula gives
    looks_like: list[str]  # what explains them and others
    unsteady: bool  # the same call broke the property once and kept it once
    at_scale: bool = False
    history: bool = False  # a fresh process answers the same call rightly
    cut: bool = False  # there was no time to make the call as small as it gets
    plain: bool = False  # the plain answer is wrong, whatever the property is about
    also_seen: list[str] = field(default_factory=list)  # headlines of other kinds
    recognised: str = ""  # the line that says which other convention explains it


@dataclass
class MismatchReport:
    """A mismatch as data and as text; part of the certificate."""

    headline: str
    formula: str  # the one that is wrong, as far as can be told
    equation: str
    source: str
    sentence: str  # the property
    arguments: dict[str, Any]
    nonzeros: dict[str, int]
    looks_like: list[str] = field(default_factory=list)
    repro: str = ""
    script: str = ""
    text: str = ""
    replay: dict[str, Any] | None = None  # the check and its call, as `counterexample` writes them
    element: dict[str, Any] | None = None  # the first wrong one, where an answer has some
    compared: dict[str, Any] | None = None  # the answer around it and the right one


def report(finding: Finding) -> MismatchReport:
    """Return the report of a finding."""
    blamed = finding.blamed
    formula = blamed[0].formula if blamed else finding.formula
    call = finding.mismatch.call or (blamed[0].call if blamed else finding.call)
    policies = finding.backend.contract.policies
    equation, source = displayed(under(policies, formula, call)[0])
    shown = as_given(policies, call)
    names = [name for part in argument_names(formula) for name in part]
    arrays = {n: shown[n] for n in names if isinstance(shown[n], np.ndarray)}
    in_sequence = finding.property.name in IN_SEQUENCE and not finding.plain
    result = MismatchReport(
        headline=finding.recognised or finding.mismatch.headline,
        formula=formula.__name__,
        equation=equation,
        source=source,
        sentence=finding.property.sentence,
        arguments={n: _plain(shown[n], seeded=isinstance(call, LayerCall)) for n in names},
        nonzeros={n: int(np.count_nonzero(a)) for n, a in arrays.items()},
        looks_like=finding.looks_like,
        repro=_repro(finding),
        script=script(
            finding.backend, "matches_oracle" if finding.plain else finding.property.name,
            finding.formula, finding.call,
            finding.answers if in_sequence else blamed or finding.answers, finding.mismatch,
        ),
    )  # fmt: skip
    result.text = _text(finding, result, shown, blamed)
    result.element = _element(finding.backend, blamed[0]) if blamed else None
    if result.element is not None:
        result.compared = compared(finding.backend, blamed[0], result.element["index"])
    return result


def _repro(finding: Finding) -> str:
    """Return the line that draws the same calls again: the seed and the count decide them."""
    backend, name, seed, examples = (
        finding.backend,
        finding.backend.name,
        finding.seed,
        finding.examples,
    )
    profile = next((p for p, count in PROFILES.items() if count == examples), None)
    own = [finding.formula.__name__] if has_own([finding.formula.__name__]) else []
    in_program = bool(own or backend.text or not backend.path)
    if in_program or profile is None:
        call = check_call(
            name, seed=seed, examples=examples, formulas=own, at_scale=finding.at_scale,
            in_process=not backend.path,
        )  # fmt: skip
        return call if in_program else f'python -c "import gradoracle; print({call})"'
    option = "" if profile == "certify" else f" --hypothesis-profile {profile}"
    option += " --at-scale" if finding.at_scale else ""
    if brought := os.environ.get(OPERATORS_FROM):
        option += f" --operators-from {brought}"
    if restricted := os.environ.get(DOMAIN):
        option += f" --domain {shlex.quote(restricted)}"
    if claimed := os.environ.get(POLICIES):
        option += f" --policy {shlex.quote(claimed)}"
    quoted = shlex.quote(name)
    line = f"pytest --pyargs gradoracle.conformance --backend {quoted} --seed {seed}{option}"
    if finding.history:  # what was asked before has a part in it
        return line
    of_one = f"{name}-" if SELECTABLE.fullmatch(name) else ""
    return f"{line} -k {of_one}{finding.formula.__name__}-{finding.property.name}"


def _text(finding: Finding, result: MismatchReport, call: Call, blamed: list[Answer]) -> str:
    rows = [
        ("on this call", [finding.mismatch.headline] if finding.recognised else []),
        ("small call" if finding.cut else "minimal call", _call_lines(result, call)),
        ("not minimal", [CUT] if finding.cut else []),
        ("wrong", _wrong_lines(finding.backend, blamed[0]) if blamed else []),
        ("exact", _exact_lines(finding.backend, blamed[0]) if blamed else []),
        ("property", [f"{finding.property.name}: {result.sentence}"]),
        ("formula", [*result.equation.splitlines(), f"({result.source})"]),
        ("looks like", result.looks_like),
        ("also seen", finding.also_seen),
        ("unsteady", [UNSTEADY] if finding.unsteady else []),
        ("state", [HISTORY] if finding.history else []),
        ("again", [result.repro]),
    ]
    lines = [
        f"{finding.backend.name} breaks {finding.property.name}",
        f"  {result.headline}",
        *(line for title, content in rows for line in row(title, content)),
        "  script        needs NumPy and the backend only:",
        textwrap.indent(result.script.rstrip(), "    "),
    ]
    return "\n".join(lines)


CUT = "each smaller call took so long that not all were tried"

UNSTEADY = (
    "the same call broke the property once and kept it another time: the backend's answers "
    "depend on more than its arguments (state, uninitialised memory, a race)"
)


HISTORY = (
    "asked for this alone, a fresh process was right: calls before it have left something behind, "
    "so the script may show nothing; the whole run does"
)


def row(title: str, content: list[str]) -> list[str]:
    """Return lines under a title in the margin, long ones wrapped."""
    lines = []
    for text in content:
        lines += textwrap.wrap(
            text, WIDTH - 16, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
        )
    return [f"  {title if i == 0 else '':<14}{line}" for i, line in enumerate(lines)]


def _call_lines(result: MismatchReport, call: Call) -> list[str]:
    """Return the arguments: each array on a line, the options together on the last."""
    lines, nodes, options = [], [], []
    for name in result.arguments:
        value = call[name]
        if isinstance(value, np.ndarray):
            lines.append(f"{name} {value.dtype}{[*value.shape]} = {written(value)}")
        elif _is_graph(value):
            nodes += [f"v{at} = {one.written(call)}" for at, one in enumerate(value, 1)]
        elif value is not None or not any(map(_is_graph, call.values())):
            options.append(f"{name}={value}")
    return [*lines, *nodes, *([", ".join(options)] if options else [])]


def _is_graph(value: Any) -> bool:
    """Return whether an option is the nodes of a graph; its unused arrays are not printed."""
    return isinstance(value, tuple) and bool(value) and isinstance(value[0], Node)


def in_a_line(formula: Formula, call: Call) -> str:
    """Return a call's arguments without the numbers in its arrays."""
    names = [name for part in argument_names(formula) for name in part if name in call]
    if any(map(_is_graph, call.values())):
        names = [name for name in names if call[name] is not None]
    return ", ".join(
        f"{name} {describe(value)}" if isinstance(value, np.ndarray) else f"{name}={value}"
        for name, value in ((name, call[name]) for name in names)
    )


def written(array: Array) -> str:
    """Return an array in a line: few elements all, of more the few that are not zero."""
    if array.size <= LITERAL:
        return " ".join(str(array.tolist()).split())
    hot = np.flatnonzero(array)
    if not hot.size:
        return "zeros"
    if hot.size <= SHOWN:
        places = [np.unravel_index(i, array.shape) for i in hot]
        return "zeros but " + ", ".join(
            f"[{', '.join(map(str, at))}] = {array[at]:g}" for at in places
        )
    return f"{hot.size} nonzero elements, see the script"


def _wrong_lines(backend: Backend, answer: Answer) -> list[str]:
    """Return the first elements of an answer that the verdict finds wrong, got and want."""
    if answer.value is None:
        return []
    formula, got, name = answer.formula, answer.value, answer.formula.__name__
    shape, dtype = answer_shape(formula, answer.call), answer_dtype(formula, answer.call)
    if got.shape != shape:
        return [f"{name}: got shape {[*got.shape]}, want {[*shape]}"]
    if not _is_numbers(got):
        return [f"{name}: got {got.dtype.name} elements, not numbers"]
    judged = verdict(backend, formula, answer.call, got)
    return wrong_elements(formula, got, judged, dtype)


def _exact_lines(backend: Backend, answer: Answer) -> list[str]:
    """Return why an answer must equal the exact one, where its formula is a sum of products."""
    got, formula = answer.value, answer.formula
    if got is None or got.shape != answer_shape(formula, answer.call) or not is_real(got.dtype):
        return []
    right, name = truth_of(backend, formula, answer.call), format_of(answer.call)
    accumulator = backend.contract.accumulator(name)
    if not isinstance(right, MultilinearTruth) or not right.is_exact(name, accumulator):
        return []
    largest, step, limit = map(_counted, right.room(accumulator))
    told = f"its terms add up to at most {largest} in magnitude, in steps of {step}"
    return [f"{told}: {accumulator} holds every such sum up to {limit}"]


def _counted(number: float) -> str:
    return f"{number:,.0f}" if number.is_integer() and number < LARGE else f"{number:g}"


def _is_numbers(got: Array) -> bool:
    return got.dtype.kind in "iub" or is_real(got.dtype)


def _element(backend: Backend, answer: Answer) -> dict[str, Any] | None:
    """Return the first wrong element of an answer: its place, got, want and how far off it may be.

    None where the answer has another shape, or none of its elements is wrong by itself.
    """
    formula, got = answer.formula, answer.value
    if got is None or got.shape != answer_shape(formula, answer.call) or not _is_numbers(got):
        return None
    judged = verdict(backend, formula, answer.call, got)
    places = np.argwhere(judged.wrong)
    if not places.size and not judged.wrong.any():
        return None
    place, name = tuple(places[0].tolist()), data_dtype(answer.call).name
    want = judged.right.as_float(np.dtype(np.float64))[place]
    bound = 0.0
    if not judged.exact:
        bound = judged.right.bound(name, backend.contract.accumulator(name))[place]
    numbers = {"got": got[place], "want": want, "allowed": bound}
    return {
        "function": output_of(formula).function,
        "index": [*place],
        **{n: float(v) if isfinite(v) else str(float(v)) for n, v in numbers.items()},
    }


def compared(backend: Backend, answer: Answer, index: Sequence[int]) -> dict[str, Any] | None:
    """Return an answer, what is right and which elements are wrong, of a large one around one."""
    got = answer.value
    if got is None:
        return None
    judged = verdict(backend, answer.formula, answer.call, got)
    part = tuple(slice(0, side) for side in got.shape)
    if got.size > KEPT:
        part = tuple(
            slice(max(0, at - AROUND), at + AROUND + 1) if back <= 2 else slice(at, at + 1)
            for back, at in zip(range(got.ndim, 0, -1), index, strict=True)
        )
    kind = got.dtype if is_place(answer.formula) else np.dtype(np.float64)
    arrays = {"got": got, "want": judged.right.as_float(kind), "wrong": judged.wrong}
    start = [one.start for one in part]
    cut = {name: _plain(np.asarray(of[part]), seeded=False) for name, of in arrays.items()}
    return {"shape": [*got.shape], "start": start, **cut}


def wrong_elements(
    formula: Formula, got: Array, judged: Verdict, dtype: np.dtype[np.generic]
) -> list[str]:
    """Return the first wrong elements of an answer, which should be of `dtype`: got and want."""
    given = got.dtype if judged.exact and got.dtype == dtype else np.dtype(np.float64)
    places = np.argwhere(judged.wrong)
    lines = []
    for at in places[:SHOWN]:
        place = tuple(at.tolist())
        want, where = wanted(judged.right, place, given), ", ".join(map(str, place))
        lines.append(f"{formula.__name__}[{where}]: got {got[place]}, want {want}")
    more = len(places) - SHOWN
    return [*lines, f"and {more} more"] if more > 0 else lines


def _plain(value: Any, *, seeded: bool) -> Any:
    """Return an argument as JSON can hold it: it has no NaN and no infinities.

    An array that a seed makes is said to be, and its numbers are in the script.
    """
    if isinstance(value, np.ndarray) and seeded:
        return f"{describe(value)}, which the script makes"
    if isinstance(value, np.ndarray):
        data = [v if isfinite(v) else str(v) for v in value.ravel().tolist()]
        return {"dtype": value.dtype.name, "shape": [*value.shape], "data": data}
    return [*value] if isinstance(value, tuple) else value
