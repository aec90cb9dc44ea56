"""Python's collector of garbage, run seldom while calls are checked.

Hardly anything of a call is in a cycle, but what was imported before (Hypothesis, Numba, PyTorch:
half a million objects) is walked through again and again: a tenth of the time of a check.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

YOUNG = 20_000  # objects more than were let go of, before those are looked at; Python's is 700


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Within it, leave what is there now out of collections, and begin them later.

    Where a program has its own frozen objects, these stay as they are, and only the second is done.
    """
    before, is_frozen = gc.get_threshold(), gc.get_freeze_count() > 0
    if not is_frozen:
        gc.freeze()
    if before[0]:  # else the program has switched it off
        gc.set_threshold(max(before[0], YOUNG), *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        if not is_frozen:
            gc.unfreeze()
