"""An interrupt (Ctrl-C) that Python loses is raised all the same, a little later.

Where SIGINT falls into a finaliser or a callback of the garbage collector, the KeyboardInterrupt is
printed there and forgotten: the run would go on as if nobody had asked it to stop.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def heeded() -> Iterator[None]:
    """Raise KeyboardInterrupt at the end of the block if one was asked for within and got lost."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    asked = []

    def remember(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        before(number, frame)

    signal.signal(signal.SIGINT, remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if asked:
        raise KeyboardInterrupt
