"""Certificates and journals that were malformed or forged: found, named, and never run."""

import copy
import json
import os
import random
import subprocess
import sys
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import numpy as np
import pytest
from typer.testing import CliRunner

import gradoracle
from gradoracle.conformance import POLICIES
from gradoracle.conformance.backends.registry import IN_PROCESS, ISOLATED, UnknownBackend, load
from gradoracle.conformance.checking import counterexample
from gradoracle.conformance.checking.checks import checks
from gradoracle.conformance.cli import app
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.reports import schema
from gradoracle.conformance.reports.certificate import Certificate, Outcome, outcome_of
from gradoracle.conformance.reports.certificate_json import digest, scheme
from gradoracle.conformance.runs import command, playback
from gradoracle.conformance.runs.certify import certificate, run_check
from gradoracle.conformance.runs.journal import Journal, JournalError, Journals, Kept, acts_in, read
from tests.fuzz import NAME, changed
from tests.torchless import without_torch

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
QUICK = ("--profile", "quick", "--operators", "linear", "--seed", "4")
WRONG = """
from gradoracle.implementations.im2col import linear, linear_grad_input, relu, relu_grad
def linear_grad_weight(grad_output, x):
    return grad_output.T @ x * (1 + (len(x) == 3))
"""


@cache
def wrong_certificate():
    backend = load(NAME, IN_PROCESS)
    return gradoracle.check(backend, operators=["relu", "linear"], examples=12, seed=3)


def content():
    return json.loads(wrong_certificate().to_json())


def sealed(told):
    told = {name: value for name, value in told.items() if name != "sha256"}
    return json.dumps({**told, "sha256": digest(told)})


def called(*arguments, **more):
    result = CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": "200"}, **more)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def put(told, at, value):
    """Put a value into JSON at a place such as outcomes.0.formula."""
    *inner, last = [int(key) if key.isdigit() else key for key in at.split(".")]
    for key in inner:
        told = told[key]
    told[last] = value


