"""Wrong answers that are planted in every run, and that the suite must reject.

The checker itself may be broken: replaced by a backend in the same process, by another version of
a library, by ourselves.  So each check, once it has passed, is asked again about a call that it
checked, with answers that are certainly wrong in place of the backend's.  A check that lets them
pass is blind, and certifies nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from math import prod
from typing import Any, TypeAlias

import numpy as np

from gradoracle.conformance.backends.backend import Backend
from gradoracle.conformance.backends.caller import Asked, Description, Look, Reply, Request
from gradoracle.conformance.checking.control import is_rejected
from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.properties import Property
from gradoracle.conformance.properties.comparison import truth_of, verdict
from gradoracle.oracle.declaration import Call, Formula, has_part, is_place, parts_of
from gradoracle.oracle.expected.truth import answer_shape, data_dtype
from gradoracle.oracle.float_formats import is_real
from gradoracle.oracle.shapes import Array

Lie: TypeAlias = Callable[[int, Reply], Reply]  # from what was answered, and how many were before
FEW, MANY = 3, 8  # calls
TRUTH = ("matches_oracle", "within_rounding_bound")
REFUSALS = "rejects_bad_arguments"
VALUES = ("propagates_non_finite", "keeps_subnormals")  # on numbers that they change before


def blindness(
    backend: Backend, operator: Operator, formula: Formula, property_: Property,
    calls: Sequence[dict[str, Any]],
) -> tuple[int, str]:  # fmt: skip
    """Return how many planted wrong answers were rejected, and what is said if the check is blind.

    Checks of values must reject, on a few calls, an answer that is only just wrong.  Every other
    check must reject one of several lies on one of many calls: on a single one a lie may happen to
    fit, so of fewer nothing is said.  No lie fits a layer, and hardly any what a formula says.
    """
    rejected = planted = 0
    if property_.name in TRUTH:
        bounded = (call for call in calls if _results_with_a_bound(backend, formula, call))
        for number, call in enumerate(islice(bounded, FEW)):
            planted += 1
            lie = _only_just(backend, formula, call, number)
            rejected += _is_rejected(backend, operator, formula, property_, call, lie)
        if missed := planted - rejected:
            return rejected, _blind(missed, planted)
        return rejected, _never_bounded(backend, formula, calls)
    enough = MANY
    if property_.on_layers:
        enough = 1
    elif property_.name in VALUES:
        enough, calls = FEW, [call for call in calls if _has_elements(formula, call)]
    # Where bad arguments may be accepted, only a call that ends the process is wrong.
    may_accept = backend.contract.rule("bad_arguments") != "raise"
    lies = (_crash,) if property_.name == REFUSALS and may_accept else LIES
    for call in calls:
        for lie in lies:
            planted += 1
            if _is_rejected(backend, operator, formula, property_, call, lie):
                return 1, ""
    return 0, _blind(planted, planted) if len(calls) >= enough else ""


def _never_bounded(backend: Backend, formula: Formula, calls: Sequence[Call]) -> str:
    """Return that no call bounds one of the results, of which any answer would pass; else ""."""
    unbounded: dict[Formula, None] = {}
    bounded: set[Formula] = set()
    for call in calls:
        given = [one for one in _given(formula, call) if prod(answer_shape(one, call))]
        unbounded |= dict.fromkeys(given)
        if not bounded >= {*given}:
            bounded |= {*_results_with_a_bound(backend, formula, call)}
    left = [one.__name__ for one in unbounded if one not in bounded]
    return f"nothing bounds any answer of {', '.join(left)}: wrong ones would pass" if left else ""


def _blind(missed: int, planted: int) -> str:
    return (
        f"{missed} of {planted} wrong answers that were planted here were not rejected: the suite "
        "itself is broken"
    )


def _is_rejected(
    backend: Backend, operator: Operator, formula: Formula, property_: Property,
    call: dict[str, Any], lie: Lie,
) -> bool:  # fmt: skip
    lying = replace(backend, asked=_Lying(backend.asked, lie), answers=[])
    lying.ended |= {one for one in backend.functions if backend.has_ended(one)}
    return is_rejected(lying, operator, formula, property_, call)


@dataclass
class _Lying:
    """Who performs requests, and is not told on."""

    asked: Asked
    lie: Lie
    changed: dict[str, str] = field(default_factory=dict)
    _replies: int = 0

    @property
    def description(self) -> Description:
        """The backend's."""
        return self.asked.description

    def begin(self, requests: Sequence[Request | Look]) -> None:
        """Pass it on."""
        self.asked.begin(requests)

    def perform(self, request: Request | Look) -> Reply:
        """Return something else than what came of it."""
        reply = self.asked.perform(request)
        self._replies += 1
        return self.lie(self._replies - 1, reply)

    def forget(self) -> None:
        """Pass it on."""
        self.asked.forget()

    def renew(self) -> bool:
        """Pass it on."""
        return self.asked.renew()

    def kept(self) -> dict[str, Any]:
        """Pass it on."""
        return self.asked.kept()

    def close(self) -> None:
        """Leave it open: the run goes on."""


