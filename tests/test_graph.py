"""Graphs of operators: the chain rule beside autograd, bounds, and faults that a graph shows."""

import re
import sys
from collections import Counter
from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import typer

import gradoracle
from gradoracle.conformance.backends.registry import load
from gradoracle.conformance.checking import counterexample, examination, minimising
from gradoracle.conformance.checking.strategies import draw
from gradoracle.conformance.operators.graph import GRAPH, NAMED, named
from gradoracle.conformance.operators.graph_blocks import IMAGE_BLOCKS, ROW_BLOCKS
from gradoracle.implementations import im2col
from gradoracle.oracle.chains.graph import ARRAYS, PARAMETERS, backward, forward
from gradoracle.oracle.chains.links import LINKS, LOSSES
from gradoracle.oracle.chains.propagation import Propagation, Undecided
from gradoracle.oracle.declaration import ask as asked
from gradoracle.oracle.declaration import evaluate, is_data
from tests.planted.graphs import ALONE, GRAPHS, backend

pytestmark = pytest.mark.slow

GOOD = {name: getattr(im2col, name) for name in im2col.__all__}
SEEDS = (1, 2, 3, 4, 5)


@pytest.fixture
def planted_seeds(request):
    """The seeds that each backend is tried from: one, or as many as --planted-seeds says."""
    return SEEDS[: request.config.getoption("--planted-seeds")]


@cache
def drawn(count):
    found = []
    draw(GRAPH, "medium", count, 1, found.extend)
    return [*found, *named(GRAPH, GRAPH.formula)]


def calls(count, dtype):
    for one in drawn(count):
        yield GRAPH.call(one.sizes, GRAPH.styles.floats[0], one.seed, dtype)


def gradients(ask, call):
    return backward(ask, call["nodes"], call, forward(ask, call["nodes"], call))


def test_graphs_of_every_kind_are_drawn():
    seen, shared = Counter(), Counter()
    for call in calls(300, "float64"):
        seen.update({node.operator for node in call["nodes"]})
        numbers = Counter(node.number for node in call["nodes"] if node.number)
        shared["weights"] += max(numbers.values()) > 1
        shared["losses"] += sum(node.operator in LOSSES for node in call["nodes"]) > 1
        inputs = Counter(name for node in call["nodes"] for name in node.inputs)
        shared["values"] += max(inputs.values()) > 1
    assert all(seen[name] >= 20 for name in (*LINKS, *LOSSES, "weighted_sum")), seen
    assert all(shared[what] >= 60 for what in ("weights", "losses", "values")), shared


def test_every_certification_meets_the_named_graphs():
    regions = [one.region for one in named(GRAPH, GRAPH.formula)]
    assert regions == [name for name, *_ in NAMED]
    used = {block for _, _, blocks, *_ in NAMED for block in blocks}
    assert used <= {*IMAGE_BLOCKS, *ROW_BLOCKS}


def test_the_chain_rule_is_pytorchs_autograd():
    torch = pytest.importorskip("torch")
    for call in calls(60, "float64"):
        tensors = {n: torch.tensor(a) if isinstance(a, np.ndarray) else a for n, a in call.items()}
        got = gradients(evaluate, call)
        assert {*got} == {n for n in ("x", *PARAMETERS) if call[n] is not None}
        for name in got:
            tensors[name].requires_grad_()
        loss = GRAPH.witness(torch)(tensors)
        want = torch.autograd.grad(loss, [tensors[name] for name in got])
        for name, gradient in zip(got, want, strict=True):
            np.testing.assert_allclose(got[name], gradient.numpy(), rtol=1e-9, atol=1e-11)


def test_the_formula_is_all_gradients_flat():
    call = next(calls(1, "float64"))
    want = gradients(evaluate, {name: call[name] for name in (*ARRAYS, "nodes")})
    flat = np.concatenate([one.ravel() for one in want.values()])
    np.testing.assert_array_equal(evaluate(GRAPH.formula, call), flat)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_propagated_bounds_hold(dtype):
    judged, worst = 0, 0.0
    for call in calls(60, dtype):
        try:
            want = gradients(Propagation(dtype).ask, call)
        except Undecided:
            continue
        judged += 1
        got = gradients(lambda f, c: np.asarray(asked(getattr(im2col, f.__name__), f, c)), call)
        for name, bounded in want.items():
            assert got[name].dtype == dtype
            error = abs(got[name].astype(np.float64) - bounded.value)
            assert (error <= bounded.error).all(), name
            with np.errstate(all="ignore"):
                worst = max(worst, float(np.nan_to_num(error / bounded.error).max(initial=0)))
    assert judged >= (40 if dtype == "float32" else 5)
    assert worst > 1e-3  # the bounds are not so wide that they say nothing


