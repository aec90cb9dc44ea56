"""The operators whose calls are drawn by the axes of their arguments, the same for each."""

from gradoracle import oracle
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.operators.of_formula import Calls
from gradoracle.conformance.operators.record import Operator

DERIVED = {of.formulas[0].__name__ for of in oracle.DERIVED}


def _by_letters(operator: Operator) -> bool:
    """Return whether the record is of `of_formula`, also if its formulas are written out."""
    drawing = getattr(operator.geometry, "func", None)
    return isinstance(getattr(drawing, "__self__", None), Calls)


WRITTEN = {o.name: o for o in OPERATORS if _by_letters(o) and o.name not in DERIVED}
DRAWN_BY_AXES = DERIVED | {*WRITTEN}
