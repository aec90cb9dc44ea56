"""Whatever a backend does, it is a verdict, the run goes on, and nothing is left behind."""

import gc
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

import gradoracle
from gradoracle.conformance.backends.backend import FUNCTIONS
from gradoracle.conformance.backends.caller import Look, Request
from gradoracle.conformance.backends.isolation import start
from gradoracle.conformance.backends.isolation.guardian import descendants
from gradoracle.conformance.backends.isolation.isolated import Isolated, Unloadable
from gradoracle.conformance.backends.isolation.limits import Limits
from gradoracle.conformance.backends.isolation.processes import ends
from gradoracle.conformance.backends.registry import IN_PROCESS, Confinement, UnusableBackend, load
from gradoracle.conformance.backends.stops import Stops
from gradoracle.conformance.checking.minimising import HITS
from gradoracle.conformance.runs.command import Order, certify, other_verdicts

pytestmark = pytest.mark.slow

TIGHT = Limits(call=1, first=8, start=20, memory=2**30, processes=32)
UNHURRIED = replace(TIGHT, call=20, first=20)
ONE, TWO = np.ones((1, 3, 2, 2), np.float32), np.ones((2, 3, 2, 2), np.float32)

# What a user reads, after "conv2d_grad_bias: ".
VERDICTS = {
    "segmentation_fault": r"crashed: segmentation fault \(SIGSEGV\)",
    "abort": r"crashed: abort \(SIGABRT\)",
    "bus_error": r"crashed: bus error \(SIGBUS\)",
    "arithmetic_exception": r"crashed: arithmetic exception \(SIGFPE\)",
    "corrupts_the_heap": r"crashed: (abort \(SIGABRT\); it wrote \".+\"|segmentation fault)",
    "exits_quietly": r"ended its process with exit status 0",
    "exits_politely": r"raised SystemExit: 0 on a legal call",
    "raises_no_exception": r"raised Odd: not even an Exception on a legal call",
    "loops_forever": r"did not return within \S+ s \(it is computing\)",
    "deadlocks": r"did not return within \S+ s \(it is waiting\)",
    "sleeps": r"did not return within \S+ s \(it is waiting\)",
    "takes_all_memory": r"took more than 1 GiB of memory",
    "starts_many_processes": r"started more than 32 processes",
    "leaves_a_process_behind": r"conv2d_grad_bias\[0\]: got",
    "writes_on_every_line": r"something else than answers is on the suite's line",
    "forges_a_line": r"something else than answers is on the suite's line \(an answer that nobody",
    "closes_every_descriptor": r"(closed the line to the suite|ended its process with exit status)",
    "returns_too_much": r"returned 1000000000000 elements \[1000000, 1000000\]",
    "kills_its_guardian": r"ended the process that watches over it",
}


def limits(name):
    """What takes memory or forks is to be told for that, however slow the machine."""
    return UNHURRIED if name in ("takes_all_memory", "starts_many_processes") else TIGHT


def ours():
    """The processes below this one."""
    return descendants(os.getpid(), set())


@pytest.fixture
def isolated():
    made = []

    def make(name, **options):
        path = f"tests.misbehaving:{name}"
        made.append(Isolated(path, FUNCTIONS, **{"limits": limits(name), **options}))
        return made[-1]

    before = ours()
    yield make
    for one in made:
        one.close()
    deadline = time.monotonic() + 5
    while ours() - before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not ours() - before


def db(dy):
    return Request("conv2d_grad_bias", [dy], {})


@pytest.mark.parametrize("name", VERDICTS)
def test_what_goes_wrong_is_a_reply_and_the_next_call_is_answered(isolated, name):
    backend = isolated(name)
    for _ in range(2):
        assert backend.perform(db(ONE)).arrays[0].tolist() == [4, 4, 4]
        reply = backend.perform(db(TWO))
        said = {"raised": "raised {} on a legal call", "returned": "returned {}"}
        if name == "leaves_a_process_behind":
            assert reply.arrays[0].tolist() == [9, 9, 9]
        elif name == "corrupts_the_heap" and reply.kind == "answer":  # found later, or never
            continue
        else:
            assert re.match(VERDICTS[name], said.get(reply.kind, "{}").format(reply.text)), reply
        assert backend.perform(db(ONE)).arrays[0].tolist() == [4, 4, 4]


