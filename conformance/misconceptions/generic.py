"""What somebody may misread in any formula whose gradients are derived, whatever it computes.

The sign, a factor, an argument or an option that is not used, a sum or a mean that no gradient goes
back through, a mean that divides by another number, the wrong axis, a rounding or a comparison in
place of another, a mask that is not applied.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from itertools import combinations
from operator import itemgetter, not_
from typing import Any

import numpy as np

from gradoracle.conformance.misconceptions.misconception import (
    SIGN,
    ZEROS,
    Misconception,
    Wrong,
    bent,
    negated,
    option,
    right,
    without,
    zeros,
)
from gradoracle.oracle.declaration import (
    Call,
    Formula,
    argument_names,
    axes_of,
    evaluate,
    is_data,
    optional,
)
from gradoracle.oracle.derive import ANY_MORE, GRAD_OUTPUT, body_of
from gradoracle.oracle.numbers import whole_numbers
from gradoracle.oracle.numbers.altered import (
    Reduction,
    choices,
    choosing,
    counting,
    detaching,
    reductions,
)
from gradoracle.oracle.shapes import Array

MOST, PAIRED = 12, 5  # reductions of a formula that are tried, and that are tried in pairs
ALMOST_ZERO = 1e-30


def generic(formula: Formula, call: Call) -> list[Misconception]:
    """Return what may be misread in a derived formula; in others, nothing.

    A call shows which sums, means and maxima the formula computes.
    """
    if body_of(formula) is None:
        return []
    found = (
        *_of_the_result(formula, call), *_of_arguments(formula, call), *_of_sums(formula, call),
        *_of_choices(formula, call), *_of_axes(formula, call),
    )  # fmt: skip
    return [
        Misconception(sentence, (formula.__name__,), wrong, scales=True, finite=finite)
        for sentence, wrong in found
        for finite in (True, False)  # a kernel may handle a division by 0, or return NaN
    ]


# -- the result -----------------------------------------------------------------------------------


def _times(factor: Callable[[Call], float]) -> Wrong:
    return lambda formula, call: right(formula, call) * factor(call)


def _over(divisor: Callable[[Call], float]) -> Wrong:
    """Return the right answer over a number, which may be 0: of no images."""
    return lambda formula, call: right(formula, call) / np.float64(divisor(call))


def _of_the_result(formula: Formula, call: Call) -> Iterator[tuple[str, Wrong]]:
    yield SIGN, negated
    yield ZEROS, zeros
    yield "it is twice the right answer", _times(lambda _: 2)
    yield "it is half the right answer", _times(lambda _: 0.5)
    for letter in axes_of(formula).sizes(call):
        if letter == ANY_MORE:
            continue
        name, length = letter.upper(), partial(_length, formula, letter)
        by = f"{name}, the length of an axis"
        yield f"it is the right answer times {by}: is a division by {name} missing?", _times(length)
        yield f"it is the right answer divided by {by}: is a mean taken for a sum?", _over(length)
    for name in _numbers(formula, call):
        yield f"it is the right answer times {name}", _times(itemgetter(name))
        yield f"it is the right answer divided by {name}", _over(itemgetter(name))
    yield "the result is transposed", lambda formula, call: np.asarray(right(formula, call).T)


def _length(formula: Formula, letter: str, call: Call) -> int:
    return axes_of(formula).sizes(call)[letter]


def _numbers(formula: Formula, call: Call) -> Iterator[str]:
    """Yield the options that are numbers."""
    for name in argument_names(formula)[1]:
        if isinstance(call[name], (int, float)) and not isinstance(call[name], bool):
            yield name


# -- arguments and options ------------------------------------------------------------------------


def _instead(name: str, value: float) -> Wrong:
    """Return the formula with another number in the place of an argument's."""

    def bend(call: dict[str, Any]) -> dict[str, Any]:
        given = call[name]
        return {**call, name: np.full_like(given, value) if is_data(given) else type(given)(value)}

    return bent(bend)


def _of_arguments(formula: Formula, call: Call) -> Iterator[tuple[str, Wrong]]:
    arrays = argument_names(formula)[0]
    if GRAD_OUTPUT in arrays:
        yield "dy is not used: it is the answer for dy = 1", _instead(GRAD_OUTPUT, 1)
    for name in arrays:
        if name == GRAD_OUTPUT or not is_data(call[name]):
            continue
        for value in (1, 0):
            yield (
                f"{name} is not used: it is the answer for {name} = {value}",
                _instead(name, value),
            )
        if name in optional(formula):
            yield (
                f"{name} is not used: it is the answer without {name}",
                bent(without(name)),
            )
    yield from _of_options(formula, call)


