"""A backend as the suite sees it: something that is asked, and whose answers are not trusted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from conformance.mismatch import Answer, Declined, Mismatch, describe
from conformance.operators import OPERATORS
from conformance.protocol import Contract, read_contract
from oracle.formula import Call, Chained, Formula, algebra, argument_names, output_of
from oracle.geometry import Array

FUNCTIONS = tuple(
    dict.fromkeys(
        output_of(f).function
        for operator in OPERATORS
        for f in operator.formulas
        if not isinstance(algebra(f), Chained)
    )
)
OUTPUTS = {
    output_of(f).function: 1 + len(operator.also) for operator in OPERATORS for f in operator.also
}
RETURNED = "returned"  # how the headline of a result that is no array begins
LARGEST = 2**26  # elements of a result that are looked at; no call of ours has a tenth of it


@dataclass
class Backend:
    """A named candidate: `source` is the module or object that has the protocol's functions."""

    name: str
    source: Any
    origin: str = ""  # the distribution it came from, or "this process"
    path: str = ""  # the import path that a script can use, where there is one
    contract: Contract = field(init=False)
    answers: list[Answer] = field(default_factory=list, repr=False)  # of the call being judged
    speaks_dlpack: bool = field(default=False, init=False)  # its results came through DLPack

    def __post_init__(self) -> None:
        """Read the contract, so that a wrong one is told before anything runs."""
        self.contract = read_contract(getattr(self.source, "contract", None), FUNCTIONS)

    @property
    def functions(self) -> tuple[str, ...]:
        """The functions of the protocol that the backend has and claims."""
        claimed = FUNCTIONS if self.contract.functions is None else self.contract.functions
        return tuple(name for name in claimed if callable(getattr(self.source, name, None)))

    @property
    def missing(self) -> tuple[str, ...]:
        """The functions that the contract claims and the backend does not have."""
        claimed = self.contract.functions or ()
        return tuple(name for name in claimed if name not in self.functions)

    def has(self, formula: Formula) -> bool:
        """Return whether the backend has and claims what gives the formula's answer.

        One that goes back through a max pooling without indices need not return them.
        """
        if isinstance(algebra(formula), Chained):
            return True  # its links are asked for one by one
        function, place = output_of(formula)
        if place and "max_pool2d_vjp" in self.functions:
            return "max_pool2d_grad_input" in self.functions
        return function in self.functions

    def ask(self, formula: Formula, call: Call) -> Array:
        """Return the backend's answer, as a NumPy array of its own.

        The backend is given copies, so whatever it does to them stays its own.

        Raises:
            Declined: it raised NotImplementedError.
            Mismatch: it raised anything else, or what it returned is not an array.
        """
        return self._answer(formula, call, self._given(formula, call))

    def changed_arguments(self, formula: Formula, call: Call) -> list[str]:
        """Return the names of the arguments that the backend changes."""
        given = self._given(formula, call)
        self._answer(formula, call, given)
        sentence = f"{formula.__name__}: to_numpy does not read what from_numpy made: {{}}"
        with _verdicts(sentence):
            left = {n: self._look(call[n], value) for n, value in given.items()}
        return [name for name, now in left.items() if not _is_still(call[name], now)]

    def reuses_memory(self, formula: Formula, call: Call, other: Call) -> str:
        """Return how a result is not a new array: an argument, or changed by the next call."""
        given = self._given(formula, call)
        result = self._call(formula, given)
        if isinstance(result, np.ndarray):
            for name, value in given.items():
                if isinstance(value, np.ndarray) and np.shares_memory(result, value):
                    return f"its result shares memory with its argument {name}"
        before = self._read(formula, result)
        self._call(formula, self._given(formula, other))
        if _is_still(before, self._read(formula, result)):
            return ""
        return "an earlier result changed when it was called again: it is not a new array"

    def refuses(self, formula: Formula, call: Call) -> tuple[bool, Any]:
        """Return whether the backend raises on this call, and what it returned if it does not."""
        try:
            return False, self._read(formula, self._call(formula, self._given(formula, call)))
        except (Declined, Mismatch) as refusal:
            no_array = isinstance(refusal, Mismatch) and f": {RETURNED} " in refusal.headline
            return not no_array, refusal

    def _answer(self, formula: Formula, call: Call, given: dict[str, Any]) -> Array:
        record = Answer(formula, call, None)
        self.answers.append(record)
        record.value = self._read(formula, self._call(formula, given))
        return record.value

    def _call(self, formula: Formula, given: dict[str, Any]) -> Any:
        """Call the backend's function; what it raises is a verdict."""
        positional, options = argument_names(formula)
        function, place = output_of(formula)
        with _verdicts(f"{function}: raised {{}} on a legal call"):
            result = getattr(self.source, function)(
                *(given[name] for name in positional), **{name: given[name] for name in options}
            )
        if place is None or (place == 0 and not isinstance(result, (tuple, list))):
            return result
        if not isinstance(result, (tuple, list)) or len(result) != OUTPUTS[function]:
            raise Mismatch(
                f"{function}: {RETURNED} {_kind(result)}, want {OUTPUTS[function]} results"
            )
        return result[place]

    def _given(self, formula: Formula, call: Call) -> dict[str, Any]:
        """Return fresh copies of what `formula` takes, in the backend's own arrays."""
        convert = getattr(self.source, "from_numpy", None)
        positional, options = argument_names(formula)
        with _verdicts(f"{formula.__name__}: its from_numpy raised {{}}"):
            return {name: _copied(call[name], convert) for name in (*positional, *options)}

    def _read(self, formula: Formula, result: Any) -> Array:
        """Return a result as a NumPy array that nobody else holds."""
        name = formula.__name__
        with _verdicts(f"{name}: its result cannot be read as an array: {{}}"):
            convert = getattr(self.source, "to_numpy", None)
            if convert is not None:
                result = convert(result)
            elif not isinstance(result, np.ndarray) and hasattr(result, "__dlpack__"):
                result = np.from_dlpack(result)
                self.speaks_dlpack = True
            if isinstance(result, np.generic):
                result = np.asarray(result)  # a result without axes
            if type(result) is not np.ndarray:
                raise Mismatch(f"{name}: {RETURNED} {_kind(result)}, want a NumPy array")
            if result.size > LARGEST:
                raise Mismatch(f"{name}: {RETURNED} {result.size} elements {[*result.shape]}")
            return np.array(result)

    def _look(self, before: Any, now: Any) -> Any:
        """Return an array argument as it is after the call; anything else is its own."""
        if not isinstance(before, np.ndarray) or type(now) is np.ndarray:
            return now
        convert = getattr(self.source, "to_numpy", None)
        return np.array(convert(now)) if convert is not None else np.array(np.from_dlpack(now))


