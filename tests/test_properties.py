"""Each property does its work alone, and checks what it says it checks."""

import re
from contextlib import suppress
from types import SimpleNamespace

import numpy as np
import pytest

import gradoracle
from gradoracle import oracle
from gradoracle.conformance.backends.mismatch import Mismatch
from gradoracle.conformance.backends.registry import wrap
from gradoracle.conformance.checking.check_run import examine
from gradoracle.conformance.drawing.invalid_calls import bad_calls
from gradoracle.conformance.drawing.values import EXACT, FLOATS, INTEGERS
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.operators.conv_transpose import CONV_TRANSPOSE2D
from gradoracle.conformance.operators.convolution import CONV2D
from gradoracle.conformance.operators.linear import LINEAR
from gradoracle.conformance.operators.max_pool import MAX_POOL2D
from gradoracle.conformance.properties import PROPERTIES, NotJudged, slopes, symmetries
from gradoracle.conformance.reports import reproducer
from gradoracle.conformance.runs.certify import checks
from gradoracle.implementations import im2col
from gradoracle.oracle.declaration import argument_names, evaluate
from gradoracle.oracle.expected.exact import MultilinearTruth
from gradoracle.oracle.expected.truth import truth
from gradoracle.oracle.formulas.max_pool import max_pool2d_indices, max_pool2d_values
from tests.calls import CALLS, random_calls
from tests.planted import FAULTS
from tests.planted.conv2d import backend
from tests.planted.max_pool2d import to_all_maxima
from tests.planted.state import linear_keeps_the_weight_of_a_shape

pytestmark = pytest.mark.slow

# property: planted faults of conv2d that it catches with no other property's help
ALONE = {
    "matches_oracle": ["dx_flips_twice", "y_stops_at_the_grids_limit", "dw_has_a_nan"],
    "within_rounding_bound": ["y_relative_error_of_1e_5", "dx_accumulates_in_float32"],
    "gradient_is_the_slope": ["dx_flips_twice", "dw_reads_dy_flipped", "db_drops_the_last_column"],
    "finite_differences": ["dx_keeps_the_padding", "dw_is_averaged_over_the_batch"],
    "matches_torch": ["dx_shifts_by_remainder", "y_flips_the_kernel"],
    "forms_agree": ["dw_reads_the_first_groups_channels", "y_ignores_dilation"],
    "linear": ["y_is_half_a_unit_off", "y_replays_answers_by_shape"],
    "batch_independent": ["dx_forgets_the_last_image", "dw_is_averaged_over_the_batch"],
    "equivariant": [
        "y_repeats_the_first_image",
        "dx_drops_filters_past_a_tile",
        "db_drops_the_last_column",
        "y_uses_the_first_groups_filters",
        "y_ignores_dilation",
        "dx_shifts_by_remainder",
        "y_last_pixel_of_3x3_stride_2",
    ],
    "is_stateless": ["y_replays_answers_by_shape", "conv2d_is_wrong_after_an_error"],
    "propagates_non_finite": [
        "conv2d_loses_nan",
        "conv2d_grad_weight_skips_images_that_are_nan",
        "conv2d_grad_input_takes_nan_to_all_images",
    ],
    "leaves_inputs_unchanged": ["y_adds_the_bias_in_place", "dw_scales_dy_in_place"],
    "returns_what_the_protocol_says": [
        "y_returns_float64",
        "dw_has_a_nan",
        "db_keeps_dimensions",
        "db_returns_one_buffer",
    ],
    "rejects_bad_arguments": ["y_takes_any_kernel"],
    "holds_at_scale": ["y_flips_the_kernel", "dx_flips_twice", "dw_reads_dy_flipped"],
    "ignores_memory_layout": ["y_reads_the_weight_as_it_lies", "dw_reads_dy_in_fortrans_order"],
}


# -- faults of other operators ---------------------------------------------------------------------


def _by_z(grad_output, z):
    return grad_output * z * (1 - z)


def _no_mean(grad_output, z, *, axis):
    return im2col.softmax(z, axis=axis) * grad_output


