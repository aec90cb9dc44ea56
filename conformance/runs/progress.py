"""How a long run shows itself: a few lines that change in a terminal, a line now and then else."""

from __future__ import annotations

from time import monotonic
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gradoracle.conformance.checking.causes import folded
from gradoracle.conformance.reports.certificate import REPEATS, Outcome
from gradoracle.conformance.reports.terminal import changes, look_of

ENOUGH = 5  # checks that were run, to estimate how long the others take
NOW_AND_THEN = 30.0  # seconds between two lines, where lines stay
BAR = 24  # columns


def say(console: Console, text: str, style: str = "") -> None:
    """Print lines that stay."""
    for line in look_of(console.file).wrapped(text):
        console.print(line, style=style, soft_wrap=True)


class Shown:
    """What a terminal shows while it changes, if it is one."""

    _live: Live | None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the last state on the screen, unless it is transient."""
        if self._live is not None:
            self._live.stop()


class Progress(Shown):
    """Checks done, the time, and the first mismatch as it falls; gone when the run is over."""

    def __init__(self, console: Console, name: str, total: int) -> None:
        """Show on `console` how many of `total` checks of the backend `name` are done."""
        self.console, self.name, self.total = console, name, total
        self.outcomes: list[Outcome] = []
        self.wrong, self.known = 0, 0  # mismatches, and deviations that are listed
        self.started = self.told = monotonic()
        self._live = Live(
            console=console, get_renderable=self.table, refresh_per_second=4, transient=True
        ) if console.is_terminal and changes(console.file) else None  # fmt: skip

    def __enter__(self) -> Self:
        """Begin to show."""
        if self._live is not None:
            self._live.start(refresh=True)
        return self

    def update(self, outcome: Outcome) -> None:
        """Take an outcome in; say what the first is that is wrong."""
        self.outcomes.append(outcome)
        self.known += outcome.status == "deviation"
        if outcome.status == "mismatch" and folded(self.outcomes)[-1].status not in REPEATS:
            self.wrong += 1
            if self.wrong == 1:
                text = f"{outcome.formula} breaks {outcome.property_name}: {outcome.reason}"
                self._say(text, style="red")
        if self._live is None and monotonic() - self.told >= NOW_AND_THEN:
            self.told = monotonic()
            self._say(f"{self.name}: {self.state}; {self.time()}")

    def _say(self, text: str, style: str = "") -> None:
        """Print lines that stay."""
        say(self.console, text, style)

    @property
    def state(self) -> str:
        """How many checks are done and calls made, and what is wrong."""
        calls = sum(one.judged for one in self.outcomes)
        told = [f"{len(self.outcomes)} of {self.total} checks, {calls:,} calls"]
        told += [f"{self.wrong} mismatch{'es' * (self.wrong > 1)}"] * bool(self.wrong)
        told += [f"{self.known} known deviation{'s' * (self.known > 1)}"] * bool(self.known)
        return ", ".join(told)

    def table(self) -> Any:
        """Return the state as lines: a bar, the time, what was checked last."""
        bar = look_of(self.console.file).bar(len(self.outcomes) / max(self.total, 1), BAR)
        grid = Table.grid()
        grid.add_row(Text(f"{self.name}  {bar}  {self.time()}", no_wrap=True, overflow="ellipsis"))
        grid.add_row(Text(self.state, style="red" if self.wrong else "dim"))
        if self.outcomes:
            last = self.outcomes[-1]
            text = f"last: {last.formula} {last.property_name}"
            grid.add_row(Text(text, style="dim", no_wrap=True, overflow="ellipsis"))
        return grid

    def time(self) -> str:
        """Return the time since the start, and about how much is left.

        Checks to come take as long as those that were run, on average.
        """
        elapsed, run = monotonic() - self.started, len(self.outcomes)
        told = f"{_clock(elapsed)} elapsed"
        if run >= ENOUGH and run < self.total:
            told += f", about {_clock(elapsed / run * (self.total - run))} left"
        return told


def _clock(seconds: float) -> str:
    """Return a duration as minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"
