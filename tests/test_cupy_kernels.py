"""The CUDA kernels and their host code, on the CPU; what a GPU alone can show is not here."""

import importlib
import inspect
import re
import shutil
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from gradoracle.conformance.backends.backend import FUNCTIONS
from gradoracle.conformance.drawing.memory_layouts import LAYOUTS, laid
from gradoracle.conformance.operators import OPERATORS
from gradoracle.implementations import cupy_kernels, im2col
from gradoracle.implementations.cupy_kernels import (
    adaptive_pool,
    algorithms,
    attention,
    machine,
    normalised_sets,
    optimisers,
    places,
    products,
    structs,
)
from gradoracle.implementations.cupy_kernels.machine import Machine
from gradoracle.oracle.declaration import output_of
from tests import cupy_calls

CONV = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2), "groups": 2}
TRANSPOSED = {**CONV, "output_padding": (1, 0)}
MAX = {
    "kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 1), "dilation": (1, 2),
    "ceil_mode": True,
}  # fmt: skip
AVG = {
    "kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 1), "ceil_mode": True,
    "count_include_pad": False,
}  # fmt: skip


def integers(*shape):
    return np.random.default_rng(sum(shape)).integers(-4, 5, shape).astype(float)


X, W, B = integers(2, 4, 7, 6), integers(6, 2, 3, 2), integers(6)
DY = integers(2, 6, 4, 8)
V = integers(4, 3, 3, 2)  # a transposed convolution's weight
DV = integers(2, 6, 14, 4)
MAXIMA, PLACES = im2col.max_pool2d(X, **MAX)
Z, DZ = integers(3, 4, 5), integers(5, 4, 3).T
LOGITS, TARGET = np.array([[1.0, 2, -np.inf], [0, 0, 0]]), np.array([1, 2])

# One call of every function: arrays, then options.
CALLS = {
    "conv2d": ([X, W, B], CONV),
    "conv2d_grad_input": ([DY, W], {**CONV, "input_shape": X.shape}),
    "conv2d_grad_weight": ([DY, X], {**CONV, "weight_shape": W.shape}),
    "conv2d_grad_bias": ([DY], {}),
    "conv_transpose2d": ([X, V, B], TRANSPOSED),
    "conv_transpose2d_grad_input": ([DV, V], {**TRANSPOSED, "input_shape": X.shape}),
    "conv_transpose2d_grad_weight": ([DV, X], {**TRANSPOSED, "weight_shape": V.shape}),
    "conv_transpose2d_grad_bias": ([DV], {}),
    "max_pool2d": ([X], MAX),
    "max_pool2d_grad_input": ([integers(*PLACES.shape), PLACES], {"input_shape": X.shape}),
    "max_pool2d_vjp": ([integers(*PLACES.shape), X], MAX),
    "avg_pool2d": ([X], AVG),
    "avg_pool2d_grad_input": ([integers(2, 4, 4, 7)], {**AVG, "input_shape": X.shape}),
    "relu": ([Z], {}),
    "relu_grad": ([DZ, Z], {}),
    "leaky_relu": ([Z], {"negative_slope": 0.25}),
    "leaky_relu_grad": ([DZ, Z], {"negative_slope": 0.25}),
    "sigmoid": ([Z], {}),
    "sigmoid_grad": ([DZ, Z], {}),
    "tanh": ([Z], {}),
    "tanh_grad": ([DZ, Z], {}),
    "softmax": ([Z], {"axis": 1}),
    "softmax_grad": ([DZ, Z], {"axis": -3}),
    "linear": ([integers(3, 4), integers(2, 4), integers(2)], {}),
    "linear_grad_input": ([integers(3, 2), integers(2, 4)], {}),
    "linear_grad_weight": ([integers(3, 2), integers(3, 4)], {}),
    "linear_grad_bias": ([integers(3, 2)], {}),
    "cross_entropy": ([LOGITS, TARGET], {"reduction": "mean"}),
    "cross_entropy_grad": ([LOGITS, TARGET], {"reduction": "mean"}),
    "batch_mean": ([Z], {}),
    "sgd_step": ([Z, DZ], {"learning_rate": 0.5}),
    **cupy_calls.CALLS,
}
ROUNDED = (
    "avg", "sigmoid", "tanh", "softmax", "cross_entropy", "batch_mean",
    *(name for name in cupy_calls.CALLS if not name.startswith(cupy_calls.EXACT)),
)  # fmt: skip


@pytest.fixture(autouse=True)
def compiler(request):
    if "compiled" in request.fixturenames and shutil.which("g++") is None:
        pytest.skip("there is no g++ to compile the kernels with")


@pytest.fixture
def compiled():
    """For tests that run kernels."""


@pytest.fixture
def launches(monkeypatch):
    """The C++ names of the kernels that were launched, of which none runs."""
    names = []

    def kernel(self, file, expression, expressions, options=()):
        assert expression in expressions
        return lambda grid, block, arguments: names.append(expression)

    monkeypatch.setattr(Machine, "kernel", kernel)
    monkeypatch.setattr(machine, "host", lambda: Machine("the CPU", np, None))
    monkeypatch.setattr("gradoracle.implementations.cupy_kernels.placement.host", machine.host)
    return names


