"""What somebody may misunderstand about the batch, whatever the formula."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradoracle.conformance.misconceptions.misconception import Misconception, Wrong, right
from gradoracle.conformance.operators import OPERATORS
from gradoracle.oracle.declaration import Chained, Formula, algebra, axes_of, evaluate
from gradoracle.oracle.shapes import Array

ROWS = ("softmax", "softmax_grad", "cross_entropy_grad")  # of which every image has its own


def _functions(kind: str) -> tuple[str, ...]:
    formulas = [f for operator in OPERATORS for f in operator.formulas]
    return tuple(
        f.__name__
        for f in formulas
        if not isinstance(algebra(f), Chained) and algebra(f).images == kind
    )


KEPT = (*_functions("kept"), *ROWS)
SUMMED = _functions("summed")
GRADIENTS = tuple(name for name in KEPT if name.endswith(("_grad", "_grad_input", "_vjp")))


def _only(chosen: slice) -> Wrong:
    """Return the answer for some images, zeros for the others."""

    def wrong(formula: Formula, call: dict[str, Any]) -> Array:
        answer = right(formula, call)
        part = np.zeros_like(answer)
        part[chosen] = answer[chosen]
        return part

    return wrong


def _all_but_the_last(formula: Formula, call: dict[str, Any]) -> Array:
    """The last of several images is left at zeros; a single one is computed."""
    answer = right(formula, call)
    answer[max(1, len(answer) - 1) :] = 0
    return answer


def _everywhere(formula: Formula, call: dict[str, Any]) -> Array:
    """Every image gets the answer of the first."""
    answer = right(formula, call)
    return np.repeat(answer[:1], len(answer), axis=0)


def _all_in_the_first(formula: Formula, call: dict[str, Any]) -> Array:
    """The answers of all images are added up in the first."""
    answer = right(formula, call)
    total = np.zeros_like(answer)
    total[:1] = answer.sum(axis=0)
    return total


def _summed_over(chosen: slice) -> Wrong:
    """Return a gradient summed over some of the images only."""
    return lambda formula, call: evaluate(formula, axes_of(formula).images(call, chosen))


MISCONCEPTIONS = (
    Misconception("every image gets the answer of the first", KEPT, _everywhere),
    Misconception("only the first image is computed: the others are zeros", KEPT,
                  _only(slice(0, 1))),
    Misconception("only the last image is computed: the others are zeros", KEPT,
                  _only(slice(-1, None))),
    Misconception("the last image is not computed: it is zeros", KEPT, _only(slice(0, -1)),
                  also=(_all_but_the_last,)),
    Misconception("the gradients of all images are added up in the first: the others are zeros",
                  GRADIENTS, _all_in_the_first),
    Misconception("only the first image counts", SUMMED, _summed_over(slice(0, 1))),
    Misconception("only the last image counts", SUMMED, _summed_over(slice(-1, None))),
    Misconception("the last image is left out", SUMMED, _summed_over(slice(0, -1))),
)  # fmt: skip
