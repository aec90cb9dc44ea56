"""The bound in a test of one's own: what passes, what fails and how that reads, exact data."""

import re
from fractions import Fraction
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import gradoracle
from gradoracle import assert_within_bound, exact_inputs, expected, oracle
from gradoracle.conformance.assertions.calls import name_of
from gradoracle.conformance.backends.backend import FUNCTIONS
from gradoracle.conformance.operators import SHIPPED
from gradoracle.conformance.properties.comparison import explained
from gradoracle.implementations import im2col
from gradoracle.oracle.declaration import (
    Composed,
    Multilinear,
    algebra,
    argument_names,
    ask,
    evaluate,
    is_data,
    is_place,
    output_of,
)
from gradoracle.oracle.float_formats import dtype_of
from tests.calls import CALLS, call, fractions, random_calls, with_floats

pytestmark = pytest.mark.slow

FORMULAS = {name_of(f): f for f in CALLS}
# Formulas of which a small element can be off by a rounding: no indices, no choice of the data.
ROUNDED = {n: f for n, f in FORMULAS.items() if isinstance(algebra(f), (Composed, Multilinear))}
# Those without elementary functions: e to a fraction is none.
RATIONAL = [name_of(f) for o in SHIPPED if o.styles.exact for f in o.formulas if not is_place(f)]
CONV = {"x": (2, 3, 8, 8), "weight": (4, 3, 3, 3)}


def given(formula, made):
    """Return what a user names of a call."""
    return {n: made[n] for part in argument_names(formula) for n in part if made[n] is not None}


def floats(formula, dtype, *, count=4, spread=0):
    """Yield calls of a formula with normal numbers, as a user gives them, and im2col's answers."""
    function, place = output_of(formula)
    for at, made in enumerate(islice(CALLS[formula](4 * count, seed=3), 1, None)):
        drawn = with_floats(made, at, dtype_of(dtype), spread)
        got = ask(getattr(im2col, function), formula, drawn)
        got = got if place is None else got[place]
        if got.size and count:
            count -= 1
            yield given(formula, drawn), got


def conv2d(dtype="float32", seed=0):
    """Return a convolution with a bias and its answer."""
    made = call((2, 3, 7, 6), (4, 3, 3, 2), padding=(1, 0), stride=(1, 2), seed=seed)
    made = with_floats(made, seed, dtype)
    return given(oracle.conv2d, made), ask(im2col.conv2d, oracle.conv2d, made)


def test_all_functions_are_tested():
    derived = {f.__name__ for of in oracle.DERIVED for f in of.formulas}
    here = {output_of(formula).function for formula in FORMULAS.values()}
    assert here == {*FUNCTIONS} - derived
    others = {name_of(f) for o in SHIPPED for f in o.formulas} - {*FORMULAS}
    assert others == {"network_backward", "graph_backward"} | derived


def test_a_derived_gradient_is_bounded_too():
    x = np.random.default_rng(0).standard_normal((2, 3, 8)).astype(np.float32)
    arguments = {"grad_output": x[::-1].copy(), "x": x, "weight": x[0, 0], "eps": 1e-5}
    got = im2col.layer_norm_grad_x(*[*arguments.values()][:3], eps=1e-5)
    gradoracle.assert_within_bound(got, "layer_norm_grad_x", **arguments)
    with pytest.raises(AssertionError, match="layer_norm_grad_x"):
        gradoracle.assert_within_bound(got * np.float32(1.001), "layer_norm_grad_x", **arguments)


# -- what is right passes -------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("name", FORMULAS)
def test_right_answers_pass(name, dtype):
    for arguments, got in floats(FORMULAS[name], dtype):
        assert_within_bound(got, name, **arguments)


def test_both_results_of_a_max_pooling_are_checked():
    arguments, _ = next(floats(FORMULAS["max_pool2d"], "float32"))
    x, options = arguments["x"], {n: v for n, v in arguments.items() if n != "x"}
    y, indices = im2col.max_pool2d(x, **options)
    assert_within_bound((y, indices), "max_pool2d", x=x, **options)
    assert_within_bound(y, "max_pool2d", x=x, **options)
    assert_within_bound(indices, "max_pool2d_indices", x=x, **options)
    with pytest.raises(AssertionError, match=r"max_pool2d_indices\[0, 0, 0, 0\]: got"):
        assert_within_bound((y, indices + 1), "max_pool2d", x=x, **options)
    with pytest.raises(AssertionError, match="max_pool2d: got 3 results, want 2"):
        assert_within_bound((y, y, y), "max_pool2d", x=x, **options)


