"""Each property does its work alone, and judges what it says it judges."""

from types import SimpleNamespace

import numpy as np
import pytest

from conformance.backend import Backend
from conformance.bad_arguments import bad_calls
from conformance.certify import checks
from conformance.data import FLOATS, INTEGERS, make_call
from conformance.examine import examine
from conformance.operators import OPERATORS
from conformance.operators.conv2d import arguments
from conformance.properties import PROPERTIES
from conformance.registry import wrap
from implementations import im2col
from oracle.exact import Truth
from tests.calls import call
from tests.planted.conv2d import FAULTS, backend

# property: faults that it catches with no other property's help
ALONE = {
    "matches_oracle": ["dx_flips_twice", "y_stops_at_the_grids_limit", "dw_has_a_nan"],
    "within_rounding_bound": ["y_relative_error_of_1e_5", "dx_accumulates_in_float32"],
    "gradient_is_the_slope": ["dx_flips_twice", "dw_reads_dy_flipped", "db_drops_the_last_column"],
    "finite_differences": ["dx_keeps_the_padding", "dw_is_averaged_over_the_batch"],
    "matches_torch": ["dx_shifts_by_remainder", "y_flips_the_kernel"],
    "forms_agree": ["dw_reads_the_first_groups_channels", "y_ignores_dilation"],
    "linear": ["y_is_half_a_unit_off", "y_replays_answers_by_shape"],
    "batch_independent": ["dx_forgets_the_last_image", "dw_is_averaged_over_the_batch"],
    "leaves_inputs_unchanged": ["y_adds_the_bias_in_place", "dw_scales_dy_in_place"],
    "returns_what_the_protocol_says": [
        "y_returns_float64",
        "dw_has_a_nan",
        "db_keeps_dimensions",
        "db_returns_one_buffer",
    ],
    "rejects_bad_arguments": ["y_takes_any_kernel"],
}


def test_every_property_is_listed():
    assert set(ALONE) == set(PROPERTIES)


@pytest.mark.parametrize(("name", "fault"), [(n, f) for n, faults in ALONE.items() for f in faults])
def test_property_catches_faults_alone(name, fault):
    planted = FAULTS[fault]
    case = next(
        (o, f, p) for o, f, p in checks() if f.__name__ == planted.function and p.name == name
    )
    outcome = examine(wrap(planted.backend()), *case, examples=1000, seed=1)
    assert outcome.status == "mismatch"
    assert outcome.mismatch.text


@pytest.mark.parametrize("style", [*INTEGERS, *FLOATS], ids=lambda s: s.name)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_array_is_all_zeros_or_not_finite(style, dtype):
    sizes = dict.fromkeys(SIZES, 1) | {"height": 3, "width": 2, "bias": 1}
    for seed in range(30):
        made = make_call(arguments(sizes), style, seed, dtype)
        for name in ("x", "weight", "bias", "grad_output"):
            assert made[name].dtype == dtype
            assert np.isfinite(made[name]).all()
            if style.name not in ("next to powers", "cancelling"):
                assert made[name].any()


SIZES = [
    "images", "groups", "depth", "multiplier", "height", "width", "kernel_height", "kernel_width",
    "stride_height", "stride_width", "padding_height", "padding_width", "dilation_height",
    "dilation_width",
]  # fmt: skip


@pytest.mark.parametrize("style", INTEGERS, ids=lambda s: s.name)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_integer_styles_are_exact_in_every_formula(style, dtype):
    sizes = dict.fromkeys(SIZES, 2) | {"padding_height": 1, "height": 9, "width": 30, "bias": 1}
    for seed in range(20):
        made = make_call(arguments(sizes), style, seed, dtype)
        for formula in OPERATORS[0].formulas:
            assert Truth(formula, made).is_exact(dtype, dtype)


def test_magnitudes_reach_past_half_precision_and_tf32():
    style = next(s for s in INTEGERS if s.name == "next to powers")
    sizes = dict.fromkeys(SIZES, 1) | {"bias": 0}
    seen = set()
    for seed in range(100):
        made = make_call(arguments(sizes), style, seed, "float32")
        seen |= {abs(v) for n in ("x", "weight") for v in made[n].ravel().tolist()}
    assert {2**11 + 1, 2**12 + 1} & seen
    assert max(seen) > 2**19


@pytest.mark.parametrize("formula", OPERATORS[0].formulas, ids=lambda f: f.__name__)
def test_bad_calls_are_illegal_and_many(formula):
    legal = call((2, 4, 5, 6), (6, 2, 3, 2), stride=(2, 1), padding=(1, 0), groups=2, dtype="f4")
    found = list(bad_calls(formula, legal))
    assert len(found) >= 2
    for bad in found:
        assert bad.reason
    if formula is not OPERATORS[0].gradients["bias"]:
        changes = " ".join(bad.change for bad in found)
        for name in ("stride", "padding", "dilation", "groups"):
            assert name in changes


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
    answer = Backend(
        "tensors", SimpleNamespace(conv2d_grad_bias=lambda dy: torch.tensor(dy).sum((0, 2, 3)))
    ).ask(OPERATORS[0].gradients["bias"], {"grad_output": np.ones((2, 3, 1, 1), np.float32)})
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