@contextmanager
def _verdicts(sentence: str) -> Iterator[None]:
    """Turn whatever goes wrong inside the backend into a verdict on it; {} is the error.

    A backend may raise anything, pytest's Skipped and SystemExit among it; only the user's
    Ctrl-C is the user's.
    """
    try:
        with np.errstate(all="ignore"):
            yield
    except (Mismatch, KeyboardInterrupt):
        raise
    except NotImplementedError as error:
        raise Declined(one_line(error)) from error
    except BaseException as error:
        raise Mismatch(sentence.replace("{}", one_line(error))) from error


def one_line(error: BaseException) -> str:
    """Return an error as `Type: text` on one line, whatever its `__str__` does."""
    try:
        text = " ".join(str(error).split())
    except BaseException:  # noqa: BLE001 - it is a backend's error, and may be anything
        text = "(its text cannot be read)"
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__


def _is_still(before: Any, now: Any) -> bool:
    """Whether an argument is bit for bit what it was."""
    if not isinstance(before, np.ndarray):
        return bool(before == now)
    return bool(before.shape == now.shape and before.tobytes() == now.tobytes())


def _copied(value: Any, convert: Callable[[Array], Any] | None) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    return value.copy() if convert is None else convert(value.copy())


def _kind(value: Any) -> str:
    """Return what a result is, in words: its type, and dtype and shape or a short repr."""
    article = "an" if type(value).__name__[:1] in "aeiouAEIOU" else "a"
    return f"{article} {type(value).__name__} ({describe(value)})"
