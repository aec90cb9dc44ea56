"""Known deviations: printed with their reasons, never a plain pass, and never longer than true."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from typer.testing import CliRunner

import gradoracle
from gradoracle.conformance.backends.registry import UnusableBackend
from gradoracle.conformance.cli import app
from gradoracle.conformance.reports.certificate import Certificate
from gradoracle.conformance.runs.command import exit_code
from gradoracle.conformance.runs.loading import wrap
from gradoracle.implementations import im2col
from tests.torchless import without_torch

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
REASON = "relu'(0) is 1"
EVERY = {"formula": "relu_grad", "reason": REASON}
ONE = {**EVERY, "property": "matches_oracle"}
CALL = {
    "grad_output": {"dtype": "float32", "shape": [1], "data": [1.0]},
    "z": {"dtype": "float32", "shape": [1], "data": [0.0]},
}


def one_at_zero(grad_output, z):
    return im2col.relu_grad(grad_output, z + (z == 0))


def backend(*deviations, relu_grad=one_at_zero, **more):
    return SimpleNamespace(
        relu=im2col.relu, relu_grad=relu_grad, contract={"deviations": [*deviations], **more}
    )


def certified(*deviations, **more):
    return gradoracle.check(backend(*deviations, **more), operators=["relu"], examples=25, seed=42)


@pytest.mark.parametrize(
    ("deviations", "said"),
    [
        (3, "contract's deviations must be a list of dicts such as"),
        (["relu"], "contract's deviations must be a list of dicts such as"),
        ([{"reason": "why"}], "a deviation must be like"),
        ([{"formula": "relu"}], "the deviation of relu needs a reason of 1 to 200 characters"),
        ([{"formula": "relu", "reason": " \n"}], "needs a reason of 1 to 200 characters"),
        ([{"formula": "relu", "reason": "x" * 201}], "needs a reason of 1 to 200 characters"),
        ([{**EVERY, "name": "x"}], "key of a deviation 'name' is unknown; pick from ['formula'"),
        ([{**EVERY, "formula": "conv4d"}], "formula 'conv4d' of a deviation is unknown; pick from"),
        (
            [{**EVERY, "property": "is_adjoint"}],
            "property 'is_adjoint' is not checked of relu_grad, whose deviation it is "
            "to be; pick from ['*', 'matches_oracle'",
        ),
        ([{**ONE, "call": 3}], "the call of the deviation of relu_grad must be a dict of its"),
        (
            [{**ONE, "call": {}}],
            "the deviation of relu_grad: the call lacks 'grad_output'; it needs",
        ),
        ([{**ONE, "call": {**CALL, "x": 1}}], "the call has 'x'; it needs grad_output, z"),
        ([{**ONE, "call": {**CALL, "z": {}}}], "z must have dtype (float16, bfloat16, "),
        (
            [{**ONE, "call": {**CALL, "z": {**CALL["z"], "data": ["1"]}}}],
            "the data of z must be numbers, 'nan', 'inf' or '-inf'",
        ),
        (
            [{**ONE, "call": {**CALL, "z": {**CALL["z"], "shape": [2]}}}],
            "the data of z must be a list of 2 numbers",
        ),
        (
            [{**ONE, "call": {**CALL, "z": {**CALL["z"], "shape": [1, 1]}}}],
            "the call is no legal one of relu: ",
        ),
        ([EVERY, ONE], "deviations list relu_grad twice, for * and matches_oracle"),
        ([ONE, ONE], "deviations list relu_grad twice, for matches_oracle and matches_oracle"),
    ],
)
def test_a_wrong_list_says_what_it_may_hold(deviations, said):
    with pytest.raises(UnusableBackend) as error:
        wrap(SimpleNamespace(relu=im2col.relu, contract={"deviations": deviations}))
    assert said in str(error.value)


def test_a_reason_cannot_paint_a_screen():
    (entry,) = wrap(backend({**EVERY, "reason": "a\x1b[2J\n b"})).contract.deviations
    assert entry.reason == "a?[2J b"


def test_a_known_deviation_is_no_mismatch_and_no_pass():
    certificate = certified(EVERY)
    met = {(o.formula, o.property_name) for o in certificate.deviations}
    assert ("relu_grad", "matches_oracle") in met
    count = len(met)
    assert certificate.mismatches == certificate.stale == []
    assert not certificate.passed
    assert certificate.as_claimed
    assert exit_code([certificate]) == 0
    assert certificate.why_not == f"{count} known deviations"
    text = certificate.text()
    verdict = f"CERTIFIED BUT FOR {count} KNOWN DEVIATIONS"
    assert f"  {verdict} (quick: 25 geometries a check; 2 of 2 formulas" in text
    assert (
        f"  KNOWN DEVIATION of relu_grad: {REASON}\n    breaks matches_oracle: relu_grad[" in text
    )
    assert "      on grad_output float32[" in text
    assert "DEVIATES" in text
    told = json.loads(certificate.to_json())
    assert (told["certified"], told["verdict"]) == (False, verdict)
    assert {o["deviation"] for o in told["outcomes"]} == {"", REASON}
    assert Certificate.from_json(certificate.to_json()).text() == text


def test_what_is_not_listed_stays_a_mismatch():
    certificate = certified(ONE)
    found = certificate.mismatches
    assert "matches_torch" in {one.property_name for one in found}
    assert "matches_oracle" not in {one.property_name for one in found}
    assert [one.property_name for one in certificate.deviations] == ["matches_oracle"]
    assert certificate.verdict.startswith(f"NOT CERTIFIED: {len(found)} mismatch")
    assert exit_code([certificate]) == 1


def test_a_known_deviation_is_told_as_drawn(monkeypatch):
    for name in ("minimising.Minimiser.minimise", "finding.finding"):
        monkeypatch.setattr(
            f"gradoracle.conformance.checking.{name}", lambda *_: pytest.fail("that takes its time")
        )
    met = certified(EVERY).deviations
    assert {one.mismatch for one in met} == {None}
    assert met[0].drawn == "grad_output float32[5], z float32[5]"
    assert met[0].reason.startswith("relu_grad[2]: got -4.0, want 0.0")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (
            ONE,
            f"relu_grad matches_oracle is listed as a known deviation ({REASON}), but it holds on ",
        ),
        (EVERY, f"relu_grad is listed as a known deviation ({REASON}), but all of its properties"),
    ],
)
def test_an_entry_whose_recorded_call_is_right_fails_the_run(entry, said):
    certificate = certified({**entry, "call": CALL}, relu_grad=im2col.relu_grad)
    (sentence,) = certificate.stale
    assert sentence.startswith(said)
    assert sentence.endswith("calls and on the recorded one: remove it")
    assert certificate.verdict == "NOT CERTIFIED: 1 listed deviation that holds"
    assert f"  STALE: {sentence}" in certificate.text()
    assert exit_code([certificate]) == 1
    assert Certificate.from_json(certificate.to_json()).stale == certificate.stale


def rarely(grad_output, z):
    """Wrong on one number that nothing draws."""
    return im2col.relu_grad(grad_output, np.where(z == 77.125, -1, z).astype(z.dtype))


@pytest.mark.parametrize("entry", [ONE, EVERY])
def test_an_entry_that_a_seed_does_not_meet_is_noted_and_fails_nothing(entry):
    rare = {**CALL, "z": {**CALL["z"], "data": [77.125]}}
    for call, said in (
        (None, "the entry records no call"),
        (rare, "its recorded call still fails"),
    ):
        certificate = certified({**entry, "call": call}, relu_grad=rarely)
        assert certificate.passed
        assert certificate.stale == []
        assert said in certificate.unmet[0]
        assert exit_code([certificate]) == 0
        assert "  not met: relu_grad" in certificate.text()
    mended = certified({**entry, "call": rare}, relu_grad=im2col.relu_grad)
    assert (len(mended.stale), mended.unmet) == (1, [])


def test_a_deviation_that_is_met_says_what_its_entry_can_record():
    met, *_ = certified(EVERY).deviations
    assert sum(len(v["data"]) for v in met.recorded.values()) <= 10
    entry = {**ONE, "call": json.loads(json.dumps(met.recorded))}
    assert not certified(entry).stale
    assert certified(entry, relu_grad=im2col.relu_grad).stale


def test_what_did_not_run_is_not_stale(monkeypatch):
    from gradoracle.conformance.runs import certify

    right = {"relu_grad": im2col.relu_grad}
    elsewhere = {"formula": "linear", "reason": "why"}
    assert certified(elsewhere, **right).passed  # of another operator, and not claimed
    assert not certified(EVERY, relu_grad=im2col.relu_grad, functions=["relu"]).stale
    monkeypatch.setattr(certify.importlib.util, "find_spec", lambda name: None)
    assert not certified({**EVERY, "property": "matches_torch"}, **right).stale
    assert not certified({**EVERY, "call": CALL}, **right).stale  # one of its checks needs PyTorch
    assert certified({**ONE, "call": CALL}, **right).stale


def test_a_backend_that_lists_all_it_does_is_not_certified():
    everything = backend(EVERY, functions=["relu_grad"], relu_grad=lambda dy, z: "nothing")
    certificate = gradoracle.check(everything, operators=["relu"], examples=10, seed=1)
    assert {o.status for o in certificate.outcomes} == {"deviation", "not claimed"}
    assert "nothing holds" in certificate.why_not
    assert exit_code([certificate]) == 3


def test_a_known_deviation_stops_no_search_and_a_stopped_search_calls_nothing_stale():
    def search(*entries, **more):
        return gradoracle.check(
            backend(*entries, **more), operators=["relu"], seed=4, stop_at_first_mismatch=True
        )

    assert search(EVERY).as_claimed
    holds = {"formula": "relu", "property": "matches_oracle", "reason": "it was"}
    stopped = search(holds)
    assert (len(stopped.mismatches), stopped.stale) == (1, [])


KNOWN = """
import os
from gradoracle.implementations import im2col
from gradoracle.implementations.im2col import linear, relu
def relu_grad(grad_output, z):
    return im2col.relu_grad(grad_output, z + (z == 0))