def test_options_that_are_left_out_are_neutral():
    made = with_floats(call((2, 4, 6, 5), (4, 4, 3, 3)), 0, np.float32)
    x, weight, dy = (made[n] for n in ("x", "weight", "grad_output"))
    plain = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
    assert_within_bound(im2col.conv2d(x, weight, **plain), "conv2d", x=x, weight=weight)
    dw = im2col.conv2d_grad_weight(dy, x, weight_shape=weight.shape, **plain)
    shape = [*weight.shape]
    assert_within_bound(dw, "conv2d_grad_weight", grad_output=dy, x=x, weight_shape=shape)
    padded = im2col.conv2d(x, weight, **{**plain, "padding": (2, 2)})
    assert_within_bound(padded, "conv2d", x=x, weight=weight, padding=2, bias=None)


def test_the_stride_of_a_pooling_is_its_window():
    x = np.random.default_rng(0).standard_normal((1, 2, 6, 6)).astype(np.float32)
    options = {"kernel_size": (3, 2), "padding": (0, 0), "ceil_mode": False}
    y = im2col.avg_pool2d(x, stride=(3, 2), count_include_pad=True, **options)
    assert_within_bound(y, "avg_pool2d", x=x, kernel_size=(3, 2))
    assert_within_bound(y, "avg_pool2d", x=x, kernel_size=(3, 2), stride=None)
    y, _ = im2col.max_pool2d(x, stride=(1, 1), dilation=(1, 1), **options)
    assert_within_bound(y, "max_pool2d", x=x, kernel_size=(3, 2), stride=1)


def test_halves_are_summed_in_float32_unless_it_is_said_otherwise():
    random = np.random.default_rng(0)
    x, weight = random.random((3, 300)).astype("f2"), random.random((4, 300)).astype("f2")
    narrow = np.zeros((3, 4), np.float16)
    for at in range(300):
        narrow = narrow + x[:, [at]] * weight[:, at]
    assert narrow.dtype == np.float16
    with pytest.raises(AssertionError, match="what rounding in float32 explains"):
        assert_within_bound(narrow, "linear", x=x, weight=weight)
    assert_within_bound(narrow, "linear", x=x, weight=weight, accumulator="float16")
    assert_within_bound(im2col.linear(x, weight), "linear", x=x, weight=weight)


def test_transforms_have_bounds_of_their_own():
    arguments, got = conv2d()
    arguments["stride"], arguments["weight"] = 1, arguments["weight"][..., :1]
    got = expected("conv2d", **arguments)
    off = (got.value + 30 * got.allowed).astype(np.float32)
    assert_within_bound(off, "conv2d", algorithm="winograd4", **arguments)
    with pytest.raises(AssertionError, match="times what rounding"):
        assert_within_bound(off, "conv2d", **arguments)


# -- arrays of other libraries --------------------------------------------------------------------


def test_torch_tensors_pass(torch):
    random = torch.Generator().manual_seed(0)
    x = torch.randn(2, 4, 9, 8, generator=random, requires_grad=True)
    weight = torch.nn.Parameter(torch.randn(6, 2, 3, 3, generator=random))
    y = torch.nn.functional.conv2d(x, weight, stride=2, padding=1, groups=2)
    options = {"stride": 2, "padding": 1, "groups": 2}
    assert_within_bound(y, "conv2d", x=x, weight=weight, **options)
    dy = torch.randn(y.shape, generator=random)
    dx, dw = torch.autograd.grad(y, (x, weight), dy)
    assert_within_bound(
        dw, "conv2d_grad_weight", grad_output=dy, x=x, weight_shape=weight.shape, **options
    )
    assert_within_bound(
        dx, "conv2d_grad_input", grad_output=dy, weight=weight, input_shape=x.shape,
        accumulator=torch.float32, **options,
    )  # fmt: skip
    with pytest.raises(AssertionError, match="conv2d_grad_weight"):
        assert_within_bound(
            dw / 2, "conv2d_grad_weight", grad_output=dy, x=x, weight_shape=weight.shape, **options
        )


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_torch_passes_in_halves(torch, dtype):
    z = torch.randn(5, 7, generator=torch.Generator().manual_seed(1)).to(getattr(torch, dtype))
    weight = z[:3] * 2
    y = torch.nn.functional.linear(z, weight)
    assert_within_bound(y, "linear", x=z, weight=weight)
    assert_within_bound(torch.sigmoid(z), "sigmoid", z=z)
    slope = torch.nn.functional.leaky_relu(z, 0.01)
    assert_within_bound(slope, "leaky_relu", z=z, negative_slope=0.01)
    with pytest.raises(AssertionError, match=r"sigmoid\[0, 0\]: got"):
        assert_within_bound(torch.tanh(z), "sigmoid", z=z)


