"""Resampling and padding of sequences and volumes: values by hand, and what is refused."""

import numpy as np
import pytest

from gradoracle import oracle
from gradoracle.implementations import im2col

ROW = np.array([[[1.0, 2.0, 3.0]]])
CUBE = np.arange(8.0).reshape(1, 1, 2, 2, 2)
BACKENDS = pytest.mark.parametrize("backend", [oracle, im2col], ids=["oracle", "im2col"])


def flat(array):
    return array.ravel().tolist()


@BACKENDS
def test_pooling_to_a_given_size(backend):
    assert flat(backend.adaptive_avg_pool1d(ROW, output_size=(2,))) == [1.5, 2.5]
    back = backend.adaptive_avg_pool1d_grad_input(np.array([[[2.0, 4.0]]]), input_shape=(1, 1, 3))
    assert flat(back) == [1, 3, 2]  # the pixel in the middle is in both windows
    assert flat(backend.adaptive_avg_pool3d(CUBE, output_size=(2, 1, 1))) == [1.5, 5.5]
    y, places = backend.adaptive_max_pool1d(ROW, output_size=(2,))
    assert (flat(y), flat(places)) == ([2, 3], [1, 2])
    y, places = backend.adaptive_max_pool3d(CUBE, output_size=(1, 2, 1))
    assert (flat(y), flat(places)) == ([5, 7], [5, 7])
    dy = np.array([[[1.0, 10.0]]])
    assert flat(backend.adaptive_max_pool1d_vjp(dy, ROW)) == [0, 1, 10]


@BACKENDS
def test_interpolation(backend):
    nearest = backend.interpolate_nearest1d(ROW, output_size=(6,), mode="nearest")
    assert flat(nearest) == [1, 1, 2, 2, 3, 3]
    linear = backend.interpolate_linear1d(ROW, output_size=(5,), align_corners=True)
    assert flat(linear) == [1, 1.5, 2, 2.5, 3]
    middle = backend.interpolate_trilinear3d(CUBE, output_size=(1, 1, 1), align_corners=False)
    assert flat(middle) == [3.5]
    back = backend.interpolate_trilinear3d_grad_input(
        np.full((1, 1, 1, 1, 1), 8.0), input_shape=CUBE.shape, align_corners=False
    )
    assert flat(back) == [1] * 8
    deep = backend.interpolate_nearest3d(CUBE, output_size=(1, 1, 2), mode="nearest")
    assert flat(deep) == [0, 1]


@BACKENDS
def test_max_unpooling(backend):
    places = np.array([[[4, 0, 2]]])
    y = backend.max_unpool1d(ROW, places, output_size=(5,))
    assert flat(y) == [2, 0, 3, 0, 1]
    assert flat(backend.max_unpool1d_grad_input(y, places)) == [1, 2, 3]
    one = np.ones((1, 1, 1, 1, 1))
    y = backend.max_unpool3d(one, np.array([[[[[5]]]]]), output_size=(2, 2, 2))
    assert y[0, 0, 1, 0, 1] == y.sum() == 1


@BACKENDS
def test_padding_has_the_ends_of_the_last_axis_first(backend):
    assert flat(backend.zero_pad1d(ROW, padding=(1, 2))) == [0, 1, 2, 3, 0, 0]
    assert flat(backend.reflection_pad1d(ROW, padding=(2, 1))) == [3, 2, 1, 2, 3, 2]
    assert flat(backend.replication_pad1d(ROW, padding=(2, 1))) == [1, 1, 1, 2, 3, 3]
    assert flat(backend.circular_pad1d(ROW, padding=(1, 2))) == [3, 1, 2, 3, 1, 2]
    back = backend.reflection_pad1d_grad_input(np.ones((1, 1, 6)), padding=(2, 1))
    assert flat(back) == [1, 3, 2]
    deep = backend.zero_pad3d(CUBE, padding=(0, 0, 0, 0, 1, 0))
    assert deep.shape == (1, 1, 3, 2, 2)
    assert not deep[0, 0, 0].any()
    assert backend.circular_pad3d(CUBE, padding=(1, 0, 0, 1, 0, 0)).shape == (1, 1, 2, 3, 3)


@pytest.mark.parametrize(
    ("name", "arrays", "options", "message"),
    [
        (
            "zero_pad1d",
            (ROW,),
            {"padding": (1, 1, 0, 0)},
            r"padding must be two integers \(left, r",
        ),
        ("zero_pad3d", (CUBE,), {"padding": (1, 1)}, r"six integers \(left, .*, front, back\)"),
        ("reflection_pad3d", (CUBE,), {"padding": (0, 0, 0, 0, 2, 0)}, "padding's front and back"),
        ("max_unpool1d", (ROW, np.array([[[0, 1, 5]]])), {"output_size": (5,)}, "0 to 4"),
        ("adaptive_avg_pool3d", (CUBE,), {"output_size": (1, 1)}, "output_size must be a tuple"),
        ("interpolate_nearest1d", (ROW[0],), {"output_size": (1,), "mode": "nearest"}, "3 axes"),
    ],
)
def test_what_fits_no_call_is_refused(name, arrays, options, message):
    with pytest.raises(ValueError, match=message):
        getattr(oracle, name)(*arrays, **options)
    with pytest.raises(ValueError):  # noqa: PT011 - im2col has messages of its own
        getattr(im2col, name)(*arrays, **options)
