"""What a backend may take in its worker."""

from __future__ import annotations

from dataclasses import dataclass

GIB = 1 << 30


@dataclass(frozen=True)
class Limits:
    """What a backend may take; each is a verdict when it takes more."""

    call: float = 10.0  # seconds of a call
    first: float = 15.0  # seconds of a function's first call in a dtype: it may compile
    start: float = 60.0  # seconds of the import
    memory: int = 8 * GIB  # bytes that its process holds
    processes: int = 64  # that it started and that run at a time