def test_torch_targets_and_places_pass(torch):
    random = torch.Generator().manual_seed(2)
    logits, target = torch.randn(4, 5, generator=random), torch.tensor([0, 4, 2, 2])
    loss = torch.nn.functional.cross_entropy(logits, target)
    assert_within_bound(loss, "cross_entropy", logits=logits, target=target, reduction="mean")
    x = torch.randn(2, 3, 8, 8, generator=random)
    both = torch.nn.functional.max_pool2d(x, 3, 2, return_indices=True)
    assert_within_bound(both, "max_pool2d", x=x, kernel_size=3, stride=2)


class OfDLPack:
    """An array that has DLPack and nothing else."""

    def __init__(self, array):
        self._array = array

    def __dlpack__(self, **options):
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()


class OfArray:
    """An array that has `__array__` only."""

    def __init__(self, array):
        self._array = array

    def __array__(self, dtype=None, copy=None):
        return self._array


class OfDevice:
    """An array of a GPU, as CuPy's: NumPy is refused, `get` copies."""

    __cuda_array_interface__ = None  # where it lies

    def __init__(self, array):
        self._array = array

    def __array__(self, dtype=None, copy=None):
        raise TypeError("Implicit conversion to a NumPy array is not allowed")

    def get(self):
        return self._array


@pytest.mark.parametrize(
    "wrap", [OfDLPack, OfArray, OfDevice, np.asfortranarray, np.ndarray.tolist]
)
def test_arrays_of_other_libraries_are_read(wrap):
    z = np.random.default_rng(0).standard_normal((3, 4))
    assert_within_bound(wrap(np.maximum(z, 0)), "relu", z=wrap(z))
    with pytest.raises(AssertionError, match=r"relu\[0, 1\]"):
        assert_within_bound(wrap(z), "relu", z=wrap(z))


def test_the_other_order_of_bytes_is_read():
    z = np.array([-1.5, 2.5])
    assert_within_bound(np.maximum(z, 0).astype(">f4"), "relu", z=z.astype(">f4"))


# -- what is wrong fails --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ROUNDED)
def test_an_element_off_by_two_bounds_fails(name, dtype):
    random = np.random.default_rng(0)
    for arguments, got in floats(ROUNDED[name], dtype, spread=2):
        value, allowed = expected(name, **arguments)
        at = tuple(int(random.integers(size)) for size in got.shape)
        away = 2 * allowed[at] or abs(value[at]) / 64 or 2.0**-100  # 0: it must be equal
        wrong = np.array(got)
        wrong[at] = np.nextafter(np.float32(value[at] + away), np.float32(np.inf))
        place = ", ".join(map(str, at))
        with pytest.raises(AssertionError) as caught:
            assert_within_bound(wrong, name, **arguments)
        message = str(caught.value)
        assert message.startswith(f"{ROUNDED[name].__name__}[{place}]: got {wrong[at]}, want ")
        assert f"1 of {got.size} elements wrong" in message


def tf32(array):
    """Return float32 rounded to TF32's 11 bits, to nearest."""
    bits = array.view(np.uint32) + np.uint32(1 << 12)
    return (bits & np.uint32(0xFFFFE000)).view(np.float32)


@pytest.mark.parametrize("seed", range(4))
def test_inputs_rounded_to_tf32_fail(seed):
    arguments, got = conv2d(seed=seed)
    assert_within_bound(got, "conv2d", **arguments)
    rounded = {n: tf32(v) if n in ("x", "weight") else v for n, v in arguments.items()}
    got = ask(im2col.conv2d, oracle.conv2d, rounded)
    with pytest.raises(AssertionError, match="times what rounding in float32 explains"):
        assert_within_bound(got, "conv2d", **arguments)


@pytest.mark.parametrize("seed", range(4))
def test_a_missing_tap_fails(seed):
    arguments, _ = conv2d(seed=seed)
    weight = arguments["weight"].copy()
    weight[2, 1, 0, 1] = 0
    got = ask(im2col.conv2d, oracle.conv2d, {**arguments, "weight": weight})
    with pytest.raises(AssertionError, match=r"conv2d\[0, 2, \d, 0\]"):
        assert_within_bound(got, "conv2d", **arguments)


