"""The suite's side: a backend in a worker, whose every end is a reply like any other."""

from __future__ import annotations

import sys
import weakref
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, NamedTuple

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
from gradoracle.conformance.backends.isolation.limits import Limits
from gradoracle.conformance.backends.isolation.requests import bytes_of, key_of, laid, wanted
from gradoracle.conformance.backends.isolation.wire import Garbled, is_plain, names, takes_of
from gradoracle.conformance.backends.isolation.workers import Worker, WorkerEnded, Workers

TOGETHER, ROOM = 64, 1 << 20  # requests in a message at most, and about the bytes of their arrays
MOST_ARGUMENTS = 64  # more than any function of the protocol has
NEARLY_FRESH = 0  # answers of a worker: after one already, a fresh one may know less
LONGEST_PATH, LAST_LINE = 4096, 2**31  # of where a function is
MOST_CHANGES = 16  # of its surroundings that a worker tells of at a time
GONE = "(no longer loaded)"  # in a version's place
KINDS = (
    "answer", "declined", "unsupported", "undecided", "raised", "converted", "unread", "unlooked",
    "returned",
)  # fmt: skip


class Unloadable(Exception):
    """The backend cannot be imported, or says of itself what cannot be read; `read` tells which."""

    def __init__(self, reason: str, *, read: bool = False) -> None:
        """Remember why."""
        super().__init__(reason)
        self.read = read


