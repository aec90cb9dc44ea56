"""`gradoracle certify` and what reads its certificates: exit codes, journals, replays."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner

import gradoracle
from gradoracle.conformance.backends.errors import UsageError
from gradoracle.conformance.cli import app
from gradoracle.conformance.cli.options import names_of
from gradoracle.conformance.reports.certificate import Certificate
from gradoracle.conformance.reports.certificate_json import digest
from gradoracle.conformance.runs.command import exit_code
from gradoracle.conformance.runs.journal import place, read
from tests.test_isolation import ours
from tests.torchless import without_torch

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
QUICK = ("--profile", "quick", "--operators", "relu,linear", "--seed", "4")
WRONG = """
from gradoracle.implementations.im2col import linear, linear_grad_input, relu, relu_grad
def linear_grad_weight(grad_output, x):
    return grad_output.T @ x * (1 + (len(x) == 3))
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "wrong.py").write_text(WRONG)
    (tmp_path / "dies.py").write_text("import os\nos.abort()\n")
    (tmp_path / "nothing.py").write_text("")
    return tmp_path


@pytest.fixture
def cli(folder):
    def start(*arguments, torch=False, **variables):
        environment = {
            k: v for k, v in os.environ.items() if k not in ("FORCE_COLOR", "NO_COLOR", "COLUMNS")
        }
        path = [str(ROOT)] if torch else [without_torch(folder), str(ROOT)]
        environment |= {"PYTHONPATH": os.pathsep.join(path), **variables}
        return subprocess.Popen(
            [sys.executable, "-m", "gradoracle", *map(str, arguments)],
            cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(*arguments, **variables):
        process = start(*arguments, **variables)
        process.out, process.err = process.communicate(timeout=200)
        assert "Traceback" not in process.err, process.err
        return process

    run.start = start
    return run


def content(file):
    """A certificate without what differs from run to run."""
    told = json.loads(file.read_text())
    for outcome in told["outcomes"]:
        del outcome["seconds"]
    del told["sha256"]
    return told


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (
            ("im2col", *QUICK),
            0,
            "CERTIFIED (quick: 25 geometries a check; 6 of 6 formulas, float16, bfloat16, float32 ",
        ),
        (("im2col", *QUICK, "--dtypes", "float32", "-j", "2"), 0, "6 of 6 formulas, float32)"),
        (("wrong", *QUICK), 1, "linear_grad_weight breaks"),
        (("wrong", *QUICK, "--fail-fast"), 1, "wrong  NOT CERTIFIED: 1 mismatch (quick: "),
        (("nothing", *QUICK), 3, "NOT CERTIFIED: the backend claims no function of the protocol"),
        (("dies",), 3, "backend 'dies' cannot be loaded: crashed: abort (SIGABRT)"),
        (("im2cool",), 2, "no backend 'im2cool' (did you mean 'im2col'?)"),
        (("im2col", "linear"), 2, "(it is a function of the protocol: --operators chooses some"),
        (("im2col", "--operators", "conv9d"), 2, "no operator 'conv9d' (did you mean 'conv"),
        (("im2col", "--dtypes", "int8"), 2, "does not claim dtype 'int8'; it claims float32"),
        (("im2col", "--profile", "hard"), 2, "no profile 'hard'; there are quick, certify, deep"),
        (("im2col", "--jobs", "0"), 2, "--jobs"),
        (("im2col", "--memory", "0"), 2, "must be above 0"),
        (("im2col", "--resume"), 2, "no journal can be read at"),
        (("im2col", *QUICK, "--in-process", "--forbid", "torch"), 2, "neither --forbid nor"),
        (("torch", "--forbid", "torch"), 3, "pip install 'gradoracle[torch]'"),
    ],
)
def test_exit_codes_and_what_is_said(cli, arguments, code, said):
    torch = arguments in (("im2col", *QUICK), ("torch", "--forbid", "torch"))
    run = cli("certify", *arguments, torch=torch, COLUMNS="200")
    assert run.returncode == code, (run.out, run.err)
    assert said in run.out + run.err
    assert "\x1b" not in run.out


def test_a_name_that_is_no_backends_is_told_before_the_first_is_checked(cli):
    run = cli("certify", "im2col", "im2cool", *QUICK)
    assert (run.returncode, run.out) == (2, "")
    assert "no backend 'im2cool'" in run.err


def test_a_mismatch_is_told_as_it_falls_and_then_in_full(cli):
    run = cli("certify", "wrong", *QUICK)
    first, verdict, rest = run.out.partition("\nwrong  NOT CERTIFIED: 1 mismatch (quick: ")
    assert "linear_grad_weight breaks matches_oracle: linear_grad_weight[" in first
    assert verdict
    assert "\n1  linear_grad_weight[" in rest
    assert "call        grad_output float32[3, 1] =" in rest
    assert len(rest.splitlines()) < 40
    assert max(map(len, rest.splitlines())) <= 80