def cast(arrays, dtype):
    return [a.astype(dtype) if a.dtype.kind == "f" else a for a in arrays]


def assert_same(name, got, want):
    pairs = zip(got, want, strict=True) if isinstance(want, tuple) else [(got, want)]
    for one, other in pairs:
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        if name.startswith(ROUNDED):
            few = 16 * np.finfo(one.dtype).eps  # the suite knows the proven bounds
            np.testing.assert_allclose(one, other, rtol=few, atol=few)
        else:
            np.testing.assert_array_equal(one, other)


OF_KERNELS = {
    output_of(f).function
    for o in OPERATORS
    if {output_of(f).function for f in o.formulas} & set(cupy_kernels.__all__)
    for f in o.formulas
}
AT_ONCE = {name for name in cupy_kernels.__all__ if name not in CALLS}


def test_every_function_of_their_operators_is_called_here():
    assert OF_KERNELS == set(cupy_kernels.__all__) == {*CALLS, *AT_ONCE}
    assert all(name.endswith("_vjp") for name in AT_ONCE)
    assert {*FUNCTIONS} > OF_KERNELS


@pytest.mark.parametrize("name", sorted(AT_ONCE))
def test_all_gradients_at_once_are_the_single_ones(compiled, name):
    of = name.removesuffix("_vjp")
    (first, *rest), options = CALLS[of]
    dy = integers(*np.asarray(getattr(im2col, of)(first, *rest, **options)).shape)
    found = getattr(cupy_kernels, name)(dy, first, *rest, **options)
    by = [n for n in CALLS if n.startswith(f"{of}_grad")]
    want = [_single(n, (dy, first, *rest), options) for n in by]
    got = [one for one in found if one is not None]
    assert len(got) == len(want)
    for one, other in zip(got, want, strict=True):
        np.testing.assert_array_equal(one, other)


def _single(name, arrays, options):
    """Return a gradient of what it takes of these arguments."""
    function = getattr(cupy_kernels, name)
    takes = inspect.signature(function).parameters
    of = inspect.signature(getattr(cupy_kernels, re.sub("_grad.*", "", name))).parameters
    named = dict(zip(("grad_output", *of), arrays, strict=False))
    return function(
        *(named[n] for n in takes if n in named), **{n: options[n] for n in takes if n in options}
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CALLS)
def test_answers_are_im2col_s(compiled, name, dtype):
    arrays, options = CALLS[name]
    arrays = cast(arrays, dtype)
    want = getattr(im2col, name)(*arrays, **options)
    assert_same(name, getattr(cupy_kernels, name)(*arrays, **options), want)


@pytest.mark.parametrize("name", CALLS)
def test_half_precision_is_computed_in_float32_and_rounded_once(compiled, name):
    arrays, options = CALLS[name]
    halves = cast(arrays, np.float16)
    got, want = (
        result if isinstance(result, tuple) else (result,)
        for result in (
            getattr(cupy_kernels, name)(*halves, **options),
            getattr(im2col, name)(*cast(halves, np.float32), **options),
        )
    )
    assert got[0].dtype == np.float16
    for one, other in zip(got, want, strict=True):
        rounding = 2**-10 if name.startswith(ROUNDED) else 0
        np.testing.assert_allclose(one, other.astype(one.dtype), rtol=rounding, atol=rounding / 16)


def test_sums_of_halves_are_held_in_float32(compiled):
    dy = np.array([2048, 1, 1, 1, 1], np.float16)  # where float16 has steps of 2
    assert cupy_kernels.linear_grad_bias(dy[:, np.newaxis]).tolist() == [2052]


@pytest.mark.parametrize("name", CALLS)
def test_no_access_outside_an_array_no_race_and_no_order_that_matters(compiled, name):
    from gradoracle.implementations import hostcuda

    arrays, options = CALLS[name]
    with hostcuda.checking():
        getattr(cupy_kernels, name)(*arrays, **options)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", CALLS)
def test_any_memory_layout_is_read(compiled, name, layout):
    arrays, options = CALLS[name]
    want = getattr(im2col, name)(*arrays, **options)
    other = [laid(a, layout) if isinstance(a, np.ndarray) else a for a in arrays]
    assert_same(name, getattr(cupy_kernels, name)(*other, **options), want)


@pytest.mark.parametrize("name", CALLS)
def test_long_indices_change_no_answer(compiled, name, monkeypatch):
    arrays, options = CALLS[name]
    want = getattr(im2col, name)(*arrays, **options)
    names, kernel = [], Machine.kernel
    monkeypatch.setattr(Machine, "kernel", lambda self, *a: names.append(a[1]) or kernel(self, *a))
    with machine.long_indices():
        assert_same(name, getattr(cupy_kernels, name)(*arrays, **options), want)
    assert names or name == "scatter_add_grad_input"  # a copy
    assert all(expression.endswith(", long long>") for expression in names)