def _close(workers: Workers) -> None:
    """End all processes; where even that fails, the guardian ends as its line is closed."""
    with suppress(Exception):
        workers.close()


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
    _workers: Workers = field(init=False)
    _worker: Worker | None = field(default=None, init=False)
    _spare: Worker | None = field(default=None, init=False)
    _ahead: deque[Request | Look] = field(default_factory=deque, init=False)  # begun, not sent yet
    _sent: deque[_Sent] = field(default_factory=deque, init=False)  # not answered
    _early: dict[int, tuple[Request | Look, Reply]] = field(default_factory=dict, init=False)
    _earlier: dict[str, str] = field(default_factory=dict, init=False)  # workers' modules
    # Functions and dtypes that the worker compiled; and a call of each that returned.
    _seen: set[tuple[str, str]] = field(default_factory=set, init=False)
    _returned: dict[tuple[str, str], Request | Look] = field(default_factory=dict, init=False)
    _known: set[tuple[str, str]] = field(default_factory=set, init=False)  # that ever returned
    _stuck: set[str] = field(default_factory=set, init=False)  # functions that did not return
    _hangs: str = field(default="", init=False)  # why no worker can be started any more
    _workers_class: ClassVar[type[Workers]] = Workers

    def __post_init__(self) -> None:
        """Start nothing yet; processes end with this object, even if `close` is never called."""
        self._workers = self._workers_class(self.limits, self.acts)
        # Runs before the finalizers of a garbage cycle, which may close sockets in any order.
        weakref.finalize(self, _close, self._workers)

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
            self._workers.kill(worker)
        if self._worker is worker:
            self._drop(worker)
        return True

    def loaded(self) -> dict[str, Any]:
        """Return the modules that the backend loaded, with versions, and those it was refused."""
        self.forget()
        try:
            message = self._workers.exchange(self._ready(), {"do": "loaded"}, self.limits.call)
        except (WorkerEnded, Garbled, Unloadable):
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
        self._worker = self._spare = None
        self._workers.close()

    # -- workers ----------------------------------------------------------------------------------

    def _ready(self) -> Worker:
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

    def _opened(self, worker: Worker) -> Worker:
        """Return a worker that was started, once the backend is imported there."""
        self._worker = worker
        if self.ends:
            self._spare = self._start()  # the next one imports it meanwhile
        try:
            message = self._workers.wait(worker, self.limits.start, worker.number)
        except (WorkerEnded, Garbled) as error:
            self._bury(worker)
            why = f"{error}, while it was imported"
            if isinstance(error, WorkerEnded) and error.over == "time":
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
                takes_of(told.get("takes"), has),
                _signatures(told.get("signatures"), self.functions),
                told.get("supports") is True,
                _places(told.get("places"), self.functions),
                _others(told.get("others")),
                tuple(n for n in self.functions if n in _others(told.get("inner"))),
            )

    def _start(self) -> Worker:
        """Have a worker started that imports the backend."""
        return self._workers.start(
            {
                "source": self.source, "functions": [*self.functions], "path": sys.path,
                "forbidden": [*self.forbidden],
            }
        )  # fmt: skip

    def _end(self, worker: Worker) -> None:
        """Kill a worker and wait until it and all that it started are gone."""
        self._workers.kill(worker)
        self._bury(worker)

    def _bury(self, worker: Worker) -> None:
        self.ends += 1
        self._drop(worker)

    def _drop(self, worker: Worker) -> None:
        self._workers.running.pop(worker.number, None)
        self._seen.clear()  # whoever comes next may have to compile all of it again
        worker.close()
        if self._worker is worker:
            self._worker = None
            # What it did not answer is for the next one.
            self._ahead.extendleft(sent.request for sent in reversed(self._sent))
            self._sent.clear()

    # -- messages ---------------------------------------------------------------------------------

    def _with_those_behind(self, request: Request | Look) -> list[Request | Look]:
        """Return a request and, if it was begun, as many that follow as go in one message."""
        chosen, room = [request], ROOM
        if any(one is request for one in self._ahead):
            while self._ahead.popleft() is not request:
                pass
            while self._ahead and room > 0 and len(chosen) < TOGETHER:
                chosen.append(self._ahead.popleft())
                room -= bytes_of(chosen[-1])
        return chosen

    def _send(self, requests: Sequence[Request | Look]) -> None:
        """Send requests in one message; whether it arrives, their replies tell.

        Raises:
            Unloadable: no worker can be had.
        """
        worker = self._compiled(self._ready(), requests[0])
        self._dispatch(worker, requests)

    def _compiled(self, worker: Worker, request: Request | Look) -> Worker:
        """Return a worker in which a function that did not return may be timed again.

        A fresh one compiles first, on a call that returned before: what it takes for that is not
        the time of the call that is to be made small.
        """
        key = key_of(request)
        known = self._returned.get(key) if request.function in self._stuck else None
        if known is None or key in self._seen:
            return worker
        del self._returned[key]  # it is there again when it returns
        self._dispatch(worker, [known])
        self._answer_all()
        self._early.pop(id(known), None)
        return self._ready()

    def _dispatch(self, worker: Worker, requests: Sequence[Request | Look]) -> None:
        """Send requests to a worker that is ready."""
        numbers = [next(self._workers.numbers) for _ in requests]
        try:
            calls, looked_at = laid(requests, worker.segment)
        except (OSError, ValueError) as error:
            text = f"the memory that it shares with the suite holds no call ({one_line(error)})"
            self._early[id(requests[0])] = requests[0], Reply("crashed", text)
            self._ahead.extendleft(reversed(requests[1:]))
            self._end(worker)
            return
        message = {"do": "call", "n": numbers[0], "calls": calls, "top": worker.segment.top}
        with suppress(OSError):
            worker.line.send(message)
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
        key = key_of(request)
        try:
            message = self._workers.wait(worker, self._limit(request), sent.number)
            reply = self._reply(sent, message, worker)
        except WorkerEnded as end:
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
        self._known.add(key)
        first = key not in self._returned and isinstance(request, Request)
        if first and reply.kind == "answer" and bytes_of(request) <= ROOM:
            self._returned[key] = request
        return reply

    def _limit(self, request: Request | Look) -> float:
        """Return how long a request may take: longer where the function may compile first.

        One that did not return within that, and never returned, is given no time to compile again:
        every call tried to make the failing one smaller would cost as much.
        """
        key = key_of(request)
        never = request.function in self._stuck and key not in self._known
        if key in self._seen or never:
            return self.limits.call
        return max(self.limits.call, self.limits.first)

    def _reply(self, sent: _Sent, message: dict[str, Any], worker: Worker) -> Reply:
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
        count = wanted(sent.request) if kind == "answer" else 0
        arrays = worker.segment.read(message.get("arrays", []), count, most)
        for name in names(message.get("changed", []), MOST_CHANGES):
            if len(self.changed) < MOST_CHANGES:
                self.changed.setdefault(printable(name)[:60], sent.request.function)
        arrays += worker.segment.read(sent.places, len(sent.places), LARGEST_BYTES * MOST_ARGUMENTS)
        return Reply(kind, text, [a.copy() for a in arrays], shares, message.get("dlpack") is True)


def _signatures(told: Any, functions: Sequence[str]) -> dict[str, str]:
    """Return the signatures that a worker tells of the protocol's functions; no others."""
    if not isinstance(told, dict):
        return {}
    return {
        name: printable(told[name])
        for name in functions
        if isinstance(told.get(name), str) and len(told[name]) <= LONGEST_SIGNATURE
    }


def _others(told: Any) -> tuple[str, ...]:
    """Return the names that a worker tells; those that are none are left out."""
    names = told if isinstance(told, list | tuple) else ()
    return tuple(name for name in names if isinstance(name, str) and name.isidentifier())


def _places(told: Any, functions: Sequence[str]) -> dict[str, tuple[str, int]]:
    """Return the files and lines that a worker tells of the protocol's functions; no others."""
    found = {}
    for name in functions if isinstance(told, dict) else ():
        match told.get(name):
            case [str(file), int(line)] if len(file) <= LONGEST_PATH and 0 < line < LAST_LINE:
                found[name] = printable(file), line
    return found