FEW = ("--profile", "quick", "--operators", "linear", "--seed", "4", "--dtypes", "float32")


def test_the_first_mismatch_ends_a_run_that_is_to_fail_fast(cli, folder):
    run = cli("certify", "wrong", *FEW, "--fail-fast", "--certificate", "c.json")
    told = Certificate.from_json((folder / "c.json").read_text())
    assert (run.returncode, [o.status for o in told.outcomes].count("mismatch")) == (1, 1)
    assert 0 < len(told.outcomes) < len(told.expected)
    left = len(told.expected) - len(told.outcomes)
    possible = len(cli("certify", "wrong", *FEW, "--list").out.splitlines())
    assert 0 < left < possible < len(told.expected)
    assert f"  {left} of {possible} checks were not run\n" in run.out
    whole = cli("certify", "wrong", *FEW, "--resume", "--certificate", "c.json")
    assert "checks were not run" not in whole.out
    assert Certificate.from_json((folder / "c.json").read_text()).whole


def test_several_backends_have_their_own_certificates(cli, folder):
    run = cli("certify", "wrong", "im2col", *QUICK, "--certificate", "c.json",
                     "--junit", "j.xml", "--github")  # fmt: skip
    assert run.returncode == 1
    told = {name: Certificate.from_json((folder / f"c.{name}.json").read_text())
            for name in ("wrong", "im2col")}  # fmt: skip
    assert [told[name].passed for name in told] == [False, True]
    assert exit_code([told["im2col"]]) == 0
    assert told["wrong"].files.keys() == {"wrong.py"}
    assert all(name.startswith("implementations/im2col/") for name in told["im2col"].files)
    assert str(folder) not in (folder / "c.wrong.json").read_text()
    suites = ET.parse(folder / "j.xml").getroot()  # noqa: S314 - our own
    assert [s.get("name") for s in suites] == ["gradoracle.wrong", "gradoracle.im2col"]
    assert int(suites[0].get("failures")) == len(told["wrong"].mismatches) > 0
    assert int(suites[1].get("failures")) == 0
    lines = [
        line
        for line in run.out.splitlines()
        if line.startswith("::error file=wrong.py,line=3,title=") and " of wrong breaks" in line
    ]
    assert len(lines) == len(told["wrong"].mismatches)
    assert "%0A" in lines[0]


def test_certificates_are_verified(cli, folder):
    cli("certify", "wrong", *QUICK, "--certificate", "c.json")
    file = folder / "c.json"
    same = cli("verify", file, "-j", "2")
    assert (same.returncode, "the same verdicts as" in same.out) == (0, True), same.out + same.err
    told = json.loads(file.read_text())
    forged = {**told, "certified": True}
    file.write_text(json.dumps(forged))
    changed = cli("verify", file)
    assert (changed.returncode, "was changed after it was written" in changed.err) == (2, True)

    def sealed(**other):
        whole = {n: v for n, v in {**told, **other}.items() if n != "sha256"}
        file.write_text(json.dumps({**whole, "sha256": digest(whole)}))

    sealed(suite="0" * 64)
    assert "is of another suite" in cli("verify", file).err
    outcomes = [{**o, "status": "passed", "mismatch": None} for o in told["outcomes"]]
    sealed(outcomes=outcomes)
    lied = cli("verify", file)
    assert lied.returncode == 1
    assert "linear_grad_weight matches_oracle: passed" in lied.out
    sealed()
    (folder / "wrong.py").write_text(WRONG.replace(" * (1 + (len(x) == 3))", ""))
    other = cli("verify", file)
    assert (other.returncode, "another build: wrong.py differ" in other.err) == (3, True)
    file.write_text("[]")
    assert cli("verify", file).returncode == 2


def test_counterexamples_are_replayed_and_certificates_compared(cli, folder):
    cli("certify", "wrong", *QUICK, "--certificate", "old.json")
    there = cli("replay", "old.json", "1")
    assert (there.returncode, "STILL there" in there.out) == (1, True)
    assert cli("replay", "old.json", "99").returncode == 2
    (folder / "wrong.py").write_text(WRONG.replace(" * (1 + (len(x) == 3))", ""))
    mended = cli("replay", "old.json", "1")
    assert (mended.returncode, "not there any more" in mended.out) == (0, True), mended.out
    cli("certify", "wrong", *QUICK, "--certificate", "new.json")
    diff = cli("diff", "old.json", "new.json")
    assert diff.returncode == 1
    assert "file wrong.py: changed" in diff.out
    assert "linear_grad_weight matches_oracle: WRONG (linear_grad_weight[" in diff.out
    assert cli("diff", "new.json", "new.json").out == "no difference\n"
    assert cli("replay", "new.json", "2").returncode == 2


