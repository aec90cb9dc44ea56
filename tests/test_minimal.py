"""Counterexamples are as small as they can be, in geometry and in numbers, from any seed."""

import numpy as np
import pytest

from gradoracle.conformance.backends.mismatch import Mismatch
from gradoracle.conformance.backends.registry import wrap
from gradoracle.conformance.checking.check_run import examine
from gradoracle.conformance.checking.examination import Examination
from gradoracle.conformance.checking.minimising import Minimiser
from gradoracle.conformance.checking.shrinking import simplest_numbers, smallest_sizes
from gradoracle.conformance.operators.arrays import shape_of
from gradoracle.conformance.operators.convolution import CONV2D
from gradoracle.conformance.operators.convolution_corners import PLAIN as PLAIN_SIZES
from gradoracle.conformance.properties import PROPERTIES
from gradoracle.conformance.runs.certify import checks
from gradoracle.implementations import im2col
from gradoracle.oracle.formulas.convolution import conv2d
from tests.planted.conv2d import FAULTS

PLAIN = {"stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], "groups": 1}

# fault: shapes of the arrays that the function reads, options unlike PLAIN, nonzeros of each.
SMALLEST = {
    "dx_flips_twice": ({"grad_output": [1, 1, 1, 1], "weight": [1, 1, 1, 2]}, {}, [1, 1]),
    "dx_flips_one_axis": ({"grad_output": [1, 1, 1, 1], "weight": [1, 1, 2, 1]}, {}, [1, 1]),
    "dw_reads_dy_flipped": ({"grad_output": [1, 1, 1, 2], "x": [1, 1, 1, 2]}, {}, [1, 1]),
    "y_flips_the_kernel": ({"x": [1, 1, 1, 2], "weight": [1, 1, 1, 2], "bias": None}, {}, [1, 1]),
    "dw_is_averaged_over_the_batch": (
        {"grad_output": [2, 1, 1, 1], "x": [2, 1, 1, 1]}, {}, [1, 1],
    ),
    "db_counts_the_first_image_only": ({"grad_output": [2, 1, 1, 1]}, {}, [1]),
    "y_repeats_the_first_image": (
        {"x": [2, 1, 1, 1], "weight": [1, 1, 1, 1], "bias": None}, {}, [1, 1],
    ),
    "y_uses_the_first_groups_filters": (
        {"x": [1, 2, 1, 1], "weight": [2, 1, 1, 1], "bias": None}, {"groups": 2}, [1, 1],
    ),
    "dx_drops_remainder_rows": (
        {"grad_output": [1, 1, 1, 1], "weight": [1, 1, 1, 1]}, {"stride": [1, 2]}, None,
    ),
    "dx_stores_instead_of_adding": (
        {"grad_output": [1, 1, 1, 2], "weight": [1, 1, 1, 2]}, {}, [1, 1],
    ),
    "dx_keeps_the_padding": (
        {"grad_output": [1, 1, 1, 3], "weight": [1, 1, 1, 1]}, {"padding": [0, 1]}, [1, 1],
    ),
    "dx_wrong_past_16_channels": (
        {"grad_output": [1, 1, 1, 1], "weight": [1, 17, 1, 1]}, {}, [1, 1],
    ),
    "y_drops_columns_past_a_tile": (
        {"x": [1, 1, 1, 33], "weight": [1, 1, 1, 1], "bias": None}, {}, [1, 1],
    ),
    "y_ignores_dilation": (
        {"x": [1, 1, 1, 3], "weight": [1, 1, 1, 2], "bias": None}, {"dilation": [1, 2]}, [1, 1],
    ),
    "y_is_half_a_unit_off": (
        {"x": [1, 1, 1, 1], "weight": [1, 1, 1, 1], "bias": None}, {}, [0, 0],
    ),
}  # fmt: skip


def mismatch_of(name, seed, property_name="matches_oracle"):
    fault = FAULTS[name]
    case = next(
        (o, f, p) for o, f, p in checks()
        if f.__name__ == fault.function and p.name == property_name
    )  # fmt: skip
    outcome = examine(wrap(fault.backend()), *case, examples=2000, seed=seed)
    assert outcome.status == "mismatch"
    return outcome.mismatch


def transposed(shapes, options):
    """The same counterexample standing instead of lying."""

    def turned(shape):
        return shape if shape is None or len(shape) < 4 else [*shape[:2], shape[3], shape[2]]

    return (
        {name: turned(shape) for name, shape in shapes.items()},
        {n: v[::-1] if isinstance(v, list) else v for n, v in options.items()},
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("name", SMALLEST)
def test_counterexample_is_the_smallest(name, seed):
    shapes, options, nonzeros = SMALLEST[name]
    found = mismatch_of(name, seed)
    arguments = found.arguments
    got_shapes = {n: arguments[n] and arguments[n]["shape"] for n in shapes}
    got_options = {n: arguments[n] for n in PLAIN if n in arguments and arguments[n] != PLAIN[n]}
    assert (got_shapes, got_options) in [(shapes, options), transposed(shapes, options)]
    if nonzeros is not None:
        assert list(found.nonzeros.values()) == nonzeros


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_double_flip_has_at_most_two_elements_an_array(seed):
    found = mismatch_of("dx_flips_twice", seed)
    arrays = [a for a in found.arguments.values() if isinstance(a, dict)]
    assert all(len(array["data"]) <= 2 for array in arrays)


def test_sizes_shrink_to_what_matters():
    start = {"images": 5, "kernel": 9, "padding": 3, "height": 40}
    smallest = smallest_sizes(start, lambda s: s["kernel"] > 2 and s["height"] >= s["kernel"])
    assert smallest == {"images": 1, "kernel": 3, "padding": 0, "height": 3}


def test_sizes_are_traded_for_options():
    smallest = smallest_sizes(
        {"padding": 2, "height": 1}, lambda s: s["height"] + 2 * s["padding"] >= 4
    )
    assert smallest["padding"] == 0


@pytest.mark.parametrize("side", ["images", "channels", "height", "width"])
def test_an_axis_that_does_not_matter_goes(side):
    start = {"axes": 4, "images": 2, "channels": 2, "height": 3, "width": 1, side: 9, "slope": 2}

    def fails(sizes):
        try:
            return max(shape_of(sizes)) >= 4
        except ValueError:  # no geometry, so no counterexample
            return False

    smallest = smallest_sizes(start, fails)
    assert shape_of(smallest) == (4,)
    assert smallest["slope"] == 0


def test_groups_that_only_add_up_channels_become_one():
    start = {
        "images": 1,
        "groups": 16,
        "group_channels": 4,
        "multiplier": 3,
        "height": 1,
        "width": 1,
    }
    smallest = smallest_sizes(start, lambda s: s["groups"] * s["group_channels"] >= 32)
    assert (smallest["groups"], smallest["group_channels"], smallest["multiplier"]) == (1, 32, 0)
    smallest = smallest_sizes(start, lambda s: s["groups"] >= 3)
    assert (smallest["groups"], smallest["group_channels"], smallest["multiplier"]) == (3, 0, 0)


def test_counterexamples_lie_rather_than_stand():
    tall = {"kernel_height": 2, "kernel_width": 1, "height": 2, "width": 1}
    lying = {"kernel_height": 1, "kernel_width": 2, "height": 1, "width": 2}
    assert smallest_sizes(tall, lambda s: s["kernel_height"] + s["kernel_width"] == 3) == {
        **lying, "height": 0, "width": 0,
    }  # fmt: skip
    assert smallest_sizes(tall, lambda s: s == tall) == tall


def test_an_empty_batch_becomes_one_image_if_that_fails_too():
    assert smallest_sizes({"images": 0}, lambda _: True) == {"images": 1}
    assert smallest_sizes({"images": 0}, lambda s: not s["images"]) == {"images": 0}


def test_numbers_become_a_few_ones():
    call = {"x": np.arange(1.0, 31), "weight": np.full(7, -3.5), "stride": (1, 1)}
    smallest = simplest_numbers(call, lambda c: c["x"][17] != 0 and c["weight"].any())
    assert np.flatnonzero(smallest["x"]).tolist() == [17]
    assert smallest["x"][17] == 1
    assert np.count_nonzero(smallest["weight"]) == 1
    assert smallest["stride"] == (1, 1)


def test_numbers_that_matter_are_kept():
    call = {"x": np.array([2.0**20 + 1, 3.0])}
    assert simplest_numbers(call, lambda c: c["x"][0] > 2**20)["x"].tolist() == [2.0**20 + 1, 0]


@pytest.mark.parametrize(("threshold", "least"), [(3, 4), (100, 101), (1e6, 1_000_001), (0.5, 1)])
def test_an_element_comes_as_near_to_zero_as_it_fails(threshold, least):
    call = {"z": np.array([-524289.0, 3e8, 1.0])}
    found = simplest_numbers(call, lambda c: bool((c["z"] > threshold).any()))
    assert sorted(found["z"]) == pytest.approx([0, 0, least], rel=1e-3)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_largest_number_of_a_format_stays_where_no_power_of_two_is_above(dtype):
    largest = np.finfo(dtype).max
    found = simplest_numbers({"z": np.array([largest])}, lambda c: bool((c["z"] > 2).any()))
    assert np.isfinite(found["z"]).all()
    assert found["z"][0] > 2


def test_a_simpler_call_that_takes_gigabytes_is_not_tried():
    """Without its groups a weight of as many filters has them squared."""
    exam = Examination(wrap(im2col), CONV2D, conv2d, PROPERTIES["matches_oracle"], 1, 300)
    style = CONV2D.styles.exact[0]
    sizes = {**PLAIN_SIZES, "groups": 300, "group_channels": 1, "multiplier": 1}
    exam.broken = CONV2D.call(sizes, style, 1, "float32"), Mismatch("it is wrong")
    tried = []
    minimiser = Minimiser(exam)
    minimiser.fails = lambda call: tried.append(call) or True
    huge = {**sizes, "groups": 1, "group_channels": 300, "multiplier": 300}
    assert not minimiser.fails_somehow(huge, style, "float32")
    assert tried == []
    minimiser.fails_somehow(
        {**sizes, "groups": 1, "group_channels": 200, "multiplier": 200}, style, "float32"
    )
    assert len(tried) == 1
