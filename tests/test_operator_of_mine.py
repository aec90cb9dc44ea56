"""Operators of one's own from a forward formula alone: declared, certified, and found wrong."""

import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from textwrap import dedent
from types import SimpleNamespace

import numpy as np
import pytest

import gradoracle
from gradoracle.conformance.backends import backend as backends
from gradoracle.conformance.backends import registry
from gradoracle.conformance.backends.registry import wrap
from gradoracle.conformance.checking.check_run import examine
from gradoracle.conformance.operators.outside import UnusableOperators, from_outside
from gradoracle.conformance.properties import PROPERTIES
from gradoracle.oracle.declaration import evaluate, output_of
from gradoracle.oracle.expected.truth import truth
from gradoracle.oracle.numbers.elementary import exp, log1p, sin, sqrt
from tests.torchless import without_torch

pytestmark = pytest.mark.slow

EXAMPLES = 12
CHECKS = (
    "within_rounding_bound", "gradient_is_the_slope", "finite_differences", "batch_independent",
    "propagates_non_finite", "leaves_inputs_unchanged", "returns_what_the_protocol_says",
    "ignores_memory_layout", "rejects_bad_arguments", "is_stateless",
)  # fmt: skip


# -- of whole arrays, with an optional one, options, and gradients that are given less -------------


@gradoracle.operator(
    "x: n t c; centre: c; scale?: c; grad_output: n t",
    by={"x": ("x", "centre", "scale", "eps"), "centre": ("x", "centre", "scale", "eps")},
    options={"eps": (1e-3, 0.5)}, images="kept", words={"n": "images"},
)  # fmt: skip
def distance(x, centre, scale=None, *, eps):
    """Return y [N, T], how far the rows of x [N, T, C] are from centre [C].

        y[n,t] = sqrt(sum_c scale[c] (x[n,t,c] - centre[c])^2 + eps)

    (a test's own formula).
    """
    apart = (x - centre) * (x - centre)
    if scale is not None:
        apart = apart * (scale * scale)
    return np.sqrt(apart.sum(2) + eps)


def _apart(x, centre, scale):
    square = 1 if scale is None else scale * scale
    return x - centre, square


def distance_right(x, centre, scale=None, *, eps):
    apart, square = _apart(x, centre, scale)
    return np.sqrt((apart * apart * square).sum(2) + x.dtype.type(eps))


def distance_grad_x_right(grad_output, x, centre, scale=None, *, eps):
    apart, square = _apart(x, centre, scale)
    y = distance_right(x, centre, scale, eps=eps)
    return (grad_output / y)[..., None] * (apart * square)


def distance_grad_centre_right(grad_output, x, centre, scale=None, *, eps):
    return -distance_grad_x_right(grad_output, x, centre, scale, eps=eps).sum((0, 1))


DISTANCE = {
    "distance": distance_right,
    "distance_grad_x": distance_grad_x_right,
    "distance_grad_centre": distance_grad_centre_right,
}

# -- by loops --------------------------------------------------------------------------------------


@gradoracle.operator("x: n c; weight: c; grad_output: n c", options={"eps": (0.25, 1.0)})
def running(x, weight, *, eps):
    """Return y [N, C]: every number over the root of the squares up to it, weighed.

        y[n,c] = weight[c] x[n,c] / sqrt(sum_{k <= c} x[n,k]^2 + eps)

    (a test's own formula).
    """
    rows, columns = x.shape
    y = [[0] * columns for _ in range(rows)]
    for n in range(rows):
        squares = 0 * x[n, 0]
        for c in range(columns):
            squares = squares + x[n, c] * x[n, c]
            y[n][c] = weight[c] * x[n, c] / sqrt(squares + eps)
    return y


def _roots(x, eps):
    return np.sqrt(np.cumsum(x * x, 1) + x.dtype.type(eps))


def running_right(x, weight, *, eps):
    return weight * x / _roots(x, eps)


def running_grad_x_right(grad_output, x, weight, *, eps):
    root, g = _roots(x, eps), grad_output * weight
    later = np.cumsum((g * x / (root * root * root))[:, ::-1], 1)[:, ::-1]
    return g / root - x * later


def running_grad_weight_right(grad_output, x, weight, *, eps):
    return (grad_output * x / _roots(x, eps)).sum(0)