def _of_options(formula: Formula, call: Call) -> Iterator[tuple[str, Wrong]]:
    for name in argument_names(formula)[1]:
        if isinstance(call[name], bool):
            yield (
                f"{name} is not used: it is the answer for the opposite",
                bent(option(name, not_)),
            )
    for name in _numbers(formula, call):
        for value in (0, 1):
            sentence = f"{name} is not used: it is the answer for {name} = {value}"
            yield sentence, _instead(name, value)
            if isinstance(call[name], float) and not value:
                yield sentence, _instead(name, ALMOST_ZERO)  # where 0 would be divided by 0


# -- sums, means and maxima -----------------------------------------------------------------------


def _of_sums(formula: Formula, call: Call) -> Iterator[tuple[str, Wrong]]:
    met, means = list[Reduction](), list[Reduction]()
    with suppress(ValueError, IndexError), np.errstate(all="ignore"):
        met, means = reductions(lambda: evaluate(formula, _wide(call)))
    if GRAD_OUTPUT in argument_names(formula)[0]:
        for one in met[:MOST]:
            yield (
                f"no gradient goes back through {one.text}, as if it were a constant",
                _under(partial(detaching, one)),
            )
        for one, other in combinations(met[:PAIRED], 2):
            yield (
                f"no gradient goes back through {one.text}, nor through {other.text}",
                _under(partial(detaching, one, other)),
            )
    for one in means[:MOST]:
        for sentence, change in (
            ("is not divided by the number of elements", _one),
            ("divides by one less than the number that it should", _less),
            ("divides by one more than the number that it should", _more),
        ):
            yield f"{one.text} {sentence}", _under(partial(counting, one, change))


def _one(count: int) -> int:
    del count
    return 1


def _less(count: int) -> int:
    return count - 1


def _more(count: int) -> int:
    return count + 1


def _under(changed: Callable[[], AbstractContextManager[None]]) -> Wrong:
    """Return the formula, evaluated with one of its reductions changed."""

    def wrong(formula: Formula, call: dict[str, Any]) -> Array:
        with changed():
            return evaluate(formula, call)

    return wrong


def _wide(call: Call) -> dict[str, Any]:
    return {n: a.astype(np.float64) if is_data(a) else a for n, a in call.items()}


# -- roundings, comparisons and masks --------------------------------------------------------------

INSTEAD: Mapping[Any, Sequence[tuple[Any, str]]] = {
    whole_numbers.rint: (
        (whole_numbers.half_away, "halves are rounded away from 0, not to even"),
        (whole_numbers.half_up, "halves are rounded up, not to even"),
        (whole_numbers.trunc, "it is cut off after the point, not rounded to nearest"),
        (whole_numbers.floor, "it is rounded down, not to nearest"),
    ),
    whole_numbers.trunc: ((whole_numbers.floor, "floor is taken for trunc"),),
    whole_numbers.floor: (
        (whole_numbers.trunc, "trunc is taken for floor"),
        (whole_numbers.rint, "it is rounded to nearest, not down"),
    ),
    whole_numbers.ceil: (
        (whole_numbers.half_away, "it is rounded to nearest, not up"),
        (whole_numbers.floor, "floor is taken for ceil"),
    ),
    **{
        of: ((other, f"{taken} is taken for {sign}"),)
        for of, sign, other, taken in (
            (np.greater, ">", np.greater_equal, ">="),
            (np.greater_equal, ">=", np.greater, ">"),
            (np.less, "<", np.less_equal, "<="),
            (np.less_equal, "<=", np.less, "<"),
            (operator.gt, ">", operator.ge, ">="),
            (operator.ge, ">=", operator.gt, ">"),
            (operator.lt, "<", operator.le, "<="),
            (operator.le, "<=", operator.lt, "<"),
        )
    },
}


def _of_choices(formula: Formula, call: Call) -> Iterator[tuple[str, Wrong]]:
    """Yield the formula with one rounding or comparison in place of another, or without a mask."""
    met = list[tuple[Reduction, Any]]()
    with suppress(ValueError, IndexError), np.errstate(all="ignore"):
        met = choices(lambda: evaluate(formula, _wide(call)))
    for one, by in met[:MOST]:
        if not callable(by):
            sentence = (
                f"the condition of {one.text} is not applied: it is the answer where it holds"
            )
            yield sentence, _under(partial(choosing, one, by, np.True_))
        for instead, words in INSTEAD.get(by, ()) if callable(by) else ():
            yield f"{one.text}: {words}", _under(partial(choosing, one, by, instead))


# -- axes -----------------------------------------------------------------------------------------


def _of_axes(formula: Formula, call: Call) -> Iterator[tuple[str, Wrong]]:
    """Yield the formula along the other axis, where all arrays are matrices of one shape."""
    arrays = [call[n] for n in argument_names(formula)[0] if is_data(call[n])]
    if all(a.ndim == 2 for a in arrays) and len({a.shape for a in arrays}) == 1:
        yield "it works along the other axis", _along_the_other


def _along_the_other(formula: Formula, call: dict[str, Any]) -> Array:
    turned = {n: np.ascontiguousarray(a.T) if is_data(a) else a for n, a in call.items()}
    return np.asarray(evaluate(formula, turned).T)
