"""What holds of every formula: its gradient is its slope, PyTorch agrees, compiling changes no bit.

`tests/test_oracle_conv2d.py` has the same of the convolution, and more.
"""

import re
from fractions import Fraction

import numpy as np
import pytest

from gradoracle import oracle
from gradoracle.conformance.backends.backend import FUNCTIONS
from gradoracle.conformance.operators import OPERATORS
from gradoracle.conformance.operators.adaptive_pool import ADAPTIVE_AVG_POOLS
from gradoracle.conformance.operators.interpolate import (
    LINEAR_INTERPOLATIONS,
    NEAREST_INTERPOLATIONS,
)
from gradoracle.conformance.operators.max_unpool import MAX_UNPOOLS
from gradoracle.conformance.operators.moved_pixels import (
    MOVED_PIXELS,
    PIXEL_SHUFFLE,
    PIXEL_UNSHUFFLE,
)
from gradoracle.conformance.operators.padding import PADS
from gradoracle.oracle import compiled_loops
from gradoracle.oracle.declaration import (
    Multilinear,
    Selection,
    algebra,
    argument_names,
    ask,
    axes_of,
    displayed,
    evaluate,
    is_data,
    is_place,
    output_of,
)
from gradoracle.oracle.expected.truth import answer_dtype, answer_shape, truth
from gradoracle.oracle.formulas.avg_pool import AVERAGE_POOLINGS
from gradoracle.oracle.numbers import dual
from gradoracle.oracle.numbers.high_precision import precise
from tests.calls import CALLS, fractions, with_floats

OPERATOR = {f: operator for operator in OPERATORS for f in operator.formulas if f in CALLS}
# gradient: the forward formula and the argument that it differentiates by
GRADIENTS = {f: (o.formula, o.argument_of(f)) for f, o in OPERATOR.items() if f in o.gradients}
ELEMENTARY = (
    oracle.sigmoid_grad, oracle.tanh_grad, oracle.softmax_grad, oracle.cross_entropy_grad,
)  # fmt: skip
NAMED = {"ids": lambda f: f.__name__}
SMALL, LARGE = 50, 150  # elements to differentiate by


def test_every_formula_of_the_package_is_here():
    derived = {f.__name__ for of in oracle.DERIVED for f in of.formulas}  # tests/test_reverse.py
    assert {*oracle.__all__} == {*FUNCTIONS}
    assert {output_of(f).function for f in CALLS} == {*FUNCTIONS} - derived
    backwards = {f for f in CALLS if "_grad" in f.__name__ or f.__name__.endswith("_vjp")}
    assert {*GRADIENTS} == backwards


def small_or_new(calls, argument, small):
    """Yield calls by the size of what they differentiate by, a large one only if it adds an option.

    A dual number goes through the loops once for each element.
    """
    seen = set()
    for call in sorted(calls, key=lambda call: np.size(call[argument])):
        options = {
            (name, at, one)
            for name, value in call.items()
            if isinstance(value, tuple) and not name.endswith("_shape")
            for at, one in enumerate(value)
        } | {(name, str(v)) for name, v in call.items() if v is None or isinstance(v, int | float)}
        size = np.size(call[argument])
        if size <= small or (size <= LARGE and options - seen):
            yield call
            seen |= options


@pytest.mark.slow
@pytest.mark.parametrize("formula", [f for f in GRADIENTS if f not in ELEMENTARY], **NAMED)
def test_gradients_are_the_dual_numbers_of_the_forward_loops(formula):
    forward, argument = GRADIENTS[formula]
    elements = 0
    count, small = (60, SMALL) if axes_of(formula).rank < 3 else (15, LARGE)
    for drawn in small_or_new(CALLS[formula](count, seed=21), argument, small):
        c = fractions(drawn)
        want, got = dual.gradient(forward, c, argument), evaluate(formula, c)
        assert got.shape == want.shape
        assert (got == want).all()
        elements += np.count_nonzero(want)
    assert elements > 20  # a gradient by the bias has few in each call


@pytest.mark.parametrize("formula", ELEMENTARY, **NAMED)
def test_gradients_of_elementary_functions_are_the_dual_numbers_in_high_precision(formula):
    forward, argument = GRADIENTS[formula]
    elements = 0
    for i, drawn in enumerate(CALLS[formula](60, seed=22)):
        c = with_floats(drawn, i, np.float64, spread=3)
        if formula is oracle.cross_entropy_grad:
            c["grad_output"] = np.ones(())
        c = {n: precise(a) if is_data(a) else a for n, a in c.items()}
        want, got = dual.gradient(forward, c, argument), evaluate(formula, c)
        assert got.shape == want.shape
        largest = max((abs(v) for v in c["grad_output"].flat), default=0)
        for v, w in zip(got.flat, want.flat, strict=True):
            # what cancels in 1 - y or dp - sum dp p is not in reach of a relative bound
            assert abs(v - w) <= 1e-28 * abs(w) + 1e-32 * largest
            elements += bool(w)
    assert elements > 100


