"""Layers of real networks: what is checked of them, what is caught, and how it is told."""

import subprocess
import sys
from dataclasses import replace
from math import prod
from pathlib import Path

import numpy as np
import pytest

import gradoracle
from gradoracle import oracle
from gradoracle.conformance.backends.registry import wrap
from gradoracle.conformance.checking.check_run import examine
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.operators.network_layers import NETWORKS, layers
from gradoracle.conformance.operators.ranks import of_rank
from gradoracle.conformance.properties.scale import require_layer
from gradoracle.conformance.runs.certify import checks
from gradoracle.conformance.scale import workloads
from gradoracle.conformance.scale.convolution import ROLES, column, read, terms
from gradoracle.conformance.scale.data import NUMBERS, largest_sum, layer_call
from gradoracle.conformance.scale.elements import chosen, exact, share_of_bound
from gradoracle.conformance.scale.projection import fresh, wrong_element
from gradoracle.implementations import im2col
from gradoracle.implementations.im2col import correlation, windows
from gradoracle.oracle.declaration import ask, evaluate, operands
from gradoracle.oracle.expected.exact import MultilinearTruth
from tests.planted.fault import backend
from tests.planted.scale import FAULTS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
WITH_LAYERS = [operator for operator in OPERATORS if operator.layers]
FORMULAS = [(o, f) for o in WITH_LAYERS for f in o.formulas]
NAMES = [f.__name__ for _, f in FORMULAS]
SIZES = {  # odd in every way, and small enough for the literal oracle
    "conv2d": {
        "images": 3, "groups": 2, "group_channels": 3, "multiplier": 2, "height": 7, "width": 6,
        "bias": 1,
        "kernel_height": 3, "kernel_width": 2, "stride_height": 2, "stride_width": 1,
        "padding_height": 1, "padding_width": 2, "dilation_height": 1, "dilation_width": 2,
    },
    "linear": {"images": 3, "inputs": 7, "outputs": 5, "bias": 1},
}  # fmt: skip
SIZES["conv_transpose2d"] = {
    **SIZES["conv2d"], "output_padding_height": 1, "output_padding_width": 0,
}  # fmt: skip
SIZES |= {
    f"{kind}{rank}d": {**of_rank(SIZES[f"{kind}2d"], rank), **deep}
    for kind in ("conv", "conv_transpose")
    for rank, deep in ((1, {}), (3, {"depth": 3, "kernel_depth": 2, "padding_depth": 1}))
}


def call_of(operator, formula, numbers="whole numbers", dtype="float32", seed=4):
    return layer_call(
        operator, formula, "a layer", SIZES[operator.name], numbers=numbers, seed=seed,
        dtype=dtype, accumulator=dtype,
    )  # fmt: skip


def right(formula, call):
    return ask(getattr(im2col, formula.__name__), formula, call)


# -- which layers ---------------------------------------------------------------------------------


def test_every_layer_of_every_network_is_judged_alone_and_in_a_large_batch():
    conv2d = WITH_LAYERS[0]
    of_networks = [layer for layer in conv2d.layers if not layer.always]
    assert len(of_networks) == sum(len(layers(network)) for network in NETWORKS)
    for operator in WITH_LAYERS:
        all_, left = workloads.chosen(operator, at_scale=True)
        assert left == 0
        assert {one.layer for one in all_} == {layer.name for layer in operator.layers}
        for layer in operator.layers:
            images = {one.sizes["images"] for one in all_ if one.layer == layer.name}
            assert 1 in images
            most = max(images)
            twice = operator.arguments({**layer.sizes, "images": 2 * most})
            assert most == 32 or workloads.elements(twice) > workloads.ELEMENTS
    resnet = [one for one in all_names(conv2d) if one.startswith("ResNet-50")]
    assert len(resnet) == 2 * len(layers("ResNet-50"))
    assert all(f"{name}, 32 images" in resnet for name in {r.partition(",")[0] for r in resnet})


