"""Softmax and cross-entropy: hand-computed numbers, far logits, and what they refuse."""

import math
import re
from itertools import permutations

import numpy as np
import pytest

from gradoracle import oracle
from gradoracle.oracle.declaration import evaluate
from gradoracle.oracle.numbers.high_precision import context, precise
from tests.calls import cross_entropy_calls, softmax_calls

INF = float("inf")
LOG = [math.log(v) for v in (1, 2, 5)]


def numbers(*values, dtype=np.float64):
    return np.array(values, dtype)


def as_precise(call):
    return {
        n: precise(v.astype(float)) if isinstance(v, np.ndarray) and v.dtype == object else v
        for n, v in call.items()
    }


# -- softmax --------------------------------------------------------------------------------------


def test_softmax_by_hand():
    p = oracle.softmax(numbers(*LOG), axis=0)
    assert p.tolist() == pytest.approx([1 / 8, 2 / 8, 5 / 8], rel=1e-15)
    dz = oracle.softmax_grad(numbers(8, 16, 0), numbers(*LOG), axis=0)
    # the mean of dp is 8/8 + 32/8 = 5
    assert dz.tolist() == pytest.approx([3 / 8, 11 * 2 / 8, -5 * 5 / 8], rel=1e-14)


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2, -3])
def test_softmax_goes_along_the_axis_it_is_told(axis):
    z = np.random.default_rng(0).standard_normal((2, 3, 4))
    p = oracle.softmax(z, axis=axis)
    assert p.shape == z.shape
    assert p.sum(axis=axis) == pytest.approx(1, rel=1e-15)
    e = np.exp(z)
    assert p == pytest.approx(e / e.sum(axis=axis, keepdims=True), rel=1e-14)
    dz = oracle.softmax_grad(z, z, axis=axis)
    assert dz.sum(axis=axis) == pytest.approx(0, abs=1e-15)
    assert (dz != 0).all()


def test_far_logits_neither_overflow_nor_vanish():
    z = numbers(1e4, 1e4 + math.log(3), -1e4, -INF)
    with np.errstate(all="raise"):
        p = oracle.softmax(z, axis=0)
        dz = oracle.softmax_grad(numbers(4, 0, 1, 1), z, axis=0)
    assert p.tolist() == pytest.approx([0.25, 0.75, 0, 0], rel=1e-11)
    assert p[2:].tolist() == [0, 0]
    assert dz.tolist() == pytest.approx([0.75, -0.75, 0, 0], rel=1e-11)
    both = oracle.softmax(numbers(-1e30, -1e30), axis=0)
    assert both.tolist() == [0.5, 0.5]


def test_one_class_alone_is_certain():
    z = numbers([3], [-1e4])
    assert oracle.softmax(z, axis=1).tolist() == [[1], [1]]
    assert oracle.softmax_grad(numbers([7], [7]), z, axis=1).tolist() == [[0], [0]]


def test_a_shift_changes_nothing_in_high_precision():
    for c in softmax_calls(40, seed=1):
        call = as_precise(c)
        want = evaluate(oracle.softmax, call)
        got = evaluate(oracle.softmax, {**call, "z": call["z"] + context().mpf(1000)})
        assert all(abs(v / w - 1) < 1e-28 for v, w in zip(got.flat, want.flat, strict=True))


@pytest.mark.parametrize("axis", [2, -3, 5, 1000])
def test_softmax_refuses_an_axis_that_is_not_there(axis):
    z = np.zeros((2, 3))
    words = f"axis must name an axis with elements of shape [2, 3], got {axis}"
    below = f"axis must be at least -2, got {axis}"
    for ask in (lambda: oracle.softmax(z, axis=axis), lambda: oracle.softmax_grad(z, z, axis=axis)):
        with pytest.raises(ValueError, match=re.escape(words if axis > 0 else below)):
            ask()


def test_softmax_refuses_an_empty_axis_and_other_shapes():
    with pytest.raises(ValueError, match=r"axis with elements of shape \[2, 0\], got 1"):
        oracle.softmax(np.zeros((2, 0)), axis=1)
    with pytest.raises(ValueError, match=r"axis with elements of shape \[\], got 0"):
        oracle.softmax(np.zeros(()), axis=0)
    with pytest.raises(ValueError, match="axis must be an integer, got 0.5"):
        oracle.softmax(np.zeros((2, 3)), axis=0.5)
    with pytest.raises(ValueError, match=r"z has shape \[1, 3\], but grad_output has \[2, 3\]"):
        oracle.softmax_grad(np.zeros((2, 3)), np.zeros((1, 3)), axis=1)
    assert oracle.softmax(np.zeros((0, 3)), axis=1).shape == (0, 3)


# -- cross-entropy --------------------------------------------------------------------------------


