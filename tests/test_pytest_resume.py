"""`pytest conformance --resume`: what was checked is never lost, nor mixed with another run's."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from gradoracle.conformance.backends.interrupts import heeded, noted
from gradoracle.conformance.backends.registry import IN_PROCESS, ISOLATED, load
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.reports.certificate import Outcome
from gradoracle.conformance.runs.journal import (
    SETTLED,
    Journal,
    JournalError,
    read,
    resumed,
    settled,
)
from tests.test_isolation import ours
from tests.torchless import without_torch

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
WRONG = """
import time
from gradoracle.implementations import im2col
from gradoracle.implementations.im2col import linear, relu, relu_grad, sigmoid
def sigmoid_grad(grad_output, z):
    time.sleep(0.002)
    return im2col.sigmoid_grad(grad_output, z)
def linear_grad_weight(grad_output, x):
    return grad_output.T @ x * (1 + (len(x) == 3))
"""
SOME = ("-k", "linear_grad_weight or sigmoid", "--seed", "4")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "wrong.py").write_text(WRONG)
    return tmp_path


def environment(folder):
    path = [str(folder), without_torch(folder), str(ROOT)]
    return os.environ | {"PYTHONPATH": os.pathsep.join(path)}


def started(folder, *arguments, profile="quick"):
    """Start `pytest conformance` on the wrong backend of a folder."""
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", ROOT / "conformance", "-p", "no:cacheprovider",
         "--rootdir", ROOT, "-c", ROOT / "pyproject.toml", "--hypothesis-profile", profile,
         "--backend", "wrong", *map(str, arguments)],
        cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environment(folder),
    )  # fmt: skip


def ended(process):
    process.out, process.err = process.communicate(timeout=200)
    return process


@pytest.fixture
def certify(folder):
    def run(*arguments, **more):
        return ended(started(folder, *arguments, **more))

    run.start = partial(started, folder)
    return run


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a run that nothing happened to prints, and the content of its certificate."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "wrong.py").write_text(WRONG)
    run = ended(started(folder, *SOME, "--certificate", "whole.json"))
    assert run.returncode == 1
    assert not (folder / ".gradoracle").exists()  # a run that is done leaves none
    return run.out, content(folder / "whole.json")


@pytest.fixture
def journal(folder):
    return folder / ".gradoracle" / "wrong.journal"


def content(file):
    """A certificate without what differs from run to run."""
    told = json.loads(file.read_text())
    for outcome in told["outcomes"]:
        del outcome["seconds"], outcome["changed"]
    del told["sha256"], told["confinement"]
    return told


def gone(processes):
    deadline = time.monotonic() + 8
    while ours() & processes and time.monotonic() < deadline:
        time.sleep(0.02)
    return not ours() & processes


def killed_with(certify, journal, lines, *arguments, how=signal.SIGKILL):
    """Start a run and kill it when its journal has so many lines; return what it printed."""
    before = ours()
    process = certify.start(*arguments)
    deadline = time.monotonic() + 100
    while not (journal.exists() and journal.read_bytes().count(b"\n") >= lines):
        assert process.poll() is None, "it was done before"
        assert time.monotonic() < deadline, "it writes no journal"
        time.sleep(0.005)
    family = ours() - before
    process.send_signal(how)
    out, _ = process.communicate(timeout=60)
    assert gone(family)
    return out


@pytest.mark.parametrize(("jobs", "kills"), [((), 2), (("-n", "2"), 1)])
def test_nothing_judged_is_lost_when_the_run_is_killed(
    certify, folder, journal, whole, jobs, kills
):
    held, resume = [], ()
    for lines in sorted(random.Random(7).sample(range(2, 18), kills)):  # noqa: S311 - any moments
        killed_with(certify, journal, lines, *SOME, *jobs, *resume)
        judged = read(journal)[1]
        assert judged[: len(held)] == held
        held, resume = judged, ("--resume",)
    last = certify(*SOME[:2], *jobs, "--resume", "--certificate", "resumed.json")
    assert f"gradoracle: going on after {len(held)} checks" in last.out
    assert "seed 4" in last.out
    assert last.returncode == 1
    out, certificate = whole
    assert content(folder / "resumed.json") == certificate
    breaks = "linear_grad_weight breaks"
    assert out.count(breaks) == last.out.count(breaks)
    assert not journal.parent.exists()


def test_an_interrupted_run_says_how_to_go_on(certify, journal):
    out = killed_with(certify, journal, 5, *SOME, how=signal.SIGINT)
    assert ".gradoracle/wrong.journal has what was checked: --resume goes on" in out
    first = certify(*SOME, "-x")
    assert ".gradoracle/wrong.journal has what was checked: --resume goes on" in first.out
    assert read(journal)[1][-1].status == "mismatch"


@pytest.fixture
def interruptible():
    """Python's own handler, which a shell that starts tests in the background takes away."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Finalised:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0)  # where Python lets the handler run, and loses what it raises


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_that_python_loses_is_heeded(monkeypatch):
    lost = []
    monkeypatch.setattr(sys, "unraisablehook", lost.append)
    with pytest.raises(KeyboardInterrupt), heeded():
        Finalised()
    assert [one.exc_type for one in lost] == [KeyboardInterrupt]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("interruptible")
