"""Slow tests take turns where the whole folder is run, and nothing is lost over the turns."""

from collections import Counter
from types import SimpleNamespace

import pytest
import yaml

from tests import conftest

FILE = "tests/test_a.py::"


def item(name, *marks, fixtures=()):
    return SimpleNamespace(
        nodeid=FILE + name,
        fixturenames=fixtures,
        get_closest_marker=lambda mark: mark if mark in marks else None,
    )


CASES = [item(f"test_cases[{i}]", "slow") for i in range(20)]
ALONE = [item(f"test_number_{i}", "slow") for i in range(40)]
FAST = [item("test_fast"), item("test_fast_cases[1]", "xfail")]
PLANTED = [item(f"test_planted[{i}]", "slow", fixtures=("planted",)) for i in range(5)]
ITEMS = [*CASES, *ALONE, *FAST, *PLANTED]


def ran():
    return [conftest.in_turn(ITEMS, number) for number in range(conftest.TURNS)]


def test_each_slow_test_has_its_turn_once():
    counts = Counter(one.nodeid for run in ran() for one in run)
    assert {counts[one.nodeid] for one in (*CASES, *ALONE)} == {1}


def test_fast_tests_and_planted_faults_are_always_run():
    for run in ran():
        assert [one for one in run if one in FAST] == FAST
        assert [one for one in run if one in PLANTED] == PLANTED


def test_each_turn_has_a_part_of_every_function_with_cases():
    for run in ran():
        assert 1 <= len([one for one in run if one in CASES]) <= 2
        assert 1 <= len([one for one in run if one in ALONE]) <= 12


def config(*args, **given):
    given = {"keyword": "", "markexpr": "", "slow_tests": None} | given
    return SimpleNamespace(
        args=args or ("tests",),
        args_source=SimpleNamespace(name="ARGS" if args else "TESTPATHS"),
        option=SimpleNamespace(**given),
        getoption=lambda name: {"--slow-tests": given["slow_tests"]}[name],
    )


@pytest.mark.parametrize(
    ("asked", "which"),
    [
        (config(), "by-turns"),
        (config(str(conftest.HERE)), "by-turns"),
        (config(str(conftest.HERE / "test_scale.py")), "all"),
        (config(f"{conftest.HERE}/test_scale.py::test_a_part"), "all"),
        (config(keyword="relu"), "all"),
        (config(markexpr="slow"), "all"),
        (config(slow_tests="none"), "none"),
        (config(keyword="relu", slow_tests="by-turns"), "by-turns"),
    ],
)
def test_what_is_named_is_run_whole(asked, which):
    assert conftest.chosen(asked) == which


def test_turns_follow_the_commits(monkeypatch):
    monkeypatch.setattr(conftest.subprocess, "check_output", lambda *_, **__: b"1234\n")
    assert conftest.turn() == 2
    monkeypatch.undo()
    monkeypatch.setattr(conftest, "HERE", "/no/such/folder")
    assert conftest.turn() == 0


def test_ci_has_all_commits_to_count():
    text = (conftest.HERE.parent / ".github/workflows/ci.yml").read_text("utf-8")
    steps = yaml.safe_load(text)["jobs"]["check"]["steps"]
    (checkout,) = (one for one in steps if one.get("uses", "").startswith("actions/checkout"))
    assert checkout["with"]["fetch-depth"] == 0
