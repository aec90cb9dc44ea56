"""The process that a backend runs in: it imports it, answers requests and knows no truth."""

from __future__ import annotations

import importlib
import importlib.abc
import locale
import os
import socket
import struct
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from gradoracle.conformance.backends.at_once import at_once
from gradoracle.conformance.backends.caller import (
    LARGEST_BYTES,
    Candidate,
    Look,
    Reply,
    Request,
    imported,
    one_line,
)
from gradoracle.conformance.backends.into import Into
from gradoracle.conformance.backends.isolation import audit
from gradoracle.conformance.backends.isolation.wire import Line, Segment, tupled
from gradoracle.conformance.drawing.memory_layouts import laid

OURS = [
    sys.modules[name]
    for name in (
        Candidate.__module__, laid.__module__, Line.__module__, __name__, at_once.__module__,
        Into.__module__,
    )
]  # fmt: skip
# Bound before a backend is imported, see `conformance.backends.caller`.
_getcwd, _setlocale, _geterr, _modules = os.getcwd, locale.setlocale, np.geterr, sys.modules
_pack, _clock = struct.pack, time.monotonic


def serve(end: socket.socket, descriptor: int) -> None:
    """Answer what comes until the other end is closed."""
    line, segment = Line(end), Segment(descriptor)
    candidate: Candidate | None = None
    forbidden, surroundings = _Forbidden(), _Surroundings()
    while True:
        message = line.receive()
        do, number = message["do"], message["n"]
        if do == "open":
            source, path = message["source"], message["path"]
            done = audit.apart().watch(end.sendall, source, path, message["forbidden"])
            candidate, reply = _open(message, forbidden)
            line.send({"n": number, **reply})
        elif do == "loaded":
            reply = {"modules": _loaded(forbidden.ours), "refused": sorted(forbidden.refused)}
            line.send({"n": number, "acts": done(), **reply})
        else:
            assert candidate is not None, "a backend is opened first"  # noqa: S101
            segment.top = message["top"]
            for count, call in enumerate(message["calls"]):
                reply = _written(candidate.perform(_request(call, segment)), segment)
                if changed := surroundings.changed():
                    reply["changed"] = changed
                line.send({"n": number + count, **reply})


def _open(
    message: dict[str, Any], forbidden: _Forbidden
) -> tuple[Candidate | None, dict[str, Any]]:
    """Import a backend and return it with its description, or with why it cannot be loaded."""
    forbidden.names = frozenset(message["forbidden"])
    _hide_the_suite()
    forbidden.ours = frozenset(_modules)
    sys.path[:] = message["path"]
    sys.argv[:] = [""]
    sys.meta_path.insert(0, forbidden)
    warnings.resetwarnings()
    warnings.simplefilter("ignore")  # a warning is neither a refusal nor a fault
    try:
        source = imported(message["source"])
    except BaseException as error:  # noqa: BLE001 - an import may raise anything
        return None, {"error": one_line(error)}
    try:
        candidate = Candidate(source, message["functions"], copies=False)
    except BaseException as error:  # noqa: BLE001 - it may have attributes that raise
        return None, {"unreadable": one_line(error)}
    return candidate, {"description": asdict(candidate.description)}


def _hide_the_suite() -> None:
    """Take the modules that run here out of the table: a backend could look for them there.

    What a backend imports of gradoracle is imported anew.
    """
    for name in [*_modules]:
        if name.partition(".")[0] == audit.NAMESPACE:
            del _modules[name]


def _request(call: list[Any], segment: Segment) -> Request | Look:
    """Return a request whose arrays lie in the segment, as the suite's `_message` wrote it."""
    if len(call) == 2:
        return Look(*call)
    function, given, options, place, results, present, late, layout, facts, further = call
    asked = (facts[0], _options(facts[1])) if facts else None
    how = {"late": late, "layout": layout, "facts": asked, **_further(further, segment)}
    positional = _positional(given, segment)
    return Request(function, positional, _options(options), place, results, present, **how)


def _positional(given: list[Any], segment: Segment) -> list[Any]:
    return [
        segment.array(value["array"], LARGEST_BYTES) if isinstance(value, dict) else tupled(value)
        for value in given
    ]


