"""What the answers of a failing call show: which are wrong by themselves, and what explains them.

The smallest call that shows a fault fits several.  So the formula that is wrong is asked for on
small calls, until no misconception explains all answers, or one alone explains enough of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import product

import numpy as np

from gradoracle.conformance.backends.backend import Backend
from gradoracle.conformance.backends.mismatch import MANNERS, NUMBERS, Answer, Declined, Mismatch
from gradoracle.conformance.drawing.choices import ROW, Choices
from gradoracle.conformance.misconceptions import Suspects, is_evidence
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.properties import Property
from gradoracle.conformance.properties.comparison import require_truth, verdict
from gradoracle.oracle.declaration import (
    Call,
    Formula,
    argument_names,
    evaluate,
    is_data,
    output_of,
    parts_of,
    whole_of,
)
from gradoracle.oracle.expected.non_finite import with_finite
from gradoracle.oracle.expected.truth import answer_dtype, answer_shape, data_dtype
from gradoracle.oracle.float_formats import HALVES

FEW = 1000  # elements of a call that is walked once more
MOST = 40  # small calls that are asked for
TOGETHER = 8  # of them
LARGE = 10_000  # numbers of a call at most: wrong formulas are loops, too
ENOUGH = 12  # wrong answers that one misconception alone explains
NO_ANSWER = "no answer"  # it raised instead
FAR = 1024.0  # a number far out, which every format holds
IN_SEQUENCE = ("is_stateless", "is_deterministic")
SPECIAL = ("propagates_non_finite", "keeps_subnormals")
# Properties that say nothing of a function whose plain answers are wrong.
APART = (*IN_SEQUENCE, *SPECIAL, "ignores_memory_layout")


def explanations(
    backend: Backend, formula: Formula, known: Sequence[Answer], seed: int
) -> list[str]:
    """Return the sentences of the misconceptions that explain all answers to `formula`."""
    suspects = Suspects(formula, backend.contract.policies)
    for answer in known:
        if sum(np.size(value) for value in answer.call.values() if is_data(value)) <= LARGE:
            suspects.see(answer)
    operator = operator_of(formula)
    if operator is None:
        return suspects.sentences
    operator = backend.inside(operator, [formula])
    random = np.random.default_rng(seed % 2**64)
    dtype = data_dtype(known[0].call).name if known else _dtype(backend, formula)
    for _ in range(MOST // TOGETHER):
        alone = len(suspects.sentences) == 1 and suspects.explained >= ENOUGH
        if not suspects.suspected or alone:
            break
        for answer in _answers(backend, operator, formula, random, dtype):
            suspects.see(answer)
    return suspects.sentences


def wrong_answers(backend: Backend, answers: Sequence[Answer]) -> list[Answer]:
    """Return the answers that are not what their formula gives.

    Where the backend raised instead of answering, that call comes first.
    """
    raised = [answer for answer in answers if answer.value is None]
    others = [answer for answer in answers if answer.value is not None]
    return [*raised, *(answer for answer in others if kind_of(backend, answer))]


def kind_of(backend: Backend, answer: Answer) -> str:
    """Return how an answer is wrong by itself, as `Mismatch.kind` does; "" where it is right."""
    formula, call, value = answer.formula, answer.call, answer.value
    if value is None:
        return NO_ANSWER
    if value.shape != answer_shape(formula, call):
        return "shape"
    if value.dtype != answer_dtype(formula, call):
        return "dtype"
    operator = operator_of(formula)
    if operator is not None and operator.unsettled(backend.contract.policies, formula, call):
        return ""
    return NUMBERS if bool(verdict(backend, formula, call, value).wrong.any()) else ""


def operator_of(formula: Formula) -> Operator | None:
    """Return the operator that a formula belongs to."""
    return next((o for o in OPERATORS if whole_of(formula) in o.formulas), None)


def plainly_wrong(
    backend: Backend, property_: Property, call: Call, mismatch: Mismatch
) -> list[Answer]:
    """Return the wrong answers that a property failed on and that are wrong whatever it asks for.

    A property about what was asked before, about memory or about special values fails on its own
    account only where the answer to the plain call is right.  That call is asked here again; where
    it is another one than the property began with, so is a call of other numbers, lest a cache
    answer.
    """
    answers = list(backend.answers)
    of_its_own = mismatch.kind in MANNERS or (mismatch.call is not None and not mismatch.layout)
    if of_its_own or not answers:
        return []
    if property_.name not in APART:
        return wrong_answers(backend, answers)
    formula = answers[-1].formula
    if property_.name in SPECIAL:
        near, far = (_wrong_now(backend, formula, with_finite(call, n)) for n in (1, FAR))
        return near or far
    asked = mismatch.call or answers[-1].call
    was = next((one for one in answers if one.call is asked), answers[-1])
    if property_.name in IN_SEQUENCE and len(answers) > 1 and was is not answers[-1]:
        return []  # it was right before
    wrong = _wrong_now(backend, formula, asked)
    # A call without images, which the property begins with, leaves no numbers behind.
    before = [a for a in answers[:-1] if all(v.size for v in a.call.values() if is_data(v))]
    if wrong and property_.name in IN_SEQUENCE and before:
        other = with_other_numbers(wrong[0]).call
        return wrong if _wrong_now(backend, formula, other) else []
    return wrong


def is_wrong_after(backend: Backend, before: Sequence[Answer], wrong: Answer) -> bool:
    """Return whether a call's answer is wrong once these calls have been made."""
    for one in before:
        with suppress(Mismatch, Declined):
            backend.ask(one.formula, one.call)
    return bool(_wrong_now(backend, wrong.formula, wrong.call))