RUNNING = {
    "running": running_right,
    "running_grad_x": running_grad_x_right,
    "running_grad_weight": running_grad_weight_right,
}

# -- with an axis of one length --------------------------------------------------------------------


def hamilton(x, r):
    """Return the products [N, 4] of quaternions x and r, both [N, 4].

        y = x r

    (Hamilton 1844).
    """
    a, b, c, d = (x[:, i] for i in range(4))
    e, f, g, h = (r[:, i] for i in range(4))
    return np.stack([
        a * e - b * f - c * g - d * h, a * f + b * e + c * h - d * g,
        a * g - b * h + c * e + d * f, a * h + b * g - c * f + d * e,
    ], 1)  # fmt: skip


def conjugate(x):
    return x * np.array([1, -1, -1, -1], x.dtype)


def test_an_axis_may_have_one_length():
    mine = gradoracle.operator("x: n q; r: n q; grad_output: n q", sizes={"q": 4}, images="kept")(
        hamilton
    )

    def mismatches(back):
        backend = SimpleNamespace(
            hamilton=hamilton, hamilton_grad_r=back,
            hamilton_grad_x=lambda grad_output, x, r: hamilton(grad_output, conjugate(r)),
        )  # fmt: skip
        found = gradoracle.check(backend, operators=[mine], profile="quick", seed=1)
        assert {one.formula for one in found.outcomes if one.judged} == {
            "hamilton", "hamilton_grad_x", "hamilton_grad_r",
        }  # fmt: skip
        return {one.function for one in found.mismatches}

    assert not mismatches(lambda grad_output, x, r: hamilton(conjugate(x), grad_output))
    swapped = mismatches(lambda grad_output, x, r: hamilton(grad_output, conjugate(x)))
    assert swapped == {"hamilton_grad_r"}


@pytest.mark.parametrize(("sizes", "message"), [({"z": 3}, "'z': 3"), ({"q": 0}, "'q': 0")])
def test_a_fixed_length_is_that_of_an_axis(sizes, message):
    with pytest.raises(ValueError, match=f"{message} must be one of the letters n, q"):
        gradoracle.operator("x: n q; r: n q", sizes=sizes)(hamilton)


# -- of single numbers -----------------------------------------------------------------------------


@gradoracle.operator(options={"sharpness": (1.0, 0.5, 2.0)})
def smooth_relu(z, *, sharpness):
    """Return y, of z's shape and dtype.

        y = z where z > 0, else log(1 + e^(sharpness z)) - log 2

    (a test's own formula).
    """
    return z if z > 0 else log1p(exp(z * sharpness)) - log1p(z * 0 + 1)


def smooth_relu_right(z, *, sharpness):
    low = np.log1p(np.exp(np.minimum(z, 0) * z.dtype.type(sharpness))) - np.log1p(z.dtype.type(1))
    return np.where(z > 0, z, low)


def smooth_relu_grad_right(grad_output, z, *, sharpness):
    e = np.exp(np.minimum(z, 0) * z.dtype.type(sharpness))
    return np.where(z > 0, grad_output, grad_output * (z.dtype.type(sharpness) * e / (1 + e)))


SMOOTH_RELU = {"smooth_relu": smooth_relu_right, "smooth_relu_grad": smooth_relu_grad_right}
# Loops take milliseconds an element: thousands of them, as corners have, take minutes.
FEW_COLUMNS = replace(
    running, corners=(), geometry=partial(running.geometry, most=dict.fromkeys(
        ("small", "medium", "large"), 20), layers=(("three columns", (3,)),)),
)  # fmt: skip
ALL = {
    "distance": (distance, DISTANCE),
    "running": (FEW_COLUMNS, RUNNING),
    "smooth_relu": (smooth_relu, SMOOTH_RELU),
}  # fmt: skip


def refusing(record, formula, function):
    """Return the function, which refuses what its formula refuses."""

    def checked(*arrays, **options):
        expected = formula(*arrays, **options)
        return np.asarray(function(*arrays, **options), expected.dtype)

    return checked


