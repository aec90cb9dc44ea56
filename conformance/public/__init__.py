"""Right or wrong: kernels, forward and every gradient, for all shapes.

From a program, `gradoracle.check(backend)` returns a `Certificate`; from the command line,
`gradoracle certify BACKEND` prints one.  In a test of your own, `gradoracle.assert_within_bound`
checks one answer; `gradoracle.expected` and `gradoracle.exact_inputs` are what it takes to assert
more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradoracle.conformance.assertions.bound import Expected as Expected
    from gradoracle.conformance.assertions.bound import assert_within_bound as assert_within_bound
    from gradoracle.conformance.assertions.bound import expected as expected
    from gradoracle.conformance.assertions.exact_inputs import exact_inputs as exact_inputs
    from gradoracle.conformance.backends.registry import Confinement as Confinement
    from gradoracle.conformance.backends.registry import UnknownBackend as UnknownBackend
    from gradoracle.conformance.backends.registry import UnusableBackend as UnusableBackend
    from gradoracle.conformance.operators.composed import compose as compose
    from gradoracle.conformance.operators.declared import operator as operator
    from gradoracle.conformance.operators.record import Operator
    from gradoracle.conformance.reports.certificate import Certificate as Certificate
    from gradoracle.conformance.reports.certificate import Outcome as Outcome

__all__ = [
    "Certificate",
    "Confinement",
    "Expected",
    "Outcome",
    "UnknownBackend",
    "UnusableBackend",
    "assert_within_bound",
    "check",
    "compose",
    "exact_inputs",
    "expected",
    "operator",
]
HOMES = {  # of what is imported when it is asked for
    "Certificate": "reports.certificate", "Outcome": "reports.certificate",
    "Confinement": "backends.registry", "UnknownBackend": "backends.registry",
    "UnusableBackend": "backends.registry",
    "Expected": "assertions.bound", "expected": "assertions.bound",
    "operator": "operators.declared", "compose": "operators.composed",
    "assert_within_bound": "assertions.bound", "exact_inputs": "assertions.exact_inputs",
}  # fmt: skip


def check(
    backend: Any,
    *,
    operators: Sequence[str | Operator] | None = None,
    examples: int | None = None,
    seed: int | None = None,
    stop_at_first_mismatch: bool = False,
    at_scale: bool = False,
    progress: Callable[[Outcome], None] | None = None,
    confinement: Confinement | None = None,
    dtypes: Sequence[Any] | None = None,
    profile: str | None = None,
    isolate: bool = False,
    time_limit: float | None = None,
) -> Certificate:
    """Check a backend and return its certificate.

    `backend` is a registered name, an import path, a file (its path, or a `pathlib.Path`), the
    text of a Python module, a module, or any object that has the protocol's functions.  A name, a
    file or a text is imported in a process of its own, within the limits of `confinement`
    (default: the suite's own), and a call may take `time_limit` seconds (default: 10); the first
    call of a function may compile, and has 15 at least.  A module or an object is checked in this
    process, unless `isolate` is true: then it is imported in another one, by its name.

    `operators` are names such as "conv2d" (default: all), or operators that the program has made by
    `gradoracle.operator` or `compose`.  `dtypes` are some of those that the backend claims
    (default: all of them), by name or as NumPy's, PyTorch's or JAX's.  `profile` is "quick",
    "certify" (the default) or "deep", or `examples` is the number of geometries drawn per property.
    `seed` repeats a run (default: fresh, and in the certificate).  `progress` is called with every
    outcome as it falls.  With `stop_at_first_mismatch` every check takes a short look first, since
    most wrong kernels are wrong nearly everywhere, and no domain is looked for.  `at_scale` checks
    all layers of real networks, in large batches too, and not the few small ones only.

    Raises:
        UnknownBackend, UnusableBackend: there is nothing to check; the message says why.
        TypeError: an argument of another kind, such as a dict of functions for a backend.
        UsageError: a ValueError; an operator, dtype or profile that does not exist, fewer than 1
            example, a time limit of 0, or an object that no other process can import.
    """
    from gradoracle.conformance.backends.isolation import start  # noqa: PLC0415 - pytest loads this in every session

    apart = isolate or isinstance(backend, str | PathLike)
    if apart and (confinement is None or not confinement.in_process):
        start.prepare()
    from gradoracle.conformance.assertions.arrays import dtype_name  # noqa: PLC0415
    from gradoracle.conformance.runs.backend_argument import backend_argument  # noqa: PLC0415
    from gradoracle.conformance.runs.certify import checked  # noqa: PLC0415

    if isinstance(dtypes, Iterable) and not isinstance(dtypes, str):
        dtypes = [dtype_name(one) for one in dtypes]
    with backend_argument(backend, isolate=isolate) as given:
        return checked(
            given.backend, text=given.text, operators=operators, examples=examples, seed=seed,
            stop_at_first_mismatch=stop_at_first_mismatch, at_scale=at_scale, progress=progress,
            confinement=confinement, dtypes=dtypes, profile=profile, time_limit=time_limit,
        )  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import what is asked for only then: pytest loads this package in every session."""
    from importlib import import_module  # noqa: PLC0415

    if name in ("adapt", "extend"):
        return import_module(f"gradoracle.{name}")
    if name not in HOMES:
        raise AttributeError(f"module 'gradoracle' has no attribute {name!r}")
    return getattr(import_module(f"gradoracle.conformance.{HOMES[name]}"), name)
