"""Who cheats is rejected, or it is plain to see; who is right passes.

pytest tests/test_adversaries.py --planted-seeds 5

tries every adversary from all five seeds; by default it is one of them, as with planted faults.
"""

import importlib
import importlib.util
import os
import signal
import sys
import zlib
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

import gradoracle
from gradoracle.conformance.backends.backend import FUNCTIONS
from gradoracle.conformance.backends.caller import Request
from gradoracle.conformance.backends.isolation.isolated import Isolated
from gradoracle.conformance.backends.isolation.limits import Limits
from gradoracle.conformance.backends.registry import Confinement, UnusableBackend
from gradoracle.conformance.cli import app
from tests.conftest import SEEDS

pytestmark = pytest.mark.slow

# By module and operator: each breaks a property within the default number of examples.
REJECTED = {
    "answers": {
        "conv2d": [
            "zeros", "nan_where_it_is_hard", "nan_everywhere", "tensor_float_32_in_long_sums",
            "a_column_for_a_row", "an_array_that_agrees", "becomes_an_array_that_agrees",
            "elements_that_agree", "lazy", "right_when_read_first",
        ],
        "linear": [
            "zeros_below_a_tolerance", "half_precision", "half_precision_in_long_sums",
            "tensor_float_32", "single_for_double", "right_to_a_tolerance", "right_on_integers",
            "right_by_broadcasting", "agrees_with_itself",
        ],
        "relu": ["a_constant", "right_on_average", "finished_later"],
    },
    "memory": {
        "conv2d": [
            "replayed_by_address", "replayed_by_identity", "replayed_by_shape", "replayed_by_head",
            "replayed_by_checksum", "replayed_weights", "left_over", "partly_left_over", "freed",
            "zeroes_its_input", "a_view_of_its_input",
        ],
        "linear": ["replayed_by_heads"],
        "relu": [
            "works_in_its_input", "covers_up_what_it_changed", "a_wrapped_view_of_its_input",
            "one_buffer_for_all", "two_buffers_in_turn", "one_buffer_behind_handles",
            "takes_back_what_another_function_gave",
        ],
    },
    "checker": {
        "conv2d": [
            "replaces_comparisons", "replaces_the_judge", "replaces_the_test_runner",
            "searches_objects", "searches_frames", "searches_shared_memory", "searches_files",
            "forges_a_certificate", "forges_the_exit_code", "ends_with_success",
            "prints_that_it_passed", "lies_in_an_error", "lies_in_a_class", "lies_in_its_answer",
            "seals_the_shared_memory", "swells_the_shared_memory", "interrupts",
            "forges_what_cannot_be_listed", "forges_what_cannot_be_made",
        ],
        "relu": [
            "sees_a_test_runner", "sees_the_environment", "sees_who_looks_at_arguments",
            "sees_who_looks_at_memory", "replaces_what_it_imports",
        ],
    },
    "partial": {
        "conv2d": [
            "right_for_3x3", "right_for_squares", "right_for_even_sizes", "right_for_powers_of_two",
            "right_for_one_image", "right_for_one_group", "drops_the_last_tile", "adds_two_images",
            "adds_64_images", "a_thread_for_each_channel", "skips_what_is_large",
            "right_for_the_first_calls", "right_once_warm", "right_at_first_sight",
            "wrong_now_and_then",
        ],
        "relu": ["skips_elements", "right_for_contiguous_arrays"],
        "max_pool2d": ["hides_behind_its_policies"],
    },
}  # fmt: skip
# Not wrong where they answer, and what a reader of the certificate sees of them.
DISCLOSED = {
    "checker:replaces_what_looks_at_arguments": (
        "relu",
        lambda c: "it changed the code of the suite of its process (relu)" in c.text(),
    ),
    "partial:declines_what_is_hard": (
        "conv2d",
        lambda c: sum(o.declined for o in c.outcomes) > 0 and "declined: " in c.text(),
    ),
    "partial:declines_all_but_one_pixel": ("conv2d", lambda c: "no call" in statuses(c)),
    "partial:declines_everything": ("conv2d", lambda c: statuses(c) == {"no call", "not claimed"}),
    "partial:declines_float64": (
        "conv2d",
        lambda c: statuses(c) == {"no call", "not claimed"} and "in float64" in c.text(),
    ),
    "partial:claims_one_function": (
        "conv2d",
        lambda c: statuses(c) == {"passed", "not claimed"} and "not claimed: conv2d" in c.text(),
    ),
    "checker:sees_who_calls": (
        "relu",
        lambda c: "\n  it looked at its callers (tests.adversaries.checker)\n" in c.text(),
    ),
    "checker:sees_its_ancestors": (
        "relu",
        lambda c: "\n  it looked at other processes (/proc/*/cmdline, /proc/*/stat)\n" in c.text(),
    ),
}
TORCH = ["falls_back_on_torch", "falls_back_in_secret"]
ANOTHER_PROCESS = "partial:falls_back_in_another_process"
CLAIM_TOO_LITTLE = "answers:claims_single_for_double"
HOLD_UP = ["drips", "stops_its_guardian"]
ONE, TWO = np.ones((1, 3, 2, 2), np.float32), np.ones((2, 3, 2, 2), np.float32)

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="PyTorch is not installed"
)

ADVERSARIES = {
    f"{module}:{name}": operator
    for module, operators in REJECTED.items()
    for operator, names in operators.items()
    for name in names
}
OTHERS = {
    *DISCLOSED,
    ANOTHER_PROCESS,
    CLAIM_TOO_LITTLE,
    *(f"partial:{name}" for name in TORCH),
    *(f"checker:{name}" for name in HOLD_UP),
}