def all_names(operator):
    return [one.name for one in workloads.chosen(operator, at_scale=True)[0]]


def test_every_run_judges_few_products():
    for operator in WITH_LAYERS:
        few, left = workloads.chosen(operator, at_scale=False)
        assert left + len(few) == len(all_names(operator))
        products = {one.layer: workloads.products(operator, one.sizes) for one in few}
        blocked = [layer for layer in products if layer.endswith("MiB of columns")]
        assert sum(products.pop(layer) for layer in blocked) <= 1_700_000
        assert len(blocked) == operator.name.endswith("2d")
        assert sum(products.values()) <= 1_200_000
    few, _ = workloads.chosen(WITH_LAYERS[0], at_scale=False)
    assert {one.layer.split()[0] for one in few} == {"LeNet", "MobileNet", "4.2"}


@pytest.mark.parametrize("function", ["conv2d", "conv2d_grad_input", "conv2d_grad_weight"])
def test_every_run_sees_columns_of_more_than_four_mib(function, monkeypatch):
    """Im2col, wrong where an image has several blocks: all but the first lie a row too high."""
    monkeypatch.setattr("gradoracle.conformance.checking.minimising.PATIENCE", 1)

    def wrong(*asked):
        for block in blocks(*asked):
            rows = slice(block.rows.start - 1, block.rows.stop - 1)
            yield block if block.is_first else block._replace(rows=rows)

    blocks = windows.blocks
    for module in (windows, correlation):
        monkeypatch.setattr(module, "blocks", wrong)
    judged = next(c for c in checks() if (c[1].__name__, c[2].name) == (function, "holds_at_scale"))
    outcome = examine(wrap(im2col), *judged, examples=300, seed=1)
    assert outcome.status == "mismatch"
    assert "--at-scale" not in outcome.mismatch.repro


def test_products_of_a_layer_are_those_of_the_formula():
    for operator in WITH_LAYERS:
        for layer in operator.layers[::9]:
            sizes, shapes = layer.sizes, operator.arguments(layer.sizes).shapes
            if operator.name == "linear":
                want = sizes["inputs"] * sizes["outputs"]
            elif operator.name in ("conv1d", "conv2d", "conv3d"):
                want = prod(shapes["grad_output"]) * prod(shapes["weight"][1:])
            else:
                want = prod(shapes["x"]) * prod(shapes["weight"][1:])
            assert workloads.products(operator, sizes) == want


# -- the numbers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("operator", "formula"), FORMULAS, ids=NAMES)
def test_rounding_never_acts_on_whole_numbers(operator, formula, dtype):
    call = call_of(operator, formula, dtype=dtype)
    truth = MultilinearTruth(formula, call)
    assert truth.is_exact(dtype, dtype)
    assert 0 < int(truth.magnitude.max()) <= call.largest_sum <= 2**24
    assert call.largest_sum == largest_sum(read(formula, call, call.shape))


@pytest.mark.parametrize("name", ["VGG-16 64x224² 3x3 -> 64", "ResNet-50 512x7² 3x3 -> 512"])
def test_whole_numbers_of_large_layers_stay_small_and_some_are_long(name):
    operator = WITH_LAYERS[0]
    batch = [one for one in workloads.batches(operator) if one.layer == name][-1]
    for formula in operator.formulas:
        call = layer_call(
            operator, formula, name, batch.sizes, numbers="whole numbers", seed=1,
            dtype="float32", accumulator="float32",
        )  # fmt: skip
        assert 0 < call.largest_sum <= 2**24
        arrays = operands(formula, call).values()
        assert max(abs(array).max() for array in arrays) > 2**12
        assert all(array.any() for array in arrays)


