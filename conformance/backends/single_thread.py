"""One thread for BLAS, OpenMP and PyTorch while something is checked.

On products this small more threads only wait for each other, and two processes with two threads
each on two cores are several times slower than two with one.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import threadpoolctl


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit every library that is loaded to one thread."""
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch is not None else 0
    with threadpoolctl.threadpool_limits(limits=1):
        if torch is not None:
            torch.set_num_threads(1)
        try:
            yield
        finally:
            if torch is not None:
                torch.set_num_threads(before)
