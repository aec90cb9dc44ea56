"""Max unpooling: values by hand, the way back of max pooling, what repeats, PyTorch, and errors."""

import numpy as np
import pytest

from gradoracle import oracle
from gradoracle.conformance.operators.max_unpool import MAX_UNPOOL2D
from gradoracle.implementations import im2col
from tests.calls import max_unpool_calls

X = np.array([1.0, 2, 3]).reshape(1, 1, 1, 3)
PLACES = np.array([4, 0, 5]).reshape(1, 1, 1, 3)
FORWARD, BACK = oracle.max_unpool2d, oracle.max_unpool2d_grad_input


def test_pixels_go_where_their_indices_point_and_come_back_from_there():
    y = FORWARD(X, PLACES, output_size=(2, 3))
    assert y.tolist() == [[[[2, 0, 0], [0, 1, 3]]]]
    dy = np.arange(6.0).reshape(1, 1, 2, 3)
    assert BACK(dy, PLACES).tolist() == [[[[4, 0, 5]]]]


def test_maxima_go_back_to_where_they_were():
    options = {"kernel_size": (2, 2), "stride": (2, 2), "padding": (0, 0), "dilation": (1, 1)}
    x = np.random.default_rng(1).permutation(48).reshape(1, 2, 4, 6) + 1.0
    y, indices = oracle.max_pool2d(x, **options, ceil_mode=False)
    back = FORWARD(y, indices, output_size=(4, 6))
    assert (back[back != 0] == x[back != 0]).all()
    assert (BACK(back, indices) == y).all()


def test_indices_of_calls_differ_within_each_plane_and_others_are_left_open():
    both = 0
    for call in max_unpool_calls(MAX_UNPOOL2D, 60, seed=3):
        lines = call["indices"].reshape(*call["indices"].shape[:2], -1) if call["x"].size else []
        for plane in (line for image in lines for line in image):
            assert len({*plane.tolist()}) == len(plane)
            both += len(plane) > 1
        assert not MAX_UNPOOL2D.unsettled({}, FORWARD, call)
        assert (MAX_UNPOOL2D.complete(call, 5)["indices"] == call["indices"]).all()
    assert both > 30
    assert MAX_UNPOOL2D.unsettled({}, FORWARD, {"indices": PLACES * 0})


def test_values_and_gradients_are_pytorchs_and_im2cols():
    torch = pytest.importorskip("torch")
    for call in max_unpool_calls(MAX_UNPOOL2D, 40, seed=4, dtype=float):
        x, places, size = (call[n] for n in ("x", "indices", "output_size"))
        given = torch.tensor(x, requires_grad=True)
        y = torch.ops.aten.max_unpool2d(given, torch.tensor(places), size)
        (dx,) = torch.autograd.grad(y, given, torch.tensor(call["grad_output"]))
        for module in (oracle, im2col):
            mine = module.max_unpool2d(x, places, output_size=size)
            np.testing.assert_array_equal(mine, y.detach().numpy())
            back = module.max_unpool2d_grad_input(call["grad_output"], places)
            np.testing.assert_array_equal(back, dx.numpy())


@pytest.mark.parametrize(
    ("name", "arrays", "options", "message"),
    [
        ("max_unpool2d", [X, PLACES], {"output_size": (1, 5)}, "plane of the result, 0 to 4"),
        ("max_unpool2d", [X, PLACES[..., :2]], {"output_size": (2, 3)}, "indices"),
        ("max_unpool2d", [X, PLACES], {"output_size": (0, 3)}, "output_size must be a pair"),
        ("max_unpool2d_grad_input", [X, PLACES], {}, "plane of the result, 0 to 2"),
        ("max_unpool2d_grad_input", [X[0], PLACES], {}, r"grad_output must have 4 axes"),
    ],
)
def test_what_fits_no_call_is_refused(name, arrays, options, message):
    with pytest.raises(ValueError, match=message):
        getattr(oracle, name)(*arrays, **options)
    with pytest.raises(ValueError):  # noqa: PT011 - im2col has messages of its own
        getattr(im2col, name)(*arrays, **options)
