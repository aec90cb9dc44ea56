"""All small geometries of pooling and of transposed convolution, one side at a time.

Every legal side of up to 5 pixels, taps, strides and dilations is laid along the height and along
the width, another side beside it; oracle, documents' forms, im2col and PyTorch must agree on all
of them.  What one side accepts and another refuses is listed by a rule, not by geometry.
"""

from collections import Counter
from fractions import Fraction
from functools import cache
from itertools import product

import numpy as np
import pytest

from gradoracle import oracle
from gradoracle.implementations import im2col
from gradoracle.oracle.declaration import ask, evaluate
from gradoracle.oracle.document_forms.forms import FORMS
from gradoracle.oracle.formulas.max_pool import max_pool2d_values
from gradoracle.oracle.shapes import conv_transpose_shapes, pool_shape, pool_windows
from tests.calls import POOLING

ALONG = {"height": 0, "width": 1}
MOST = 5

# (H, K, S, P, D) of the side beside, legal with both roundings; the first has nothing to get wrong.
MATES = ((1, 1, 1, 0, 1), (4, 2, 2, 1, 1), (3, 2, 1, 0, 2), (5, 3, 2, 1, 1))
MATES_OF_AVERAGES = ((1, 1, 1, 0, 1), (4, 2, 2, 1, 1), (5, 3, 2, 1, 1), (3, 3, 2, 0, 1))
WHOLE = 3600  # every product of two divisors of up to 5 divides it


@cache
def sides(most_dilation):
    """Return every (H, K, S, P, D, ceil_mode), legal or not."""
    numbers = range(1, MOST + 1)
    return list(
        product(
            numbers, numbers, numbers, range(MOST + 1), range(1, most_dilation + 1), (False, True)
        )
    )


def pooling(side, along, mate):
    """Return x's shape and the options of a pooling with `side` along one axis, `mate` beside."""
    *side, ceil = side
    pairs = [(a, b) if along == "height" else (b, a) for a, b in zip(side, mate, strict=True)]
    size, kernel, stride, padding, dilation = pairs
    return (1, 2, *size), {
        "kernel_size": kernel, "stride": stride, "padding": padding, "dilation": dilation,
        "ceil_mode": ceil,
    }  # fmt: skip


def windows(side):
    """Return the pixels of every window that the arithmetic of PyTorch's documentation counts."""
    size, kernel, stride, padding, dilation, ceil = side
    count = pool_windows(size, kernel, stride, padding, dilation, ceil_mode=ceil)
    starts = [i * stride - padding for i in range(count)]
    return [
        [at for at in range(start, start + kernel * dilation, dilation) if 0 <= at < size]
        for start in starts
    ]


def is_legal(side):
    """Return whether the protocol has such a pooling, from its words alone."""
    padding, kernel = side[3], side[1]
    seen = windows(side)
    return 2 * padding <= kernel and bool(seen) and all(seen)


def accepts(function, *arguments, **options):
    try:
        return function(*arguments, **options)
    except (ValueError, RuntimeError):
        return None


# -- who accepts what -----------------------------------------------------------------------------


@pytest.mark.parametrize("along", ALONG)
def test_the_oracle_takes_exactly_what_the_protocol_says(along):
    counts = Counter()
    for i, side in enumerate(sides(MOST)):
        shape, options = pooling(side, along, MATES[i % len(MATES)])
        legal = accepts(pool_shape, 2, shape, **options)
        assert (legal is not None) == is_legal(side), side
        if legal:
            axis = 2 + ALONG[along]
            assert legal[axis] == len(windows(side))
        counts[legal is not None] += 1
    assert counts == {True: 1045, False: 6455}


@pytest.mark.parametrize("along", ALONG)
def test_im2col_takes_what_the_oracle_takes(along):
    for i, side in enumerate(sides(MOST)):
        shape, options = pooling(side, along, MATES[i % len(MATES)])
        got = accepts(im2col.max_pool2d, np.zeros(shape), **options)
        assert (got is not None) == is_legal(side), side
        if side[4] == 1:
            shape, options = pooling(side, along, MATES_OF_AVERAGES[i % len(MATES)])
            options = {n: v for n, v in options.items() if n != "dilation"}
            got = accepts(im2col.avg_pool2d, np.zeros(shape), **options, count_include_pad=False)
            assert (got is not None) == is_legal(side), side