@pytest.mark.parametrize("name", ["im2col", "oracle", "torch"])
def test_right_backends_pass(name, planted_seeds):
    if name == "torch":
        pytest.importorskip("torch")
    for seed in planted_seeds:
        found = gradoracle.check(name, operators=["graph_backward"], examples=60, seed=seed)
        assert found.passed, found.text()


@pytest.fixture
def hasty(monkeypatch):
    """Make no counterexample smaller: that a fault is caught is the question."""
    monkeypatch.setattr(minimising, "PATIENCE", 0.0)
    monkeypatch.setattr(examination, "FURTHER", 0)
    monkeypatch.setattr(examination, "FURTHER_IF_LIGHT", 0)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("name", GRAPHS)
def test_planted_faults_are_caught(name, planted_seeds):
    for seed in planted_seeds:
        found = gradoracle.check(backend(name), operators=["graph_backward"], seed=seed)
        assert [one.status for one in found.outcomes] == ["mismatch"], (name, seed)


@pytest.mark.parametrize("name", ALONE)
def test_faults_between_functions_are_silent_one_by_one(name):
    for operator in sorted({function.split("_grad")[0] for function in GRAPHS[name]()}):
        own = {n: f for n, f in vars(backend(name)).items() if n.split("_grad")[0] == operator}
        own["contract"] = {"dtypes": ["float32"]}
        found = gradoracle.check(SimpleNamespace(**own), operators=[operator], examples=4, seed=1)
        assert found.passed, found.text()


def report(name):
    found = gradoracle.check(backend(name), operators=["graph_backward"], examples=60, seed=1)
    (mismatch,) = found.mismatches
    return mismatch


def test_a_function_that_is_wrong_in_a_graph_only_is_blamed():
    found = report("a_second_loss_replaces_the_first")
    assert "  wrong         cross_entropy_grad[0, 0]: got 0.0, want" in found.text


def test_what_changes_an_array_that_others_read_is_named_and_the_script_shows_it():
    found = report("layer_norm_centres_its_argument")
    assert "layer_norm changed its argument x, which the graph's other functions read" in found.text
    assert "v1 = embedding(tokens, weight_1, padding_idx=None)" in found.text
    nodes = [line for line in found.text.splitlines() if line.strip().startswith("v")]
    assert len(nodes) <= 10  # one block is left of three
    with pytest.raises(AssertionError, match=r"dE/d|loss"):
        run(found.script, "layer_norm_centres_its_argument")
    run(found.script, None)


def run(script, name):
    """Run a script on a planted fault; None: on im2col, for which it must pass."""
    candidate = SimpleNamespace(**GOOD) if name is None else backend(name)
    lines = [line for line in script.splitlines() if not line.startswith("backend = ")]
    exec("\n".join(lines), {"backend": candidate})  # noqa: S102 - that is what it is for


def test_a_graph_is_written_into_a_certificate_and_read_again():
    (call, *_) = calls(1, "float32")
    from gradoracle.conformance.properties import PROPERTIES

    property_ = PROPERTIES["graph_backward"]
    plain = counterexample.written(GRAPH, property_, call, steady=True)
    again = counterexample.read(plain, "graph_backward", {}).call
    assert again["nodes"] == call["nodes"]
    for name, value in call.items():
        if is_data(value):
            np.testing.assert_array_equal(again[name], value)
    plain["arguments"]["nodes"]["nodes"][0]["inputs"] = ["9"]
    with pytest.raises(counterexample.NoCall, match=r"no graph has the node \w+\(9\)"):
        counterexample.read(plain, "graph_backward", {})


def test_a_backend_is_checked_on_graphs_of_what_it_has():
    has = ("conv2d", "relu", "linear", "layer_norm")
    few = {n: f for n, f in GOOD.items() if n.split("_grad")[0] in has}
    found = gradoracle.check(SimpleNamespace(**few), operators=["graph_backward"], seed=1)
    assert found.passed, found.text()
    few["conv2d_grad_weight"] = lambda dy, x, **o: GOOD["conv2d_grad_weight"](dy, x, **o) * 2
    found = gradoracle.check(SimpleNamespace(**few), operators=["graph_backward"], seed=1)
    assert "conv2d_grad_weight[" in found.mismatches[0].text


