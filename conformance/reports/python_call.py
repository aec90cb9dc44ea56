"""The call of `gradoracle.check` that repeats a run which no command of a shell can repeat."""

from __future__ import annotations

from collections.abc import Sequence

from gradoracle.conformance.backends.backend import SOURCE_TEXT
from gradoracle.conformance.operators import OPERATORS

CALL = "gradoracle.check("
OBJECT, TEXT = "backend", "source"  # what stands for an object that a program has, and for a text


def check_call(
    name: str, *, seed: int, examples: int, formulas: Sequence[str] = (), at_scale: bool = False,
    in_process: bool = False,
) -> str:  # fmt: skip
    """Return the call that checks a backend again, in the program that has its operators.

    `formulas` are the names of those that were checked; `in_process` says that the backend is an
    object, which has no name.
    """
    given = OBJECT if in_process else TEXT if name == SOURCE_TEXT else repr(name)
    chosen = [o.name for o in OPERATORS if {f.__name__ for f in o.formulas} & {*formulas}]
    operators = f", operators={chosen}" if chosen and len(chosen) < len(OPERATORS) else ""
    more = ", at_scale=True" if at_scale else ""
    return f"{CALL}{given}{operators}, seed={seed}, examples={examples}{more})"


def has_own(formulas: Sequence[str]) -> bool:
    """Return whether some formulas are of operators that only this program has."""
    return any(f.__name__ in formulas for one in OPERATORS.own for f in one.formulas)
