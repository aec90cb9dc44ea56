"""The error message where a formula that a user wrote cannot be evaluated."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterable

from gradoracle.conformance.operators.record import Operator

OURS = "gradoracle."  # begins the modules of this package
ALLOWED = (
    "A formula takes + - * / ** @, comparisons, loops and those of NumPy's functions that "
    "conformance/operators/README.md lists."
)
# What a message of Python's or NumPy's own comes of, and what to do.
HINTS = {
    "must be real number, not": "math takes floats only: take numpy.exp and its like",
    "setting an array element": "fill in numpy.zeros_like(x): numpy.zeros(x.shape) holds floats",
}


def formula_error(error: BaseException, operators: Iterable[Operator]) -> str:
    """Return where in the user's own formulas an exception arose, and why; "": it did not."""
    own = {_file_of(f.__module__): o.name for o in operators for f in o.formulas}
    frames = traceback.extract_tb(error.__traceback__)
    at = next((frame for frame in reversed(frames) if own.get(frame.filename)), None)
    if at is None:
        return ""
    what = str(error).strip().partition("\n")[0]
    hint = next((then for words, then in HINTS.items() if words in what), ALLOWED)
    return (
        f"the formula of {at.name} cannot be evaluated: {type(error).__name__}: {what}\n"
        f"  {at.filename}:{at.lineno}: {at.line}\n{hint}"
    )


def _file_of(module: str) -> str:
    """Return a module's file, "" of one of ours."""
    if module.startswith(OURS):
        return ""
    return getattr(sys.modules.get(module), "__file__", None) or ""
