"""Faults that show only where two things come together, or far from what layers usually have.

Each is im2col, wrong in one place, and is told by one check of a default run.
"""

from dataclasses import replace
from math import prod
from types import SimpleNamespace

import numpy as np
import pytest

from gradoracle.conformance.backends.registry import wrap
from gradoracle.conformance.checking.check_run import examine
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.properties import PROPERTIES
from gradoracle.conformance.runs.certify import checks
from gradoracle.implementations import im2col as good
from gradoracle.oracle.declaration import argument_names, output_of
from tests.planted.fault import backend

pytestmark = pytest.mark.slow

FAULTS = {}


def fault(function, property_="matches_oracle", formula=None, **contract):
    def plant(wrong):
        FAULTS[wrong.__name__] = (function, formula or function, property_, wrong, contract)
        return wrong

    return plant


# -- tiles of which all are full, or several sides past one ---------------------------------------


@fault("linear")
def forgets_the_bias_of_full_tiles(x, weight, bias=None):
    full = x.shape[1] % 32 == 0 == len(weight) % 32
    return good.linear(x, weight, None if full else bias)


@fault("linear")
def rounds_x_to_half_in_full_tiles(x, weight, bias=None):
    if all(side % 16 == 0 for side in (*x.shape, len(weight))):
        x = x.astype(np.float16).astype(x.dtype)
    return good.linear(x, weight, bias)


@fault("linear")
def rounds_weights_to_half_in_full_tiles(x, weight, bias=None):
    if all(side % 16 == 0 for side in (*x.shape, len(weight))):
        weight = weight.astype(np.float16).astype(x.dtype)
    return good.linear(x, weight, bias)


@fault("linear_grad_weight")
def dw_drops_the_last_full_tile(grad_output, x):
    if len(x) and all(n % 16 == 0 for n in (len(x), x.shape[1], grad_output.shape[1])):
        x, grad_output = x[:-16], grad_output[:-16]
    return good.linear_grad_weight(grad_output, x)


@fault("linear")
def sums_one_tile_where_all_sides_have_two(x, weight, bias=None):
    if min(*x.shape, len(weight)) > 32:
        x, weight = x[:, :32], weight[:, :32]
    return good.linear(x, weight, bias)


@fault("cross_entropy_grad", "within_rounding_bound")
def leaves_the_last_tile_of_dlogits(logits, target, **o):
    dlogits = good.cross_entropy_grad(logits, target, **o).copy()
    dlogits[32:, 32:] = 0
    return dlogits


@fault("softmax", "within_rounding_bound")
def leaves_the_last_tile_of_probabilities(z, *, axis):
    p = good.softmax(z, axis=axis).copy()
    if z.ndim > 1 and axis % z.ndim == z.ndim - 2:
        p[..., 16:, 16:] = 0
    return p


@fault("conv2d")
def forgets_the_bias_of_64_channels(x, weight, bias=None, **o):
    full = len(weight) % 64 == 0 == weight.shape[1] % 64
    return good.conv2d(x, weight, None if full else bias, **o)


@fault("conv2d_grad_input")
def rounds_dy_to_half_in_full_tiles(grad_output, weight, **o):
    if len(weight) % 64 == 0 == weight.shape[1] % 64:
        grad_output = grad_output.astype(np.float16).astype(weight.dtype)
    return good.conv2d_grad_input(grad_output, weight, **o)


@fault("conv2d")
def counts_groups_and_filters_in_four_bits(x, weight, bias=None, **o):
    y = good.conv2d(x, weight, bias, **o).copy()
    if o["groups"] > 17 and len(weight) > 17 * o["groups"]:
        y[:, -1] = 0
    return y


@fault("max_pool2d", formula="max_pool2d_values")
def skips_windows_of_the_last_planes(x, **o):
    y, indices = good.max_pool2d(x, **o)
    if prod(y.shape[:2]) > 64 < prod(y.shape[2:]):
        y = y.copy()
        y[-1, -1, -1] = 0
    return y, indices


# -- past a limit, in groups or with a stride -----------------------------------------------------


@fault("conv2d_grad_weight")
def dw_of_64_images_where_there_are_several_windows(grad_output, x, **o):
    most = 64 if prod(grad_output.shape[2:]) > 1 else len(x)
    return good.conv2d_grad_weight(grad_output[:most], x[:most], **o)


@fault("conv2d")
def y_of_64_images_in_groups(x, weight, bias=None, **o):
    y = good.conv2d(x, weight, bias, **o).copy()
    if o["groups"] > 1:
        y[64:] = 0
    return y