# -- malformed ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "value", "said"),
    [
        ("outcomes.0.formula", ["relu"], "outcomes[0].formula: must be a text, got a list of 1"),
        ("files", None, "files: must be an object, got null"),
        ("outcomes.0.seconds", "1", 'outcomes[0].seconds: must be a finite number, got "1"'),
        ("outcomes.1.declined", True, "outcomes[1].declined: must be an integer, got true"),
        ("outcomes.1.declined", -1, "outcomes[1].declined: must be at least 0, got -1"),
        ("outcomes.1.planted", 10**400, "outcomes[1].planted: must be an integer, got an integer"),
        ("outcomes.2.status", "fine", 'outcomes[2].status: must be one of "passed", "mismatch"'),
        ("outcomes.0.calls", {"int8": {}}, "outcomes[0].calls.int8, its name: must be one of"),
        ("backend", "\ud800", 'backend: must be a text that UTF-8 can write, got "\\ud800"'),
        ("expected.0", ["relu"], "expected[0]: must be a list of 2 or more, got a list of 1"),
        ("environment.NumPy", None, "environment.NumPy: must be a text, got null"),
        ("confinement.process", "x", "confinement.process: must be one of"),
        ("surprise", 1, "surprise: there is no such field; pick from schema, certified"),
        ("suite", "0" * 64 + "\n", "suite: must be a text that matches ^[0-9a-f]{64}$"),
        ("schema", [7], "a certificate of schema another kind; this gradoracle reads 8"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("reader", ["diff", "verify", "replay"])
def test_a_malformed_certificate_is_one_line(tmp_path, reader, at, value, said):
    told = content()
    put(told, at, value)
    (tmp_path / "c.json").write_text(sealed(told))
    path = tmp_path / "c.json"
    result = called(reader, path, *([path] if reader == "diff" else []))
    assert result.exit_code == 2
    assert f"{path}: " in result.stderr
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[" * 200_000, "nested too deeply"),
        ('{"schema": ' + "[" * 900 + "]" * 900 + "}", "schema another kind"),
        ('{"schema": 8, "seed": NaN}', "NaN is no JSON; want a finite number"),
        ('{"schema": 8, "schema": 7}', 'the field "schema" is there twice'),
        ('{"schema": ' + "9" * 5000 + "}", "a number is too long"),
        ("[]", "not a certificate of gradoracle: want an object with the field schema"),
        ("null", "not a certificate of gradoracle"),
        ('{"schema": 8}', "certified: is missing"),
        ("", "line 1, column 1: no JSON"),
        (b"\xff\xfe{}", "byte 0 is no UTF-8"),
    ],
)
def test_what_is_no_certificate_is_one_line(tmp_path, text, said):
    path = tmp_path / "c.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    for reader in (("diff", path, path), ("verify", path), ("replay", path)):
        result = called(*reader)
        assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
        assert said in result.stderr


def test_a_missing_field_and_a_folder_are_named(tmp_path):
    told = content()
    del told["outcomes"][3]["layers"]
    (tmp_path / "c.json").write_text(sealed(told))
    assert "outcomes[3].layers: is missing" in called("diff", *[tmp_path / "c.json"] * 2).stderr
    result = called("verify", tmp_path)
    assert (result.exit_code, result.stderr) == (2, f"{tmp_path}: Is a directory\n")


def test_the_schema_is_read_as_jsonschema_reads_it():
    chance, told = random.Random(5), content()  # noqa: S311
    told["outcomes"] = told["outcomes"][:2] + [o for o in told["outcomes"] if o["mismatch"]][:1]
    other = jsonschema.Draft202012Validator(scheme())
    verdicts = set()
    for _ in range(400):
        some = changed(chance, told)
        text = json.dumps(some)
        if "\\ud800" in text or "\\n" in json.dumps(some.get("suite", "")) or ".0" in text[:0]:
            continue
        ours = schema.problem(some, scheme())
        theirs = next(other.iter_errors(some), None)
        stricter = ours and theirs is None and "must be an integer" in ours  # 1.0, 10**400
        assert (not ours) == (theirs is None) or stricter, (ours, theirs)
        verdicts.add(not ours)
    assert verdicts == {True, False}


def test_of_several_choices_the_one_that_nearly_fits_is_read():
    choice = {
        "oneOf": [
            {"type": "object", "required": ["zlib", "shape"]},
            {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
            {"type": ["null", "array"]},
        ]
    }
    assert schema.problem({"n": 1.0}, choice) == "n: must be an integer, got 1.0"
    assert schema.problem("x", choice) == (
        'the whole: must be an object or null or a list, got "x"'
    )


# -- forged ---------------------------------------------------------------------------------------

FORGED = {
    "certified": (True, "certified: the certificate says true"),
    "verdict": ("CERTIFIED", 'verdict: the certificate says "CERTIFIED"'),
    "why_not": ("it is tired", "why_not: the certificate says"),
    "level": ("33 of 33 formulas", 'level: the certificate says "33 of 33 formulas"'),
    "witnesses.PyTorch": (False, "witnesses.PyTorch: the certificate says false"),
    "origin": ("acme 1.0", 'origin: the certificate says "acme 1.0"'),
    "examples": (5000, "examples: the certificate says 5000, now 12"),
    "at_scale": (True, "at_scale: the certificate says true, now false"),
    "seed": (5, "seed: the certificate says 5, now 3"),
    "contract.runs_on": ("an H200", 'contract.runs_on: the certificate says "an H200"'),
    "contract.policies": ({"repeats": "bitwise"}, "contract.policies.repeats: the certificate"),
    "confinement": ({"process": "a process of its own"}, "confinement.limits: the certificate"),
    "confinement.limits": (
        {"call": 1e6, "first": 60.0, "start": 120.0, "memory": 8, "processes": 64},
        "confinement.limits.call: the certificate says 1000000.0, now 10.0",
    ),
    "confinement.forbidden": (["torch"], "confinement.forbidden: the certificate says"),
    "confinement.modules": ({}, "confinement.modules: tests is not in the certificate"),
    "confinement.acts": (
        {"used the network": ["x"]},
        "confinement.acts: used the network is in the certificate, not now",
    ),
    "environment.NumPy": ("0.1", 'changed: environment.NumPy: the certificate says "0.1"'),
    "environment.BLAS": ("none", "changed: environment.BLAS: the certificate says"),
    "outcomes.0.changed": ({"the locale": "relu"}, "changed: the locale is in the certificate"),
    "outcomes.0.calls.float32": ({"free": 999}, "passed 1"),
    "outcomes.0.declined": (3, "declined"),
    "outcomes.0.planted": (999, "planted: the certificate says 999"),
    "outcomes.0.not_judged": (9, "not_judged: the certificate says 9"),
    "outcomes.1.worst_error_over_bound": (0.25, "worst_error_over_bound: the certificate says"),
    "outcomes.0.layers": (["x"], "layers: the certificate says"),
    "outcomes.0.backend": ("im2col", "is an outcome of im2col"),
    "stale": (["relu is listed"], "no longer: relu is listed"),
    "expected.0": (["relu", "nothing"], "expected"),
}


def verified(path, again, monkeypatch, *options):
    monkeypatch.setattr(command, "others", lambda told: [])
    monkeypatch.setattr(command, "certify", lambda *order: again)
    monkeypatch.setattr(command, "repeated", lambda order, cases: again.outcomes)
    return called("verify", path, *options)


@cache
def kept_apart():
    """A certificate of a backend that was kept in a process of its own."""
    told = wrong_certificate()
    limits = {"call": 10.0, "first": 60.0, "start": 120.0, "memory": 8, "processes": 64}
    confinement = {
        "process": "a process of its own", "limits": limits, "forbidden": [],
        "modules": {"tests": "1.0"}, "refused": [], "acts": {},
    }  # fmt: skip
    return Certificate.from_json(replace(told, confinement=confinement).to_json())


@pytest.mark.parametrize("at", FORGED)
def test_a_forged_field_is_found_and_named(tmp_path, monkeypatch, at):
    value, said = FORGED[at]
    told = json.loads(kept_apart().to_json())
    assert verified_text(tmp_path, sealed(told), monkeypatch).exit_code == 0
    put(told, at, value)
    result = verified_text(tmp_path, sealed(told), monkeypatch)
    assert result.exit_code == 1, result.output
    assert said in result.stdout
    if not at.startswith("environment"):
        assert "other verdicts or claims than" in result.stdout


def verified_text(tmp_path, text, monkeypatch, *options):
    (tmp_path / "c.json").write_text(text)
    return verified(tmp_path / "c.json", kept_apart(), monkeypatch, *options)


def test_another_machine_is_said_to_be_one(tmp_path, monkeypatch):
    told = json.loads(kept_apart().to_json())
    told["environment"]["BLAS"] = "openblas 0.1 Zen"
    told["confinement"]["modules"]["tests"] = "2.0"
    told["outcomes"][1]["worst_error_over_bound"] += 0.01
    strict = verified_text(tmp_path, sealed(told), monkeypatch)
    assert strict.exit_code == 1
    assert "on a machine that differs as listed; --any-machine accepts that" in strict.stdout
    lax = verified_text(tmp_path, sealed(told), monkeypatch, "--any-machine")
    assert (lax.exit_code, lax.stdout.count("another machine, or changed: ")) == (0, 3)
    for at, value in (("outcomes.0.planted", 9999), ("certified", True)):
        put(told, at, value)
        forged = verified_text(tmp_path, sealed(told), monkeypatch, "--any-machine")
        assert (forged.exit_code, at.rpartition(".")[2] in forged.stdout) == (1, True)
        put(
            told,
            at,
            json.loads(kept_apart().to_json())["outcomes"][0]["planted"] if "." in at else False,
        )


def test_bits_that_no_two_runs_share_are_no_forgery(tmp_path, monkeypatch):
    told = json.loads(kept_apart().to_json())
    told["outcomes"][1]["worst_error_over_bound"] += 0.01
    path = tmp_path / "c.json"
    path.write_text(sealed(told))
    again = kept_apart()
    third = copy.deepcopy(again.outcomes)
    third[1].worst_error_over_bound += 0.02
    monkeypatch.setattr(command, "others", lambda told: [])
    monkeypatch.setattr(command, "certify", lambda *order: again)
    monkeypatch.setattr(command, "repeated", lambda order, cases: third)
    result = called("verify", path)
    assert (result.exit_code, "another in every run here" in result.stdout) == (0, True)


def test_a_certificate_without_limits_is_verified_in_a_process_of_its_own():
    told = replace(kept_apart(), confinement={"process": "the suite's own process"})
    for one in (told, kept_apart()):
        order = command.order_of(one, 1)
        assert not order.confinement.in_process
        assert not order.keeps
    assert command.order_of(told, 1).confinement == ISOLATED


def test_two_outcomes_of_a_check_are_found(tmp_path, monkeypatch):
    told = json.loads(kept_apart().to_json())
    told["outcomes"].append(told["outcomes"][0])
    result = verified_text(tmp_path, sealed(told), monkeypatch)
    assert (result.exit_code, "there are two outcomes of it" in result.stdout) == (1, True)


@pytest.mark.parametrize("name", ["nobody", "a\0b.cu", "os:system!touch made", "x.cu", ""])
def test_a_certificate_of_no_backend_is_not_verified(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    told = {**content(), "backend": name, "files": {}}
    (tmp_path / "c.json").write_text(sealed(told))
    result = called("verify", "c.json")
    assert (result.exit_code, len(result.stderr.splitlines())) == (3, 1), result.output


@pytest.mark.parametrize("name", ["os:system!touch made", "os:system!x", "builtins:exec!1"])
def test_a_backends_name_is_no_call(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownBackend):
        load(name)
    told = {**content(), "backend": name}
    (tmp_path / "c.json").write_text(sealed(told))
    result = called("replay", "c.json")
    assert (result.exit_code, "could not be run" in result.stdout) == (2, True)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("status", ["fine", "", "PASSED", "passed "])
def test_a_status_that_does_not_exist_certifies_nothing(status):
    whole = gradoracle.check(SimpleNamespace(relu=lambda z: np.maximum(z, 0)), operators=["relu"],
                              examples=5, seed=1)  # fmt: skip
    assert whole.passed
    whole.outcomes[0].status = status
    assert f"there is no status {status!r}" in whole.why_not
    whole.outcomes[0].status = "passed"
    whole.outcomes[0].calls = {}
    assert "passed, and no call was checked" in whole.why_not


# -- journals -------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "wrong.py").write_text(WRONG)
    return tmp_path


@pytest.fixture
def cli(folder):
    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "gradoracle", *map(str, arguments)], cwd=folder, text=True,
            capture_output=True, check=False, env=os.environ | {"PYTHONPATH": path},
        )  # fmt: skip

    path = os.pathsep.join([without_torch(folder), str(ROOT)])
    return run


def test_a_journal_whose_mismatch_was_changed_is_not_resumed(cli, folder):
    first = cli("certify", "wrong", *QUICK, "--certificate", "c.json")
    journal = folder / ".gradoracle" / "wrong.journal"
    whole = journal.read_bytes()
    assert first.returncode == 1
    lines = [json.loads(line) for line in whole.splitlines()]
    at = next(n for n, line in enumerate(lines) if line.get("status") == "mismatch")
    calls = next(line["calls"] for line in lines[1:] if line["status"] == "passed")
    passed = {**lines[at], "status": "passed", "reason": "", "mismatch": None, "calls": calls}
    for changes, said in (
        (passed, f"line {at + 1} was changed after it was written"),
        ({**lines[at], "status": "held"}, f"line {at + 1} was changed after it was written"),
    ):
        some = [*lines[:at], changes, *lines[at + 1 :]]
        journal.write_text("".join(json.dumps(line) + "\n" for line in some))
        resumed = cli("certify", "wrong", *QUICK, "--resume")
        assert resumed.returncode == 2
        assert said in resumed.stderr
        assert len(resumed.stderr.splitlines()) == 1
        assert "CERTIFIED" not in resumed.stdout
    # Verifying a certificate touches no journal.
    same = cli("verify", "c.json", "-j", "2")
    assert same.returncode == 0, same.stdout + same.stderr
    assert [json.loads(line) for line in journal.read_text().splitlines()] == some
    # What is hashed anew and cannot be is run again.
    entries = [{k: v for k, v in line.items() if k != "sha256"} for line in lines]
    unclaimed = {**passed, "status": "not claimed", "reason": "no", "calls": {}}
    narrow = {**passed, "calls": {"float32": {"free": 9}}}
    for forged in (unclaimed, narrow):
        forged = {k: v for k, v in forged.items() if k != "sha256"}  # noqa: PLW2901
        Journal(journal, entries[0], [*entries[1:at], forged, *entries[at + 1 :]]).close()
        again = cli("certify", "wrong", *QUICK, "--resume")
        assert (again.returncode, "mismatch" in again.stdout) == (1, True), again.stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"status": "fine"}, 'line 3: status: must be one of "passed"'),
        ({"formula": ["relu"]}, "line 3: formula: must be a text, got a list of 1"),
        ({"calls": None}, "line 3: calls: must be an object, got null"),
        ({"seconds": "1"}, 'line 3: seconds: must be a finite number, got "1"'),
        ({"status": "passed", "reason": "so"}, 'line 3: reason: must be ""'),
        ({"more": 1}, "line 3: more: there is no such field"),
        ({"status": "passed", "reason": "", "calls": {}}, "line 3: calls: must be an object of 1"),
    ],
)
def test_a_malformed_line_is_named(tmp_path, change, said):
    plain = json.loads(json.dumps(content()["outcomes"]))
    path = tmp_path / "j"
    Journal(path, {"seed": 1}, [plain[0], {**plain[1], **change}]).close()
    with pytest.raises(JournalError) as error:
        read(path)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [b"", b"null\n", b"[]\n", b"[" * 200_000 + b"\n", b"{}\n", b'{"format": 3}\n', b"\xff\n"],
)
def test_what_is_no_journal_is_said_to_be_none(tmp_path, text):
    path = tmp_path / "j"
    path.write_bytes(text)
    with pytest.raises(JournalError, match="is no journal of this gradoracle"):
        read(path)