def pytest_generate_tests(metafunc):
    if "adversary" not in metafunc.fixturenames:
        return
    count = metafunc.config.getoption("--planted-seeds")
    cases = []
    for name, operator in ADVERSARIES.items():
        first = zlib.crc32(name.encode())
        seeds = sorted(SEEDS[(first + i) % len(SEEDS)] for i in range(count))
        cases += [pytest.param((name, operator, seed), id=f"{name}-{seed}") for seed in seeds]
    metafunc.parametrize("adversary", cases)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Some write files."""
    monkeypatch.chdir(tmp_path)


def judged(name, operator, **options):
    options = {"seed": 1, "stop_at_first_mismatch": True, **options}
    return gradoracle.check(f"tests.adversaries.{name}", operators=[operator], **options)


def statuses(certificate):
    return {outcome.status for outcome in certificate.outcomes}


def test_no_adversary_is_left_out():
    for name in REJECTED:
        module = importlib.import_module(f"tests.adversaries.{name}")
        there = {f"{name}:{n}" for n, v in vars(module).items() if isinstance(v, SimpleNamespace)}
        assert there == {n for n in {*ADVERSARIES, *OTHERS} if n.startswith(f"{name}:")}


@pytest.mark.parametrize("operator", ["conv2d", "relu"])
def test_what_is_right_passes(operator):
    certificate = gradoracle.check(
        "tests.adversaries:right", operators=[operator], examples=50, seed=1
    )
    assert not certificate.mismatches
    assert statuses(certificate) <= {"passed", "not claimed"}


@pytest.mark.parametrize("operator", ["conv2d", "relu"])
def test_what_is_wrong_is_rejected(operator):
    certificate = gradoracle.check("tests.adversaries:wrong", operators=[operator], seed=1)
    assert certificate.mismatches
    assert not certificate.passed


def test_who_cheats_is_rejected(adversary):
    name, operator, seed = adversary
    certificate = judged(name, operator, seed=seed)
    assert certificate.mismatches
    assert not certificate.passed
    assert '"certified": false' in certificate.to_json()


@pytest.mark.parametrize("name", DISCLOSED)
def test_what_is_left_out_is_told(name):
    operator, is_told = DISCLOSED[name]
    certificate = judged(name, operator, examples=25)
    assert not certificate.mismatches
    assert is_told(certificate), certificate.text()


def test_sums_that_hold_less_than_the_numbers_cannot_be_claimed():
    said = "accumulator of float64 'float32' holds less than float64"
    with pytest.raises(UnusableBackend, match=said):
        judged(CLAIM_TOO_LITTLE, "linear")


@pytest.mark.parametrize("name", ["lies_in_an_error", "lies_in_a_class", "lies_in_its_answer"])
def test_a_report_is_the_suite_s_own_words(name):
    (found,) = judged(f"checker:{name}", "conv2d").mismatches
    assert found.headline.isprintable()
    lines = found.text.splitlines()
    assert all(line.isprintable() for line in lines)
    assert "CERTIFIED" not in [line.strip() for line in lines]


@needs_torch
@pytest.mark.parametrize("name", TORCH)
def test_another_library_s_work_is_told(isolated, name):
    backend = isolated(f"partial:{name}")
    assert backend.perform(Request("relu", [-ONE], {})).arrays[0].tolist() == (0 * ONE).tolist()
    assert "torch" in backend.loaded()["modules"]


@needs_torch
@pytest.mark.parametrize("name", TORCH)
def test_another_library_can_be_forbidden(name):
    confinement = Confinement(forbidden=("torch",))
    (found,) = judged(f"partial:{name}", "relu", confinement=confinement).mismatches
    assert "torch is forbidden" in found.headline


@needs_torch
def test_another_process_is_told():
    text = judged(ANOTHER_PROCESS, "relu", examples=5).text()
    assert f"\n  it started processes ({Path(sys.executable).name})\n" in text


def test_no_variable_tells_of_the_suite(isolated, monkeypatch):
    for name in ("PYTEST_VERSION", "HYPOTHESIS_PROFILE", "GRADORACLE_SEED", "XDIST_WORKER"):
        monkeypatch.setenv(name, "1")
    reply = isolated("checker:sees_the_environment").perform(Request("relu", [ONE], {}))
    assert reply.arrays[0].tolist() == (0 * ONE).tolist()


@pytest.mark.parametrize("name", HOLD_UP)
def test_no_call_takes_longer_than_it_may(isolated, name):
    backend = isolated(f"checker:{name}", limits=Limits(call=1, first=10, start=20))
    assert backend.perform(db(ONE)).kind == "answer"
    with seconds(40):
        held_up = backend.perform(db(TWO))
        assert held_up.kind == "crashed"
        assert "within 1 s" in held_up.text or name != "drips"
        assert backend.perform(db(ONE)).kind == "answer"


def db(grad_output):
    return Request("conv2d_grad_bias", [grad_output], {})


@pytest.fixture
def isolated():
    made = []

    def make(name, **options):
        made.append(Isolated(f"tests.adversaries.{name}", FUNCTIONS, **options))
        return made[-1]

    yield make
    for one in made:
        if one._workers.guardian is not None:
            os.kill(one._workers.guardian.pid, signal.SIGCONT)
        one.close()


@contextmanager
def seconds(count):
    """Fail where something takes longer; a TimeoutError would be taken for one of the line's."""

    def fail(*_):
        pytest.fail(f"it takes longer than {count} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(count)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_what_is_done_where_several_processes_judge_is_told():
    """Each process has its own worker, and only the certificate hears of all."""
    name = "tests.adversaries.checker:sees_who_calls"
    order = ("certify", name, "--operators", "relu", "--profile", "quick", "--jobs", "2")
    ran = CliRunner().invoke(app, [*order, "--verbose"])
    assert "it looked at its callers" in ran.output