def test_the_report_says_what_the_suite_would():
    made = next(c for c in random_calls(9, dtype=np.float32) if c["weight"][0, 0].size > 2)
    arguments = given(oracle.conv2d_grad_input, made)
    flipped = {**arguments, "weight": arguments["weight"][:, :, ::-1, ::-1].copy()}
    got = ask(im2col.conv2d_grad_input, oracle.conv2d_grad_input, flipped)
    with pytest.raises(AssertionError) as caught:
        assert_within_bound(got, "conv2d_grad_input", **arguments)
    message = str(caught.value)
    for part in (
        "(the data are exact)", "\n  call          grad_output float32[", "\n  wrong  ",
        "\n  allowed       0: on these data nothing rounds",
        "\n  formula       dx[n,c,h,w] = sum of dy[n,m,i,j] weight[m,c,p,q]",
        "\n  looks like    the kernel is flipped",
    ):  # fmt: skip
        assert part in message, message
    assert max(map(len, message.splitlines())) <= 120
    assert caught.traceback[-1].ishidden(caught)


def test_the_error_and_what_is_allowed_are_in_the_report():
    arguments, got = conv2d()
    value, allowed = expected("conv2d", **arguments)
    wrong = got.copy()
    wrong[0, 1, 2, 1] += 0.125
    with pytest.raises(AssertionError) as caught:
        assert_within_bound(wrong, "conv2d", **arguments)
    (line,) = (one for one in str(caught.value).splitlines() if "  allowed  " in one)
    bound, error = float(line.split()[1]), float(line.split()[-1])
    assert bound == pytest.approx(allowed[0, 1, 2, 1], rel=1e-2)
    assert error == pytest.approx(abs(wrong - value)[0, 1, 2, 1], rel=1e-2)


def test_a_wrong_shape_and_a_wrong_dtype_are_named():
    arguments, got = conv2d()
    shape = [*got.shape]
    with pytest.raises(AssertionError, match="conv2d: got shape .*, want ") as caught:
        assert_within_bound(got[:1], "conv2d", **arguments)
    assert f"got shape {[1, *shape[1:]]}, want {shape}" in str(caught.value)
    with pytest.raises(AssertionError, match="conv2d: got dtype float64, want float32"):
        assert_within_bound(got.astype(np.float64), "conv2d", **arguments)


def test_nan_and_infinity_fail_where_the_formula_has_none_and_pass_where_it_has():
    arguments, got = conv2d()
    for wrong in (np.nan, np.inf):
        spoilt = got.copy()
        spoilt[1, 2, 0, 0] = wrong
        with pytest.raises(AssertionError, match=r"conv2d\[1, 2, 0, 0\]: got (nan|inf)"):
            assert_within_bound(spoilt, "conv2d", **arguments)
    arguments["x"] = arguments["x"].copy()
    arguments["x"][0, 1, 3, 2] = np.nan
    lost = ask(im2col.conv2d, oracle.conv2d, arguments)
    assert_within_bound(lost, "conv2d", **arguments)
    with pytest.raises(AssertionError, match=r"want nan"):
        assert_within_bound(np.nan_to_num(lost), "conv2d", **arguments)


# -- the expected value ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", RATIONAL)
def test_the_value_is_the_formula_in_fractions(name):
    formula = FORMULAS[name]
    for made in CALLS[formula](6, seed=1, dtype=np.float64):
        exact = evaluate(formula, fractions(made))
        want = [float(Fraction(v)) for v in np.ravel(exact)]
        value, allowed = expected(name, **given(formula, made))
        assert value.dtype == allowed.dtype == np.float64
        assert value.shape == allowed.shape == np.shape(exact)
        assert value.ravel().tolist() == want


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("name", FORMULAS)
def test_what_passes_is_within_what_is_allowed(name, dtype):
    for arguments, got in floats(FORMULAS[name], dtype, spread=3, count=2):
        value, allowed = expected(name, **arguments)
        assert (abs(got.astype(value.dtype) - value) <= allowed).all()


def test_allowed_counts_what_rounding_the_value_costs():
    random = np.random.default_rng(0)
    x, weight = random.standard_normal((40, 5)), random.standard_normal((30, 5))
    value, allowed = expected("linear", x=x, weight=weight)
    for i, j in ((0, 0), (7, 3), (39, 29)):
        terms = [Fraction(a) * Fraction(b) for a, b in zip(x[i], weight[j], strict=True)]
        u = Fraction(2) ** -53
        bound = 5 * u / (1 - 5 * u) * sum(map(abs, terms))
        off = abs(sum(terms) - Fraction(value[i, j]))
        assert bound + off <= Fraction(allowed[i, j]) <= bound + 5 * off + u * 8 * abs(sum(terms))