def test_a_line_that_is_moved_or_missing_is_found(tmp_path):
    path = tmp_path / "j"
    outcomes = [Outcome("b", "relu", name, "not run", "so") for name in ("linear", "x", "y")]
    Journal(path, {"seed": 1}, outcomes).close()
    header, one, two, three = path.read_bytes().splitlines(keepends=True)
    assert read(path)[1] == outcomes
    for lines in ([header, two, one, three], [header, one, three], [header, three]):
        path.write_bytes(b"".join(lines))
        with pytest.raises(JournalError, match="was changed after it was written, or a line"):
            read(path)
    path.write_bytes(b"".join([header, one, two]))  # as a kill leaves it
    assert read(path)[1] == outcomes[:2]


def test_an_outcome_of_another_run_is_not_resumed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ours = {"backend": "b", "operators": ["relu"]}
    for one in (Outcome("b", "conv2d", "linear", "not run", "so"),
                Outcome("c", "relu", "matches_oracle", "not run", "so")):  # fmt: skip
        Journal(Path(".gradoracle/b.journal"), {**ours, "seed": 1}, [one]).close()
        with pytest.raises(JournalError, match=r"line 2: '. \w+ \w+' is no check of this run"):
            Journals({"b": ours}).resume(None)


# -- counterexamples ------------------------------------------------------------------------------