@fault("conv_transpose2d")
def transposed_of_64_images_with_a_stride(x, weight, bias=None, **o):
    y = good.conv_transpose2d(x, weight, bias, **o).copy()
    if max(o["stride"]) > 1:
        y[64:] = 0
    return y


@fault("conv2d")
def y_within_a_halo_of_32(x, weight, bias=None, **o):
    (down, across), weight = o["dilation"], weight.copy()
    weight[:, :, -(-32 // down) :] = 0
    weight[:, :, :, -(-32 // across) :] = 0
    return good.conv2d(x, weight, bias, **o)


@fault("conv2d")
def y_of_256_taps(x, weight, bias=None, **o):
    flat = weight.reshape(*weight.shape[:2], -1).copy()
    flat[:, :, 256:] = 0
    return good.conv2d(x, flat.reshape(weight.shape), bias, **o)


@fault("conv2d")
def y_of_strides_up_to_16(x, weight, bias=None, **o):
    y = good.conv2d(x, weight, bias, **o)
    return y if max(o["stride"]) <= 16 else 0 * y


@fault("max_pool2d", formula="max_pool2d_indices")
def taps_are_counted_in_eight_bits(x, **o):
    y, indices = good.max_pool2d(x, **o)
    wide = prod(o["kernel_size"]) > 256 and o["stride"] == o["dilation"] == (1, 1)
    if wide and indices.size and not any(o["padding"]):
        rows, columns = (np.arange(n) for n in indices.shape[2:])
        corner = rows[:, None] * x.shape[3] + columns
        down, across = np.divmod(indices - corner, x.shape[3])
        tap = (down * o["kernel_size"][1] + across) % 256
        down, across = np.divmod(tap, o["kernel_size"][1])
        indices = corner + down * x.shape[3] + across
    return y, indices


@fault("avg_pool2d")
def averages_256_pixels(x, **o):
    y = good.avg_pool2d(x, **o)
    if prod(o["kernel_size"]) > 256:
        y = y * y.dtype.type(256 / prod(o["kernel_size"]))
    return y


# -- numbers --------------------------------------------------------------------------------------


def in_one_pass(z, block):
    """The running maximum of the last axis, and the sum that is scaled to it as it grows."""
    most, total = np.full(z.shape[:-1], -np.inf, z.dtype), np.zeros(z.shape[:-1], z.dtype)
    with np.errstate(all="ignore"):
        for first in range(0, z.shape[-1], block):
            part = z[..., first : first + block]
            higher = np.maximum(most, part.max(axis=-1, initial=-np.inf))
            total = total * np.exp(most - higher) + np.exp(part - higher[..., None]).sum(axis=-1)
            most = higher
    return most, total


@fault("softmax", "within_rounding_bound")
def one_pass_that_begins_with_impossible_classes(z, *, axis):
    good.softmax(z, axis=axis)
    turned = np.moveaxis(z, axis, -1)
    most, total = in_one_pass(turned, 16)
    p = np.exp(turned - most[..., None]) / total[..., None]
    return np.moveaxis(p, -1, axis).astype(z.dtype)


@fault("cross_entropy", "within_rounding_bound")
def logarithm_of_a_probability(logits, target, *, reduction):
    good.cross_entropy(logits, target, reduction=reduction)
    p = good.softmax(logits.astype(np.float64), axis=1)
    with np.errstate(all="ignore"):
        losses = -np.log(p[np.arange(len(p)), target] + 1e-300)
    return getattr(losses, reduction)().astype(logits.dtype)


@fault("sgd_step")
def learning_rate_is_a_float(parameter, gradient, *, learning_rate):
    return good.sgd_step(parameter, gradient, learning_rate=float(np.float32(learning_rate)))


@fault("leaky_relu")
def slope_is_a_float(z, *, negative_slope):
    return good.leaky_relu(z, negative_slope=float(np.float32(negative_slope)))


@fault("conv2d", dtypes=["float16"], accumulators={"float16": "float32"})
def rounds_sums_of_1024_channels_to_half(x, weight, bias=None, **o):
    y = good.conv2d(x, weight, bias, **o)
    if o["groups"] > 1 or weight[0].size <= 1024:
        return y
    parts = [
        good.conv2d(x[:, c : c + 1024], weight[:, c : c + 1024], None, **o).astype(np.float32)
        for c in range(0, x.shape[1], 1024)
    ]
    total = sum(parts) + (0 if bias is None else bias.astype(np.float32)[:, None, None])
    return total.astype(np.float16)


# -- state ----------------------------------------------------------------------------------------


def keeps(key, of):
    """The forward pass, whose output's shape is kept from the first call that has the same key."""
    shapes = {}

    def forward(x, *arrays, **o):
        y = of(x, *arrays, **o)
        shape = shapes.setdefault(key(x, *arrays, **o), y.shape)
        return y if y.shape == shape else np.resize(y, shape)

    return forward


def without(option):
    return lambda x, *arrays, **o: (
        x.shape, *(a.shape for a in arrays[:1]), *(v for n, v in o.items() if n != option)
    )  # fmt: skip


FAULTS["plan_without_ceil_mode"] = (
    "avg_pool2d", "avg_pool2d", "is_stateless", keeps(without("ceil_mode"), good.avg_pool2d), {},
)  # fmt: skip
FAULTS["plan_without_dilation"] = (
    "conv2d", "conv2d", "is_stateless", keeps(without("dilation"), good.conv2d), {},
)  # fmt: skip
FAULTS["plan_without_output_padding"] = (
    "conv_transpose2d", "conv_transpose2d", "is_stateless",
    keeps(without("output_padding"), good.conv_transpose2d), {},
)  # fmt: skip


@fault("relu", "returns_what_the_protocol_says")
def eight_results_in_turn(z):
    turn = TURNS.setdefault((z.shape, z.dtype), [0] + [np.empty_like(z) for _ in range(8)])
    turn[0] = turn[0] % 8 + 1
    y = turn[turn[0]]
    y[...] = good.relu(z)
    return y


TURNS = {}


@pytest.mark.usefixtures("verdicts_only")
@pytest.mark.parametrize("name", FAULTS)
def test_it_is_told(name):
    function, formula, property_, wrong, contract = FAULTS[name]
    seed = 1 + len(name) % 7
    candidate = backend((function,), **{function: wrong})
    candidate.contract = contract or None
    judged = next(c for c in checks() if (c[1].__name__, c[2].name) == (formula, property_))
    outcome = examine(wrap(candidate), *judged, examples=300, seed=seed)
    assert outcome.status == "mismatch", outcome.reason
    assert "raised" not in outcome.reason  # that would be another fault


# -- what claims less -----------------------------------------------------------------------------


def declining(function, *is_legal):
    def some(*arrays, **options):
        if any(not legal(options) for legal in is_legal):
            raise NotImplementedError
        return getattr(good, function)(*arrays, **options)

    return backend((function,), **{function: some})


def square(options):
    return all(options[n][0] == options[n][1] for n in ("stride", "padding", "dilation"))


@pytest.mark.parametrize(
    ("function", "legal"),
    [
        ("conv2d", lambda o: o["dilation"] == (1, 1)),
        ("conv2d", square),
        ("conv_transpose2d", lambda o: o["output_padding"] == (0, 0)),
        ("avg_pool2d", lambda o: not o["ceil_mode"]),
        ("avg_pool2d", lambda o: not o["count_include_pad"]),
        ("conv2d_grad_weight", lambda o: o["stride"] == (1, 1)),
    ],
)
def test_what_declines_other_options_is_judged_all_the_same(function, legal):
    """The call with another option says nothing where it is declined; the call itself does."""
    operator, formula, property_ = next(
        c for c in checks() if (c[1].__name__, c[2].name) == (function, "is_stateless")
    )
    seen = []

    def check(backend, operator, formula, call):
        seen.append(legal(call))
        return property_.check(backend, operator, formula, call)

    outcome = examine(
        wrap(declining(function, legal)), operator, formula, replace(property_, check=check),
        examples=300, seed=1,
    )  # fmt: skip
    assert outcome.status == "passed", outcome.reason
    assert outcome.declined == seen.count(False) > 0
    assert outcome.judged > 0


ANY = PROPERTIES["leaves_inputs_unchanged"]


@pytest.mark.parametrize(
    ("operator", "formula"),
    [
        pytest.param(o, f, id=f.__name__)
        for o in OPERATORS
        for f in o.formulas
        if f in ANY.formulas(o)
    ],
)
def test_every_array_is_once_not_finite_where_any_numbers_are_checked(operator, formula):
    name = output_of(formula).function
    if not hasattr(good, name):
        pytest.skip("a whole network is no function of a backend")
    names, seen, numbers, labels = argument_names(formula)[0], set(), set(), set()

    def watched(*given, **options):
        nonlocal seen
        for argument, array in zip(names, given, strict=True):
            if array is not None and array.dtype.kind == "f":
                numbers.add(argument)
                seen |= set() if np.isfinite(array).all() else {argument}
            elif array is not None:
                labels.add(argument)
        with np.errstate(all="ignore"):
            return getattr(good, name)(*given, **options)

    backend = wrap(SimpleNamespace(**{name: watched}, contract={"dtypes": ["float32"]}))
    outcome = examine(backend, operator, formula, ANY, examples=2, seed=3)
    assert outcome.status == "passed"
    assert seen == numbers >= {*names} - labels