def outcomes(monkeypatch, record, functions, names=CHECKS):
    given = {
        f.__name__: refusing(record, f, functions[f.__name__])
        for f in record.formulas if f.__name__ in functions
    }  # fmt: skip
    every = tuple(output_of(f).function for f in record.formulas)
    for module in (backends, registry):
        monkeypatch.setattr(module, "FUNCTIONS", every)
    backend = wrap(SimpleNamespace(**given, contract={"policies": {"bad_arguments": "raise"}}))
    return {
        (formula.__name__, name): examine(
            backend, record, formula, PROPERTIES[name], examples=EXAMPLES, seed=1
        )
        for name in names
        for formula in PROPERTIES[name].formulas(record)
        if formula.__name__ in given
    }


@pytest.mark.parametrize("name", ALL)
@pytest.mark.usefixtures("verdicts_only")
def test_a_right_backend_passes_every_check(name, monkeypatch):
    names = CHECKS[:7] if name == "running" else CHECKS  # the others make large calls
    found = outcomes(monkeypatch, *ALL[name], names)
    left = {
        key: (o.status, o.mismatch and o.mismatch.headline) for key, o in found.items()
        if o.status not in ("passed", "not run")
    }  # fmt: skip
    assert left == {}
    passed = {(f, p) for (f, p), o in found.items() if o.status == "passed"}
    for formula in ALL[name][1]:
        assert (formula, "within_rounding_bound") in passed
        assert "_grad" not in formula or (formula, "gradient_is_the_slope") in passed


WRONG = {
    "distance": lambda x, centre, scale=None, *, eps: distance_right(x, centre, None, eps=eps),
    "distance_grad_x": lambda dy, *a, eps: 2 * distance_grad_x_right(dy, *a, eps=eps),
    "distance_grad_centre": lambda dy, *a, eps: distance_grad_x_right(dy, *a, eps=eps).sum((0, 1)),
    "running": lambda x, weight, *, eps: weight * x / (_roots(x, 0) + x.dtype.type(eps)),
    "running_grad_x": lambda dy, x, weight, *, eps: dy * weight / _roots(x, eps),
    "running_grad_weight": lambda dy, x, weight, *, eps: (dy * x).sum(0),
    "smooth_relu": lambda z, *, sharpness: smooth_relu_right(z, sharpness=1.0),
    "smooth_relu_grad": lambda dy, z, *, sharpness: smooth_relu_grad_right(
        dy, z, sharpness=sharpness
    ) * np.where(z > 0, 1, dy.dtype.type(sharpness)),
}  # fmt: skip


@pytest.mark.parametrize("function", WRONG)
def test_a_wrong_function_is_reported_with_its_formula(function, monkeypatch):
    record, _ = ALL[function.partition("_grad")[0]]
    found = outcomes(monkeypatch, record, WRONG_ONE(function), names=["within_rounding_bound"])
    outcome = found[function, "within_rounding_bound"]
    assert outcome.status == "mismatch"
    formula = next(f for f in record.formulas if f.__name__ == function)
    text = " ".join(outcome.mismatch.text.split())
    assert "a test's own formula" in text
    argument = record.argument_of(formula)
    assert argument is None or f"d{argument}[k] = sum_i dy[i] (d y[i] / d {argument}[k])" in text


def WRONG_ONE(function):  # noqa: N802 - as the table
    return {function: WRONG[function]}


# -- what is declared ------------------------------------------------------------------------------


def test_names_signatures_and_docstrings_follow_from_the_formula():
    from inspect import getdoc, signature

    names = [f.__name__ for f in distance.formulas]
    assert names == ["distance", "distance_grad_x", "distance_grad_centre", "distance_vjp"]
    by_x, by_centre = distance.gradients
    assert [*signature(by_x).parameters] == ["grad_output", "x", "centre", "scale", "eps"]
    assert "dx[k] = sum_i dy[i]" in getdoc(by_x)
    assert "differentiated by reverse mode" in getdoc(by_centre)
    assert [f.__name__ for f in smooth_relu.gradients] == ["smooth_relu_grad"]


def test_there_is_no_such_function_of_torch():
    import types

    with pytest.raises(NotImplementedError, match="has no such operator"):
        distance.witness(types.SimpleNamespace(__version__="9.9"))


def body(x):
    """Return y.

        y = x

    (a test).
    """
    return x


def test_axes_that_cannot_be_read_are_refused_with_an_example():
    with pytest.raises(ValueError, match=r"'x n c' does not say axes, such as 'x: n c \(h w\)'"):
        gradoracle.operator("x n c")(body)


