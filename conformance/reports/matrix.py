"""What was checked of each function, as a table: a row per function, a column per group."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import floor
from typing import NamedTuple

from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.reports.certificate import (
    ALSO_FAILS,
    UNCLAIMED,
    UNJUDGED,
    Certificate,
    Outcome,
)
from gradoracle.conformance.reports.terminal import Look

# The groups of properties: a word for each, a short one, and the properties.
GROUPS = (
    ("values", "values", ("matches_oracle", "within_rounding_bound", "matches_torch",
                          "forms_agree", "returns_what_the_protocol_says", "writes_into_out",
                          "selects_by_output_mask")),
    ("gradients", "grad", ("gradient_is_the_slope", "finite_differences", "network_backward",
                           "network_matches_torch", "matches_forward_mode",
                           "matches_double_backward", "graph_backward")),
    ("relations", "rel", ("linear", "batch_independent", "is_batch_invariant", "equivariant",
                          "is_adjoint", "points_at_the_maximum",
                          "passes_every_gradient_on_once")),
    ("layout", "layout", ("ignores_memory_layout",)),
    ("state", "state", ("is_stateless", "is_deterministic", "is_thread_safe",
                        "leaves_inputs_unchanged")),
    ("special", "spec", ("propagates_non_finite", "keeps_subnormals", "rejects_bad_arguments")),
    ("layers", "layer", ("holds_at_scale",)),
)  # fmt: skip
OFFERED = (
    "writes_into_out", "selects_by_output_mask", "matches_forward_mode", "matches_double_backward",
    "is_batch_invariant", "is_thread_safe",
)  # fmt: skip
GROUP_OF = {name: word for word, _, names in GROUPS for name in names}
FAILED, PASSED, NOT_RUN, KNOWN, UNSURE = "FAIL", "ok", "-", "dev", "?"
PAINT = {FAILED: ("bold", "red"), PASSED: ("green",), KNOWN: ("yellow",), UNSURE: ("red",)}
MEANINGS = {
    KNOWN: "a known deviation",
    UNSURE: "no answer was checked, or wrong ones would pass",
}
IN_WORDS = {NOT_RUN: "not run", KNOWN: "known deviation"}  # where there is room
MOST = 12  # rows of functions, beyond which a row is an operator
TABLE = 76  # columns that the table takes
WIDE = 104  # columns from which the groups have their whole words
BAR = (3, 10)  # columns of a bar, at least and at most


@dataclass(frozen=True)
class Row:
    """One function, or one operator with several."""

    name: str
    calls: int
    worst: float
    cells: Mapping[str, str]  # by group: FAILED, PASSED, ...; none where it has no such check

    @classmethod
    def of(cls, name: str, outcomes: Sequence[Outcome]) -> Row:
        """Return the row of some outcomes."""
        groups: dict[str, list[Outcome]] = {}
        for one in (one for one in outcomes if not is_not_offered(one)):
            groups.setdefault(GROUP_OF.get(one.property_name, ""), []).append(one)
        worst = max((one.worst_error_over_bound for one in outcomes), default=0.0)
        cells = {group: _cell(found) for group, found in groups.items()}
        return cls(name, sum(one.judged for one in outcomes), worst, cells)

    @property
    def error(self) -> str:
        """The largest error as a share of its bound, cut off; 0 where nothing rounds."""
        if self.worst > 1:
            return ">1"
        return f"{floor(100 * self.worst) / 100:.2f}" if self.worst else "0" * bool(self.calls)


def operator_of() -> dict[str, str]:
    """Return the name of every formula's operator."""
    return {f.__name__: operator.name for operator in OPERATORS for f in operator.formulas}


def claimed(c: Certificate) -> dict[str, list[Outcome]]:
    """Return the outcomes of every function that the backend has, by its name."""
    found: dict[str, list[Outcome]] = {}
    for one in c.outcomes:
        found.setdefault(one.formula, []).append(one)
    return {
        name: outcomes
        for name, outcomes in found.items()
        if any(one.status != UNCLAIMED for one in outcomes)
    }


def rows(c: Certificate) -> tuple[str, list[Row]]:
    """Return what a row is, and the rows: of functions, or of operators where those are many."""
    functions = claimed(c)
    if len(functions) <= MOST:
        return "function", [Row.of(name, found) for name, found in functions.items()]
    homes, operators = operator_of(), dict[str, list[str]]()
    for name in functions:
        operators.setdefault(homes.get(name, name), []).append(name)
    return "operator (functions)", [
        Row.of(f"{home} ({len(names)})", [one for name in names for one in functions[name]])
        for home, names in operators.items()
    ]


