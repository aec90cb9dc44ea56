"""A run in shards: merged, their certificates are that of the run, or the difference is named."""

import io
from dataclasses import asdict, replace

import pytest
from rich.console import Console
from typer.testing import CliRunner

from gradoracle.conformance.backends.errors import UsageError
from gradoracle.conformance.backends.registry import IN_PROCESS
from gradoracle.conformance.cli import app
from gradoracle.conformance.reports.certificate import Certificate
from gradoracle.conformance.reports.formats import workflow_commands
from gradoracle.conformance.runs.command import Order, certify, exit_code, order_of
from gradoracle.conformance.runs.parts import NotMergeable, merged, numbers_of

pytestmark = pytest.mark.slow

WRONG = """
from gradoracle.implementations.im2col import linear, linear_grad_input, relu, relu_grad
def linear_grad_weight(grad_output, x):
    return grad_output.T @ x * (1 + (len(x) > 0))
def linear(x, weight, bias=None):
    return x @ weight.T
contract = {"dtypes": ["float32"], "deviations": [
    {"formula": "relu", "reason": "it was", "call": {
        "z": {"dtype": "float32", "shape": [1], "data": [1]},
        "grad_output": {"dtype": "float32", "shape": [1], "data": [1]}}},
    {"formula": "relu_grad", "reason": "nobody knows"},
]}
"""
COUNT = 3


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    file = tmp_path_factory.mktemp("shards") / "wrong.py"
    file.write_text(WRONG)
    return file


@pytest.fixture(scope="module")
def run(file):
    def run(shard="", seed=4):
        order = Order(
            str(file), ["relu", "linear"], None, 10, seed, confinement=IN_PROCESS, keeps=False,
            shard=shard,
        )  # fmt: skip
        return certify(order, Console(file=io.StringIO()))

    return run


@pytest.fixture(scope="module")
def whole(run):
    return run()


@pytest.fixture(scope="module")
def shards(run):
    found = {f"{n}.json": run(f"{n}/{COUNT}") for n in range(1, COUNT + 1)}
    return {n: Certificate.from_json(one.to_json()) for n, one in found.items()}


def content(certificate):
    told = asdict(certificate)
    for outcome in told["outcomes"]:
        del outcome["seconds"]
    del told["confinement"]
    return told


def test_the_merged_certificate_is_that_of_one_run(whole, shards):
    again = merged(shards)
    assert content(again) == content(Certificate.from_json(whole.to_json()))
    assert again.verdict == whole.verdict
    assert exit_code([again]) == exit_code([whole]) == 1
    assert [one.formula for one in again.mismatches] == ["linear", "linear_grad_weight"]
    assert any(one.status == "also fails" for one in again.outcomes)
    assert (len(again.stale), len(again.unmet)) == (1, 1)
    assert merged(dict(reversed(shards.items()))).outcomes == again.outcomes


def test_a_shard_alone_certifies_nothing(shards):
    ends = [exit_code([one]) for one in shards.values()]
    assert not any(one.passed or one.as_claimed for one in shards.values())
    assert sorted(ends) == sorted(int(bool(o.mismatches or o.stale)) for o in shards.values())
    sound = [one for one in shards.values() if one.holds_so_far]
    for one in sound:
        run = sum(o.is_made for o in one.outcomes)
        assert one.verdict.startswith(f"NOT CERTIFIED: shard {one.shard}: {run} checks were run; ")
        assert [*workflow_commands([one])] == []
    failing = [one for one in shards.values() if one.mismatches]
    assert failing
    assert all(one.verdict.endswith(f" in shard {one.shard}") for one in failing)
    calm = [replace(one, stale=[], outcomes=[]) for one in shards.values()]
    assert all(one.holds_so_far and exit_code([one]) == 0 for one in calm)


def test_verify_runs_the_same_shard(shards):
    for one in shards.values():
        assert order_of(one, 1).shard == one.shard


def test_functions_are_dealt_out_before_what_is_not_there(whole, shards):
    assert all(any(o.judged for o in one.outcomes) for one in shards.values())
    formulas = [{o.formula for o in one.outcomes} for one in shards.values()]
    assert sum(map(len, formulas)) == len(set().union(*formulas)) == 6
    assert set().union(*formulas) == {o.formula for o in whole.outcomes}


