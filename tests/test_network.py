"""Whole networks: the chain, what rounding may do along it, and faults that only it shows."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

import gradoracle
from gradoracle import oracle
from gradoracle.conformance.checking.strategies import draw
from gradoracle.conformance.operators.network import LAYERS, NETWORK
from gradoracle.implementations import im2col
from gradoracle.oracle.chains.network import backward, forward
from gradoracle.oracle.chains.propagation import Bounded, Propagation, Undecided
from gradoracle.oracle.declaration import evaluate, is_data
from gradoracle.oracle.formulas.max_pool import max_pool2d_indices, max_pool2d_values

pytestmark = pytest.mark.slow

GOOD = {name: getattr(im2col, name) for name in im2col.__all__}
STYLES = {style.name: style for style in NETWORK.styles.floats}


def drawn(count, seed=1):
    found = []
    draw(NETWORK, "medium", count, seed, found.extend)
    return found


def calls(count, style="scaled normal", dtype="float64"):
    for g in drawn(count):
        yield NETWORK.call(g.sizes, STYLES[style], g.seed, dtype)


def gradients(ask, call):
    return backward(ask, call["steps"], call, forward(ask, call["steps"], call))


def test_networks_of_every_kind_are_drawn():
    geometries = drawn(400)
    assert len(geometries) == 400
    names = Counter(g.region for g in geometries)
    assert all(names[layer[0]] >= 5 for layer in LAYERS)
    steps = Counter()
    for g in geometries:
        arguments = NETWORK.arguments(g.sizes)
        steps.update(step.operator for step in arguments.options["steps"])
        steps["two blocks"] += arguments.shapes["weight_2"] is not None
        steps[arguments.options["reduction"]] += 1
    for what in ("relu", "leaky_relu", "sigmoid", "tanh", "max_pool2d", "avg_pool2d",
                 "two blocks", "mean", "sum"):  # fmt: skip
        assert steps[what] >= 60, what


def test_the_chain_is_pytorchs_autograd():
    torch = pytest.importorskip("torch")
    for call in calls(60):
        tensors = {n: torch.tensor(a) if isinstance(a, np.ndarray) else a for n, a in call.items()}
        leaves = [n for n, a in call.items() if is_data(a)]
        for name in leaves:
            tensors[name].requires_grad_()
        loss = NETWORK.witness(torch)(tensors)
        want = torch.autograd.grad(loss, [tensors[n] for n in leaves])
        got = gradients(evaluate, call)
        for name, gradient in zip(leaves, want, strict=True):
            np.testing.assert_allclose(got[name], gradient.numpy(), rtol=1e-10, atol=1e-12)


def test_the_formula_moves_every_parameter_down_its_gradient():
    for call in calls(10):
        got = gradients(evaluate, call)
        names = [n for n in oracle_parameters(call) if call[n] is not None]
        want = [(call[n] - call["learning_rate"] * got[n]).ravel() for n in names]
        np.testing.assert_allclose(evaluate(NETWORK.formula, call), np.concatenate(want))


def oracle_parameters(call):
    return [n for n in call if n.startswith(("weight_", "bias_"))]


@pytest.mark.parametrize("style", STYLES)
def test_propagated_bounds_hold_for_float32(style):
    judged, worst = 0, 0.0
    for call in calls(80, style, "float32"):
        try:
            want = gradients(Propagation("float32").ask, call)
        except Undecided:
            continue
        judged += 1
        got = gradients(lambda f, c: np.asarray(evaluate(f, c)), call)
        for name, bounded in want.items():
            error = abs(got[name].astype(np.float64) - bounded.value)
            assert (error <= bounded.error).all(), name
            with np.errstate(all="ignore"):
                worst = max(worst, float(np.nan_to_num(error / bounded.error).max(initial=0)))
    assert judged >= 40
    assert worst > 1e-3  # the bounds are not so wide that they say nothing


def test_a_sign_within_its_error_is_undecided():
    z = Bounded(np.array([1.0, 1e-9]), np.array([0.0, 1e-8]))
    with pytest.raises(Undecided, match="sign"):
        Propagation("float32").ask(oracle.relu, {"z": z})
    exact = Bounded(np.array([0.0, -0.0]), np.zeros(2))
    assert not Propagation("float32").ask(oracle.relu, {"z": exact}).value.any()


def pooled(x, error, **kind):
    call = {
        "x": Bounded(np.array([[[x]]]), np.array([[[error]]])), "kernel_size": (1, 2),
        "stride": (1, 2), "padding": (0, 0), "dilation": (1, 1), "ceil_mode": False,
    }  # fmt: skip
    return [Propagation("float32", **kind).ask(f, call) for f in (
        max_pool2d_values, max_pool2d_indices)]  # fmt: skip


def test_a_maximum_within_its_error_is_undecided():
    values, indices = pooled([1.0, 2.0], [0.1, 0.2])
    assert (values.value.item(), values.error.item(), indices.item()) == (2.0, 0.2, 1)
    with pytest.raises(Undecided, match="maximum"):
        pooled([1.0, 1.2], [0.1, 0.2])


def test_equal_exact_maxima_are_decided_unless_the_contract_leaves_them_open():
    assert pooled([1.0, 1.0], [0.0, 0.0])[1].item() == 0
    with pytest.raises(Undecided):
        pooled([1.0, 1.0], [0.0, 0.0], strict_ties=True)


def check(**replaced):
    backend = SimpleNamespace(**{**GOOD, **replaced})
    return gradoracle.check(backend, operators=["network_backward"], seed=1)


def averages_once_more():
    """dW is divided by the batch once a mean has been asked for: right alone, twice in a chain."""
    mean = [False]

    def cross_entropy(logits, target, *, reduction):
        mean[0] = reduction == "mean"
        return im2col.cross_entropy(logits, target, reduction=reduction)

    def conv2d_grad_weight(grad_output, x, **options):
        dw = im2col.conv2d_grad_weight(grad_output, x, **options)
        return dw / len(x) if mean[0] else dw

    return {"cross_entropy": cross_entropy, "conv2d_grad_weight": conv2d_grad_weight}


def test_a_fault_that_only_the_chain_shows_is_caught_and_told():
    alone = SimpleNamespace(**{**GOOD, **averages_once_more()})
    single = ["conv2d", "cross_entropy"]
    assert gradoracle.check(alone, operators=single, examples=20, seed=1).passed
    found = check(**averages_once_more()).mismatches
    assert {m.property_name for m in found} == {"network_backward", "network_matches_torch"}
    assert "dE/dweight" in found[0].headline
    assert "Every function answers its own call rightly" in found[0].text or (
        "conv2d_grad_weight" in found[0].text
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"sgd_step": lambda p, g, *, learning_rate: p + p.dtype.type(learning_rate) * g},
        {"relu_grad": lambda dy, z: np.where(z >= 0, dy, 0).astype(dy.dtype)},
        {"cross_entropy_grad": lambda z, t, *, reduction: im2col.cross_entropy_grad(
            z, t, reduction="sum")},
        {"tanh_grad": lambda dy, z: dy * (1 - z * z)},
        {"conv2d": lambda x, w, b=None, **o: im2col.conv2d(x, w[:, :, ::-1, ::-1], b, **o)},
        {"avg_pool2d_grad_input": lambda dy, **o: im2col.avg_pool2d_grad_input(dy, **o) * 2},
    ],
    ids=lambda wrong: next(iter(wrong)),
)  # fmt: skip
def test_a_wrong_link_is_caught_and_blamed(wrong):
    certificate = check(**wrong)
    found = [m for m in certificate.mismatches if m.property_name == "network_backward"]
    assert found
    assert f"{next(iter(wrong))}[" in found[0].text


def test_consistent_faults_are_the_slopes_to_see():
    """A loss off by a factor, and its gradient not: only the slope knows no formula."""
    certificate = check(cross_entropy=lambda z, t, *, reduction: np.asarray(
        im2col.cross_entropy(z, t, reduction=reduction) * z.dtype.type(1.5)))  # fmt: skip
    assert not certificate.passed


def test_a_backend_without_some_activations_and_indices_is_judged_on_the_rest():
    few = {n: f for n, f in GOOD.items() if not n.startswith(("tanh", "sigmoid", "avg_pool2d"))}
    del few["max_pool2d_grad_input"]
    certificate = gradoracle.check(
        SimpleNamespace(**few), operators=["network_backward"], examples=200, seed=1
    )
    assert certificate.passed, certificate.why_not
    assert min(o.judged for o in certificate.outcomes) >= 10


def test_a_backend_without_a_loss_has_no_network():
    few = {n: f for n, f in GOOD.items() if not n.startswith("cross_entropy")}
    outcomes = gradoracle.check(SimpleNamespace(**few), operators=["network_backward"]).outcomes
    assert {o.status for o in outcomes} == {"not claimed"}


def test_lenet_learns():
    pytest.importorskip("sklearn")
    from gradoracle.conformance.backends.registry import load
    from gradoracle.conformance.examples.lenet import Digits, load_digits, train

    learned, tested = load_digits()
    assert learned.images.shape == (1437, 1, 8, 8)
    few = Digits(learned.images[:320], learned.digits[:320])
    epochs = list(train(load("im2col"), few, tested, epochs=4, learning_rate=1.0))
    assert epochs[-1].loss < 0.6 * epochs[0].loss
    assert epochs[-1].accuracy > 0.6


def test_lenet_without_scikit_learn_names_the_extra(monkeypatch):
    import sys

    from gradoracle.conformance.examples.lenet import load_digits

    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r"pip install 'gradoracle\[examples\]'"):
        load_digits()