def exact_slope(forward, c, argument, at, step):
    moved = c[argument].copy()
    moved[at] += step
    rise = evaluate(forward, {**c, argument: moved}) - evaluate(forward, c)
    return np.sum(c["grad_output"] * rise) / step


@pytest.mark.slow
@pytest.mark.parametrize("formula", [f for f in GRADIENTS if f not in ELEMENTARY], **NAMED)
def test_gradients_are_exact_differences_of_the_forward_loops(formula):
    """Without dual numbers: away from ties and kinks everything is affine in a small step."""
    forward, argument = GRADIENTS[formula]
    for i, drawn in enumerate(CALLS[formula](25, seed=23)):
        c = fractions(with_floats(drawn, i, np.float64))
        c = OPERATOR[formula].complete(c, 0)
        gradient = evaluate(formula, c)
        for at in list(np.ndindex(c[argument].shape))[:8]:
            assert gradient[at] == exact_slope(forward, c, argument, at, Fraction(1, 2**60))


# -- PyTorch --------------------------------------------------------------------------------------


def ask_torch(torch, formula, c):
    tensors = {n: torch.tensor(v) if isinstance(v, np.ndarray) else v for n, v in c.items()}
    operator = OPERATOR[formula]
    argument = operator.argument_of(formula)
    if argument:
        tensors[argument].requires_grad_()
    results = ask(operator.witness(torch), operator.formula, tensors)
    place = output_of(formula if argument is None else operator.formula).place
    y = results if place is None else results[place]
    if argument is None:
        return y.numpy()
    return torch.autograd.grad(y, tensors[argument], tensors["grad_output"])[0].numpy()


UNSHUFFLING = (*PIXEL_UNSHUFFLE.formulas, *PIXEL_SHUFFLE.gradients)


def pytorch_declines(formula, c):
    """Return whether PyTorch has no such call.

    Its pooling of three axes takes no window larger than the image.  Its pixel_unshuffle, by which
    the gradient of pixel_shuffle is computed, leaves no images as they are.
    """
    if formula in UNSHUFFLING:
        return not len(c["x"])
    if not formula.__name__.startswith("avg_pool3d"):
        return False
    sides = zip(c["input_shape"][2:], c["kernel_size"], strict=True)
    return any(size < kernel for size, kernel in sides)


@pytest.mark.slow
@pytest.mark.parametrize("numbers", ["integers", "floats"])
@pytest.mark.parametrize("formula", CALLS, **NAMED)
def test_oracle_equals_pytorch_in_float64(formula, numbers, torch):
    kind, elements = algebra(formula), 0
    whole = numbers == "integers" and isinstance(kind, Multilinear) and not kind.over
    for i, drawn in enumerate(CALLS[formula](100, seed=24, dtype=np.float64)):
        c = drawn if numbers == "integers" else with_floats(drawn, i, np.float64, spread=2)
        if "grad_output" in c and c["grad_output"].shape == ():
            c["grad_output"] = np.ones(())
        if pytorch_declines(formula, c):
            continue
        c = OPERATOR[formula].complete(c, 0)
        got, want = evaluate(formula, c), ask_torch(torch, formula, c)
        assert got.shape == want.shape == answer_shape(formula, c)
        assert got.dtype == want.dtype == answer_dtype(formula, c)
        if whole or isinstance(kind, Selection):
            assert (got == want).all()
        for answer in (got, want):
            assert (truth(formula, c).error_over_bound(answer, "float64") <= 1).all()
        elements += got.size
    assert elements >= 100


# -- the numbers that formulas are run in ---------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64, object])
@pytest.mark.parametrize("formula", CALLS, **NAMED)
def test_dtype_follows_the_input_but_indices_are_int64(formula, dtype):
    for c in CALLS[formula](6, seed=25, dtype=dtype):
        want = np.int64 if is_place(formula) else dtype
        assert evaluate(formula, c).dtype == want


@pytest.mark.parametrize(
    "formula", [f for f in CALLS if isinstance(algebra(f), Multilinear | Selection)], **NAMED
)
def test_fractions_and_floats_agree_where_nothing_rounds(formula):
    kind = algebra(formula)
    for c in CALLS[formula](25, seed=26, dtype=np.float64):
        exact = evaluate(formula, fractions(c))
        if isinstance(kind, Multilinear) and kind.over:  # so that every quotient is a whole number
            multiple = kind.over(c).multiple
            c = {n: a * multiple if is_data(a) else a for n, a in c.items()}  # noqa: PLW2901
            exact = exact * multiple
        assert (evaluate(formula, c) == exact).all()


