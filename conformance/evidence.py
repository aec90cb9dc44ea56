"""Which misconceptions explain a backend: all answers that it gave, and some that it is asked for.

The smallest call that shows a fault fits several.  So the formula that is wrong is asked for on
small calls, until no misconception explains all answers, or one alone explains enough of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

import numpy as np

from conformance.backend import Backend
from conformance.choices import ROW, Choices
from conformance.judge import verdict
from conformance.misconceptions import Suspects, is_evidence
from conformance.mismatch import Answer, Declined, Mismatch
from conformance.operator import Operator
from conformance.operators import OPERATORS
from oracle.formula import Call, Formula, is_data, output_of
from oracle.rounding import HALVES
from oracle.truth import answer_dtype, answer_shape, data_dtype

MOST = 40  # small calls that are asked for
TOGETHER = 8  # of them
LARGE = 10_000  # numbers of a call at most: wrong formulas are loops, too
ENOUGH = 12  # wrong answers that one misconception alone explains


def explanations(
    backend: Backend, formula: Formula, known: Sequence[Answer], seed: int
) -> list[str]:
    """Return the sentences of the misconceptions that explain all answers to `formula`."""
    suspects = Suspects(formula)
    for answer in known:
        if sum(np.size(value) for value in answer.call.values() if is_data(value)) <= LARGE:
            suspects.see(answer)
    operator = next((o for o in OPERATORS if formula in o.formulas), None)
    if operator is None:
        return suspects.sentences
    random = np.random.default_rng(seed % 2**64)
    dtype = data_dtype(known[0].call).name if known else _dtype(backend, formula)
    for _ in range(MOST // TOGETHER):
        alone = len(suspects.sentences) == 1 and suspects.explained >= ENOUGH
        if not suspects.left or alone:
            break
        for answer in _answers(backend, operator, formula, random, dtype):
            suspects.see(answer)
    return suspects.sentences


def wrong_answers(backend: Backend, answers: Sequence[Answer]) -> list[Answer]:
    """Return the answers that are not what their formula gives.

    Where the backend raised instead of answering, that call comes first.
    """
    wrong = [answer for answer in answers if answer.value is None]
    for answer in answers:
        value = answer.value
        if value is None:
            continue
        form = answer_shape(answer.formula, answer.call), answer_dtype(answer.formula, answer.call)
        if (value.shape, value.dtype) != form or bool(
            verdict(backend, answer.formula, answer.call, value).wrong.any()
        ):
            wrong.append(answer)
    return wrong


def _answers(
    backend: Backend, operator: Operator, formula: Formula, random: np.random.Generator, dtype: str
) -> Iterator[Answer]:
    """Yield the answers to some small calls, on numbers on which being equal says something."""
    styles = operator.styles.of("any")
    calls: list[Call] = []
    for _ in range(TOGETHER):
        drawn = operator.geometry(Choices(random.bytes(ROW)), "small")
        style = styles[drawn.seed % len(styles)]
        calls.append(operator.call(drawn.sizes, style, drawn.seed, dtype))
    if output_of(formula).function in backend.ended:
        return  # each of these calls may cost a time limit
    backend.foresee(*((formula, call) for call in calls))
    try:
        for call in calls:
            if output_of(formula).function in backend.ended:
                break
            with suppress(Mismatch, Declined):  # no answer explains nothing
                answer = Answer(formula, call, backend.ask(formula, call))
                settled = not operator.unsettled(backend.contract.policies, formula, call)
                if settled and is_evidence(answer):
                    yield answer
    finally:
        backend.forget()


def _dtype(backend: Backend, formula: Formula) -> str:
    """Return a claimed dtype; half precision, which holds few sums exactly, only if need be."""
    claimed = backend.contract.dtypes_of([output_of(formula).function])
    return next((d for d in claimed if d not in HALVES), claimed[0])
