"""The literal formulas: hand-computed numbers, and everything that must agree with them."""

from fractions import Fraction

import numpy as np
import pytest

from gradoracle import oracle
from gradoracle.oracle import compiled_loops
from gradoracle.oracle.declaration import algebra, displayed, evaluate
from gradoracle.oracle.numbers import dual
from tests.calls import call, random_calls

FORMULAS = [
    oracle.conv2d,
    oracle.conv2d_grad_input,
    oracle.conv2d_grad_weight,
    oracle.conv2d_grad_bias,
]
GRADIENTS = {
    "x": oracle.conv2d_grad_input,
    "weight": oracle.conv2d_grad_weight,
    "bias": oracle.conv2d_grad_bias,
}
PLAIN = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}


def rows(*values):
    return np.array([[values]], dtype=np.float64)


def test_forward_by_hand():
    x = rows([1, 2, 3], [4, 5, 6], [7, 8, 9])
    weight = rows([1, 0], [0, -1])
    y = oracle.conv2d(x, weight, np.array([10.0]), **PLAIN)
    assert y.tolist() == [[[[10 + 1 - 5, 10 + 2 - 6], [10 + 4 - 8, 10 + 5 - 9]]]]


def test_forward_with_stride_padding_and_dilation_by_hand():
    x = rows([1, 2, 3, 4])
    weight = rows([1, 10])
    y = oracle.conv2d(
        x, weight, stride=(1, 2), padding=(0, 1), dilation=(1, 2), groups=1
    )  # windows start at -1, 1 and reach +2
    assert y.tolist() == [[[[10 * 2, 2 + 10 * 4]]]]


def test_padding_in_height_keeps_rows_of_bias_only():
    y = oracle.conv2d(rows([5.0]), rows([2.0]), np.array([1.0]),
                      stride=(1, 1), padding=(1, 0), dilation=(1, 1), groups=1)  # fmt: skip
    assert y.tolist() == [[[[1.0], [11.0], [1.0]]]]


def test_grad_input_by_hand():
    dx = oracle.conv2d_grad_input(rows([1, 10]), rows([2, 3]), input_shape=(1, 1, 1, 3), **PLAIN)
    assert dx.tolist() == [[[[2, 3 + 20, 30]]]]


def test_grad_input_gives_zero_to_pixels_that_no_window_reaches():
    dx = oracle.conv2d_grad_input(
        rows([1, 1]), rows([5]), input_shape=(1, 1, 1, 6), **{**PLAIN, "stride": (1, 4)}
    )
    assert dx.tolist() == [[[[5, 0, 0, 0, 5, 0]]]]


def test_grad_weight_by_hand_is_summed_over_images_not_averaged():
    x = np.array([[[[1.0, 2, 3]]], [[[10, 20, 30]]]])
    dy = np.array([[[[1.0, 2]]], [[[1, 1]]]])
    dw = oracle.conv2d_grad_weight(dy, x, weight_shape=(1, 1, 1, 2), **PLAIN)
    assert dw.tolist() == [[[[1 + 4 + 30, 2 + 6 + 50]]]]


def test_grad_bias_by_hand():
    dy = np.arange(12.0).reshape(2, 3, 1, 2)
    assert oracle.conv2d_grad_bias(dy).tolist() == [0 + 1 + 6 + 7, 2 + 3 + 8 + 9, 4 + 5 + 10 + 11]


def test_groups_read_their_own_channels():
    x = np.array([[[[1.0]], [[10.0]]]])
    weight = np.array([[[[2.0]]], [[[3.0]]], [[[4.0]]], [[[5.0]]]])
    y = oracle.conv2d(x, weight, **{**PLAIN, "groups": 2})
    assert y.ravel().tolist() == [2, 3, 40, 50]
    dx = oracle.conv2d_grad_input(
        np.ones((1, 4, 1, 1)), weight, input_shape=(1, 2, 1, 1), **{**PLAIN, "groups": 2}
    )
    assert dx.ravel().tolist() == [2 + 3, 4 + 5]


def test_empty_batch_gives_an_empty_result_and_zero_gradients():
    empty = call((0, 2, 3, 3), (2, 2, 2, 2), dtype=np.float32)
    assert evaluate(oracle.conv2d, empty).shape == (0, 2, 2, 2)
    assert not evaluate(oracle.conv2d_grad_weight, empty).any()
    assert not evaluate(oracle.conv2d_grad_bias, empty).any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, object])
