"""How the minutes are shared: every stage may take its part and what those before it left."""

import signal
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager, suppress

SHARES = {"certify": 0.42, "sanitize": 0.20, "benchmark": 0.38}
LAST = 5.0  # seconds that ending takes


class Stopped(BaseException):
    """A signal asks to end; what is done is kept."""


class Budget:
    """Seconds since the start, and until when each of the stages that are run may go on."""

    def __init__(
        self, seconds: float, stages: Sequence[str] = tuple(SHARES),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.clock, self.start, self.seconds = clock, clock(), seconds
        whole, parts = sum(SHARES[name] for name in stages), 0.0
        self.ends = {}
        for name in stages:
            parts += SHARES[name]
            self.ends[name] = max(seconds - LAST, 0.0) * parts / whole

    def passed(self) -> float:
        """Return the seconds since the start."""
        return self.clock() - self.start

    def left(self, stage: str) -> float:
        """Return the seconds that a stage still has; not below 0."""
        return max(self.ends[stage] - self.passed(), 0.0)

    def say(self, text: str) -> None:
        """Print a line with the time; nobody need be there to read it."""
        minutes, seconds = divmod(int(self.passed()), 60)
        with suppress(OSError):
            print(f"{minutes}:{seconds:02d}  {text}", flush=True)


@contextmanager
def heeding_signals():
    """Raise `Stopped` within the block where a signal asks to end."""

    def stop(number, _frame):
        raise Stopped(signal.Signals(number).name)

    before = {s: signal.signal(s, stop) for s in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
