"""im2col's ways to compute the same: blocks of columns, col2im or gathering, compiled loops."""

import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gradoracle import oracle
from gradoracle.implementations import im2col
from gradoracle.implementations.im2col import depthwise, plan
from gradoracle.oracle import compiled_loops

BOTH = (im2col, oracle)
KERNELS = 40  # of each way
TINY, SMALL = 64, 3000  # bytes: a block is a row of windows, or a few, and fewer the last time


def drawn(seed, *, depthwise=False):
    """Return the arguments of a convolution, all numbers small integers."""
    rng = np.random.default_rng(seed)
    while True:
        groups, depth, several = rng.integers(1, 4, 3)
        groups, depth = (groups + 1, 1) if depthwise else (groups, depth)
        images, height, width = rng.integers(1, 10, 3)
        kernel, stride, dilation = rng.integers(1, 5, (3, 2)).tolist()
        padding = rng.integers(0, 4, 2).tolist()
        sides = [
            (side + 2 * p - d * (k - 1) - 1) // s + 1
            for side, k, s, p, d in zip(
                (height, width), kernel, stride, padding, dilation, strict=True
            )
        ]
        if min(sides) >= 1:
            break
    shapes = {
        "x": (images, groups * depth, height, width),
        "weight": (groups * several, depth, *kernel),
        "grad_output": (images, groups * several, *sides),
    }
    arrays = {name: rng.integers(-4, 5, tuple(s)).astype(float) for name, s in shapes.items()}
    pairs = {"stride": stride, "padding": padding, "dilation": dilation}
    return arrays, {**{name: tuple(p) for name, p in pairs.items()}, "groups": int(groups)}


def assert_same(arrays, options):
    """Compare the convolution and its gradients with the oracle's, number by number."""
    x, weight, dy = arrays["x"], arrays["weight"], arrays["grad_output"]
    for function, given, of in (
        ("conv2d", (x, weight, None), {}),
        ("conv2d_grad_input", (dy, weight), {"input_shape": x.shape}),
        ("conv2d_grad_weight", (dy, x), {"weight_shape": weight.shape}),
    ):
        got, true = (getattr(of_whom, function)(*given, **of, **options) for of_whom in BOTH)
        np.testing.assert_array_equal(got, true, err_msg=f"{function} {options}")


@pytest.mark.parametrize("fold", [0, 2, 10**9], ids=["folds", "as measured", "gathers"])
@pytest.mark.parametrize("block", [TINY, SMALL, plan.BLOCK], ids=["rows", "some rows", "images"])
def test_every_way_gives_the_same(monkeypatch, fold, block):
    monkeypatch.setattr(plan, "FOLD", fold)
    monkeypatch.setattr(plan, "BLOCK", block)
    for seed in range(KERNELS):
        assert_same(*drawn([seed, fold]))


def test_narrow_weights_are_computed_transposed(monkeypatch):
    for narrow in (0, 10**9):
        monkeypatch.setattr(plan, "NARROW", narrow)
        for seed in range(KERNELS):
            assert_same(*drawn(seed))


@pytest.mark.parametrize("numba", [True, False], ids=["compiled", "without Numba"])
@pytest.mark.parametrize("cache", [1, depthwise.CACHE], ids=["planes", "images"])
def test_depthwise(monkeypatch, numba, cache):
    monkeypatch.setattr(depthwise, "CACHE", cache)
    if not numba:
        monkeypatch.setitem(sys.modules, "numba", None)
        # Else the oracle reads its own compiled loops, once this process has run long on others.
        monkeypatch.setattr(compiled_loops, "pays_to_compile", lambda: False)
    depthwise.compiled.cache_clear()
    try:
        assert (depthwise.compiled(depthwise._lay_out) is not None) is numba
        for seed in range(KERNELS):
            assert_same(*drawn(seed, depthwise=True))
    finally:
        depthwise.compiled.cache_clear()


def test_what_lies_beyond_a_row_reaches_no_gradient():
    """Depthwise gradients add up whole rows, at whose ends there are numbers of no window."""
    x = np.ones((1, 2, 3, 3))
    x[..., 2] = np.nan
    options = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 2}
    dw = im2col.conv2d_grad_weight(np.ones((1, 2, 3, 2)), x, weight_shape=(2, 1, 1, 2), **options)
    np.testing.assert_array_equal(dw[..., 0], np.full((2, 1, 1), 6.0))
    assert np.isnan(dw[..., 1]).all()


@pytest.mark.parametrize("channels", [1, 3], ids=["images", "channels"])
def test_layouts_are_read_as_they_are(channels):
    """Of arrays that cannot be written, are not contiguous, or lie between the words of memory."""
    arrays, options = drawn(7, depthwise=channels == 1)
    x = arrays["x"]
    true = im2col.conv2d(x, arrays["weight"], None, **options)
    fixed = x.copy()
    fixed.flags.writeable = False
    odd = np.frombuffer(b"\0" + x.tobytes(), x.dtype, offset=1).reshape(x.shape)
    assert not odd.flags.aligned
    for other in (fixed, odd, np.asfortranarray(x), x[..., ::-1].copy()[..., ::-1]):
        same = im2col.conv2d(other, arrays["weight"], None, **options)
        np.testing.assert_array_equal(same, true)


@pytest.mark.parametrize("function", ["conv2d", "conv2d_grad_input", "conv2d_grad_weight"])
def test_columns_take_a_bounded_part_of_memory(function):
    """The whole matrix of columns would be 26 MB here, 9 times the images."""
    x, weight = np.ones((2, 16, 150, 150), np.float32), np.ones((16, 16, 3, 3), np.float32)
    options = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}
    given = {
        "conv2d": ((x, weight, None), {}),
        "conv2d_grad_input": ((x, weight), {"input_shape": x.shape}),
        "conv2d_grad_weight": ((x, x), {"weight_shape": weight.shape}),
    }[function]
    call = getattr(im2col, function)
    call(*given[0], **given[1], **options)
    tracemalloc.start()
    try:
        result = call(*given[0], **given[1], **options)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < result.nbytes + x.nbytes + 2 * plan.BLOCK


def test_calls_at_the_same_time_do_not_disturb_each_other():
    cases = [drawn(seed, depthwise=seed % 2 == 0) for seed in range(KERNELS)]
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(assert_same, *case) for case in cases * 3]:
            done.result()
