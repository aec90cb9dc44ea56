"""How a long run shows itself: a table that fills in a terminal, a line at a time elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from time import monotonic
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gradoracle.conformance.checking.causes import folded
from gradoracle.conformance.reports.certificate import REPEATS, UNCLAIMED, Outcome

ENOUGH = 5  # checks that were run, to estimate how long the others take
SHOWN = 3  # of what was found broken last


class Shown:
    """What a terminal shows while it changes, if it is one."""

    _live: Live | None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the last state on the screen."""
        if self._live is not None:
            self._live.stop()


class Progress(Shown):
    """Checks done, calls checked and mismatches found, operator by operator."""

    def __init__(self, console: Console, total: Sequence[tuple[str, str]]) -> None:
        """Show on `console`; `total` are the operator and formula of every check to come."""
        self.console = console
        self.home = {formula: operator for operator, formula in total}
        self.total = Counter(operator for operator, _ in total)
        self.done: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.declined: Counter[str] = Counter()
        self.wrong: Counter[str] = Counter()
        self.known: Counter[str] = Counter()  # deviations
        self.seconds: Counter[str] = Counter()
        self.claimed: Counter[str] = Counter()  # checks that are not "not claimed"
        self.outcomes: list[Outcome] = []
        self.left = Counter(total)  # checks to come, by operator and formula
        self.started = monotonic()
        self.worst: dict[str, float] = {}
        self.found: list[tuple[str, str]] = []  # what was broken, and its colour
        self._live = Live(console=console, refresh_per_second=8) if console.is_terminal else None

    def __enter__(self) -> Self:
        """Begin to show."""
        if self._live is not None:
            self._live.start()
            self._live.update(self.table())
        return self

    def update(self, outcome: Outcome) -> None:
        """Take an outcome in."""
        operator = self.home[outcome.formula]
        self.outcomes.append(outcome)
        self.left[operator, outcome.formula] -= 1
        self.done[operator] += 1
        self.claimed[operator] += outcome.status != UNCLAIMED
        self.calls[operator] += outcome.judged
        self.declined[operator] += outcome.declined
        self.seconds[operator] += outcome.seconds  # type: ignore[assignment]
        worst = max(self.worst.get(operator, 0.0), outcome.worst_error_over_bound)
        self.worst[operator] = worst
        broken = f"{outcome.formula} breaks {outcome.property_name}"
        repeats = folded(self.outcomes)[-1].status in REPEATS
        if outcome.status == "mismatch" and not repeats:
            self.wrong[operator] += 1
            self.found.append((f"{broken}: {outcome.reason}", "red"))
        if outcome.status == "deviation":
            self.known[operator] += 1
            self.found.append((f"{broken}, a KNOWN DEVIATION: {outcome.deviation}", "yellow"))
        if self._live is not None:
            self._live.update(self.table())
            return
        if outcome.status == "deviation" or (outcome.status == "mismatch" and not repeats):
            text, colour = self.found[-1]
            self.console.print(text, style=colour, soft_wrap=True)
        if self.done[operator] == self.total[operator]:
            self.console.print(self._line(operator), soft_wrap=True)

    def table(self) -> Any:
        """Return the state as a table, what broke last below it."""
        table = Table(box=None, pad_edge=False)
        table.add_column("operator")
        for title in ("checks", "calls", "worst", "declined", "deviating", "wrong"):
            table.add_column(title, justify="right")
        for operator, total in self.total.items():
            wrong = self.wrong[operator]
            done = self.done[operator]
            absent = done == total and not self.claimed[operator]
            style = "green" if done == total else ""
            style = "dim" if absent or not done else style
            table.add_row(
                operator, UNCLAIMED if absent else f"{done}/{total}",
                str(self.calls[operator] or ""),
                f"{self.worst.get(operator, 0):.3f}" if self.worst.get(operator) else "",
                str(self.declined[operator] or ""), str(self.known[operator] or ""),
                str(wrong or ""), style="red" if wrong else style,
            )  # fmt: skip
        grid = Table.grid()
        grid.add_row(table)
        grid.add_row(Text(self.time(), style="dim"))
        for text, colour in self.found[-SHOWN:]:
            grid.add_row(Text(text, style=colour, no_wrap=True, overflow="ellipsis"))
        return grid

    def time(self) -> str:
        """Return the time since the start, and about how much is left.

        Checks to come take as long as those that were run, on average; those of a function that
        is not claimed take none.
        """
        elapsed = monotonic() - self.started
        absent = {o.formula for o in self.outcomes if o.status == UNCLAIMED and not o.judged}
        run = sum(o.status != UNCLAIMED for o in self.outcomes)
        claimed = {o.formula for o in self.outcomes if o.status != UNCLAIMED}
        left = sum(n for (_, f), n in self.left.items() if f in claimed or f not in absent)
        told = f"{_clock(elapsed)} elapsed"
        if run >= ENOUGH and left:
            told += f", about {_clock(elapsed / run * left)} left"
        return told

    def _line(self, operator: str) -> str:
        if not self.claimed[operator]:
            return f"{operator}: {UNCLAIMED}"
        wrong = f", {self.wrong[operator]} WRONG" if self.wrong[operator] else ""
        known = f", {self.known[operator]} KNOWN TO DEVIATE" if self.known[operator] else ""
        declined = f", {self.declined[operator]} declined" if self.declined[operator] else ""
        return (
            f"{operator}: {self.done[operator]} checks, {self.calls[operator]} calls in "
            f"{self.seconds[operator]:.1f} s{declined}{known}{wrong} ({self.time()})"
        )


def _clock(seconds: float) -> str:
    """Return a duration as minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"
