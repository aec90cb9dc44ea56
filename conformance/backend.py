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
from oracle.formula import Call, Formula, argument_names
from oracle.geometry import Array

FUNCTIONS = tuple(f.__name__ for operator in OPERATORS for f in operator.formulas)


@dataclass
class Backend:
    """A named candidate: `source` is the module or object that has the protocol's functions."""

    name: str
    source: Any
    origin: str = ""  # the distribution it came from, or "this process"
    path: str = ""  # the import path that a script can use, where there is one
    contract: Contract = field(init=False)
    answers: list[Answer] = field(default_factory=list, repr=False)  # of the call being judged

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

    def ask(self, formula: Formula, call: Call) -> Array:
        """Return the backend's answer, as a NumPy array of its own.

        The backend is given copies, so whatever it does to them stays its own.

        Raises:
            Declined: it raised NotImplementedError.
            Mismatch: it raised anything else, or what it returned is not an array.
        """
        return self.ask_and_look(formula, call)[0]

    def ask_and_look(self, formula: Formula, call: Call) -> tuple[Array, dict[str, Any]]:
        """Return the answer, and the arguments as the backend left them, by name."""
        record = Answer(formula, call, None)
        self.answers.append(record)
        with _verdicts(f"{formula.__name__}: its from_numpy raised {{}}"):
            arguments = self._arguments(formula, call)
        positional, options = argument_names(formula)
        with _verdicts(f"{formula.__name__}: raised {{}} on a legal call"):
            result = getattr(self.source, formula.__name__)(
                *(arguments[name] for name in positional),
                **{name: arguments[name] for name in options},
            )
        kind = type(result).__name__
        with _verdicts(
            f"{formula.__name__}: its result ({kind}) is not readable as an array: {{}}"
        ):
            record.value = self._as_array(formula.__name__, result)
            left = {name: self._look(name, value) for name, value in arguments.items()}
        return record.value, left

    def refuses(self, formula: Formula, call: Call) -> tuple[bool, Any]:
        """Return whether the backend raises on this call, and what it returned if it does not."""
        arguments = self._arguments(formula, call)
        positional, options = argument_names(formula)
        try:
            result = getattr(self.source, formula.__name__)(
                *(arguments[name] for name in positional),
                **{name: arguments[name] for name in options},
            )
        except (Exception, SystemExit):  # noqa: BLE001 - any refusal will do
            return True, None
        return False, result

    def _arguments(self, formula: Formula, call: Call) -> dict[str, Any]:
        """Return fresh copies of what `formula` takes, in the backend's own arrays."""
        convert = getattr(self.source, "from_numpy", None)
        positional, options = argument_names(formula)
        return {name: _copied(call[name], convert) for name in (*positional, *options)}

    def _as_array(self, name: str, result: Any) -> Array:
        convert = getattr(self.source, "to_numpy", None)
        if convert is not None:
            result = convert(result)
        elif not isinstance(result, np.ndarray) and hasattr(result, "__dlpack__"):
            result = np.from_dlpack(result)
        if type(result) is not np.ndarray:
            raise Mismatch(f"{name}: returned {_kind(result)}, want a NumPy array")
        return np.array(result)

    def _look(self, name: str, value: Any) -> Any:
        """Return an argument as it is now, to be compared with what was given."""
        plain = isinstance(value, np.ndarray | tuple | int | type(None))
        return value if plain else self._as_array(name, value)


@contextmanager
def _verdicts(sentence: str) -> Iterator[None]:
    """Turn whatever goes wrong inside the backend into a verdict on it; {} is the error."""
    try:
        yield
    except NotImplementedError as error:
        raise Declined(str(error)) from error
    except Mismatch:
        raise
    except (Exception, SystemExit) as error:
        raise Mismatch(sentence.format(_one_line(error))) from error


def _copied(value: Any, convert: Callable[[Array], Any] | None) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    return value.copy() if convert is None else convert(value.copy())


def _kind(value: Any) -> str:
    """Return what a result is, in words: its type, and dtype and shape or a short repr."""
    article = "an" if type(value).__name__[0] in "aeiouAEIOU" else "a"
    return f"{article} {type(value).__name__} ({describe(value)})"


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