@pytest.fixture
def crowd():
    """Processes that leave hardly anything of one processor to others that are nice."""
    script = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
while True: pass
"""
    busy = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(3)]
    yield
    for process in busy:
        process.kill()
        process.wait()


@pytest.mark.parametrize("name", ["loops_with_hardly_a_processor", "waits_for_a_thread_that_loops"])
def test_what_computes_is_told_from_what_waits_on_a_busy_machine(isolated, crowd, name):
    backend = isolated(name, limits=replace(TIGHT, first=1))
    for _ in range(4):
        reply = backend.perform(db(TWO))
        assert re.match(VERDICTS["loops_forever"], reply.text), reply


@pytest.mark.parametrize("name", VERDICTS)
def test_verdict_has_its_minimal_call(name):
    before = ours()
    certificate = gradoracle.check(
        f"tests.misbehaving:{name}", operators=["conv2d"], examples=20, seed=1,
        confinement=Confinement(limits=limits(name)), stop_at_first_mismatch=True,
    )  # fmt: skip
    found = certificate.mismatches[0]
    assert re.search(VERDICTS[name], found.headline), found.headline
    assert "unsteady" not in found.text or name == "corrupts_the_heap", found.text
    if name != "corrupts_the_heap":
        assert re.search(r"grad_output float\d\d\[2, 1, 1, 1\]", found.text), found.text
    assert not ours() - before


def test_a_backend_that_crashes_is_judged_to_the_end():
    certificate = gradoracle.check(
        "tests.misbehaving:segmentation_fault", operators=["conv2d"], examples=10, seed=1
    )
    judged = {
        o.property_name: o.status for o in certificate.outcomes if o.formula == "conv2d_grad_bias"
    }
    assert (judged["matches_oracle"], judged["linear"]) == ("mismatch", "also fails")
    assert judged["rejects_bad_arguments"] in ("passed", "mismatch", "also fails")
    assert {found.property_name for found in certificate.mismatches} <= set(judged)


def test_a_crash_is_the_crashing_function_s_alone():
    certificate = gradoracle.check(
        "tests.misbehaving:relu_beside_a_crash", operators=["relu"], examples=20, seed=1
    )
    assert {found.formula for found in certificate.mismatches} == {"relu_grad"}


@pytest.mark.parametrize("confinement", [IN_PROCESS, Confinement()])
def test_from_numpy_may_return_what_it_is_given(confinement):
    certificate = gradoracle.check(
        "tests.misbehaving:takes_arrays_as_they_are", operators=["relu"], examples=20, seed=1,
        confinement=confinement,
    )  # fmt: skip
    assert not certificate.mismatches
    assert "leaves_inputs_unchanged" in {o.property_name for o in certificate.outcomes if o.judged}


# -- limits -----------------------------------------------------------------------------------


BRIEF = Limits(call=1, first=2, start=20, memory=2**29, processes=32)


def checked_within(limits, name, **options):
    """Check a backend of one function; return the certificate and how many processes ended."""
    backend = load(f"tests.misbehaving:{name}", Confinement(limits=limits))
    try:
        options = {"operators": ["relu"], "examples": 25, "seed": 1, **options}
        return gradoracle.check(backend, **options), backend.asked.ends
    finally:
        backend.asked.close()


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("never_returns", "did not return within 2 s"),
        ("always_hoards", "took more than 0.5 GiB of memory"),
        ("always_aborts", "crashed: abort (SIGABRT)"),
    ],
)
def test_what_never_ends_well_is_called_in_one_check_only(name, how):
    limits = replace(BRIEF, first=2 if name == "never_returns" else 20)
    certificate, ends = checked_within(limits, name)
    (found,) = certificate.mismatches
    assert how in found.headline
    assert "minimal call  z float32[1]" in found.text
    assert ends == 1 or name == "always_aborts"
    left = [o for o in certificate.outcomes if o.ended and o.status != "mismatch"]
    assert {(o.formula, o.status) for o in left} == {("relu", "not run")}
    assert {o.reason for o in left} == {f"not checked: relu {how} (see matches_oracle)"}
    claimed = [o for o in certificate.outcomes if o.status not in ("not claimed", "mismatch")]
    assert len(left) == len(claimed) >= 7
    assert certificate.verdict == "NOT CERTIFIED: 1 mismatch"
    assert left[0].reason in " ".join(certificate.text().split())


def test_what_never_ends_well_is_not_called_beside_other_functions():
    certificate, ends = checked_within(replace(BRIEF, first=2), "never_returns_forward")
    (found,) = certificate.mismatches
    assert found.formula == "relu"
    assert ends == 1
    own = {o.property_name: o for o in certificate.outcomes if o.formula == "relu_grad"}
    for name in ("is_stateless", "returns_what_the_protocol_says"):
        assert own[name].status == "passed"


def test_a_listed_deviation_that_hangs_certifies_nothing_of_the_other_checks():
    certificate, ends = checked_within(BRIEF, "hangs_as_listed")
    assert ends == 1
    assert [o.status for o in certificate.outcomes if o.property_name == "matches_oracle"] == [
        "deviation",
        "not claimed",
    ]
    assert not certificate.as_claimed
    assert "within_rounding_bound: not checked: relu did not return" in certificate.why_not


def test_a_call_is_made_smaller_under_the_limit_that_the_user_gave():
    certificate, ends = checked_within(BRIEF, "slow_beyond_40")
    (found,) = certificate.mismatches
    assert re.match(r"relu: did not return within 1 s \(it is waiting\)", found.headline)
    shape = re.search(r"call +z float\d\d\[(.*?)\]", found.text)[1]
    assert np.prod([int(side) for side in shape.split(",")]) > 40
    assert "unsteady" not in found.text
    assert ends <= 1 + HITS


def test_a_report_says_that_there_was_no_time_to_make_a_call_smaller(monkeypatch):
    monkeypatch.setattr("gradoracle.conformance.checking.minimising.PATIENCE", 0.0)
    certificate, ends = checked_within(BRIEF, "slow_beyond_40")
    (found,) = certificate.mismatches
    assert "  small call " in found.text
    assert "  not minimal   each smaller call took so long that not all were tried" in found.text
    assert ends == 2  # it was called once more, to see that it is no accident


def test_the_processes_of_a_run_share_what_does_not_end():
    certificate, _ = checked_within(BRIEF, "never_returns")
    first, other = Stops(), Stops()
    name = certificate.backend
    with first.shared() as file:
        other.file = file
        assert other.first(name, ["relu"]) is None
        for outcome in certificate.outcomes:
            first.note(outcome)
        stop = other.first(name, ["sigmoid", "relu"])
        assert stop.sentence("relu_grad") == (
            "not checked: relu did not return within 2 s (see matches_oracle of relu)"
        )
        assert other.first("another", ["relu"]) is None
    assert not file.exists()


def test_jobs_meet_a_call_that_does_not_end_once_each_at_most(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    order = Order(
        "tests.misbehaving:never_returns", ["relu"], examples=25, seed=1, jobs=2,
        confinement=Confinement(limits=BRIEF),
    )  # fmt: skip
    certificate = certify(order, Console(quiet=True))
    met = [o for o in certificate.outcomes if o.status == "mismatch"]
    assert 1 <= len(met) <= 2
    assert len([o for o in certificate.outcomes if o.ended]) >= 8
    again = certify(replace(order, jobs=1), Console(quiet=True))
    assert other_verdicts(certificate, again) == []


def test_a_run_that_goes_on_does_not_call_again_what_did_not_end(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    order = Order(
        "tests.misbehaving:never_returns", ["relu"], examples=25, seed=1,
        confinement=Confinement(limits=BRIEF),
    )  # fmt: skip
    whole = certify(order, Console(quiet=True))
    lines = order.journal.read_bytes().splitlines(keepends=True)
    order.journal.write_bytes(b"".join(lines[:2]))  # the header and the first check
    again = certify(replace(order, resume=True), Console(quiet=True))
    assert len(again.mismatches) == 1
    assert [o.reason for o in again.outcomes] == [o.reason for o in whole.outcomes]


def test_an_import_that_hangs_at_its_second_time_is_waited_for_once(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "hangs_later.py").write_text(
        "import os, pathlib, time\n"
        f"lock = pathlib.Path({str(tmp_path / 'lock')!r})\n"
        "if lock.exists(): time.sleep(100)\n"
        "lock.touch()\n"
        "def relu(z): os.abort()\n"
    )
    backend = Isolated("hangs_later", FUNCTIONS, replace(BRIEF, start=2))
    start = time.monotonic()
    replies = [backend.perform(Request("relu", [ONE], {})) for _ in range(4)]
    assert time.monotonic() - start < 4 * 2
    assert replies[0].text == "crashed: abort (SIGABRT)"
    for reply in replies[1:]:
        assert "did not return within 2 s" in reply.text
        assert "while it was imported; --import-timeout allows more" in reply.text
        assert reply.over == "time"
    backend.close()


def test_a_backend_in_a_garbage_cycle_ends_its_processes_without_warnings(monkeypatch):
    before, raised = ours(), []
    monkeypatch.setattr(sys, "unraisablehook", raised.append)
    for _ in range(3):
        start.prepare()  # older than the backend, so it is finalized first
        backend = Isolated("tests.misbehaving:prints_a_lot", FUNCTIONS)
        assert backend.perform(db(ONE)).kind == "answer"
        backend.itself = backend
        del backend
    gc.collect()
    assert not raised, raised[0].exc_value
    assert not ours() - before


# What a backend does besides, and what is told of it.
SURVIVED = {
    "prints_a_lot": [],
    "changes_the_working_directory": ["the working directory"],
    "changes_the_locale": ["the locale"],
    "lets_numpy_raise": [],
    "reseeds_numpy": [],
    "replaces_numpy_functions": [],
    "replaces_exit_handlers_and_signals": [],
    "is_slow_at_first": [],
    "flushes_subnormals": ["how floats round"],
}


@pytest.mark.parametrize("name", SURVIVED)
def test_what_it_does_besides_reaches_nobody(isolated, name):
    backend = isolated(name)
    folder, errors = Path.cwd(), np.geterr()
    for dy in (ONE, TWO, ONE):
        assert backend.perform(db(dy)).arrays[0].tolist() == [4 * len(dy)] * 3
    assert (Path.cwd(), np.geterr()) == (folder, errors)
    assert backend.changed == dict.fromkeys(SURVIVED[name], "conv2d_grad_bias")


def test_memory_is_dirty_and_threads_are_one(isolated):
    backend = isolated("tells_its_surroundings")
    fresh, threads = backend.perform(db(ONE)).arrays[0], backend.perform(db(TWO)).arrays[0]
    assert fresh.tolist() != [0, 0, 0]
    assert threads.tolist() == [1, 1, 1]


def test_the_suite_is_out_of_reach(isolated):
    """A worker has neither the suite's modules nor a test runner's, nor an argument that tells."""
    assert isolated("looks_for_the_suite").perform(db(ONE)).arrays[0].tolist() == [0, 0, 0]


def test_what_is_forbidden_is_refused_and_told(isolated):
    backend = isolated("falls_back", forbidden=["scipy", "html"])
    assert backend.perform(db(ONE)).arrays[0].tolist() == [4, 4, 4]
    assert backend.loaded()["refused"] == ["html"]
    free = isolated("falls_back")
    free.perform(db(ONE))
    assert free.loaded()["refused"] == []
    assert "tests" in free.loaded()["modules"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import os; os.abort()", "crashed: abort"),
        ("import time; time.sleep(100)", r"did not return within 1 s \(it is waiting\)"),
        ("import os; os._exit(7)", "ended its process with exit status 7"),
        ("import ctypes; ctypes.CDLL('libnothing.so')", "OSError: libnothing.so"),
        ("import sys; sys.exit('no')", "SystemExit: no"),
    ],
)
def test_an_import_that_goes_wrong_says_how(tmp_path, monkeypatch, text, reason):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "broken_import.py").write_text(text)
    brief = Limits(start=1 if "sleep" in text else 20)
    with pytest.raises(UnusableBackend, match=f"cannot be loaded: {reason}"):
        load("broken_import", Confinement(limits=brief))
    with pytest.raises(Unloadable):
        _ = Isolated("broken_import", FUNCTIONS, brief).description


def test_what_a_fresh_process_answers_rightly_is_said_to_depend_on_calls_before():
    certificate = gradoracle.check("tests.misbehaving:tires", operators=["conv2d"], seed=1)
    found = certificate.mismatches[0]
    said = " ".join(found.text.split())
    assert "alone, a fresh process was right" in said
    assert "tires-conv2d_grad_bias" not in said  # as the line to repeat one check has it
    assert "unsteady" not in said
    (other,) = {m.formula for m in certificate.mismatches}
    assert other == "conv2d_grad_bias"


def test_what_a_call_loaded_is_told_though_its_process_was_renewed(isolated):
    backend = isolated("loads_late")
    assert backend.perform(db(TWO)).kind == "answer"
    for _ in range(70):
        assert backend.perform(db(ONE)).kind == "answer"
    assert backend.renew()
    assert not backend.renew()
    assert backend.perform(db(ONE)).arrays[0].tolist() == [4, 4, 4]
    assert "iniconfig" in backend.loaded()["modules"]
    assert backend.ends == 0


def test_nothing_is_left_when_the_suite_is_killed(tmp_path):
    script = """
