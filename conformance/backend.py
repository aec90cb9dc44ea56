"""A backend as the suite sees it: something that is asked, and whose answers are not trusted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from conformance.candidate import Asked, Candidate, Kind, Look, Reply, Request, printable
from conformance.mismatch import Answer, Declined, Mismatch
from conformance.operators import OPERATORS
from conformance.protocol import Contract, read_contract
from oracle.formula import Call, Chained, Formula, algebra, argument_names, operands, output_of
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
# What is said of a call that gave no answer; the function's name and the reply's text go in.
WRONG: dict[Kind, str] = {
    "raised": "{function}: raised {text} on a legal call",
    "converted": "{formula}: its from_numpy raised {text}",
    "unread": "{formula}: its result cannot be read as an array: {text}",
    "unlooked": "{formula}: to_numpy does not read what from_numpy made: {text}",
    "returned": "{function}: returned {text}",
    "crashed": "{function}: {text}",
}


@dataclass
class Backend:
    """A named candidate, here or in a process of its own."""

    name: str
    asked: Asked
    origin: str = ""  # the distribution it came from, or "this process"
    path: str = ""  # the import path that a script can use, where there is one
    contract: Contract = field(init=False)
    answers: list[Answer] = field(default_factory=list, repr=False)  # of the call being judged
    speaks_dlpack: bool = field(default=False, init=False)  # its results came through DLPack
    _foreseen: dict[tuple[Formula, int, Look], tuple[Call, Request]] = field(
        default_factory=dict, init=False, repr=False
    )

    def __post_init__(self) -> None:
        """Read the contract, so that a wrong one is told before anything runs."""
        self.contract = read_contract(self.asked.description.contract, FUNCTIONS)

    @property
    def isolated(self) -> bool:
        """Whether the candidate is in a process of its own."""
        return not isinstance(self.asked, Candidate)

    @property
    def functions(self) -> tuple[str, ...]:
        """The functions of the protocol that the backend has and claims."""
        claimed = FUNCTIONS if self.contract.functions is None else self.contract.functions
        has = self.asked.description.functions
        return tuple(name for name in claimed if name in has)

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
        return self._answered(formula, call).arrays[0]

    def foresee(self, *asks: tuple[Formula, Call], look: Look = "") -> None:
        """Have calls performed that are asked for next, in this order, while others are judged."""
        fresh = [(formula, call, _request(formula, call, look)) for formula, call in asks]
        self._foreseen |= {(f, id(call), look): (call, request) for f, call, request in fresh}
        self.asked.begin([request for _, _, request in fresh])

    def forget(self) -> None:
        """Let go of what was foreseen and not asked for."""
        self._foreseen.clear()
        self.asked.forget()

    def changed_arguments(self, formula: Formula, call: Call) -> list[str]:
        """Return the names of the arguments that the backend changes."""
        _, *left = self._answered(formula, call, "arguments").arrays
        names = [n for n in argument_names(formula)[0] if isinstance(call[n], np.ndarray)]
        return [n for n, now in zip(names, left, strict=True) if not _is_still(call[n], now)]

    def reused(self, formula: Formula, call: Call) -> tuple[Array, str]:
        """Return an answer, and how it is no new array: an argument, or changed by the next call.

        Raises as `ask` does.
        """
        reply = self._answered(formula, call, "memory")
        before, after = reply.arrays
        if reply.shares >= 0:
            name = argument_names(formula)[0][reply.shares]
            return before, f"its result shares memory with its argument {name}"
        if _is_still(before, after):
            return before, ""
        return before, "an earlier result changed when it was called again: it is not a new array"

    def refuses(self, formula: Formula, call: Call) -> tuple[bool, Any]:
        """Return whether the backend raises on this call, and what it returned if it does not.

        Raises:
            Mismatch: it neither refused nor answered; its process crashed.
        """
        reply = self._reply(formula, call)
        if reply.kind == "crashed":
            raise Mismatch(_said(formula, reply), call=call)
        if reply.kind == "answer":
            return False, reply.arrays[0]
        return reply.kind != "returned", reply.text

    def _answered(self, formula: Formula, call: Call, look: Look = "") -> Reply:
        """Return the reply to a legal call; where there is no answer that is a verdict."""
        record = Answer(formula, call, None)
        self.answers.append(record)
        reply = self._reply(formula, call, look)
        if reply.kind == "declined":
            raise Declined(reply.text)
        if reply.kind != "answer":
            raise Mismatch(_said(formula, reply))
        self.speaks_dlpack |= reply.dlpack
        record.value = reply.arrays[0]
        return reply

    def _reply(self, formula: Formula, call: Call, look: Look = "") -> Reply:
        foreseen = self._foreseen.pop((formula, id(call), look), None)
        return self.asked.perform(foreseen[1] if foreseen else _request(formula, call, look))


def _request(formula: Formula, call: Call, look: Look) -> Request:
    """Return what asks for a formula's answer; in memory's case, with another call after it."""
    function, place = output_of(formula)
    request = Request(function, *_arguments(formula, call), place, OUTPUTS.get(function, 1), look)
    if look == "memory":
        first = next(iter(operands(formula, call)))
        changed = {n: -call[n] for n in (first, "bias") if call.get(n) is not None}
        request.other = _arguments(formula, {**call, **changed})
    return request


def _said(formula: Formula, reply: Reply) -> str:
    function = output_of(formula).function
    text = WRONG[reply.kind]
    for name, value in {"function": function, "formula": formula.__name__}.items():
        text = text.replace(f"{{{name}}}", value)
    return text.replace("{text}", printable(reply.text))


def _arguments(formula: Formula, call: Call) -> tuple[list[Any], dict[str, Any]]:
    """Return the positional arguments and the options that `formula` takes from a call."""
    positional, options = argument_names(formula)
    return [call[name] for name in positional], {name: call[name] for name in options}


def _is_still(before: Array, now: Array) -> bool:
    """Whether an array is bit for bit what it was."""
    return bool(before.shape == now.shape and before.tobytes() == now.tobytes())
