"""Power-average pooling: values by hand, what is refused, what is PyTorch's, what is left open."""

import numpy as np
import pytest

from gradoracle import oracle
from gradoracle.conformance.operators.lp_pool import LP_POOL1D, LP_POOL2D
from gradoracle.implementations import im2col
from gradoracle.oracle.numbers.functions import FLOATS
from gradoracle.oracle.numbers.powers import power

ROW = np.array([[[3.0, 4.0, 0.0, 0.0, 5.0, 12.0]]])
PAIRS = {"kernel_size": (2,), "stride": (2,)}
BACKENDS = pytest.mark.parametrize("backend", [oracle, im2col], ids=["oracle", "im2col"])


@BACKENDS
def test_norms_of_pairs_by_hand(backend):
    def norms(p, x=ROW):
        return backend.lp_pool1d(x, norm_type=p, **PAIRS).ravel().tolist()

    assert norms(2.0) == [5, 0, 13]
    assert norms(1.0) == [7, 0, 17]
    assert norms(2.0, -ROW) == [5, 0, 13]
    assert norms(3.0) == pytest.approx([91 ** (1 / 3), 0, 1853 ** (1 / 3)], rel=1e-14)
    assert norms(1.5) == pytest.approx(
        [(3**1.5 + 8) ** (2 / 3), 0, (5**1.5 + 12**1.5) ** (2 / 3)], rel=1e-14
    )


@BACKENDS
def test_gradients_by_hand_and_none_from_a_window_of_zeros(backend):
    dy = np.array([[[1.0, 1.0, 2.0]]])
    dx = backend.lp_pool1d_grad(dy, ROW, norm_type=2.0, **PAIRS).ravel()
    assert dx == pytest.approx([3 / 5, 4 / 5, 0, 0, 10 / 13, 24 / 13], rel=1e-14)
    dx = backend.lp_pool1d_grad(dy, ROW, norm_type=4.0, **PAIRS).ravel()
    norm = (3**4 + 4**4) ** 0.25
    assert dx[:2] == pytest.approx([(3 / norm) ** 3, (4 / norm) ** 3], rel=1e-14)
    assert not dx[2:4].any()


@BACKENDS
def test_windows_that_overlap_add_up(backend):
    x, options = np.array([[[3.0, 4.0, 3.0]]]), {"kernel_size": (2,), "stride": (1,)}
    dx = backend.lp_pool1d_grad(np.ones((1, 1, 2)), x, norm_type=2.0, **options)
    assert dx.ravel() == pytest.approx([3 / 5, 8 / 5, 3 / 5], rel=1e-14)


@BACKENDS
@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (ROW, {**PAIRS, "norm_type": 0.5}, "norm_type must be a number of at least 1, got 0.5"),
        (ROW, {**PAIRS, "norm_type": float("inf")}, "at least 1, got inf"),
        (ROW, {"kernel_size": (7,), "stride": (1,), "norm_type": 2.0}, "7"),
        (ROW[0], {**PAIRS, "norm_type": 2.0}, "3 axes"),
    ],
)
def test_what_fits_no_call_is_refused(backend, x, options, message):
    with pytest.raises(ValueError, match=message):
        backend.lp_pool1d(x, **options)


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0, 4.0])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_values_and_gradients_are_pytorchs(rank, p):
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(rank)
    x = abs(random.standard_normal((2, 3, 5, 6, 4)[: rank + 2])) + 0.1
    options = {"norm_type": p, "kernel_size": (2, 3, 2)[:rank], "stride": (1, 2, 2)[:rank]}
    y = getattr(oracle, f"lp_pool{rank}d")(x, **options)
    given = torch.tensor(x, requires_grad=True)
    want = getattr(torch.nn.functional, f"lp_pool{rank}d")(
        given, p, options["kernel_size"] if rank > 1 else 2, options["stride"]
    )
    assert y == pytest.approx(want.detach().numpy(), rel=1e-12)
    want.sum().backward()
    dx = getattr(oracle, f"lp_pool{rank}d_grad")(np.ones_like(y), x, **options)
    assert dx == pytest.approx(given.grad.numpy(), rel=1e-12, abs=1e-14)


def test_what_frameworks_disagree_about_is_left_open():
    forward = LP_POOL1D.formula
    (gradient,) = LP_POOL1D.gradients

    def is_open(formula, p, x=ROW):
        call = {"x": x, "grad_output": np.ones((1, 1, 3)), "norm_type": p, **PAIRS}
        return LP_POOL1D.unsettled({}, formula, call)

    assert is_open(forward, 3.0, -ROW)
    assert is_open(forward, 1.0, -ROW)
    assert not is_open(forward, 2.0, -ROW)
    assert not is_open(forward, 1.0)
    assert is_open(gradient, 1.0)  # a window of zeros
    assert not is_open(gradient, 1.0, ROW + 1)
    assert not is_open(gradient, 2.0)
    lost = np.append(ROW, [[[np.nan]]], axis=2)  # past the last window
    assert is_open(gradient, 2.0, lost)
    assert not is_open(forward, 2.0, lost)


def test_numbers_are_made_legal_where_powers_of_negative_ones_are_not():
    call = {"x": -ROW, "norm_type": 1.5}
    assert (LP_POOL2D.complete(call, 0)["x"] == ROW).all()
    assert (LP_POOL2D.complete({**call, "norm_type": 4.0}, 0)["x"] == -ROW).all()


@pytest.mark.parametrize(("over", "under"), [(3.0, 2.0), (1.0, 3.0), (1.0, 1.5), (1.0, 2.0)])
def test_a_power_moves_no_further_than_its_row_says(over, under):
    function, exponent = power(over, under), over / under
    for x in (0.0, 1e-3, 1.0, 37.0):
        y = function(x)
        assert y == pytest.approx(x**exponent, rel=1e-14)
        for e in (1e-6, 0.5 * x, 2.0 * x):
            room = function.moved(FLOATS, x, y, e)
            assert abs(function(x + e) - y) <= room * (1 + 1e-12)
            assert abs(function(max(x - e, 0.0)) - y) <= room * (1 + 1e-12)
        if x:
            slope = (function(x * (1 + 1e-6)) - function(x * (1 - 1e-6))) / (2e-6 * x)
            assert function.derivative(x, y) == pytest.approx(slope, rel=1e-6)
    assert np.isnan(function(-1.0))
    wide = function.of_array(np.array([2.0], np.longdouble))
    assert wide.dtype == np.longdouble
    assert abs(wide[0] ** (under / over) - 2) < 1e-15