# -- exact data -----------------------------------------------------------------------------------

SHAPES = {
    "conv2d": {**CONV, "bias": (4,), "padding": 1},
    "conv2d_grad_input": {"input_shape": CONV["x"], "weight": CONV["weight"], "stride": (2, 1)},
    "conv2d_grad_weight": {"x": CONV["x"], "weight_shape": CONV["weight"], "dilation": 2},
    "conv2d_grad_bias": {"grad_output": (2, 4, 6, 6)},
    "conv_transpose2d": {"x": (2, 3, 4, 4), "weight": (3, 4, 3, 3), "stride": 2},
    "conv_transpose2d_grad_weight": {"x": (2, 3, 4, 4), "weight_shape": (3, 4, 3, 3)},
    "conv1d": {"x": (2, 64, 20), "weight": (8, 64, 5)},
    "conv3d_grad_input": {"input_shape": (1, 2, 4, 4, 4), "weight": (3, 2, 2, 2, 2)},
    "max_pool2d": {"x": (2, 3, 8, 8), "kernel_size": 2},
    "max_pool2d_vjp": {"x": (2, 3, 8, 8), "kernel_size": 3, "stride": 1},
    "avg_pool2d": {"x": (2, 3, 8, 8), "kernel_size": 2},
    "avg_pool2d_grad_input": {"input_shape": (2, 3, 8, 8), "kernel_size": (4, 2)},
    "relu": {"z": (5, 40)},
    "leaky_relu_grad": {"z": (5, 40), "negative_slope": 0.25},
    "linear": {"x": (7, 300), "weight": (5, 300), "bias": (5,)},
    "linear_grad_weight": {"x": (70, 30), "grad_output": (70, 5)},
    "linear_grad_bias": {"grad_output": (700, 5)},
    "batch_mean": {"gradient_per_image": (8, 30)},
    "sgd_step": {"parameter": (5, 40), "gradient": (5, 40), "learning_rate": 0.5},
}
DTYPES = ("float16", "bfloat16", "float32", "float64")


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SHAPES)
def test_loops_in_the_dtype_itself_are_exact(name, dtype, seed):
    """The formula's loops, which sum in the dtype of the data, give the expected value."""
    formula = FORMULAS[name]
    inputs = exact_inputs(name, dtype=dtype, seed=seed, **SHAPES[name])
    for array in inputs.values():
        assert not is_data(array) or (array.dtype == dtype and array.any())
    got = evaluate(formula, {**dict.fromkeys(argument_names(formula)[0]), **inputs})
    assert got.dtype == dtype
    value, allowed = expected(name, **inputs)
    np.testing.assert_array_equal(got.astype(np.float64), value)
    assert_within_bound(got, name, **inputs)
    if not isinstance(algebra(formula), Composed):
        assert not allowed.any()
        assert not expected(name, accumulator=dtype, **inputs).allowed.any()
    assert len(np.unique(value)) >= min(value.size, 40) * 0.4
    numbers = np.concatenate([v.ravel().astype(float) for v in inputs.values() if is_data(v)])
    assert len(np.unique(numbers)) >= (2 if dtype == "bfloat16" else 8)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("channels", [3, 40, 400])
def test_every_order_of_a_convolution_is_exact_in_float16(channels, seed):
    shapes = {"x": (1, channels, 5, 6), "weight": (4, channels, 3, 3)}
    inputs = exact_inputs("conv2d", dtype=np.float16, seed=seed, **shapes)
    windows = np.lib.stride_tricks.sliding_window_view(inputs["x"], (3, 3), axis=(2, 3))
    products = np.einsum("ncijpq,mcpq->nmijcpq", windows, inputs["weight"])
    terms = products.reshape(*products.shape[:4], -1)
    assert terms.dtype == np.float16
    shuffled = np.random.default_rng(seed).permutation(terms.shape[-1])
    value = expected("conv2d", **inputs).value
    for order in (slice(None), slice(None, None, -1), shuffled):
        total = np.zeros(value.shape, np.float16)
        for term in np.moveaxis(terms[..., order], -1, 0):
            total = total + term
        np.testing.assert_array_equal(total, value)
    assert len(np.unique(value)) > 20