@pytest.mark.parametrize("along", ALONG)
def test_pytorch_takes_windows_without_a_pixel_and_differs_in_nothing_else(along, torch):
    """There PyTorch's maximum is minus infinity, and its index points out of the plane.

    It would be written there on the way back, which is why the protocol has no such pooling.
    """
    differ = []
    for side in sides(MOST):
        shape, options = pooling(side, along, MATES[0])  # no other side to fall into
        x = torch.zeros(shape, dtype=torch.float64)
        taken = accepts(torch.nn.functional.max_pool2d, x, return_indices=True, **options)
        assert taken is not None or not is_legal(side), side
        if (taken is not None) == is_legal(side):
            continue
        differ.append(side)
        values, indices = (a.numpy().reshape(2, -1) for a in taken)
        for at, seen in enumerate(windows(side)):
            assert np.isneginf(values[:, at]).all() == (not seen)
            assert ((indices[:, at] < 0) | (indices[:, at] >= side[0])).all() == (not seen)
    assert differ == [
        side
        for side in sides(MOST)
        if 2 * side[3] <= side[1] and windows(side) and not all(windows(side))
    ]
    assert len(differ) == 68
    # Only padding beside pixels that a dilation jumps over makes one: a tap of every window falls
    # on the image unless taps are further apart than the image is wide.
    assert all(dilation > size for size, _, _, _, dilation, _ in differ)
    assert all(padding > 0 for _, _, _, padding, _, _ in differ)


@pytest.mark.parametrize("along", ALONG)
def test_pytorch_takes_no_other_pooling_whatever_is_beside(along, torch):
    for i, side in enumerate(sides(MOST)):
        shape, options = pooling(side, along, MATES[1 + i % 3])
        taken = accepts(torch.nn.functional.max_pool2d, torch.zeros(shape), **options)
        seen = windows(side)
        assert (taken is not None) == (2 * side[3] <= side[1] and bool(seen)), side


@pytest.mark.parametrize("along", ALONG)
def test_pytorch_averages_where_the_protocol_does(along, torch):
    count = 0
    for i, side in enumerate(sides(1)):
        shape, options = pooling(side, along, MATES_OF_AVERAGES[i % len(MATES)])
        del options["dilation"]
        got = accepts(torch.nn.functional.avg_pool2d, torch.zeros(shape), **options)
        assert (got is not None) == is_legal(side), side
        count += is_legal(side)
    assert count == 461


@pytest.mark.parametrize("along", ALONG)
def test_the_backend_of_pytorch_refuses_what_pytorch_takes_too_much(along, torch):
    from gradoracle.implementations import torch_reference

    for i, side in enumerate(sides(MOST)):
        if 2 * side[3] > side[1]:
            continue
        shape, options = pooling(side, along, MATES[i % len(MATES)])
        x = torch.zeros(shape, dtype=torch.float64)
        got = accepts(torch_reference.max_pool2d, x, **options)
        assert (got is not None) == is_legal(side), side


# -- what they answer -----------------------------------------------------------------------------


def legal_poolings(along, most_dilation, mates):
    for i, side in enumerate(s for s in sides(most_dilation) if is_legal(s)):
        yield i, *pooling(side, along, mates[i % len(mates)])


def equal(got, want):
    assert got.shape == want.shape
    return bool((got == want).all())


def of_torch(torch, function, call, options):
    """Return PyTorch's results as arrays: what it gives forward, then its gradient."""
    leaf = torch.tensor(call["x"].astype(float), requires_grad=True)
    results = function(leaf, **options)
    y, *rest = results if isinstance(results, tuple) else (results,)
    dy = torch.tensor(call["grad_output"].astype(float))
    (dx,) = torch.autograd.grad(y, leaf, dy)
    return [a.detach().numpy() for a in (y, *rest, dx)]


