"""Certificates as text."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from math import floor
from typing import Any

from gradoracle.conformance.backends.contract import POLICIES
from gradoracle.conformance.drawing.coverage import Covered
from gradoracle.conformance.reports.certificate import (
    ALSO_FAILS,
    FEW,
    FOUND,
    NOT_CHECKED,
    REPEATS,
    UNCLAIMED,
    WITNESSES,
    Campaign,
    Certificate,
    Outcome,
    Showed,
    declines_of,
    listed,
)
from gradoracle.conformance.reports.chance import likeliest
from gradoracle.conformance.reports.matrix import operator_of

SHORT = {ALSO_FAILS: "also", NOT_CHECKED: "n/c"}  # in the table
LITTLE_TAKEN = 0.2  # share of calls, below which a declared domain would serve better
TABLE = "calls checked"
PAGE = 98  # columns of a sentence, at most
NOTHING = "-"  # in the table, where a claim is not made
ALWAYS_TOLD = ("ties", "nan", "repeats", "non_finite", "subnormals")  # policies
SHOUTED = {"mismatch": "WRONG", "deviation": "DEVIATES"}


class _Paragraph(str):
    """A line that is wrapped by words, its first line less indented than the others."""

    __slots__ = ()


def lines(c: Certificate, width: int | None = None) -> Iterator[str]:
    """Yield everything that a certificate counts, as lines of at most `width` columns.

    Without a width sentences are wrapped for a page, and lists and the table are a line each.
    """
    for line in _lines(c, width):
        if isinstance(line, _Paragraph) or (width is not None and len(line) > width):
            yield from textwrap.wrap(
                line, min(width or PAGE, PAGE), subsequent_indent="    ", break_on_hyphens=False,
                break_long_words=False,
            )  # fmt: skip
        else:
            yield line


def _lines(c: Certificate, width: int | None) -> Iterator[str]:
    yield f"certificate of {c.backend} ({c.origin})"
    verdict = f"{c.verdict} ({c.level})"
    yield from _wrapped(verdict) if c.domain else [f"  {verdict}"]
    yield from _hints(c)
    yield from _deviations(c)
    yield from _table(c.outcomes, width)
    yield from _summary(c, short=width is not None)


def _hints(c: Certificate) -> Iterable[str]:
    """Yield which domains functions seem to be made for, the widest check's of each."""
    found: dict[str, str] = {}
    for one in c.outcomes:
        if one.domain_hint:
            found.setdefault(one.formula, one.domain_hint)
    for formula, hint in found.items():
        yield from _wrapped(f"{formula} {hint}")
    for sentence in few_taken(c):
        yield from _wrapped(sentence)


def few_taken(c: Certificate) -> Iterator[str]:
    """Yield which functions would be served better by a declared domain."""
    few = [name for name, (took, asked) in c.supported.items() if took < LITTLE_TAKEN * asked]
    if few:
        yield (
            f"supports() accepts few calls of {', '.join(few)}: declare what you can of that as "
            'contract["domain"], so that calls are drawn inside it'
        )


def _deviations(c: Certificate) -> Iterable[str]:
    """Yield what is known to be wrong, under its reason, and what is listed for nothing."""
    reasons: dict[tuple[str, str], list[Outcome]] = {}
    for one in c.deviations:
        reasons.setdefault((one.formula, one.deviation), []).append(one)
    for (formula, reason), found in reasons.items():
        yield f"  KNOWN DEVIATION of {formula}: {reason}"
        for one in found:
            yield f"    breaks {one.property_name}: {one.reason}"
            yield f"      on {one.drawn}"
    for sentence in c.stale:
        yield f"  STALE: {sentence}"
    for sentence in c.unmet:
        yield from _wrapped(f"not met: {sentence}")