@pytest.mark.parametrize(
    ("size", "index"), [(1, "int"), (2**31 - 2**24, "int"), (2**31 - 2**24 + 1, "long long")]
)
def test_arrays_that_int_cannot_count_are_counted_by_long_long(launches, size, index):
    lazily = np.broadcast_to(np.float32(0), (size,))  # an array of that size without its memory
    at = Machine("the CPU", np, None)
    at.each(cupy_kernels.activations.SOURCE, "relu", (lazily, lazily, size), count=size,
            dtype="float32")  # fmt: skip
    assert launches == [f"relu<float, float, {index}>"]


def test_a_convolution_by_hand(compiled):
    x = np.array([[[[1.0, 2, 3], [4, 5, 6]]]])
    w, b = np.array([[[[1.0, 10]]]]), np.array([1000.0])
    options = {"stride": (1, 2), "padding": (0, 1), "dilation": (1, 1), "groups": 1}
    y = cupy_kernels.conv2d(x, w, b, **options)
    assert y.tolist() == [[[[1010, 1032], [1040, 1065]]]]
    dy = np.array([[[[1.0, 2], [3, 4]]]])
    dx = cupy_kernels.conv2d_grad_input(dy, w, input_shape=x.shape, **options)
    assert dx.tolist() == [[[[10, 2, 20], [30, 4, 40]]]]
    dw = cupy_kernels.conv2d_grad_weight(dy, x, weight_shape=w.shape, **options)
    assert dw.tolist() == [[[[2 * 2 + 4 * 5, 1 + 2 * 3 + 3 * 4 + 4 * 6]]]]


def test_max_pooling_by_hand_ties_nan_and_minus_infinity(compiled):
    nan, low = np.nan, -np.inf
    x = np.array([[[[3.0, 3, low, low, 7, nan, nan]]]])
    options = {"kernel_size": (1, 2), "padding": (0, 1), "dilation": (1, 1), "ceil_mode": False}
    y, indices = cupy_kernels.max_pool2d(x, stride=(1, 1), **options)
    np.testing.assert_array_equal(y[0, 0, 0], [3, 3, 3, low, 7, nan, nan, nan])
    assert indices[0, 0, 0].tolist() == [0, 0, 1, 2, 4, 5, 5, 6]
    dy = np.array([[[[1.0, 2, 4, 8, 16, 32, 64, 128]]]])
    want = [3, 4, 8, 0, 16, 96, 128]
    dx = cupy_kernels.max_pool2d_grad_input(dy, indices, input_shape=x.shape)
    assert dx[0, 0, 0].tolist() == want
    dx = cupy_kernels.max_pool2d_vjp(dy, x, stride=(1, 1), **options)
    assert dx[0, 0, 0].tolist() == want


def test_unpooling_takes_any_indices_of_the_plane(compiled):
    random = np.random.default_rng(3)
    dy = random.integers(-4, 5, (2, 3, 9, 5)).astype(np.float32)
    indices = random.integers(0, 12, dy.shape)
    want = im2col.max_pool2d_grad_input(dy, indices, input_shape=(2, 3, 3, 4))
    got = cupy_kernels.max_pool2d_grad_input(dy, indices, input_shape=(2, 3, 3, 4))
    np.testing.assert_array_equal(got, want)


def test_relu_keeps_nan(compiled):
    z = np.array([np.nan, -0.0, -1, 2], np.float32)
    np.testing.assert_array_equal(cupy_kernels.relu(z), [np.nan, 0, 0, 2])


def test_more_elements_than_threads(compiled, monkeypatch):
    monkeypatch.setattr(machine, "BLOCKS", 2)
    z = np.arange(-700, 700, dtype=np.float64)
    np.testing.assert_array_equal(cupy_kernels.relu(z), np.maximum(z, 0))


