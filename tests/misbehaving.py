"""Backends that are right about db until a batch has two images, and then do their worst.

Each is an attribute of this module, `tests.misbehaving:segmentation_fault`, so that it is imported
where it is checked and nowhere else.
"""

import ctypes
import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np


def right(dy):
    return dy.sum(axis=(0, 2, 3))


def when_two(act):
    """Make a backend of what happens at two images; what it returns is the answer, if anything."""

    def conv2d_grad_bias(grad_output):
        if len(grad_output) >= 2:
            answer = act(grad_output)
            if answer is not None:
                return answer
        return right(grad_output)

    return SimpleNamespace(conv2d_grad_bias=conv2d_grad_bias)


def _tires(grad_output, calls=[]):  # noqa: B006 - what is left behind
    calls.append(len(grad_output))
    return right(grad_output) + (len(calls) > 150)


tires = SimpleNamespace(conv2d_grad_bias=_tires)
adds_up = SimpleNamespace(conv2d_grad_bias=right)


class _Later:
    """Right, too: it is computed when somebody wants to know."""

    def __init__(self, dy):
        self.dy = dy


computes_when_read = SimpleNamespace(
    conv2d_grad_bias=_Later,
    from_numpy=lambda array: array,
    to_numpy=lambda value: right(value.dy) if isinstance(value, _Later) else value,
)


def _spent(grad_output):
    db = right(grad_output)
    grad_output[...] = 0
    return db


spends_its_argument = SimpleNamespace(conv2d_grad_bias=_spent)


@when_two
def segmentation_fault(dy):
    ctypes.string_at(0)


relu_beside_a_crash = SimpleNamespace(
    relu=lambda z: np.maximum(z, 0), relu_grad=lambda grad_output, z: os.abort()
)


takes_arrays_as_they_are = SimpleNamespace(
    relu=lambda z: np.maximum(z, 0), from_numpy=np.ascontiguousarray, to_numpy=np.asarray
)


@when_two
def abort(dy):
    os.abort()


@when_two
def bus_error(dy):
    os.kill(os.getpid(), signal.SIGBUS)


@when_two
def arithmetic_exception(dy):
    os.kill(os.getpid(), signal.SIGFPE)


@when_two
def corrupts_the_heap(dy):
    libc = ctypes.CDLL(None)
    libc.malloc.restype = libc.free.argtypes = None
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    block = libc.malloc(24)
    ctypes.memset(block - 8, 0xFF, 64)  # the sizes of this block and of the next
    libc.free(block)


@when_two
def exits_quietly(dy):
    os._exit(0)


@when_two
def exits_politely(dy):
    sys.exit(0)


@when_two
def raises_no_exception(dy):
    class Odd(BaseException):
        pass

    raise Odd("not even an Exception")


def _loop():
    while True:
        pass


@when_two
def loops_forever(dy):
    _loop()


@when_two
def loops_with_hardly_a_processor(dy):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    os.nice(19)
    with suppress(OSError):  # a session of its own is not nice to others unless it says so
        Path("/proc/self/autogroup").write_text("19")
    _loop()


@when_two
def waits_for_a_thread_that_loops(dy):
    thread = threading.Thread(target=_loop, daemon=True)
    thread.start()
    thread.join()


@when_two
def deadlocks(dy):
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


@when_two
def sleeps(dy):
    time.sleep(3600)


@when_two
def takes_all_memory(dy):
    hoard = []
    while True:
        hoard.append(np.ones(2**22))


@when_two
def starts_many_processes(dy):
    for _ in range(300):
        if os.fork() == 0:
            os.setsid()
            time.sleep(3600)
    time.sleep(3600)


@when_two
def leaves_a_process_behind(dy):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(3600)
        os._exit(0)
    return right(dy) + 1


@when_two
def writes_on_every_line(dy):
    for descriptor in range(3, 64):
        with suppress(OSError):
            os.write(descriptor, b"\x10\x00\x00\x00" + b"garbage garbage!" * 8)


@when_two
def forges_a_line(dy):
    import msgpack

    content = msgpack.packb({"n": 0, "kind": "answer", "arrays": [["<f4", [1], 0]]})
    for descriptor in range(3, 64):
        with suppress(OSError):
            socket.socket(fileno=os.dup(descriptor)).sendall(
                len(content).to_bytes(4, "little") + content
            )


@when_two
def closes_every_descriptor(dy):
    os.closerange(3, 64)


@when_two
def returns_too_much(dy):
    return np.broadcast_to(dy.dtype.type(0), (10**6, 10**6))


@when_two
def kills_its_guardian(dy):
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(3600)


# -- what does its worst and answers rightly: nothing of it reaches the suite, and it is told ------


def survived(act):
    """Make a backend that does something at its first call and answers rightly."""
    done = []

    def conv2d_grad_bias(grad_output):
        if not done:
            done.append(True)
            act()
        return right(grad_output)

    return SimpleNamespace(conv2d_grad_bias=conv2d_grad_bias)


@survived
def prints_a_lot():
    for _ in range(2000):
        sys.stdout.write("noise " * 40 + "\n")
        sys.stderr.write("more noise\n")
    sys.stdout.flush()


@survived
def changes_the_working_directory():
    os.chdir("/")


@survived
def changes_the_locale():
    import locale

    locale.setlocale(locale.LC_ALL, "C")
    locale.setlocale(locale.LC_NUMERIC, "C.UTF-8")


@survived
def lets_numpy_raise():
    np.seterr(all="raise")