def _table(outcomes: Sequence[Outcome], width: int | None) -> Iterable[str]:
    """Yield the calls checked, a row per formula and a numbered column per property.

    Operators that are not there at all have no rows.
    """
    properties = list(dict.fromkeys(o.property_name for o in outcomes))
    cells = {(o.formula, o.property_name): _cell(o) for o in outcomes}
    homes, every = operator_of(), list(dict.fromkeys(o.formula for o in outcomes))
    there = {homes.get(o.formula, o.formula) for o in outcomes if o.status != UNCLAIMED}
    formulas = [f for f in every if homes.get(f, f) in there] or every
    name = max(len(TABLE), *(len(f) for f in formulas)) if formulas else len(TABLE)
    columns = {
        p: max(len(str(number)), *(len(cells.get((f, p), "")) for f in formulas))
        for number, p in enumerate(properties, 1)
    }
    unclaimed = [
        f for f in formulas if {cells[f, p] for p in properties if (f, p) in cells} == {NOTHING}
    ]
    for some in _side_by_side(columns, None if width is None else width - name - 4):
        yield ""
        yield f"  {TABLE:<{name}}  " + "  ".join(
            f"{properties.index(p) + 1:>{columns[p]}}" for p in some
        )
        for formula in formulas:
            filled = "  ".join(f"{cells.get((formula, p), ''):>{columns[p]}}" for p in some)
            row = UNCLAIMED if formula in unclaimed else filled
            yield f"  {formula:<{name}}  {row}".rstrip()
    yield ""
    legend = ", ".join(f"{number}\xa0{p}" for number, p in enumerate(properties, 1))
    for line in textwrap.wrap(legend, min(width or PAGE, PAGE) - 2, break_on_hyphens=False):
        yield "  " + line.replace("\xa0", " ")
    found = {o.status for o in outcomes}
    if ALSO_FAILS in found:
        yield f"  {SHORT[ALSO_FAILS]}: fails on the same wrong answers"
    if NOT_CHECKED in found:
        yield f"  {SHORT[NOT_CHECKED]}: not checked, because the plain answers are wrong"
    yield ""


def _side_by_side(columns: Mapping[str, int], room: int | None) -> list[list[str]]:
    """Return the columns in parts that fit beside each other: at least one in each part."""
    parts: list[list[str]] = [[]]
    for name, wide in columns.items():
        taken = sum(columns[one] + 2 for one in parts[-1])
        if parts[-1] and room is not None and taken + wide > room:
            parts.append([])
        parts[-1].append(name)
    return parts


def _cell(outcome: Outcome) -> str:
    if outcome.status in SHOUTED:
        return SHOUTED[outcome.status]
    if outcome.status == UNCLAIMED:
        return NOTHING
    if outcome.status in REPEATS:
        return SHORT[outcome.status]
    if outcome.status != "passed":
        return outcome.status
    declined = f"-{outcome.declined}" if outcome.declined else ""
    return f"{outcome.judged}{declined}"


def _partly(c: Certificate) -> Iterable[str]:
    """Yield which functions are not claimed in a dtype that others are."""
    for dtype, names in c.contract.get("not_claimed", {}).items():
        if dtype in c.contract["dtypes"] and names:
            yield from _wrapped(f"not claimed in {dtype}: {', '.join(names)}")


def _summary(c: Certificate, *, short: bool) -> Iterable[str]:
    strata: dict[str, int] = {}
    dtypes: dict[str, int] = {}
    for outcome in c.outcomes:
        for dtype, counts in outcome.calls.items():
            for stratum, count in counts.items():
                strata[stratum] = strata.get(stratum, 0) + count
                dtypes[dtype] = dtypes.get(dtype, 0) + count
    total = sum(strata.values())
    seconds = sum(o.seconds for o in c.outcomes)
    yield f"  {total} calls in {seconds:.1f} s: {_counts(dtypes)}; strata {_counts(strata)}"
    worst = max(c.outcomes, key=lambda o: o.worst_error_over_bound, default=None)
    if worst is not None and worst.worst_error_over_bound:
        share = floor(1000 * worst.worst_error_over_bound) / 1000
        yield f"  largest rounding error {share} of the bound ({worst.formula})"
    if (least := likeliest(c.outcomes)) is not None:
        formula, shapes, single, power = least
        yield from _wrapped(
            "a wrong function that is linear in each argument passes the exact check at one shape "
            f"with probability at most {single:.2f}; at all {shapes} shapes of {formula}, if it is "
            f"wrong at each, with at most 1e{floor(power)}"
        )
    yield f"  planted wrong answers: {sum(o.planted for o in c.outcomes)} rejected"
    yield from _not_checked(c, short=short)
    yield from _claims(c)
    asked = [f"{name}{_found_by(c, name)}" for name, was in c.witnesses.items() if was]
    absent = [name for name, was in c.witnesses.items() if not was]
    yield f"  witnesses: {', '.join(asked) or 'none'}" + (
        f"; not run: {', '.join(absent)}" if absent else ""
    )
    yield from _reasons(c)
    yield from _coverage(c)
    yield from _scale(c)
    yield from _circumstances(c)
    yield from campaign_lines(c.campaign)
    each = " and shard" if c.campaign is not None else ""
    yield f"  seed {c.seed}, {c.examples} examples a check{each}"


