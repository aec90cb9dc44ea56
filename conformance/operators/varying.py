"""On which calls each argument is given another value: a few geometries for each formula.

Finding them takes many answers of the oracle, so those of the suite's own operators are kept in
`varying.json`; `python -m gradoracle.conformance.operators.varying` writes it again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from gradoracle.conformance.operators.record import Geometry, Operator
from gradoracle.conformance.operators.variations import (
    DRAWN,
    TRIED,
    Ways,
    drawn,
    is_array,
    is_own,
    legal,
    optional,
    variations,
)
from gradoracle.oracle.declaration import (
    Call,
    Chained,
    Composed,
    Formula,
    algebra,
    argument_names,
    evaluate,
    is_data,
    parts_of,
)
from gradoracle.oracle.expected.truth import answer_shape, truth
from gradoracle.oracle.shapes import Array

PACKAGE, FILE = "gradoracle.conformance.operators", "varying.json"
ENOUGH = 32  # geometries after which what was never legal is given up
FEW = 200  # elements of an array that is small
_known: dict[tuple[Operator, Formula], tuple[Geometry, ...]] = {}


def that_vary(operator: Operator, formula: Formula) -> tuple[Geometry, ...]:
    """Return a few geometries on which each place takes another value, alone where that is legal.

    A gradient is given dy: another padding alone is legal only where the windows leave pixels over.
    The other value must give another answer, or what mistakes one for the other would be right.
    Of all gradients at once, that is the first of them.
    """
    formula = parts_of(formula)[0]
    key = operator, formula
    if key not in _known:
        is_kept = not is_own(operator) and not operator.is_restricted
        kept = _kept().get(name_of(operator, formula)) if is_kept else None
        numbers = found(operator, formula) if kept is None else kept
        _known[key] = tuple(drawn(operator, number) for number in numbers)
    return _known[key]


def name_of(operator: Operator, formula: Formula) -> str:
    """Return the name of a formula in the file."""
    return f"{operator.name}: {formula.__name__}"


@cache
def _kept() -> Mapping[str, list[int]]:
    kept: dict[str, list[int]] = json.loads(files(PACKAGE).joinpath(FILE).read_text("ascii"))
    return kept


def found(operator: Operator, formula: Formula) -> list[int]:
    """Return the numbers of the geometries that `that_vary` returns, which `drawn` takes."""
    numbers = _covering(operator, formula)
    if operator.argument_of(formula) in optional(formula):
        # Few drawn calls have a gradient by it: each dtype is to have one here.
        numbers = 2 * (numbers or _with_answer(operator, formula))
    return numbers


def _with_answer(operator: Operator, formula: Formula) -> list[int]:
    """Return the first geometry of a call that the formula has an answer to, if there is one."""
    for number in range(DRAWN):
        call = _simple(operator, drawn(operator, number))
        if call is not None and operator.has_answer(formula, call):
            return [number]
    return []


def _covering(operator: Operator, formula: Formula) -> list[int]:
    """Return the first geometries on which each variation changes the answer.

    So do other numbers in each argument that the answer depends on.
    """
    known: set[str] = set()
    covering: dict[int, None] = {}
    for company in (False, True):
        possible: set[str] = set()  # those of which some call was legal
        for number in (*covering, *(n for n in range(DRAWN) if n not in covering)):
            call = _simple(operator, drawn(operator, number))
            if call is None or not operator.has_answer(formula, call):
                continue
            ways: dict[str, Ways] = {**variations(operator, formula, call)}
            if number <= ENOUGH:  # an answer may have nothing to do with an argument's numbers
                ways |= _other_numbers(operator, formula, call)
            todo = {what for what in ways if what not in known}
            if number > ENOUGH:
                todo &= possible
            others = {what: [*islice(ways[what][company], TRIED)] for what in todo}
            possible |= {what for what in todo if others[what]}
            own = cache(partial(_answer, formula, call))
            told = {what for what in todo if _is_told(formula, call, own, others[what])}
            if told:
                covering[number] = None
                known |= told
            if {*ways} <= known:
                return [*covering]
    return [*covering]


def _other_numbers(operator: Operator, formula: Formula, call: Call) -> dict[str, Ways]:
    """Return for each argument of several numbers the call with these in the opposite order."""
    found: dict[str, Ways] = {}
    for name in argument_names(formula)[0]:
        if is_data(call.get(name)) and call[name].size > 1:
            other = legal(operator, formula, {**call, name: np.flip(call[name]).copy()})
            found[f"the numbers of {name}"] = ([] if other is None else [other], [])
    return found


def _simple(operator: Operator, geometry: Geometry) -> dict[str, Any] | None:
    style = operator.styles.of("any")[0]
    try:
        call = operator.call(geometry.sizes, style, geometry.seed, "float64")
    except ValueError:
        return None
    sizes = [v.size for v in call.values() if is_array(v)]
    return call if min(sizes) > 0 and max(sizes) <= FEW else None


def _is_told(
    formula: Formula, call: Call, own: Callable[[], Array], others: Iterable[Call]
) -> bool:
    """Return whether one of the first other calls has another answer than the call's own."""
    shape = answer_shape(formula, call)
    return any(
        answer_shape(formula, one) != shape
        or not np.array_equal(own(), _answer(formula, one), equal_nan=True)
        for one in others
    )


def _answer(formula: Formula, call: Call) -> Array:
    """Return the answer, of composed formulas in float64: their digits take long to compute."""
    if isinstance(algebra(formula), Composed):
        return evaluate(formula, call)
    return truth(formula, call).as_float(np.dtype(np.float64))


def everything() -> dict[str, list[int]]:
    """Return the content of the file: the numbers for every formula of the suite."""
    from gradoracle.conformance.operators import OPERATORS  # noqa: PLC0415 - reads this module

    return {
        name_of(operator, parts_of(formula)[0]): found(operator, parts_of(formula)[0])
        for operator in OPERATORS
        if not is_own(operator)
        for formula in operator.formulas
        if not isinstance(algebra(formula), Chained)  # a whole network is no function
    }


if __name__ == "__main__":
    text = ",\n".join(f"{json.dumps(name)}: {numbers}" for name, numbers in everything().items())
    Path(str(files(PACKAGE))).joinpath(FILE).write_text(f"{{\n{text}\n}}\n", encoding="ascii")
