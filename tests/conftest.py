"""How many seeds planted faults are tried from, checks without reports, and PyTorch for tests."""

import zlib

import pytest

from gradoracle.conformance.backends.single_thread import one_thread

SEEDS = (1, 2, 3, 4, 5)


def pytest_addoption(parser):
    parser.addoption(
        "--planted-seeds", type=int, default=1, choices=range(1, len(SEEDS) + 1), metavar="N",
        help="seeds that every planted fault is tried from, 1 (default) to 5",
    )  # fmt: skip


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