def _not_checked(c: Certificate, *, short: bool) -> Iterable[str]:
    """Yield what was declined, skipped, disputed, not claimed or claimed in part.

    In short, functions of operators that are not there at all are counted.
    """
    declined = sum(o.declined for o in c.outcomes)
    if declined:
        yield from _wrapped(
            f"declined: {declined} calls raised NotImplementedError, or needed more memory than "
            "there is (-n above); none was passed"
        )
    yield from _declined_of(c)
    yield from _notes(c)
    judged = {o.formula for o in c.outcomes if o.status != "not claimed"}
    skipped = sum(o.not_judged for o in c.outcomes)
    if skipped:
        yield f"  skipped: {skipped} calls to which a property does not apply, not counted"
    yield from _disputed(c)
    unclaimed = sorted({o.formula for o in c.outcomes} - judged)
    if unclaimed:
        yield f"  not claimed: {_by_operator(unclaimed, judged) if short else ', '.join(unclaimed)}"
    yield from _partly(c)


def _by_operator(unclaimed: Sequence[str], judged: Collection[str]) -> str:
    """Return the functions of operators that are there, and how many there are of others."""
    homes = operator_of()
    there = {homes.get(name, name) for name in judged}
    near = [name for name in unclaimed if homes.get(name, name) in there]
    far = len(unclaimed) - len(near)
    others = {homes.get(name, name) for name in unclaimed} - there
    counted = f"{far} function{'s' * (far != 1)} of {len(others)} other operators"
    return ", ".join([*near, counted] if far else near)


def _circumstances(c: Certificate) -> Iterable[str]:
    """Yield where and with what it ran."""
    if c.contract.get("runs_on"):
        yield from _wrapped(f"runs, as it says, on {c.contract['runs_on']}")
    for sentence in c.contract.get("assumes", ()):
        yield from _wrapped(f"assumed of the caller: {sentence}")
    if c.shapes:
        yield from _wrapped(
            f"each shape is expensive, as it says: {c.shapes} shapes a check at most, without "
            "corners and combinations of options"
        )
    yield from _kept(c)
    if brought := c.environment.get("operators from"):
        yield from _wrapped(f"operators from {brought}, whose code ran in the checking process")
    others = {name: what for name, what in c.environment.items() if name != "operators from"}
    yield f"  {_counts(others, ' ')}"


def _declined_of(c: Certificate) -> Iterable[str]:
    for formula, counts in declines_of(c).items():
        told = ", ".join(f"{count} with {what}" for what, count in counts.items())
        yield from _wrapped(f"  {formula} declined {told}")


def _notes(c: Certificate) -> Iterable[str]:
    """Yield which bad arguments are accepted, function by function."""
    for one in c.outcomes:
        if one.unrepeatable:
            yield from _wrapped(f"note: {one.unrepeatable}")
    notes = [one.note for one in c.outcomes if one.note]
    for note in notes:
        yield from _wrapped(f"note: {note}")
    if notes:
        yield from _wrapped(
            'the formulas refuse these; the policy "bad_arguments": "raise" has it checked '
            "that the backend does, too"
        )


def _disputed(c: Certificate) -> Iterable[str]:
    disputed = sum(o.disputed for o in c.outcomes)
    if disputed:
        yield from _wrapped(
            f"disputed: {disputed} calls on which the oracle fails the property, too, not counted: "
            "a fault of gradoracle, please report it"
        )


def _found_by(c: Certificate, name: str) -> str:
    """Return in how many checks a witness met a wrong answer."""
    count = sum(o.status in FOUND and o.property_name in WITNESSES[name] for o in c.outcomes)
    return f" (wrong answers in {count} check{'s' * (count > 1)})" if count else ""


def campaign_lines(campaign: Campaign | None) -> Iterable[str]:
    """Yield of how many shards it is, and in how many of them what is not right showed."""
    if campaign is None:
        return
    yield f"  {campaign.text}"
    count = len(campaign.counted)
    seen: dict[tuple[str, str], list[Showed]] = {}
    for one in campaign.showed:
        seen.setdefault((one.formula, one.status), []).append(one)
    for (formula, status), found in seen.items():
        told = ", ".join(
            f"{one.property_name} in {one.shards}"
            + (f" with {one.different} counterexamples" if one.different > 1 else "")
            for one in found
        )
        yield from _wrapped(f"{status} of {formula}, of {count} shards: {told}")
    for shard in campaign.lost:
        yield from _wrapped(f"shard {shard.number} could not be checked: {shard.lost}")
    beyond = [str(one.number) for one in campaign.shards if not (one.counted or one.lost)]
    if beyond:
        yield from _wrapped(
            f"beyond the calls asked for, listed for what was found there: shard {listed(beyond)}"
        )


