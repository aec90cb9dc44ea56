"""Everything a whole run checks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.properties import PROPERTIES, Property
from gradoracle.oracle.declaration import Formula


def checks(
    operators: Sequence[Operator] = OPERATORS,
) -> Iterator[tuple[Operator, Formula, Property]]:
    """Yield everything a whole run checks, formula by formula within each property."""
    for operator in operators:
        for property_ in PROPERTIES.values():
            for formula in property_.formulas(operator):
                yield operator, formula, property_


def properties_of() -> dict[str, list[str]]:
    """Return the names of the properties that are checked of every formula."""
    found: dict[str, list[str]] = {}
    for _, formula, property_ in checks():
        found.setdefault(formula.__name__, []).append(property_.name)
    return found
