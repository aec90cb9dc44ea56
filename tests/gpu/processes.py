"""Commands that are ended with all that they started, at the latest when we are."""

import os
import signal
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent.parent
SLICE = 1.0  # seconds

_running: set[int] = set()
_lock = threading.Lock()


class Ended(NamedTuple):
    """What became of a command; `code` is None where its time was up."""

    code: int | None
    output: str
    seconds: float


def run(command, seconds, *, folder=None, **variables) -> Ended:
    """Run a command from a checkout for so many seconds at most, and return what it wrote."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    start = time.monotonic()
    with subprocess.Popen(
        [*map(str, command)],
        cwd=folder or ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True,
        env={**os.environ, "PYTHONPATH": path, **variables},
    ) as process:  # fmt: skip
        with _lock:
            _running.add(process.pid)
        try:
            output, code = _output(process, start + max(seconds, 0.1)), process.returncode
        except subprocess.TimeoutExpired:
            _kill(process.pid)
            output, code = _rest(process), None
        finally:
            _kill(process.pid)  # also what it left behind
            with _lock:
                _running.discard(process.pid)
    return Ended(code, output or "", time.monotonic() - start)


def end_all() -> None:
    """End every command that still runs."""
    with _lock:
        for group in _running:
            _kill(group)


def _kill(group: int) -> None:
    with suppress(OSError):
        os.killpg(group, signal.SIGKILL)


def _output(process, deadline) -> str:
    """Return what a command writes until it ends, or raise TimeoutExpired at the deadline.

    It waits in slices: Python sees a signal that falls just before a wait only after that.
    """
    while True:
        left = deadline - time.monotonic()
        try:
            return process.communicate(timeout=max(min(left, SLICE), 0))[0]
        except subprocess.TimeoutExpired:
            if left <= SLICE:
                raise


def _rest(process) -> str:
    """Return what a killed command had written; a process that is stuck in the driver stays."""
    try:
        return process.communicate(timeout=5)[0]
    except subprocess.TimeoutExpired:
        return ""
