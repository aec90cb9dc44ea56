"""Ties of maximum and max in derived gradients: whose the slope is, by declaration or contract."""

from types import SimpleNamespace

import numpy as np
import pytest

import gradoracle
from gradoracle.conformance.backends import backend as backends
from gradoracle.conformance.backends import registry
from gradoracle.conformance.backends.registry import wrap
from gradoracle.conformance.checking.check_run import examine
from gradoracle.conformance.properties import PROPERTIES
from gradoracle.oracle.derive import derived, with_ties
from gradoracle.oracle.numbers.reverse import ANY, FIRST, SPLIT

RULES = (FIRST, SPLIT, ANY)


def body(a, b):
    """Return y [N], the largest of every row where a is raised to b.

        y[n] = max_c max(a[n,c], b[n,c])

    (a test's own formula).
    """
    return np.maximum(a, b).max(1)


def slope_right(dy, a, b, *, first):
    """The gradient by a: of the first of equal numbers, or in equal parts."""
    larger = np.maximum(a, b)
    top = larger == larger.max(1, keepdims=True)
    if first:
        top &= top.cumsum(1) == 1
        return dy[:, None] * (top & (a >= b))
    share = dy[:, None] * top / top.sum(1, keepdims=True).astype(a.dtype)
    return np.where(a == b, share / 2, np.where(a > b, share, 0)).astype(a.dtype)


def record(rule):
    return gradoracle.operator("a: n c; b: n c; grad_output: n", ties=rule)(body)


A = np.array([[1.0, 2, 2], [3, 3, 3], [0, 1, 5]])
B = np.array([[1.0, 2, 0], [3, 3, 3], [0, 4, 2]])
DY = np.array([8.0, 12, 1])


@pytest.mark.parametrize("rule", RULES[:2])
def test_equal_numbers_share_the_slope_as_the_rule_says(rule):
    by_a, by_b = record(rule).gradients
    found = by_a(DY, A, B)
    assert np.array_equal(found, slope_right(DY, A, B, first=rule == FIRST))
    assert np.array_equal((found + by_b(DY, A, B)).sum(1), DY)
    assert np.array_equal(with_ties(by_a, FIRST)(DY, A, B), slope_right(DY, A, B, first=True))


def test_in_equal_parts_is_what_pytorch_does():
    torch = pytest.importorskip("torch")
    a, b = torch.tensor(A, requires_grad=True), torch.tensor(B, requires_grad=True)
    y = torch.maximum(a, b).amax(1)
    want = torch.autograd.grad(y, [a, b], torch.tensor(DY))
    for gradient, of in zip(record(SPLIT).gradients, want, strict=True):
        assert np.array_equal(gradient(DY, A, B), of.numpy())


def test_a_limit_of_clip_has_the_slope_1_whatever_the_rule():
    @derived("z: n", ["z"], rule=SPLIT)
    def clipped(z):
        """Return y.

            y = min(max(z, 0), 1)

        (a test).
        """
        return np.clip(z, 0, 1)

    (gradient,) = clipped.gradients
    assert gradient(np.ones(4), np.array([-1.0, 0, 1, 2])).tolist() == [0, 1, 1, 0]


def test_a_rule_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="ties must be 'first', 'split' or 'any-subgradient', got"):
        record("last")


@pytest.mark.slow
@pytest.mark.parametrize("declared", RULES)
@pytest.mark.parametrize("claimed", [None, *RULES])
@pytest.mark.usefixtures("verdicts_only")
def test_a_backend_is_checked_by_its_contract_or_the_declared_rule(declared, claimed, monkeypatch):
    operator, rule = record(declared), claimed or declared
    by_a, _ = operator.gradients
    for module in (backends, registry):
        monkeypatch.setattr(module, "FUNCTIONS", ("body", "body_grad_a"))
    contract = {"policies": {"ties": claimed}} if claimed else {}
    for first in (True, False):

        def slope(dy, a, b, first=first):
            return slope_right(dy, a, b, first=first)

        backend = wrap(SimpleNamespace(body_grad_a=slope, contract=contract))
        of = PROPERTIES["within_rounding_bound"]
        found = examine(backend, operator, by_a, of, examples=25, seed=1)
        right = rule == ANY or first == (rule == FIRST)
        assert found.status == ("passed" if right else "mismatch"), (first, found.reason)


@pytest.mark.parametrize("rule", RULES)
def test_a_nan_is_kept_whatever_the_rule(rule):
    formula = with_ties(derived("a: n c; b: n c; grad_output: n", ("a", "b"))(body).forward, rule)
    nan, one = np.array([[np.nan]]), np.ones((1, 1))
    for a, b in ((nan, one), (one, nan), (nan, nan)):
        assert np.isnan(formula(a, b)).all(), (a, b)
