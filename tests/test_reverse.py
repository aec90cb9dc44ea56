"""The reverse sweep: gradients equal dual numbers and differences, and their bounds hold."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from gradoracle import oracle
from gradoracle.oracle.derive import derived, derived_pointwise
from gradoracle.oracle.expected.truth import truth
from gradoracle.oracle.numbers import dual, elementary, high_precision
from gradoracle.oracle.numbers.reverse import (
    TracedArray,
    Undecided,
    gradient,
    maximum,
    minimum,
    where,
)
from gradoracle.oracle.numbers.running_error import Arithmetic, Estimate
from gradoracle.oracle.numbers.running_error_arrays import Lanes

SINGLE = Arithmetic(2.0**-24, 2.0**-126)


def formulas(axes, body, by, **more):
    """Return the forward formula of a body, and its gradients by argument."""
    body.__doc__ = "Return y.\n\n        y = f(x)\n\n    (a test)."
    made = derived(axes, by, **more)(body)
    return made.forward, {argument: g for g, argument in made.gradients.items()}


def fractions(random, *shape):
    return np.vectorize(lambda n: Fraction(int(n), 8), otypes=[object])(
        random.integers(-40, 40, shape)
    )


def precisely(array):
    context = high_precision.context()
    return np.vectorize(lambda v: context.mpf(float(v)), otypes=[object])(array)


# -- equal to dual numbers -------------------------------------------------------------------------

RATIONAL = {
    "several uses of one operand": lambda x, w: x * x * w + x / (w * w + 3) - x,
    "broadcasting": lambda x, w: x * w[0] + w[:, 0].reshape((-1, 1)),
    "repeats": lambda x, w: x[[0, 0, 2]] * w[[1, 0, 1]],
    "a slice": lambda x, w: x[1:, ::2] * w[:-1, 1:],
    "a product of matrices": lambda x, w: x @ w.T + w @ x.transpose(1, 0),
    "sums": lambda x, w: x.sum(0, keepdims=True) * w + (x * w).sum() - w.mean(1, keepdims=True),
    "a constant on the left": lambda x, w: 2 - x + 1 / (w * w + 1) - (3 - w) / 2,
    "where": lambda x, w: where(x > w, x * x, w * x),
    "larger and smaller": lambda x, w: maximum(x, w) * minimum(w, 2 * x) + maximum(x, 1),
    "the size": lambda x, w: abs(x - w) * w,
    "the largest": lambda x, w: x.max(1, keepdims=True) * w - (x * w).min(0),
    "two conditions": lambda x, w: where((x > 0) & ~(w > 1) | (x > 3), x * w, x + w),
    "either": lambda x, w: elementary.either(x * (w + 1), lambda: x * w + x),
}  # fmt: skip


def by_dual_numbers(body, arrays, argument, grad_output):
    """Return the gradient by one argument, from the body run on dual numbers, one at a time."""
    found = np.zeros(arrays[argument].shape, object)
    for at in np.ndindex(found.shape):
        lifted = {n: a.copy() for n, a in arrays.items()}
        lifted[argument][at] = dual.Dual(lifted[argument][at], 1)
        y = np.asarray(body(**lifted), object)
        slopes = [getattr(v, "slope", 0) for v in y.ravel()]
        found[at] = sum((g * d for g, d in zip(grad_output.ravel(), slopes, strict=True)))
    return found


@pytest.mark.parametrize("what", RATIONAL)
def test_gradients_are_those_of_dual_numbers(what, monkeypatch):
    body, random = RATIONAL[what], np.random.default_rng(1)
    forward, gradients = formulas("x: n c; w: n c", body, ("x", "w"))
    arrays = {"x": fractions(random, 3, 3), "w": fractions(random, 3, 3)}
    y = forward(**arrays)
    dy = fractions(random, *y.shape) if y.shape else np.asarray(Fraction(3, 7), object)
    for name, replaced in (("where", np.where), ("maximum", np.maximum), ("minimum", np.minimum)):
        monkeypatch.setitem(globals(), name, replaced)
    for argument, formula in gradients.items():
        assert (formula(dy, **arrays) == by_dual_numbers(body, arrays, argument, dy)).all()


SMOOTH = {
    "functions": lambda x: np.exp(x) * np.tanh(x) + np.log(1 + x * x) + np.sqrt(x * x + 1),
    "more functions": lambda x: elementary.sigmoid(x) * elementary.erf(x) - np.sin(x) * np.cos(x),
    "one less": lambda x: np.expm1(x) * np.log1p(x * x) / elementary.rsqrt(x * x + 2),
    "a softmax": lambda x: np.exp(x) / np.exp(x).sum(1, keepdims=True),
    "through a constant": lambda x: x * elementary.exp(elementary.pi(x.held) - x),
}


@pytest.mark.parametrize("what", SMOOTH)
def test_gradients_are_central_differences_in_high_precision(what):
    body, random = SMOOTH[what], np.random.default_rng(2)
    forward, gradients = formulas("x: n c", body, ("x",))
    x, dy = (precisely(random.standard_normal((2, 3))) for _ in range(2))
    context, step = high_precision.context(), precisely(np.asarray(2.0**-38)).item()
    got = gradients["x"](dy, x)
    for at in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[at], down[at] = x[at] + step, x[at] - step
        want = ((forward(up) - forward(down)) * dy).sum() / (2 * step)
        assert abs(got[at] - want) < context.mpf(2) ** -65  # the step, squared, and some


def test_a_power_is_repeated_multiplication():
    _, gradients = formulas("x: n", lambda x: x**3 - 2 * x**1, ("x",))
    x = fractions(np.random.default_rng(7), 4)
    ones = np.full(4, Fraction(1), object)
    assert (gradients["x"](ones, x) == 3 * x * x - 2).all()


def test_a_gradient_that_nothing_depends_on_is_zero():
    _, gradients = formulas("x: n c; w: n c", lambda x, w: x * x, ("x", "w"))
    ones = np.ones((2, 3))
    assert not gradients["w"](ones, ones, ones).any()
    assert (gradients["x"](ones, 3 * ones, ones) == 6).all()


def test_no_gradient_goes_through_what_is_detached():
    _, gradients = formulas("x: n", lambda x: x * elementary.detached(x), ("x",))
    assert (gradients["x"](np.ones(2), np.array([3.0, 5.0])) == [3, 5]).all()


# -- whole arrays and loops ------------------------------------------------------------------------


def whole(x, weight=None, *, eps):
    root = elementary.sqrt((x * x).mean(1, keepdims=True) + eps)
    return x / root if weight is None else x / root * weight


def loops(x, weight=None, *, eps):
    rows, columns = x.shape
    y = [[0] * columns for _ in range(rows)]
    for n, c in product(range(rows), range(columns)):
        squares = elementary.total([x[n, k] * x[n, k] for k in range(columns)])
        y[n][c] = x[n, c] / elementary.sqrt(squares / columns + eps)
        if weight is not None:
            y[n][c] = y[n][c] * weight[c]
    return y


def test_loops_and_whole_arrays_of_a_formula_are_the_same():
    random, axes = np.random.default_rng(3), "x: n c; weight?: c"
    arrays = (random.standard_normal((3, 4)), random.standard_normal(4))
    dy = random.standard_normal((3, 4))
    results = []
    for body in (whole, loops):
        forward, gradients = formulas(axes, body, ("x", "weight"))
        results.append(
            [forward(*arrays, eps=0.5), forward(arrays[0], None, eps=0.5)]
            + [gradients[n](dy, *arrays, eps=0.5) for n in ("x", "weight")]
        )
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-13, atol=1e-15)


def test_bounds_of_loops_and_of_whole_arrays_tell_right_from_wrong():
    random, axes = np.random.default_rng(4), "x: n c; weight?: c"
    x, w, dy = (random.standard_normal(s).astype("f4") for s in ((2, 5), 5, (2, 5)))
    call = {"grad_output": dy, "x": x, "weight": w, "eps": 0.5}
    right = oracle.rms_norm_grad_x(dy[:, None], x[:, None], w, eps=0.5)[:, 0].astype("f4")
    for body in (whole, loops):
        _, gradients = formulas(axes, body, ("x", "weight"))
        expected = truth(gradients["x"], call)
        assert expected.error_over_bound(right, "float32").max() <= 1
        rounded = right.astype(np.float16).astype("f4")
        assert expected.error_over_bound(rounded, "float32").max() > 10


# -- what rounding may decide either way -----------------------------------------------------------


def lanes(values, errors):
    return TracedArray(Lanes(np.asarray(values, float), np.asarray(errors, float), SINGLE))


def test_a_condition_is_unsure_where_the_errors_reach_the_limit():
    condition = lanes([1.0, 2.0, 3.0, 2.0], [0.0, 0.5, 0.5, 0.0]) > 2
    assert condition.holds.tolist() == [False, False, True, False]
    assert condition.unsure.tolist() == [False, True, False, False]


def test_an_unsure_condition_widens_values_and_gradients():
    x = lanes([1.0, 2.0, 3.0], [0.0, 0.5, 0.5])
    y = where(x > 2, 10 * x, x)
    assert y.held.error[0] < 1e-5
    assert y.held.error[1] >= 18
    assert 5 <= y.held.error[2] < 5.1
    received = Lanes(np.ones(3), np.zeros(3), SINGLE)
    found = gradient(y, received, x)
    slopes, errors = found.value, found.error
    assert slopes.tolist() == [1, 1, 10]
    for other in (1.0, 10.0):  # whichever side is taken
        assert abs(other - slopes[1]) <= errors[1]
    assert errors[0] < 1e-5 > errors[2]


def test_rivals_for_the_largest_may_all_receive_the_gradient():
    x = lanes([[3.0, 2.9, 1.0]], [[0.1, 0.1, 0.1]])
    found = gradient(x.max(1), Lanes(np.ones(1), np.zeros(1), SINGLE), x)
    assert found.value.tolist() == [[1, 0, 0]]
    assert (found.error[0, :2] >= 1).all()
    assert found.error[0, 2] == 0


def test_there_may_be_no_rows_of_which_to_take_the_largest():
    _, gradients = formulas("x: n c", lambda x: x.max(1), ("x",))
    assert gradients["x"](np.ones(0), np.ones((0, 3))).shape == (0, 3)


def test_the_size_of_what_may_be_0_has_either_slope():
    x = lanes([0.1, 1.0], [0.2, 0.2])
    found = gradient(abs(x), Lanes(np.ones(2), np.zeros(2), SINGLE), x)
    assert found.value.tolist() == [1, 1]
    assert found.error[0] >= 2 > 0 == found.error[1]


def test_either_takes_the_less_certain_way():
    x = lanes([1.0], [0.0])
    first, other = x * 1.5, x * 1.5 + 100 - 100
    y = elementary.either(first, lambda: other)
    assert y.held.error == max(first.held.error, other.held.error) > first.held.error


def test_regrouped_counts_the_errors_of_its_operands_once():
    """(a - b) f and a f - b f: what f is off by counts times a - b, what is rounded times a."""
    a, b, f = lanes([1000.0], [0.0]), lanes([999.0], [0.0]), lanes([3.0], [0.01])
    y = elementary.regrouped((a - b) * f, lambda a, b, f: a * f - b * f, a, b, f)
    assert 0.01 <= y.held.error < 0.012
    assert y.held.error > 0.01 + 6000 * 2.0**-24
    alone = elementary.either((a - b) * f, lambda: a * f - b * f)
    assert alone.held.error > 19


def test_another_way_is_walked_only_where_its_errors_count():
    """Plain numbers need none; of several, the first may be a constant without errors."""
    walked = []

    def other():
        walked.append(1)
        return x * 3.0 + 100 - 100

    ours = Arithmetic(2.0**-24, 2.0**-126, one_way=True)
    estimates = np.array([0, Estimate(2.0, 0.0, SINGLE)], object)
    for held, ways in (
        (np.ones(2), 0), (precisely(np.ones(2)), 0), (Lanes(np.ones(2), np.zeros(2), ours), 0),
        (Lanes(np.ones(2), np.zeros(2), SINGLE), 1), (estimates, 1),
    ):  # fmt: skip
        walked.clear()
        x = TracedArray(held)
        elementary.either(x * 3.0, other)
        assert len(walked) == ways


def test_the_truth_of_the_same_numbers_is_found_once_and_is_nobody_else_s():
    call = {"z": np.float32([[0.5, 1.0, -2.0]]), "axis": 1}
    first = truth(oracle.softmax, call)
    assert truth(oracle.softmax, {"z": call["z"].copy(), "axis": 1}) is first
    assert truth(oracle.softmax, {"z": call["z"].astype(np.float64), "axis": 1}) is not first
    call["z"][:] = 0  # before anything is computed
    assert first.as_float(np.dtype(np.float64)).round(3).tolist() == [[0.366, 0.604, 0.03]]
    assert truth(oracle.softmax, call) is not first


def test_what_overflows_and_is_alone_in_its_place_has_no_bound():
    huge = np.float32([3.2e28])
    call = {
        "grad_output": huge, "input": np.zeros((1, 3), np.float32), "target": np.array([0]),
        "weight": np.float32([1.2e23, 1, 1]), "ignore_index": -100, "reduction": "none",
    }  # fmt: skip
    right = truth(oracle.nll_loss_grad, call)
    assert right.bound("float32", "float32").tolist()[0][0] == np.inf
    with np.errstate(over="ignore"):
        got = oracle.nll_loss_grad(**call)
    assert (right.error_over_bound(got, "float32") <= 1).all()


# -- bounds are bounds -----------------------------------------------------------------------------


def shuffled_sums(random, array, axis):
    """Return sums in float32, one after another in a random order, or pairwise."""
    moved = np.moveaxis(array, axis, -1)
    moved = moved[..., random.permutation(moved.shape[-1])]
    total = moved.sum(-1) if random.integers(2) else moved.cumsum(-1, dtype=array.dtype)[..., -1]
    return np.expand_dims(total, axis)


def numbers(random, shape, style):
    z = random.standard_normal(shape)
    if style == "large mean":
        z = z + 2.0 ** random.integers(4, 20)
    if style == "wide range":
        z = z * 2.0 ** random.integers(-12, 13, shape)
    if style == "equal":
        z = np.full(shape, random.integers(-3, 4))
    return z.astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("style", ["normal", "large mean", "wide range", "equal"])
def test_errors_of_float32_in_any_order_are_below_the_bounds_of_layer_norm(style):
    random, worst = np.random.default_rng(5), 0.0
    for _ in range(120):
        rows, count = random.integers(1, 5), int(random.integers(1, 40))
        x = numbers(random, (rows, 1, count), style)
        w, b, dy = (numbers(random, s, "normal") for s in (count, count, x.shape))
        of, eps = np.float32(count), np.float32(1e-5)
        mean = shuffled_sums(random, x, 2) / of
        root = np.sqrt(shuffled_sums(random, np.square(x - mean), 2) / of + eps)
        g, xhat = dy * w, (x - mean) / root
        back = g - shuffled_sums(random, g, 2) / of
        back = (back - xhat * (shuffled_sums(random, g * xhat, 2) / of)) / root
        factor = w / root
        answers = {
            oracle.layer_norm: (xhat * w + b, (x * factor + (b - mean * factor))),
            oracle.layer_norm_grad_x: (back,),
            oracle.layer_norm_grad_weight: (shuffled_sums(random, dy * xhat, 0)[0, 0],),
        }
        call = {"x": x, "weight": w, "bias": b, "eps": float(eps), "grad_output": dy}
        for formula, several in answers.items():
            expected = truth(formula, call)
            for got in several:
                worst = max(worst, float(expected.error_over_bound(got, "float32").max()))
    assert 1e-4 < worst <= 1


@pytest.mark.slow
def test_errors_of_float32_are_below_the_bounds_of_a_log_softmax():
    random, worst = np.random.default_rng(6), 0.0
    for _ in range(150):
        z = numbers(random, (2, int(random.integers(1, 30))), random.choice(["normal", "equal"]))
        z, dy = z * 2.0 ** random.integers(0, 6), numbers(random, z.shape, "normal")
        powers = np.exp(z - z.max(1, keepdims=True))
        total = shuffled_sums(random, powers, 1)
        y = z - z.max(1, keepdims=True) - np.log(total)
        dz = dy - powers / total * shuffled_sums(random, dy, 1)
        call = {"z": z, "axis": 1, "grad_output": dy}
        for formula, got in ((oracle.log_softmax, y), (oracle.log_softmax_grad, dz)):
            worst = max(worst, float(truth(formula, call).error_over_bound(got, "float32").max()))
    assert 1e-3 < worst <= 1


def test_the_slope_of_a_cross_entropy_may_be_that_of_a_log_softmax_that_was_kept():
    random, worst = np.random.default_rng(6), 0.0
    for _ in range(100):
        x = np.float32(random.integers(-80, 1, (1, 4)))
        x[0, -2:] = 0
        y = x - np.log(np.exp(x).sum(1, keepdims=True))
        dx = np.exp(y.astype(np.float64)).astype(np.float32)
        dx[0, 0] -= 1
        call = {"input": x, "target": np.zeros(1, np.int64), "weight": None, "reduction": "sum"}
        call |= {"grad_output": np.ones((), np.float32), "label_smoothing": 0.0}
        found = truth(oracle.cross_entropy_loss_grad, {**call, "ignore_index": -100})
        worst = max(worst, float(found.error_over_bound(dx, "float32").max()))
    assert 0.3 < worst <= 1


def test_the_slope_of_a_cross_entropy_at_a_logit_of_0_is_that_beside_it():
    for target in (0.0, 0.25, 1.0):
        call = {"input": np.zeros((1, 1)), "target": np.full((1, 1), target), "pos_weight": None}
        got = oracle.binary_cross_entropy_with_logits_grad(np.ones(()), **call, reduction="mean")
        assert got.item() == 0.5 - target


def test_a_weighted_cross_entropys_slope_may_be_computed_as_pytorch_does():
    random, worst = np.random.default_rng(0), 0.0
    one = np.float32(1)
    for _ in range(200):
        weight = np.float32(random.random((1, 1)) ** 4)
        target = np.float32(random.choice([0, 0.5, 1], (1, 3)))
        x = np.float32(4 * random.standard_normal((1, 3)))
        s = np.float32(1 / (1 + np.exp(-x.astype(np.float64))))
        dx = (weight * target + one - target) * s - weight * target
        call = {"grad_output": np.ones_like(x), "input": x, "target": target}
        call |= {"pos_weight": weight[0].repeat(3), "reduction": "none"}
        found = truth(oracle.binary_cross_entropy_with_logits_grad, call)
        worst = max(worst, float(found.error_over_bound(dx, "float32").max()))
    assert 0.3 < worst <= 1


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_a_cross_entropys_slope_may_be_computed_before_it_is_multiplied_by_dy(reduction):
    random, worst = np.random.default_rng(5), 0.0
    for _ in range(400):
        x = 4 * random.standard_normal((3, 1, 4)).astype(np.float32).astype(np.float64)
        target, dy = random.integers(0, 4, 1), random.random(1 if reduction == "none" else ())
        call = {"input": x[0], "target": target, "weight": None, "ignore_index": -100}
        call |= {"reduction": reduction, "label_smoothing": 0.0, "grad_output": dy}
        powers = np.exp(x[0] - x[0].max())
        slope = powers / powers.sum()
        slope[0, target[0]] -= 1
        found = truth(oracle.cross_entropy_loss_grad, call)
        worst = max(worst, float(found.error_over_bound(dy * slope, "float64").max()))
    assert 0.1 < worst <= 1


# -- errors ----------------------------------------------------------------------------------------


def _changed(x):
    x[0] = 1
    return x


REFUSED = {
    "a function of NumPy's that is not known": (lambda x: np.spacing(x) * 2, "numpy.spacing of"),
    "another of whole arrays": (lambda x: np.median(x) * 2, "numpy.median of.*loops"),
    "a ufunc's method": (lambda x: np.add.reduceat(x, [0]), "numpy.add.reduceat of.*accumulate"),
    "a power that is no number": (lambda x: x ** "2", "must be a number.*got str"),
    "None": (lambda x: None, "returned None"),
    "a tuple": (lambda x: (x, x), "returned a tuple: return one array, or name several with outp"),
    "a change of an array": (_changed, "does not change: take numpy.where"),
    "einsum of too many": (lambda x: np.einsum("a,b", x, x, x), "'a,b' is for 2 arrays, got 3"),
    "einsum of two axes": (lambda x: np.einsum("ab->a", x), "'ab' is not for an array of 1 axes"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_differentiated_is_refused_by_name(what):
    body, message = REFUSED[what]
    forward, _ = formulas("x: n", body, ("x",))
    with pytest.raises(TypeError, match=message):
        forward(np.ones(3))


def test_an_if_on_a_number_that_rounding_may_decide_is_refused():
    computed = lanes([2.0], [0.5])
    with pytest.raises(Undecided, match="where"):
        assert computed > 2
    assert lanes([3.0], [0.5]) > 2


def test_the_order_of_numbers_that_rounding_may_change_is_not_asked_for():
    assert np.argsort(lanes([2.0, 1.0], [0.0, 0.0])).tolist() == [1, 0]
    for function in (np.argsort, np.argmax, np.sort):
        with pytest.raises(Undecided, match="of computed numbers"):
            function(lanes([2.0, 1.0], [0.5, 0.0]))


def test_no_gradient_is_by_what_is_not_given():
    _, gradients = formulas("x: n c; weight?: c", whole, ("x", "weight"))
    with pytest.raises(ValueError, match="no gradient by weight, which is None"):
        gradients["weight"](np.ones((2, 3)), np.ones((2, 3)), None, eps=1.0)


def test_shapes_that_do_not_fit_the_axes_are_refused_with_the_letter():
    forward, gradients = formulas("x: n c; weight?: c", whole, ("x", "weight"))
    with pytest.raises(ValueError, match=r"weight must be 3 long along c, got shape \[2\]"):
        forward(np.ones((2, 3)), np.ones(2), eps=1.0)
    with pytest.raises(ValueError, match=r"x must have 2 axes, \[n, c\], got shape \[3\]"):
        forward(np.ones(3), None, eps=1.0)
    with pytest.raises(ValueError, match=r"x must be an array, got None"):
        forward(None, None, eps=1.0)
    with pytest.raises(ValueError, match=r"x is empty along c"):
        forward(np.ones((2, 0)), None, eps=1.0)
    with pytest.raises(ValueError, match="grad_output"):
        gradients["x"](np.ones((2, 2)), np.ones((2, 3)), None, eps=1.0)


def test_a_pointwise_gradient_checks_the_shape_of_dy():
    def cube(z):
        """Return y.

            y = z^3

        (a test).
        """
        return z * z * z

    made = derived_pointwise(cube)
    (slope,) = made.gradients
    assert slope(np.full(40, 2.0), np.full(40, 3.0)).tolist() == [54.0] * 40
    assert slope(np.full(3, 2.0), np.full(3, 3.0)).tolist() == [54.0] * 3
    with pytest.raises(ValueError, match="grad_output"):
        slope(np.ones(2), np.ones(3))


def test_a_gradient_takes_dy_of_no_axes_as_numpy_gives_it():
    arrays = (np.ones((2, 3)), np.zeros((2, 3)))
    got = oracle.mse_loss_grad_input(np.float64(3.0), *arrays, reduction="sum")
    assert (got == 6).all()


def test_loops_over_no_images_have_the_shape_of_the_result():
    forward, gradients = formulas("x: n c; grad_output: n c", lambda x: [[*row] for row in x], "x")
    nothing = np.ones((0, 3))
    assert forward(nothing).shape == gradients["x"](nothing, nothing).shape == (0, 3)
    zeros = formulas("x: n c", lambda x: np.zeros(x.shape), "x")
    assert not zeros[0](np.ones((2, 3))).any()
    assert zeros[1]["x"](np.ones((2, 3)), np.ones((2, 3))).tolist() == [[0] * 3] * 2
