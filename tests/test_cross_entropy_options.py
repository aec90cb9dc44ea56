"""The cross-entropy with PyTorch's options: against PyTorch, by hand, and in part."""

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest

import gradoracle
from gradoracle import oracle
from gradoracle.conformance.operators.domain import ABSENT, Condition, Rule
from gradoracle.conformance.operators.further_losses import (
    CROSS_ENTROPY_LOSS,
    SHARES,
    SOFT_TARGET_CROSS_ENTROPY,
)
from gradoracle.conformance.operators.inside import Inside
from gradoracle.conformance.operators.variations import drawn
from gradoracle.implementations import im2col
from gradoracle.oracle.expected.truth import truth

RANDOM = np.random.default_rng(5)
X, WEIGHT = RANDOM.normal(size=(6, 5)), RANDOM.uniform(0.25, 3, 5)
CLASSES = np.array([4, 1, 0, 2, 2, 3])
PROBABILITIES = RANDOM.multinomial(SHARES, np.full(5, 0.2), 6) / SHARES
REDUCTIONS, SMOOTHING = ("mean", "sum", "none"), (0.0, 0.1, 1.0)


def in_pytorch(target, weight, options):
    """Return PyTorch's loss, dy, and the gradients by logits and, of probabilities, by targets."""
    torch = pytest.importorskip("torch")
    soft = target.dtype.kind == "f"
    leaves = [torch.tensor(a, requires_grad=True) for a in ((X, target) if soft else (X,))]
    labels = leaves[1] if soft else torch.tensor(target)
    of = None if weight is None else torch.tensor(weight)
    loss = torch.nn.functional.cross_entropy(leaves[0], labels, of, **options)
    dy = np.random.default_rng(2).normal(size=loss.shape)
    slopes = torch.autograd.grad(loss, leaves, torch.tensor(dy))
    return loss.detach().numpy(), np.asarray(dy), [one.numpy() for one in slopes]


@pytest.mark.parametrize("backend", [oracle, im2col])
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_losses_of_classes_are_pytorchs(backend, weight):
    for reduction, smoothing, ignored in product(REDUCTIONS, SMOOTHING, (-100, 0, 2)):
        options = {
            "reduction": reduction, "label_smoothing": smoothing, "ignore_index": ignored
        }  # fmt: skip
        target = np.where(np.arange(6) == 1, ignored, CLASSES)
        loss, dy, (dx,) = in_pytorch(target, weight, options)
        np.testing.assert_allclose(
            backend.cross_entropy_loss(X, target, weight, **options), loss, 1e-13
        )
        found = backend.cross_entropy_loss_grad(dy, X, target, weight, **options)
        np.testing.assert_allclose(found, dx, 1e-12, 1e-14)


@pytest.mark.parametrize("backend", [oracle, im2col])
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_losses_of_probabilities_are_pytorchs(backend, weight):
    for reduction, smoothing in product(REDUCTIONS, SMOOTHING):
        options = {"reduction": reduction, "label_smoothing": smoothing}
        loss, dy, (dx, dt) = in_pytorch(PROBABILITIES, weight, options)
        given = (X, PROBABILITIES, weight)
        np.testing.assert_allclose(
            backend.soft_target_cross_entropy(*given, **options), loss, 1e-13
        )
        by_input = backend.soft_target_cross_entropy_grad_input(dy, *given, **options)
        np.testing.assert_allclose(by_input, dx, 1e-12, 1e-14)
        by_target = backend.soft_target_cross_entropy_grad_target(dy, *given, **options)
        np.testing.assert_allclose(by_target, dt, 1e-12, 1e-14)


@pytest.mark.parametrize("backend", [oracle, im2col])
def test_two_rows_by_hand(backend):
    logits = np.log([[1.0, 3.0], [1.0, 1.0]])
    target, weight = np.array([1, 0]), np.array([2.0, 4.0])
    options = {"ignore_index": -100, "label_smoothing": 0.5, "reduction": "mean"}
    rows = [
        0.5 * 4 * np.log(4 / 3) + 0.25 * (2 * np.log(4) + 4 * np.log(4 / 3)),
        0.5 * 2 * np.log(2) + 0.25 * (2 * np.log(2) + 4 * np.log(2)),
    ]
    loss = backend.cross_entropy_loss(logits, target, weight, **options)
    np.testing.assert_allclose(loss, sum(rows) / (4 + 2), 1e-13)


