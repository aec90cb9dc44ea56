"""Where NaN and infinities must show, where they may, and where not."""

from collections import Counter
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest

from gradoracle import oracle
from gradoracle.conformance.backends.registry import wrap
from gradoracle.conformance.checking.check_run import examine
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.operators.variations import drawn
from gradoracle.conformance.runs.certify import checks
from gradoracle.implementations import im2col
from gradoracle.oracle.declaration import Multilinear, algebra, argument_names, ask
from gradoracle.oracle.expected.non_finite import with_finite
from gradoracle.oracle.expected.truth import truth
from tests.planted import FAULTS

CONVOLUTION = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
POOLING = {
    "kernel_size": (2, 2), "stride": (2, 2), "padding": (0, 0), "ceil_mode": False,
    "count_include_pad": True,
}  # fmt: skip


def conv2d_call(x, weight, **options):
    shapes = {"input_shape": x.shape, "weight_shape": weight.shape}
    return {"x": x, "weight": weight, "bias": None, **CONVOLUTION, **options, **shapes}


def shares(formula, call, got, *, strict=False):
    return truth(formula, call, strict=strict).error_over_bound(got, got.dtype.name)


def planted(shape, at, value):
    array = np.ones(shape)
    array[at] = value
    return array


GEOMETRIES = [
    {"stride": stride, "padding": padding, "dilation": dilation, "kernel": kernel}
    for stride, padding, dilation, kernel in product(((1, 1), (2, 1)), ((0, 0), (1, 2)),
                                                     ((1, 1), (1, 2)), ((2, 2), (1, 3)))
]  # fmt: skip


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_a_nan_is_in_the_windows_that_hold_it_at_every_position(geometry):
    kh, kw = geometry.pop("kernel")
    options = {**CONVOLUTION, **geometry}
    (sh, sw), (ph, pw), (dh, dw) = (options[n] for n in ("stride", "padding", "dilation"))
    for row, column in np.ndindex(4, 5):
        x = planted((2, 1, 4, 5), (1, 0, row, column), np.nan)
        call = conv2d_call(x, np.ones((1, 1, kh, kw)), **geometry)
        right = truth(oracle.conv2d, call, strict=True)
        height, width = right.shape[2:]
        taps = {(row + ph - p * dh, column + pw - q * dw) for p in range(kh) for q in range(kw)}
        holding = {
            (i // sh, j // sw) for i, j in taps
            if i % sh == j % sw == 0 and 0 <= i // sh < height and 0 <= j // sw < width
        }  # fmt: skip
        assert {(n, *at) for n, _, *at in np.argwhere(right.must).tolist()} == {
            (1, *at) for at in holding
        }
        assert right.may[1].all() if dw > 1 else (right.may == right.must).all()
        assert not right.may[0].any()
        answer = im2col.conv2d(x, call["weight"], None, **options)
        assert (right.error_over_bound(answer, "float64") == 0).all()


def test_infinity_keeps_its_sign_where_the_contract_says_so():
    x = planted((1, 1, 1, 3), (0, 0, 0, 1), np.inf)
    weight = np.array([[[[1.0, -1.0]]]])
    call = conv2d_call(x, weight)
    right = np.array([[[[-np.inf, np.inf]]]])
    assert (truth(oracle.conv2d, call).as_float(np.dtype("float64")) == right).all()
    for got, wrong, strictly in (
        (right, [False, False], [False, False]),
        (-right, [True, True], [True, True]),
        (np.full((1, 1, 1, 2), np.nan), [False, False], [True, True]),
        (np.zeros((1, 1, 1, 2)), [True, True], [True, True]),
    ):
        assert (~(shares(oracle.conv2d, call, got) <= 1)).ravel().tolist() == wrong
        assert (~(shares(oracle.conv2d, call, got, strict=True) <= 1)).ravel().tolist() == strictly


def test_what_is_multiplied_with_zero_may_not_be_skipped():
    """0 times NaN is NaN, and so is 0 times infinity: `if weight == 0: continue` is wrong."""
    for value in (np.nan, np.inf):
        x = planted((1, 1, 1, 2), (0, 0, 0, 1), value)
        call = conv2d_call(x, np.array([[[[1.0, 0.0]]]]))
        for strict in (False, True):
            for got, right in ((np.nan, True), (1.0, False), (2.0, False), (np.inf, False)):
                answer = np.full((1, 1, 1, 1), got)
                share = shares(oracle.conv2d, call, answer, strict=strict).item()
                assert (share <= 1) == right, (value, got)


# Every formula that sums products of arrays, with one of them.
PRODUCTS = [
    (operator, formula, name)
    for operator in OPERATORS
    for formula in operator.formulas
    if isinstance(algebra(formula), Multilinear)
    for name in algebra(formula).factors
    if {*algebra(formula).factors} <= {*argument_names(formula)[0]}
    and len(algebra(formula).factors) > 1
]


@pytest.mark.parametrize(("operator", "formula", "lost"), PRODUCTS)
def test_no_zero_keeps_a_nan_from_any_sum_of_products(operator, formula, lost):
    geometry = drawn(operator, 1)
    call = operator.call(geometry.sizes, operator.styles.exact[0], 1, "float64")
    for name in algebra(formula).factors:
        call[name] = np.full(call[name].shape, np.nan if name == lost else 0.0)
    right = truth(formula, call)
    assert right.must.any()
    assert not (right.error_over_bound(np.zeros(right.shape), "float64") <= 1).all()
    with np.errstate(invalid="ignore"):
        answer = ask(getattr(im2col, formula.__name__), formula, call)
    assert (right.error_over_bound(answer, "float64") <= 1).all()


def test_there_are_sums_of_products_in_every_convolution_and_every_matrix_product():
    """Each has three: itself and the gradients by both factors."""
    convolutions = (operator.name for operator in OPERATORS if "conv" in operator.name)
    multiply = (*convolutions, "linear", "matmul", "bmm", "broadcast_matmul")
    assert Counter(operator.name for operator, _, _ in PRODUCTS) == dict.fromkeys(multiply, 3 * 2)


@pytest.mark.parametrize("axis", [0, 1])
def test_an_infinite_logit_has_no_probability(axis):
    """Infinity less infinity: the others of its row are left open, other rows are not."""
    z = planted((2, 3), (1, 2), np.inf)
    call = {"z": z, "axis": axis}
    row = (1, slice(None)) if axis else (slice(None), 2)
    for others in (0.0, np.nan):
        got = np.full((2, 3), 1 / (3 if axis else 2))
        got[row] = others
        got[1, 2] = np.nan
        assert (shares(oracle.softmax, call, got) <= 1).all()
    with np.errstate(invalid="ignore"):
        assert (shares(oracle.softmax, call, im2col.softmax(z, axis=axis)) <= 1).all()
    for at, value in (((1, 2), 1.0), ((0, 0), np.nan), ((0, 0), 0.0)):
        wrong = got.copy()
        wrong[at] = value
        assert not (shares(oracle.softmax, call, wrong) <= 1).all(), at
    loss = {"logits": z, "target": np.array([0, 1]), "reduction": "sum"}
    with np.errstate(invalid="ignore"):
        answer = im2col.cross_entropy(z, loss["target"], reduction="sum")
    assert (shares(oracle.cross_entropy, loss, np.asarray(answer)) <= 1).all()
    assert not (shares(oracle.cross_entropy, loss, np.zeros(())) <= 1).all()


def test_padding_may_be_multiplied_with_an_infinite_tap_but_changes_no_other_filter():
    weight = planted((2, 1, 1, 3), (0, 0, 0, 0), np.inf)
    call = conv2d_call(np.ones((1, 1, 1, 3)), weight, padding=(0, 1))
    by_loops = np.array([[[[2, np.inf, np.inf]], [[2, 3, 2]]]])
    on_padding = np.array([[[[np.nan, np.inf, np.inf]], [[2, 3, 2]]]])
    elsewhere = np.array([[[[2, np.inf, np.inf]], [[np.nan, 3, 2]]]])
    for strict in (True, False):
        assert (shares(oracle.conv2d, call, by_loops, strict=strict) == 0).all()
        assert (shares(oracle.conv2d, call, on_padding, strict=strict) == 0).all()
        assert not (shares(oracle.conv2d, call, elsewhere, strict=strict) <= 1).all()


def test_a_plane_may_be_lost_unless_the_contract_says_more():
    x = planted((1, 2, 2, 4), (0, 1, 0, 0), np.nan)
    call = {"x": x, **POOLING, "input_shape": x.shape}
    right = oracle.avg_pool2d(x, **POOLING)
    lost = right.copy()
    lost[0, 1] = np.nan
    assert (shares(oracle.avg_pool2d, call, lost) == 0).all()
    assert not (shares(oracle.avg_pool2d, call, lost, strict=True) <= 1).all()
    assert (shares(oracle.avg_pool2d, call, right, strict=True) == 0).all()
    lost[0, 0, 0, 0] = np.nan
    assert not (shares(oracle.avg_pool2d, call, lost) <= 1).all()


def test_a_row_of_logits_with_nan_loses_its_own_gradients_only():
    logits = planted((2, 3), (1, 2), np.nan)
    call = {"logits": logits, "target": np.array([0, 1]), "reduction": "sum"}
    right = truth(oracle.cross_entropy_grad, call)
    assert right.must.tolist() == [[False] * 3, [True] * 3]
    assert np.isnan(truth(oracle.cross_entropy, call).as_float(np.dtype("float64")))
    answer = im2col.cross_entropy_grad(logits, call["target"], reduction="sum")
    assert (right.error_over_bound(answer, "float64") <= 1).all()


def test_a_mask_may_be_multiplied_or_selected():
    dy, z = np.array([np.nan, np.nan, 2.0]), np.array([1.0, -1.0, -1.0])
    call = {"grad_output": dy, "z": z}
    for got in ([np.nan, 0, 0], [np.nan, np.nan, 0]):
        assert (shares(oracle.relu_grad, call, np.array(got)) == 0).all()
    for got in ([0, 0, 0], [np.nan, 1, 0], [np.nan, 0, np.nan]):
        assert not (shares(oracle.relu_grad, call, np.array(got)) <= 1).all()


def test_what_is_finite_stays_as_it_is():
    call = conv2d_call(np.array([[[[1, np.inf, -np.inf, np.nan]]]]), np.ones((1, 1, 1, 1)))
    assert with_finite(call, 7)["x"].ravel().tolist() == [1, 7, 7, 7]
    assert with_finite(call, 7)["stride"] == (1, 1)


def outcome(fault, property_name):
    one = FAULTS[fault]
    case = next(c for c in checks() if (c[1].__name__, c[2].name) == (one.function, property_name))
    return examine(wrap(one.alone()), *case, examples=1000, seed=1)


SCRIPTS = {
    "conv2d_loses_nan": ("propagates_non_finite", "want nan"),
    "conv2d_grad_input_takes_nan_to_all_images": ("propagates_non_finite", "got nan"),
    "conv2d_multiplies_what_is_beside_a_window": ("propagates_non_finite", "got nan"),
    "softmax_leaves_nan_out": ("propagates_non_finite", "want nan"),
    "sgd_step_skips_what_overflowed": ("propagates_non_finite", "no rounding explains that"),
    "conv2d_flushes_subnormal_weights": ("keeps_subnormals", "got 0.0"),
}


@pytest.mark.parametrize("fault", SCRIPTS)
def test_the_script_fails_while_the_fault_is_there(fault):
    property_name, words = SCRIPTS[fault]
    found = outcome(fault, property_name)
    assert found.status == "mismatch"
    assert words in found.mismatch.headline
    assert sum(found.mismatch.nonzeros.values()) <= 6, found.mismatch.text
    text = found.mismatch.script.replace("backend = ...", "pass")
    exec(text, {"backend": im2col})  # noqa: S102 - our own words
    with pytest.raises(AssertionError), np.errstate(invalid="ignore"):
        exec(text, {"backend": FAULTS[fault].alone()})  # noqa: S102


def test_nothing_is_said_of_what_the_contract_leaves_open():
    any_ = SimpleNamespace(linear=im2col.linear, contract={"policies": {"non_finite": "any"}})
    for property_name in ("propagates_non_finite", "keeps_subnormals"):
        case = next(c for c in checks() if (c[1].__name__, c[2].name) == ("linear", property_name))
        assert examine(wrap(any_), *case, examples=30, seed=1).status == "not claimed"


@pytest.mark.parametrize(
    ("logits", "target", "right"),
    [
        ([[np.inf, 0.0]], [1], (np.nan, np.inf)),
        ([[np.inf, 0.0]], [0], (np.nan,)),
        ([[np.inf, 0.0], [0.0, 1.0]], [1, 0], (np.nan, np.inf)),
        ([[np.inf, 0.0], [0.0, np.nan]], [1, 0], (np.nan,)),
        ([[-np.inf, 0.0]], [0], (np.inf,)),
    ],
)
def test_a_loss_beside_an_infinite_logit_is_nan_or_infinity(logits, target, right):
    """By the formula it is infinity less infinity; logsumexp of SciPy and JAX gives infinity."""
    call = {"logits": np.array(logits, np.float32), "target": np.array(target), "reduction": "sum"}
    expected = truth(oracle.cross_entropy, call)
    for value in (np.nan, np.inf, -np.inf, 0.0, 1e30):
        share = expected.error_over_bound(np.array(value, np.float32), "float32")
        assert (share <= 1) == any(np.array_equal(value, one, equal_nan=True) for one in right)