@pytest.mark.parametrize("along", ALONG)
def test_max_pooling_on_every_small_geometry(along, torch):
    random = np.random.default_rng(61)
    count, ties, overlaps = 0, 0, 0
    for i, shape, options in legal_poolings(along, MOST, MATES):
        x = random.integers(-2, 3, shape).astype(object)
        dy = random.integers(-4, 5, pool_shape(2, shape, **options)).astype(object)
        call = {"x": x, "grad_output": dy, "input_shape": shape, **options}
        y, indices = evaluate(oracle.max_pool2d, call)
        call["indices"] = indices
        dx = evaluate(oracle.max_pool2d_grad_input, call)
        assert equal(evaluate(oracle.max_pool2d_vjp, call), dx)
        for formula, want in (
            (max_pool2d_values, y),
            (oracle.max_pool2d_grad_input, dx),
            (oracle.max_pool2d_vjp, dx),
        ):
            for form in FORMS[formula]:
                assert equal(ask(form.function, formula, call), want), (form.name, options)
        floats = {**call, "x": x.astype(float), "grad_output": dy.astype(float)}
        values, places = ask(im2col.max_pool2d, max_pool2d_values, floats)
        assert equal(values, y), options
        assert equal(places, indices), options
        for name in ("max_pool2d_grad_input", "max_pool2d_vjp"):
            assert equal(ask(getattr(im2col, name), getattr(oracle, name), floats), dx), options
        function = torch.nn.functional.max_pool2d
        theirs = of_torch(torch, function, call, {**options, "return_indices": True})
        for got, want in zip(theirs, (y, indices, dx), strict=True):
            assert equal(got, want), options
        ties += y.size > len(set(indices[0, 0].ravel().tolist()))
        overlaps += np.prod(options["kernel_size"]) > np.prod(options["stride"])
        count = i + 1
    assert count == 1045
    assert min(ties, overlaps) > 300


@pytest.mark.slow
@pytest.mark.parametrize("include", [True, False], ids=["padding counts", "padding does not"])
@pytest.mark.parametrize("along", ALONG)
def test_average_pooling_on_every_small_geometry(along, include, torch):
    random = np.random.default_rng(62)
    count, divisors = 0, set()
    for i, shape, options in legal_poolings(along, 1, MATES_OF_AVERAGES):
        del options["dilation"]
        options["count_include_pad"] = include
        y_shape = pool_shape(2, shape, **{n: options[n] for n in POOLING if n in options})
        fractions = np.frompyfunc(lambda v: Fraction(int(v)), 1, 1)
        x = fractions(random.integers(-4, 5, shape) * WHOLE)
        dy = fractions(random.integers(-4, 5, y_shape) * WHOLE)
        call = {"x": x, "grad_output": dy, "input_shape": shape, **options}
        y, dx = evaluate(oracle.avg_pool2d, call), evaluate(oracle.avg_pool2d_grad_input, call)
        for formula, want in ((oracle.avg_pool2d, y), (oracle.avg_pool2d_grad_input, dx)):
            (form,) = FORMS[formula]
            assert equal(ask(form.function, formula, call), want), options
        # nothing rounds: every quotient is a whole number
        floats = {**call, "x": x.astype(float), "grad_output": dy.astype(float)}
        for name, want in (("avg_pool2d", y), ("avg_pool2d_grad_input", dx)):
            assert equal(ask(getattr(im2col, name), getattr(oracle, name), floats), want), options
        theirs = of_torch(torch, torch.nn.functional.avg_pool2d, call, options)
        assert equal(theirs[0], y), options
        assert equal(theirs[1], dx), options
        ones = evaluate(oracle.avg_pool2d, {**call, "x": x * 0 + 1})
        assert not include or (ones <= 1).all()
        assert include or (ones == 1).all()
        divisors |= set(ones.ravel().tolist())
        count = i + 1
    assert count == 461
    assert len(divisors) > 5 if include else divisors == {1}


# -- transposed convolution -----------------------------------------------------------------------

