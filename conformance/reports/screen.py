"""A certificate in one screen: verdict, table, what is wrong, what was not checked, what is next.

Everything that was counted is in `certificate_text` and in the JSON.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from shlex import quote
from types import MappingProxyType
from typing import Any, NamedTuple

from gradoracle.conformance import DEVIATIONS, DOMAIN, OPERATORS_FROM, POLICIES
from gradoracle.conformance.backends.backend import SOURCE_TEXT
from gradoracle.conformance.backends.contract import POLICIES as RULES
from gradoracle.conformance.drawing.profiles import PROFILES
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.reports.certificate import (
    MEANT,
    NOT_CHECKED,
    UNCLAIMED,
    UNJUDGED,
    Certificate,
    Outcome,
    declines_of,
    few,
)
from gradoracle.conformance.reports.certificate_text import campaign_lines, few_taken
from gradoracle.conformance.reports.findings import IN_CONTRACT, causes, findings
from gradoracle.conformance.reports.matrix import (
    claimed,
    is_not_offered,
    matrix,
    operator_of,
)
from gradoracle.conformance.reports.python_call import check_call, has_own
from gradoracle.conformance.reports.terminal import Look

REASONS = 8  # sentences of a section, beyond which they are counted
BESIDE = 1  # of what was not checked, where something is wrong: that is to be seen first
FULL = PROFILES["certify"]
IDLE = ("not run", UNCLAIMED, *UNJUDGED)  # of functions that are there
NO_CLAIM = "the contract's policies do not claim"  # begins such a reason
# Policies that say which values are right.
OF_VALUES = (
    "ties", "nan", "labels", "variance", "log_sum_exp", "relu_at_zero", "leaky_relu_at_zero",
    "causal", "masked_rows", "attention_operands",
)  # fmt: skip
WAITS = "not checked, because {} plain answers are wrong"


class Repeated(NamedTuple):
    """The command line of a run, as its next command has it again."""

    words: Sequence[str] = ()  # options that a certificate does not have
    table: Mapping[str, Any] = MappingProxyType({})  # what a pyproject.toml gave, by parameters


NO_OPTIONS = Repeated()


def lines(
    c: Certificate,
    look: Look = Look(),  # noqa: B008 - frozen
    file: Path | None = None,
    repeated: Repeated = NO_OPTIONS,
) -> Iterator[str]:
    """Yield the lines of a certificate on a screen; `file` has its JSON, if it was written.

    `repeated` is of the command line, if there was one.
    """
    for line in _lines(c, look, file, repeated):
        yield look.readable(line)


def _lines(c: Certificate, look: Look, file: Path | None, repeated: Repeated) -> Iterator[str]:
    yield from _head(c, look)
    table = [*matrix(c, look)]
    yield from ["", *table] if table else []
    yield from findings(c, look, file)
    yield from _section("known deviations", _deviations(c), look)
    yield from _section("assumed of the caller", iter(c.contract.get("assumes", ())), look)
    yield from _section("beside answering", _acts(c), look)
    most = BESIDE if c.mismatches else REASONS
    yield from _section("not checked", not_checked(c), look, most)
    yield ""
    todo, command = next_step(c, repeated)
    if todo:
        yield from look.command(command, f"next: {todo}  ", "      ")
    yield from look.wrapped(_more(c, file), "dim", rest="      ")


def _head(c: Certificate, look: Look) -> Iterator[str]:
    """Yield the backend, the verdict, how hard it was checked, its domain; and what it took."""
    full = c.passed and c.examples >= FULL
    colour = "green" if full else "yellow" if c.as_claimed else "red"
    verdict = c.verdict.removesuffix(c.domain)
    level = c.level if c.examples < FULL else f"{_profile(c)}; {c.level}"
    domain = _domain(c).replace(" = ", "\xa0=\xa0")  # which no line ends in
    head = f"{c.backend}  {verdict} ({level}){domain}"
    yield from (line.replace("\xa0", " ") for line in look.wrapped(head, "bold", colour))
    yield from look.wrapped("; ".join(_took(c)), "dim", rest="")
    for line in campaign_lines(c.campaign):
        yield from look.wrapped(line.strip(), "dim")
    if brought := c.environment.get("operators from"):
        text = f"operators from {brought}, whose code ran in the checking process"
        yield from look.wrapped(text, "dim")


def _domain(c: Certificate) -> str:
    return c.domain if c.as_claimed or not c.domain else f", checked{c.domain}"


def _profile(c: Certificate) -> str:
    name = next((p for p, count in PROFILES.items() if count == c.examples), "")
    return f"{name}: {c.examples} geometries a check".removeprefix(": ")


def _took(c: Certificate) -> Iterator[str]:
    calls, seconds = sum(o.judged for o in c.outcomes), sum(o.seconds for o in c.outcomes)
    yield f"{calls:,} calls in {seconds:.1f} s, seed {c.seed}"
    if where := c.contract.get("runs_on"):
        yield f"on {where}, as it says"
    given = c.contract.get("policies", {})
    rules = [
        f"{name} {given[name]}"
        for name in OF_VALUES if name in given and given[name] != RULES[name][0]
    ]  # fmt: skip
    if rules:
        yield f"conventions: {', '.join(rules)}"
    if planted := sum(o.planted for o in c.outcomes):
        yield f"{planted} {caught(planted)}"


def caught(count: int) -> str:
    """Return in words what became of so many wrong answers, given in place of the backend's."""
    if count == 1:
        return "deliberately wrong answer was caught, as it should be"
    return "deliberately wrong answers were caught, as they should be"


