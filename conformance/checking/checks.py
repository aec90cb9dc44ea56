"""Everything a whole run checks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.properties import PROPERTIES, Property
from gradoracle.oracle.declaration import Formula

Check: TypeAlias = tuple[Operator, Formula, Property]


def checks(operators: Sequence[Operator] = OPERATORS) -> Iterator[Check]:
    """Yield everything a whole run checks, formula by formula within each property."""
    for operator in operators:
        for property_ in PROPERTIES.values():
            for formula in property_.formulas(operator):
                yield operator, formula, property_


def checks_of(formulas: Iterable[str]) -> dict[tuple[str, str], Check]:
    """Return the checks of the operators with some formulas, by names of formula and property.

    No other operator is looked at, so that a formula of the user's which cannot be evaluated does
    not stop the checks of others.
    """
    names = {*formulas}
    chosen = [o for o in OPERATORS if names & {f.__name__ for f in o.formulas}]
    return {(case[1].__name__, case[2].name): case for case in checks(chosen)}


def properties_of() -> dict[str, list[str]]:
    """Return the names of the properties that are checked of every formula."""
    found: dict[str, list[str]] = {}
    for _, formula, property_ in checks():
        found.setdefault(formula.__name__, []).append(property_.name)
    return found
