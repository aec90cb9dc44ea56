"""`gradoracle deviate`: mismatches as known deviations; only its own call makes one stale."""

import io
import json
import os

import pytest
from rich.console import Console
from typer.testing import CliRunner

from gradoracle.conformance import DEVIATIONS
from gradoracle.conformance.backends.backend import FUNCTIONS
from gradoracle.conformance.backends.contract import read_contract
from gradoracle.conformance.cli import app
from gradoracle.conformance.reports.certificate import Certificate, Outcome
from gradoracle.conformance.runs.command import Order, certify, exit_code
from gradoracle.conformance.runs.deviations import entries_of, joined
from tests.relu_files import RARE, RIGHT, WRONG

pytestmark = pytest.mark.slow

QUICK = ("--operators", "relu", "--profile", "quick", "--seed", "4")


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(DEVIATIONS, "")

    def run(text, entries=None):
        (tmp_path / "k.py").write_text(text)
        (tmp_path / "d.json").write_text(json.dumps(entries))
        monkeypatch.setenv(DEVIATIONS, "" if entries is None else str(tmp_path / "d.json"))
        # Only a process of its own tells whether a call fails every time.
        order = Order("./k.py", ["relu"], None, 10, 4, keeps=False)
        return certify(order, Console(file=io.StringIO()))

    return run


@pytest.fixture
def entries(run):
    return entries_of(run(WRONG), "bug 12")


def test_every_mismatch_is_listed_with_its_smallest_call(run, entries):
    (entry,) = entries
    assert (entry["formula"], entry["reason"]) == ("relu_grad", "bug 12")
    assert "property" not in entry  # several of its properties fail
    assert entry["call"]["z"] == {"dtype": "float32", "shape": [1], "data": [0.0]}
    told = run(WRONG, entries)
    assert told.verdict.startswith("CERTIFIED BUT FOR ")
    assert exit_code([told]) == 0
    assert told.environment["deviations from"] == "--deviations"


def test_an_entry_is_stale_only_when_its_own_call_holds(run, entries):
    met = run(RARE, entries)  # no check meets it, and its call fails
    assert met.passed
    assert met.stale == []
    assert "its recorded call still fails" in met.unmet[0]
    mended = run(RIGHT, entries)
    assert mended.verdict == "NOT CERTIFIED: 1 listed deviation that holds"
    without = [{n: v for n, v in one.items() if n != "call"} for one in entries]
    assert run(RIGHT, without).passed  # nothing is known of it
    elsewhere = {**entries[0], "call": {**entries[0]["call"]}}
    elsewhere["call"]["z"] = {"dtype": "float32", "shape": [1], "data": [3.0]}
    hidden = run(WRONG, [elsewhere])
    assert hidden.stale == []  # other calls fail still
    assert "its recorded call is right now, and other calls fail (" in hidden.unmet[0]


def test_one_failing_check_is_listed_by_its_property():
    one = Outcome("b", "relu", "is_stateless", status="mismatch", reason="x " * 200)
    told = Certificate("b", "", {"accumulators": {}}, 1, 10, {}, [one], [])
    (entry,) = entries_of(told)
    assert (entry["property"], len(entry["reason"])) == ("is_stateless", 200)
    assert "call" not in entry
    assert entries_of(Certificate("b", "", {}, 1, 10, {}, [], [])) == []


def test_new_entries_replace_those_on_the_same_checks():
    def entry(formula, *property_, reason="old"):
        found = {"formula": formula, "reason": reason}
        return {**found, "property": property_[0]} if property_ else found

    old = [entry("relu", "linear"), entry("relu", "is_stateless"), entry("tanh"), entry("linear")]
    assert joined(old, [entry("relu", reason="new")]) == [
        entry("tanh"), entry("linear"), entry("relu", reason="new")
    ]  # fmt: skip
    one = entry("relu", "is_stateless", reason="new")
    assert joined(old, [one]) == [old[0], *old[2:], one]
    assert joined(old, [entry("tanh", "linear")]) == old  # which has all of tanh


def test_a_file_adds_to_the_contract_and_repeats_nothing(tmp_path, monkeypatch):
    one = {"formula": "relu", "reason": "why"}
    other = {"formula": "relu_grad", "reason": "why", "property": "is_stateless"}
    file = tmp_path / "d.json"
    monkeypatch.setenv(DEVIATIONS, str(file))
    file.write_text(json.dumps([one, other]))
    listed = read_contract({"deviations": [one]}, FUNCTIONS).deviations
    assert [entry.formula for entry in listed] == ["relu", "relu_grad"]
    assert len(read_contract(None, FUNCTIONS).deviations) == 2
    file.write_text(json.dumps([{**one, "reason": "another"}]))
    with pytest.raises(ValueError, match="deviations list relu twice"):
        read_contract({"deviations": [one]}, FUNCTIONS)
    for text, said in (("{}", "must be a list of entries"), ("[", "Expecting"), ("[3]", "a list")):
        file.write_text(text)
        with pytest.raises(ValueError, match=said) as error:
            read_contract(None, FUNCTIONS)
        assert str(file) in str(error.value)


def test_the_commands(run, tmp_path):
    def cli(*arguments):
        return CliRunner().invoke(app, [*arguments], env={"COLUMNS": "300"})

    (tmp_path / "k.py").write_text(WRONG)
    (tmp_path / "c.json").write_text(run(WRONG).to_json())
    printed = json.loads(cli("deviate", "c.json").output)
    assert printed[0]["reason"].startswith("relu_grad: the values are right under the policy")
    done = cli("deviate", "c.json", "--to", "new.json", "--reason", "bug 12")
    assert done.exit_code == 0, done.output
    assert done.output == (
        "relu_grad, all properties: listed with its smallest call\n"
        "Now: gradoracle certify NAME --deviations new.json\n"
    )
    told = cli("certify", "./k.py", *QUICK, "--deviations", "new.json", "--certificate", "d.json")
    assert told.exit_code == 0, told.output
    outcomes = json.loads((tmp_path / "d.json").read_text())["outcomes"]
    met = sum(one["status"] == "deviation" for one in outcomes)
    assert met > 1
    assert f"CERTIFIED BUT FOR {met} KNOWN DEVIATIONS" in told.output
    assert "bug 12" in told.output
    os.environ[DEVIATIONS] = ""
    same = cli("verify", "d.json")
    assert same.exit_code == 0, same.output
    none = cli("deviate", "d.json")
    assert (none.exit_code, none.stderr) == (2, "d.json has no mismatches\n")
    for arguments, said in (
        (("./k.py", "--deviations", "no.json"), "deviations no.json: No such file or directory"),
        (("./k.py", "im2col", "--deviations", "new.json"), "is of one backend: name one"),
    ):
        wrong = cli("certify", *arguments)
        assert wrong.exit_code == 2
        assert said in " ".join(wrong.stderr.replace("│", " ").split())
