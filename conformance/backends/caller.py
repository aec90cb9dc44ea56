"""What is checked, asked one call at a time; all that knows how a backend's functions are called.

Nothing here checks, and nothing but NumPy, `conformance.drawing.memory_layouts`, `at_once` and
`into` is imported: this module runs beside the backend, in a worker process of its own or, on
request, in the suite's.
What it hands on are arrays that nobody else holds, and what went wrong in words.
"""

from __future__ import annotations

import importlib
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from inspect import Parameter, Signature, signature, unwrap
from types import ModuleType
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from gradoracle.conformance.backends.at_once import at_once
from gradoracle.conformance.backends.into import Into, framed, given_as
from gradoracle.conformance.drawing.memory_layouts import laid, one_each

Array: TypeAlias = npt.NDArray[Any]
Kind: TypeAlias = Literal[
    "answer",  # arrays
    "declined",  # it raised NotImplementedError
    "unsupported",  # its `supports` says that it is not made for the call
    "undecided",  # its `supports` raised
    "raised",  # it raised anything else
    "converted",  # its from_numpy raised
    "unread",  # its result raised when it was read
    "unlooked",  # an argument of its own kind cannot be read after the call
    "returned",  # what is no array, or too large to look at
    "crashed",  # its process ended, or had to be ended
]
LARGEST = 2**26  # elements of a result that are looked at; no call of ours has more than half
LARGEST_BYTES = 2**28  # of a result; no call of ours has more
LONGEST_SIGNATURE = 400  # characters
MOST_OTHERS, LONGEST_NAME = 60, 60  # names of a backend that are no protocol's, and characters
LONGEST_ERROR = 500  # characters: a fault of a kernel quotes its source line, and another one
NUMBERS = frozenset("biufc")  # kinds of dtypes that are looked at, beside bfloat16
BFLOAT16 = "bfloat16"
NO_EXCHANGE = (
    "NumPy reads no bfloat16 through DLPack: give the backend a to_numpy that returns an array of "
    "ml_dtypes.bfloat16"
)
LONG_RING = 17  # calls after which a backend with some buffers in turn is back at the first
BESIDE = 6  # calls of other functions, at most, among them
DOMAIN_KEY = "domain"  # of a contract
PLACE = "gradoracle_place"  # of a function that no line of Python defines: its file and line
ANY, MANY = "*", 99  # names, arguments by position
MASK, MASKED = "output_mask", "as its entry of output_mask is False"
PLACED = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
HELD = LONG_RING + BESIDE + 2  # results that can be shown again: two before all of those

# Bound before any backend is imported, so that one that replaces NumPy's functions replaces nothing
# here.
_asarray, _copy, _from_dlpack, _shares_memory = (
    np.asarray, np.array, np.from_dlpack, np.shares_memory,
)  # fmt: skip
_laid, _one_each, _at_once, _framed, _given_as = laid, one_each, at_once, framed, given_as
_errstate, _ndarray, _generic = np.errstate, np.ndarray, np.generic
_itself = sys.modules[__name__]  # a worker takes it out of the table of modules


@dataclass(slots=True)
class Request:
    """One call: `positional` and `options` are arrays and Python's own numbers, names and pairs."""

    function: str
    positional: Sequence[Any]
    options: Mapping[str, Any]
    place: int | None = None  # of the result asked for, where the function has several
    results: int = 1  # how many it has then
    # Of all results at once, whether there is one; where there is none, it must be None.
    present: Sequence[bool] = ()
    late: bool = False  # the result is not read before a `Look` asks for it
    layout: str = (
        ""  # of the arguments in memory, see `conformance.drawing.memory_layouts.one_each`
    )
    arguments: bool = False  # whoever asks looks at them after the call; the backend is not told
    # What `supports` is asked: the lengths of axes, and the options; None: it is not asked.
    facts: tuple[Mapping[str, int], Mapping[str, Any]] | None = None
    into: Into | None = None  # the array that the result is to be written to
    beside: Request | None = None  # a call that another thread makes at once, both so many times
    times: int = 0


@dataclass(slots=True)
class Look:
    """A look back, after calls that could not know of it.

    At the result that was given `back` calls ago, 1 being the last; with 0, at what from_numpy made
    of the last call's arguments.
    """

    function: str  # the one that was called
    back: int
    count: int = 1  # of the arrays to be shown