@pytest.mark.parametrize("terms", [1, 2, 3, 255, 256, 257, 1000])
def test_sums_of_a_block_lose_no_term(compiled, terms):
    dy = np.arange(1, terms + 1, dtype=np.float64).reshape(1, 1, terms, 1)
    assert cupy_kernels.conv2d_grad_bias(dy).tolist() == [terms * (terms + 1) // 2]


@pytest.mark.parametrize("terms", [1, 3, 31, 32, 33, 256, 257, 2049])
def test_rows_of_a_part_of_a_warp_and_of_several_warps(compiled, terms):
    from gradoracle.implementations import hostcuda

    x, dy = integers(2, 1, terms), integers(1, terms, 2).T.copy()[:, np.newaxis, :, 0]
    with hostcuda.checking("forward"):
        y = cupy_kernels.layer_norm(x, eps=0.5)
        dx = cupy_kernels.layer_norm_grad_x(dy, x, eps=0.5)
    np.testing.assert_allclose(y, im2col.layer_norm(x, eps=0.5), rtol=1e-12)
    np.testing.assert_allclose(dx, im2col.layer_norm_grad_x(dy, x, eps=0.5), atol=1e-12)


@pytest.mark.parametrize(("rows", "keys"), [(3, 33), (3, 600), (600, 3)])
def test_attention_over_several_tiles(compiled, rows, keys):
    query, key, value = (
        integers(1, 2, rows, 3) / 4,
        integers(1, 1, keys, 3),
        integers(1, 1, keys, 2),
    )
    dy, options = integers(1, 2, rows, 2), cupy_calls.ATTENTION
    y = cupy_kernels.scaled_dot_product_attention(query, key, value, **options)
    want = im2col.scaled_dot_product_attention(query, key, value, **options)
    np.testing.assert_allclose(y, want, atol=1e-12)
    got = cupy_kernels.scaled_dot_product_attention_vjp(dy, query, key, value, **options)
    want = im2col.scaled_dot_product_attention_vjp(dy, query, key, value, **options)
    for one, other in zip(got[:3], want[:3], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-11)


def test_a_row_that_sees_no_key_is_0_and_sends_nothing_back(compiled):
    mask = np.ones((2, 4, 3, 6), bool)
    mask[0, 1, 2] = False
    of, options = (cupy_calls.QUERY, cupy_calls.KEY, cupy_calls.VALUE, mask), cupy_calls.ATTENTION
    y = cupy_kernels.scaled_dot_product_attention(*of, **options)
    assert y[0, 1, 2].tolist() == [0, 0, 0]
    dquery = cupy_kernels.scaled_dot_product_attention_grad_query(cupy_calls.DY, *of, **options)
    assert dquery[0, 1, 2].tolist() == [0] * 5


@pytest.mark.parametrize("rows", [4095, 4097, 9000])
def test_losses_lose_no_term(compiled, rows):
    x = np.arange(rows, dtype=np.float64)[:, np.newaxis]
    loss = cupy_kernels.l1_loss(x, -x, reduction="sum")
    assert loss == rows * (rows - 1)


def test_tokens_that_repeat_add_up_in_their_order(compiled):
    dy = np.array([[[1.0], [2.0**24], [1.0], [1.0]]], np.float32)
    tokens = np.array([[1, 1, 1, 0]])
    dw = cupy_kernels.embedding_grad(dy, tokens, np.zeros((3, 1), np.float32), padding_idx=None)
    assert dw.ravel().tolist() == [1, 2**24, 0]  # 2^24 + 1 rounds to 2^24, and does so twice


EMPTY_X, EMPTY_DY = np.zeros((0, 4, 7, 6)), np.zeros((0, 6, 4, 8))
EMPTY = {
    "conv2d": ([EMPTY_X, W], CONV, (0, 6, 4, 8)),
    "conv2d_grad_input": ([EMPTY_DY, W], {**CONV, "input_shape": (0, 4, 7, 6)}, (0, 4, 7, 6)),
    "conv2d_grad_weight": ([EMPTY_DY, EMPTY_X], {**CONV, "weight_shape": W.shape}, W.shape),
    "conv2d_grad_bias": ([EMPTY_DY], {}, (6,)),
    "conv_transpose2d": ([EMPTY_X, V, B], TRANSPOSED, (0, 6, 14, 4)),
    "avg_pool2d": ([EMPTY_X], AVG, (0, 4, 4, 7)),
    "max_pool2d_vjp": ([np.zeros((0, 4, 4, 6)), EMPTY_X], MAX, (0, 4, 7, 6)),
    "max_pool2d_grad_input": (
        [np.zeros((0, 1, 2, 2)), np.zeros((0, 1, 2, 2), np.int64)],
        {"input_shape": (0, 1, 4, 4)},
        (0, 1, 4, 4),
    ),
    "relu": ([np.zeros((3, 0))], {}, (3, 0)),
    "softmax": ([np.zeros((0, 3))], {"axis": 1}, (0, 3)),
    "linear": ([np.zeros((0, 4)), integers(2, 4)], {}, (0, 2)),
    "linear_grad_weight": ([np.zeros((0, 2)), np.zeros((0, 4))], {}, (2, 4)),
    "linear_grad_bias": ([np.zeros((0, 2))], {}, (2,)),
    "cross_entropy": ([np.zeros((0, 3)), np.zeros(0, np.int64)], {"reduction": "sum"}, ()),
    "cross_entropy_grad": ([np.zeros((0, 3)), np.zeros(0, np.int64)], {"reduction": "sum"}, (0, 3)),
    "batch_mean": ([np.zeros((2, 0))], {}, (0,)),
}
EMPTY |= {
    "layer_norm": ([cupy_calls.ROWS[:0], cupy_calls.OF_ROWS], cupy_calls.EPS, (0, 4, 5)),
    "layer_norm_grad_weight": ([cupy_calls.ROWS[:0]] * 2, cupy_calls.EPS, (5,)),
    "batch_norm": (
        [cupy_calls.PLANES[:0], cupy_calls.MEAN, cupy_calls.VAR], cupy_calls.RUNNING, (0, 4, 3, 5),
    ),
    "embedding_grad": (
        [cupy_calls.DTOKENS[:0], cupy_calls.TOKENS[:0], cupy_calls.TABLE], {"padding_idx": None},
        (5, 4),
    ),
    "scaled_dot_product_attention": (
        [a[:0] for a in (cupy_calls.QUERY, cupy_calls.KEY, cupy_calls.VALUE)],
        cupy_calls.ATTENTION, (0, 4, 3, 3),
    ),
    "bmm": ([np.zeros((0, 2, 3)), np.zeros((0, 3, 4))], {}, (0, 2, 4)),
}  # fmt: skip


@pytest.mark.parametrize("name", EMPTY)
def test_what_is_empty_needs_no_launch(launches, name):
    arrays, options, shape = EMPTY[name]
    np.testing.assert_array_equal(getattr(cupy_kernels, name)(*arrays, **options), np.zeros(shape))
    assert launches == []


BAD = [
    ("conv2d", [X, W[:, :1]], CONV, ValueError, "4 channels and 6 filters of depth 1"),
    ("conv2d", [X, W, B[1:]], CONV, ValueError, "bias has shape"),
    ("conv2d", [X, W], {**CONV, "stride": (1.5, 1)}, ValueError, "stride must be a pair of int"),
    ("conv2d", [X, W], {**CONV, "padding": 1}, ValueError, "padding must be a pair of integers"),
    ("conv2d", [X, W], {**CONV, "groups": 2.0}, ValueError, "groups must be an integer"),
    ("conv2d", [X, W], {**CONV, "dilation": (0, 1)}, ValueError, "must be at least 1"),
    ("conv2d", [X, W.astype("f4")], CONV, TypeError, "weight is float32, but x float64"),
    ("conv2d", [X.astype("i4"), W], CONV, TypeError, "x must be one of float32, .*got int32"),
    ("conv2d", [X.astype(">f8"), W], CONV, TypeError, "x must be one of float32, .*got >f8"),
    ("conv2d", [X.tolist(), W], CONV, TypeError, "x must be an array of NumPy .* got list"),
    ("conv2d", [X, None], CONV, TypeError, "weight must be an array of NumPy .* got NoneType"),
    ("conv2d_grad_input", [DY[:, :, 1:], W], {**CONV, "input_shape": X.shape}, ValueError,
     "grad_output has shape"),
    ("conv2d_grad_input", [DY, W], {**CONV, "input_shape": 7}, ValueError,
     "input_shape must be a shape, got 7"),
    ("conv2d_grad_weight", [DY, X], {**CONV, "weight_shape": (6, 2, 3.0, 2)}, ValueError,
     "weight_shape must be a shape"),
    ("conv2d_grad_bias", [Z], {}, ValueError, "must have 4 axes"),
    ("conv_transpose2d", [X, V], {**TRANSPOSED, "output_padding": (2, 0)}, ValueError, "possible"),
    ("max_pool2d", [X], {**MAX, "padding": (2, 0)}, ValueError, "does not fit"),
    ("max_pool2d_vjp", [DY, X], MAX, ValueError, "grad_output has shape"),
    ("max_pool2d_grad_input", [DY, np.full(DY.shape, 42)], {"input_shape": (2, 6, 7, 6)},
     ValueError, "indices must lie in the plane of 42"),
    ("max_pool2d_grad_input", [DY, DY], {"input_shape": (2, 6, 7, 6)}, TypeError,
     "indices must be int64, got float64"),
    ("relu_grad", [Z, X], {}, ValueError, "grad_output has shape"),
    ("softmax", [Z], {"axis": 3}, ValueError, "there is no axis 3"),
    ("softmax", [Z[:, :0]], {"axis": 1}, ValueError, "nothing on axis 1"),
    ("linear", [X, W], {}, ValueError, "x must have 2 axes"),
    ("linear_grad_input", [integers(3, 2), integers(3, 4)], {}, ValueError, "weight"),
    ("linear_grad_weight", [integers(2, 2), integers(3, 4)], {}, ValueError, "x"),
    ("cross_entropy", [LOGITS, TARGET + 1], {"reduction": "sum"}, ValueError, "classes 0 to 2"),
    ("cross_entropy", [LOGITS, TARGET.astype("i4")], {"reduction": "sum"}, TypeError, "int64"),
    ("cross_entropy_grad", [LOGITS, TARGET], {"reduction": "max"}, ValueError, "'max'"),
    ("batch_mean", [Z[:0]], {}, ValueError, "no batch"),
    ("sgd_step", [Z, X], {"learning_rate": 1.0}, ValueError, "gradient has shape"),
    ("layer_norm", [Z, B], cupy_calls.EPS, ValueError, "weight of shape"),
    ("layer_norm", [Z], {"eps": -1.0}, ValueError, "eps must not be negative, got -1.0"),
    ("group_norm", [X], {"num_groups": 3, "eps": 0.5}, ValueError, "3 groups do not divide 4"),
    ("batch_norm", [X[:0], B[:4], B[:4]], cupy_calls.TRAINING, ValueError, "mean of an empty"),
    ("batch_norm_update", [X[:1, :, :1, :1], B[:4], B[:4]], {"momentum": 0.5}, ValueError,
     "no unbiased variance of 1 numbers"),
    ("gelu", [Z], {"approximate": "erf"}, ValueError, "approximate must be one of .*got 'erf'"),
    ("hardtanh", [Z], {"min_val": 1.0, "max_val": 1.0}, ValueError, "min_val must be below"),
    ("glu", [Z[0, :, :3]], {}, ValueError, "even number of columns, got 3"),
    ("prelu", [X, None], {}, TypeError, "weight must be an array .* got NoneType"),
    ("mse_loss", [Z[0], Z[0]], {"reduction": "max"}, ValueError, "'max'"),
    ("huber_loss", [Z[0], Z[0]], {"reduction": "sum", "delta": 0.0}, ValueError, "delta must be"),
    ("mse_loss_grad_input", [Z[0], Z[0], Z[0]], {"reduction": "sum"}, ValueError, "the loss"),
    ("nll_loss", [LOGITS, TARGET + 1], {"ignore_index": 9, "reduction": "sum"}, ValueError,
     "classes 0 to 2, or 9"),
    ("nll_loss", [LOGITS, TARGET], {"ignore_index": 1, "reduction": "maen"}, ValueError, "'maen'"),
    ("cross_entropy_loss", [LOGITS, TARGET], {**cupy_calls.SMOOTHED, "label_smoothing": 2.0},
     ValueError, "label_smoothing must be between 0 and 1, got 2.0"),
    ("adaptive_avg_pool2d", [X], {"output_size": (0, 1)}, ValueError, "at least 1"),
    ("embedding", [TARGET[np.newaxis] + 9, LOGITS], {"padding_idx": None}, ValueError,
     "indices must be 0 to 1"),
    ("embedding", [TARGET[np.newaxis] % 2, LOGITS], {"padding_idx": 2}, ValueError,
     "padding_idx 2 is no row of 2"),
    ("gather", [Z, TARGET], {"axis": 0}, ValueError, "index has 1 axes, input 3"),
    ("gather", [LOGITS, np.zeros((3, 3), int)], {"axis": 1}, ValueError, "is longer than input"),
    ("index_select", [Z, TARGET], {"axis": 3}, ValueError, "axis 3 is none of 3"),
    ("matmul", [Z[0], Z[0]], {}, ValueError, "does not fit the other arrays"),
    ("scaled_dot_product_attention", [X, X[:, :3], X[:, :3]], cupy_calls.ATTENTION, ValueError,
     "3 heads of the key do not fit 4"),
    ("scaled_dot_product_attention", [X, X, X, X > 0], cupy_calls.CAUSAL, ValueError, "attn_mask"),
    ("rotary_embedding", [X, Z[0], Z[0]], {"interleaved": True, "offset": -1}, ValueError,
     "offset must not be negative"),
    ("adam_step", [Z] * 4, {**cupy_calls.STEP, "beta1": 1.0}, ValueError, "betas 1.0"),
    ("sgd_momentum_step", [Z, DZ], {**cupy_calls.MOMENTUM, "momentum": 0.0}, ValueError,
     "momentum must be positive, got 0.0"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "arrays", "options", "kind", "text"), BAD)
def test_bad_arguments_are_named_before_any_launch(launches, name, arrays, options, kind, text):
    with pytest.raises(kind, match=text):
        getattr(cupy_kernels, name)(*arrays, **options)
    assert launches == []


def test_sides_that_kernels_cannot_count_are_declined(launches):
    options = {**CONV, "stride": (2**31, 1)}
    with pytest.raises(NotImplementedError, match="7 pixels padded by 1 .* stride 2147483648"):
        cupy_kernels.conv2d(X, W, **options)
    assert launches == []


STRUCTS = {
    "Sets": ("normalisation.cu", normalised_sets.SETS),
    "Adaptive": ("adaptive_pool.cu", adaptive_pool.ADAPTIVE),
    "Along": ("indexing.cu", places.ALONG),
    "Attention": ("attention.cu", attention.ATTENTION),
    "Factor": ("products.cu", products.FACTOR),
    "Adam": ("optimisers.cu", optimisers.ADAM),
}


def test_the_structs_of_shapes_are_what_the_kernels_declare():
    text = (machine.HERE / "conv2d.cu").read_text()
    assert f"struct Conv {{ int {', '.join(structs.CONV.names)}; }};" in text
    text = (machine.HERE / "pooling.cu").read_text()
    assert f"struct Pool {{ int {', '.join(structs.POOL.names)}; }};" in text
    for struct, (file, kinds) in STRUCTS.items():
        declared = re.search(
            rf"struct {struct} {{(.*?)[}}]", (machine.HERE / file).read_text(), re.DOTALL
        )
        words = re.sub(r"//.*|\b(int|long long|double)\b", "", declared[1])
        assert tuple(re.findall(r"\w+", words.split("template")[0])) == kinds.names
    assert f"#define LANES {machine.LANES}\n" in (machine.HERE / "common.cuh").read_text()
    assert f"#define MOST_THREADS {machine.THREADS}\n" in (machine.HERE / "common.cuh").read_text()


class Fast:
    """An algorithm that takes convolutions without groups only."""

    calls = ()

    def forward(self, at, x, weight, bias, p, y):
        self.calls += ("forward",)
        if p["G"] != 1:
            return False
        y.fill(7)
        return None


def test_fast_algorithms_are_tried_first_and_may_decline(compiled, monkeypatch):
    fast = Fast()
    monkeypatch.setattr(algorithms, "FASTER", {"fast": fast})
    with algorithms.only("fast", "direct"):
        assert_same("conv2d", cupy_kernels.conv2d(X, W, B, **CONV), im2col.conv2d(X, W, B, **CONV))
        alone = cupy_kernels.conv2d(X, integers(6, 4, 3, 2), **{**CONV, "groups": 1})
    assert set(alone.ravel().tolist()) == {7}
    assert len(fast.calls) == 2
    with algorithms.only("direct"):
        cupy_kernels.conv2d(X, W, **CONV)
    assert len(fast.calls) == 2
    with algorithms.only("fast"), pytest.raises(NotImplementedError, match="fast declined forward"):
        cupy_kernels.conv2d(X, W, **CONV)


def test_a_backend_of_one_algorithm_asks_no_other(compiled, monkeypatch):
    from gradoracle.implementations.cupy_kernels import host

    fast = Fast()
    monkeypatch.setattr(algorithms, "FASTER", {"fast": fast})
    with algorithms.only("fast"):
        y = host.direct.conv2d(X, W, B, **CONV)
    assert fast.calls == ()
    assert_same("conv2d", y, im2col.conv2d(X, W, B, **CONV))
    assert set(vars(host.direct)) == {*OF_KERNELS, "contract"}


def test_unknown_algorithms_are_named():
    with (
        pytest.raises(ValueError, match="algorithm 'fft' is unknown; pick from .*'direct'"),
        algorithms.only("fft"),
    ):
        pass


class Handed:
    """An array of another library, which DLPack hands over; `kind` is the memory it says it is."""

    def __init__(self, array, kind=1, number=0):
        self.array, self.where = array, (kind, number)

    def __dlpack_device__(self):
        return self.where

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)