@pytest.mark.parametrize("numbers", NUMBERS)
@pytest.mark.parametrize(("operator", "formula"), FORMULAS, ids=NAMES)
def test_the_source_makes_the_same_arrays(operator, formula, numbers):
    call = call_of(operator, formula, numbers)
    made = {"np": np}
    exec("\n".join(call.source()), made)  # noqa: S102 - it is our own
    for name, array in operands(formula, call).items():
        assert made[name].dtype == array.dtype
        assert np.array_equal(made[name], array)


# -- single places by the definition --------------------------------------------------------------


@pytest.mark.parametrize(("operator", "formula"), FORMULAS, ids=NAMES)
def test_elements_and_columns_are_those_of_the_literal_loops(operator, formula):
    call = call_of(operator, formula)
    of, want = read(formula, call, call.shape), evaluate(formula, call)
    want = want.reshape(of.shape)
    for at in np.ndindex(want.shape):
        left, right_ = terms(of, at)
        bias = 0 if of.bias is None else of.bias[at[1]]
        assert float(left @ right_) + bias == want[at]
    if of.gives != "db":
        for place in np.ndindex(want.shape[2:]):
            assert np.array_equal(column(of, place), want[:, :, *place])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("operator", "formula"), FORMULAS, ids=NAMES)
def test_elements_of_floats_have_the_bound_of_the_whole_answer(operator, formula, dtype):
    call = call_of(operator, formula, "floats", dtype)
    of, got = read(formula, call, call.shape), right(formula, call)
    bound = MultilinearTruth(formula, call).bound(dtype, dtype).reshape(of.shape)
    whole = got.reshape(of.shape)
    for at in chosen(of, np.random.default_rng(1)):
        assert share_of_bound(of, at, whole, dtype) <= 1
        alone = float(exact(of, at).bound(dtype, dtype).item())
        assert alone <= bound[at] * (1 + 2.0**-20)
        off = whole.copy()
        off[at] += np.asarray(4 * bound[at] + 1e-300, dtype)
        assert share_of_bound(of, at, off, dtype) > 1
        off[at] = np.nan
        assert not share_of_bound(of, at, off, dtype) <= 1


# -- wrong answers --------------------------------------------------------------------------------


