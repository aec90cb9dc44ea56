"""The suite's side: a backend in a worker, whose every end is a reply like any other."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgpack
import numpy as np

from gradoracle.conformance.backends.caller import (
    LARGEST_BYTES,
    LONGEST_SIGNATURE,
    Description,
    Look,
    Reply,
    Request,
    one_line,
    printable,
)
from gradoracle.conformance.backends.isolation import audit
from gradoracle.conformance.backends.isolation.guardian import descendants
from gradoracle.conformance.backends.isolation.start import guardian
from gradoracle.conformance.backends.isolation.wire import (
    Array,
    Garbled,
    Line,
    Segment,
    framed,
    is_plain,
    names,
)

SLICE = 0.02  # seconds between two looks at what a worker takes
LOOKS = 5  # in such a slice, at whether it computes
CROWDED = 2  # times a limit, at most, where a worker waits for a processor
GRACE = 2.0  # seconds that the guardian has to tell of an end
SEGMENT = 1 << 20  # bytes to begin with
TOGETHER, ROOM = 64, 1 << 20  # requests in a message at most, and about the bytes of their arrays
GIB = 1 << 30
MOST_ARGUMENTS = 64  # more than any function of the protocol has
NEARLY_FRESH = 0  # answers of a worker: after one already, a fresh one may know less
MOST_CHANGES = 16  # of its surroundings that a worker tells of at a time
MOST_ACTS = 4096  # that a worker and what it forks may tell of
GONE = "(no longer loaded)"  # in a version's place
KINDS = ("answer", "declined", "raised", "converted", "unread", "unlooked", "returned")
SIGNALS = {
    "SIGSEGV": "segmentation fault", "SIGABRT": "abort", "SIGBUS": "bus error",
    "SIGFPE": "arithmetic exception", "SIGILL": "illegal instruction",
    "SIGKILL": "killed, perhaps for want of memory",
}  # fmt: skip


def available() -> bool:
    """Return whether this system has what isolation takes: forks, and descriptors that travel."""
    return hasattr(os, "fork") and hasattr(socket, "send_fds")


@dataclass(frozen=True)
class Limits:
    """What a backend may take; each is a verdict when it takes more."""

    call: float = 10.0  # seconds of a call
    first: float = 15.0  # seconds of a function's first call in a dtype: it may compile
    start: float = 60.0  # seconds of the import
    memory: int = 8 * GIB  # bytes that its process holds
    processes: int = 64  # that it started and that run at a time


class Unloadable(Exception):
    """The backend cannot be imported, or says of itself what cannot be read; `read` tells which."""

    def __init__(self, reason: str, *, read: bool = False) -> None:
        """Remember why."""
        super().__init__(reason)
        self.read = read


class _Ended(Exception):
    """The worker is gone, or was ended; the message is a sentence for a report."""

    def __init__(self, sentence: str, over: str = "") -> None:
        """Remember the sentence, and the limit at which the worker was ended, if it was."""
        super().__init__(sentence)
        self.over = over


@dataclass
class _Worker:
    number: int
    line: Line
    segment: Segment
    pid: int = 0
    ended: dict[str, Any] | None = None  # what the guardian told of its end
    told: int = 0  # acts
    answers: int = 0

    def close(self) -> None:
        self.line.end.close()
        self.segment.close()


class _Sent(NamedTuple):
    """A request that a worker has, and where the arrays that are looked at afterwards lie."""

    number: int
    request: Request | Look
    places: list[Any]


@dataclass
class Isolated:
    """A backend that is imported and asked in a worker, never here.

    `source` is an import path, `functions` the protocol's names, `forbidden` the modules that it
    may not import.
    """

    source: str
    functions: Sequence[str]
    limits: Limits = field(default_factory=Limits)
    forbidden: Sequence[str] = ()
    changed: dict[str, str] = field(default_factory=dict, init=False)  # what a call left changed
    acts: dict[str, list[str]] = field(default_factory=dict, init=False)  # beside answering
    ends: int = field(default=0, init=False)  # how many workers ended in a call
    _description: Description | None = field(default=None, init=False)
    _loaded: dict[str, Any] | None = field(default=None, init=False)
    _guardian: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _line: Line | None = field(default=None, init=False)
    _workers: dict[int, _Worker] = field(default_factory=dict, init=False)
    _worker: _Worker | None = field(default=None, init=False)
    _spare: _Worker | None = field(default=None, init=False)
    _ahead: deque[Request | Look] = field(default_factory=deque, init=False)  # begun, not sent yet
    _sent: deque[_Sent] = field(default_factory=deque, init=False)  # not answered
    _early: dict[int, tuple[Request | Look, Reply]] = field(default_factory=dict, init=False)
    _asked: int = field(default=0, init=False)  # messages so far
    _earlier: dict[str, str] = field(default_factory=dict, init=False)  # workers' modules
    # Functions and dtypes that the worker compiled; and a call of each that returned.
    _seen: set[tuple[str, str]] = field(default_factory=set, init=False)
    _returned: dict[tuple[str, str], Request | Look] = field(default_factory=dict, init=False)
    _stuck: set[str] = field(default_factory=set, init=False)  # functions that did not return
    _hangs: str = field(default="", init=False)  # why no worker can be started any more

    @property
    def description(self) -> Description:
        """What the backend says of itself.

        Raises:
            Unloadable: it cannot be imported; the message is why.
        """
        if self._description is None:
            self._ready()
        assert self._description is not None  # noqa: S101 - for the type checker
        return self._description

    def begin(self, requests: Iterable[Request | Look]) -> None:
        """Take requests to send along with the first of them that is asked for.

        The worker performs them in this order, while the suite checks the replies before.
        """
        self._ahead += requests

    def perform(self, request: Request | Look) -> Reply:
        """Return what came of a request; "crashed" where the worker ended or had to be."""
        while (early := self._early.pop(id(request), None)) is None:
            if not any(sent.request is request for sent in self._sent):
                self._answer_all()
                try:
                    self._send(self._with_those_behind(request))
                except Unloadable as error:
                    text = f"its process cannot be started again: {error}"
                    return Reply("crashed", text, over="time" if self._hangs else "")
            if self._sent:
                self._answer_next()
        return early[1]

    def forget(self) -> None:
        """Let go of what was begun and not asked for."""
        self._ahead.clear()
        self._answer_all()
        self._ahead.clear()
        self._early.clear()

    def renew(self) -> bool:
        """End a worker that answered requests, so that a fresh one is asked next.

        Returns whether it did: False where the worker is fresh, too.
        """
        self.forget()
        worker = self._worker
        if worker is None or worker.ended is not None or worker.answers <= NEARLY_FRESH:
            return False
        self._earlier = self.loaded()["modules"]  # what a call loaded, the next worker may not load
        if worker.ended is None:
            self._kill(worker)
        if self._worker is worker:
            self._drop(worker)
        return True

    def loaded(self) -> dict[str, Any]:
        """Return the modules that the backend loaded, with versions, and those it was refused."""
        self.forget()
        try:
            message = self._exchange(self._ready(), {"do": "loaded"}, self.limits.call)
        except (_Ended, Garbled, Unloadable):
            message = {}
        modules, refused = message.get("modules"), message.get("refused")
        audit.add(self.acts, message.get("acts"))
        if not isinstance(modules, dict):
            modules = {}
        refused = [*map(str, refused)] if isinstance(refused, list) else []
        once = {**dict.fromkeys(self.acts.get(audit.LOADED, ()), GONE), **self._earlier}
        return {
            "modules": {str(k): str(v) for k, v in sorted({**once, **modules}.items())},
            "refused": sorted({*refused, *self.acts.get(audit.REFUSED, ())}),
        }

    def kept(self) -> dict[str, Any]:
        """Return where it runs, within which limits, and what it did there beside answering."""
        if self._loaded is None:
            self._loaded = self.loaded()
        return {
            "process": "a process of its own", "limits": asdict(self.limits),
            "forbidden": [*self.forbidden], **self._loaded,
            "acts": {act: sorted(self.acts[act]) for act in audit.SHOWN if act in self.acts},
        }  # fmt: skip

    def close(self) -> None:
        """End all processes; the next request starts them anew."""
        if self._worker is not None and self._worker.ended is None:
            self._loaded = self.loaded()
        self._sent.clear()
        for worker in self._workers.values():
            worker.close()
        self._workers.clear()
        self._worker = self._spare = None
        if self._line is not None:
            self._line.end.close()
            self._line = None
        if self._guardian is not None:
            if not _ends(self._guardian, 5 * GRACE):
                self._guardian.kill()
                self._guardian.wait()
            self._guardian = None

    def __del__(self) -> None:
        """Leave no process behind."""
        try:  # noqa: SIM105 - at the interpreter's end `suppress` may be gone
            self.close()
        except Exception:  # noqa: BLE001, S110
            pass

    # -- workers ----------------------------------------------------------------------------------

    def _ready(self) -> _Worker:
        """Return a worker that has imported the backend."""
        if self._worker is not None and self._worker.ended is None:
            return self._worker
        if self._worker is not None:
            self._bury(self._worker)
        if self._hangs:
            raise Unloadable(self._hangs)
        if self._spare is not None:
            spare, self._spare = self._spare, None
            if spare.ended is None:
                return self._opened(spare)
            self._drop(spare)  # it went down with the guardian
        return self._opened(self._start())

    def _opened(self, worker: _Worker) -> _Worker:
        """Return a worker that was started, once the backend is imported there."""
        self._worker = worker
        if self.ends:
            self._spare = self._start()  # the next one imports it meanwhile
        try:
            message = self._wait(worker, self.limits.start, worker.number)
        except (_Ended, Garbled) as error:
            self._bury(worker)
            why = f"{error}, while it was imported"
            if isinstance(error, _Ended) and error.over == "time":
                why = self._hangs = f"{why}; --import-timeout allows more"
            raise Unloadable(why) from None
        try:
            self._describe(message)
        except Garbled as error:
            self._end(worker)
            raise Unloadable(f"its process says {error} of it") from None
        return worker

    def _describe(self, message: dict[str, Any]) -> None:
        if "error" in message:
            raise Unloadable(printable(str(message["error"])))
        if "unreadable" in message:
            raise Unloadable(printable(str(message["unreadable"])), read=True)
        if self._description is None:
            told = message.get("description")
            if not isinstance(told, dict) or not is_plain(told.get("contract")):
                raise Garbled("no description")
            has = names(told.get("functions"), len(self.functions))
            self._description = Description(
                tuple(name for name in self.functions if name in has),
                told.get("contract"),
                told.get("from_numpy") is True,
                told.get("to_numpy") is True,
                _signatures(told.get("signatures"), self.functions),
            )

    def _start(self) -> _Worker:
        """Have a worker forked and tell it to import the backend."""
        if self._guardian is None or self._guardian.poll() is not None:
            self._start_guardian()
        assert self._line is not None  # noqa: S101 - for the type checker
        ours, theirs = socket.socketpair()
        ours.settimeout(SLICE)
        self._asked += 1
        worker = _Worker(self._asked, Line(ours), Segment(_memory(SEGMENT)))
        self._workers[worker.number] = worker
        said = framed(msgpack.packb({"do": "start", "number": worker.number}))
        with theirs:
            socket.send_fds(self._line.end, [said], [theirs.fileno(), worker.segment.descriptor])
        worker.line.send(
            {
                "do": "open", "n": worker.number, "source": self.source,
                "functions": [*self.functions], "path": sys.path, "forbidden": [*self.forbidden],
            }
        )  # fmt: skip
        return worker

    def _start_guardian(self) -> None:
        if self._line is not None:
            self._line.end.close()
        self._guardian, end, *_ = guardian()
        self._line = Line(end)

    def _end(self, worker: _Worker) -> None:
        """Kill a worker and wait until it and all that it started are gone."""
        self._kill(worker)
        self._bury(worker)

    def _kill(self, worker: _Worker) -> None:
        assert self._line is not None  # noqa: S101 - for the type checker
        with suppress(OSError):
            self._line.send({"do": "kill", "number": worker.number})
        if not self._hear_of_the_end(worker):
            self._replace_guardian()

    def _hear_of_the_end(self, worker: _Worker) -> bool:
        """Wait until the guardian tells of a worker's end; return whether it does."""
        deadline = time.monotonic() + GRACE
        while worker.ended is None and time.monotonic() < deadline and self._listen(SLICE):
            pass
        return worker.ended is not None

    def _replace_guardian(self) -> None:
        """End a guardian that does not answer; its workers end with it."""
        if self._guardian is not None:
            self._guardian.kill()
            self._guardian.wait()
        self._all_ended()

    def _all_ended(self) -> None:
        for worker in self._workers.values():
            worker.ended = worker.ended or {"code": 0, "output": "", "guardian": True}

    def _bury(self, worker: _Worker) -> None:
        self.ends += 1
        self._drop(worker)

    def _drop(self, worker: _Worker) -> None:
        self._workers.pop(worker.number, None)
        self._seen.clear()  # whoever comes next may have to compile all of it again
        worker.close()
        if self._worker is worker:
            self._worker = None
            # What it did not answer is for the next one.
            self._ahead.extendleft(sent.request for sent in reversed(self._sent))
            self._sent.clear()

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
            told = self._workers.get(said.get("started", said.get("ended", 0)))
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

    # -- messages ---------------------------------------------------------------------------------

    def _with_those_behind(self, request: Request | Look) -> list[Request | Look]:
        """Return a request and, if it was begun, as many that follow as go in one message."""
        chosen, room = [request], ROOM
        if any(one is request for one in self._ahead):
            while self._ahead.popleft() is not request:
                pass
            while self._ahead and room > 0 and len(chosen) < TOGETHER:
                chosen.append(self._ahead.popleft())
                room -= _bytes(chosen[-1])
        return chosen

    def _send(self, requests: Sequence[Request | Look]) -> None:
        """Send requests in one message; whether it arrives, their replies tell.

        Raises:
            Unloadable: no worker can be had.
        """
        worker = self._compiled(self._ready(), requests[0])
        self._dispatch(worker, requests)

    def _compiled(self, worker: _Worker, request: Request | Look) -> _Worker:
        """Return a worker in which a function that did not return may be timed again.

        A fresh one compiles first, on a call that returned before: what it takes for that is not
        the time of the call that is to be made small.
        """
        key = _key(request)
        known = self._returned.get(key) if request.function in self._stuck else None
        if known is None or key in self._seen:
            return worker
        del self._returned[key]  # it is there again when it returns
        self._dispatch(worker, [known])
        self._answer_all()
        self._early.pop(id(known), None)
        return self._ready()

    def _dispatch(self, worker: _Worker, requests: Sequence[Request | Look]) -> None:
        """Send requests to a worker that is ready."""
        first = self._asked + 1
        self._asked += len(requests)
        try:
            calls, looked_at = _laid(requests, worker.segment)
        except (OSError, ValueError) as error:
            text = f"the memory that it shares with the suite holds no call ({one_line(error)})"
            self._early[id(requests[0])] = requests[0], Reply("crashed", text)
            self._ahead.extendleft(reversed(requests[1:]))
            self._end(worker)
            return
        message = {"do": "call", "n": first, "calls": calls, "top": worker.segment.top}
        with suppress(OSError):
            worker.line.send(message)
        numbers = range(first, first + len(requests))
        self._sent += map(_Sent, numbers, requests, looked_at)

    def _answer_all(self) -> None:
        while self._sent:
            self._answer_next()

    def _answer_next(self) -> None:
        """Wait for the reply to the first request that has none yet, and keep it."""
        sent = self._sent.popleft()
        self._early[id(sent.request)] = sent.request, self._answered(sent)

    def _answered(self, sent: _Sent) -> Reply:
        request, worker = sent.request, self._worker
        assert worker is not None, "it is let go of with all that was sent to it"  # noqa: S101
        key = _key(request)
        limits = self.limits
        limit = limits.call if key in self._seen else max(limits.call, limits.first)
        try:
            reply = self._reply(sent, self._wait(worker, limit, sent.number), worker)
        except _Ended as end:
            self._bury(worker)
            if end.over == "time":
                self._stuck.add(request.function)
            return Reply("crashed", str(end), over=end.over)
        except Garbled as error:
            text = f"something else than answers is on the suite's line ({error})"
            self._end(worker)
            return Reply("crashed", text)
        worker.answers += 1
        self._seen.add(key)
        first = key not in self._returned and isinstance(request, Request)
        if first and reply.kind == "answer" and _bytes(request) <= ROOM:
            self._returned[key] = request
        return reply

    def _exchange(self, worker: _Worker, message: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Send a message and return the answer to it."""
        self._asked += 1
        message["n"] = self._asked
        try:
            worker.line.send(message)
        except OSError:
            raise _Ended(self._how_it_ended(worker)) from None
        return self._wait(worker, seconds, self._asked)

    def _wait(self, worker: _Worker, seconds: float, number: int) -> dict[str, Any]:
        """Return the answer with that number, watching what the worker takes meanwhile."""
        start = time.monotonic()
        deadline, waited = start + seconds, dict[str, float]()
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
                deadline = start + min(seconds + _waited(worker.pid, waited), CROWDED * seconds)
                if time.monotonic() > deadline:
                    raise _Ended(self._too_long(worker, seconds), "time")
            try:
                worker.line.fill()
            except TimeoutError:
                self._watch(worker)
                waited = waited or (_queues(worker.pid) if worker.pid else {})
            except EOFError:
                raise _Ended(self._how_it_ended(worker)) from None

    def _note(self, worker: _Worker, message: dict[str, Any]) -> None:
        """Keep what a worker did, told at once.

        Raises:
            Garbled: it tells of more than there can be.
        """
        worker.told += 1
        if worker.told > MOST_ACTS:
            raise Garbled("more acts than there are")
        audit.add(self.acts, [message["did"]])

    def _watch(self, worker: _Worker) -> None:
        """End a worker that holds too much memory or has started too many processes."""
        self._listen(0)
        if worker.ended is not None or not worker.pid:
            return
        shared = os.fstat(worker.segment.descriptor).st_blocks * 512
        if max(_held(worker.pid), shared) > self.limits.memory:
            self._kill(worker)
            text = f"took more than {self.limits.memory / GIB:.3g} GiB of memory"
            raise _Ended(text, "memory")
        if _has_children(worker.pid):
            count = len(descendants(worker.pid, set()))
            if count > self.limits.processes:
                self._kill(worker)
                text = f"started more than {self.limits.processes} processes"
                raise _Ended(text, "processes")

    def _too_long(self, worker: _Worker, seconds: float) -> str:
        how = _occupation(worker.pid)
        self._kill(worker)
        return f"did not return within {seconds:.3g} s{f' (it is {how})' if how else ''}"

    def _how_it_ended(self, worker: _Worker) -> str:
        if not self._hear_of_the_end(worker):  # it closed its line, and goes on
            self._kill(worker)
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

    def _reply(self, sent: _Sent, message: dict[str, Any], worker: _Worker) -> Reply:
        """Return a worker's answer as a Reply.

        Raises:
            Garbled: it is no answer to this request.
        """
        kind, text, shares = message.get("kind"), message.get("text", ""), message.get("shares", -1)
        if kind not in KINDS or not isinstance(text, str) or len(text) > 1000:
            raise Garbled("an answer of no kind")
        if not (isinstance(shares, int) and -1 <= shares < MOST_ARGUMENTS):
            raise Garbled("an argument that there is not")
        most = min(LARGEST_BYTES, self.limits.memory // 2)
        count = _wanted(sent.request) if kind == "answer" else 0
        arrays = worker.segment.read(message.get("arrays", []), count, most)
        for name in names(message.get("changed", []), MOST_CHANGES):
            if len(self.changed) < MOST_CHANGES:
                self.changed.setdefault(printable(name)[:60], sent.request.function)
        arrays += worker.segment.read(sent.places, len(sent.places), LARGEST_BYTES * MOST_ARGUMENTS)
        return Reply(kind, text, [a.copy() for a in arrays], shares, message.get("dlpack") is True)


def _ends(process: subprocess.Popen[bytes], seconds: float) -> bool:
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


def _is_of_guardian(said: dict[str, Any]) -> bool:
    """Return whether a message has what a guardian's have."""
    kinds = {"started": int, "pid": int, "ended": int, "code": int, "output": str, "left": int}
    whole = {"started", "pid"} <= said.keys() or {"ended", "code", "output"} <= said.keys()
    return whole and all(isinstance(one, kinds.get(name, int)) for name, one in said.items())


def _signatures(told: Any, functions: Sequence[str]) -> dict[str, str]:
    """Return the signatures that a worker tells of the protocol's functions; no others."""
    if not isinstance(told, dict):
        return {}
    return {
        name: printable(told[name])
        for name in functions
        if isinstance(told.get(name), str) and len(told[name]) <= LONGEST_SIGNATURE
    }


def _key(request: Request | Look) -> tuple[str, str]:
    """Return what tells a first call from others: the function and the dtype."""
    return request.function, next((array.dtype.char for array in _arrays(request)), "")


def _wanted(request: Request | Look) -> int:
    """Return how many arrays an answer has."""
    if isinstance(request, Look):
        return request.count
    return 0 if request.late else 1


def _laid(
    requests: Sequence[Request | Look], segment: Segment
) -> tuple[list[list[Any]], list[list[Any]]]:
    """Lay the requests' arrays into the segment and return the rest of them as plain data.

    With each request go the places of its arrays that are looked at afterwards.
    """
    segment.top = 0
    calls: list[list[Any]] = []
    looked_at: list[list[Any]] = []
    for one in requests:
        places: list[Any] = []
        if isinstance(one, Look):
            calls.append([one.function, one.back])
        else:
            given = [_plain(value, segment, places) for value in one.positional]
            how = [one.place, one.results, one.late, one.layout]
            calls.append([one.function, given, one.options, *how])
        looked_at.append(places if isinstance(one, Request) and one.arguments else [])
    return calls, looked_at


def _plain(value: Any, segment: Segment, places: list[Any]) -> Any:
    """Return a positional argument as plain data, an array by its place."""
    if not isinstance(value, np.ndarray):
        return value
    dtype, shape, start = segment.lay(value)
    places.append([dtype, [*shape], start])
    return {"array": places[-1]}


def _arrays(request: Request | Look) -> list[Array]:
    positional = request.positional if isinstance(request, Request) else ()
    return [value for value in positional if isinstance(value, np.ndarray)]


def _bytes(request: Request | Look) -> int:
    """Return how much room a request's arrays take."""
    return sum(array.nbytes for array in _arrays(request))


def _memory(size: int) -> int:
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


def _held(pid: int) -> int:
    """Return the bytes of memory that a process holds, 0 where that cannot be told."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _queues(pid: int) -> dict[str, float]:
    """Return how long each thread of a process has waited for a processor, in seconds.

    None where the system does not tell.
    """
    found = {}
    for thread in Path(f"/proc/{pid}/task").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):
            told = (thread / "schedstat").read_text(encoding="ascii").split()
            found[thread.name] = int(told[1]) * 1e-9
    return found


def _waited(pid: int, before: dict[str, float]) -> float:
    """Return how long a process, or one below it, has waited for a processor since `before`.

    On a busy machine that is no fault of the backend, and does not count.
    """
    now = {}
    for one in (pid, *descendants(pid, set())) if pid else ():
        now.update(_queues(one))
    return max((seconds - before.get(thread, 0.0) for thread, seconds in now.items()), default=0.0)


def _has_children(pid: int) -> bool:
    try:
        return any(
            (task / "children").read_text(encoding="ascii").strip()
            for task in Path(f"/proc/{pid}/task").iterdir()
        )
    except OSError:
        return True  # not told on this system: count them


def _occupation(pid: int) -> str:
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


def _last_words(output: str) -> str:
    """Return the last line that a worker wrote, printable."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if not lines:
        return ""
    return f'; it wrote "{re.sub(r"[^ -~]", "?", lines[-1])[:120]}"'