def test_exact_data_of_float32_show_tf32():
    for seed in range(5):
        inputs = exact_inputs("conv2d", dtype="float32", seed=seed, **CONV)
        made = {"bias": None, **inputs}
        right = ask(im2col.conv2d, oracle.conv2d, made)
        np.testing.assert_array_equal(right, expected("conv2d", **inputs).value)
        rounded = {**made, "x": tf32(made["x"]), "weight": tf32(made["weight"])}
        got = ask(im2col.conv2d, oracle.conv2d, rounded)
        assert (got != right).mean() > 0.9


def test_a_seed_repeats_and_another_one_differs():
    one, again, other = (exact_inputs("conv2d", seed=seed, **CONV) for seed in (1, 1, 2))
    for name in ("x", "weight"):
        np.testing.assert_array_equal(one[name], again[name])
        assert (one[name] != other[name]).any()
    assert one["stride"] == (1, 1)


def test_places_are_given_as_they_are():
    x = exact_inputs("max_pool2d", x=(1, 2, 6, 6), kernel_size=2)
    places = expected("max_pool2d_indices", **x).value
    assert places.dtype == np.int64
    inputs = exact_inputs(
        "max_pool2d_grad_input", grad_output=(1, 2, 3, 3), indices=places, input_shape=(1, 2, 6, 6)
    )
    value, allowed = expected("max_pool2d_grad_input", **inputs)
    assert not allowed.any()
    assert np.count_nonzero(value) == inputs["grad_output"].size


@pytest.mark.parametrize("name", ["sigmoid", "tanh_grad", "softmax", "cross_entropy"])
def test_elementary_functions_have_no_exact_data(name):
    with pytest.raises(ValueError, match=f"{name}: no data are exact, because its elementary"):
        exact_inputs(name, z=(3, 4))


def test_divisors_that_round_have_no_exact_data():
    with pytest.raises(ValueError, match=r"no exact data were found .* kernel_size=\(3, 3\)"):
        exact_inputs("avg_pool2d", x=(1, 1, 6, 6), kernel_size=3)
    with pytest.raises(ValueError, match=r"float16 for gradient_per_image=\(3, 4\): a divisor"):
        exact_inputs("batch_mean", gradient_per_image=(3, 4))
    with pytest.raises(ValueError, match=r"no exact data were found .* learning_rate=0\.0999"):
        exact_inputs("sgd_step", parameter=(3, 4), gradient=(3, 4), learning_rate=0.1)


# -- wrong arguments ------------------------------------------------------------------------------

X, W = np.zeros((1, 2, 4, 4), np.float32), np.zeros((3, 2, 3, 3), np.float32)
Y = np.zeros((1, 3, 2, 2), np.float32)


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("conv2d", {"x": X}, r"conv2d needs weight; it takes conv2d\(x, weight, bias=None, \*"),
        ("conv2d", {"input": X, "weight": W}, "conv2d has no argument input; it takes"),
        ("conv2d_grad_weight", {"grad_output": Y, "x": X}, "conv2d_grad_weight needs weight_shape"),
        ("conv2d", {"x": None, "weight": W}, "conv2d needs x"),
        ("max_pool2d", {"x": X}, r"max_pool2d needs kernel_size; it takes max_pool2d\(x"),
        ("leaky_relu", {"z": X}, "leaky_relu needs negative_slope"),
        ("conv2d", {"x": "abc", "weight": W}, "x must be an array of numbers, got str of <U3"),
        ("relu", {"z": [[1.0], [1.0, 2.0]]}, "z cannot be read as an array"),
    ],
)
def test_wrong_names_and_kinds_are_type_errors(name, arguments, said):
    with pytest.raises(TypeError, match=said):
        assert_within_bound(Y, name, **arguments)
    with pytest.raises(TypeError, match=said):
        expected(name, **arguments)


@pytest.mark.parametrize("given_to", [lambda *a, **k: assert_within_bound(Y, *a, **k), expected,
                                      exact_inputs])  # fmt: skip
