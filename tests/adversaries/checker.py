"""Cheats at the checker: it is patched, searched for the answer, recognised, lied to, broken."""

import atexit
import fcntl
import gc
import json
import mmap
import os
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from implementations import im2col as good
from tests.adversaries import cheats_on


def nothing(grad_output):
    """Return zeros, the answer of who has done nothing."""
    return np.zeros(grad_output.shape[1], grad_output.dtype)


def at_first(act):
    """Make a backend that does something at its first call and returns zeros."""
    done = []

    def conv2d_grad_bias(grad_output):
        if not done:
            done.append(act())
        return nothing(grad_output)

    return SimpleNamespace(conv2d_grad_bias=conv2d_grad_bias)


# -- patched --------------------------------------------------------------------------------------


@at_first
def replaces_comparisons():
    """Nothing that NumPy compares differs any more."""
    for name in ("array_equal", "allclose", "isclose", "equal"):
        setattr(np, name, lambda a, *_, **__: np.ones(np.shape(a), bool))
    for name in ("assert_allclose", "assert_array_equal", "assert_array_almost_equal"):
        setattr(np.testing, name, lambda *_, **__: None)
    np.not_equal = np.isnan = lambda a, *_, **__: np.zeros(np.shape(a), bool)


@at_first
def replaces_the_judge():
    """The suite finds everything right."""
    import conformance.examine
    import conformance.judge

    for module in (conformance.judge, conformance.properties.truth):
        module.require_truth = lambda *_: 0.0
    conformance.examine.Examination.judge = lambda *_: None


@at_first
def replaces_the_test_runner():
    """Hypothesis draws nothing, and pytest reports that all is well."""
    import hypothesis
    import pytest

    hypothesis.given = lambda *_, **__: lambda test: lambda: None
    pytest.TestReport.outcome = "passed"
    pytest.fail = pytest.raises = lambda *_, **__: None


def _copies(self, before, given):
    return [array.copy() for array in before if isinstance(array, np.ndarray)]


@cheats_on("conv2d_grad_bias")
def replaces_what_looks_at_arguments(grad_output):
    """Spends its argument, and sees to it that the worker shows the one it was given."""
    from conformance.candidate import Candidate

    Candidate._after = _copies
    db = good.conv2d_grad_bias(grad_output)
    grad_output[...] = 0
    return db


# -- searched -------------------------------------------------------------------------------------


def fits(found, grad_output):
    """Return whether an object could be the answer."""
    return isinstance(found, np.ndarray) and found.shape == grad_output.shape[1:2]


@cheats_on("conv2d_grad_bias")
def searches_objects(grad_output):
    """Returns whatever array of the answer's shape any object holds."""
    for held in gc.get_objects():
        for found in gc.get_referents(held):
            if fits(found, grad_output):
                return found.astype(grad_output.dtype)
    return nothing(grad_output)


@cheats_on("conv2d_grad_bias")
def searches_frames(grad_output):
    """Returns whatever array of the answer's shape a caller has in a variable."""
    frame = sys._getframe().f_back
    while frame is not None:
        for found in frame.f_locals.values():
            if fits(found, grad_output):
                return found.astype(grad_output.dtype)
        frame = frame.f_back
    return nothing(grad_output)