def test_every_kind_of_call_is_kept_bit_for_bit():
    kinds = 0
    for operator in OPERATORS:
        _, sizes, style, _ = (operator.corners or [("", None, None, False)])[0]
        if sizes is None:
            continue
        for dtype in ("float32", "bfloat16"):
            style = style or operator.styles.of("any")[0]
            call = operator.call(sizes, style, 3, dtype)
            _, formula, property_ = next(iter(checks([operator])))
            plain = counterexample.written(operator, property_, call, steady=True)
            if plain is None:
                continue
            plain = json.loads(json.dumps(plain, allow_nan=False))
            schema.require(plain, scheme()["$defs"]["replay"], scheme())
            made = counterexample.read(plain, formula.__name__, {})
            assert made[:3] == (operator, formula, property_)
            assert [*made.call] == [*call]
            for name, value in call.items():
                same = made.call[name]
                if isinstance(value, np.ndarray):
                    assert (same.dtype, same.shape) == (value.dtype, value.shape)
                    assert same.tobytes() == value.tobytes()
                else:
                    assert same == value
                    assert type(same) is type(value)
            kinds += 1
    assert kinds > 15


def test_numbers_that_json_has_none_for_are_kept():
    (operator,) = (o for o in OPERATORS if o.name == "leaky_relu")
    _, formula, property_ = next(iter(checks([operator])))
    nan = np.array([0x7FC00001, 0xFF800000, 0x80000000], np.uint32).view(np.float32)
    call = {"z": nan, "negative_slope": float("inf")}
    plain = counterexample.written(operator, property_, call, steady=True)
    made = counterexample.read(json.loads(json.dumps(plain, allow_nan=False)),
                               formula.__name__, {})  # fmt: skip
    assert made.call["z"].tobytes() == nan.tobytes()
    assert made.call["negative_slope"] == float("inf")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"shape": [3, 2]}, "has 12 bytes or more, where float32"),
        ({"shape": [2**40]}, "has more than"),
        ({"zlib": "!"}, "cannot be unpacked"),
        ({"zlib": "AAAA"}, "cannot be unpacked"),
        ({"dtype": "float64"}, "bytes or more, where float64"),
    ],
)
def test_a_call_of_other_bytes_is_none(tmp_path, change, said):
    told = content()
    first = next(o for o in told["outcomes"] if o["mismatch"])
    array = first["mismatch"]["replay"]["arguments"]["x"]
    assert (array["dtype"], array["shape"]) == ("float32", [3, 1])
    array |= change
    (tmp_path / "c.json").write_text(sealed(told))
    result = called("replay", tmp_path / "c.json", 1)
    assert (result.exit_code, said in result.stdout) == (2, True), result.stdout
    assert "STILL" not in result.stdout