def one_off(y):
    y.flat[y.size // 2] += 1


def one_down(y):
    y.flat[-1] -= 1


def last_tile_is_zero(y):
    y[:, -2:] = y[:, -2:] + 1


def opposite(y):
    """Two wrong elements that add up to nothing."""
    y[0, 0] += 1
    y[0, 1] -= 1


def opposite_images(y):
    y[0, 0] += 1
    y[-1, 0] -= 1


def four_that_cancel(y):
    """What no weights that are the same for two images or two channels would see."""
    y[0, 0], y[0, 1], y[1, 0], y[1, 1] = y[0, 0] + 1, y[0, 1] - 1, y[1, 0] - 1, y[1, 1] + 1


def last_is_the_first(y):
    y[-1] = y[0]


def channels_are_exchanged(y):
    y[:, [0, -1]] = y[:, [-1, 0]]


def by_a_power_of_two(y):
    y.flat[1] += 2.0**23


def is_half_off(y):
    y.flat[3] += 0.5


def has_a_nan(y):
    y.flat[-2] = np.nan


WRONG = (
    one_off, one_down, last_tile_is_zero, opposite, opposite_images, four_that_cancel,
    last_is_the_first, channels_are_exchanged, by_a_power_of_two, is_half_off, has_a_nan,
)  # fmt: skip
PARTS = [c for c in FORMULAS if ROLES[c[1]].gives != "db"]


@pytest.mark.parametrize(("operator", "formula"), PARTS, ids=[f.__name__ for _, f in PARTS])
def test_right_answers_are_never_flagged_and_wrong_ones_always(operator, formula):
    for seed in range(20):
        call = call_of(operator, formula, seed=seed)
        of = read(formula, call, call.shape)
        got = right(formula, call).reshape(of.shape)
        for _ in range(10):
            assert wrong_element(of, got, fresh()) is None
        for make in WRONG:
            wrong = got.copy()
            make(wrong)
            for _ in range(5):
                at, want, count = wrong_element(of, wrong, fresh())
                assert want == got[at] != wrong[at]
                there = slice(None), slice(None), *at[2:]
                assert count == (~(wrong[there] == got[there])).sum()


def test_a_call_whose_answer_has_another_form_is_told():
    operator, formula = FORMULAS[0]
    call = call_of(operator, formula)
    got = right(formula, call)
    for other, words in ((got[1:], "shape"), (got.astype("float64"), "dtype")):
        with pytest.raises(AssertionError, match=words):
            require_layer(wrap(im2col), formula, call, other)


# -- planted faults and controls ------------------------------------------------------------------


def case(function, *names):
    """The check of a function, on some layers of its operator."""
    operator, formula, property_ = next(
        c for c in checks() if (c[1].__name__, c[2].name) == (function, "holds_at_scale")
    )
    few = tuple(layer for layer in operator.layers if layer.name in names)
    assert len(few) == len(names)
    return replace(operator, layers=few), formula, property_


@pytest.mark.parametrize("name", FAULTS)
def test_faults_of_large_layers_are_caught_and_shown(name, monkeypatch):
    planted = FAULTS[name]
    if not planted.small:
        monkeypatch.setattr(
            "gradoracle.conformance.checking.minimising.PATIENCE", 15
        )  # seconds to look for a small call
    candidate = backend((planted.function,), **{planted.function: planted.wrong})
    judged = case(planted.function, planted.layer)
    outcome = examine(wrap(candidate), *judged, examples=300, seed=1, at_scale=True)
    assert outcome.status == "mismatch"
    told = outcome.mismatch
    assert told.text.startswith("SimpleNamespace breaks holds_at_scale")
    assert "--at-scale" in told.repro or "at_scale=True" in told.repro
    arrays = [a for a in told.arguments.values() if isinstance(a, dict)]
    if planted.small or (planted.small is None and arrays):
        assert sum(prod(array["shape"]) for array in arrays) <= 2 * workloads.SHOWN
        assert arrays
    else:
        assert "random = np.random.default_rng(" in told.script
        assert len(told.script) < 3000
    kind = candidate.__class__.__name__
    lines = told.script.replace(
        f"backend = ...  # put it here: the object that is checked as {kind!r}",
        LOADED.format(name),
    )
    assert lines != told.script
    fails, told_of = replayed(lines)
    assert fails
    assert "AssertionError" in told_of, told_of
    mended = lines.replace("planted.wrong}", "getattr(good, planted.function)}")
    assert replayed(mended)[0] is False


def replayed(script):
    """Whether a script fails, and what it says."""
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT
    )
    return run.returncode != 0, run.stderr


LOADED = """
from gradoracle.implementations import im2col as good
from tests.planted.fault import backend
from tests.planted.scale import FAULTS
planted = FAULTS[{!r}]
backend = backend((planted.function,), **{{planted.function: planted.wrong}})
"""

CONTROLS = {
    "conv2d": ["ResNet-50 3x224² 7x7/2 -> 64", "ResNet-50 512x7² 3x3 -> 512",
               "MobileNet v1 512x14² 3x3 depthwise -> 512"],
    "conv_transpose2d": ["U-Net 1024x28² 2x2/2 -> 512"],
    "linear": ["ResNet-50 2048 -> 1000", "VGG-16 4096 -> 4096"],
    "conv1d": ["wav2vec, 1 second", "TextCNN 100"], "conv3d": ["a small volume", "R(2+1)D"],
    "conv_transpose1d": ["a short sequence", "HiFi-GAN, last"],
    "conv_transpose3d": ["a small volume", "V-Net"],
}  # fmt: skip


RIGHT = [("im2col", operator, formula) for operator, formula in FORMULAS]
RIGHT += [("torch_reference", operator, operator.formula) for operator in WITH_LAYERS]