@pytest.mark.parametrize("formula", FORMULAS, ids=lambda f: f.__name__)
def test_dtype_follows_the_input(formula, dtype):
    assert evaluate(formula, call((1, 1, 3, 3), (1, 1, 2, 2), dtype=dtype)).dtype == dtype


@pytest.mark.parametrize("argument", GRADIENTS)
def test_gradients_are_the_dual_numbers_of_the_forward_loops(argument):
    for c in random_calls(25, seed=1):
        if c["x"].size * c["weight"].size < 4000:
            want = dual.gradient(oracle.conv2d, c, argument)
            got = evaluate(GRADIENTS[argument], c)
            assert got.shape == want.shape
            assert (got == want).all()


@pytest.mark.parametrize("argument", GRADIENTS)
def test_gradients_are_exact_finite_differences_of_the_forward_loops(argument):
    for c in random_calls(25, seed=2):
        gradient = evaluate(GRADIENTS[argument], c)
        here = evaluate(oracle.conv2d, c)
        for at in list(np.ndindex(c[argument].shape))[:12]:
            moved = c[argument].copy()
            moved[at] += 1
            rise = evaluate(oracle.conv2d, {**c, argument: moved}) - here
            assert gradient[at] == (c["grad_output"] * rise).sum()


def test_oracle_equals_pytorch_in_float64(torch):
    for c in random_calls(150, seed=3, dtype=np.float64):
        x, weight, bias = (torch.tensor(c[n], requires_grad=True) for n in ("x", "weight", "bias"))
        options = {n: c[n] for n in PLAIN}
        y = torch.nn.functional.conv2d(x, weight, bias, **options)
        gradients = torch.autograd.grad(y, (x, weight, bias), torch.tensor(c["grad_output"]))
        for formula, want in zip(FORMULAS, (y.detach(), *gradients), strict=True):
            got = evaluate(formula, c)
            assert got.shape == tuple(want.shape)
            assert (got == want.numpy()).all(), formula.__name__


@pytest.mark.parametrize("formula", FORMULAS, ids=lambda f: f.__name__)
def test_fractions_floats_and_integers_agree(formula):
    for c in random_calls(10, seed=4):
        integers = evaluate(formula, c)
        halves = {n: a * Fraction(1, 2) if isinstance(a, np.ndarray) else a for n, a in c.items()}
        degree = len(algebra(formula).factors)
        if degree == 2 and formula is oracle.conv2d:
            halves["bias"] = halves["bias"] * Fraction(1, 2)
        assert (evaluate(formula, halves) * 2**degree == integers).all()
        floats = {n: a.astype(float) if isinstance(a, np.ndarray) else a for n, a in c.items()}
        assert (evaluate(formula, floats) == integers).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("formula", FORMULAS, ids=lambda f: f.__name__)
def test_compiled_loops_give_the_interpreted_bits(formula, dtype, monkeypatch):
    random = np.random.default_rng(5)
    for c in random_calls(12, seed=5, dtype=dtype):
        data = {
            n: random.standard_normal(a.shape).astype(dtype) if isinstance(a, np.ndarray) else a
            for n, a in c.items()
        }
        monkeypatch.setattr(compiled_loops, "pays_to_compile", lambda *_: False)
        slow = evaluate(formula, data)
        monkeypatch.setattr(compiled_loops, "pays_to_compile", lambda *_: True)
        fast = evaluate(formula, data)
        assert slow.tobytes() == fast.tobytes()


def test_compiled_loops_are_really_compiled(monkeypatch):
    monkeypatch.setattr(compiled_loops, "pays_to_compile", lambda *_: True)
    seen = []
    compiled = compiled_loops.compiled

    def spy(source):
        seen.append(source.__name__)
        return compiled(source)

    monkeypatch.setattr(compiled_loops, "compiled", spy)
    evaluate(oracle.conv2d, call((1, 1, 3, 3), (1, 1, 2, 2), dtype=np.float64))
    evaluate(oracle.conv2d, call((1, 1, 3, 3), (1, 1, 2, 2), dtype=object))
    assert seen == ["_sum_by_window"]
    assert compiled(oracle.conv2d.__globals__["_sum_by_window"]).signatures