def test_nothing_judged_is_lost_when_the_run_is_killed(cli, folder, request):
    """Killed at random moments and resumed, a run ends with the certificate of one that was not."""
    whole = cli("certify", "wrong", *QUICK, "--certificate", "whole.json")
    assert whole.returncode == 1
    journal, before = folder / ".gradoracle" / "wrong.journal", ours()
    moments = random.Random(7)  # noqa: S311 - any moments
    count = 4 if request.config.getoption("--planted-seeds") < 5 else 50
    resume, held = (), []
    for kill in range(count):
        process = cli.start("certify", "wrong", *QUICK, "-j", str(1 + kill % 2), *resume)
        time.sleep(moments.uniform(0.6, 2.2))
        family = ours() - before
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if journal.exists() and journal.read_bytes().count(b"\n"):
            judged = read(journal)[1]
            assert judged[: len(held)] == held
            held, resume = judged, ("--resume",)
            if len(held) == len(json.loads((folder / "whole.json").read_text())["expected"]):
                held, resume = [], ()  # it was done: from the start
        deadline = time.monotonic() + 8
        while ours() & family and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not ours() & family
    cli("certify", "wrong", *QUICK, *resume, "--certificate", "resumed.json")
    assert content(folder / "resumed.json") == content(folder / "whole.json")


def test_a_journal_of_another_run_is_not_resumed(cli, folder):
    cli("certify", "wrong", *QUICK)
    (folder / "wrong.py").write_text(WRONG + "\n")
    other = cli("certify", "wrong", *QUICK, "--resume")
    assert other.returncode == 2
    assert "cannot be resumed: its files was wrong.py" in other.err
    less = cli("certify", "wrong", "--profile", "deep", "--resume")
    assert "its examples was 25" in less.err or "its files was" in less.err
    (folder / ".gradoracle" / "wrong.journal").write_text("nonsense\n")
    assert "is no journal" in cli("certify", "wrong", "--resume").err


def test_every_verdict_survives_a_torn_line(cli, folder):
    cli("certify", "wrong", *QUICK, "--certificate", "whole.json")
    journal = folder / ".gradoracle" / "wrong.journal"
    text = journal.read_bytes()
    for cut in (len(text) - 40, len(text) // 2):
        journal.write_bytes(text[:cut])
        resumed = cli("certify", "wrong", *QUICK, "--resume", "--certificate", "again.json")
        assert "going on after" in resumed.out
        assert content(folder / "again.json") == content(folder / "whole.json")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("im2col", "im2col.journal"), ("./mine.py:backend", "mine.py.backend.journal"),
        ("/elsewhere/mine.py", "elsewhere.mine.py.journal"), ("../a/k.c", "up.a.k.c.journal"),
        ("torch!conv2d=./ops.py:mine", "torch!conv2d=..ops.py.mine.journal"),
    ],
)  # fmt: skip
def test_a_journal_is_in_its_folder_wherever_the_backend_is(name, file):
    assert place(name) == Path(".gradoracle", file)


def test_a_long_name_has_a_journal_of_its_own():
    names = [f"torch!{'conv2d=mypkg.ops:f,' * 20}{end}" for end in "ab"]
    assert len({place(name) for name in names}) == 2
    assert all(len(place(name).name) < 200 for name in names)


def test_names_are_given_at_once_or_one_by_one():
    assert names_of(["relu, linear", "conv2d", "relu"]) == ("relu", "linear", "conv2d")
    assert names_of([]) == names_of([" ,"]) == ()


@pytest.mark.parametrize("isolates", [True, False])
def test_a_fault_of_the_suite_keeps_its_traceback_and_is_said_to_be_ours(
    monkeypatch, tmp_path, isolates
):
    def broken(*_, **__):
        raise ValueError("operands could not be broadcast together")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gradoracle.conformance.properties.comparison.truth", broken)
    arguments = ["certify", "oracle", "--operators", "relu", "--profile", "quick"]
    done = CliRunner().invoke(app, arguments + ["--in-process"] * (not isolates))
    assert done.exit_code == 3
    assert "Traceback" in done.stderr
    last = done.stderr.rstrip().splitlines()[-2:]
    assert last[0] == "ValueError: operands could not be broadcast together"
    assert last[1].startswith("while it checked relu matches_oracle: this is a fault of gradoracle")


@pytest.mark.parametrize("option", [("--operators", "gelo"), ("--dtypes", "int8")])
def test_wrong_usage_is_one_line(monkeypatch, tmp_path, option):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["certify", "oracle", *option])
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) == 1


def test_what_is_wrong_usage_has_a_type_of_its_own():
    for wrong in ({"operators": ["gelo"]}, {"operators": []}, {"examples": 0}):
        with pytest.raises(UsageError):
            gradoracle.check("oracle", **wrong)
    assert issubclass(UsageError, ValueError)
