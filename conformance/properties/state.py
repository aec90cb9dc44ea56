"""Nothing of one call is left in the next."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from gradoracle.conformance.backends.backend import Backend, is_same
from gradoracle.conformance.backends.mismatch import Declined, Mismatch, Outside
from gradoracle.conformance.drawing.invalid_calls import bad_calls
from gradoracle.conformance.drawing.memory_layouts import PLACES
from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.operators.variations import (
    AND,
    TRIED,
    in_dtype,
    is_array,
    legal,
    variations,
    without_images,
)
from gradoracle.conformance.operators.varying import that_vary
from gradoracle.conformance.properties.comparison import require_truth
from gradoracle.conformance.properties.property import NotJudged, holds, is_function
from gradoracle.oracle.declaration import (
    Call,
    Formula,
    argument_names,
    is_data,
    output_of,
    parts_of,
)
from gradoracle.oracle.expected.truth import format_of
from gradoracle.oracle.float_formats import dtype_of
from gradoracle.oracle.shapes import Array

ELSEWHERE = ","  # a layout: as NumPy makes it, in fresh memory
REPEATS = 3
DTYPES = 2  # of those that are claimed, in which each argument takes another value


@holds(
    kind="any", size="small", share=0.01, listed=that_vary, at_smallest=False, each_class_once=True,
    is_fresh=True, in_turn="always",
)  # fmt: skip
def is_stateless(backend: Backend, operator: Operator, formula: Formula, call: Call) -> float:
    """The answer is the same whatever was called before: the call with other values at the same
    addresses, the operator's other functions on them, each option with another value, two that
    leave the answer's shape, a bias or none, another dtype or shape of the same bytes, a call that
    was refused, one image alone, none, or itself elsewhere.
    """  # noqa: D205 - one sentence
    _begin_with_no_images(backend, operator, formula, call)
    asked = _Sequence(backend, operator, formula, call)
    for name in (n for n, value in call.items() if is_array(value)):
        words = f"the same call with other numbers in {name}"
        asked.between(asked.flipped(name), words, words)
    for name in (n for n in asked.arrays if is_data(call[n]) and call[n].size > 1):
        other = legal(operator, formula, {**call, name: _with_one_other(call[name])})
        words = f"the same call with one other number in {name}"
        asked.between(other, words, words)
    _among_functions(asked)
    varied = variations(operator, formula, call) if asked.is_varied() else {}
    for what, (calls, in_company) in varied.items():
        _with_another(asked, what, calls) or _with_another(asked, what, in_company)
    for name in asked.other_dtype():
        own = f"the same call in {format_of(call)}"
        asked.between(in_dtype(operator, call, dtype_of(name)), f"the same call in {name}", own)
    for bad in bad_calls(formula, call):
        try:
            backend.refuses(formula, bad.call, asked.layout)
        except Outside:  # of the domain: the next one may be inside
            continue
        asked.again("a call that is illegal")
        break
    asked.again("itself, in other memory", ELSEWHERE)
    if _has_images(operator, call):
        alone_in_batch = operator.complete(operator.axes.images(call, slice(0, 1)), 0)
        asked.between(alone_in_batch, "the call with one image", "the call with more images")
    _after_an_empty_batch(asked)
    return 0.0


@dataclass
class _Sequence:
    """A call and its right answer, which every call after another one must give again.

    All calls have each argument at the same address, as memory that is used again has.
    """

    backend: Backend
    operator: Operator
    formula: Formula
    call: Call
    first: Array = field(init=False)

    def __post_init__(self) -> None:
        """Ask for the answer."""
        names = [n for one in self.operator.formulas for n in argument_names(one)[0]]
        self._place = dict(zip(dict.fromkeys(names), PLACES, strict=False))
        self.layout = self.layout_of(self.formula)
        self.arrays = [n for n in argument_names(self.formula)[0] if is_array(self.call[n])]
        self.first = self.right(self.call, "")

    def layout_of(self, formula: Formula) -> str:
        """Return the layouts of a function's arguments: each in the place of its name."""
        return ",".join([*(self._place.get(n, "") for n in argument_names(formula)[0]), ""])

    def is_varied(self) -> bool:
        """Return whether the arguments are varied in the call's dtype: in two, which is enough."""
        return format_of(self.call) in self._claimed()[:DTYPES]

    def other_dtype(self) -> list[str]:
        """Return the first other dtype that the function is claimed in, if there is one."""
        return [d for d in self._claimed() if d != format_of(self.call)][:1]

    def _claimed(self) -> tuple[str, ...]:
        return self.backend.contract.dtypes_of([output_of(self.formula).function])

    def flipped(self, *names: str) -> Call | None:
        """Return the call with other numbers, as large as they were, in these arguments.

        None: the function is not given them, or they cannot be others.
        """
        changed = {name: _other_numbers(self.call[name]) for name in names}
        found = legal(self.operator, self.formula, {**self.call, **changed})
        given = argument_names(self.formula)[0]
        same = found is not None and all(
            found[n] is self.call[n] or is_same(found[n], self.call[n]) for n in given
        )
        return None if same else found

    def right(
        self, call: Call, after: str, known: Array | None = None, layout: str | None = None
    ) -> Array:
        """Return the answer, which must be right: `known` is, if it is given."""
        got = self.backend.ask(self.formula, call, self.layout if layout is None else layout)
        if known is not None and is_same(got, known):
            return got
        if self.operator.unsettled(self.backend.contract.policies, self.formula, call):
            raise NotJudged("the contract leaves the answer open")
        try:
            require_truth(self.backend, self.formula, call, got)
        except Mismatch as mismatch:
            if not after:
                raise
            raise Mismatch(f"{mismatch.headline}; asked after {after}") from None
        return got

    def again(self, after: str, layout: str | None = None) -> None:
        """Require the call's answer again."""
        self.right(self.call, after, self.first, layout)

    def between(self, other: Call | None, words: str, back: str) -> Array | None:
        """Require the answer of another call, then the first one again; None: it is declined.

        `words` say what the other call is, and `back` what the first one is beside it.
        """
        if other is None:
            return None
        self.backend.foresee((self.formula, other), (self.formula, self.call), how=[self.layout])
        try:
            got = self.right(other, back)
        except (NotJudged, Declined):
            self.backend.forget_call(self.formula, self.call, self.layout)
            return None
        self.again(words)
        return got