def test_cross_entropy_by_hand():
    logits, target = numbers(LOG, LOG), np.array([0, 2])
    total = oracle.cross_entropy(logits, target, reduction="sum")
    assert total.shape == ()
    assert total.item() == pytest.approx(math.log(8) + math.log(8 / 5), rel=1e-15)
    mean = oracle.cross_entropy(logits, target, reduction="mean")
    assert mean.item() == pytest.approx(total.item() / 2, rel=1e-15)
    want = numbers([1 / 8 - 1, 2 / 8, 5 / 8], [1 / 8, 2 / 8, 5 / 8 - 1])
    dz = oracle.cross_entropy_grad(logits, target, reduction="sum")
    assert dz == pytest.approx(want, rel=1e-14)
    assert oracle.cross_entropy_grad(logits, target, reduction="mean") == pytest.approx(want / 2)


def test_far_logits_have_the_loss_that_they_have():
    logits = numbers([1e4, 0.0, -1e4])
    with np.errstate(all="raise"):
        losses = [oracle.cross_entropy(logits, np.array([t]), reduction="sum") for t in range(3)]
        dz = oracle.cross_entropy_grad(logits, np.array([2]), reduction="sum")
    assert [loss.item() for loss in losses] == [0, 1e4, 2e4]
    assert dz.tolist() == [[1, 0, -1]]


def test_an_impossible_class_costs_nothing_unless_it_is_the_target():
    logits = numbers([0.0, 0.0, -INF])
    loss = oracle.cross_entropy(logits, np.array([1]), reduction="mean")
    assert loss.item() == pytest.approx(math.log(2), rel=1e-15)
    dz = oracle.cross_entropy_grad(logits, np.array([1]), reduction="mean")
    assert dz.tolist() == [[0.5, -0.5, 0]]
    assert oracle.cross_entropy(logits, np.array([2]), reduction="mean").item() == INF


def test_one_class_alone_costs_nothing():
    assert oracle.cross_entropy(numbers([7.0]), np.array([0]), reduction="sum").item() == 0
    assert oracle.cross_entropy_grad(numbers([7.0]), np.array([0]), reduction="sum").item() == 0


def test_an_empty_batch_sums_to_nothing_and_has_no_mean():
    logits, target = np.zeros((0, 3), np.float32), np.zeros(0, np.int64)
    loss = oracle.cross_entropy(logits, target, reduction="sum")
    assert (loss.shape, loss.dtype, loss.item()) == ((), np.float32, 0)
    assert oracle.cross_entropy_grad(logits, target, reduction="sum").shape == (0, 3)
    for formula in (oracle.cross_entropy, oracle.cross_entropy_grad):
        with pytest.raises(ValueError, match="the mean over an empty batch is undefined"):
            formula(logits, target, reduction="mean")


def test_gradients_of_a_row_add_up_to_nothing_and_classes_have_no_order():
    for c in cross_entropy_calls(30, seed=2):
        call = as_precise(c)
        dz = evaluate(oracle.cross_entropy_grad, call)
        assert all(abs(row) < 1e-32 for row in dz.sum(axis=1))
        rows, classes = c["logits"].shape
        if rows > 0 and classes == 3:
            for order in permutations(range(3)):
                target = np.array([order.index(t) for t in c["target"]])
                there = {**call, "logits": call["logits"][:, order], "target": target}
                moved = evaluate(oracle.cross_entropy_grad, there)
                assert all(
                    abs(v - w) < 1e-32 for v, w in zip(moved.flat, dz[:, order].flat, strict=True)
                )


def test_cross_entropy_is_minus_the_logarithm_of_softmax():
    for c in cross_entropy_calls(40, seed=3):
        call = as_precise(c)
        p = evaluate(oracle.softmax, {"z": call["logits"], "axis": 1})
        terms = [-context().log(row[t]) for row, t in zip(p, c["target"], strict=True)]
        want = sum(terms) / (len(terms) if c["reduction"] == "mean" else 1)
        got = evaluate(oracle.cross_entropy, call).item()
        assert abs(got - want) <= 1e-32 * (1 + abs(want))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logits": np.zeros(3)}, "logits must be [N, C] with a class at least, got [3]"),
        ({"logits": np.zeros((2, 0))}, "logits must be [N, C] with a class at least, got [2, 0]"),
        ({"target": np.zeros(3, int)}, "target has shape [3], but the logits' rows demand [2]"),
        ({"target": np.zeros((2, 1), int)}, "target has shape [2, 1]"),
        ({"target": np.zeros(2)}, "target must hold class indices, integers, got float64"),
        ({"target": np.array([0, 3])}, "target must hold classes 0 to 2, got 0 to 3"),
        ({"target": np.array([-1, 2])}, "target must hold classes 0 to 2, got -1 to 2"),
        ({"reduction": "none"}, "reduction must be one of ['mean', 'sum'], got 'none'"),
    ],
)
def test_illegal_arguments_are_named(change, message):
    bad = {"logits": np.zeros((2, 3)), "target": np.array([0, 2]), "reduction": "mean"} | change
    for formula in (oracle.cross_entropy, oracle.cross_entropy_grad):
        with pytest.raises(ValueError, match=re.escape(message)):
            evaluate(formula, bad)
