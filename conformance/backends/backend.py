"""A backend as the suite sees it: something that is asked, and whose answers are not trusted."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from gradoracle.conformance.backends.caller import (
    ANY,
    MANY,
    MASK,
    Asked,
    Candidate,
    Kind,
    Look,
    Reply,
    Request,
    printable,
)
from gradoracle.conformance.backends.contract import Contract, read_contract
from gradoracle.conformance.backends.conventions import as_given, as_here
from gradoracle.conformance.backends.declines import LARGE
from gradoracle.conformance.backends.into import Into
from gradoracle.conformance.backends.mismatch import Answer, Declined, Ended, Mismatch, Outside
from gradoracle.conformance.backends.stops import Stops
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.operators.domain import (
    DTYPE,
    Domain,
    facts_of_call,
    has_neutral,
    implied,
    joined,
    letters_of,
)
from gradoracle.conformance.operators.inside import Inside, restricted
from gradoracle.conformance.operators.record import Operator
from gradoracle.oracle.declaration import (
    Call,
    Chained,
    Formula,
    Multilinear,
    algebra,
    argument_names,
    axes_of,
    has_part,
    is_data,
    is_pointwise,
    output_of,
    part_by,
    parts_of,
    whole_of,
)
from gradoracle.oracle.derive import has_forward_mode
from gradoracle.oracle.shapes import Array

FUNCTIONS = OPERATORS.names(
    lambda: (
        output_of(f).function
        for operator in OPERATORS
        for f in operator.formulas
        if not isinstance(algebra(f), Chained)
    )
)
BACKWARD, JVP, DOUBLE_BACKWARD = "_backward", "_jvp", "_double_backward"
# Of operators with several gradients, the function of those that a mask asks for.
MASKED = OPERATORS.table(
    lambda: {
        operator.name + BACKWARD: operator
        for operator in OPERATORS
        if len({*operator.gradients.values()}) > 1
    }
)
# Sums of products of two factors with a gradient by each: their derivatives are such sums, too.
BILINEAR = OPERATORS.table(
    lambda: {
        operator.name: operator
        for operator in OPERATORS
        if isinstance(kind := algebra(operator.formula), Multilinear)
        and len(kind.factors) == len({*kind.factors} & {*operator.gradients.values()}) == 2
    }
)
FORWARD_MODE = OPERATORS.table(
    lambda: {
        operator.name + JVP: operator
        for operator in OPERATORS
        if operator.name in BILINEAR
        or (is_pointwise(operator.formula) and len(operator.gradients) == 1)
        or has_forward_mode(operator.formula)
    }
)
# The functions that are no formula's: each is checked by a property of its own.
FURTHER = OPERATORS.names(
    lambda: (*MASKED, *FORWARD_MODE, *(name + DOUBLE_BACKWARD for name in BILINEAR))
)
EVERY_FUNCTION = OPERATORS.names(lambda: (*FUNCTIONS, *FURTHER))
OUTPUTS = OPERATORS.table(
    lambda: {output_of(f).function: 1 + len(one.also) for one in OPERATORS for f in one.also}
)
NEAR = 0.78  # how much of a name is that of a function which may have been meant
SOURCE_TEXT = "source text"  # what a backend is called whose module a program gives as a text
NO_GRADIENT = "there is no gradient by {}, which is None"
# What is said of a call that gave no answer; the function's name and the reply's text go in.
WRONG: dict[Kind, str] = {
    "raised": "{function}: raised {text} on a legal call",
    "converted": "{formula}: its from_numpy raised {text}",
    "unread": "{formula}: its result cannot be read as an array: {text}",
    "unlooked": "{formula}: to_numpy does not read what from_numpy made: {text}",
    "returned": "{function}: returned {text}",
    "undecided": "{function}: its supports() raised {text}",
    "crashed": "{function}: {text}",
}

UNSUPPORTED = "supports() does not accept this call of {}"

OUT_OF_MEMORY = re.compile(
    r"\w*(MemoryError|OutOfMemory)|can't allocate memory|out of memory|RESOURCE_EXHAUSTED"
)

# What is said of one result where there should be several.
ALONE = re.compile(r"an? (?!tuple |list )\w+ \(.*\), want \d+ results", re.DOTALL)

# How a call is asked: "", "arguments" if they are looked at afterwards, or how they are laid in
# memory (`conformance.drawing.memory_layouts.one_each`).
How: TypeAlias = str


class Reused(NamedTuple):
    """An answer, beside other calls."""

    answer: Array
    again: Array  # the same result, read again after the other calls
    late: Array  # the next call's result, the same call, which was not read before the others
    shares: str  # the name of an argument that the answer shares memory with


@dataclass
class Backend:
    """A named candidate, here or in a process of its own."""

    name: str
    asked: Asked
    origin: str = ""  # the distribution it came from, or "this process"
    path: str = ""  # the import path that a script can use, where there is one
    text: str = field(default="", repr=False)  # of its module, where a program gave that
    contract: Contract = field(init=False)
    answers: list[Answer] = field(default_factory=list, repr=False)  # of the call being checked
    declined: tuple[Formula, Call, bool] | None = field(default=None, repr=False)  # last
    # What it did in other processes that checked it, as `asked.kept()` tells it there.
    kept_elsewhere: list[dict[str, Any]] = field(default_factory=list, init=False)
    speaks_dlpack: bool = field(default=False, init=False)  # its results came through DLPack
    # Functions a call of which ended the process; those that returned an element; and those whose
    # other checks are not run.
    ended: set[str] = field(default_factory=set, init=False)
    answered: set[str] = field(default_factory=set, init=False)
    stops: Stops = field(default_factory=Stops, init=False)
    notes: list[str] = field(default_factory=list, init=False)  # to be told before it is checked
    # The smallest calls of what checks of this run found wrong, by formula.
    causes: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    # Whether the domain that explains failures is looked for, which takes up to some seconds.
    finds_domains: bool = field(default=True, init=False)
    # What `functions` follows from, and those.
    _found: tuple[tuple[str, ...] | None, tuple[str, ...], dict[str, None]] | None = field(
        default=None, init=False, repr=False
    )
    _domains: dict[str, Domain] = field(default_factory=dict, init=False, repr=False)
    _restricted: dict[tuple[Operator, Domain], Operator] = field(
        default_factory=dict, init=False, repr=False
    )
    # Whether functions returned their first result alone where no gradient needs the others.
    alone: dict[str, bool] = field(default_factory=dict, init=False, repr=False)
    # Of the check that runs: bad calls accepted and made, by what is wrong with their arguments.
    bad_calls: dict[str, list[int]] = field(default_factory=dict, init=False, repr=False)
    # Of the check that runs: calls that `supports` takes and all it was asked of, by function.
    supported: dict[str, list[int]] = field(default_factory=dict, init=False, repr=False)
    _foreseen: dict[tuple[Formula, int, How], tuple[Call, Request]] = field(
        default_factory=dict, init=False, repr=False
    )

    # Of the calls of a check that looks at all results of a function: the reply, and which of its
    # results were looked at.
    _replies: dict[tuple[Any, ...], tuple[Reply, set[Formula]]] | None = field(
        default=None, init=False, repr=False
    )

    def __post_init__(self) -> None:
        """Read the contract, so that a wrong one is told before anything runs."""
        self.contract = read_contract(self.asked.description.contract, (*FUNCTIONS, *FURTHER))

    @property
    def isolated(self) -> bool:
        """Whether the candidate is in a process of its own."""
        return not isinstance(self.asked, Candidate)

    @property
    def functions(self) -> tuple[str, ...]:
        """The functions of the protocol that the backend has and claims."""
        return (*self._functions(),)

    def _functions(self) -> Mapping[str, None]:
        """Return them as keys, found anew where what they follow from is another object."""
        claimed, has = self.contract.functions, self.asked.description.functions
        if self._found is None or self._found[0] is not claimed or self._found[1] is not has:
            all_ = FUNCTIONS if claimed is None else claimed
            had = frozenset(has)
            self._found = claimed, has, dict.fromkeys(n for n in all_ if n in had)
        return self._found[2]

    @property
    def missing(self) -> tuple[str, ...]:
        """The functions that the contract claims and the backend does not have."""
        claimed = self.contract.functions or ()
        return tuple(
            name
            for name in claimed
            if name not in self._functions() and not self.has_function(name)
        )

    @cached_property
    def misspelt(self) -> Mapping[str, str]:
        """The backend's functions whose names are near that of one it lacks, by the latter."""
        found: dict[str, str] = {}
        for own in self.asked.description.others:
            near = difflib.get_close_matches(own.lower(), FUNCTIONS, n=1, cutoff=NEAR)
            if near and near[0] not in self.asked.description.functions:
                found.setdefault(near[0], own)
        return found

    def has_function(self, name: str) -> bool:
        """Return whether the backend has and claims a function, those with a mask among them."""
        claimed = EVERY_FUNCTION if self.contract.functions is None else self.contract.functions
        return name in claimed and name in self.asked.description.functions

    def takes(self, formula: Formula, argument: str) -> bool:
        """Return whether the signature of a formula's function shows an argument, by its name."""
        known = self.asked.description.takes.get(output_of(formula).function, ((), 0))
        return argument in known[0]

    def domain(self, formula: Formula) -> Domain:
        """Return the conditions on the calls of a formula's function: the contract's, and what
        follows from options that its signature lacks.
        """  # noqa: D205 - one sentence
        function = output_of(formula).function
        if function not in self._domains:
            declared = self.contract.domain_of(function)
            known = {condition.name for condition in declared}
            lacks = (n for n in self._lacks(formula) if n not in known)
            self._domains[function] = (*declared, *(implied(formula, name) for name in lacks))
        return self._domains[function]

    def require_calls(self) -> None:
        """Raise ValueError where a declared domain has no call."""
        for operator in OPERATORS if self.contract.domain else ():
            for formula in operator.formulas:
                if not isinstance(algebra(formula), Chained) and self.has(formula):
                    Inside(operator, self.domain(formula)).require_call()

    def domain_words(self, formula: Formula) -> str:
        """Return the domain of a formula's function in words, or ""."""
        if isinstance(algebra(formula), Chained):
            return ""
        return ", ".join(condition.text for condition in self.domain(formula))

    def _lacks(self, formula: Formula) -> list[str]:
        """Return the options and optional arguments that a function's signature does not have."""
        by_name, placed = self.asked.description.takes.get(
            output_of(formula).function, ((ANY,), MANY)
        )
        positional, options = argument_names(formula)
        without = [n for n in options if not {n, ANY} & {*by_name}]
        named = [n for n in by_name if n in options]
        given = max(placed - len(named), 0)
        optional = axes_of(formula).optional
        return [n for n in without if has_neutral(formula, n)] + [
            n for n in positional[given:] if n in optional and not {n, ANY} & {*by_name}
        ]

    def left_out(self, formula: Formula) -> set[str]:
        """Return the arguments that a formula's function is not given: its signature lacks them."""
        return {*self._lacks(formula)} if self.domain(formula) else set()

    def inside(self, operator: Operator, formulas: Sequence[Formula]) -> Operator:
        """Return the operator, its calls inside the domains of these formulas' functions."""
        domain = joined(self.domain(formula) for formula in formulas)
        key = operator, domain
        if key not in self._restricted:
            self._restricted[key] = restricted(operator, domain)
        return self._restricted[key]

    def has(self, formula: Formula) -> bool:
        """Return whether the backend has and claims what gives the formula's answer.

        One that goes back through a max pooling without indices need not return them.
        """
        if isinstance(algebra(formula), Chained):
            return True  # its links are asked for one by one
        function, place = output_of(formula)
        if place and whole_of(formula) is formula:
            taking, others = gradients_by(formula)
            if any(one in self._functions() for one in others):
                return any(one in self._functions() for one in taking)
        return function in self._functions()

    def claims(self, formula: Formula, dtype: str) -> bool:
        """Return whether the backend has what gives the formula's answer, and claims it there."""
        claimed = self.contract.dtypes_of([output_of(formula).function])
        return self.has(formula) and dtype in claimed

    def ask(self, formula: Formula, call: Call, layout: str = "") -> Array:
        """Return the backend's answer, as a NumPy array of its own.

        The backend is given copies, so whatever it does to them stays its own; they lie in memory
        as `layout` says.

        Raises:
            Declined: it raised NotImplementedError, or had no memory for a large call.
            Mismatch: it raised anything else, or what it returned is not an array.
        """
        return self._answered(formula, call, layout).arrays[0]

    def foresee(self, *asks: tuple[Formula, Call], how: Sequence[How] = ("",)) -> None:
        """Have calls performed that are asked for next, in this order, while others are checked."""
        if "arguments" in how and self.asked.description.from_numpy:
            return  # the next call's arguments would be looked at
        fresh = [
            (whole_of(f), call, one, self._request(f, call, one))
            for f, call in asks
            if self.is_inside(f, call)
            for one in how
            if not self._is_known(f, call, one)
        ]
        self._foreseen |= {(f, id(call), one): (call, request) for f, call, one, request in fresh}
        self.asked.begin([request for *_, request in fresh])

    def forget_call(self, formula: Formula, call: Call, how: How = "") -> None:
        """Let go of one call that was foreseen: the next time it is asked for, it is made again."""
        self._foreseen.pop((whole_of(formula), id(call), how), None)

    def forget(self) -> None:
        """Let go of what was foreseen and not asked for."""
        self._foreseen.clear()
        self.asked.forget()

    def changed_arguments(self, formula: Formula, call: Call) -> list[str]:
        """Return the names of the arguments that the backend changes."""
        names = [n for n in argument_names(formula)[0] if isinstance(call[n], np.ndarray)]
        _, *left = self._answered(formula, call, "arguments").arrays
        given = as_given(self.contract.policies, call)
        changed = [n for n, now in zip(names, left, strict=True) if not is_same(given[n], now)]
        if changed or not self.asked.description.from_numpy:
            return changed
        look = Look(output_of(formula).function, 0, len(names))
        left = self._legal(formula, self.asked.perform(look)).arrays
        return [n for n, now in zip(names, left, strict=True) if not is_same(given[n], now)]

    def answer_and_changes(self, formula: Formula, call: Call) -> tuple[Array, dict[str, Array]]:
        """Return the answer, and the arguments that the call changed, as it left them.

        Raises as `ask` does.
        """
        names = [n for n in argument_names(formula)[0] if isinstance(call[n], np.ndarray)]
        value, *left = self._answered(formula, call, "arguments").arrays
        given = as_given(self.contract.policies, call)
        pairs = zip(names, left, strict=False)
        return value, {n: now for n, now in pairs if not is_same(given[n], now)}

    def reused(
        self, formula: Formula, call: Call, others: Sequence[tuple[Formula, Call]]
    ) -> Reused:
        """Return an answer, and what became of it while other calls were performed.

        Raises as `ask` does.
        """
        function = output_of(formula).function
        first, late = (self._request(formula, call, alone=True) for _ in range(2))
        late.late = True
        others = [
            o
            for o in others
            if (o[0] is formula or not self.has_ended(output_of(o[0]).function))
            and self.is_inside(*o)
        ]
        between = [self._request(*other) for other in others]
        reply = self._recorded(formula, call, first)  # alone: it does not know what will follow
        answer, shares = reply.arrays[0], _shares(formula, reply)
        self._legal(formula, self.asked.perform(late))
        self.asked.begin(between)
        for request, (other, _) in zip(between, others, strict=True):
            answered = self.asked.perform(request)  # how it answers is not the question
            if answered.kind == "crashed" and other is formula:
                raise self._ended(formula, answered)
            if answered.kind == "crashed":  # for its own checks to check; here the results are gone
                self.ended.add(request.function)
                return self.reused(formula, call, [o for o in others if o[0] is formula])
        looks = [Look(function, len(between) + back) for back in (2, 1)]
        self.asked.begin(looks)
        read = [self._legal(formula, self.asked.perform(look)).arrays[0] for look in looks]
        again, last = [as_here(self.contract.policies, formula, call, array) for array in read]
        return Reused(answer, again, last, shares)

    def has_ended(self, function: str) -> bool:
        """Return whether a call of a function ended the process, or took all the time it has.

        It is not called any more while another function is checked: every such call could take
        all that time again.
        """
        return function in self.ended or self.stops.first(self.name, [function]) is not None

    def ask_into(self, formula: Formula, call: Call, into: Into) -> Array:
        """Return the flat array in whose middle the backend has written its answer.

        Raises as `ask` does.
        """
        request = self._request(formula, call, alone=True)
        request.into = into
        return self._legal(formula, self.asked.perform(request), call).arrays[0]

    def ask_at_once(
        self, one: tuple[Formula, Call], other: tuple[Formula, Call], times: int
    ) -> tuple[list[Array], list[Array]]:
        """Return the answers to two calls that two threads make at once, so many times.

        Raises as `ask` does.
        """
        request, beside = (self._request(*of, alone=True) for of in (one, other))
        request.beside, request.times, request.facts = beside, times, None
        arrays = self._legal(one[0], self.asked.perform(request), one[1]).arrays
        rules = self.contract.policies
        return (
            [as_here(rules, *one, array) for array in arrays[:times]],
            [as_here(rules, *other, array) for array in arrays[times:]],
        )

    def ask_masked(self, operator: Operator, call: Call, mask: Sequence[bool]) -> list[Array]:
        """Return the gradients that a mask asks for, in the order of the arguments.

        Raises as `ask` does; Mismatch, too, where what the mask does not ask for is not None.
        """
        positional = argument_names(operator.formula)[0]
        given = [call[one] for one in ("grad_output", *positional)]
        name = operator.name + BACKWARD
        return self._further(operator, name, given, call, tuple(mask), {MASK: (*mask,)})

    def ask_further(
        self, operator: Operator, name: str, given: Sequence[Any], call: Call, count: int = 0
    ) -> list[Array]:
        """Return the results of a function that is no formula's, given these arguments and the
        options of the call: so many in a tuple, or one by itself.

        Raises as `ask` does.
        """  # noqa: D205 - one sentence
        return self._further(operator, name, given, call, (True,) * count, {})

    def _further(
        self, operator: Operator, name: str, given: Sequence[Any], call: Call,
        present: Sequence[bool], more: Mapping[str, Any],
    ) -> list[Array]:  # fmt: skip
        formula = operator.formula
        options = {one: call[one] for one in argument_names(formula)[1]}
        facts = self._asked_of(formula, call)
        request = Request(name, [*given], {**options, **more}, present=present, facts=facts)
        return self._legal(formula, self.asked.perform(request), call, name).arrays

    def refuses(self, formula: Formula, call: Call, layout: str = "") -> tuple[bool, Any]:
        """Return whether the backend raises on this call, and what it returned if it does not.

        Its arrays lie in memory as `layout` says.

        Raises:
            Mismatch: it neither refused nor answered; its process crashed.
        """
        foreseen = self._foreseen.pop((whole_of(formula), id(call), layout), None)
        reply = self.asked.perform(
            foreseen[1] if foreseen else self._request(formula, call, layout)
        )
        if reply.kind == "crashed":
            raise self._ended(formula, reply, call)
        if reply.kind == "answer":
            return False, reply.arrays[0]
        if reply.kind == "unsupported":
            raise Outside(UNSUPPORTED.format(formula.__name__))
        return reply.kind != "returned", reply.text

    def is_inside(self, formula: Formula, call: Call) -> bool:
        """Return whether a call is inside the domain of the formula's function.

        Of a call that is illegal, whether its options are.
        """
        domain = self.domain(formula)
        if not domain:
            return True
        axes = axes_of(formula)
        # The formula is given the shapes of these arrays, and a call of all its operator has both.
        unseen = {
            name for option, name in axes.shapes.items() if option in argument_names(formula)[1]
        }
        facts = facts_of_call(axes, {n: v for n, v in call.items() if n not in unseen})
        return all(condition.holds(facts) for condition in domain)

    def _request(
        self, formula: Formula, call: Call, how: How = "", *, alone: bool = False
    ) -> Request:
        """Return a call as the backend's function takes it.

        One of several results is asked for with the others, unless it is to be `alone`.

        Raises:
            Outside: it is outside the function's domain.
        """
        if not self.is_inside(formula, call):
            raise Outside(f"{formula.__name__} is not made for this call")
        parts = parts_of(whole_of(formula))
        together = len(parts) > 1 and not alone
        function, place = output_of(formula)
        positional, options = argument_names(formula)
        given = as_given(self.contract.policies, call)
        given = {n: np.asarray(v) if isinstance(v, np.generic) else v for n, v in given.items()}
        left = self.left_out(formula)
        request = Request(
            function,
            [given[name] for name in positional if name not in left],
            {name: given[name] for name in options if name not in left},
            None if together else place,
            OUTPUTS.get(function, len(parts)),
            [has_part(one, call) for one in parts] if together else (),
            facts=self._asked_of(formula, call),
        )
        if how == "arguments":
            request.arguments = True
        else:
            request.layout = how
        return request

    def _asked_of(
        self, formula: Formula, call: Call
    ) -> tuple[dict[str, int], dict[str, Any]] | None:
        """Return the lengths of axes and the options of a call, where a predicate decides on it."""
        if not self.asked.description.supports:
            return None
        facts = facts_of_call(axes_of(formula), call)
        del facts[DTYPE]  # an array's, which is no plain data
        sizes = {n: facts.pop(n) for n in letters_of(axes_of(formula)) if n in facts}
        return sizes, facts

    def note_bad_call(self, kind: str, *, accepted: bool) -> None:
        """Count a bad call that the contract does not claim to refuse."""
        counts = self.bad_calls.setdefault(kind, [0, 0])
        counts[0] += accepted
        counts[1] += 1

    @contextmanager
    def sharing(self, *, is_allowed: bool) -> Iterator[None]:
        """Within it, let what a function returns all at once be the answers of all its parts.

        Asking for the same part twice makes the call again.
        """
        self._replies = {} if is_allowed else None
        try:
            yield
        finally:
            self._replies = None

    def _is_known(self, formula: Formula, call: Call, how: How) -> bool:
        """Return whether an answer that was not looked at is there."""
        if self._replies is None or whole_of(formula) is formula:
            return False
        reply = self._replies.get(_content(formula, call, how))
        return reply is not None and formula not in reply[1]

    def _answered(self, formula: Formula, call: Call, how: How = "") -> Reply:
        if whole_of(formula) is formula:
            return self._performed(formula, call, how)
        if not has_part(formula, call):
            raise Outside(NO_GRADIENT.format(part_by(formula)))
        key = _content(formula, call, how) if self._replies is not None else ()
        if self._is_known(formula, call, how):
            assert self._replies is not None  # noqa: S101 - for the type checker
            reply, seen = self._replies[key]
            seen.add(formula)
            self.answers.append(Answer(formula, call, _part(formula, call, reply).arrays[0]))
        else:
            reply = self._performed(formula, call, how)
            if self._replies is not None:
                self._replies[key] = reply, {formula}
        return _part(formula, call, reply)

    def _performed(self, formula: Formula, call: Call, how: How) -> Reply:
        foreseen = self._foreseen.pop((whole_of(formula), id(call), how), None)
        request = foreseen[1] if foreseen else self._request(formula, call, how)
        return self._recorded(formula, call, request)

    def _recorded(self, formula: Formula, call: Call, request: Request) -> Reply:
        """Return the reply to a legal call; where there is no answer that is a verdict."""
        record = Answer(formula, call, None)
        self.answers.append(record)
        reply = self.asked.perform(request)
        if request.facts is not None:
            counts = self.supported.setdefault(request.function, [0, 0])
            counts[0] += reply.kind != "unsupported"
            counts[1] += 1
        try:
            reply = self._legal(formula, reply, call)
        except Declined as why:  # neither right nor wrong
            self.answers.pop()
            self.declined = formula, call, why.no_memory
            raise
        part = _part(formula, call, reply) if request.present else reply
        part.arrays[0] = as_here(self.contract.policies, formula, call, part.arrays[0])
        record.value = part.arrays[0]
        return reply

    def _legal(
        self, formula: Formula, reply: Reply, call: Call | None = None, function: str = ""
    ) -> Reply:
        if reply.kind == "unsupported":
            raise Outside(UNSUPPORTED.format(formula.__name__))
        if reply.kind == "declined":
            raise Declined(reply.text)
        if call is not None and _has_no_memory(reply, call):
            raise Declined(reply.text, no_memory=True)
        if reply.kind == "crashed":
            raise self._ended(formula, reply, function=function)
        if self._is_alone(formula, reply):
            raise Declined(reply.text, alone=True)
        if reply.kind != "answer":
            raise Mismatch(_said(formula, reply, function))
        self.speaks_dlpack |= reply.dlpack
        if any(array.size for array in reply.arrays):
            self.answered.add(output_of(formula).function)
        return reply

    def _is_alone(self, formula: Formula, reply: Reply) -> bool:
        """Return whether a function left out the result asked for, and no gradient needs it.

        Raises:
            Mismatch: it did not leave it out on another call.
        """
        function, place = output_of(formula)
        if (
            not place
            or whole_of(formula) is not formula
            or any(one in self._functions() for one in gradients_by(formula)[0])
        ):
            return False
        alone = reply.kind == "returned" and ALONE.fullmatch(reply.text) is not None
        if (alone or reply.kind == "answer") and self.alone.setdefault(function, alone) != alone:
            raise Mismatch(f"{function}: returned one result on one call and several on another")
        return alone

    def _ended(
        self, formula: Formula, reply: Reply, call: Call | None = None, function: str = ""
    ) -> Ended:
        """Return what is raised where a call ended the process, and remember the function."""
        function = function or output_of(formula).function
        self.ended.add(function)
        return Ended(_said(formula, reply, function), function, reply.over, call)