def _among_functions(asked: _Sequence) -> None:
    """Ask the operator's other functions in between, on the same numbers and on others."""
    backend, operator, call = asked.backend, asked.operator, asked.call
    dtype, own = format_of(call), output_of(asked.formula).function
    others = {output_of(f).function: parts_of(f)[0] for f in operator.formulas if is_function(f)}
    other = asked.flipped(*asked.arrays)
    known: Array | None = None
    for function, formula in others.items():
        if function == own or not backend.claims(formula, dtype) or backend.has_ended(function):
            continue
        if not {n for part in argument_names(formula) for n in part} <= {*call}:
            continue
        numbers = {n: _other_numbers(v) for n, v in call.items() if is_data(v)}
        calls, layout = (call, operator.complete({**call, **numbers}, 0)), asked.layout_of(formula)
        backend.foresee(*((formula, one) for one in calls), how=[layout])
        following = [call] if other is None else [call, other]
        backend.foresee(*((asked.formula, one) for one in following), how=[asked.layout])
        for one in calls:
            with suppress(Mismatch, Declined):  # its own checks are about that
                backend.ask(formula, one, layout)
        words = f"{function} of other numbers in its place"
        asked.again(words)
        if other is None:
            continue
        with suppress(NotJudged, Declined):
            known = asked.right(other, f"{function} of the numbers before", known)


def _after_an_empty_batch(asked: _Sequence) -> None:
    """Ask for the call without images, after one in another dtype, and then for the call again.

    What is planned for one call and kept for the next is planned for no images then.
    """
    empty = without_images(asked.operator, asked.formula, asked.call)
    if empty is None:
        return
    for name in asked.other_dtype():
        other = in_dtype(asked.operator, asked.call, dtype_of(name))
        if other is None:
            continue
        with suppress(Mismatch, Declined):  # its own checks are about that
            asked.backend.ask(asked.formula, other, asked.layout)
            asked.backend.ask(asked.formula, empty, asked.layout)
        asked.again(f"the same call in {name} and then the call without images")