def _section(title: str, found: Iterator[str], look: Look, most: int = REASONS) -> Iterator[str]:
    """Yield a title and sentences under it, if there are any; beyond `most` their number."""
    sentences = [*found]
    if not sentences:
        return
    yield ""
    yield look.paint(title, "bold")
    shown = sentences if len(sentences) == most + 1 else sentences[:most]
    for one in shown:
        yield from look.wrapped(one, first="  ", rest="    ")
    if len(sentences) > len(shown):
        yield f"  and {len(sentences) - len(shown)} more: -v shows them"


def _deviations(c: Certificate) -> Iterator[str]:
    reasons: dict[tuple[str, str], list[Outcome]] = {}
    for one in c.deviations:
        reasons.setdefault((one.formula, one.deviation), []).append(one)
    for (formula, reason), found in reasons.items():
        names = few([one.property_name for one in found])
        yield f"{formula}: {reason} ({names}: {found[0].reason})"
    yield from (f"STALE: {sentence}" for sentence in c.stale)
    yield from (f"not met: {sentence}" for sentence in c.unmet)


def _acts(c: Certificate) -> Iterator[str]:
    """Yield what the backend did beside answering."""
    for what, function in {n: f for o in c.outcomes for n, f in o.changed.items()}.items():
        yield f"it changed {what} of its process ({function})"
    for act, subjects in c.confinement.get("acts", {}).items():
        yield f"it {act} ({', '.join(subjects)})"
    if refused := c.confinement.get("refused"):
        yield f"it asked for {', '.join(refused)}, which is forbidden, and got nothing"


def not_checked(c: Certificate) -> Iterator[str]:
    """Yield what was not checked and why, a sentence for each reason."""
    if left := len(c.left):
        yield f"{left} of {_count(c.possible, 'check')} {'was' if left == 1 else 'were'} not run"
    yield from dict.fromkeys(
        f"{one.formula} {IN_CONTRACT.sub('', one.domain_hint)}"
        for one in c.outcomes
        if one.domain_hint and one.status != "mismatch"
    )
    yield from _absent(c)
    yield from _reasons(c)
    for formula, counts in declines_of(c).items():
        told = ", ".join(f"{count} with {what}" for what, count in counts.items())
        yield f"{formula}: declined {told}; none of these calls passed"
    if disputed := sum(o.disputed for o in c.outcomes):
        yield (
            f"{disputed} calls on which the oracle fails the property, too: a fault of "
            "gradoracle, please report it"
        )
    if noted := [o.formula for o in c.outcomes if o.note]:
        allowed = "which is allowed: it does not claim to refuse them"
        yield f"accepts bad arguments, {allowed}: {few(noted)}"
    for one in c.outcomes:
        if one.unrepeatable:
            yield f"the same bits every time: not claimed; {one.unrepeatable}"
    yield from _further(c)


def _further(c: Certificate) -> Iterator[str]:
    """Yield what other options or declarations would have checked."""
    if c.examples < FULL:
        yield "corners, and combinations of options: --profile certify has them"
    if left := sum(o.layers_left for o in c.outcomes):
        yield f"{left:,} layers of real networks{'' if c.at_scale else ': --at-scale checks them'}"
    for dtype, names in c.contract.get("not_claimed", {}).items():
        if dtype in c.contract["dtypes"] and names:
            yield f"{few(names)} in {dtype}: not claimed"
    yield from few_taken(c)


def _absent(c: Certificate) -> Iterator[str]:
    """Yield which functions are not there: those of operators that others are of, and how many."""
    homes, has = operator_of(), claimed(c)
    present = {homes.get(name, name) for name in has}
    absent = list(dict.fromkeys(o.formula for o in c.outcomes if o.formula not in has))
    meant = _meant(c)
    for name, own in meant.items():
        yield f"{name}: not there; did you mean: {own}"
    absent = [name for name in absent if name not in meant]
    near = [name for name in absent if homes.get(name, name) in present]
    if near:
        yield f"{', '.join(near)}: the backend does not have {'it' if len(near) == 1 else 'them'}"
    if far := [name for name in absent if name not in near]:
        others = {homes.get(name, name) for name in far}
        kind = "other operator" if has else "operator"
        yield f"{_functions(far)} of {_count(others, kind)}: not there"
    run = {formula for formula, _ in c.expected}
    out = [o for o in OPERATORS if run.isdisjoint(f.__name__ for f in o.formulas)]
    if out:
        names = [f.__name__ for o in out for f in o.formulas]
        yield f"{_functions(names)} of {_count(out, 'other operator')}: left out by --operators"


