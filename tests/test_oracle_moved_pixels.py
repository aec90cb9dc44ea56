"""Padding, pixels as channels, windows as columns: values computed by hand, shapes, and errors."""

from itertools import product

import numpy as np
import pytest

from gradoracle import oracle
from gradoracle.conformance.operators.moved_pixels import MOVED_PIXELS
from gradoracle.conformance.operators.padding import PADS
from gradoracle.conformance.operators.variations import drawn
from gradoracle.implementations import im2col
from gradoracle.oracle.declaration import argument_names, ask, evaluate
from gradoracle.oracle.expected.exact import inner

ROW = np.arange(1.0, 4).reshape(1, 1, 1, 3)
PLANE = np.arange(1.0, 7).reshape(1, 1, 2, 3)
WINDOWS = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1)}


@pytest.mark.parametrize(
    ("name", "want", "back"),
    [
        ("zero_pad2d", [0, 0, 1, 2, 3, 0], [1, 1, 1]),
        ("reflection_pad2d", [3, 2, 1, 2, 3, 2], [1, 3, 2]),
        ("replication_pad2d", [1, 1, 1, 2, 3, 3], [3, 1, 2]),
        ("circular_pad2d", [2, 3, 1, 2, 3, 1], [2, 2, 2]),
    ],
)
def test_two_pixels_on_the_left_and_one_on_the_right(name, want, back):
    padding = (2, 1, 0, 0)
    assert getattr(oracle, name)(ROW, padding=padding).ravel().tolist() == want
    dx = getattr(oracle, f"{name}_grad_input")(np.ones((1, 1, 1, 6)), padding=padding)
    assert dx.ravel().tolist() == back


def test_corners_are_mirrored_along_both_sides():
    y = oracle.reflection_pad2d(PLANE, padding=(1, 0, 1, 0))
    assert y[0, 0].tolist() == [[5, 4, 5, 6], [2, 1, 2, 3], [5, 4, 5, 6]]


def test_channels_become_pixels_and_pixels_channels():
    x = np.arange(4.0).reshape(1, 4, 1, 1)
    y = oracle.pixel_shuffle(x, upscale_factor=2)
    assert y.tolist() == [[[[0, 1], [2, 3]]]]
    assert oracle.pixel_unshuffle(y, downscale_factor=2).tolist() == x.tolist()
    two = np.arange(8.0).reshape(1, 8, 1, 1)
    assert oracle.pixel_shuffle(two, upscale_factor=2)[0, 1].tolist() == [[4, 5], [6, 7]]


def test_windows_become_columns():
    y = oracle.unfold(PLANE, kernel_size=(2, 2), **WINDOWS)
    assert y[0].tolist() == [[1, 2], [2, 3], [4, 5], [5, 6]]
    x = oracle.fold(y, output_size=(2, 3), kernel_size=(2, 2), **WINDOWS)
    assert x[0, 0].tolist() == [[1, 4, 3], [4, 10, 6]]  # the middle column is in both windows


def test_padding_shows_as_zeros_in_columns_and_is_left_out_going_back():
    o = {**WINDOWS, "padding": (0, 1), "kernel_size": (1, 1)}
    y = oracle.unfold(ROW, **o)
    assert y[0].tolist() == [[0, 1, 2, 3, 0]]
    back = oracle.unfold_grad_input(np.ones_like(y), input_shape=ROW.shape, **o)
    assert back.ravel().tolist() == [1, 1, 1]


OF_NAME = {operator.name: operator for operator in (*MOVED_PIXELS, *PADS)}


@pytest.mark.parametrize("name", OF_NAME)
def test_gradient_is_the_transpose_of_the_forward_pass(name):
    operator = OF_NAME[name]
    (gradient,) = operator.gradients
    style, moved = operator.styles.exact[0], 0
    for number in range(60):
        geometry = drawn(operator, number)
        call = operator.call(geometry.sizes, style, geometry.seed, "float64")
        y, dx = evaluate(operator.formula, call), evaluate(gradient, call)
        assert inner(y, call["grad_output"]) == inner(call["x"], dx)
        moved += y.shape != call["x"].shape
        for formula, want in ((operator.formula, y), (gradient, dx)):
            got = ask(getattr(im2col, formula.__name__), formula, call)
            assert np.array_equal(got, want)
    assert moved > 20


def paddings(height, width):
    return product(range(width), range(width + 1), range(height + 1), range(height))


@pytest.mark.parametrize("name", ["reflection_pad2d", "replication_pad2d", "circular_pad2d"])
def test_padding_is_pytorchs_on_all_small_planes(name):
    torch = pytest.importorskip("torch")
    mode = {"refl": "reflect", "repl": "replicate", "circ": "circular"}[name[:4]]
    refused = 0
    for height, width in product((1, 2, 3), repeat=2):
        x = np.arange(1.0, height * width + 1).reshape(1, 1, height, width)
        for padding in paddings(height, width):
            try:
                got = getattr(oracle, name)(x, padding=padding)
            except ValueError:
                refused += 1
                with pytest.raises(RuntimeError):
                    torch.nn.functional.pad(torch.tensor(x), padding, mode)
                continue
            want = torch.nn.functional.pad(torch.tensor(x), padding, mode)
            assert np.array_equal(got, want.numpy())
    assert bool(refused) == (name == "reflection_pad2d")


@pytest.mark.parametrize(
    ("name", "arrays", "options", "message"),
    [
        ("zero_pad2d", (ROW,), {"padding": (1, -1, 0, 0)}, "padding must be four integers"),
        ("zero_pad2d", (ROW,), {"padding": (1, 1)}, "padding must be four integers"),
        ("zero_pad2d", (ROW[0],), {"padding": (0, 0, 0, 0)}, r"x must have 4 axes \[N, C, H, W\]"),
        ("reflection_pad2d", (ROW,), {"padding": (3, 0, 0, 0)}, "must be at most 2 beside 3"),
        ("circular_pad2d", (ROW,), {"padding": (0, 4, 0, 0)}, "must be at most 3 beside 3"),
        ("zero_pad2d_grad_input", (ROW,), {"padding": (2, 1, 0, 0)}, "leaves none"),
        ("pixel_shuffle", (ROW,), {"upscale_factor": 2}, "must divide the 1 channels of x twice"),
        ("pixel_unshuffle", (ROW,), {"downscale_factor": 2}, "must divide the 1x3 pixels of x"),
        ("pixel_shuffle", (ROW,), {"upscale_factor": 0}, "must be at least 1, got 0"),
        ("unfold", (ROW,), {**WINDOWS, "kernel_size": (2, 1)}, "the kernel's height spans 2"),
        ("fold", (np.ones((1, 3, 2)),),
         {**WINDOWS, "kernel_size": (1, 2), "output_size": (1, 3)}, r"x must be \[N, C\*2, w"),
        ("fold", (np.ones((1, 2, 3)),),
         {**WINDOWS, "kernel_size": (1, 2), "output_size": (1, 3)}, "but the windows demand"),
    ],
)  # fmt: skip
def test_what_fits_no_call_is_refused(name, arrays, options, message):
    with pytest.raises(ValueError, match=message):
        getattr(oracle, name)(*arrays, **options)
    with pytest.raises(ValueError):  # noqa: PT011 - im2col has messages of its own
        getattr(im2col, name)(*arrays, **options)


def test_gradients_of_what_depends_on_no_values_take_none():
    for operator in (*MOVED_PIXELS, *PADS):
        (gradient,) = operator.gradients
        assert argument_names(gradient)[0] == ("grad_output",)
