"""What is judged, asked one call at a time; all that knows how a backend's functions are called.

Nothing here judges, and nothing but NumPy is imported: this module runs beside the backend, in a
worker process of its own or, on request, in the suite's.  What it hands on are arrays that nobody
else holds, and what went wrong in words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Kind: TypeAlias = Literal[
    "answer",  # arrays
    "declined",  # it raised NotImplementedError
    "raised",  # it raised anything else
    "converted",  # its from_numpy raised
    "unread",  # its result raised when it was read
    "unlooked",  # an argument of its own kind cannot be read after the call
    "returned",  # what is no array, or too large to look at
    "crashed",  # its process ended, or had to be ended
]
Look: TypeAlias = Literal["", "arguments", "memory"]  # at what else than the answer
LARGEST = 2**26  # elements of a result that are looked at; no call of ours has a tenth of it

# Bound before any backend is imported, so that one that replaces NumPy's functions replaces nothing
# here.
_asarray, _copy, _from_dlpack, _shares_memory = (
    np.asarray, np.array, np.from_dlpack, np.shares_memory,
)  # fmt: skip
_errstate, _ndarray, _generic = np.errstate, np.ndarray, np.generic


@dataclass(slots=True)
class Request:
    """One call: `positional` and `options` are arrays and Python's own numbers, names and pairs."""

    function: str
    positional: Sequence[Any]
    options: Mapping[str, Any]
    place: int | None = None  # of the result asked for, where the function has several
    results: int = 1  # how many it has then
    look: Look = ""
    other: tuple[Sequence[Any], Mapping[str, Any]] | None = None  # the next call, for "memory"


@dataclass(slots=True)
class Reply:
    """What came of a request.

    `arrays` are the answer and then, as asked, the array arguments after the call, or the answer
    as it is after the next call; `shares` is the position of an argument that shares its memory.
    """

    kind: Kind
    text: str = ""
    arrays: list[Array] = field(default_factory=list)
    shares: int = -1
    dlpack: bool = False


@dataclass(frozen=True)
class Description:
    """What a backend says of itself, as plain data."""

    functions: tuple[str, ...]  # the callables it has under the protocol's names
    contract: Any
    from_numpy: bool
    to_numpy: bool


class Asked(Protocol):
    """Who performs requests: a `Candidate` right here, or one in a process of its own."""

    changed: dict[str, str]  # what calls left changed in its process, and the function called

    @property
    def description(self) -> Description:
        """What the backend says of itself."""

    def begin(self, requests: Sequence[Request]) -> None:
        """Take requests that are to be performed soon, in this order: here or meanwhile."""

    def perform(self, request: Request) -> Reply:
        """Return what came of a request; it never raises for what the backend does."""

    def forget(self) -> None:
        """Let go of what was begun and not asked for."""

    def kept(self) -> dict[str, Any]:
        """Return where it runs, and what it did there beside answering, as plain data."""

    def close(self) -> None:
        """Let go of processes and memory; the next request starts anew."""