def test_without_numba_everything_is_interpreted(monkeypatch):
    compiled_loops.compiled.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "numba", None)
    monkeypatch.setattr(compiled_loops, "pays_to_compile", lambda *_: True)
    try:
        c = call((1, 1, 3, 3), (1, 1, 2, 2), dtype=np.float64)
        assert evaluate(oracle.conv2d, c).shape == (1, 1, 2, 2)
        assert compiled_loops.compiled(print) is None
    finally:
        compiled_loops.compiled.cache_clear()


@pytest.mark.parametrize("formula", FORMULAS, ids=lambda f: f.__name__)
def test_declared_algebra_holds(formula):
    names = algebra(formula)
    for c in random_calls(5, seed=6):
        zero = np.zeros_like(c[names.factors[0]])
        plain = {**c, **({names.plus: None} if names.plus else {})}
        assert not evaluate(formula, {**plain, names.factors[0]: zero}).any()
        for name in names.factors:
            doubled = evaluate(formula, {**plain, name: 2 * c[name]})
            assert (doubled == 2 * evaluate(formula, plain)).all()
        batch = evaluate(formula, c).shape[0]
        assert (batch == len(c["grad_output"])) or names.images == "summed"


@pytest.mark.parametrize("formula", FORMULAS, ids=lambda f: f.__name__)
def test_docstrings_display_an_equation_and_its_source(formula):
    equation, source = displayed(formula)
    assert " = " in equation
    assert "sum" in equation
    assert source[:3] in ("000", "001", "002", "003")


LEGAL = {"x": (2, 4, 5, 6), "weight": (6, 2, 3, 2), "stride": (2, 1), "padding": (1, 0),
         "dilation": (1, 2), "groups": 2}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": (6, 2, 9, 2)}, "the kernel's height spans 9 pixels (9 taps, dilation 1), but "
         "the padded image has 7 (5 pixels, padding 1 on each end); at most 7 is legal"),
        ({"dilation": (1, 6)}, "the kernel's width spans 7 pixels"),
        ({"groups": 4}, "groups=4 does not divide the 6 filters"),
        ({"groups": 3}, "x has 4 channels, but weight's second axis of 2 times groups=3 takes 6"),
        ({"groups": 0}, "groups must be at least 1, got 0"),
        ({"groups": 1.5}, "groups must be an integer, got 1.5"),
        ({"stride": (0, 1)}, "stride must be a pair (height, width) of integers of at least 1, "
         "got (0, 1)"),
        ({"stride": 2}, "stride must be a pair (height, width)"),
        ({"padding": (0, -1)}, "padding must be a pair (height, width) of integers of at least 0, "
         "got (0, -1)"),
        ({"dilation": (1, 1, 1)}, "dilation must be a pair"),
        ({"dilation": (0, 1)}, "got (0, 1)"),
        ({"x": (2, 4, 5)}, "x must have 4 axes [N, C, H, W], got shape [2, 4, 5]"),
        ({"weight": (6, 2, 3)}, "weight must have 4 axes [M, C/groups, KH, KW]"),
        ({"weight": (6, 2, 0, 2)}, "must have KH of at least 1, got 0"),
        ({"x": (2, 4, 0, 6)}, "must have H of at least 1, got 0"),
    ],
)  # fmt: skip
def test_illegal_arguments_name_the_value_and_what_is_legal(change, message):
    legal = call(**LEGAL, dtype=np.float64)
    shapes = {"x": "input_shape", "weight": "weight_shape"}
    bad = dict(legal)
    for name, value in change.items():
        bad[name] = np.zeros(value) if name in shapes else value
        if name in shapes:
            bad[shapes[name]] = value
    for formula in FORMULAS[:3]:
        with pytest.raises(ValueError, match=message.replace("(", r"\(").replace(")", r"\)")
                           .replace("[", r"\[").replace("]", r"\]")):  # fmt: skip
            evaluate(formula, bad)


def test_arrays_that_do_not_fit_each_other_are_refused():
    legal = call(**LEGAL, dtype=np.float64)
    short = {**legal, "grad_output": legal["grad_output"][:, :, :-1]}
    for formula in (oracle.conv2d_grad_input, oracle.conv2d_grad_weight):
        with pytest.raises(ValueError, match="grad_output has shape .* the convolution's output"):
            evaluate(formula, short)
    with pytest.raises(ValueError, match=r"bias has shape \[5\]"):
        evaluate(oracle.conv2d, {**legal, "bias": np.zeros(5)})
    with pytest.raises(ValueError, match="grad_output must have 4 axes"):
        oracle.conv2d_grad_bias(np.zeros((2, 2)))