def linear_grad_bias(grad_output):
    if len(grad_output) == 2:
        os.abort()
    return im2col.linear_grad_bias(grad_output)
number = {"dtype": "float32", "shape": [1], "data": [0]}
contract = {"dtypes": ["float32", "float64"], "deviations": [
    {"formula": "relu_grad", "reason": "relu'(0) is 1",
     "call": {"z": number, "grad_output": {**number, "data": [1]}}},
    {"formula": "linear_grad_bias", "reason": "two images are too many"},
]}
"""
MENDED = "\ndel relu_grad\nfrom gradoracle.implementations.im2col import relu_grad\n"


@pytest.fixture
def cli(tmp_path, monkeypatch):
    (tmp_path / "known.py").write_text(KNOWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return lambda *arguments: CliRunner().invoke(app, [*map(str, arguments)])


QUICK = ("--profile", "quick", "--operators", "relu,linear", "--seed", "4")


def test_certify_prints_known_deviations_everywhere_and_ends_with_0(cli, tmp_path):
    run = cli("certify", "known", *QUICK, "--certificate", "c.json", "--junit", "j.xml", "--github")
    assert run.exit_code == 0, run.output
    said = " ".join(run.output.split())
    assert f"known deviations relu_grad: {REASON} (matches_oracle" in said
    assert "CERTIFIED BUT FOR" in run.output
    assert "crashed: abort (SIGABRT)" in run.output
    title = "file=known.py,line=5,title=relu_grad of known is known to break matches_oracle"
    assert f"::warning {title}::{REASON}: relu_grad[" in run.output
    told = Certificate.from_json((tmp_path / "c.json").read_text())
    suite = ET.parse(tmp_path / "j.xml").getroot()[0]  # noqa: S314 - our own
    skipped = [case[0].get("message") for case in suite if len(case)]
    assert int(suite.get("failures")) == 0
    listed = [message for message in skipped if message.startswith("known deviation: ")]
    assert len(listed) == len(told.deviations) >= 4
    assert cli("verify", "c.json", "-j", "2").exit_code == 0
    journal = tmp_path / ".gradoracle" / "known.journal"
    whole = journal.read_bytes()
    journal.write_bytes(whole[: len(whole) // 2])
    again = cli("certify", "known", *QUICK, "--resume", "--certificate", "again.json")
    assert again.exit_code == 0
    resumed = Certificate.from_json((tmp_path / "again.json").read_text())
    assert [(o.status, o.deviation, o.drawn) for o in resumed.outcomes] == [
        (o.status, o.deviation, o.drawn) for o in told.outcomes
    ]


def test_certify_fails_where_a_listed_deviation_is_mended(cli, tmp_path):
    cli("certify", "known", *QUICK, "--certificate", "old.json")
    (tmp_path / "known.py").write_text(KNOWN + MENDED)
    run = cli("certify", "known", *QUICK, "--certificate", "new.json", "--junit", "j.xml",
                     "--github")  # fmt: skip
    assert run.exit_code == 1
    sentence = (
        f"relu_grad is listed as a known deviation ({REASON}), but all of its properties hold"
    )
    assert sentence in " ".join(run.output.split())
    assert f"::error title=known::{sentence}" in run.output
    assert int(ET.parse(tmp_path / "j.xml").getroot()[0].get("failures")) == 1  # noqa: S314
    diff = cli("diff", "old.json", "new.json").output
    assert f"relu_grad matches_oracle: DEVIATES as listed, {REASON} (relu_grad[" in diff
    assert f"now: {sentence}" in diff
    assert cli("verify", "new.json").exit_code == 0
    part = cli("certify", "known", *QUICK, "--dtypes", "float32")
    assert "properties hold" not in part.output  # it may show in float64


@pytest.fixture
def run(tmp_path):
    def run(*arguments, torch=False, **modules):
        path = [str(tmp_path), *([] if torch else [without_torch(tmp_path)]), str(ROOT)]
        for name, text in modules.items():
            (tmp_path / f"{name}.py").write_text(text)
        return subprocess.run(
            [sys.executable, "-m", "pytest", ROOT / "conformance", "-p", "no:cacheprovider",
             "--rootdir", ROOT, "-c", ROOT / "pyproject.toml", "--hypothesis-profile", "quick",
             "--seed", "4", *arguments],
            cwd=tmp_path, capture_output=True, text=True, check=False,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(path)},
        )  # fmt: skip

    return run


def test_pytest_reports_known_deviations_as_expected_failures(run, tmp_path):
    told = []
    for jobs in ((), ("-n", "2")):
        result = run("--backend", "known", "--certificate", "c.json", *jobs, known=KNOWN)
        assert result.returncode == 0, result.stdout
        assert "CERTIFIED BUT FOR" in result.stdout
        assert f"known deviation: {REASON}: relu_grad[" in result.stdout  # of pytest's summary
        told.append(Certificate.from_json((tmp_path / "c.json").read_text()))
        assert f"{len(told[-1].deviations)} xfailed" in result.stdout
    one, two = ([(o.status, o.reason) for o in certificate.outcomes] for certificate in told)
    assert one == two


def test_pytest_fails_what_is_listed_and_holds(run):
    one = KNOWN.replace('"relu_grad",', '"relu_grad", "property": "matches_oracle",') + MENDED
    name = "relu_grad-matches_oracle"
    result = run("--backend", "known", "-k", f"known-{name}", known=one)
    assert result.returncode == 1
    assert "1 failed" in result.stdout
    assert "is listed as a known deviation" in result.stdout
    result = run("--backend", "known", "-k", "known-relu_grad", "-n", "2", torch=True,
                 known=KNOWN + MENDED)  # fmt: skip
    assert result.returncode == 1  # no check of them all is to blame
    assert "failed" not in result.stdout.splitlines()[-1]
    told = " ".join(result.stdout.split())
    assert f"relu_grad is listed as a known deviation ({REASON})" in told
    result = run("--backend", "known", "-k", f"known-{name}", known=KNOWN + MENDED)
    assert result.returncode == 0  # others of its checks were not run
