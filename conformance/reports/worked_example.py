"""A small call of a formula, what it gives, and one element of that spelled out in numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from gradoracle.conformance.drawing.values import Style
from gradoracle.conformance.operators.arrays import answerable
from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.operators.textbook import smallest
from gradoracle.conformance.reports.traced import Term, terms_of, traced
from gradoracle.oracle.declaration import (
    Call,
    Chained,
    Formula,
    algebra,
    argument_names,
    displayed,
    parts_of,
)
from gradoracle.oracle.expected.truth import truth
from gradoracle.oracle.shapes import Array

SEED, SEEDS = 1, 6  # the first, and how many are tried: a mask is of booleans with some of them
LARGER = {  # sizes of an example, by the end of their names, where they are legal
    "depth": 2, "height": 3, "width": 3, "kernel": 2, "inputs": 3, "outputs": 2, "classes": 3,
    "axes": 2, "images": 2, "channels": 3, "n": 2, "c": 3, "h": 2, "k": 2,
}  # fmt: skip
OF_ONE = ("images", "channels")  # left at 1 where there are windows: an example is read, not run
MOST = 64  # elements of an array
SPELLED = 4  # terms in numbers


class Example(NamedTuple):
    """A call of a formula and its answer; `terms` are of the element at `place`, if it has any."""

    formula: Formula
    call: Call
    answer: Array
    place: tuple[int, ...]
    terms: tuple[Term, ...]

    @property
    def names(self) -> list[str]:
        """The arguments that are given, in their order."""
        names = (name for part in argument_names(self.formula) for name in part)
        return [name for name in names if self.call[name] is not None]

    @property
    def sentence(self) -> str:
        """The element at `place` as a sum of products, first of names and then in numbers."""
        if not self.terms:
            return ""
        more = " + ..." if len(self.terms) > SPELLED else ""
        shown = self.terms[:SPELLED]
        letters = _sum([_product(one) for one in shown]) + more
        numbers = _sum([_numbers(one, self.call) for one in shown]) + more
        right = written(self.answer[self.place])
        steps = [letters, *([numbers] if numbers != right else []), right]
        return f"{symbol(self.formula)}{_place(self.place)} = {' = '.join(steps)}"


def symbol(formula: Formula) -> str:
    """Return what the equation calls the answer, such as dx."""
    found = re.match(r"[A-Za-z]+", displayed(formula)[0])
    return found[0] if found else formula.__name__


def example(operator: Operator, formula: Formula) -> Example | None:
    """Return an example of a formula; None: it is a chain of others (see `worked_chain`)."""
    if isinstance(algebra(formula), Chained):
        return None
    style = (operator.styles.slopes or operator.styles.of("any"))[0]
    return example_of(formula, _answered(operator, formula, style))


def _answered(operator: Operator, formula: Formula, style: Style) -> Call:
    """Return the call of an example: a gradient is by an array that is given, and no booleans."""
    sizes = example_sizes(operator, formula)
    calls = (operator.call(sizes, style, SEED + at, "float64") for at in range(SEEDS))
    return next(call for call in calls if operator.has_answer(formula, call))


def example_of(formula: Formula, call: Call, place: tuple[int, ...] | None = None) -> Example:
    """Return an example of a call, of one element of its answer or of the one with most terms.

    Of a function with several results, it is of the first.
    """
    formula = parts_of(formula)[0]
    answer = truth(formula, call).as_float(np.dtype(np.float64))
    found = traced(formula, call)
    if place is None:
        places = [*np.ndindex(answer.shape)]
        counts = [0 if found is None else len(terms_of(found[at])) for at in places]
        place = places[int(np.argmax(counts))] if places else ()
    terms = () if found is None or not found.size else terms_of(found[place])
    return Example(formula, call, answer, place, terms)


def example_sizes(operator: Operator, formula: Formula) -> dict[str, int]:
    """Return sizes of which every one is larger where that is legal and stays readable."""
    sizes = answerable(operator, formula, smallest(operator))
    for names, wanted in _wishes(sizes):
        larger = operator.inside({**sizes, **dict.fromkeys(names, wanted)})
        if larger is not None and _is_readable(operator, larger):
            sizes = larger
    return sizes


def _wishes(sizes: Mapping[str, int]) -> Iterator[tuple[list[str], int]]:
    """Yield names that are raised together, and to what: the image before the kernel."""
    windows = any(name.startswith("kernel") for name in sizes)
    rest = [name for name in sizes if not (windows and name in OF_ONE)]
    for end, wanted in LARGER.items():
        names = [n for n in rest if n == end or (end == "kernel" and n.startswith("kernel"))]
        if names:
            yield names, wanted
    if "axis" in sizes:
        yield ["axis"], 1


def _is_readable(operator: Operator, sizes: Mapping[str, int]) -> bool:
    try:
        shapes = operator.arguments(sizes).shapes.values()
    except ValueError:
        return False
    return all(np.prod(shape) <= MOST for shape in shapes if shape is not None)


def _place(place: tuple[int, ...]) -> str:
    return f"[{','.join(map(str, place))}]" if place else ""


def _sum(products: list[str]) -> str:
    return " + ".join(products).replace("+ -", "- ")


def _product(term: Term) -> str:
    return _scaled(term, [f"{one.name}{_place(one.place)}" for one in term.factors])


def _numbers(term: Term, call: Call) -> str:
    values = [np.asarray(call[one.name])[one.place] for one in term.factors]
    return _scaled(term, [f"({written(v)})" if v < 0 else written(v) for v in values])


def _scaled(term: Term, factors: list[str]) -> str:
    """Return a product with its coefficient, of which 1 is left out and -1 a sign."""
    size, sign = abs(term.coefficient), "-" if term.coefficient < 0 else ""
    first = [] if size == 1 and factors else [f"{size}"]
    return sign + " * ".join([*first, *factors])


def written(number: float) -> str:
    """Return a number in a few digits; an integer whole."""
    value = float(number)
    if not np.isfinite(value) or not value.is_integer() or abs(value) >= 1e6:
        return f"{value:.4g}"
    return f"{int(value)}"