@dataclass(slots=True)
class Reply:
    """What came of a request.

    `arrays` are the answer and then, if asked for, the array arguments after the call; `shares` is
    the position of an argument that the answer shares its memory with.
    """

    kind: Kind
    text: str = ""
    arrays: list[Array] = field(default_factory=list)
    shares: int = -1
    dlpack: bool = False
    over: str = ""  # of "crashed": the limit that ended it, of time, memory or processes


@dataclass(frozen=True)
class Description:
    """What a backend says of itself, as plain data."""

    functions: tuple[str, ...]  # the callables it has under the protocol's names
    contract: Any
    from_numpy: bool
    to_numpy: bool
    # What each function takes, as far as its signature says: the names that it takes by name (ANY:
    # every name), and how many arguments by position.
    takes: Mapping[str, tuple[tuple[str, ...], int]] = field(default_factory=dict)
    # The parameters of the functions that show them, as in "x, weight, bias=None, *, stride".
    signatures: Mapping[str, str] = field(default_factory=dict)
    supports: bool = False  # whether it has a predicate that says which calls it is made for
    # The file and the line of each function, where there are; others may not exist.
    places: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    # Callables of its own that have other names: one may be a misspelt name of the protocol.
    others: tuple[str, ...] = ()
    inner: tuple[str, ...] = ()  # the protocol's functions that its object `backend` has


class Asked(Protocol):
    """Who performs requests: a `Candidate` right here, or one in a process of its own."""

    changed: dict[str, str]  # what calls left changed in its process, and the function called

    @property
    def description(self) -> Description:
        """What the backend says of itself."""

    def begin(self, requests: Sequence[Request | Look]) -> None:
        """Take requests that are to be performed soon, in this order: here or meanwhile."""

    def perform(self, request: Request | Look) -> Reply:
        """Return what came of a request; it never raises for what the backend does."""

    def forget(self) -> None:
        """Let go of what was begun and not asked for."""

    def renew(self) -> bool:
        """Have the next request performed where hardly any came before; return whether it will."""

    def kept(self) -> dict[str, Any]:
        """Return where it runs, and what it did there beside answering, as plain data."""

    def close(self) -> None:
        """Let go of processes and memory; the next request starts anew."""


def imported(path: str) -> Any:
    """Import what a path says: `package.module`, `package.module:object`, or `loader!file`.

    A loader is an object that makes a backend of a file that is no Python.
    """
    importable, bang, file = path.partition("!")
    module, _, attribute = importable.partition(":")
    source: Any = _itself if module == __name__ else importlib.import_module(module)
    for part in filter(None, attribute.split(".")):
        source = getattr(source, part)
    return source(file) if bang else source


