"""An interrupt (Ctrl-C) that Python loses is raised all the same, a little later.

Where SIGINT falls into a finaliser or a callback of the garbage collector, the KeyboardInterrupt is
printed there and forgotten: the run would go on as if nobody had asked it to stop.
"""

import signal
import threading
from collections.abc import Callable, Iterator
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


@contextmanager
def noted() -> Iterator[Callable[[], None]]:
    """Yield what raises KeyboardInterrupt, where it is called, if one was asked for in the block.

    For a loop that calls it every moment: nothing within is torn apart, and nothing gets lost. A
    second interrupt is raised at once, wherever that is.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield lambda: None
        return
    asked = []

    def note(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        if len(asked) > 1:
            before(number, frame)

    def heed() -> None:
        if asked:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, note)
    try:
        yield heed
    finally:
        signal.signal(signal.SIGINT, before)
    heed()