def _claims(c: Certificate) -> Iterable[str]:
    """Yield what the contract says of rules, sums and algorithms."""
    given = c.contract.get("policies", {})
    rules = {n: given.get(n, of[0]) for n, of in POLICIES.items() if n in (*ALWAYS_TOLD, *given)}
    yield from _wrapped(f"policies: {_counts(rules)}")
    yield from _repeats(c)
    held = c.contract.get("accumulators", {})
    wider = [f"{held[d]} of {d}" for d in c.contract["dtypes"] if held.get(d, d) != d]
    if wider:
        yield from _wrapped(f"accumulators: {', '.join(wider)}")
    ways = c.contract.get("algorithms", {})
    if ways:
        told = [f"{way} of {name}" for name, way in ways.items()]
        yield from _wrapped(
            f"algorithms: {', '.join(told)}; bounded by norms, not element by element"
        )


def _repeats(c: Certificate) -> Iterable[str]:
    """Yield whether repeated calls gave the same bits, where the contract does not claim it."""
    found = [one for one in c.outcomes if one.repeated]
    if found:
        differ, made = (sum(one.repeated[at] for one in found) for at in (0, 1))
        yield from _wrapped(f"repeats, which are not claimed: differ in {differ} of {made} calls")


def _coverage(c: Certificate) -> Iterable[str]:
    """Yield which combinations of option classes the calls met, formula by formula."""
    met: dict[tuple[str, ...], list[str]] = {}
    others = {"whole": 0, "checks": 0}
    for one in c.outcomes:
        found = [Covered(**each) for each in one.covered]
        if len(found) > 1:
            met.setdefault(tuple(each.text for each in found), []).append(one.formula)
        elif found:
            others["checks"] += 1
            others["whole"] += found[0].met == found[0].possible
    for texts, formulas in met.items():
        yield from _wrapped(f"options of {', '.join(formulas)}: {'; '.join(texts)}")
    if others["checks"]:
        checks = f"{others['whole']} of {others['checks']} other checks"
        yield from _wrapped(f"option classes, all of them or all pairs: in {checks}")


def _scale(c: Certificate) -> Iterable[str]:
    """Yield which layers of real networks were checked, and that the others were not."""
    told: dict[tuple[str, ...], list[Outcome]] = {}
    for one in c.outcomes:
        if one.layers:
            told.setdefault((*one.layers,), []).append(one)
    for layers, outcomes in told.items():
        shown = f"{len(layers)} layers" if len(layers) > FEW else "; ".join(layers)
        names = ", ".join(one.formula for one in outcomes)
        yield from _wrapped(f"checked at scale, {names}: {shown}")
    left = {one.formula: one.layers_left for one in c.outcomes if one.layers_left}
    if left:
        all_ = "" if c.at_scale else "; --at-scale checks them"
        counts = ", ".join(f"{count} of {name}" for name, count in left.items())
        yield from _wrapped(f"not checked at scale: layers {counts}{all_}")


def _kept(c: Certificate) -> Iterable[str]:
    """Yield where the backend ran, and what it did beside answering."""
    kept = c.confinement
    if not kept:
        return
    yield f"  checked in {kept['process']}"
    for what, function in {n: f for o in c.outcomes for n, f in o.changed.items()}.items():
        yield f"  it changed {what} of its process ({function})"
    for act, subjects in kept.get("acts", {}).items():
        yield from _wrapped(f"it {act} ({', '.join(subjects)})")
    if kept.get("refused"):
        yield f"  it asked for {', '.join(kept['refused'])}, which is forbidden, and got nothing"
    if kept.get("modules"):
        loaded = ", ".join(f"{name} {v}".strip() for name, v in kept["modules"].items())
        yield from _wrapped(f"it loaded {loaded}")


def _wrapped(text: str) -> list[str]:
    return [_Paragraph(f"  {text}")]


def _reasons(c: Certificate) -> Iterable[str]:
    """Yield what was not run and why: of which formulas, unless of none at all."""
    reasons: dict[tuple[str, str], list[str]] = {}
    stopped: dict[str, list[str]] = {}
    for one in c.outcomes:
        if one.ended and one.status in ("not run", "no call"):
            stopped.setdefault(one.reason, []).append(f"{one.formula} {one.property_name}")
        elif one.status == "not run":
            reasons.setdefault((one.property_name, one.reason), []).append(one.formula)
    for (name, reason), formulas in reasons.items():
        run = any(o.property_name == name and o.status != "not run" for o in c.outcomes)
        of = f" of {', '.join(formulas)}" if run else ""
        yield from _wrapped(f"not run: {name}{of} ({reason})")
    for reason, names in stopped.items():
        yield from _wrapped(f"{reason}: {', '.join(names)}")


def _counts(counts: dict[str, Any], between: str = " ") -> str:
    return ", ".join(f"{name}{between}{value}" for name, value in counts.items())