# -- lies -----------------------------------------------------------------------------------------


def _all_else(array: Array) -> Array:
    """Return an array of which no element is right: its numbers negated, and 1 for 0 and NaN."""
    if array.dtype == np.bool_:
        return ~array
    with np.errstate(all="ignore"):
        nothing = (array == 0) | (array != array)  # noqa: PLR0124 - that is NaN
        return np.where(nothing, np.ones_like(array), -array).astype(array.dtype)


def _told(reply: Reply, change: Callable[[Array], Array]) -> Reply:
    return replace(reply, arrays=[change(array) for array in reply.arrays])


def _first(number: int, reply: Reply) -> Reply:
    return reply if number else _told(reply, _all_else)


def _others(number: int, reply: Reply) -> Reply:
    return _told(reply, _all_else) if number else reply


def _every(number: int, reply: Reply) -> Reply:
    del number
    return _told(reply, _all_else)


def _anything_but_a_refusal(number: int, reply: Reply) -> Reply:
    del number
    return reply if reply.kind == "answer" else Reply("answer", arrays=[np.zeros(1)])


def _crash(number: int, reply: Reply) -> Reply:
    return Reply("crashed", "crashed") if number else reply


LIES: tuple[Lie, ...] = (_first, _others, _every, _anything_but_a_refusal)


def _given(formula: Formula, call: Call) -> list[Formula]:
    """Return the formulas of the results that a call has: no gradient is by what is None."""
    return [one for one in parts_of(formula) if has_part(one, call)]


def _has_elements(formula: Formula, call: Call) -> bool:
    return any(prod(answer_shape(one, call)) for one in _given(formula, call))


def _only_just(backend: Backend, formula: Formula, call: Call, turn: int) -> Lie:
    """Return the lie that one element is off by as little as is wrong.

    Of a function with several results, it is one of the result whose `turn` it is.
    """
    results, bounded = _given(formula, call), _results_with_a_bound(backend, formula, call)
    at = results.index(bounded[turn % len(bounded)])

    def lie(number: int, reply: Reply) -> Reply:
        if number or reply.kind != "answer" or not reply.arrays[at].size:
            return reply
        off = _off(backend, results[at], call, reply.arrays[at])
        return replace(reply, arrays=[*reply.arrays[:at], off, *reply.arrays[at + 1 :]])

    return lie


def _results_with_a_bound(backend: Backend, formula: Formula, call: Call) -> list[Formula]:
    """Return the formulas of the results of which one element at least has a finite bound.

    What is divided by a variance that rounding may have made of 0 has none.
    """
    return [
        one for one in _given(formula, call)
        if not prod(answer_shape(one, call)) or np.isfinite(_bound(backend, one, call)).any()
    ]  # fmt: skip


def _bound(backend: Backend, formula: Formula, call: Call) -> Array:
    """Return how far each element may be off, 0 where it is exact or no number."""
    right, name = truth_of(backend, formula, call), data_dtype(call).name
    accumulator = backend.contract.accumulator(name)
    if is_place(formula) or right.is_exact(name, accumulator):
        return np.zeros(answer_shape(formula, call))
    return np.broadcast_to(right.bound(name, accumulator), answer_shape(formula, call))


def _off(backend: Backend, formula: Formula, call: Call, got: Array) -> Array:
    """Return an answer that is one unit off in one place, or just beyond the rounding bound."""
    judged, off = verdict(backend, formula, call, got), got.copy()
    at = int(np.flatnonzero(np.isfinite(_bound(backend, formula, call)))[-1])
    if not is_real(got.dtype):
        off.flat[at] += 1
        return off
    if not np.isfinite(got.flat[at]):
        off.flat[at] = 0
        return off
    beyond = np.array(got.flat[at])
    if not judged.exact:
        name = data_dtype(call).name
        bound = judged.right.bound(name, backend.contract.accumulator(name)).flat[at]
        want = judged.right.as_float(np.dtype(np.float64)).flat[at]
        beyond = np.asarray(want + (2 * bound if want >= 0 else -2 * bound)).astype(got.dtype)
    with np.errstate(all="ignore"):
        farther = np.copysign(np.array(np.inf, got.dtype), beyond)
        off.flat[at] = np.nextafter(beyond, farther)
    return off