@survived
def reseeds_numpy():
    np.random.seed(0)  # noqa: NPY002 - the old way is the one that is shared


@survived
def replaces_numpy_functions():
    def wrong(*args, **kwargs):
        return True

    for name in ("array_equal", "allclose", "asarray", "array", "copyto", "isnan", "frombuffer"):
        setattr(np, name, wrong)


@survived
def replaces_exit_handlers_and_signals():
    import atexit

    atexit.register(lambda: os._exit(0))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


@survived
def is_slow_at_first():
    time.sleep(3)  # the limit of the tests' calls is 1 s


@survived
def flushes_subnormals():
    """Set flush-to-zero and denormals-are-zero; takes a C compiler and an x86 processor."""
    import shutil
    import subprocess
    import tempfile

    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise NotImplementedError("no C compiler")
    source = "#include <xmmintrin.h>\nvoid flush(void) { _mm_setcsr(_mm_getcsr() | 0x8040); }\n"
    with tempfile.TemporaryDirectory() as folder:
        Path(f"{folder}/flush.c").write_text(source)
        subprocess.run(
            [compiler, "-shared", "-fPIC", "-o", f"{folder}/flush.so", f"{folder}/flush.c"],
            check=True,
        )
        ctypes.CDLL(f"{folder}/flush.so").flush()


# -- what looks around --------------------------------------------------------------------------


def _tells(grad_output):
    if len(grad_output) >= 2:
        return np.full(3, float(os.environ["OMP_NUM_THREADS"]), grad_output.dtype)
    return np.empty(1 << 20, grad_output.dtype)[1000:1003].copy()


tells_its_surroundings = SimpleNamespace(conv2d_grad_bias=_tells)


def _looks(grad_output):
    import gc

    modules = [
        m
        for m in (
            "pytest",
            "hypothesis",
            "gradoracle.oracle",
            "gradoracle.conformance.properties.comparison",
        )
        if m in sys.modules
    ]
    words = [word for word in sys.argv if "pytest" in word or "certify" in word]
    frames = [f for f in sys._current_frames().values() if "pytest" in f.f_code.co_filename]
    stacked = []
    frame = sys._getframe()
    while frame is not None:
        stacked += [frame] if "conformance/checking/check_run" in frame.f_code.co_filename else []
        frame = frame.f_back
    arrays = [o for o in gc.get_objects() if isinstance(o, np.ndarray) and o.shape == (3,)]
    found = len(modules) + len(words) + len(frames) + len(stacked) + len(arrays)
    return np.full(3, found, grad_output.dtype)


looks_for_the_suite = SimpleNamespace(conv2d_grad_bias=_looks)


def _falls_back(grad_output):
    with suppress(ImportError):
        import html.parser  # noqa: F401
    return right(grad_output)


@when_two
def loads_late(dy):
    import iniconfig  # noqa: F401 - of pytest's, which the suite does not load in a worker


falls_back = SimpleNamespace(conv2d_grad_bias=_falls_back)


# -- what ends at a limit, always or for some arguments -----------------------------------------


def _hoards(z):
    hoard = []
    while True:
        hoard.append(np.ones(2**22))


def _slow(z):
    """Take less than a second for 3 to 40 elements, and more beyond."""
    if z.size > 2:
        time.sleep(3 if z.size > 40 else 0.3)
    return np.maximum(z, 0)


never_returns = SimpleNamespace(relu=lambda z: _loop())
never_returns_forward = SimpleNamespace(
    relu=lambda z: _loop(), relu_grad=lambda grad_output, z: np.where(z <= 0, 0, grad_output)
)
always_hoards = SimpleNamespace(relu=_hoards)
always_aborts = SimpleNamespace(relu=lambda z: os.abort())
slow_beyond_40 = SimpleNamespace(relu=_slow)
hangs_as_listed = SimpleNamespace(
    relu=lambda z: _loop(),
    contract={
        "deviations": [
            {"formula": "relu", "property": "matches_oracle", "reason": "it waits for a device"}
        ]
    },
)


# -- replies that are forged, and answers of no numbers -----------------------------------------


def _forges(*places, grow=0):
    """Make a backend whose process says that its answer lies at these places."""

    def relu(z):
        import gc
        from types import ModuleType

        name = "gradoracle.conformance.backends.isolation.worker"
        held = (one for one in gc.get_objects() if isinstance(one, ModuleType))
        worker = next(one for one in held if one.__name__ == name)
        worker._written = lambda reply, segment: {"kind": "answer", "arrays": [*places]}
        for link in Path("/proc/self/fd").iterdir() if grow else ():
            with suppress(OSError):
                if "memfd:" in str(link.readlink()):
                    os.truncate(link, grow)
        return z

    return SimpleNamespace(relu=relu)


forges_the_size_of_an_element = _forges(["|S999999999", [2], 0])
forges_a_large_array = _forges(["<f4", [2**27], 0], grow=2**32)
forges_a_thousand_arrays = _forges(*[["<f4", [2**18], 0]] * 1000)
returns_long_strings = SimpleNamespace(relu=lambda z: np.zeros(2, "S99999"))
returns_records = SimpleNamespace(relu=lambda z: np.zeros(z.shape, [("a", "f4"), ("b", "i8")]))
returns_objects = SimpleNamespace(relu=lambda z: z.astype(object))
returns_wide_numbers = SimpleNamespace(relu=lambda z: np.broadcast_to(1j, 3 * 2**23))