def test_functions_and_arguments_are_given_by_name(given_to):
    with pytest.raises(TypeError, match="a str such as 'convolve', is wanted; got the function"):
        given_to(np.convolve, x=X, weight=W)
    with pytest.raises(TypeError, match="a str such as 'conv2d', is wanted; got NoneType"):
        given_to(None, x=X, weight=W)
    with pytest.raises(TypeError, match="conv2d: arguments are given by name, as in x=x, weight="):
        given_to("conv2d", X, W)


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("conv2", {}, "no formula 'conv2'. Did you mean conv2d"),
        ("network_backward", {}, "a whole network"),
        ("conv2d", {"x": X, "weight": W, "groups": 2}, "groups=2 does not divide the 3 filters"),
        ("conv2d", {"x": X, "weight": W, "padding": "same"}, "padding must be a pair"),
        ("conv2d", {"x": X, "weight": W, "stride": (1, 2, 3)}, "stride must be a pair"),
        ("conv2d", {"x": X.astype("f2"), "weight": W}, "weight is float32, but x is float16"),
        ("conv2d", {"x": X.astype(int), "weight": W}, "x must be of one of .*, got int64"),
        ("conv2d", {"x": X, "weight": W, "accumulator": "tf32"}, "accumulator must be one of"),
        ("conv2d", {"x": X, "weight": W, "accumulator": "float16"}, "holds less than float32"),
        ("conv2d", {"x": X, "weight": W, "algorithm": "gemm"}, "algorithm of conv2d 'gemm'"),
        ("relu", {"z": X, "algorithm": "fft"}, "algorithms 'relu' is unknown"),
        ("cross_entropy", {"logits": X[0, 0], "target": X[0, 0, 0], "reduction": "sum"},
         "target must hold indices, integers, got float32"),
    ],
)  # fmt: skip
def test_arguments_that_fit_no_call_are_value_errors(name, arguments, said):
    with pytest.raises(ValueError, match=said):
        assert_within_bound(Y, name, **arguments)


def test_what_could_not_fail_is_refused():
    x = np.ones((1, 3000), np.float16)
    with pytest.raises(ValueError, match="linear: nothing is proved of sums held in float16"):
        assert_within_bound(x[:, :1], "linear", x=x * 0.1, weight=x, accumulator="float16")
    z = np.array([1.0, np.nan])
    with pytest.raises(ValueError, match="relu_grad is not defined on these data"):
        assert_within_bound(z, "relu_grad", grad_output=z, z=z)


@pytest.mark.parametrize(
    ("name", "arguments", "kind", "said"),
    [
        ("conv2d", {"x": (1, 2, 4, 4)}, TypeError, "conv2d needs weight; it takes"),
        ("conv2d", {"x": (1, 2, 4, 4), "w": 1}, TypeError, "conv2d has no argument w; it takes"),
        ("conv2d", {"x": 4, "weight": (1, 1, 1, 1)}, ValueError, "x must be a shape, such as"),
        ("conv2d", {"x": X, "weight": (3, 2, 3, 3)}, ValueError,
         r"x must be a shape, got an array: give its shape, x=\(1, 2, 4, 4\)$"),
        ("conv2d", {"x": (1, 2, 4, 4), "weight": (3, 1, 3, 3)}, ValueError, "x has 2 channels"),
        ("linear_grad_weight", {"x": (3, 4)}, TypeError, "linear_grad_weight needs grad_output"),
        ("max_pool2d_grad_input", {"indices": [[[[0]]]], "input_shape": (1, 1, 4, 4)}, TypeError,
         "max_pool2d_grad_input needs grad_output; it takes"),
        ("relu", {"z": (2,), "dtype": "int8"}, ValueError, "dtype must be one of"),
    ],
)  # fmt: skip
def test_shapes_that_fit_no_call_are_errors(name, arguments, kind, said):
    with pytest.raises(kind, match=said):
        exact_inputs(name, **arguments)


