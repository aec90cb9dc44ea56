"""How a long run shows itself: a table that fills in a terminal, a line at a time elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from conformance.certificate import Outcome

SHOWN = 3  # of what was found broken last


class Progress:
    """Checks done, calls judged and mismatches found, operator by operator."""

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
        self.worst: dict[str, float] = {}
        self.found: list[tuple[str, str]] = []  # what was broken, and its colour
        self._live = Live(console=console, refresh_per_second=8) if console.is_terminal else None

    def __enter__(self) -> Self:
        """Begin to show."""
        if self._live is not None:
            self._live.start()
            self._live.update(self.table())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the last state on the screen."""
        if self._live is not None:
            self._live.stop()

    def update(self, outcome: Outcome) -> None:
        """Take an outcome in."""
        operator = self.home[outcome.formula]
        self.done[operator] += 1
        self.calls[operator] += outcome.judged
        self.declined[operator] += outcome.declined
        self.seconds[operator] += outcome.seconds  # type: ignore[assignment]
        worst = max(self.worst.get(operator, 0.0), outcome.worst_error_over_bound)
        self.worst[operator] = worst
        broken = f"{outcome.formula} breaks {outcome.property_name}"
        if outcome.status == "mismatch":
            self.wrong[operator] += 1
            self.found.append((f"{broken}: {outcome.reason}", "red"))
        if outcome.status == "deviation":
            self.known[operator] += 1
            self.found.append((f"{broken}, a KNOWN DEVIATION: {outcome.deviation}", "yellow"))
        if self._live is not None:
            self._live.update(self.table())
            return
        if outcome.status in ("mismatch", "deviation"):
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
            style = "red" if wrong else "green" if done == total else "dim" if not done else ""
            table.add_row(
                operator, f"{done}/{total}", str(self.calls[operator] or ""),
                f"{self.worst.get(operator, 0):.3f}" if self.worst.get(operator) else "",
                str(self.declined[operator] or ""), str(self.known[operator] or ""),
                str(wrong or ""), style=style,
            )  # fmt: skip
        if not self.found:
            return table
        grid = Table.grid()
        grid.add_row(table)
        for text, colour in self.found[-SHOWN:]:
            grid.add_row(Text(text, style=colour, no_wrap=True, overflow="ellipsis"))
        return grid

    def _line(self, operator: str) -> str:
        wrong = f", {self.wrong[operator]} WRONG" if self.wrong[operator] else ""
        known = f", {self.known[operator]} KNOWN TO DEVIATE" if self.known[operator] else ""
        declined = f", {self.declined[operator]} declined" if self.declined[operator] else ""
        return (
            f"{operator}: {self.done[operator]} checks, {self.calls[operator]} calls in "
            f"{self.seconds[operator]:.1f} s{declined}{known}{wrong}"
        )
