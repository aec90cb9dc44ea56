"""The process between the suite and its workers: it starts them, and ends all that they started.

It holds nothing worth knowing.  Every worker is forked from it with NumPy already imported, in a
session of its own.  Descendants whose parent has ended become the guardian's children, so none is
lost sight of; when a worker ends, or the suite does, whatever is left is killed.
"""

from __future__ import annotations

import ctypes
import os
import selectors
import signal
import socket
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from gradoracle.conformance.backends.isolation.wire import Line
from gradoracle.conformance.backends.isolation.worker import serve

TAIL = 4096  # bytes of a worker's output that are kept
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
ALIVE = 1.0  # seconds after which the guardian looks whether the suite is still there


@dataclass
class Worker:
    """A worker of ours: its process, the pipe with its output, and the end of that."""

    number: int
    pid: int
    output: int
    tail: bytearray = field(default_factory=bytearray)


def main() -> None:
    """Serve the suite on the socket whose descriptor is the first argument, until it is closed."""
    with suppress(ImportError):  # where it is missing, so is bfloat16
        import_module("ml_dtypes")  # once, and no worker's backend is said to have loaded it
    end = socket.socket(fileno=int(sys.argv[1]))
    Guardian(end).serve()
    os._exit(0)  # the suite waits for it, and taking the interpreter down has no use


class Guardian:
    """Starts, watches and ends workers."""

    def __init__(self, end: socket.socket) -> None:
        """Become the parent of whatever loses its own."""
        self.end, self.line = end, Line(end)
        self.workers: dict[int, Worker] = {}
        self.suite = os.getppid()
        _prctl(PR_SET_CHILD_SUBREAPER, 1)
        self.selector = selectors.DefaultSelector()
        self.selector.register(end, selectors.EVENT_READ)
        wake, self.woken = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(self.woken, False)
        self.wake = wake
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self.woken, warn_on_full_buffer=False)
        self.selector.register(wake, selectors.EVENT_READ)

    def serve(self) -> None:
        """Do what the suite says until it is gone."""
        try:
            while os.getppid() == self.suite:
                for key, _ in self.selector.select(ALIVE):
                    if key.fileobj is self.end:
                        self._command()
                    elif key.fd == self.wake:
                        with suppress(BlockingIOError):
                            os.read(self.wake, 512)
                    else:
                        self._drain(key.data)
                self._reap()
        except (EOFError, OSError):
            pass
        finally:
            for worker in self.workers.values():
                with suppress(ProcessLookupError):
                    os.kill(worker.pid, signal.SIGKILL)
            _kill_descendants(spared=set())

    def _command(self) -> None:
        message, descriptors, _, _ = socket.recv_fds(self.end, 1 << 16, 2)
        if not message:
            raise EOFError
        self.line.take(message)  # descriptors come beside the bytes
        while (said := self.line.pending()) is not None:
            if said["do"] == "start":
                self._start(said, descriptors)
            elif said["do"] == "kill":
                self._kill(said["number"])

    def _start(self, said: dict[str, Any], descriptors: list[int]) -> None:
        output, inlet = os.pipe()
        pid = os.fork()
        if pid == 0:
            _become_worker(descriptors, inlet)
        os.close(inlet)
        for descriptor in descriptors:
            os.close(descriptor)
        os.set_blocking(output, False)
        worker = Worker(said["number"], pid, output)
        self.workers[worker.number] = worker
        self.selector.register(output, selectors.EVENT_READ, worker)
        self.line.send({"started": worker.number, "pid": pid})

    def _kill(self, number: int) -> None:
        worker = self.workers.get(number)
        if worker is not None:
            with suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGKILL)

    def _drain(self, worker: Worker) -> None:
        """Keep the end of a worker's output; the pipe never fills up."""
        try:
            while came := os.read(worker.output, 1 << 16):
                worker.tail += came
                del worker.tail[:-TAIL]
        except BlockingIOError:
            return
        self._deaf(worker)

    def _deaf(self, worker: Worker) -> None:
        if worker.output >= 0:
            self.selector.unregister(worker.output)
            os.close(worker.output)
            worker.output = -1

    def _reap(self) -> None:
        """Collect processes that ended; tell of workers, after what they left behind is gone."""
        ended = {}
        with suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                ended[found[0]] = found[1]
        for worker in [w for w in self.workers.values() if w.pid in ended]:
            del self.workers[worker.number]
            left = _kill_descendants(spared={w.pid for w in self.workers.values()})
            if worker.output >= 0:
                self._drain(worker)
                self._deaf(worker)
            self.line.send(
                {
                    "ended": worker.number,
                    "code": os.waitstatus_to_exitcode(ended[worker.pid]),
                    "output": worker.tail.decode(errors="replace"),
                    "left": left,
                }
            )


def _become_worker(descriptors: list[int], output: int) -> None:
    """Turn a forked guardian into a worker; never returns."""
    code = 1
    try:
        os.setsid()
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        keep = sorted(descriptors)
        for low, high in zip([2, *keep], [*keep, 1 << 16], strict=True):
            os.closerange(low + 1, high)
        _limit()
        serve(socket.socket(fileno=descriptors[0]), descriptors[1])
    except EOFError:
        code = 0  # the suite has no more to ask
    except BaseException as error:  # noqa: BLE001 - told on stderr, which the guardian keeps
        with suppress(BaseException):
            os.write(2, f"\n{type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(code)


def _limit() -> None:
    """Let a worker dump no core, and be the first to go where memory runs out."""
    import resource  # noqa: PLC0415 - not on every system

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _prctl(option: int, value: int) -> None:
    """Set a property of this process that Linux has and other systems do not."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _kill_descendants(spared: set[int]) -> int:
    """Kill all processes below this one but `spared` and theirs; return how many there were."""
    killed: set[int] = set()
    end = time.monotonic() + 5
    while time.monotonic() < end:
        found = descendants(os.getpid(), spared)
        if not found:
            break
        for pid in found:  # stopped first, so that none starts others meanwhile
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGSTOP)
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        killed |= found
        time.sleep(0.002)
    return len(killed)


def descendants(ancestor: int, spared: set[int]) -> set[int]:
    """Return the processes below one, but `spared` and those below them; none without /proc."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            state, parent = (
                (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
            )
            if state != "Z":
                children.setdefault(int(parent), []).append(int(entry.name))
    found: set[int] = set()
    ahead = [ancestor]
    while ahead:
        for child in children.get(ahead.pop(), ()):
            if child not in spared and child not in found:
                found.add(child)
                ahead.append(child)
    return found


if __name__ == "__main__":
    main()
