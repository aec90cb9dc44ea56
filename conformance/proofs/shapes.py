"""The calls that a proof is about: shapes and options inside a domain, the smallest first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import numpy as np

from gradoracle.conformance.backends.backend import Backend
from gradoracle.conformance.operators.domain import facts_of_call, joined, names_of, read
from gradoracle.conformance.operators.inside import restricted
from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.operators.variations import drawn
from gradoracle.oracle.declaration import Call, Formula, argument_names, is_data
from gradoracle.oracle.expected.truth import answer_shape

DRAWN = 128  # geometries that are looked at
MOST = 2048  # elements of an array or an answer, where the shape is not the user's choice


def calls(
    backend: Backend, operator: Operator, formula: Formula, at: str = "", count: int = 10
) -> list[Call]:
    """Return calls of as many shapes, of all sizes from the smallest on.

    They are inside a domain such as "n = 1, c = 3, stride = 2" where one is given, and small where
    none is.

    Raises:
        ValueError: the domain cannot be understood, or nothing is inside it.
    """
    asked = read(at, names_of(operator.formulas), operator.name) if at else ()
    inside = restricted(operator, joined((backend.domain(formula), asked)))
    found = sorted(_distinct(inside, formula, most=None if at else MOST), key=_size_of(formula))
    if not found:
        raise ValueError(f"no call of {formula.__name__} is inside  {at or 'its domain'}")
    last = min(count, len(found)) - 1
    return [found[at * (len(found) - 1) // max(last, 1)] for at in range(last + 1)]


def _size_of(formula: Formula) -> Callable[[Call], int]:
    return lambda call: sum(np.size(call[name]) for name in argument_names(formula)[0])


def _distinct(operator: Operator, formula: Formula, most: int | None) -> Iterator[Call]:
    """Yield calls of the geometries that have elements, one of each shape and options."""
    known: set[str] = set()
    style = operator.styles.of("any")[0]
    for number in range(DRAWN):
        geometry = drawn(operator, number)
        sizes = operator.inside(geometry.sizes)
        if sizes is None:
            continue
        try:
            call = operator.call(sizes, style, geometry.seed, "float32")
        except ValueError:
            continue
        if not operator.has_answer(formula, call) or not _has_elements(formula, call, most):
            continue
        words = described(operator, formula, call)
        if words not in known:
            known.add(words)
            yield call


def _has_elements(formula: Formula, call: Call, most: int | None) -> bool:
    given = [call[name] for name in argument_names(formula)[0]]
    counts = [one.size for one in given if isinstance(one, np.ndarray)]
    counts.append(prod(answer_shape(formula, call)))
    return min(counts) > 0 and (most is None or max(counts) <= most)


def described(operator: Operator, formula: Formula, call: Call) -> str:
    """Return a call's shape and options in the words of a domain."""
    positional, options = argument_names(formula)
    axes = operator.axes
    letters = {a for n in positional for a in axes.arrays.get(n, ()) if call.get(n) is not None}
    facts = facts_of_call(axes, call)
    for option, array in axes.shapes.items():  # "input_shape" of a gradient by x
        if option in options:
            facts |= dict(zip(axes.arrays[array], call[option], strict=True))
            letters |= {*axes.arrays[array]}
    shown = [f"{name} = {facts[name]}" for name in sorted(letters & facts.keys()) if name.isalpha()]
    shown += [f"{n} = {_value(call[n])}" for n in options if n not in axes.shapes]
    absent = [n for n in positional if n in axes.optional and call[n] is None]
    return ", ".join([*shown, *(f"{name} absent" for name in absent)])


def _value(value: Any) -> str:
    if isinstance(value, tuple) and len({*value}) == 1:
        return str(value[0])
    return str(value)


def numbers(formula: Formula, call: Call) -> list[str]:
    """Return the names of a formula's arguments that hold numbers."""
    return [name for name in argument_names(formula)[0] if is_data(call[name])]