import os, sys, time
from gradoracle.conformance.backends.backend import FUNCTIONS
from gradoracle.conformance.backends.isolation.isolated import Isolated
backend = Isolated("gradoracle.implementations.im2col", FUNCTIONS)
backend.description
print(os.getpid(), backend._workers.guardian.pid, backend._worker.pid or 0, flush=True)
time.sleep(100)
"""
    suite = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    with suite:
        pids = [int(pid) for pid in suite.stdout.readline().split()]
        family = descendants(pids[0], set())
        assert len(family) == 2
        suite.kill()
    deadline = time.monotonic() + 5
    while any(_runs(pid) for pid in family) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(_runs(pid) for pid in family)


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("name", ["im2col", "oracle"])
def test_the_verdicts_are_those_of_this_process(name):
    options = {"operators": ["linear", "avg_pool1d"], "examples": 12, "seed": 5}
    here = gradoracle.check(name, confinement=IN_PROCESS, **options)
    apart = gradoracle.check(name, **options)
    for certificate in (here, apart):
        for outcome in certificate.outcomes:
            outcome.seconds = 0
    assert here.outcomes == apart.outcomes


# -- several calls together -----------------------------------------------------------------------


def test_calls_that_were_begun_are_answered_one_by_one(isolated):
    backend = isolated("adds_up")
    requests = [db(np.full((1, 3, 1, 1), n, np.float64)) for n in range(200)]
    backend.begin(requests)
    for n, request in enumerate(requests[:150]):
        assert backend.perform(request).arrays[0].tolist() == [n, n, n]
    assert backend._sent
    assert backend._ahead
    backend.forget()
    assert (len(backend._sent), len(backend._ahead), len(backend._early)) == (0, 0, 0)
    assert backend.perform(db(ONE)).arrays[0].tolist() == [4, 4, 4]


def test_a_crash_is_blamed_on_the_call_that_crashed(isolated):
    backend = isolated("segmentation_fault")
    requests = [db(ONE), db(ONE), db(TWO), db(ONE), db(TWO), db(ONE)]
    backend.begin(requests)
    kinds = [backend.perform(request).kind for request in requests]
    assert kinds == ["answer", "answer", "crashed", "answer", "crashed", "answer"]


def test_calls_can_be_asked_for_in_any_order(isolated):
    backend = isolated("segmentation_fault")
    requests = [db(ONE), db(TWO), db(ONE)]
    backend.begin(requests)
    assert [backend.perform(r).kind for r in requests[::-1]] == ["answer", "crashed", "answer"]


def test_a_crash_that_nobody_asks_for_is_forgotten(isolated):
    backend = isolated("segmentation_fault")
    requests = [db(ONE), db(TWO), db(TWO), db(ONE)]
    backend.begin(requests)
    assert backend.perform(requests[0]).kind == "answer"
    backend.forget()
    assert backend.perform(db(ONE)).kind == "answer"


def test_arguments_are_looked_at_where_they_lie(isolated):
    backend = isolated("spends_its_argument")
    request = db(ONE.copy())
    request.arguments = True
    answer, left = backend.perform(request).arrays
    assert answer.tolist() == [4, 4, 4]
    assert not left.any()
    assert request.positional[0].all()


def test_who_computes_when_the_result_is_read_still_has_its_arguments(isolated):
    backend = isolated("computes_when_read")
    assert backend.perform(db(ONE)).arrays[0].tolist() == [4, 4, 4]
    late = db(TWO)
    late.late = True
    backend.perform(late)
    backend.perform(db(ONE))
    assert backend.perform(Look("conv2d_grad_bias", 2)).arrays[0].tolist() == [8, 8, 8]


def test_a_result_is_shown_again(isolated):
    backend = isolated("adds_up")
    late = db(TWO)
    late.late = True
    assert backend.perform(db(ONE)).arrays[0].tolist() == [4, 4, 4]
    assert backend.perform(late).arrays == []
    looks = [Look("conv2d_grad_bias", back) for back in (2, 1)]
    assert [backend.perform(look).arrays[0].tolist() for look in looks] == [[4] * 3, [8] * 3]
    assert backend.perform(Look("conv2d_grad_bias", 3)).kind == "returned"


@pytest.mark.parametrize("descriptors", [True, False], ids=["descriptor", "wait"])
def test_the_end_of_a_process_is_waited_for_and_no_longer_than_asked(monkeypatch, descriptors):
    if not descriptors:
        monkeypatch.delattr(os, "pidfd_open", raising=False)
    with subprocess.Popen([sys.executable, "-c", "pass"]) as short:
        assert ends(short, 60)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as long:
        assert not ends(long, 0.1)
        long.kill()


AHEAD = """
from gradoracle.conformance.backends.isolation import start
started, count = start._started, []
start._started = lambda: count.append(started()) or count[-1]
import gradoracle
gradoracle.check("gradoracle.implementations.im2col", operators=["relu"], examples=1)
assert len(count) == 1, len(count)
"""


def test_what_the_suite_imports_leaves_the_guardian_that_was_started_ahead_fit():
    clean = {k: v for k, v in os.environ.items() if k != "KMP_DUPLICATE_LIB_OK"}
    done = subprocess.run([sys.executable, "-c", AHEAD], check=False, env=clean)
    assert done.returncode == 0


@pytest.mark.parametrize("given", ["FALSE", None])
def test_workers_are_told_of_libraries_of_threads_what_the_suite_is(monkeypatch, given):
    name = "KMP_DUPLICATE_LIB_OK"
    monkeypatch.delenv(name)
    if given:
        monkeypatch.setenv(name, given)
    guardian = start.guardian()
    assert guardian.environment[name] == (given or "True")
    guardian.drop()


def test_a_guardian_that_was_started_ahead_is_taken_once_and_only_where_it_fits(monkeypatch):
    start.prepare()
    start.prepare()
    (ahead,) = start._ahead
    assert start.guardian() is ahead
    assert start._ahead == []
    ahead.drop()
    start.prepare()
    (ahead,) = start._ahead
    monkeypatch.setenv("OMP_SCHEDULE", "static")  # it was started with another environment
    other = start.guardian()
    assert other is not ahead
    assert ahead.process.poll() is not None
    other.drop()
