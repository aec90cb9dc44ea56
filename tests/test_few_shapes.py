"""Where each shape is expensive, checks share a few geometries and fill them with many values."""

from types import SimpleNamespace

import numpy as np
import pytest

import gradoracle
from gradoracle.conformance.backends.contract import read_contract
from gradoracle.conformance.backends.registry import wrap
from gradoracle.conformance.checking.checks import checks
from gradoracle.conformance.drawing.choices import Choices, spread
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.operators.convolution import CONV2D
from gradoracle.conformance.operators.few_shapes import POOL, of_few_shapes
from gradoracle.conformance.operators.textbook import textbook
from gradoracle.conformance.runs.certify import run_check
from gradoracle.implementations import im2col

pytestmark = pytest.mark.slow
CHECKS = {(f.__name__, p.name): (o, f, p) for o, f, p in checks(OPERATORS)}
EXPENSIVE = {"shapes": "expensive", "dtypes": ["float32"]}


def matched(conv2d, contract, examples=300):
    backend = wrap(SimpleNamespace(conv2d=conv2d, contract=contract))
    return run_check(backend, *CHECKS["conv2d", "matches_oracle"], examples=examples, seed=1)


def test_many_calls_have_few_shapes():
    shapes, values = set(), set()

    def conv2d(x, weight, bias=None, **options):
        shapes.add((x.shape, weight.shape, bias is None, str(options)))
        values.add(np.asarray(x).tobytes())
        return im2col.conv2d(x, weight, bias, **options)

    outcome = matched(conv2d, EXPENSIVE)
    assert outcome.status == "passed"
    assert outcome.judged > 200
    assert len(shapes) <= outcome.shapes <= POOL + len(textbook(CONV2D))
    assert len(values) > 4 * len(shapes)


def test_a_fault_in_a_part_of_the_geometries_is_found():
    def conv2d(x, weight, bias=None, *, stride, padding, dilation, groups):
        if stride[0] != stride[1]:
            stride = stride[::-1]
        return im2col.conv2d(
            x, weight, bias, stride=stride, padding=padding, dilation=dilation, groups=groups
        )

    assert matched(conv2d, EXPENSIVE).status == "mismatch"


def test_the_pool_is_the_seeds_and_begins_with_the_simplest_call():
    pools = [
        {
            tuple(of_few_shapes(CONV2D, seed).geometry(spread(at), "medium").sizes.values())
            for at in range(300)
        }
        for seed in (1, 2)
    ]
    assert all(POOL // 2 < len(pool) <= POOL for pool in pools)
    assert len(pools[0] & pools[1]) < POOL // 2
    simplest = CONV2D.geometry(Choices(b""), "medium").sizes
    assert of_few_shapes(CONV2D, 1).geometry(Choices(b""), "medium").sizes == simplest
    assert tuple(simplest.values()) in pools[0] & pools[1]


def test_the_certificate_says_how_many_shapes():
    made = SimpleNamespace(relu=im2col.relu, relu_grad=im2col.relu_grad, contract=EXPENSIVE)
    certificate = gradoracle.check(made, operators=["relu"], examples=300, seed=1)
    assert certificate.passed
    most = max(one.shapes for one in certificate.outcomes)
    assert POOL // 2 < most < 2 * POOL
    said = " ".join(certificate.text().split())
    assert certificate.verdict == f"CERTIFIED on {most} shapes a check at most"
    assert f"each shape is expensive, as it says: {most} shapes a check at most" in said


def test_a_wrong_word_for_shapes_names_those_that_there_are():
    with pytest.raises(ValueError, match=r"shapes 'dear' is unknown; pick from \['any', 'expen"):
        read_contract({"shapes": "dear"}, ["conv2d"])