def examples():
    page = Path(__file__).parent.parent / "conformance" / "assertions" / "README.md"
    return re.findall(r"^```python\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.usefixtures("torch")
def test_the_example_passes_and_fails_where_its_gradient_is_wrong():
    test, _ = examples()
    wrong = test.replace("(dw, ", "(dw / 2, ")
    assert wrong != test
    names = {}
    exec(compile(test, "README.md", "exec"), names)  # noqa: S102 - the page is ours
    names["test_the_gradient_by_the_weight"]()
    exec(compile(wrong, "README.md", "exec"), names)  # noqa: S102
    with pytest.raises(AssertionError, match="the gradient is averaged over the batch"):
        names["test_the_gradient_by_the_weight"]()


SIZES = {"n": 2, "c": 4, "h": 8, "w": 7, "m": 6, "p": 3, "q": 2}


@pytest.mark.parametrize(("name", "shapes"), [
    ("conv2d", {"x": (2, 4, 8, 7), "weight": (6, 2, 3, 2)}),
    ("conv2d_grad_input", {"input_shape": (2, 4, 8, 7), "weight": (6, 2, 3, 2)}),
    ("conv2d_grad_weight", {"x": (2, 4, 8, 7), "weight_shape": (6, 2, 3, 2)}),
])  # fmt: skip
def test_exact_inputs_are_made_by_lengths_of_axes(name, shapes):
    by_sizes = exact_inputs(name, sizes=SIZES, groups=2, seed=3)
    by_shapes = exact_inputs(name, **shapes, groups=2, seed=3)
    assert by_sizes.keys() == by_shapes.keys()
    for argument, value in by_shapes.items():
        np.testing.assert_array_equal(by_sizes[argument], value)


def test_an_array_of_any_number_of_axes_has_its_shape_given():
    with pytest.raises(TypeError, match=re.escape("any number of axes: give its shape, z=(2, 3)")):
        exact_inputs("relu", sizes={"n": 2})
    assert exact_inputs("relu", z=(2, 3))["z"].shape == (2, 3)


@pytest.mark.parametrize(("sizes", "options", "error", "said"), [
    ({**SIZES, "z": 1}, {}, TypeError, "conv2d has no axis 'z'; it has n, c, h, w, m, p, q, i, j"),
    ({"n": 2, "c": 4, "h": 8, "w": 7, "m": 6}, {}, TypeError,
     "conv2d: weight [m, c/g, p, q] needs p and q too"),
    (SIZES, {"groups": 3}, ValueError, "c must be a multiple of groups, 3, got 4"),
])  # fmt: skip
def test_lengths_that_say_no_call_are_told(sizes, options, error, said):
    with pytest.raises(error, match=re.escape(said)):
        exact_inputs("conv2d", sizes=sizes, **options)


def test_the_example_of_exact_inputs_runs():
    asked = []

    def my_conv2d(x, weight, *, stride):
        asked.append(stride)
        options = {"stride": (stride,) * 2, "padding": (0, 0), "dilation": (1, 1), "groups": 1}
        return im2col.conv2d(x, weight, **options)

    _, exact = examples()
    exec(compile(exact, "README.md", "exec"), {"my_conv2d": my_conv2d, "gradoracle": gradoracle})  # noqa: S102
    assert asked  # and its own assertion held


def test_they_are_what_the_package_gives():
    from gradoracle.conformance.assertions import bound

    assert gradoracle.Expected is bound.Expected
    assert {"Expected", "assert_within_bound", "exact_inputs", "expected"} <= {*gradoracle.__all__}
    assert isinstance(expected("relu", z=X), gradoracle.Expected)
    assert SimpleNamespace(**expected("relu", z=X)._asdict()).value.shape == X.shape


SQUARE = np.arange(1, 7, dtype=np.float32).reshape(2, 3)
ADAM = {"learning_rate": 0.1, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "weight_decay": 0.0}
MOMENTS = {"parameter": SQUARE, "gradient": SQUARE, "exp_avg": SQUARE, "exp_avg_sq": SQUARE}


@pytest.mark.parametrize(
    ("name", "arguments", "absent"),
    [
        ("adam_step", {**MOMENTS, **ADAM, "step": 1}, []),
        ("split", {"input": SQUARE, "sections": (1, 2), "axis": 1}, []),
        ("layer_norm_vjp", {"grad_output": SQUARE[None], "x": SQUARE[None], "eps": 1e-5}, [1, 2]),
        ("batch_norm_update", {"x": np.stack([X[0], X[0] + 1]), "running_mean": SQUARE[0, :2],
                               "running_var": SQUARE[0, :2], "momentum": 0.1}, []),
        ("clip_grad_norm", {"first": SQUARE, "second": SQUARE, "max_norm": 1.0}, []),
    ],
)  # fmt: skip
def test_of_several_results_each_is_expected(name, arguments, absent):
    found = expected(name, **arguments)
    assert isinstance(found, tuple)
    assert len(found) > 1
    assert [at for at, one in enumerate(found) if one is None] == absent
    assert all(one is None or isinstance(one, gradoracle.Expected) for one in found)
    got = [one if one is None else one.value.astype("f4") for one in found]
    assert_within_bound(got, name, **arguments)
    for at, one in enumerate(found):
        if one is not None:
            off = (one.value + 3 * one.allowed + 0.01).astype("f4")
            with pytest.raises(AssertionError, match="got"):
                assert_within_bound([*got[:at], off, *got[at + 1 :]], name, **arguments)


def test_an_error_beyond_a_bound_of_nearly_nothing_is_told_in_words():
    assert explained(3.5, "float32") == "3.5 times what rounding in float32 explains"
    assert explained(1e39, "float32") == "no rounding explains that"
    assert explained(np.inf, "float32") == "no rounding explains that"
