"""The fast convolutions on the CPU: bit for bit im2col's, in every tile, and without a finding.

Integers are drawn so small that every order of adding them gives the same bits.  GEMM_CALLS in the
environment says how many random shapes every test tries.
"""

import os
import shutil
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from gradoracle.implementations import cupy_kernels, hostcuda, im2col
from gradoracle.implementations.cupy_kernels import (
    algorithms,
    gemm,
    gemm_columns,
    gemm_implicit,
    gemm_plan,
    gemm_tables,
)
from gradoracle.implementations.cupy_kernels.gemm_plan import TILES, Plan, Product
from gradoracle.implementations.cupy_kernels.gemm_tables import Conv

pytestmark = pytest.mark.skipif(not shutil.which("g++"), reason="kernels need g++ on the CPU")

CALLS = int(os.environ.get("GEMM_CALLS", "30"))
CHECKED = -(-CALLS // 6)  # every access is looked at, in three orders of the threads
STEPS = ("forward", "grad_input", "grad_weight")
CONV = np.dtype([(name, np.int32) for name in Conv._fields])


@cache
def kernels():
    text = Path(cupy_kernels.__path__[0], "conv2d_gemm.cu").read_text(encoding="utf-8")
    return hostcuda.RawModule(
        code=text, options=("--std=c++17",), name_expressions=gemm_implicit.expressions()
    )


@pytest.fixture
def machine():
    def kernel(file, expression, expressions, options=()):
        del file, expressions, options
        return kernels().get_function(expression)

    return SimpleNamespace(xp=np, kernel=kernel)


def conv(n, depth, side, filters, taps, *, stride=1, padding=0, dilation=1, groups=1):
    """Return a convolution with as many output pixels as there are; pairs may be given as one."""
    side, taps, stride, padding, dilation = (
        pair if isinstance(pair, tuple) else (pair, pair)
        for pair in (side, taps, stride, padding, dilation)
    )
    out = [
        (h + 2 * p - d * (k - 1) - 1) // s + 1
        for h, k, s, p, d in zip(side, taps, stride, padding, dilation, strict=True)
    ]
    return Conv(
        *(n, depth * groups, *side, filters * groups, *taps),
        *(*stride, *padding, *dilation, groups, *out),
    )


def random_conv(rng):
    """Return a small convolution, now and then of as many filters as a tile has, or one off."""
    taps, stride, dilation, padding = (
        tuple(map(int, rng.integers(low, high, 2)))
        for low, high in ((1, 5), (1, 4), (1, 3), (0, 4))
    )
    side = tuple(
        max(int(rng.integers(1, 12)), d * (k - 1) + 1 - 2 * p)
        for k, d, p in zip(taps, dilation, padding, strict=True)
    )
    filters = rng.choice([1, 3, 8, 17, 63, 64, 65, 127, 128, 129], p=[*[0.22] * 4, *[0.02] * 6])
    return conv(
        int(rng.integers(1, 4)), int(rng.integers(1, 6)), side, int(filters), taps, stride=stride,
        padding=padding, dilation=dilation, groups=int(rng.choice([1, 1, 2, 3])),
    )  # fmt: skip


def arrays(shape, rng, dtype=np.float32):
    """Return x, weight, bias and dy of integers."""
    weight = (shape.M, shape.C // shape.G, shape.KH, shape.KW)
    shapes = (
        (shape.N, shape.C, shape.H, shape.W), weight, (shape.M,),
        (shape.N, shape.M, shape.OH, shape.OW),
    )  # fmt: skip
    return [rng.integers(-4, 5, s).astype(dtype) for s in shapes]


def check(run, shape, rng, steps=STEPS, dtype=np.float32):
    """Compare what `run(step, arguments, p, result)` leaves in `result` with im2col's answer."""
    x, weight, bias, dy = arrays(shape, rng, dtype)
    bias = bias if rng.random() < 0.5 else None
    options = {
        "stride": (shape.SH, shape.SW), "padding": (shape.PH, shape.PW),
        "dilation": (shape.DH, shape.DW), "groups": shape.G,
    }  # fmt: skip
    p = np.array(tuple(shape), CONV)
    for step in steps:
        if step == "forward":
            arguments, want = (x, weight, bias), im2col.conv2d(x, weight, bias, **options)
        elif step == "grad_input":
            arguments = (dy, weight)
            want = im2col.conv2d_grad_input(dy, weight, input_shape=x.shape, **options)
        else:
            arguments = (dy, x)
            want = im2col.conv2d_grad_weight(dy, x, weight_shape=weight.shape, **options)
        got = np.full_like(want, np.nan)
        run(step, arguments, p, got)
        assert np.array_equal(got, want), f"{step} of {shape}"


def implicit(machine, plan):
    """Return a run by our kernels, or, where they decline, by columns."""

    def run(step, arguments, p, result):
        if gemm_implicit.applies(gemm_tables.conv_of(p), result.dtype, step):
            getattr(gemm_implicit, step)(machine, *arguments, p, result, plan)
        else:
            assert not getattr(gemm, step)(machine, *arguments, p, result, by="implicit")
            assert getattr(gemm, step)(machine, *arguments, p, result, by="columns")

    return run


@pytest.mark.slow
@pytest.mark.parametrize("tile", TILES, ids=lambda tile: "x".join(map(str, tile)))
def test_every_tile_and_split_gives_the_formulas_bits(machine, tile):
    rng = np.random.default_rng(tile)
    for i in range(CALLS):
        check(implicit(machine, Plan(tile, i % 3 + 1)), random_conv(rng), rng)


@pytest.mark.slow
@pytest.mark.parametrize("tile", TILES, ids=lambda tile: "x".join(map(str, tile)))
def test_no_access_is_out_of_place(machine, tile):
    rng = np.random.default_rng(tile)
    with hostcuda.checking():
        for i in range(CHECKED):
            check(implicit(machine, Plan(tile, i % 3 + 1)), random_conv(rng), rng)


@pytest.mark.parametrize("tile", TILES, ids=lambda tile: "x".join(map(str, tile)))
@pytest.mark.parametrize("filters", [63, 64, 65, 127, 128, 129])
def test_the_last_tile_may_be_a_part_of_one(machine, tile, filters):
    rng = np.random.default_rng(filters)
    for pixels in (filters, 255, 257):
        for terms in (7, 8, 9):
            check(implicit(machine, Plan(tile, 1)), conv(1, terms, (1, pixels), filters, 1), rng)
    check(implicit(machine, Plan(tile, 2)), conv(1, filters, (3, 43), 8, 1), rng)


def test_a_long_sum_may_have_more_splits_than_some_part_has_steps(machine):
    rng = np.random.default_rng(0)
    shape = conv(2, 20, 12, 20, 3, stride=2, padding=1)
    for splits in (2, 7, 64):
        check(implicit(machine, Plan((64, 64), splits)), shape, rng)


def test_results_that_lie_across_16_bytes_are_stored_one_by_one(machine):
    shape, rng = conv(1, 4, 4, 3, 1), np.random.default_rng(0)

    def run(step, arguments, p, result):
        memory = np.zeros(result.size + 1, np.float32)
        shifted = memory[1:].reshape(result.shape)
        getattr(gemm_implicit, step)(machine, *arguments, p, shifted, Plan((64, 64), 1))
        result[...] = shifted

    with hostcuda.checking():
        check(run, shape, rng)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_columns_give_the_formulas_bits(machine, dtype, monkeypatch):
    monkeypatch.setattr(gemm_columns, "MOST", 1000)  # so that images come in several chunks
    rng = np.random.default_rng(3)

    def run(step, arguments, p, result):
        assert getattr(gemm, step)(machine, *arguments, p, result, by="columns")

    for _ in range(CALLS):
        check(run, random_conv(rng), rng, dtype=dtype)
    check(run, conv(3, 5, 7, 4, 1), rng, dtype=dtype)
    check(run, conv(3, 5, 7, 4, 1, groups=2), rng, dtype=dtype)


def test_the_chosen_algorithm_gives_the_formulas_bits(machine):
    rng = np.random.default_rng(4)

    def run(step, arguments, p, result):
        assert getattr(gemm, step)(machine, *arguments, p, result)

    for shape in (
        conv(2, 64, 16, 65, 3, padding=1),
        conv(2, 65, 31, 64, 3, padding=1, stride=2),
        conv(3, 130, 21, 100, 1),
        conv(1, 200, 8, 300, 3, groups=2),
    ):
        check(run, shape, rng)


@pytest.mark.parametrize("name", ["implicit", "columns"])
def test_the_backend_s_convolutions_can_be_computed_by_one_algorithm_alone(name):
    rng = np.random.default_rng(6)
    x, weight, bias, dy = arrays(conv(2, 5, 9, 6, 3, padding=1), rng)
    options = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}
    more = {**options, "output_padding": (0, 0)}
    shapes = {"input_shape": x.shape}, {"weight_shape": weight.shape}
    with algorithms.only(name):
        for of, arguments, chosen in (
            ("conv2d", (x, weight, bias), options),
            ("conv2d_grad_input", (dy, weight), {**options, **shapes[0]}),
            ("conv2d_grad_weight", (dy, x), {**options, **shapes[1]}),
            ("conv_transpose2d", (dy, weight, None), more),
        ):
            want = getattr(im2col, of)(*arguments, **chosen)
            assert np.array_equal(getattr(cupy_kernels, of)(*arguments, **chosen), want), of
        with pytest.raises(NotImplementedError, match=f"{name} declined forward"):
            cupy_kernels.conv2d(x.astype(np.float16), weight.astype(np.float16), **options)


def test_the_same_call_gives_the_same_bits(machine):
    rng = np.random.default_rng(5)
    shape = conv(2, 16, 9, 24, 3, padding=1)
    x, _, _, dy = (a + rng.random(a.shape, np.float32) for a in arrays(shape, rng))
    results = [np.empty((24, 16, 3, 3), np.float32) for _ in range(2)]
    for dw in results:
        gemm_implicit.grad_weight(
            machine, dy, x, np.array(tuple(shape), CONV), dw, Plan((64, 64), 5)
        )
    assert np.array_equal(*results)


def test_no_images_have_zero_gradients(machine):
    p = np.array(tuple(conv(0, 16, 9, 24, 3)), CONV)
    dw = np.full((24, 16, 3, 3), np.nan, np.float32)
    none = np.empty((0, 24, 7, 7), np.float32)
    assert gemm.grad_weight(machine, none, np.empty((0, 16, 9, 9), np.float32), p, dw)
    assert not dw.any()
    assert gemm.grad_input(machine, none, dw, p, np.empty((0, 16, 9, 9), np.float32))


@pytest.mark.parametrize(
    ("shape", "dtype", "want"),
    [
        (conv(32, 64, 56, 64, 3, padding=1), "float32", ["implicit"] * 3),
        (conv(32, 64, 56, 64, 3, padding=1), "float64", ["columns"] * 3),
        (conv(32, 64, 56, 64, 3, padding=1), "float16", [None] * 3),
        (conv(32, 64, 56, 64, 1), "float32", ["columns", "columns", "implicit"]),
        (conv(32, 64, 56, 64, 1, stride=2), "float32", ["implicit"] * 3),
        (conv(8, 3, 224, 64, 7, stride=2), "float32", ["implicit", "columns", "implicit"]),
        (conv(32, 1, 56, 1, 3, groups=64), "float32", [None] * 3),
        (conv(1, 512, 7, 512, 3), "float32", ["columns", "implicit", "columns"]),
        (conv(8, 32, 40, 32, 17), "float32", ["columns"] * 3),
        (conv(1, 32, 16, 32, 3), "float64", [None] * 3),
        (conv(8, 32, 200, 32, 9, stride=9), "float32", ["implicit", "columns", "implicit"]),
        (conv(2**10, 64, 224, 64, 3), "float32", ["implicit", "implicit", "columns"]),
        (conv(2**20, 64, 224, 64, 3), "float32", ["columns"] * 3),
    ],
    ids=lambda value: None if isinstance(value, (str, list)) else f"{value.N}x{value.C}x{value.H}",
)  # fmt: skip
def test_the_algorithm_follows_from_the_shape(shape, dtype, want):
    p = np.array(tuple(shape), CONV)
    assert [gemm.algorithm(p, np.dtype(dtype), step) for step in STEPS] == want


def test_a_gradient_computes_no_product_that_misses():
    """Away from the borders every pixel of dy meets every tap once, whatever the stride."""
    for stride in (1, 2, 3):
        shape = conv(1, 1, 12, 1, 3, stride=stride, padding=1)
        parts = gemm_tables.gradient_walk(shape, 1).parts
        products = sum(part.height * part.width * part.taps_h * part.taps_w for part in parts)
        assert sum(part.height * part.width for part in parts) == 12 * 12
        assert products == (12 // stride) ** 2 * 9


def test_a_small_result_is_split_and_a_large_one_is_not():
    assert gemm_plan.best((Product(1, 512, 49 * 32, 576),)).splits > 1
    assert gemm_plan.best((Product(1, 512, 784 * 32, 576),)) == Plan((128, 128), 1)
    assert gemm_plan.best((Product(1, 64, 3136 * 32, 72),)).tile == (64, 128)
