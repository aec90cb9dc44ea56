"""Timing a function in turns with another, and what the machine could do at most."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter, process_time
from typing import Any, NamedTuple

import numpy as np

from gradoracle.conformance.backends.backend import Backend
from gradoracle.conformance.backends.caller import Candidate
from gradoracle.conformance.backends.mismatch import Mismatch
from gradoracle.oracle.declaration import (
    Call,
    Formula,
    argument_names,
    has_part,
    output_of,
    parts_of,
)
from gradoracle.oracle.shapes import Array

SHORTEST = 1e-3  # seconds of a round: shorter calls are repeated, or the clock would be timed
LEAST, MOST = 10, 60  # rounds: fewer tell no change of a few per cent from noise
SIDE = 1536  # of the matrices whose product is the machine's roof


class Sides(NamedTuple):
    """The matrices [rows, terms] and [terms, columns] of every image and group."""

    images: int
    groups: int
    rows: int
    terms: int
    columns: int


@dataclass
class Times:
    """Seconds of one call, a round each."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


class Rounds:
    """Something to be called again and again, and how long it takes."""

    def __init__(self) -> None:
        """Begin with no times."""
        self.repeat, self.times = 1, Times()

    def once(self) -> None:
        """Call it."""
        raise NotImplementedError

    def round(self) -> None:
        """Call it as often as a round takes, and keep the time of one call."""
        wall, cpu = perf_counter(), process_time()
        for _ in range(self.repeat):
            self.once()
        spent, worked = perf_counter() - wall, process_time() - cpu
        self.times.wall.append(spent / self.repeat)
        self.times.cpu.append(worked / self.repeat)


class Product(Rounds):
    """The matrix products that a sum over windows comes to, without the windows: by NumPy."""

    def __init__(self, sides: Sides, dtype: str) -> None:
        """Make matrices of these sizes."""
        super().__init__()
        random, groups = np.random.default_rng(1), sides.groups
        self._left = random.standard_normal((groups, sides.rows, sides.terms)).astype(dtype)
        self._right = random.standard_normal((groups, sides.terms, sides.columns)).astype(dtype)
        self._out = np.empty((groups, sides.rows, sides.columns), dtype)
        self._images = sides.images

    def once(self) -> None:
        """Multiply them for every image."""
        for _ in range(self._images):
            np.matmul(self._left, self._right, out=self._out)


class Timed(Rounds):
    """A backend's function on arguments of its own kind, ready to be called."""

    def __init__(self, backend: Backend, formula: Formula, call: Call) -> None:
        """Convert the arguments, which is not timed.

        Raises:
            TypeError: the backend is in a process of its own.
        """
        super().__init__()
        if not isinstance(backend.asked, Candidate):
            raise TypeError("only a backend in this process is timed")
        self._source = backend.asked.source
        positional, options = argument_names(formula)
        convert = getattr(self._source, "from_numpy", None) or (lambda array: array)
        self._arrays = [
            convert(call[n].copy()) if isinstance(call[n], np.ndarray) else call[n]
            for n in positional
        ]
        self._options = {n: call[n] for n in options}
        self.read = (*positional, *options)  # the arguments' names
        self._formula = formula
        function, self._place = output_of(formula)
        self._function = getattr(self._source, function)
        self._to_numpy = getattr(self._source, "to_numpy", None)
        self._wait = getattr(self._source, "synchronize", None)
        self.result: Any = None

    def once(self) -> None:
        """Call it; what computes later is waited for, or its result is read."""
        self.result = None  # or there would be two at a time
        self.result = self._function(*self._arrays, **self._options)
        if self._wait is not None:
            self._wait()
        elif self._to_numpy is not None:
            self._to_numpy(self._first())

    def peak(self) -> int:
        """Return the bytes that a call allocates at a time, its result's among them.

        Only what Python's allocators are told of is seen: NumPy's arrays, not PyTorch's.
        """
        self.result = None
        tracemalloc.start()
        try:
            self.once()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    def answer(self) -> Array:
        """Return the last result as a NumPy array, of several the one that the formula gives.

        Raises:
            Mismatch: it cannot be read.
        """
        return self._read(self._place)

    def answers(self, call: Call) -> dict[Formula, Array]:
        """Return all last results by their formulas, those by arrays that are None left out.

        Raises:
            Mismatch: one cannot be read.
        """
        parts = [part for part in parts_of(self._formula) if has_part(part, call)]
        return {part: self._read(output_of(part).place) for part in parts}

    def _read(self, place: int | None) -> Array:
        try:
            result = self._at(place)
            return np.asarray(self._to_numpy(result) if self._to_numpy is not None else result)
        except Exception as error:
            raise Mismatch(f"its result cannot be read: {error}") from error

    def _first(self) -> Any:
        return self._at(self._place)

    def _at(self, place: int | None) -> Any:
        several = isinstance(self.result, (tuple, list))
        return self.result[place or 0] if several else self.result


def rounds(calls: Sequence[Rounds], seconds: float) -> int:
    """Have all called twice, settle how often a round repeats each; return how many rounds fit."""
    for one in calls:
        one.once()  # compiles, fills caches
        start = perf_counter()
        one.once()
        one.repeat = max(1, min(1000, round(SHORTEST / max(perf_counter() - start, 1e-7))))
    start = perf_counter()
    for one in calls:
        one.round()
        one.times = Times()
    fitting = seconds / max(perf_counter() - start, 1e-9)
    return int(max(LEAST, min(MOST, fitting)))


def roof(dtype: str) -> float:
    """Return the multiply-adds a second of NumPy's own matrix product: the best of several."""
    a = np.random.default_rng(1).standard_normal((SIDE, SIDE)).astype(dtype)
    b, out = a.copy(), np.empty_like(a)
    return SIDE**3 / _least(lambda: np.matmul(a, b, out=out), 12)


def bandwidth() -> float:
    """Return the bytes a second that a copy reads and writes: the best of some."""
    a = np.ones(2**23)
    b = np.empty_like(a)
    return 2 * a.nbytes / _least(lambda: np.copyto(b, a), 5)


def _least(call: Callable[[], object], times: int) -> float:
    call()
    spent = []
    for _ in range(times):
        start = process_time()
        call()
        spent.append(process_time() - start)
    return min(spent)
