"""What the system says of processes: whether they ended, hold memory, compute or wait."""

from __future__ import annotations

import os
import select
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from gradoracle.conformance.backends.isolation.guardian import descendants

SLICE = 0.02  # seconds between two looks at what a worker takes
LOOKS = 5  # in such a slice, at whether it computes


def ends(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Return whether a process ends within some seconds; `wait` would look every 50 ms only."""
    with suppress(OSError, AttributeError):  # a system without descriptors of processes
        descriptor = os.pidfd_open(process.pid)
        try:
            ended = select.poll()
            ended.register(descriptor)
            ended.poll(1000 * seconds)
        finally:
            os.close(descriptor)
        return process.poll() is not None
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    return process.returncode is not None


def held(pid: int) -> int:
    """Return the bytes of memory that a process holds, 0 where that is unknown."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def queues(pid: int) -> dict[str, float]:
    """Return how long each thread of a process has waited for a processor, in seconds.

    None where the system does not tell.
    """
    found = {}
    for thread in Path(f"/proc/{pid}/task").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            told = (thread / "schedstat").read_text(encoding="ascii").split()
            found[thread.name] = int(told[1]) * 1e-9
    return found


def waited(pid: int, before: dict[str, float]) -> float:
    """Return how long a process, or one below it, has waited for a processor since `before`.

    On a busy machine that is no fault of the backend, and does not count.
    """
    now = {}
    for one in (pid, *descendants(pid, set())) if pid else ():
        now.update(queues(one))
    return max((seconds - before.get(thread, 0.0) for thread, seconds in now.items()), default=0.0)


def has_children(pid: int) -> bool:
    """Return whether a process has children, True where the system does not tell."""
    try:
        return any(
            (task / "children").read_text(encoding="ascii").strip()
            for task in Path(f"/proc/{pid}/task").iterdir()
        )
    except OSError:
        return True  # not told on this system: count them


def occupation(pid: int) -> str:
    """Return whether a process and those below it are computing or waiting, empty where untold.

    On a busy machine what computes may get no processor for long, so their states are asked, not
    their time.
    """
    if not pid:  # the guardian has not told of it
        return ""
    threads = [
        thread
        for one in (pid, *descendants(pid, set()))
        for thread in Path(f"/proc/{one}/task").glob("[0-9]*")
    ]
    runnable = 0
    for _ in range(LOOKS):
        time.sleep(SLICE / LOOKS)
        runnable += any(_state(thread) == "R" for thread in threads)
    if not threads:
        return ""
    return "computing" if 2 * runnable > LOOKS else "waiting"


def _state(thread: Path) -> str:
    """Return the letter of a thread's state, empty where it has ended."""
    try:
        return (thread / "stat").read_text(errors="replace").rpartition(")")[2].lstrip()[:1]
    except OSError:
        return ""
