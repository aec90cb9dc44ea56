"""A first look at every function: a few small calls, to show at once what is plainly wrong.

The look decides nothing: the checks of values make the same calls among others.  Where it finds
something, the check of that function's values is run first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from gradoracle.conformance.backends.backend import Backend
from gradoracle.conformance.backends.mismatch import Ended, Mismatch
from gradoracle.conformance.checking.call_list import in_every_style
from gradoracle.conformance.checking.checks import checks
from gradoracle.conformance.checking.examination import Examination
from gradoracle.conformance.operators.record import Operator
from gradoracle.conformance.properties.property import FEWEST

VALUES = ("matches_oracle", "within_rounding_bound")
NOTED = ("ended", "answered", "alone", "supported", "declined", "speaks_dlpack")

Check = tuple[str, str]  # the names of a formula and of a property


def first_look(
    backend: Backend, chosen: Sequence[Operator], wanted: Collection[Check], seed: int
) -> tuple[Check, str] | None:
    """Return the first check of values that fails on a small call, and what is wrong there.

    Of each formula one call is made in every style of its numbers, all of its axes longer than 1.
    A call that ends the backend's process ends the look, and so does a fault of the suite: the
    checks meet both, and starting another process takes its time.
    """
    known: set[str] = set()
    for operator, formula, property_ in checks(chosen):
        check = formula.__name__, property_.name
        if check[1] not in VALUES or check[0] in known or check not in wanted:
            continue
        known.add(check[0])
        if backend.contract.deviation(*check) is not None:
            continue
        inside = backend.inside(operator, [formula])
        try:
            found = _found(Examination(backend, inside, formula, property_, seed, FEWEST))
        except Exception:  # noqa: BLE001 - its check meets the same again, and says where
            return None
        if found:
            return check, found
    return None


def _found(exam: Examination) -> str:
    """Return what is wrong on the first call that fails, or ""."""
    if exam.unasked()[1] or exam.backend.stops.first(exam.backend.name, exam.functions()):
        return ""
    with _unnoted(exam.backend):
        for geometry, style, dtype in in_every_style(exam):
            call = exam.operator.call(geometry.sizes, style, geometry.seed, dtype)
            try:
                exam.passes(call)
            except Ended:
                raise
            except Mismatch as mismatch:
                return mismatch.headline
    return ""


@contextmanager
def _unnoted(backend: Backend) -> Iterator[None]:
    """Within it, let nothing be remembered of how the backend answers: the checks find it out."""
    before: dict[str, Any] = {name: getattr(backend, name) for name in NOTED}
    kept = {n: type(v)(v) if isinstance(v, (set, dict)) else v for n, v in before.items()}
    try:
        yield
    finally:
        for name, value in kept.items():
            setattr(backend, name, value)
        backend.answers.clear()