def test_arrays_of_others_come_through_dlpack(compiled):
    y = cupy_kernels.relu_grad(Handed(DZ), Handed(Z))
    np.testing.assert_array_equal(y, im2col.relu_grad(DZ, Z))


def test_memory_that_nobody_here_reads_is_named(launches):
    with pytest.raises(TypeError, match="z must be .* got Handed in DLPack's memory of kind 8"):
        cupy_kernels.relu(Handed(Z, kind=8))


class Device:
    """A stand-in for CuPy's devices, which remembers which one is current."""

    current = None

    def __init__(self, number):
        self.number = number

    def __enter__(self):
        Device.current = self.number

    def __exit__(self, *error):
        Device.current = None


@pytest.fixture
def fake_cupy(monkeypatch):
    """A module that does as CuPy does, where only the CPU is: its arrays are NumPy's."""
    from gradoracle.implementations.hostcuda import RawModule

    def on_device(function):
        def called(*arguments, **options):
            assert Device.current == 1, "no device is current"
            return function(*arguments, **options)

        return called

    cupy = ModuleType("cupy")
    cupy.ndarray = SimpleNamespace  # nothing is one
    cupy.cuda = SimpleNamespace(Device=Device)
    cupy.from_dlpack = lambda value: value.array
    cupy.RawModule = on_device(RawModule)
    for name in ("empty", "zeros", "ascontiguousarray", "sort"):
        setattr(cupy, name, on_device(getattr(np, name)))
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    machine.on_device.cache_clear()
    yield cupy
    machine.on_device.cache_clear()