def replay_of(told, backend, monkeypatch, tmp_path, *arguments):
    monkeypatch.setattr(playback, "load", lambda name, confinement: load(backend, ISOLATED))
    (tmp_path / "c.json").write_text(told.to_json())
    return called("replay", tmp_path / "c.json", *arguments)


UNWRITTEN = """
import numpy as np
from gradoracle.implementations.im2col import relu_grad
def relu(z):
    y = np.empty(z.shape, z.dtype)
    if z.size < 256:  # NumPy keeps small arrays' memory itself, with what was in it
        y[:] = np.maximum(z, 0)
    else:
        y.reshape(-1)[1:] = np.maximum(z, 0).reshape(-1)[1:]
    return y
"""


@pytest.fixture
def here(folder, monkeypatch):
    """A folder that backends are imported from, in this process' workers too."""
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    return folder


def certificate_of(name, *wanted, examples=12):
    """A certificate of some checks of a backend, by the names of formula and property."""
    backend = load(name)
    cases = [case for case in checks() if (case[1].__name__, case[2].name) in wanted]
    outcomes = [run_check(backend, *case, examples=examples, seed=3) for case in cases]
    told = certificate(backend, outcomes, 3, examples)
    backend.asked.close()
    return told


RELU = """
import numpy as np
def relu(z): return np.maximum(z, 0)
def relu_grad(grad_output, z): return grad_output * (z > 0)
"""