def _meant(c: Certificate) -> dict[str, str]:
    """Return the functions that are not there, with what may be meant to be them."""
    has = claimed(c)
    told = {o.formula: o.reason.partition(MEANT)[2] for o in c.outcomes if o.formula not in has}
    return {name: own for name, own in told.items() if own}


def _reasons(c: Certificate) -> Iterator[str]:
    """Yield why checks of functions that are there were not run, or say nothing."""
    has, found = claimed(c), dict[str, list[Outcome]]()
    offered: dict[str, None] = {}
    for one in c.outcomes:
        if one.formula not in has or one.status not in (*IDLE, NOT_CHECKED):
            continue
        if is_not_offered(one) or one.reason.startswith(NO_CLAIM):
            offered[one.property_name] = None
            continue
        reason = WAITS if one.status == NOT_CHECKED else one.reason
        found.setdefault(reason, []).append(one)
    for reason, outcomes in found.items():
        names = [o.formula for o in outcomes]
        of = f" of {few(names)}" if len(has) > 1 or reason == WAITS else ""
        said = WAITS.format("its" if len({*names}) == 1 else "their") if reason == WAITS else reason
        yield f"{few([o.property_name for o in outcomes])}{of}: {said}"
    if offered:
        yield f"{few([*offered])}: not claimed"


def next_step(c: Certificate, repeated: Repeated = NO_OPTIONS) -> tuple[str, str]:
    """Return what to do now, and the command for it; "" and "": nothing is left."""
    command = _command(c, c.examples, repeated)
    if c.mismatches:
        found = len(causes(c))
        mend = "mend it" if found == 1 else f"mend the first of {found} causes"
        hinted = any(o.domain_hint for o in c.outcomes)
        return f"{mend}{', or declare the domain' * hinted}, then", command
    if c.stale:
        return "take what holds off the known deviations, then", command
    if c.shard:
        joined = "gradoracle merge SHARD.json ... --certificate whole.json"
        count = c.shard.partition("/")[2]
        then = "the certificate of the whole run," if count == "1" else ""
        return then or f"the other shards of {count}, then", joined
    if c.files and not claimed(c) and not _is_of_a_program(c):
        return "what there is to check of it,", f"gradoracle certify {quote(c.backend)} --list"
    if c.as_claimed and c.examples < FULL:
        return "the whole check,", _command(c, FULL, repeated)
    return ("", "") if c.as_claimed or c.whole else ("all checks,", _command(c, FULL, repeated))


def _command(c: Certificate, examples: int, repeated: Repeated) -> str:
    """Return the command that certifies the same functions, from the same seed.

    What a pyproject.toml gives to every run is left out.
    """
    run = {formula for formula, _ in c.expected}
    if _is_of_a_program(c):
        return check_call(
            c.backend, seed=c.seed, examples=examples, formulas=[*run], at_scale=c.at_scale,
            in_process=not c.files,
        )  # fmt: skip
    chosen = [o.name for o in OPERATORS if not run.isdisjoint(f.__name__ for f in o.formulas)]
    profile = next((p for p, count in PROFILES.items() if count == examples), "certify")
    table = repeated.table
    given = {
        "--operators-from": os.environ.get(OPERATORS_FROM, ""),
        "--domain": os.environ.get(DOMAIN, ""),
        "--policy": os.environ.get(POLICIES, ""),
        "--deviations": _from_here(os.environ.get(DEVIATIONS, "")),
        "--operators": ",".join(chosen) if len(chosen) < len(OPERATORS) else "",
        "--profile": "" if profile == table.get("profile", "certify") else profile,
        "--seed": "" if c.seed == table.get("seed") else str(c.seed),
    }
    ours = ("--profile", "--seed")  # by their values
    told = {n: v for n, v in given.items() if n in ours or n[2:].replace("-", "_") not in table}
    words = [word for option, value in told.items() if value for word in (option, quote(value))]
    words += ["--at-scale"] * c.at_scale
    name = [] if table.get("backend") == [c.backend] else [quote(c.backend)]
    return " ".join(["gradoracle certify", *name, *words, *map(quote, repeated.words)])


def _from_here(file: str) -> str:
    """Return a path as a user would write it: from the current folder, if it is below it."""
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if file and path.is_relative_to(Path.cwd()) else file


def _is_of_a_program(c: Certificate) -> bool:
    """Return whether only the program that made a certificate can repeat the run."""
    return not c.files or c.backend == SOURCE_TEXT or has_own([name for name, _ in c.expected])


def _more(c: Certificate, file: Path | None) -> str:
    scripts = "scripts, " if c.mismatches else ""
    if file is None and _is_of_a_program(c):
        return f"more: .text() of this certificate ({scripts}calls of each check), .to_json()"
    kept = f"{file}" if file is not None else "--certificate FILE"
    return f"more: -v ({scripts}calls of each check), {kept} (all as JSON)"


def _count(things: Collection[object], what: str) -> str:
    return f"{len(things)} {what}{'s' * (len(things) != 1)}"


def _functions(names: Sequence[str]) -> str:
    return _count(names, "function")
