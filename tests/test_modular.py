"""Sums under random weights are those of the literal loops, and seldom 0 where one is wrong."""

import itertools

import numpy as np
import pytest

from gradoracle import oracle
from gradoracle.oracle.expected import random_projection
from gradoracle.oracle.expected.random_projection import Options
from gradoracle.oracle.shapes import conv_shapes

GEOMETRIES = [  # images, groups, depth, multiplier, sides, taps, stride, padding, dilation
    (1, 1, 1, 1, (1, 1), (1, 1), (1, 1), (0, 0), (1, 1)),
    (2, 1, 3, 4, (5, 6), (3, 3), (1, 1), (1, 1), (1, 1)),
    (3, 1, 2, 3, (7, 5), (1, 1), (1, 1), (0, 0), (1, 1)),
    (1, 1, 2, 3, (7, 6), (1, 1), (2, 3), (0, 0), (1, 1)),
    (2, 2, 3, 2, (6, 7), (1, 1), (2, 2), (1, 2), (1, 1)),
    (2, 1, 3, 2, (9, 8), (3, 2), (2, 3), (1, 0), (1, 2)),
    (1, 3, 1, 2, (8, 9), (2, 3), (3, 2), (2, 1), (2, 1)),
    (3, 4, 1, 1, (6, 6), (3, 3), (2, 2), (1, 1), (1, 1)),
    (2, 2, 2, 3, (4, 5), (2, 4), (1, 2), (3, 3), (1, 1)),
    (2, 1, 2, 2, (3, 3), (2, 2), (4, 5), (0, 1), (2, 1)),
    (1, 1, 3, 2, (11, 10), (7, 7), (2, 2), (3, 3), (1, 1)),
]


@pytest.fixture(params=["numba", "numpy"])
def arithmetic(request, monkeypatch):
    """Let all sums be compiled, or none."""
    if request.param == "numba":
        pytest.importorskip("numba")
        monkeypatch.setattr(random_projection, "FEW", -1)
    else:
        monkeypatch.setattr(random_projection, "compiled", lambda loops: None)


def wrapped(total):
    """A Python integer modulo 2**64, as int64 has it."""
    return (int(total) + 2**63) % 2**64 - 2**63


def drawn(geometry, dtype, seed):
    images, groups, depth, multiplier, sides, taps, stride, padding, dilation = geometry
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    shapes = conv_shapes(
        2, (images, groups * depth, *sides), (groups * multiplier, depth, *taps), **options
    )
    random = np.random.default_rng(seed)
    arrays = [
        random.integers(-99, 100, s).astype(dtype) for s in (shapes.x, shapes.weight, shapes.y)
    ]
    return (*arrays, Options(**options), random)


def exact(array):
    return array.astype(np.int64).astype(object)


def literal(total):
    return np.array([wrapped(v) for v in total.ravel()], np.int64).reshape(total.shape)


@pytest.mark.usefixtures("arithmetic")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_weighted_sums_of_the_answer_are_those_of_the_literal_loops(geometry, dtype):
    x, weight, dy, options, random = drawn(geometry, dtype, 1)
    n, m, c = len(x), len(weight), x.shape[1]
    a, b = random_projection.draw(random, n), random_projection.draw(random, m)
    y = oracle.conv2d(exact(x), exact(weight), **options._asdict())
    want = literal(np.einsum("n,m,nmij->ij", exact(a), exact(b), y))
    got = random_projection.weighted_convolution(x, weight, a, b, options)
    assert np.array_equal(got, want)
    answer, whole = random_projection.weighted_maps(y.astype(dtype), a, b)
    assert whole
    assert np.array_equal(answer, want)

    b = random_projection.draw(random, c)
    dx = oracle.conv2d_grad_input(
        exact(dy), exact(weight), input_shape=x.shape, **options._asdict()
    )
    want = literal(np.einsum("n,c,nchw->hw", exact(a), exact(b), dx))
    got = random_projection.weighted_grad_input(dy, weight, a, b, x.shape[2:], options)
    assert np.array_equal(got, want)

    a = random_projection.draw(random, m)
    dw = oracle.conv2d_grad_weight(
        exact(dy), exact(x), weight_shape=weight.shape, **options._asdict()
    )
    first = np.arange(m) // (m // options.groups) * weight.shape[1]
    of_filter = exact(b)[first[:, None] + np.arange(weight.shape[1])]
    want = literal(np.einsum("m,mc,mcpq->pq", exact(a), of_filter, dw))
    got = random_projection.weighted_grad_weight(dy, x, a, b, weight.shape[2:], options)
    assert np.array_equal(got, want)
    answer, whole = random_projection.weighted_filters(
        dw.astype(dtype), a, b, groups=options.groups
    )
    assert whole
    assert np.array_equal(answer, want)


@pytest.mark.usefixtures("arithmetic")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("odd", [0.5, np.nan, np.inf, -np.inf, 2.0**24 + 2, -(2.0**31), 1e30])
def test_what_is_no_whole_number_of_an_answer_is_seen(odd, dtype):
    got = np.zeros((2, 3, 4, 5), dtype)
    a, b = np.ones(2, np.int32), np.ones(3, np.int32)
    assert random_projection.weighted_maps(got, a, b)[1]
    got[1, 2, 3, 4] = odd
    assert not random_projection.weighted_maps(got, a, b)[1]
    a, b = np.ones(2, np.int32), np.ones(6, np.int32)
    assert not random_projection.weighted_filters(got, a, b, groups=2)[1]
    got[1, 2, 3, 4] = -(2.0**24)
    assert random_projection.weighted_filters(got, a, b, groups=2)[1]


def bound(word, bits, twos):
    """The three steps of the module's docstring, for other sizes of words, weights and errors."""
    some = sum(
        min(1.0, max(2.0**-bits, 2.0 ** (twos - d))) * 2.0 ** (d - word)
        for d in range(bits + 1, word)
    )
    return 2.0**-bits + some + max(2.0**-bits, 2.0 ** (twos - word))


def test_the_bound_is_the_one_that_is_told():
    assert bound(64, 32, 25) < 2.0**random_projection.MISSED


def errors():
    random = np.random.default_rng(5)
    yield from (np.array([[e, 0], [0, 0]]) for e in (1, 2, 3, 4, 8))
    yield from (np.array([[e, -e], [-e, e]]) for e in (1, 4, 8))
    yield from (np.array([[e, 0], [0, f]]) for e, f in itertools.product((1, 2, 8), (3, 8)))
    yield from (random.integers(-8, 9, (2, 2)) for _ in range(40))


@pytest.mark.parametrize("error", [e for e in errors() if e.any()], ids=lambda e: str(e.tolist()))
def test_no_error_passes_more_often_than_the_bound(error):
    """All weights of 4 bits, modulo 2**8, and errors of at most 2**3: an eighth of everything."""
    weights = np.arange(-8, 8)
    b = np.stack(np.meshgrid(weights, weights)).reshape(2, -1)
    t = error @ b
    a = b.T
    passed = float(((a @ t) % 2**8 == 0).mean())
    assert passed <= bound(8, 4, 3)