def _begin_with_no_images(
    backend: Backend, operator: Operator, formula: Formula, call: Call
) -> None:
    """Ask for the call without images before the call, if it is a legal one."""
    empty = without_images(operator, formula, call)
    if empty is not None:
        with suppress(Mismatch, Declined):  # its own checks are about that
            backend.ask(formula, empty)


def _with_another(asked: _Sequence, what: str, calls: Iterable[Call]) -> bool:
    """Ask for a call that differs in one argument and, again, for the call; return whether it told.

    Where another value has the same answer, the next one may have another.
    """
    for changed in islice(calls, TRIED):
        words = (_in_words(what, call) for call in (changed, asked.call))
        got = asked.between(changed, *words)
        if got is not None and not is_same(got, asked.first):
            return True
    return False


def _in_words(what: str, call: Call) -> str:
    """Return what a call is that differs in one argument."""
    names = [part.partition("[")[0] for part in what.split(AND)]
    if names[0] not in call:
        return f"the same call with another {what}"
    shown = [f"{n}={'an array' if is_array(call[n]) else repr(call[n])}" for n in names]
    return f"the same call with {AND.join(shown)}"


def _other_numbers(array: Array) -> Array:
    """Return the numbers in the opposite order, or where that is the same, others.

    Negated ones, of indices the ones before, and of booleans the opposite.
    """
    flipped = np.flip(array).copy()
    if flipped.tobytes() != array.tobytes():
        return flipped
    if array.dtype == np.bool_:
        return ~array
    if not is_data(array):
        return np.maximum(array, 1) - 1
    finite, one = np.isfinite(array), array.dtype.type(1)
    return np.where(finite, np.where(array == 0, one, -array), array).astype(array.dtype)


def _with_one_other(array: Array) -> Array:
    """Return an array with another number where three quarters of it lie before.

    Its place is odd: samples at even distances do not meet it.
    """
    changed, at = array.copy(), min(array.size - 1, 3 * array.size // 4 | 1)
    number = changed.flat[at]
    changed.flat[at] = -number if number and np.isfinite(number) else array.dtype.type(1)
    return changed


def _flipped(formula: Formula, call: Call) -> dict[str, Any]:
    """Return the arguments that hold numbers, in the opposite order: as large as they were."""
    names = argument_names(formula)[0]
    return {n: np.asarray(np.flip(call[n])).copy() for n in names if is_data(call[n])}


def _has_images(operator: Operator, call: Call) -> bool:
    """Return whether a shape that is an option says that there are several."""
    return any(
        call[option][0] > 1
        for option, name in operator.axes.shapes.items()
        if name in operator.axes.batched
    )


class Differs(Mismatch):
    """The same call gave other bits."""


@holds(kind="floats", share=0.1, claim=("repeats", "bitwise"), is_fresh=True, is_observed=True)
def is_deterministic(backend: Backend, operator: Operator, formula: Formula, call: Call) -> float:
    """The same call gives the same bits every time, whatever lies in memory."""
    other = operator.complete({**call, **_flipped(formula, call)}, 0)
    first = backend.ask(formula, call)
    for _ in range(REPEATS):
        backend.ask(formula, other)  # leaves other numbers where the answer will lie
        again = backend.ask(formula, call)
        if not is_same(first, again):
            raise Differs(f"{formula.__name__}: {differing(first, again)} when it is asked again")
    return 0.0


def differing(first: Array, again: Array) -> str:
    """Return in words where the bits of two arrays differ first."""
    if (first.shape, first.dtype) != (again.shape, again.dtype):
        return f"{first.dtype}{[*first.shape]} becomes {again.dtype}{[*again.shape]}"
    bits = [np.frombuffer(a.tobytes(), f"V{a.itemsize}").reshape(a.shape) for a in (first, again)]
    at = tuple(np.argwhere(bits[0] != bits[1])[0].tolist())
    return f"[{', '.join(map(str, at))}] is {first[at]!r}, and {again[at]!r}"
