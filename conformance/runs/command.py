"""What `gradoracle certify` does: checks spread over jobs, a journal, a summary, an exit code."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console

from gradoracle.conformance.backends.backend import Backend
from gradoracle.conformance.backends.registry import ISOLATED, Confinement, path_of
from gradoracle.conformance.checking.check_run import unclaimed
from gradoracle.conformance.checking.checks import checks
from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.reports.certificate import (
    Certificate,
    JudgedShard,
    Outcome,
    is_in_neither,
    pairs,
)
from gradoracle.conformance.runs.certify import (
    certificate,
    credible,
    fresh_seed,
    limit,
    not_claimed,
    operators_named,
    undisturbed,
)
from gradoracle.conformance.runs.fingerprint import files_of, suite
from gradoracle.conformance.runs.first_look import VALUES, Check, first_look
from gradoracle.conformance.runs.jobs import did_before, done_by, judge
from gradoracle.conformance.runs.journal import Entry, Kept, acts_in, place, resumed, settled
from gradoracle.conformance.runs.loading import confinement_of, load
from gradoracle.conformance.runs.parts import formulas_in, part_of_name
from gradoracle.conformance.runs.progress import Progress, say
from gradoracle.conformance.runs.regressions import Remembered, tried, turned
from gradoracle.conformance.runs.regressions import told as what_became

CERTIFIED, MISMATCH, USAGE, COULD_NOT = 0, 1, 2, 3


@dataclass(frozen=True)
class Order:
    """What is to be certified, how hard, and how it is kept."""

    name: str
    operators: Sequence[str] | None = None
    dtypes: tuple[str, ...] | None = None
    examples: int = 300
    seed: int | None = None
    jobs: int = 1
    resume: bool = False
    confinement: Confinement = field(default_factory=lambda: ISOLATED)
    at_scale: bool = False
    keeps: bool = True  # a journal, which a run goes on from
    shard: str = ""  # the part of the checks that is run, "2/4"; "": all
    remembered: Sequence[Remembered] = ()  # calls that are tried first
    fail_fast: bool = False  # stop at the first mismatch

    @property
    def journal(self) -> Path:
        """The file that this run's verdicts are written to as they fall."""
        return place(f"{self.name}{part_of_name(self.shard)}")


def certify(order: Order, console: Console, troubles: list[str] | None = None) -> Certificate:
    """Check a backend as ordered, showing how it goes, and return its certificate.

    Where the journal cannot be written any more the run goes on, and `troubles` says why.

    Raises:
        UnknownBackend, UnusableBackend, ValueError, JournalError, CannotWrite: before anything is
            checked.
    """
    chosen = operators_named(order.operators)
    backend = load(order.name, order.confinement)
    try:
        limit(backend, order.dtypes)
        for note in backend.notes:
            say(console, f"note: {note}", style="yellow")
        return _judged(order, backend, chosen, console, [] if troubles is None else troubles)
    finally:
        backend.asked.close()


def checks_of(order: Order) -> list[tuple[str, str]]:
    """Return the formula and the property of every check that an order would run.

    Raises:
        UnknownBackend, UnusableBackend, ValueError: there is nothing to check.
    """
    chosen = operators_named(order.operators)
    backend = load(order.name, order.confinement)
    try:
        limit(backend, order.dtypes)
        ours = formulas_in(backend, chosen, order.shard) if order.shard else None
        return [
            (f.__name__, p.name)
            for o, f, p in checks(chosen)
            if not unclaimed(backend, o, f, p) and (ours is None or f.__name__ in ours)
        ]
    finally:
        backend.asked.close()


