"""Ways of computing that lose digits by cancellation, which a contract may claim.

A formula asks whether one is claimed while it is run; `oracle.derive.as_claimed` makes formulas
that are run so.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

ONE_SWEEP = "one-pass"  # a variance is the mean of squares less the squared mean
UNSHIFTED = "unshifted"  # log sum e^x is rounded before x is subtracted from it
IN_WORDS = {
    ONE_SWEEP: "with the mean of squares less the squared mean for a variance",
    UNSHIFTED: "with log sum e^x rounded before x is subtracted",
}
_CLAIMED: ContextVar[str] = ContextVar("_CLAIMED", default="")


@contextmanager
def claiming(way: str) -> Iterator[None]:
    """Within it, formulas are computed in a way."""
    token = _CLAIMED.set(way)
    try:
        yield
    finally:
        _CLAIMED.reset(token)


def is_claimed(way: str) -> bool:
    """Return whether formulas are computed in a way."""
    return _CLAIMED.get() == way
