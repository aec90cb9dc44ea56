"""What a thousand draws of every operator reach: all legal, every stratum, every forced region.

`tests/test_generation.py` has the convolution's.
"""

from collections import Counter
from functools import cache
from math import prod
from types import SimpleNamespace

import numpy as np
import pytest

from gradoracle import oracle
from gradoracle.conformance.backends.registry import wrap
from gradoracle.conformance.checking import call_list
from gradoracle.conformance.checking.check_run import examine
from gradoracle.conformance.checking.examination import Examination
from gradoracle.conformance.checking.strategies import draw
from gradoracle.conformance.drawing.choices import FAR, MANY, PAST
from gradoracle.conformance.drawing.profiles import FIRST_LOOK, PROFILES
from gradoracle.conformance.operators import OPERATORS, arrays, network, pooling
from gradoracle.conformance.operators.activations import SLOPES
from gradoracle.conformance.operators.update import RATES
from gradoracle.conformance.properties import PROPERTIES
from gradoracle.implementations import im2col
from gradoracle.oracle.declaration import Composed, algebra, is_data, parts_of
from gradoracle.oracle.expected.truth import answer_shape
from gradoracle.oracle.shapes import extent
from tests.by_axes import DRAWN_BY_AXES
from tests.planted import FAULTS

DRAWS = 1000
BY_NAME = {operator.name: operator for operator in OPERATORS}
SIDES = ("height", "width")
ARRAYS = ("relu", "leaky_relu", "sigmoid", "tanh", "softmax", "batch_mean", "sgd_step")
MATRICES = ("linear", "cross_entropy", "matmul", "bmm", "broadcast_matmul")
MATRIX_SIDES = ("images", "inputs", "outputs", "classes", "batch", "rows", "inner", "columns")
POOLINGS = ("max_pool2d", "avg_pool2d")
CHAINS = ("network_backward", "graph_backward")


@cache
def drawn(name):
    found = []
    draw(BY_NAME[name], "large", DRAWS, 1, found.extend)
    return found


def test_every_operator_is_drawn_here():
    here = {*ARRAYS, *MATRICES, *POOLINGS, *CHAINS, "conv2d", "conv_transpose2d"}
    planar = {n for n in BY_NAME if not n.endswith(("1d", "3d"))}
    assert here == planar - DRAWN_BY_AXES  # those are in tests/test_drawn_by_axes.py


@pytest.mark.parametrize("name", BY_NAME)
def test_no_draw_is_wasted_and_every_draw_is_legal(name):
    operator, geometries = BY_NAME[name], drawn(name)
    assert len(geometries) == DRAWS
    for geometry in geometries:
        operator.arguments(geometry.sizes)


@pytest.mark.parametrize("size", ["small", "medium"])
@pytest.mark.parametrize("name", BY_NAME)
def test_smaller_draws_are_legal_and_have_calls_of_every_style(name, size):
    operator, seen, geometries = BY_NAME[name], Counter(), []
    draw(operator, size, 240, 2, geometries.extend)
    for geometry in geometries:
        styles = operator.styles.exact + operator.styles.floats + operator.styles.slopes
        style = styles[geometry.seed % len(styles)]
        for dtype in ("float32", "float64"):
            call = operator.call(geometry.sizes, style, geometry.seed, dtype)
            assert {a.dtype.name for a in call.values() if is_data(a)} == {dtype}
            again = operator.call(geometry.sizes, style, geometry.seed, dtype)
            for argument, value in call.items():
                if is_data(value):
                    assert value.tobytes() == again[argument].tobytes()
        seen[style.name] += 1
    every = operator.styles.exact + operator.styles.floats + operator.styles.slopes
    assert {*seen} == {style.name for style in every}


@pytest.mark.parametrize("name", BY_NAME)
def test_every_kind_of_numbers_that_a_property_asks_for_is_there(name):
    operator = BY_NAME[name]
    kinds = {p.kind for p in PROPERTIES.values() if p.formulas(operator)}
    assert kinds
    for kind in kinds:
        assert operator.styles.of(kind)


