"""Wrong backends written without the table of misconceptions get the one line that explains them.

Real code computes in the format of its data, walks over arrays of the right shape, and reads
nothing outside them; what it misunderstands must be named all the same, and nothing else.
"""

from types import SimpleNamespace

import numpy as np
import pytest

from gradoracle.conformance.backends.registry import wrap
from gradoracle.conformance.checking.check_run import examine
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.properties import PROPERTIES
from gradoracle.implementations import im2col as good
from tests.planted import FAULTS
from tests.planted.fault import family

FORMULAS = {f.__name__: (o, f) for o in OPERATORS for f in o.formulas}


def walk(x, weight, shape, *, stride, padding, dilation, groups):
    """A convolution in plain loops over windows and taps: [N, M, OH, OW]."""
    y = np.zeros(shape, x.dtype)
    depth, members = weight.shape[1], weight.shape[0] // groups
    for i, j, p, q in np.ndindex(*shape[2:], *weight.shape[2:]):
        h = i * stride[0] + p * dilation[0] - padding[0]
        w = j * stride[1] + q * dilation[1] - padding[1]
        if 0 <= h < x.shape[2] and 0 <= w < x.shape[3]:
            for m in range(shape[1]):
                first = m // members * depth
                y[:, m, i, j] += x[:, first : first + depth, h, w] @ weight[m, :, p, q]
    return y


def convolution(**misread):
    """conv2d that allocates the right shape and misreads an option in its loops."""

    def conv2d(x, weight, bias=None, **o):
        shape = good.conv2d(x, weight, bias, **o).shape
        read = {**o, **{name: change(o[name]) for name, change in misread.items()}}
        y = walk(x, weight, shape, **read)
        return y if bias is None else y + bias[:, None, None]

    return conv2d


def depthwise(**misread):
    """A convolution that is wrong only where every channel has filters of its own."""
    wrong = convolution(**misread)

    def conv2d(x, weight, bias=None, **o):
        is_depthwise = o["groups"] == x.shape[1] > 1
        return (wrong if is_depthwise else good.conv2d)(x, weight, bias, **o)

    return conv2d


def divisor_of_rows(x, *, kernel_size, stride, padding, ceil_mode, count_include_pad):
    """The divisor's padding is the height's on both sides; what is summed is right."""
    o = {"stride": stride, "padding": padding, "ceil_mode": ceil_mode}
    sums = good.avg_pool2d(x, kernel_size=kernel_size, count_include_pad=True, **o)
    counts = np.empty(sums.shape[2:]), np.empty(sums.shape[2:])
    for pads, count in zip((padding, (padding[0], padding[0])), counts, strict=True):
        for i, j in np.ndindex(*count.shape):
            sides = []
            for at, k, s, p, size in zip(
                (i, j), kernel_size, stride, pads, x.shape[2:], strict=True
            ):
                start, end = at * s - p, min(at * s - p + k, size + p)
                inside = (start, end) if count_include_pad else (max(start, 0), min(end, size))
                sides.append(inside[1] - inside[0])
            count[i, j] = sides[0] * sides[1]
    full = np.empty(sums.shape[2:])
    for i, j in np.ndindex(*full.shape):
        ends = [
            min(at * s - p + k, size + p) - (at * s - p)
            for at, k, s, p, size in zip(
                (i, j), kernel_size, stride, padding, x.shape[2:], strict=True
            )
        ]
        full[i, j] = ends[0] * ends[1]
    with np.errstate(all="ignore"):
        return (sums * full / counts[1]).astype(x.dtype)


def pooling(**misread):
    """Maxima of the right shape whose loops misread an option."""

    def max_pool2d(x, **o):
        y, places = (a.copy() for a in good.max_pool2d(x, **o))
        read = {**o, **{name: change(o) for name, change in misread.items()}}
        for i, j in np.ndindex(*y.shape[2:]):
            best = np.full(x.shape[:2], -np.inf, x.dtype)
            where = np.zeros(x.shape[:2], np.int64)
            for p, q in np.ndindex(*read["kernel_size"]):
                h, w = (
                    at * s + tap * d - pad
                    for at, tap, s, d, pad in zip(
                        (i, j), (p, q), read["stride"], read["dilation"], read["padding"],
                        strict=True,
                    )
                )  # fmt: skip
                if 0 <= h < x.shape[2] and 0 <= w < x.shape[3]:
                    more = (x[:, :, h, w] > best) | (np.isnan(x[:, :, h, w]) & ~np.isnan(best))
                    best = np.where(more, x[:, :, h, w], best)
                    where = np.where(more, h * x.shape[3] + w, where)
            y[:, :, i, j], places[:, :, i, j] = best, where
        return y, places

    return max_pool2d