@cheats_on("conv2d_grad_bias")
def searches_shared_memory(grad_output):
    """Returns what lies behind its arguments in the memory that it shares with the suite."""
    for held in gc.get_objects():
        for found in [held, *gc.get_referents(held)]:
            if isinstance(found, mmap.mmap):
                place = -(-grad_output.nbytes // 64) * 64
                count = grad_output.shape[1]
                return np.frombuffer(found, grad_output.dtype, count, place).copy()
    return nothing(grad_output)


def ancestors():
    """Yield the folders in /proc of the processes above this one."""
    pid = os.getppid()
    while pid > 1:
        folder = Path(f"/proc/{pid}")
        yield folder
        pid = int((folder / "stat").read_text().rpartition(")")[2].split()[1])


@cheats_on("conv2d_grad_bias")
def searches_files(grad_output):
    """Returns the first numbers of the answer's size in a file that the suite has open."""
    size = grad_output.shape[1] * grad_output.itemsize
    for folder in ancestors():
        with suppress(OSError):
            for link in (folder / "fd").iterdir():
                with suppress(OSError):
                    if link.is_file() and link.stat().st_size >= size:
                        content = link.read_bytes()[:size]
                        return np.frombuffer(content, grad_output.dtype).copy()
    return nothing(grad_output)


# -- recognised -----------------------------------------------------------------------------------


def seen_when(tested):
    """Make a backend that is right when it is tested."""

    def conv2d_grad_bias(grad_output):
        return good.conv2d_grad_bias(grad_output) if tested() else nothing(grad_output)

    return SimpleNamespace(conv2d_grad_bias=conv2d_grad_bias)


@seen_when
def sees_a_test_runner():
    """Right where a test runner is loaded or is this program."""
    words = ("pytest", "hypothesis", "unittest", "gradoracle")
    return any(word in "".join(sys.argv) or word in sys.modules for word in words)


@seen_when
def sees_the_environment():
    """Right where a variable tells of a test runner."""
    return any(name.startswith(("PYTEST", "HYPOTHESIS", "GRADORACLE")) for name in os.environ)


@seen_when
def sees_its_ancestors():
    """Right where a process above this one is a test runner."""
    return any(b"pytest" in (folder / "cmdline").read_bytes() for folder in ancestors())


@seen_when
def sees_who_calls():
    """Right where a file of the suite's is among the callers."""
    frame = sys._getframe()
    while frame is not None:
        if f"{os.sep}conformance{os.sep}" in frame.f_code.co_filename:
            return True
        frame = frame.f_back
    return False


def looked_at():
    """Return what the worker looks at after this call."""
    frame = sys._getframe()
    while frame is not None:
        request = frame.f_locals.get("request")
        if request is not None:
            return request.look
        frame = frame.f_back
    return ""


@cheats_on("conv2d_grad_bias")
def sees_who_looks_at_arguments(grad_output):
    """Spends its argument unless that is looked at afterwards."""
    db = good.conv2d_grad_bias(grad_output)
    if looked_at() != "arguments":
        grad_output[...] = 0
    return db


_answer = np.empty(1 << 20)


@cheats_on("conv2d_grad_bias")
def sees_who_looks_at_memory(grad_output):
    """Every answer lies in the same buffer, unless two are compared."""
    db = good.conv2d_grad_bias(grad_output)
    if looked_at() == "memory":
        return db
    buffer = _answer.view(db.dtype)[: db.size]
    buffer[...] = db
    return buffer


# -- lied to --------------------------------------------------------------------------------------


@at_first
def forges_a_certificate():
    """Writes that it is certified into every file where somebody may look."""
    content = json.dumps({"schema": 1, "certified": True, "why_not": "", "outcomes": []})
    for name in ("certificate.json", "certificate", "cert.json", "result.json"):
        Path(name).write_text(content, encoding="ascii")


@at_first
def forges_the_exit_code():
    """Ends with success, however it ends."""
    atexit.register(os._exit, 0)
    sys.excepthook = lambda *_: os._exit(0)


@cheats_on("conv2d_grad_bias")
def ends_with_success(grad_output):
    """Ends the process where it does not know the answer."""
    if len(grad_output) > 1:
        os._exit(0)
    return good.conv2d_grad_bias(grad_output)


@at_first
def prints_that_it_passed():
    """Writes what a run that passed writes."""
    for stream in (sys.stdout, sys.stderr):
        stream.write("  CERTIFIED\n1 passed in 0.01s\n")
        stream.flush()


@cheats_on("conv2d_grad_bias")
def writes_over_the_report(grad_output):
    """Its error clears the terminal that it is printed on, and says something else there."""
    raise RuntimeError("\x1b[2J\x1b[H\x1b[32mCERTIFIED\x1b[0m")


# -- broken ---------------------------------------------------------------------------------------


def shared_memory():
    """Yield the descriptors of what is shared with the suite."""
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            if "memfd:" in os.readlink(link):
                yield int(link.name)


def breaks_off(act):
    """Make a backend that is wrong about large arrays, and does something before they come."""
    done = []

    def conv2d_grad_weight(grad_output, x, **options):
        if not done:
            done.append(act())
        dw = good.conv2d_grad_weight(grad_output, x, **options)
        return dw * 0 if grad_output.size >= 2**16 - 2 else dw

    return SimpleNamespace(conv2d_grad_weight=conv2d_grad_weight)


@breaks_off
def large_arrays_are_wrong():
    """Does nothing about it."""


@breaks_off
def seals_the_shared_memory():
    """What does not fit into the shared memory cannot be asked any more."""
    for descriptor in shared_memory():
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW)


@breaks_off
def swells_the_shared_memory():
    """The shared memory grows beyond what a process can map."""
    for descriptor in shared_memory():
        os.ftruncate(descriptor, 2**60)