class Candidate:
    """A backend's module or object in this process."""

    def __init__(self, source: Any, functions: Sequence[str], *, copies: bool = True) -> None:
        """Read what it says of itself; `functions` are the protocol's names.

        With `copies` a reply is the caller's own; without, it is good until the next request.
        """
        self.source = source
        self.copies = copies
        self.changed: dict[str, str] = {}  # here nobody looks
        self._doing: Kind = "raised"  # what it is when the backend raises now
        self.description = Description(
            tuple(name for name in functions if callable(getattr(source, name, None))),
            _plain(getattr(source, "contract", None)),
            hasattr(source, "from_numpy"),
            hasattr(source, "to_numpy"),
        )

    def kept(self) -> dict[str, Any]:
        """Return that it runs here."""
        return {"process": "the suite's own process"}

    def begin(self, requests: Sequence[Request]) -> None:
        """Nothing is performed before it is asked for."""

    def forget(self) -> None:
        """Nothing was begun."""

    def close(self) -> None:
        """Nothing is held."""

    def perform(self, request: Request) -> Reply:
        """Call the function once, or twice, and return what came of it.

        The backend is given copies, so whatever it does to them stays its own.  It may raise
        anything, pytest's Skipped and SystemExit among it; only the user's Ctrl-C is the user's.
        """
        self._doing = "raised"
        try:
            with _errstate(all="ignore"):
                return self._perform(request)
        except _Returned as returned:
            return Reply("returned", str(returned))
        except KeyboardInterrupt:
            raise
        except NotImplementedError as error:
            return Reply("declined", one_line(error))
        except BaseException as error:  # noqa: BLE001 - that is what backends raise
            return Reply(self._doing, one_line(error))

    def _perform(self, request: Request) -> Reply:
        given, options = self._given(request.positional, request.options)
        result = self._call(request, given, options)
        reply = Reply("answer")
        answer = self._read(result, reply)
        if self.copies or request.look or not answer.flags.c_contiguous:
            answer = _copy(answer, order="C")
        reply.arrays.append(answer)
        if request.look == "arguments":
            reply.arrays += self._after(request.positional, given)
        elif request.other is not None:
            reply.shares = _shared(result, given)
            self._call(request, *self._given(*request.other))
            reply.arrays.append(_copy(self._read(result, reply), order="C"))
        return reply

    def _given(
        self, positional: Sequence[Any], options: Mapping[str, Any]
    ) -> tuple[list[Any], dict[str, Any]]:
        self._doing = "converted"
        convert = getattr(self.source, "from_numpy", None)
        return (
            [_copied(value, convert) for value in positional],
            {name: _copied(value, convert) for name, value in options.items()},
        )

    def _call(self, request: Request, given: Sequence[Any], options: Mapping[str, Any]) -> Any:
        """Return the result that is asked for."""
        self._doing = "raised"
        result = getattr(self.source, request.function)(*given, **options)
        place = request.place
        if place is None or (place == 0 and not isinstance(result, (tuple, list))):
            return result
        if not isinstance(result, (tuple, list)) or len(result) != request.results:
            raise _Returned(f"{_kind(result)}, want {request.results} results")
        return result[place]

    def _read(self, result: Any, reply: Reply) -> Array:
        """Return a result as a NumPy array."""
        self._doing = "unread"
        convert = getattr(self.source, "to_numpy", None)
        if convert is not None:
            result = convert(result)
        elif not isinstance(result, _ndarray) and hasattr(result, "__dlpack__"):
            result, reply.dlpack = _from_dlpack(result), True
        if isinstance(result, _generic):
            result = _asarray(result)  # a result without axes
        if type(result) is not _ndarray:
            raise _Returned(f"{_kind(result)}, want a NumPy array")
        if result.size > LARGEST:
            raise _Returned(f"{result.size} elements {[*result.shape]}")
        return result

    def _after(self, before: Sequence[Any], given: Sequence[Any]) -> list[Array]:
        """Return every array argument as it is after the call."""
        self._doing = "unlooked"
        convert = getattr(self.source, "to_numpy", None)
        arrays = []
        for value, now in zip(before, given, strict=True):
            if isinstance(value, _ndarray):
                if type(now) is not _ndarray:
                    now = convert(now) if convert is not None else _from_dlpack(now)  # noqa: PLW2901
                arrays.append(_copy(now, order="C"))
        return arrays


class _Returned(Exception):
    """A result is no array; the message says what it is."""


def _shared(result: Any, given: Sequence[Any]) -> int:
    """Return the position of the argument that a result shares memory with, or -1."""
    if isinstance(result, _ndarray):
        for at, value in enumerate(given):
            if isinstance(value, _ndarray) and _shares_memory(result, value):
                return at
    return -1


def one_line(error: BaseException) -> str:
    """Return an error as `Type: text` on one line, whatever its `__str__` does."""
    try:
        text = " ".join(str(error).split())
    except BaseException:  # noqa: BLE001 - it is a backend's error, and may be anything
        text = "(its text cannot be read)"
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__


def printable(text: str) -> str:
    """Return a backend's own words without what moves a cursor, breaks a line or paints."""
    return "".join(c if c.isprintable() else "?" for c in text)


def describe(value: Any) -> str:
    """Return an array as dtype and shape, anything else as its short repr."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{[*value.shape]}"
    try:
        text = repr(value)
    except BaseException:  # noqa: BLE001 - it is a backend's object, and may do anything
        text = f"a {type(value).__name__} without a readable repr"
    return text if len(text) <= 60 else text[:57] + "..."


def _kind(value: Any) -> str:
    """Return what a result is, in words: its type, and dtype and shape or a short repr."""
    article = "an" if type(value).__name__[:1] in "aeiouAEIOU" else "a"
    return f"{article} {type(value).__name__} ({describe(value)})"


def _copied(value: Any, convert: Callable[[Array], Any] | None) -> Any:
    if not isinstance(value, _ndarray):
        return value
    return value.copy() if convert is None else convert(value.copy())


def _plain(value: Any) -> Any:
    """Return a contract as what JSON can hold; what it cannot, as its repr."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else repr(key): _plain(v) for key, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(v) for v in value]
    return describe(value)