@pytest.mark.parametrize("axes", ["x: n c", ""])
def test_a_docstring_without_an_equation_is_refused(axes):
    def nothing(z):
        """Return y = z."""
        return z

    with pytest.raises(ValueError, match="the docstring of nothing displays no equation"):
        gradoracle.operator(axes.replace("x", "z"))(nothing)


def test_a_module_without_operators_is_refused(monkeypatch, tmp_path):
    (tmp_path / "nothing_here.py").write_text("answer = 42\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("GRADORACLE_OPERATORS_FROM", "nothing_here")
    with pytest.raises(UnusableOperators, match="there are none; decorate a formula"):
        from_outside(())


@gradoracle.operator("x: n a b; weight: a b; bias?: a b", options={"eps": (1e-5, 1e-3)})
def norm_of_two_axes(x, weight, bias=None, *, eps):
    """Return y [N, A, B].

        y = (x - mu) / sqrt(sum_ab (x - mu)^2 / (A B) + eps) weight + bias,  mu = sum_ab x / (A B)

    (a test's own formula, as torch.nn.functional.layer_norm has it).
    """
    mean = x.mean((1, 2), keepdims=True)
    variance = ((x - mean) * (x - mean)).mean((1, 2), keepdims=True)
    y = (x - mean) / np.sqrt(variance + eps) * weight
    return y if bias is None else y + bias


def mean_loss(pred, target):
    """Return the loss, a number.

        E = mean (pred - target)^2

    (mine).
    """
    apart = pred - target
    return (apart * apart).mean()


def test_a_result_may_be_one_number_and_its_gradients_are_checked():
    mine = gradoracle.operator("pred: n c; target: n c")(mean_loss)

    def gradient(sign):
        def back(grad_output, pred, target):
            return (grad_output * sign * 2 * (pred - target) / pred.size).astype(pred.dtype)

        return back

    def certificate(**of_target):
        functions = {
            "mean_loss": lambda pred, target: np.square(pred - target).mean(dtype=pred.dtype),
            "mean_loss_grad_pred": gradient(1),
            **of_target,
        }
        return gradoracle.check(SimpleNamespace(**functions), operators=[mine], seed=1, examples=25)

    right = certificate(mean_loss_grad_target=gradient(-1))
    assert right.passed, right.text()
    (wrong,) = {one.formula for one in certificate(mean_loss_grad_target=gradient(1)).mismatches}
    assert wrong == "mean_loss_grad_target"


def test_a_normalisation_may_be_over_several_axes():
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(2)
    dy, x = random.normal(size=(2, 3, 2, 4))
    weight, bias = random.normal(size=(2, 2, 4))
    given = [torch.tensor(one, requires_grad=True) for one in (x, weight, bias)]
    y = torch.nn.functional.layer_norm(given[0], (2, 4), *given[1:], eps=1e-3)
    want = torch.autograd.grad(y, given, torch.tensor(dy))
    found = norm_of_two_axes.vjp(dy, x, weight, bias, eps=1e-3)
    for one, other in zip(found, want, strict=True):
        assert np.allclose(one, other.numpy(), rtol=1e-12, atol=1e-12)


def one_at_zero(z, *, omega):
    """Return y, of z's shape.

        y = sin(w z) / (w z), 1 where z = 0

    (mine).
    """
    return sin(omega * z) / (omega * z) if z != 0 else z + 1


def weight_at_zero(x, weight):
    """Return y [N, C].

        y = weight where x = 0, else x weight

    (mine).
    """
    return np.where(x == 0, weight, x * weight)


def test_a_formula_may_ask_whether_numbers_are_equal():
    sinc = gradoracle.operator(options={"omega": (1.0, 3.0)})(one_at_zero)
    weighted = gradoracle.operator("x: n c; weight: c")(weight_at_zero)

    def right(z, *, omega):
        w = z * z.dtype.type(omega)
        return np.where(z == 0, z.dtype.type(1), np.sin(w) / np.where(w == 0, 1, w))

    functions = {
        "one_at_zero": right,
        "weight_at_zero": lambda x, weight: np.where(x == 0, weight, x * weight),
        "weight_at_zero_grad_x": lambda grad_output, x, weight: np.where(
            x == 0, grad_output.dtype.type(0), grad_output * weight
        ),
    }

    def mismatches(**wrong):
        with np.errstate(all="ignore"):
            certificate = gradoracle.check(
                SimpleNamespace(**functions | wrong), operators=[sinc, weighted], seed=1,
                examples=25,
            )  # fmt: skip
        return {one.formula for one in certificate.mismatches}

    assert not mismatches()
    assert mismatches(one_at_zero=lambda z, *, omega: right(z, omega=omega) * (z != 0)) == {
        "one_at_zero"
    }
    plain = {"weight_at_zero": lambda x, weight: x * weight}
    assert "weight_at_zero" in mismatches(**plain)


# -- by loops over no images, and slopes at a NaN --------------------------------------------------


def softsign(x):
    return x / (1 + abs(x))


@gradoracle.operator("x: n c")
def softsign_of_rows(x):
    """Return y [N, C].

        y[n,c] = x[n,c] / (1 + |x[n,c]|)

    (a test's own formula).
    """
    return [[softsign(number) for number in row] for row in x]


@gradoracle.operator("x: n c")
def largest_of_rows(x):
    """Return y [N].

        y[n] = max_c |x[n,c]|

    (a test's own formula).
    """
    return [max(abs(number) for number in row) for row in x]


@gradoracle.operator()
def softsign_of_numbers(z):
    """Return y.

        y = z / (1 + |z|)

    (a test's own formula).
    """
    return softsign(z)


@gradoracle.operator("x: n c")
def size(x):
    """Return y [N, C].

        y[n,c] = |x[n,c]|

    (a test's own formula).
    """
    return abs(x)


def softsign_grad(grad_output, x):
    return grad_output / ((1 + abs(x)) * (1 + abs(x)))


def test_loops_over_no_images_have_the_shape_of_others():
    functions = {
        "softsign_of_rows": softsign, "softsign_of_rows_grad": softsign_grad,
        "softsign_of_numbers": softsign, "softsign_of_numbers_grad": softsign_grad,
        "largest_of_rows": lambda x: abs(x).max(1),
    }  # fmt: skip
    certificate = gradoracle.check(
        SimpleNamespace(**functions), seed=1, examples=25,
        operators=[softsign_of_rows, softsign_of_numbers, largest_of_rows],
    )  # fmt: skip
    assert not certificate.mismatches, certificate.mismatches
    empty = evaluate(softsign_of_rows.formula, {"x": np.ones((0, 3))})
    assert empty.shape == (0, 3)
    assert evaluate(largest_of_rows.formula, {"x": np.ones((0, 3))}).shape == (0,)


@pytest.mark.parametrize(
    "at_nan",
    [lambda g, x: g * np.sign(x), lambda g, x: np.where(x == 0, 0 * g, np.where(x < 0, -g, g)),
     lambda g, x: np.where(np.isnan(x) | (x == 0), 0 * g, g * np.sign(x))],
)  # fmt: skip
def test_any_slope_of_a_kink_is_right_at_a_nan(at_nan):
    functions = {"size": abs, "size_grad": lambda g, x: at_nan(g, x).astype(x.dtype)}
    certificate = gradoracle.check(
        SimpleNamespace(**functions), seed=1, examples=25, operators=[size]
    )
    assert certificate.passed, str(certificate)
    functions["size_grad"] = lambda g, x: at_nan(g, x).astype(x.dtype) * np.isfinite(x).all()
    wrong = gradoracle.check(SimpleNamespace(**functions), seed=1, examples=25, operators=[size])
    assert [one.formula for one in wrong.mismatches] == ["size_grad"]


# -- what else people write -----------------------------------------------------------------------


@gradoracle.operator("x: n c; t: n c")
def hinge(x, t):
    """Return one loss per row [N].

        y[n] = sum_c max(1 - t[n,c] x[n,c], 0)^2

    (a test's own formula).
    """
    return (np.maximum(1 - t * x, 0) ** 2).sum(1)


def hinge_right(x, t):
    return (np.maximum(1 - t * x, 0) ** 2).sum(1)


def hinge_vjp_right(grad_output, x, t):
    left = 1 - t * x
    g = -2 * grad_output[:, None] * np.where(left > 0, left, 0)
    return g * t, g * x


@gradoracle.operator("x: n c", options={"delta": (1.0, 0.5), "power": (2, 3)})
def clipped(x, *, delta, power):
    """Return y [N, C].

        y = min(max(x, -delta), delta)^power, delta > 0, power > 1

    (a test's own formula).
    """
    assert delta > 0
    assert power > 1
    return np.clip(x, -delta, delta) ** power


@gradoracle.operator("; ".join(f"{one}: n k" for one in "abcdefghij"))
def many(a, b, c, d, e, f, g, h, i, j):
    """Return y [N, K], the sum of ten arrays.

        y = a + b + c + d + e + f + g + h + i + j

    (a test's own formula).
    """
    return a + b + c + d + e + f + g + h + i + j


def clipped_square(z):
    """Return y, of z's shape and dtype.

        y = clip(z, -1, 1)^2

    (a test's own formula).
    """
    return np.clip(z, -1, 1) ** 2


@pytest.mark.parametrize(
    "back",
    [
        lambda g, z: g * 2 * np.clip(z, -1, 1) * ((z >= -1) & (z <= 1)),
        lambda g, z: np.where((z >= -1) & (z <= 1), g * 2 * z, 0 * g),
        lambda g, z: np.where((z < -1) | (z > 1), 0 * g, g * 2 * z),
    ],
)
def test_any_slope_of_a_function_of_numbers_is_right_where_a_nan_is_compared(back):
    functions = {
        "clipped_square": lambda z: np.clip(z, -1, 1) ** 2,
        "clipped_square_grad": lambda g, z: back(g, z).astype(z.dtype),
    }

    def mismatches():
        mine = gradoracle.operator()(clipped_square)
        with np.errstate(all="ignore"):
            return gradoracle.check(
                SimpleNamespace(**functions), operators=[mine], seed=1, profile="quick"
            ).mismatches

    found = mismatches()
    assert not found, found[0].text
    functions["clipped_square_grad"] = lambda g, z: g * 2 * np.clip(z, -1, 1)
    assert mismatches()


MASKS = {"tril": np.tril, "times": lambda s: s * np.tri(len(s))}


@pytest.mark.parametrize("kernel", MASKS)
@pytest.mark.parametrize("formula", MASKS)
def test_a_product_with_a_mask_accepts_both_ways(formula, kernel):
    def masked(s, v):
        """Return y [N, C].

            y = tril(s) v

        (a test's own formula).
        """
        return MASKS[formula](s) @ v

    def mask(s):
        return MASKS[kernel](s).astype(s.dtype)

    backend = SimpleNamespace(
        masked=lambda s, v: mask(s) @ v, masked_grad_s=lambda dy, s, v: mask(dy @ v.T),
        masked_grad_v=lambda dy, s, v: mask(s).T @ dy, contract={"dtypes": ["float32"]},
    )  # fmt: skip
    mine = gradoracle.operator("s: n n; v: n c")(masked)
    with np.errstate(all="ignore"):
        found = gradoracle.check(backend, operators=[mine], seed=1, profile="quick").mismatches
    assert {one.function for one in found} <= {"masked"}
    call = {"s": np.array([[1, np.nan], [1, 1]], np.float32), "v": np.ones((2, 2), np.float32)}
    got = mask(call["s"]) @ call["v"]
    is_right = bool((truth(mine.formula, call).error_over_bound(got, "float32") <= 1).all())
    assert is_right == (formula == "times" or kernel == "tril")


def test_a_nan_is_kept_by_maximum_and_may_be_lost_where_it_is_compared():
    functions = {"hinge": hinge_right, "hinge_vjp": hinge_vjp_right}
    for seed in (1, 2, 3):
        certificate = gradoracle.check(
            SimpleNamespace(**functions), seed=seed, examples=25, operators=[hinge]
        )
        assert certificate.passed, certificate.text()
    dropping = {"hinge": lambda x, t: (np.fmax(1 - t * x, 0) ** 2).sum(1)}
    wrong = gradoracle.check(SimpleNamespace(**dropping), seed=1, examples=25, operators=[hinge])
    assert [one.property_name for one in wrong.mismatches] == ["propagates_non_finite"]


def test_options_have_no_other_values_than_are_listed():
    def right(x, *, delta, power):
        assert (delta, power) in {(d, p) for d in (1, 0.5) for p in (2, 3)}
        return np.clip(x, -x.dtype.type(delta), x.dtype.type(delta)) ** power

    certificate = gradoracle.check(
        SimpleNamespace(clipped=right), seed=1, examples=25, operators=[clipped]
    )
    assert certificate.passed, certificate.text()


def test_an_operator_may_have_many_arrays():
    functions = {
        "many": lambda *arrays: sum(arrays[1:], arrays[0]),
        "many_vjp": lambda dy, *_: (*(dy.copy() for _ in range(10)),),
    }
    certificate = gradoracle.check(
        SimpleNamespace(**functions), seed=1, examples=6, operators=[many]
    )
    assert certificate.passed, certificate.text()


def test_images_that_are_kept_need_the_axes_of_the_result():
    with pytest.raises(ValueError, match='add "grad_output: n ..." to'):
        gradoracle.operator("x: n c", images="kept")(lambda x: x)


def test_an_exponential_of_an_exponential_takes_no_time():
    call = {"x": np.array([[30.0, -3.0]])}
    found = truth(gradoracle.operator("x: n c")(exp_of_exp).formula, call)
    assert found.as_float(np.dtype(float)).tolist() == [[0.0, np.exp(-np.exp(-3.0))]]


def exp_of_exp(x):
    """Return y [N, C].

        y = e^(-e^x)

    (a test's own formula).
    """
    return np.exp(-np.exp(x))


# -- on the command line ---------------------------------------------------------------------------

FORMULAS = '''
    import numpy as np
    import gradoracle

    @gradoracle.operator("x: n c; weight: c", options={"eps": (1e-5, 1e-3)})
    def rms(x, weight, *, eps):
        """Return y [N, C].

            y = x / sqrt(sum_c x^2 / C + eps) * weight

        (a page of mine).
        """
        return x / np.sqrt((x * x).mean(1, keepdims=True) + eps) * weight
'''
KERNELS = """
    import numpy as np

    def rms(x, weight, *, eps):
        return x / np.sqrt((x * x).mean(1, keepdims=True) + x.dtype.type(eps)) * weight

    def rms_grad_weight(grad_output, x, weight, *, eps):
        return (grad_output * rms(x, np.ones_like(weight), eps=eps)).sum(0)

    def rms_grad_x(grad_output, x, weight, *, eps):
        return rms(grad_output * weight, np.ones_like(weight), eps=eps)  # of dy, not of x
"""


def test_operators_come_from_a_module_on_the_command_line(tmp_path):
    (tmp_path / "my_formulas.py").write_text(dedent(FORMULAS))
    (tmp_path / "my_kernels.py").write_text(dedent(KERNELS))
    found = subprocess.run(
        [sys.executable, "-m", "gradoracle", "certify", "./my_kernels.py", "--operators-from",
         "my_formulas", "--operators", "rms", "--profile", "quick", "--seed", "1",
         "--dtypes", "float32"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": without_torch(tmp_path), "COLUMNS": "200"},
    )  # fmt: skip
    assert found.returncode == 1, found.stdout + found.stderr
    printed = " ".join(found.stdout.split())
    assert "rms_grad_x" in printed
    assert "y = x / sqrt(sum_c x^2 / C + eps) * weight" in printed
    assert "NOT CERTIFIED" in printed
    assert "rms_grad_x breaks within_rounding_bound: rms_grad_x[" in printed
    assert "rms_grad_weight[" not in printed
    assert "gradoracle certify ./my_kernels.py --operators-from my_formulas" in printed


MESSAGES = {  # what a formula does, why that is wrong, and the help
    "np.spacing(weight)": (
        "TypeError: numpy.spacing of a formula's numbers is not known",
        "conformance/operators/README.md",
    ),
    "weight.no": (
        "AttributeError: an array of a formula's numbers has no 'no'; of NumPy's it has",
        "conformance/operators/README.md",
    ),
    "__import__('math').exp(weight)": (
        "TypeError: must be real number, not TracedArray", "take numpy.exp and its like",
    ),
    "np.zeros(3).__setitem__(0, weight[0])": (
        "ValueError: setting an array element with a sequence.", "numpy.zeros_like(x)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("factor", MESSAGES)
def test_a_formula_that_cannot_be_evaluated_is_told_with_its_line(tmp_path, factor):
    why, help_ = MESSAGES[factor]
    text = dedent(FORMULAS).replace("eps) * weight\n", f"eps) * {factor}\n")
    (tmp_path / "my_formulas.py").write_text(text)
    (tmp_path / "my_kernels.py").write_text(dedent(KERNELS))
    found = subprocess.run(
        [sys.executable, "-m", "gradoracle", "certify", "./my_kernels.py", "--operators-from",
         "my_formulas", "--operators", "rms", "--profile", "quick", "--seed", "1"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": without_torch(tmp_path), "COLUMNS": "200"},
    )  # fmt: skip
    assert found.returncode == 3, found.stdout + found.stderr
    first, line, allowed = found.stderr.strip().splitlines()
    assert first.startswith(f"the formula of rms cannot be evaluated: {why}")
    assert line.endswith(factor)
    assert f"{tmp_path / 'my_formulas.py'}:" in line
    assert help_ in allowed


@pytest.mark.parametrize("more", [(), ("--html", "page.html")])
def test_a_formula_that_cannot_be_evaluated_is_told_by_explain(tmp_path, more):
    text = dedent(FORMULAS).replace("eps) * weight\n", "eps) * np.spacing(weight)\n")
    (tmp_path / "my_formulas.py").write_text(text)
    found = subprocess.run(
        [sys.executable, "-m", "gradoracle", "explain", "rms_grad_x", "--operators-from",
         "my_formulas", *more],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": ""},
    )  # fmt: skip
    assert found.returncode == 3, found.stderr
    first, line, allowed = found.stderr.strip().splitlines()
    assert first.startswith("the formula of rms cannot be evaluated: TypeError: numpy.spacing")
    assert "my_formulas.py:" in line
    assert allowed.startswith("A formula takes")


BESIDE = '''
    @gradoracle.operator("x: n c")
    def wrongly(x):
        """Return y [N, C].

            y = spacing(x) where there are three images

        (a page of mine).
        """
        return np.spacing(x) if x.shape[0] == 3 else 2 * x
'''


def test_a_formula_that_cannot_be_evaluated_stops_its_own_operator_only(tmp_path):
    (tmp_path / "my_formulas.py").write_text(dedent(FORMULAS) + dedent(BESIDE))
    kernels = "def wrongly(x):\n    return 2 * x\n"
    (tmp_path / "my_kernels.py").write_text(dedent(KERNELS) + kernels)

    def run(*more):
        return subprocess.run(
            [sys.executable, "-m", "gradoracle", "certify", "./my_kernels.py", "--operators-from",
             "my_formulas", "--profile", "quick", "--seed", "1", "--dtypes", "float32", *more],
            cwd=tmp_path, capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHONPATH": without_torch(tmp_path), "COLUMNS": "200"},
        )  # fmt: skip

    found = run("--operators", "rms")
    assert found.returncode == 1, found.stderr  # KERNELS have a wrong gradient
    assert "wrongly" not in found.stderr
    for jobs in ("1", "2"):
        found = run("--operators", "rms,wrongly", "--jobs", jobs)
        assert found.returncode == 3, found.stdout + found.stderr
        assert (
            "the formula of wrongly cannot be evaluated: TypeError: numpy.spacing" in found.stderr
        )
        assert "Traceback" not in found.stderr


def test_a_gradient_by_an_array_that_may_be_none_is_checked_where_it_is_given(monkeypatch):
    def by_bias(grad_output, x, weight, bias=None, *, eps):
        del weight, eps
        if bias is None:
            raise TypeError("there is no gradient by None")
        return grad_output.sum(0) if len(x) else np.zeros(bias.shape, bias.dtype)

    name = "norm_of_two_axes_grad_bias"
    for module in (backends, registry):
        monkeypatch.setattr(module, "FUNCTIONS", (name,))
    formula = next(f for f in norm_of_two_axes.gradients if f.__name__ == name)
    for check in ("within_rounding_bound", "is_stateless"):
        backend = wrap(SimpleNamespace(**{name: by_bias}))
        found = examine(backend, norm_of_two_axes, formula, PROPERTIES[check], examples=6, seed=1)
        assert (found.status, {*found.calls}) == ("passed", {"float32", "float64"}), check
