"""The error message where a formula that a user wrote cannot be evaluated."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterable

from gradoracle.conformance.operators.record import Operator

OURS = "gradoracle."  # begins the modules of this package
ALLOWED = (
    "A formula of arrays may use + - * / @, comparisons, sums, and of NumPy's functions exp, log, "
    "sqrt, tanh and their like, where, maximum and clip; one of single numbers may branch on its "
    "number, and has its functions from gradoracle.extend. All of them: "
    "conformance/operators/README.md"
)


def formula_error(error: BaseException, operators: Iterable[Operator]) -> str:
    """Return where in the user's own formulas an exception arose, and why; "": it did not."""
    own = {_file_of(f.__module__): o.name for o in operators for f in o.formulas}
    frames = traceback.extract_tb(error.__traceback__)
    at = next((frame for frame in reversed(frames) if own.get(frame.filename)), None)
    if at is None:
        return ""
    what = str(error).strip().partition("\n")[0]
    return (
        f"the formula of {at.name} cannot be evaluated: {type(error).__name__}: {what}\n"
        f"  {at.filename}:{at.lineno}: {at.line}\n{ALLOWED}"
    )


def _file_of(module: str) -> str:
    """Return a module's file, "" of one of ours."""
    if module.startswith(OURS):
        return ""
    return getattr(sys.modules.get(module), "__file__", None) or ""