def test_a_noted_interrupt_is_raised_where_it_is_asked_for_and_a_second_one_at_once(monkeypatch):
    lost = []
    monkeypatch.setattr(sys, "unraisablehook", lost.append)
    reached = []

    def within(*steps):
        with noted() as heed:
            for step in steps:
                step(heed)

    with pytest.raises(KeyboardInterrupt):  # at the end, if nobody asks any more
        within(lambda heed: heed(), lambda _: Finalised(), lambda _: reached.append("the end"))
    with pytest.raises(KeyboardInterrupt):
        within(lambda _: Finalised(), lambda heed: heed(), lambda _: reached.append("beyond"))
    with pytest.raises(KeyboardInterrupt):  # a second one waits for nobody
        within(
            lambda _: Finalised(), lambda _: signal.raise_signal(signal.SIGINT),
            lambda _: reached.append("beyond"),
        )  # fmt: skip
    assert reached == ["the end"]
    assert not lost
    with noted() as heed:
        heed()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_journal_of_another_run_is_not_resumed(certify, folder, journal):
    none = certify("--resume")
    assert none.returncode == 4
    assert "no journal can be read at" in none.err
    certify(*SOME, "-x")
    text = journal.read_bytes()
    for arguments, profile, said in (
        (("--seed", "5"), "quick", "has seed 4, not 5"),
        (("--in-process",), "deep", "its examples was 25, now it is 5000. Run without --resume"),
        (("--in-process",), "quick", "its confinement was in_process False, now it is in_process"),
    ):
        other = certify("--resume", *arguments, profile=profile)
        assert (other.returncode, said in other.err) == (4, True), other.err
        assert "Traceback" not in other.err + other.out
    (folder / "wrong.py").write_text(WRONG + "\n")
    assert "cannot be resumed: its files was wrong.py" in certify("--resume").err
    assert journal.read_bytes() == text  # who may not go on changes nothing


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("suite", "0" * 64, "its suite was '000"),
        ("dtypes", ["float32"], "its dtypes was ['float32'], now it is ['float32', 'float64', "),
        ("environment", {"NumPy": "0"}, "its environment was "),
        ("contract", {"policies": {"ties": "first"}}, "its contract was "),
        ("confinement", {"forbidden": ["torch"]}, "its confinement was forbidden ['torch']"),
        ("confinement", {"call": 3.0}, "its confinement was call 3.0, now it is call 10.0"),
    ],
)
def test_what_is_settled_must_be_the_same(tmp_path, name, change, said):
    backend = load("im2col", IN_PROCESS)
    now = settled(backend, examples=25, operators=OPERATORS[:2], confinement=ISOLATED)
    assert set(now) == set(SETTLED)
    was = {**now, name: {**now[name], **change} if isinstance(change, dict) else change}
    path = tmp_path / "journal"
    Journal(path, {**was, "seed": 1}).close()
    assert resumed(path, was) == (1, [])
    with pytest.raises(JournalError) as error:
        resumed(path, now)
    assert said in str(error.value)


def test_what_certify_began_pytest_ends(certify, folder, journal):
    arguments = ("certify", "wrong", "--profile", "quick", "--seed", "4", "--certificate")
    subprocess.run(
        [sys.executable, "-m", "gradoracle", *arguments, "whole.json"],
        cwd=folder, check=False, env=environment(folder), capture_output=True,
    )  # fmt: skip
    text = journal.read_bytes()
    journal.write_bytes(text[: len(text) // 2])
    ended = certify("--resume", "--certificate", "ended.json")
    assert (ended.returncode, "seed 4" in ended.out) == (1, True)
    assert content(folder / "ended.json") == content(folder / "whole.json")


def test_a_part_that_is_resumed_loses_no_other_part(certify, journal):
    certify(*SOME, "-x")
    before = read(journal)[1]
    certify("-k", "relu_grad and leaves", "--resume")
    after = read(journal)[1]
    assert after[: len(before)] == before
    assert {o.formula for o in after[len(before) :]} <= {"relu_grad", "leaky_relu_grad"}


def test_a_folder_that_cannot_be_written_to_costs_the_journal_only(certify, folder):
    (folder / ".gradoracle").write_text("not a folder")
    run = certify("-k", "relu_grad and matches_oracle")
    assert run.returncode == 0, run.out
    assert "no journal is written: " in run.out


def test_two_runs_at_once_do_not_mix(tmp_path):
    path = tmp_path / ".gradoracle" / "b.journal"
    one, two = (Outcome("b", name, "linear", "not run", "so") for name in ("relu", "tanh"))
    first = Journal(path, {"seed": 1})
    first.write(one)
    second = Journal(path, {"seed": 2})
    first.write(one)
    second.write(two)
    assert read(path) == ({"seed": 2}, [two])
    first.remove()
    assert read(path) == ({"seed": 2}, [two])
    with pytest.raises(JournalError, match="its backend was None, now it is 'b'"):
        resumed(path, {"backend": "b"})
    second.remove()
    assert not path.parent.exists()