@pytest.mark.parametrize("name", CALLS)
def test_cuda_memory_stays_on_its_device(compiled, fake_cupy, name):
    arrays, options = CALLS[name]
    want = getattr(im2col, name)(*arrays, **options)
    handed = [Handed(a, kind=2, number=1) for a in arrays]
    assert_same(name, getattr(cupy_kernels, name)(*handed, **options), want)


def test_arrays_on_two_machines_are_refused(compiled, fake_cupy):
    on_cuda = Handed(X, kind=2, number=1)
    with pytest.raises(ValueError, match="weight lies on the CPU, but x on CUDA device 1"):
        cupy_kernels.conv2d(on_cuda, W, **CONV)
    with pytest.raises(ValueError, match="weight lies on CUDA device 0, but x on CUDA device 1"):
        cupy_kernels.conv2d(on_cuda, Handed(W, kind=2), **CONV)


def imported(name):
    sys.modules.pop(name, None)
    try:
        __import__(name)
    finally:
        sys.modules.pop(name, None)


def cupy_that(**attributes):
    """Return a CuPy whose driver and compiler do as told."""

    def count():
        if isinstance(attributes["devices"], Exception):
            raise attributes["devices"]
        return attributes["devices"]

    def module(**options):
        if "refuses" in attributes:
            raise attributes["refuses"]
        kernel = attributes.get("kernel", lambda grid, block, arguments: None)
        return SimpleNamespace(get_function=lambda name: kernel)

    cupy = ModuleType("cupy")
    runtime = SimpleNamespace(
        getDeviceCount=count,
        getDeviceProperties=lambda number: {"name": b"A GPU", "major": 9, "minor": number},
        runtimeGetVersion=lambda: 12080,
    )
    cupy.cuda = SimpleNamespace(runtime=runtime, Device=lambda: SimpleNamespace(id=0))
    cupy.__version__ = "14.2.0"
    cupy.RawModule, cupy.asarray, cupy.asnumpy, cupy.array = module, np.array, np.asarray, np.array
    return cupy


