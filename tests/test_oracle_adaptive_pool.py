"""Average pooling to a given size: values by hand, divisors, terms, PyTorch, and errors."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from gradoracle import oracle
from gradoracle.implementations import im2col
from gradoracle.oracle.declaration import algebra
from gradoracle.oracle.expected.truth import truth

ROW = np.arange(1.0, 6).reshape(1, 1, 1, 5)
FORWARD, BACK = oracle.adaptive_avg_pool2d, oracle.adaptive_avg_pool2d_grad_input


def test_windows_overlap_where_the_sides_do_not_divide():
    y = FORWARD(ROW, output_size=(1, 3))  # of pixels 1 2, 2 3 4 and 4 5
    assert y.ravel().tolist() == [1.5, 3, 4.5]
    dx = BACK(np.full((1, 1, 1, 3), 6.0), input_shape=ROW.shape)
    assert dx.ravel().tolist() == [3, 5, 2, 5, 3]


def test_one_output_is_the_mean_of_a_plane():
    x = np.arange(24.0).reshape(1, 2, 3, 4)
    assert FORWARD(x, output_size=(1, 1)).ravel().tolist() == [5.5, 17.5]


def test_more_outputs_than_pixels_repeat_them():
    assert FORWARD(ROW[..., :2], output_size=(1, 4)).ravel().tolist() == [1, 1, 2, 2]
    dx = BACK(np.ones((1, 1, 2, 4)), input_shape=(1, 1, 1, 2))
    assert dx.ravel().tolist() == [4, 4]


SIDES = [*product((1, 2, 3, 5), (1, 2, 3, 4, 7))]


def calls():
    """Yield calls of small sides, in fractions."""
    for at, ((h, i), (w, j)) in enumerate(product(SIDES, SIDES[:: len(SIDES) // 4])):
        random = np.random.default_rng(at)
        shapes = {"x": (2, 1, h, w), "grad_output": (2, 1, i, j)}
        arrays = {n: random.integers(-4, 5, s).astype(float) for n, s in shapes.items()}
        yield {**arrays, "output_size": (i, j), "input_shape": shapes["x"]}


def exactly(call):
    exact = np.frompyfunc(Fraction, 1, 1)
    return {n: exact(v) if isinstance(v, np.ndarray) else v for n, v in call.items()}


def ask(module, formula, call):
    name = formula.__name__
    if formula is FORWARD:
        return getattr(module, name)(call["x"], output_size=call["output_size"])
    return getattr(module, name)(call["grad_output"], input_shape=call["input_shape"])


@pytest.mark.parametrize("formula", [FORWARD, BACK])
def test_truth_is_what_fractions_give_and_counts_every_term(formula):
    several = 0
    for call in calls():
        right, want = truth(formula, call), ask(oracle, formula, exactly(call))
        unit = Fraction(2) ** right.scale * right.odd
        assert [Fraction(int(v)) / unit for v in right.value.ravel()] == want.ravel().tolist()
        name = "x" if formula is FORWARD else "grad_output"
        most = max(reached(formula, call, name))
        assert (right.terms == most).all()
        several += most > 1
        assert (right.error_over_bound(ask(im2col, formula, call), "float64") <= 1).all()
    assert several > 30


def reached(formula, call, name):
    """Yield how many elements of an array each element of the first image's result is made of."""
    ones = np.zeros(call[name].shape[2:])
    count = 0
    for at in np.ndindex(ones.shape):
        hot = np.zeros_like(call[name])
        hot[(0, 0, *at)] = 1
        count = count + (ask(oracle, formula, {**call, name: hot})[0, 0] != 0)
    return count.ravel().tolist()


@pytest.mark.parametrize("formula", [FORWARD, BACK])
def test_every_window_divides_what_is_declared(formula):
    for call in calls():
        multiple = algebra(formula).over(call).multiple
        result = ask(oracle, formula, exactly(call))
        assert all((v * multiple).denominator == 1 for v in result.ravel())


def test_values_and_gradients_are_pytorchs():
    torch = pytest.importorskip("torch")
    for call in calls():
        x = torch.tensor(call["x"], requires_grad=True)
        y = torch.nn.functional.adaptive_avg_pool2d(x, call["output_size"])
        (dx,) = torch.autograd.grad(y, x, torch.tensor(call["grad_output"]))
        assert np.allclose(ask(oracle, FORWARD, call), y.detach().numpy(), 1e-14, 1e-14)
        assert np.allclose(ask(oracle, BACK, call), dx.numpy(), 1e-14, 1e-14)


@pytest.mark.parametrize(
    ("name", "array", "options", "message"),
    [
        ("adaptive_avg_pool2d", ROW[0], {"output_size": (1, 1)}, r"x must have 4 axes \[N, C, H"),
        ("adaptive_avg_pool2d", ROW, {"output_size": (0, 1)}, "output_size must be a pair"),
        ("adaptive_avg_pool2d_grad_input", ROW, {"input_shape": (1, 2, 1, 5)}, "but input_shape"),
        ("adaptive_avg_pool2d_grad_input", ROW, {"input_shape": (1, 1, 0, 5)}, "at least 1 along"),
    ],
)
def test_what_fits_no_call_is_refused(name, array, options, message):
    with pytest.raises(ValueError, match=message):
        getattr(oracle, name)(array, **options)
    with pytest.raises(ValueError):  # noqa: PT011 - im2col has messages of its own
        getattr(im2col, name)(array, **options)