def _sum_of_the_mean(logits, target, *, reduction):
    del reduction
    return im2col.cross_entropy_grad(logits, target, reduction="sum")


def _flipped(x, weight, bias=None, **options):
    return im2col.conv_transpose2d(x, weight[:, :, ::-1, ::-1], bias, **options)


def _in_the_padded_plane(x, *, padding, **options):
    y, indices = im2col.max_pool2d(x, padding=padding, **options)
    width = x.shape[3]
    return y, indices // width * (width + 2 * padding[1]) + indices % width


def _of_the_last_maximum(x, **options):
    """Let the last of several maxima or NaNs win."""
    planes = x.reshape(*x.shape[:2], x.shape[2] * x.shape[3])
    place = np.broadcast_to(np.arange(planes.shape[2]), planes.shape)
    ranks = np.lexsort((place, planes, np.isnan(planes))).argsort().astype(x.dtype)
    _, indices = im2col.max_pool2d(ranks.reshape(x.shape), **options)
    flat = indices.reshape(*x.shape[:2], indices.shape[2] * indices.shape[3])
    return np.take_along_axis(planes, flat, 2).reshape(indices.shape), indices


def _inserts(grad_output, indices, *, input_shape):
    images, channels, height, width = input_shape
    dx = np.zeros((images, channels, height * width), grad_output.dtype)
    windows = (images, channels, indices.shape[2] * indices.shape[3])
    np.put_along_axis(dx, indices.reshape(windows), grad_output.reshape(windows), 2)
    return dx.reshape(input_shape)


def _passes_at_zero(grad_output, z):
    return np.where(z >= 0, grad_output, 0).astype(z.dtype)


def _overflows(z, *, axis):
    e = np.exp(z)
    return e / e.sum(axis=axis, keepdims=True)


def _full_divisor(grad_output, *, count_include_pad, **options):
    del count_include_pad
    return im2col.avg_pool2d_grad_input(grad_output, count_include_pad=True, **options)


def _passes_everything(grad_output, z):
    im2col.relu_grad(grad_output, z)
    return grad_output.copy()


def _all_pixels(grad_output, x):
    return im2col.linear_grad_weight(grad_output, x) / x.dtype.type(max(1, len(x)))


def _to_every_maximum(grad_output, x, **options):
    return to_all_maxima(grad_output, x, options, shared=False)


def _to_the_first_pixel(grad_output, indices, *, input_shape):
    return im2col.max_pool2d_grad_input(grad_output, 0 * indices, input_shape=input_shape)


def _of_the_first_filter(x, weight, bias=None, **options):
    y = im2col.conv_transpose2d(x, weight, bias, **options)
    y[:, 1:] = y[:, :1]
    return y


def _forgets_the_last_channel(grad_output, indices, *, input_shape):
    dx = im2col.max_pool2d_grad_input(grad_output, indices, input_shape=input_shape)
    dx[:, 1:][:, -1:] = 0
    return dx


def _drops_the_last_input(grad_output, x):
    dw = im2col.linear_grad_weight(grad_output, x)
    dw[:, 1:][:, -1:] = 0
    return dw


