"""What a backend does beside answering is told, by whoever it is done, and nothing else is."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import gradoracle
from gradoracle.conformance.backends.backend import FUNCTIONS
from gradoracle.conformance.backends.caller import Request
from gradoracle.conformance.backends.isolation import audit
from gradoracle.conformance.backends.isolation.audit import (
    CALLERS,
    NATIVE,
    NETWORK,
    OBJECTS,
    OTHERS,
    STARTED,
)
from gradoracle.conformance.backends.isolation.isolated import Isolated
from gradoracle.conformance.backends.isolation.wire import Garbled
from gradoracle.conformance.backends.isolation.workers import MOST_ACTS

FOLDER = "import os; os.chdir('/'); "
HIDDEN = "import sys, gradoracle.conformance.backends.isolation.audit as audit\n"
BENT = "class Bent(str):\n    __eq__ = split = __str__ = lambda *_: False\n    __hash__ = None\n"

# By what its function does: what is told of it.
TOLD = {
    "import sys; sys._getframe(1)": {CALLERS: ["watched"]},
    "import inspect; inspect.stack()": {CALLERS: ["watched"]},
    "import traceback; traceback.extract_stack()": {CALLERS: ["watched"]},
    "import traceback; list(traceback.walk_stack(None))": {CALLERS: ["watched"]},
    "import sys; sys._current_frames()": {CALLERS: ["watched"]},
    "import sys; sys.setprofile(lambda *_: None); sys.setprofile(None)": {CALLERS: ["watched"]},
    "import sys; sys.addaudithook(lambda *_: None)": {CALLERS: ["watched"]},
    "import typing; typing._caller(4)": {CALLERS: ["watched"]},
    "exec('import sys; sys._getframe()')": {CALLERS: ["watched"]},
    "try: 1 / 0\nexcept ZeroDivisionError as e: e.__traceback__.tb_frame": {CALLERS: ["watched"]},
    "next(f := (f.gi_frame for _ in '0'))": {CALLERS: ["watched"]},
    "import threading, sys; t = threading.Thread(target=sys._getframe); t.start(); t.join()": {
        CALLERS: ["watched"]
    },
    "import gc; gc.get_objects()": {OBJECTS: ["watched"]},
    "import gc; gc.get_referrers(gc)": {OBJECTS: ["watched"]},
    "import os; os.listdir('/proc')": {OTHERS: ["/proc"]},
    "import os, pathlib; os.listdir(pathlib.Path(f'/proc/{os.getppid()}/fd'))": {
        OTHERS: ["/proc/*/fd"]
    },
    f"{FOLDER}open(f'proc/{{os.getppid()}}/stat').close()": {OTHERS: ["/proc/*/stat"]},
    "import os; open(f'/tmp/..//proc/./self/root/proc/{os.getppid()}/stat', 'rb').close()": {
        OTHERS: ["/proc/*/stat"]
    },
    "import subprocess; subprocess.run(['true'])": {STARTED: ["true"]},
    "import os; os.system('true beside')": {STARTED: ["true"]},
    "import os\nif not (p := os.fork()): os._exit(0)\nos.waitpid(p, 0)": {
        STARTED: ["a copy of itself"]
    },
    "import os; os.waitpid(os.posix_spawn('/bin/true', ['true'], {}), 0)": {STARTED: ["true"]},
    "import ctypes; ctypes.PyDLL(None).system(b'true')": {
        STARTED: ["unclear"], NATIVE: ["system"]
    },
    "import ctypes; ctypes.pythonapi.PyEval_GetFrame": {NATIVE: ["PyEval_GetFrame"]},
    "import socket, contextlib\nwith contextlib.suppress(OSError), socket.socket() as s:\n"
    "    s.connect(('127.0.0.1', 1))": {NETWORK: ["127.0.0.1"]},
    # Who thinks of the hook.
    "import sys; sys.audit('open')": {OTHERS: ["unclear"]},
    f"{HIDDEN}audit.EVENTS = audit._who = None; sys._getframe()": {CALLERS: ["watched"]},
    f"{HIDDEN}import builtins; builtins.issubclass = None; sys._getframe()": {CALLERS: ["watched"]},
    f"{BENT}import os; os.listdir(Bent('/proc'))": {OTHERS: ["/proc"]},
    "import gc\nfor o in gc.get_objects():\n"
    "    if type(o) is dict and any(type(k) is tuple for k in o): o.clear()": {
        OBJECTS: ["watched"]
    },
    "import sys\ndef deep(n):\n    try: deep(n + 1)\n    except RecursionError: sys._getframe()\n"
    "deep(0)": {CALLERS: ["unclear", "watched"]},
}  # fmt: skip

NOTHING_TOLD = [
    "import collections; collections.namedtuple('pair', 'a b')",
    "import typing; typing.NamedTuple('pair', [('a', int)]); typing.NewType('kind', int)",
    "import enum; enum.Enum('kind', 'a b')",
    "import logging; logging.getLogger('watched').error('no kernel for this')",
    "import traceback\ntry: 1 / 0\nexcept ZeroDivisionError: traceback.format_exc()",
    "import warnings; warnings.warn('slow')",
    "import numpy as np; np.testing.assert_equal(1, 1); np.array([1]).ctypes.data",
    "open('/proc/self/status').close(); open('/proc/cpuinfo').close()",
    "import ctypes; ctypes.PyDLL(None).PyCapsule_New",
    "import threading; t = threading.Thread(target=open, args=['/dev/null']); t.start(); t.join()",
]

HERE = """
def relu(z):
    act()
    return 0 * z

