"""The conformance suite: whether a backend is right, forward and every gradient, for all shapes.

From the command line: `pytest conformance --backend NAME`.  From a program:
`conformance.check(backend)` returns a `Certificate`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conformance.certificate import Certificate as Certificate
    from conformance.certify import check as check

__all__ = ["Certificate", "check"]

_HOMES = {"Certificate": "conformance.certificate", "check": "conformance.certify"}


def __getattr__(name: str) -> Any:
    """Import what is asked for only then: pytest loads this package in every session."""
    if name not in _HOMES:
        raise AttributeError(f"module 'conformance' has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - the same reason

    return getattr(import_module(_HOMES[name]), name)
