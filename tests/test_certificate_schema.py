"""The schema of certificates: real ones fit it, and nothing is in them that it does not explain."""

import json
import shutil
import zipfile
from dataclasses import fields
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import numpy as np
import pytest
from typer.testing import CliRunner

import gradoracle
from gradoracle.conformance.backends.contract import Contract, Deviation
from gradoracle.conformance.backends.isolation.limits import Limits
from gradoracle.conformance.backends.registry import Confinement
from gradoracle.conformance.cli import app
from gradoracle.conformance.reports.certificate import Certificate, Outcome
from gradoracle.conformance.reports.certificate_json import SCHEMA, SCHEMA_FILE
from gradoracle.conformance.reports.mismatch_text import MismatchReport
from gradoracle.implementations import im2col

ROOT = Path(__file__).parent.parent
SCHEME = json.loads(SCHEMA_FILE.read_text())
DEFS = SCHEME["$defs"]
VALIDATOR = jsonschema.Draft202012Validator(SCHEME)


def told(certificate):
    def fail(word):
        pytest.fail(f"{word} is no JSON")

    return json.loads(certificate.to_json(), parse_constant=fail)


def names(of):
    return {field.name for field in fields(of)}


def explained(schema):
    """Whether a field has a description, of its own or of what it refers to."""
    reference = schema.get("$ref", "").rpartition("/")[2]
    return bool(schema.get("description") or DEFS.get(reference, {}).get("description"))


def objects(schema, at=""):
    """Every object that the schema describes, the conditions aside."""
    if schema.get("properties"):
        yield at, schema
    for name, inner in schema.get("properties", {}).items():
        yield from objects(inner, f"{at}/{name}")
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            yield from objects(schema[name], f"{at}/{name}")


# Fields that certificates of the same schema may be without.
NOTES = {
    "outcome": {"accepted", "repeated", "supported", "errors", "even_shapes"},
    "mismatch": {"compared"},
    "contract": {"assumes"},
}
OBJECTS = dict(
    pair for name, one in {"": SCHEME, **DEFS}.items() for pair in objects(one, name)
)  # fmt: skip


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEME)
    assert SCHEME["$schema"].endswith("draft/2020-12/schema")
    assert SCHEME["properties"]["schema"]["const"] == SCHEMA
    assert SCHEME["$id"].endswith(f":{SCHEMA}")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "",
            names(Certificate)
            | {"schema", "certified", "verdict", "why_not", "level", "witnesses", "sha256"},
        ),
        ("outcome", names(Outcome)),
        ("mismatch", names(MismatchReport)),
        ("contract", names(Contract) | {"has", "inside"}),
        ("deviation", names(Deviation)),
        ("confinement/limits", names(Limits)),
    ],
)
def test_every_field_is_in_the_schema_and_always_there(name, expected):
    assert set(OBJECTS[name]["properties"]) == expected
    assert set(OBJECTS[name]["required"]) == expected - NOTES.get(name, set())


@pytest.mark.parametrize("at", OBJECTS)
def test_the_schema_is_strict_and_explains_every_field(at):
    schema = OBJECTS[at]
    assert schema["additionalProperties"] is False
    assert [n for n, field in schema["properties"].items() if not explained(field)] == []
    assert len(OBJECTS) >= 10


def check(*operators, backend=im2col, examples=20, **functions):
    judged = SimpleNamespace(**functions) if functions else backend
    return gradoracle.check(judged, operators=operators, examples=examples, seed=1)


def last_nan(x, **options):
    values, indices = im2col.max_pool2d(x, **options)
    return np.where(np.isnan(values), x.dtype.type(0), values), indices


def decline(z):
    raise NotImplementedError("later")


