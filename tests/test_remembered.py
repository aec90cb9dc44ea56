"""Counterexamples are remembered: later runs try them first, and one that fails is a mismatch."""

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console
from typer.testing import CliRunner

from gradoracle.conformance.backends.errors import UsageError
from gradoracle.conformance.backends.registry import IN_PROCESS
from gradoracle.conformance.cli import app
from gradoracle.conformance.reports.certificate import Certificate
from gradoracle.conformance.runs import regressions
from gradoracle.conformance.runs.command import Order, certify, exit_code, order_of
from gradoracle.conformance.runs.regressions import Remembered, read, remember, write
from tests.relu_files import RARE, RIGHT, WRONG

pytestmark = pytest.mark.slow


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return a function that certifies a text, and what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(text, calls=(), seed=4, **more):
        (tmp_path / "k.py").write_text(text)
        order = Order(
            "./k.py", ["relu"], None, 10, seed, confinement=IN_PROCESS, keeps=False,
            remembered=calls, **more,
        )  # fmt: skip
        said = io.StringIO()
        return certify(order, Console(file=said, width=200)), said.getvalue()

    return run


def statuses(certificate):
    return {(o.formula, o.property_name): o.status for o in certificate.outcomes}


@pytest.fixture
def kept(run, tmp_path):
    """Return a file of what a wrong backend was remembered for, and the certificate."""
    found, _ = run(WRONG)
    file = tmp_path / "calls.json"
    assert remember(file, found) == len(found.mismatches) > 0
    return file, found


def test_a_call_is_kept_once(kept):
    file, found = kept
    before = file.read_text()
    assert remember(file, found) == 0
    assert file.read_text() == before
    calls = read(file)
    assert {one.check for one in calls} == {(o.formula, o.property_name) for o in found.mismatches}
    assert all(one.backend == "./k.py" for one in calls)


def test_a_call_that_no_draw_meets_fails_the_run(run, kept):
    calls = read(kept[0])
    missed, said = run(RARE)
    assert missed.passed, missed.verdict
    assert "remembered" not in said
    met, said = run(RARE, calls)
    assert said.startswith(f"{len(calls)} remembered call")
    assert "relu_grad matches_oracle still fails: relu_grad[0]: got" in said
    assert not met.passed
    assert exit_code([met]) == 1
    (found,) = [one for one in met.mismatches if one.property_name == "matches_oracle"]
    assert "minimal call" in found.text
    assert [o.remembered for o in met.outcomes if o.status == "mismatch"] == [True] * len(
        met.mismatches
    )
    again = Certificate.from_json(met.to_json())
    order = replace(order_of(again, 1), confinement=IN_PROCESS)
    assert statuses(certify(order, Console(file=io.StringIO()))) == statuses(met)


def test_a_call_that_holds_stays(run, kept):
    file, _ = kept
    calls = read(file)
    mended, said = run(RIGHT, calls)
    assert said.startswith(f"{len(calls)} remembered call")
    assert " tried: 0 still fail\n" in said
    assert mended.passed
    assert remember(file, mended) == 0
    assert read(file) == calls


def test_a_known_wrong_answer_is_told_once(run, kept):
    found, said = run(WRONG, read(kept[0]))
    assert "still fail" in said
    assert statuses(found) == statuses(kept[1])
    assert not any(o.remembered for o in found.outcomes)


def test_calls_of_others_are_not_tried(run, kept):
    calls = read(kept[0])
    others = [
        *(replace(one, backend="im2col") for one in calls),
        *(replace(one, formula="tanh_grad") for one in calls),
        *(replace(one, backend="\0") for one in calls),
    ]
    _, said = run(RIGHT, others)
    assert "remembered" not in said
    _, said = run(RIGHT, [replace(one, backend=f"{one.backend[2:]}") for one in calls])
    assert "remembered" in said  # k.py is ./k.py


def test_a_call_that_cannot_be_made_is_told_and_fails_nothing(run, kept):
    call = read(kept[0])[0]
    replay = {**call.mismatch["replay"], "operator": "no"}
    found, said = run(RIGHT, [replace(call, mismatch={**call.mismatch, "replay": replay})])
    assert "1 remembered call tried: 0 still fail\n" in said
    assert "the certificate has no such call: there is no operator 'no'" in said
    assert found.passed


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[", "no JSON"),
        ("[]", "must be an object"),
        ('{"format": "gradoracle regressions 1"}', "calls: is missing"),
        ('{"format": "gradoracle regressions 9", "calls": []}', "format"),
        (
            '{"format": "gradoracle regressions 1", "calls": [{"backend": "b"}]}',
            "calls[0].formula: is missing",
        ),
    ],
)
def test_another_file_says_what_is_wrong(tmp_path, text, said):
    file = tmp_path / "r.json"
    file.write_text(text)
    with pytest.raises(UsageError) as error:
        read(file)
    assert str(error.value).startswith(f"{file} has no remembered calls of this gradoracle: ")
    assert said in str(error.value)


def test_where_there_is_no_file_there_is_no_call(tmp_path):
    assert read(tmp_path / "none.json") == []
    with pytest.raises(UsageError, match="cannot be read"):
        read(tmp_path)


QUICK = ("--operators", "relu", "--profile", "quick", "--seed", "4", "--in-process")


def test_the_commands(run, tmp_path):
    def cli(*arguments):
        return CliRunner().invoke(app, [*arguments], env={"COLUMNS": "200"})

    (tmp_path / "k.py").write_text(WRONG)
    first = cli("certify", "./k.py", *QUICK, "--remember=mine.json")
    assert first.exit_code == 1, first.output
    assert "new call" in first.output
    assert not regressions.FILE.exists()
    (tmp_path / "mine.json").rename(tmp_path / regressions.FILE)
    (tmp_path / "k.py").write_text(RIGHT)
    later = cli("certify", "./k.py", *QUICK, "--remember")
    assert later.exit_code == 0, later.output
    assert "tried: 0 still fail" in later.output
    assert f"0 new calls remembered in {regressions.FILE}" in later.output
    listed = cli("remember").output.splitlines()
    assert listed[0].startswith("1. ./k.py: relu_grad ")
    assert cli("remember", "--forget", "9").exit_code == 2
    forgotten = cli("remember", "--forget", "1")
    assert forgotten.output.startswith("1. forgotten: ./k.py: relu_grad ")
    assert len(read(regressions.FILE)) == len(listed) - 1
    write(regressions.FILE, [])
    assert cli("remember").output == f"{regressions.FILE} has no calls\n"
    regressions.FILE.write_text("[")
    broken = cli("certify", "./k.py", *QUICK)
    assert (broken.exit_code, len(broken.stderr.splitlines())) == (2, 1)
    assert cli("remember").exit_code == 2
    assert cli("certify", "./k.py", *QUICK, "--remember=no/r.json").exit_code == 3


def test_the_file_is_plain_and_the_same_of_every_run(kept):
    file, found = kept
    told = json.loads(file.read_text())
    assert [*told] == ["format", "calls"]
    assert [*told["calls"][0]] == ["backend", "formula", "property_name", "mismatch"]
    assert Remembered(**told["calls"][0]) == regressions.found_in(found)[0]