@pytest.mark.parametrize("shard", ["", "2", "0/4", "5/4", "2/0", "a/b", "1/2/3", "-1/2", "1/99999"])
def test_what_no_shard_is_says_so(shard):
    with pytest.raises(UsageError, match="a shard is like 2/4, the second of four, got"):
        numbers_of(shard)
    assert numbers_of("2/4") == (2, 4)


def without(shards, name="2.json"):
    return {n: one for n, one in shards.items() if n != name}


def changed(shards, name="2.json", **fields):
    return {**shards, name: replace(shards[name], **fields)}


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (without, "shard 2/3 is missing"),
        (lambda s: {"1.json": s["1.json"]}, "shard 2/3, 3/3 is missing"),
        (lambda s: {**s, "4.json": s["2.json"]}, "shard 2/3 is there twice: 2.json and 4.json"),
        (lambda s: changed(s, shard=""), "2.json is no shard: certify --shard 2/4 writes one"),
        (lambda s: changed(s, shard="2/4"), "the shards are of several runs: 1/3, 2/4, 3/3"),
        (lambda s: changed(s, seed=5), "1.json and 2.json are of other runs: seed 4 and 5"),
        (lambda s: changed(s, examples=25), "of other runs: examples 10 and 25"),
        (lambda s: changed(s, suite="0" * 64), "of other runs: suite '"),
        (lambda s: changed(s, backend="other"), "of other runs: backend '"),
        (lambda s: changed(s, files={"wrong.py": "0" * 64}), "of other runs: files wrong.py "),
        (
            lambda s: changed(s, environment={**s["1.json"].environment, "NumPy": "1"}),
            "of other runs: environment NumPy 2.",
        ),
        (lambda s: changed(s, outcomes=s["2.json"].outcomes[1:]), " is in 0 shards, and"),
        (lambda s: changed(s, outcomes=s["2.json"].outcomes[:1] * 2), "is in 2 shards, and"),
        (
            lambda s: changed(s, outcomes=s["2.json"].outcomes + s["1.json"].outcomes[:1]),
            "is in 2 shards, and belongs in 1",
        ),
    ],
)  # fmt: skip
def test_what_differs_is_named(shards, broken, said):
    with pytest.raises(NotMergeable) as error:
        merged(broken(shards))
    assert said in str(error.value)


def test_machines_may_differ_where_that_is_asked_for(shards):
    other = {**shards["1.json"].environment, "BLAS": "another", "PyTorch": "9"}
    told = merged(changed(shards, environment=other), any_machine=True)
    assert told.environment["BLAS"] == f"{shards['1.json'].environment['BLAS']} and another"
    assert told.environment["NumPy"] == other["NumPy"]


def test_the_commands(file, shards, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, one in shards.items():
        (tmp_path / name).write_text(one.to_json())
    run = CliRunner().invoke(app, ["merge", *shards, "--certificate", "w.json", "--junit", "j.xml"])
    assert run.exit_code == 1, run.output
    told = " ".join(run.output.split())
    assert "NOT CERTIFIED: 2 mismatches and 1 listed deviation that holds" in told
    assert Certificate.from_json((tmp_path / "w.json").read_text()).shard == ""
    assert (tmp_path / "j.xml").is_file()
    run = CliRunner().invoke(app, ["merge", "1.json", "2.json"])
    assert (run.exit_code, run.stderr) == (2, "shard 3/3 is missing\n")
    assert CliRunner().invoke(app, ["merge", "1.json", "1.json"]).exit_code == 2
    for arguments, said in (
        (["--shard", "2/4"], "--shard 2/4 needs --seed N"),
        (["--shard", "4/2", "--seed", "1"], "--shard: a shard is like 2/4"),
    ):
        run = CliRunner().invoke(app, ["certify", str(file), *arguments], env={"COLUMNS": "200"})
        assert run.exit_code == 2
        assert said in run.stderr


def test_a_shard_has_a_journal_of_its_own():
    places = [Order("mine", shard=shard).journal.name for shard in ("", "1/3", "2/3")]
    assert places == ["mine.journal", "mine.1of3.journal", "mine.2of3.journal"]
