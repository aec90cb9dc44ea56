"""Max pooling to a given size: values by hand, ties, NaN, shared maxima, PyTorch, and errors."""

from itertools import product

import numpy as np
import pytest

from gradoracle import oracle
from gradoracle.implementations import im2col
from gradoracle.oracle.expected.truth import truth
from gradoracle.oracle.formulas.adaptive_max_pool import ADAPTIVE_MAX_POOLINGS, adaptive_windows
from gradoracle.oracle.formulas.conventions import under

ROW = np.array([1.0, 5, 2, 5, 3]).reshape(1, 1, 1, 5)
ADAPTIVE_MAX_POOLING = ADAPTIVE_MAX_POOLINGS[2]
VALUES, INDICES = ADAPTIVE_MAX_POOLING.values, ADAPTIVE_MAX_POOLING.indices
BACK, VJP = ADAPTIVE_MAX_POOLING.grad_input, ADAPTIVE_MAX_POOLING.vjp


def test_windows_overlap_where_the_sides_do_not_divide():
    start, pixel = adaptive_windows((1, 5), (1, 3))
    assert start.list == [0, 2, 5, 7]
    assert pixel.list == [0, 1, 1, 2, 3, 3, 4]


def test_the_first_maximum_wins_and_what_arrives_is_added():
    y, indices = oracle.adaptive_max_pool2d(ROW, output_size=(1, 3))
    assert y.ravel().tolist() == [5, 5, 5]
    assert indices.ravel().tolist() == [1, 1, 3]
    dy = np.array([1.0, 2, 4]).reshape(1, 1, 1, 3)
    assert BACK(dy, indices, input_shape=ROW.shape).ravel().tolist() == [0, 3, 0, 4, 0]
    assert VJP(dy, ROW).ravel().tolist() == [0, 3, 0, 4, 0]


def test_the_first_nan_wins_over_everything():
    x = ROW.copy()
    x[..., 2:4] = np.nan
    x[..., 1] = np.inf
    assert INDICES(x, output_size=(1, 1)).item() == 2
    assert np.isnan(VALUES(x, output_size=(1, 1))).all()
    dropped, call = under({"nan": "dropped"}, INDICES, {"x": x, "output_size": (1, 1)})
    assert dropped(**call).item() == 1


def test_equal_maxima_share_what_goes_back_where_a_contract_says_so():
    dy = np.array([1.0, 2, 4]).reshape(1, 1, 1, 3)
    shared, _ = under({"ties": "split"}, VJP, {})
    assert shared(dy, ROW).ravel().tolist() == [0, 2, 0, 5, 0]
    right = truth(shared, {"grad_output": dy, "x": ROW})
    assert right.as_float(np.dtype(float)).ravel().tolist() == [0, 2, 0, 5, 0]


SIDES = [*product((1, 2, 3, 5), (1, 2, 3, 4, 7))]


def calls():
    """Yield calls of small sides with ties, and NaN and infinities in every third."""
    for at, ((h, i), (w, j)) in enumerate(product(SIDES, SIDES[::5])):
        random = np.random.default_rng(at)
        x = random.integers(-2, 3, (2, 2, h, w)).astype(float)
        if at % 3 == 0:
            x[random.random(x.shape) < 0.2] = (-np.inf, np.inf, np.nan)[at // 3 % 3]
        yield x, random.integers(-4, 5, (2, 2, i, j)).astype(float)


def test_values_places_and_gradients_are_pytorchs_and_im2cols():
    torch = pytest.importorskip("torch")
    pool = torch.nn.functional.adaptive_max_pool2d
    for x, dy in calls():
        size = dy.shape[2:]
        given = torch.tensor(x, requires_grad=True)
        y, places = pool(given, size, return_indices=True)
        mine = oracle.adaptive_max_pool2d(x, output_size=size)
        ours = im2col.adaptive_max_pool2d(x, output_size=size)
        np.testing.assert_array_equal(mine[0], y.detach().numpy())
        for one, other in zip(mine, ours, strict=True):
            np.testing.assert_array_equal(one, other)
        if np.isnan(x).any():  # of several, PyTorch's is the last
            continue
        np.testing.assert_array_equal(mine[1], places.numpy())
        (dx,) = torch.autograd.grad(y, given, torch.tensor(dy))
        for got in (VJP(dy, x), BACK(dy, mine[1], input_shape=x.shape),
                    im2col.adaptive_max_pool2d_vjp(dy, x)):  # fmt: skip
            np.testing.assert_array_equal(got, dx.numpy())


@pytest.mark.parametrize(
    ("name", "arrays", "options", "message"),
    [
        ("adaptive_max_pool2d", [ROW[0]], {"output_size": (1, 1)}, r"x must have 4 axes \[N, C, H"),
        ("adaptive_max_pool2d", [ROW], {"output_size": (0, 1)}, "output_size must be a pair"),
        ("adaptive_max_pool2d_vjp", [ROW[:0], ROW], {}, "the pooling's output has"),
        ("adaptive_max_pool2d_grad_input", [ROW, np.full(ROW.shape, 5)],
         {"input_shape": ROW.shape}, "indices must lie in the plane, 0 to 4"),
    ],
)  # fmt: skip
def test_what_fits_no_call_is_refused(name, arrays, options, message):
    with pytest.raises(ValueError, match=message):
        getattr(oracle, name)(*arrays, **options)
    with pytest.raises(ValueError):  # noqa: PT011 - im2col has messages of its own
        getattr(im2col, name)(*arrays, **options)