def from_file(path: str) -> Any:
    """Import a file of Python, `folder/kernels.py` or `folder/kernels.py@object`.

    Its folder is where its own imports are looked for first, as where Python runs a file.
    """
    file, _, attribute = path.partition("@")
    folder, _, name = file.rpartition("/")
    stem = name.removesuffix(".py")
    sys.path.insert(0, folder or "/")
    spec = spec_from_file_location(stem if stem not in sys.modules else f"file_{stem}", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no file of Python")
    source: Any = module_from_spec(spec)
    sys.modules[spec.name] = source  # as an import does, before it runs
    spec.loader.exec_module(source)
    for part in filter(None, attribute.split(".")):
        source = getattr(source, part)
    return source


def _inner(source: Any) -> Any:
    """Return the object `backend` of a module."""
    return getattr(source, "backend", None) if isinstance(source, ModuleType) else None


def _others(source: Any, functions: Sequence[str]) -> tuple[str, ...]:
    """Return the public callables that a source itself defines beside the protocol's functions."""
    own = getattr(source, "__dict__", {})
    if not isinstance(source, (ModuleType, type)):
        own = {**vars(type(source)), **own}
    elif isinstance(source, ModuleType):  # what it has imported is not its own
        own = {n: v for n, v in own.items() if getattr(v, "__module__", "") == source.__name__}
    known = frozenset(functions)
    found = [
        name
        for name, value in own.items()
        if callable(value) and not (name.startswith("_") or name in known)
    ]
    return tuple(name for name in found if len(name) <= LONGEST_NAME)[:MOST_OTHERS]


class Candidate:
    """A backend's module or object in this process."""

    def __init__(self, source: Any, functions: Sequence[str], *, copies: bool = True) -> None:
        """Read what it says of itself; `functions` are the protocol's names.

        With `copies` the arrays of requests and replies are the caller's own; without, the backend
        is given those of the request, and those of a reply are good until the next.
        """
        self.source = source
        self.copies = copies
        self._held: deque[Any] = deque(maxlen=HELD)  # results as they came
        self._handles: list[Any] = []  # the last call's arguments, where from_numpy made them
        self.changed: dict[str, str] = {}  # here nobody looks
        self._doing: Kind = "raised"  # what it is when the backend raises now
        self.description = Description(
            tuple(name for name in functions if callable(getattr(source, name, None))),
            _plain(getattr(source, "contract", None)),
            hasattr(source, "from_numpy"),
            hasattr(source, "to_numpy"),
            _takes(source, functions),
            {name: text for name in functions if (text := _parameters(source, name))},
            callable(getattr(source, "supports", None)),
            {name: place for name in functions if (place := _place(source, name))},
            _others(source, functions),
            tuple(n for n in functions if callable(getattr(_inner(source), n, None))),
        )

    def kept(self) -> dict[str, Any]:
        """Return that it runs here."""
        return {"process": "the suite's own process"}

    def begin(self, requests: Sequence[Request | Look]) -> None:
        """Nothing is performed before it is asked for."""

    def forget(self) -> None:
        """Nothing was begun."""

    def renew(self) -> bool:
        """Return False: there is no other process."""
        return False

    def close(self) -> None:
        """Nothing is held."""

    def perform(self, request: Request | Look) -> Reply:
        """Call the function, or look back, and return what came of it.

        The backend may raise anything, pytest's Skipped and SystemExit among it; only the user's
        Ctrl-C is the user's.
        """
        self._doing = "raised"
        try:
            with _errstate(all="ignore"):
                return self._looked(request) if isinstance(request, Look) else self._called(request)
        except _Returned as returned:
            return Reply("returned", str(returned))
        except KeyboardInterrupt:
            raise
        except NotImplementedError as error:
            return Reply("declined", one_line(error))
        except BaseException as error:  # noqa: BLE001 - that is what backends raise
            given, doing = "", str(self._doing)
            if doing == "undecided" and isinstance(request, Request) and request.facts:
                given = ", given sizes {} and options {}".format(*map(dict, request.facts))
            return Reply(self._doing, one_line(error) + given)

    def _called(self, request: Request) -> Reply:
        self._held.append(None)
        if request.facts is not None:
            self._doing = "undecided"
            sizes, options = (dict(one) for one in request.facts)
            if not self.source.supports(request.function, sizes, options):
                return Reply("unsupported")
        if request.beside is not None:
            return self._both(request, request.beside)
        if request.into is not None:
            return self._written(request, request.into)
        arrays = [self._own(v, request) for v in request.positional]
        given = self._given(arrays, request.layout)
        result = self._call(request, given)
        self._held[-1] = result
        reply = Reply("answer")
        if not request.late:
            for one in result if request.present else [result]:
                answer = self._read(one, reply)
                reply.shares = max(reply.shares, _shared(answer, arrays))
                reply.arrays.append(self._kept(answer))
        if request.arguments and self.copies:
            reply.arrays += [_copy(a, order="C") for a in arrays if isinstance(a, _ndarray)]
        return reply

    def _both(self, request: Request, beside: Request) -> Reply:
        """Make two calls at once, and return the results of all calls of the first, then of both.

        Arguments are made before, and results read after, in this thread.
        """
        calls = [
            partial(self._call, one, self._given([self._own(v, one) for v in one.positional], ""))
            for one in (request, beside)
        ]
        reply = Reply("answer")
        self._doing = "raised"
        for results in _at_once(calls, request.times):
            reply.arrays += [self._kept(self._read(one, reply)) for one in results]
        return reply

    def _written(self, request: Request, into: Into) -> Reply:
        """Make a call that writes into an array, and return that with what lies around it."""
        given = self._given([self._own(v, request) for v in request.positional], request.layout)
        self._doing = "converted"
        flat, out = _given_as(into, getattr(self.source, "from_numpy", None))
        more = {"out": out} if into.beta is None else {"out": out, "beta": into.beta}
        self._doing = "raised"
        getattr(self.source, request.function)(*given, **request.options, **more)
        reply = Reply("answer")
        reply.arrays.append(_framed(into, flat, self._read(out, reply)))
        return reply

    def _looked(self, look: Look) -> Reply:
        reply = Reply("answer")
        if look.back > len(self._held):
            raise _Returned(f"nothing {look.back} calls ago")
        if look.back:
            reply.arrays.append(self._kept(self._read(self._held[-look.back], reply)))
            return reply
        self._doing = "unlooked"
        convert = getattr(self.source, "to_numpy", None) or _exchanged
        for value in self._handles:
            array = value if type(value) is _ndarray else convert(value)
            reply.arrays.append(_copy(array, order="C"))
        return reply

    def _own(self, value: Any, request: Request) -> Any:
        """Return an argument that the backend may do with as it likes.

        Who computes only when the result is read still needs it then: it must not be overwritten.
        """
        if not isinstance(value, _ndarray) or request.layout:
            return value
        return value.copy() if self.copies or request.late else value

    def _given(self, arrays: list[Any], layout: str) -> list[Any]:
        """Return the arguments as the backend takes them, as they are to lie in memory."""
        convert = getattr(self.source, "from_numpy", None)
        if convert is None and not layout:
            return arrays
        self._doing = "converted"
        given = list(arrays)
        for at, (value, one) in enumerate(zip(arrays, _one_each(layout, len(arrays)), strict=True)):
            if not isinstance(value, _ndarray):
                continue
            if convert is None:
                given[at] = _laid(value, one)
            else:
                given[at] = _laid(value, one, convert) if layout else convert(value)
        if convert is not None:
            self._handles = [
                g for g, v in zip(given, arrays, strict=True) if isinstance(v, _ndarray)
            ]
        return given

    def _kept(self, answer: Array) -> Array:
        """Return an answer that can be handed on."""
        as_it_is = answer.flags.c_contiguous and not self.copies
        return answer if as_it_is else _copy(answer, order="C")

    def _call(self, request: Request, given: Sequence[Any]) -> Any:
        """Return the result that is asked for."""
        self._doing = "raised"
        result = getattr(self.source, request.function)(*given, **request.options)
        place = request.place
        if request.present:
            why = MASKED if MASK in request.options else "as its argument is"
            return _all(result, request.present, why)
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
            result, reply.dlpack = _exchanged(result), True
        if isinstance(result, _generic):
            result = _asarray(result)  # a result without axes
        if type(result) is not _ndarray:
            raise _Returned(f"{_kind(result)}, want a NumPy array")
        if result.dtype.kind not in NUMBERS and result.dtype.name != BFLOAT16:
            raise _Returned(f"{_kind(result)}, want a NumPy array of numbers")
        if result.size > LARGEST:
            raise _Returned(f"{result.size} elements {[*result.shape]}")
        if result.nbytes > LARGEST_BYTES:
            raise _Returned(f"{result.nbytes} bytes ({describe(result)})")
        return result


def _takes(source: Any, functions: Sequence[str]) -> dict[str, tuple[tuple[str, ...], int]]:
    """Return what each function of a backend takes; of those without a signature nothing is said.

    A parameter that can be given by name is counted among those by position, too.
    """
    found = {}
    for name in functions:
        try:
            parameters = signature(getattr(source, name)).parameters.values()
        except Exception:  # noqa: BLE001, S112 - it has none, or raises anything at all
            continue
        kinds = [one.kind for one in parameters]
        named = [p.name for p in parameters if p.kind not in (p.POSITIONAL_ONLY, p.VAR_POSITIONAL)]
        by_name = (*([ANY] if Parameter.VAR_KEYWORD in kinds else []), *map(str, named))
        placed = sum(kind in PLACED for kind in kinds)
        found[name] = (by_name, MANY if Parameter.VAR_POSITIONAL in kinds else placed)
    return found


def _parameters(source: Any, name: str) -> str:
    """Return the parameters of a function without their annotations; "" if it shows none."""
    try:
        parameters = signature(getattr(source, name)).parameters.values()
    except Exception:  # noqa: BLE001 - it may be any object, and have none
        return ""
    plain = (p.replace(annotation=p.empty, default=_default(p.default)) for p in parameters)
    text = str(Signature([*plain])).replace("Ellipsis", "...")[1:-1]
    return text if len(text) <= LONGEST_SIGNATURE else ""


def _place(source: Any, name: str) -> tuple[str, int] | None:
    """Return the file and the line of a function, as it is written; None of one without any."""
    try:
        function = getattr(source, name)
        if hasattr(function, PLACE):
            file, line = getattr(function, PLACE)
            return str(file), int(line)
        while isinstance(function, partial):
            function = function.func
        function = unwrap(function)
        function = getattr(function, "__func__", function)
        code = getattr(function, "__code__", None) or type(function).__call__.__code__
    except Exception:  # noqa: BLE001 - it may be any object, and have none
        return None
    return str(code.co_filename), int(code.co_firstlineno)


def _default(value: Any) -> Any:
    plain = value is Parameter.empty or value is None or type(value) in (bool, int, float)
    return value if plain else ...


def _exchanged(result: Any) -> Array:
    """Return what came through DLPack, in which NumPy reads no bfloat16."""
    try:
        return _from_dlpack(result)
    except (BufferError, RuntimeError) as error:  # which of them depends on NumPy
        if BFLOAT16 not in str(getattr(result, "dtype", "")):
            raise
        raise BufferError(NO_EXCHANGE) from error


class _Returned(Exception):
    """A result is no array; the message says what it is."""


def _all(result: Any, present: Sequence[bool], why: str) -> list[Any]:
    """Return all results of a function but those that are rightly None."""
    if not isinstance(result, (tuple, list)) or len(result) != len(present):
        raise _Returned(f"{_kind(result)}, want {len(present)} results")
    for at, (one, is_wanted) in enumerate(zip(result, present, strict=True)):
        if one is None and is_wanted:
            raise _Returned(f"None as result {at}, want an array")
        if one is not None and not is_wanted:
            raise _Returned(f"{_kind(one)} as result {at}, want None, {why}")
    return [one for one in result if one is not None]


def _shared(answer: Array, arguments: Sequence[Any]) -> int:
    """Return the position of the argument that an answer shares memory with, or -1."""
    for at, value in enumerate(arguments):
        if isinstance(value, _ndarray) and _shares_memory(answer, value):
            return at
    return -1


def one_line(error: BaseException) -> str:
    """Return an error as `Type: text` on one line, whatever its `__str__` does."""
    try:
        text = " ".join(str(error).split())
        if isinstance(error, SyntaxError) and error.text and (line := error.text.strip()):
            text += f": {line[:80]}"
    except BaseException:  # noqa: BLE001 - it is a backend's error, and may be anything
        text = "(its text cannot be read)"
    return f"{type(error).__name__}: {text[:LONGEST_ERROR]}" if text else type(error).__name__


def printable(text: str) -> str:
    """Return a backend's own words without what moves a cursor, breaks a line or paints."""
    return "".join(c if c.isprintable() else "?" for c in text)


def describe(value: Any) -> str:
    """Return an array as dtype and shape, anything else as its short repr."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{[*value.shape]}"
    try:
        text = " ".join(repr(value).split())  # in a line
    except BaseException:  # noqa: BLE001 - it is a backend's object, and may do anything
        text = f"a {type(value).__name__} without a readable repr"
    return text if len(text) <= 60 else text[:57] + "..."


def _kind(value: Any) -> str:
    """Return what a result is, in words: its type, and dtype and shape or a short repr."""
    article = "an" if type(value).__name__[:1] in "aeiouAEIOU" else "a"
    if type(value) is tuple:
        held = ", ".join(describe(one) for one in value[:3]) + ", ..." * (len(value) > 3)
        return f"a tuple of {len(value)} ({held})"
    return f"{article} {type(value).__name__} ({describe(value)})"


def _paired(value: Any) -> Any:
    """Return a domain with its pairs as texts: as lists they would be several values."""
    if isinstance(value, Mapping):
        return {key: _paired(v) for key, v in value.items()}
    if isinstance(value, list):
        return [_paired(v) for v in value]
    return str(value) if isinstance(value, tuple) else value


def _plain(value: Any) -> Any:
    """Return a contract as what JSON can hold; what it cannot, as its repr."""
    if value is None or isinstance(value, (bool, float, str)):
        return value
    if isinstance(value, int) and abs(value) < 2**63:
        return value
    if isinstance(value, Mapping):
        return {
            key if isinstance(key, str) else repr(key): _plain(
                _paired(v) if key == DOMAIN_KEY else v
            )
            for key, v in value.items()
        }
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(v) for v in value]
    return describe(value)