def test_calls_outside_a_domain_are_not_made():
    def conv2d_grad_input(dy, w, *, stride, padding, **o):
        assert padding == (0, 0)
        return im2col.conv2d_grad_input(dy, w, stride=stride, padding=padding, **o)

    contract = {**im2col.contract, "domain": {"conv2d": {"padding": 0}}}
    own = SimpleNamespace(**GOOD | {"conv2d_grad_input": conv2d_grad_input, "contract": contract})
    found = gradoracle.check(own, operators=["graph_backward"], examples=60, seed=1)
    assert found.passed, found.text()


def test_a_backend_with_too_few_functions_has_no_graphs():
    few = SimpleNamespace(relu=im2col.relu, relu_grad=im2col.relu_grad)
    found = gradoracle.check(few, operators=["graph_backward"], examples=20)
    (outcome,) = found.outcomes
    assert outcome.status == "not claimed"
    assert found.why_not == f"nothing was checked: {outcome.reason}"
    assert "too few operators" in outcome.reason


# -- the examples ---------------------------------------------------------------------------------


@pytest.mark.parametrize("example", ["resnet", "transformer"])
def test_a_small_network_learns(example):
    pytest.importorskip("sklearn")
    from importlib import import_module

    from gradoracle.conformance.examples.lenet import Digits, load_digits
    from gradoracle.conformance.examples.training import Training, train

    learned, tested = load_digits()
    few = Digits(learned.images[:480], learned.digits[:480])
    network = import_module(f"gradoracle.conformance.examples.{example}").NETWORK
    training = Training(load("im2col"), network)
    epochs = [*train(training, few, tested, epochs=3, learning_rate=0.02)]
    losses = [loss for _, steps in epochs for loss in steps]
    assert np.mean(losses[-4:]) < 0.7 * np.mean(losses[:4])


@pytest.mark.parametrize("function", ["layer_norm_grad_x", "adam_step"])
def test_a_wrong_function_is_noticed_before_training(function, capsys):
    from rich.console import Console

    from gradoracle.conformance.backends.registry import wrap
    from gradoracle.conformance.examples.training import checked
    from gradoracle.conformance.examples.transformer import NETWORK

    def wrong(*arrays, **options):
        found = GOOD[function](*arrays, **options)
        return tuple(-one for one in found) if isinstance(found, tuple) else -found

    own = wrap(SimpleNamespace(**GOOD | {function: wrong}))
    # The operator alone: all of them take minutes.
    few = replace(NETWORK, operators=(function.removesuffix("_grad_x"),))
    with pytest.raises(typer.Exit) as ended:
        checked(own, few, 2, Console(width=200))
    assert ended.value.exit_code == 1
    assert f"{function}[" in capsys.readouterr().out


def test_a_backend_that_lacks_a_function_of_the_network_is_told_so(capsys):
    from rich.console import Console

    from gradoracle.conformance.backends.registry import wrap
    from gradoracle.conformance.examples.resnet import NETWORK
    from gradoracle.conformance.examples.training import checked

    few = {n: f for n, f in GOOD.items() if not n.startswith("batch_norm")}
    with pytest.raises(typer.Exit) as ended:
        checked(wrap(SimpleNamespace(**few)), NETWORK, 2, Console(width=200))
    assert ended.value.exit_code == 2
    assert "has no batch_norm, batch_norm_grad_x" in capsys.readouterr().out


def test_without_scikit_learn_the_examples_name_the_extra(monkeypatch, capsys):
    from gradoracle.conformance.examples import resnet

    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(typer.Exit):
        resnet.main(backend="im2col")
    assert "pip install 'gradoracle[examples]'" in capsys.readouterr().out


def test_a_loss_is_drawn_as_a_line_and_as_a_picture():
    from gradoracle.conformance.examples.curves import sparkline, svg

    falling = [4.0, 3.0, 2.0, 1.0]
    assert sparkline(falling) == "█▇▅▃"
    assert len(sparkline([1.0] * 500)) == 60
    picture = svg(falling, "a <b> & c")
    assert '<text x="40" y="20">a &lt;b&gt; &amp; c</text>' in picture
    (points,) = re.findall(r'points="([^"]*)"', picture)
    heights = [float(point.split(",")[1]) for point in points.split()]
    assert heights == sorted(heights)
    with pytest.raises(ValueError, match="no losses"):
        sparkline([])