@pytest.mark.parametrize("name", [n for n in BY_NAME if n not in CHAINS])
def test_strata(name):
    counts = Counter(g.stratum for g in drawn(name))
    assert counts["free"] >= 330
    assert counts["idiomatic"] >= 150
    assert counts["boundary"] >= 330


def regions(name):
    return Counter(g.region for g in drawn(name))


@pytest.mark.parametrize("name", POOLINGS)
def test_every_region_layer_and_limit_of_poolings_is_drawn(name):
    counts = regions(name)
    for region in pooling.REGIONS:
        assert counts[region] >= 8, region
    for layer in pooling.LAYERS:
        assert counts[layer[0]] >= 4, layer
    aims = Counter(g.region.split()[0] for g in drawn(name) if g.stratum == "boundary")
    for aim in pooling.BOUNDARIES:
        assert aims[aim] >= 25, aim


@pytest.mark.parametrize("name", ARRAYS)
def test_every_layer_and_limit_of_arrays_is_drawn(name):
    counts = regions(name)
    for layer, _ in arrays.LAYERS:
        assert counts[layer] >= 8, layer
    limits = [region for region in counts if region.startswith("side ")]
    assert len(limits) >= 15
    if name != "batch_mean":
        assert counts["empty batch"] >= 8


@pytest.mark.parametrize("name", MATRICES)
def test_every_side_of_matrices_is_taken_to_a_limit(name):
    counts = Counter(g.region.rpartition(" ")[0] for g in drawn(name) if g.stratum == "boundary")
    sides = [n for n in MATRIX_SIDES if n in drawn(name)[0].sizes]
    for side in sides:
        assert counts[side] >= 60, side
    assert regions(name)["empty batch"] >= 8


def test_every_network_is_drawn():
    counts = regions("network_backward")
    for layer in network.LAYERS:
        assert counts[layer[0]] >= 20, layer
    assert counts["anything"] >= 400


# -- what every certificate reaches ---------------------------------------------------------------


def shapes_of(operator, sizes):
    """Return the shapes of the arrays of a call, and those of results that no gradient is given."""
    arguments = operator.arguments(sizes)
    given = [shape for shape in arguments.shapes.values() if shape is not None]
    if operator.backward or not isinstance(algebra(operator.formula), Composed):
        return given
    call = operator.call(sizes, operator.styles.of("any")[0], 1, "float32")
    return [*given, *(answer_shape(one, call) for one in parts_of(operator.formulas[0]))]


@pytest.mark.parametrize("name", [n for n in BY_NAME if n not in CHAINS])
def test_corners_are_legal_and_past_every_limit(name):
    given = [shape for c in BY_NAME[name].corners for shape in shapes_of(BY_NAME[name], c.sizes)]
    assert {*PAST} <= {side for shape in given for side in shape}
    if name not in ("softmax", "cross_entropy"):
        assert max(map(prod, given)) > 2**16


@pytest.mark.parametrize(("name", "dtypes"), [
    ("layer_norm", {"float16", "bfloat16", "float32"}), ("layer_norm_grad_weight", {"float64"}),
])  # fmt: skip
def test_a_very_long_axis_is_summed_in_most_digits_and_else_takes_few(name, dtypes, monkeypatch):
    operator = next(one for one in OPERATORS if one.name == "layer_norm")
    formula = next(f for f in operator.formulas if f.__name__ == name)
    property_, met = PROPERTIES["within_rounding_bound"], set()

    def note(exam, drawn):
        met.update(d for g, _, d in drawn if g.sizes["n"] == FAR)

    monkeypatch.setattr(call_list, "_judge_in", note)
    for seed in range(4):
        exam = Examination(wrap(im2col), operator, formula, property_, seed, 300)
        call_list.judge_corners(exam, seed)
    assert met <= dtypes
    assert met


@pytest.mark.parametrize("seed", [1, 2])
def test_corners_are_judged_once_from_the_default_number_of_examples_on(seed):
    def relu(z):
        sizes[z.size] += 1
        return np.maximum(z, 0)

    for examples, times in ((PROFILES["certify"], 1), (FIRST_LOOK, 0)):
        sizes = Counter()
        judged = BY_NAME["relu"], oracle.relu, PROPERTIES["matches_oracle"]
        outcome = examine(wrap(SimpleNamespace(relu=relu)), *judged, examples=examples, seed=seed)
        assert outcome.status == "passed"
        assert sizes[prod(MANY)] == times


