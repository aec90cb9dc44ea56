"""The first look: what is plainly wrong is shown at once, and the checks find what they found."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

import gradoracle
from gradoracle.conformance.backends.mismatch import Ended
from gradoracle.conformance.backends.registry import IN_PROCESS, load, wrap
from gradoracle.conformance.checking.checks import checks
from gradoracle.conformance.checking.examination import Examination
from gradoracle.conformance.runs import command
from gradoracle.conformance.runs.certify import operators_named
from gradoracle.conformance.runs.command import Order, certify
from gradoracle.conformance.runs.first_look import NOTED, first_look
from gradoracle.implementations import im2col
from tests.relu_files import RIGHT, WRONG

FLIPPED = SimpleNamespace(
    conv2d=im2col.conv2d,
    conv2d_grad_bias=im2col.conv2d_grad_bias,
    conv2d_grad_input=lambda grad_output, weight, **options: im2col.conv2d_grad_input(
        grad_output, weight[:, :, ::-1, ::-1].copy(), **options
    ),
)
OF_ONE_IMAGE = SimpleNamespace(
    conv2d_grad_bias=lambda grad_output: im2col.conv2d_grad_bias(grad_output[:1])
)


def _softmax(z, *, axis):
    powers = np.exp(z)  # overflows, where the largest element is not taken off
    return powers / powers.sum(axis, keepdims=True, dtype=z.dtype)


def look(backend, *names):
    chosen = operators_named(names)
    wanted = {(f.__name__, p.name) for _, f, p in checks(chosen)}
    return first_look(backend, chosen, wanted, 1)


@pytest.mark.parametrize(
    ("functions", "operator", "check"),
    [
        (FLIPPED, "conv2d", ("conv2d_grad_input", "matches_oracle")),
        (OF_ONE_IMAGE, "conv2d", ("conv2d_grad_bias", "matches_oracle")),
        (SimpleNamespace(softmax=_softmax), "softmax", ("softmax", "within_rounding_bound")),
    ],
)
def test_what_is_plainly_wrong_is_found(functions, operator, check):
    found, what = look(wrap(functions, "wrong"), operator)
    assert found == check
    assert what.startswith(f"{check[0]}[")
    assert ": got " in what


OVERFLOWS = SimpleNamespace(softmax=_softmax)
DROPS_NAN = SimpleNamespace(relu=lambda z: np.where(z > 0, z, 0).astype(z.dtype))


@pytest.mark.parametrize(("functions", "name"), [(DROPS_NAN, "relu"), (OVERFLOWS, "softmax")])
def test_what_a_look_finds_is_in_the_verdict(functions, name):
    backend, chosen = wrap(functions, "wrong"), operators_named([name])
    wanted = {(name, "matches_oracle"), (name, "within_rounding_bound")}
    found = 0
    for seed in range(1, 9):
        seen = first_look(backend, chosen, wanted, seed)
        if seen is None:  # no number of this seed shows it
            continue
        found += 1
        quick = gradoracle.check(backend, operators=[name], seed=seed, examples=25)
        assert seen[0] in {(one.formula, one.property_name) for one in quick.mismatches}
    assert found > 4


def test_nothing_is_found_of_a_right_backend_nor_remembered():
    backend = load("im2col", IN_PROCESS)
    before = {name: repr(getattr(backend, name)) for name in NOTED}
    assert look(backend, "conv2d", "softmax", "embedding", "max_pool2d") is None
    assert {name: repr(getattr(backend, name)) for name in NOTED} == before
    assert backend.answers == []


def test_checks_that_are_not_wanted_are_not_looked_at():
    backend, chosen = wrap(FLIPPED, "wrong"), operators_named(["conv2d"])
    assert first_look(backend, chosen, {("conv2d", "matches_oracle")}, 1) is None


def test_a_call_that_ends_the_process_ends_the_look(monkeypatch):
    asked = []

    def passes(exam, call):
        asked.append((exam.formula.__name__, *call))
        raise Ended("conv2d: the process died", "conv2d")

    monkeypatch.setattr(Examination, "passes", passes)
    assert look(wrap(FLIPPED, "wrong"), "conv2d") is None
    assert len(asked) == 1


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return a function that certifies a text, with what was printed meanwhile."""
    monkeypatch.chdir(tmp_path)

    def run(text):
        (tmp_path / "k.py").write_text(text)
        said = io.StringIO()
        order = Order("./k.py", ["relu"], None, 4, 7, confinement=IN_PROCESS, keeps=False)
        return certify(order, Console(file=said, width=200)), said.getvalue()

    return run


def outcomes(certificate):
    return [
        (o.formula, o.property_name, o.status, o.reason, o.calls, o.mismatch)
        for o in certificate.outcomes
    ]


def test_the_checks_find_the_same_call_as_without_the_look(run, monkeypatch):
    told, said = run(WRONG)
    monkeypatch.setattr(command, "first_look", lambda *_: None)
    without, less = run(WRONG)
    assert outcomes(told) == outcomes(without)
    first, _, then = said.partition("relu_grad breaks matches_oracle: relu_grad")
    assert first.startswith("at first look: relu_grad[")
    assert then
    assert "at first look" not in less


def test_nothing_is_said_of_a_right_backend(run):
    assert run(RIGHT)[1] == ""