def in_row_0(name):
    """A gradient that adds up what comes back for all rows in the first."""

    def gradient(*arrays, **o):
        dx = getattr(good, name)(*arrays, **o)
        wrong = np.zeros_like(dx)
        wrong[:1] = dx.sum(axis=0, keepdims=True)
        return wrong

    return gradient


def first_image(name):
    """Only the first image is computed, in memory that was zeros."""

    def function(*arrays, **o):
        y = getattr(good, name)(*arrays, **o)
        whole = np.zeros_like(y)
        if len(y):
            whole[0] = getattr(good, name)(arrays[0][:1], *arrays[1:], **o)[0]
        return whole

    return function


def both(pair):
    return pair[0], pair[0]


def sigmoid_grad_by_tanh(grad_output, z):
    good.sigmoid_grad(grad_output, z)
    t = np.tanh(z * z.dtype.type(0.5))
    return grad_output * ((1 - t * t) * z.dtype.type(0.25))


def relu_by_if(z):
    return np.where(z > 0, z, z.dtype.type(0))


def unshifted_loss(logits, target, *, reduction):
    good.cross_entropy(logits, target, reduction=reduction)
    with np.errstate(all="ignore"):
        rows = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(target)), target]
    return np.asarray(rows.mean() if reduction == "mean" else rows.sum()).astype(logits.dtype)


SIDE = "the height's {} is used for the width as well"
HAND_WRITTEN = {
    "conv2d, stride of one side": ("conv2d", convolution(stride=both), SIDE.format("stride")),
    "conv2d, padding of one side": ("conv2d", convolution(padding=both), SIDE.format("padding")),
    "conv2d, dilation of one side": ("conv2d", convolution(dilation=both),
                                     SIDE.format("dilation")),
    "conv2d, no padding": ("conv2d", convolution(padding=lambda _: (0, 0)),
                           "the padding is ignored"),
    "conv2d, no stride": ("conv2d", convolution(stride=lambda _: (1, 1)),
                          "the stride is ignored"),
    "conv2d, no dilation": ("conv2d", convolution(dilation=lambda _: (1, 1)),
                            "the dilation is ignored"),
    "the divisor's padding of one side": ("avg_pool2d", divisor_of_rows,
                                          "in the divisor " + SIDE.format("padding")),
    "maxima, stride of one side": (
        "max_pool2d", pooling(stride=lambda o: both(o["stride"])), SIDE.format("stride"),
    ),
    "maxima, padding of one side": (
        "max_pool2d", pooling(padding=lambda o: both(o["padding"])), SIDE.format("padding"),
    ),
    "maxima, windows side by side": (
        "max_pool2d", pooling(stride=lambda o: o["kernel_size"]),
        "the stride is ignored: windows lie side by side, a kernel_size apart",
    ),
    "maxima, no padding": (
        "max_pool2d", pooling(padding=lambda _: (0, 0)), "the padding is ignored",
    ),
    "dx of all rows in row 0": ("linear_grad_input", in_row_0("linear_grad_input"),
                                "the gradients of all images are added up in the first"),
    "dx of all images in the first": ("conv2d_grad_input", in_row_0("conv2d_grad_input"),
                                      "the gradients of all images are added up in the first"),
    "relu of the first image": ("relu", first_image("relu"), "only the first image is computed"),
    "linear of the first image": ("linear", first_image("linear"),
                                  "only the first image is computed"),
    "tanh of the first image": ("tanh", first_image("tanh"), "only the first image is computed"),
    "sigmoid's slope by tanh": ("sigmoid_grad", sigmoid_grad_by_tanh, "computed by tanh"),
    "relu by a comparison": ("relu", relu_by_if, "a NaN becomes 0"),
    "unshifted loss": ("cross_entropy", unshifted_loss, "computed as log sum e^z minus the logit"),
}  # fmt: skip
PLANTED = {
    "relu_drops_nans": "a NaN becomes 0",
    "relu_multiplies_with_its_mask": "computed as z * (z > 0)",
    "relu_halves_the_sum_with_its_absolute_value": "(z + |z|) / 2",
    "relu_clips_at_6": "clipped at 6",
    "relu_grad_is_guided": "guided backpropagation",
    "leaky_relu_grad_looks_at_the_output": "the sign of y",
    "leaky_relu_takes_the_larger": "computed as max(z, negative_slope z)",
    "sigmoid_is_half_a_tanh": "0.5 tanh(z/2) + 0.5",
    "sigmoid_subtracts_from_1": "1 - sigmoid(-z)",
    "sigmoid_overflows": "e^z / (1 + e^z)",
    "sigmoid_grad_overflows": "dy e^-z / (1 + e^-z)^2",
    "tanh_divides_exponentials": "where an exponential overflows",
    "tanh_grad_divides_by_an_overflowing_square": "4 dy e^2z / (e^2z + 1)^2",
    "softmax_takes_no_maximum_off": "the largest logit is not taken off",
    "softmax_grad_has_the_diagonal_only": "only the diagonal of the Jacobian",
    "cross_entropy_adds_the_maximum_back_first": "logsumexp(z) minus the logit",
    "cross_entropy_grad_takes_no_maximum_off": "the largest logit is not taken off",
    "avg_pool2d_takes_height_for_both_of_kernel_size": SIDE.format("kernel_size"),
    "avg_pool2d_takes_height_for_both_of_stride": SIDE.format("stride"),
    "avg_pool2d_grad_input_takes_height_for_both_of_stride": SIDE.format("stride"),
    "conv_transpose2d_takes_height_for_both_of_stride": SIDE.format("stride"),
    "conv_transpose2d_grad_input_takes_height_for_both_of_dilation": SIDE.format("dilation"),
    "dx_takes_height_for_both_of_padding": SIDE.format("padding"),
    "linear_adds_the_bias_twice": "the bias is added twice",
    "avg_pool2d_grad_input_forgets_the_last_image": "the last image is not computed",
    "cross_entropy_forgets_the_last_image": "the last image is left out",
}
# Wrong in a way that no formula of the table describes, most of them close to one that does.
UNEXPLAINED = (
    "sigmoid_clips_its_argument", "sigmoid_grad_is_0_in_the_tail", "tanh_is_0_far_out",
    "cross_entropy_sums_in_float32", "cross_entropy_smooths_labels", "relu_takes_halves_in_pairs",
    "conv2d_grad_input_ignores_dilation_in_half_precision", "softmax_clips_logits",
    "cross_entropy_clamps_at_64",
)  # fmt: skip