@pytest.mark.parametrize("formula", CALLS, **NAMED)
def test_arguments_are_left_as_they_were(formula):
    for c in CALLS[formula](10, seed=27, dtype=np.float32):
        before = {n: a.copy() for n, a in c.items() if isinstance(a, np.ndarray)}
        got = evaluate(formula, c)
        for name, array in before.items():
            assert array.tobytes() == c[name].tobytes()
            assert not np.shares_memory(got, c[name])


@pytest.mark.parametrize("formula", CALLS, **NAMED)
def test_layout_in_memory_changes_nothing(formula):
    for i, drawn in enumerate(CALLS[formula](10, seed=28)):
        c = with_floats(drawn, i, np.float64)
        other = {n: np.asfortranarray(a) if is_data(a) else a for n, a in c.items()}
        assert (
            evaluate(formula, c).tobytes()
            == np.ascontiguousarray(evaluate(formula, other)).tobytes()
        )


COMPILABLE = [
    f for f in CALLS
    if isinstance(algebra(f), Multilinear) or any(map(is_place, OPERATOR[f].also))
    or OPERATOR[f] in (*MOVED_PIXELS, *PADS, *NEAREST_INTERPOLATIONS, *MAX_UNPOOLS)
]  # fmt: skip


MIXED = [
    *(f for of in AVERAGE_POOLINGS.values() for f in of),
    *(f for o in (*ADAPTIVE_AVG_POOLS, *LINEAR_INTERPOLATIONS) for f in o.formulas),
    oracle.batch_mean, oracle.sgd_step,
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("formula", COMPILABLE, **NAMED)
def test_compiled_loops_give_the_interpreted_bits(formula, dtype, monkeypatch):
    seen = []
    compiled = compiled_loops.compiled

    def spy(source):
        seen.append(compiled(source))
        return seen[-1]

    monkeypatch.setattr(compiled_loops, "compiled", spy)
    for i, drawn in enumerate(CALLS[formula](25, seed=29)):
        data = with_floats(drawn, i, dtype)
        if any(map(is_place, OPERATOR[formula].also)) and "x" in argument_names(formula)[0]:
            data["x"].flat[::5] = (np.nan, np.inf, -np.inf, 0)[i % 4]
        monkeypatch.setattr(compiled_loops, "pays_to_compile", lambda *_: False)
        slow = evaluate(formula, data)
        monkeypatch.setattr(compiled_loops, "pays_to_compile", lambda *_: True)
        fast = evaluate(formula, data)
        assert slow.tobytes() == fast.tobytes()
    if formula in MIXED and dtype is np.float32:
        assert not seen  # Numba would widen what NumPy does not
    else:
        assert len(seen) >= 15  # a call without products, of an empty batch, is not
    assert all(loop.signatures for loop in seen)


ELEMENTWISE = [f for f in CALLS if f not in COMPILABLE]


@pytest.mark.parametrize("formula", ELEMENTWISE, **NAMED)
def test_elementary_functions_are_never_compiled(formula, monkeypatch):
    monkeypatch.setattr(compiled_loops, "pays_to_compile", lambda *_: True)
    monkeypatch.setattr(compiled_loops, "compiled", lambda _: pytest.fail("was compiled"))
    found = [evaluate(formula, c) for c in CALLS[formula](5, seed=30, dtype=np.float32)]
    assert any(np.size(answer) for answer in found)


# -- what is declared -----------------------------------------------------------------------------


@pytest.mark.parametrize("formula", CALLS, **NAMED)
def test_a_batch_is_its_images_where_that_is_declared(formula):
    declared = algebra(formula).images
    if declared == "mixed":
        return
    judged = 0
    for drawn in CALLS[formula](60, seed=31):
        c = fractions(drawn)
        first = next(c[n] for n in ("grad_output", "x", "z") if n in c)
        if first.ndim == 0 or len(first) < 2:
            continue
        alone = (axes_of(formula).images(c, slice(n, n + 1)) for n in range(len(first)))
        parts = [evaluate(formula, one) for one in alone]
        whole = evaluate(formula, c)
        joined = np.concatenate(parts) if declared == "kept" else sum(parts)
        assert (whole == joined).all()
        judged += 1
    assert judged >= 5


# The documents have no products of two arrays: these are PyTorch's.


@pytest.mark.parametrize("formula", CALLS, **NAMED)
def test_docstrings_display_an_equation_and_its_source(formula):
    equation, source = displayed(formula)
    assert any(word in equation for word in (" = ", "<-"))
    # One of the documents, or PyTorch's name of what they do not have.
    assert re.match(r"00[0-3]\b", source) or re.search(r"\btorch\.(nn\.)?[a-zA-Z]", source)