# property: the formula it is asked of, the function that is wrong, and how
OTHERS = {
    "passes_every_gradient_on_once": [
        ("max_pool2d_vjp", "max_pool2d_vjp", _to_every_maximum),
        ("max_pool2d_grad_input", "max_pool2d_grad_input", _inserts),
        ("max_pool2d_grad_input", "max_pool2d_grad_input", _to_the_first_pixel),
    ],
    "equivariant": [
        ("conv_transpose2d", "conv_transpose2d", _of_the_first_filter),
        ("max_pool2d_grad_input", "max_pool2d_grad_input", _forgets_the_last_channel),
        ("linear_grad_weight", "linear_grad_weight", _drops_the_last_input),
    ],
    "is_stateless": [("linear", "linear", linear_keeps_the_weight_of_a_shape())],
    "is_adjoint": [("conv_transpose2d", "conv_transpose2d", _flipped)],
    "points_at_the_maximum": [("max_pool2d_indices", "max_pool2d", _in_the_padded_plane)],
    "matches_oracle": [
        ("max_pool2d_grad_input", "max_pool2d_grad_input", _inserts),
        ("relu_grad", "relu_grad", _passes_at_zero),
    ],
    "within_rounding_bound": [("softmax", "softmax", _overflows)],
    "gradient_is_the_slope": [
        ("sigmoid_grad", "sigmoid_grad", _by_z),
        ("softmax_grad", "softmax_grad", _no_mean),
        ("avg_pool2d_grad_input", "avg_pool2d_grad_input", _full_divisor),
    ],
    "finite_differences": [
        ("cross_entropy_grad", "cross_entropy_grad", _sum_of_the_mean),
        ("sigmoid_grad", "sigmoid_grad", _by_z),
    ],
    "matches_torch": [("softmax_grad", "softmax_grad", _no_mean)],
    "forms_agree": [
        ("max_pool2d_grad_input", "max_pool2d_grad_input", _inserts),
        ("avg_pool2d_grad_input", "avg_pool2d_grad_input", _full_divisor),
    ],
    "network_backward": [
        ("network_backward", "relu_grad", _passes_everything),
        ("network_backward", "linear_grad_weight", _all_pixels),
        ("network_backward", "cross_entropy_grad", _sum_of_the_mean),
    ],
    "network_matches_torch": [("network_backward", "avg_pool2d_grad_input", _full_divisor)],
    "graph_backward": [
        ("graph_backward", "relu_grad", _passes_everything),
        ("graph_backward", "cross_entropy_grad", _sum_of_the_mean),
    ],
}


def test_every_property_is_listed():
    # By a contract, or of functions that are no formula's: `test_claims.py`, `test_derivatives.py`.
    claimed = {name for name, one in PROPERTIES.items() if one.claim or one.another}
    assert claimed > {"is_deterministic", "keeps_subnormals"}
    assert set(ALONE) | set(OTHERS) | claimed == set(PROPERTIES)


def case(formula, property_name):
    return next(
        (o, f, p) for o, f, p in checks() if (f.__name__, p.name) == (formula, property_name)
    )


@pytest.mark.parametrize(("name", "fault"), [(n, f) for n, faults in ALONE.items() for f in faults])
def test_property_catches_faults_alone(name, fault):
    planted = FAULTS[fault]
    outcome = examine(wrap(planted.backend()), *case(planted.function, name), examples=1000, seed=1)
    assert outcome.status == "mismatch"
    assert outcome.mismatch.text


def test_bits_are_compared_where_the_contract_claims_them():
    fault = FAULTS["linear_grad_weight_is_summed_in_another_order_each_time"]
    for examined, status in ((fault.backend(), "mismatch"), (whole(), "not claimed")):
        outcome = examine(
            wrap(examined), *case("linear_grad_weight", "is_deterministic"), examples=300, seed=1
        )
        assert outcome.status == status, outcome.reason
    assert outcome.reason == "the contract's policies do not claim 'repeats': 'bitwise'"


def test_a_call_after_one_that_was_refused_is_judged():
    fault = FAULTS["conv2d_is_wrong_after_an_error"]
    outcome = examine(wrap(fault.alone()), *case("conv2d", "is_stateless"), examples=300, seed=1)
    assert "asked after a call that is illegal" in outcome.mismatch.headline


@pytest.mark.parametrize(("shape", "axis"), [((0, 1), 1), ((0, 1), -1), ((2, 0, 3), 0), ((4,), 0)])
@pytest.mark.parametrize("formula", ["softmax", "softmax_grad"])
def test_every_call_of_a_sequence_is_legal(formula, shape, axis):
    """The other axis that is asked for has elements too, or a right backend would be flagged."""
    one = np.ones(shape, np.float32)
    call = {"z": one, "axis": axis}
    if formula == "softmax_grad":
        call = {"grad_output": one, **call}
    operator, found, property_ = case(formula, "is_stateless")
    assert property_.check(wrap(whole()), operator, found, call) == 0.0