@pytest.mark.parametrize(
    ("package", "operator", "formula"), RIGHT, ids=[f"{p} {f.__name__}" for p, _, f in RIGHT]
)
def test_right_backends_pass(package, operator, formula, monkeypatch):
    monkeypatch.setattr(workloads, "BATCHES", (1, 3))
    if package == "torch_reference":
        pytest.importorskip("torch")
    judged = case(formula.__name__, *CONTROLS[operator.name])
    outcome = examine(
        wrap(f"implementations.{package}"), *judged, examples=300, seed=2, at_scale=True
    )
    assert outcome.status == "passed", outcome.text
    assert len(outcome.layers) == 2 * len(CONTROLS[operator.name])
    assert outcome.judged == 4 * len(outcome.layers)
    assert outcome.layers_left == 0


# -- what a certificate says ----------------------------------------------------------------------


def test_a_certificate_says_what_was_not_judged_at_scale():
    certificate = gradoracle.check(im2col, operators=["linear"], examples=2, seed=1)
    (outcome,) = [
        o for o in certificate.outcomes
        if (o.formula, o.property_name) == ("linear", "holds_at_scale")
    ]  # fmt: skip
    assert len(outcome.layers) == 5
    assert outcome.layers_left == 11
    text = " ".join(certificate.text().split())
    assert "not checked at scale: layers 11 of linear, 11 of linear_grad_input" in text
    assert "; --at-scale checks them" in text
    assert (
        "checked at scale, linear, linear_grad_input, linear_grad_weight, linear_grad_bias: "
        in text
    )
    again = type(certificate).from_json(certificate.to_json())
    assert again.outcomes[-1].layers == certificate.outcomes[-1].layers
    assert not again.at_scale


def test_a_layer_in_a_worker_is_judged_alike():
    isolated = wrap("gradoracle.implementations.im2col")
    assert isolated.isolated
    try:
        judged = case("conv2d_grad_weight", "ResNet-50 512x7² 3x3 -> 512")
        outcome = examine(isolated, *judged, examples=300, seed=3, at_scale=True)
    finally:
        isolated.asked.close()
    assert outcome.status == "passed", outcome.text
    assert outcome.calls == {"float32": {"layers": 4}, "float64": {"layers": 4}}


def test_layers_that_a_run_leaves_out_do_not_look_passed():
    judged = case("conv_transpose2d", "U-Net 1024x28² 2x2/2 -> 512")
    outcome = examine(wrap(im2col), *judged, examples=300, seed=1)
    assert (outcome.status, outcome.layers, outcome.layers_left) == ("not run", [], 2)
    assert outcome.reason == workloads.TOO_LARGE


def declines(x, weight, bias=None, **o):
    if weight.shape[1] == 1 < o["groups"]:
        raise NotImplementedError("no depthwise convolutions")
    return im2col.conv2d(x, weight, bias, **o)


def test_declined_layers_are_not_among_the_judged():
    candidate = backend(("conv2d",), conv2d=declines)
    judged = next(c for c in checks() if (c[1], c[2].name) == (oracle.conv2d, "holds_at_scale"))
    outcome = examine(wrap(candidate), *judged, examples=300, seed=1)
    assert outcome.status == "passed"
    assert outcome.declined == 12  # 3 layers, 2 dtypes, whole numbers and floats
    assert not [name for name in outcome.layers if "depthwise" in name]
    assert outcome.layers_left == len(all_names(judged[0])) - len(outcome.layers)


def test_the_same_seed_gives_the_same_errors():
    judged = next(c for c in checks() if (c[1], c[2].name) == (oracle.conv2d, "holds_at_scale"))
    worst = {
        examine(wrap(im2col), *judged, examples=300, seed=5).worst_error_over_bound
        for _ in range(3)
    }
    assert len(worst) == 1