def act():
"""


@pytest.fixture
def acts_of(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    made = []

    def told(text):
        lines = "".join(f"    {line}\n" for line in text.splitlines())
        (tmp_path / "watched.py").write_text(HERE + lines)
        made.append(Isolated("watched", FUNCTIONS))
        reply = made[-1].perform(Request("relu", [np.ones(2)], {}))
        assert reply.kind == "answer", reply
        return made[-1].kept()["acts"]

    yield told
    for one in made:
        one.close()


@pytest.mark.slow
@pytest.mark.parametrize("text", TOLD)
def test_an_act_is_told(acts_of, text):
    told = acts_of(text)
    for act, subjects in TOLD[text].items():
        assert set(told[act]) & set(subjects), told
    assert told.keys() == TOLD[text].keys()


def test_what_is_no_act_is_not_told(acts_of):
    assert acts_of("\n".join(NOTHING_TOLD)) == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "operators"),
    [("im2col", ["conv2d", "relu"]), ("oracle", ["linear", "relu"]), ("torch", ["linear", "relu"])],
)
def test_shipped_backends_do_nothing_beside_answering(name, operators):
    if name == "torch":
        pytest.importorskip("torch")
    certificate = gradoracle.check(name, operators=operators, examples=3, seed=1)
    assert certificate.confinement["acts"] == {}
    assert certificate.confinement["modules"]


def test_an_act_outlives_the_process(acts_of, tmp_path):
    (tmp_path / "watched.py").write_text(f"{HERE}    import os, sys; sys._getframe(); os._exit(3)")
    backend = Isolated("watched", FUNCTIONS)
    assert backend.perform(Request("relu", [np.ones(2)], {})).kind == "crashed"
    assert backend.kept()["acts"] == {CALLERS: ["watched"]}
    backend.close()


def test_what_a_worker_tells_is_not_believed_but_for_its_form():
    found = {}
    for odd in (None, 5, [5], [[]], [["loaded"]], [["loaded", 5]], [["is certified", "yes"]]):
        audit.add(found, odd)
    assert found == {}
    audit.add(found, [[CALLERS, "\x1b[2Jme" + "e" * 100]])
    assert found == {CALLERS: ["?[2Jm" + "e" * 55]}
    audit.add(found, [[OTHERS, str(n)] for n in range(1000)])
    assert len(found[OTHERS]) == audit.MOST + 1


def test_acts_without_end_are_no_acts():
    backend = Isolated("watched", FUNCTIONS)
    worker = SimpleNamespace(told=0)
    for _ in range(MOST_ACTS):
        backend._workers._note(worker, {"did": [CALLERS, "me"]})
    with pytest.raises(Garbled, match="more acts than there are"):
        backend._workers._note(worker, {"did": [CALLERS, "me"]})


def test_a_module_s_copy_is_its_own():
    one, other = audit.apart(), audit.apart()
    assert one is not other
    assert one is not audit
    assert one.__builtins__ is not other.__builtins__
    assert sys.modules[audit.__name__] is audit
    assert Path(one.STDLIB).is_dir()