def _further(further: list[Any], segment: Segment) -> dict[str, Any]:
    """Return where a result is to be written, or the call that another thread makes."""
    if len(further) == len(fields(Into)):
        (flat,), shape, beta = _positional(further[:1], segment), *further[1:]
        return {"into": Into(flat, tupled(shape), beta)}
    if not further:
        return {}
    times, function, given, options, place, results = further
    beside = Request(function, _positional(given, segment), _options(options), place, results)
    return {"times": times, "beside": beside}


def _options(options: dict[str, Any]) -> dict[str, Any]:
    return {name: tupled(value) for name, value in options.items()}


def _written(reply: Reply, segment: Segment) -> dict[str, Any]:
    try:
        places = [segment.lay(array) for array in reply.arrays]
    except (OSError, ValueError) as error:
        return {"kind": "returned", "text": f"more than can be handed on ({one_line(error)})"}
    short: dict[str, Any] = {"kind": reply.kind, "arrays": places}
    if reply.text:
        short["text"] = reply.text.encode("ascii", "backslashreplace").decode()
    if reply.shares >= 0:
        short["shares"] = reply.shares
    if reply.dlpack:
        short["dlpack"] = True
    return short


class _Surroundings:
    """What a call has no business to change, looked at as cheaply as can be told."""

    NAMES = (
        "the working directory", "the locale", "NumPy's error handling", "how floats round",
        "the code of the suite",
    )  # fmt: skip
    SMALLEST, THREE = 2.0**-1022, 3.0
    PAUSE = 0.01  # seconds: calls are shorter than a look would be worth

    def __init__(self) -> None:
        self.parts = _parts()
        self.before = self.now()
        self.next = 0.0

    def now(self) -> tuple[Any, ...]:
        """Return the folder, the locale, NumPy's modes, and halves and thirds as they round."""
        try:
            folder = _getcwd()
        except OSError:
            folder = ""
        # as bytes: subnormals that are flushed are also equal to 0
        rounded = _pack("3d", self.SMALLEST / 2, 1 / self.THREE, -1 / self.THREE)
        return folder, _setlocale(locale.LC_ALL), _geterr(), rounded, _replaced(self.parts)

    def changed(self) -> list[str]:
        """Return the names of what changed since this was asked last, a little while ago."""
        if _clock() < self.next:
            return []
        now = self.now()
        self.next = _clock() + self.PAUSE
        if now == self.before:
            return []
        names = [n for n, a, b in zip(self.NAMES, now, self.before, strict=True) if a != b]
        self.before = now
        return names


def _parts() -> list[tuple[Mapping[str, Any], str, Any, Any]]:
    """Return the functions and classes that run beside the backend, each with its holder."""
    found = []
    for module in OURS:
        names = vars(module)
        for holder in [names, *(vars(v) for v in names.values() if isinstance(v, type))]:
            for name, value in holder.items():
                if getattr(value, "__module__", "") == module.__name__:
                    found.append((holder, name, value, getattr(value, "__code__", None)))
    return found


def _replaced(parts: list[tuple[Mapping[str, Any], str, Any, Any]]) -> int:
    """Return how many of them are not what they were."""
    return sum(
        holder.get(name) is not value or getattr(value, "__code__", None) is not code
        for holder, name, value, code in parts
    )


class _Forbidden(importlib.abc.MetaPathFinder):
    """Refuses to import what the user forbids, and remembers that it was tried."""

    def __init__(self) -> None:
        self.names: frozenset[str] = frozenset()
        self.ours: frozenset[str] = frozenset()  # modules that were there before the backend
        self.refused: set[str] = set()

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> None:
        """Raise for a forbidden module; leave all others to those who find them."""
        del path, target
        if any(name == one or name.startswith(f"{one}.") for one in self.names):
            self.refused.add(name)
            raise ModuleNotFoundError(f"{name} is forbidden by --forbid", name=name)


def _loaded(ours: frozenset[str]) -> dict[str, str]:
    """Return the libraries that the backend loaded, with versions where they have one."""
    found = {}
    for name, module in list(_modules.items()):
        if audit.library(name) != name or name == audit.NAMESPACE or name.startswith("_"):
            continue
        if name in ours | sys.stdlib_module_names:
            continue
        version = getattr(module, "__version__", "")
        found[name] = version if isinstance(version, str) else ""
    return found
