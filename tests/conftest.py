"""Which slow tests run, how many seeds planted faults are tried from, and fixtures."""

import os
import subprocess
import zlib
from collections import Counter
from pathlib import Path

import pytest

from gradoracle.conformance import DEVIATIONS, DOMAIN, OPERATORS_FROM, POLICIES
from gradoracle.conformance.backends.single_thread import one_thread
from gradoracle.conformance.operators import OPERATORS

SEEDS = (1, 2, 3, 4, 5)
TURNS = 16
ALL, BY_TURNS, NONE = "all", "by-turns", "none"
GIVEN = (DEVIATIONS, DOMAIN, OPERATORS_FROM, POLICIES)  # variables that commands set
HERE = Path(__file__).parent


def pytest_addoption(parser):
    parser.addoption(
        "--planted-seeds", type=int, default=1, choices=range(1, len(SEEDS) + 1), metavar="N",
        help="seeds that every planted fault is tried from, 1 (default) to 5",
    )  # fmt: skip
    parser.addoption(
        "--slow-tests", choices=(ALL, BY_TURNS, NONE), metavar="WHICH",
        help=f"which tests marked slow are run: all, none, or by-turns (a part of {TURNS}, another "
        "one at each commit, and test_planted's faults), which is the default of the whole folder",
    )  # fmt: skip


def turn():
    """Return which part's turn it is: the number of commits tells, in a clone with all of them."""
    git = ("git", "-C", HERE, "rev-list", "--count", "HEAD")
    try:
        return int(subprocess.check_output(git, stderr=subprocess.DEVNULL)) % TURNS
    except (OSError, subprocess.CalledProcessError):  # not a checkout
        return 0


def chosen(config):
    """Return which slow tests are run: all where files or tests are named, or -k or -m is."""
    if which := config.getoption("--slow-tests"):
        return which
    named = config.args_source.name == "ARGS" and [Path(arg).resolve() for arg in config.args]
    narrowed = config.option.keyword or config.option.markexpr
    return ALL if narrowed or (named and named != [HERE]) else BY_TURNS


def pytest_report_header(config):
    which, number = chosen(config), turn()
    if which == BY_TURNS:
        which = f"part {number + 1} of {TURNS}, and test_planted's faults (--slow-tests all: all)"
    return f"slow tests: {which}"


def in_turn(items, number):
    """Return the tests that run: slow ones of each function take turns, but for `planted` ones."""
    met = Counter()
    run = []
    for item in items:
        takes_turns = item.get_closest_marker("slow") and "planted" not in item.fixturenames
        function = item.nodeid.partition("[")[0]
        place = zlib.crc32(function.encode()) + met[function]
        met[function] += bool(takes_turns)
        if not takes_turns or place % TURNS == number:
            run.append(item)
    return run


def pytest_collection_modifyitems(config, items):
    which = chosen(config)
    if which == ALL:
        return
    fast = [item for item in items if not item.get_closest_marker("slow")]
    run = fast if which == NONE else in_turn(items, turn())
    kept = {*run}
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = run


@pytest.fixture(autouse=True)
def _as_before():
    """Forget the operators that a test has brought, and what a command line was given."""
    before = {name: os.environ.get(name) for name in GIVEN}
    brought = [*OPERATORS.brought]
    yield
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    if OPERATORS.own:
        OPERATORS._own.clear()
        OPERATORS.brought[:] = brought
        OPERATORS.version += 1


def pytest_generate_tests(metafunc):
    if "planted" not in metafunc.fixturenames:
        return
    from tests.planted import FAULTS, RANKED

    count = metafunc.config.getoption("--planted-seeds")
    cases = []
    for name in [*FAULTS, *RANKED]:
        first = zlib.crc32(name.encode())
        seeds = sorted(SEEDS[(first + i) % len(SEEDS)] for i in range(count))
        cases += [pytest.param((name, seed), id=f"{name}-{seed}") for seed in seeds]
    metafunc.parametrize("planted", cases)


@pytest.fixture
def torch():
    """PyTorch, held to one thread: more only wait for each other on what is this small."""
    module = pytest.importorskip("torch")
    with one_thread():
        yield module


@pytest.fixture
def verdicts_only(monkeypatch):
    """Let a check end with its first mismatch and write no report, which takes most of the time."""
    from tests.planted.killers import verdicts_only

    verdicts_only(monkeypatch.setattr)
