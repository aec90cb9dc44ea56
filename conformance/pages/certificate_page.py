"""A certificate as a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from gradoracle.conformance.drawing.coverage import Covered
from gradoracle.conformance.pages import charts, render
from gradoracle.conformance.pages.findings import Finding, findings
from gradoracle.conformance.reports import screen
from gradoracle.conformance.reports.certificate import REPEATS, UNCLAIMED, Certificate, Outcome

LARGEST = 8  # errors that are listed


class Cell(NamedTuple):
    """What came of a check, in the matrix: a class, a few letters and a sentence."""

    css: str
    text: str
    title: str
    share: float = 0.0  # of the bound
    link: str = ""


class Row(NamedTuple):
    """The checks of a formula."""

    formula: str
    cells: list[Cell | None]
    calls: int
    worst: float


class Coverage(NamedTuple):
    """How many combinations of option classes of a kind were met, in how many checks."""

    name: str
    text: str
    checks: int
    share: float


def certificate_page(
    certificate: Certificate,
    file: str = "certificate.json",
    repeated: screen.Repeated = screen.NO_OPTIONS,
) -> str:
    """Return a certificate as a page of HTML; `file` is what its JSON is called.

    `repeated` is of the command line, which the next command has again.

    Raises:
        ImportError: Jinja2 is not installed.
    """
    c, found = certificate, findings(certificate)
    properties = list(dict.fromkeys(o.property_name for o in c.outcomes if o.status != UNCLAIMED))
    return render.page(
        "certificate.html", c=c, file=file, findings=found, properties=properties,
        rows=rows(c.outcomes, properties, found), figures=_figures(c), errors=_errors(c),
        largest=_largest(c), strata=strata(c), sizes=_sizes(c), coverage=_coverage(c),
        state=state(c), left_out=[*screen.not_checked(c)], next=screen.next_step(c, repeated),
        pill=pill(c), text=c.text(),
    )  # fmt: skip


def state(c: Certificate) -> str:
    """Return the class of a certificate's verdict."""
    if not c.as_claimed:
        return "bad"
    return "ok" if c.passed and not c.is_short else "known"


def pill(c: Certificate) -> str:
    """Return the verdict in the few words that stand above the others."""
    if not c.as_claimed:
        return "not certified"
    but = "" if c.passed else " but for known deviations"
    return f"certified{but}{f' ({c.profile})' if c.is_short else ''}"


def rows(
    outcomes: Sequence[Outcome], properties: Sequence[str], found: Sequence[Finding] = ()
) -> list[Row]:
    """Return the matrix of checks: a row per formula that is claimed."""
    numbers = {(f.outcome.formula, f.outcome.property_name): f.number for f in found}
    by_formula: dict[str, dict[str, Outcome]] = {}
    for one in outcomes:
        if one.status != UNCLAIMED:
            by_formula.setdefault(one.formula, {})[one.property_name] = one
    return [
        Row(
            formula,
            [cell(of[p], numbers.get((formula, p))) if p in of else None for p in properties],
            sum(one.judged for one in of.values()),
            max(one.worst_error_over_bound for one in of.values()),
        )
        for formula, of in by_formula.items()
    ]


WORDS = {"deviation": ("known", "△"), "also fails": ("also", "↳"), "not checked": ("none", "n/c")}


def cell(one: Outcome, finding: int | None = None) -> Cell:
    """Return a cell of the matrix."""
    title = f"{one.formula}, {one.property_name}: {one.verdict}"
    if one.status == "passed":
        share = one.worst_error_over_bound
        more = f"; largest error {share:.3f} of the bound" if share else ""
        return Cell("ok", f"{one.judged}", f"{title}{more}", min(share, 1.0))
    if one.status == "mismatch":
        return Cell("bad", "✕", title, link=f"#finding-{finding}" if finding else "")
    css, text = WORDS.get(one.status, ("none", "-"))
    return Cell(css, text, f"{title}: {one.reason}")


def _figures(c: Certificate) -> list[tuple[str, str, str]]:
    """Return the numbers beside the verdict, each with the words before and behind it."""
    claimed = {o.formula for o in c.outcomes if o.status != UNCLAIMED}
    wrong = {o.formula for o in c.outcomes if o.status in ("mismatch", *REPEATS)}
    worst = max((o.worst_error_over_bound for o in c.outcomes), default=0.0)
    planted = sum(o.planted for o in c.outcomes)
    figures = [
        ("", f"{len(c.mismatches)}", "mismatch" if len(c.mismatches) == 1 else "mismatches"),
        ("", f"{len(claimed - wrong)} of {len(claimed)}", "formulas hold"),
        ("", f"{sum(o.judged for o in c.outcomes):,}", "calls checked"),
        ("largest error:", f"{worst:.3f}" if worst else "0", "of its bound"),
    ]
    return [*figures, ("", f"{planted:,}", screen.caught(planted))] if planted else figures


def _errors(c: Certificate) -> list[tuple[str, int, str]]:
    """Return the calls of each dtype by error over bound: dtype, calls, picture."""
    total: dict[str, list[int]] = {}
    for one in c.outcomes:
        for dtype, counts in one.errors.items():
            so_far = total.get(dtype, [0] * len(counts))
            total[dtype] = [a + b for a, b in zip(so_far, counts, strict=True)]
    return [
        (dtype, sum(counts), charts.bars(counts, f"{dtype}: calls by tenths of the bound"))
        for dtype, counts in total.items()
    ]


def _largest(c: Certificate) -> list[Outcome]:
    some = [one for one in c.outcomes if one.worst_error_over_bound]
    return sorted(some, key=lambda o: -o.worst_error_over_bound)[:LARGEST]


def strata(c: Certificate) -> tuple[list[str], dict[str, list[int]]]:
    """Return the strata that calls were drawn from, and the calls of each dtype in each."""
    count: Counter[tuple[str, str]] = Counter()
    for one in c.outcomes:
        for dtype, calls in one.calls.items():
            count.update({(dtype, stratum): number for stratum, number in calls.items()})
    names = list(dict.fromkeys(stratum for _, stratum in count))
    dtypes = dict.fromkeys(dtype for dtype, _ in count)
    return names, {dtype: [count[dtype, name] for name in names] for dtype in dtypes}


def _sizes(c: Certificate) -> list[tuple[str, str]]:
    """Return in how many sizes and layouts the calls came, as far as the certificate says."""
    layers = list(dict.fromkeys(layer for one in c.outcomes for layer in one.layers))
    laid = sum(o.judged for o in c.outcomes if o.property_name == "ignores_memory_layout")
    left = sum(one.layers_left for one in c.outcomes)
    found = {
        "geometries": f"{max((o.shapes for o in c.outcomes), default=0)} in a check at most",
        "memory layouts": f"{laid:,} calls" if laid else "",
        "layers of real networks": "; ".join(layers),
        "layers that are left": f"{left:,}; --at-scale checks them" if left else "",
    }
    return [(name, text) for name, text in found.items() if text]


def _coverage(c: Certificate) -> list[Coverage]:
    """Return the combinations of option classes that checks met, by kind, the least share first."""
    met: dict[str, list[Covered]] = {}
    for one in c.outcomes:
        for each in (Covered(**content) for content in one.covered):
            met.setdefault(f"{one.formula.partition('_grad')[0]}: {each.name}", []).append(each)
    found = []
    for name, some in met.items():
        most = max(some, key=lambda each: (each.met / max(1, each.possible), each.possible))
        share = most.met / max(1, most.possible)
        found.append(Coverage(name, most.text, len(some), min(share, 1.0)))
    return sorted(found, key=lambda one: (one.share, one.name))