def test_a_script_about_state_asks_for_both_calls():
    kept = FAULTS["linear_keeps_the_weight_of_a_shape"]
    sizes = {"images": 1, "inputs": 2, "outputs": 1, "bias": 0}
    call, backend = LINEAR.call(sizes, EXACT[0], 1, "float32"), wrap(kept.alone())
    with pytest.raises(Mismatch, match="asked after the same call with other numbers in") as found:
        PROPERTIES["is_stateless"].check(backend, LINEAR, oracle.linear, call)
    script = reproducer.script(
        backend, "is_stateless", oracle.linear, call, backend.answers, found.value
    )
    assert script.count("got = backend.linear(x, weight, bias)") == len(backend.answers)
    text = script.replace("backend = ...", "pass")
    exec(text, {"backend": whole()})  # noqa: S102 - our own words
    with pytest.raises(AssertionError):
        exec(text, {"backend": kept.alone()})  # noqa: S102


def planned(*, by_images):
    """Return a conv2d that plans once for a filter and its options: wrongly, for no images."""
    plans = {}

    def conv2d(x, weight, bias=None, **options):
        answer = im2col.conv2d(x, weight, bias, **options)
        is_filled = plans.setdefault((weight.shape, *options.values()), len(x) > 0)
        return answer if is_filled or not by_images else np.zeros_like(answer)

    return conv2d


def test_the_script_about_an_empty_batch_asks_for_one():
    outcome = examine(
        wrap(SimpleNamespace(conv2d=planned(by_images=True))),
        *case("conv2d", "is_stateless"), examples=300, seed=1,
    )  # fmt: skip
    assert outcome.status == "mismatch"
    text = outcome.mismatch.script.replace("backend = ...", "pass")
    assert text.index("x = np.zeros((0, ") < text.index("got = ")
    exec(text, {"backend": SimpleNamespace(conv2d=planned(by_images=False))})  # noqa: S102
    with pytest.raises(AssertionError):
        exec(text, {"backend": SimpleNamespace(conv2d=planned(by_images=True))})  # noqa: S102


WRONG = [(name, *wrong) for name, several in OTHERS.items() for wrong in several]


@pytest.mark.parametrize(
    ("name", "formula", "function", "wrong"),
    WRONG,
    ids=[f"{n}{w.__name__}" for n, _, _, w in WRONG],
)
def test_property_catches_faults_of_other_operators_alone(name, formula, function, wrong):
    if PROPERTIES[name].needs_torch:
        pytest.importorskip("torch")
    candidate = whole(**{function: wrong})
    outcome = examine(wrap(candidate), *case(formula, name), examples=1000, seed=1)
    assert outcome.status == "mismatch"
    assert outcome.mismatch.text
    right = examine(wrap(whole()), *case(formula, name), examples=20, seed=1)
    assert right.status == "passed"


def whole(**replaced):
    """Return im2col with some functions replaced."""
    return SimpleNamespace(**{n: getattr(im2col, n) for n in im2col.__all__} | replaced)


TILE = {"images": 2, "group_channels": 3, "multiplier": 2, "height": 7, "width": 6, "kernel": 2}
RELATED = {  # what is told of a conv2d that goes wrong there, and the call
    "with the images in the opposite order": {},
    "with the filters in the opposite order": {},
    "with the channels in the opposite order": {},
    "with the groups, filters and channels in the opposite order": {"groups": 2},
    "of the image moved by a stride": {},
    "of group 0 alone": {"groups": 2},
    "of group 1 alone": {"groups": 2},
    "with the dilation as zeros between the taps": {"dilation": 2},
    "with the stride taken afterwards": {"stride": 2},
    "as a product of matrices": {"kernel": 1},
}


