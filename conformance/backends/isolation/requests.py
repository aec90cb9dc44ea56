"""Requests as messages to a worker: plain data, and arrays by their place in shared memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradoracle.conformance.backends.caller import Look, Request
from gradoracle.conformance.backends.isolation.wire import Array, Segment


def key_of(request: Request | Look) -> tuple[str, str]:
    """Return what tells a first call from others: the function and the dtype."""
    return request.function, next((array.dtype.char for array in _arrays(request)), "")


def wanted(request: Request | Look) -> int:
    """Return how many arrays an answer has."""
    if isinstance(request, Look):
        return request.count
    if request.beside is not None:
        return 2 * request.times
    return 0 if request.late else (sum(request.present) or 1)


def laid(
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
            how = [one.place, one.results, one.present, one.late, one.layout, one.facts]
            calls.append([one.function, given, one.options, *how, _further(one, segment)])
        looked_at.append(places if isinstance(one, Request) and one.arguments else [])
    return calls, looked_at


def _further(one: Request, segment: Segment) -> list[Any]:
    """Return where a result is to be written, or the call that another thread makes."""
    if one.into is not None:
        return [_plain(one.into.flat, segment, []), [*one.into.shape], one.into.beta]
    if one.beside is not None:
        given = [_plain(value, segment, []) for value in one.beside.positional]
        return [one.times, one.beside.function, given, one.beside.options, one.beside.place,
                one.beside.results]  # fmt: skip
    return []


def _plain(value: Any, segment: Segment, places: list[Any]) -> Any:
    """Return a positional argument as plain data, an array by its place."""
    if not isinstance(value, np.ndarray):
        return value
    dtype, shape, start = segment.lay(value)
    places.append([dtype, [*shape], start])
    return {"array": places[-1]}


def _arrays(request: Request | Look) -> list[Array]:
    if isinstance(request, Look):
        return []
    into = [] if request.into is None else [request.into.flat]
    beside = [] if request.beside is None else _arrays(request.beside)
    own = [value for value in request.positional if isinstance(value, np.ndarray)]
    return [*own, *into, *beside]


def bytes_of(request: Request | Look) -> int:
    """Return how much room a request's arrays take."""
    return sum(array.nbytes for array in _arrays(request))
