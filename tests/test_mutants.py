"""Small changes of im2col are made, checked and counted."""

import json
from pathlib import Path

import pytest

from tests.power import mutants
from tests.power.equivalent import EQUIVALENT
from tests.power.mutants import IM2COL, Mutant, judged, table

pytestmark = pytest.mark.slow

README = Path(mutants.__file__).with_name("README.md").read_text("utf-8")
DENSE = IM2COL / "dense.py"


RESULTS = json.loads(mutants.RESULTS.read_text("utf-8"))


def test_what_survives_is_explained():
    assert {*mutants.survivors(RESULTS)} <= {*EQUIVALENT}
    assert all(reason.strip() for reason in EQUIVALENT.values())


# Written for any number of axes since the last run of the mutants.
REWRITTEN = ("convolution.py", "correlation.py", "pooling.py", "transposed.py", "windows.py")


def test_what_is_explained_is_there_and_survives():
    alive = {*mutants.survivors(RESULTS)}
    for key in EQUIVALENT:
        where, _, change = key.partition(": ")
        file, function = where.split(" ")
        if file in REWRITTEN:
            assert f"`{file}`" in README
            continue
        code = (IM2COL / file).read_text("utf-8")
        if function:
            code = f"def {function}(" + code.partition(f"def {function}(")[2].partition("\n\n\n")[0]
        before = " ".join(change.partition(" -> ")[0].split())
        assert before.startswith("@") or before in " ".join(code.split()), key
        assert key in alive


def test_most_of_im2col_is_mutated_and_readme_says_what_came_of_it():
    assert {one["file"] for one in RESULTS["mutants"]} == {*mutants.CONCERNED}
    made, alive = len(RESULTS["mutants"]), len(mutants.survivors(RESULTS))
    assert alive < 0.1 * made
    unread = sum(
        one["why"].partition(":")[0].endswith("Error") for one in RESULTS["mutants"]
    )  # what conformance.check cannot import is no success of the suite
    killed = made - alive - unread
    assert f"Of {made:,} mutants {unread} cannot be imported, the suite kills {killed:,}" in README
    assert f"and {alive}\ncompute the same" in README


@pytest.fixture
def few(monkeypatch):
    """Check by one operator: the others of the file are as they were."""
    monkeypatch.setitem(mutants.CONCERNED, "dense.py", ["sgd_step"])


def changed(before, after):
    text = DENSE.read_text("utf-8")
    assert before in text
    return text.replace(before, after)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("text", "verdict", "words"),
    [
        (DENSE.read_text("utf-8") + "\n# the same\n", "survived", ""),
        (changed("(parameter - parameter", "(parameter + parameter"), "killed", "sgd_step"),
        ("import os\nos._exit(3)\n", "killed", "the process ended with 3"),
        ("nothing = 1 +\n", "killed", "SyntaxError"),
    ],
    ids=["the same", "a sign", "dies", "no Python"],
)
def test_a_mutant_is_judged_in_a_process_of_its_own(text, verdict, words):
    found, why = judged(Mutant("dense.py", 1, "", ""), text)
    assert (found, words in why) == (verdict, True), why


def test_a_mutant_that_hangs_is_killed(monkeypatch):
    monkeypatch.setattr(mutants, "LONGEST", 1.0)
    found, why = judged(Mutant("dense.py", 1, "", ""), "import time\ntime.sleep(60)\n")
    assert (found, why) == ("killed", "no verdict within 1 s")


def test_mutants_are_different_and_say_what_they_change():
    found = list(mutants.mutants(DENSE))
    texts = {text for _, text in found}
    assert len(texts) == len(found) >= 50
    assert DENSE.read_text("utf-8") not in texts
    for mutant, _ in found:
        assert mutant.file == "dense.py"
        assert mutant.before != mutant.after


def test_the_table_counts_what_is_explained_apart():
    results = {
        "mutants": [
            {"file": "dense.py", "line": 1, "before": "a", "after": "b", "verdict": "killed"},
            {"file": "dense.py", "line": 2, "before": "a", "after": "c", "verdict": "survived"},
        ]
    }
    lines = table(results).splitlines()
    assert lines[1].split() == ["dense.py", "2", "1", "0", "1"]
    assert lines[2] == "  dense.py : a -> c"


def test_the_command_judges_what_is_missing_and_goes_on(tmp_path, monkeypatch, capsys):
    only = list(mutants.mutants(DENSE))[:2]
    monkeypatch.setattr(mutants, "mutants", lambda file: only)
    monkeypatch.setattr(mutants, "judged", lambda mutant, text: ("killed", "so"))
    journal = tmp_path / "journal"
    monkeypatch.setattr("sys.argv", ["mutants", "--files", "dense.py", "--journal", str(journal)])
    monkeypatch.setattr(mutants.gradoracle, "check", lambda *a, **o: None)
    assert mutants.main() == 0
    monkeypatch.setattr(mutants, "judged", lambda mutant, text: 1 / 0)
    assert mutants.main() == 0  # nothing is checked again
    assert "dense.py               2       2" in capsys.readouterr().out
    assert len(Path(journal).read_text("utf-8").splitlines()) == 3