@pytest.mark.parametrize("backend", [oracle, im2col])
@pytest.mark.parametrize("smoothing", SMOOTHING)
def test_what_is_ignored_is_0_whatever_its_logits(backend, smoothing):
    x = np.where(np.arange(6)[:, np.newaxis] == 2, np.nan, X)
    target = np.where(np.arange(6) == 2, -100, CLASSES)
    options = {"ignore_index": -100, "label_smoothing": smoothing, "reduction": "none"}
    losses = backend.cross_entropy_loss(x, target, None, **options)
    assert losses[2] == 0
    assert np.isfinite(losses).all()
    call = {"input": x, "target": target, "weight": None, **options}
    right = truth(oracle.cross_entropy_loss, call)
    assert (right.error_over_bound(losses, "float64") <= 1).all()
    wrong = np.where(np.arange(6) == 2, np.nan, losses)
    assert not (right.error_over_bound(wrong, "float64") <= 1).all()


@pytest.mark.parametrize("backend", [oracle, im2col])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"label_smoothing": 1.5}, "between 0 and 1, got 1.5"),
        ({"target": CLASSES + 1}, "must hold classes"),
        ({"target": np.full(6, -100)}, "nothing"),
        ({"reduction": "max"}, "reduction must be one of"),
    ],
)
def test_what_is_no_call_is_refused(backend, change, words):
    call = {
        "input": X, "target": CLASSES, "weight": None, "ignore_index": -100,
        "label_smoothing": 0.0, "reduction": "mean", **change,
    }  # fmt: skip
    with pytest.raises(ValueError, match=words):
        backend.cross_entropy_loss(**call)


def test_rows_of_probabilities_add_up_to_1_in_every_format():
    for number in range(12):
        sizes = drawn(SOFT_TARGET_CROSS_ENTROPY, number).sizes
        for style in SOFT_TARGET_CROSS_ENTROPY.styles.floats:
            target = SOFT_TARGET_CROSS_ENTROPY.call(sizes, style, number, "float16")["target"]
            assert (target.astype(float).sum(1) == 1).all()
            assert (target >= 0).all()


def test_what_lacks_the_options_is_checked_in_as_many_shapes():
    domain = (
        Condition("ignore_index", Rule(values=(-100,))), Condition("weight", Rule(word=ABSENT)),
        Condition("label_smoothing", Rule(values=(0.0,))),
    )  # fmt: skip
    inside = Inside(CROSS_ENTROPY_LOSS, domain)
    found = [inside(drawn(CROSS_ENTROPY_LOSS, number).sizes) for number in range(40)]
    assert None not in found
    assert len({tuple(sizes.items()) for sizes in found if sizes}) > 30


def plain(input, target, *, reduction):  # noqa: A002 - PyTorch's name
    options = {"ignore_index": -100, "label_smoothing": 0.0, "reduction": reduction}
    return im2col.cross_entropy_loss(input, target, None, **options)


@pytest.mark.slow
def test_a_loss_without_options_is_certified_with_its_domain():
    certificate = gradoracle.check(
        SimpleNamespace(cross_entropy_loss=plain), operators=["cross_entropy_loss"],
        examples=4, seed=1,
    )  # fmt: skip
    assert not certificate.mismatches
    for said in ("weight absent", "ignore_index = -100", "label_smoothing = 0"):
        assert said in " ".join(certificate.text().split())


@pytest.mark.slow
def test_pytorchs_one_function_is_taken_for_all_three():
    torch = pytest.importorskip("torch")
    backend = gradoracle.adapt.torch(torch.nn.functional)
    names = ("cross_entropy_loss", "soft_target_cross_entropy")
    assert {*names, "cross_entropy", "soft_target_cross_entropy_grad_target"} <= {*vars(backend)}
    certificate = gradoracle.check(backend, operators=names, examples=4, seed=1)
    assert not certificate.mismatches
    assert "absent" not in certificate.text()