SLOPE = {"formula": "relu", "reason": "the slope is 1 everywhere"}
MINUS_ONE = {"dtype": "float32", "shape": [1], "data": [-1]}
CASES = {
    "passed": lambda: check("relu", "linear"),
    "declined": lambda: check("relu", relu=decline),
    "nothing claimed": lambda: check("relu", tanh=im2col.tanh),
    "claimed and not there": lambda: check(
        "relu", relu=im2col.relu, contract={"functions": ["relu", "relu_grad"]}
    ),
    "mismatch on NaN": lambda: check("max_pool2d", max_pool2d=last_nan, examples=100),
    "raised": lambda: check("relu", relu=lambda z: 1 / 0),
    "mismatch of a network": lambda: check(
        "network_backward",
        **{n: getattr(im2col, n) for n in im2col.__all__} | {"tanh_grad": lambda dy, z: dy},
    ),
    "mismatch of a graph": lambda: check(
        "graph_backward",
        **{n: getattr(im2col, n) for n in im2col.__all__} | {"tanh_grad": lambda dy, z: dy},
    ),
    "policies and accumulators": lambda: check("relu", backend="torch"),
    "crashed": lambda: check("conv2d", backend="tests.misbehaving:abort"),
    "never returns": lambda: gradoracle.check(
        "tests.misbehaving:never_returns",
        operators=["relu"],
        examples=5,
        seed=1,
        confinement=Confinement(limits=Limits(call=1, first=1)),
    ),
    "changed its process": lambda: check(
        "conv2d", backend="tests.misbehaving:changes_the_working_directory"
    ),
    "deviates": lambda: check(
        "relu",
        relu=lambda z: z,
        contract={"deviations": [{"formula": "relu", "reason": "the slope is 1 everywhere"}]},
    ),
    "stale": lambda: check(
        "relu",
        relu=im2col.relu,
        contract={"deviations": [{**SLOPE, "call": {"z": MINUS_ONE, "grad_output": MINUS_ONE}}]},
    ),
    "not met": lambda: check(
        "relu",
        relu=im2col.relu,
        contract={"deviations": [SLOPE]},
    ),
}


@cache
def certificate_of(case):
    return CASES[case]()


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_certificates_fit_the_schema(case):
    certificate = certificate_of(case)
    content = told(certificate)
    VALIDATOR.validate(content)
    statuses = {o.status for o in certificate.outcomes}
    assert {"raised": "mismatch", "crashed": "mismatch", "deviates": "deviation",
            "declined": "no call"}.get(case, "") in {"", *statuses}  # fmt: skip
    if case == "mismatch on NaN":
        assert '"nan"' in certificate.to_json()


@pytest.mark.parametrize(
    "change",
    [
        {"surprise": 1},
        {"schema": SCHEMA - 1},
        {"why_not": "so"},
        {"verdict": "CERTIFIED BUT FOR 1 KNOWN DEVIATION"},
        {"stale": ["something"]},
        {"suite": "short"},
        {"expected": [["relu"]]},
        {"seed": "one"},
    ],
)
def test_what_is_no_certificate_does_not_fit(change):
    content = told(certificate_of("passed"))
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate({**content, **change})


@pytest.mark.parametrize("change", [{"status": "deviation"}, {"status": "fine"}, {"more": 1}])
def test_an_outcome_that_is_none_does_not_fit(change):
    content = told(certificate_of("passed"))
    first, *rest = content["outcomes"]
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate({**content, "outcomes": [{**first, **change}, *rest]})


@pytest.mark.slow
def test_a_resumed_certificate_fits_the_schema(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def certify(*more):
        arguments = ("im2col", "--operators", "relu", "--profile", "quick", *more)
        return CliRunner().invoke(app, ["certify", *arguments, "--certificate", "c.json"])

    certify()
    journal = tmp_path / ".gradoracle" / "im2col.journal"
    journal.write_bytes(journal.read_bytes()[:-200])
    assert "going on after" in certify("--resume").output
    VALIDATOR.validate(json.loads((tmp_path / "c.json").read_text()))


def test_the_command_prints_the_schema():
    result = CliRunner().invoke(app, ["schema"])
    assert (result.exit_code, json.loads(result.output)) == (0, SCHEME)


def test_the_schema_is_in_the_wheel(tmp_path, monkeypatch):
    from setuptools import build_meta

    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("oracle", "implementations", "conformance"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(source)
    wheel = build_meta.build_wheel(str(tmp_path))
    assert (
        "gradoracle/conformance/reports/certificate.schema.json"
        in zipfile.ZipFile(tmp_path / wheel).namelist()
    )
