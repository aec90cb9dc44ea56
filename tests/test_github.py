"""What GitHub shows of a run: annotations at the functions' lines, and the summary of a job."""

import os
from dataclasses import replace
from functools import partial, wraps
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import pytest
import torch
import typer

import gradoracle
from gradoracle.conformance.backends.backend import FUNCTIONS
from gradoracle.conformance.backends.caller import Candidate
from gradoracle.conformance.backends.isolation import isolated
from gradoracle.conformance.cli.running import JOB_SUMMARY, finish
from gradoracle.conformance.reports import formats
from gradoracle.conformance.reports.summary import markdown
from gradoracle.conformance.runs.places import places
from gradoracle.implementations import im2col
from gradoracle.implementations.cuda_source.comments import read
from gradoracle.implementations.cuda_source.running import functions

HERE = Path(__file__).resolve()


def relu(z):
    return im2col.relu(z)


def relu_grad(grad_output, z):
    return im2col.relu_grad(grad_output, z + (z == 0))


def as_it_is(function):
    @wraps(function)
    def called(*given):
        return function(*given)

    return called


@as_it_is
def decorated(z):
    return relu(z)


class Kernels:
    def relu(self, z):
        return relu(z)

    def __call__(self, z):
        return relu(z)


class Clipped(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return z.clamp(min=0)

    @staticmethod
    def backward(ctx, grad_output):
        return grad_output * (ctx.saved_tensors[0] > 0)


def line_of(text):
    """Return the line of this file on which a text begins."""
    lines = HERE.read_text("utf-8").splitlines()
    return next(at for at, line in enumerate(lines, 1) if line.startswith(text))


def told(function):
    return Candidate(SimpleNamespace(relu=function), FUNCTIONS).description.places.get("relu")


@pytest.mark.parametrize(
    ("function", "begins"),
    [
        (relu, "def relu(z)"),
        (decorated, "@as_it_is"),
        (partial(relu), "def relu(z)"),
        (Kernels().relu, "    def relu(self"),
        (Kernels(), "    def __call__(self"),
        (gradoracle.adapt.torch(relu=Clipped.apply).relu, "    @staticmethod"),
        (gradoracle.adapt.numpy(relu=relu).relu, "def relu(z)"),
        (gradoracle.adapt.torch(relu=relu).relu_grad, "def relu(z)"),
    ],
)
def test_a_function_says_where_it_is_written(function, begins):
    assert told(function) == (str(HERE), line_of(begins))


@pytest.mark.parametrize("function", [abs, torch.relu, dict.get])
def test_a_builtin_is_written_nowhere(function):
    assert told(function) is None


def test_a_comment_is_the_place_of_a_kernel(tmp_path):
    plans, _ = read("\n\n// gradoracle: relu = f<<<1, 1>>>(z, y)\n", "k.cu")
    made = functions(plans, None, {}, tmp_path / "k.cu", on_host=True)
    assert told(made["relu"]) == (str(tmp_path / "k.cu"), 3)


@pytest.mark.parametrize("wrong", [3, ["a"], ["a", "b"], [1, 2], ["a", 0], ["a" * 5000, 1]])
def test_a_place_that_a_worker_makes_up_is_left_out(wrong):
    assert isolated._places({"relu": ["k.py", 3], "relu_grad": wrong}, FUNCTIONS) == {
        "relu": ("k.py", 3)
    }
    assert isolated._places(wrong, FUNCTIONS) == {}


def test_paths_are_relative_to_the_repository(tmp_path, monkeypatch):
    inner = tmp_path / "src"
    inner.mkdir()
    (inner / "k.py").write_text("")
    monkeypatch.chdir(inner)
    found = {"relu": (str(inner / "k.py"), 3), "relu_grad": (os.__file__, 1), "tanh": ("no.py", 1)}
    assert places(found) == {"relu": {"file": "k.py", "line": 3}}
    (tmp_path / ".git").mkdir()
    assert places(found) == {"relu": {"file": "src/k.py", "line": 3}}


@pytest.fixture(scope="module")
def wrong():
    backend = SimpleNamespace(relu=relu, relu_grad=relu_grad)
    return gradoracle.check(backend, operators=["relu", "linear"], examples=10, seed=1)


def test_annotations_stand_at_the_function_that_is_wrong(wrong):
    lines = [*formats.workflow_commands([wrong])]
    at = f"file=tests/test_github.py,line={line_of('def relu_grad')}"
    assert len(lines) == len(wrong.mismatches) >= 1
    assert all(
        line.startswith(f"::error {at},title=relu_grad of SimpleNamespace breaks") for line in lines
    )
    wrong_elsewhere = formats.place(wrong, "linear")
    assert wrong_elsewhere == {}


def test_a_file_with_a_comma_ends_no_property(wrong):
    line = formats._command("error", "a, b", "x\ny", {"file": "a,b:c.py", "line": 1})
    assert line == "::error file=a%2Cb%3Ac.py,line=1,title=a%2C b::x%0Ay"


def test_junit_has_only_what_the_backend_has(wrong):
    suite = ET.fromstring(formats.junit([wrong]))[0]  # noqa: S314 - our own
    assert {case.get("classname") for case in suite} == {"relu", "relu_grad"}
    assert int(suite.get("tests")) == len(suite)
    assert int(suite.get("skipped")) == len(suite.findall("testcase/skipped"))


def test_the_summary_has_the_verdict_the_table_and_the_call(wrong):
    page = markdown([wrong])
    (found, *_) = wrong.mismatches
    assert "**NOT CERTIFIED: " in page
    assert "\n| `relu` | " in page
    assert " | holds |\n" in page
    assert "| mismatch: `matches_oracle`" in page
    assert "linear" not in page
    head = f"### `relu_grad` breaks `{found.property_name}` (`tests/test_github.py:"
    assert head in page
    assert f"\n{found.headline}\n" in page
    assert "z = float32[" in page
    assert found.repro
    assert found.repro in page


def test_the_summary_has_the_profile_and_the_domain_of_a_wrong_backend(wrong):
    inside = {"relu": "dtype = float32 (3 of 41 usual layers)"}
    told = replace(wrong, examples=25, contract={**wrong.contract, "inside": inside})
    said = f"**{told.verdict} (quick), checked for relu: dtype = float32 (3 of 41 usual layers)**"
    assert said.replace("_", "\\_") in markdown([told])


def test_no_text_of_a_backend_is_markdown(wrong):
    (first, *rest) = wrong.outcomes
    forged = {"headline": "```\n# hi", "arguments": {"z": "````"}, "repro": "x"}
    first = type(first)(
        "b", "relu", "matches_oracle", status="mismatch", reason="```\n# hi", mismatch=forged
    )
    other = type(wrong)(**{**vars(wrong), "backend": "a`|b", "outcomes": [first, *rest]})
    page = markdown([other])
    assert "`````text\n```\n# hi\nz = ````\n`````" in page
    assert page.startswith("## `a'\\|b`\n")


def test_a_job_has_its_summary_and_others_have_none(wrong, tmp_path, monkeypatch, capsys):
    page = tmp_path / "page.md"
    page.write_text("before\n")
    monkeypatch.setenv(JOB_SUMMARY, str(page))
    for github in (True, False):
        with pytest.raises(typer.Exit) as end:
            finish([wrong], None, [], github=github)
        assert end.value.exit_code == 1
    assert page.read_text() == f"before\n{markdown([wrong])}"
    assert capsys.readouterr().out.count("::error") == len(wrong.mismatches)
    monkeypatch.setenv(JOB_SUMMARY, str(tmp_path))
    with pytest.raises(typer.Exit) as end:
        finish([wrong], None, [], github=True)
    assert end.value.exit_code == 3
    assert "cannot be written" in capsys.readouterr().err
