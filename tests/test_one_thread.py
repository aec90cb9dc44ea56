"""Libraries are held to one thread, and looked for again once another one is loaded."""

import _ctypes
import ctypes
import sys
from pathlib import Path

import pytest
import threadpoolctl

from gradoracle.conformance.backends import single_thread
from gradoracle.conformance.backends.single_thread import one_thread


@pytest.fixture
def made(monkeypatch):
    """Return the controllers that are made from now on."""
    found = []

    class Counted(threadpoolctl.ThreadpoolController):
        def __init__(self):
            super().__init__()
            found.append(self)

    monkeypatch.setattr(threadpoolctl, "ThreadpoolController", Counted)
    monkeypatch.setattr(single_thread, "_last", [])
    return found


def test_libraries_have_one_thread_within_and_as_many_as_before_after(made):
    del made
    before = [one["num_threads"] for one in threadpoolctl.threadpool_info()]
    with one_thread():
        assert {one["num_threads"] for one in threadpoolctl.threadpool_info()} <= {1}
    assert [one["num_threads"] for one in threadpoolctl.threadpool_info()] == before


def test_where_loads_are_not_known_libraries_are_looked_for_each_time(made, monkeypatch):
    monkeypatch.setattr(single_thread, "_loads", object)
    for _ in range(2):
        with one_thread():
            pass
    assert len(made) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="dl_iterate_phdr is of the ELF loaders")
def test_libraries_are_looked_for_once_and_again_after_another_is_loaded(made, tmp_path):
    for _ in range(3):
        with one_thread():
            pass
    assert len(made) == 1
    copy = tmp_path / "another.so"  # under another name it is another library
    copy.write_bytes(Path(_ctypes.__file__).read_bytes())
    ctypes.CDLL(str(copy))
    with one_thread():
        pass
    assert len(made) == 2