@pytest.mark.parametrize("words", RELATED)
@pytest.mark.parametrize("formula", CONV2D.formulas, ids=lambda f: f.__name__)
def test_every_related_call_owes_the_same(words, formula):
    sizes = dict.fromkeys(SIZES, 1) | {"bias": 1, "padding_height": 0, "padding_width": 0}
    for name, value in (TILE | RELATED[words]).items():
        sides = (f"{name}_height", f"{name}_width")
        sizes |= dict.fromkeys(sides, value) if sides[0] in sizes else {name: value}
    call = CONV2D.call(sizes, EXACT[0], 3, "float32")
    which = CONV2D.argument_of(formula) or "grad_output"
    related = {one.words: one for one in symmetries.related(CONV2D, formula, call, which)}
    one = related[words]
    plain, other = evaluate(formula, call), evaluate(one.formula or formula, one.call)
    assert one.here(plain).size
    assert (one.there(other) == one.here(plain)).all()
    assert not (one.call["x"].shape == call["x"].shape and (one.call["x"] == call["x"]).all()
                and one.call["weight"].shape == call["weight"].shape
                and (one.call["weight"] == call["weight"]).all()
                and one.call.get("stride") == call["stride"])  # fmt: skip


@pytest.mark.parametrize(("name", "value"), [("ties", 3.0), ("ties", -np.inf), ("nan", np.nan)])
def test_the_contract_says_whether_any_maximum_may_win(name, value):
    x = np.full((1, 1, 1, 3), value, np.float32)
    options = {"kernel_size": (1, 3), "stride": (1, 1), "padding": (0, 0), "dilation": (1, 1)}
    call = MAX_POOL2D.complete({"x": x, **options, "ceil_mode": False}, 0)
    judged = PROPERTIES["matches_oracle"].check, PROPERTIES["points_at_the_maximum"].check
    for policies in ({}, {"ties": "any-subgradient"}, {"nan": "any"}):
        last = wrap(whole(max_pool2d=_of_the_last_maximum, contract={"policies": policies}))
        with pytest.raises(NotJudged if name in policies else Mismatch):
            judged[0](last, MAX_POOL2D, max_pool2d_indices, call)
        assert judged[1](last, MAX_POOL2D, max_pool2d_indices, call) == 0
        assert judged[0](last, MAX_POOL2D, max_pool2d_values, call) == 0


def test_a_backend_that_lets_any_maximum_win_is_certified_where_its_contract_says_so():
    policies = {"ties": "any-subgradient", "nan": "any"}
    last = whole(max_pool2d=_of_the_last_maximum, contract={"policies": policies})
    for name in ("points_at_the_maximum", "matches_oracle"):
        outcome = examine(wrap(last), *case("max_pool2d_indices", name), examples=200, seed=1)
        assert outcome.status == "passed", outcome.reason


@pytest.mark.parametrize("style", [*EXACT, *FLOATS], ids=lambda s: s.name)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_array_is_all_zeros_or_not_finite(style, dtype):
    sizes = dict.fromkeys(SIZES, 1) | {"height": 3, "width": 2, "bias": 1}
    for seed in range(30):
        made = CONV2D.call(sizes, style, seed, dtype)
        for name in ("x", "weight", "bias", "grad_output"):
            assert made[name].dtype == dtype
            assert np.isfinite(made[name]).all()
            if style.name not in ("next to powers", "cancelling"):
                assert made[name].any()


SIZES = [
    "images", "groups", "group_channels", "multiplier", "height", "width", "kernel_height",
    "kernel_width",
    "stride_height", "stride_width", "padding_height", "padding_width", "dilation_height",
    "dilation_width",
]  # fmt: skip
WHOLE = {  # sizes of a call of every operator on whose exact styles nothing ever rounds
    CONV2D.name: dict.fromkeys(SIZES, 2)
    | {"padding_height": 1, "height": 9, "width": 30, "bias": 1},
    CONV_TRANSPOSE2D.name: dict.fromkeys(SIZES, 2)
    | {"output_padding_height": 1, "output_padding_width": 0, "height": 5, "width": 9, "bias": 1},
    MAX_POOL2D.name: dict.fromkeys(SIZES, 2)
    | {"channels": 3, "padding_height": 1, "padding_width": 0, "height": 9, "width": 30, "ceil": 1}
    | {"dilation_height": 1},
    LINEAR.name: {"images": 3, "inputs": 11, "outputs": 7, "bias": 1},
}