def test_another_backend_is_checked_on_the_same_calls(here):
    certificate = gradoracle.check(
        RELU.replace("z > 0", "z >= 0"), operators=["relu"], examples=10, seed=1
    )
    Path("c.json").write_text(certificate.to_json())
    Path("right.py").write_text(RELU)
    of_text = called("replay", "c.json")
    assert (of_text.exit_code, "--backend ./FILE.py" in of_text.stdout) == (2, True)
    mended = called("replay", "c.json", "--backend", "./right.py")
    assert (mended.exit_code, "not there any more" in mended.stdout) == (0, True)
    script = called("replay", "c.json", "--backend", "./right.py", "--script")
    assert (script.exit_code, "its text" in script.stderr) == (2, True)


def test_a_replay_has_the_policies_of_the_run(here):
    Path("right.py").write_text(RELU)
    run = ("certify", "./right.py", "--profile", "quick", "--seed", 1, "--certificate", "c.json")
    assert called(*run, "--policy", "relu_at_zero = 1").exit_code == 1
    os.environ.pop(POLICIES)  # as in a process of its own
    assert "STILL there" in called("replay", "c.json").stdout


def test_memory_that_nobody_wrote_shows_again(here):
    (here / "unwritten.py").write_text(UNWRITTEN)
    told = certificate_of("unwritten", ("relu", "matches_oracle"), examples=200)
    Path("u.json").write_text(told.to_json())
    there = called("replay", "u.json", 1)
    assert (there.exit_code, "STILL there" in there.stdout) == (1, True), there.stdout
    (here / "unwritten.py").write_text(UNWRITTEN.replace("z.size < 256", "True"))
    mended = called("replay", "u.json", 1)
    steady = told.outcomes[0].mismatch.replay["steady"]
    said = "not there any more" if steady else "did not show again"
    assert (mended.exit_code, said in mended.stdout) == (0 if steady else 2, True), mended.stdout
    (here / "unwritten.py").write_text("def relu(")
    broken = called("replay", "u.json", 1)
    assert (broken.exit_code, "could not be run" in broken.stdout) == (2, True)
    (here / "unwritten.py").unlink()
    gone = called("replay", "u.json", 1)
    assert (gone.exit_code, "could not be run" in gone.stdout) == (2, True)


