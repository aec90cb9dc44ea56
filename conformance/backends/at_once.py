"""Calls at once from several threads, in the process of the backend.

Python lets one thread run at a time, and changes threads seldom: each call would be over before
another begins.  So threads are changed as soon as can be, and in most rounds between lines.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable, Sequence
from itertools import count
from types import FrameType
from typing import Any

SOON = 1e-6  # seconds after which another thread may run
ONE_IN = (2, 3, 5, 9)  # lines after which another thread is let run, on average, in turn
LINES = 200  # of a call at most, between which another thread is let run
UNTRACED = 4  # of so many calls one runs as it is

_sleep, _one_at_a_time = time.sleep, threading.Lock()
_seeds = count()  # no two threads change in the same way


def at_once(calls: Sequence[Callable[[], Any]], times: int) -> list[list[Any]]:
    """Return the results of each call, which is made so many times while the others are.

    Raises:
        BaseException: what a call raised.
    """
    start = threading.Barrier(len(calls))
    threads = [_Thread(call, times, start) for call in calls]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(SOON)
    try:
        for one in threads:
            one.start()
        for one in threads:
            one.join()
    finally:
        sys.setswitchinterval(interval)
    errors = [one.error for one in threads if one.error is not None]
    for error in sorted(errors, key=lambda one: isinstance(one, threading.BrokenBarrierError)):
        raise error  # a thread that waits for one that raised has a broken barrier only
    return [one.results for one in threads]


def _trace(function: Any) -> None:
    """Have this thread traced; Python refuses where two threads ask for it at once."""
    with _one_at_a_time:
        sys.settrace(function)


class _Thread(threading.Thread):
    """A thread that makes a call again and again."""

    def __init__(self, call: Callable[[], Any], times: int, start: threading.Barrier) -> None:
        """Remember the call; nothing runs yet."""
        super().__init__(daemon=True)
        self.call, self.times, self.together = call, times, start
        self.random = random.Random(next(_seeds))  # noqa: S311 - no secret
        self.one_in, self.lines = ONE_IN[0], 0
        self.results: list[Any] = []
        self.error: BaseException | None = None

    def run(self) -> None:
        """Make the calls, most of them with changes of threads between their lines."""
        try:
            for turn in range(self.times):
                self.one_in, self.lines = ONE_IN[turn % len(ONE_IN)], LINES
                self.together.wait()
                _trace(self._between_lines if turn % UNTRACED else None)
                result = self.call()
                _trace(None)
                self.results.append(result)
        except BaseException as error:  # noqa: BLE001 - that is what backends raise
            _trace(None)
            self.error = error
            self.together.abort()

    def _between_lines(self, frame: FrameType, event: str, arg: Any) -> Any:
        """Let another thread run now and then."""
        del frame, event, arg
        self.lines -= 1
        if self.lines < 0:
            return None
        if not self.random.randrange(self.one_in):
            _sleep(0)
        return self._between_lines