def _content(formula: Formula, call: Call, how: How) -> tuple[Any, ...]:
    """Return what tells a call of a function from others: the numbers of its arguments."""
    given = [call[name] for names in argument_names(formula) for name in names]
    plain = [(v.shape, v.dtype.str, v.tobytes()) if isinstance(v, np.ndarray) else v for v in given]
    return (whole_of(formula), how, *plain)


def _part(formula: Formula, call: Call, reply: Reply) -> Reply:
    """Return a part's answer, and the arguments behind it, of a reply with all results."""
    present = [one for one in parts_of(whole_of(formula)) if has_part(one, call)]
    at = present.index(formula) if formula in present else 0
    return replace(reply, arrays=[reply.arrays[at], *reply.arrays[len(present) :]])


def _has_no_memory(reply: Reply, call: Call) -> bool:
    """Return whether memory did not suffice for a call with a large array.

    What takes memory that grows with the square of an axis, as a Jacobian does, is no wrong answer.
    """
    ran_out = reply.over == "memory" or (
        reply.kind == "raised" and OUT_OF_MEMORY.search(reply.text)
    )
    sizes = (np.size(value) for value in call.values() if is_data(value))
    return bool(ran_out) and max(sizes, default=0) > LARGE


def gradients_by(result: Formula) -> tuple[list[str], list[str]]:
    """Return the functions of the gradients that are given a further result, and of the others."""
    operator = next(one for one in OPERATORS if result in one.formulas)
    argument = result.__name__.removeprefix(f"{operator.name}_")
    taking: list[str] = []
    others: list[str] = []
    for gradient in operator.gradients:
        given = argument in argument_names(gradient)[0]
        (taking if given else others).append(output_of(gradient).function)
    return taking, others


def _shares(formula: Formula, reply: Reply) -> str:
    """Return the name of the argument that an answer shares memory with, or ""."""
    names = argument_names(formula)[0]
    return names[reply.shares] if 0 <= reply.shares < len(names) else ""


def _said(formula: Formula, reply: Reply, function: str = "") -> str:
    function = function or output_of(formula).function
    text = WRONG[reply.kind]
    for name, value in {"function": function, "formula": formula.__name__}.items():
        text = text.replace(f"{{{name}}}", value)
    return text.replace("{text}", printable(reply.text))


def is_same(one: Array, other: Array) -> bool:
    """Whether two arrays are the same bit for bit."""
    return (one.shape, one.dtype) == (other.shape, other.dtype) and one.tobytes() == other.tobytes()