@pytest.mark.parametrize("operator", [CONV2D, CONV_TRANSPOSE2D, MAX_POOL2D, LINEAR],
                         ids=lambda o: o.name)  # fmt: skip
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_exact_styles_are_exact_in_every_formula(operator, dtype):
    for style in operator.styles.exact:
        for seed in range(20):
            made = operator.call(WHOLE[operator.name], style, seed, dtype)
            for formula in operator.formulas:
                right = truth(formula, made)
                assert right.is_exact(dtype, dtype), (style.name, formula.__name__)
                if isinstance(right, MultilinearTruth) and style.name != "few fractions":
                    assert right.scale == 0  # and what nothing rounds is an integer


def test_magnitudes_reach_past_half_precision_and_tf32():
    style = next(s for s in INTEGERS if s.name == "next to powers")
    sizes = dict.fromkeys(SIZES, 1) | {"bias": 0}
    seen = set()
    for seed in range(100):
        made = CONV2D.call(sizes, style, seed, "float32")
        seen |= {abs(v) for n in ("x", "weight") for v in made[n].ravel().tolist()}
    assert {2**11 + 1, 2**12 + 1} & seen
    assert max(seen) > 2**19


@pytest.mark.parametrize("operator", [CONV2D, CONV_TRANSPOSE2D, LINEAR], ids=lambda o: o.name)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_long_sums_are_exact_and_past_half_precision_and_tf32(operator, dtype):
    summed = set()
    for corner in operator.corners:
        if not corner.region.startswith("a long sum"):
            continue
        for seed in range(10):
            made = operator.call(corner.sizes, corner.style, seed, dtype)
            for formula in operator.formulas:
                right = truth(formula, made)
                assert right.is_exact(dtype, dtype), (corner.region, formula.__name__)
                if right.terms.max() >= 2**13 and right.scale > 11:
                    summed.add(formula)
    assert summed == {*operator.formulas}


# What every formula of an operator must be asked with, spoilt; a bias gradient has no options.
OPTIONS = {
    "conv2d": {"stride", "padding", "dilation", "groups"},
    "conv_transpose2d": {"stride", "padding", "output_padding", "dilation", "groups"},
    "max_pool2d": {"kernel_size", "stride", "padding", "dilation"},
    "avg_pool2d": {"kernel_size", "stride", "padding"},
    "cross_entropy": {"reduction", "target"},
    "softmax": {"axis"},
}
ANYTHING_FITS = ("relu", "leaky_relu", "sigmoid", "tanh", "batch_mean")  # one array of any shape


@pytest.mark.parametrize("formula", CALLS, ids=lambda f: f.__name__)
def test_bad_calls_are_illegal_and_many(formula):
    operator = next(o for o in OPERATORS if formula in o.formulas)
    names = {name for part in argument_names(formula) for name in part}
    changed, fewest = set(), 1000
    for legal in CALLS[formula](30, seed=3, dtype=np.float32):
        found = list(bad_calls(formula, legal))
        for bad in found:
            assert bad.reason
            with pytest.raises(ValueError, match=re.escape(bad.reason)):
                evaluate(formula, bad.call)
            changed.add(bad.change.split()[0])
        fewest = min(fewest, len(found))
    if formula.__name__ in ANYTHING_FITS:
        assert not changed
    else:
        assert changed >= OPTIONS.get(operator.name, set()) & names
        assert fewest >= (0 if formula is oracle.softmax else 2)  # the first of many axes is legal


def test_numbers_out_of_their_range_are_bad_arguments():
    legal = {"average": np.ones(3), "value": np.zeros(3), "decay": 0.5}
    kinds = {bad.kind for bad in bad_calls(oracle.ema, legal)}
    assert {"a negative decay", "a decay of 2"} <= kinds

    def careless(average, value, *, decay):
        if decay > 1 or value.shape != average.shape:
            raise ValueError("no such average")
        return im2col.ema(average, value, decay=abs(decay))

    policies = {"policies": {"bad_arguments": "raise"}}
    backend = SimpleNamespace(ema=careless, contract=policies)
    found = gradoracle.check(backend, operators=["ema"], examples=25, seed=1).mismatches
    assert {one.property_name for one in found} == {"rejects_bad_arguments"}
    assert "ema: took decay -1.0" in found[0].text


