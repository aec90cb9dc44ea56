"""Right backends are checked again and again, and what is flagged is kept."""

import json
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import pytest

from gradoracle.conformance.backends.registry import wrap
from gradoracle.implementations import im2col
from gradoracle.oracle.float_formats import FORMATS
from tests.power import soundness
from tests.power.soundness import (
    Shard,
    calls_of,
    content,
    journal,
    judged,
    shards,
    summary,
    table,
)  # fmt: skip

pytestmark = pytest.mark.slow


@pytest.fixture
def narrow(monkeypatch):
    """Let the backend have one function only, and a wrong one if it is named so."""

    def load(name, confinement):
        relu = im2col.relu if name == "right" else im2col.tanh
        return wrap(SimpleNamespace(relu=relu, contract={"dtypes": ["float32", "float16"]}))

    monkeypatch.setattr(soundness, "load", load)


@pytest.mark.usefixtures("narrow")
def test_a_shard_is_a_certification_in_one_dtype():
    found = judged(Shard("right", "float16", 1), examples=20)
    assert found["flagged"] == []
    assert set(found["calls"]) >= {"relu"}
    assert found["calls"]["relu"] > 20
    wrong = judged(Shard("wrong", "float32", 1), examples=20)
    assert any("relu matches_oracle: relu[" in one for one in wrong["flagged"])


@pytest.mark.usefixtures("narrow")
def test_of_even_seeds_every_check_is_given_as_many(monkeypatch):
    asked = []

    def run_check(*case, examples, seed, right=soundness.run_check):
        asked.append((case[1].share, case[3].share, examples))
        return right(*case, examples=examples, seed=seed)

    monkeypatch.setattr(soundness, "run_check", run_check)
    found = judged(Shard("right", "float32", 2), examples=20)
    assert found["flagged"] == []
    assert {(share, count) for _, share, count in asked} == {(1.0, 20)}
    wrong = judged(Shard("wrong", "float32", 2), examples=20)
    assert any("relu matches_oracle: relu[" in one for one in wrong["flagged"])


@pytest.mark.usefixtures("narrow")
def test_shards_never_repeat():
    assert [*islice(shards(["right", "other"]), 5)] == [
        ("right", "float32", 1), ("right", "float16", 1), ("other", "float32", 1),
        ("other", "float16", 1), ("right", "float32", 2),
    ]  # fmt: skip


def test_the_results_are_of_a_million_calls_and_in_the_readme():
    results = json.loads(soundness.RESULTS.read_text("utf-8"))
    assert results["flagged"] == []
    assert results["calls"] >= soundness.MILLION
    assert results["calls"] == sum(results["by backend"].values())
    assert {*results["by backend"]} >= {*soundness.BACKENDS}
    assert {*results["worst"]} == {*FORMATS}
    assert results["seeds"] >= 2, "of every second seed the seldom checks are checked as often"
    for dtype, worst in results["worst"].items():
        assert {*worst} == {*results["calls of"][dtype]}
        assert 0.5 < max(worst.values()) <= 1
    readme = Path(soundness.__file__).with_name("README.md").read_text("utf-8")
    shown = readme.split("<!-- soundness -->\n")[1].split("<!-- /soundness -->\n")[0]
    assert shown == f"{summary(results)}.\n\n{table(results)}\n"
    assert f"{results['calls']:,} calls checked, 0 false alarms" in readme


def entry(calls, worst, *flagged):
    return {"calls": {"relu": calls}, "worst": {"relu": worst}, "flagged": [*flagged], "seconds": 1}


def test_a_journal_goes_on_and_results_keep_the_worst(tmp_path):
    path = tmp_path / "folder" / "journal"
    begun = journal(path)
    begun.add(Shard("im2col", "float32", 1), entry(10, 0.5))
    begun.add(Shard("torch", "float32", 1), entry(30, 0.25, "relu linear: x"))
    path.write_text(path.read_text("utf-8") + '[["im2col", "floa', "utf-8")
    again = journal(path)
    assert again.known == begun.known
    assert calls_of(again.known) == 40
    results = content(again.known)
    assert results["worst"] == {"float32": {"relu": 0.5}}
    assert results["flagged"] == [["torch", "float32", 1, "relu linear: x"]]
    assert (
        summary(results) == "40 calls checked (10 of im2col, 30 of torch), 1 certifications flagged"
    )
    assert table(results).splitlines()[2] == "| `relu` | 0.500 |"


def test_what_another_suite_judged_is_refused_and_kept(tmp_path, monkeypatch, capsys):
    path = tmp_path / "j"
    journal(path).add(Shard("im2col", "float32", 1), entry(10, 0.5))
    before = path.read_text("utf-8")
    monkeypatch.setattr(soundness, "suite", lambda: "another")
    monkeypatch.setattr("sys.argv", ["soundness", "--journal", str(path)])
    assert soundness.main() == 2
    assert "another --journal, or remove it" in capsys.readouterr().err
    assert path.read_text("utf-8") == before


@pytest.mark.usefixtures("narrow")
def test_the_command_stops_at_enough_calls(tmp_path, monkeypatch, capsys):
    class Here:
        def __init__(self, *arguments):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *error):
            return None

        def submit(self, function, shard):
            from concurrent.futures import Future

            done = Future()
            done.set_result(entry(10, 0.5, *(["bad"] if shard.seed == 2 else [])))
            return done

    monkeypatch.setattr(soundness, "ProcessPoolExecutor", Here)
    command = ["soundness", "--backends", "right", "--journal", str(tmp_path / "j"), "--calls"]
    monkeypatch.setattr("sys.argv", [*command, "15"])
    assert soundness.main() == 0
    assert "20 calls checked" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", [*command, "30"])
    assert soundness.main() == 1
    assert "30 calls checked (30 of right), 1 certifications flagged" in capsys.readouterr().out