def matrix(c: Certificate, look: Look) -> Iterator[str]:
    """Yield the lines of the table, and what the marks in it mean."""
    title, all_ = rows(c)
    if not all_:
        return
    yield from _table(title, all_, look) if look.width >= TABLE else _list(all_, look)
    marks = {cell for row in all_ for cell in row.cells.values()}
    told = "; ".join(f"{mark} {words}" for mark, words in MEANINGS.items() if mark in marks)
    yield from look.wrapped(told, "dim", rest="")


def is_not_offered(outcome: Outcome) -> bool:
    """Return whether a check is of what a backend need not offer, and this one does not."""
    return outcome.status == UNCLAIMED and outcome.property_name in OFFERED


def _cell(outcomes: Iterable[Outcome]) -> str:
    statuses = {one.status for one in outcomes}
    if statuses & {"mismatch", ALSO_FAILS}:
        return FAILED
    if statuses & {*UNJUDGED}:
        return UNSURE
    if "deviation" in statuses:
        return KNOWN
    return PASSED if "passed" in statuses else NOT_RUN


class _Columns(NamedTuple):
    """How wide the parts of a table are; a bar of 0 columns is left out."""

    name: int
    bar: int
    calls: int
    groups: Sequence[tuple[str, str, int]]  # their words, as shown, and columns

    @classmethod
    def of(cls, title: str, all_: Sequence[Row], look: Look) -> _Columns:
        """Return what fits: short words of groups where it is narrow, and a bar last of all."""
        words = [(word, word if look.width >= WIDE else short) for word, short, _ in GROUPS]
        groups = [(word, shown, max(len(shown), len(FAILED))) for word, shown in words]
        calls = max(len("calls"), *(len(f"{row.calls:,}") for row in all_))
        room = look.width - calls - len(" worst") - sum(width + 1 for *_, width in groups) - 1
        longest = max(len(title), *(len(row.name) for row in all_))
        bar = min(BAR[1], room - longest - 1)
        bar = bar if bar >= BAR[0] else 0
        return cls(min(longest, room - bar - bool(bar)), bar, calls, groups)


def _table(title: str, all_: Sequence[Row], look: Look) -> Iterator[str]:
    """Yield a row per line: name, bar and number of the calls, worst error, a cell per group."""
    columns = _Columns.of(title, all_, look)
    calls = "calls".rjust(columns.bar + bool(columns.bar) + columns.calls)
    heads = " ".join(f"{shown:^{width}}" for _, shown, width in columns.groups)
    head = f"{title[: columns.name]:<{columns.name}} {calls} worst {heads}"
    yield look.paint(head.rstrip(), "bold")
    most = max(row.calls for row in all_)
    for row in all_:
        name = row.name
        if len(name) > columns.name:
            yield name
            name = ""
        share = row.calls / most if most else 0.0
        bar = f"{look.paint(look.bar(share, columns.bar), 'cyan')} " if columns.bar else ""
        yield (
            f"{name:<{columns.name}} {bar}{row.calls:>{columns.calls},} {row.error:>5}"
            f"{_cells(row, columns, look)}"
        )


def _cells(row: Row, columns: _Columns, look: Look) -> str:
    """Return the marks of a row, each in the middle of its column."""
    told = ""
    for word, _, width in columns.groups:
        cell = row.cells.get(word, "")
        told += f" {cell:^{width}}".replace(
            cell or " ", look.paint(cell, *PAINT.get(cell, ())) or " "
        )
    return told.rstrip()


def _list(all_: Sequence[Row], look: Look) -> Iterator[str]:
    """Yield a row as a sentence, for narrow screens."""
    for row in all_:
        states: dict[str, list[str]] = {}
        for word, _, _ in GROUPS:
            if cell := row.cells.get(word):
                states.setdefault(cell, []).append(word)
        told = "; ".join(
            f"{IN_WORDS.get(cell, cell)} {', '.join(states[cell])}"
            for cell in (FAILED, UNSURE, KNOWN, PASSED, NOT_RUN)
            if cell in states
        )
        worst = f", worst {row.error}" if row.error else ""
        style = ("red",) if FAILED in states else ()
        yield from look.wrapped(f"{row.name}: {row.calls:,} calls{worst}; {told}", *style)
