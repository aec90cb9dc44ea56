"""Stored results with something changed end no command in a traceback: see `tests.fuzz`."""

import pytest

from tests.fuzz import READERS, fuzzed

pytestmark = pytest.mark.slow


def test_changed_inputs_end_with_a_documented_exit_code():
    *failures, (_, _, counts) = fuzzed(range(1000, 1240))
    assert not failures, "\n".join(f"{seed} {reader}: {said}" for seed, reader, said in failures)
    assert {reader for reader, _ in counts} == {*READERS}
    assert {code for reader, code in counts if reader == "verify"} >= {1, 2}
    assert {code for reader, code in counts if reader == "resume"} == {1, 2}
