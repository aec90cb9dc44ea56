"""Two calls at once, from two threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import chain, islice

import numpy as np

from gradoracle.conformance.backends.backend import Backend, is_same
from gradoracle.conformance.backends.mismatch import Declined, Mismatch, Outside, showing
from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.operators.variations import legal, variations
from gradoracle.conformance.properties.comparison import require_truth
from gradoracle.conformance.properties.property import NotJudged, holds, is_function
from gradoracle.oracle.declaration import Call, Formula, argument_names, is_data
from gradoracle.oracle.shapes import Array

TIMES = 12  # that each thread makes its call
ONE = "with one image"
BACK = {ONE: "with more images"}  # what the one call is beside the other; else it is the same
VARIED = 1  # other calls that differ in an option


def _is_called(operator: Operator, formula: Formula) -> bool:
    del operator
    return is_function(formula)


@holds(
    where=_is_called, kind="any", size="small", share=0.03, claim=("threads", "safe"),
    each_class_once=True, is_fresh=True,
)  # fmt: skip
def is_thread_safe(backend: Backend, operator: Operator, formula: Formula, call: Call) -> float:
    """Two calls at once from two threads, with other numbers, images or options, give what each
    gives alone.
    """  # noqa: D205 - one sentence
    if operator.unsettled(backend.contract.policies, formula, call):
        raise NotJudged("the contract leaves the answer open")
    alone, made = backend.ask(formula, call), 0
    for words, other in _others(operator, formula, call):
        with suppress(Outside):
            beside = _alone(backend, operator, formula, other)
            if beside is None:
                continue
            with showing({"wrong": call, "other": other}):
                both = backend.ask_at_once((formula, call), (formula, other), TIMES)
                _require(backend, formula, call, alone, both[0], words)
            with showing({"wrong": other, "other": call}):
                _require(backend, formula, other, beside, both[1], BACK.get(words, words))
            made += 1
    if not made:
        raise NotJudged("there is no other call beside it")
    return 0.0


def _alone(backend: Backend, operator: Operator, formula: Formula, call: Call) -> Array | None:
    """Return the answer to a call by itself; None where it is declined or left open."""
    if operator.unsettled(backend.contract.policies, formula, call):
        return None
    try:
        return backend.ask(formula, call)
    except Outside:
        raise
    except Declined:
        return None


def _require(
    backend: Backend, formula: Formula, call: Call, alone: Array, found: list[Array], words: str
) -> None:
    """Raise Mismatch unless all answers are the one that was given alone, or as good."""
    for got in found:
        if is_same(alone, got):
            continue
        try:
            require_truth(backend, formula, call, got)
        except Mismatch as mismatch:
            text = f"{mismatch.headline}; another thread made the same call {words} at once"
            raise Mismatch(text) from None


def _others(operator: Operator, formula: Formula, call: Call) -> Iterator[tuple[str, Call]]:
    """Yield calls that differ from a call, with the words for each."""
    names = [n for n in argument_names(formula)[0] if is_data(call[n])]
    numbers = {n: _other(call[n]) for n in names}
    if (other := legal(operator, formula, {**call, **numbers})) is not None:
        yield "with other numbers", other
    varied = (
        (what, changed)
        for what, both in variations(operator, formula, call).items()
        for changed in islice(chain(*both), 1)
    )
    for what, changed in islice(varied, VARIED):
        yield f"with another {what.partition('[')[0]}", changed
    one = legal(operator, formula, operator.axes.images(call, slice(0, 1)))
    if one is not None and any(np.shape(one[n]) != np.shape(call[n]) for n in names):
        yield ONE, one


def _other(array: Array) -> Array:
    """Return numbers as large, of which hardly any is the same."""
    other: Array = -np.flip(array)
    return np.where(other == 0, array.dtype.type(1), other).astype(array.dtype)
