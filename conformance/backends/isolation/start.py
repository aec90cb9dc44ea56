"""Starting the guardian: early, so that it imports NumPy while the suite imports what it needs."""

from __future__ import annotations

import atexit
import os
import re
import socket
import subprocess
import sys
from typing import NamedTuple

START = "import sys; sys.path[:] = {path!r}; sys.argv[1:] = [{fd!r}]; {call}"
CALL = "from gradoracle.conformance.backends.isolation.guardian import main; main()"
# One thread each, and fresh memory that is not zero.
ENVIRONMENT = {
    **dict.fromkeys(
        (
            "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS",
            "VECLIB_MAXIMUM_THREADS", "NUMBA_NUM_THREADS",
        ),
        "1",
    ),
    "MALLOC_PERTURB_": "165",
}  # fmt: skip
# threadpoolctl sets this where it is not set, once the suite imports it: a guardian that was
# started before is given it too.
DEFAULTS = {"KMP_DUPLICATE_LIB_OK": "True"}
# Variables that tell of who runs this.
TELLS = re.compile("_|(PYTEST|HYPOTHESIS|GRADORACLE|XDIST|COV_CORE|TOX_).*", re.DOTALL)


class Guardian(NamedTuple):
    """A guardian's process, the suite's end of the line to it, and what it was started with."""

    process: subprocess.Popen[bytes]
    end: socket.socket
    path: list[str]
    environment: dict[str, str]

    def drop(self) -> None:
        """Let it end."""
        self.end.close()
        self.process.wait()


_ahead: list[Guardian] = []  # one at most


def prepare() -> None:
    """Start the guardian that is asked for next."""
    if not _ahead and hasattr(os, "fork") and hasattr(socket, "send_fds"):
        _ahead.append(_started())
        atexit.register(_end)


def guardian() -> Guardian:
    """Return a new guardian: the one that was started ahead, if it still fits."""
    while _ahead:
        one = _ahead.pop()
        fits = one.path == sys.path and one.environment == _environment()
        if fits and one.process.poll() is None:
            return one
        one.drop()
    return _started()


def _end() -> None:
    while _ahead:
        _ahead.pop().drop()


def _environment() -> dict[str, str]:
    given = {k: v for k, v in os.environ.items() if not TELLS.fullmatch(k)}
    return DEFAULTS | given | ENVIRONMENT


def _started() -> Guardian:
    ours, theirs = socket.socketpair()
    path, environment = [*sys.path], _environment()
    with theirs:
        fd = str(theirs.fileno())
        process = subprocess.Popen(  # noqa: S603 - this Python, our own words
            [sys.executable, "-c", START.format(path=path, fd=fd, call=CALL)],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            env=environment,
        )
    return Guardian(process, ours, path, environment)
