"""Interpolation: values by hand, shares in fractions, what rounding may do, PyTorch, errors."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from gradoracle import oracle
from gradoracle.implementations import im2col
from gradoracle.oracle.declaration import algebra, evaluate
from gradoracle.oracle.expected.truth import truth
from gradoracle.oracle.formulas.interpolate_nearest import is_settled

ROW = np.arange(1.0, 5).reshape(1, 1, 1, 4)
NEAREST, NEAREST_BACK = oracle.interpolate_nearest2d, oracle.interpolate_nearest2d_grad_input
LINEAR, LINEAR_BACK = oracle.interpolate_bilinear2d, oracle.interpolate_bilinear2d_grad_input


def nearest(count, mode, x=ROW):
    return NEAREST(x, output_size=(1, count), mode=mode).ravel().tolist()


def linear(count, x=ROW, *, align):
    return LINEAR(x, output_size=(1, count), align_corners=align).ravel().tolist()


def test_the_nearest_pixel_is_the_one_before_or_the_one_around_the_middle():
    assert nearest(2, "nearest") == [1, 3]
    assert nearest(2, "nearest-exact") == [2, 4]
    assert nearest(6, "nearest") == [1, 1, 2, 3, 3, 4]
    assert nearest(6, "nearest-exact") == [1, 2, 2, 3, 4, 4]
    dx = NEAREST_BACK(np.ones((1, 1, 1, 6)), input_shape=ROW.shape, mode="nearest")
    assert dx.ravel().tolist() == [2, 1, 2, 1]


def test_twice_the_size_lies_at_quarters_and_keeps_the_ends():
    assert linear(8, align=False) == [1, 1.25, 1.75, 2.25, 2.75, 3.25, 3.75, 4]
    assert linear(7, align=True) == [1, 1.5, 2, 2.5, 3, 3.5, 4]
    assert linear(1, align=False) == [2.5]
    assert linear(1, align=True) == [1]
    assert linear(3, ROW[..., :1], align=True) == linear(3, ROW[..., :1], align=False) == [1] * 3


def test_shares_go_back_as_they_came():
    back = {"input_shape": ROW.shape, "align_corners": False}
    dx = LINEAR_BACK(np.ones((1, 1, 1, 8)), **back)
    assert dx.ravel().tolist() == [2, 2, 2, 2]
    hot = np.zeros((1, 1, 1, 8))
    hot[..., 1] = 4
    assert LINEAR_BACK(hot, **back).ravel().tolist() == [3, 1, 0, 0]


SIDES = [*product((1, 2, 3, 5), (1, 2, 3, 4, 7)), (2, 41), (7, 25)]


def calls():
    """Yield calls of small sides, with both options."""
    for at, ((h, i), (w, j)) in enumerate(product(SIDES, SIDES[:: len(SIDES) // 4])):
        random = np.random.default_rng(at)
        shapes = {"x": (2, 1, h, w), "grad_output": (2, 1, i, j)}
        arrays = {n: random.integers(-4, 5, s).astype(float) for n, s in shapes.items()}
        options = {"mode": ("nearest", "nearest-exact")[at % 2], "align_corners": bool(at % 2)}
        yield {**arrays, **options, "output_size": (i, j), "input_shape": shapes["x"]}


def place(i, size, count, *, align):
    """Return a coordinate as the docstring displays it."""
    if align:
        return Fraction(i * (size - 1), count - 1) if count > 1 else Fraction(0)
    return min(max(Fraction(2 * i + 1, 2) * size / count - Fraction(1, 2), 0), size - 1)


def tents(size, count, *, align):
    places = [place(i, size, count, align=align) for i in range(count)]
    return np.array([[max(0, 1 - abs(a - h)) for h in range(size)] for a in places], object)


def test_the_displayed_shares_give_the_truth_in_fractions():
    for call in calls():
        plane = call["x"].shape[2:]
        align = call["align_corners"]
        down, across = (
            tents(*of, align=align) for of in zip(plane, call["output_size"], strict=True)
        )
        exact = np.frompyfunc(Fraction, 1, 1)
        want = {
            LINEAR: down @ exact(call["x"]) @ across.T,
            LINEAR_BACK: down.T @ exact(call["grad_output"]) @ across,
        }
        for formula, values in want.items():
            right = truth(formula, call)
            unit = Fraction(2) ** right.scale * right.odd
            assert [Fraction(int(v)) / unit for v in right.value.ravel()] == values.ravel().tolist()


@pytest.mark.parametrize("formula", [LINEAR, LINEAR_BACK])
def test_sizes_of_the_terms_are_below_what_is_declared(formula):
    for call in calls():
        ones = {**call, **{n: np.ones_like(call[n]) for n in ("x", "grad_output")}}
        sizes = evaluate(algebra(formula).sizes, ones)
        assert (sizes >= evaluate(formula, ones) * (1 - 1e-12)).all()
        assert sizes.max() <= algebra(formula).over(call).sizes * (1 + 1e-12)


def test_sizes_that_are_powers_of_two_apart_are_exact_and_others_are_not():
    for size, count, align, exact in (
        (4, 8, False, True), (8, 2, False, True), (6, 3, False, True), (3, 9, False, False),
        (4, 7, True, True), (4, 8, True, False), (5, 5, False, True), (9, 3, True, True),
        (1, 3, False, False),
    ):  # fmt: skip
        x = np.arange(size * 1.0).reshape(1, 1, 1, size)
        call = {"x": x, "output_size": (1, count), "align_corners": align}
        assert truth(LINEAR, call).is_exact("float32", "float32") is exact, (size, count, align)


@pytest.mark.parametrize("align", [False, True])
def test_a_coordinate_that_is_rounded_across_a_pixel_is_right_and_others_are_not(align):
    x = np.float32([1, 2, 1e6, 4]).reshape(1, 1, 1, 4)
    call = {"x": x, "output_size": (1, 10), "align_corners": align}
    right = truth(LINEAR, call)
    wide = right.bound("float32", "float32").ravel()
    want = right.as_float(np.dtype(np.float64)).ravel()
    for i in range(10):
        a = float(place(i, 4, 10, align=align))
        if not align and a >= 3:  # taken as the last pixel, and never moved
            continue
        for moved, ok in ((a * (1 - 2.0**-23), True), (a * (1 - 2.0**-17) - 2.0**-17, False)):
            got = np.interp(max(moved, 0), np.arange(4), x.ravel().astype(float))
            if ok:
                assert abs(got - want[i]) <= wide[i]
            elif a > 1:  # beside 1e6 a step of the coordinate shows
                assert abs(got - want[i]) > wide[i]


def test_results_whose_coordinates_rounding_moves_are_left_open():
    assert not is_settled(2, 82, "nearest")  # pixel 41 is at 0.99999994
    assert is_settled(2, 83, "nearest")
    for size in (1, 2, 3, 7, 64, 300):
        assert is_settled(size, size, "nearest")
        assert is_settled(size, 2 * size, "nearest-exact")
        assert is_settled(size, 1, "nearest-exact")


def test_values_and_gradients_are_pytorchs():
    torch = pytest.importorskip("torch")
    for call in calls():
        plane, outputs = call["x"].shape[2:], call["output_size"]
        align, mode = call["align_corners"], call["mode"]
        cases = [(LINEAR, LINEAR_BACK, {"mode": "bilinear", "align_corners": align})]
        if all(is_settled(*of, mode) for of in zip(plane, outputs, strict=True)):
            cases.append((NEAREST, NEAREST_BACK, {"mode": mode}))
        for forward, back, how in cases:
            x = torch.tensor(call["x"], requires_grad=True)
            y = torch.nn.functional.interpolate(x, outputs, **how)
            (dx,) = torch.autograd.grad(y, x, torch.tensor(call["grad_output"]))
            for formula, found in ((forward, y.detach()), (back, dx)):
                right = truth(formula, call)
                assert (right.error_over_bound(found.numpy(), "float64") <= 1).all()
                mine = ask(im2col, formula, call)
                assert (right.error_over_bound(mine, "float64") <= 1).all()


def ask(module, formula, call):
    name = formula.__name__
    array, shape = ("grad_output", "input_shape") if "grad" in name else ("x", "output_size")
    option = "mode" if "nearest" in name else "align_corners"
    return getattr(module, name)(call[array], **{shape: call[shape], option: call[option]})


@pytest.mark.parametrize(
    ("name", "array", "options", "message"),
    [
        ("interpolate_nearest2d", ROW, {"output_size": (1, 2), "mode": "cubic"},
         "mode must be 'nearest' or 'nearest-exact', got 'cubic'"),
        ("interpolate_nearest2d", ROW[0], {"output_size": (1, 2), "mode": "nearest"},
         r"x must have 4 axes \[N, C, H, W\]"),
        ("interpolate_bilinear2d", ROW, {"output_size": (0, 2), "align_corners": True},
         "output_size must be a pair"),
        ("interpolate_bilinear2d_grad_input", ROW,
         {"input_shape": (1, 2, 1, 4), "align_corners": True}, "input_shape demands"),
        ("interpolate_nearest2d_grad_input", ROW,
         {"input_shape": (1, 1, 0, 4), "mode": "nearest"}, "at least 1 along"),
    ],
)  # fmt: skip
def test_what_fits_no_call_is_refused(name, array, options, message):
    with pytest.raises(ValueError, match=message):
        getattr(oracle, name)(array, **options)
    with pytest.raises(ValueError):  # noqa: PT011 - im2col has messages of its own
        getattr(im2col, name)(array, **options)


def by_the_inverse_scale(x, count):
    """Return what ONNX Runtime makes of a row: it divides by outputs over pixels."""
    one, half = np.float32(1), np.float32(0.5)
    at = (np.arange(count, dtype=np.float32) + half) / (np.float32(count) / np.float32(x.size))
    at = np.clip(at - half, 0, x.size - 1)
    first = np.minimum(at.astype(np.int64), x.size - 1)
    share = at - first.astype(np.float32)
    return x[first] * (one - share) + x[np.minimum(first + 1, x.size - 1)] * share


EXACT = ((8, 2), (4, 8), (5, 5))  # the scale, and its inverse


@pytest.mark.parametrize(("size", "count"), [
    *EXACT, (7, 1), (13, 1), (14, 2), (28, 4), (28, 1), (6, 2), (9, 3),
])  # fmt: skip
def test_coordinates_may_be_divided_by_the_inverse_scale(size, count):
    random, formula = np.random.default_rng(size), oracle.interpolate_linear1d
    for _ in range(20):
        x = np.float32(random.integers(-4, 5, size))
        call = {"x": x[None, None], "output_size": (count,), "align_corners": False}
        right, got = truth(formula, call), by_the_inverse_scale(x, count)[None, None]
        assert right.is_exact("float32", "float32") == ((size, count) in EXACT)
        assert (right.error_over_bound(got, "float32") <= 1).all()
        off = right.error_over_bound(got + np.float32(1e-3), "float32")
        assert not (off <= 1).any()