def doubling(grid, block, arguments):
    arguments[0][...] *= 2


@pytest.mark.parametrize(
    ("cupy", "text"),
    [
        (None, r"^CuPy is not installed: pip install 'gradoracle\[cupy\]'$"),
        (
            cupy_that(devices=RuntimeError("cudaErrorInsufficientDriver:\n too old")),
            "^there is no CUDA device: RuntimeError: cudaErrorInsufficientDriver: too old; "
            "`cupy@host` runs the same kernels on the CPU$",
        ),
        (cupy_that(devices=0), "^there is no CUDA device: the driver sees none; `cupy@host` runs"),
        (
            cupy_that(devices=1, refuses=OSError("libnvrtc.so.12: not found")),
            "^no kernel runs on the CUDA device: OSError: libnvrtc.so.12: not found$",
        ),
        (cupy_that(devices=1), r"^the CUDA device computes 2 \* \[1, 2\] as \[1.0, 2.0\]$"),
    ],
)
def test_a_device_that_cannot_be_used_says_why_in_one_sentence(monkeypatch, cupy, text):
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    with pytest.raises(ImportError, match=text):
        imported("gradoracle.implementations.cupy_kernels.device")


def test_benchmarks_wait_for_the_stream(monkeypatch):
    cupy, waited = cupy_that(devices=1, kernel=doubling), []
    stream = SimpleNamespace(synchronize=lambda: waited.append(True))
    cupy.cuda.get_current_stream = lambda: stream
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    device = importlib.import_module("gradoracle.implementations.cupy_kernels.device")
    monkeypatch.delitem(sys.modules, device.__name__)
    assert "synchronize" in device.__all__
    device.synchronize()
    assert waited == [True]