@pytest.mark.parametrize("name", ["conv2d", "conv_transpose2d", "max_pool2d", "avg_pool2d"])
def test_every_axis_of_every_array_is_of_size_one_beside_others_that_are_not(name):
    """Its stride is any then, and an array of channels last may be taken for one of rows."""
    alone = Counter()
    for corner in BY_NAME[name].ones:
        for argument, shape in BY_NAME[name].arguments(corner.sizes).shapes.items():
            if shape is not None and len(shape) == 4:
                assert 0 not in shape
                ones = [at for at, size in enumerate(shape) if size == 1]
                alone.update((argument, at) for at in ones if len(ones) == 1)
    wanted = [(n, at) for n in ("x", "grad_output") for at in (0, 1)]
    if "conv" in name:
        wanted += [("weight", at) for at in range(4)]
    assert {*wanted} <= alone.keys()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def test_strides_of_a_single_filter_are_not_taken_for_channels_last(seed):
    wrong = FAULTS["conv2d_takes_adjacent_channels_for_channels_last"].alone()
    judged = BY_NAME["conv2d"], oracle.conv2d, PROPERTIES["ignores_memory_layout"]
    outcome = examine(wrap(wrong), *judged, examples=PROFILES["certify"], seed=seed)
    assert outcome.status == "mismatch"


# -- what the sizes reach -------------------------------------------------------------------------


def either(test):
    return lambda s: any(test(s, axis) for axis in SIDES)


def of(sizes, axis, *names):
    return [sizes[f"{name}_{axis}"] for name in names]


def overhang(sizes, axis):
    """Return by how many pixels the last window hangs over the padded image."""
    name = "max_pool2d" if "dilation_height" in sizes else "avg_pool2d"
    y = BY_NAME[name].arguments(sizes).shapes["grad_output"]
    kernel, stride, padding, dilation = of(sizes, axis, "kernel", "stride", "padding", "dilation")
    start = (y[2 + SIDES.index(axis)] - 1) * stride
    return max(0, start + extent(kernel, dilation) - sizes[axis] - 2 * padding)


def gap(sizes, axis):
    kernel, stride, dilation = of(sizes, axis, "kernel", "stride", "dilation")
    return stride - extent(kernel, dilation)


POOLING_REACHED = {
    "overlapping windows": (500, either(lambda s, a: gap(s, a) < 0 and s[f"stride_{a}"] > 0)),
    "gaps between windows": (150, either(lambda s, a: gap(s, a) > 0)),
    "ceil_mode": (350, lambda s: s["ceil"] == 1),
    "overhang": (120, either(lambda s, a: overhang(s, a) > 0)),
    "overhang on both sides": (30, lambda s: all(overhang(s, a) > 0 for a in SIDES)),
    "overhang with padding": (
        60, either(lambda s, a: overhang(s, a) > 0 and s[f"padding_{a}"] > 0),
    ),
    "padding": (400, either(lambda s, a: s[f"padding_{a}"] > 0)),
    "padding of half the kernel": (
        150,
        either(lambda s, a: s[f"padding_{a}"] > 0 and 2 * s[f"padding_{a}"] == s[f"kernel_{a}"]),
    ),
    "padding not counted": (
        180, lambda s: s["include"] == 0 and any(s[f"padding_{a}"] > 0 for a in SIDES),
    ),
    "padding counted": (
        180, lambda s: s["include"] == 1 and any(s[f"padding_{a}"] > 0 for a in SIDES),
    ),
    "overhang not counted, with padding": (
        25,
        lambda s: s["include"] == 0
        and any(overhang(s, a) > 0 and s[f"padding_{a}"] > 0 for a in SIDES),
    ),
    "height unlike width everywhere": (
        250,
        lambda s: s["height"] != s["width"]
        and all(s[f"{n}_height"] != s[f"{n}_width"] for n in ("kernel", "stride")),
    ),
    "even kernel": (400, either(lambda s, a: s[f"kernel_{a}"] % 2 == 0)),
    "pixels that no window reaches": (
        170,
        either(lambda s, a: s["ceil"] == 0 and (
            s[a] + 2 * s[f"padding_{a}"] - extent(s[f"kernel_{a}"], s[f"dilation_{a}"])
        ) % s[f"stride_{a}"] > 0),
    ),
    "empty batch": (15, lambda s: s["images"] == 0),
    "three images or more": (180, lambda s: s["images"] >= 3),
    "many channels": (60, lambda s: s["channels"] > 8),
    "one pixel": (18, lambda s: s["height"] == s["width"] == 1),
}  # fmt: skip
ONLY_MAX = {
    "dilation": (
        320, either(lambda s, a: s[f"dilation_{a}"] > 1 and s[f"kernel_{a}"] > 1),
    ),
    "dilation with padding": (
        200,
        either(lambda s, a: min(s[f"dilation_{a}"], s[f"kernel_{a}"]) > 1
               and s[f"padding_{a}"] > 0),
    ),
    "dilation with overhang": (
        80,
        either(lambda s, a: min(s[f"dilation_{a}"], s[f"kernel_{a}"]) > 1 and overhang(s, a) > 0),
    ),
    "dilation on one side only": (
        320, lambda s: s["dilation_height"] != s["dilation_width"],
    ),
}  # fmt: skip


