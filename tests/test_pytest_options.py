"""Options that pytest shares with `gradoracle certify`, and what a verdict says to do next."""

import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer

from gradoracle.conformance.cli import app
from gradoracle.conformance.cli.repeated import repeated
from gradoracle.conformance.pytest_plugin import entry, hooks
from gradoracle.conformance.reports import screen
from gradoracle.conformance.reports.certificate import Certificate
from gradoracle.conformance.runs.parts import merged
from tests.paged import certificate

ROOT = Path(__file__).parent.parent
CERTIFY = typer.main.get_command(app).commands["certify"]
FEW = """
from gradoracle.implementations.im2col import relu, softmax
def relu_grad(grad_output, z):
    return grad_output * (z >= 0)
contract = {"dtypes": ["float32"]}
"""


def config(**given):
    """What pytest knows of its options, of which these are given."""
    known = {"gradoracle_seed": None, "--hypothesis-seed": None, "gradoracle_shard": ""}
    given = {f"gradoracle_{name}": value for name, value in given.items()}
    return SimpleNamespace(getoption=lambda name, _=None: {**known, **given}.get(name))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"remember": ""}, "pytest has no --remember: `gradoracle certify NAME --remember`"),
        ({"regressions": "f.json"}, "`gradoracle certify NAME --regressions`"),
        ({"shard": "1/2"}, "--shard 1/2 needs --seed N, the same for all shards"),
        ({"shard": "3/2", "seed": 1}, "a shard is like 2/4, the second of four, got '3/2'"),
    ],
)
def test_what_pytest_cannot_do_is_said(given, said):
    with pytest.raises(pytest.UsageError, match=".") as error:
        hooks._require_known(config(**given))
    assert said in str(error.value)


def test_what_pytest_can_do_is_accepted():
    hooks._require_known(config())
    hooks._require_known(config(shard="2/2", seed=0))


def test_deviations_are_of_one_backend():
    file = config(deviations="d.json")
    hooks._require_one_backend(file, ["one"])
    with pytest.raises(pytest.UsageError, match=r"d\.json is of one backend: name one"):
        hooks._require_one_backend(file, ["one", "other"])


def test_every_process_reads_the_file_of_deviations(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRADORACLE_DEVIATIONS", "")
    entry._bring(["conformance", "--deviations", "d.json"])
    assert os.environ["GRADORACLE_DEVIATIONS"] == str(tmp_path / "d.json")


@pytest.mark.slow
def test_shards_of_pytest_are_merged(tmp_path):
    (tmp_path / "few.py").write_text(FEW)
    parts = {}
    for shard in ("1/2", "2/2"):
        file = tmp_path / f"{shard[0]}.json"
        ran = subprocess.run(
            [sys.executable, "-m", "pytest", ROOT / "conformance", "-p", "no:cacheprovider", "-q",
             "--backend", "few", "--hypothesis-profile", "quick", "--seed", "3", "--shard", shard,
             "--certificate", file],
            cwd=tmp_path, env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        parts[shard] = Certificate.from_json(file.read_text())
        assert ran.returncode == bool(parts[shard].mismatches), ran.stdout
        assert not list(tmp_path.glob(".gradoracle/*.journal"))
    assert sum(bool(part.mismatches) for part in parts.values()) == 1
    whole = merged(parts)
    assert {one.formula for one in whole.mismatches} == {"relu_grad"}
    assert len(whole.outcomes) == len(whole.expected)


# What a verdict says to do next.


def context(*words):
    """What Typer makes of a command line."""
    return CERTIFY.make_context("certify", [*words])


def test_the_options_of_a_command_line_are_repeated(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    words = [
        "./my kernels.py", "--seed", "7", "--dtypes", "float32,float64", "--jobs", "2", "-x",
        "--certificate", "c d.json", "--call-timeout", "2.5", "--forbid", "torch", "--resume",
        "--operators", "relu", "--github",
    ]  # fmt: skip
    found, table = repeated(context(*words))
    assert table == {}
    assert " ".join(found) == (
        "--dtypes float32,float64 --jobs 2 --certificate c d.json --github --forbid torch "
        "--call-timeout 2.5 --fail-fast"
    )
    again = context("./my kernels.py", *found)
    for name in ("dtypes", "jobs", "file", "call_timeout", "forbid", "fail_fast", "github"):
        assert again.get_parameter_source(name).name == "COMMANDLINE"


def test_the_next_command_can_be_pasted(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRADORACLE_DEVIATIONS", str(tmp_path / "known ones.json"))
    monkeypatch.setenv("GRADORACLE_DOMAIN", "relu: dtype = float32")
    monkeypatch.setenv("GRADORACLE_OPERATORS_FROM", "")
    (tmp_path / "known ones.json").write_text("[]")
    told = replace(certificate(), files={"mine.py": "0" * 64})
    words = ["--dtypes", "float32", "--certificate", "c d.json"]
    text = "\n".join(screen.lines(told, repeated=screen.Repeated(words))).partition("\nnext: ")[2]
    command = text.partition("gradoracle certify ")[2].partition("\nmore: ")[0]
    again = shlex.split(command.replace("\\\n", ""))
    given = context(*again)
    assert given.params["backend"] == [told.backend]
    assert given.params["seed"] == told.seed
    assert given.params["dtypes"] == ["float32"]
    assert given.params["file"] == Path("c d.json")
    assert "known ones.json" in again
    assert "relu: dtype = float32" in again


def test_after_a_shard_come_the_others(monkeypatch):
    monkeypatch.setattr(Certificate, "mismatches", [])
    told = certificate()
    told.shard = "1/3"
    text = " ".join("\n".join(screen.lines(told)).split())
    assert "next: the other shards of 3, then gradoracle merge SHARD.json" in text
    told.shard = "1/1"
    text = " ".join("\n".join(screen.lines(told)).split())
    assert "next: the certificate of the whole run, gradoracle merge SHARD.json" in text
    assert "the other shards" not in text