def test_a_cupy_that_lacks_something_is_not_told_as_missing(monkeypatch, tmp_path):
    (tmp_path / "cupy.py").write_text("import something_of_nvidia_s")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    with pytest.raises(ImportError, match="^CuPy cannot be imported: .* 'something_of_nvidia_s'$"):
        imported("gradoracle.implementations.cupy_kernels.device")


def test_a_device_that_can_be_used_is_a_backend(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", cupy_that(devices=1, kernel=doubling))
    name = "gradoracle.implementations.cupy_kernels.device"
    monkeypatch.delitem(sys.modules, name, raising=False)
    __import__(name)
    device = sys.modules.pop(name)
    named = {"contract", "from_numpy", "synchronize", "to_numpy"}
    assert set(device.__all__) == {*OF_KERNELS, *named}
    assert device.contract["runs_on"] == "A GPU (compute capability 9.0), CUDA 12.8, CuPy 14.2.0"
    assert device.from_numpy(Z) is not Z
    np.testing.assert_array_equal(device.to_numpy(device.from_numpy(Z)), Z)


def test_the_host_backend_has_the_same_functions(compiled):
    from gradoracle.implementations.cupy_kernels import host

    assert set(host.__all__) == {*OF_KERNELS, "contract"}
    assert host.contract["runs_on"].startswith("the CPU: CUDA C++ compiled by g++ (hostcuda), ")


def test_a_gradient_of_large_numbers_does_not_overflow_on_the_way():
    dy, x = np.full((1, 1, 1), -(2.0**49), np.float32), np.full((1, 1, 1), -(2.0**30), np.float32)
    weight = np.full(1, -(2.0**49), np.float32)
    got = cupy_kernels.rms_norm_grad_x(dy, x, weight, eps=1e-5)
    assert np.isfinite(got).all()
    assert np.allclose(got, im2col.rms_norm_grad_x(dy, x, weight, eps=1e-5), atol=1)


def test_the_weight_of_a_class_without_a_share_in_the_loss_is_not_read():
    options = {"ignore_index": -100, "label_smoothing": 0.0, "reduction": "mean"}
    z, target = np.zeros((1, 2), np.float32), np.zeros(1, np.int64)
    weight = np.array([1, np.nan], np.float32)
    dy = np.zeros((), np.float32)
    got = cupy_kernels.cross_entropy_loss_grad(dy, z, target, weight, **options)
    assert (got == 0).all()