def reached(name, test):
    return sum(bool(test(g.sizes)) for g in drawn(name))


@pytest.mark.parametrize("region", [*POOLING_REACHED, *ONLY_MAX])
def test_region_of_max_pooling_is_reached_often(region):
    least, inside = {**POOLING_REACHED, **ONLY_MAX}[region]
    assert reached("max_pool2d", inside) >= least


@pytest.mark.parametrize("region", POOLING_REACHED)
def test_region_of_average_pooling_is_reached_often(region):
    least, inside = POOLING_REACHED[region]
    assert reached("avg_pool2d", inside) >= least


def test_average_pooling_is_not_dilated():
    assert not reached("avg_pool2d", either(lambda s, a: s[f"dilation_{a}"] > 1))


TRANSPOSED_REACHED = {
    "output_padding": (380, either(lambda s, a: s[f"output_padding_{a}"] > 0)),
    "output_padding of the stride or more": (
        60, either(lambda s, a: s[f"output_padding_{a}"] >= s[f"stride_{a}"]),
    ),
    "output_padding with padding": (
        250, either(lambda s, a: s[f"output_padding_{a}"] > 0 and s[f"padding_{a}"] > 0),
    ),
    "output_padding unlike on both sides": (
        280, lambda s: s["output_padding_height"] != s["output_padding_width"],
    ),
    "kernels apart": (
        230, either(lambda s, a: s[f"stride_{a}"] > extent(s[f"kernel_{a}"], s[f"dilation_{a}"])),
    ),
    "kernels over each other": (
        400,
        either(lambda s, a: s[f"stride_{a}"] < extent(s[f"kernel_{a}"], s[f"dilation_{a}"])
               and s[a] > 1),
    ),
    "padding": (550, either(lambda s, a: s[f"padding_{a}"] > 0)),
    "dilation": (
        320, either(lambda s, a: s[f"dilation_{a}"] > 1 and s[f"kernel_{a}"] > 1),
    ),
    "groups": (300, lambda s: s["groups"] > 1),
    "groups unlike multiplier": (220,
    lambda s: s["groups"] > 1 and s["group_channels"] != s["multiplier"]),
    "empty batch": (25, lambda s: s["images"] == 0),
    "no bias": (300, lambda s: s["bias"] == 0),
    "one pixel": (30, lambda s: s["height"] == s["width"] == 1),
}  # fmt: skip


@pytest.mark.parametrize("region", TRANSPOSED_REACHED)
def test_region_of_transposed_convolution_is_reached_often(region):
    least, inside = TRANSPOSED_REACHED[region]
    assert reached("conv_transpose2d", inside) >= least


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_have_every_number_of_axes_and_empty_batches(name):
    axes = Counter(g.sizes["axes"] for g in drawn(name))
    fewest = 2 if name == "batch_mean" else 1
    assert {*axes} == {*range(fewest, 5)}
    assert min(axes.values()) >= 80
    empty = reached(name, lambda s: s["images"] == 0)
    assert empty == 0 if name == "batch_mean" else empty >= 8
    past = reached(name, lambda s: max(s[n] for n in arrays.AXES) >= 255)
    assert past >= 20