def test_a_backend_without_the_forward_pass_is_still_judged_on_its_gradients():
    only = SimpleNamespace(conv2d_grad_input=im2col.conv2d_grad_input)
    outcomes = {}
    for operator, formula, property_ in checks():
        if formula.__name__ == "conv2d_grad_input":
            outcomes[property_.name] = examine(
                wrap(only), operator, formula, property_, examples=10, seed=1
            )
    assert outcomes["matches_oracle"].status == "passed"
    assert outcomes["gradient_is_the_slope"].status == "not claimed"
    assert "no conv2d" in outcomes["gradient_is_the_slope"].reason


def test_declined_calls_are_counted_and_never_passed():
    def conv2d(x, weight, bias=None, **o):
        if o["groups"] > 1:
            raise NotImplementedError("groups")
        return im2col.conv2d(x, weight, bias, **o)

    operator, formula, property_ = next(iter(checks()))
    outcome = examine(wrap(backend(conv2d=conv2d)), operator, formula, property_,
                      examples=60, seed=1)  # fmt: skip
    assert outcome.status == "passed"
    assert outcome.declined > 0
    assert outcome.judged > 0


def test_answers_of_another_array_type_come_through_dlpack():
    torch = pytest.importorskip("torch")
    answer = wrap(SimpleNamespace(conv2d_grad_bias=lambda dy: torch.tensor(dy).sum((0, 2, 3)))).ask(
        oracle.conv2d_grad_bias, {"grad_output": np.ones((2, 3, 1, 1), np.float32)}
    )
    assert type(answer) is np.ndarray
    assert answer.tolist() == [2, 2, 2]


def test_unsteady_backends_are_told_apart():
    calls = [0]

    def conv2d(x, weight, bias=None, **o):
        calls[0] += 1
        return im2col.conv2d(x, weight, bias, **o) + (calls[0] == 30)

    operator, formula, property_ = next(iter(checks()))
    outcome = examine(wrap(backend(conv2d=conv2d)), operator, formula, property_,
                      examples=100, seed=1)  # fmt: skip
    assert outcome.status == "mismatch"
    assert "the same call broke the property once and kept it another time" in outcome.mismatch.text


@pytest.mark.parametrize("argument", ["x", "weight", "bias"])
def test_what_is_exact_with_every_element_moved_is_exact_with_each(argument):
    """Numbers up to about what the format sums exactly, so that some calls are and others not."""
    asked = wrap(im2col)
    known, unknown = 0, 0
    for low in (-4, -40, -300):
        for given in random_calls(15, seed=-low, dtype="float16", low=low, high=-low):
            call = {**given, "x": given["x"] / given["x"].dtype.type(2)}
            if not slopes._all_exact(asked, CONV2D, call, argument):
                unknown += 1
                continue
            known += 1
            for at in np.ndindex(call[argument].shape):
                moved = call[argument].copy()
                moved[at] += 1
                right = truth(oracle.conv2d, {**call, argument: moved})
                assert right.is_exact("float16", asked.contract.accumulator("float16"))
    assert known
    assert unknown


@pytest.mark.parametrize("name", ["pixel_shuffle", "pixel_unshuffle", "fold", "unfold"])
def test_where_pytorch_fails_on_no_images_its_gradient_is_not_checked(name):
    record = next(one for one in OPERATORS if one.name == name)
    formula = next(iter(record.gradients))
    sizes = {**record.corners[0].sizes, "n": 0}
    call = record.call(sizes, record.styles.of("any")[0], 1, "float32")
    with suppress(NotJudged):  # any other exception is a crash of the check
        PROPERTIES["matches_torch"].check(wrap(im2col), record, formula, call)
