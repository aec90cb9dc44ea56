"""The guardian and its workers: starting and ending them, and waiting for their answers."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import msgpack

from gradoracle.conformance.backends.isolation import audit
from gradoracle.conformance.backends.isolation.guardian import descendants
from gradoracle.conformance.backends.isolation.limits import GIB, Limits
from gradoracle.conformance.backends.isolation.processes import (
    SLICE,
    ends,
    has_children,
    held,
    occupation,
    queues,
    waited,
)
from gradoracle.conformance.backends.isolation.start import guardian
from gradoracle.conformance.backends.isolation.wire import Garbled, Line, Segment, framed

CROWDED = 10  # times a limit, at most, where a worker waits for a processor
GRACE = 2.0  # seconds that the guardian has to tell of an end
SEGMENT = 1 << 20  # bytes to begin with
MOST_ACTS = 4096  # that a worker and what it forks may tell of
SIGNALS = {
    "SIGSEGV": "segmentation fault", "SIGABRT": "abort", "SIGBUS": "bus error",
    "SIGFPE": "arithmetic exception", "SIGILL": "illegal instruction",
    "SIGKILL": "killed, perhaps for want of memory",
}  # fmt: skip


def available() -> bool:
    """Return whether this system has what isolation takes: forks, and descriptors that travel."""
    return hasattr(os, "fork") and hasattr(socket, "send_fds")


class WorkerEnded(Exception):
    """The worker is gone, or was ended; the message is a sentence for a report."""

    def __init__(self, sentence: str, over: str = "") -> None:
        """Remember the sentence, and the limit at which the worker was ended, if it was."""
        super().__init__(sentence)
        self.over = over


@dataclass
class Worker:
    """A process that was started, the line to it and the memory that it shares."""

    number: int
    line: Line
    segment: Segment
    pid: int = 0
    ended: dict[str, Any] | None = None  # what the guardian told of its end
    told: int = 0  # acts
    answers: int = 0

    def close(self) -> None:
        """Let go of the line and of the memory."""
        self.line.end.close()
        self.segment.close()


@dataclass
class Workers:
    """The workers of one backend; what they do beside answering is added to `acts`."""

    limits: Limits
    acts: dict[str, list[str]]
    running: dict[int, Worker] = field(default_factory=dict)
    guardian: subprocess.Popen[bytes] | None = None
    numbers: Iterator[int] = field(default_factory=lambda: count(1))  # of messages
    _line: Line | None = None

    def start(self, opening: dict[str, Any]) -> Worker:
        """Have a worker forked and tell it to import the backend, as `opening` says."""
        if self.guardian is None or self.guardian.poll() is not None:
            self._start_guardian()
        assert self._line is not None  # noqa: S101 - for the type checker
        ours, theirs = socket.socketpair()
        ours.settimeout(SLICE)
        worker = Worker(next(self.numbers), Line(ours), Segment(memory(SEGMENT)))
        self.running[worker.number] = worker
        said = framed(msgpack.packb({"do": "start", "number": worker.number}))
        with theirs:
            socket.send_fds(self._line.end, [said], [theirs.fileno(), worker.segment.descriptor])
        worker.line.send({"do": "open", "n": worker.number, **opening})
        return worker

    def close(self) -> None:
        """End all processes; the next worker starts them anew."""
        for worker in self.running.values():
            worker.close()
        self.running.clear()
        if self._line is not None:
            self._line.end.close()
            self._line = None
        if self.guardian is not None:
            if not ends(self.guardian, 5 * GRACE):
                self.guardian.kill()
                self.guardian.wait()
            self.guardian = None

    def _start_guardian(self) -> None:
        if self._line is not None:
            self._line.end.close()
        self.guardian, end, *_ = guardian()
        self._line = Line(end)

    def kill(self, worker: Worker) -> None:
        """End a worker, and the guardian with it where that does not tell of the end."""
        assert self._line is not None  # noqa: S101 - for the type checker
        with suppress(OSError):
            self._line.send({"do": "kill", "number": worker.number})
        if not self._hear_of_the_end(worker):
            self._replace_guardian()

    def _hear_of_the_end(self, worker: Worker) -> bool:
        """Wait until the guardian tells of a worker's end; return whether it does."""
        deadline = time.monotonic() + GRACE
        while worker.ended is None and time.monotonic() < deadline and self._listen(SLICE):
            pass
        return worker.ended is not None

    def _replace_guardian(self) -> None:
        """End a guardian that does not answer; its workers end with it."""
        if self.guardian is not None:
            self.guardian.kill()
            self.guardian.wait()
        self._all_ended()

    def _all_ended(self) -> None:
        for worker in self.running.values():
            worker.ended = worker.ended or {"code": 0, "output": "", "guardian": True}

    def _listen(self, seconds: float) -> bool:
        """Hear what the guardian says within some seconds; return whether it is still there."""
        if self._line is None:
            return False
        if select.select([self._line.end], [], [], seconds)[0]:
            try:
                self._line.fill()
            except EOFError:
                self._all_ended()
                return False
        while (said := self._guarded()) is not None:
            told = self.running.get(said.get("started", said.get("ended", 0)))
            if told is not None and "started" in said:
                told.pid = said["pid"]
            elif told is not None:
                told.ended = said
        return True

    def _guarded(self) -> dict[str, Any] | None:
        """Return what the guardian said, unless it is no message: then it is another's words."""
        assert self._line is not None  # noqa: S101 - for the type checker
        try:
            said: dict[str, Any] | None = self._line.pending()
        except Garbled:
            said = {}
        if said is not None and not _is_of_guardian(said):
            self._all_ended()
            return None
        return said

    def exchange(self, worker: Worker, message: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Send a message and return the answer to it."""
        message["n"] = next(self.numbers)
        try:
            worker.line.send(message)
        except OSError:
            raise WorkerEnded(self._how_it_ended(worker)) from None
        return self.wait(worker, seconds, message["n"])

    def wait(self, worker: Worker, seconds: float, number: int) -> dict[str, Any]:
        """Return the answer with that number, watching what the worker takes meanwhile."""
        start = time.monotonic()
        deadline, queued = start + seconds, dict[str, float]()
        while True:
            message: dict[str, Any] | None = worker.line.pending()
            if message is not None and "did" in message:
                self._note(worker, message)
                continue
            if message is not None:
                if message.get("n") != number:
                    raise Garbled("an answer that nobody asked for")
                return message
            if time.monotonic() > deadline:
                deadline = start + min(seconds + waited(worker.pid, queued), CROWDED * seconds)
                if time.monotonic() > deadline:
                    raise WorkerEnded(self._too_long(worker, seconds), "time")
            try:
                worker.line.fill()
            except TimeoutError:
                self._watch(worker)
                queued = queued or (queues(worker.pid) if worker.pid else {})
            except EOFError:
                raise WorkerEnded(self._how_it_ended(worker)) from None

    def _note(self, worker: Worker, message: dict[str, Any]) -> None:
        """Keep what a worker did, told at once.

        Raises:
            Garbled: it tells of more than there can be.
        """
        worker.told += 1
        if worker.told > MOST_ACTS:
            raise Garbled("more acts than there are")
        audit.add(self.acts, [message["did"]])

    def _watch(self, worker: Worker) -> None:
        """End a worker that holds too much memory or has started too many processes."""
        self._listen(0)
        if worker.ended is not None or not worker.pid:
            return
        shared = os.fstat(worker.segment.descriptor).st_blocks * 512
        if max(held(worker.pid), shared) > self.limits.memory:
            self.kill(worker)
            text = f"took more than {self.limits.memory / GIB:.3g} GiB of memory"
            raise WorkerEnded(text, "memory")
        if has_children(worker.pid):
            count = len(descendants(worker.pid, set()))
            if count > self.limits.processes:
                self.kill(worker)
                text = f"started more than {self.limits.processes} processes"
                raise WorkerEnded(text, "processes")

    def _too_long(self, worker: Worker, seconds: float) -> str:
        how = occupation(worker.pid)
        self.kill(worker)
        return f"did not return within {seconds:.3g} s{f' (it is {how})' if how else ''}"

    def _how_it_ended(self, worker: Worker) -> str:
        if not self._hear_of_the_end(worker):  # it closed its line, and goes on
            self.kill(worker)
            return "closed the line to the suite"
        assert worker.ended is not None  # noqa: S101 - for the type checker
        code = worker.ended.get("code", 0)
        wrote = _last_words(worker.ended.get("output", ""))
        if worker.ended.get("guardian"):
            return "ended the process that watches over it"
        if code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
            known = SIGNALS.get(name)
            return f"crashed: {f'{known} ({name})' if known else name}{wrote}"
        return f"ended its process with exit status {code}{wrote}"


def _is_of_guardian(said: dict[str, Any]) -> bool:
    """Return whether a message has what a guardian's have."""
    kinds = {"started": int, "pid": int, "ended": int, "code": int, "output": str, "left": int}
    whole = {"started", "pid"} <= said.keys() or {"ended", "code", "output"} <= said.keys()
    return whole and all(isinstance(one, kinds.get(name, int)) for name, one in said.items())


def memory(size: int) -> int:
    """Return the descriptor of a file without a name, which nobody can make shorter again."""
    if hasattr(os, "memfd_create"):
        import fcntl  # noqa: PLC0415 - not on every system

        descriptor = os.memfd_create("gradoracle", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(descriptor, size)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
        return descriptor
    with tempfile.TemporaryFile() as file:
        descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    return descriptor


def _last_words(output: str) -> str:
    """Return the last line that a worker wrote, printable."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if not lines:
        return ""
    return f'; it wrote "{re.sub(r"[^ -~]", "?", lines[-1])[:120]}"'