def _judged(
    order: Order, backend: Backend, chosen: Sequence[Operator], console: Console,
    troubles: list[str],
) -> Certificate:  # fmt: skip
    ours = settled(
        backend, examples=order.examples, operators=chosen, confinement=order.confinement,
        at_scale=order.at_scale,
    )  # fmt: skip
    outcomes: list[Outcome] = []
    seed = order.seed
    if order.resume:
        seed, outcomes = resumed(order.journal, ours, seed)
        outcomes = credible(backend, outcomes)
        did_before(backend, acts_in(order.journal))
        console.print(f"{order.name}: going on after {len(outcomes)} checks, seed {seed}")
    seed = fresh_seed() if seed is None else seed
    known = [(operator.name, f.__name__, p.name) for operator, f, p in checks(chosen)]
    if order.shard:
        ours_alone = formulas_in(backend, chosen, order.shard)
        known = [check for check in known if check[1] in ours_alone]
    ends = tried(backend, order.remembered, [(formula, name) for _, formula, name in known])
    for line in what_became(ends):
        console.print(line, soft_wrap=True)
    done = {(o.formula, o.property_name) for o in outcomes}
    ahead = [check[1:] for check in _values_first(known) if check[1:] not in done]
    if order.jobs == 1 and not order.resume:  # other processes would load and compile it again
        ahead = _looked_at(backend, chosen, ahead, seed, console)
    asked = {(f.__name__, p.name) for o, f, p in checks(chosen) if not unclaimed(backend, o, f, p)}
    asked &= {check[1:] for check in known}
    header, acts = {**ours, "seed": seed}, done_by(backend)
    entries: list[Entry] = [{"acts": acts}, *outcomes] if acts else [*outcomes]
    journal = Kept(order.journal if order.keeps else None, header, entries, troubles)
    falling = judge(
        backend, ahead, examples=order.examples, seed=seed, jobs=order.jobs,
        confinement=order.confinement, dtypes=order.dtypes, at_scale=order.at_scale,
    )  # fmt: skip
    stopped = False
    with closing(journal), closing(falling), Progress(console, order.name, len(asked)) as progress:
        for outcome in outcomes:
            if (outcome.formula, outcome.property_name) in asked:
                progress.update(outcome)
            backend.stops.note(outcome)
        for outcome in falling:
            journal.write(outcome, done_by(backend))
            outcomes.append(outcome)
            if (outcome.formula, outcome.property_name) in asked:
                progress.update(outcome)
            if order.fail_fast and outcome.status == "mismatch":
                stopped = True
                break
    place = {(formula, name): at for at, (_, formula, name) in enumerate(known)}
    outcomes += not_claimed(backend, chosen, outcomes, place)
    outcomes = [turned(outcome, ends) for outcome in outcomes]
    outcomes.sort(key=lambda o: place[o.formula, o.property_name])
    made = certificate(
        backend, outcomes, seed, order.examples, chosen, at_scale=order.at_scale, shard=order.shard
    )
    return replace(made, stale=[], unmet=[]) if stopped else made  # says nothing of what holds


def _looked_at(
    backend: Backend, chosen: Sequence[Operator], ahead: Sequence[Check], seed: int,
    console: Console,
) -> list[Check]:  # fmt: skip
    """Return the checks, first the one that fails on a small call, after saying how it does."""
    with undisturbed():
        found = first_look(backend, chosen, {*ahead}, seed)
    if found is None:
        return [*ahead]
    check, what = found
    say(console, f"at first look: {what}", style="red")
    return [check, *(one for one in ahead if one != check)]