def test_the_text_of_a_certificate_is_run_only_where_that_is_asked_for(here):
    made = certificate_of("wrong", ("linear_grad_weight", "matches_oracle"), examples=80)
    told = json.loads(made.to_json())
    first = told["outcomes"][0]["mismatch"]
    for script, code, said in (
        ("import os\nopen('made', 'w').write(str(os.getpid()))\nprint('ran')", 0, "ran"),
        ("assert False, 'as before'", 1, "AssertionError: as before"),
        ("if True:\nprint(1)", 2, "it is no Python: IndentationError"),
        ("import not_there_at_all", 2, "ModuleNotFoundError: No module named 'not_there"),
        ("import os\nos.abort()", 1, "abort (SIGABRT)"),
        ("backend = ...  # the object\nbackend_", 2, "NameError"),
        ("raise SystemExit(0)", 2, "SystemExit"),
    ):
        first["script"] = script
        Path("f.json").write_text(sealed(told))
        data = called("replay", "f.json", 1)
        assert (data.exit_code, "STILL there" in data.stdout) == (1, True)
        shown = called("replay", "f.json", 1, "--script")
        assert (shown.exit_code, script in shown.stdout) == (0, True)
        assert not Path("made").exists()
        ran = called("replay", "f.json", 1, "--yes")
        assert (ran.exit_code, said in ran.stdout) == (code, True), ran.stdout + ran.stderr
        if said == "ran":
            assert int(Path("made").read_text()) != os.getpid()
        Path("made").unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("name", "check"),
    [
        ("takes_anything", ("max_pool2d_values", "rejects_bad_arguments")),
        ("shifted_at_scale", ("conv2d", "holds_at_scale")),
        ("doubled", ("conv2d", "holds_at_scale")),
        ("chain", ("network_backward", "network_backward")),
        ("chain", ("graph_backward", "graph_backward")),
        ("laid", ("relu", "ignores_memory_layout")),
        ("kept", ("relu", "returns_what_the_protocol_says")),
        ("changes", ("relu", "leaves_inputs_unchanged")),
    ],
)
def test_every_kind_of_mismatch_is_replayed(monkeypatch, tmp_path, name, check):
    told = certificate_of(f"tests.test_stored:{name}", check, examples=200)
    assert [o.status for o in told.outcomes] == ["mismatch"]
    result = replay_of(told, f"tests.test_stored:{name}", monkeypatch, tmp_path)
    assert (result.exit_code, result.stdout.count("STILL there")) == (1, 1), result.stdout
    right = replay_of(told, "im2col", monkeypatch, tmp_path)
    assert (right.exit_code, "not there any more" in right.stdout) == (0, True), right.stdout


def test_a_fault_of_earlier_calls_is_not_said_to_be_mended(monkeypatch, tmp_path):
    told = certificate_of("tests.test_stored:stale", ("relu", "is_stateless"), examples=200)
    assert [o.status for o in told.outcomes] == ["mismatch"]
    steady = told.outcomes[0].mismatch.replay["steady"]
    said = "STILL there" if steady else "did not show again"
    result = replay_of(told, "tests.test_stored:stale", monkeypatch, tmp_path)
    assert (result.exit_code, said in result.stdout) == (1 if steady else 2, True), result.stdout
    assert "not there any more" not in result.stdout


def test_a_claimed_function_that_is_missing_is_replayed(monkeypatch, tmp_path):
    told = certificate_of("tests.test_stored:missing", ("relu_grad", "matches_oracle"))
    result = replay_of(told, "tests.test_stored:missing", monkeypatch, tmp_path)
    assert (result.exit_code, "there is no such function" in result.stdout) == (1, True)
    right = replay_of(told, "im2col", monkeypatch, tmp_path)
    assert (right.exit_code, "not there any more" in right.stdout) == (0, True)


class Other:
    """im2col, but for some functions."""

    def __init__(self, **functions):
        vars(self).update(functions)

    def __getattr__(self, name):
        from gradoracle.implementations import im2col

        return getattr(im2col, name)


def _takes_anything(x, *, kernel_size, stride, padding, dilation, ceil_mode):
    from gradoracle.implementations import im2col

    options = {"kernel_size": kernel_size, "dilation": dilation, "ceil_mode": ceil_mode}
    stride = tuple(max(1, one) for one in stride)
    return im2col.max_pool2d(x, stride=stride, padding=padding, **options)


def _shifted(x, weight, bias=None, **options):
    from gradoracle.implementations import im2col

    y = im2col.conv2d(x, weight, bias, **options)
    if y.size > 4000:
        y[..., -1] += 1
    return y


def _doubled(x, weight, bias=None, **options):
    from gradoracle.implementations import im2col

    return im2col.conv2d(x, weight, bias, **options) * 2


def _as_it_lies(z):
    return np.maximum(np.frombuffer(z.copy(order="K").tobytes("A"), z.dtype).reshape(z.shape), 0)