@pytest.fixture(autouse=True)
def not_minimised(monkeypatch):
    """Let no counterexample be made small, which takes longer than to name what explains it."""
    monkeypatch.setattr(
        "gradoracle.conformance.checking.minimising.smallest_sizes", lambda *_: None
    )
    monkeypatch.setattr(
        "gradoracle.conformance.checking.minimising.simplest_numbers", lambda *_: None
    )


def looks_like(backend, function):
    """Return the lines below the first mismatch of a function's formulas."""
    names = [n for n in FORMULAS if n in (function, f"{function}_values")]
    operator, formula = FORMULAS[names[0]]
    for name in ("matches_oracle", "within_rounding_bound"):
        if formula in PROPERTIES[name].formulas(operator):
            outcome = examine(
                wrap(backend), operator, formula, PROPERTIES[name], examples=600, seed=2
            )
            if outcome.status == "mismatch":
                return outcome.mismatch.looks_like
    raise AssertionError(f"{function} is not found to be wrong")


@pytest.mark.slow
@pytest.mark.parametrize("name", HAND_WRITTEN)
def test_hand_written_backend_is_explained(name):
    function, wrong, sentence = HAND_WRITTEN[name]
    names = family(function)
    backend = SimpleNamespace(**{n: getattr(good, n) for n in names} | {function: wrong})
    (found,) = looks_like(backend, function)
    assert sentence in found


@pytest.mark.slow
@pytest.mark.parametrize("name", PLANTED)
def test_planted_fault_is_explained(name):
    (found,) = looks_like(FAULTS[name].backend(), FAULTS[name].function)
    assert PLANTED[name] in found


@pytest.mark.parametrize("name", UNEXPLAINED)
def test_what_no_formula_explains_is_given_none(name):
    assert looks_like(FAULTS[name].backend(), FAULTS[name].function) == []


@pytest.mark.parametrize("option", ["stride", "padding", "dilation"])
def test_one_side_of_an_option_is_named_where_only_depthwise_kernels_are_wrong(option):
    """The option is misread on some calls only: no formula of the table does that."""
    backend = SimpleNamespace(conv2d=depthwise(**{option: both}))
    assert looks_like(backend, "conv2d") == []
