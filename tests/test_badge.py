"""A certificate as a badge and as an in-toto statement."""

import hashlib
import json
from dataclasses import replace
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from typer.testing import CliRunner

import gradoracle
from gradoracle.conformance.cli import app
from gradoracle.conformance.reports.badge import GREEN, GREY, RED, YELLOW, badge, svg
from gradoracle.conformance.reports.statement import PREDICATE, STATEMENT, statement
from gradoracle.implementations import im2col

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def right():
    backend = SimpleNamespace(relu=im2col.relu, contract={"dtypes": ["float32"]})
    told = gradoracle.check(backend, operators=["relu"], examples=25, seed=1)
    assert told.passed, told.verdict
    return replace(told, files={"k.py": "a" * 64, "lib/k.so": "b" * 64})


@pytest.fixture(scope="module")
def wrong():
    backend = SimpleNamespace(relu=np.abs, contract={"dtypes": ["float32"]})
    return gradoracle.check(backend, operators=["relu"], examples=10, seed=1)


def deviating(right):
    first, second, *rest = [o for o in right.outcomes if o.status == "passed"]
    known = [replace(o, status="deviation", deviation="why") for o in (first, second)]
    return replace(right, examples=300, expected=[], outcomes=[*known, *rest])


def test_the_badge_says_what_was_found(right, wrong):
    assert badge(right) == ("certified, quick", YELLOW)
    assert badge(replace(right, examples=300)) == ("certified", GREEN)
    assert badge(wrong) == ("not certified", RED)
    assert badge(deviating(right)) == ("certified, 2 known deviations", YELLOW)
    assert badge(replace(right, shard="2/4")) == ("shard 2/4", GREY)
    assert badge(replace(wrong, shard="2/4")) == ("not certified", RED)
    assert badge(replace(right, outcomes=[])) == ("not certified", RED)


def test_the_badge_is_an_image_with_a_name(wrong):
    root = ET.fromstring(svg(replace(wrong, backend='a<"&\x1b')))  # noqa: S314 - our own
    title = root.find(f"{SVG}title").text
    assert title == f'gradoracle: a<"&?: {wrong.verdict} (10 geometries a check)'
    assert (root.get("role"), root.get("aria-label")) == ("img", title)
    assert [text.text for text in root.iter(f"{SVG}text")] == ["gradoracle", "not certified"]
    left, right = root.findall(f"{SVG}rect")
    assert int(left.get("width")) + int(right.get("width")) == int(root.get("width"))


def test_a_quick_run_is_named_and_a_whole_one_is_as_its_verdict(right):
    assert "<title>gradoracle: SimpleNamespace: CERTIFIED (quick)</title>" in svg(right)
    whole = replace(right, examples=300)
    assert "<title>gradoracle: SimpleNamespace: CERTIFIED</title>" in svg(whole)
    assert 'SimpleNamespace: CERTIFIED (deep)"' in svg(replace(right, examples=5000))


def luminance(colour):
    """Return the relative luminance of WCAG 2.1 of a colour such as #2e7d32."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("colour", [GREEN, YELLOW, RED, GREY])
def test_white_text_can_be_read_on_every_colour(colour):
    assert 1.05 / (luminance(colour) + 0.05) >= 4.5


def test_a_statement_says_what_was_checked_by_hash(right):
    text = right.to_json().encode()
    made = statement(text, json.loads(text), right)
    assert [*made] == ["_type", "subject", "predicateType", "predicate"]
    assert (made["_type"], made["predicateType"]) == (STATEMENT, PREDICATE)
    assert made["subject"] == [
        {"name": "k.py", "digest": {"sha256": "a" * 64}},
        {"name": "lib/k.so", "digest": {"sha256": "b" * 64}},
    ]
    predicate = made["predicate"]
    assert (predicate["verdict"], predicate["certified"]) == ("CERTIFIED (quick)", True)
    assert predicate["certificate"]["digest"] == {"sha256": hashlib.sha256(text).hexdigest()}
    assert predicate["certificate"]["content"] == {"sha256": json.loads(text)["sha256"]}
    assert predicate["suite"]["digest"] == {"sha256": right.suite}


def test_the_commands(right, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def cli(*arguments):
        return CliRunner().invoke(app, [*arguments])

    (tmp_path / "c.json").write_text(right.to_json())
    assert cli("badge", "c.json").output == svg(right)
    assert cli("badge", "c.json", "-o", "b.svg").output == ""
    assert (tmp_path / "b.svg").read_text() == svg(right)
    assert cli("attest", "c.json", "-o", "s.json").exit_code == 0
    assert json.loads((tmp_path / "s.json").read_text())["_type"] == STATEMENT
    assert cli("attest", "c.json", "-o", "no/s.json").exit_code == 3
    for certificate, said in (
        (replace(right, files={}), "it names no file of the backend"),
        (replace(right, shard="1/2"), "it is of shard 1/2 only: gradoracle merge"),
    ):
        (tmp_path / "d.json").write_text(certificate.to_json())
        done = cli("attest", "d.json")
        assert done.exit_code == 2
        assert done.stderr.startswith(f"d.json: {said}")
    (tmp_path / "d.json").write_text("[]")
    assert cli("badge", "d.json").exit_code == 2
