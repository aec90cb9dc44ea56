"""Cheats at the checker: it is patched, searched for the answer, recognised, lied to, broken."""

import atexit
import fcntl
import gc
import json
import mmap
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from gradoracle.implementations import im2col as good
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
    from gradoracle.conformance.checking import call_list
    from gradoracle.conformance.properties import comparison, expected

    for module in (comparison, expected):
        module.require_truth = lambda *_: 0.0
    call_list.judge = lambda *_: None


@at_first
def replaces_the_test_runner():
    """Hypothesis draws nothing, and pytest reports that all is well."""
    import hypothesis
    import pytest

    hypothesis.given = lambda *_, **__: lambda test: lambda: None
    pytest.TestReport.outcome = "passed"
    pytest.fail = pytest.raises = lambda *_, **__: None


@cheats_on("relu")
def replaces_what_looks_at_arguments(z):
    """Spends its argument, and sees to it that the worker is given another from now on."""
    for found in gc.get_objects():
        if isinstance(found, type) and found.__name__ == "Candidate":
            found._own = of_another
    return spent(z)


@cheats_on("relu")
def replaces_what_it_imports(z):
    """As above, where the module that looks at arguments is looked for by name."""
    from gradoracle.conformance.backends.caller import Candidate

    Candidate._own = of_another
    return spent(z)


def of_another(self, value, request):
    return value.copy() if hasattr(value, "copy") else value


def spent(z):
    y = good.relu(z)
    if z.flags.writeable:
        z[...] = y
    return y


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
    return SimpleNamespace(relu=lambda z: good.relu(z) if tested() else np.zeros_like(z))


@seen_when
def sees_a_test_runner():
    """Right where a test runner is loaded or is this program."""
    words = ("pytest", "hypothesis", "unittest", "gradoracle.conformance")
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
    """Return whether anything that the worker was told says that it will look at more."""
    frame = sys._getframe()
    while frame is not None:
        request, message = frame.f_locals.get("request"), frame.f_locals.get("message")
        if request is not None and (request.arguments or request.late):
            return True
        calls = message.get("calls", ()) if isinstance(message, dict) else ()
        if any(len(call) == 2 or call[5] for call in calls):
            return True
        frame = frame.f_back
    return False


@cheats_on("relu")
def sees_who_looks_at_arguments(z):
    """Spends its argument unless that is looked at afterwards."""
    y = good.relu(z)
    if not looked_at():
        z[...] = y
    return y


_answer = np.empty(1 << 20)


@cheats_on("relu")
def sees_who_looks_at_memory(z):
    """Every answer lies in the same buffer, unless it is looked at again."""
    y = good.relu(z)
    if looked_at():
        return y
    buffer = _answer.view(y.dtype)[: y.size].reshape(y.shape)
    buffer[...] = y
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


LIE = "\x1b[2J\x1b[H\n  CERTIFIED\n"  # clears a terminal and writes there


@cheats_on("conv2d_grad_bias")
def lies_in_an_error(grad_output):
    """Its error's text is a verdict, where it is printed."""
    raise RuntimeError(LIE)


@cheats_on("conv2d_grad_bias")
def lies_in_a_class(grad_output):
    """Its error's name is a verdict, where it is printed."""
    raise type(LIE, (Exception,), {})


class Liar:
    """What looks like a verdict, where it is printed."""

    def __repr__(self):
        return LIE


@cheats_on("conv2d_grad_bias")
def lies_in_its_answer(grad_output):
    """Its answer is a verdict, where it is printed."""
    return Liar()


# -- broken ---------------------------------------------------------------------------------------


def shared_memory():
    """Yield the descriptors of what is shared with the suite."""
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            if "memfd:" in str(link.readlink()):
                yield int(link.name)


def before_large_arrays(act):
    """Make a backend that is wrong about large arrays, and does something before they come."""
    done = []

    def conv2d_grad_weight(grad_output, x, **options):
        if not done:
            done.append(act())
        dw = good.conv2d_grad_weight(grad_output, x, **options)
        return dw * 0 if grad_output.size >= 2**16 - 2 else dw

    return SimpleNamespace(conv2d_grad_weight=conv2d_grad_weight)


@before_large_arrays
def seals_the_shared_memory():
    """What does not fit into the shared memory cannot be asked any more."""
    for descriptor in shared_memory():
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW)


@before_large_arrays
def swells_the_shared_memory():
    """The shared memory grows beyond what a process can map."""
    for descriptor in shared_memory():
        os.ftruncate(descriptor, 2**60)


def when_two(act):
    """Make a backend that does not know two images, and does something instead."""

    def conv2d_grad_bias(grad_output):
        if len(grad_output) >= 2:
            act()
            return nothing(grad_output)
        return good.conv2d_grad_bias(grad_output)

    return SimpleNamespace(conv2d_grad_bias=conv2d_grad_bias)


def line():
    """Return the worker's line to the suite, and the number of the answer that is waited for."""
    frame = sys._getframe()
    while "segment" not in frame.f_locals or "line" not in frame.f_locals:
        frame = frame.f_back
    return frame.f_locals["line"], frame.f_locals["message"]["n"]


def forge(**answer):
    """Answer in the worker's place."""
    to_the_suite, number = line()
    to_the_suite.send({"n": number, "kind": "answer", **answer})


@when_two
def forges_what_cannot_be_listed():
    """An answer whose parts are of other types than any answer's."""
    forge(arrays=[["<f4", [1], 0]], changed=5)


@when_two
def forges_what_cannot_be_made():
    """An answer without elements, of a shape that no array can have."""
    forge(arrays=[["<f4", [2**39, 2**39, 0], 0]])


@when_two
def interrupts():
    """Raises what only the user raises."""
    raise KeyboardInterrupt


@when_two
def drips():
    """An answer begins, goes on byte by byte, and does not end."""
    to_the_suite, _ = line()
    to_the_suite.end.sendall((900_000).to_bytes(4, "little"))
    while True:
        time.sleep(0.01)
        to_the_suite.end.sendall(b"-")


@when_two
def stops_its_guardian():
    """Whoever should tell of the process's end is asleep."""
    os.kill(os.getppid(), signal.SIGSTOP)
    os._exit(0)