def with_other_numbers(answer: Answer) -> Answer:
    """Return a call of the same shapes with other numbers, as something to be asked before.

    Each array is changed by another number, for a distance of two must change, too; where that
    leaves the answer as it was, by numbers that fall from array to array, or elements by others
    than those beside them.
    """
    even = _changed(answer, 1)
    if sum(a.size for a in even.call.values() if isinstance(a, np.ndarray)) > FEW:
        return even
    with suppress(ValueError), np.errstate(all="ignore"):
        first = evaluate(parts_of(answer.formula)[0], answer.call)
        for kinds, falls in product((1, 3), (False, True)):
            one = _changed(answer, kinds, falls=falls)
            other = evaluate(parts_of(answer.formula)[0], one.call)
            if not np.array_equal(first, other, equal_nan=True):
                return one
    return even


def _changed(answer: Answer, kinds: int, *, falls: bool = False) -> Answer:
    """Return a call whose elements are changed by numbers of so many kinds.

    The numbers rise from array to array, or fall.
    """
    names, operator = argument_names(answer.formula)[0], operator_of(answer.formula)
    data = [n for n, v in answer.call.items() if n in names and is_data(v)]
    changed = dict(answer.call)
    for at, name in enumerate(data, 1):
        array = answer.call[name]
        by = 2 * len(data) - at if falls else at
        steps = by * (1 + np.arange(array.size) % kinds).reshape(array.shape)
        changed[name] = np.flip(array).copy() + steps.astype(array.dtype)
    whole = changed if operator is None else operator.complete(changed, 0)
    return Answer(answer.formula, whole, None)


def as_plain(backend: Backend, answer: Answer, mismatch: Mismatch) -> Mismatch:
    """Return what is wrong with a plain answer, without what a property said beside it."""
    if answer.value is not None:
        try:
            require_truth(backend, answer.formula, answer.call, answer.value)
        except Mismatch as plain:
            return plain
    return Mismatch(mismatch.headline.partition("; ")[0])


def _wrong_now(backend: Backend, formula: Formula, call: Call) -> list[Answer]:
    """Return the answer to a call that is asked by itself, if it is wrong."""
    with suppress(Declined):
        try:
            answer = Answer(formula, call, backend.ask(formula, call))
        except Mismatch:
            answer = Answer(formula, call, None)
        return [answer] if kind_of(backend, answer) else []
    return []


def _answers(
    backend: Backend, operator: Operator, formula: Formula, random: np.random.Generator, dtype: str
) -> Iterator[Answer]:
    """Yield the answers to some small calls, on numbers on which being equal says something."""
    styles = operator.styles.of("any")
    calls: list[Call] = []
    for _ in range(TOGETHER):
        drawn = operator.geometry(Choices(random.bytes(ROW)), "small")
        style = styles[drawn.seed % len(styles)]
        one = operator.call(drawn.sizes, style, drawn.seed, dtype)
        if operator.has_answer(formula, one):
            calls.append(one)
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