def test_softmax_goes_along_every_axis_from_both_ends():
    operator, seen = BY_NAME["softmax"], Counter()
    classes = Counter()
    for geometry in drawn("softmax"):
        made = operator.arguments(geometry.sizes)
        shape, axis = made.shapes["z"], made.options["axis"]
        assert -len(shape) <= axis < len(shape)
        seen[len(shape), axis] += 1
        classes[shape[axis]] += 1
    for ndim in (1, 2, 3, 4):
        for axis in range(-ndim, ndim):
            assert seen[ndim, axis] >= 8, (ndim, axis)
    assert sum(count for size, count in classes.items() if size > 32) >= 60
    assert classes[1] >= 50


def test_slopes_and_rates_are_all_drawn():
    slopes = Counter(SLOPES[g.sizes["pick_negative_slope"]] for g in drawn("leaky_relu"))
    rates = Counter(RATES[g.sizes["rate"]] for g in drawn("sgd_step"))
    assert {*slopes} == {*SLOPES}
    assert {*rates} == {*RATES}
    assert min(*slopes.values(), *rates.values()) >= 80


LINEAR_REACHED = {
    "empty batch": (12, lambda s: s["images"] == 0),
    "one image": (100, lambda s: s["images"] == 1),
    "past a warp of inputs": (100, lambda s: s["inputs"] > 32),
    "past a warp of outputs": (45, lambda s: s["outputs"] > 32),
    "past 16 images": (60, lambda s: s["images"] > 16),
    "one output": (80, lambda s: s["outputs"] == 1),
    "one input": (90, lambda s: s["inputs"] == 1),
    "no bias": (300, lambda s: s["bias"] == 0),
    "bias": (300, lambda s: s["bias"] == 1),
}


@pytest.mark.parametrize("region", LINEAR_REACHED)
def test_region_of_linear_is_reached_often(region):
    least, inside = LINEAR_REACHED[region]
    assert reached("linear", inside) >= least


def test_both_reductions_and_empty_batches_of_cross_entropy():
    operator = BY_NAME["cross_entropy"]
    found = [operator.arguments(g.sizes) for g in drawn("cross_entropy")]
    reductions = Counter(a.options["reduction"] for a in found)
    assert min(reductions["mean"], reductions["sum"]) >= 300
    empty = [a for a in found if a.shapes["logits"][0] == 0]
    assert len(empty) >= 8
    assert {a.options["reduction"] for a in empty} == {"sum"}
    sizes = [a.shapes["logits"] for a in found]
    assert sum(classes == 1 for _, classes in sizes) >= 20
    assert sum(classes > 32 for _, classes in sizes) >= 80
    assert sum(rows > 16 for rows, _ in sizes) >= 30
    targets = Counter()
    for geometry in drawn("cross_entropy")[:200]:
        style = operator.styles.floats[geometry.seed % len(operator.styles.floats)]
        call = operator.call(geometry.sizes, style, geometry.seed, "float32")
        targets["first"] += int((call["target"] == 0).sum())
        targets["last"] += int((call["target"] == call["logits"].shape[1] - 1).sum())
    assert min(targets.values()) >= 30


def test_networks_have_every_part():
    seen = Counter()
    for geometry in drawn("network_backward"):
        steps = BY_NAME["network_backward"].arguments(geometry.sizes).options["steps"]
        seen.update({step.operator for step in steps})
        seen[f"{sum(step.operator == 'conv2d' for step in steps)} convolutions"] += 1
        assert steps[-1].operator == "linear"
    for part in ("relu", "leaky_relu", "sigmoid", "tanh", *POOLINGS, "1 convolutions"):
        assert seen[part] >= 150, part
    assert seen["2 convolutions"] >= 300
    assert reached("network_backward", lambda s: s["mean"] == 0) >= 300
    assert reached("network_backward", lambda s: s["images"] > 1) >= 300