def _values_first(known: Sequence[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """Return an operator's checks with those of plain values first: most faults show there.

    So one is told soon, and other checks that fail on the same answers need not search for it.
    """
    places = {name: at for at, name in enumerate(dict.fromkeys(name for name, *_ in known))}
    return sorted(known, key=lambda check: (places[check[0]], check[2] not in VALUES))


def exit_code(certificates: Sequence[Certificate]) -> int:
    """Return 0 where all are what they claim, 1 where one has a mismatch, else 3.

    A known deviation that the contract lists is no mismatch; one that holds is.  Of a shard, 0
    means that none of its checks fails.
    """
    if any(one.mismatches or one.stale for one in certificates):
        return MISMATCH
    holds = all(one.as_claimed or one.holds_so_far for one in certificates)
    return CERTIFIED if holds else COULD_NOT


def differences(old: Certificate, new: Certificate) -> list[str]:
    """Return what two certificates say differently, a line each; times and places aside."""
    lines = []
    for name in ("backend", "seed", "examples", "at_scale", "suite", "shard"):
        was, now = getattr(old, name), getattr(new, name)
        if was != now:
            lines.append(f"{name}: {str(was)[:16]} -> {str(now)[:16]}")
    was, now = (one.campaign.text if one.campaign else "one run" for one in (old, new))
    if was != now:
        lines.append(f"{was} -> {now}")
    for file in sorted({*old.files, *new.files}):
        if old.files.get(file) != new.files.get(file):
            how = "new" if file not in old.files else "gone" if file not in new.files else "changed"
            lines.append(f"file {file}: {how}")
    for key in sorted({*old.environment, *new.environment}):
        was, now = old.environment.get(key, "none"), new.environment.get(key, "none")
        if was != now:
            lines.append(f"{key}: {was} -> {now}")
    return lines + other_verdicts(old, new, everything=False)


def other_verdicts(old: Certificate, new: Certificate, *, everything: bool = True) -> list[str]:
    """Return the checks that end differently in two certificates, a line each.

    Without `everything`, those that neither has checked are left out: only the reason differs.
    """
    lines = []
    for (formula, name), (before, after) in pairs(old, new).items():
        was, now = ("not run" if one is None else one.verdict for one in (before, after))
        if was != now and (everything or not is_in_neither(before, after)):
            lines.append(f"{formula} {name}: {was} -> {now}")
    lines += [f"no longer: {sentence}" for sentence in old.stale if sentence not in new.stale]
    return lines + [f"now: {sentence}" for sentence in new.stale if sentence not in old.stale]


def in_neither(old: Certificate, new: Certificate) -> str:
    """Return how many checks neither has checked, for different reasons, in words; "" for none."""
    count = sum(
        (was and was.verdict) != (now and now.verdict) and is_in_neither(was, now)
        for was, now in pairs(old, new).values()
    )
    checks = f"{count:,} check{'s' * (count > 1)}"
    return f"left out: {checks} that neither run made, for different reasons" if count else ""


def others(told: Certificate) -> list[str]:
    """Return why a certificate cannot be replayed here: another suite, or another backend."""
    lines = []
    if told.suite != suite():
        lines.append(
            f"the certificate is of another suite ({told.suite[:12]}, gradoracle "
            f"{told.environment.get('gradoracle')}); this one is {suite()[:12]}"
        )
    now = files_of(path_of(told.backend))
    if now != told.files:
        names = [n for n in sorted({*now, *told.files}) if now.get(n) != told.files.get(n)]
        lines.append(f"{told.backend} is another build: {', '.join(names[:8])} differ")
    return lines


def order_of(told: Certificate, jobs: int, shard: JudgedShard | None = None) -> Order:
    """Return the order that a certificate came of, or one shard of a campaign's; no journal."""
    formulas = {formula for formula, _ in told.expected}
    return Order(
        told.backend,
        [o.name for o in operators_named(None) if formulas & {f.__name__ for f in o.formulas}],
        tuple(told.contract["dtypes"]),
        told.examples,
        told.seed if shard is None else shard.seed,
        jobs,
        confinement=confinement_of(told),
        at_scale=told.at_scale,
        keeps=False,
        shard=told.shard,
        remembered=[
            Remembered(told.backend, o.formula, o.property_name, o.mismatch)
            for o in told.outcomes
            if o.remembered and isinstance(o.mismatch, dict)
        ],
    )


def repeated(order: Order, cases: Sequence[tuple[str, str]]) -> list[Outcome]:
    """Return what comes of some checks of an order, by the names of formula and property.

    Raises:
        UnknownBackend, UnusableBackend, ValueError: the backend cannot be checked any more.
    """
    backend = load(order.name, order.confinement)
    try:
        limit(backend, order.dtypes)
        return [
            *judge(
                backend, cases, examples=order.examples, seed=order.seed or 0, jobs=order.jobs,
                confinement=order.confinement, dtypes=order.dtypes, at_scale=order.at_scale,
            )
        ]  # fmt: skip
    finally:
        backend.asked.close()