LAID = tuple(product(*[range(1, 4)] * 3, range(4), range(1, 4), range(4)))  # H, K, S, P, D, extra
LAID_BESIDE = ((1, 1, 1, 0, 1, 0), (2, 2, 2, 1, 1, 1), (2, 2, 1, 0, 3, 2), (3, 1, 3, 0, 1, 2))


def transposed(side, along, mate, groups):
    pairs = [(a, b) if along == "height" else (b, a) for a, b in zip(side, mate, strict=True)]
    size, kernel, stride, padding, dilation, extra = pairs
    options = {
        "stride": stride, "padding": padding, "output_padding": extra, "dilation": dilation,
        "groups": groups,
    }  # fmt: skip
    return (2, 2 * groups, *size), (2 * groups, 2, *kernel), options


def pixels(side):
    size, kernel, stride, padding, dilation, extra = side
    return (size - 1) * stride + (kernel - 1) * dilation + 1 + extra - 2 * padding


def is_laid(side):
    _, _, stride, _, dilation, extra = side
    return extra < max(stride, dilation) and pixels(side) >= 1


@pytest.mark.parametrize("along", ALONG)
def test_who_accepts_which_transposed_convolution(along, torch):
    for i, side in enumerate(LAID):
        x, weight, options = transposed(side, along, LAID_BESIDE[i % 4], 1)
        ours = accepts(conv_transpose_shapes, 2, x, weight, **options)
        assert (ours is not None) == is_laid(side), side
        array = accepts(im2col.conv_transpose2d, np.zeros(x), np.zeros(weight), **options)
        assert (array is not None) == is_laid(side), side
        for dtype in (torch.float64, torch.float32):
            given = torch.zeros(x, dtype=dtype), torch.zeros(weight, dtype=dtype)
            theirs = accepts(torch.nn.functional.conv_transpose2d, *given, **options)
            # in float32 oneDNN returns maps without a pixel, in float64 nobody does
            empty = theirs is not None and theirs.numel() == 0
            assert (theirs is not None and not empty) == is_laid(side), side
            assert not empty or (pixels(side) == 0 and dtype is torch.float32)
        if ours:
            assert ours.y == array.shape == tuple(theirs.shape)
    assert sum(map(is_laid, LAID)) == 588


FORMULAS = (
    oracle.conv_transpose2d,
    oracle.conv_transpose2d_grad_input,
    oracle.conv_transpose2d_grad_weight,
    oracle.conv_transpose2d_grad_bias,
)


@pytest.mark.slow
@pytest.mark.parametrize("along", ALONG)
def test_transposed_convolution_on_every_small_geometry(along, torch):
    random = np.random.default_rng(63)
    for i, side in enumerate(s for s in LAID if is_laid(s)):
        x, weight, options = transposed(side, along, LAID_BESIDE[i % 4], 1 + i % 2)
        shapes = conv_transpose_shapes(2, x, weight, **options)
        arrays = {"x": x, "weight": weight, "bias": shapes.y[1:2], "grad_output": shapes.y}
        data = {n: random.integers(-4, 5, s).astype(float) for n, s in arrays.items()}
        call = {**data, "input_shape": x, "weight_shape": weight, **options}
        exact = {n: v.astype(int).astype(object) for n, v in data.items()}
        want = {f: evaluate(f, {**call, **exact}) for f in FORMULAS}
        leaves = {n: torch.tensor(data[n], requires_grad=True) for n in ("x", "weight", "bias")}
        y = torch.nn.functional.conv_transpose2d(*leaves.values(), **options)
        theirs = torch.autograd.grad(y, leaves.values(), torch.tensor(data["grad_output"]))
        for formula, got in zip(FORMULAS, (y.detach(), *theirs), strict=True):
            assert equal(got.numpy(), want[formula]), (formula.__name__, options)
            array = ask(getattr(im2col, formula.__name__), formula, call)
            assert equal(array, want[formula]), (formula.__name__, options)
            for form in FORMS.get(formula, ()):
                answer = ask(form.function, formula, {**call, **exact})
                assert equal(answer, want[formula]), (form.name, options)