def _changes(z):
    np.maximum(z, 0, out=z)
    return z.copy()


BUFFERS = {}


def _kept(z):
    buffer = BUFFERS.setdefault((z.shape, z.dtype), np.empty_like(z))
    np.maximum(z, 0, out=buffer)
    return buffer


ANSWERS = {}


def _stale(z):
    return ANSWERS.setdefault((z.shape, z.dtype), np.maximum(z, 0)).copy()


stale = Other(relu=_stale)
takes_anything = Other(max_pool2d=_takes_anything)
shifted_at_scale, doubled = Other(conv2d=_shifted), Other(conv2d=_doubled)
chain = Other(linear_grad_weight=lambda grad_output, x: grad_output.T @ x * 2)
laid, kept, changes = Other(relu=_as_it_lies), Other(relu=_kept), Other(relu=_changes)
missing = SimpleNamespace(
    relu=lambda z: np.maximum(z, 0), contract={"functions": ["relu", "relu_grad"]}
)


# -- what cannot be written -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--certificate", "nowhere/c.json"), "--certificate nowhere/c.json: cannot be written: "),
        (("--certificate", "."), "--certificate .: is a folder; name a file"),
        (("--certificate", "/proc/c.json"), "--certificate /proc/c.json: cannot be written"),
        (("--junit", "nowhere/j.xml"), "--junit nowhere/j.xml: cannot be written: there is no"),
        (("--junit", "wrong.py/j.xml"), "--junit wrong.py/j.xml: cannot be written"),
    ],
)
@pytest.mark.parametrize("how", ["certify", "campaign"])
def test_what_cannot_be_written_is_found_before_anything_runs(
    folder, monkeypatch, how, arguments, said
):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(command, "certify", lambda *order: pytest.fail("it runs"))
    calls = ("--calls", "9") if how == "campaign" else ()
    result = called(how, "wrong", *calls, *arguments)
    assert (result.exit_code, said in result.stderr) == (3, True), result.output
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""


def test_a_journal_that_cannot_be_written_is_found_before_anything_runs(folder, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / ".gradoracle").write_text("no folder")
    monkeypatch.setattr(command, "certify", lambda *order: pytest.fail("it runs"))
    result = called("certify", "wrong", *QUICK)
    assert (result.exit_code, len(result.stderr.splitlines())) == (3, 1)
    assert "the journal's folder .gradoracle: cannot be written: " in result.stderr


def test_a_disk_that_fills_up_costs_no_verdict(folder, monkeypatch):
    monkeypatch.chdir(folder)
    one = SimpleNamespace(relu=lambda z: np.maximum(z, 0))
    monkeypatch.setattr(command, "load", lambda name, confinement: _wrapped(one))
    monkeypatch.setattr("gradoracle.conformance.backends.registry.located", lambda _: ("m", "m"))

    def full(journal, entry):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Journal, "write", full)
    options = ("--profile", "quick", "--operators", "relu", "--in-process")
    result = called("certify", "mine", *options, "--certificate", "/dev/full")
    assert result.exit_code == 3
    said = " ".join(result.stdout.split())
    assert "CERTIFIED (quick: 25 geometries a check; 1 of 2 formulas" in said
    journal, certificate = result.stderr.splitlines()
    assert journal.endswith("mine.journal ends early: No space left on device")
    assert certificate == "--certificate /dev/full: cannot be written: No space left on device"


def _wrapped(one):
    from gradoracle.conformance.backends.registry import wrap

    return wrap(one, "mine")


def test_an_outcome_is_read_as_it_is_written():
    for one in wrong_certificate().outcomes:
        plain = json.loads(json.dumps(asdict(one)))
        assert outcome_of(plain).verdict == one.verdict


def test_what_was_done_before_an_interruption_is_kept(tmp_path):
    path, one = tmp_path / "j", Outcome("b", "relu", "linear", "not run", "so")
    kept = Kept(path, {"seed": 1}, [], [])
    for acts in ([], [["used the network", "x"]], [["used the network", "x"], ["loaded", "y"]]):
        kept.write(one, acts)
    kept.close()
    assert acts_in(path) == [["used the network", "x"], ["loaded", "y"]]
    assert read(path)[1] == [one] * 3
    Journal(path, {"seed": 1}, [{"acts": [["x"]]}]).close()
    with pytest.raises(JournalError, match=r"line 2: acts\[0\]: must be a list of 2 or more"):
        read(path)
